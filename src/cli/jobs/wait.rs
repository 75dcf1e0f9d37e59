//! `postrider jobs wait`.

use bytes::Bytes;
use clap::Args;
use hyper::Method;
use jobs::contract::{JobId, TenantId};
use serde_json::Value;

use super::{
    remote::{PATIENCE, RemoteArgs, refused},
    submit::watch,
    view::{document, remark},
};
use crate::{
    cli::{Failure, Out, output::printable},
    client::{Ask, Client},
    queue::{Queue, Status},
};

/// How long one answer is held, in seconds.
const HOLD: u32 = 60;

/// Which jobs to wait for.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// The jobs
    #[arg(required = true, value_name = "JOB")]
    pub ids: Vec<JobId>,
    /// Whose they are; at a façade, the key says that
    #[arg(long, default_value = "dev")]
    pub tenant: TenantId,
    /// The façade, if they are not in the queue of the data directory
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// How a job ended.
struct End {
    id: JobId,
    status: String,
    remark: String,
    document: Value,
}

/// Waits in the queue of the data directory.
///
/// # Errors
///
/// When one of the jobs did not complete, or is not there.
pub async fn wait(args: &WaitArgs, queue: &dyn Queue, out: &mut Out<'_>) -> Result<(), Failure> {
    let mut report = Report::default();
    for id in &args.ids {
        let job = watch(queue, &args.tenant, *id).await?;
        let (status, remark) = (job.status.to_string(), remark(&job));
        report.add(End { id: *id, status, remark, document: document(&job) }, out)?;
    }
    report.end(out)
}

/// Waits at a façade.
///
/// # Errors
///
/// When one of the jobs did not complete, or is not there, or the façade is out of reach.
pub async fn wait_at(args: &WaitArgs, out: &mut Out<'_>) -> Result<(), Failure> {
    let mut client = args.remote.client("")?;
    let mut report = Report::default();
    for id in &args.ids {
        let document = ended(&mut client, *id).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let status = text(&document["status"]);
        let remark = match &document["errors"][0] {
            Value::Null => document["result"]["skipped"].as_str().map(|w| format!("skipped: {w}")),
            cause => Some(format!("{}: {}", text(&cause["code"]), text(&cause["message"]))),
        };
        report.add(End { id: *id, status, remark: remark.unwrap_or_default(), document }, out)?;
    }
    report.end(out)
}

async fn ended(client: &mut Client, id: JobId) -> Result<Value, Failure> {
    let ask = Ask {
        method: Method::GET,
        path: format!("/jobs/{id}"),
        headers: vec![("prefer", format!("wait={HOLD}"))],
        body: Bytes::new(),
    };
    loop {
        let mut answer = client.insist(&ask, PATIENCE).await?;
        if answer.status != 200 {
            return Err(refused(&answer));
        }
        let status = answer.body["data"]["status"].as_str().and_then(|s| s.parse::<Status>().ok());
        if status.is_none_or(Status::is_final) {
            return Ok(answer.body["data"].take());
        }
        if answer.header("preference-applied").is_none() {
            // No place to wait at: the façade says when to ask again.
            let seconds = answer.header("retry-after").and_then(|text| text.parse().ok());
            tokio::time::sleep(std::time::Duration::from_secs(seconds.unwrap_or(5))).await;
        }
    }
}

#[derive(Default)]
struct Report {
    documents: Vec<Value>,
    incomplete: Vec<String>,
}

impl Report {
    fn add(&mut self, end: End, out: &mut Out<'_>) -> Result<(), Failure> {
        let End { id, status, remark, document } = end;
        let status = printable(&status);
        if status != Status::Completed.as_str() {
            self.incomplete.push(format!("{id} is {status}"));
        }
        if out.is_json() {
            self.documents.push(document);
            return Ok(());
        }
        Ok(out.line(format!("{id} {status} {}", printable(&remark)).trim_end())?)
    }

    fn end(self, out: &mut Out<'_>) -> Result<(), Failure> {
        if out.is_json() {
            out.json(&self.documents)?;
        }
        if self.incomplete.is_empty() {
            Ok(())
        } else {
            Err(Failure::job(self.incomplete.join("\n")))
        }
    }
}
