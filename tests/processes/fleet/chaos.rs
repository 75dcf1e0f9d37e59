//! Processes are killed and stopped at random moments while jobs come in and go out.

use std::{collections::BTreeMap, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{account::Account, rig::Fleet, say, size, submitter::submit_all, within};
use crate::support::eventually;

struct Plan {
    jobs: usize,
    strikes: usize,
    mailboxes: usize,
    within: Duration,
    seed: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_whose_processes_are_killed_and_stopped_loses_nothing_and_does_nothing_twice() {
    let (jobs, strikes, seed) = (600, 10, rand::random());
    let plan = Plan { jobs, strikes, mailboxes: 4, within: Duration::from_secs(120), seed };
    chaos(&plan).await.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the long form: tests/fleet chaos"]
async fn long() {
    let plan = Plan {
        jobs: size("JOBS", 100_000),
        strikes: size("KILLS", 100),
        mailboxes: 20,
        within: within(),
        seed: size("SEED", rand::random::<u16>().into()) as u64,
    };
    say(format_args!(
        "{} jobs, {} strikes, seed {}, at most {} min",
        plan.jobs,
        plan.strikes,
        plan.seed,
        plan.within.as_secs() / 60
    ));
    let began = std::time::Instant::now();
    let account = chaos(&plan).await;
    say(format_args!("\n{account}\nin {} s", began.elapsed().as_secs()));
    account.assert_clean();
}

async fn chaos(plan: &Plan) -> Account {
    // given a fleet, and callers that submit to it
    let mut fleet = Fleet::start(&[]).await;
    let mailboxes = fleet.mailboxes(plan.mailboxes).await;
    let submitting = tokio::spawn(submit_all(fleet.submitter(), mailboxes, plan.jobs));
    // when its processes are killed and stopped at random moments
    let deadline = tokio::time::Instant::now() + plan.within;
    let mut chance = StdRng::seed_from_u64(plan.seed);
    let strikes = tokio::time::timeout_at(deadline, strike_all(&mut fleet, plan, &mut chance));
    let strikes = strikes.await.unwrap_or_else(|_| {
        panic!("the fleet came to a halt: {} of {} effects", fleet.sink.count(), plan.jobs)
    });
    let accepted = submitting.await.unwrap();
    // and all that slept is awake again, while others may have done its work
    let slept = fleet.asleep.iter().map(|(_, since)| *since).max();
    let long_enough = || slept.is_none_or(|since| since.elapsed() > super::rig::TAKEN_OVER_AFTER);
    eventually("every sleeper has lost its leases", long_enough).await;
    fleet.wake_the_overdue().await;
    // then everything that was accepted is done, once
    fleet.drained(deadline.duration_since(tokio::time::Instant::now())).await;
    let account = fleet.account(&accepted).await.after(strikes);
    fleet.stop().await;
    account
}

/// Strikes at random moments of the work: each when the world has seen so many effects.
async fn strike_all(
    fleet: &mut Fleet,
    plan: &Plan,
    chance: &mut StdRng,
) -> BTreeMap<&'static str, usize> {
    // Not at the very end: what a dead worker leaves unknown has no effect to be waited for.
    let last = plan.jobs * 8 / 10;
    let mut moments: Vec<usize> =
        (0..plan.strikes).map(|_| chance.random_range(1..=last)).collect();
    moments.sort_unstable();
    let mut struck = BTreeMap::new();
    for moment in moments {
        fleet.sink.until(moment).await;
        *struck.entry(strike(fleet, chance).await).or_default() += 1;
        fleet.wake_the_overdue().await;
        fleet.man().await;
    }
    struck
}

/// Strikes one process; what was done to whom.
async fn strike(fleet: &mut Fleet, chance: &mut StdRng) -> &'static str {
    match chance.random_range(0..10) {
        0..6 => {
            let worker = chance.random_range(0..fleet.workers.len());
            fleet.workers.swap_remove(worker).kill().await;
            "workers killed"
        }
        6..8 => {
            let front = chance.random_range(0..fleet.fronts.len());
            fleet.kill_front(front).await;
            "façades killed"
        }
        8 => {
            let scheduler = chance.random_range(0..fleet.schedulers.len());
            fleet.schedulers.swap_remove(scheduler).kill().await;
            "schedulers killed"
        }
        _ => {
            let worker = chance.random_range(0..fleet.workers.len());
            fleet.put_to_sleep(worker);
            "workers stopped for longer than a lease"
        }
    }
}
