//! `postrider jobs`: submit, wait, list, show, errors, retry, discard, cancel.

mod change;
mod errors;
mod list;
mod remote;
mod show;
mod stream;
mod submit;
mod view;
mod wait;

use clap::{Args, Subcommand};
use jobs::contract::{JobId, TenantId, ports::ItemErrors};

pub use self::{
    change::{cancel, discard, retry},
    errors::{ErrorsArgs, errors},
    list::{ListArgs, list},
    remote::RemoteArgs,
    show::show,
    stream::{Streamed, stream},
    submit::{SubmitArgs, submit},
    view::document,
    wait::{WaitArgs, wait, wait_at},
};
use super::{Failure, Out};
use crate::{intake::Intake, queue::Queue};

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// Submit a job, and wait for its end if wished; or a file of jobs, one a line, over HTTP.
    Submit(SubmitArgs),
    /// Wait for the end of jobs; exit with 1 when one does not complete.
    Wait(WaitArgs),
    /// List jobs, newest first.
    List(ListArgs),
    /// Show all that is known of jobs.
    Show(JobArgs),
    /// Show or export what was wrong with single items of a bulk job.
    Errors(ErrorsArgs),
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

/// What commands over jobs work with.
pub struct JobsDeps<'a> {
    /// Where jobs are.
    pub queue: &'a dyn Queue,
    /// The door for new ones.
    pub intake: &'a Intake,
    /// What was wrong with single items.
    pub errors: &'a dyn ItemErrors,
}

/// Runs a command over jobs.
///
/// # Errors
///
/// What was not done, and why.
pub async fn run(
    command: JobsCommand,
    deps: &JobsDeps<'_>,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let queue = deps.queue;
    match command {
        JobsCommand::Submit(args) => submit(args, queue, deps.intake, out).await,
        JobsCommand::Wait(args) => wait(&args, queue, out).await,
        JobsCommand::List(args) => list(args, queue, out).await,
        JobsCommand::Show(args) => show(&args, queue, out).await,
        JobsCommand::Errors(args) => errors(&args, deps, out).await,
        JobsCommand::Retry(args) => retry(&args, queue, out).await,
        JobsCommand::Discard(args) => discard(&args, queue, out).await,
        JobsCommand::Cancel(args) => cancel(&args, queue, out).await,
    }
}

impl JobsCommand {
    /// Runs a command that asks a façade and needs no queue of this host; gives any other back.
    ///
    /// # Errors
    ///
    /// What was not done, and why.
    pub async fn at_a_façade(self, out: &mut Out<'_>) -> Result<Option<Self>, Failure> {
        match self {
            Self::Submit(args) => match args.streamed() {
                Ok(streamed) => stream(&streamed, out).await.map(|()| None),
                Err(args) => Ok(Some(Self::Submit(*args))),
            },
            Self::Wait(args) if args.remote.url.is_some() => {
                wait_at(&args, out).await.map(|()| None)
            }
            other => Ok(Some(other)),
        }
    }
}
