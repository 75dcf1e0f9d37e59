//! A crontab over a fleet whose schedulers are killed: each tick fires once.

use std::time::Duration;

use jobs::contract::{TenantId, ports::Clock};
use postrider::{
    clock::SystemClock,
    queue::{Inspect, JobFilter, Status},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{rig::Fleet, say, size, within};

const MINUTE: Duration = Duration::from_secs(60);
const MAILBOX: &str = "clock@example.com";
const ENTRY: &str = "each-minute";
/// Jobs in a page of the list.
const PAGE: u32 = 500;

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_fires_once_however_many_schedulers_see_it_and_die() {
    ticks(300, 3, MINUTE).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the long form: tests/fleet ticks"]
async fn long() {
    // So many minutes are in the week for which missed ticks are made up.
    ticks(size("TICKS", 10_000), size("KILLS", 100), within()).await;
}

async fn ticks(missed: usize, kills: usize, within: Duration) {
    // given an entry for each minute whose schedulers have been away for long
    let mut fleet = Fleet::found(&[]).await;
    fleet.house.limited_mailbox(MAILBOX, fleet.sink.addr(), "100000/s").await;
    let crontab = fleet.house.data().with_extension("crontab");
    std::fs::write(&crontab, entry()).unwrap();
    fleet.house.set("SCHEDULER__CRONTAB", crontab.to_str().unwrap());
    let minute = i64::try_from(MINUTE.as_millis()).unwrap();
    let this_minute = SystemClock.now().millis() / minute * minute;
    let since = this_minute - i64::try_from(missed).unwrap() * minute;
    mark(fleet.house.store_url(), since).await;
    // when they are back, and are killed while they make up for it
    fleet.man().await;
    for kill in 0..kills {
        let moment = fleet.sink.until(1 + kill * missed * 8 / 10 / kills);
        tokio::time::timeout(within, moment).await.expect("ticks fire");
        fleet.schedulers.remove(0).kill().await;
        fleet.man().await;
    }
    let until = fleet.sink.until(missed);
    tokio::time::timeout(within, until).await.expect("all ticks fire");
    for scheduler in fleet.schedulers.drain(..) {
        assert_eq!(scheduler.terminate().await, 0);
    }
    fleet.drained(within).await;
    // then there is one job, and one mail, for each minute up to where the entry has got
    let reached = marked(fleet.house.store_url()).await;
    let ticks = usize::try_from((reached - since) / minute).unwrap();
    assert!(ticks >= missed);
    let fired = jobs_of_the_entry(&fleet).await;
    say(format_args!("{ticks} ticks, {fired} jobs, {} effects, {kills} kills", fleet.sink.count()));
    assert_eq!((fired, fleet.sink.count()), (ticks, ticks));
    fleet.stop().await;
}

fn entry() -> String {
    format!(
        "[[entries]]\nname = \"{ENTRY}\"\ncron = \"* * * * *\"\ntenant = \"dev\"\ntype = \"send\"\n\
         missed = \"all\"\n\n[entries.payload]\nchannel = \"email\"\naccount = \"{MAILBOX}\"\n\
         to = {{ email = \"tick@example.org\" }}\ncontent = {{ subject = \"Tick\", text = \"Tock.\" }}\n"
    )
}

/// Says that the entry has been dealt with up to this moment.
async fn mark(store: &str, at: i64) {
    let mut connection = PgConnection::connect(store).await.unwrap();
    let insert = "INSERT INTO crontab_ticks (tenant, name, last_tick) VALUES ('dev', $1, $2)";
    sqlx::query(insert).bind(ENTRY).bind(at).execute(&mut connection).await.unwrap();
}

async fn marked(store: &str) -> i64 {
    let mut connection = PgConnection::connect(store).await.unwrap();
    let select = AssertSqlSafe("SELECT last_tick FROM crontab_ticks WHERE name = $1");
    let (at,) = sqlx::query_as(select).bind(ENTRY).fetch_one(&mut connection).await.unwrap();
    at
}

async fn jobs_of_the_entry(fleet: &Fleet) -> usize {
    let tenant: TenantId = "dev".parse().unwrap();
    let queue = fleet.queue().await;
    let (mut before, mut found) = (None, 0);
    loop {
        let filter =
            JobFilter { tenant: Some(tenant.clone()), before, limit: PAGE, ..JobFilter::default() };
        let page = queue.jobs(&filter).await.unwrap();
        let Some(last) = page.last() else { return found };
        before = Some(last.id);
        for job in &page {
            assert_eq!(job.request_id, format!("cron:{ENTRY}"));
            assert_eq!(job.status, Status::Completed);
        }
        found += page.len();
    }
}
