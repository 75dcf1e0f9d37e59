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

    /// Adds a run, or gives it back when the buffer is closed.
    pub(super) fn push(&self, run: T) -> Result<(), T> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(run);
        }
        inner.runs.push_back(run);
        if let Some(reader) = inner.reader.take() {
            reader.wake();
        }
        Ok(())
    }

    /// The next run, which takes a slot. A closed buffer stays pending: a backend that ends hangs its
    /// apalis worker.
    pub(super) fn poll_pop(&self, cx: &Context<'_>) -> Poll<T> {
        let mut inner = self.lock();
        let run = if inner.free > 0 { inner.runs.pop_front() } else { None };
        match run {
            Some(run) => {
                inner.free -= 1;
                Poll::Ready(run)
            }
            None => {
                inner.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The slot of a run is free again.
    pub(super) fn free_slot(&self) {
        let mut inner = self.lock();
        inner.free += 1;
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
        let poll = || buffer.poll_pop(&Context::from_waker(waker));
        buffer.push(1).unwrap();
        buffer.push(2).unwrap();
        assert_eq!((poll(), poll(), buffer.len()), (Poll::Ready(1), Poll::Pending, 1));
        buffer.free_slot();
        assert_eq!((poll(), buffer.len()), (Poll::Ready(2), 0));
        buffer.push(3).unwrap();
        assert_eq!((poll(), buffer.take_all()), (Poll::Pending, [3].into()));
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken_by_a_push() {
        let buffer = Arc::new(Buffer::new(1));
        let reader = tokio::spawn({
            let buffer = Arc::clone(&buffer);
            async move { poll_fn(|cx| buffer.poll_pop(cx)).await }
        });
        tokio::task::yield_now().await;
        buffer.push(7).unwrap();
        assert_eq!(reader.await.unwrap(), 7);
    }

    #[test]
    fn closing_gives_back_what_lies_there_and_what_comes_after() {
        let buffer = Buffer::new(1);
        buffer.push(1).unwrap();
        assert_eq!(buffer.close(), [1]);
        assert_eq!(buffer.push(2), Err(2));
    }
}
