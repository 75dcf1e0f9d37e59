use std::collections::BTreeMap;

use futures::executor::block_on;
use proptest::prelude::{Strategy, any, prop, proptest};
use serde_json::{Value, json};

use super::*;
use crate::contract::{
    Done, Kind, Stop,
    fakes::Fakes,
    ports::Format,
    resource::{Action, ChangeEvent, Field, FieldType, IdForm, Per, Resource, Takes},
};

fn field(kind: FieldType, null: bool) -> Field {
    Field { kind, null, change: true }
}

fn action(deed: &str, needs_fields: bool) -> (String, Action) {
    let takes = if deed == "delete" { Takes::These(Default::default()) } else { Takes::All };
    (deed.to_owned(), Action { deed: deed.to_owned(), set: Fields::new(), takes, needs_fields })
}

fn tickets() -> Resource {
    let mut actions: BTreeMap<String, Action> =
        [action("update", true), action("upsert", true), action("delete", false)].into();
    let set = [("status".to_owned(), json!("suspended"))].into_iter().collect();
    let takes = Takes::These(["note".to_owned()].into());
    let suspend = Action { deed: "update".into(), set, takes, needs_fields: false };
    actions.insert("suspend".into(), suspend);
    let status = ["open", "closed", "suspended"].map(str::to_owned).to_vec();
    let fields = [
        ("status".to_owned(), field(FieldType::Enum(status), false)),
        ("priority".to_owned(), field(FieldType::Integer { min: 0, max: 9 }, true)),
        ("note".to_owned(), field(FieldType::Text { max: Some(20) }, true)),
        ("made".to_owned(), Field { change: false, ..field(FieldType::Text { max: None }, true) }),
    ];
    Resource {
        name: "tickets".into(),
        id: IdForm::Text,
        fields: fields.into(),
        actions,
        event: None,
    }
}

fn row(priority: i64) -> Fields {
    [("status".to_owned(), json!("open")), ("priority".to_owned(), json!(priority))]
        .into_iter()
        .collect()
}

/// Records `t0000` and on, every other one of priority 1.
fn given(count: usize, change: impl FnOnce(&mut Resource)) -> Fakes {
    let fakes = Fakes::default();
    let mut resource = tickets();
    change(&mut resource);
    fakes.records.declare(resource);
    for n in 0..count {
        fakes.records.put(&format!("t{n:04}"), row(i64::from(n % 2 == 1)));
    }
    fakes
}

fn job(payload: Value) -> BulkUpdate {
    serde_json::from_value(payload).unwrap()
}

fn problems(payload: &Value) -> Vec<(String, &'static str)> {
    let declared = Resources::new([std::sync::Arc::new(tickets())]);
    let found = Kind::of::<BulkUpdate>().check(payload, &declared).err().unwrap_or_default();
    found.into_iter().map(|problem| (problem.pointer, problem.code)).collect()
}

/// Runs until a run comes to its own end, each under the next fence.
fn run_to_the_end(fakes: &Fakes, payload: &Value, ends: &[u32]) -> Outcome {
    let mut ends = ends.iter();
    for fence in 1_u64.. {
        if let Some(steps) = ends.next() {
            fakes.records.end_after(*steps);
        }
        let outcome = block_on(job(payload.clone()).perform(&fakes.context(1, fence)));
        match &outcome {
            Err(Stop::Retry { cause, .. }) if cause.code == "vanished" => {}
            _ => return outcome,
        }
    }
    unreachable!("fences do not end")
}

fn cursor(fakes: &Fakes) -> (u64, u64, u64) {
    let cursor = fakes.progress.cursor(fakes.context(1, 1).info().job).unwrap();
    (cursor.processed, cursor.failed, cursor.total)
}

#[test]
fn what_is_wrong_with_a_payload_is_pointed_at() {
    let ids = json!({"mode": "ids", "ids": ["t1"]});
    let cases = [
        (json!({"resource": "tickets", "selection": ids, "action": "delete"}), None),
        (
            json!({"resource": "x", "selection": ids, "action": "delete"}),
            Some(("/resource", "unknown_resource")),
        ),
        (
            json!({"resource": "tickets", "selection": ids, "action": "explode"}),
            Some(("/action", "unknown_action")),
        ),
        (
            json!({"resource": "tickets", "selection": ids, "action": "update"}),
            Some(("/update", "missing")),
        ),
        (
            json!({"resource": "tickets", "selection": ids, "action": "update", "update": {"x": 1}}),
            Some(("/update/x", "unknown_field")),
        ),
        (
            json!({"resource": "tickets", "selection": ids, "action": "update", "update": {"made": "x"}}),
            Some(("/update/made", "unknown_field")),
        ),
        (
            json!({"resource": "tickets", "selection": ids, "action": "update", "update": {"priority": "high"}}),
            Some(("/update/priority", "invalid_value")),
        ),
        (
            json!({"resource": "tickets", "selection": ids, "action": "update", "update": {"priority": 10}}),
            Some(("/update/priority", "invalid_value")),
        ),
        (
            json!({"resource": "tickets", "selection": ids, "action": "update", "update": {"status": null}}),
            Some(("/update/status", "invalid_value")),
        ),
        (
            json!({"resource": "tickets", "selection": ids, "action": "update", "update": {"priority": null}}),
            None,
        ),
        (
            json!({"resource": "tickets", "selection": ids, "action": "delete", "update": {"priority": 1}}),
            Some(("/update/priority", "field_not_taken")),
        ),
        (
            json!({"resource": "tickets", "selection": {"mode": "ids", "ids": []}, "action": "delete"}),
            Some(("/selection/ids", "empty_selection")),
        ),
        (
            json!({"resource": "tickets", "selection": {"mode": "ids", "ids": ["a", ""]}, "action": "delete"}),
            Some(("/selection/ids/1", "invalid_id")),
        ),
        (
            json!({"resource": "tickets", "selection": {"mode": "items", "items": [
                {"id": 1, "update": {"note": "x"}}, {"id": "b", "update": {"note": 7}}
            ]}, "action": "update"}),
            Some(("/selection/items/1/update/note", "invalid_value")),
        ),
        (
            json!({"resource": "tickets", "selection": {"mode": "items", "items": [{"id": 1}]}, "action": "update"}),
            Some(("/selection/items/0/update", "missing")),
        ),
        (
            json!({"resource": "tickets", "selection": {"mode": "filter", "filter": {}}, "action": "delete"}),
            Some(("/selection/filter", "invalid_filter")),
        ),
        (
            json!({"resource": "tickets", "selection": {"mode": "filter", "filter":
                {"and": [{"field": "colour", "equals": 1}]}}, "action": "delete"}),
            Some(("/selection/filter/and/0/field", "unknown_field")),
        ),
        (
            json!({"resource": "tickets", "selection": {"mode": "filter", "filter":
                {"field": "made", "equals": "x"}}, "action": "upsert", "update": {"note": "x"}}),
            Some(("/selection/mode", "not_by_filter")),
        ),
        (
            json!({"resource": "tickets", "selection": ids, "action": "suspend", "update": {"note": "x"}}),
            None,
        ),
        (
            json!({"resource": "tickets", "selection": ids, "action": "suspend", "update": {"status": "open"}}),
            Some(("/update/status", "field_not_taken")),
        ),
    ];
    for (payload, expected) in cases {
        let expected = expected.map(|(at, code)| (at.to_owned(), code));
        assert_eq!(problems(&payload), Vec::from_iter(expected), "{payload}");
    }
}

#[test]
fn one_item_too_many_is_refused_with_the_limit() {
    let ids: Vec<_> = (0..=MOST_ITEMS).map(|n| ItemId(n.to_string())).collect();
    let job = BulkUpdate {
        resource: "tickets".into(),
        selection: Selection::Ids { ids },
        action: "delete".into(),
        update: Fields::new(),
    };
    let problem = job.check().pop().unwrap();
    assert_eq!((problem.pointer.as_str(), problem.code), ("/selection/ids", "too_many"));
    assert!(problem.message.contains("at most 1000000 items, got 1000001"), "{}", problem.message);
}

#[test]
fn fields_merge_null_clears_and_what_is_not_there_is_told() {
    // given
    let fakes = given(3, |_| {});
    // when
    let payload = json!({
        "resource": "tickets", "action": "update", "update": {"priority": null, "note": "n"},
        "selection": {"mode": "ids", "ids": ["t0000", "t0002", "nobody", "t0000"]},
    });
    let outcome = run_to_the_end(&fakes, &payload, &[]);
    // then
    let expected = json!({"resource": "tickets", "action": "update", "changed_items": 2});
    assert_eq!(outcome, Ok(Done::Finished(expected)));
    assert_eq!(cursor(&fakes), (4, 2, 4));
    let rows = fakes.records.all();
    assert_eq!(json!(rows["t0000"]), json!({"status": "open", "priority": null, "note": "n"}));
    assert_eq!(json!(rows["t0001"]), json!(row(1)));
    let errors = fakes.records.errors();
    let mut codes: Vec<_> = errors.iter().map(|e| (e.item_id.as_str(), e.code.as_str())).collect();
    codes.sort_unstable();
    assert_eq!(codes, [("nobody", "not_found"), ("t0000", "duplicate")]);
}

#[test]
fn items_of_one_record_are_carried_out_in_their_order() {
    let fakes = given(1, |_| {});
    let items: Vec<_> =
        (0..1_201).map(|n| json!({"id": "t0000", "update": {"note": n.to_string()}})).collect();
    let payload = json!({
        "resource": "tickets", "action": "update",
        "selection": {"mode": "items", "items": items},
    });
    run_to_the_end(&fakes, &payload, &[]).unwrap();
    assert_eq!(fakes.records.all()["t0000"]["note"], "1200");
    assert_eq!(cursor(&fakes), (1_201, 0, 1_201));
}

#[test]
fn a_record_that_leaves_the_filter_does_not_disturb_the_walk() {
    let fakes = given(2_000, |_| {});
    let payload = json!({
        "resource": "tickets", "action": "update", "update": {"priority": 5},
        "selection": {"mode": "filter", "filter": {"field": "priority", "equals": 1}},
    });
    run_to_the_end(&fakes, &payload, &[]).unwrap();
    assert_eq!(cursor(&fakes), (1_000, 0, 1_000));
    let fives = fakes.records.all().values().filter(|row| row["priority"] == 5).count();
    assert_eq!(fives, 1_000);
}

#[test]
fn a_filter_that_holds_for_nothing_is_done_with_nothing() {
    let fakes = given(3, |_| {});
    let payload = json!({
        "resource": "tickets", "action": "delete",
        "selection": {"mode": "filter", "filter": {"field": "priority", "from": 7}},
    });
    assert!(matches!(run_to_the_end(&fakes, &payload, &[]), Ok(Done::Finished(_))));
    assert_eq!(cursor(&fakes), (0, 0, 0));
}

#[test]
fn a_declaration_that_has_changed_ends_the_job_with_words() {
    let fakes = given(1, |resource| {
        resource.actions.remove("delete");
    });
    let payload = json!({
        "resource": "tickets", "action": "delete", "selection": {"mode": "ids", "ids": ["t0000"]},
    });
    let Err(Stop::Cancel { cause }) = run_to_the_end(&fakes, &payload, &[]) else { panic!() };
    assert_eq!(cause.code, "unknown_action");
}

#[test]
fn a_run_that_lost_its_account_changes_nothing() {
    let fakes = given(1, |_| {});
    let payload = json!({
        "resource": "tickets", "action": "update", "update": {"priority": 9},
        "selection": {"mode": "ids", "ids": ["t0000"]},
    });
    let later = fakes.context(1, 2);
    let resource = fakes.records.all().len();
    assert_eq!(resource, 1);
    block_on(later.ports().records.open(later.info(), &tickets(), None)).unwrap();
    let outcome = block_on(job(payload).perform(&fakes.context(1, 1)));
    assert!(matches!(outcome, Err(Stop::Retry { cause, .. }) if cause.code == "lease_lost"));
    assert_eq!(fakes.records.all()["t0000"]["priority"], 0);
}

#[test]
fn a_run_that_ends_early_says_how_far_it_got() {
    for (event, steps) in [(false, 5), (true, 5), (true, 7)] {
        let fakes = given(3_001, |resource| {
            if event {
                with_event(Per::Chunk)(resource);
            }
        });
        let mut ids: Vec<_> = (0..3_001).map(|n| format!("t{n:04}")).collect();
        ids[0] = "nobody".into();
        let payload = json!({
            "resource": "tickets", "action": "update", "update": {"priority": 9},
            "selection": {"mode": "ids", "ids": ids},
        });
        fakes.records.end_after(steps);
        let context = fakes.context(1, 1);
        let outcome = block_on(job(payload).perform(&context));
        // then what is told is what is written down
        assert!(matches!(outcome, Err(Stop::Retry { .. })), "{outcome:?}");
        let (told, later) = (cursor(&fakes), fakes.context(1, 2));
        let records = &later.ports().records;
        let account = block_on(records.open(later.info(), &tickets(), None)).unwrap();
        assert!(account.processed > 0);
        assert_eq!(told, (account.processed, account.failed, 3_001), "{event} {steps}");
    }
}

fn with_event(per: Per) -> impl FnOnce(&mut Resource) {
    move |resource| resource.event = Some(ChangeEvent { name: "ticket.updated".into(), per })
}

#[test]
fn events_tell_of_what_was_changed_and_of_nothing_else() {
    for (per, expected) in [(Per::Record, 501), (Per::Chunk, 2)] {
        let fakes = given(501, with_event(per));
        fakes.endpoints.put("crm", Format::Standard, &["ticket.*"]);
        let mut ids: Vec<_> = (0..501).map(|n| format!("t{n:04}")).collect();
        ids.push("nobody".into());
        let payload = json!({
            "resource": "tickets", "action": "update", "update": {"priority": 9},
            "selection": {"mode": "ids", "ids": ids},
        });
        run_to_the_end(&fakes, &payload, &[3]).unwrap();
        let told = fakes.follow_ups.all();
        assert_eq!(told.len(), expected);
        assert!(told.iter().all(|job| job.payload["event"] == "ticket.updated"));
        assert_eq!(told[0].payload["data"]["changes"], json!({"priority": 9}));
        assert!(
            !json!(told.iter().map(|job| &job.payload).collect::<Vec<_>>())
                .to_string()
                .contains("nobody")
        );
    }
}

/// A job over records of which some are not there, of any kind, and how its runs end.
fn cases() -> impl Strategy<Value = (Value, Vec<u32>, bool)> {
    let ids = prop::collection::vec(0..1_400_u32, 1..1_300);
    let payload = (ids, 0..5_u8).prop_map(|(ids, kind)| {
        let ids: Vec<_> = ids.iter().map(|n| format!("t{n:04}")).collect();
        let by_filter = json!({"mode": "filter", "filter": {"field": "priority", "equals": 1}});
        let by_ids = json!({"mode": "ids", "ids": ids});
        let (selection, action, update) = match kind {
            0 => (by_filter, "update", json!({"priority": 5})),
            1 => (by_filter, "delete", json!({})),
            2 => (by_ids, "update", json!({"priority": 5})),
            3 => (by_ids, "delete", json!({})),
            _ => {
                let own =
                    |(n, id): (usize, &String)| json!({"id": id, "update": {"priority": n % 8}});
                let items: Vec<_> = ids.iter().enumerate().map(own).collect();
                (json!({"mode": "items", "items": items}), "upsert", json!({}))
            }
        };
        json!({"resource": "tickets", "selection": selection, "action": action, "update": update})
    });
    (payload, prop::collection::vec(0..12_u32, 0..8), any::<bool>())
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    /// Wherever runs end, records and counts are as if none had.
    #[test]
    fn interrupted_runs_leave_what_one_run_would((payload, ends, apart) in cases()) {
        let [undisturbed, disturbed] = [(); 2].map(|()| given(1_300, with_event(Per::Record)));
        for fakes in [&undisturbed, &disturbed] {
            fakes.endpoints.put("crm", Format::Standard, &["*"]);
        }
        if apart {
            disturbed.records.lie_apart();
        }
        let expected = run_to_the_end(&undisturbed, &payload, &[]);
        let outcome = run_to_the_end(&disturbed, &payload, &ends);
        proptest::prop_assert_eq!(outcome, expected);
        proptest::prop_assert_eq!(cursor(&disturbed), cursor(&undisturbed));
        proptest::prop_assert_eq!(disturbed.records.all(), undisturbed.records.all());
        let key = |fakes: &Fakes| {
            let mut errors = fakes.records.errors();
            errors.sort_by_key(|error| error.ordinal);
            errors
        };
        proptest::prop_assert_eq!(key(&disturbed), key(&undisturbed));
        let told = |fakes: &Fakes| fakes.follow_ups.all();
        proptest::prop_assert_eq!(told(&disturbed), told(&undisturbed));
        if payload["selection"]["mode"] != "items" {
            proptest::prop_assert!(disturbed.records.writes().values().all(|n| *n == 1));
        }
    }
}
