//! What bare Lua reaches on the same server with the same data: the yardstick.
//!
//! The least that a job's life can be: its body and status are stored and its id put in a list; it is
//! claimed under a lease, its lane's limit counted; it is settled under a fence, and its final status
//! stays readable. Everything in batches of 100 with variadic calls over a handful of keys, four batches
//! a round trip. No tenants, turns, moments, priorities, retries, history, cancels or news.

use std::time::{Duration, Instant};

use jobs::contract::JobId;
use redis::{Cmd, FromRedisValue};

use super::{Failure, noop::payload, server::Server};

/// Jobs of a script call, and calls of a round trip.
const BATCH: usize = 100;
const DEPTH: usize = 4;
/// The lane's limit, and its window.
const LIMIT: u32 = 1_000_000_000;
const WINDOW_MS: u32 = 60_000;
/// The end of every lease: its value costs nothing.
const LEASE_UNTIL: u64 = 1_900_000_000_000;

/// What it reached.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ceiling {
    /// Jobs a second by the clock: all in, then all claimed, then all settled.
    pub(super) rate: f64,
    /// µs of the server's CPU for a job, taken in, claimed, settled.
    pub(super) enqueue_us: f64,
    pub(super) claim_us: f64,
    pub(super) settle_us: f64,
}

impl Ceiling {
    /// µs of the server's CPU for a job's whole life.
    pub(super) fn server_us(&self) -> f64 {
        self.enqueue_us + self.claim_us + self.settle_us
    }
}

/// Takes so many jobs through their lives, below `prefix`.
pub(super) async fn measure(server: &Server, prefix: &str, count: u32) -> Result<Ceiling, Failure> {
    let bare = Bare::new(server, prefix).await?;
    let body = payload(None);
    let ids: Vec<String> = (0..count).map(|_| JobId::generate().to_string()).collect();
    let batches = || ids.chunks(BATCH);
    let (enqueued, _) = bare.phase::<u32>(batches().map(|ids| bare.enqueue(ids, &body))).await?;
    let (claimed, claims) = bare.phase::<Claim>(batches().map(|ids| bare.claim(ids.len()))).await?;
    let (settled, ended) =
        bare.phase::<u32>(claims.iter().map(|(fence, ids, _)| bare.settle(*fence, ids))).await?;
    if ended.iter().sum::<u32>() != count {
        return Err(Failure::unavailable("bare Lua did not end all of its jobs"));
    }
    let took = enqueued.took + claimed.took + settled.took;
    let us = |phase: &Phase| phase.cpu * 1e6 / f64::from(count);
    Ok(Ceiling {
        rate: f64::from(count) / took.as_secs_f64(),
        enqueue_us: us(&enqueued),
        claim_us: us(&claimed),
        settle_us: us(&settled),
    })
}

/// What a claim gives: its fence, ids, bodies.
type Claim = (u64, Vec<String>, Vec<Vec<u8>>);

/// What a phase took.
struct Phase {
    took: Duration,
    /// Seconds of the server's CPU.
    cpu: f64,
}

struct Bare<'a> {
    server: &'a Server,
    base: String,
    enqueue: String,
    claim: String,
    settle: String,
}

impl<'a> Bare<'a> {
    async fn new(server: &'a Server, prefix: &str) -> Result<Self, Failure> {
        let mut connection = server.connection.clone();
        let mut hashes = Vec::new();
        for text in [
            include_str!("lua/enqueue.lua"),
            include_str!("lua/claim.lua"),
            include_str!("lua/settle.lua"),
        ] {
            let mut load = redis::cmd("SCRIPT");
            hashes.push(load.arg("LOAD").arg(text).query_async(&mut connection).await?);
        }
        let [enqueue, claim, settle] = hashes.try_into().expect("three scripts have three hashes");
        Ok(Self { server, base: format!("{prefix}:{{bare}}:"), enqueue, claim, settle })
    }

    /// Makes all calls, so many a round trip.
    async fn phase<T: FromRedisValue>(
        &self,
        calls: impl Iterator<Item = Cmd>,
    ) -> Result<(Phase, Vec<T>), Failure> {
        let mut connection = self.server.connection.clone();
        let mut answers = Vec::new();
        let (cpu, since) = (self.server.cpu().await?, Instant::now());
        let mut calls = calls.peekable();
        while calls.peek().is_some() {
            let mut pipe = redis::pipe();
            calls.by_ref().take(DEPTH).for_each(|call| {
                pipe.add_command(call);
            });
            answers.extend(pipe.query_async::<Vec<T>>(&mut connection).await?);
        }
        let took = since.elapsed();
        Ok((Phase { took, cpu: self.server.cpu().await? - cpu }, answers))
    }

    fn call(&self, hash: &str, keys: &[&str]) -> Cmd {
        let mut call = redis::cmd("EVALSHA");
        call.arg(hash).arg(keys.len());
        keys.iter().for_each(|key| {
            call.arg(format!("{}{key}", self.base));
        });
        call
    }

    fn enqueue(&self, ids: &[String], body: &[u8]) -> Cmd {
        let mut call = self.call(&self.enqueue, &["bodies", "statuses", "waiting"]);
        ids.iter().for_each(|id| {
            call.arg(id).arg(body);
        });
        call
    }

    fn claim(&self, most: usize) -> Cmd {
        let keys = ["bodies", "statuses", "waiting", "leases", "fence", "drawn"];
        let mut call = self.call(&self.claim, &keys);
        call.arg(most).arg(LEASE_UNTIL).arg(LIMIT).arg(WINDOW_MS);
        call
    }

    fn settle(&self, fence: u64, ids: &[String]) -> Cmd {
        let mut call = self.call(&self.settle, &["statuses", "leases"]);
        call.arg(fence).arg(ids);
        call
    }
}
