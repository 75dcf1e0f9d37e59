//! Tests of the configuration and of the command line; these run the real program.

mod arguments;
mod bench;
mod beside;
mod config;
mod demo;
mod doctor;
mod failures;
mod https;
mod keys;
pub(crate) mod program;
mod readme;
mod remote;
mod roles;
mod up;
