//! Filters: both databases find what the contract says they find.

use jobs::contract::{
    ports::{Records, Search},
    resource::Filter,
};
use serde_json::{Value, json};

use super::desk::on_desks;
use crate::store::dev;

fn filters() -> Vec<Value> {
    let when = "2026-06-10T11:00:00+02:00";
    vec![
        json!({"field": "status", "equals": "open"}),
        json!({"field": "status", "in": ["open", "suspended"]}),
        json!({"field": "priority", "equals": 3}),
        json!({"field": "priority", "in": [1, 2, 99]}),
        json!({"field": "priority", "from": 3}),
        json!({"field": "priority", "from": 2, "to": 4}),
        json!({"field": "priority", "is_null": true}),
        json!({"field": "subject", "contains": "_%"}),
        json!({"field": "subject", "contains": "a"}),
        json!({"field": "subject", "equals": "' OR 1=1 --"}),
        json!({"field": "urgent", "equals": true}),
        json!({"field": "urgent", "equals": false}),
        json!({"field": "score", "to": 0.5}),
        json!({"field": "due", "equals": when}),
        json!({"field": "due", "from": "2026-06-10T09:00:00.001Z"}),
        json!({"field": "due", "is_null": false}),
        json!({"field": "meta", "is_null": true}),
        json!({"and": [{"field": "status", "equals": "open"}, {"field": "priority", "from": 2}]}),
        json!({"or": [{"field": "urgent", "equals": true},
            {"and": [{"field": "score", "is_null": false}, {"field": "priority", "to": 1}]}]}),
    ]
}

fn records() -> Vec<Value> {
    vec![
        json!({"id": "a", "status": "open", "priority": 3, "subject": "100_% A", "urgent": true}),
        json!({"id": "b", "status": "closed", "priority": 0, "subject": "a", "urgent": false,
            "score": 0.5, "due": "2026-06-10T09:00:00.000Z"}),
        json!({"id": "c", "status": "suspended", "priority": null, "score": 0.75, "meta": {"a": 1},
            "due": "2026-06-11T09:00:00.000Z"}),
        json!({"id": "d", "status": "open", "priority": 99, "subject": "' OR 1=1 --"}),
        json!({"id": "e", "status": "open", "priority": 1, "subject": "", "score": 0.25}),
    ]
}

on_desks! {
    async fn filters_find_what_they_say(desk) {
        // given
        let items: Vec<_> = records().into_iter().map(|mut record| {
            let id = record.as_object_mut().unwrap().remove("id").unwrap();
            json!({"id": id, "update": record})
        }).collect();
        let payload = json!({"resource": "tickets", "action": "upsert",
            "selection": {"mode": "items", "items": items}});
        assert_eq!(desk.done(1, &payload).await, (5, 0, 5));
        let resource = desk.keeper().resource("tickets").unwrap();
        for written in filters() {
            let filter = Filter::read(&written, "").unwrap();
            assert_eq!(filter.check(&resource, ""), [], "{written}");
            let (action, fields) = (&resource.actions["update"], &Default::default());
            let search = Search { resource: &resource, filter: &filter, action, fields };
            // when
            let ids = desk.keeper().page(&dev(), &search, None, 100).await.unwrap();
            let count = desk.keeper().count(&dev(), &search).await.unwrap();
            // then
            let holds = |record: &Value| filter.holds(&|name| record[name].clone());
            let expected: Vec<_> = records().iter().filter(|record| holds(record))
                .map(|record| record["id"].as_str().unwrap().to_owned()).collect();
            assert_eq!(ids, expected, "{written}");
            assert_eq!(count, expected.len() as u64, "{written}");
            // and page by page the same
            let first = desk.keeper().page(&dev(), &search, None, 1).await.unwrap();
            let after = first.first().map(String::as_str);
            let rest = desk.keeper().page(&dev(), &search, after, 100).await.unwrap();
            assert_eq!([first, rest].concat().len(), expected.len(), "{written}");
        }
    }

    async fn a_walk_by_a_filter_that_its_own_change_empties_reaches_everything(desk) {
        desk.tickets("dev", 1_300).await;
        let payload = json!({"resource": "tickets", "action": "update", "update": {"status": "closed"},
            "selection": {"mode": "filter", "filter": {"field": "status", "equals": "open"}}});
        assert_eq!(desk.done(1, &payload).await, (650, 0, 650));
        assert_eq!(desk.host.count("status = 'open'").await, 0);
        assert_eq!(desk.done(2, &payload).await, (0, 0, 0));
    }
}
