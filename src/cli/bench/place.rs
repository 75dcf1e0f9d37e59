//! Where it is measured: a Redis server, or a directory for the embedded queue.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::sync::OnceCell;

use super::{
    Adapter, Failure,
    ground::{Address, Ground},
    note,
    postgres::Postgres,
    server::{Private, Server},
};
use crate::{cli::Globals, config::Config};

/// Where it is measured.
pub(super) struct Place {
    config: Config,
    config_file: Option<PathBuf>,
    /// What every prefix of this run begins with.
    mark: String,
    grounds: AtomicU32,
    words: String,
    redis: Option<Redis>,
    /// Found when it is first asked for.
    postgres: OnceCell<Option<Postgres>>,
    // Dropped last: servers of our own have their sockets in it.
    dir: Directory,
}

struct Redis {
    url: String,
    server: Server,
    own: Option<Private>,
}

impl Place {
    /// Finds it: `redis.url`, a private server, or a directory.
    pub(super) async fn open(queue: Adapter, globals: &Globals) -> Result<Self, Failure> {
        let config = globals.read(&[])?;
        let dir = Directory::new()?;
        let redis = match queue {
            Adapter::Redis => Some(Redis::open(&config, &dir.0).await?),
            Adapter::Sqlite => None,
        };
        let words = match &redis {
            None => "the embedded queue (SQLite) in a temporary directory".to_owned(),
            Some(Redis { server, own, .. }) => {
                let which = if own.is_some() {
                    "a private server on a unix socket, nothing kept on disk"
                } else {
                    "the server at redis.url"
                };
                format!("{}, {which}", server.version().await?)
            }
        };
        // Below the prefix to which the shipped user is confined.
        let mark = format!("postrider:bench-{}", ulid::Ulid::generate());
        let config_file = globals.config.clone();
        let (grounds, postgres) = (AtomicU32::new(0), OnceCell::new());
        Ok(Self { config, config_file, mark, grounds, words, redis, postgres, dir })
    }

    /// In words.
    pub(super) fn describe(&self) -> String {
        self.words.clone()
    }

    /// What this process was told.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// The server, where there is one.
    pub(super) fn server(&self) -> Option<&Server> {
        self.redis.as_ref().map(|redis| &redis.server)
    }

    /// The server, for a measurement that asks it.
    pub(super) fn needed_server(&self) -> &Server {
        self.server().expect("the plan has no measurement that asks Redis where there is none")
    }

    /// Whether the server is nobody else's.
    pub(super) fn is_private(&self) -> bool {
        self.redis.as_ref().is_some_and(|redis| redis.own.is_some())
    }

    /// A queue with nothing in it.
    pub(super) async fn fresh(&self) -> Result<Ground, Failure> {
        let number = self.grounds.fetch_add(1, Ordering::Relaxed);
        let address = match &self.redis {
            Some(Redis { url, .. }) => {
                Address::Redis { url: url.clone(), prefix: format!("{}-{number}", self.mark) }
            }
            None => {
                let dir = self.dir.0.join(format!("ground-{number}"));
                make(&dir)?;
                Address::Sqlite { dir }
            }
        };
        let counts = self.dir.0.join(format!("counts-{number}"));
        make(&counts)?;
        let file = self.config_file.clone();
        Ground::open(&self.config, address, counts, file, self.server().cloned()).await
    }

    /// A directory of its own, for what is no queue.
    pub(super) fn directory(&self, name: &str) -> Result<PathBuf, Failure> {
        let dir = self.dir.0.join(name);
        make(&dir)?;
        Ok(dir)
    }

    /// The URL of a schema of its own in a Postgres; none where there is no Postgres.
    pub(super) async fn postgres_schema(&self) -> Result<Option<String>, Failure> {
        let find = || async {
            let found = Postgres::find(&self.config.store.url, &self.dir.0).await?;
            if let Some(postgres) = &found {
                note(format!("with {}", postgres.describe()));
            }
            Ok::<_, Failure>(found)
        };
        let Some(postgres) = self.postgres.get_or_try_init(find).await? else { return Ok(None) };
        let number = self.grounds.fetch_add(1, Ordering::Relaxed);
        let url = postgres.schema(&format!("{}_{number}", self.schema_mark())).await?;
        Ok(Some(url))
    }

    /// What the schemas of this run begin with.
    fn schema_mark(&self) -> String {
        self.mark.to_lowercase().replace(['-', ':'], "_")
    }

    /// Removes all that this run left on servers.
    pub(super) async fn clear(&self) -> Result<(), Failure> {
        if let Some(Some(postgres)) = self.postgres.get() {
            postgres.clear(&self.schema_mark()).await?;
        }
        match self.server() {
            Some(server) => server.clear(&self.mark).await,
            None => Ok(()),
        }
    }
}

impl Redis {
    async fn open(config: &Config, dir: &Path) -> Result<Self, Failure> {
        let (url, own) = if config.redis.url.is_empty() {
            let own = Private::start(dir).await?;
            (own.url(), Some(own))
        } else {
            (config.redis.url.clone(), None)
        };
        let server = Server::connect(&url).await?;
        // What it leaves is found by SCAN: without that right nothing is begun.
        server.can_clear().await?;
        Ok(Self { server, url, own })
    }
}

fn make(dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir)
        .map_err(|e| Failure::cannot_create(format!("cannot make {}: {e}", dir.display())))
}

/// A temporary directory, removed when this is dropped.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Result<Self, Failure> {
        let dir = std::env::temp_dir().join(format!("postrider-bench-{}", ulid::Ulid::generate()));
        make(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed from the system's temporary directory is the system's to remove.
        let _ = fs::remove_dir_all(&self.0);
    }
}
