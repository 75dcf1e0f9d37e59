//! A cron expression in a time zone, on days that have 23, 24 and 25 hours.
//!
//! A time of day that the clocks skip comes at the first moment after the gap; one that they show
//! twice comes at the first of the two; either way once. What repeats every so many minutes or hours
//! follows the time that passes: it comes twice in an hour that the clocks show twice, and not at
//! all in one that they skip.

use std::time::Duration;

use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};
use jobs::contract::Moment;

use super::Expression;

/// When something is to happen.
#[derive(Debug, Clone)]
pub struct Timetable {
    expression: Expression,
    zone: TimeZone,
}

impl Timetable {
    /// The expression, read in this time zone.
    pub fn new(expression: Expression, zone: TimeZone) -> Self {
        Self { expression, zone }
    }

    /// The first tick after `after`; none after the year 2100.
    pub fn next(&self, after: Moment) -> Option<Moment> {
        let after = Timestamp::from_millisecond(after.millis()).ok()?;
        let next = if self.expression.is_fixed() { self.fixed(after) } else { self.passing(after) };
        next.map(|at| Moment::from_millis(at.as_millisecond()))
    }

    /// Every tick after `after` and not after `until`, oldest first.
    pub fn between(&self, after: Moment, until: Moment) -> impl Iterator<Item = Moment> {
        let next = |at: &Moment| self.next(*at);
        std::iter::successors(self.next(after), next).take_while(move |at| *at <= until)
    }

    /// Times of day: along the calendar, each turned into a moment. The calendar never runs
    /// backwards in that, so two times in one gap are one tick.
    fn fixed(&self, after: Timestamp) -> Option<Timestamp> {
        let mut at = self.zone.to_datetime(after);
        loop {
            at = self.expression.next(at)?;
            let moment = self.moment(at)?;
            if moment > after {
                return Some(moment);
            }
        }
    }

    fn moment(&self, at: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(at).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(at).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(at).ok(),
            AmbiguousOffset::Gap { before, .. } => {
                // By the offset before the gap this lies at its end or later; the end itself is the
                // last transition up to then.
                let beyond = before.to_timestamp(at).ok()? + Duration::from_secs(1);
                self.zone.preceding(beyond).next().map(|transition| transition.timestamp())
            }
        }
    }

    /// Time that passes: along stretches of one offset, in which the calendar is even.
    fn passing(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = after;
        let mut calendar = self.zone.to_datetime(from);
        loop {
            let next = self.expression.next(calendar)?;
            let next = self.zone.to_offset(from).to_timestamp(next).ok()?;
            match self.zone.following(from).next().map(|transition| transition.timestamp()) {
                Some(end) if next >= end => {
                    from = end;
                    // The first second of the new stretch may be a tick itself.
                    let second = SignedDuration::from_secs(1);
                    calendar = self.zone.to_datetime(end).checked_sub(second).ok()?;
                }
                _ => return Some(next),
            }
        }
    }
}
