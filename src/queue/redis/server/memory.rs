//! The mark in a server's memory above which it is asked to take no more jobs.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::queue::redis::checks::over;

/// A look is good for so long. Nobody looks while no jobs come.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// What was last seen of a server's memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    seen: std::sync::Mutex<Seen>,
    /// Held by the one who looks.
    pub(super) looking: Mutex<()>,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    at: Option<Instant>,
    /// Why no more jobs are taken, if so.
    full: Option<String>,
}

/// Whether a job may come in, as far as is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It may.
    Room,
    /// It may, but somebody should look again.
    RoomOnce,
    /// It may not.
    Full(String),
    /// Nobody has looked, or it was full when somebody last did: look first.
    Unknown,
}

impl Memory {
    pub(super) fn known(&self) -> Known {
        let seen = self.seen().clone();
        let fresh = seen.at.is_some_and(|at| at.elapsed() < GOOD_FOR);
        match (fresh, seen.full) {
            (true, None) => Known::Room,
            (true, Some(words)) => Known::Full(words),
            (false, None) if seen.at.is_some() => Known::RoomOnce,
            (false, _) => Known::Unknown,
        }
    }

    /// Takes in what `INFO memory` said; nothing, when it did not answer, which others will find out.
    pub(super) fn see(&self, info: Option<&str>, high_water: f64) {
        let full = info.and_then(|info| over(info, high_water));
        let mut seen = self.seen();
        if full.is_some() != seen.full.is_some() {
            match &full {
                Some(words) => tracing::warn!("submissions are refused: {words}"),
                None => tracing::info!("the server has room again: submissions are taken"),
            }
        }
        *seen = Seen { at: Some(Instant::now()), full };
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(used: u64, most: u64) -> String {
        format!("# Memory\r\nused_memory:{used}\r\nmaxmemory:{most}\r\n")
    }

    #[test]
    fn nothing_is_refused_that_nobody_saw() {
        let memory = Memory::default();
        assert_eq!(memory.known(), Known::Unknown);
        memory.see(Some(&info(10, 100)), 0.8);
        assert_eq!(memory.known(), Known::Room);
        memory.see(Some(&info(90, 100)), 0.8);
        assert!(matches!(memory.known(), Known::Full(_)));
        memory.see(None, 0.8);
        assert_eq!(memory.known(), Known::Room);
    }
}
