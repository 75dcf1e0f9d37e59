//! The few runs between a claim and apalis: each waits for a slot.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// A queue of runs with one reader that polls, and gets as many as there are slots; it can be closed
/// and emptied from outside.
///
/// The reader is an apalis backend. A channel would not do: when the process stops, apalis does not
/// ask for more, and what lies here must go back to the queue at once.
pub(super) struct Buffer<T> {
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    runs: VecDeque<T>,
    reader: Option<Waker>,
    /// Slots that no run has.
    free: usize,
    closed: bool,
}

impl<T> Buffer<T> {
    pub(super) fn new(slots: usize) -> Self {
        let inner = Inner { runs: VecDeque::new(), reader: None, free: slots, closed: false };
        Self { inner: Mutex::new(inner) }
    }

    /// How many runs wait here.
    pub(super) fn len(&self) -> usize {
        self.lock().runs.len()
    }

    /// Adds runs, or gives them back when the buffer is closed.
    pub(super) fn push(&self, runs: Vec<T>) -> Result<(), Vec<T>> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(runs);
        }
        inner.runs.extend(runs);
        if let Some(reader) = inner.reader.take() {
            reader.wake();
        }
        Ok(())
    }

    /// The next runs, which take a slot each; one at least, and not more than `most`. A closed buffer stays
    /// pending: a backend that ends hangs its apalis worker.
    pub(super) fn poll_take(&self, most: usize, cx: &Context<'_>) -> Poll<Vec<T>> {
        let mut inner = self.lock();
        let count = inner.runs.len().min(inner.free).min(most);
        if count == 0 {
            inner.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        inner.free -= count;
        Poll::Ready(inner.runs.drain(..count).collect())
    }

    /// The slots of so many runs are free again.
    pub(super) fn free_slots(&self, count: usize) {
        let mut inner = self.lock();
        inner.free += count;
        if let Some(reader) = inner.reader.take() {
            reader.wake();
        }
    }

    /// Takes what lies here.
    pub(super) fn take_all(&self) -> VecDeque<T> {
        std::mem::take(&mut self.lock().runs)
    }

    /// Closes the buffer and takes what is left in it.
    pub(super) fn close(&self) -> VecDeque<T> {
        let mut inner = self.lock();
        inner.closed = true;
        std::mem::take(&mut inner.runs)
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // No code that can panic runs under this lock, so a poisoned one is whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Arc};

    use super::*;

    #[tokio::test]
    async fn a_run_waits_for_a_slot() {
        let buffer = Buffer::new(1);
        let waker = Waker::noop();
        let poll = || buffer.poll_take(9, &Context::from_waker(waker));
        buffer.push(vec![1, 2]).unwrap();
        assert_eq!((poll(), poll(), buffer.len()), (Poll::Ready(vec![1]), Poll::Pending, 1));
        buffer.free_slots(1);
        assert_eq!((poll(), buffer.len()), (Poll::Ready(vec![2]), 0));
        buffer.push(vec![3]).unwrap();
        assert_eq!((poll(), buffer.take_all()), (Poll::Pending, [3].into()));
    }

    #[test]
    fn runs_are_taken_in_their_order_and_not_too_many() {
        let buffer = Buffer::new(4);
        let poll = || buffer.poll_take(3, &Context::from_waker(Waker::noop()));
        buffer.push((1..=9).collect()).unwrap();
        assert_eq!((poll(), poll()), (Poll::Ready(vec![1, 2, 3]), Poll::Ready(vec![4])));
        assert_eq!((poll(), buffer.len()), (Poll::Pending, 5));
        buffer.free_slots(4);
        assert_eq!(poll(), Poll::Ready(vec![5, 6, 7]));
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken_by_a_push() {
        let buffer = Arc::new(Buffer::new(1));
        let reader = tokio::spawn({
            let buffer = Arc::clone(&buffer);
            async move { poll_fn(|cx| buffer.poll_take(1, cx)).await }
        });
        tokio::task::yield_now().await;
        buffer.push(vec![7]).unwrap();
        assert_eq!(reader.await.unwrap(), [7]);
    }

    #[test]
    fn closing_gives_back_what_lies_there_and_what_comes_after() {
        let buffer = Buffer::new(1);
        buffer.push(vec![1]).unwrap();
        assert_eq!(buffer.close(), [1]);
        assert_eq!(buffer.push(vec![2]), Err(vec![2]));
    }
}
