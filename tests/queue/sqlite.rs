//! The embedded queue sits the exam, and shows what only it has to: its file, and its host's clock.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use postrider::{
    config::Config,
    queue::{Inspect, NewJob, Queue, QueueConfig, QueueError, Settled, sqlite::SqliteQueue},
};
use tempfile::TempDir;

use super::{
    clock::TestClock,
    exam::{Adapter, exam},
    jobs::{
        LEASE, SECOND, claim, claim_one, claims, done, job, jobs, limit, limited, put, record,
        settle, submission,
    },
};

/// One file, opened as often as a test likes, by one host's clock.
pub(crate) struct Sqlite {
    dir: TempDir,
    clock: TestClock,
}

impl Sqlite {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), clock: TestClock::new() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("queue.db")
    }

    async fn try_open(&self) -> Result<SqliteQueue, QueueError> {
        let clock = Arc::new(self.clock.clone());
        SqliteQueue::open_with_clock(&self.path(), &config(), clock).await
    }
}

#[async_trait]
impl Adapter for Sqlite {
    async fn open(&self) -> (Arc<dyn Queue>, TestClock) {
        (Arc::new(self.try_open().await.unwrap()), self.clock.clone())
    }
}

fn config() -> QueueConfig {
    Config::load(None, []).unwrap().queue
}

exam!(Sqlite::new());

/// Runs SQL on a file by itself.
async fn tamper(path: &std::path::Path, sql: &'static str) {
    use sqlx::Connection;
    let url = format!("sqlite://{}?mode=rwc", path.display());
    let mut conn = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

fn words(error: Option<QueueError>) -> String {
    match error {
        Some(QueueError::Unusable(words)) => words,
        other => panic!("not unusable: {other:?}"),
    }
}

#[tokio::test]
async fn a_file_of_another_schema_version_is_refused() {
    // given
    let host = Sqlite::new();
    drop(host.try_open().await.unwrap());
    tamper(&host.path(), "PRAGMA user_version = 7").await;

    // when
    let refused = words(host.try_open().await.err());

    // then
    assert!(refused.contains("has schema version 7, this postrider knows 2"), "{refused}");
}

#[tokio::test]
async fn a_file_of_an_older_schema_is_brought_up_to_date() {
    // given a file as the first version made it
    let host = Sqlite::new();
    tamper(
        &host.path(),
        concat!(
            include_str!("../../migrations/queue/0001_queue.sql"),
            "INSERT INTO meta (one, version, boot_id, clock_offset, last_seen)
             VALUES (1, 0, 'an earlier boot', 0, 0);
             PRAGMA application_id = 0x50525131; PRAGMA user_version = 1; PRAGMA journal_mode = wal;"
        ),
    )
    .await;

    // when
    let queue = host.try_open().await.unwrap();

    // then it has all that later versions have
    let told = NewJob { callback: vec!["crm".into()], ..job("l") };
    let id = put(&queue, "a", vec![told]).await[0];
    settle(&queue, &claim_one(&queue).await, done()).await;
    let untold = queue.untold(1).await.unwrap();
    assert_eq!((untold[0].id, &untold[0].callback), (id, &vec!["crm".to_owned()]));
}

#[tokio::test]
async fn a_file_of_another_program_is_refused_and_left_alone() {
    // given
    let host = Sqlite::new();
    tamper(&host.path(), "CREATE TABLE theirs (x)").await;

    // when
    let refused = words(host.try_open().await.err());

    // then
    assert!(refused.contains("not a queue of postrider"), "{refused}");

    // and given a file that is no database at all
    let path = host.dir.path().join("text.db");
    std::fs::write(
        &path,
        "this is a text, and longer than the header of a database file. ".repeat(9),
    )
    .unwrap();

    // when
    let refused = words(SqliteQueue::open(&path, &config()).await.err());

    // then
    assert!(refused.ends_with("is not a SQLite file"), "{refused}");
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_named() {
    // given
    let host = Sqlite::new();
    let path = host.dir.path().join("missing").join("queue.db");

    // when
    let refused = words(SqliteQueue::open(&path, &config()).await.err());

    // then
    assert!(refused.contains("missing/queue.db cannot be opened"), "{refused}");
}

#[tokio::test]
async fn a_value_out_of_range_names_the_option() {
    // given
    let env = [("POSTRIDER_QUEUE__POLL".to_owned(), "1h".to_owned())];

    // when
    let error = Config::load(None, env).unwrap_err().to_string();

    // then
    assert!(error.contains("queue.poll: expected 1ms to 1s, got 3600000 ms"), "{error}");
}

#[tokio::test]
async fn a_wall_clock_that_jumps_ahead_neither_ends_leases_nor_opens_limits() {
    // given a lane with one permit a minute, drawn by a running job
    let host = Sqlite::new();
    let (queue, clock) = host.open().await;
    put(&*queue, "acme", limited(jobs("l", 2), vec![limit("b", 1, SECOND * 60)])).await;
    let running = claim_one(&*queue).await;
    let before = queue.now();

    // when the wall clock jumps by a day
    clock.step_wall(86_400_000);
    queue.promote(100).await.unwrap();

    // then the queue's time follows it, and nothing else happened
    assert_eq!(queue.now(), before.plus(SECOND * 86_400));
    assert!(queue.rescue(10, 3).await.unwrap().is_empty());
    let next = claims(&*queue, 10).await;
    assert!(next.jobs.is_empty());
    assert_eq!(next.next_at, Some(queue.now().plus(SECOND * 60)));
    assert_eq!(settle(&*queue, &running, done()).await, Settled::Done);
}

#[tokio::test]
async fn a_wall_clock_set_back_keeps_turns_leases_and_limits() {
    // given a job whose turn has come, one that runs, and a limit that is used up
    let host = Sqlite::new();
    let (queue, clock) = host.open().await;
    put(&*queue, "acme", limited(jobs("l", 2), vec![limit("b", 1, SECOND * 60)])).await;
    put(&*queue, "beta", vec![job("free")]).await;
    clock.advance(SECOND);
    assert_eq!(claim(&*queue, 1).await.len(), 1);

    // when
    clock.step_wall(-3_600_000);
    queue.promote(100).await.unwrap();

    // then the waiting job's turn still is now, the other one waits for its permit
    let next = claims(&*queue, 10).await;
    assert_eq!(next.jobs.len(), 1);
    assert_eq!(next.next_at, Some(queue.now().plus(SECOND * 60)));
    clock.advance(LEASE - Duration::from_millis(1));
    assert!(queue.rescue(10, 3).await.unwrap().is_empty());
    clock.advance(SECOND);
    assert_eq!(queue.rescue(10, 3).await.unwrap().len(), 2);
}

#[tokio::test]
async fn small_differences_of_the_wall_clock_are_not_followed() {
    // given
    let host = Sqlite::new();
    let (queue, clock) = host.open().await;
    let before = queue.now();

    // when
    clock.step_wall(-900);
    queue.promote(100).await.unwrap();

    // then
    assert_eq!(queue.now(), before);
}

#[tokio::test]
async fn time_goes_on_after_a_reboot() {
    // given
    let host = Sqlite::new();
    let (queue, clock) = host.open().await;
    let id = put(&*queue, "acme", vec![job("l")]).await[0];
    claim_one(&*queue).await;
    let before = queue.now();
    drop(queue);

    // when the host was off for an hour
    clock.reboot(SECOND * 3_600);
    let (queue, _) = host.open().await;

    // then its time is the wall clock's, and the lease is over
    assert_eq!(queue.now(), before.plus(SECOND * 3_601));
    assert_eq!(queue.rescue(10, 3).await.unwrap()[0].id, id);

    // and when it comes back with a wall clock of the past
    let before = queue.now();
    clock.reboot(Duration::ZERO);
    clock.step_wall(-86_400_000);
    drop(queue);
    let (queue, _) = host.open().await;

    // then time does not run backwards
    assert!(queue.now() >= before);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    // given
    let host = Sqlite::new();
    let (queue, _) = host.open().await;
    let ids = put(&*queue, "acme", jobs("l", 100)).await;
    let running = claim_one(&*queue).await;
    drop(queue);

    // when
    let (queue, _) = host.open().await;

    // then
    for id in &ids {
        record(&*queue, "acme", *id).await;
    }
    assert_eq!(settle(&*queue, &running, done()).await, Settled::Done);
    assert_eq!(claim(&*queue, 1_000).await.len(), 99);
}

#[tokio::test]
async fn a_file_that_stays_locked_is_unavailable_and_works_again() {
    use sqlx::Connection;
    // given another process that holds the file's lock
    let host = Sqlite::new();
    let impatient = QueueConfig { busy_timeout: SECOND, ..config() };
    let clock = Arc::new(host.clock.clone());
    let queue = SqliteQueue::open_with_clock(&host.path(), &impatient, clock).await.unwrap();
    let url = format!("sqlite://{}", host.path().display());
    let mut other = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();

    // when
    let refused = queue.enqueue(submission("acme", vec![job("l")])).await.unwrap_err();

    // then readers are served, and writers once the lock is gone
    assert!(matches!(refused, QueueError::Unavailable(_)), "{refused}");
    assert!(queue.queues().await.unwrap().is_empty());
    held.rollback().await.unwrap();
    put(&queue, "acme", vec![job("l")]).await;
    assert_eq!(claim(&queue, 10).await.len(), 1);
}

#[tokio::test]
async fn a_file_that_is_gone_takes_no_job_in() {
    // given a queue whose file somebody deletes
    let home = Sqlite::new();
    let queue = home.try_open().await.unwrap();
    std::fs::remove_file(home.path()).unwrap();
    // when a job comes
    let refused = queue.enqueue(submission("acme", vec![job("l")])).await;
    // then nobody is promised what nobody would find again, and operators hear of it
    let words = "was deleted or replaced under this process";
    assert!(matches!(refused, Err(QueueError::Unavailable(said)) if said.contains(words)));
    assert!(queue.ready().await.is_err());
}
