//! Tests: mail.

mod composing;
mod dialogue;
mod files;
mod job;
mod real;
mod trouble;
