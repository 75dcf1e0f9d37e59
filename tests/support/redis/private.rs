//! A server of one test's own; and servers of a kind, each shared by all tests that want one.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use postrider::queue::redis::RedisConfig;
use redis::{Client, FromRedisValue, RedisResult, Value, aio::MultiplexedConnection};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::{
    cluster::command,
    daemon::{Daemon, free_ports},
    patient, place_at,
};
use crate::support::eventually_ok;

/// A server of one test's own, which may be stopped, killed and started again.
pub(crate) struct Private {
    dir: TempDir,
    program: &'static str,
    options: Vec<String>,
    daemon: Daemon,
}

impl Private {
    /// Starts one with these options beside a socket and a directory of its own.
    pub(crate) async fn start(options: &[&str]) -> Self {
        Self::run("redis-server", tempfile::tempdir().unwrap(), options).await
    }

    /// The same by another program than Redis' own.
    pub(super) async fn run(program: &'static str, dir: TempDir, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let daemon = spawn(program, dir.path(), &options);
        let server = Self { dir, program, options, daemon };
        server.answers().await;
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}/socket", self.dir.path().display())
    }

    /// Where it listens; no prefix but the default is needed.
    pub(crate) fn config(&self) -> RedisConfig {
        RedisConfig { url: self.url(), ..crate::support::defaults().redis }
    }

    /// Asks it, as an operator would.
    pub(crate) async fn ask<T: FromRedisValue>(&self, words: &str) -> RedisResult<T> {
        command(words).query_async(&mut self.connection().await?).await
    }

    /// Sets an option of the running server.
    pub(crate) async fn configure(&self, option: &str, value: &str) {
        self.ask::<()>(&format!("CONFIG SET {option} {value}")).await.unwrap();
    }

    /// A field of what it says of itself.
    pub(crate) async fn info(&self, section: &str, field: &str) -> String {
        let text: String = self.ask(&format!("INFO {section}")).await.unwrap();
        let found = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        found.unwrap_or_else(|| panic!("no {field} in {text}")).to_owned()
    }

    /// The path of its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// Its keys.
    pub(crate) async fn keys(&self) -> Vec<String> {
        self.ask("KEYS *").await.unwrap()
    }

    /// The processor's time that it has used, whatever else the machine does: that of its main thread,
    /// which runs all scripts.
    pub(crate) fn busy(&self) -> Duration {
        let id = self.daemon.id();
        let text = std::fs::read_to_string(format!("/proc/{id}/task/{id}/schedstat"));
        let text = text.expect("the server runs");
        let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
        Duration::from_nanos(nanos.expect("a number"))
    }

    /// What its slow log says of scripts: how long each took, in microseconds.
    pub(crate) async fn slow_scripts(&self) -> Vec<u64> {
        let log: Vec<Value> = self.ask("SLOWLOG GET -1").await.unwrap();
        let script = |entry: &Value| {
            let Value::Array(fields) = entry else { panic!("{entry:?}") };
            let (Value::Int(took), Value::Array(words)) = (&fields[2], &fields[3]) else {
                panic!("{entry:?}")
            };
            let verb = matches!(&words[0], Value::BulkString(verb) if verb == b"FCALL");
            verb.then(|| u64::try_from(*took).expect("a span"))
        };
        log.iter().filter_map(script).collect()
    }

    pub(crate) async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        patient(&Client::open(self.url())?).await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.daemon.signal(signal);
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Starts it again with what it kept.
    pub(crate) async fn restart(&mut self) {
        self.begin_again();
        self.answers().await;
    }

    /// The same without waiting until it answers.
    pub(crate) fn begin_again(&mut self) {
        self.daemon = spawn(self.program, self.dir.path(), &self.options);
    }

    async fn answers(&self) {
        eventually_ok("the server answers", || self.ask::<String>("PING")).await;
    }
}

fn spawn(program: &str, dir: &Path, options: &[String]) -> Daemon {
    // A killed server leaves its socket behind.
    let _ = std::fs::remove_file(dir.join("socket"));
    let mut command = Command::new(program);
    // The options come last: a configuration file, which must come first, is one of them.
    let (file, options) = match options.split_first() {
        Some((first, rest)) if !first.starts_with("--") => (Some(first), rest),
        _ => (None, options),
    };
    command.args(file).args(["--port", "0", "--save", "", "--unixsocket"]);
    command.arg(dir.join("socket")).arg("--dir").arg(dir).args(options);
    Daemon::start(&mut command, dir)
}

/// A place on a server at which we are the user that is shipped, with no more rights than that has.
pub(crate) async fn as_user() -> RedisConfig {
    static SERVER: OnceCell<Private> = OnceCell::const_new();
    let start = || async {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/redis/users.acl");
        let server = Private::start(&["--aclfile", file]).await;
        // As the documentation of the file says.
        server.ask::<()>("ACL SETUSER postrider on >s3cr:t").await.unwrap();
        server
    };
    let url = SERVER.get_or_init(start).await.url();
    place_at(format!("{url}?user=postrider&pass=s3cr:t"))
}

/// A place on a server that wants TLS and a certificate.
pub(crate) async fn over_tls() -> RedisConfig {
    static SERVER: OnceCell<(Private, u16)> = OnceCell::const_new();
    let start = || async {
        let dir = tempfile::tempdir().unwrap();
        certificates(dir.path());
        let [port] = free_ports();
        let file = |name: &str| dir.path().join(name).display().to_string();
        let (ca, certificate, key) = (file("ca.pem"), file("server.pem"), file("server.key"));
        let options = format!(
            "--tls-port {port} --bind 127.0.0.1 --tls-auth-clients yes --tls-ca-cert-file {ca} \
             --tls-cert-file {certificate} --tls-key-file {key}"
        );
        let options: Vec<&str> = options.split_whitespace().collect();
        (Private::run("redis-server", dir, &options).await, port)
    };
    let (server, port) = SERVER.get_or_init(start).await;
    let file = |name: &str| server.dir.path().join(name);
    RedisConfig {
        ca_file: file("ca.pem"),
        client_certificate: file("client.pem"),
        client_key: file("client.key"),
        ..place_at(format!("rediss://127.0.0.1:{port}"))
    }
}

/// A place in Valkey; none, where it cannot be had, which tests/run says.
pub(crate) async fn valkey() -> Option<RedisConfig> {
    static SERVER: OnceCell<Option<Private>> = OnceCell::const_new();
    const PROGRAM: &str = "valkey-server";
    let start = || async {
        if Command::new(PROGRAM).arg("--version").output().is_err() {
            return None;
        }
        Some(Private::run(PROGRAM, tempfile::tempdir().unwrap(), &[]).await)
    };
    SERVER.get_or_init(start).await.as_ref().map(|server| place_at(server.url()))
}

/// An authority, and certificates of it for a server and a client.
pub(super) fn certificates(dir: &Path) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/certificates.sh");
    let done = Command::new(script).arg(dir).output().expect("the script is there");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
