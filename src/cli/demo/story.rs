//! What is worth telling between two looks at the queue.

use std::collections::{BTreeMap, BTreeSet};

use jobs::contract::{JobId, Moment};

use super::{paint::Paint, receiver::Heard};
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

    /// What the receiver of webhooks has heard since the last look.
    pub(super) fn heard(&mut self, heard: &[Heard]) -> Vec<String> {
        let mut lines = Vec::new();
        for (index, Heard { event, verified, answered }) in heard.iter().enumerate() {
            if !self.first_time(format!("webhook {index}")) {
                continue;
            }
            let event = printable(event);
            let signature = if *verified { "good" } else { "wrong" };
            let word = match answered {
                200 => self.paint.good("told"),
                _ => self.paint.waits("refused"),
            };
            lines.push(format!(
                "{word}  the webhook {event}: its signature is {signature}, the receiver answers {answered}"
            ));
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
        // With its status: a job that failed may be retried, and then end again.
        let what = format!("{} {}", job.id, job.status.as_str());
        if !job.status.is_final() || !self.first_time(what) {
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

#[cfg(test)]
mod tests {
    use jobs::contract::{Cause, Cursor, LaneName};

    use super::*;
    use crate::queue::{LanePolicy, LaneRef, Priority};

    const NOW: Moment = Moment::from_millis(1_781_082_000_000);

    fn job(status: Status, outcomes: &[(&str, &str)]) -> JobRecord {
        let attempt = |(outcome, words): &(&str, &str)| AttemptRecord {
            number: 1,
            started_at: NOW,
            ended_at: Some(NOW),
            outcome: Some((*outcome).to_owned()),
            error: Some(Cause::new("code", *words)),
            worker: "w".into(),
        };
        JobRecord {
            id: JobId::from_u128(1),
            tenant: "dev".parse().unwrap(),
            kind: "send".into(),
            queue: "send".into(),
            lane: LaneName::mailbox("a@example.com"),
            status,
            priority: Priority::Normal,
            attempt: 1,
            max_attempts: 8,
            crashes: 0,
            cursor: Cursor::default(),
            result: None,
            skipped: None,
            error: None,
            attempts: outcomes.iter().map(attempt).collect(),
            waiting: None,
            cancelled_by: None,
            cancel_requested: false,
            retryable: false,
            run_at: NOW,
            created_at: NOW,
            started_at: None,
            completed_at: None,
            tags: Vec::new(),
            request_id: "req_1".into(),
            callback: Vec::new(),
            version: 1,
        }
    }

    fn lane(until: Moment) -> LaneRecord {
        LaneRecord {
            lane: LaneRef {
                queue: "send".into(),
                tenant: "dev".parse().unwrap(),
                name: LaneName::mailbox("a@example.com"),
            },
            waiting: 2,
            in_flight: 0,
            paused: false,
            parked: Some((until, ParkReason::Limit("mailbox 5/5s".into()))),
            policy: LanePolicy::default(),
        }
    }

    fn story() -> Story {
        Story::new([(JobId::from_u128(1), "Ada Lovelace".to_owned())].into(), Paint::none())
    }

    #[test]
    fn each_thing_is_told_once() {
        let mut story = story();
        let waits = [job(Status::Scheduled, &[("retried", "451 later")])];
        let told = story.look(&waits, &[], NOW);
        assert_eq!(told, ["retry   Ada Lovelace: 451 later; it will be tried again"]);
        assert!(story.look(&waits, &[], NOW).is_empty());
        let sent = [job(Status::Completed, &[("retried", "451 later"), ("completed", "")])];
        assert_eq!(story.look(&sent, &[], NOW), ["sent    Ada Lovelace, from a@example.com"]);
        assert!(story.look(&sent, &[], NOW).is_empty());
        assert_eq!((story.retries, story.snoozes), (1, 0));
    }

    #[test]
    fn a_lane_is_told_of_when_it_is_parked_and_not_when_that_is_over() {
        let mut story = story();
        let later = NOW.plus(std::time::Duration::from_secs(5));
        let told = story.look(&[], &[lane(later)], NOW);
        assert!(told[0].starts_with("parked  the lane of a@example.com for 5.0 s"), "{told:?}");
        assert!(story.look(&[], &[lane(later)], NOW).is_empty());
        assert!(story.look(&[], &[lane(NOW)], NOW).is_empty());
    }

    #[test]
    fn what_a_server_said_does_not_reach_the_terminal_raw() {
        let told = story().look(&[job(Status::Queued, &[("snoozed", "\u{1b}[2J")])], &[], NOW);
        assert!(!told[0].contains('\u{1b}'), "{told:?}");
    }
}
