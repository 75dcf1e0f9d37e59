//! The command line: one file a command.

pub mod apply;
pub mod keys;
