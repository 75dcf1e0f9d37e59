//! Tests of the configuration and of the command line; these run the real program.

mod arguments;
mod bench;
mod beside;
mod config;
mod demo;
mod doctor;
mod failures;
mod program;
mod remote;
mod roles;
mod up;
