//! `apply`: files into the store, each whole or not at all.

use std::{fs, path::PathBuf, sync::Mutex};

use async_trait::async_trait;
use jobs::contract::{TenantId, ports::Suppressions};
use postrider::{
    cli::apply::{self, ApplyArgs, ApplyDeps, ApplyError, SetPolicy},
    clock::SystemClock,
    limits::{Limits, LimitsConfig},
    queue::{LanePolicy, LaneRef, QueueError},
    webhooks::{Guard, SystemResolver},
};
use serde_json::Value;

use super::{Given, acme, dev, on_both};
use crate::support::defaults;

/// Lanes that remember what they may draw on, or a queue that is out of reach.
#[derive(Default)]
struct Lanes {
    set: Mutex<Vec<(String, Vec<String>)>>,
    away: bool,
}

#[async_trait]
impl SetPolicy for Lanes {
    async fn set_policy(&self, lane: &LaneRef, policy: &LanePolicy) -> Result<(), QueueError> {
        if self.away {
            return Err(QueueError::Unavailable("away".into()));
        }
        let labels = policy.limits.iter().map(|limit| limit.label.clone()).collect();
        let name = format!("{}/{}/{}", lane.queue, lane.tenant, lane.name);
        self.set.lock().unwrap().push((name, labels));
        Ok(())
    }
}

/// Writes files into the store's directory and applies them.
struct Files<'a> {
    given: &'a Given,
    lanes: Lanes,
    tenant: TenantId,
    create_tenant: bool,
    skip_invalid: bool,
    json: bool,
}

impl<'a> Files<'a> {
    fn of(given: &'a Given) -> Self {
        let lanes = Lanes::default();
        Self { given, lanes, tenant: dev(), create_tenant: false, skip_invalid: false, json: false }
    }

    async fn apply(&self, files: &[(&str, &str)]) -> Result<String, ApplyError> {
        let write = |(name, text): &(&str, &str)| -> PathBuf {
            let file = self.given.dir.path().join(name);
            fs::write(&file, text).unwrap();
            file
        };
        let args = ApplyArgs {
            files: files.iter().map(write).collect(),
            tenant: self.tenant.clone(),
            create_tenant: self.create_tenant,
            skip_invalid: self.skip_invalid,
        };
        let config = LimitsConfig {
            resource_in_flight: 2,
            mailbox: vec!["9/min".parse().unwrap()],
            mailbox_in_flight: 2,
            endpoint_in_flight: 5,
            tenant_in_flight: 16,
        };
        let limits = Limits::new(config, std::sync::Arc::new(self.given.store.clone()));
        let deps = ApplyDeps {
            store: &self.given.store,
            lanes: &self.lanes,
            limits: &limits,
            guard: &guard(),
            clock: &SystemClock,
            env: &|_| None,
        };
        let mut out = Vec::new();
        apply::run(&args, &deps, self.json, &mut out).await?;
        Ok(String::from_utf8(out).unwrap())
    }
}

fn guard() -> Guard {
    Guard::new(&defaults().webhooks, std::sync::Arc::new(SystemResolver))
}

const SETTINGS: &str = "
[[mailboxes]]
email_address = \"dev@example.com\"
transport = \"file\"

[[mailboxes]]
email_address = \"Ada@example.com\"
transport = \"smtp\"
host = \"smtp.example.com\"
limits = [\"1/s\"]

[[suppressions]]
domain = \"example.net\"
";

on_both! {
    async fn settings_get_to_the_store_and_to_the_lanes(given) {
        let files = Files::of(&given);
        // when
        let said = files.apply(&[("all.toml", SETTINGS)]).await.unwrap();
        // then
        assert!(said.contains("mailboxes: 2 created, 0 updated, 0 unchanged"), "{said}");
        assert!(said.contains("suppressions: 1 created"), "{said}");
        assert!(given.store.find(&dev(), "x@example.net").await.unwrap().is_some());
        let lanes = [
            ("send/dev/mailbox:dev@example.com".to_owned(), vec!["mailbox 9/min".to_owned()]),
            ("send/dev/mailbox:ada@example.com".to_owned(), vec!["mailbox 1/s".to_owned()]),
        ];
        assert_eq!(*files.lanes.set.lock().unwrap(), lanes);

        // when: the same again, and then with a change
        let again = Files { json: true, ..Files::of(&given) };
        let said: Value = serde_json::from_str(&again.apply(&[("all.toml", SETTINGS)]).await.unwrap()).unwrap();
        assert_eq!(said["mailboxes"], serde_json::json!({"created": 0, "updated": 0, "unchanged": 2}));
        assert_eq!(said["changed_mailboxes"], Value::Null);
        let changed = SETTINGS.replace("1/s", "2/s");
        let said: Value = serde_json::from_str(&again.apply(&[("all.toml", &changed)]).await.unwrap()).unwrap();
        // then
        assert_eq!(said["changed_mailboxes"], serde_json::json!(["Ada@example.com"]));
        // Lanes are set each time: an earlier run may not have got to them.
        assert_eq!(again.lanes.set.lock().unwrap().len(), 4);
    }

    async fn a_file_with_a_mistake_changes_nothing_and_earlier_files_stay(given) {
        let files = Files::of(&given);
        let wrong = format!("{SETTINGS}\n[[mailboxes]]\nemail_address = \"nobody\"\ntransport = \"file\"\n");
        let good = "[[mailboxes]]\nemail_address = \"first@example.com\"\ntransport = \"file\"\n";
        // when
        let error = files.apply(&[("good.toml", good), ("wrong.toml", &wrong)]).await.unwrap_err();
        // then
        let ApplyError::Data { total: 1, problems, .. } = &error else { panic!("{error}") };
        assert!(problems[0].starts_with("line 16: mailboxes[2].email_address"), "{problems:?}");
        assert!(error.to_string().contains("wrong.toml: 1 problem found, nothing was changed"), "{error}");
        let stored = given.store.mailboxes(&dev()).await.unwrap();
        assert_eq!(stored.len(), 1);
    }

    async fn a_queue_that_is_away_is_said_and_the_next_run_makes_up_for_it(given) {
        let lanes = Lanes { away: true, ..Lanes::default() };
        let error = Files { lanes, ..Files::of(&given) }.apply(&[("all.toml", SETTINGS)]).await;
        let error = error.unwrap_err();
        assert!(matches!(error, ApplyError::Queue(_)) && error.to_string().contains("applied again"), "{error}");
        let files = Files::of(&given);
        files.apply(&[("all.toml", SETTINGS)]).await.unwrap();
        assert_eq!(files.lanes.set.lock().unwrap().len(), 2);
    }

    async fn people_with_a_wrong_row_are_refused_whole_or_skipped(given) {
        let csv = "email,first_name\nada@x.org,Ada\nbob@,Bob\nADA@x.org,Ada L.\n";
        // when
        let error = Files::of(&given).apply(&[("people.csv", csv)]).await.unwrap_err();
        // then
        let ApplyError::Data { total: 1, problems, .. } = &error else { panic!("{error}") };
        assert!(problems[0].starts_with("line 3: "), "{problems:?}");
        assert_eq!(given.store.count_prospects(&dev()).await.unwrap(), 0);

        // when
        let files = Files { skip_invalid: true, json: true, ..Files::of(&given) };
        let said: Value = serde_json::from_str(&files.apply(&[("people.csv", csv)]).await.unwrap()).unwrap();
        // then
        let people = &said["prospects"];
        let counts = ["created", "updated", "unchanged", "duplicates", "skipped"].map(|key| people[key].as_u64().unwrap());
        assert_eq!(counts, [1, 0, 0, 1, 1]);
        assert!(people["problems"][0].as_str().unwrap().starts_with("line 3: "));
        assert_eq!(given.store.count_prospects(&dev()).await.unwrap(), 1);
    }

    async fn a_wrong_last_row_of_a_long_file_leaves_nothing(given) {
        let rows: String = (0..5_000).map(|n| format!("p{n}@x.org\n")).collect();
        let csv = format!("email\n{rows}nobody\n");
        let error = Files::of(&given).apply(&[("people.csv", &csv)]).await.unwrap_err();
        assert!(error.to_string().contains("line 5002"), "{error}");
        assert_eq!(given.store.count_prospects(&dev()).await.unwrap(), 0);
    }

    async fn a_tenant_is_made_only_when_that_was_said(given) {
        let nowhere: TenantId = "nowhere".parse().unwrap();
        for (name, text) in [("a.toml", SETTINGS), ("a.csv", "email\na@x.org\n")] {
            let files = Files { tenant: nowhere.clone(), ..Files::of(&given) };
            let error = files.apply(&[(name, text)]).await.unwrap_err();
            assert!(error.to_string().contains("no tenant \"nowhere\""), "{error}");
        }
        let files = Files { tenant: nowhere.clone(), create_tenant: true, ..Files::of(&given) };
        files.apply(&[("a.toml", SETTINGS), ("a.csv", "email\na@x.org\n")]).await.unwrap();
        assert_eq!(given.store.count_prospects(&nowhere).await.unwrap(), 1);
        assert_eq!(given.store.count_prospects(&acme()).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn files_that_are_none_are_named() {
    let given = Given::sqlite().await;
    let files = Files::of(&given);
    for (name, expected) in [("a.txt", "ends in .toml or .csv"), ("toml", "ends in .toml or .csv")]
    {
        let error = files.apply(&[(name, "")]).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    fs::create_dir(given.dir.path().join("dir.csv")).unwrap();
    fs::create_dir(given.dir.path().join("dir.toml")).unwrap();
    for name in ["missing.toml", "missing.csv", "dir.toml", "dir.csv"] {
        let args = ApplyArgs {
            files: vec![given.dir.path().join(name)],
            tenant: dev(),
            create_tenant: false,
            skip_invalid: false,
        };
        let config = LimitsConfig {
            resource_in_flight: 2,
            mailbox: vec![],
            mailbox_in_flight: 1,
            endpoint_in_flight: 1,
            tenant_in_flight: 1,
        };
        let deps = ApplyDeps {
            store: &given.store,
            lanes: &files.lanes,
            limits: &Limits::new(config, std::sync::Arc::new(given.store.clone())),
            guard: &guard(),
            clock: &SystemClock,
            env: &|_| None,
        };
        let error = apply::run(&args, &deps, false, &mut Vec::new()).await.unwrap_err();
        assert!(matches!(error, ApplyError::Unreadable { .. }), "{name}: {error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}
