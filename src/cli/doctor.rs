//! `postrider doctor`.

use serde::Serialize;
use serde_json::json;

use super::{Failure, Globals, Out, check_config::compare_hosts};
use crate::{
    app::{Embedded, open_queue, open_store},
    config::Config,
    queue::{
        Lack,
        redis::{RedisQueue, Weight},
    },
    resources::Declarations,
    scheduler::Crontab,
};

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Problem,
}

/// One thing that there is to say.
#[derive(Debug, Serialize)]
struct Line {
    level: Level,
    part: &'static str,
    what: String,
    /// What to do; none, when nothing has to be done or `what` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
    /// The exit code that a problem asks for.
    #[serde(skip)]
    code: u8,
}

impl Line {
    fn ok(part: &'static str, what: impl Into<String>) -> Self {
        Self { level: Level::Ok, part, what: what.into(), remedy: None, code: 0 }
    }

    fn warning(part: &'static str, what: String) -> Self {
        Self { level: Level::Warning, part, what, remedy: None, code: 0 }
    }

    fn problem(part: &'static str, failure: Failure) -> Self {
        let Failure { code, sentence } = failure;
        Self { level: Level::Problem, part, what: sentence, remedy: None, code }
    }
}

/// Looks at configuration, store and queue; one line for each thing that there is to say.
///
/// # Errors
///
/// That something would lose jobs or does not work; never for a warning.
pub async fn run(globals: &Globals, out: &mut Out<'_>) -> Result<(), Failure> {
    let lines = examine(globals).await;
    if out.is_json() {
        let well = lines.iter().all(|line| line.level != Level::Problem);
        out.json(&json!({"ok": well, "findings": lines}))?;
    } else {
        for line in &lines {
            let level = match line.level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Problem => "problem",
            };
            let remedy = line.remedy.map(|remedy| format!("; {remedy}")).unwrap_or_default();
            out.line(format!("{level:<8} {:<14} {}{remedy}", line.part, line.what))?;
        }
    }
    let problems: Vec<&Line> = lines.iter().filter(|l| l.level == Level::Problem).collect();
    // What is wrong is mended before what is out of reach.
    match problems.iter().map(|line| line.code).max() {
        None => Ok(()),
        Some(code) => {
            let count = problems.len();
            let noun = if count == 1 { "problem" } else { "problems" };
            Err(Failure { code, sentence: format!("{count} {noun} found") })
        }
    }
}

async fn examine(globals: &Globals) -> Vec<Line> {
    let config = match globals.read(&[]) {
        Ok(config) => config,
        Err(error) => {
            let lines = error.to_string();
            let problem = |words: &str| Line::problem("configuration", Failure::config(words));
            return lines.lines().map(problem).collect();
        }
    };
    let mut lines = configuration(&config).await;
    let embedded = config.redis.url.is_empty() || config.store.url.is_empty();
    if embedded && !config.data_dir.is_dir() {
        // A look must not make it.
        let dir = config.data_dir.display();
        let words =
            format!("there is no data directory {dir}; `postrider up --data {dir}` makes one");
        lines.push(Line::problem("data directory", Failure::config(words)));
        return lines;
    }
    lines.push(store(&config).await);
    lines.extend(queue(&config).await);
    lines
}

async fn configuration(config: &Config) -> Vec<Line> {
    const PART: &str = "configuration";
    let problem = |words: String| Line::problem(PART, Failure::config(words));
    let declared = match Declarations::configured(config) {
        Ok(declared) => declared,
        Err(error) => return error.to_string().lines().map(|l| problem(l.to_owned())).collect(),
    };
    let mut lines =
        vec![match Crontab::configured(config, &jobs::catalogue(), declared.resources()) {
            Ok(crontab) => {
                let entries = crontab.entries().len();
                Line::ok(PART, format!("valid, with {entries} crontab entries"))
            }
            Err(error) => problem(error.to_string()),
        }];
    lines.extend(resources(&declared).await);
    lines
}

/// How the product's tables are; nothing to say when none are declared.
async fn resources(declared: &Declarations) -> Vec<Line> {
    const PART: &str = "resources";
    match compare_hosts(declared).await {
        Ok(()) if declared.databases().is_empty() => Vec::new(),
        Ok(()) => vec![Line::ok(PART, "the product's tables are what is declared")],
        Err(Failure { code, sentence }) => {
            let problem = |words: &str| Failure { code, sentence: words.to_owned() };
            sentence.lines().map(|words| Line::problem(PART, problem(words))).collect()
        }
    }
}

async fn store(config: &Config) -> Line {
    let kind = if config.store.url.starts_with("postgres") { "Postgres" } else { "SQLite" };
    let answers = async {
        let store = open_store(config, Embedded::No).await?;
        let ready = store.ready().await;
        store.shut().await;
        Ok::<(), Failure>(ready?)
    };
    match answers.await {
        Ok(()) => Line::ok("store", format!("{kind} answers, with the schema of this program")),
        Err(failure) => Line::problem("store", failure),
    }
}

async fn queue(config: &Config) -> Vec<Line> {
    const PART: &str = "queue";
    let mut lines = Vec::new();
    if !config.redis.url.is_empty() {
        match RedisQueue::examine(&config.redis).await {
            Ok(findings) => lines.extend(findings.into_iter().map(|finding| {
                let (level, code) = match finding.weight {
                    Weight::Warns => (Level::Warning, 0),
                    Weight::Loses => (Level::Problem, Failure::config("").code),
                };
                let what = format!("Redis at {}: {}", finding.server, finding.what);
                Line { level, part: PART, what, remedy: Some(finding.remedy), code }
            })),
            Err(error) => return vec![Line::problem(PART, error.into())],
        }
        if lines.iter().any(|line| line.level == Level::Problem) {
            return lines;
        }
    }
    let answers = async { Ok::<_, Failure>(open_queue(config).await?.ready().await?) };
    match answers.await {
        Ok(_) if config.redis.url.is_empty() => {
            lines.push(Line::ok(
                PART,
                "embedded, for the processes of one host; it can be written to",
            ));
        }
        Ok(lacks) if lacks.is_empty() => {
            lines.push(Line::ok(PART, "Redis answers, and every shard can be written to"));
        }
        // A server without room is named above.
        Ok(lacks) => {
            let away = lacks.into_iter().filter(|lack| matches!(lack, Lack::Parts(_)));
            lines.extend(away.map(|lack| Line::warning(PART, lack.to_string())));
        }
        Err(failure) => lines.push(Line::problem(PART, failure)),
    }
    lines
}
