//! What the tests share: servers, directories, builders.
