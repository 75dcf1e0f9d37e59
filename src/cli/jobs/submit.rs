//! `postrider jobs submit`.

use std::{io::Read, path::Path, time::Duration};

use bytes::Bytes;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jobs::contract::{JobId, Moment, TenantId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    RemoteArgs, Streamed,
    show::find,
    view::{document, remark},
};
use crate::{
    cli::{Failure, Out, output::printable},
    http,
    intake::{Intake, JobRequest, Producer, Rejection},
    queue::{Enqueued, Idempotency, JobRecord, Priority, Queue, Seen, Status, Submission},
};

/// How long a submission is remembered by its key; as long as the façade does.
const KEEP: Duration = Duration::from_secs(86_400);
/// How often the job is looked at when nothing is heard of it.
const LOOK: Duration = Duration::from_secs(1);

/// A job to submit.
#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// Its type, with --payload; or a file of jobs for a façade, one JSON a line (- is standard input).
    #[arg(value_name = "TYPE|FILE")]
    pub what: String,
    /// Its payload: JSON, @FILE, or @- for standard input; at most 256 KiB, of a bulk job 32 MiB.
    #[arg(long, value_name = "JSON|@FILE")]
    pub payload: Option<String>,
    /// Whose job it is.
    #[arg(long, default_value = "dev")]
    pub tenant: TenantId,
    /// Not before then (RFC 3339).
    #[arg(long, value_name = "TIME", requires = "payload")]
    pub run_at: Option<Moment>,
    /// Its priority in its lane: high, normal or low.
    #[arg(long, default_value = "normal", value_parser = priority)]
    pub priority: Priority,
    /// A lane of your own, for types that have none.
    #[arg(long, requires = "payload")]
    pub lane: Option<String>,
    /// Attempts it may have, instead of its type's.
    #[arg(long, value_name = "N", requires = "payload")]
    pub max_attempts: Option<u32>,
    /// A word of your own to find it by; may be given more than once.
    #[arg(long = "tag", value_name = "TAG", requires = "payload")]
    pub tags: Vec<String>,
    /// The same key again within a day submits nothing new.
    #[arg(long, value_name = "KEY", requires = "payload")]
    pub idempotency_key: Option<String>,
    /// An endpoint to which its end is told; repeat for several.
    #[arg(long, value_name = "ENDPOINT", requires = "payload")]
    pub callback: Vec<String>,
    /// Wait for its end; exit with 1 when it does not complete.
    #[arg(long, requires = "payload")]
    pub wait: bool,
    /// The façade that a file goes to.
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// Submits a file anew that was submitted within a day, under a name of your own for that.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true,
        conflicts_with = "payload"
    )]
    pub run: String,
    /// Write the id of each job of a file, in place of a summary.
    #[arg(long, conflicts_with = "payload")]
    pub ids: bool,
}

impl SubmitArgs {
    /// The file that is to be submitted; or these again, when it is one job.
    pub(super) fn streamed(self) -> Result<Streamed, Box<Self>> {
        match self.payload {
            Some(_) => Err(Box::new(self)),
            None => {
                let Self { what, remote, run, ids, .. } = self;
                Ok(Streamed { file: what, remote, run, ids })
            }
        }
    }
}

fn priority(text: &str) -> Result<Priority, String> {
    match text {
        "high" => Ok(Priority::High),
        "normal" => Ok(Priority::Normal),
        "low" => Ok(Priority::Low),
        _ => Err(format!("expected high, normal or low, got {text:?}")),
    }
}

/// Submits a job, and waits for its end if wished.
///
/// # Errors
///
/// When the job is refused, or does not complete while it is waited for.
pub async fn submit(
    args: SubmitArgs,
    queue: &dyn Queue,
    intake: &Intake,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let (tenant, wait) = (args.tenant.clone(), args.wait);
    let id = enqueue(args, queue, intake).await?;
    if !wait {
        let job = find(queue, &tenant, id).await?;
        if out.is_json() {
            out.json(&json!({"id": id, "type": job.kind, "status": job.status}))?;
        } else {
            out.line(format!("{id} {}", job.status))?;
        }
        return Ok(());
    }
    let job = watch(queue, &tenant, id).await?;
    if out.is_json() {
        out.json(&document(&job))?;
    } else {
        out.line(format!("{id} {} {}", job.status, printable(&remark(&job))).trim_end())?;
        if let Some(result) = job.result.as_ref().filter(|result| !result.is_null()) {
            out.line(format!("{result:#}"))?;
        }
    }
    match job.status {
        Status::Completed => Ok(()),
        status => Err(Failure::job(format!("{id} is {status}"))),
    }
}

async fn enqueue(args: SubmitArgs, queue: &dyn Queue, intake: &Intake) -> Result<JobId, Failure> {
    // What a façade would take: a file of more than that is a mistake.
    let is_bulk = intake.catalogue().find(&args.what).is_some_and(|kind| kind.bulk);
    let most = if is_bulk { http::BULK } else { http::SINGLE };
    let payload = payload(args.payload.as_deref().unwrap_or_default(), most)?;
    let request = JobRequest {
        kind: args.what,
        payload,
        run_at: args.run_at,
        priority: args.priority,
        lane: args.lane,
        max_attempts: args.max_attempts,
        tags: args.tags,
        callback: args.callback,
    };
    let print = fingerprint(&request);
    let now = queue.now();
    let made = intake.prepare(&args.tenant, Producer::Engine, vec![request], "cli", now).await;
    let jobs = made.map_err(refused)?;
    let id = jobs.first().map(|job| job.id).expect("one request makes one job");
    let idempotency = args.idempotency_key.map(|key| Idempotency {
        key: format!("cli:{key}"),
        fingerprint: print,
        answer: Bytes::from(id.to_string()),
        keep: KEEP,
    });
    match queue.enqueue(Submission { tenant: args.tenant, jobs, idempotency }).await? {
        Enqueued::Fresh(ids) => Ok(ids.first().copied().unwrap_or(id)),
        Enqueued::Replayed(answer) => std::str::from_utf8(&answer)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Failure::data("the queue remembers another answer under this key")),
        Enqueued::KeyReused => {
            Err(Failure::data("--idempotency-key: the key was used for another job"))
        }
    }
}

/// What tells a repetition from another job under the same key.
fn fingerprint(request: &JobRequest) -> [u8; 32] {
    let told = json!([
        request.kind,
        request.payload,
        request.run_at,
        request.priority,
        request.lane,
        request.max_attempts,
        request.tags,
        request.callback,
    ]);
    Sha256::digest(told.to_string().as_bytes()).into()
}

fn refused(rejection: Rejection) -> Failure {
    match rejection {
        Rejection::Unavailable(fault) => Failure::unavailable(fault.to_string()),
        Rejection::Invalid(problems) => {
            let line = |pointer: &str, message: &str| {
                let pointer = pointer.strip_prefix("/0").unwrap_or(pointer);
                format!("{pointer}: {}", printable(message))
            };
            let lines = problems.iter().map(|p| line(&p.pointer, &p.message));
            Failure::data(lines.collect::<Vec<_>>().join("\n"))
        }
    }
}

fn payload(text: &str, most: usize) -> Result<Value, Failure> {
    let (name, json) = match text.strip_prefix('@') {
        None => ("--payload", text.as_bytes().to_vec()),
        Some("-") => ("standard input", read("standard input", std::io::stdin(), most)?),
        Some(path) => {
            let file = std::fs::File::open(Path::new(path))
                .map_err(|e| Failure::data(format!("cannot read {path}: {e}")))?;
            (path, read(path, file, most)?)
        }
    };
    // What a façade would refuse, a name that is there twice for instance, is refused here.
    http::read_json(&json).map_err(|fault| Failure::data(format!("{name} {fault}")))
}

fn read(name: &str, from: impl Read, most: usize) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let read = from.take(most as u64 + 1).read_to_end(&mut text);
    read.map_err(|e| Failure::data(format!("cannot read {name}: {e}")))?;
    if text.len() > most {
        return Err(Failure::data(format!("{name} has more than {} KiB", most / 1024)));
    }
    Ok(text)
}

/// Follows a job to its end, with a bar on standard error when that is a terminal.
pub(super) async fn watch(
    queue: &dyn Queue,
    tenant: &TenantId,
    id: JobId,
) -> Result<JobRecord, Failure> {
    let bar = ProgressBar::new(1);
    let style = ProgressStyle::with_template("{spinner} [{bar:30}] {pos}/{len} {wide_msg}");
    bar.set_style(style.expect("the template is a constant, and a test draws it"));
    let mut seen = Seen::default();
    loop {
        // Asked before the job is read, so that no change falls in between.
        seen = queue.changed(seen, LOOK).await;
        let job = find(queue, tenant, id).await?;
        bar.set_length(job.cursor.total.max(1));
        bar.set_position(if job.status.is_final() {
            job.cursor.total
        } else {
            job.cursor.processed
        });
        bar.set_message(format!("{} {}", job.status, printable(&remark(&job))));
        bar.tick();
        if job.status.is_final() {
            bar.finish_and_clear();
            return Ok(job);
        }
    }
}
