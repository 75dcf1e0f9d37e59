//! Five fields: each translation, and each mistake.

use jiff::civil::DateTime;
use postrider::scheduler::Expression;

fn expression(text: &str) -> Expression {
    text.parse().unwrap_or_else(|words| panic!("{text}: {words}"))
}

/// The first `count` times after Thursday, 1 January 2026, 00:00.
fn times(text: &str, count: usize) -> Vec<String> {
    let start: DateTime = "2026-01-01T00:00:00".parse().unwrap();
    let expression = expression(text);
    std::iter::successors(expression.next(start), |at| expression.next(*at))
        .take(count)
        .map(|at| at.strftime("%a %m-%d %H:%M").to_string())
        .collect()
}

/// Which weekdays an expression names, from Sunday.
fn weekdays(field: &str) -> String {
    let mut named: Vec<_> =
        times(&format!("0 12 * * {field}"), 7).iter().map(|at| at[..3].to_owned()).collect();
    named.sort_by_key(|day| {
        ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"].iter().position(|d| d == day)
    });
    named.dedup();
    named.join(" ")
}

#[test]
fn sunday_is_0_and_7_and_saturday_is_6() {
    let cases = [
        ("0", "Sun"),
        ("7", "Sun"),
        ("1", "Mon"),
        ("2", "Tue"),
        ("3", "Wed"),
        ("4", "Thu"),
        ("5", "Fri"),
        ("6", "Sat"),
        ("sun", "Sun"),
        ("MON", "Mon"),
        ("Sat", "Sat"),
        ("1-5", "Mon Tue Wed Thu Fri"),
        ("mon-fri", "Mon Tue Wed Thu Fri"),
        ("5-7", "Sun Fri Sat"),
        ("sat-sun", "Sun Sat"),
        ("0-6", "Sun Mon Tue Wed Thu Fri Sat"),
        ("1-7", "Sun Mon Tue Wed Thu Fri Sat"),
        ("*/2", "Sun Tue Thu Sat"),
        ("1-5/2", "Mon Wed Fri"),
        ("1,3,sun", "Sun Mon Wed"),
        ("0,7", "Sun"),
    ];
    for (field, expected) in cases {
        assert_eq!(weekdays(field), expected, "{field}");
    }
}

#[test]
fn each_field_is_read_as_it_is_written() {
    let cases: [(&str, &[&str]); 12] = [
        ("* * * * *", &["Thu 01-01 00:01", "Thu 01-01 00:02"]),
        ("*/20 * * * *", &["Thu 01-01 00:20", "Thu 01-01 00:40", "Thu 01-01 01:00"]),
        ("5/25 * * * *", &["Thu 01-01 00:05", "Thu 01-01 00:30", "Thu 01-01 00:55"]),
        (
            "10-12 3 * * *",
            &["Thu 01-01 03:10", "Thu 01-01 03:11", "Thu 01-01 03:12", "Fri 01-02 03:10"],
        ),
        ("0 8,20 * * *", &["Thu 01-01 08:00", "Thu 01-01 20:00"]),
        ("0 0 31 * *", &["Sat 01-31 00:00", "Tue 03-31 00:00"]),
        ("0 0 1 feb,Nov *", &["Sun 02-01 00:00", "Sun 11-01 00:00"]),
        ("0 0 1 4-12/4 *", &["Wed 04-01 00:00", "Sat 08-01 00:00", "Tue 12-01 00:00"]),
        ("  0   6  *  *  1  ", &["Mon 01-05 06:00", "Mon 01-12 06:00"]),
        ("59 23 31 12 *", &["Thu 12-31 23:59"]),
        // Both days restricted: either will do.
        ("0 0 2 * 1", &["Fri 01-02 00:00", "Mon 01-05 00:00", "Mon 01-12 00:00"]),
        // A star restricts nothing, with a step or without: both must hold.
        ("0 0 */2 * 1", &["Mon 01-05 00:00", "Mon 01-19 00:00"]),
    ];
    for (text, expected) in cases {
        assert_eq!(times(text, expected.len()), expected, "{text}");
    }
}

#[test]
fn shorthands_are_the_five_fields_they_stand_for() {
    let cases = [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
    ];
    for (short, long) in cases {
        assert_eq!(times(short, 5), times(long, 5), "{short}");
    }
}

#[test]
fn a_leap_day_comes_in_leap_years() {
    let expression = expression("0 0 29 2 *");
    let start: DateTime = "2026-01-01T00:00:00".parse().unwrap();
    let next = expression.next(start).unwrap();
    assert_eq!(next.to_string(), "2028-02-29T00:00:00");
}

#[test]
fn times_of_day_are_told_from_repetition() {
    for (text, fixed) in [
        ("30 2 * * *", true),
        ("0,30 2,3 * * 1-5", true),
        ("@daily", true),
        ("*/5 2 * * *", false),
        ("0 * * * *", false),
        ("0 */6 * * *", false),
        ("@hourly", false),
    ] {
        assert_eq!(expression(text).is_fixed(), fixed, "{text}");
    }
}

#[test]
fn every_mistake_is_said_in_a_sentence() {
    let cases = [
        ("", "expected five fields"),
        ("* * * *", "got 4"),
        ("0 0 0 * * *", "got 6"),
        ("60 * * * *", "minute: expected 0 to 59, got \"60\""),
        ("* 24 * * *", "hour: expected 0 to 23, got \"24\""),
        ("* * 0 * *", "day of the month: expected 1 to 31, got \"0\""),
        ("* * * 13 *", "month: expected 1 to 12 or jan to dec, got \"13\""),
        ("* * * * 8", "day of the week: expected 0 to 7 or sun to sat, got \"8\""),
        ("* * * * monday", "got \"monday\""),
        ("*/0 * * * *", "expected a step of 1 to 59 in \"*/0\""),
        ("*/ * * * *", "expected a step"),
        ("5-1 * * * *", "\"5-1\" ends before it begins"),
        ("1,,2 * * * *", "got \"\""),
        ("+1 * * * *", "got \"+1\""),
        ("-1 * * * *", "got \"\""),
        ("? * * * *", "got \"?\""),
        ("* * L * *", "got \"L\""),
        ("99999999999 * * * *", "got \"99999999999\""),
        ("@reboot", "expected five fields, or @hourly"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6,9,11 *", "never comes"),
    ];
    for (text, expected) in cases {
        let said = text.parse::<Expression>().expect_err(text);
        assert!(said.contains(expected), "{text}: {said}");
    }
}
