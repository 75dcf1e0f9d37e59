//! Each tick once: many schedulers, kills, restarts, clocks that jump.

use std::{collections::BTreeSet, sync::Arc};

use jobs::contract::Moment;
use tokio::task::JoinSet;

use super::fakes::{Fleet, SetClock, cut, entry};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const START: &str = "2026-06-10T10:00:30Z";

fn clock_times(ticks: &[Moment]) -> Vec<String> {
    ticks.iter().map(|tick| tick.to_string()[11..16].to_owned()).collect()
}

/// A small generator: the same numbers in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_schedulers_fire_each_of_10_000_ticks_once() {
    // Given five schedulers whose clocks differ by up to four seconds
    let fleet = Fleet::default();
    let crontab = entry("every-minute", "* * * * *", "all");
    let clocks: Vec<_> = (0..5).map(|_| SetClock::at(START)).collect();
    for (index, clock) in clocks.iter().enumerate() {
        clock.step(i64::try_from(index).unwrap() * 1_000);
    }
    let schedulers: Vec<_> =
        clocks.iter().map(|clock| Arc::new(fleet.scheduler(&crontab, clock))).collect();
    // When 10,000 minutes pass, and in each of them all five look at the crontab at once
    for _ in 0..=10_000 {
        let mut turns = JoinSet::new();
        for scheduler in &schedulers {
            let scheduler = Arc::clone(scheduler);
            turns.spawn(async move { scheduler.turn().await });
        }
        while let Some(turn) = turns.join_next().await {
            turn.unwrap();
        }
        clocks.iter().for_each(|clock| clock.step(MINUTE));
    }
    // Then each minute has fired once, and none is left out.
    let fired = fleet.ticks_of("every-minute");
    let distinct: BTreeSet<_> = fired.iter().copied().collect();
    assert_eq!(fired.len(), 10_000);
    assert_eq!(distinct.len(), 10_000);
    let (first, last) = (distinct.first().unwrap(), distinct.last().unwrap());
    assert_eq!(last.millis() - first.millis(), 9_999 * MINUTE);
}

#[tokio::test]
async fn schedulers_that_are_killed_anywhere_lose_no_tick_and_repeat_none() {
    // Given three schedulers, each of which is killed and started again at random points of its turn
    let fleet = Fleet::default();
    let crontab = entry("every-minute", "* * * * *", "all");
    let clock = SetClock::at(START);
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut schedulers: Vec<_> = (0..3).map(|_| fleet.scheduler(&crontab, &clock)).collect();
    schedulers[0].turn().await;
    let mut kills = 0;
    // When 2,000 minutes pass
    for _ in 0..2_000 {
        clock.step(MINUTE);
        for scheduler in &mut schedulers {
            let polls = usize::try_from(1 + chance.below(8)).unwrap();
            if !cut(scheduler.turn(), polls).await {
                kills += 1;
                *scheduler = fleet.scheduler(&crontab, &clock);
            }
        }
    }
    for _ in 0..20 {
        schedulers[0].turn().await;
    }
    // Then many turns were cut off, and still each minute has fired once.
    assert!(kills > 500, "only {kills} turns were cut off");
    let fired = fleet.ticks_of("every-minute");
    assert_eq!(fired.len(), 2_000);
    assert_eq!(fired.iter().collect::<BTreeSet<_>>().len(), 2_000);
}

#[tokio::test]
async fn a_tick_that_was_submitted_but_not_marked_is_not_submitted_again() {
    for missed in ["skip", "once", "all"] {
        // Given a scheduler that dies between submitting a tick and marking it
        let fleet = Fleet::default();
        let crontab = entry("hourly", "@hourly", missed);
        let clock = SetClock::at("2026-06-10T10:59:50Z");
        let dying = fleet.scheduler(&crontab, &clock);
        dying.turn().await;
        let before = fleet.ticks.mark("dev", "hourly");
        fleet.ticks.fail(1);
        clock.step(20_000);
        dying.turn().await;
        assert_eq!(fleet.ticks.mark("dev", "hourly"), before, "{missed}: it was marked");
        // When another one takes over
        fleet.scheduler(&crontab, &clock).turn().await;
        // Then the tick has fired once, and is marked.
        let fired = fleet.ticks_of("hourly");
        assert_eq!(clock_times(&fired), ["11:00"], "{missed}");
        assert_eq!(fleet.ticks.mark("dev", "hourly"), Some(fired[0]), "{missed}");
    }
}

#[tokio::test]
async fn missed_ticks_follow_the_entrys_policy() {
    // Given entries whose scheduler is away for some time
    let cases: [(&str, &str, i64, &[&str]); 9] = [
        // Ten seconds late is in time for everybody.
        ("* * * * *", "skip", 40_000, &["10:01"]),
        ("* * * * *", "once", 40_000, &["10:01"]),
        ("* * * * *", "all", 40_000, &["10:01"]),
        // Five minutes away: what is older than a minute was missed.
        ("* * * * *", "skip", 5 * MINUTE, &["10:05"]),
        ("* * * * *", "once", 5 * MINUTE, &["10:05"]),
        ("* * * * *", "all", 5 * MINUTE, &["10:01", "10:02", "10:03", "10:04", "10:05"]),
        // Two and a half hours away: the newest tick was missed, too.
        ("0 * * * *", "skip", 150 * MINUTE, &[]),
        ("0 * * * *", "once", 150 * MINUTE, &["12:00"]),
        ("0 * * * *", "all", 150 * MINUTE, &["11:00", "12:00"]),
    ];
    for (cron, missed, away, expected) in cases {
        let fleet = Fleet::default();
        let crontab = entry("it", cron, missed);
        let clock = SetClock::at(START);
        fleet.scheduler(&crontab, &clock).turn().await;
        // When it comes back
        clock.step(away);
        let back = fleet.scheduler(&crontab, &clock);
        back.turn().await;
        // Then the policy decides, and nothing comes later.
        back.turn().await;
        assert_eq!(clock_times(&fleet.ticks_of("it")), expected, "{cron} {missed}");
    }
}

#[tokio::test]
async fn a_new_entry_has_missed_nothing() {
    let fleet = Fleet::default();
    let clock = SetClock::at(START);
    let scheduler = fleet.scheduler(&entry("new", "* * * * *", "all"), &clock);
    scheduler.turn().await;
    assert_eq!(fleet.queue.fired(), Vec::<String>::new());
    clock.step(MINUTE);
    scheduler.turn().await;
    assert_eq!(clock_times(&fleet.ticks_of("new")), ["10:01"]);
}

#[tokio::test]
async fn a_long_absence_is_made_up_for_in_bounded_turns_and_not_past_the_horizon() {
    // Given an entry whose scheduler was away for nine days
    let fleet = Fleet::default();
    let crontab = entry("it", "0 * * * *", "all");
    let clock = SetClock::at(START);
    fleet.scheduler(&crontab, &clock).turn().await;
    clock.step(9 * 24 * HOUR);
    let back = fleet.scheduler(&crontab, &clock);
    // When it takes its turns
    back.turn().await;
    let first_turn = fleet.ticks_of("it").len();
    back.turn().await;
    back.turn().await;
    // Then each turn is bounded, and what is older than seven days stays missed.
    let fired = fleet.ticks_of("it");
    assert_eq!(first_turn, 100);
    assert_eq!(fired.len(), 7 * 24);
    assert!(fired.windows(2).all(|pair| pair[0] < pair[1]), "the oldest come first");
}

#[tokio::test]
async fn a_clock_that_jumps_back_and_forth_fires_nothing_twice() {
    for missed in ["skip", "once", "all"] {
        // Given a clock that is set forwards and backwards by up to two days
        let fleet = Fleet::default();
        let clock = SetClock::at(START);
        let scheduler = fleet.scheduler(&entry("it", "*/10 * * * *", missed), &clock);
        let mut chance = Chance(0x2545_f491_4f6c_dd1d);
        for _ in 0..500 {
            let jump = i64::try_from(chance.below(4 * 24 * 3_600)).unwrap() - 2 * 24 * 3_600;
            clock.step(jump * 1_000);
            scheduler.turn().await;
            clock.step(MINUTE);
            scheduler.turn().await;
        }
        // Then nothing has fired twice.
        let fired = fleet.ticks_of("it");
        assert!(!fired.is_empty(), "{missed}: nothing fired");
        let distinct: BTreeSet<_> = fired.iter().collect();
        assert_eq!(distinct.len(), fired.len(), "{missed}");
    }
}

#[tokio::test]
async fn a_clock_that_is_set_right_again_does_not_silence_the_crontab() {
    // Given a clock that was a year ahead for a moment
    let fleet = Fleet::default();
    let clock = SetClock::at(START);
    let scheduler = fleet.scheduler(&entry("it", "* * * * *", "skip"), &clock);
    scheduler.turn().await;
    clock.step(365 * 24 * HOUR);
    scheduler.turn().await;
    // When it is right again
    clock.step(-365 * 24 * HOUR);
    scheduler.turn().await;
    clock.step(MINUTE);
    scheduler.turn().await;
    // Then the next minute fires.
    let next: Moment = "2026-06-10T10:01:00Z".parse().unwrap();
    assert_eq!(fleet.ticks_of("it").last(), Some(&next));
}

#[tokio::test]
async fn a_queue_that_is_away_loses_no_tick() {
    // Given a queue that cannot be reached when a tick is due
    let fleet = Fleet::default();
    let clock = SetClock::at(START);
    let scheduler = fleet.scheduler(&entry("it", "* * * * *", "all"), &clock);
    scheduler.turn().await;
    *fleet.queue.away.lock().unwrap() = true;
    for _ in 0..3 {
        clock.step(MINUTE);
        scheduler.turn().await;
    }
    assert_eq!(fleet.queue.fired(), Vec::<String>::new());
    // When it is back
    *fleet.queue.away.lock().unwrap() = false;
    scheduler.turn().await;
    // Then the ticks come.
    assert_eq!(clock_times(&fleet.ticks_of("it")), ["10:01", "10:02", "10:03"]);
}

#[tokio::test]
async fn an_entry_that_fails_does_not_stop_the_others() {
    // Given two entries
    let fleet = Fleet::default();
    let clock = SetClock::at(START);
    let crontab = entry("a", "* * * * *", "all") + &entry("b", "* * * * *", "all");
    let scheduler = fleet.scheduler(&crontab, &clock);
    scheduler.turn().await;
    // When the store fails while the first entry is moved on
    fleet.ticks.fail(1);
    clock.step(MINUTE);
    scheduler.turn().await;
    // Then the second has fired all the same, and the first is not fired again.
    scheduler.turn().await;
    assert_eq!(clock_times(&fleet.ticks_of("a")), ["10:01"]);
    assert_eq!(clock_times(&fleet.ticks_of("b")), ["10:01"]);
}
