//! `postrider jobs`: submit, list, show, retry, discard, cancel.

mod change;
mod list;
mod show;
mod submit;
mod view;

use clap::{Args, Subcommand};
use jobs::contract::{JobId, TenantId};

pub use self::{
    change::{cancel, discard, retry},
    list::{ListArgs, list},
    show::show,
    submit::{SubmitArgs, submit},
    view::document,
};
use super::{Failure, Out};
use crate::{intake::Intake, queue::Queue};

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// Submit a job, and wait for its end if wished.
    Submit(SubmitArgs),
    /// List jobs, newest first.
    List(ListArgs),
    /// Show all that is known of jobs.
    Show(JobArgs),
    /// Put failed or cancelled jobs back in their lanes, with all their attempts.
    Retry(JobArgs),
    /// Delete finished jobs.
    Discard(JobArgs),
    /// Cancel jobs that wait or run.
    Cancel(JobArgs),
}

/// Which jobs.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// The jobs.
    #[arg(required = true, value_name = "JOB")]
    pub ids: Vec<JobId>,
    /// Whose they are.
    #[arg(long, default_value = "dev")]
    pub tenant: TenantId,
}

/// Runs a command over jobs.
///
/// # Errors
///
/// What was not done, and why.
pub async fn run(
    command: JobsCommand,
    queue: &dyn Queue,
    intake: &Intake,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    match command {
        JobsCommand::Submit(args) => submit(args, queue, intake, out).await,
        JobsCommand::List(args) => list(args, queue, out).await,
        JobsCommand::Show(args) => show(&args, queue, out).await,
        JobsCommand::Retry(args) => retry(&args, queue, out).await,
        JobsCommand::Discard(args) => discard(&args, queue, out).await,
        JobsCommand::Cancel(args) => cancel(&args, queue, out).await,
    }
}
