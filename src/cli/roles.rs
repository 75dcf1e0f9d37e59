//! `postrider worker`, `serve` and `scheduler`: one role a process.

use std::net::SocketAddr;

use clap::Args;

use super::{Failure, Globals, Out};
use crate::app::Roles;

/// How to work.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Work for these queues only, such as send,classify.
    #[arg(long, value_name = "QUEUE,…")]
    pub queues: Option<String>,
    /// Jobs of one queue that run at once.
    #[arg(long, value_name = "N")]
    pub concurrency: Option<u32>,
}

/// How to serve.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
}

/// How to schedule.
#[derive(Debug, Args)]
pub struct SchedulerArgs {
    /// The crontab.
    #[arg(long, value_name = "FILE")]
    pub crontab: Option<String>,
}

/// Carries jobs out until a signal.
pub(super) async fn worker(
    args: &WorkerArgs,
    globals: &Globals,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let mut flags = Vec::new();
    if let Some(queues) = &args.queues {
        flags.push(("--queues", "worker.queues", queues.clone()));
    }
    if let Some(concurrency) = args.concurrency {
        flags.push(("--concurrency", "worker.concurrency", concurrency.to_string()));
    }
    globals.run(&flags, Roles { worker: true, ..Roles::NONE }, out).await
}

/// Serves the façade until a signal.
pub(super) async fn serve(
    args: &ServeArgs,
    globals: &Globals,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let flags: Vec<_> = listen(args.listen).into_iter().collect();
    globals.run(&flags, Roles { serve: true, ..Roles::NONE }, out).await
}

/// Tends the queue and fires the crontab until a signal.
pub(super) async fn scheduler(
    args: &SchedulerArgs,
    globals: &Globals,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let crontab = args.crontab.as_ref();
    let flags: Vec<_> =
        crontab.map(|file| ("--crontab", "scheduler.crontab", file.clone())).into_iter().collect();
    globals.run(&flags, Roles { scheduler: true, ..Roles::NONE }, out).await
}

/// The flag `--listen` as an override.
pub(super) fn listen(address: Option<SocketAddr>) -> Option<(&'static str, &'static str, String)> {
    address.map(|address| ("--listen", "http.listen", address.to_string()))
}
