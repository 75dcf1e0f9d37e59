//! Tests: records that are changed in bulk, in the store and in databases of a product.

#![allow(clippy::unwrap_used, reason = "what fails in a test is to fail it")]

mod dead_jobs;
mod declarations;
mod deferred;
mod desk;
mod facade;
mod host;
mod own;
mod replaced;
mod samples;
mod select;
mod start;
mod warmup;
