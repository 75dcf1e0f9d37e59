//! Processes whose clocks are wrong: the queue goes by its server's.

use std::time::Duration;

use jobs::contract::ports::Clock;
use postrider::{
    clock::SystemClock,
    queue::{Inspect, Status},
};
use serde_json::json;

use super::rig::Fleet;
use crate::{
    processes::rig::{AN_HOUR_AHEAD, mail},
    support::eventually_ok,
};

fn assert_the_clock_can_be_wrong() {
    let asked = std::process::Command::new("date").arg("+%s").envs(AN_HOUR_AHEAD).output();
    let told: i64 = String::from_utf8(asked.unwrap().stdout).unwrap().trim().parse().unwrap();
    let ahead = told - SystemClock.now().millis() / 1_000;
    assert!((3_500..3_700).contains(&ahead), "faketime (see tests/support/packages.sh): {ahead} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_whose_clocks_are_wrong_take_nothing_early_and_nothing_of_others() {
    assert_the_clock_can_be_wrong();
    // given a worker that is in the middle of a mail
    let mut fleet = Fleet::found(&[]).await;
    let mailbox = &fleet.mailboxes(1).await[0];
    fleet.workers.push(fleet.house.worker());
    fleet.man_the_doors().await;
    fleet.sink.hold("held");
    let caller = fleet.submitter();
    let mut accepted = caller.submit(mailbox, &["held@example.org".to_owned()]).await;
    fleet.sink.until_held(1).await;
    // and a job for half an hour later
    let mut later = mail(mailbox, "later@example.org");
    later["run_at"] = json!(SystemClock.now().plus(Duration::from_secs(1_800)));
    let (status, _, answer) = caller.once(None, &json!({"jobs": [later]})).await.unwrap();
    assert_eq!(status, 202, "{answer}");
    let later = answer["data"][0]["id"].as_str().unwrap().parse().unwrap();
    // when a worker and a scheduler come whose clocks are an hour ahead
    fleet.workers.push(fleet.house.an_hour_ahead("worker"));
    fleet.schedulers.push(fleet.house.an_hour_ahead("scheduler"));
    let effects: Vec<String> = (0..20).map(|n| format!("now-{n}@example.org")).collect();
    accepted.extend(caller.submit(mailbox, &effects).await);
    fleet.sink.until(effects.len()).await;
    let queue = fleet.queue().await;
    let tenant = "dev".parse().unwrap();
    let held = accepted[0].id;
    let renewed_from = queue.job(&tenant, held).await.unwrap().unwrap();
    // and have had the time of some renewals to do harm
    let since = std::time::Instant::now();
    eventually_ok("a lease's length passes", || async {
        if since.elapsed() > Duration::from_secs(6) { Ok(()) } else { Err("not yet") }
    })
    .await;
    // then the mail is still its worker's, and the later job waits
    let job = queue.job(&tenant, held).await.unwrap().unwrap();
    assert_eq!((job.status, job.crashes, job.attempts.len()), (Status::Processing, 0, 1));
    assert_eq!(job.attempts[0].worker, renewed_from.attempts[0].worker);
    let job = queue.job(&tenant, later).await.unwrap().unwrap();
    assert_eq!((job.status, job.attempts.len()), (Status::Scheduled, 0));
    // and all else is done, once
    fleet.sink.release();
    fleet.sink.until(accepted.len()).await;
    eventually_ok("the held job ends", || async {
        let job = queue.job(&tenant, held).await.unwrap().unwrap();
        if job.status == Status::Completed { Ok(()) } else { Err(job.status) }
    })
    .await;
    fleet.account(&accepted).await.assert_clean();
    fleet.stop().await;
}
