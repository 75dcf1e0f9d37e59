//! The crontab file: what it may hold, and every mistake with the name of its entry.

use jobs::contract::resource::Resources;
use postrider::scheduler::{Crontab, Missed};

use super::fakes::{catalogue, entry};

fn mistakes(text: &str) -> String {
    match Crontab::parse("crontab.toml", text, &catalogue(), &Resources::default()) {
        Ok(_) => panic!("it was accepted: {text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn an_entry_says_what_fires_when_and_for_whom() {
    let text = r#"
        [[entries]]
        name = "nightly"
        cron = "30 2 * * mon-fri"
        time_zone = "Europe/Berlin"
        tenant = "acme"
        type = "noop"
        payload = { number = 7 }
        missed = "once"
    "#;
    let crontab =
        Crontab::parse("crontab.toml", text, &catalogue(), &Resources::default()).unwrap();
    let [entry] = crontab.entries() else { panic!("expected one entry") };
    assert_eq!((entry.name.as_str(), entry.tenant.as_str()), ("nightly", "acme"));
    assert_eq!(entry.payload, serde_json::json!({"number": 7}));
    assert_eq!(entry.missed, Missed::Once);
    let next = entry.timetable.next("2026-06-10T12:00:00Z".parse().unwrap()).unwrap();
    assert_eq!(next.to_string(), "2026-06-11T00:30:00.000Z");
}

#[test]
fn nothing_is_a_crontab_of_nothing() {
    assert!(
        Crontab::parse("crontab.toml", "", &catalogue(), &Resources::default())
            .unwrap()
            .entries()
            .is_empty()
    );
}

#[test]
fn every_mistake_names_the_file_and_the_entry() {
    let good = |line: &str| entry("e", "@daily", "skip") + line + "\n";
    let with = |from: &str, to: &str| entry("e", "@daily", "skip").replace(from, to);
    let cases = [
        ("nonsense", "crontab.toml is no crontab".to_owned()),
        (&good("colour = 1"), "entry \"e\": colour: unknown field `colour`".into()),
        (&with("name = \"e\"\n", ""), "entry number 1: missing field `name`".into()),
        (&with("\"e\"", "\"a b\""), "entry \"a b\": name: expected 1 to 64 letters".into()),
        (&with("@daily", "@never"), "entry \"e\": cron: expected five fields".into()),
        (&with("@daily", "0 0 30 2 *"), "entry \"e\": cron: \"0 0 30 2 *\" never comes".into()),
        (
            &good("time_zone = \"Mars\""),
            "entry \"e\": time_zone: expected a name such as Europe/Berlin, got \"Mars\"".into(),
        ),
        (&with("\"dev\"", "\"De v\""), "entry \"e\": tenant: expected a tenant name".into()),
        (
            &with("\"noop\"", "\"nope\""),
            "entry \"e\": type: there is no kind \"nope\"; the kinds are noop".into(),
        ),
        (&with("{}", "{ number = \"x\" }"), "entry \"e\": /payload/number: invalid type".into()),
        (&with("{}", "{ colour = 1 }"), "entry \"e\": /payload".into()),
        (&with("\"skip\"", "\"never\""), "entry \"e\": missed: unknown variant `never`".into()),
        (&(good("") + &good("")), "entry \"e\": tenant dev has another entry of this name".into()),
    ];
    for (text, expected) in cases {
        let said = mistakes(text);
        assert!(said.starts_with("crontab.toml"), "{said}");
        assert!(said.contains(&expected), "expected {expected:?}, got: {said}");
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let text = entry("one", "x", "skip").replace("noop", "nope") + &entry("two", "y", "skip");
    let said = mistakes(&text);
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.contains("entry \"one\": cron") && said.contains("entry \"one\": type"), "{said}");
    assert!(said.contains("entry \"two\": cron"), "{said}");
}

#[test]
fn a_crontab_that_cannot_be_read_is_named() {
    let error =
        Crontab::read("/nowhere/crontab.toml".as_ref(), &catalogue(), &Resources::default())
            .unwrap_err();
    assert!(error.to_string().starts_with("cannot read the crontab /nowhere/crontab.toml"));
}
