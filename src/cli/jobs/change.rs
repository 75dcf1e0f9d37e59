//! `postrider jobs retry`, `discard` and `cancel`.

use jobs::contract::{JobId, TenantId};
use serde_json::json;

use super::{
    JobArgs,
    show::{find, unknown},
};
use crate::{
    cli::{Failure, Out},
    queue::{Cancelled, Changed, Queue, Status},
};

/// Who cancelled a job, as its record says.
const BY: &str = "operator";

/// Puts failed or cancelled jobs back in their lanes.
///
/// # Errors
///
/// What could not be retried, and why; the others were.
pub async fn retry(args: &JobArgs, queue: &dyn Queue, out: &mut Out<'_>) -> Result<(), Failure> {
    let mut report = Report::new("retried");
    for id in &args.ids {
        let changed = queue.retry(&args.tenant, *id).await?;
        let wish = "only failed and cancelled jobs can be retried";
        report.changed(queue, &args.tenant, *id, changed, wish).await?;
    }
    report.write(out)
}

/// Deletes finished jobs.
///
/// # Errors
///
/// What could not be deleted, and why; the others were.
pub async fn discard(args: &JobArgs, queue: &dyn Queue, out: &mut Out<'_>) -> Result<(), Failure> {
    let mut report = Report::new("discarded");
    for id in &args.ids {
        let changed = queue.discard(&args.tenant, *id).await?;
        let wish = "only jobs that are finished can be discarded";
        report.changed(queue, &args.tenant, *id, changed, wish).await?;
    }
    report.write(out)
}

/// Cancels jobs.
///
/// # Errors
///
/// What could not be cancelled, and why; the others were.
pub async fn cancel(args: &JobArgs, queue: &dyn Queue, out: &mut Out<'_>) -> Result<(), Failure> {
    let mut report = Report::new("cancelled");
    for id in &args.ids {
        match queue.cancel(&args.tenant, *id, BY).await? {
            Cancelled::AtOnce => report.done(*id, "cancelled"),
            Cancelled::Requested => report.done(*id, "cancel requested; its worker is told"),
            Cancelled::TooLate(Status::Cancelled) => report.done(*id, "was cancelled already"),
            Cancelled::TooLate(status) => report.refused(format!("{id} is {status} already")),
            Cancelled::Unknown => report.refused(unknown(&args.tenant, *id).sentence),
        }
    }
    report.write(out)
}

/// What was done, and what was not.
struct Report {
    word: &'static str,
    done: Vec<(JobId, &'static str)>,
    refused: Vec<String>,
}

impl Report {
    fn new(word: &'static str) -> Self {
        Self { word, done: Vec::new(), refused: Vec::new() }
    }

    fn done(&mut self, id: JobId, words: &'static str) {
        self.done.push((id, words));
    }

    fn refused(&mut self, sentence: String) {
        self.refused.push(sentence);
    }

    async fn changed(
        &mut self,
        queue: &dyn Queue,
        tenant: &TenantId,
        id: JobId,
        changed: Changed,
        wish: &str,
    ) -> Result<(), Failure> {
        match changed {
            Changed::Done => self.done(id, self.word),
            Changed::Unknown => self.refused(unknown(tenant, id).sentence),
            Changed::NotApplicable => {
                let status = find(queue, tenant, id).await?.status;
                self.refused(format!("{id} is {status}; {wish}"));
            }
        }
        Ok(())
    }

    /// What was done is a result, what was not is the failure.
    fn write(self, out: &mut Out<'_>) -> Result<(), Failure> {
        if out.is_json() {
            let done = self.done.iter().map(|(id, words)| json!({"id": id, "outcome": words}));
            out.json(&done.collect::<Vec<_>>())?;
        } else {
            for (id, words) in &self.done {
                out.line(format!("{id} {words}"))?;
            }
        }
        if self.refused.is_empty() { Ok(()) } else { Err(Failure::data(self.refused.join("\n"))) }
    }
}
