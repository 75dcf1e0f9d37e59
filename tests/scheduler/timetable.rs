//! Time zones, on the days on which the clocks change.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jobs::contract::Moment;
use postrider::scheduler::Timetable;

fn timetable(cron: &str, zone: &str) -> Timetable {
    Timetable::new(cron.parse().unwrap(), TimeZone::get(zone).unwrap())
}

fn at(text: &str) -> Moment {
    text.parse().unwrap()
}

/// The ticks after `from` and not after `until`, in UTC, without seconds.
fn ticks(cron: &str, zone: &str, from: &str, until: &str) -> Vec<String> {
    timetable(cron, zone)
        .between(at(from), at(until))
        .map(|tick| tick.to_string()[..16].to_owned())
        .collect()
}

#[test]
fn a_time_that_the_clocks_skip_comes_at_the_end_of_the_gap() {
    let cases: [(&str, &str, &str, &str, &[&str]); 5] = [
        // Berlin, 29 March 2026: 02:00 is followed by 03:00, at 01:00 UTC.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T00:00:00Z",
            "2026-03-30T12:00:00Z",
            &["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"],
        ),
        // Two times in one gap, and the first after it, are one tick.
        (
            "0,30 2,3 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            "2026-03-29T12:00:00Z",
            &["2026-03-29T01:00", "2026-03-29T01:30"],
        ),
        (
            "0 2 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            "2026-03-29T12:00:00Z",
            &["2026-03-29T01:00"],
        ),
        // New York, 8 March 2026, at 07:00 UTC.
        (
            "15 2 * * *",
            "America/New_York",
            "2026-03-07T12:00:00Z",
            "2026-03-09T12:00:00Z",
            &["2026-03-08T07:00", "2026-03-09T06:15"],
        ),
        // Lord Howe, 4 October 2026: half an hour, at 15:30 UTC of the day before.
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-02T20:00:00Z",
            "2026-10-04T20:00:00Z",
            &["2026-10-03T15:30", "2026-10-04T15:15"],
        ),
    ];
    for (cron, zone, from, until, expected) in cases {
        assert_eq!(ticks(cron, zone, from, until), expected, "{cron} {zone}");
    }
}

#[test]
fn a_time_that_the_clocks_show_twice_comes_once_at_the_first() {
    let cases: [(&str, &str, &str, &str, &[&str]); 4] = [
        // Berlin, 25 October 2026: 03:00 is followed by 02:00, at 01:00 UTC.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T00:00:00Z",
            "2026-10-26T12:00:00Z",
            &["2026-10-24T00:30", "2026-10-25T00:30", "2026-10-26T01:30"],
        ),
        // Asked between the two, it is over.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-25T01:10:00Z",
            "2026-10-26T12:00:00Z",
            &["2026-10-26T01:30"],
        ),
        // New York, 1 November 2026, at 06:00 UTC.
        (
            "30 1 * * *",
            "America/New_York",
            "2026-10-31T12:00:00Z",
            "2026-11-02T12:00:00Z",
            &["2026-11-01T05:30", "2026-11-02T06:30"],
        ),
        // Lord Howe, 5 April 2026: 02:00 is followed by 01:30, at 15:00 UTC of the day before.
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-03T20:00:00Z",
            "2026-04-05T20:00:00Z",
            &["2026-04-04T14:45", "2026-04-05T15:15"],
        ),
    ];
    for (cron, zone, from, until, expected) in cases {
        assert_eq!(ticks(cron, zone, from, until), expected, "{cron} {zone}");
    }
}

#[test]
fn what_repeats_follows_the_time_that_passes() {
    // Given zones on the days of both changes, when something repeats every half hour
    for (zone, from, until) in [
        ("Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T05:00:00Z"),
        ("Europe/Berlin", "2026-10-24T23:00:00Z", "2026-10-25T05:00:00Z"),
        ("America/New_York", "2026-03-08T04:00:00Z", "2026-03-08T10:00:00Z"),
        ("America/New_York", "2026-11-01T03:00:00Z", "2026-11-01T09:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T12:00:00Z", "2026-04-04T18:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T12:00:00Z", "2026-10-03T18:00:00Z"),
    ] {
        let ticks: Vec<_> = timetable("*/30 * * * *", zone).between(at(from), at(until)).collect();
        // Then half an hour lies between any two.
        assert_eq!(ticks.len(), 12, "{zone}");
        assert!(ticks.windows(2).all(|pair| pair[1].since(pair[0]).as_secs() == 1_800), "{zone}");
    }
}

#[test]
fn repetition_inside_a_skipped_hour_does_not_come_and_inside_a_double_hour_comes_twice() {
    let spring =
        ticks("*/30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T22:00:00Z");
    assert_eq!(spring, Vec::<String>::new());
    let autumn =
        ticks("*/30 2 * * *", "Europe/Berlin", "2026-10-24T22:30:00Z", "2026-10-25T22:00:00Z");
    assert_eq!(
        autumn,
        ["2026-10-25T00:00", "2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30"]
    );
}

#[test]
fn every_day_has_every_time_of_day_once() {
    // Given zones that change their clocks by an hour and by half an hour, in spring and in Ramadan
    for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"] {
        let tz = TimeZone::get(zone).unwrap();
        for cron in
            ["0 0 * * *", "30 1 * * *", "59 1 * * *", "0 2 * * *", "17 2 * * *", "0 3 * * *"]
        {
            // When three years pass
            let mut days = BTreeMap::new();
            let (from, until) = (at("2011-01-01T12:00:00Z"), at("2014-01-01T12:00:00Z"));
            for tick in timetable(cron, zone).between(from, until) {
                let local = jiff::Timestamp::from_millisecond(tick.millis()).unwrap();
                *days.entry(tz.to_datetime(local).date()).or_insert(0) += 1;
            }
            // Then each day that the zone had has one tick.
            assert!(days.values().all(|ticks| *ticks == 1), "{zone} {cron}: {days:?}");
            assert_eq!(days.len(), 1_096, "{zone} {cron}");
        }
    }
}

#[test]
fn a_day_that_a_zone_dropped_comes_at_its_end() {
    // Samoa went from 29 to 31 December 2011 at 10:00 UTC.
    let days = ticks("0 9 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", "2012-01-01T00:00:00Z");
    assert_eq!(
        days,
        ["2011-12-29T19:00", "2011-12-30T10:00", "2011-12-30T19:00", "2011-12-31T19:00"]
    );
}

#[test]
fn the_end_of_time_is_an_end() {
    let table = timetable("0 0 1 1 *", "UTC");
    assert_eq!(table.next(at("2100-06-01T00:00:00Z")), None);
    assert_eq!(table.next(Moment::from_millis(i64::MAX)), None);
}
