//! A primary, a replica, and three sentinels that watch them.

use std::{path::Path, process::Command};

use postrider::queue::redis::RedisConfig;
use redis::{Client, ClientTlsConfig, Cmd, FromRedisValue, RedisResult, TlsCertificates};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{
    cluster::command,
    daemon::{Daemon, free_ports},
    patient, place_at,
    private::certificates,
};
use crate::support::eventually_ok;

/// What the sentinels call it.
const NAME: &str = "postrider-tests";

/// Two servers, one a replica of the other, and three sentinels.
pub(crate) struct Watched {
    servers: Vec<Daemon>,
    _sentinels: Vec<Daemon>,
    ports: [u16; 5],
    tls: bool,
    dir: TempDir,
}

impl Watched {
    /// Starts them, and waits until the sentinels know all of it.
    pub(crate) async fn start() -> Self {
        Self::run(tempfile::tempdir().unwrap(), false).await
    }

    /// The same where all of them speak TLS and nothing else.
    pub(crate) async fn over_tls() -> Self {
        let dir = tempfile::tempdir().unwrap();
        certificates(dir.path());
        Self::run(dir, true).await
    }

    async fn run(dir: TempDir, tls: bool) -> Self {
        let ports: [u16; 5] = free_ports();
        let [primary, replica, ..] = ports;
        let server = |name: &str, port: u16, more: &str| {
            let home = dir.path().join(name);
            std::fs::create_dir(&home).unwrap();
            let mut command = Command::new("redis-server");
            let options =
                "--bind 127.0.0.1 --save  --appendonly yes --repl-diskless-sync-delay 0".to_owned();
            let listen = listens(dir.path(), port, tls);
            let listen =
                listen.iter().flat_map(|(option, value)| [format!("--{option}"), value.clone()]);
            command
                .args(listen)
                .args(options.split(' '))
                .args(more.split_whitespace())
                .arg("--dir")
                .arg(&home);
            Daemon::start(&mut command, &home)
        };
        let of = format!("--replicaof 127.0.0.1 {primary}");
        let servers = vec![server("primary", primary, ""), server("replica", replica, &of)];
        let sentinel = |number: usize| {
            let home = dir.path().join(format!("sentinel-{number}"));
            std::fs::create_dir(&home).unwrap();
            let file = home.join("sentinel.conf");
            let listen = listens(dir.path(), ports[2 + number], tls);
            let listen = listen.iter().map(|(option, value)| format!("{option} {value}\n"));
            let text = listen.collect::<String>()
                + &format!(
                    "bind 127.0.0.1\ndir {home}\nsentinel monitor {NAME} 127.0.0.1 {primary} 2\n\
                 sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 5000\n",
                    home = home.display(),
                );
            std::fs::write(&file, text).unwrap();
            let mut command = Command::new("redis-server");
            Daemon::start(command.arg(&file).arg("--sentinel"), &home)
        };
        let sentinels = (0..3).map(sentinel).collect();
        let watched = Self { servers, _sentinels: sentinels, ports, tls, dir };
        watched.is_whole().await;
        watched
    }

    async fn is_whole(&self) {
        for port in &self.ports[2..] {
            let whole = || async {
                let seen =
                    self.ask::<Vec<String>>(*port, command(&format!("SENTINEL MASTER {NAME}")));
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
            let info: String = self.ask(self.ports[1], command("INFO replication")).await.unwrap();
            if info.contains("master_link_status:up") { Ok(()) } else { Err(info) }
        };
        eventually_ok("the replica follows", linked).await;
    }

    /// A place there, by the sentinels alone.
    pub(crate) fn place(&self) -> RedisConfig {
        let [_, _, a, b, c] = self.ports;
        let hosts = format!("127.0.0.1:{a},127.0.0.1:{b},127.0.0.1:{c}");
        if !self.tls {
            return place_at(format!("redis+sentinel://{hosts}/{NAME}"));
        }
        let file = |name: &str| self.dir.path().join(name);
        RedisConfig {
            ca_file: file("ca.pem"),
            client_certificate: file("client.pem"),
            client_key: file("client.key"),
            ..place_at(format!("rediss+sentinel://{hosts}/{NAME}"))
        }
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
        self.ask(self.ports[1], command(what)).await
    }

    async fn ask<T: FromRedisValue>(&self, port: u16, what: Cmd) -> RedisResult<T> {
        let client = if self.tls {
            let file = |name: &str| std::fs::read(self.dir.path().join(name)).ok();
            let certificates = TlsCertificates {
                client_tls: file("client.pem")
                    .zip(file("client.key"))
                    .map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key }),
                root_cert: file("ca.pem"),
            };
            Client::build_with_tls(format!("rediss://127.0.0.1:{port}"), certificates)?
        } else {
            Client::open(format!("redis://127.0.0.1:{port}"))?
        };
        let mut connection = patient(&client).await?;
        what.query_async(&mut connection).await
    }
}

/// The options by which a server listens at a port.
fn listens(dir: &Path, port: u16, tls: bool) -> Vec<(&'static str, String)> {
    if !tls {
        return vec![("port", port.to_string())];
    }
    let file = |name: &str| dir.join(name).display().to_string();
    vec![
        ("port", "0".to_owned()),
        ("tls-port", port.to_string()),
        ("tls-auth-clients", "yes".to_owned()),
        ("tls-replication", "yes".to_owned()),
        ("tls-ca-cert-file", file("ca.pem")),
        ("tls-cert-file", file("server.pem")),
        ("tls-key-file", file("server.key")),
    ]
}
