//! What the tests share: servers, directories, builders.

use std::time::Duration;

/// Waits until something is so that nothing tells of; to be used when there is no event to wait for.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let waiting = async {
        while !is_so() {
            looks.tick().await;
        }
    };
    let deadline = tokio::time::timeout(Duration::from_secs(20), waiting);
    assert!(deadline.await.is_ok(), "it is still not so that {what}");
}
