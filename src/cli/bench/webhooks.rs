//! Deliveries a second, beside a bare loop of requests; and who waits beside an endpoint that hangs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jobs::contract::{
    Job, TenantId,
    ports::{Clock, Format},
};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Failure, Plan,
    figures::{Figure, Promise, percentile},
    ground::{Address, Ground},
    noop::now_ms,
    place::Place,
    sink::{Manner, Sink},
};
use crate::{
    app::{App, Embedded, Roles},
    clock::SystemClock,
    config::Config,
    intake::{JobRequest, Producer},
    queue::{PauseTarget, Submission},
    store::EndpointSettings,
};

/// Deliveries that are made at once, by as many endpoints or connections.
const SLOTS: u32 = 16;
/// Deliveries of a throughput measurement, at most.
const MOST: u32 = 20_000;
/// Beside the endpoint that hangs: endpoints, the deliveries of each, and the pause between two.
const HEALTHY: u32 = 10;
const EACH: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);
/// Deliveries that wait for the endpoint that hangs.
const HANGING: u32 = 1_000;
/// How long nothing may happen before something is wrong.
const STANDSTILL: Duration = Duration::from_secs(120);

/// Throughput to a receiver that answers at once and to one that takes 20 ms, then the isolation.
pub(super) async fn measure(plan: &Plan, place: &Place) -> Result<Vec<Figure>, Failure> {
    let count = plan.jobs.min(MOST);
    let slow = Manner::After(Duration::from_millis(20));
    let (bare, ours) = rates(place, Manner::AtOnce, count).await?;
    let (bare_slow, ours_slow) = rates(place, slow, count.min(MOST / 4)).await?;
    Ok(vec![
        Figure::rate("bare loop, 16 connections", bare),
        Figure::rate("deliveries, 16 endpoints", ours),
        Figure::new("of the bare loop", ours * 100.0 / bare, "%").promised(Promise::AtLeast(70.0)),
        Figure::rate("bare loop, answers take 20 ms", bare_slow),
        Figure::rate("deliveries, answers take 20 ms", ours_slow),
        Figure::new("of the bare loop, 20 ms", ours_slow * 100.0 / bare_slow, "%"),
        Figure::new("p99 beside one that hangs", isolation(place).await?, "ms")
            .promised(Promise::AtMost(2_000.0)),
    ])
}

/// Requests a second of a bare loop, and deliveries a second of ours, to the same receiver.
async fn rates(place: &Place, manner: Manner, count: u32) -> Result<(f64, f64), Failure> {
    let sink = Sink::start(manner).await?;
    let bare = sink.bare_loop(SLOTS, count).await?;
    let house = House::open(place, SLOTS).await?;
    for number in 0..SLOTS {
        house.endpoint(number, &sink.url()).await?;
    }
    house.pause(true).await?;
    for number in (0..count).step_by(1_000) {
        let some = (number..count.min(number + 1_000)).map(|n| n % SLOTS);
        house.submit(some.collect()).await?;
    }
    let before = sink.count();
    let began = Instant::now();
    house.pause(false).await?;
    reached(&sink, before + u64::from(count)).await?;
    let ours = f64::from(count) / began.elapsed().as_secs_f64();
    house.close().await?;
    Ok((bare, ours))
}

/// The p99 of what deliveries to healthy endpoints take, from submission to arrival, while another
/// endpoint hangs with a backlog.
async fn isolation(place: &Place) -> Result<f64, Failure> {
    let (healthy, hanging) =
        (Sink::start(Manner::AtOnce).await?, Sink::start(Manner::Never).await?);
    let house = House::open(place, SLOTS).await?;
    house.endpoint(HEALTHY, &hanging.url()).await?;
    for number in 0..HEALTHY {
        house.endpoint(number, &healthy.url()).await?;
    }
    house.submit(vec![HEALTHY; HANGING as usize]).await?;
    reached(&hanging, 1).await?;
    for _ in 0..EACH {
        house.submit((0..HEALTHY).collect()).await?;
        tokio::time::sleep(PAUSE).await;
    }
    reached(&healthy, u64::from(EACH * HEALTHY)).await?;
    let took = percentile(&healthy.took(), 99);
    house.close().await?;
    Ok(took)
}

/// Waits until a sink has heard so many.
async fn reached(sink: &Sink, count: u64) -> Result<(), Failure> {
    let (mut last, mut since) = (sink.count(), Instant::now());
    while sink.count() < count {
        if sink.count() > last {
            (last, since) = (sink.count(), Instant::now());
        }
        if since.elapsed() > STANDSTILL {
            let words = format!("{last} of {count} deliveries have arrived, and then no more");
            return Err(Failure::unavailable(words));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// The whole program over fresh ground: queue, store, workers.
struct House {
    app: Arc<App>,
    ground: Ground,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<Result<(), Failure>>,
}

impl House {
    async fn open(place: &Place, slots: u32) -> Result<Self, Failure> {
        let ground = place.fresh().await?;
        let dir = place.directory(&format!("house-{}", ulid::Ulid::generate()))?;
        let config = config(place.config(), &ground, dir, slots)?;
        let app = Arc::new(App::open(config, Embedded::Yes).await?);
        app.store.create_tenant(&tenant(), SystemClock.now()).await?;
        let stop = CancellationToken::new();
        let (playing, until) = (Arc::clone(&app), stop.clone());
        let roles = Roles { worker: true, ..Roles::NONE };
        let running =
            tokio::spawn(async move { playing.run_roles(roles, until, |_| Ok(())).await });
        Ok(Self { app, ground, stop, running })
    }

    async fn endpoint(&self, number: u32, url: &str) -> Result<(), Failure> {
        let settings = EndpointSettings {
            id: name(number),
            description: None,
            url: url.to_owned().into(),
            format: Format::Standard,
            events: vec!["*".to_owned()],
            headers: BTreeMap::new(),
            second: None,
            rate: None,
            secret: None,
            enabled: true,
        };
        let now = SystemClock.now();
        self.app.store.apply(&tenant(), &[], &[], &[settings], now).await?;
        Ok(())
    }

    /// A delivery to each of these endpoints.
    async fn submit(&self, endpoints: Vec<u32>) -> Result<(), Failure> {
        let data = json!({"at": now_ms(), "padding": "x".repeat(150)});
        let request = |number| {
            let payload =
                json!({"endpoint_id": name(number), "event": "bench.event", "data": data});
            JobRequest::new(jobs::WebhookDelivery::KIND, payload)
        };
        let requests = endpoints.into_iter().map(request).collect();
        let (queue, tenant) = (&self.app.queue, tenant());
        let now = queue.now();
        let made = self.app.intake.prepare(&tenant, Producer::Engine, requests, "bench", now).await;
        let jobs = made.map_err(|e| Failure::data(format!("deliveries are refused: {e:?}")))?;
        queue.enqueue(Submission { tenant, jobs, idempotency: None }).await?;
        Ok(())
    }

    async fn pause(&self, paused: bool) -> Result<(), Failure> {
        let queue = <jobs::WebhookDelivery as Job>::QUEUE.to_owned();
        self.app.queue.pause(&PauseTarget::Queue(queue), paused).await?;
        Ok(())
    }

    async fn close(self) -> Result<(), Failure> {
        self.stop.cancel();
        self.running.await.map_err(|e| Failure::unavailable(format!("a role ended: {e}")))??;
        self.ground.clear().await
    }
}

/// The configuration of this machine, but over the ground, and with loopback admitted.
fn config(
    of: &Config,
    ground: &Ground,
    dir: std::path::PathBuf,
    slots: u32,
) -> Result<Config, Failure> {
    let mut config = of.clone();
    config.data_dir = dir;
    config.store.url = String::new();
    config.http.admin_listen = None;
    config.worker.concurrency = slots;
    // What hangs is given up when the measurement ends.
    config.worker.grace = Duration::ZERO;
    config.webhooks.egress.allow_http = true;
    let loopback = "127.0.0.1/32".parse();
    config.webhooks.egress.allow_cidrs =
        vec![loopback.map_err(|_| Failure::data("127.0.0.1/32 is no network"))?];
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
    Ok(config)
}

fn tenant() -> TenantId {
    "bench".parse().expect("a tenant name by the rules of TenantId")
}

fn name(number: u32) -> String {
    format!("endpoint-{number}")
}
