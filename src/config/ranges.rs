//! Checking that values lie where they make sense.

use std::{fmt::Display, ops::RangeInclusive, time::Duration};

/// Collects the options whose values lie outside their range.
#[derive(Debug, Default)]
pub struct Ranges {
    problems: Vec<(String, String)>,
}

impl Ranges {
    /// A number must lie in `range`.
    pub fn number<N: PartialOrd + Display + Copy>(
        &mut self,
        option: &str,
        value: N,
        range: RangeInclusive<N>,
    ) {
        if !range.contains(&value) {
            let words = format!("expected {} to {}, got {value}", range.start(), range.end());
            self.problem(option, words);
        }
    }

    /// A duration must lie in `range`.
    pub fn duration(&mut self, option: &str, value: Duration, range: RangeInclusive<Duration>) {
        if !range.contains(&value) {
            let [low, high, got] = [*range.start(), *range.end(), value].map(spoken);
            self.problem(option, format!("expected {low} to {high}, got {got}"));
        }
    }

    /// Something else is wrong with an option; `words` say what was expected and what was got.
    pub fn problem(&mut self, option: &str, words: String) {
        self.problems.push((option.to_owned(), words));
    }

    /// Every problem found: the option, and what was expected and got.
    pub fn problems(self) -> impl Iterator<Item = (String, String)> {
        self.problems.into_iter()
    }
}

/// A duration in the largest unit that says it whole, as it is written in the configuration.
pub fn spoken(span: Duration) -> String {
    let millis = span.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let whole = units.iter().find(|(unit, _)| millis >= *unit && millis.is_multiple_of(*unit));
    match whole {
        Some((unit, letter)) => format!("{}{letter}", millis / unit),
        None => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_spoken_as_they_are_written() {
        let cases = [(0, "0ms"), (250, "250ms"), (90_000, "90s"), (300_000, "5m")];
        for (millis, words) in cases {
            assert_eq!(spoken(Duration::from_millis(millis)), words);
        }
        assert_eq!(spoken(Duration::from_secs(7 * 86_400)), "7d");
    }

    #[test]
    fn only_what_lies_outside_is_a_problem() {
        let mut ranges = Ranges::default();
        ranges.number("a", 1, 1..=9);
        ranges.number("b", 10, 1..=9);
        let minute = Duration::from_secs(60);
        ranges.duration("c", minute * 2, Duration::from_secs(5)..=minute);
        let problems: Vec<_> = ranges.problems().collect();
        assert_eq!(
            problems,
            [
                ("b".to_owned(), "expected 1 to 9, got 10".to_owned()),
                ("c".to_owned(), "expected 5s to 1m, got 2m".to_owned()),
            ]
        );
    }
}
