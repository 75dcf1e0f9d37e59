//! How many files this process may have open: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files beside the connections: databases, listeners, mail.
const OTHERS: u64 = 256;

/// How many of so many connections there is room for. Raises this process's own limit for that, as far as
/// the host allows: many hosts begin with 1024 and allow a million.
pub(crate) fn room_for(connections: usize) -> usize {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHERS);
    let limit = getrlimit(Resource::Nofile);
    let Some(raised) = raised(limit.current, limit.maximum, wanted) else { return connections };
    let refused = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit }).is_err();
    let allowed = if refused { limit.current.unwrap_or(raised) } else { raised };
    if allowed >= wanted {
        return connections;
    }
    let room = usize::try_from(allowed.saturating_sub(OTHERS)).unwrap_or(connections).max(1);
    tracing::warn!(
        files.allowed = allowed,
        files.wanted = wanted,
        "this process may not have as many files open as http.connections takes: it serves {room} \
         connections at once (ulimit -n)"
    );
    room
}

/// The limit to ask for; nothing when the current one will do.
fn raised(current: Option<u64>, maximum: Option<u64>, wanted: u64) -> Option<u64> {
    let current = current.filter(|current| *current < wanted)?;
    Some(maximum.map_or(wanted, |maximum| wanted.min(maximum).max(current)))
}

#[cfg(test)]
mod tests {
    use super::raised;

    #[test]
    fn a_limit_is_raised_as_far_as_needed_and_allowed() {
        assert_eq!(raised(Some(1_024), Some(1_000_000), 16_640), Some(16_640));
        assert_eq!(raised(Some(1_024), None, 16_640), Some(16_640));
        assert_eq!(raised(Some(1_024), Some(4_096), 16_640), Some(4_096));
        for enough in [Some(20_000), None] {
            assert_eq!(raised(enough, None, 16_640), None);
        }
    }
}
