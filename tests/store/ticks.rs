//! How far each entry of the crontab has got: what `scheduler` asks of a store.

use std::{sync::Arc, time::Duration};

use jobs::contract::Moment;
use postrider::scheduler::Ticks;
use tokio::task::JoinSet;

use super::{NOW, acme, dev, on_both};

fn later(seconds: u64) -> Moment {
    NOW.plus(Duration::from_secs(seconds))
}

on_both! {
    async fn a_mark_is_remembered_by_tenant_and_name(given) {
        // given
        let store = &given.store;
        assert_eq!(store.last(&dev(), "nightly").await.unwrap(), None);
        // when
        assert!(store.advance(&dev(), "nightly", None, NOW).await.unwrap());
        assert!(store.advance(&dev(), "nightly", Some(NOW), later(60)).await.unwrap());
        // then another process sees it, and nobody else's has moved
        let again = given.again().await;
        assert_eq!(again.last(&dev(), "nightly").await.unwrap(), Some(later(60)));
        assert_eq!(again.last(&dev(), "hourly").await.unwrap(), None);
        assert_eq!(again.last(&acme(), "nightly").await.unwrap(), None);
    }

    async fn a_mark_moves_only_from_where_it_is(given) {
        // given
        let store = &given.store;
        assert!(!store.advance(&dev(), "nightly", Some(NOW), later(60)).await.unwrap());
        assert_eq!(store.last(&dev(), "nightly").await.unwrap(), None);
        store.advance(&dev(), "nightly", None, NOW).await.unwrap();
        // when somebody moves it from elsewhere, or begins it again, then it stays
        assert!(!store.advance(&dev(), "nightly", Some(later(1)), later(60)).await.unwrap());
        assert!(!store.advance(&dev(), "nightly", None, later(60)).await.unwrap());
        assert_eq!(store.last(&dev(), "nightly").await.unwrap(), Some(NOW));
        // when a clock was set back, then it can be moved back
        assert!(store.advance(&dev(), "nightly", Some(NOW), NOW.minus(Duration::from_secs(9))).await.unwrap());
    }

    async fn of_many_that_move_a_mark_at_once_one_does(given) {
        // given
        let store = Arc::new(given.again().await);
        store.advance(&dev(), "nightly", None, NOW).await.unwrap();
        // when
        let mut moves = JoinSet::new();
        for number in 1..=20 {
            let store = Arc::clone(&store);
            moves.spawn(async move {
                store.advance(&dev(), "nightly", Some(NOW), later(number)).await.unwrap()
            });
        }
        // then
        let moved = moves.join_all().await;
        assert_eq!(moved.iter().filter(|moved| **moved).count(), 1);
    }
}
