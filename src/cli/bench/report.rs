//! The figures, as a table for people or a document for programs.

use serde_json::{Value, json};

use super::{
    Failure, Plan,
    figures::{Figure, Figures, Median, Promise},
};
use crate::cli::Out;

/// What stands above the columns of a [`row`].
pub(super) const HEAD: [&str; 6] = ["MEASUREMENT", "FIGURE", "VALUE", "UNIT", "PROMISED", ""];

/// Says what was found, and where.
pub(super) fn tell(
    plan: &Plan,
    place: &str,
    figures: &Figures,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    if out.is_json() {
        return Ok(out.json(&document(plan, place, figures))?);
    }
    let rows: Vec<_> =
        figures.medians().map(|median| row(median.measurement.name(), &median.figure)).collect();
    out.table(HEAD, &rows)?;
    let Plan { jobs, runs, .. } = plan;
    Ok(out.line(format!("\n{jobs} jobs a measurement, medians of {runs}, on {place}"))?)
}

/// A figure as a row of the table.
pub(super) fn row(measurement: &str, figure: &Figure) -> [String; 6] {
    let (promise, kept) = match figure.promise {
        None => (String::new(), ""),
        Some(promise) => {
            let words = match promise {
                Promise::AtMost(most) => format!("≤ {}", spoken(most)),
                Promise::AtLeast(least) => format!("≥ {}", spoken(least)),
            };
            (words, if promise.holds(figure.value) { "kept" } else { "missed" })
        }
    };
    [
        measurement.to_owned(),
        figure.name.to_owned(),
        spoken(figure.value),
        figure.unit.to_owned(),
        promise,
        kept.to_owned(),
    ]
}

/// A number with as many digits as mean something: `12,345`, `12.3`, `0.12`.
pub(super) fn spoken(value: f64) -> String {
    let size = value.abs();
    if size < 10.0 && size.fract() != 0.0 {
        return format!("{value:.2}");
    }
    if size < 100.0 && size.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{size:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value < 0.0 { format!("-{grouped}") } else { grouped }
}

fn document(plan: &Plan, place: &str, figures: &Figures) -> Value {
    let figures: Vec<Value> = figures
        .medians()
        .map(|Median { measurement, figure, rounds }| told(measurement.name(), &figure, rounds))
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "place": place,
        "queue": plan.queue.name(),
        "jobs": plan.jobs,
        "waiting": plan.waiting,
        "records": plan.records,
        "runs": plan.runs,
        "concurrency": plan.concurrency,
        "figures": figures,
    })
}

/// A figure as a part of the document.
pub(super) fn told(measurement: &str, figure: &Figure, rounds: &[f64]) -> Value {
    let (at_most, at_least) = match figure.promise {
        Some(Promise::AtMost(most)) => (Some(most), None),
        Some(Promise::AtLeast(least)) => (None, Some(least)),
        None => (None, None),
    };
    json!({
        "measurement": measurement,
        "figure": figure.name,
        "value": figure.value,
        "unit": figure.unit,
        "rounds": rounds,
        "promised_at_most": at_most,
        "promised_at_least": at_least,
        "kept": figure.promise.map(|promise| promise.holds(figure.value)),
    })
}

#[cfg(test)]
mod tests {
    use super::spoken;

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        let rows = [
            (0.0, "0"),
            (0.123, "0.12"),
            (2.0, "2"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1_234.5, "1,234"),
            (1_234_567.0, "1,234,567"),
            (-3.25, "-3.25"),
            (-1_000.0, "-1,000"),
        ];
        for (value, words) in rows {
            assert_eq!(spoken(value), words);
        }
    }
}
