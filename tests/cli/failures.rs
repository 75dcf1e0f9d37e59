//! What goes wrong before anything runs: one clear sentence and an exit code each.

use std::{fs, net::TcpListener, process::Stdio};

use tempfile::TempDir;

use super::program::{command, finish, path, run};

fn file(dir: &TempDir, name: &str, text: &str) -> String {
    let file = dir.path().join(name);
    fs::write(&file, text).unwrap();
    path(&file).to_owned()
}

#[tokio::test]
async fn a_valid_configuration_is_said_to_be_valid() {
    let dir = TempDir::new().unwrap();
    let config = file(&dir, "postrider.toml", "[limits]\nmailbox_in_flight = 3\n");
    let finished = run(&["check-config", "--config", &config]).await.with(0);
    assert!(finished.out.starts_with("OK: "), "{finished:?}");
    let finished = run(&["check-config", "--config", &config, "--json"]).await.with(0);
    assert_eq!(finished.json()["ok"], true);
}

#[tokio::test]
async fn a_wrong_configuration_ends_with_78_and_names_the_mistake() {
    let dir = TempDir::new().unwrap();
    let cases = [
        ("[limits]\ncolour = 1\n", "limits.colour: unknown field `colour`"),
        ("[limits]\nmailbox_in_flight = 0\n", "limits.mailbox_in_flight: expected 1 to 100, got 0"),
        ("[limits]\nmailbox = ['often']\n", "60/min"),
        ("[scheduler]\ntick = '1h'\n", "scheduler.tick: expected 100ms to 1m, got 1h"),
        ("[limits\n", "is not valid TOML: line 1"),
        ("[scheduler]\ncrontab = '/nowhere/crontab.toml'\n", "cannot read the crontab /nowhere"),
        ("[webhooks]\nca_file = '/nowhere/ca.pem'\n", "webhooks.ca_file: /nowhere/ca.pem: "),
    ];
    for (index, (text, expected)) in cases.iter().enumerate() {
        let config = file(&dir, &format!("{index}.toml"), text);
        // Whatever the command, nothing begins with a wrong configuration.
        for args in [&["check-config"][..], &["up", "--data", path(dir.path())]] {
            let finished = run(&[args, &["--config", &config]].concat()).await.with(78);
            assert!(finished.err.contains(expected), "{args:?} {text}: {}", finished.err);
            assert!(finished.err.starts_with("postrider: "), "{}", finished.err);
            assert_eq!(finished.out, "");
        }
    }
}

#[tokio::test]
async fn every_certificate_that_cannot_be_read_is_named() {
    let dir = TempDir::new().unwrap();
    let text = "[redis]\nca_file = '/nowhere/r'\n[mail]\nca_file = '/nowhere/m'\n\
                [webhooks]\nca_file = '/nowhere/w'\n";
    let config = file(&dir, "postrider.toml", text);
    let finished = run(&["check-config", "--config", &config]).await.with(78);
    for option in ["redis.ca_file", "mail.ca_file", "webhooks.ca_file"] {
        assert!(finished.err.contains(option), "{}", finished.err);
    }
}

#[tokio::test]
async fn a_log_that_takes_nothing_stops_nobody() {
    // given a log whose disk is full
    let dir = TempDir::new().unwrap();
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for args in [&["migrate"][..], &["lanes", "list"], &["jobs", "list"]] {
        let mut command = command(&[args, &["--data", path(dir.path())]].concat());
        command.env("POSTRIDER_LOG__LEVEL", "trace");
        command.env("POSTRIDER_SECRET_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        // when
        let output = command.stderr(full()).stdout(Stdio::null()).status().await.unwrap();
        // then
        assert_eq!(output.code(), Some(0), "{args:?}");
    }
}

#[tokio::test]
async fn a_wrong_variable_is_named() {
    let mut check = command(&["check-config"]);
    check.env("POSTRIDER_LIMITS__MAILBOX_IN_FLIGHT", "lots");
    let finished = finish(check).await.with(78);
    let expected = "POSTRIDER_LIMITS__MAILBOX_IN_FLIGHT: limits.mailbox_in_flight: \
                    expected a whole number, got \"lots\"";
    assert!(finished.err.contains(expected), "{finished:?}");
}

#[tokio::test]
async fn a_missing_configuration_file_is_named() {
    let finished = run(&["check-config", "--config", "/nowhere/p.toml"]).await.with(78);
    assert!(finished.err.contains("cannot read the configuration /nowhere/p.toml"), "{finished:?}");
}

#[tokio::test]
async fn every_mistake_in_the_crontab_is_named() {
    let dir = TempDir::new().unwrap();
    let crontab = "[[entries]]\nname = 'nightly'\ncron = '61 * * * *'\ntime_zone = 'Mars/Base'\n\
                   tenant = 'dev'\ntype = 'nothing'\npayload = {}\n";
    file(&dir, "crontab.toml", crontab);
    let finished = run(&["check-config", "--data", path(dir.path())]).await.with(78);
    for expected in ["entry \"nightly\": cron: minute", "Mars/Base", "there is no kind \"nothing\""]
    {
        assert!(finished.err.contains(expected), "{expected}: {}", finished.err);
    }
}

#[tokio::test]
async fn the_sample_crontab_is_valid() {
    let crontab = concat!(env!("CARGO_MANIFEST_DIR"), "/config/crontab.toml");
    let mut check = command(&["check-config"]);
    check.env("POSTRIDER_SCHEDULER__CRONTAB", crontab);
    let finished = finish(check).await.with(0);
    assert!(finished.out.contains("1 crontab entries"), "{finished:?}");
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_ends_with_73() {
    for args in [&["up", "--listen", "127.0.0.1:0"][..], &["demo"]] {
        let finished = run(&[args, &["--data", "/dev/null/postrider"]].concat()).await.with(73);
        assert!(finished.err.contains("/dev/null/postrider"), "{finished:?}");
        assert_eq!(finished.err.lines().count(), 1, "{finished:?}");
    }
}

#[tokio::test]
async fn a_port_in_use_ends_with_69_and_is_named() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let finished = run(&["up", "--data", path(dir.path()), "--listen", &address]).await.with(69);
    let expected = format!("cannot listen on {address}: the address is in use");
    assert!(finished.err.contains(&expected), "{finished:?}");
    assert_eq!(finished.out, "");
}

#[tokio::test]
async fn without_a_secret_key_only_up_and_demo_start() {
    let dir = TempDir::new().unwrap();
    for role in ["serve", "worker", "scheduler"] {
        let finished = run(&[role, "--data", path(dir.path())]).await.with(78);
        assert!(finished.err.contains("POSTRIDER_SECRET_KEY"), "{role}: {finished:?}");
    }
}

#[tokio::test]
async fn commands_do_not_make_a_data_directory_by_mistake() {
    let dir = TempDir::new().unwrap();
    let mistyped = dir.path().join("dtaa");
    let finished = run(&["jobs", "list", "--data", path(&mistyped)]).await.with(78);
    assert!(finished.err.contains("there is no data directory"), "{finished:?}");
    assert!(!mistyped.exists());
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    // Given a pipe whose reader has gone
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut check = command(&["check-config"]);
    check.stdout(Stdio::from(writer)).stderr(Stdio::piped());
    // When a command writes its result, then it ends without complaint.
    let output = check.spawn().unwrap().wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_result_that_cannot_be_written_is_a_failure() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut check = command(&["check-config"]);
    check.stdout(Stdio::from(full)).stderr(Stdio::piped());
    let output = check.spawn().unwrap().wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(74), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write the result"));
}
