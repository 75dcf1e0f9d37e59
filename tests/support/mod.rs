//! What the tests share: servers, directories, builders.

pub mod postgres;
