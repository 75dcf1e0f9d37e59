//! Prospects: staged out of sight, taken over whole.

use postrider::store::{Loaded, Prospect, Store, StoreError};

use super::{NOW, acme, dev, on_both};

fn person(email: &str, first_name: &str) -> Prospect {
    Prospect {
        email: email.into(),
        first_name: Some(first_name.into()),
        fields: [("plan".to_owned(), "pro".to_owned())].into(),
        ..Prospect::default()
    }
}

async fn load(store: &Store, people: &[Prospect]) -> Loaded {
    let mut staging = store.stage(&dev()).await.unwrap();
    staging.add(people).await.unwrap();
    staging.commit(NOW).await.unwrap()
}

on_both! {
    async fn come_back_page_by_page_in_the_order_of_their_addresses(given) {
        let people: Vec<Prospect> = ["c@x.org", "a-b@x.org", "B@x.org", "ab@x.org", "a_b@x.org"]
            .map(|email| person(email, "Ada"))
            .into();
        load(&given.store, &people).await;

        let (mut emails, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = given.store.prospects(&dev(), after.as_deref(), 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.email.clone());
            emails.extend(page.into_iter().map(|person| person.email));
        }
        // By bytes, in both databases.
        assert_eq!(emails, ["a-b@x.org", "a_b@x.org", "ab@x.org", "B@x.org", "c@x.org"]);
        assert!(given.store.prospects(&acme(), None, 10).await.unwrap().is_empty());
        assert_eq!(given.store.prospects(&dev(), None, 1).await.unwrap(), people[1..2]);
    }

    async fn loading_says_what_it_changed(given) {
        let [ada, bob, eve] = ["ada@x.org", "bob@x.org", "eve@x.org"].map(|email| person(email, "A"));
        let first = load(&given.store, &[ada.clone(), bob.clone()]).await;
        assert_eq!(first, Loaded { created: 2, ..Loaded::default() });

        let changed = Prospect { company: Some("Acme".into()), ..bob };
        let second = load(&given.store, &[ada, changed.clone(), eve]).await;
        assert_eq!(second, Loaded { created: 1, updated: 1, unchanged: 1, duplicates: 0 });
        assert_eq!(given.store.prospects(&dev(), Some("ada@x.org"), 1).await.unwrap(), [changed]);
        assert_eq!(load(&given.store, &[]).await, Loaded::default());
    }

    async fn of_rows_with_one_address_the_last_wins_near_and_far(given) {
        // given: twins beside each other, and twins three thousand rows apart
        let mut people = vec![person("ada@x.org", "first"), person("ADA@x.org", "second")];
        people.extend((0..3_000).map(|n| person(&format!("p{n}@x.org"), "P")));
        people.push(person("Ada@x.org", "third"));
        // when
        let loaded = load(&given.store, &people).await;
        // then
        assert_eq!((loaded.created, loaded.duplicates), (3_001, 2));
        let ada = &given.store.prospects(&dev(), None, 1).await.unwrap()[0];
        assert_eq!((ada.email.as_str(), ada.first_name.as_deref()), ("Ada@x.org", Some("third")));
    }

    async fn staged_people_are_seen_by_nobody_and_hold_up_nobody(given) {
        // given
        let mut staging = given.store.stage(&dev()).await.unwrap();
        staging.add(&[person("ada@x.org", "Ada")]).await.unwrap();
        // when: others read and write, and load too
        assert_eq!(given.store.count_prospects(&dev()).await.unwrap(), 0);
        assert_eq!(load(&given.again().await, &[person("bob@x.org", "Bob")]).await.created, 1);
        // when: it is given up
        drop(staging);
        // then
        assert_eq!(given.store.count_prospects(&dev()).await.unwrap(), 1);
    }

    async fn there_is_none_for_a_tenant_that_is_not_there(given) {
        let error = given.store.stage(&"nowhere".parse().unwrap()).await.err().unwrap();
        assert!(matches!(error, StoreError::NoTenant(_)), "{error}");
    }
}
