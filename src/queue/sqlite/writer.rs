//! The one writer of a process: a task that owns the writing connection.
//!
//! Verbs that arrive while a transaction runs share the next one, so that many small submissions pay
//! for one sync of the disk. A caller that goes away does not leave a transaction open: the task
//! carries the verb out all the same.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use sqlx::{SqliteConnection, query};
use tokio::sync::{mpsc, oneshot};

use super::{
    clock::Anchor,
    tx::{News, Tx, Verb},
    wake::Wake,
};
use crate::queue::QueueError;

/// Verbs in one transaction at most: none waits for more than so many others.
const GROUP: usize = 64;
/// Verbs that wait at most before callers wait to hand theirs in.
const BACKLOG: usize = 1_024;

/// Hands verbs to the writing task, which ends when the last of these is gone.
#[derive(Clone)]
pub(super) struct Writer {
    inbox: mpsc::Sender<Box<dyn Errand>>,
}

impl Writer {
    /// Starts the task on `conn`.
    pub(super) fn start(
        conn: SqliteConnection,
        path: &Path,
        anchor: Arc<Anchor>,
        wake: Arc<Wake>,
    ) -> Self {
        let (inbox, errands) = mpsc::channel(BACKLOG);
        let place = Place { path: path.to_owned(), inode: inode(path) };
        tokio::spawn(Task { conn, place, anchor, wake, durable: None }.run(errands));
        Self { inbox }
    }

    /// Carries a verb out, and answers once it is committed.
    pub(super) async fn run<V: Verb>(&self, verb: V) -> Result<V::Answer, QueueError> {
        let (reply, answer) = oneshot::channel();
        let errand = Pending { verb: Some(verb), answer: None, reply };
        let gone = || QueueError::Unavailable("its writer has stopped".into());
        self.inbox.send(Box::new(errand)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// A verb with its types forgotten.
#[async_trait]
trait Errand: Send {
    fn durable(&self) -> bool;
    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), QueueError>;
    fn answer(self: Box<Self>, committed: Result<(), QueueError>);
}

struct Pending<V: Verb> {
    verb: Option<V>,
    answer: Option<Result<V::Answer, QueueError>>,
    reply: oneshot::Sender<Result<V::Answer, QueueError>>,
}

#[async_trait]
impl<V: Verb> Errand for Pending<V> {
    fn durable(&self) -> bool {
        V::DURABLE
    }

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), QueueError> {
        let verb = self.verb.take().expect("a verb is run once: the group takes each errand once");
        let answer = verb.run(tx).await;
        let outcome = answer.as_ref().map(|_| ()).map_err(Clone::clone);
        self.answer = Some(answer);
        outcome
    }

    fn answer(self: Box<Self>, committed: Result<(), QueueError>) {
        let answer = match (committed, self.answer) {
            (_, Some(Err(own))) => Err(own),
            (Ok(()), Some(Ok(answer))) => Ok(answer),
            (Err(error), _) => Err(error),
            (Ok(()), None) => Err(QueueError::Unavailable("the verb was not reached".into())),
        };
        // Nobody listens any more when the caller went away; what was written stays written.
        let _ = self.reply.send(answer);
    }
}

/// Where the file was when it was opened.
struct Place {
    path: PathBuf,
    inode: Option<u64>,
}

impl Place {
    /// Refuses to promise anything in a file that was deleted or replaced: nobody would find it.
    fn check(&self) -> Result<(), QueueError> {
        if inode(&self.path) == self.inode {
            return Ok(());
        }
        let path = self.path.display();
        let words =
            format!("{path} was deleted or replaced under this process, which must restart");
        Err(QueueError::Unavailable(words))
    }
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|file| file.ino())
}

struct Task {
    conn: SqliteConnection,
    place: Place,
    anchor: Arc<Anchor>,
    wake: Arc<Wake>,
    /// What `PRAGMA synchronous` says now, once it is known.
    durable: Option<bool>,
}

impl Task {
    async fn run(mut self, mut errands: mpsc::Receiver<Box<dyn Errand>>) {
        let mut group = Vec::with_capacity(GROUP);
        while errands.recv_many(&mut group, GROUP).await > 0 {
            let outcome = self.group(&mut group).await;
            if outcome.is_err() {
                // Fails when SQLite has rolled back by itself, which is what is wanted.
                let _ = query("ROLLBACK").execute(&mut self.conn).await;
            }
            let committed = outcome.map(|news| self.wake.publish(&news));
            for errand in group.drain(..) {
                errand.answer(committed.clone());
            }
        }
    }

    /// Runs the verbs in one transaction.
    async fn group(&mut self, group: &mut [Box<dyn Errand>]) -> Result<News, QueueError> {
        let durable = group.iter().any(|errand| errand.durable());
        if durable {
            self.place.check()?;
        }
        self.sync(durable).await?;
        query("BEGIN IMMEDIATE").execute(&mut self.conn).await?;
        let mut tx = Tx::begin(&mut self.conn, &self.anchor).await?;
        let alone = group.len() == 1;
        for errand in group {
            tx.next_verb();
            if alone {
                errand.run(&mut tx).await?;
            } else {
                apart(errand.as_mut(), &mut tx).await?;
            }
        }
        let news = tx.finish().await?;
        query("COMMIT").execute(&mut self.conn).await?;
        Ok(news)
    }

    /// Sets how much a commit waits for; SQLite refuses this inside a transaction.
    async fn sync(&mut self, durable: bool) -> Result<(), QueueError> {
        if self.durable != Some(durable) {
            self.durable = None;
            let sql =
                if durable { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" };
            query(sql).execute(&mut self.conn).await?;
            self.durable = Some(durable);
        }
        Ok(())
    }
}

/// Runs one verb of several: its failure undoes its own writes only.
async fn apart(errand: &mut dyn Errand, tx: &mut Tx<'_>) -> Result<(), QueueError> {
    query("SAVEPOINT verb").execute(&mut *tx.conn).await?;
    if errand.run(tx).await.is_err() {
        query("ROLLBACK TO verb").execute(&mut *tx.conn).await?;
    }
    query("RELEASE verb").execute(&mut *tx.conn).await?;
    Ok(())
}
