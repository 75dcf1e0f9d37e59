//! The rates as a bar chart: SVG, readable on light and dark ground.

use std::{fmt::Write, fs, path::Path};

use super::{
    Failure,
    figures::{Figures, Median, RATE},
    report::spoken,
};

/// Where things are, in pixels.
const WIDTH: f64 = 760.0;
const LABELS: f64 = 260.0;
const BARS: f64 = 380.0;
const ROW: f64 = 28.0;
const TOP: f64 = 48.0;

/// Writes the chart.
pub(super) fn write(file: &Path, figures: &Figures) -> Result<(), Failure> {
    fs::write(file, chart(figures))
        .map_err(|e| Failure::cannot_create(format!("cannot write {}: {e}", file.display())))
}

/// The chart of all rates.
pub(super) fn chart(figures: &Figures) -> String {
    let rates: Vec<Median<'_>> = figures.medians().filter(|m| m.figure.unit == RATE).collect();
    let most = rates.iter().map(|m| m.figure.value).fold(1.0, f64::max);
    let height = TOP + ROW * rates.len() as f64 + 16.0;
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Jobs a second">
<style>
text {{ font: 13px system-ui, sans-serif; fill: #1f2328 }}
.title {{ font-size: 16px; font-weight: 600 }}
.bar {{ fill: #0969da }}
@media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} .bar {{ fill: #4493f8 }} }}
</style>
<text class="title" x="16" y="28">Jobs a second</text>
"#
    );
    for (at, median) in rates.iter().enumerate() {
        let y = TOP + ROW * at as f64;
        let width = (median.figure.value / most * BARS).max(1.0);
        let (label, value) = (LABELS - 8.0, LABELS + width + 8.0);
        let (name, figure) = (median.measurement.name(), escaped(median.figure.name));
        // A String takes whatever is written to it.
        let _ = writeln!(
            svg,
            r#"<text x="{label}" y="{:.1}" text-anchor="end">{name}: {figure}</text>
<rect class="bar" x="{LABELS}" y="{:.1}" width="{width:.1}" height="18" rx="3"/>
<text x="{value:.1}" y="{:.1}">{}</text>"#,
            y + 14.0,
            y,
            y + 14.0,
            spoken(median.figure.value),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
