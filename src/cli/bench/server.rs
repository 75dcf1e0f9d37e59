//! The Redis server itself: one of the benchmark's own, and what is asked of any.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::{AsyncConnectionConfig, Client, Value, aio::MultiplexedConnection};

use super::Failure;

/// How long a server may take to start, and to answer anything.
const START: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(60);
/// How often it is asked whether it has got there.
const LOOK: Duration = Duration::from_millis(20);
/// Keys looked at by one SCAN.
const SCAN: u32 = 1_000;
/// What to do for a user who may do no more than the shipped one.
const RIGHTS: &str = "bench needs more rights than Postrider: redis-cli ACL SETUSER postrider +scan \
     +script|load +evalsha +incr +incrby +lpop +pexpire; or let it start a server of its own (redis.url empty)";
/// Calls that take longer are remembered by a server of our own, in µs, and how many of them.
const SLOW_US: u32 = 500;
const SLOW_KEPT: u32 = 2_000;

/// A connection that asks the server itself.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) connection: MultiplexedConnection,
}

impl Server {
    /// Connects.
    pub(super) async fn connect(url: &str) -> Result<Self, Failure> {
        // Without the client's words, which may show the URL and the password in it.
        let client = Client::open(url)
            .map_err(|_| Failure::config("redis.url is not the address of one Redis server"))?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(START))
            .set_response_timeout(Some(ANSWER));
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Self { connection })
    }

    /// Seconds of CPU that it has used so far.
    pub(super) async fn cpu(&self) -> Result<f64, Failure> {
        let info = self.info("cpu").await?;
        Ok(field(&info, "used_cpu_sys") + field(&info, "used_cpu_user"))
    }

    /// Bytes that its data take.
    pub(super) async fn memory(&self) -> Result<f64, Failure> {
        Ok(field(&self.info("memory").await?, "used_memory"))
    }

    /// What it is, and its version.
    pub(super) async fn version(&self) -> Result<String, Failure> {
        let info = self.info("server").await?;
        // Valkey says as well to which Redis it answers.
        let valkey = text(&info, "valkey_version").map(|version| format!("Valkey {version}"));
        let redis =
            || format!("Redis {}", text(&info, "redis_version").unwrap_or("of an unknown version"));
        Ok(valkey.unwrap_or_else(redis))
    }

    async fn info(&self, section: &str) -> Result<String, Failure> {
        let mut connection = self.connection.clone();
        Ok(redis::cmd("INFO").arg(section).query_async(&mut connection).await?)
    }

    /// Fails where keys may not be looked for.
    pub(super) async fn can_clear(&self) -> Result<(), Failure> {
        let mut scan = redis::cmd("SCAN");
        scan.arg(0).arg("MATCH").arg("postrider:bench-").arg("COUNT").arg(1);
        Ok(scan.query_async::<()>(&mut self.connection.clone()).await?)
    }

    /// Removes all keys below a prefix, in bounded steps, and waits until their memory is free.
    pub(super) async fn clear(&self, prefix: &str) -> Result<(), Failure> {
        let mut connection = self.connection.clone();
        let mut cursor = "0".to_owned();
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(SCAN);
            let (next, keys): (String, Vec<Vec<u8>>) = scan.query_async(&mut connection).await?;
            if !keys.is_empty() {
                redis::cmd("UNLINK").arg(keys).query_async::<()>(&mut connection).await?;
            }
            if next == "0" {
                break;
            }
            cursor = next;
        }
        // Freed in the background, which would be counted as CPU of what is measured next.
        while field(&self.info("memory").await?, "lazyfree_pending_objects") > 0.0 {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Makes a server of our own remember slow calls from now on, and forget those before.
    pub(super) async fn watch_slow(&self) -> Result<(), Failure> {
        let mut connection = self.connection.clone();
        let settings = [("slowlog-log-slower-than", SLOW_US), ("slowlog-max-len", SLOW_KEPT)];
        for (option, value) in settings {
            let mut set = redis::cmd("CONFIG");
            set.arg("SET").arg(option).arg(value).query_async::<()>(&mut connection).await?;
        }
        Ok(redis::cmd("SLOWLOG").arg("RESET").query_async(&mut connection).await?)
    }

    /// Milliseconds of the slowest script that it remembers; 0 when none was slow.
    pub(super) async fn slowest(&self) -> Result<f64, Failure> {
        let mut connection = self.connection.clone();
        let log: Value =
            redis::cmd("SLOWLOG").arg("GET").arg(SLOW_KEPT).query_async(&mut connection).await?;
        let Value::Array(entries) = log else { return Ok(0.0) };
        Ok(entries.iter().filter_map(script_us).fold(0.0, f64::max) / 1e3)
    }
}

/// The microseconds of an entry of the slow log, if it is a script: id, time, microseconds, words…
fn script_us(entry: &Value) -> Option<f64> {
    let Value::Array(parts) = entry else { return None };
    let [_, _, Value::Int(us), Value::Array(words), ..] = &parts[..] else { return None };
    let Some(Value::BulkString(verb)) = words.first() else { return None };
    let verb = verb.to_ascii_uppercase();
    (verb == b"FCALL" || verb.starts_with(b"EVAL")).then_some(*us as f64)
}

fn text<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn field(info: &str, name: &str) -> f64 {
    text(info, name).and_then(|value| value.parse().ok()).unwrap_or_default()
}

impl From<redis::RedisError> for Failure {
    fn from(error: redis::RedisError) -> Self {
        let words = format!("the Redis server that is measured: {error}");
        if error.code() == Some("NOPERM") {
            return Self::config(format!("{words}; {RIGHTS}"));
        }
        Self::unavailable(words)
    }
}

/// A server of the benchmark's own, stopped when this is dropped.
pub(super) struct Private {
    process: Child,
    socket: PathBuf,
}

impl Private {
    /// Starts one on a socket in `dir`, if there is one to start.
    pub(super) async fn start(dir: &Path) -> Result<Self, Failure> {
        let socket = dir.join("redis.socket");
        let log = dir.join("redis.log");
        let process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(dir)
            .arg("--logfile")
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| {
                Failure::config(format!(
                    "redis.url is empty and no redis-server can be started here ({e}): set \
                     POSTRIDER_REDIS__URL, install one, or measure the embedded queue with \
                     --queue sqlite"
                ))
            })?;
        let mut server = Self { process, socket };
        server.answers(&log).await?;
        Ok(server)
    }

    async fn answers(&mut self, log: &Path) -> Result<(), Failure> {
        let deadline = tokio::time::Instant::now() + START;
        while tokio::net::UnixStream::connect(&self.socket).await.is_err() {
            let ended = !matches!(self.process.try_wait(), Ok(None));
            if ended || tokio::time::Instant::now() > deadline {
                let words = fs::read_to_string(log).unwrap_or_default();
                let last = words.lines().last().unwrap_or("it wrote no log");
                return Err(Failure::unavailable(format!("redis-server did not start: {last}")));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Where it is.
    pub(super) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // It keeps nothing: there is nothing to be gentle about.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read_by_whole_names() {
        let info =
            "# CPU\r\nused_cpu_sys_children:9.0\r\nused_cpu_sys:1.5\r\nused_cpu_user:2.5\r\n";
        assert_eq!(field(info, "used_cpu_sys") + field(info, "used_cpu_user"), 4.0);
        assert_eq!(field(info, "absent"), 0.0);
    }

    #[test]
    fn only_scripts_are_slow_scripts() {
        let entry = |verb: &str, us: i64| {
            let words = Value::Array(vec![Value::BulkString(verb.into())]);
            Value::Array(vec![Value::Int(1), Value::Int(2), Value::Int(us), words])
        };
        assert_eq!(script_us(&entry("evalsha", 700)), Some(700.0));
        assert_eq!(script_us(&entry("FCALL", 800)), Some(800.0));
        assert_eq!(script_us(&entry("SCAN", 700)), None);
        assert_eq!(script_us(&Value::Nil), None);
    }
}
