//! Who tells the story as it happens.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use super::paint::Paint;
use crate::cli::{Failure, Out};

/// Says things in their order, around a progress bar if there is a terminal.
pub(super) struct Teller<'a, 'b> {
    pub(super) out: &'a mut Out<'b>,
    pub(super) bar: ProgressBar,
    pub(super) paint: Paint,
    pub(super) since: Instant,
}

impl<'a, 'b> Teller<'a, 'b> {
    pub(super) fn new(out: &'a mut Out<'b>, paint: Paint) -> Self {
        Self { out, bar: ProgressBar::hidden(), paint, since: Instant::now() }
    }

    pub(super) fn say(&mut self, line: impl AsRef<str>) -> Result<(), Failure> {
        if self.out.is_json() {
            return Ok(());
        }
        let out = &mut *self.out;
        Ok(self.bar.suspend(|| out.line(line))?)
    }

    /// The same, with the time since the start.
    pub(super) fn happened(&mut self, line: &str) -> Result<(), Failure> {
        let at = format!("{:5.1} s", self.since.elapsed().as_secs_f64());
        self.say(format!("  {}  {line}", self.paint.dim(&at)))
    }

    pub(super) fn start(&mut self, mails: usize) {
        let style = ProgressStyle::with_template("  [{bar:40}] {pos} of {len} mails");
        self.bar = ProgressBar::new(u64::try_from(mails).unwrap_or(u64::MAX));
        self.bar.set_style(style.expect("the template is a constant, and a test draws it"));
        self.since = Instant::now();
    }
}
