//! Everything that names apalis: our queue as an apalis backend, and the monitor that runs it.
//!
//! apalis calls a service for each task that a backend yields: here, for all runs that can begin at
//! once, since a task costs as much as all else that is done for a short run. The backend is a thin view
//! over a pool's buffer: it never fails (an error would drop every running job) and never ends (that
//! would hang the worker). All traffic with the queue is in the engine's own tasks.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use apalis_core::{
    backend::{Backend, BackendConfig, finalize::Ephemeral},
    monitor::Monitor,
    task::Task,
    worker::{builder::WorkerBuilder, context::WorkerContext},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tower::{Service, layer::util::Identity};

use super::{perform::Performer, pool::Pool, run::Group};

/// The pause before a worker that ended by a bug of ours begins again.
const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// Runs one apalis worker a pool until `shutdown` and the end of everything that runs.
pub(super) async fn run(
    pools: &[Arc<Pool>],
    performer: &Arc<Performer>,
    shutdown: CancellationToken,
) {
    let mut monitor = Monitor::new().should_restart(|worker, error| {
        tracing::error!(worker.name = worker.name(), %error, "an apalis worker ended and begins again");
        // The callback cannot wait; a short block of one thread beats a spinning restart.
        std::thread::sleep(RESTART_PAUSE);
        true
    });
    for pool in pools {
        let (name, pool) = (pool.name(), Arc::clone(pool));
        let performer = Arc::clone(performer);
        monitor = monitor.register(move |_| {
            WorkerBuilder::new(name.as_str())
                .backend(Claims { pool: Arc::clone(&pool) })
                .build(Perform { performer: Arc::clone(&performer) })
        });
    }
    let stop = async move {
        shutdown.cancelled().await;
        Ok(())
    };
    // A task, whoever waits for it: on a thread that is none of the runtime's own, each group of runs would
    // be handed to that thread, and its verdicts back, by waking a thread that sleeps.
    let monitor = tokio::spawn(async move { monitor.run_with_signal(stop).await });
    match AbortOnDropHandle::new(monitor).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the apalis monitor ended with an error"),
        Err(ended) => {
            if let Ok(panic) = ended.try_into_panic() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// A pool's buffer, as an apalis backend.
struct Claims {
    pool: Arc<Pool>,
}

impl Backend for Claims {
    type Task = Task<Group>;
    type Error = Infallible;

    fn poll_ready(
        &mut self,
        _: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Infallible>>> {
        self.pool.poll_begin(cx).map(|group| Some(Ok(Task::new(group))))
    }

    fn poll_close(
        &mut self,
        _: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), Infallible>> {
        // The engine empties the buffer itself, as soon as it is asked to stop.
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for Claims {
    type Args = Group;
    type Id = u64;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

/// The performer, as the service that apalis calls.
#[derive(Clone)]
struct Perform {
    performer: Arc<Performer>,
}

impl Service<Task<Group>> for Perform {
    type Response = ();
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<(), Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Slots are counted where the buffer hands jobs on: what comes from there has one.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, task: Task<Group>) -> Self::Future {
        let performing = Arc::clone(&self.performer).perform(task.args);
        Box::pin(async move {
            performing.await;
            Ok(())
        })
    }
}
