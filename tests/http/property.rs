//! Whatever is sent, the façade answers as the contract says.

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use reqwest::Method;
use serde_json::{Value, json};

use super::house::{ACME, House, sent};

/// Anything between a good submission and noise.
fn bodies() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        Just(json!("send")),
        Just(json!("a@b")),
    ];
    let names = prop_oneof![
        Just("type"),
        Just("payload"),
        Just("jobs"),
        Just("to"),
        Just("email"),
        Just("run_at"),
        Just("lane"),
        Just("tags"),
        Just("x"),
    ];
    let value = leaf.prop_recursive(5, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..5)
                .prop_map(|map| json!(map)),
        ]
    });
    prop_oneof![8 => value.prop_map(|value| value.to_string()), 1 => "\\PC{0,20}", 1 => Just(super::house::good().to_string())]
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(20))]

    #[test]
    fn no_body_makes_the_façade_fail(bodies in prop::collection::vec(bodies(), 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let house = House::open().await;
            for body in bodies {
                for path in ["/jobs", "/jobs/send"] {
                    let request = house.request(Method::POST, path).bearer_auth(ACME);
                    let request = request.header("content-type", "application/json");
                    let before = house.queue.all().len();
                    let response = sent(request.body(body.clone())).await;
                    let status = response.status().as_u16();
                    assert!([202, 400, 422].contains(&status), "{status}: {body}");
                    let answer: Value = response.json().await.unwrap();
                    if status == 202 {
                        assert!(house.queue.all().len() > before, "{body}");
                    } else {
                        assert_eq!(answer["status"], status);
                        assert_eq!(house.queue.all().len(), before, "{body}");
                    }
                    if status == 422 {
                        assert!(!answer["errors"].as_array().unwrap().is_empty(), "{answer}");
                    }
                }
            }
        });
    }
}
