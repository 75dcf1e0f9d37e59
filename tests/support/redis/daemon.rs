//! Servers that end with their test, or with the whole run, whatever happens to it.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal};

/// What stands guard over a server: it waits for the end of this process, however that comes, then ends
/// the server and removes its directory.
const GUARD: &str = r#"cat > /dev/null; kill -9 "$0" 2> /dev/null; rm -rf "$1""#;

/// A server, killed when it is dropped or when this process is gone.
pub(super) struct Daemon {
    process: Child,
    guard: Child,
}

impl Daemon {
    /// Starts one that writes what it has to say into a file in its directory.
    pub(super) fn start(command: &mut Command, dir: &Path) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
        let process = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed: see tests/support/packages.sh");
        let guard = Command::new("sh")
            .args(["-c", GUARD, &process.id().to_string()])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a shell");
        Self { process, guard }
    }

    pub(super) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.process.id()).expect("process ids are small");
        let id = Pid::from_raw(id).expect("a child has an id");
        rustix::process::kill_process(id, signal).expect("the server runs");
    }

    /// kill -9, and its end.
    pub(super) fn kill(&mut self) {
        // The guard first: a number that it keeps may be another process' soon.
        for child in [&mut self.guard, &mut self.process] {
            // It may be dead already, which is what some tests are about.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ports of the loopback interface that are free at this moment.
pub(super) fn free_ports<const N: usize>() -> [u16; N] {
    // All are held until the last is known, so that none comes twice.
    let held: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    held.map(|listener| listener.local_addr().expect("it is bound").port())
}
