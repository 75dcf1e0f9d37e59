//! The program, as a shell would run it.

use std::{
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// Longer than anything here takes on a busy machine; a test that waits so long has failed.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Finished {
    pub(crate) fn json(&self) -> Value {
        let value = serde_json::from_str(&self.out);
        value.unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The same, after checking the exit code.
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

/// A command in an environment without anything of Postrider's.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("POSTRIDER_") {
            command.env_remove(name);
        }
    }
    // Tests run side by side: only one of them could have the port of the default.
    command.env("POSTRIDER_HTTP__ADMIN_LISTEN", "").env_remove("NO_COLOR");
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

pub(crate) async fn finish(mut command: Command) -> Finished {
    let output = timeout(DEADLINE, command.output()).await.expect("it did not end").unwrap();
    let Output { status, stdout, stderr } = output;
    let [out, err] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Finished { code: status.code(), out, err }
}

pub(crate) async fn run(args: &[&str]) -> Finished {
    finish(command(args)).await
}

/// Sends a signal: TERM, INT …
pub(crate) async fn signal(child: &Child, name: &str) {
    let id = child.id().expect("it still runs").to_string();
    let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().await.unwrap();
    assert!(sent.success());
}

/// A running `postrider up`.
pub(crate) struct Up {
    child: Child,
    out: tokio::io::Lines<BufReader<ChildStdout>>,
    /// The line that it said when it served.
    pub(crate) ready: String,
    pub(crate) dir: TempDir,
}

impl Up {
    /// In a new directory.
    pub(crate) async fn new() -> Self {
        Self::over(TempDir::new().unwrap()).await
    }

    /// In a directory that may have been used before.
    pub(crate) async fn over(dir: TempDir) -> Self {
        let data = dir.path().join("data");
        Self::start(&["up", "--data", path(&data), "--listen", "127.0.0.1:0"], dir).await
    }

    pub(crate) async fn start(args: &[&str], dir: TempDir) -> Self {
        Self::spawn(command(args), dir).await
    }

    pub(crate) async fn spawn(command: Command, dir: TempDir) -> Self {
        Self::watched(command, dir, Stdio::null()).await
    }

    /// With its log where it can be read.
    pub(crate) async fn watched(mut command: Command, dir: TempDir, log: Stdio) -> Self {
        command.stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(DEADLINE, out.next_line()).await.expect("it did not get ready");
        let ready = line.unwrap().expect("it ended before it was ready");
        Self { child, out, ready, dir }
    }

    pub(crate) fn data(&self) -> String {
        path(&self.dir.path().join("data")).to_owned()
    }

    /// The value of `name=…` in the ready line.
    pub(crate) fn told(&self, name: &str) -> &str {
        let mut words = self.ready.split(' ');
        let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("no {name} in {:?}", self.ready))
    }

    /// Runs a command beside it, over the same directory.
    pub(crate) async fn beside(&self, args: &[&str]) -> Finished {
        let data = self.data();
        run(&[args, &["--data", &data]].concat()).await
    }

    /// The same, with its result as JSON; it must succeed.
    pub(crate) async fn json(&self, args: &[&str]) -> Value {
        self.beside(&[args, &["--json"]].concat()).await.with(0).json()
    }

    pub(crate) async fn signal(&self, name: &str) {
        signal(&self.child, name).await;
    }

    /// Reads on until it says a line with these words.
    pub(crate) async fn said(&mut self, words: &str) -> String {
        loop {
            let line = timeout(DEADLINE, self.out.next_line()).await.expect("it fell silent");
            let line = line.unwrap().unwrap_or_else(|| panic!("it ended without saying {words:?}"));
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Waits for its end: the exit code, and what it said after the ready line.
    pub(crate) async fn end(mut self) -> (Option<i32>, Vec<String>, TempDir) {
        let mut lines = Vec::new();
        while let Some(line) = timeout(DEADLINE, self.out.next_line()).await.unwrap().unwrap() {
            lines.push(line);
        }
        let status = timeout(DEADLINE, self.child.wait()).await.expect("it did not end").unwrap();
        (status.code(), lines, self.dir)
    }
}

/// How many mails lie in a directory.
pub(crate) fn mails(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    entries
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "eml"))
        .count()
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}
