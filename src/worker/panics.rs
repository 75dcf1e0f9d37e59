//! Panics of jobs: where they happened, and not what they said.
//!
//! The words of a panic are whatever the code had in its hands: an `expect` prints the value that it did
//! not expect. They go neither to the log nor to whoever asks for the job; the place in the code does.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    panic::{self, PanicHookInfo},
    pin::pin,
    sync::Once,
};

thread_local! {
    /// Whether the code of a job runs on this thread now.
    static IN_JOB: Cell<bool> = const { Cell::new(false) };
    /// Where it panicked last.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on, panics of jobs are logged by their place alone; those of others as before.
pub(super) fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| if IN_JOB.get() { note(info) } else { before(info) }));
    });
}

fn note(info: &PanicHookInfo<'_>) {
    let place = info.location().map(|at| format!("{}:{}", name_of(at.file()), at.line()));
    tracing::error!(panic.place = place, "a job panicked; what it said may be confidential");
    PLACE.set(place);
}

/// A source file by its folder and its name: where the program was built is nobody's business.
fn name_of(file: &str) -> &str {
    let cut = file.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    &file[cut..]
}

/// What is said of a panic that was just caught on this thread.
pub(super) fn words() -> String {
    match PLACE.take() {
        Some(place) => format!("the job's code failed at {place}"),
        None => "the job's code failed".to_owned(),
    }
}

/// Runs a job's code, whose panics are hushed.
pub(super) async fn hushed<F: Future>(work: F) -> F::Output {
    let mut work = pin!(work);
    poll_fn(|cx| hush_step(|| work.as_mut().poll(cx))).await
}

/// The same for a step that does not wait.
pub(super) fn hush_step<T>(step: impl FnOnce() -> T) -> T {
    let _in_job = InJob::begin();
    step()
}

/// While this lives, the code of a job runs on this thread.
struct InJob {
    before: bool,
}

impl InJob {
    fn begin() -> Self {
        Self { before: IN_JOB.replace(true) }
    }
}

impl Drop for InJob {
    fn drop(&mut self) {
        IN_JOB.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_file_is_named_by_its_folder() {
        assert_eq!(name_of("/home/ada/.cargo/registry/src/x-1.0/src/lib.rs"), "src/lib.rs");
        assert_eq!(name_of("jobs/send.rs"), "jobs/send.rs");
        assert_eq!(name_of("main.rs"), "main.rs");
    }

    #[tokio::test]
    async fn a_panic_tells_its_place_and_nothing_else() {
        hush();
        let failing = hushed(async { panic!("no number: hunter2") });
        assert!(AssertUnwindSafe(failing).catch_unwind().await.is_err());
        let words = words();
        assert!(words.starts_with("the job's code failed at worker/panics.rs:"), "{words}");
        assert!(!IN_JOB.get());
    }
}
