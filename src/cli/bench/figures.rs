//! What was measured.

use std::collections::BTreeMap;

use super::Measurement;

/// One figure of one round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figure {
    /// What it is of, within its measurement.
    pub(super) name: &'static str,
    /// In which unit.
    pub(super) unit: &'static str,
    /// How much.
    pub(super) value: f64,
    /// What is promised of it.
    pub(super) promise: Option<Promise>,
}

/// What is promised of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Promise {
    /// It is no more.
    AtMost(f64),
    /// It is no less.
    AtLeast(f64),
}

impl Promise {
    /// Whether `value` keeps it.
    pub(super) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl Figure {
    pub(super) fn new(name: &'static str, value: f64, unit: &'static str) -> Self {
        Self { name, unit, value, promise: None }
    }

    /// Jobs a second.
    pub(super) fn rate(name: &'static str, value: f64) -> Self {
        Self::new(name, value, RATE)
    }

    pub(super) fn promised(self, promise: Promise) -> Self {
        Self { promise: Some(promise), ..self }
    }
}

/// The unit of rates.
pub(super) const RATE: &str = "jobs/s";

/// The figures of all rounds.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// By measurement, in the order in which they were named: figures of all rounds.
    rows: BTreeMap<Measurement, Vec<(Figure, Vec<f64>)>>,
}

/// A figure over all rounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Median<'a> {
    /// What it belongs to.
    pub(super) measurement: Measurement,
    /// Its value is the median.
    pub(super) figure: Figure,
    /// The value of each round.
    pub(super) rounds: &'a [f64],
}

impl Figures {
    /// Adds the figures of one round.
    pub(super) fn add(&mut self, what: Measurement, found: Vec<Figure>) {
        let rows = self.rows.entry(what).or_default();
        for figure in found {
            match rows.iter_mut().find(|(known, _)| known.name == figure.name) {
                Some((_, values)) => values.push(figure.value),
                None => rows.push((figure, vec![figure.value])),
            }
        }
    }

    /// Every figure, as its median.
    pub(super) fn medians(&self) -> impl Iterator<Item = Median<'_>> {
        self.rows.iter().flat_map(|(measurement, rows)| {
            rows.iter().map(|(figure, rounds)| Median {
                measurement: *measurement,
                figure: Figure { value: percentile(rounds, 50), ..*figure },
                rounds,
            })
        })
    }
}

/// The value below which `percent` of the values lie; 0 when there is none.
pub(super) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!([50, 99, 100].map(|p| percentile(&values, p)), [101.0, 199.0, 200.0]);
        assert_eq!(percentile(&[7.0], 99), 7.0);
        assert_eq!(percentile(&[], 50), 0.0);
    }

    #[test]
    fn rounds_become_medians_in_the_order_of_the_first() {
        let mut figures = Figures::default();
        for (fast, slow) in [(3.0, 9.0), (1.0, 8.0), (2.0, 7.0)] {
            let round = vec![Figure::rate("fast", fast), Figure::new("a slow one", slow, "ms")];
            figures.add(Measurement::Drain, round);
        }
        let medians: Vec<_> = figures.medians().map(|m| (m.figure.name, m.figure.value)).collect();
        assert_eq!(medians, [("fast", 2.0), ("a slow one", 8.0)]);
    }

    #[test]
    fn a_promise_holds_on_its_side() {
        assert!(Promise::AtMost(2.0).holds(2.0) && !Promise::AtMost(2.0).holds(2.1));
        assert!(Promise::AtLeast(60.0).holds(60.0) && !Promise::AtLeast(60.0).holds(59.9));
    }
}
