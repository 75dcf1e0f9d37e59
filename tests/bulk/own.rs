//! Postrider's own records, and the account in the same transaction.

use std::sync::Arc;

use futures::{FutureExt, future::ready};
use jobs::contract::{
    Moment, Stop,
    ports::{Account, Change, Chunk, EndpointStatus, Endpoints, Mailboxes, Records, Suppressions},
};
use serde_json::{Value, json};

use super::desk::on_desks;
use crate::store::{NOW, acme, dev, endpoints::crm, run};

fn job(resource: &str, ids: Value, action: &str, update: Value) -> Value {
    let selection = json!({"mode": "ids"});
    let mut payload = json!({"resource": resource, "selection": selection, "action": action});
    payload["selection"]["ids"] = ids;
    payload["update"] = update;
    payload
}

on_desks! {
    async fn declarations_are_what_the_store_has(desk) {
        let compared = desk.compared().await;
        assert_eq!((compared.mismatches, compared.away), (Vec::<String>::new(), Vec::<String>::new()));
    }

    async fn addresses_and_domains_are_suppressed_and_restored(desk) {
        let store = desk.given.store.clone();
        store.add(&dev(), "old@example.org", "hard_bounce", NOW).await.unwrap();
        store.add(&acme(), "theirs@example.org", "manual", NOW).await.unwrap();
        // when
        let ids = json!(["Ada@Example.org", "@example.net", "old@example.org", "no address"]);
        let suppress = job("suppressions", ids, "suppress", json!({}));
        assert_eq!(desk.done(1, &suppress).await, (4, 1, 4));
        // then the first reason stays
        let reason = |email: &'static str| {
            let store = store.clone();
            async move { Suppressions::find(&store, &dev(), email).await.unwrap().map(|s| s.reason) }
        };
        assert_eq!(reason("ada@example.org").await.as_deref(), Some("manual"));
        assert_eq!(reason("bob@example.net").await.as_deref(), Some("manual"));
        assert_eq!(reason("old@example.org").await.as_deref(), Some("hard_bounce"));
        assert_eq!(desk.codes(1).await, [("no address".into(), "invalid_id".into())]);
        // when
        let ids = json!(["ada@example.org", "theirs@example.org"]);
        let restore = job("suppressions", ids, "restore", json!({}));
        assert_eq!(desk.done(2, &restore).await, (2, 1, 2));
        // then
        assert_eq!(reason("ada@example.org").await, None);
        let theirs = Suppressions::find(&store, &acme(), "theirs@example.org").await.unwrap();
        assert!(theirs.is_some());
    }

    async fn prospects_are_made_changed_and_removed(desk) {
        let store = desk.given.store.clone();
        let ids: Vec<_> = (0..1_100).map(|n| format!("P{n}@example.org")).collect();
        let update = json!({"company": "Ours", "first_name": "Ada"});
        let made = job("prospects", json!(ids), "upsert", update);
        assert_eq!(desk.done(1, &made).await, (1_100, 0, 1_100));
        assert_eq!(store.count_prospects(&dev()).await.unwrap(), 1_100);
        let filter = json!({"resource": "prospects", "action": "update",
            "update": {"company": null, "last_name": "L"},
            "selection": {"mode": "filter", "filter": {"field": "company", "equals": "Ours"}}});
        assert_eq!(desk.done(2, &filter).await, (1_100, 0, 1_100));
        let one = store.prospects(&dev(), Some("p0@example"), 1).await.unwrap().remove(0);
        assert_eq!(one.email, "P0@example.org");
        assert_eq!((one.company, one.last_name.as_deref()), (None, Some("L")));
        let remove = json!({"resource": "prospects", "action": "delete",
            "selection": {"mode": "filter", "filter": {"field": "last_name", "equals": "L"}}});
        assert_eq!(desk.done(3, &remove).await, (1_100, 0, 1_100));
        assert_eq!(store.count_prospects(&dev()).await.unwrap(), 0);
    }

    async fn mailboxes_are_suspended_and_resumed(desk) {
        let store = desk.given.store.clone();
        let mailbox = postrider::store::MailboxSettings::file("dev@example.com");
        store.apply(&dev(), &[mailbox], &[], &[], NOW).await.unwrap();
        let status = || async {
            Mailboxes::find(&store, &dev(), "dev@example.com").await.unwrap().unwrap().status
        };
        let before = status().await;
        let job_of = |action| job("mailboxes", json!(["Dev@Example.com"]), action, json!({}));
        assert_eq!(desk.done(1, &job_of("suspend")).await, (1, 0, 1));
        assert_ne!(status().await, before);
        assert_eq!(desk.done(2, &job_of("resume")).await, (1, 0, 1));
        assert_eq!(status().await, before);
        // when it is disabled because logins are refused, then that is forgotten, too
        for _ in 0..postrider::store::LOGINS_REFUSED_AT_MOST {
            store.login_refused(&dev(), "dev@example.com", "535 no").await.unwrap();
        }
        assert_ne!(status().await, before);
        assert_eq!(desk.done(3, &job_of("resume")).await, (1, 0, 1));
        assert_eq!(status().await, before);
    }

    async fn endpoints_are_suspended_and_resumed_with_their_health_forgotten(desk) {
        let store = desk.given.store.clone();
        store.apply(&dev(), &[], &[], &[crm()], NOW).await.unwrap();
        let job_of = |action| job("endpoints", json!(["crm", "none"]), action, json!({}));
        assert_eq!(desk.done(1, &job_of("suspend")).await, (2, 1, 2));
        let status = || async { Endpoints::find(&store, &dev(), "crm").await.unwrap().unwrap() };
        assert!(matches!(status().await.status, EndpointStatus::Disabled(_)));
        store.open_circuit(&dev(), "crm", NOW).await.unwrap();
        assert_eq!(desk.done(2, &job_of("resume")).await, (2, 1, 2));
        assert_eq!(status().await.status, EndpointStatus::Enabled);
        assert_eq!(status().await.circuit_until, None);
    }

    async fn a_run_that_lost_the_account_changes_no_record_of_ours(desk) {
        // given
        let suppress = job("suppressions", json!(["ada@example.org"]), "suppress", json!({}));
        let resource = desk.keeper().resource("suppressions").unwrap();
        let action = Arc::new(resource.actions["suppress"].clone());
        let account = desk.keeper().open(&run(1, 1), &resource, Some(1)).await.unwrap();
        // when a later run has taken the account over
        desk.keeper().open(&run(1, 2), &resource, Some(1)).await.unwrap();
        let fields = Arc::new(action.set.clone());
        let (id, given) = ("ada@example.org".to_owned(), "ada@example.org".to_owned());
        let changes = vec![Change { ordinal: 0, id, given, fields }];
        let chunk = Chunk { action, changes, refused: Vec::new(), position: None,
            at: Moment::from_millis(0) };
        let changed = desk.keeper().change(&run(1, 1), &resource, ready(Ok(account)).boxed(), chunk).await;
        // then
        assert!(changed.unwrap_err().to_string().contains("lease_lost"));
        assert_eq!(Suppressions::find(&desk.given.store, &dev(), "ada@example.org").await.unwrap(), None);
        // and the later run does it once
        desk.run_as(run(1, 2), &suppress).await.unwrap();
        assert!(matches!(desk.run_as(run(1, 1), &suppress).await, Err(Stop::Retry { .. })));
    }

    async fn a_run_goes_on_where_the_account_says(desk) {
        // given a job of which one chunk is done
        let ids: Vec<_> = (0..900).map(|n| format!("p{n}@example.org")).collect();
        let payload = job("suppressions", json!(ids), "suppress", json!({}));
        let resource = desk.keeper().resource("suppressions").unwrap();
        desk.keeper().open(&run(1, 1), &resource, Some(900)).await.unwrap();
        desk.given.jump(500).await;
        // when
        desk.run_as(run(1, 2), &payload).await.unwrap();
        // then nothing of it was done again
        let first = Suppressions::find(&desk.given.store, &dev(), "p499@example.org").await.unwrap();
        let second = Suppressions::find(&desk.given.store, &dev(), "p500@example.org").await.unwrap();
        assert!(first.is_none() && second.is_some());
        let done: Account = desk.keeper().open(&run(1, 3), &resource, None).await.unwrap();
        assert_eq!((done.processed, done.total), (900, Some(900)));
    }

    async fn accounts_and_errors_are_pruned_with_their_jobs(desk) {
        let payload = job("suppressions", json!(["x", "y@example.org"]), "suppress", json!({}));
        desk.done(1, &payload).await;
        assert_eq!(desk.codes(1).await.len(), 1);
        let store = &desk.given.store;
        assert_eq!(store.prune_accounts(Moment::from_millis(0), 5).await.unwrap(), 0);
        let later = Moment::from_millis(i64::MAX / 2);
        assert_eq!(store.prune_accounts(later, 5).await.unwrap(), 1);
        assert_eq!(desk.codes(1).await, []);
    }
}
