//! The configuration: three layers, and what is said about a wrong value.

use std::{path::PathBuf, time::Duration};

use postrider::config::{Config, ConfigError, Layers, Rate, variables};
use tempfile::TempDir;

fn load(file: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("postrider.toml");
    std::fs::write(&path, file).unwrap();
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(Some(&path), env)
}

fn words(result: Result<Config, ConfigError>) -> String {
    result.expect_err("the configuration was accepted").to_string()
}

#[test]
fn the_defaults_are_a_valid_configuration() {
    // Given no file and no variable, when the configuration is read
    let config = Config::load(None, []).unwrap();
    // Then it is whole.
    assert_eq!(config.data_dir, PathBuf::from("postrider-data"));
    assert_eq!(config.limits.mailbox.len(), 3);
}

#[test]
fn a_file_overrides_defaults_and_variables_override_both() {
    let file = "data_dir = 'from-file'\n[limits]\nmailbox_in_flight = 7\ntenant_in_flight = 9\n";
    let env = [
        ("POSTRIDER_LIMITS__TENANT_IN_FLIGHT", "11"),
        ("POSTRIDER_LIMITS__MAILBOX", "5/s, 6/min"),
        ("POSTRIDER_SCHEDULER__TICK", "250ms"),
        ("HOME", "/nowhere"),
        ("POSTRIDER_TEST_POSTGRES", "postgres://somewhere"),
    ];
    let config = load(file, &env).unwrap();
    assert_eq!(config.data_dir, PathBuf::from("from-file"));
    assert_eq!(config.limits.mailbox_in_flight, 7);
    assert_eq!(config.limits.tenant_in_flight, 11);
    assert_eq!(config.scheduler.tick, Duration::from_millis(250));
    let rates: Vec<Rate> = vec!["5/s".parse().unwrap(), "6/min".parse().unwrap()];
    assert_eq!(config.limits.mailbox, rates);
}

#[test]
fn an_empty_variable_is_an_empty_list() {
    let said = words(load("", &[("POSTRIDER_LIMITS__MAILBOX", "")]));
    assert!(said.contains("POSTRIDER_LIMITS__MAILBOX"), "{said}");
    assert!(said.contains("expected at least one rate"), "{said}");
}

/// What a wrong file says: the option, what was expected, what was got; and never less.
#[test]
fn a_wrong_file_names_itself_the_option_and_what_was_expected() {
    let cases: [(&str, &[&str]); 9] = [
        ("colour = 'red'", &["colour", "unknown field"]),
        ("[limits]\ncolour = 1", &["limits", "unknown field `colour`", "mailbox"]),
        (
            "[limits]\nmailbox_in_flight = 'two'",
            &["limits.mailbox_in_flight", "expected a whole number from 0 to 4294967295", "two"],
        ),
        ("[limits]\nmailbox = ['2/fortnight']", &["limits.mailbox", "60/min", "2/fortnight"]),
        (
            "[limits]\nmailbox_in_flight = 0",
            &["limits.mailbox_in_flight", "expected 1 to", "got 0"],
        ),
        ("limits = 3", &["limits", "integer `3`"]),
        (
            "[redis]\nshards = 99999999",
            &["redis.shards", "99999999", "expected a whole number from 0 to 65535"],
        ),
        ("[scheduler]\ntick = '5'", &["scheduler.tick", "30s", "\"5\""]),
        ("[scheduler]\ntick = '1ms'", &["scheduler.tick", "expected 100ms to 1m", "got 1ms"]),
    ];
    for (file, expected) in cases {
        let said = words(load(file, &[]));
        assert!(said.contains("postrider.toml: "), "{file}: {said}");
        for part in expected {
            assert!(said.contains(part), "{file}: {part:?} is not in: {said}");
        }
    }
}

#[test]
fn a_wrong_variable_names_itself() {
    let cases = [
        ("POSTRIDER_LIMITS__MAILBOX_IN_FLIGHT", "two", "expected a whole number, got \"two\""),
        (
            "POSTRIDER_LIMITS__MAILBOX_IN_FLIGHT",
            "-1",
            "expected a whole number from 0 to 4294967295",
        ),
        ("POSTRIDER_LIMITS__MAILBOX_IN_FLIGHT", "0", "expected 1 to 100, got 0"),
        ("POSTRIDER_LIMITS__MAILBOX", "5/s,rubbish", "rubbish"),
        ("POSTRIDER_LIMITS__COLOUR", "red", "unknown field `colour`"),
        ("POSTRIDER_NOWHERE__COLOUR", "red", "there is no section \"nowhere\""),
        ("POSTRIDER_COLOUR", "red", "unknown field `colour`"),
        ("POSTRIDER_LIMITS", "red", "it is a section, not an option"),
        ("POSTRIDER_LOG__FORMAT", "xml", "expected `text` or `json`"),
        ("POSTRIDER_LOG__LEVEL", "lots", "log.level: expected error, warn, info"),
        ("POSTRIDER_WORKER__LEASE", "4s", "worker.lease: expected 5s to 5m, got 4s"),
        ("POSTRIDER_WORKER__LEASE", "6m", "worker.lease: expected 5s to 5m, got 6m"),
        ("POSTRIDER_WORKER__CONCURRENCY", "0", "worker.concurrency: expected 1 to 10000, got 0"),
        (
            "POSTRIDER_WORKER__CONCURRENCY_BY_QUEUE__SEND",
            "0",
            "concurrency_by_queue.send: expected 1",
        ),
        (
            "POSTRIDER_WORKER__QUEUES",
            "send,nothing",
            "worker.queues: expected some of bulk-update, send, webhook-delivery, got \"nothing\"",
        ),
        ("POSTRIDER_HTTP__LISTEN", "here", "http.listen: expected an address"),
        ("POSTRIDER_HTTP__RATE_LIMIT", "lots", "http.rate_limit: expected a rate"),
        ("POSTRIDER_MAIL__PAUSES__QUOTA_SPENT", "soon", "expected a duration"),
    ];
    for (name, value, expected) in cases {
        let said = words(load("", &[(name, value)]));
        assert!(said.starts_with(&format!("{name}: ")) && said.lines().count() == 1, "{said}");
        assert!(said.contains(expected), "{name}: {expected:?} is not in: {said}");
    }
}

#[test]
fn every_value_out_of_range_is_named_at_once() {
    let file = "[limits]\nmailbox_in_flight = 0\ntenant_in_flight = 0\n";
    let said = words(load(file, &[("POSTRIDER_LIMITS__TENANT_IN_FLIGHT", "99999")]));
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].contains("postrider.toml: limits.mailbox_in_flight"), "{said}");
    assert!(lines[1].starts_with("POSTRIDER_LIMITS__TENANT_IN_FLIGHT: "), "{said}");
}

#[test]
fn broken_toml_names_its_line_but_does_not_quote_it() {
    let said = words(load("[limits]\nsecret_key = \"hunter2\n", &[]));
    assert!(said.contains("is not valid TOML: line 2"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_byte_order_mark_and_crlf_are_no_mistake() {
    let config = load("\u{feff}[limits]\r\nmailbox_in_flight = 4\r\n", &[]).unwrap();
    assert_eq!(config.limits.mailbox_in_flight, 4);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let said = words(Config::load(Some("/nowhere/postrider.toml".as_ref()), []));
    assert!(said.starts_with("cannot read the configuration /nowhere/postrider.toml"), "{said}");
}

#[test]
fn a_flag_is_a_source_like_any_other() {
    let mut layers = Layers::defaults();
    layers.option("--data", "data_dir", "").unwrap();
    let said = words(layers.read());
    assert_eq!(said, "--data: data_dir: expected a directory, got nothing");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_named() {
    use std::os::unix::ffi::OsStringExt;
    let raw = std::ffi::OsString::from_vec(vec![0xff]);
    let env = [("POSTRIDER_DATA_DIR".into(), raw.clone()), ("OTHER".into(), raw)];
    let said = variables(env).expect_err("it was accepted").to_string();
    assert!(said.contains("POSTRIDER_DATA_DIR") && said.contains("UTF-8"), "{said}");
}
