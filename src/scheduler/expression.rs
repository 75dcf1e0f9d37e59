//! Five fields, as people write them, for a crate that reads six and counts Sunday as 1.
//!
//! The rules are those of Vixie's cron, which `crontab(5)` describes: Sunday is 0 or 7; when both
//! the day of the month and the day of the week are restricted, a day that matches either will do;
//! a field that begins with `*` restricts nothing.

use std::{collections::BTreeSet, str::FromStr};

use cron::Schedule;
use jiff::civil::DateTime;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// What a field may hold.
struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    /// Names of the values, from `low`.
    names: &'static [&'static str],
    /// The largest number that may be written: Sunday is 7 as well as 0.
    most: u32,
}

const MINUTE: Field = Field { name: "minute", low: 0, high: 59, names: &[], most: 59 };
const HOUR: Field = Field { name: "hour", low: 0, high: 23, names: &[], most: 23 };
const DAY: Field = Field { name: "day of the month", low: 1, high: 31, names: &[], most: 31 };
const MONTH: Field = Field { name: "month", low: 1, high: 12, names: &MONTHS, most: 12 };
const WEEKDAY: Field = Field { name: "day of the week", low: 0, high: 6, names: &DAYS, most: 7 };

/// A cron expression: a set of times of day on a calendar, in no time zone yet.
#[derive(Debug, Clone)]
pub struct Expression {
    /// One schedule, or two of which either will do.
    schedules: Vec<Schedule>,
    /// Whether it names times of day, instead of repeating every so many minutes or hours.
    fixed: bool,
}

impl Expression {
    /// Whether it names times of day (`30 2 * * *`), instead of repeating (`*/5 * * * *`).
    pub fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// The first time after `after` that it names; none after the year 2100, or if there is none.
    pub fn next(&self, after: DateTime) -> Option<DateTime> {
        let after = to_chrono(after)?;
        let next = self.schedules.iter().filter_map(|s| s.after(&after).next()).min()?;
        from_chrono(&next)
    }
}

impl FromStr for Expression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let written = if text.starts_with('@') { shorthand(text)? } else { text };
        let fields: Vec<&str> = written.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(format!(
                "expected five fields (minute, hour, day of the month, month, day of the week), got {} in {text:?}",
                fields.len()
            ));
        };
        let [minutes, hours] = [MINUTE.read(minute)?, HOUR.read(hour)?];
        let [days, months] = [DAY.read(day)?, MONTH.read(month)?];
        // The crate counts Sunday as 1.
        let weekdays: BTreeSet<u32> = WEEKDAY.read(weekday)?.iter().map(|day| day + 1).collect();
        let restricts = |field: &str| !field.starts_with('*');
        let schedule = |days: &str, weekdays: &str| {
            let six = format!(
                "0 {} {} {days} {} {weekdays}",
                list(&minutes),
                list(&hours),
                list(&months)
            );
            Schedule::from_str(&six).map_err(|e| format!("{text:?} is no cron expression: {e}"))
        };
        let schedules = if restricts(day) && restricts(weekday) {
            vec![schedule(&list(&days), "*")?, schedule("*", &list(&weekdays))?]
        } else {
            vec![schedule(&list(&days), &list(&weekdays))?]
        };
        let expression = Self { schedules, fixed: restricts(minute) && restricts(hour) };
        match expression.next(DateTime::constant(2000, 1, 1, 0, 0, 0, 0)) {
            Some(_) => Ok(expression),
            None => Err(format!("{text:?} never comes: no month has such a day")),
        }
    }
}

fn shorthand(text: &str) -> Result<&'static str, String> {
    Ok(match text {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        _ => {
            return Err(format!(
                "expected five fields, or @hourly, @daily, @weekly, @monthly or @yearly, got {text:?}"
            ));
        }
    })
}

impl Field {
    /// The values that a field names: items with commas between them.
    fn read(&self, text: &str) -> Result<BTreeSet<u32>, String> {
        let mut values = BTreeSet::new();
        for item in text.split(',') {
            values.extend(self.item(item)?);
        }
        Ok(values)
    }

    /// `*`, `7`, `mon`, `1-5`, each with `/2` after it if wished.
    fn item(&self, text: &str) -> Result<Vec<u32>, String> {
        let (range, step) = match text.split_once('/') {
            None => (text, None),
            Some((range, step)) => (range, Some(self.step(step, text)?)),
        };
        let (from, to) = match range.split_once('-') {
            None if range == "*" => (self.low, self.high),
            // `5/15` is from 5 on, every 15.
            None => {
                (self.value(range)?, if step.is_some() { self.high } else { self.value(range)? })
            }
            Some((from, to)) => (self.value(from)?, self.range_end(self.value(to)?)),
        };
        if from > to {
            return Err(format!("{}: {text:?} ends before it begins", self.name));
        }
        let step = usize::try_from(step.unwrap_or(1)).unwrap_or(usize::MAX);
        Ok((from..=to).step_by(step).map(|value| self.once(value)).collect())
    }

    fn step(&self, step: &str, item: &str) -> Result<u32, String> {
        let number = step.parse().ok().filter(|step| (1..=self.high).contains(step));
        number.ok_or_else(|| {
            format!("{}: expected a step of 1 to {} in {item:?}", self.name, self.high)
        })
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        if let Some(value) = named.and_then(|at| u32::try_from(at).ok()) {
            return Ok(self.low + value);
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let value = text.parse().ok().filter(|_| digits);
        let value = value.filter(|value| (self.low..=self.most).contains(value));
        value.ok_or_else(|| {
            let names = match self.names {
                [] => String::new(),
                [first, .., last] => format!(" or {first} to {last}"),
                [only] => format!(" or {only}"),
            };
            format!("{}: expected {} to {}{names}, got {text:?}", self.name, self.low, self.most)
        })
    }

    fn sunday_is_seven(&self) -> bool {
        self.most > self.high
    }

    /// At the end of a range Sunday is the seventh day: `sat-sun`, `5-0`.
    fn range_end(&self, value: u32) -> u32 {
        if self.sunday_is_seven() && value == 0 { 7 } else { value }
    }

    /// One number for each value.
    fn once(&self, value: u32) -> u32 {
        if self.sunday_is_seven() { value % 7 } else { value }
    }
}

fn list(values: &BTreeSet<u32>) -> String {
    values.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// The crate reckons in chrono's UTC, which has neither gaps nor folds: the calendar as such.
fn to_chrono(at: DateTime) -> Option<chrono::DateTime<chrono::Utc>> {
    let part = |number: i8| u32::try_from(number).ok();
    let date =
        chrono::NaiveDate::from_ymd_opt(at.year().into(), part(at.month())?, part(at.day())?)?;
    let time = date.and_hms_opt(part(at.hour())?, part(at.minute())?, part(at.second())?)?;
    Some(time.and_utc())
}

fn from_chrono(at: &chrono::DateTime<chrono::Utc>) -> Option<DateTime> {
    use chrono::{Datelike, Timelike};
    let part = |number: u32| i8::try_from(number).ok();
    let (year, month, day) = (i16::try_from(at.year()).ok()?, part(at.month())?, part(at.day())?);
    let (hour, minute) = (part(at.hour())?, part(at.minute())?);
    DateTime::new(year, month, day, hour, minute, part(at.second())?, 0).ok()
}
