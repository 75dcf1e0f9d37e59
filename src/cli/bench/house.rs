//! The whole program over fresh ground: queue, store, workers.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jobs::contract::{JobId, TenantId, ports::Clock};
use tokio_util::sync::CancellationToken;

use super::{
    Failure,
    ground::{Address, Ground},
    place::Place,
};
use crate::{
    app::{App, Embedded, Roles},
    clock::SystemClock,
    config::Config,
    intake::{JobRequest, Producer},
    queue::Submission,
};

/// The program, playing a worker, with one tenant.
pub(super) struct House {
    pub(super) app: Arc<App>,
    ground: Ground,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<Result<(), Failure>>,
}

impl House {
    /// Opens it as this machine is configured, but with a store of its own, and as `adjust` says.
    pub(super) async fn open(
        place: &Place,
        adjust: impl FnOnce(&mut Config),
    ) -> Result<Self, Failure> {
        let ground = place.fresh().await?;
        let dir = place.directory(&format!("house-{}", ulid::Ulid::generate()))?;
        let mut config = config(place.config(), &ground, dir);
        adjust(&mut config);
        let app = Arc::new(App::open(config, Embedded::Yes).await?);
        app.store.create_tenant(&tenant(), SystemClock.now()).await?;
        let stop = CancellationToken::new();
        let (playing, until) = (Arc::clone(&app), stop.clone());
        let roles = Roles { worker: true, ..Roles::NONE };
        let running =
            tokio::spawn(async move { playing.run_roles(roles, until, |_| Ok(())).await });
        Ok(Self { app, ground, stop, running })
    }

    /// Takes jobs in, as the façade would.
    pub(super) async fn submit(&self, requests: Vec<JobRequest>) -> Result<Vec<JobId>, Failure> {
        let (queue, tenant) = (&self.app.queue, tenant());
        let now = queue.now();
        let made = self.app.intake.prepare(&tenant, Producer::Engine, requests, "bench", now).await;
        let jobs = made.map_err(|e| Failure::data(format!("jobs are refused: {e:?}")))?;
        let ids = jobs.iter().map(|job| job.id).collect();
        queue.enqueue(Submission { tenant, jobs, idempotency: None }).await?;
        Ok(ids)
    }

    pub(super) async fn close(self) -> Result<(), Failure> {
        self.stop.cancel();
        self.running.await.map_err(|e| Failure::unavailable(format!("a role ended: {e}")))??;
        self.ground.clear().await
    }
}

/// Whose the jobs are.
pub(super) fn tenant() -> TenantId {
    "bench".parse().expect("a tenant name by the rules of TenantId")
}

fn config(of: &Config, ground: &Ground, dir: PathBuf) -> Config {
    let mut config = of.clone();
    config.data_dir = dir;
    config.store.url = String::new();
    config.resources.file = PathBuf::new();
    config.http.admin_listen = None;
    // What hangs is given up when the measurement ends.
    config.worker.grace = Duration::ZERO;
    match &ground.address {
        Address::Redis { url, prefix } => {
            config.redis.url.clone_from(url);
            config.redis.prefix.clone_from(prefix);
        }
        Address::Sqlite { dir } => {
            config.redis.url = String::new();
            config.data_dir.clone_from(dir);
        }
    }
    config
}
