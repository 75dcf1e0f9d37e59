//! Real processes, and what ends or stops them: `kill -9`, SIGSTOP, SIGTERM.

mod bulk;
pub(crate) mod fleet;
mod process;
mod rig;

use std::collections::HashMap;

use jobs::contract::{JobId, ports::Phase};
use postrider::{
    mail::{Act, Rehearsal, Script},
    queue::{JobRecord, Status},
};
use rustix::process::Signal;
use serde_json::Value;

use self::rig::{House, all_final, mail};

const ACCOUNT: &str = "sales@example.com";

/// Runs each of these over the embedded queue and over Redis.
macro_rules! over_both_queues {
    ($($test:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(super::House::new()).await;
            })+
        }

        mod redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(super::House::with_redis()).await;
            })+
        }
    };
}
over_both_queues!(
    workers_that_are_killed_lose_nothing_and_send_nothing_twice,
    what_was_acknowledged_survives_kill_9_of_the_whole_process,
    a_worker_that_was_only_asleep_does_not_send_what_another_has_sent,
    a_polite_stop_burns_no_attempt,
);

fn recipients(round: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{round}-{n}@example.org")).collect()
}

/// The account at the end: what was accepted, what became of it, and what really arrived.
fn account_for(server: &Rehearsal, recipients: &[String], jobs: &[JobRecord]) {
    let mut arrived: HashMap<String, usize> = HashMap::new();
    for mail in server.delivered() {
        *arrived.entry(mail.to).or_default() += 1;
    }
    for (to, job) in recipients.iter().zip(jobs) {
        let copies = arrived.get(to).copied().unwrap_or(0);
        match (job.status, job.error.as_ref().map(|e| e.code.as_ref())) {
            (Status::Completed, _) => assert_eq!(copies, 1, "{to} completed"),
            // A worker died between the last byte and the answer: at most once, and a person looks.
            (Status::Failed, Some("delivery_unknown")) => assert!(copies <= 1, "{to} unknown"),
            other => panic!("{to} ended as {other:?} with {copies} copies"),
        }
    }
    assert!(arrived.len() <= recipients.len(), "something was sent that nobody asked for");
}

async fn workers_that_are_killed_lose_nothing_and_send_nothing_twice(house: House) {
    // given a façade, three workers and a mail server
    let server = Rehearsal::start(Script::new()).await.unwrap();
    let up = house.up().await;
    house.mailbox(ACCOUNT, server.addr()).await;
    let mut workers = vec![house.worker(), house.worker()];
    // when workers are killed and replaced while a campaign goes out
    let to = recipients("kill", 300);
    let ids = up.send_to(ACCOUNT, &to).await;
    for round in 1..=8 {
        server.until(|seen| seen.mails >= round * 30).await;
        workers.remove(0).kill().await;
        workers.push(house.worker());
    }
    // then every accepted job ends, and no mail arrives twice
    let queue = house.queue().await;
    let jobs = all_final(&queue, &ids).await;
    account_for(&server, &to, &jobs);
    assert_eq!(up.process.terminate().await, 0);
}

async fn what_was_acknowledged_survives_kill_9_of_the_whole_process(house: House) {
    // given one process that does everything
    let server = Rehearsal::start(Script::new()).await.unwrap();
    let mut up = house.up().await;
    house.mailbox(ACCOUNT, server.addr()).await;
    // when it is killed right after each acknowledgement
    let (mut to, mut ids): (Vec<String>, Vec<JobId>) = Default::default();
    for round in 0..5 {
        let batch = recipients(&format!("round{round}"), 40);
        ids.extend(up.send_to(ACCOUNT, &batch).await);
        to.extend(batch);
        up.process.kill().await;
        up = house.up().await;
    }
    // then all that was acknowledged is there, and ends
    let queue = house.queue().await;
    let jobs = all_final(&queue, &ids).await;
    account_for(&server, &to, &jobs);
}

async fn a_worker_that_was_only_asleep_does_not_send_what_another_has_sent(house: House) {
    // given a worker in the middle of a mail
    house.found().await;
    let script = Script::new().recipient("ada@example.org", [Act::Mute(Phase::Rcpt)]);
    let server = Rehearsal::start(script).await.unwrap();
    house.mailbox(ACCOUNT, server.addr()).await;
    let sleeper = house.worker();
    let _scheduler = house.scheduler();
    let payload = mail(ACCOUNT, "ada@example.org")["payload"].to_string();
    let said = house.run(&["jobs", "submit", "send", "--payload", &payload, "--json"]).await;
    let submitted: Value = serde_json::from_str(&said).unwrap();
    let id: JobId = submitted["id"].as_str().unwrap().parse().unwrap();
    server.until(|seen| seen.acts >= 1).await;
    // when it stops for longer than its lease, and another worker takes over
    sleeper.signal(Signal::STOP);
    let other = house.worker();
    let queue = house.queue().await;
    let jobs = all_final(&queue, &[id]).await;
    assert_eq!((jobs[0].status, jobs[0].crashes), (Status::Completed, 1));
    // and the first one wakes
    sleeper.signal(Signal::CONT);
    assert_eq!(sleeper.terminate().await, 0);
    // then one mail has arrived, and the job is as the other left it
    assert_eq!(server.delivered().len(), 1);
    assert_eq!(all_final(&queue, &[id]).await[0].version, jobs[0].version);
    assert_eq!(other.terminate().await, 0);
}

async fn a_polite_stop_burns_no_attempt(house: House) {
    // given a process in the middle of a campaign
    let server = Rehearsal::start(Script::new()).await.unwrap();
    let mut up = house.up().await;
    house.mailbox(ACCOUNT, server.addr()).await;
    let to = recipients("polite", 200);
    let ids = up.send_to(ACCOUNT, &to).await;
    // when it is asked to stop, again and again
    for round in 1..=4 {
        server.until(|seen| seen.mails >= round * 25).await;
        assert_eq!(up.process.terminate().await, 0);
        up = house.up().await;
    }
    // then every mail goes out in its first attempt
    let queue = house.queue().await;
    let jobs = all_final(&queue, &ids).await;
    assert!(jobs.iter().all(|job| job.status == Status::Completed && job.attempt == 1));
    account_for(&server, &to, &jobs);
}
