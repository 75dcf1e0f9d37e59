//! The roles of a process, from their start to their graceful end.

use std::{net::SocketAddr, sync::Arc};

use jobs::contract::ports::ItemErrors;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{App, files, prune::prune};
use crate::{
    cli::Failure,
    clock::SystemClock,
    config::Layers,
    http::{
        self, Facade, FacadeDeps,
        admin::{Admin, Check},
        auth::Keys,
    },
    scheduler::{Crontab, Scheduler, SchedulerDeps},
    telemetry::metrics,
    worker::Workers,
};

/// The roles of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// The façade.
    pub serve: bool,
    /// A worker.
    pub worker: bool,
    /// A scheduler.
    pub scheduler: bool,
}

impl Roles {
    /// No role.
    pub const NONE: Self = Self { serve: false, worker: false, scheduler: false };
    /// Every role.
    pub const ALL: Self = Self { serve: true, worker: true, scheduler: true };
}

/// What a scheduler does beside its own work.
fn pruning(
    app: &App,
    shutdown: CancellationToken,
) -> impl Future<Output = Result<(), Failure>> + use<> {
    let (store, queue) = (app.store.clone(), Arc::clone(&app.queue));
    let config = Arc::clone(&app.config);
    async move {
        prune(store, queue, &config, shutdown).await;
        Ok(())
    }
}

type Playing = JoinSet<Result<(), Failure>>;

impl App {
    /// Plays roles until `shutdown`; `ready` is told the façade's address once it serves. A role that
    /// fails ends the others, too.
    ///
    /// # Errors
    ///
    /// Why a role could not be played.
    pub async fn run_roles(
        &self,
        roles: Roles,
        shutdown: CancellationToken,
        ready: impl FnOnce(Option<SocketAddr>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        // Everything that can be wrong is found before anything begins.
        let scheduler = if roles.scheduler { Some(self.scheduler()?) } else { None };
        let facade = if roles.serve { Some(listen(self.config.http.listen).await?) } else { None };
        let address = facade.as_ref().and_then(|listener| listener.local_addr().ok());
        let admin_stop = CancellationToken::new();
        let admin = self.admin(roles, &shutdown).await?;

        let mut playing = Playing::new();
        if let Some(listener) = facade {
            playing.spawn(serve(self.facade(), listener, shutdown.clone()));
        }
        if let Some(scheduler) = scheduler {
            playing.spawn(pruning(self, shutdown.clone()));
            let shutdown = shutdown.clone();
            playing.spawn(async move {
                scheduler.run(shutdown).await;
                Ok(())
            });
        }
        if roles.worker {
            let working = self.workers().run(shutdown.clone());
            playing.spawn(async move {
                working.await;
                Ok(())
            });
        }
        // Operators can ask until everything else has ended.
        let mut answering = Playing::new();
        if let Some((admin, listener)) = admin {
            let stop = admin_stop.clone();
            answering
                .spawn(async move { admin.serve(listener, stop).await.map_err(|e| broken(&e)) });
        }
        let ended = match ready(address) {
            Ok(()) => all(&mut playing, &shutdown).await,
            Err(failure) => {
                shutdown.cancel();
                all(&mut playing, &shutdown).await.and(Err(failure))
            }
        };
        admin_stop.cancel();
        all(&mut answering, &admin_stop).await?;
        self.store.shut().await;
        ended
    }

    fn facade(&self) -> Facade {
        let mut config = self.config.http.clone();
        config.connections = files::room_for(config.connections);
        Facade::new(FacadeDeps {
            config,
            queue: Arc::clone(&self.queue),
            intake: self.intake.clone(),
            keys: Arc::new(self.store.clone()) as Arc<dyn Keys>,
            errors: Arc::new(self.store.clone()) as Arc<dyn ItemErrors>,
        })
    }

    fn workers(&self) -> Workers {
        Workers::new(
            self.config.worker.clone(),
            process_name(),
            Arc::clone(&self.queue),
            self.intake.catalogue().clone(),
            Arc::clone(&self.ports),
        )
    }

    fn scheduler(&self) -> Result<Scheduler, Failure> {
        let (kinds, declared) = (self.intake.catalogue(), self.intake.declared());
        let crontab = Crontab::configured(&self.config, kinds, declared)
            .map_err(|error| Failure::config(error.to_string()))?;
        let deps = SchedulerDeps {
            queue: Arc::clone(&self.queue),
            intake: self.intake.clone(),
            follow_ups: Arc::clone(&self.ports.follow_ups),
            ticks: Arc::new(self.store.clone()),
            max_crashes: self.config.worker.max_crashes,
            clock: Arc::new(SystemClock),
        };
        Ok(Scheduler::new(self.config.scheduler.clone(), crontab, deps))
    }

    async fn admin(
        &self,
        roles: Roles,
        draining: &CancellationToken,
    ) -> Result<Option<(Admin, TcpListener)>, Failure> {
        let Some(address) = self.config.http.admin_listen else { return Ok(None) };
        let listener = match http::listen(address).await {
            Ok(listener) => listener,
            // Several processes of one host have the same default, and one of them can have it: a
            // worker without metrics is better than no worker. Who named an address gets it, or an
            // error.
            Err(http::ListenError::InUse(_)) if !roles.serve || is_default(address) => {
                tracing::warn!(
                    %address,
                    "the admin listener's address is in use; this process goes on without one \
                     (set http.admin_listen)"
                );
                return Ok(None);
            }
            Err(error) => return Err(Failure::unavailable(format!("http.admin_listen: {error}"))),
        };
        let store = self.store.clone();
        let store_answers = move || {
            let store = store.clone();
            async move { store.ready().await.map_err(|error| error.to_string()) }
        };
        let admin = Admin {
            checks: vec![Check::of_queue(&self.queue), Check::new("store", store_answers)],
            queue: Arc::clone(&self.queue),
            metrics: metrics::install(),
            draining: draining.clone(),
        };
        Ok(Some((admin, listener)))
    }
}

/// Whether this is the admin address that nobody had to name.
fn is_default(address: SocketAddr) -> bool {
    Layers::defaults().read().is_ok_and(|config| config.http.admin_listen == Some(address))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    http::listen(address).await.map_err(|error| Failure::unavailable(error.to_string()))
}

async fn serve(
    facade: Facade,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    facade.serve(listener, shutdown).await.map_err(|e| broken(&e))
}

fn broken(error: &std::io::Error) -> Failure {
    Failure::unavailable(format!("a listener is of no use any more: {error}"))
}

/// Waits for all roles; the first that fails asks the others to stop.
async fn all(playing: &mut Playing, stop: &CancellationToken) -> Result<(), Failure> {
    let mut first = Ok(());
    while let Some(ended) = playing.join_next().await {
        let ended = ended.unwrap_or_else(|e| {
            Err(Failure::unavailable(format!("a role ended unexpectedly: {e}")))
        });
        if ended.is_err() {
            stop.cancel();
        }
        first = first.and(ended);
    }
    first
}

/// A name for this process among the workers of a fleet: host, process, and a word that no earlier
/// process of the same number had.
fn process_name() -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    format!("{host}-{}-{:04x}", std::process::id(), rand::random::<u16>())
}
