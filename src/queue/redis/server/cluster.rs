//! A cluster: which node has which shard, as the nodes themselves say.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use redis::{ConnectionAddr, ConnectionInfo, Pipeline, ServerErrorKind, Value};

use tokio::time::Instant;

use super::{
    link::{Failed, Finder},
    node::{Node, Way},
    place::at,
};
use crate::queue::{QueueError, redis::RedisConfig};

/// The pauses before a node is asked again that could not say who has a shard.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// How long one call looks for the node that has a shard. Longer would keep a worker from the others,
/// who comes back by itself.
const SEARCH: Duration = Duration::from_secs(1);

/// The nodes of a cluster.
///
/// A shard's keys lie in one slot. Whoever is asked for a shard that it does not have names the node
/// that has it (`MOVED`), and that is remembered: no table of slots is needed.
pub(super) struct Cluster {
    like: ConnectionInfo,
    response_timeout: Duration,
    high_water: f64,
    nodes: Mutex<BTreeMap<String, Arc<Node>>>,
    owners: RwLock<Vec<Option<Owner>>>,
    turn: AtomicUsize,
}

#[derive(Clone)]
struct Owner {
    address: String,
    node: Arc<Node>,
}

/// What an answer says about where to go.
#[derive(Debug, PartialEq, Eq)]
enum Redirect {
    /// Another node has the shard; its port, and its host unless it is that of the node asked.
    Moved(Option<String>, u16),
    /// Nobody can say at present, or the shard is on its way, in the server's words.
    Later(String),
}

impl Cluster {
    /// A cluster of which one node is known at least.
    pub(super) fn new(seeds: &[ConnectionInfo], config: &RedisConfig) -> Self {
        let cluster = Self {
            like: seeds[0].clone(),
            response_timeout: config.response_timeout,
            high_water: config.high_water,
            nodes: Mutex::default(),
            owners: RwLock::new(vec![None; config.shards.into()]),
            turn: AtomicUsize::new(0),
        };
        for seed in seeds {
            if let ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } =
                seed.addr()
            {
                cluster.node(host, *port);
            }
        }
        cluster
    }

    /// Sends commands to the node that has the shard, wherever that is; looks for it until then.
    pub(super) async fn send(
        &self,
        shard: usize,
        way: Way,
        commands: &Pipeline,
        until: Instant,
    ) -> Result<Vec<Value>, Failed> {
        let until = until.min(Instant::now() + SEARCH);
        let mut pause = FIRST_PAUSE;
        loop {
            let trouble;
            let asked = self.owner(shard).unwrap_or_else(|| self.somebody());
            match asked.node.send(way, commands).await {
                Ok(answers) => match redirect(&answers) {
                    None => {
                        self.own(shard, Some(asked));
                        return Ok(answers);
                    }
                    Some(Redirect::Moved(host, port)) => {
                        let host = host.unwrap_or_else(|| host_of(&asked.address).to_owned());
                        let owner = self.node(&host, port);
                        let known = self.owner(shard).is_some_and(|o| o.address == owner.address);
                        self.own(shard, Some(owner));
                        if !known {
                            continue;
                        }
                        trouble = QueueError::Unavailable("nodes disagree on a shard".into());
                    }
                    Some(Redirect::Later(words)) => {
                        self.own(shard, None);
                        trouble = QueueError::Unavailable(words);
                    }
                },
                // Nobody heard it: another node may know who took over.
                Err(Failed::NotSent(error)) => {
                    self.own(shard, None);
                    trouble = error;
                }
                Err(broken) => {
                    self.own(shard, None);
                    return Err(broken);
                }
            }
            if Instant::now() + pause >= until {
                return Err(Failed::NotSent(trouble));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The node that is known to have the shard.
    pub(super) fn node_of(&self, shard: usize) -> Option<Arc<Node>> {
        self.owner(shard).map(|owner| owner.node)
    }

    /// The address of that node, or of the cluster as far as it is known.
    pub(super) fn name_of(&self, shard: usize) -> String {
        let known = || self.addresses().into_iter().map(|owner| owner.address).collect::<Vec<_>>();
        self.owner(shard).map_or_else(|| known().join(","), |owner| owner.address)
    }

    /// Whoever else was known to have the shard, somebody must be asked anew.
    pub(super) fn forget(&self, shard: usize) {
        self.own(shard, None);
    }

    /// All nodes that are known, beginning with another one each time.
    pub(super) fn all(&self) -> Vec<Arc<Node>> {
        let mut all: Vec<_> = self.nodes().values().cloned().collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % all.len();
        all.rotate_left(turn);
        all
    }

    /// Asks who is there, and answers with all that have slots.
    pub(super) async fn primaries(&self) -> Result<Vec<(String, Arc<Node>)>, QueueError> {
        let mut slots = Pipeline::new();
        slots.cmd("CLUSTER").arg("SLOTS");
        let mut trouble = None;
        for asked in self.addresses() {
            let answered = asked.node.send(Way::Shared, &slots).await;
            let answer = match answered {
                Ok(answers) => answers.into_iter().next().unwrap_or(Value::Nil),
                Err(error) => {
                    trouble = Some(error.into());
                    continue;
                }
            };
            match answer {
                Value::Array(ranges) => return Ok(self.know(&ranges, host_of(&asked.address))),
                Value::ServerError(error) => trouble = Some(redis::RedisError::from(error).into()),
                _ => {}
            }
        }
        Err(trouble.unwrap_or_else(|| QueueError::Unusable("no node answers CLUSTER SLOTS".into())))
    }

    /// Takes in `CLUSTER SLOTS`: for each range its ends, its primary, its replicas.
    fn know(&self, ranges: &[Value], asked: &str) -> Vec<(String, Arc<Node>)> {
        let mut primaries = BTreeMap::new();
        for range in ranges {
            let Value::Array(range) = range else { continue };
            for (place, node) in range.iter().skip(2).enumerate() {
                let Some((host, port)) = address(node) else { continue };
                let owner = self.node(host.as_deref().unwrap_or(asked), port);
                if place == 0 {
                    primaries.insert(owner.address, owner.node);
                }
            }
        }
        primaries.into_iter().collect()
    }

    fn somebody(&self) -> Owner {
        let nodes = self.addresses();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % nodes.len();
        nodes[turn].clone()
    }

    fn addresses(&self) -> Vec<Owner> {
        let owner = |(address, node): (&String, &Arc<Node>)| Owner {
            address: address.clone(),
            node: Arc::clone(node),
        };
        self.nodes().iter().map(owner).collect()
    }

    /// The node at an address, known or new.
    fn node(&self, host: &str, port: u16) -> Owner {
        let address = format!("{host}:{port}");
        let new = || {
            let finder = Finder::At(Box::new(at(&self.like, host, port)));
            Node::new(&finder, self.response_timeout, self.high_water)
        };
        let node = Arc::clone(self.nodes().entry(address.clone()).or_insert_with(new));
        Owner { address, node }
    }

    fn owner(&self, shard: usize) -> Option<Owner> {
        self.owners.read().unwrap_or_else(PoisonError::into_inner)[shard].clone()
    }

    fn own(&self, shard: usize, owner: Option<Owner>) {
        let known = self.owner(shard).map(|known| known.address);
        if known.as_ref() != owner.as_ref().map(|owner| &owner.address) {
            self.owners.write().unwrap_or_else(PoisonError::into_inner)[shard] = owner;
        }
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Node>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

/// The address in a node's entry of `CLUSTER SLOTS`; no host: that of the node asked.
fn address(node: &Value) -> Option<(Option<String>, u16)> {
    let Value::Array(node) = node else { return None };
    let host = match node.first()? {
        Value::BulkString(host) => Some(String::from_utf8_lossy(host).into_owned()),
        _ => None,
    };
    let Value::Int(port) = node.get(1)? else { return None };
    Some((host.filter(|host| !host.is_empty()), u16::try_from(*port).ok()?))
}

/// What the first answer says about where to go.
///
/// `ASK` is not followed. A slot's keys go to another node one by one, and a script needs all of its
/// shard's; the key that it names exists on neither side, so that both send it away until all the keys
/// have arrived. The shard rests meanwhile, and nothing is torn apart.
fn redirect(answers: &[Value]) -> Option<Redirect> {
    let Some(Value::ServerError(error)) = answers.first() else { return None };
    match error.kind()? {
        ServerErrorKind::Moved => {
            let to = error.details().and_then(|details| details.split_whitespace().nth(1));
            let (host, port) = to.and_then(|to| to.rsplit_once(':')).unwrap_or_default();
            let host = (!host.is_empty()).then(|| host.to_owned());
            Some(match port.parse() {
                Ok(port) => Redirect::Moved(host, port),
                Err(_) => Redirect::Later(error.to_string()),
            })
        }
        ServerErrorKind::Ask | ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown => {
            Some(Redirect::Later(error.to_string()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(error: &str) -> Vec<Value> {
        vec![redis::parse_redis_value(format!("-{error}\r\n").as_bytes()).unwrap()]
    }

    #[test]
    fn a_shard_is_followed_to_where_it_is_said_to_be() {
        let moved = |host: Option<&str>, port| Some(Redirect::Moved(host.map(str::to_owned), port));
        let rows = [
            ("MOVED 3999 10.0.0.1:6381", moved(Some("10.0.0.1"), 6381)),
            ("MOVED 3999 ::1:6381", moved(Some("::1"), 6381)),
            ("MOVED 3999 :6381", moved(None, 6381)),
            ("OOM command not allowed", None),
        ];
        for (error, expected) in rows {
            assert_eq!(redirect(&answer(error)), expected, "{error}");
        }
        assert_eq!(redirect(&[Value::Okay]), None);
    }

    #[test]
    fn a_shard_that_nobody_can_serve_at_present_is_waited_for() {
        let rows = [
            "MOVED 3999",
            "ASK 3999 10.0.0.1:6381",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "CLUSTERDOWN The cluster is down",
        ];
        for error in rows {
            assert!(matches!(redirect(&answer(error)), Some(Redirect::Later(_))), "{error}");
        }
    }
}
