//! Deliveries a second, beside a bare loop of requests; and who waits beside an endpoint that hangs.

use std::{collections::BTreeMap, time::Duration};

use jobs::contract::{
    Job,
    ports::{Clock, Format},
};
use serde_json::json;
use tokio::time::Instant;

use super::{
    Failure, Plan,
    figures::{Figure, Promise, percentile},
    house::{House, tenant},
    noop::now_ms,
    place::Place,
    sink::{Manner, Sink},
};
use crate::{clock::SystemClock, intake::JobRequest, queue::PauseTarget, store::EndpointSettings};

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

/// What the figures of a receiver are called.
struct Names {
    bare: &'static str,
    ours: &'static str,
    share: &'static str,
}

/// Receivers: one that answers at once, which none beyond this machine does, and two that take their time.
const RECEIVERS: [(Manner, u32, Names); 3] = [
    (
        Manner::AtOnce,
        MOST,
        Names {
            bare: "bare loop, 16 connections",
            ours: "deliveries, 16 endpoints",
            share: "of the bare loop",
        },
    ),
    (
        Manner::After(Duration::from_millis(5)),
        MOST / 2,
        Names {
            bare: "bare loop, answers take 5 ms",
            ours: "deliveries, answers take 5 ms",
            share: "of the bare loop, 5 ms",
        },
    ),
    (
        Manner::After(Duration::from_millis(20)),
        MOST / 4,
        Names {
            bare: "bare loop, answers take 20 ms",
            ours: "deliveries, answers take 20 ms",
            share: "of the bare loop, 20 ms",
        },
    ),
];

/// Throughput to each receiver, then the isolation.
pub(super) async fn measure(plan: &Plan, place: &Place) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for (manner, most, names) in RECEIVERS {
        let (bare, ours) = rates(place, manner, plan.jobs.min(most)).await?;
        let share = Figure::new(names.share, ours * 100.0 / bare, "%");
        figures.push(Figure::rate(names.bare, bare));
        figures.push(Figure::rate(names.ours, ours));
        figures.push(share.promised(Promise::AtLeast(70.0)));
    }
    figures.push(
        Figure::new("p99 beside one that hangs", isolation(place).await?, "ms")
            .promised(Promise::AtMost(2_000.0)),
    );
    Ok(figures)
}

/// Requests a second of a bare loop, and deliveries a second of ours, to the same receiver.
async fn rates(place: &Place, manner: Manner, count: u32) -> Result<(f64, f64), Failure> {
    let sink = Sink::start(manner).await?;
    let bare = sink.bare_loop(SLOTS, count).await?;
    let house = open(place).await?;
    for number in 0..SLOTS {
        endpoint(&house, number, &sink.url()).await?;
    }
    pause(&house, true).await?;
    for number in (0..count).step_by(1_000) {
        let some = (number..count.min(number + 1_000)).map(|n| n % SLOTS);
        submit(&house, some.collect()).await?;
    }
    let before = sink.count();
    let began = Instant::now();
    pause(&house, false).await?;
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
    let house = open(place).await?;
    endpoint(&house, HEALTHY, &hanging.url()).await?;
    for number in 0..HEALTHY {
        endpoint(&house, number, &healthy.url()).await?;
    }
    submit(&house, vec![HEALTHY; HANGING as usize]).await?;
    reached(&hanging, 1).await?;
    for _ in 0..EACH {
        submit(&house, (0..HEALTHY).collect()).await?;
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

/// Registers an endpoint of this number.
async fn endpoint(house: &House, number: u32, url: &str) -> Result<(), Failure> {
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
        enabled: None,
    };
    let now = SystemClock.now();
    house.app.store.apply(&tenant(), &[], &[], &[settings], now).await?;
    Ok(())
}

/// A delivery to each of these endpoints.
async fn submit(house: &House, endpoints: Vec<u32>) -> Result<(), Failure> {
    let data = json!({"at": now_ms(), "padding": "x".repeat(150)});
    let request = |number| {
        let payload = json!({"endpoint_id": name(number), "event": "bench.event", "data": data});
        JobRequest::new(jobs::WebhookDelivery::KIND, payload)
    };
    house.submit(endpoints.into_iter().map(request).collect()).await?;
    Ok(())
}

async fn pause(house: &House, paused: bool) -> Result<(), Failure> {
    let queue = <jobs::WebhookDelivery as Job>::QUEUE.to_owned();
    house.app.queue.pause(&PauseTarget::Queue(queue), paused).await?;
    Ok(())
}

/// A program that makes so many deliveries at once, to loopback, too.
async fn open(place: &Place) -> Result<House, Failure> {
    let loopback = "127.0.0.1/32".parse();
    let loopback = loopback.map_err(|_| Failure::data("127.0.0.1/32 is no network"))?;
    House::open(place, |config| {
        config.worker.concurrency = SLOTS;
        config.webhooks.egress.allow_http = true;
        config.webhooks.egress.allow_cidrs = vec![loopback];
    })
    .await
}

fn name(number: u32) -> String {
    format!("endpoint-{number}")
}
