//! The effect ledger: what opening, dispatching and closing do in every state.

use std::time::Duration;

use futures::future::join_all;
use jobs::contract::{
    RunInfo,
    ports::{EffectState, Ledger, Opened},
};
use postrider::store::Store;
use serde_json::json;

use super::{NOW, STALE, acme, dev, on_both, run};

const KEY: &str = "campaign:1:ada";

async fn open(store: &Store, run: &RunInfo) -> Opened {
    store.open(run, KEY, NOW, STALE).await.unwrap()
}

async fn open_late(store: &Store, run: &RunInfo) -> Opened {
    store.open(run, KEY, NOW.plus(STALE), STALE).await.unwrap()
}

async fn state(store: &Store) -> EffectState {
    store.effect(&dev(), KEY).await.unwrap().unwrap().state
}

/// Takes a fresh entry to a state, held by `run`.
async fn bring(store: &Store, run: &RunInfo, key: &str, to: EffectState) {
    assert_eq!(store.open(run, key, NOW, STALE).await.unwrap(), Opened::Mine);
    if to == EffectState::Intent {
        return;
    }
    assert!(store.dispatch(run, key, NOW).await.unwrap());
    if to != EffectState::Dispatching {
        let receipt = (to == EffectState::Accepted).then(|| json!({"message_id": "<1@x>"}));
        store.close(run, key, to, receipt, NOW).await.unwrap();
    }
}

/// What opening answers in each state, for: the same job's later run, another job at once, another
/// job once the entry is stale.
async fn row(store: &Store, held: EffectState, expected: [Opened; 3]) {
    let holder = run(1, 5);
    let asks = [("later", run(1, 6), NOW), ("other", run(2, 1), NOW)];
    let asks = asks.into_iter().chain([("stale", run(2, 1), NOW.plus(STALE))]);
    for ((key, asking, now), expected) in asks.zip(expected) {
        // given
        let key = format!("{held:?}/{key}");
        bring(store, &holder, &key, held).await;
        // when
        let got = store.open(&asking, &key, now, STALE).await.unwrap();
        // then
        assert_eq!(got, expected, "{key}");
        let left = store.effect(&dev(), &key).await.unwrap().unwrap();
        let expected = match expected {
            Opened::Mine => (asking.run_id(), EffectState::Intent),
            Opened::Unknown => (holder.run_id(), EffectState::Unknown),
            Opened::AlreadyAccepted(_) | Opened::Busy => (holder.run_id(), held),
        };
        assert_eq!((left.run, left.state), expected, "{key}");
    }
}

on_both! {
    async fn the_table_of_openings(given) {
        use EffectState::{Accepted, Dispatching, Intent, Refused, Unknown};
        let accepted = || Opened::AlreadyAccepted(Some(json!({"message_id": "<1@x>"})));
        let store = &given.store;
        row(store, Intent, [Opened::Mine, Opened::Busy, Opened::Mine]).await;
        row(store, Refused, [Opened::Mine, Opened::Busy, Opened::Mine]).await;
        row(store, Dispatching, [Opened::Unknown, Opened::Busy, Opened::Unknown]).await;
        row(store, Unknown, [Opened::Unknown, Opened::Unknown, Opened::Unknown]).await;
        row(store, Accepted, [accepted(), accepted(), accepted()]).await;
    }

    async fn of_many_runs_at_once_exactly_one_gets_the_entry(given) {
        // given: two processes with a store each
        let stores = [given.store.clone(), given.again().await];
        for round in 0..10 {
            let key = format!("effect:{round}");
            // when: 40 runs of different jobs open it
            let opens = (0..40_u64).map(|n| {
                let (store, key) = (stores[(n % 2) as usize].clone(), key.clone());
                tokio::spawn(async move {
                    store.open(&run(u128::from(n) + 1, n + 1), &key, NOW, STALE).await.unwrap()
                })
            });
            let answers: Vec<_> = join_all(opens).await.into_iter().map(Result::unwrap).collect();
            // then
            let mine = answers.iter().filter(|answer| **answer == Opened::Mine).count();
            let busy = answers.iter().filter(|answer| **answer == Opened::Busy).count();
            assert_eq!((mine, busy), (1, 39));
        }
    }

    async fn of_many_runs_that_take_over_at_once_exactly_one_gets_the_entry(given) {
        // given: an entry that its run left long ago
        bring(&given.store, &run(1, 1), KEY, EffectState::Intent).await;
        // when
        let opens = (2..42_u64).map(|n| {
            let store = given.store.clone();
            tokio::spawn(async move { open_late(&store, &run(u128::from(n), n)).await })
        });
        let answers = join_all(opens).await;
        // then
        let mine = answers.iter().filter(|answer| *answer.as_ref().unwrap() == Opened::Mine).count();
        assert_eq!(mine, 1);
    }

    async fn the_point_of_no_return_is_passed_once_and_by_the_holder_only(given) {
        let store = &given.store;
        let (old, new) = (run(1, 1), run(1, 2));
        bring(store, &old, KEY, EffectState::Intent).await;
        assert_eq!(open(store, &new).await, Opened::Mine);
        // The zombie may not send, nor open the entry again.
        assert!(!store.dispatch(&old, KEY, NOW).await.unwrap());
        assert_eq!(open(store, &old).await, Opened::Busy);
        // The holder may, once.
        assert!(store.dispatch(&new, KEY, NOW).await.unwrap());
        assert!(!store.dispatch(&new, KEY, NOW).await.unwrap());
        // Another tenant's entry of that key is another entry.
        let elsewhere = RunInfo { tenant: acme(), ..run(1, 2) };
        assert!(!store.dispatch(&elsewhere, KEY, NOW).await.unwrap());
    }

    async fn of_many_dispatches_at_once_exactly_one_is_let_through(given) {
        bring(&given.store, &run(1, 1), KEY, EffectState::Intent).await;
        let dispatches = (0..20).map(|_| {
            let store = given.store.clone();
            tokio::spawn(async move { store.dispatch(&run(1, 1), KEY, NOW).await.unwrap() })
        });
        let passed = join_all(dispatches).await;
        assert_eq!(passed.iter().filter(|passed| *passed.as_ref().unwrap()).count(), 1);
    }

    async fn only_the_holder_writes_the_end(given) {
        let store = &given.store;
        bring(store, &run(1, 1), KEY, EffectState::Dispatching).await;
        store.close(&run(1, 2), KEY, EffectState::Accepted, None, NOW).await.unwrap();
        store.close(&run(2, 1), KEY, EffectState::Refused, None, NOW).await.unwrap();
        assert_eq!(state(store).await, EffectState::Dispatching);
        store.close(&run(1, 1), KEY, EffectState::Accepted, Some(json!(1)), NOW).await.unwrap();
        // What is accepted stays so, whatever comes late.
        store.close(&run(1, 1), KEY, EffectState::Unknown, None, NOW).await.unwrap();
        let effect = store.effect(&dev(), KEY).await.unwrap().unwrap();
        assert_eq!((effect.state, effect.receipt), (EffectState::Accepted, Some(json!(1))));
    }

    async fn a_run_given_up_for_lost_may_still_write_the_truth(given) {
        // given: a stopped run whose entry the next run found dispatching
        let store = &given.store;
        bring(store, &run(1, 1), KEY, EffectState::Dispatching).await;
        assert_eq!(open(store, &run(1, 2)).await, Opened::Unknown);
        assert_eq!(store.unknown_effects(&dev(), 10).await.unwrap(), [KEY]);
        // when: it wakes up and has the server's answer
        let later = NOW.plus(Duration::from_secs(60));
        store.close(&run(1, 1), KEY, EffectState::Accepted, Some(json!("ok")), later).await.unwrap();
        // then
        let expected = Opened::AlreadyAccepted(Some(json!("ok")));
        assert_eq!(open(store, &run(1, 3)).await, expected);
        assert!(store.unknown_effects(&dev(), 10).await.unwrap().is_empty());
    }

    async fn a_refusal_may_come_before_the_point_of_no_return_and_nothing_else_may(given) {
        let store = &given.store;
        bring(store, &run(1, 1), KEY, EffectState::Intent).await;
        store.close(&run(1, 1), KEY, EffectState::Accepted, None, NOW).await.unwrap();
        assert_eq!(state(store).await, EffectState::Intent);
        store.close(&run(1, 1), KEY, EffectState::Refused, None, NOW).await.unwrap();
        assert_eq!(state(store).await, EffectState::Refused);
        for no_end in [EffectState::Intent, EffectState::Dispatching] {
            assert!(store.close(&run(1, 1), KEY, no_end, None, NOW).await.is_err());
        }
    }
}
