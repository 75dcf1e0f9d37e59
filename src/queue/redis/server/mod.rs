//! The connection to the server, or to the servers, that the queue lies in: calling a script, and what
//! is asked of a server before that.
//!
//! * what the URL says: `place`, `certificates`; what stands behind it: `topology` (`sentinel`, `cluster`)
//! * one server: `node`; one connection: `link`; its memory: `memory`; its time: `clock`; the scripts that
//!   it knows: `library`; how all of them are: `health`

mod certificates;
mod clock;
mod cluster;
mod health;
mod library;
mod link;
mod memory;
mod node;
mod place;
mod sentinel;
mod topology;

use std::{sync::Arc, time::Duration};

use jobs::contract::{Moment, ports::Clock};
use redis::{Client, Cmd, Pipeline, Value};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

pub(super) use self::place::Place;
use self::{clock::ServerClock, library::is_unknown, node::Way, topology::Topology};
use super::{RedisConfig, config::Durability, keys::Shards, scripts::Script};
use crate::queue::QueueError;

/// How patient a call is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patience {
    /// Somebody waits for an answer.
    Caller,
    /// A worker or a scheduler: what it was given must not get lost on the way.
    Worker,
}

/// A server, or whatever stands for one.
pub(super) struct Server {
    pub(super) shards: Shards,
    topology: Topology,
    clock: ServerClock,
    caller: Duration,
    worker: Duration,
    durability: Durability,
    /// How long the server waits for a replica.
    replica: Duration,
    /// The part of a server's memory from which on it takes no more jobs.
    high_water: f64,
}

impl Server {
    /// News stay away: every connection has to prove that it stands.
    pub(super) fn doubt(&self) {
        self.topology.doubt_all();
    }

    /// The answer of a shard is overdue for somebody who waits no longer.
    pub(super) fn doubt_shard(&self, shard: usize) {
        self.topology.doubt(shard, Way::Shared);
    }

    /// The server that is configured; nobody is connected to it yet.
    pub(super) fn at(
        config: &RedisConfig,
        clock: Option<Arc<dyn Clock>>,
    ) -> Result<Self, QueueError> {
        let place = Place::of(config).map_err(QueueError::Unusable)?;
        Ok(Self {
            shards: Shards::new(&config.prefix, config.shards),
            topology: Topology::of(place, config),
            clock: ServerClock::new(clock),
            caller: config.submit_timeout,
            worker: config.response_timeout,
            durability: config.durability,
            replica: config.replica_timeout,
            high_water: config.high_water,
        })
    }

    /// The server's time, as far as this process knows.
    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Takes note of what time the server said it was.
    pub(super) fn observe(&self, now: Moment) {
        self.clock.observe(now);
    }

    /// How long a call of this patience waits for its answer.
    pub(super) fn patience(&self, patience: Patience) -> Duration {
        match patience {
            Patience::Caller => self.caller,
            Patience::Worker => self.worker,
        }
    }

    /// Calls a script in a shard. `arguments` come after the time.
    ///
    /// What takes jobs in is called durably, whoever calls it.
    pub(super) async fn call(
        &self,
        script: &Script,
        shard: usize,
        patience: Patience,
        arguments: &[impl AsRef<[u8]>],
    ) -> Result<Value, QueueError> {
        if script.submits {
            return self.call_durable(script, shard, patience, arguments).await;
        }
        self.ask(Call { script, shard, way: Way::Shared, before: &[], arguments }, patience).await
    }

    /// Calls a script that takes jobs in, durably, with commands sent before it in the same round trip:
    /// what is large and need not go through the script.
    pub(super) async fn take_in(
        &self,
        script: &Script,
        shard: usize,
        before: &[Cmd],
        arguments: &[impl AsRef<[u8]>],
    ) -> Result<Value, QueueError> {
        let call = Call { script, shard, way: self.durable(), before, arguments };
        self.ask(call, Patience::Caller).await
    }

    fn durable(&self) -> Way {
        match self.durability {
            Durability::Local => Way::Shared,
            Durability::Replicated => Way::Waiting,
        }
    }

    /// Calls a script whose effect must outlive the server that carries it out. The same as
    /// [`Self::call`] under `redis.durability = "local"`; under `"replicated"` there is an answer only
    /// once a replica has what the script wrote.
    ///
    /// Without a replica in time the answer is `Unavailable` although the script ran: a submission with a
    /// key is repeated safely, and one without may come in twice.
    pub(super) async fn call_durable(
        &self,
        script: &Script,
        shard: usize,
        patience: Patience,
        arguments: &[impl AsRef<[u8]>],
    ) -> Result<Value, QueueError> {
        let call = Call { script, shard, way: self.durable(), before: &[], arguments };
        self.ask(call, patience).await
    }

    async fn ask<A: AsRef<[u8]>>(
        &self,
        call: Call<'_, A>,
        patience: Patience,
    ) -> Result<Value, QueueError> {
        let until = topology::until(self.patience(patience));
        let answer = async {
            if call.script.submits
                && let Some(node) = self.topology.node_of(call.shard)
            {
                node.admit().await?;
            }
            self.carry_out(&call, until).await
        };
        let answer = self.in_time(call.shard, call.way, patience, answer).await?;
        // An error that a script gives is a value until it is asked for.
        Ok(answer.extract_error()?)
    }

    /// Sends a command that goes by keys of a shard.
    pub(super) async fn query(
        &self,
        shard: usize,
        command: &Cmd,
        patience: Patience,
    ) -> Result<Value, QueueError> {
        let answers = self.query_all(shard, std::slice::from_ref(command), patience).await?;
        Ok(answers.into_iter().next().unwrap_or(Value::Nil))
    }

    /// Sends several in one round trip.
    pub(super) async fn query_all(
        &self,
        shard: usize,
        commands: &[Cmd],
        patience: Patience,
    ) -> Result<Vec<Value>, QueueError> {
        let until = topology::until(self.patience(patience));
        let mut pipeline = Pipeline::new();
        for command in commands {
            pipeline.add_command(command.clone());
        }
        let answers = async { Ok(self.topology.send(shard, Way::Shared, &pipeline, until).await?) };
        let answers = self.in_time(shard, Way::Shared, patience, answers).await?;
        answers.into_iter().map(|answer| Ok(answer.extract_error()?)).collect()
    }

    /// Waits for an answer of a shard's server, and doubts a connection whose answer is overdue.
    async fn in_time<T>(
        &self,
        shard: usize,
        way: Way,
        patience: Patience,
        answer: impl Future<Output = Result<T, QueueError>>,
    ) -> Result<T, QueueError> {
        let within = self.patience(patience);
        match timeout(within, answer).await {
            Ok(answer) => answer,
            Err(_) => {
                let server = self.topology.name_of(shard);
                self.topology.doubt(shard, way);
                Err(overdue_at(&server, within))
            }
        }
    }

    async fn send<A: AsRef<[u8]>>(
        &self,
        call: &Call<'_, A>,
        verb: &str,
        script: &str,
        until: Instant,
    ) -> Result<Value, QueueError> {
        let base = self.shards.base(call.shard);
        let mut commands = Pipeline::new();
        for command in call.before {
            commands.add_command(command.clone());
        }
        let command = commands.cmd(verb).arg(script).arg(1).arg(base).arg(self.clock.argument());
        for argument in call.arguments {
            command.arg(argument.as_ref());
        }
        if call.way == Way::Waiting {
            // `WAIT` waits for what this connection wrote. A repeated submission writes nothing, while
            // the first one, on another connection, may not have reached a replica yet.
            commands.cmd("SET").arg(format!("{base}touched")).arg("");
            commands.cmd("WAIT").arg(1).arg(self.replica.as_millis().to_string());
        }
        let answers = self.topology.send(call.shard, call.way, &commands, until).await?;
        // What was sent before is not asked whether it worked: the script sees that.
        let mut answers = answers.into_iter().skip(call.before.len());
        let answer = answers.next().unwrap_or(Value::Nil);
        match &answer {
            // The script's own words go first: it knows why nothing could be written. But without a
            // replica there is no point in loading it.
            Value::ServerError(_) if !is_unknown(&answer) => Ok(answer),
            _ => self.kept(answers).map(|()| answer),
        }
    }

    /// Whether a replica has what was written, by the answers to what was sent behind a script.
    fn kept(&self, answers: impl Iterator<Item = Value>) -> Result<(), QueueError> {
        for answer in answers {
            if answer.extract_error()? == Value::Int(0) {
                let within = self.replica.as_millis();
                let words = format!("no replica had the jobs within {within} ms");
                return Err(QueueError::Unavailable(words));
            }
        }
        Ok(())
    }

    /// A client of a server on which all news are heard, and what tells when another took its place.
    pub(super) async fn listening(&self) -> Result<(Client, watch::Receiver<u64>), QueueError> {
        self.topology.listening().await
    }
}

/// A script and what it is called with.
struct Call<'a, A> {
    script: &'a Script,
    shard: usize,
    way: Way,
    before: &'a [Cmd],
    arguments: &'a [A],
}

fn overdue_at(server: &str, within: Duration) -> QueueError {
    let words = format!("Redis at {server} did not answer within {} ms", within.as_millis());
    QueueError::Unavailable(words)
}

fn overdue(within: Duration) -> QueueError {
    QueueError::Unavailable(format!("Redis did not answer within {} ms", within.as_millis()))
}
