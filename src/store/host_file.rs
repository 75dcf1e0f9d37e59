//! A SQLite file of somebody else, who may put another one into its place: a backup that is restored. A
//! connection goes on with the file that it has opened, whatever the path names since.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{Sqlite, pool::PoolOptions};

/// A connection that is being opened while the change is noticed may still have the file before.
const OPENING: Duration = Duration::from_secs(1);

/// What a path names, and since when.
#[derive(Debug)]
struct HostFile {
    path: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    file: Option<Identity>,
    /// When it was noticed that the path names another file; none: it has named this one all the time.
    changed: Option<Instant>,
}

/// A file on this host, whatever it is called: its device and its number there.
type Identity = (u64, u64);

fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Closes idle connections of a pool, in place of using them, when the path names another file than it did
/// when they were opened. To ask costs a microsecond.
pub(super) fn following(pool: PoolOptions<Sqlite>, path: &Path) -> PoolOptions<Sqlite> {
    let file = Arc::new(HostFile::new(path));
    pool.before_acquire(move |_, about| {
        let opened = Instant::now().checked_sub(about.age);
        let is_current = file.is_current(opened);
        Box::pin(async move { Ok(is_current) })
    })
}

impl HostFile {
    fn new(path: &Path) -> Self {
        let seen = Seen { file: identity(path), changed: None };
        Self { path: path.to_owned(), seen: Mutex::new(seen) }
    }

    /// Whether a connection that was opened then has the file that the path names now.
    fn is_current(&self, opened: Option<Instant>) -> bool {
        let file = identity(&self.path);
        // No code that can panic runs under this lock, so a poisoned one is whole.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if file != seen.file {
            tracing::info!(file = %self.path.display(), "a database's file is another one now");
            *seen = Seen { file, changed: Some(Instant::now()) };
        }
        match (seen.changed, opened) {
            (None, _) => true,
            (Some(changed), Some(opened)) => opened > changed + OPENING,
            (Some(_), None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_opened_before_the_file_was_another_one_is_not_used() {
        // given
        let dir = tempfile::tempdir().unwrap();
        let [path, other] = ["desk", "other"].map(|name| dir.path().join(name));
        fs::write(&path, "").unwrap();
        let file = HostFile::new(&path);
        let before = Some(Instant::now());
        assert!(file.is_current(before));
        // when
        fs::write(&other, "").unwrap();
        fs::rename(&other, &path).unwrap();
        // then
        assert!(!file.is_current(before));
        assert!(!file.is_current(before), "it is not forgotten");
        let later = Instant::now() + OPENING + Duration::from_millis(1);
        assert!(file.is_current(Some(later)));
        // and the same when it goes away
        fs::remove_file(&path).unwrap();
        assert!(!file.is_current(Some(Instant::now())));
    }
}
