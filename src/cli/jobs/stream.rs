//! `postrider jobs submit FILE|-`: jobs of any number, one JSON a line, to a façade.
//!
//! Lines go in batches, one after the other. A batch has an idempotency key made of its place and its
//! content, so that the same file again, after a break, goes through what was accepted without
//! submitting it twice, and on from there. A job about many items that is larger than a batch goes by itself.

use std::path::Path;

use bytes::Bytes;
use hyper::Method;
use indicatif::{ProgressBar, ProgressStyle};
use jobs::contract::JobId;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use sha2::{Digest, Sha256};
use tokio::{
    fs::File,
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader, stdin},
};

use super::remote::{PATIENCE, RemoteArgs, refused};
use crate::{
    cli::{Failure, Out, output::printable},
    client::{Ask, Client},
    http,
};

/// Jobs of one batch, and its bytes: what the façade takes at once.
const MOST_JOBS: usize = 1_000;
const MOST_BYTES: usize = 1_000_000;
/// Bytes of a line: what the façade takes of one job about many items, and what is around its payload.
const MOST_OF_A_LINE: usize = http::BULK + 1_000;
/// Where a façade is if nobody says anything else: the default of `http.listen`.
const HERE: &str = "http://127.0.0.1:8080";

/// How a file is submitted.
#[derive(Debug)]
pub struct Streamed {
    /// The file, or `-`.
    pub file: String,
    /// To whom.
    pub remote: RemoteArgs,
    /// Tells this run from another one with the same file.
    pub run: String,
    /// Whether the jobs' ids are written.
    pub ids: bool,
}

/// Lines that go together.
#[derive(Debug, Default)]
struct Batch {
    /// The type of the one job, where the body is its payload.
    kind: Option<String>,
    body: Vec<u8>,
    /// The number of the line of each job.
    lines: Vec<u64>,
}

/// A job that is larger than a batch: a façade takes its payload alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Large<'l> {
    r#type: String,
    #[serde(borrow)]
    payload: &'l RawValue,
}

/// What was done so far.
#[derive(Debug, Default)]
struct Done {
    batches: u64,
    jobs: u64,
    repeated: u64,
}

/// Submits a file.
///
/// # Errors
///
/// Why it was not submitted to its end; what was accepted before stays so.
pub async fn stream(args: &Streamed, out: &mut Out<'_>) -> Result<(), Failure> {
    let mut client = args.remote.client(HERE)?;
    let mut lines = Lines::open(&args.file).await?;
    let bar = bar(lines.size);
    let mut done = Done::default();
    let ended = submit(args, &mut client, &mut lines, &mut done, &bar, out).await;
    bar.finish_and_clear();
    summarise(args, &done, out)?;
    ended.map_err(|failure| Failure {
        sentence: format!(
            "{}\n{} before that: accepted; the same command again goes on from there",
            failure.sentence,
            counted(done.jobs, "job")
        ),
        ..failure
    })
}

async fn submit(
    args: &Streamed,
    client: &mut Client,
    lines: &mut Lines,
    done: &mut Done,
    bar: &ProgressBar,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    while let Some(batch) = lines.batch().await? {
        let ask = batch.ask(&args.run, done.batches);
        let answer = client.insist(&ask, PATIENCE).await?;
        let ids = match answer.status {
            202 => match &answer.body["data"] {
                Value::Array(jobs) => jobs.clone(),
                job => vec![job.clone()],
            },
            422 => return Err(batch.problems(&answer.body).unwrap_or_else(|| refused(&answer))),
            _ => return Err(refused(&answer)),
        };
        done.batches += 1;
        done.jobs += batch.lines.len() as u64;
        if answer.header("idempotent-replayed").is_some() {
            done.repeated += batch.lines.len() as u64;
        }
        if args.ids {
            for id in ids.iter().filter_map(|job| job["id"].as_str()?.parse::<JobId>().ok()) {
                out.line(id.to_string())?;
            }
        }
        bar.set_position(lines.read);
        bar.set_message(format!("{} jobs", done.jobs));
    }
    Ok(())
}

fn summarise(args: &Streamed, done: &Done, out: &mut Out<'_>) -> Result<(), Failure> {
    let Done { batches, jobs, repeated } = done;
    if args.ids {
        return Ok(());
    }
    if out.is_json() {
        let fresh = jobs - repeated;
        return Ok(out.json(&json!({
            "jobs": jobs, "fresh": fresh, "repeated": repeated, "requests": batches,
        }))?);
    }
    let before = match repeated {
        0 => String::new(),
        _ => format!(", {repeated} of them before"),
    };
    let (jobs, requests) = (counted(*jobs, "job"), counted(*batches, "request"));
    Ok(out.line(format!("{jobs} accepted in {requests}{before}"))?)
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn bar(size: Option<u64>) -> ProgressBar {
    let (bar, template) = match size {
        Some(size) => (ProgressBar::new(size), "[{bar:30}] {bytes}/{total_bytes} {wide_msg} {eta}"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {wide_msg}"),
    };
    let style = ProgressStyle::with_template(template);
    bar.with_style(style.expect("the templates are constants, and tests draw them"))
}

impl Batch {
    /// The batch of a job that is larger than others together may be.
    fn alone(number: u64, line: &[u8]) -> Result<Self, Failure> {
        let is_bulk = |kind: &str| jobs::catalogue().find(kind).is_some_and(|kind| kind.bulk);
        match serde_json::from_slice::<Large<'_>>(line) {
            Ok(Large { r#type: kind, payload }) if is_bulk(&kind) => {
                let body = payload.get().as_bytes().to_vec();
                Ok(Self { kind: Some(kind), body, lines: vec![number] })
            }
            _ => Err(Failure::data(format!(
                "line {number}: more than {MOST_BYTES} bytes in one job; a job about many items may have \
                 {}, with nothing beside its type and its payload",
                http::BULK
            ))),
        }
    }

    fn has_room_for(&self, line: &[u8]) -> bool {
        self.lines.len() < MOST_JOBS
            && (self.lines.is_empty() || self.body.len() + line.len() < MOST_BYTES)
    }

    fn add(&mut self, number: u64, line: &[u8]) {
        self.body.extend_from_slice(if self.lines.is_empty() { b"{\"jobs\":[" } else { b",\n" });
        self.body.extend_from_slice(line);
        self.lines.push(number);
    }

    fn ask(&self, run: &str, place: u64) -> Ask {
        let (path, body) = match &self.kind {
            Some(kind) => (format!("/jobs/{kind}"), self.body.clone()),
            None => ("/jobs".to_owned(), [&self.body[..], b"]}"].concat()),
        };
        let mut hash = Sha256::new();
        for part in [run.as_bytes(), &place.to_be_bytes(), &body] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ask {
            method: Method::POST,
            path,
            headers: vec![("idempotency-key", format!("ndjson-{hash}"))],
            body: Bytes::from(body),
        }
    }

    /// What was wrong, by lines of the file.
    fn problems(&self, body: &Value) -> Option<Failure> {
        let line = |problem: &Value| {
            let words = problem["message"].as_str()?;
            let pointer = problem["pointer"].as_str()?;
            let (index, pointer) = match self.kind {
                Some(_) => ("0", format!("payload{pointer}")),
                None => {
                    let rest = pointer.strip_prefix("/jobs/")?;
                    let (index, pointer) = rest.split_once('/').unwrap_or((rest, ""));
                    (index, pointer.to_owned())
                }
            };
            let number = self.lines.get(index.parse::<usize>().ok()?)?;
            let place = if pointer.is_empty() { String::new() } else { format!(" /{pointer}:") };
            Some(format!("line {number}:{} {}", printable(&place), printable(words)))
        };
        let problems: Option<Vec<_>> = body["errors"].as_array()?.iter().map(line).collect();
        problems
            .filter(|problems| !problems.is_empty())
            .map(|lines| Failure::data(lines.join("\n")))
    }
}

/// The lines of a file, in batches.
struct Lines {
    name: String,
    from: Box<dyn AsyncBufRead + Send + Unpin>,
    /// The size of the file, where it has one.
    size: Option<u64>,
    read: u64,
    number: u64,
    /// The first line of the next batch.
    waiting: Option<Vec<u8>>,
}

impl Lines {
    async fn open(file: &str) -> Result<Self, Failure> {
        let (name, from, size): (_, Box<dyn AsyncBufRead + Send + Unpin>, _) = if file == "-" {
            ("standard input".to_owned(), Box::new(BufReader::new(stdin())), None)
        } else {
            let hint = if Path::new(file).extension().is_none() && !file.contains('/') {
                format!(" (a job of the type {file:?} needs --payload)")
            } else {
                String::new()
            };
            let wrong = |e| Failure::data(format!("cannot read {file}: {e}{hint}"));
            let opened = File::open(file).await.map_err(wrong)?;
            let size = opened.metadata().await.ok().map(|about| about.len());
            (file.to_owned(), Box::new(BufReader::new(opened)), size)
        };
        Ok(Self { name, from, size, read: 0, number: 0, waiting: None })
    }

    /// The next batch; none at the end.
    async fn batch(&mut self) -> Result<Option<Batch>, Failure> {
        let mut batch = Batch::default();
        loop {
            let line = match self.waiting.take() {
                Some(line) => line,
                None => match self.line().await? {
                    Some(line) => line,
                    None => break,
                },
            };
            if batch.lines.is_empty() && line.len() >= MOST_BYTES {
                return Batch::alone(self.number, &line).map(Some);
            }
            if !batch.has_room_for(&line) {
                self.waiting = Some(line);
                break;
            }
            batch.add(self.number, &line);
        }
        Ok((!batch.lines.is_empty()).then_some(batch))
    }

    /// The next line that is a job; none at the end.
    async fn line(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let most = u64::try_from(MOST_OF_A_LINE).unwrap_or(u64::MAX);
        loop {
            let mut line = Vec::new();
            let read = (&mut self.from).take(most).read_until(b'\n', &mut line).await;
            let read =
                read.map_err(|e| Failure::data(format!("cannot read {}: {e}", self.name)))?;
            if read == 0 {
                return Ok(None);
            }
            self.read += read as u64;
            self.number += 1;
            let at = || format!("{} line {}", self.name, self.number);
            if read == MOST_OF_A_LINE && !line.ends_with(b"\n") {
                let words = format!("{}: more than {MOST_OF_A_LINE} bytes in one job", at());
                return Err(Failure::data(words));
            }
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            // Two values on one line would shift the lines of all problems after them.
            serde_json::from_slice::<serde::de::IgnoredAny>(line)
                .map_err(|e| Failure::data(format!("{}: not one JSON value: {e}", at())))?;
            return Ok(Some(line.to_vec()));
        }
    }
}
