//! The parts of the page, from above to below.

use std::fmt::Write;

use jobs::contract::{Cause, Moment, ports::ItemError};

use super::Text;
use crate::{
    http::view::{AttemptView, ErrorView, JobView, WaitingView},
    queue::{Status, WaitingFor},
};

/// The most errors of single items that are shown; more are not read by anybody.
const MOST_ITEMS: usize = 200;

/// The page's title.
pub(super) fn title(job: &JobView<'_>) -> String {
    let share = match (job.status, percent(job)) {
        (Status::Processing, Some(share)) => format!("{share} % "),
        _ => String::new(),
    };
    format!("{share}{} · {} · Postrider", job.status, Text(job.r#type))
}

/// Everything that changes with the job.
pub(super) fn main(job: &JobView<'_>, now: Moment) -> String {
    let parts = [state(job, now), attempts(job), errors(job), result(job), facts(job)];
    format!("<main>\n{}</main>", parts.concat())
}

fn state(job: &JobView<'_>, now: Moment) -> String {
    let status = job.status;
    let word = capitalised(status.as_str());
    let fin = if status.is_final() { " final" } else { "" };
    format!(
        "<header id=\"state\"><p class=\"kind\">{kind}</p>\
         <h1 class=\"{status}{fin}\"><span class=\"dot\"></span>{word}</h1>\
         <p class=\"why\">{why}</p>{bar}</header>\n",
        kind = Text(job.r#type),
        why = why(job, now),
        bar = bar(job),
    )
}

/// One sentence about the state.
fn why(job: &JobView<'_>, now: Moment) -> String {
    if let Some(waiting) = &job.waiting {
        return waits(waiting);
    }
    match (job.status, job.started_at, job.completed_at) {
        (Status::Processing, Some(started), _) => {
            format!("Attempt {} of {}, begun {}.", job.attempt, job.max_attempts, time(started))
        }
        (Status::Completed, Some(started), Some(ended)) => match skipped(job) {
            Some(why) => format!("There was nothing to do: <b><bdi>{}</bdi></b>", Text(why)),
            None => format!("Done in {}, {}.", length(started, ended), time(ended)),
        },
        (Status::Failed, _, Some(ended)) => match job.errors.first() {
            Some(ErrorView::Job(cause)) => {
                format!("<b><bdi>{}</bdi></b>", Text(&cause.message))
            }
            _ => format!("Given up {}.", time(ended)),
        },
        (Status::Cancelled, _, Some(ended)) => format!("Called off {}.", time(ended)),
        _ => format!("As of {}.", time(now)),
    }
}

fn waits(waiting: &WaitingView<'_>) -> String {
    let what = match waiting.r#for {
        WaitingFor::Turn => "Waits for its turn",
        WaitingFor::Schedule => "Waits for its time",
        WaitingFor::Retry => "Waits for its next attempt",
        WaitingFor::Snooze => "Waits for a moment that it asked for",
        WaitingFor::Limit => "Waits for a limit",
        WaitingFor::InFlight => "Waits for other jobs of its lane",
        WaitingFor::Lane => "Waits with its whole lane",
        WaitingFor::Paused => "Paused by an operator",
    };
    let words = waiting.limit.or(waiting.reason);
    let words = words.map(|words| format!(": <b><bdi>{}</bdi></b>", Text(words)));
    let until = waiting
        .until
        .map(|at| format!(", until <time datetime=\"{at}\" data-until>{}</time>", clock(at)));
    format!("{what}{}{}.", words.unwrap_or_default(), until.unwrap_or_default())
}

fn bar(job: &JobView<'_>) -> String {
    let status = job.status;
    let (done, total) = (job.processed_items, job.total_items);
    let measured = match status {
        Status::Completed if total <= 1 => " value=\"1\" max=\"1\"".to_owned(),
        // One thing that runs is between nothing and all: the bar says that it moves, not how far.
        Status::Processing if total <= 1 => String::new(),
        _ => format!(" value=\"{done}\" max=\"{}\"", total.max(1)),
    };
    let mut words = String::new();
    if total > 1 {
        let share = percent(job).map(|share| format!(" · {share} %")).unwrap_or_default();
        let failed = match job.failed_items {
            0 => String::new(),
            failed => format!("<span class=\"failed\">{failed} failed</span>"),
        };
        words = format!("<p><span>{done} of {total} items{share}</span>{failed}</p>");
    }
    format!(
        "<div class=\"bar\"><progress class=\"{status}\" aria-label=\"progress\"{measured}></progress>\
         {words}</div>"
    )
}

fn percent(job: &JobView<'_>) -> Option<u64> {
    (job.total_items > 1)
        .then(|| job.processed_items.min(job.total_items).saturating_mul(100) / job.total_items)
}

fn attempts(job: &JobView<'_>) -> String {
    if job.attempts.is_empty() {
        return String::new();
    }
    let items: String = job.attempts.iter().map(timeline).collect();
    format!("<section id=\"attempts\"><h2>Attempts</h2><ol>{items}</ol></section>\n")
}

fn timeline(attempt: &AttemptView<'_>) -> String {
    let outcome = attempt.outcome.unwrap_or("processing");
    let words = match attempt.outcome {
        None => "runs",
        Some("vanished") => "its worker vanished",
        Some("released") => "given back",
        Some(outcome) => outcome,
    };
    // A class is one of the words that the queue knows, or nothing that a style was written for.
    let class: String = outcome.chars().filter(char::is_ascii_lowercase).collect();
    let took = match attempt.ended_at {
        Some(ended) => format!(" · {}", length(attempt.started_at, ended)),
        None => String::new(),
    };
    format!(
        "<li class=\"attempt\"><span class=\"dot {class}\"></span><strong>Attempt {number} · \
         <span class=\"{class}\">{words}</span></strong><small>{at}{took}</small>{error}</li>",
        number = attempt.number,
        words = Text(words),
        at = time(attempt.started_at),
        error = attempt.error.map(cause).unwrap_or_default(),
    )
}

fn cause(cause: &Cause) -> String {
    let (code, message) = (Text(&cause.code), Text(&cause.message));
    format!("<p class=\"error\"><code>{code}</code><bdi>{message}</bdi></p>")
}

/// What went wrong: with the job, and with single items of it.
fn errors(job: &JobView<'_>) -> String {
    if job.errors.is_empty() {
        return String::new();
    }
    let mut html = String::from("<section id=\"errors\"><h2>Errors</h2>");
    let mut rows = String::new();
    for error in job.errors.iter().take(MOST_ITEMS) {
        match error {
            ErrorView::Job(error) => html.push_str(&cause(error)),
            ErrorView::Item(error) => rows.push_str(&item(error)),
        }
    }
    if !rows.is_empty() {
        html.push_str("<table><thead><tr><th>Item<th>Error</tr></thead><tbody>");
        html.push_str(&rows);
        html.push_str("</tbody></table>");
    }
    html.push_str("</section>\n");
    html
}

fn item(error: &ItemError) -> String {
    format!(
        "<tr><td class=\"id\"><bdi>{}</bdi><td><code>{}</code> <bdi>{}</bdi></tr>",
        Text(&error.item_id),
        Text(&error.code),
        Text(&error.message)
    )
}

fn result(job: &JobView<'_>) -> String {
    let Some(result) = job.result.clone().filter(|_| skipped(job).is_none()) else {
        return String::new();
    };
    if result.is_null() || result.as_object().is_some_and(serde_json::Map::is_empty) {
        return String::new();
    }
    let pretty = format!("{result:#}");
    let lines: Vec<_> = pretty.lines().map(|line| Text(line).to_string()).collect();
    let lines = lines.join("&#10;");
    format!("<section id=\"result\"><h2>Result</h2><pre dir=\"ltr\">{lines}</pre></section>\n")
}

fn skipped<'a>(job: &'a JobView<'_>) -> Option<&'a str> {
    job.result.as_ref()?.as_object().filter(|result| result.len() == 1)?.get("skipped")?.as_str()
}

fn facts(job: &JobView<'_>) -> String {
    let mut html = String::from("<section id=\"facts\"><h2>Details</h2><dl>");
    let mut fact = |name: &str, value: &str| {
        // Writing to a text cannot fail.
        let _ = write!(html, "<dt>{name}</dt><dd>{value}</dd>");
    };
    fact("Job", &format!("<span class=\"id\">{}</span>", job.id));
    fact("Submitted", &time(job.created_at));
    if !job.status.is_final() {
        fact("To run at", &time(job.run_at));
    }
    if let Some(started) = job.started_at {
        fact("Started", &time(started));
    }
    if let Some(ended) = job.completed_at {
        fact("Ended", &time(ended));
    }
    fact("Attempts", &format!("{} of {}", job.attempt, job.max_attempts));
    if !job.tags.is_empty() {
        let tag = |tag: &String| format!("<bdi class=\"tag\">{}</bdi>", Text(tag));
        fact("Tags", &job.tags.iter().map(tag).collect::<String>());
    }
    html.push_str("</dl></section>\n");
    html
}

/// A moment, in UTC until the script knows better.
fn time(at: Moment) -> String {
    format!("<time datetime=\"{at}\">{}</time>", clock(at))
}

fn clock(at: Moment) -> String {
    let text = at.to_string();
    let seconds = text.split_once('.').map_or(text.as_str(), |(seconds, _)| seconds);
    format!("{} UTC", seconds.replace('T', " "))
}

fn length(from: Moment, to: Moment) -> String {
    let millis = to.since(from).as_millis();
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {} s", millis / 60_000, millis % 60_000 / 1_000),
        _ => format!("{} h {} min", millis / 3_600_000, millis % 3_600_000 / 60_000),
    }
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map(|first| first.to_ascii_uppercase().to_string() + chars.as_str())
        .unwrap_or_default()
}
