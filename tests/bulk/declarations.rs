//! Declarations: every mistake is named, and so is every difference from the real table.

use postrider::resources::Declarations;

use super::desk::{DECLARED, on_desks};

fn mistakes(text: &str) -> String {
    let env = |name: &str| (name == "DESK").then(|| "sqlite://desk.sqlite".to_owned());
    match Declarations::read("resources.toml", text, &env) {
        Ok(_) => panic!("it was accepted: {text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn postrider_s_own_are_without_a_mistake() {
    let own = Declarations::own().unwrap();
    let names: Vec<_> = own.resources().names().collect();
    assert_eq!(
        names,
        ["dead-jobs", "endpoints", "mailboxes", "prospects", "suppressions", "warmup-settings"]
    );
}

#[test]
fn every_mistake_is_named_with_its_resource() {
    let cases = [
        ("name = \"tickets\"", "name = \"a b\"", "name: expected 1 to 63 letters"),
        ("name = \"tickets\"", "name = \"prospects\"", "name: another resource has it"),
        ("database = \"desk\"", "database = \"store\"", "expected one that this file declares"),
        ("database = \"desk\"", "database = \"desc\"", "there is no [databases.desc]"),
        ("type = \"boolean\"", "type = \"bool\"", "unknown variant `bool`"),
        ("min = 0, max = 1000", "min = 9, max = 1", "fields.priority: min: expected at most max"),
        ("max = 100,", "max = 0,", "fields.subject: max: expected 1 to 65536"),
        ("values = [\"open\", \"closed\", \"suspended\"]", "values = []", "fields.status: values"),
        (
            "set = { status = \"suspended\" }",
            "set = { status = \"x\" }",
            "actions.suspend.set.status",
        ),
        (
            "set = { status = \"suspended\" }",
            "set = { x = 1 }",
            "actions.suspend.set.x: expected one of",
        ),
        ("do = \"update\"", "do = \"explode\"", "expected one of delete, ensure, update, upsert"),
        ("table = \"tickets\"", "table = \"a.b.c\"", "table: expected a name"),
        (
            "soft_delete = \"deleted_at\"",
            "soft_delete = \"a\\\"b\"",
            "soft_delete: expected a name",
        ),
        ("id = \"id\"", "id = { column = \"id\", form = \"job\" }", "id: expected the form job"),
        ("touch = [\"updated_at\"]", "tuch = []", "unknown field `tuch`"),
        (
            "env:DESK",
            "env:OTHER",
            "database \"desk\": url: the environment has no variable \"OTHER\"",
        ),
        ("[databases.desk]", "[databases.queue]", "expected a name other than store and queue"),
    ];
    for (from, to, expected) in cases {
        let said = mistakes(&DECLARED.replacen(from, to, 1));
        assert!(said.starts_with("resources.toml: "), "{said}");
        assert!(said.contains(expected), "{to}: {expected:?} is not in: {said}");
    }
    // Nor is anything said of the resources in a database that is there, and whose URL is not.
    let said = mistakes(&DECLARED.replacen("env:DESK", "env:OTHER", 1));
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_url_is_never_repeated() {
    let secret = "postgres://u:hunter2@h:notaport/d";
    let text = DECLARED.replace("env:DESK", secret);
    let declared = Declarations::read("resources.toml", &text, &|_| None).unwrap();
    let error = postrider::store::records::Hosts::new(declared.databases()).err().unwrap();
    assert!(error.starts_with("database desk: expected postgres://"), "{error}");
    assert!(!error.contains("hunter2") && !format!("{declared:?}").contains("hunter2"));
    let broken = mistakes("[databases.desk]\nurl = \"postgres://u:hunter2@h/d\" x");
    assert!(broken.contains("line 2") && !broken.contains("hunter2"), "{broken}");
}

on_desks! {
    async fn every_difference_from_the_real_table_is_named(desk) {
        let cases = [
            ("table = \"tickets\"", "table = \"tikets\"", "there is no table tikets of database desk"),
            ("column = \"due_at\"", "column = \"due\"", "field \"due\": table tickets of database desk has no column \"due\""),
            ("tenant = \"organisation\"", "tenant = \"org\"", "tenant: table tickets of database desk has no column \"org\""),
            ("status = { type = \"enum\", values = [\"open\", \"closed\", \"suspended\"] }",
             "status = { type = \"enum\", values = [\"open\", \"closed\", \"suspended\"], null = true }",
             "field \"status\": column \"status\" is NOT NULL: expected null = false"),
            ("score = { type = \"number\"", "score = { type = \"integer\"", "field \"score\": column \"score\" is"),
            ("priority = { type = \"integer\", min = 0, max = 1000", "priority = { type = \"uuid\"", "does not hold the declared type"),
            ("stored = \"milliseconds\", ", "", "expected stored = \"milliseconds\""),
            ("id = \"id\"", "id = \"updated_at\"", "id: \"updated_at\" is not unique"),
            ("touch = [\"updated_at\"]", "touch = [\"touched\"]", "touch: table tickets of database desk has no column \"touched\""),
            ("soft_delete = \"deleted_at\"", "soft_delete = \"urgent\"", "soft_delete: column \"urgent\" is"),
            ("insert = { made_at = \"$now\" }", "insert = {}", "insert: a new record needs \"made_at\""),
        ];
        for (from, to, expected) in cases {
            desk.declaring(&DECLARED.replacen(from, to, 1));
            let compared = desk.compared().await;
            assert!(compared.away.is_empty(), "{compared:?}");
            let found = compared.mismatches.iter().any(|words| words.contains(expected));
            assert!(found, "{to}: {expected:?} is not in: {:#?}", compared.mismatches);
        }
    }
}

#[tokio::test]
async fn a_text_that_is_longer_than_its_column_is_named() {
    let mut desk = super::desk::Desk::pg().await;
    desk.declaring(&DECLARED.replacen("max = 20,", "max = 21,", 1));
    let words = desk.compared().await.mismatches.join("\n");
    assert!(
        words.contains("character varying(20)") && words.contains("max = 20 or less"),
        "{words}"
    );
}
