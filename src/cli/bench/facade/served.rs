//! The façade that is measured: this program, as a child.

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::{
    super::{
        ground::{Address, Ground},
        place::Place,
    },
    Failure, PATIENCE,
};
use crate::{
    app::{App, Embedded},
    config::Layers,
};

/// Connections beside those that wait.
const OTHERS: u32 = 1_000;

/// A façade in a process of its own; killed when this is dropped.
pub(super) struct Served {
    child: Child,
    pub(super) address: SocketAddr,
    pub(super) key: String,
}

impl Served {
    /// Starts it with a store of its own, in which there is a tenant with a key.
    pub(super) async fn start(
        ground: &Ground,
        place: &Place,
        waiting: u16,
    ) -> Result<Self, Failure> {
        let data = match &ground.address {
            Address::Sqlite { dir } => dir.clone(),
            Address::Redis { .. } => place.directory("facade")?,
        };
        let mut layers = Layers::defaults();
        layers.option("bench", "data_dir", &data.to_string_lossy())?;
        layers.option("bench", "log.level", "error")?;
        let app = App::open(layers.read()?, Embedded::Yes).await?;
        let key = app.make_dev().await?;
        app.store.shut().await;
        drop(app);

        let log = File::create(data.join("facade.log")).map_err(|e| lost(&e))?;
        let mut command = Command::new(std::env::current_exe().map_err(|e| lost(&e))?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("POSTRIDER_") {
                command.env_remove(name);
            }
        }
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            // Every request is one of the same tenant, which has as many as it likes.
            .env("POSTRIDER_HTTP__RATE_LIMIT", "1000000/s")
            .env("POSTRIDER_HTTP__WAITERS", waiting.to_string())
            .env("POSTRIDER_HTTP__CONNECTIONS", (u32::from(waiting) + OTHERS).to_string())
            .env("POSTRIDER_HTTP__ADMIN_LISTEN", "")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        if let Address::Redis { url, prefix } = &ground.address {
            command.env("POSTRIDER_REDIS__URL", url).env("POSTRIDER_REDIS__PREFIX", prefix);
        }
        let mut child = command.spawn().map_err(|e| lost(&e))?;
        let address = ready(&mut child).await.ok_or_else(|| {
            let said = fs::read_to_string(data.join("facade.log")).unwrap_or_default();
            let last = said.lines().last().unwrap_or("nothing");
            Failure::unavailable(format!("the façade did not start, and said: {last}"))
        })?;
        Ok(Self { child, address, key })
    }

    /// Memory that it has now, in MB.
    pub(super) fn memory_mb(&self) -> Result<f64, Failure> {
        self.status("VmRSS:")
    }

    /// Memory that it had at its most, in MB.
    pub(super) fn most_memory_mb(&self) -> Result<f64, Failure> {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> Result<f64, Failure> {
        let id = self.child.id().unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{id}/status")).map_err(|e| lost(&e))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        kib.map(|kib| kib * 1_024.0 / 1e6)
            .ok_or_else(|| Failure::unavailable("/proc does not say how much memory it has"))
    }

    /// Asks it to stop, and waits for its end.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        let id = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        // One that ended by itself is found below.
        let _ = id.map(|id| kill_process(id, Signal::TERM));
        match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(Failure::unavailable(format!("the façade ended ({status})"))),
            Ok(Err(error)) => Err(lost(&error)),
            Err(_) => Err(Failure::unavailable("the façade does not stop")),
        }
    }
}

/// Where it listens, once it says so.
async fn ready(child: &mut Child) -> Option<SocketAddr> {
    let mut lines = BufReader::new(child.stdout.take()?).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.ok()?.ok()??;
    line.strip_prefix("ready url=http://")?.parse().ok()
}

fn lost(error: &io::Error) -> Failure {
    Failure::unavailable(format!("the façade's process cannot be followed: {error}"))
}
