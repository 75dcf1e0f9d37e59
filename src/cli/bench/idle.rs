//! A worker that has nothing to do: the real `postrider worker`, with its store and its admin listener.

use std::{
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::{
    Failure,
    figures::{Figure, Promise},
    ground::{Address, Ground},
    place::Place,
};

/// What a worker logs when it begins to claim.
const AT_WORK: &str = "the workers are at work";
/// How long it may take to get there, and how long it is idle before it is weighed.
const START: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(1);

/// Its start, and its memory after a second.
pub(super) async fn measure(place: &Place) -> Result<Vec<Figure>, Failure> {
    let ground = place.fresh().await?;
    let dir = match &ground.address {
        Address::Sqlite { dir } => dir.clone(),
        Address::Redis { .. } => place.directory("idle")?,
    };
    let migrated = program(&ground, &dir, "migrate")?.status().await;
    if !migrated.is_ok_and(|status| status.success()) {
        return Err(Failure::unavailable("the store of an idle worker cannot be made"));
    }
    let since = Instant::now();
    let mut worker = program(&ground, &dir, "worker")?
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| Failure::unavailable(format!("an idle worker cannot be started: {e}")))?;
    at_work(&mut worker).await?;
    let start = since.elapsed();
    tokio::time::sleep(IDLE).await;
    let memory = worker.id().and_then(resident);
    let _ = worker.kill().await;
    ground.clear().await?;
    let start = Figure::new("start", start.as_secs_f64() * 1e3, "ms");
    let mut figures = vec![start.promised(Promise::AtMost(1_000.0))];
    if let Some(bytes) = memory {
        let memory = Figure::new("memory (RSS)", bytes / 1e6, "MB");
        figures.push(memory.promised(Promise::AtMost(30.0)));
    }
    Ok(figures)
}

/// This program with a command, over the ground's queue and a store of its own.
fn program(ground: &Ground, dir: &Path, command: &str) -> Result<Command, Failure> {
    let own = std::env::current_exe();
    let own =
        own.map_err(|e| Failure::unavailable(format!("this program cannot be found: {e}")))?;
    let (url, prefix) = match &ground.address {
        Address::Redis { url, prefix } => (url.as_str(), prefix.as_str()),
        Address::Sqlite { .. } => ("", "postrider:bench"),
    };
    let mut program = Command::new(own);
    program
        .arg(command)
        .env("POSTRIDER_REDIS__URL", url)
        .env("POSTRIDER_REDIS__PREFIX", prefix)
        .env("POSTRIDER_DATA_DIR", dir)
        .env("POSTRIDER_STORE__URL", "")
        .env("POSTRIDER_SECRET_KEY", BASE64_STANDARD.encode(rand::random::<[u8; 32]>()))
        .env("POSTRIDER_HTTP__ADMIN_LISTEN", "127.0.0.1:0")
        .env("POSTRIDER_LOG__LEVEL", "info")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    if let Some(file) = &ground.config_file {
        program.arg("--config").arg(file);
    }
    Ok(program)
}

async fn at_work(worker: &mut Child) -> Result<(), Failure> {
    let log = worker.stderr.take().expect("its standard error is a pipe");
    let mut lines = BufReader::new(log).lines();
    let mut last = "it logged nothing".to_owned();
    let begun = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains(AT_WORK) {
                return true;
            }
            last = line;
        }
        false
    };
    match tokio::time::timeout(START, begun).await {
        Ok(true) => Ok(()),
        _ => Err(Failure::unavailable(format!("an idle worker did not start: {last}"))),
    }
}

/// Bytes of memory that a process has, where the system says so.
fn resident(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1_024.0)
}
