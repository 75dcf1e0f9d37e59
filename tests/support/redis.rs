//! Redis for tests: one server for the run, one prefix for each test.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use postrider::queue::redis::RedisConfig;
use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use tokio::net::UnixStream;

use super::eventually_ok;

const VARIABLE: &str = "POSTRIDER_TEST_REDIS";

/// The URL of the run's server.
pub(crate) fn server() -> String {
    std::env::var(VARIABLE).unwrap_or_else(|_| {
        panic!(
            "{VARIABLE} is not set: run the tests with tests/run, or start a server of your own \
             with `tests/support/redis.sh start DIR` and export what it prints"
        )
    })
}

/// A place of its own on the run's server.
pub(crate) fn place() -> RedisConfig {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let prefix = format!("test-{process}-{number}-{:08x}", rand::random::<u32>());
    // Generous: the run's server and its tests share the machine with everything else.
    let patience = Duration::from_secs(20);
    let defaults = super::defaults().redis;
    RedisConfig { url: server(), prefix, submit_timeout: patience, ..defaults }
}

/// A server of one test's own, which may be stopped, killed and started again.
pub(crate) struct Private {
    dir: TempDir,
    options: Vec<&'static str>,
    process: Child,
}

impl Private {
    /// Starts one with these options beside a socket and a directory of its own.
    pub(crate) async fn start(options: &[&'static str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let process = spawn(dir.path(), options);
        let server = Self { dir, options: options.to_vec(), process };
        server.answers().await;
        server
    }

    /// Where it listens; no prefix but the default is needed.
    pub(crate) fn config(&self) -> RedisConfig {
        let url = format!("redis+unix://{}", socket(self.dir.path()).display());
        RedisConfig { url, ..super::defaults().redis }
    }

    /// The path of its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        socket(self.dir.path())
    }

    /// Sets an option of the running server.
    pub(crate) fn configure(&self, option: &str, value: &str) {
        assert_eq!(self.ask(&["config", "set", option, value]).trim(), "OK");
    }

    /// What it answers to a command.
    pub(crate) fn ask(&self, command: &[&str]) -> String {
        let asked = Command::new("redis-cli").arg("-s").arg(self.socket()).args(command).output();
        let done = asked.expect("redis-cli comes with redis-server");
        // What it logs of binary arguments is cut anywhere.
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Its keys.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.ask(&["keys", "*"]).lines().map(str::to_owned).collect()
    }

    /// The processor's time that it has used, whatever else the machine does: that of its main thread,
    /// which runs all scripts.
    pub(crate) fn busy(&self) -> Duration {
        let id = self.process.id();
        let text = std::fs::read_to_string(format!("/proc/{id}/task/{id}/schedstat"));
        let text = text.expect("the server runs");
        let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
        Duration::from_nanos(nanos.expect("a number"))
    }

    /// What its slow log says of scripts: how long each took, in microseconds.
    pub(crate) fn slow_scripts(&self) -> Vec<u64> {
        let log = self.ask(&["--json", "slowlog", "get", "-1"]);
        let entries: Vec<serde_json::Value> = serde_json::from_str(&log).expect("a list");
        let script = |entry: &&serde_json::Value| {
            entry[3][0].as_str().is_some_and(|verb| verb.to_ascii_uppercase().starts_with("EVAL"))
        };
        entries.iter().filter(script).map(|entry| entry[2].as_u64().expect("a number")).collect()
    }

    /// The memory that it uses for what it holds, in bytes.
    pub(crate) fn used_memory(&self) -> u64 {
        let info = self.ask(&["info", "memory"]);
        let bytes = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        bytes.expect("it says so").trim().parse().expect("a number")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.process.id()).expect("process ids are small");
        let id = Pid::from_raw(id).expect("a child has an id");
        rustix::process::kill_process(id, signal).expect("the server runs");
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("the server runs");
        self.process.wait().expect("the server is a child");
    }

    /// Starts it again with what it kept.
    pub(crate) async fn restart(&mut self) {
        self.process = spawn(self.dir.path(), &self.options);
        self.answers().await;
    }

    async fn answers(&self) {
        let socket = socket(self.dir.path());
        eventually_ok("the server listens", || UnixStream::connect(&socket)).await;
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // It may be dead already, which is what some tests are about.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("socket")
}

fn spawn(dir: &Path, options: &[&str]) -> Child {
    // A killed server leaves its socket behind.
    let _ = std::fs::remove_file(socket(dir));
    Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--unixsocket"])
        .arg(socket(dir))
        .arg("--dir")
        .arg(dir)
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed: see tests/support/packages.sh")
}
