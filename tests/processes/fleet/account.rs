//! The account at the end, that of Jepsen's *total-queue*: what was accepted, and what became of it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use jobs::contract::JobId;
use postrider::queue::{JobRecord, Status};

use super::{sink::Arrivals, submitter::Accepted};

/// What a worker that dies between a mail's last byte and its answer leaves: sent at most once, and
/// listed for a person.
const UNKNOWN: &str = "delivery_unknown";

/// The account of one run.
#[derive(Debug, Default)]
pub struct Account {
    /// Submissions that were acknowledged.
    pub accepted: usize,
    /// Of these, jobs that ended, with their effect.
    pub finished: usize,
    /// Jobs that ended, of which nobody may say whether their effect happened.
    pub unknown: usize,
    /// Acknowledged jobs that are gone, did not end, or ended without their effect.
    pub lost: Vec<String>,
    /// Effects that happened more than once.
    pub twice: Vec<String>,
    /// Effects that nobody asked for.
    pub unexpected: Vec<String>,
    /// Submissions whose first try had no answer, and that a repetition found to be taken in.
    pub recovered: usize,
    /// Runs that ended with their worker; their jobs were taken back.
    pub vanished: u32,
    /// What was done to the fleet.
    pub strikes: BTreeMap<&'static str, usize>,
}

impl Account {
    pub fn of(
        accepted: &[Accepted],
        records: &HashMap<JobId, JobRecord>,
        arrivals: &Arrivals,
    ) -> Self {
        let mut account = Self { accepted: accepted.len(), ..Self::default() };
        for job in accepted {
            account.recovered += usize::from(job.recovered);
            let copies = arrivals.get(&job.effect).map_or(0, Vec::len);
            account.take(job, records.get(&job.id), copies);
        }
        let asked: HashSet<&str> = accepted.iter().map(|job| job.effect.as_str()).collect();
        let strange = arrivals.keys().filter(|effect| !asked.contains(effect.as_str()));
        account.unexpected.extend(strange.cloned());
        account
    }

    fn take(&mut self, job: &Accepted, record: Option<&JobRecord>, copies: usize) {
        let effect = &job.effect;
        if copies > 1 {
            self.twice.push(format!("{effect} {copies} times"));
        }
        let Some(record) = record else {
            return self.lost.push(format!("{effect}: its job {} is gone", job.id));
        };
        self.vanished += record.crashes;
        let code = record.error.as_ref().map(|error| error.code.as_ref());
        match (record.status, code) {
            (Status::Completed, _) if copies > 0 => self.finished += 1,
            (Status::Failed, Some(UNKNOWN)) => self.unknown += 1,
            (status, code) => {
                let code = code.unwrap_or("no error");
                self.lost.push(format!("{effect}: {status} ({code}), {copies} effects"));
            }
        }
    }

    /// The same, with what was done to the fleet.
    pub fn after(mut self, strikes: BTreeMap<&'static str, usize>) -> Self {
        self.strikes = strikes;
        self
    }

    /// Fails with the account when a promise was broken.
    pub fn assert_clean(&self) {
        let clean = self.lost.is_empty() && self.twice.is_empty() && self.unexpected.is_empty();
        assert!(clean && self.accepted == self.finished + self.unknown, "{self}");
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "accepted {} · finished {} · unknown {} · lost {} · twice {} · unexpected {} · recovered {}",
            self.accepted,
            self.finished,
            self.unknown,
            self.lost.len(),
            self.twice.len(),
            self.unexpected.len(),
            self.recovered,
        )?;
        writeln!(f, "runs that ended with their worker: {}", self.vanished)?;
        for (strike, times) in &self.strikes {
            writeln!(f, "{strike}: {times}")?;
        }
        let rows = [("lost", &self.lost), ("twice", &self.twice), ("unexpected", &self.unexpected)];
        for (word, which) in rows {
            for one in which.iter().take(10) {
                writeln!(f, "{word}: {one}")?;
            }
        }
        Ok(())
    }
}
