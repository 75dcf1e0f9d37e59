//! What is worth telling between two looks at the queue.

use std::collections::{BTreeMap, BTreeSet};

use jobs::contract::{JobId, Moment};

use super::paint::Paint;
use crate::{
    cli::output::printable,
    queue::{AttemptRecord, JobRecord, LaneRecord, ParkReason, Status},
};

/// Tells each thing once, in plain words.
pub(super) struct Story {
    names: BTreeMap<JobId, String>,
    paint: Paint,
    told: BTreeSet<String>,
    /// How often each thing happened, for the end.
    pub(super) retries: u32,
    pub(super) snoozes: u32,
    pub(super) parked: BTreeSet<String>,
}

impl Story {
    /// A story about the mails to these people.
    pub(super) fn new(names: BTreeMap<JobId, String>, paint: Paint) -> Self {
        let (told, parked) = (BTreeSet::new(), BTreeSet::new());
        Self { names, paint, told, retries: 0, snoozes: 0, parked }
    }

    /// What is new since the last look.
    pub(super) fn look(
        &mut self,
        jobs: &[JobRecord],
        lanes: &[LaneRecord],
        now: Moment,
    ) -> Vec<String> {
        let mut lines = Vec::new();
        // Oldest first, as they were submitted.
        for job in jobs.iter().rev() {
            for (index, attempt) in job.attempts.iter().enumerate() {
                lines.extend(self.attempt(job, index, attempt));
            }
            lines.extend(self.ended(job));
        }
        for lane in lanes {
            lines.extend(self.lane(lane, now));
        }
        lines
    }

    fn first_time(&mut self, what: String) -> bool {
        self.told.insert(what)
    }

    fn attempt(
        &mut self,
        job: &JobRecord,
        index: usize,
        attempt: &AttemptRecord,
    ) -> Option<String> {
        let outcome = attempt.outcome.as_deref()?;
        if !matches!(outcome, "retried" | "snoozed")
            || !self.first_time(format!("{} {index}", job.id))
        {
            return None;
        }
        let words = attempt.error.as_ref().map(|cause| printable(&cause.message));
        let words = words.unwrap_or_else(|| "no reason given".to_owned());
        let name = self.name(job);
        Some(if outcome == "retried" {
            self.retries += 1;
            format!("{}   {name}: {words}; it will be tried again", self.paint.waits("retry"))
        } else {
            self.snoozes += 1;
            format!("{}  {name}: {words}; that costs no attempt", self.paint.waits("snooze"))
        })
    }

    fn ended(&mut self, job: &JobRecord) -> Option<String> {
        if !job.status.is_final() || !self.first_time(job.id.to_string()) {
            return None;
        }
        let name = self.name(job);
        let from = job.lane.as_mailbox().unwrap_or("nowhere").to_owned();
        Some(match (job.status, &job.error) {
            (Status::Completed, _) => {
                format!("{}    {name}, from {from}", self.paint.good("sent"))
            }
            (status, Some(cause)) => {
                let words = printable(&cause.message);
                format!("{}  {name}: {words}", self.paint.bad(status.as_str()))
            }
            (status, None) => format!("{}  {name}", self.paint.bad(status.as_str())),
        })
    }

    fn lane(&mut self, lane: &LaneRecord, now: Moment) -> Option<String> {
        let (until, reason) = lane.parked.as_ref().filter(|(until, _)| *until > now)?;
        let mailbox = lane.lane.name.as_mailbox()?.to_owned();
        if lane.waiting == 0 || !self.first_time(format!("{mailbox} {until}")) {
            return None;
        }
        let seconds = until.since(now).as_secs_f64();
        let why = match reason {
            ParkReason::Limit(label) => format!("its limit ({label}) is used up"),
            ParkReason::Snooze(words) => format!("it was asked to wait ({})", printable(words)),
        };
        self.parked.insert(mailbox.clone());
        let waiting = lane.waiting;
        Some(format!(
            "{}  the lane of {mailbox} for {seconds:.1} s: {why}; {waiting} mails wait in it, the other lanes go on",
            self.paint.waits("parked"),
        ))
    }

    fn name(&self, job: &JobRecord) -> String {
        self.names.get(&job.id).cloned().unwrap_or_else(|| job.id.to_string())
    }
}
