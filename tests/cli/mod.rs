//! Tests of the configuration and of the command line.

mod config;
