//! The Postgres beside: the one at store.url, or one of the benchmark's own.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::Failure;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(30);
/// How often it is asked whether it has got there.
const LOOK: Duration = Duration::from_millis(20);
/// Where Debian and its kin have the programs, a directory for each version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Who a server is run by where everything else is run by root, which Postgres refuses.
const OWNERS: [&str; 2] = ["postgres", "nobody"];

/// A Postgres server.
pub(super) struct Postgres {
    url: String,
    own: Option<Private>,
}

impl Postgres {
    /// Finds the server at `store_url`, if that is one, or starts one whose files are in `dir`; none where
    /// none is installed.
    pub(super) async fn find(store_url: &str, dir: &Path) -> Result<Option<Self>, Failure> {
        if store_url.starts_with("postgres") {
            return Ok(Some(Self { url: store_url.to_owned(), own: None }));
        }
        let own = Private::start(dir).await?;
        Ok(own.map(|own| Self { url: own.url(), own: Some(own) }))
    }

    /// In words.
    pub(super) fn describe(&self) -> &'static str {
        match self.own {
            Some(_) => "a private Postgres on a unix socket",
            None => "the Postgres at store.url",
        }
    }

    /// The URL of a new schema.
    pub(super) async fn schema(&self, name: &str) -> Result<String, Failure> {
        let mut connection = self.connect().await?;
        let sql = format!("CREATE SCHEMA {name}");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.map_err(wrong)?;
        connection.close().await.map_err(wrong)?;
        let sign = if self.url.contains('?') { '&' } else { '?' };
        Ok(format!("{}{sign}options=-csearch_path%3D{name}", self.url))
    }

    /// Removes the schemas whose names begin so.
    pub(super) async fn clear(&self, mark: &str) -> Result<(), Failure> {
        let mut connection = self.connect().await?;
        // What a cascade takes along is no news.
        let quiet = sqlx::query("SET client_min_messages = warning");
        quiet.execute(&mut connection).await.map_err(wrong)?;
        let sql = "SELECT nspname::text FROM pg_namespace WHERE starts_with(nspname, $1)";
        let names: Vec<String> =
            sqlx::query_scalar(sql).bind(mark).fetch_all(&mut connection).await.map_err(wrong)?;
        for name in names {
            let sql = format!("DROP SCHEMA \"{name}\" CASCADE");
            sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.map_err(wrong)?;
        }
        connection.close().await.map_err(wrong)
    }

    async fn connect(&self) -> Result<PgConnection, Failure> {
        PgConnection::connect(&self.url).await.map_err(wrong)
    }
}

/// Without the client's words where they might show the URL, and the password in it.
pub(super) fn wrong(error: sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Configuration(_) => Failure::config("store.url cannot be read as a URL"),
        error => Failure::unavailable(format!("the database that is measured: {error}")),
    }
}

/// A server of the benchmark's own, stopped when this is dropped.
struct Private {
    process: Child,
    dir: PathBuf,
}

impl Private {
    /// Starts one, with the durability that Postgres has by itself, if there is one to start.
    async fn start(dir: &Path) -> Result<Option<Self>, Failure> {
        let dir = dir.join("pg");
        let failed = |e| Failure::cannot_create(format!("a private Postgres: {e}"));
        fs::create_dir(&dir).map_err(failed)?;
        let owner = owner()?;
        if let Some((user, group)) = owner {
            chown(&dir, Some(user), Some(group)).map_err(failed)?;
        }
        let data = dir.join("data");
        let made = command("initdb", &dir, owner)
            .arg("-D")
            .arg(&data)
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
            .status();
        match made {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
            Ok(status) if !status.success() => return Err(ended("initdb", status)),
            Ok(_) => {}
        }
        let sockets = format!("unix_socket_directories={}", dir.display());
        let log = fs::File::create(dir.join("log")).map_err(failed)?;
        let process = command("postgres", &dir, owner)
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-c", &sockets])
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        let mut server = Self { process, dir };
        server.answers().await?;
        Ok(Some(server))
    }

    async fn answers(&mut self) -> Result<(), Failure> {
        let deadline = tokio::time::Instant::now() + START;
        while PgConnection::connect(&self.url()).await.is_err() {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(self.stuck(&format!("it ended ({status})")));
            }
            if tokio::time::Instant::now() > deadline {
                return Err(self.stuck("it does not answer"));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn stuck(&self, words: &str) -> Failure {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let last = log.lines().last().unwrap_or("it wrote no log");
        Failure::unavailable(format!("a private Postgres did not start: {words}: {last}"))
    }

    fn url(&self) -> String {
        format!("postgres://postgres@localhost/postgres?host={}", self.dir.display())
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // Its immediate end: nobody needs its data, and its processes end with it.
        let id = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        let _ = id.map(|id| kill_process(id, Signal::QUIT));
        let _ = self.process.wait();
    }
}

fn ended(program: &str, status: ExitStatus) -> Failure {
    Failure::unavailable(format!("a private Postgres cannot be made: {program} ended ({status})"))
}

/// One of Postgres' programs, silent, in a directory that its owner can read.
fn command(program: &str, dir: &Path, owner: Option<(u32, u32)>) -> Command {
    let mut command =
        Command::new(newest().map_or_else(|| program.into(), |bin| bin.join(program)));
    command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}

/// The directory of the newest version's programs, where Debian has them; elsewhere they are in PATH.
fn newest() -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN).ok()?.filter_map(Result::ok);
    let number = |entry: &fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let bins = versions.filter_map(|entry| Some((number(&entry)?, entry.path().join("bin"))));
    let (_, bin) = bins.filter(|(_, bin)| bin.join("initdb").exists()).max()?;
    Some(bin)
}

/// Who runs the server, where we are root: user and group.
fn owner() -> Result<Option<(u32, u32)>, Failure> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = OWNERS.iter().find_map(|name| ids(&users, name));
    found.map(Some).ok_or_else(|| {
        let words = "a private Postgres needs a user other than root: postgres or nobody";
        Failure::unavailable(words)
    })
}

/// User and group of a name in the text of `/etc/passwd`.
fn ids(users: &str, name: &str) -> Option<(u32, u32)> {
    let fields = |line: &str| {
        let mut fields = line.strip_prefix(name)?.strip_prefix(':')?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    users.lines().find_map(fields)
}

#[cfg(test)]
mod tests {
    use super::ids;

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\npostgres2:x:7:8::/:/bin/sh\n\
            postgres:x:105:109:PostgreSQL:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(ids(users, "postgres"), Some((105, 109)));
        assert_eq!(ids(users, "nobody"), None);
    }
}
