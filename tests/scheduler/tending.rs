//! What tends the queue: bounded steps, repeated while they come back full.

use jobs::contract::JobId;
use postrider::{
    queue::{Rescued, Status},
    scheduler::SchedulerConfig,
};
use tokio_util::sync::CancellationToken;

use super::fakes::{Fleet, SetClock, config, entry};

fn count(fleet: &Fleet, step: &str) -> usize {
    fleet.queue.calls.lock().unwrap().iter().filter(|call| **call == step).count()
}

fn rescued(number: u128) -> Rescued {
    Rescued {
        id: JobId::from_u128(number),
        tenant: "dev".parse().unwrap(),
        worker: "w1".into(),
        status: Status::Queued,
    }
}

#[tokio::test]
async fn a_step_is_repeated_while_it_comes_back_full() {
    // Given a queue in which more is due than one step moves
    let fleet = Fleet::default();
    *fleet.queue.promotions.lock().unwrap() = vec![10, 10, 3];
    *fleet.queue.rescues.lock().unwrap() = vec![(0..10).map(rescued).collect(), vec![rescued(10)]];
    *fleet.queue.prunes.lock().unwrap() = vec![10, 0];
    let config = SchedulerConfig { batch: 10, ..config() };
    let scheduler = fleet.scheduler_with(config, "", &SetClock::at("2026-06-10T10:00:00Z"));
    // When the scheduler takes one turn
    scheduler.turn().await;
    // Then each step went on until it was through.
    assert_eq!(count(&fleet, "promote"), 3);
    assert_eq!(count(&fleet, "rescue"), 2);
    assert_eq!(count(&fleet, "prune"), 2);
}

#[tokio::test]
async fn no_step_starves_the_others_however_much_is_due() {
    // Given a queue in which a step always comes back full
    let fleet = Fleet::default();
    *fleet.queue.promotions.lock().unwrap() = vec![10; 10_000];
    let config = SchedulerConfig { batch: 10, ..config() };
    let scheduler = fleet.scheduler_with(config, "", &SetClock::at("2026-06-10T10:00:00Z"));
    // When the scheduler takes one turn, then the others had theirs.
    scheduler.turn().await;
    assert_eq!(count(&fleet, "promote"), 20);
    assert_eq!(count(&fleet, "rescue"), 1);
}

#[tokio::test]
async fn pruning_rests_between() {
    let fleet = Fleet::default();
    let scheduler = fleet.scheduler("", &SetClock::at("2026-06-10T10:00:00Z"));
    for _ in 0..5 {
        scheduler.turn().await;
    }
    assert_eq!(count(&fleet, "promote"), 5);
    assert_eq!(count(&fleet, "prune"), 1);
}

#[tokio::test]
async fn it_runs_until_it_is_told_to_stop_and_outlives_a_queue_that_is_away() {
    // Given a scheduler whose queue is away
    let fleet = Fleet::default();
    *fleet.queue.away.lock().unwrap() = true;
    let config = SchedulerConfig { tick: std::time::Duration::from_millis(1), ..config() };
    let scheduler = fleet.scheduler_with(config, "", &SetClock::at("2026-06-10T10:00:00Z"));
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let queue = std::sync::Arc::clone(&fleet.queue);
    // When the queue comes back, and the scheduler is told to stop after its next turn
    let watch = async move {
        *queue.away.lock().unwrap() = false;
        while queue.calls.lock().unwrap().len() < 3 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    tokio::join!(scheduler.run(shutdown), watch);
    // Then it has done its work, and ends.
    assert!(count(&fleet, "promote") >= 1);
}

#[tokio::test]
async fn a_step_that_fails_keeps_neither_the_others_nor_the_crontab_from_their_turn() {
    let all = ["promote", "rescue", "untold", "prune"];
    for failing in all.map(|one| vec![one]).into_iter().chain([all.to_vec()]) {
        // Given a queue in which a step fails, or all do
        let fleet = Fleet::default();
        let clock = SetClock::at("2026-06-10T10:00:30Z");
        let scheduler = fleet.scheduler(&entry("every-minute", "* * * * *", "all"), &clock);
        *fleet.queue.failing.lock().unwrap() = failing.clone();
        // When the scheduler takes a turn, and another one a minute later
        scheduler.turn().await;
        clock.step(60_000);
        scheduler.turn().await;
        // Then every step was tried in both, and the minute has fired.
        for step in all {
            let least = if step == "prune" && !failing.contains(&step) { 1 } else { 2 };
            assert!(count(&fleet, step) >= least, "{step} without {failing:?}");
        }
        assert_eq!(fleet.ticks_of("every-minute").len(), 1, "without {failing:?}");
    }
}
