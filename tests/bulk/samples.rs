//! The sample of a product: what it declares is what its database has, on SQLite and on Postgres.

use serde_json::{Value, json};

use super::desk::on_desks;

const DATABASE: &str = include_str!("../../config/samples/desk.sql");
const RESOURCES: &str = include_str!("../../config/samples/resources.toml");

fn by_ids(resource: &str, ids: &[&str], action: &str, update: &Value) -> Value {
    json!({"resource": resource, "selection": {"mode": "ids", "ids": ids},
        "action": action, "update": update})
}

on_desks! {
    async fn the_sample_fits_and_each_of_its_actions_does_what_it_says(desk) {
        // given the sample in place of the tests' own product
        desk.host.execute("DROP TABLE tickets; DROP TABLE notes").await;
        desk.host.execute(DATABASE).await;
        desk.declaring(&RESOURCES.replace("DESK_DATABASE_URL", "DESK"));
        let compared = desk.compared().await;
        assert_eq!((compared.mismatches.len(), compared.away.len()), (0, 0), "{compared:?}");
        // when a ticket is closed, and put out of sight
        let closed = json!({"status": "closed", "assignee": null});
        assert_eq!(desk.done(1, &by_ids("tickets", &["t-101", "t-901"], "update", &closed)).await, (2, 1, 2));
        assert_eq!(desk.done(2, &by_ids("tickets", &["t-101"], "delete", &json!({}))).await, (1, 0, 1));
        // then it is found again only after it was restored
        let urgent = by_ids("tickets", &["t-101"], "update", &json!({"priority": 4}));
        assert_eq!(desk.done(3, &urgent).await, (1, 1, 1));
        assert_eq!(desk.done(4, &by_ids("tickets", &["t-101"], "restore", &json!({}))).await, (1, 0, 1));
        assert_eq!(desk.done(5, &urgent).await, (1, 0, 1));
        let whole = "id = 't-101' AND status = 'closed' AND assignee IS NULL AND priority = 4 \
            AND deleted_at IS NULL AND updated_at IS NOT NULL";
        assert_eq!(desk.host.count(whole).await, 1);
        // when contacts are made and changed, a conversation handed on, an organisation suspended
        let made = json!({"name": "Emmy Noether", "segment": "new", "subscribed": false});
        assert_eq!(desk.done(6, &by_ids("contacts", &["c-emmy", "c-ada"], "upsert", &made)).await, (2, 0, 2));
        let handed = json!({"agent": "alan"});
        assert_eq!(desk.done(7, &by_ids("conversations", &["v-1"], "reroute", &handed)).await, (1, 0, 1));
        let open = json!({"note": "The invoice of May is open"});
        assert_eq!(desk.done(8, &by_ids("organisations", &["o-lisp"], "suspend", &open)).await, (1, 0, 1));
        // then all of it is in the product's own tables
        for (expected, sql) in [
            ("2", "SELECT CAST(count(*) AS TEXT) FROM contacts WHERE segment = 'new' AND NOT subscribed"),
            ("GB", "SELECT country FROM contacts WHERE id = 'c-ada'"),
            ("alan", "SELECT agent FROM conversations WHERE id = 'v-1'"),
            ("suspended", "SELECT status FROM organisations WHERE id = 'o-lisp'"),
        ] {
            assert_eq!(desk.host.text(sql).await, expected, "{sql}");
        }
        assert_eq!(desk.done(9, &by_ids("organisations", &["o-lisp"], "resume", &json!({}))).await, (1, 0, 1));
        let note = "SELECT coalesce(note, status) FROM organisations WHERE id = 'o-lisp'";
        assert_eq!(desk.host.text(note).await, "active");
    }
}
