//! A new secret key: everything sealed is wrapped anew, and API keys stay good.

use postrider::{
    http::auth::Keys,
    secrets::Environment,
    store::{MailboxSettings, NewKey, OnOldSchema, Rewrapped, Store, Transport},
};
use secrecy::ExposeSecret;

use super::{Given, NOW, config, dev, on_both, secrets};

async fn open(given: &Given, secrets: postrider::secrets::Secrets) -> Store {
    Store::open(&config(&given.url), given.dir.path(), secrets, OnOldSchema::Refuse).await.unwrap()
}

async fn password(store: &Store) -> Option<String> {
    let row = store.mailbox_row(&dev(), "ada@example.com").await.ok()??;
    Some(row.settings.password?.expose_secret().to_owned())
}

on_both! {
    async fn everything_is_wrapped_anew_and_the_old_key_opens_nothing_any_more(given) {
        // Given a password, an endpoint and an API key under the old secret key
        let mailbox = MailboxSettings {
            transport: Transport::Smtp,
            password: Some("open sesame".into()),
            ..MailboxSettings::file("ada@example.com")
        };
        let endpoint = crate::store::endpoints::crm();
        given.store.apply(&dev(), &[mailbox], &[], &[endpoint], NOW).await.unwrap();
        let new = NewKey {
            environment: Environment::Live,
            label: None,
            scopes: ["jobs:read".to_owned()].into(),
            expires_at: None,
        };
        let key = given.store.create_key(&dev(), &new, NOW).await.unwrap();
        // When processes have both keys, then everything works,
        let both = open(&given, secrets(2).with_previous(secrets(1))).await;
        assert_eq!(password(&both).await.as_deref(), Some("open sesame"));
        assert!(both.caller(key.reveal()).await.unwrap().is_some());
        // and when it is wrapped anew,
        let did = both.rewrap().await.unwrap();
        assert_eq!(did, Rewrapped { rewrapped: 3, current: 0, unreadable: 0 });
        let again = both.rewrap().await.unwrap();
        assert_eq!(again, Rewrapped { rewrapped: 0, current: 3, unreadable: 0 });
        // then the new key alone is enough,
        let new = open(&given, secrets(2)).await;
        assert_eq!(password(&new).await.as_deref(), Some("open sesame"));
        assert!(new.endpoint_row(&dev(), "crm").await.unwrap().is_some());
        assert!(new.caller(key.reveal()).await.unwrap().is_some());
        // and the old one opens nothing that is sealed, and knows no API key.
        let old = open(&given, secrets(1)).await;
        assert_eq!(password(&old).await, None);
        assert!(old.endpoint_row(&dev(), "crm").await.is_err());
        assert!(old.caller(key.reveal()).await.unwrap().is_none());
    }

    async fn what_neither_key_opens_is_counted_and_left_alone(given) {
        let mailbox = MailboxSettings {
            transport: Transport::Smtp,
            password: Some("open sesame".into()),
            ..MailboxSettings::file("ada@example.com")
        };
        given.store.apply(&dev(), &[mailbox], &[], &[], NOW).await.unwrap();
        let stranger = open(&given, secrets(3).with_previous(secrets(2))).await;
        let did = stranger.rewrap().await.unwrap();
        assert_eq!(did, Rewrapped { rewrapped: 0, current: 0, unreadable: 2 });
        assert_eq!(password(&given.store).await.as_deref(), Some("open sesame"));
    }
}
