//! A worker that sleeps past its leases: others have done its work when it wakes.

use std::time::Duration;

use postrider::queue::Status;

use super::rig::{Fleet, WORKERS};

const MINUTE: Duration = Duration::from_secs(60);
/// Jobs that each worker runs at once.
const SLOTS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_slept_past_its_leases_sends_nothing_and_writes_nothing() {
    // given a fleet whose workers all are in the middle of mails, before their point of no return
    let mut fleet = Fleet::start(&[("WORKER__CONCURRENCY", "8")]).await;
    let mailboxes = fleet.mailboxes(WORKERS).await;
    fleet.sink.hold("");
    let caller = fleet.submitter();
    let mut accepted = Vec::new();
    for (number, mailbox) in mailboxes.iter().enumerate() {
        let effects: Vec<String> =
            (0..SLOTS).map(|n| format!("held-{number}-{n}@example.org")).collect();
        accepted.extend(caller.submit(mailbox, &effects).await);
    }
    fleet.sink.until_held(WORKERS * SLOTS).await;
    // when one of them is stopped, and all others go on
    let sleeper = format!("-{}-", fleet.workers[0].id());
    fleet.put_to_sleep(0);
    // One that is not quite asleep would go on with what the mail server says now.
    fleet.asleep[0].0.stopped().await;
    fleet.sink.release();
    // then its jobs are taken over, and end
    fleet.drained(MINUTE).await;
    let before = fleet.records(&accepted).await;
    let taken_over = before.values().filter(|job| job.crashes == 1);
    assert_eq!(taken_over.clone().count(), SLOTS);
    for job in taken_over {
        let runs = job.attempts.iter().map(|run| (run.worker.contains(&sleeper), &run.outcome));
        let runs: Vec<_> = runs.map(|(was_it, said)| (was_it, said.as_deref().unwrap())).collect();
        assert_eq!(runs, [(true, "vanished"), (false, "completed")], "{:?}", job.error);
    }
    // and when it wakes, it ends as any other, and nothing that it says or does counts
    for (worker, _) in fleet.asleep.drain(..) {
        worker.signal(rustix::process::Signal::CONT);
        assert_eq!(worker.terminate().await, 0);
    }
    for (id, job) in fleet.records(&accepted).await {
        assert_eq!((job.status, job.version), (Status::Completed, before[&id].version));
    }
    fleet.account(&accepted).await.assert_clean();
    assert_eq!(fleet.sink.count(), accepted.len());
    fleet.stop().await;
}
