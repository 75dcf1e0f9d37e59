//! Rolling restarts: everybody is asked to stop, in turn, and nobody's work suffers.

use std::time::Duration;

use jobs::contract::ports::Clock;
use postrider::{clock::SystemClock, queue::Status};
use rustix::process::Signal;

use super::{rig::Fleet, say, size, submitter::submit_all, within};

/// How soon a worker that is asked to stop claims no more.
const AT_ONCE: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn rolling_restarts_burn_no_attempt() {
    rolling(400, 8, Duration::from_secs(120)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the long form: tests/fleet restarts"]
async fn long() {
    rolling(size("JOBS", 20_000), size("RESTARTS", 100), within()).await;
}

async fn rolling(jobs: usize, restarts: usize, within: Duration) {
    // given a fleet at work
    let mut fleet = Fleet::start(&[]).await;
    let mailboxes = fleet.mailboxes(4).await;
    let submitting = tokio::spawn(submit_all(fleet.submitter(), mailboxes, jobs));
    // when one process after the other is restarted
    for restart in 0..restarts {
        let moment = fleet.sink.until(1 + restart * jobs / (restarts + 1));
        tokio::time::timeout(within, moment).await.expect("the fleet is at work");
        let stopped = match restart % 4 {
            0 | 2 => fleet.workers.remove(0),
            1 => fleet.remove_front(0),
            _ => fleet.schedulers.remove(0),
        };
        assert_eq!(stopped.terminate().await, 0);
        fleet.man().await;
    }
    let accepted = submitting.await.unwrap();
    fleet.drained(within).await;
    // then every job was done in its first attempt
    let account = fleet.account(&accepted).await;
    say(format_args!("{account}{restarts} polite restarts, each with exit code 0"));
    account.assert_clean();
    for job in fleet.records(&accepted).await.into_values() {
        assert_eq!((job.status, job.attempt, job.crashes), (Status::Completed, 1, 0));
    }
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_asked_to_stop_claims_nothing_more_while_it_drains() {
    // given a worker with some mails that take their time, and a large backlog
    let mut fleet = Fleet::found(&[("WORKER__CONCURRENCY", "8")]).await;
    let mailboxes = fleet.mailboxes(2).await;
    let (worker, mut says) = fleet.house.talking_worker();
    fleet.man_the_doors().await;
    fleet.sink.hold("held-");
    let effects = |of: &str, count| -> Vec<String> {
        (0..count).map(|n| format!("{of}-{n}@example.org")).collect()
    };
    let caller = fleet.submitter();
    let mut accepted = caller.submit(&mailboxes[0], &effects("held", 3)).await;
    fleet.sink.until_held(3).await;
    accepted.extend(caller.submit(&mailboxes[1], &effects("quick", 400)).await);
    fleet.sink.until(40).await;
    // when it is asked to stop in the middle of that
    worker.signal(Signal::TERM);
    says.until("Stopping").await;
    let stopping = SystemClock.now();
    // then others do all the rest while it waits for its own
    fleet.man().await;
    fleet.sink.until(400).await;
    fleet.sink.release();
    let name = format!("-{}-", worker.id());
    assert_eq!(worker.ended().await, 0);
    fleet.drained(Duration::from_secs(60)).await;
    fleet.account(&accepted).await.assert_clean();
    let mut by_others = 0;
    for job in fleet.records(&accepted).await.into_values() {
        assert_eq!((job.status, job.attempt), (Status::Completed, 1));
        for run in job.attempts {
            let counts = run.outcome.as_deref() != Some("released");
            let late = run.started_at > stopping.plus(AT_ONCE);
            let its = run.worker.contains(&name);
            assert!(!(its && counts && late), "{} after {stopping}", run.started_at);
            by_others += usize::from(!its);
        }
    }
    assert!(by_others > 100, "the backlog was gone before the stop: {by_others}");
    fleet.stop().await;
}
