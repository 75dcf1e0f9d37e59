//! Resources: records of which many are changed at once, as an operator declares them.
//!
//! `config/resources.toml` declares Postrider's own and is part of the binary; a file beside the
//! configuration declares the host product's. Most lie in tables; failed jobs lie in the queue.

mod action;
mod config;
mod dead_jobs;
mod declaration;
mod field;
mod keeper;
mod resource;

pub use self::{
    config::ResourcesConfig,
    declaration::{DeclarationError, Declarations, OWN},
    keeper::{Compared, Keeper, Tables, compare},
};
use crate::store::records::Table;

/// Where the records of a resource lie.
#[derive(Debug, Clone)]
pub enum Place {
    /// In a table.
    Table(Table),
    /// In the dead set of the queue.
    DeadJobs,
}
