//! A process, the signals that end or stop it, and what it says.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{BufReader, Lines},
    process::{Child, ChildStderr},
};

use crate::support::eventually;

/// A process of ours; killed when it is dropped.
pub struct Process {
    pub(super) child: Child,
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Waits until SIGSTOP has stopped it: a thread of it runs on until it is reached.
    pub async fn stopped(&self) {
        eventually("all of its threads are stopped", || {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
            tasks.flatten().all(|task| {
                let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                // The state stands behind the name, which is in parentheses.
                stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('T'))
            })
        })
        .await;
    }

    /// Whether it has not ended.
    pub fn is_up(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// `kill -9`, and the end of it.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM, as soon as it listens for that; the exit code.
    pub async fn terminate(self) -> i32 {
        eventually("it listens for signals", || self.listens()).await;
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Whether it has a handler for SIGTERM yet: one that was just started has none, and would be ended by
    /// the system. One that is gone has nothing to wait for.
    fn listens(&self) -> bool {
        let Some(id) = self.child.id() else { return true };
        let Ok(status) = std::fs::read_to_string(format!("/proc/{id}/status")) else { return true };
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        caught.is_none_or(|mask| mask & 1 << (Signal::TERM.as_raw() - 1) != 0)
    }

    /// Its end; the exit code.
    pub async fn ended(mut self) -> i32 {
        let ended = tokio::time::timeout(Duration::from_secs(60), self.child.wait());
        ended.await.expect("it stops in time").unwrap().code().expect("it exits by itself")
    }
}

/// What a process says on standard error.
pub struct Words(pub(super) Lines<BufReader<ChildStderr>>);

impl Words {
    /// Reads on until it says a line with these words.
    pub async fn until(&mut self, words: &str) {
        while let Some(line) = self.0.next_line().await.unwrap() {
            if line.contains(words) {
                return;
            }
        }
        panic!("it ended without saying {words:?}");
    }
}
