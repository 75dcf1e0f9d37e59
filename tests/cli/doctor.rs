//! `postrider doctor`: what it says, and by which exit code.

use std::path::Path;

use tempfile::TempDir;

use super::program::{Finished, command, finish};
use crate::support::redis::Private;

/// Runs it over a data directory, with the queue at `url`; the store is ready.
async fn doctor(url: &str, more: &[(&str, &str)]) -> Finished {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    run_in(&data, &["migrate"], url, more).await.with(0);
    run_in(&data, &["doctor"], url, more).await
}

async fn run_in(data: &Path, args: &[&str], url: &str, more: &[(&str, &str)]) -> Finished {
    let mut command = command(args);
    command
        .arg("--data")
        .arg(data)
        .env("POSTRIDER_REDIS__URL", url)
        .env("POSTRIDER_SECRET_KEY", "cG9zdHJpZGVyIHRlc3RzIHVzZSB0aGlzIHNlY3JldCE=")
        .envs(more.iter().copied());
    finish(command).await
}

#[tokio::test]
async fn a_server_with_the_shipped_settings_is_well() {
    // given
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/redis/redis.conf");
    let server = Private::start(&[file]).await;

    // when
    let said = doctor(&server.url(), &[]).await.with(0);

    // then
    let levels: Vec<&str> = said.out.lines().filter_map(|l| l.split(' ').next()).collect();
    assert_eq!(levels, ["ok", "ok", "ok"], "{said:?}");
    assert!(said.out.contains("every shard can be written to"), "{said:?}");
}

#[tokio::test]
async fn what_would_lose_jobs_is_a_problem_and_the_rest_a_warning() {
    // given a server that evicts, and one that keeps no file
    let evicts = Private::start(&["--maxmemory-policy", "allkeys-lru"]).await;
    let forgets = Private::start(&[]).await;

    // when
    let problem = doctor(&evicts.url(), &[]).await.with(78);
    let warning = doctor(&forgets.url(), &[("POSTRIDER_REDIS__DURABILITY", "replicated")]).await;

    // then each says what was found and what to do
    assert!(problem.out.contains("problem  queue"), "{problem:?}");
    assert!(
        problem.out.contains("got allkeys-lru; set maxmemory-policy noeviction"),
        "{problem:?}"
    );
    assert_eq!(problem.err.trim(), "postrider: 1 problem found");
    let warning = warning.with(0);
    for words in ["set appendonly yes", "no replica is connected", "ok       queue"] {
        assert!(warning.out.contains(words), "{words}: {warning:?}");
    }
}

#[tokio::test]
async fn programs_read_it_as_json() {
    // given a server that keeps no file, and a data directory that is not there
    let server = Private::start(&[]).await;
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");

    // when
    let nowhere = run_in(&data, &["doctor", "--json"], "", &[]).await.with(78).json();
    run_in(&data, &["migrate"], &server.url(), &[]).await.with(0);
    let warned = run_in(&data, &["doctor", "--json"], &server.url(), &[]).await.with(0).json();

    // then
    assert_eq!((&nowhere["ok"], &warned["ok"]), (&false.into(), &true.into()));
    let missing = &nowhere["findings"][1];
    assert_eq!(
        (&missing["level"], &missing["part"]),
        (&"problem".into(), &"data directory".into())
    );
    assert!(missing["what"].as_str().unwrap().contains("postrider up --data"), "{missing}");
    let warning = &warned["findings"][2];
    assert_eq!((&warning["level"], &warning["part"]), (&"warning".into(), &"queue".into()));
    assert_eq!(warning["remedy"], "set appendonly yes and appendfsync everysec");
}

#[tokio::test]
async fn a_server_out_of_reach_and_a_wrong_url_have_codes_of_their_own() {
    // given nobody on a socket, and a URL with a password that is none
    let dir = TempDir::new().unwrap();
    let nobody = format!("redis+unix://{}/nobody", dir.path().display());

    // when
    let away = doctor(&nobody, &[]).await.with(69);
    let data = dir.path().join("data");
    let wrong = run_in(&data, &["doctor"], "http://u:hunter2@h", &[]).await.with(78);

    // then
    assert!(away.out.contains("problem  queue"), "{away:?}");
    assert!(
        wrong.out.contains("redis.url") && wrong.out.contains("expected redis://"),
        "{wrong:?}"
    );
    assert!(!wrong.out.contains("hunter2") && !wrong.err.contains("hunter2"), "{wrong:?}");
}

#[tokio::test]
async fn a_full_server_is_not_called_well() {
    // given a server with the shipped settings that uses more than it may
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/redis/redis.conf");
    let server = Private::start(&[file]).await;
    server.configure("maxmemory", "500kb").await;

    // when
    let said = doctor(&server.url(), &[]).await.with(0);

    // then
    let queue: Vec<&str> = said.out.lines().filter(|line| line.contains("queue")).collect();
    assert!(queue.len() == 1 && queue[0].starts_with("warning"), "{said:?}");
    assert!(queue[0].contains("of its maxmemory, from 80 % on it takes no more jobs"), "{said:?}");
    assert!(said.out.contains("raise maxmemory"), "{said:?}");
}
