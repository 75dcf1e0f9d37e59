//! Records in a product's database.

use jobs::contract::{
    Stop,
    ports::{Records, Search},
};
use serde_json::{Value, json};

use super::desk::on_desks;
use crate::store::run;

pub(super) fn by_ids(ids: &[&str], action: &str, update: Value) -> Value {
    let selection = json!({"mode": "ids", "ids": ids});
    let mut payload = json!({"resource": "tickets", "selection": selection, "action": action});
    payload["update"] = update;
    payload
}

fn by_items(items: Value, action: &str) -> Value {
    let selection = json!({"mode": "items"});
    let mut payload = json!({"resource": "tickets", "selection": selection, "action": action});
    payload["selection"]["items"] = items;
    payload
}

on_desks! {
    async fn every_type_is_written_merged_and_cleared(desk) {
        // given
        desk.tickets("dev", 3).await;
        let all = json!({"status": "closed", "priority": 7, "subject": "O'Hara \"x\" ✓", "urgent": true,
            "due": "2026-06-10T11:00:00+02:00", "meta": {"a": [1, null]}, "score": 0.5});
        // when
        assert_eq!(desk.done(1, &by_ids(&["t0000", "t0001"], "update", all)).await, (2, 0, 2));
        // then
        let read = |what: &str| format!("SELECT CAST({what} AS TEXT) FROM tickets WHERE id = 't0001'");
        assert_eq!(desk.host.text(&read("status")).await, "closed");
        assert_eq!(desk.host.text(&read("priority")).await, "7");
        assert_eq!(desk.host.text(&read("subject")).await, "O'Hara \"x\" ✓");
        assert_eq!(desk.host.text(&read("score")).await, "0.5");
        assert!(["1", "true"].contains(&desk.host.text(&read("urgent")).await.as_str()));
        assert!(desk.host.text(&read("due_at")).await.starts_with("2026-06-10"));
        let meta = desk.host.text(&read("meta")).await;
        assert_eq!(serde_json::from_str::<Value>(&meta).unwrap(), json!({"a": [1, null]}));
        assert_ne!(desk.host.text(&read("updated_at")).await, "NULL");
        assert_eq!(desk.host.count("id = 't0002' AND updated_at IS NULL").await, 1);
        // when some is cleared, then the rest stays
        let clear = json!({"subject": null, "due": null, "meta": null, "urgent": null});
        desk.done(2, &by_ids(&["t0001"], "update", clear)).await;
        let left = "subject IS NULL AND due_at IS NULL AND meta IS NULL AND urgent IS NULL \
            AND status = 'closed' AND priority = 7";
        assert_eq!(desk.host.count(left).await, 1);
    }

    async fn a_record_of_another_tenant_is_not_found_and_not_touched(desk) {
        desk.tickets("dev", 1).await;
        desk.tickets("acme", 2).await;
        let payload = by_ids(&["t0000", "t0001"], "update", json!({"priority": 50}));
        assert_eq!(desk.done(1, &payload).await, (2, 1, 2));
        assert_eq!(desk.codes(1).await, [("t0001".into(), "not_found".into())]);
        assert_eq!(desk.host.count("organisation = 'acme' AND priority = 50").await, 0);
        // Not by a filter either, and not by what is made.
        let filter = json!({"resource": "tickets", "action": "update", "update": {"priority": 51},
            "selection": {"mode": "filter", "filter": {"field": "status", "is_null": false}}});
        assert_eq!(desk.done(2, &filter).await, (1, 0, 1));
        assert_eq!(desk.host.count("organisation = 'acme' AND priority >= 50").await, 0);
    }

    async fn items_have_changes_of_their_own_in_their_order(desk) {
        // given
        desk.tickets("dev", 1_200).await;
        let mut items: Vec<_> = (0..1_200)
            .map(|n| match n % 3 {
                0 => json!({"id": format!("t{n:04}"), "update": {"priority": 50}}),
                1 => json!({"id": format!("t{n:04}"), "update": {"subject": "one", "priority": null}}),
                _ => json!({"id": format!("t{n:04}"), "update": {"urgent": true}}),
            })
            .collect();
        items.push(json!({"id": "t0000", "update": {"priority": 1}}));
        items.push(json!({"id": "t0000", "update": {"priority": 2}}));
        // when
        assert_eq!(desk.done(1, &by_items(json!(items), "update")).await, (1_202, 0, 1_202));
        // then
        assert_eq!(desk.host.count("priority = 50 AND id <> 't0050' AND id NOT LIKE 't__50'").await, 395);
        assert_eq!(desk.host.count("subject = 'one' AND priority IS NULL").await, 400);
        assert_eq!(desk.host.count("urgent").await, 400);
        assert_eq!(desk.host.count("id = 't0000' AND priority = 2").await, 1);
    }

    async fn records_are_made_ensured_and_removed(desk) {
        let notes = |ids: Value, action: &str, update: Value| json!({"resource": "notes",
            "selection": {"mode": "ids", "ids": ids}, "action": action, "update": update});
        desk.host.execute("INSERT INTO notes VALUES (3, 'acme', 'theirs', '2026-01-01T00:00:00Z')").await;
        // when made
        let made = notes(json!([1, 2, 3]), "upsert", json!({"words": "a"}));
        assert_eq!(desk.done(1, &made).await, (3, 1, 3));
        assert_eq!(desk.codes(1).await, [("3".into(), "not_found".into())]);
        // when made again with other words, then it is changed, and theirs is not
        assert_eq!(desk.done(2, &notes(json!([1]), "upsert", json!({"words": "b"}))).await, (1, 0, 1));
        assert_eq!(desk.done(3, &notes(json!([1, 9]), "ensure", json!({}))).await, (2, 0, 2));
        let words = "SELECT coalesce(words, '-') FROM notes ORDER BY id";
        let words: Vec<_> = desk.host.texts(words).await.into_iter().flatten().collect();
        assert_eq!(words, ["b", "a", "theirs", "-"]);
        // when removed, then theirs stays
        assert_eq!(desk.done(4, &notes(json!([1, 2, 3, "x"]), "delete", json!({}))).await, (4, 2, 4));
        let expected = [("3".to_owned(), "not_found".to_owned()), ("x".into(), "invalid_id".into())];
        let mut codes = desk.codes(4).await;
        codes.sort();
        assert_eq!(codes, expected);
        assert_eq!(desk.host.texts("SELECT words FROM notes").await.len(), 2);
    }

    async fn what_is_deleted_softly_is_not_found_until_it_is_restored(desk) {
        desk.tickets("dev", 2).await;
        assert_eq!(desk.done(1, &by_ids(&["t0000"], "delete", json!({}))).await, (1, 0, 1));
        let deleted = "SELECT CAST(deleted_at AS TEXT) FROM tickets WHERE id = 't0000'";
        let first = desk.host.text(deleted).await;
        assert_ne!(first, "NULL");
        // when it is deleted again, then the first moment stays
        assert_eq!(desk.done(2, &by_ids(&["t0000"], "delete", json!({}))).await, (1, 0, 1));
        assert_eq!(desk.host.text(deleted).await, first);
        // then it is not there for anything but its restoration
        let update = by_ids(&["t0000"], "update", json!({"priority": 9}));
        assert_eq!(desk.done(3, &update).await, (1, 1, 1));
        let filter = json!({"resource": "tickets", "action": "update", "update": {"priority": 9},
            "selection": {"mode": "filter", "filter": {"field": "status", "is_null": false}}});
        assert_eq!(desk.done(4, &filter).await, (1, 0, 1));
        assert_eq!(desk.done(5, &by_ids(&["t0000"], "restore", json!({}))).await, (1, 0, 1));
        assert_eq!(desk.done(6, &update).await, (1, 0, 1));
    }

    async fn what_is_deleted_softly_is_restored_by_a_filter(desk) {
        // given
        desk.tickets("dev", 1_200).await;
        desk.tickets("acme", 1).await;
        desk.host.execute("UPDATE tickets SET deleted_at = 1000 WHERE id < 't1100'").await;
        let by = |filter: Value| json!({"resource": "tickets", "action": "restore",
            "selection": {"mode": "filter", "filter": filter}});
        // when some are asked for by when they were deleted, and then all
        let since = json!({"field": "deleted", "from": "2026-01-01T00:00:00Z"});
        assert_eq!(desk.done(1, &by(since)).await, (0, 0, 0));
        let open = json!({"and": [{"field": "status", "equals": "open"},
            {"field": "deleted", "to": "2026-01-01T00:00:00Z"}]});
        assert_eq!(desk.done(2, &by(open)).await, (550, 0, 550));
        let deleted = json!({"field": "deleted", "is_null": false});
        assert_eq!(desk.done(3, &by(deleted)).await, (550, 0, 550));
        // then they are there again, and another tenant's is not
        assert_eq!(desk.host.count("deleted_at IS NULL").await, 1_200);
        // and what does not restore finds no deleted ones
        desk.host.execute("UPDATE tickets SET deleted_at = 1000 WHERE id = 't0000'").await;
        let update = json!({"resource": "tickets", "action": "update", "update": {"priority": 9},
            "selection": {"mode": "filter", "filter": {"field": "deleted", "is_null": false}}});
        assert_eq!(desk.done(4, &update).await, (0, 0, 0));
    }

    async fn the_last_moment_of_all_is_stored_and_found(desk) {
        desk.tickets("dev", 2).await;
        let due = json!({"due": "9999-12-31T23:59:59Z", "meta": "say \\u0000 literally"});
        assert_eq!(desk.done(1, &by_ids(&["t0000"], "update", due)).await, (1, 0, 1));
        let meta = desk.host.text("SELECT CAST(meta AS TEXT) FROM tickets WHERE id = 't0000'").await;
        assert_eq!(serde_json::from_str::<Value>(&meta).unwrap(), json!("say \\u0000 literally"));
        let found = json!({"resource": "tickets", "action": "suspend", "selection": {"mode": "filter",
            "filter": {"field": "due", "from": "9999-12-31T23:59:59Z"}}});
        assert_eq!(desk.done(2, &found).await, (1, 0, 1));
    }

    async fn an_action_of_the_product_s_own_sets_what_it_says(desk) {
        desk.tickets("dev", 3).await;
        assert_eq!(desk.done(1, &by_ids(&["t0000", "t0002"], "suspend", json!({}))).await, (2, 0, 2));
        assert_eq!(desk.host.count("status = 'suspended'").await, 2);
    }

    async fn a_record_that_the_database_refuses_fails_alone_and_nothing_is_told_of_others(desk) {
        // given
        desk.tickets("dev", 600).await;
        desk.host.execute("UPDATE tickets SET reference = 'hunter2' WHERE id = 't0599'").await;
        let items: Vec<_> = (0..550)
            .map(|n| match n {
                7 => json!({"id": "t0007", "update": {"reference": "hunter2"}}),
                300 => json!({"id": "t0300", "update": {"priority": 100}}),
                n => json!({"id": format!("t{n:04}"), "update": {"subject": "fine"}}),
            })
            .collect();
        // when
        assert_eq!(desk.done(1, &by_items(json!(items), "update")).await, (550, 2, 550));
        // then
        assert_eq!(desk.host.count("subject = 'fine'").await, 548);
        let errors = desk.errors(1).await;
        let told: Vec<_> = errors.iter().map(|(id, code, _)| (id.as_str(), code.as_str())).collect();
        assert_eq!(told, [("t0007", "constraint"), ("t0300", "constraint")]);
        assert!(errors[0].2.contains("another record has this value"), "{errors:?}");
        assert!(!errors.iter().any(|(_, _, words)| words.contains("hunter2")), "{errors:?}");
    }

    async fn a_column_that_is_gone_ends_the_job_and_is_named(desk) {
        desk.tickets("dev", 3).await;
        let payload = by_ids(&["t0000"], "update", json!({"subject": "x"}));
        desk.done(1, &payload).await;
        desk.host.execute("ALTER TABLE tickets DROP COLUMN subject").await;
        let Err(Stop::Cancel { cause }) = desk.run_as(run(2, 1), &payload).await else { panic!() };
        assert_eq!(cause.code, "table_changed");
        assert!(cause.message.contains("has no column \"subject\""), "{}", cause.message);
        // when it is back, then the same job goes on
        desk.host.execute("ALTER TABLE tickets ADD COLUMN subject TEXT").await;
        desk.run_as(run(2, 2), &payload).await.unwrap();
        assert_eq!(desk.host.count("subject = 'x'").await, 1);
    }

    async fn a_run_whose_account_is_a_later_run_s_changes_nothing(desk) {
        // given
        desk.tickets("dev", 1).await;
        let resource = desk.keeper().resource("tickets").unwrap();
        desk.keeper().open(&run(1, 7), &resource, Some(1)).await.unwrap();
        // when
        let payload = by_ids(&["t0000"], "update", json!({"priority": 77}));
        let outcome = desk.run_as(run(1, 6), &payload).await;
        // then
        let is_lost = matches!(&outcome, Err(Stop::Retry { cause, .. }) if cause.code == "lease_lost");
        assert!(is_lost, "{outcome:?}");
        assert_eq!(desk.host.count("priority = 77").await, 0);
    }

    async fn a_chunk_that_was_done_and_not_known_to_be_is_counted_as_done(desk) {
        // given a run that ended after it had removed records, and before it wrote that down
        for n in 0..700 {
            let sql = format!("INSERT INTO notes VALUES ({n}, 'dev', 'x', '2026-01-01T00:00:00Z')");
            desk.host.execute(&sql).await;
        }
        let payload = json!({"resource": "notes", "action": "delete",
            "selection": {"mode": "filter", "filter": {"field": "words", "equals": "x"}}});
        let resource = desk.keeper().resource("notes").unwrap();
        let first = run(1, 1);
        let account = desk.keeper().open(&first, &resource, Some(700)).await.unwrap();
        let filter = jobs::contract::resource::Filter::read(
            &payload["selection"]["filter"], "").unwrap();
        let (action, fields) = (&resource.actions["delete"], &Default::default());
        let search = Search { resource: &resource, filter: &filter, action, fields };
        let ids = desk.keeper().page(&first.tenant, &search, None, 500).await.unwrap();
        assert_eq!((ids.len(), ids[0].as_str()), (500, "0"));
        let planned = json!({"ids": ids, "at": "2026-06-10T09:00:00Z"});
        desk.given.plan(&planned.to_string()).await;
        desk.host.execute("DELETE FROM notes WHERE id < 500").await;
        assert_eq!(account.processed, 0);
        // when the next run goes on
        desk.run_as(run(1, 2), &payload).await.unwrap();
        // then all are counted, and none is left
        let cursor = desk.fakes.progress.cursor(first.job).unwrap();
        assert_eq!((cursor.processed, cursor.failed, cursor.total), (700, 0, 700));
        assert!(desk.host.texts("SELECT words FROM notes").await.is_empty());
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_for_and_the_account_kept() {
    // given
    let mut desk = super::desk::Desk::lite().await;
    desk.tickets("dev", 1).await;
    let there = desk.dir.path().join("desk.sqlite");
    let elsewhere = desk.dir.path().join("gone.sqlite");
    std::fs::rename(&there, &elsewhere).unwrap();
    desk.declaring(super::desk::DECLARED);
    // when
    let payload = by_ids(&["t0000"], "update", json!({"priority": 9}));
    let outcome = desk.run_as(run(1, 1), &payload).await;
    // then
    let is_away =
        matches!(&outcome, Err(Stop::Retry { cause, .. }) if cause.code == "records_unavailable");
    assert!(is_away, "{outcome:?}");
    assert_eq!(desk.compared().await.away.len(), 2);
    std::fs::rename(&elsewhere, &there).unwrap();
    desk.run_as(run(1, 2), &payload).await.unwrap();
    assert_eq!(desk.host.count("priority = 9").await, 1);
}
