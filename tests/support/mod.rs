//! What the tests share: servers, directories, builders.

pub(crate) mod postgres;
