//! What happened, when it is over.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};

use serde_json::json;

use super::{
    Teller,
    bulk::{self, Ended},
    receiver::Heard,
    samples,
    story::Story,
};
use crate::{
    cli::{Failure, jobs::document},
    queue::{JobRecord, Status},
};

/// All that the demo knows at its end.
pub(super) struct Ending {
    jobs: Vec<JobRecord>,
    /// The bulk jobs.
    changed: Vec<Ended>,
    story: Story,
    refusal: String,
    took: Duration,
    address: SocketAddr,
    /// Mails that the rehearsal server took.
    pub(super) over_smtp: usize,
    /// What the receiver of webhooks heard.
    pub(super) heard: Vec<Heard>,
}

/// How many mails lie in a directory.
fn files(dir: &Path) -> usize {
    let is_mail = |entry: &std::fs::DirEntry| entry.path().extension().is_some_and(|e| e == "eml");
    let entries = std::fs::read_dir(dir);
    entries.map_or(0, |entries| entries.filter_map(Result::ok).filter(is_mail).count())
}

/// What one mailbox did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mailbox {
    sent: usize,
    not_sent: usize,
    attempts: u32,
    last: Duration,
}

impl Ending {
    pub(super) fn new(
        jobs: Vec<JobRecord>,
        changed: Vec<Ended>,
        story: Story,
        refusal: String,
        took: Duration,
        address: SocketAddr,
    ) -> Self {
        let (over_smtp, heard) = (0, Vec::new());
        Self { jobs, changed, story, refusal, took, address, over_smtp, heard }
    }

    /// Tells it, or writes it down for programs.
    pub(super) fn tell(&self, teller: &mut Teller<'_, '_>, dir: &Path) -> Result<(), Failure> {
        if teller.out.is_json() {
            return self.write(teller, dir);
        }
        let paint = teller.paint;
        let (mail, rehearsal) = (dir.join("mail"), dir.join("rehearsal"));
        let sent = self.jobs.iter().filter(|job| job.status == Status::Completed).count();
        let there = files(&mail) + self.over_smtp;
        let once = match there == sent {
            true => "each of them once".to_owned(),
            false => format!("and {there} arrived"),
        };
        let (count, took) = (self.jobs.len(), self.took.as_secs_f64());
        teller.say("")?;
        teller.say(paint.bold(&format!(
            "What happened: {sent} of {count} mails were sent, {once}, in {took:.1} s."
        )))?;
        for (address, mailbox) in self.mailboxes() {
            teller.say(format!("  {address}: {}", self.words(&address, &mailbox)))?;
        }
        for line in self.lessons() {
            teller.say(format!("  {line}"))?;
        }
        teller.say(
            paint.bold("What four bulk jobs changed, in the desk's database and in the queue:"),
        )?;
        for ended in &self.changed {
            teller.say(format!("  {}: {}", ended.what, ended.words()))?;
        }
        teller.say("")?;
        teller.say(paint.bold("Where the mails lie:"))?;
        teller.say(format!("  {}  (written as files)", mail.display()))?;
        let over_smtp = self.over_smtp;
        teller.say(format!(
            "  {}  (the {over_smtp} that the SMTP server took)",
            rehearsal.display()
        ))?;
        teller.say(paint.bold("Look further:"))?;
        teller.say(format!("  postrider jobs list --data {}", dir.display()))?;
        teller.say(format!("  postrider up --data {}", dir.display()))
    }

    fn write(&self, teller: &mut Teller<'_, '_>, dir: &Path) -> Result<(), Failure> {
        let document = json!({
            "data_dir": dir,
            "url": format!("http://{}", self.address),
            "took_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "retries": self.story.retries,
            "snoozes": self.story.snoozes,
            "parked_lanes": self.story.parked,
            "refused": self.refusal,
            "over_smtp": self.over_smtp,
            "webhooks": self.heard,
            "bulk": self.changed,
            "jobs": self.jobs.iter().map(document).collect::<Vec<_>>(),
        });
        Ok(teller.out.json(&document)?)
    }

    fn mailboxes(&self) -> BTreeMap<String, Mailbox> {
        let mut mailboxes: BTreeMap<String, Mailbox> = BTreeMap::new();
        for job in &self.jobs {
            let address = job.lane.as_mailbox().unwrap_or("no mailbox").to_owned();
            let mailbox = mailboxes.entry(address).or_default();
            match job.status {
                Status::Completed => mailbox.sent += 1,
                _ => mailbox.not_sent += 1,
            }
            mailbox.attempts += job.attempt;
            let ended = job.completed_at.map_or(Duration::ZERO, |at| at.since(job.created_at));
            mailbox.last = mailbox.last.max(ended);
        }
        mailboxes
    }

    fn words(&self, address: &str, mailbox: &Mailbox) -> String {
        let way = if samples::OVER_SMTP.contains(&address) { "over SMTP" } else { "as files" };
        let lost = match mailbox.not_sent {
            0 => String::new(),
            count => format!(", {count} not sent"),
        };
        let waited =
            if self.story.parked.contains(address) { "; its lane was parked once" } else { "" };
        let (sent, attempts, last) = (mailbox.sent, mailbox.attempts, mailbox.last.as_secs_f64());
        format!(
            "{sent} mails {way} in {attempts} attempts{lost}, the last after {last:.1} s{waited}"
        )
    }

    /// What there was to be seen.
    fn lessons(&self) -> Vec<String> {
        let mut lessons = Vec::new();
        if self.story.retries > 0 {
            lessons
                .push("A mail that a server did not want yet was tried again, later.".to_owned());
        }
        if self.story.snoozes > 0 {
            lessons.push(
                "A server said \"too fast\": the whole lane waited, and no attempt was spent."
                    .to_owned(),
            );
        }
        if !self.story.parked.is_empty() {
            lessons.push(
                "A lane that may not send is parked until the moment at which it may; the others go on."
                    .to_owned(),
            );
        }
        let refused = self.heard.iter().filter(|heard| !heard.accepted()).count();
        if refused > 0 && refused < self.heard.len() {
            lessons.push(format!(
                "A webhook told of a job's end: refused {refused} times, then taken, signed anew each time."
            ));
        }
        let tickets = self.heard.iter().filter(|heard| heard.event == bulk::TICKET_EVENT).count();
        lessons.push(format!("{tickets} webhooks told of the tickets that a bulk job changed."));
        lessons.push(format!("What cannot be sent is refused at once: {}", self.refusal));
        lessons
    }
}
