//! What the tests share: servers, directories, builders.

pub(crate) mod mail;
