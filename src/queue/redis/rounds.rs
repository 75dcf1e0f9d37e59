//! Rounds over the shards: what is done in all of them is done in each by itself.
//!
//! All are asked at once. One that fails is left for a while, so that the next rounds of the same beat do
//! not wait for it, and is asked again then; it holds up no other.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use tokio::time::timeout;

use super::server::Server;
use crate::queue::QueueError;

/// How long a round waits for one shard, where there are others. A script takes milliseconds.
const SOON: Duration = Duration::from_secs(2);
/// How long a shard is left out that failed.
const REST: Duration = Duration::from_secs(1);

/// The shards, and which of them failed when they were asked last.
pub(super) struct Rounds {
    shards: usize,
    away: Mutex<HashMap<usize, Away>>,
}

/// Why a shard is left out, and until when.
struct Away {
    until: Instant,
    error: QueueError,
}

impl Rounds {
    pub(super) fn new(shards: usize) -> Self {
        Self { shards, away: Mutex::default() }
    }

    /// Asks all shards that are not left out, and answers with what they said, in their order.
    ///
    /// # Errors
    ///
    /// When none of them answered: the failure of the first.
    pub(super) async fn all<T, F>(
        &self,
        server: &Server,
        ask: impl Fn(usize) -> F,
    ) -> Result<Vec<(usize, T)>, QueueError>
    where
        F: Future<Output = Result<T, QueueError>>,
    {
        let asked = self.asked().into_iter().map(|shard| (shard, ask(shard)));
        self.each(server, asked.collect()).await
    }

    /// Asks these shards.
    ///
    /// # Errors
    ///
    /// When no shard answered: the failure of the first, or why it was left out.
    pub(super) async fn each<T, F>(
        &self,
        server: &Server,
        asked: Vec<(usize, F)>,
    ) -> Result<Vec<(usize, T)>, QueueError>
    where
        F: Future<Output = Result<T, QueueError>>,
    {
        let alone = self.shards == 1;
        let answers = join_all(asked.into_iter().map(|(shard, call)| async move {
            if alone {
                // There is nobody to go on to.
                return (shard, call.await);
            }
            let answer = timeout(SOON, call).await.unwrap_or_else(|_| {
                server.doubt_shard(shard);
                Err(QueueError::Unavailable(format!(
                    "a shard did not answer within {} ms",
                    SOON.as_millis()
                )))
            });
            (shard, answer)
        }));
        self.take(answers.await)
    }

    /// Parts what was answered from what failed.
    ///
    /// # Errors
    ///
    /// When no shard answered: the failure of the first, or why it was left out.
    pub(super) fn take<T>(
        &self,
        answers: Vec<(usize, Result<T, QueueError>)>,
    ) -> Result<Vec<(usize, T)>, QueueError> {
        let (mut heard, mut failed) = (Vec::with_capacity(answers.len()), Vec::new());
        for (shard, answer) in answers {
            match answer {
                Ok(answer) => {
                    self.answered(shard);
                    heard.push((shard, answer));
                }
                Err(error) => failed.push((shard, error)),
            }
        }
        self.failed(failed);
        match self.failure() {
            Some(error) if heard.is_empty() => Err(error),
            _ => Ok(heard),
        }
    }

    /// The shards that are not left out now.
    pub(super) fn asked(&self) -> Vec<usize> {
        let (away, now) = (self.lock(), Instant::now());
        let asked = |shard: &usize| away.get(shard).is_none_or(|away| away.until <= now);
        (0..self.shards).filter(asked).collect()
    }

    /// A shard answers.
    fn answered(&self, shard: usize) {
        if self.lock().remove(&shard).is_some() {
            tracing::info!(shard, "a shard is tended again");
        }
    }

    /// Shards failed: they are left out for a while, which is said when it begins. Where all of them
    /// are, whoever asked says so.
    fn failed(&self, failed: Vec<(usize, QueueError)>) {
        let mut away = self.lock();
        let mut news = Vec::new();
        for (shard, error) in failed {
            let until = Instant::now() + REST;
            if away.insert(shard, Away { until, error: error.clone() }).is_none() {
                news.push((shard, error));
            }
        }
        if away.len() < self.shards {
            for (shard, error) in news {
                tracing::warn!(shard, %error, "a shard cannot be tended; the others are");
            }
        }
    }

    /// Why the first of those failed that are away.
    fn failure(&self) -> Option<QueueError> {
        let away = self.lock();
        away.iter().min_by_key(|(shard, _)| **shard).map(|(_, away)| away.error.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Away>> {
        // No code that can panic runs under this lock, so a poisoned one is whole.
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone() -> QueueError {
        QueueError::Unavailable("gone".into())
    }

    #[test]
    fn a_shard_that_fails_is_left_out_and_takes_nothing_from_the_others() {
        let rounds = Rounds::new(3);
        let heard = rounds.take(vec![(0, Ok('a')), (1, Err(gone())), (2, Ok('c'))]).unwrap();
        assert_eq!(heard, [(0, 'a'), (2, 'c')]);
        assert_eq!(rounds.asked(), [0, 2]);
        rounds.answered(1);
        assert_eq!(rounds.asked(), [0, 1, 2]);
    }

    #[test]
    fn a_round_fails_when_nobody_answers_and_says_why_also_while_all_are_left_out() {
        let rounds = Rounds::new(2);
        let failed = rounds.take::<()>(vec![(0, Err(gone())), (1, Err(gone()))]).unwrap_err();
        assert!(failed.to_string().contains("gone"), "{failed}");
        assert!(rounds.asked().is_empty());
        assert!(rounds.take::<()>(Vec::new()).is_err());
    }

    #[test]
    fn a_round_over_no_shard_at_all_is_none_that_failed() {
        assert_eq!(Rounds::new(1).take::<()>(Vec::new()).unwrap(), []);
    }
}
