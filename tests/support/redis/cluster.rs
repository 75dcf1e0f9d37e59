//! A cluster of three nodes, with or without replicas.

use std::process::Command;

use postrider::queue::redis::RedisConfig;
use redis::{Client, Cmd, FromRedisValue, RedisResult};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::{
    daemon::{Daemon, free_ports},
    patient, place_at,
};
use crate::support::eventually_ok;

/// Where the slots of each node begin, and where the last one's end.
const BOUNDS: [u16; 4] = [0, 5_461, 10_923, 16_384];

/// Three nodes on loopback that share the slots evenly.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
}

struct Node {
    port: u16,
    daemon: Daemon,
    _dir: TempDir,
}

impl Cluster {
    /// The cluster that all tests share which leave it as it is.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// A cluster of one test's own.
    pub(crate) async fn start() -> Self {
        Self::of(&free_ports::<6>()).await
    }

    /// The same with a replica of each node: 3 of node 0, 4 of 1, 5 of 2.
    pub(crate) async fn with_replicas() -> Self {
        let cluster = Self::of(&free_ports::<12>()).await;
        for replica in 3..6 {
            let of: String = cluster.ask(replica - 3, command("CLUSTER MYID")).await.unwrap();
            let follow = || cluster.ask::<()>(replica, command(&format!("CLUSTER REPLICATE {of}")));
            eventually_ok("it may be a replica", follow).await;
        }
        for replica in 3..6 {
            let linked = || async {
                let info: String = cluster.ask(replica, command("INFO replication")).await.unwrap();
                if info.contains("master_link_status:up") { Ok(()) } else { Err(info) }
            };
            eventually_ok("the replica follows", linked).await;
        }
        for node in 0..6 {
            let known = || async {
                let nodes: String = cluster.ask(node, command("CLUSTER NODES")).await.unwrap();
                if nodes.matches(" slave ").count() + nodes.matches(",slave ").count() == 3 {
                    Ok(())
                } else {
                    Err(nodes)
                }
            };
            eventually_ok("the nodes know the replicas", known).await;
        }
        cluster
    }

    /// Nodes at these ports, two each, of which the first three share the slots.
    async fn of(ports: &[u16]) -> Self {
        let nodes: Vec<Node> =
            ports.chunks(2).map(|ports| Node::start(ports[0], ports[1])).collect();
        let cluster = Self { nodes };
        for (index, node) in cluster.nodes.iter().enumerate() {
            let ping = || cluster.ask::<String>(index, redis::cmd("PING"));
            eventually_ok("the node answers", ping).await;
            if index < BOUNDS.len() - 1 {
                let mut slots = redis::cmd("CLUSTER");
                slots.arg("ADDSLOTSRANGE").arg(BOUNDS[index]).arg(BOUNDS[index + 1] - 1);
                cluster.ask::<()>(index, slots).await.unwrap();
            }
            let mut meet = redis::cmd("CLUSTER");
            // The first one introduces all others.
            meet.arg("MEET").arg("127.0.0.1").arg(node.port).arg(ports[index * 2 + 1]);
            cluster.ask::<()>(0, meet).await.unwrap();
        }
        let all = format!("cluster_known_nodes:{}", cluster.nodes.len());
        let all = ["cluster_state:ok", "cluster_size:3", all.as_str()];
        for index in 0..cluster.nodes.len() {
            let known = || async {
                let info: String = cluster.ask(index, command("CLUSTER INFO")).await.unwrap();
                if all.iter().all(|words| info.contains(words)) { Ok(()) } else { Err(info) }
            };
            eventually_ok("the nodes know each other", known).await;
        }
        cluster
    }

    /// A place of its own in the cluster, spread over all nodes.
    pub(crate) fn place(&self) -> RedisConfig {
        // One seed is enough, and shows that the others are found.
        let place = place_at(format!("redis+cluster://127.0.0.1:{}", self.nodes[0].port));
        RedisConfig { shards: 12, ..place }
    }

    /// Asks one node.
    pub(crate) async fn ask<T: FromRedisValue>(&self, node: usize, what: Cmd) -> RedisResult<T> {
        let client = Client::open(format!("redis://127.0.0.1:{}", self.nodes[node].port))?;
        let mut connection = patient(&client).await?;
        what.query_async(&mut connection).await
    }

    /// The node that has a slot at the start.
    pub(crate) fn node_of(slot: u16) -> usize {
        BOUNDS.iter().rposition(|begin| *begin <= slot).expect("the first begins with 0")
    }

    pub(crate) fn port(&self, node: usize) -> u16 {
        self.nodes[node].port
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].daemon.kill();
    }

    pub(crate) fn signal(&self, node: usize, signal: Signal) {
        self.nodes[node].daemon.signal(signal);
    }
}

impl Node {
    fn start(port: u16, bus: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("redis-server");
        let options = format!(
            "--port {port} --cluster-port {bus} --bind 127.0.0.1 --save  --appendonly no \
             --cluster-enabled yes --cluster-node-timeout 2000 --repl-diskless-sync-delay 0"
        );
        command.args(options.split(' ')).arg("--dir").arg(dir.path());
        let daemon = Daemon::start(&mut command, dir.path());
        Self { port, daemon, _dir: dir }
    }
}

/// A command of several words.
pub(crate) fn command(words: &str) -> Cmd {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().expect("a command has a first word"));
    words.for_each(|word| {
        command.arg(word);
    });
    command
}
