//! The log of deliveries, written by one for many; and what is remembered of endpoints meanwhile.

use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use jobs::contract::{
    Moment,
    fakes::answer,
    ports::{
        Attempt, Deliveries, Delivery, DeliveryState, EndpointStatus, Endpoints, Health, Trigger,
    },
};
use postrider::store::{DeliveryWriter, Store};

use super::{NOW, dev, endpoints::crm, on_both};

const SPAN: Duration = Duration::from_secs(300);

fn delivery(number: u32, attempts: u32, state: DeliveryState) -> Delivery {
    Delivery {
        id: format!("dlv_{number:04}"),
        endpoint: "crm".into(),
        message_id: format!("msg_{number}"),
        event: "ticket.created".into(),
        body: format!("{{\"ä\":{number}}}").into_bytes(),
        attempts,
        state,
    }
}

/// Writes down that an attempt of delivery `number` was answered so.
async fn record(log: &dyn Deliveries, number: u32, attempts: u32, status: u16) -> Health {
    let delivered = status == 200;
    let state = if delivered { DeliveryState::Delivered } else { DeliveryState::Waiting };
    let attempt =
        Attempt { trigger: Trigger::Scheduled, at: NOW, exchange: answer(status), next_at: None };
    let delivery = delivery(number, attempts, state);
    log.record(&dev(), &delivery, Some(&attempt), SPAN, NOW).await.unwrap()
}

async fn with_crm(store: &Store) {
    store.apply(&dev(), &[], &[], &[crm()], NOW).await.unwrap();
}

on_both! {
    async fn what_many_write_at_once_is_all_there(given) {
        // Given more than one batch, and more than one statement of a batch, writes
        with_crm(&given.store).await;
        let log = DeliveryWriter::start(given.store.clone());
        // When
        let written = join_all((0..200).map(|number| record(&log, number, 1, 200))).await;
        // Then
        assert!(written.iter().all(|health| *health == Health::default()));
        let listed = given.store.deliveries(&dev(), "crm", None, 500).await.unwrap();
        let ids: BTreeSet<String> = listed.iter().map(|delivery| delivery.id.clone()).collect();
        assert_eq!(ids, (0..200).map(|number| format!("dlv_{number:04}")).collect());
        for number in [0, 31, 32, 63, 64, 199] {
            let id = format!("dlv_{number:04}");
            let lines = given.store.attempts(&dev(), "crm", &id).await.unwrap();
            assert_eq!((lines.len(), lines[0].status), (1, Some(200)));
            let found = Deliveries::find(&given.store, &dev(), &id).await.unwrap().unwrap();
            assert_eq!(found, delivery(number, 1, DeliveryState::Delivered));
        }
    }

    async fn one_delivery_twice_at_once_keeps_both_attempts_and_the_others(given) {
        // Given a run that lost its lease and the one that took over, which write at once
        with_crm(&given.store).await;
        let log = DeliveryWriter::start(given.store.clone());
        let others = (1..10).map(|number| record(&log, number, 1, 200));
        let twice = [record(&log, 0, 1, 500), record(&log, 0, 2, 500), record(&log, 0, 2, 500)];
        // When
        tokio::join!(join_all(others), join_all(twice));
        // Then
        let lines = given.store.attempts(&dev(), "crm", "dlv_0000").await.unwrap();
        assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 2]);
        let listed = given.store.deliveries(&dev(), "crm", None, 500).await.unwrap();
        assert_eq!(listed.len(), 10);
    }

    async fn health_is_counted_over_a_batch_as_over_single_writes(given) {
        // Given attempts of which seven in ten fail, written at once
        with_crm(&given.store).await;
        let log = DeliveryWriter::start(given.store.clone());
        let status = |number: u32| if number % 10 < 7 { 500 } else { 200 };
        join_all((0..20).map(|number| record(&log, number, 1, status(number)))).await;
        // When one more fails
        let health = record(&log, 20, 1, 500).await;
        // Then all of them count, and the endpoint fails since then, as its last success healed it.
        assert_eq!((health.recent, health.recent_failed), (21, 15));
        assert_eq!(health.failing_since, Some(NOW));
        record(&log, 21, 1, 200).await;
        let row = given.store.endpoint_row(&dev(), "crm").await.unwrap().unwrap();
        assert_eq!(row.failing_since, None);
    }

    async fn what_this_process_changes_about_an_endpoint_it_sees_at_once(given) {
        // Given an endpoint that was read just now
        let store = &given.store;
        with_crm(store).await;
        let find = async || Endpoints::find(store, &dev(), "crm").await.unwrap().unwrap();
        assert_eq!(find().await.circuit_until, None);
        // When its circuit opens, then that is seen,
        let until = NOW.plus(Duration::from_secs(30));
        store.open_circuit(&dev(), "crm", until).await.unwrap();
        assert_eq!(find().await.circuit_until, Some(until));
        // and that a success closed it,
        record(store, 1, 1, 200).await;
        assert_eq!(find().await.circuit_until, None);
        // and that it was disabled, enabled and changed.
        store.disable(&dev(), "crm", "gone", NOW).await.unwrap();
        assert_eq!(find().await.status, EndpointStatus::Disabled("gone".into()));
        store.enable_endpoint(&dev(), "crm", NOW).await.unwrap();
        assert_eq!(find().await.status, EndpointStatus::Enabled);
        let disabled = postrider::store::EndpointSettings { enabled: Some(false), ..crm() };
        store.apply(&dev(), &[], &[], &[disabled], NOW).await.unwrap();
        assert!(matches!(find().await.status, EndpointStatus::Disabled(_)));
    }

    async fn what_another_process_changes_is_seen_soon(given) {
        // Given an endpoint that was read just now
        let store = &given.store;
        with_crm(store).await;
        let other = given.again().await;
        let find = async || Endpoints::find(store, &dev(), "crm").await.unwrap().unwrap();
        assert_eq!(find().await.status, EndpointStatus::Enabled);
        // When another process disables it
        let began = std::time::Instant::now();
        other.disable(&dev(), "crm", "gone", Moment::default()).await.unwrap();
        // Then that is seen.
        crate::support::eventually_ok("it is seen", || async {
            match find().await.status {
                EndpointStatus::Disabled(_) => Ok(()),
                EndpointStatus::Enabled => Err("it is enabled"),
            }
        })
        .await;
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}
