//! What Postrider says about itself: logs here, numbers in [`metrics`].
//!
//! A log line is a sentence that stands alone, plus dotted fields with units. It goes to standard
//! error: standard output belongs to the command line.

pub mod metrics;

use std::io::{self, IsTerminal};

use serde::Deserialize;
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// What Postgres says of tables that are there already is no news.
const NOTICES: &str = "sqlx::postgres::notice=warn";

/// What is logged, and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// A tracing filter.
    pub level: String,
    /// For people or for machines.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is none.
    #[error(
        "log.level: expected error, warn, info, debug, trace, off or a filter such as \
         \"info,postrider=debug\", got {0:?}"
    )]
    Filter(String),
    /// Logs were set up before.
    #[error("logs were set up twice in one process")]
    Twice,
}

/// Sets up the logs of this process; to be called once, at its start.
///
/// # Errors
///
/// When the filter is none, or when logs were set up before.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    let subscriber = subscriber(config, io::stderr, io::stderr().is_terminal())?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)
}

/// What writes log lines to `writer`, in colours if they are wanted.
///
/// # Errors
///
/// When the filter is none.
pub fn subscriber<W>(
    config: &LogConfig,
    writer: W,
    colours: bool,
) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter(&config.level)?).with_writer(writer);
    // A line that cannot be written is lost. To complain of it where it could not be written panics.
    let lines = lines.log_internal_errors(false);
    Ok(match config.format {
        LogFormat::Text => Box::new(lines.with_ansi(colours).finish()),
        LogFormat::Json => Box::new(lines.json().flatten_event(true).with_ansi(false).finish()),
    })
}

/// A filter without surprises: by itself, the parser takes a misspelt level for the name of a target.
fn filter(text: &str) -> Result<EnvFilter, LogError> {
    let is_level = |text: &str| !text.is_empty() && text.parse::<LevelFilter>().is_ok();
    let makes_sense = |part: &str| match part.split_once('=') {
        Some((target, level)) => !target.is_empty() && is_level(level),
        None => is_level(part),
    };
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let sensible = parts.iter().all(|part| makes_sense(part));
    let filter = sensible.then(|| EnvFilter::try_new(quiet(&parts)).ok()).flatten();
    filter.ok_or_else(|| LogError::Filter(text.to_owned()))
}

/// The parts of a filter, without notices of Postgres, unless somebody asks for them or for less.
fn quiet(parts: &[&str]) -> String {
    let says = |part: &&str| {
        let less = ["error", "off"].iter().any(|level| part.eq_ignore_ascii_case(level));
        less || part.starts_with("sqlx")
    };
    let more = if parts.iter().any(says) { None } else { Some(NOTICES) };
    parts.iter().copied().chain(more).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_filter_is_refused() {
        for good in ["info", "OFF", "info,postrider=debug", "warn, postrider::http=trace"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["", "loud", "info,loud", "info,postrider=loud", "=info", "info,,warn"] {
            let said = filter(bad).unwrap_err().to_string();
            assert!(said.starts_with("log.level: expected error, warn"), "{said}");
        }
    }
}
