//! What stands behind the URL, and which server has a shard.

use std::{sync::Arc, time::Duration};

use redis::{Client, Pipeline, Value};
use tokio::{sync::watch, time::Instant};

use super::{
    cluster::Cluster,
    link::{Failed, Finder},
    node::{Node, Way},
    place::{Place, is_local},
    sentinel::Sentinels,
};
use crate::queue::{QueueError, redis::RedisConfig};

/// What stands behind the URL.
pub(super) enum Topology {
    /// One server, at one address or where sentinels say that it is.
    One { name: String, node: Arc<Node>, local: bool },
    /// The nodes of a cluster.
    Cluster { cluster: Box<Cluster>, local: bool },
}

impl Topology {
    pub(super) fn of(place: Place, config: &RedisConfig) -> Self {
        let node = |finder| Node::new(&finder, config.response_timeout, config.high_water);
        match place {
            Place::One(info) => Self::One {
                name: info.addr().to_string(),
                local: is_local(&info),
                node: node(Finder::At(Box::new(info))),
            },
            Place::Sentinel { sentinels, master, like } => Self::One {
                name: master.clone(),
                local: sentinels.iter().all(is_local),
                node: node(Finder::Sentinels(Arc::new(Sentinels { sentinels, master, like }))),
            },
            Place::Cluster(seeds) => Self::Cluster {
                local: seeds.iter().all(is_local),
                cluster: Box::new(Cluster::new(&seeds, config)),
            },
        }
    }

    /// Sends commands to the server that has the shard.
    pub(super) async fn send(
        &self,
        shard: usize,
        way: Way,
        commands: &Pipeline,
        until: Instant,
    ) -> Result<Vec<Value>, Failed> {
        match self {
            Self::One { node, .. } => node.send(way, commands).await,
            Self::Cluster { cluster, .. } => cluster.send(shard, way, commands, until).await,
        }
    }

    /// The server that is known to have the shard.
    pub(super) fn node_of(&self, shard: usize) -> Option<Arc<Node>> {
        match self {
            Self::One { node, .. } => Some(Arc::clone(node)),
            Self::Cluster { cluster, .. } => cluster.node_of(shard),
        }
    }

    /// What the server is called that is known to have the shard.
    pub(super) fn name_of(&self, shard: usize) -> String {
        match self {
            Self::One { name, .. } => name.clone(),
            Self::Cluster { cluster, .. } => cluster.name_of(shard),
        }
    }

    /// An answer of the shard's server is overdue.
    pub(super) fn doubt(&self, shard: usize, way: Way) {
        if let Some(node) = self.node_of(shard) {
            node.doubt(way);
        }
        if let Self::Cluster { cluster, .. } = self {
            cluster.forget(shard);
        }
    }

    /// News stay away: every connection has to prove that it stands.
    pub(super) fn doubt_all(&self) {
        match self {
            Self::One { node, .. } => node.doubt(Way::Shared),
            Self::Cluster { cluster, .. } => {
                cluster.all().iter().for_each(|node| node.doubt(Way::Shared));
            }
        }
    }

    /// All servers that take jobs, by name.
    pub(super) async fn primaries(&self) -> Result<Vec<(String, Arc<Node>)>, QueueError> {
        match self {
            Self::One { name, node, .. } => Ok(vec![(name.clone(), Arc::clone(node))]),
            Self::Cluster { cluster, .. } => cluster.primaries().await,
        }
    }

    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::One { local, .. } | Self::Cluster { local, .. } => *local,
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster { .. })
    }

    /// A client of a server on which all news are heard, and what tells when another took its place.
    ///
    /// In a cluster every node passes on what was published at any other.
    pub(super) async fn listening(&self) -> Result<(Client, watch::Receiver<u64>), QueueError> {
        let nodes = match self {
            Self::One { node, .. } => vec![Arc::clone(node)],
            Self::Cluster { cluster, .. } => cluster.all(),
        };
        let mut trouble = None;
        for node in nodes {
            match node.link().client().await {
                Ok(client) => return Ok((client, node.link().news())),
                Err(error) => trouble = Some(error),
            }
        }
        Err(trouble.unwrap_or_else(|| QueueError::Unusable("no server is known".into())))
    }
}

/// How long a call may go on from now.
pub(super) fn until(patience: Duration) -> Instant {
    Instant::now() + patience
}
