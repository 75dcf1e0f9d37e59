//! A primary, a replica, and three sentinels that watch them.

use std::process::Command;

use postrider::queue::redis::RedisConfig;
use redis::{Client, Cmd, FromRedisValue, RedisResult};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{
    cluster::command,
    daemon::{Daemon, free_ports},
    place_at,
};
use crate::support::eventually_ok;

/// What the sentinels call it.
const NAME: &str = "postrider-tests";

/// Two servers, one a replica of the other, and three sentinels.
pub(crate) struct Watched {
    servers: Vec<Daemon>,
    _sentinels: Vec<Daemon>,
    ports: [u16; 5],
    _dir: TempDir,
}

impl Watched {
    /// Starts them, and waits until the sentinels know all of it.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports: [u16; 5] = free_ports();
        let [primary, replica, ..] = ports;
        let server = |name: &str, port: u16, more: &str| {
            let home = dir.path().join(name);
            std::fs::create_dir(&home).unwrap();
            let mut command = Command::new("redis-server");
            let options = format!(
                "--port {port} --bind 127.0.0.1 --save  --appendonly yes --repl-diskless-sync-delay 0"
            );
            command.args(options.split(' ')).args(more.split_whitespace()).arg("--dir").arg(&home);
            Daemon::start(&mut command, &home)
        };
        let of = format!("--replicaof 127.0.0.1 {primary}");
        let servers = vec![server("primary", primary, ""), server("replica", replica, &of)];
        let sentinel = |number: usize| {
            let home = dir.path().join(format!("sentinel-{number}"));
            std::fs::create_dir(&home).unwrap();
            let file = home.join("sentinel.conf");
            let text = format!(
                "port {port}\nbind 127.0.0.1\ndir {home}\nsentinel monitor {NAME} 127.0.0.1 {primary} 2\n\
                 sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 5000\n",
                port = ports[2 + number],
                home = home.display(),
            );
            std::fs::write(&file, text).unwrap();
            let mut command = Command::new("redis-server");
            Daemon::start(command.arg(&file).arg("--sentinel"), &home)
        };
        let sentinels = (0..3).map(sentinel).collect();
        let watched = Self { servers, _sentinels: sentinels, ports, _dir: dir };
        watched.is_whole().await;
        watched
    }

    async fn is_whole(&self) {
        for port in &self.ports[2..] {
            let whole = || async {
                let seen = ask::<Vec<String>>(*port, command(&format!("SENTINEL MASTER {NAME}")));
                let seen = seen.await.map_err(|error| error.to_string())?;
                let field = |name: &str| {
                    let at = seen.iter().position(|word| word == name)?;
                    seen.get(at + 1).cloned()
                };
                let known = (field("num-slaves"), field("num-other-sentinels"), field("flags"));
                let all = (Some("1".into()), Some("2".into()), Some("master".into()));
                if known == all { Ok(()) } else { Err(format!("{known:?}")) }
            };
            eventually_ok("the sentinels know everybody", whole).await;
        }
        let linked = || async {
            let info: String = ask(self.ports[1], command("INFO replication")).await.unwrap();
            if info.contains("master_link_status:up") { Ok(()) } else { Err(info) }
        };
        eventually_ok("the replica follows", linked).await;
    }

    /// A place there, by the sentinels alone.
    pub(crate) fn place(&self) -> RedisConfig {
        let [_, _, a, b, c] = self.ports;
        let hosts = format!("127.0.0.1:{a},127.0.0.1:{b},127.0.0.1:{c}");
        place_at(format!("redis+sentinel://{hosts}/{NAME}"))
    }

    /// The first primary.
    pub(crate) fn signal_primary(&self, signal: Signal) {
        self.servers[0].signal(signal);
    }

    /// The first replica.
    pub(crate) fn signal_replica(&self, signal: Signal) {
        self.servers[1].signal(signal);
    }

    /// Asks the server that was a replica at first.
    pub(crate) async fn ask_replica<T: FromRedisValue>(&self, what: &str) -> RedisResult<T> {
        ask(self.ports[1], command(what)).await
    }
}

async fn ask<T: FromRedisValue>(port: u16, what: Cmd) -> RedisResult<T> {
    let client = Client::open(format!("redis://127.0.0.1:{port}"))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    what.query_async(&mut connection).await
}
