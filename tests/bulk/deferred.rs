//! Constraints that a product's database looks at when a transaction ends.

use serde_json::{Value, json};

use super::desk::{DECLARED, Desk, on_desks};

const LATE: &str = "DEFERRABLE INITIALLY DEFERRED";

/// Tickets whose segment must be there, at the end of each transaction.
async fn segmented(desk: &mut Desk, count: usize) {
    desk.host.execute("CREATE TABLE segments (name TEXT PRIMARY KEY)").await;
    desk.host.execute("INSERT INTO segments VALUES ('vip')").await;
    let column = format!("segment TEXT REFERENCES segments (name) {LATE}");
    desk.host.execute(&format!("ALTER TABLE tickets ADD COLUMN {column}")).await;
    let field = "segment = { type = \"text\", max = 20, null = true }";
    let fields = format!("[resources.fields]\n    {field}");
    desk.declaring(&DECLARED.replacen("[resources.fields]", &fields, 1));
    desk.tickets("dev", count).await;
}

fn items(count: usize, item: impl Fn(usize) -> Value) -> Value {
    let item = |n| json!({"id": format!("t{n:04}"), "update": item(n)});
    let items: Vec<_> = (0..count).map(item).collect();
    json!({"resource": "tickets", "action": "update", "selection": {"mode": "items", "items": items}})
}

fn segment(n: usize) -> &'static str {
    if n == 7 || n == 600 { "nowhere" } else { "vip" }
}

on_desks! {
    async fn a_record_that_breaks_a_deferred_constraint_fails_alone(desk) {
        // given
        segmented(&mut desk, 700).await;
        // when
        let payload = items(700, |n| json!({"segment": segment(n)}));
        assert_eq!(desk.done(1, &payload).await, (700, 2, 700));
        // then
        assert_eq!(desk.host.count("segment = 'vip'").await, 698);
        assert_eq!(desk.host.count("segment IS NULL").await, 2);
        let errors = desk.errors(1).await;
        let told: Vec<_> = errors.iter().map(|(id, code, _)| (id.as_str(), code.as_str())).collect();
        assert_eq!(told, [("t0007", "constraint"), ("t0600", "constraint")]);
        assert!(errors[0].2.contains("what it refers to is not there"), "{errors:?}");
    }

    async fn so_it_does_among_records_that_are_not_there_and_other_columns(desk) {
        segmented(&mut desk, 40).await;
        let payload = items(41, |n| match n % 3 {
            0 => json!({"subject": "fine"}),
            _ => json!({"segment": segment(n)}),
        });
        assert_eq!(desk.done(1, &payload).await, (41, 2, 41));
        let expected = [("t0007".to_owned(), "constraint".to_owned()), ("t0040".into(), "not_found".into())];
        assert_eq!(desk.codes(1).await, expected);
        assert_eq!(desk.host.count("subject = 'fine'").await, 14);
        assert_eq!(desk.host.count("segment = 'vip'").await, 25);
    }

    async fn a_record_that_something_refers_to_is_the_only_one_that_is_not_removed(desk) {
        // given
        let made_at = "'2026-01-01T00:00:00Z'";
        for n in 0..20 {
            desk.host.execute(&format!("INSERT INTO notes VALUES ({n}, 'dev', 'x', {made_at})")).await;
        }
        let marks = format!("CREATE TABLE marks (note BIGINT REFERENCES notes (id) {LATE})");
        desk.host.execute(&marks).await;
        desk.host.execute("INSERT INTO marks VALUES (13)").await;
        // when
        let payload = json!({"resource": "notes", "action": "delete",
            "selection": {"mode": "filter", "filter": {"field": "words", "equals": "x"}}});
        assert_eq!(desk.done(1, &payload).await, (20, 1, 20));
        // then
        assert_eq!(desk.codes(1).await, [("13".into(), "constraint".into())]);
        assert_eq!(desk.host.text("SELECT CAST(id AS TEXT) FROM notes").await, "13");
    }

    async fn what_is_right_at_the_end_may_be_wrong_in_between(desk) {
        // given
        let table = format!("CREATE TABLE segments (name TEXT PRIMARY KEY, organisation TEXT, \
             note TEXT, parent TEXT REFERENCES segments (name) {LATE})");
        desk.host.execute(&table).await;
        let segments = "[[resources]]\n name = \"segments\"\n database = \"desk\"\n table = \"segments\"\n \
             id = \"name\"\n tenant = \"organisation\"\n [resources.fields.parent]\n type = \"text\"\n \
             max = 20\n null = true\n [resources.fields.note]\n type = \"text\"\n null = true\n \
             [resources.actions.upsert]\n";
        desk.declaring(&format!("{DECLARED}\n{segments}"));
        // when two come that are each other's, with columns of their own and so in two statements
        let payload = json!({"resource": "segments", "action": "upsert", "selection": {"mode": "items",
            "items": [{"id": "a", "update": {"parent": "b"}},
                {"id": "b", "update": {"parent": "a", "note": "x"}}]}});
        // then
        assert_eq!(desk.done(1, &payload).await, (2, 0, 2));
        let both = "SELECT CAST(count(*) AS TEXT) FROM segments WHERE parent IN ('a', 'b')";
        assert_eq!(desk.host.text(both).await, "2");
    }
}
