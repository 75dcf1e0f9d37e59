//! Worker processes of the benchmark: this program, as children.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::Instant,
};

use super::{
    Adapter, Failure,
    ground::{Address, Ground},
    progress::Progress,
};
use crate::queue::Status;

/// How often it is looked how far they are.
const LOOK: Duration = Duration::from_millis(20);
/// How long nothing may happen before something is wrong.
const STANDSTILL: Duration = Duration::from_secs(120);

/// Worker processes over one ground; killed when this is dropped.
pub(super) struct Crew {
    children: Vec<Child>,
    counts: PathBuf,
}

/// What a crew left behind.
pub(super) struct Done {
    pub(super) progress: Progress,
    /// What the jobs that measured it waited, in ms.
    pub(super) waited: Vec<f64>,
}

impl Crew {
    /// Starts them, and waits until all have begun.
    pub(super) async fn start(
        ground: &Ground,
        size: usize,
        concurrency: u32,
    ) -> Result<Self, Failure> {
        let mut children = Vec::new();
        for _ in 0..size {
            children.push(spawn(ground, concurrency)?);
        }
        let mut crew = Self { children, counts: ground.counts.clone() };
        crew.until(|progress| progress.workers == size).await?;
        Ok(crew)
    }

    /// Waits until `enough`.
    pub(super) async fn until(
        &mut self,
        enough: impl Fn(&Progress) -> bool,
    ) -> Result<(), Failure> {
        let (mut total, mut since) = (0.0, Instant::now());
        loop {
            let progress = self.progress()?;
            if enough(&progress) {
                return Ok(());
            }
            if progress.total() > total {
                (total, since) = (progress.total(), Instant::now());
            }
            if since.elapsed() > STANDSTILL {
                return Err(
                    self.stuck(&format!("did nothing for {STANDSTILL:?} after {total} jobs"))
                );
            }
            if let Some(status) = self.ended() {
                return Err(self.stuck(&format!("ended ({status})")));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until all of the backlog is done and settled.
    pub(super) async fn finish(&mut self, ground: &Ground, backlog: u32) -> Result<(), Failure> {
        self.until(|progress| progress.total() >= f64::from(backlog)).await?;
        let since = Instant::now();
        loop {
            let tally = ground.tally().await?;
            if tally.get(&Status::Completed) == Some(&u64::from(backlog)) {
                return Ok(());
            }
            if since.elapsed() > STANDSTILL {
                return Err(self.stuck(&format!("left {tally:?} of {backlog} jobs")));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Asks them to stop, waits for their end, and reads what they left.
    pub(super) async fn stop(mut self) -> Result<Done, Failure> {
        for child in &self.children {
            let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
            // One that ended by itself is found below.
            let _ = id.map(|id| kill_process(id, Signal::TERM));
        }
        for child in &mut self.children {
            let status = child.wait().await.map_err(|e| lost(&e))?;
            if !status.success() {
                return Err(self.stuck(&format!("ended ({status})")));
            }
        }
        let waited = match fs::read(self.counts.join("lat.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| lost(&e.into()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(lost(&error)),
        };
        Ok(Done { progress: self.progress()?, waited })
    }

    fn progress(&self) -> Result<Progress, Failure> {
        Progress::read(&self.counts).map_err(|e| lost(&e))
    }

    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.children.iter_mut().find_map(|child| child.try_wait().ok().flatten())
    }

    fn stuck(&self, words: &str) -> Failure {
        let log = fs::read_to_string(self.counts.join("log")).unwrap_or_default();
        let last = log.lines().last().map(|line| format!(": {line}")).unwrap_or_default();
        Failure::unavailable(format!("a worker {words}{last}"))
    }
}

fn lost(error: &io::Error) -> Failure {
    Failure::unavailable(format!("worker processes cannot be followed: {error}"))
}

fn spawn(ground: &Ground, concurrency: u32) -> Result<Child, Failure> {
    let log = File::options().create(true).append(true).open(ground.counts.join("log"));
    let mut command = Command::new(std::env::current_exe().map_err(|e| lost(&e))?);
    command
        .args(["bench", "worker", "--concurrency", &concurrency.to_string()])
        .env("POSTRIDER_LOG__LEVEL", "warn")
        .env("CNT", &ground.counts)
        .env_remove("RPORT")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.map_err(|e| lost(&e))?)
        .kill_on_drop(true);
    if let Some(file) = &ground.config_file {
        command.arg("--config").arg(file);
    }
    match &ground.address {
        Address::Redis { url, prefix } => {
            // Not as an argument: a URL may hold a password.
            command.env("POSTRIDER_REDIS__URL", url).args(["--prefix", prefix])
        }
        Address::Sqlite { dir } => {
            command.args(["--queue", Adapter::Sqlite.name(), "--data"]).arg(dir)
        }
    };
    command.spawn().map_err(|e| lost(&e))
}
