//! The contract between a job and the engine that runs it.

pub mod address;
pub mod fakes;
pub mod ports;
pub mod resource;

mod catalogue;
mod context;
mod ids;
mod job;
mod lane;
mod moment;
mod outcome;
mod problem;
mod retry;
mod verdict;

pub use self::{
    catalogue::{Catalogue, Checked, Kind, Runnable},
    context::{Context, Cursor, RunInfo},
    ids::{JobId, TenantId},
    job::{Audience, Job, schema},
    lane::LaneName,
    moment::Moment,
    outcome::{Cause, Done, Fault, Outcome, Scope, Stop},
    ports::Ports,
    problem::Problem,
    retry::Retry,
    verdict::{End, Facts, Verdict, judge},
};
