//! Endpoints and the log of their deliveries.

use std::{collections::BTreeMap, time::Duration};

use jobs::contract::{
    Moment,
    fakes::answer,
    ports::{
        Attempt, Deliveries, Delivery, DeliveryState, EndpointStatus, Endpoints, Format, Health,
        Trigger,
    },
};
use postrider::{
    limits::{EndpointPace, Rates},
    store::{
        EndpointSettings, MOST_ENDPOINTS, Put, Registered, RotateSecretError, Store, StoreError,
    },
    webhooks::{Addresses, SigningSecret},
};
use secrecy::ExposeSecret;

use super::{NOW, acme, dev, on_both};

const HOUR: Duration = Duration::from_secs(3_600);
const SPAN: Duration = Duration::from_secs(300);

pub(crate) fn crm() -> EndpointSettings {
    EndpointSettings {
        id: "crm".into(),
        description: Some("for sales".into()),
        url: "https://example.org/canary".into(),
        format: Format::Standard,
        events: vec!["ticket.*".into(), "call.ended".into()],
        headers: BTreeMap::from([("X-Token".to_owned(), "canary".into())]),
        second: None,
        rate: Some("10/s".parse().unwrap()),
        secret: None,
        enabled: None,
    }
}

async fn put(store: &Store, settings: &EndpointSettings) -> Registered {
    let settings = std::slice::from_ref(settings);
    store.apply(&dev(), &[], &[], settings, NOW).await.unwrap().endpoints.remove(0)
}

async fn signing(store: &Store, at: Moment) -> Vec<String> {
    let address = store.address(&dev(), "crm", at).await.unwrap().unwrap();
    address.secrets.iter().map(|secret| secret.reveal().to_owned()).collect()
}

fn delivery(number: u32, state: DeliveryState) -> Delivery {
    Delivery {
        id: format!("dlv_{number:04}"),
        endpoint: "crm".into(),
        message_id: "msg_1".into(),
        event: "ticket.created".into(),
        body: "{\"ä\":1}".into(),
        attempts: 1,
        state,
    }
}

/// Writes down that delivery `number` was answered so.
async fn record(store: &Store, number: u32, status: u16, now: Moment) -> Health {
    let state = if status == 200 { DeliveryState::Delivered } else { DeliveryState::Failed };
    let exchange = answer(status);
    let attempt = Attempt { trigger: Trigger::Scheduled, at: now, exchange, next_at: None };
    store.record(&dev(), &delivery(number, state), Some(&attempt), SPAN, now).await.unwrap()
}

on_both! {
    async fn an_endpoint_comes_back_with_its_secrets_and_for_its_tenant_only(given) {
        let registered = put(&given.store, &crm()).await;
        assert_eq!(registered.put, Put::Created);
        let row = given.store.endpoint_row(&dev(), "crm").await.unwrap().unwrap();
        assert_eq!(row.settings.secret, registered.made);
        assert_eq!(row.settings.url.expose_secret(), "https://example.org/canary");
        assert_eq!(row.settings.headers["X-Token"].expose_secret(), "canary");
        assert!(given.store.endpoint_row(&acme(), "crm").await.unwrap().is_none());
        assert!(Endpoints::find(&given.store, &acme(), "crm").await.unwrap().is_none());
        assert_eq!(given.store.endpoint_pace(&acme(), "crm").await.unwrap(), None);
        let own = Some("10/s".parse().unwrap());
        let pace = given.store.endpoint_pace(&dev(), "crm").await.unwrap();
        assert_eq!(pace, Some(EndpointPace { own, url: None }));
    }

    async fn applied_again_nothing_changes_and_the_secret_stays(given) {
        let made = put(&given.store, &crm()).await.made.unwrap();
        let again = put(&given.store, &crm()).await;
        assert_eq!((again.put, again.made), (Put::Unchanged, None));
        let changed = EndpointSettings { events: vec!["*".into()], ..crm() };
        let changed = put(&given.store, &changed).await;
        assert_eq!((changed.put, changed.made), (Put::Updated, None));
        assert_eq!(signing(&given.store, NOW).await, [made.reveal()]);
        put(&given.store, &crm()).await;
        // One that is disabled stays so, whatever else changes, until somebody says that it shall not.
        Endpoints::disable(&given.store, &dev(), "crm", "it is gone", NOW).await.unwrap();
        let status = async || {
            let found = Endpoints::find(&given.store, &dev(), "crm").await.unwrap();
            found.unwrap().status
        };
        let again = put(&given.store, &crm()).await;
        assert_eq!((again.put, again.disabled.as_deref()), (Put::Unchanged, Some("it is gone")));
        let changed = EndpointSettings { events: vec!["a".into()], ..crm() };
        assert_eq!(put(&given.store, &changed).await.put, Put::Updated);
        assert_eq!(status().await, EndpointStatus::Disabled("it is gone".into()));
        let enabled = EndpointSettings { enabled: Some(true), ..crm() };
        assert_eq!(put(&given.store, &enabled).await.put, Put::Updated);
        assert_eq!(status().await, EndpointStatus::Enabled);
        // A secret that is declared is the only one.
        let secret = SigningSecret::generate();
        put(&given.store, &EndpointSettings { secret: Some(secret.clone()), ..crm() }).await;
        assert_eq!(signing(&given.store, NOW).await, [secret.reveal()]);
    }

    async fn rotated_secrets_sign_until_their_grace_is_over(given) {
        // Given a secret that is rotated twice, with a day and an hour of grace
        let first = put(&given.store, &crm()).await.made.unwrap();
        let tenant = dev();
        let rotate = |grace, at| given.store.rotate_endpoint_secret(&tenant, "crm", grace, at);
        let second = rotate(HOUR * 24, NOW).await.unwrap();
        let later = NOW.plus(HOUR);
        let third = rotate(HOUR, later).await.unwrap();
        // Then the clock decides which of them sign, the current one first.
        let names = |secrets: &[&SigningSecret]| -> Vec<String> {
            secrets.iter().map(|secret| secret.reveal().to_owned()).collect()
        };
        let millisecond = Duration::from_millis(1);
        for (at, expected) in [
            (later, names(&[&third, &second, &first])),
            (later.plus(HOUR - millisecond), names(&[&third, &second, &first])),
            (later.plus(HOUR), names(&[&third, &first])),
            (NOW.plus(HOUR * 24 - millisecond), names(&[&third, &first])),
            (NOW.plus(HOUR * 24), names(&[&third])),
        ] {
            assert_eq!(signing(&given.store, at).await, expected, "{at}");
        }
        // When as many old ones sign as may, then another rotation is refused, unless it ends them.
        assert!(matches!(rotate(HOUR, later).await, Err(RotateSecretError::TooMany(_))));
        let fourth = rotate(Duration::ZERO, later).await.unwrap();
        assert_eq!(signing(&given.store, later).await, names(&[&fourth]));
    }

    async fn subscribers_are_those_who_want_it_and_are_enabled(given) {
        put(&given.store, &crm()).await;
        put(&given.store, &EndpointSettings { id: "all".into(), events: vec!["*".into()], ..crm() }).await;
        put(&given.store, &EndpointSettings { id: "off".into(), enabled: Some(false), ..crm() }).await;
        let of = async |event| given.store.subscribers(&dev(), event).await.unwrap();
        assert_eq!(of("ticket.created").await, ["all", "crm"]);
        assert_eq!(of("call.ended").await, ["all", "crm"]);
        assert_eq!(of("ticket").await, ["all"]);
        assert!(given.store.subscribers(&acme(), "ticket.created").await.unwrap().is_empty());
    }

    async fn one_run_gets_the_probe_of_a_half_open_circuit(given) {
        put(&given.store, &crm()).await;
        let (store, until) = (&given.store, NOW.plus(HOUR));
        let probe = async |now: Moment| store.probe(&dev(), "crm", now, now.plus(HOUR)).await.unwrap();
        assert!(!probe(NOW).await, "the circuit is closed");
        store.open_circuit(&dev(), "crm", until).await.unwrap();
        assert!(!probe(NOW).await, "it rests");
        let many = futures::future::join_all((0..20).map(|_| probe(until))).await;
        assert_eq!(many.iter().filter(|taken| **taken).count(), 1);
        assert!(probe(until.plus(HOUR)).await, "a lost probe is forgotten");
        // A success closes it, and what failed before counts no more.
        record(store, 1, 200, until).await;
        let found = Endpoints::find(store, &dev(), "crm").await.unwrap().unwrap();
        assert_eq!(found.circuit_until, None);
    }

    async fn health_counts_attempts_within_the_span_and_since_the_last_success(given) {
        put(&given.store, &crm()).await;
        let at = |seconds| NOW.plus(Duration::from_secs(seconds));
        record(&given.store, 1, 200, at(0)).await;
        record(&given.store, 2, 500, at(10)).await;
        let health = record(&given.store, 3, 429, at(20)).await;
        assert_eq!(health, Health { failing_since: Some(at(10)), recent: 3, recent_failed: 2 });
        // What is older than the span is not counted; since when it fails is not forgotten.
        let health = record(&given.store, 4, 500, at(311)).await;
        assert_eq!(health, Health { failing_since: Some(at(10)), recent: 2, recent_failed: 2 });
        record(&given.store, 5, 200, at(312)).await;
        let health = record(&given.store, 6, 500, at(313)).await;
        assert_eq!(health.failing_since, Some(at(313)));
        // After an open circuit it counts anew.
        given.store.open_circuit(&dev(), "crm", at(400)).await.unwrap();
        record(&given.store, 7, 200, at(401)).await;
        let health = record(&given.store, 8, 500, at(402)).await;
        assert_eq!((health.recent, health.recent_failed), (2, 1));
    }

    async fn a_delivery_keeps_what_was_written_first_and_its_attempts(given) {
        put(&given.store, &crm()).await;
        record(&given.store, 1, 500, NOW).await;
        let other = Delivery {
            body: b"{}".to_vec(), attempts: 2, ..delivery(1, DeliveryState::Delivered)
        };
        given.store.record(&dev(), &other, None, SPAN, NOW.plus(HOUR)).await.unwrap();
        let found = Deliveries::find(&given.store, &dev(), "dlv_0001").await.unwrap().unwrap();
        assert_eq!((found.body, found.state), (delivery(1, found.state).body, DeliveryState::Delivered));
        assert!(Deliveries::find(&given.store, &acme(), "dlv_0001").await.unwrap().is_none());
        assert_eq!(given.store.attempts(&dev(), "crm", "dlv_0001").await.unwrap().len(), 1);
        assert!(given.store.attempts(&dev(), "erp", "dlv_0001").await.unwrap().is_empty());
        assert!(given.store.attempts(&acme(), "crm", "dlv_0001").await.unwrap().is_empty());
    }

    async fn failed_deliveries_come_in_pages_and_old_ones_are_removed(given) {
        put(&given.store, &crm()).await;
        for number in 1..=5 {
            record(&given.store, number, 500, NOW.plus(HOUR * number)).await;
        }
        record(&given.store, 6, 200, NOW.plus(HOUR * 6)).await;
        let tenant = dev();
        let page = |since, after: &'static str, limit| {
            given.store.failed_deliveries(&tenant, "crm", since, after, limit)
        };
        assert_eq!(page(NOW.plus(HOUR * 3), "", 2).await.unwrap(), ["dlv_0003", "dlv_0004"]);
        assert_eq!(page(NOW.plus(HOUR * 3), "dlv_0004", 2).await.unwrap(), ["dlv_0005"]);
        // What counts is when it failed, not when it was made.
        let later = NOW.plus(HOUR * 9);
        given.store.record(&dev(), &delivery(1, DeliveryState::Failed), None, SPAN, later).await.unwrap();
        assert_eq!(page(NOW.plus(HOUR * 8), "", 2).await.unwrap(), ["dlv_0001"]);
        assert_eq!(given.store.prune_deliveries(NOW.plus(HOUR * 4), 2).await.unwrap(), 2);
        assert_eq!(given.store.prune_deliveries(NOW.plus(HOUR * 4), 2).await.unwrap(), 1);
        let left = given.store.deliveries(&dev(), "crm", None, 10).await.unwrap();
        assert_eq!(left.iter().map(|d| d.id.as_str()).collect::<Vec<_>>(), ["dlv_0006", "dlv_0005", "dlv_0004"]);
        assert!(given.store.attempts(&dev(), "crm", "dlv_0001").await.unwrap().is_empty());
    }

    async fn there_is_a_most_of_endpoints(given) {
        let many: Vec<_> = (0..=MOST_ENDPOINTS)
            .map(|number| EndpointSettings { id: format!("e{number}"), ..crm() })
            .collect();
        let refused = given.store.apply(&dev(), &[], &[], &many, NOW).await;
        assert!(matches!(refused, Err(StoreError::TooMany(_))));
        assert!(given.store.endpoint_rows(&dev()).await.unwrap().is_empty());
    }
}
