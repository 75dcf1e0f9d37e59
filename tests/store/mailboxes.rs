//! Mailboxes: what jobs see of them, and what only the adapters do.

use jobs::contract::ports::{MailboxStatus, Mailboxes};
use postrider::{
    limits::Rates,
    mail::Security,
    store::{
        LOGINS_REFUSED_AT_MOST, MailboxSettings, OnOldSchema, Put, Store, StoreError, Transport,
        WarmupSettings, WarmupType,
    },
};
use secrecy::ExposeSecret;

use super::{Given, NOW, acme, config, dev, on_both, secrets};

fn ada() -> MailboxSettings {
    MailboxSettings {
        address: "Ada@Example.com".into(),
        display_name: Some("Ada".into()),
        transport: Transport::Smtp,
        host: Some("smtp.example.com".into()),
        port: Some(587),
        security: Some(Security::StartTls),
        username: Some("ada".into()),
        password: Some("open sesame".into()),
        limits: vec!["2/min".parse().unwrap(), "40/h".parse().unwrap()],
        enabled: true,
        warmup: None,
    }
}

async fn put(store: &Store, settings: &MailboxSettings) -> Put {
    let settings = std::slice::from_ref(settings);
    store.apply(&dev(), settings, &[], &[], NOW).await.unwrap().mailboxes[0]
}

async fn status(given: &Given) -> MailboxStatus {
    given.store.find(&dev(), "ada@example.com").await.unwrap().unwrap().status
}

on_both! {
    async fn is_found_without_case_and_by_its_tenant_only(given) {
        assert_eq!(put(&given.store, &ada()).await, Put::Created);
        for address in ["Ada@Example.com", "ada@example.com", " ADA@EXAMPLE.COM "] {
            let found = Mailboxes::find(&given.store, &dev(), address).await.unwrap().unwrap();
            assert_eq!((found.address.as_str(), found.status), ("Ada@Example.com", MailboxStatus::Enabled));
        }
        for (tenant, address) in [(acme(), "ada@example.com"), (dev(), "bob@example.com"), (dev(), "\0")] {
            assert_eq!(Mailboxes::find(&given.store, &tenant, address).await.unwrap(), None);
            assert_eq!(given.store.mailbox_rates(&tenant, address).await.unwrap(), None);
        }
        assert_eq!(given.store.mailbox_rates(&dev(), "ada@example.com").await.unwrap(), Some(ada().limits));
    }

    async fn all_settings_come_back_with_the_password_unsealed(given) {
        put(&given.store, &ada()).await;
        let row = given.store.mailbox_row(&dev(), "ada@example.com").await.unwrap().unwrap();
        let got = row.settings;
        assert_eq!((got.host.as_deref(), got.port, got.security), (Some("smtp.example.com"), Some(587), Some(Security::StartTls)));
        assert_eq!(got.username.as_deref(), Some("ada"));
        assert_eq!(got.password.unwrap().expose_secret(), "open sesame");
        // The list is for looking at: it has no passwords.
        let listed = given.store.mailboxes(&dev()).await.unwrap();
        assert!(listed.len() == 1 && listed[0].settings.password.is_none());
    }

    async fn a_password_sealed_with_another_key_is_said_to_be_so(given) {
        put(&given.store, &ada()).await;
        let config = config(&given.url);
        let opened = Store::open(&config, given.dir.path(), secrets(2), OnOldSchema::Refuse).await;
        let other = opened.unwrap();
        let error = other.mailbox_row(&dev(), "ada@example.com").await.unwrap_err();
        assert!(matches!(error, StoreError::Unusable(_)) && error.to_string().contains("sealed with the secret key"), "{error}");
        // Applying it again with the new key heals it.
        assert_eq!(put(&other, &ada()).await, Put::Updated);
        assert!(other.mailbox_row(&dev(), "ada@example.com").await.unwrap().is_some());
    }

    async fn warm_up_settings_come_back_and_stay_where_nothing_is_said(given) {
        // given a mailbox of which nothing is said
        put(&given.store, &ada()).await;
        let warmup = || async {
            given.store.mailboxes(&dev()).await.unwrap().remove(0).settings.warmup
        };
        assert_eq!(warmup().await, None);
        // when settings are given, and given again
        let said = WarmupSettings { enabled: true, warmup_type: WarmupType::Slow, target_daily_volume: 25,
            reply_rate_percent: 0, time_zone: "Europe/Berlin".into() };
        let with = MailboxSettings { warmup: Some(said.clone()), ..ada() };
        assert_eq!(put(&given.store, &with).await, Put::Updated);
        assert_eq!(put(&given.store, &with).await, Put::Unchanged);
        // then they are there, and a file that says nothing of them leaves them
        assert_eq!(put(&given.store, &ada()).await, Put::Unchanged);
        assert_eq!(warmup().await, Some(said));
        let other = MailboxSettings { warmup: Some(WarmupSettings::default()), ..ada() };
        assert_eq!(put(&given.store, &other).await, Put::Updated);
        let row = given.store.mailbox_row(&dev(), "ada@example.com").await.unwrap().unwrap();
        assert_eq!(row.settings.warmup, Some(WarmupSettings::default()));
    }

    async fn applying_again_changes_nothing_and_every_difference_counts(given) {
        put(&given.store, &ada()).await;
        assert_eq!(put(&given.store, &ada()).await, Put::Unchanged);
        let different = [
            MailboxSettings { display_name: None, ..ada() },
            MailboxSettings { port: Some(2587), ..ada() },
            MailboxSettings { security: Some(Security::Tls), ..ada() },
            MailboxSettings { username: Some("bob".into()), ..ada() },
            MailboxSettings { password: Some("else".into()), ..ada() },
            MailboxSettings { limits: Vec::new(), ..ada() },
            MailboxSettings { enabled: false, ..ada() },
            MailboxSettings { address: "ada@example.com".into(), ..ada() },
        ];
        for settings in different {
            assert_eq!(put(&given.store, &settings).await, Put::Updated, "{settings:?}");
            assert_eq!(put(&given.store, &settings).await, Put::Unchanged, "{settings:?}");
            put(&given.store, &ada()).await;
        }
    }

    async fn refused_logins_in_a_row_disable_it_and_applying_it_enables_it_again(given) {
        put(&given.store, &ada()).await;
        let refused = async || given.store.login_refused(&dev(), "ada@example.com", "535 no").await.unwrap();
        // A login that works starts the count again.
        assert_eq!([refused().await, refused().await], [1, 2]);
        given.store.login_worked(&dev(), "Ada@example.com").await.unwrap();
        for count in 1..LOGINS_REFUSED_AT_MOST {
            assert_eq!(refused().await, count);
            assert_eq!(status(&given).await, MailboxStatus::Enabled);
        }
        assert_eq!(refused().await, LOGINS_REFUSED_AT_MOST);
        let MailboxStatus::Disabled(why) = status(&given).await else { panic!("still enabled") };
        assert!(why.contains("refused 10 times in a row") && why.contains("535 no"), "{why}");

        assert_eq!(put(&given.store, &ada()).await, Put::Updated);
        assert_eq!(status(&given).await, MailboxStatus::Enabled);
        // One that is not there is not counted.
        assert_eq!(given.store.login_refused(&acme(), "ada@example.com", "535").await.unwrap(), 0);
    }

    async fn an_operator_disables_it(given) {
        put(&given.store, &MailboxSettings { enabled: false, ..ada() }).await;
        assert!(matches!(status(&given).await, MailboxStatus::Disabled(why) if why.contains("operator")));
    }
}
