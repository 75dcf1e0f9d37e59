//! How the servers are: what is to be said of them before jobs are trusted to them, and later.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use jobs::contract::ports::Clock;
use tokio::time::timeout;

use super::{Server, node::Node, overdue, overdue_at};
use crate::queue::{
    QueueError,
    redis::{
        RedisConfig,
        checks::{Circumstances, Finding, Weight, findings},
        config::Durability,
    },
};

/// What a server is asked about itself.
const SECTIONS: [&str; 5] = ["server", "memory", "persistence", "replication", "cluster"];

impl Server {
    /// Connects, and refuses a server that would lose jobs.
    pub(in crate::queue::redis) async fn connect(
        config: &RedisConfig,
        clock: Option<Arc<dyn Clock>>,
    ) -> Result<Self, QueueError> {
        let server = Self::at(config, clock)?;
        for finding in server.examine().await? {
            match finding.weight {
                Weight::Loses => return Err(QueueError::Unusable(finding.to_string())),
                Weight::Warns => tracing::warn!("{finding}"),
            }
        }
        Ok(server)
    }

    /// Says what is wrong with a server that may be another one than at the start. Nobody is stopped by
    /// it any more: jobs that are there have to be worked on.
    pub(in crate::queue::redis) async fn examine_again(&self) {
        match self.examine().await {
            Ok(findings) => findings.iter().for_each(|finding| match finding.weight {
                Weight::Loses => tracing::error!("{finding}"),
                Weight::Warns => tracing::warn!("{finding}"),
            }),
            Err(error) => tracing::warn!(%error, "the queue's server could not be examined"),
        }
    }

    /// What is to be said about every server that takes jobs. One that is out of reach while another
    /// answers is something to be said.
    pub(in crate::queue::redis) async fn examine(&self) -> Result<Vec<Finding>, QueueError> {
        let servers = match timeout(self.worker, self.topology.primaries()).await {
            Ok(servers) => servers?,
            Err(_) => return Err(overdue(self.worker)),
        };
        let here = Circumstances {
            local: self.topology.is_local(),
            cluster: self.topology.is_cluster(),
            replicated: self.durability == Durability::Replicated,
            shards: self.shards.all().len(),
            high_water: self.high_water,
            servers: servers.len(),
        };
        let asked = servers.into_iter().map(|(name, node)| async move {
            let info = timeout(self.worker, node.info(&SECTIONS)).await;
            let info = info.unwrap_or_else(|_| Err(overdue_at(&name, self.worker)));
            (name, info)
        });
        let (mut found, mut answers, mut away) = (Vec::new(), 0, None);
        for (name, info) in join_all(asked).await {
            match info {
                Ok(info) => {
                    answers += 1;
                    found.extend(findings(&name, &info, &here));
                }
                Err(error @ QueueError::Unavailable(_)) => {
                    found.push(Finding::out_of_reach(&name, &error));
                    away = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match away {
            Some(error) if answers == 0 => Err(error),
            _ => Ok(found),
        }
    }

    /// Which of the servers of these shards take no jobs at present, each in a sentence. One that does not
    /// answer within the time is passed over: whether it does is another question.
    pub(in crate::queue::redis) async fn full(
        &self,
        shards: &[usize],
        within: Duration,
    ) -> Vec<String> {
        let mut nodes: Vec<Arc<Node>> = Vec::new();
        for node in shards.iter().filter_map(|shard| self.topology.node_of(*shard)) {
            if !nodes.iter().any(|known| Arc::ptr_eq(known, &node)) {
                nodes.push(node);
            }
        }
        let looks = nodes.iter().map(|node| timeout(within, node.full()));
        join_all(looks).await.into_iter().filter_map(|full| full.ok().flatten()).collect()
    }
}
