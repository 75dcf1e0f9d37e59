//! The mark in a server's memory above which it is asked to take no more jobs.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::queue::redis::checks::field;

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

/// Says so when a server uses more than its part; one without `maxmemory` never does.
fn over(info: &str, high_water: f64) -> Option<String> {
    let number = |name: &str| field(info, name)?.parse::<u64>().ok();
    let (used, most) = (number("used_memory")?, number("maxmemory")?);
    // Bytes as floating-point numbers: exact up to 8 PiB.
    #[allow(clippy::cast_precision_loss, reason = "nobody minds a byte in a petabyte")]
    let part = if most == 0 { 0.0 } else { used as f64 / most as f64 };
    (part >= high_water).then(|| {
        format!(
            "Redis uses {:.0} % of its maxmemory, from {:.0} % on it takes no more jobs \
             (redis.high_water)",
            part * 100.0,
            high_water * 100.0
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(used: u64, most: u64) -> String {
        format!("# Memory\r\nused_memory:{used}\r\nmaxmemory:{most}\r\n")
    }

    #[test]
    fn the_mark_is_a_part_of_maxmemory() {
        assert_eq!(over(&info(79, 100), 0.8), None);
        let words = over(&info(80, 100), 0.8).unwrap();
        assert!(words.contains("uses 80 % of its maxmemory"), "{words}");
        assert_eq!(over(&info(1 << 40, 0), 0.8), None);
        assert_eq!(over("", 0.8), None);
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
