//! Endpoints, their answers and the log, in memory.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
    time::Duration,
};

use async_trait::async_trait;

use super::lock;
use crate::contract::{
    Fault, JobId, Moment, RunInfo, TenantId,
    ports::{
        Answer, Attempt, Deliveries, Delivery, Endpoint, EndpointStatus, Endpoints, Exchange,
        FollowUp, FollowUps, Format, Health, Post, Timings, Webhooks,
    },
};

/// Endpoints in memory.
#[derive(Default)]
pub struct FakeEndpoints(Mutex<BTreeMap<String, FakeEndpoint>>);

struct FakeEndpoint {
    endpoint: Endpoint,
    events: Vec<String>,
    probe_until: Option<Moment>,
}

impl FakeEndpoints {
    /// Adds or replaces an enabled endpoint that subscribed to these events.
    pub fn put(&self, id: &str, format: Format, events: &[&str]) {
        let endpoint = Endpoint {
            id: id.to_owned(),
            format,
            status: EndpointStatus::Enabled,
            circuit_until: None,
        };
        let events = events.iter().map(|&event| event.to_owned()).collect();
        let fake = FakeEndpoint { endpoint, events, probe_until: None };
        lock(&self.0).insert(id.to_owned(), fake);
    }

    /// An endpoint as it stands.
    pub fn get(&self, id: &str) -> Option<Endpoint> {
        lock(&self.0).get(id).map(|fake| fake.endpoint.clone())
    }

    /// Closes an endpoint's circuit, as a success does.
    pub fn close_circuit(&self, id: &str) {
        if let Some(fake) = lock(&self.0).get_mut(id) {
            (fake.endpoint.circuit_until, fake.probe_until) = (None, None);
        }
    }
}

#[async_trait]
impl Endpoints for FakeEndpoints {
    async fn find(&self, _tenant: &TenantId, id: &str) -> Result<Option<Endpoint>, Fault> {
        Ok(self.get(id))
    }

    async fn subscribers(&self, _tenant: &TenantId, event: &str) -> Result<Vec<String>, Fault> {
        let wants = |fake: &&FakeEndpoint| {
            let subscribed = |s: &String| crate::webhook_delivery::matches(s, event);
            fake.endpoint.status == EndpointStatus::Enabled && fake.events.iter().any(subscribed)
        };
        Ok(lock(&self.0).values().filter(wants).map(|fake| fake.endpoint.id.clone()).collect())
    }

    async fn probe(
        &self,
        _tenant: &TenantId,
        id: &str,
        now: Moment,
        until: Moment,
    ) -> Result<bool, Fault> {
        let mut endpoints = lock(&self.0);
        let Some(fake) = endpoints.get_mut(id) else { return Ok(false) };
        let free = fake.probe_until.is_none_or(|until| until <= now);
        if free {
            fake.probe_until = Some(until);
        }
        Ok(free)
    }

    async fn open_circuit(&self, _tenant: &TenantId, id: &str, until: Moment) -> Result<(), Fault> {
        if let Some(fake) = lock(&self.0).get_mut(id) {
            (fake.endpoint.circuit_until, fake.probe_until) = (Some(until), None);
        }
        Ok(())
    }

    async fn disable(
        &self,
        _tenant: &TenantId,
        id: &str,
        why: &str,
        _now: Moment,
    ) -> Result<bool, Fault> {
        let mut endpoints = lock(&self.0);
        let Some(fake) = endpoints.get_mut(id) else { return Ok(false) };
        let was = fake.endpoint.status == EndpointStatus::Enabled;
        if was {
            fake.endpoint.status = EndpointStatus::Disabled(why.to_owned());
        }
        Ok(was)
    }
}

/// A log of deliveries in memory; the health that it answers with is set by hand.
#[derive(Default)]
pub struct FakeDeliveries {
    deliveries: Mutex<BTreeMap<String, Delivery>>,
    attempts: Mutex<Vec<(String, Attempt)>>,
    health: Mutex<Health>,
    failures: Mutex<u32>,
}

impl FakeDeliveries {
    /// What the next answers say of every endpoint.
    pub fn set_health(&self, health: Health) {
        *lock(&self.health) = health;
    }

    /// The next writes fail.
    pub fn fail_writing(&self, times: u32) {
        *lock(&self.failures) = times;
    }

    /// The attempts that were written down, with their deliveries, in their order.
    pub fn attempts(&self) -> Vec<(String, Attempt)> {
        lock(&self.attempts).clone()
    }

    /// Every delivery, in the order of their names.
    pub fn all(&self) -> Vec<Delivery> {
        lock(&self.deliveries).values().cloned().collect()
    }
}

#[async_trait]
impl Deliveries for FakeDeliveries {
    async fn find(&self, _tenant: &TenantId, id: &str) -> Result<Option<Delivery>, Fault> {
        Ok(lock(&self.deliveries).get(id).cloned())
    }

    async fn record(
        &self,
        _tenant: &TenantId,
        delivery: &Delivery,
        attempt: Option<&Attempt>,
        _span: Duration,
        _now: Moment,
    ) -> Result<Health, Fault> {
        let mut failures = lock(&self.failures);
        if *failures > 0 {
            *failures -= 1;
            return Err(Fault::transient("store_unavailable", "a test says so"));
        }
        lock(&self.deliveries).insert(delivery.id.clone(), delivery.clone());
        let attempt = attempt.map(|attempt| (delivery.id.clone(), attempt.clone()));
        lock(&self.attempts).extend(attempt);
        Ok(*lock(&self.health))
    }
}

/// The other side of every endpoint: it answers as it is told, and 200 when it is told nothing.
#[derive(Default)]
pub struct FakeWebhooks {
    exchanges: Mutex<VecDeque<Exchange>>,
    posts: Mutex<Vec<(Delivery, u32, Moment)>>,
}

impl FakeWebhooks {
    /// The next request comes to this.
    pub fn next(&self, exchange: Exchange) {
        lock(&self.exchanges).push_back(exchange);
    }

    /// The next request is answered with this status.
    pub fn next_status(&self, status: u16) {
        self.next(answer(status));
    }

    /// The requests that were made: what was delivered, the attempt, the moment that was signed.
    pub fn posts(&self) -> Vec<(Delivery, u32, Moment)> {
        lock(&self.posts).clone()
    }
}

/// An exchange that ended with this status, and said nothing else.
pub fn answer(status: u16) -> Exchange {
    Exchange {
        answer: Ok(Answer { status, retry_after: None, excerpt: String::new() }),
        timings: Timings::default(),
        remote: None,
    }
}

#[async_trait]
impl Webhooks for FakeWebhooks {
    async fn post(&self, _tenant: &TenantId, post: &Post<'_>) -> Result<Exchange, Fault> {
        lock(&self.posts).push((post.delivery.clone(), post.attempt, post.at));
        Ok(lock(&self.exchanges).pop_front().unwrap_or_else(|| answer(200)))
    }
}

/// Jobs that followed from others, in memory: the first under each key.
#[derive(Default)]
pub struct FakeFollowUps(Mutex<BTreeMap<String, (JobId, FollowUp)>>);

impl FakeFollowUps {
    /// Every job that was taken in, in the order of their keys.
    pub fn all(&self) -> Vec<FollowUp> {
        lock(&self.0).values().map(|(_, job)| job.clone()).collect()
    }
}

#[async_trait]
impl FollowUps for FakeFollowUps {
    async fn submit(&self, _run: &RunInfo, key: &str, job: FollowUp) -> Result<JobId, Fault> {
        let mut jobs = lock(&self.0);
        let number = 1_000 + jobs.len() as u128;
        Ok(jobs.entry(key.to_owned()).or_insert((JobId::from_u128(number), job)).0)
    }

    async fn submit_all(&self, run: &RunInfo, key: &str, jobs: Vec<FollowUp>) -> Result<(), Fault> {
        for (index, job) in jobs.into_iter().enumerate() {
            self.submit(run, &format!("{key}/{index:04}"), job).await?;
        }
        Ok(())
    }
}
