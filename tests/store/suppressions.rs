//! Suppressions: of addresses and of domains.

use std::time::Duration;

use jobs::contract::ports::Suppressions;

use super::{NOW, acme, dev, on_both};

on_both! {
    async fn hold_for_the_address_or_its_domain_whatever_the_case(given) {
        // given
        let store = &given.store;
        store.add(&dev(), "Ada@Example.org", "hard_bounce", NOW).await.unwrap();
        store.add(&dev(), "@Example.NET", "manual", NOW).await.unwrap();
        // when, then
        let cases = [
            ("ada@example.org", Some("hard_bounce")),
            ("ADA@EXAMPLE.ORG", Some("hard_bounce")),
            ("bob@example.org", None),
            ("anybody@example.net", Some("manual")),
            ("anybody@EXAMPLE.net", Some("manual")),
            ("anybody@mail.example.net", None),
            ("anybody@notexample.net", None),
            ("example.net", None),
            ("", None),
        ];
        for (email, expected) in cases {
            let found = store.find(&dev(), email).await.unwrap();
            assert_eq!(found.map(|held| held.reason).as_deref(), expected, "{email:?}");
        }
        assert_eq!(store.find(&acme(), "ada@example.org").await.unwrap(), None);
    }

    async fn the_first_reason_stays_and_the_address_speaks_before_its_domain(given) {
        let store = &given.store;
        let later = NOW.plus(Duration::from_secs(1));
        store.add(&dev(), "@example.org", "manual", NOW).await.unwrap();
        store.add(&dev(), "ada@example.org", "unsubscribed", NOW).await.unwrap();
        store.add(&dev(), "ada@example.org", "complaint", later).await.unwrap();
        let held = store.find(&dev(), "ada@example.org").await.unwrap().unwrap();
        assert_eq!((held.reason.as_str(), held.since), ("unsubscribed", NOW));
    }
}
