//! What the queue's and the store's files have in common: what SQLite's errors are, and opening a file
//! that others open, too.

use std::time::Duration;

// Primary result codes (<https://www.sqlite.org/rescode.html>).
pub(crate) const PERM: i32 = 3;
pub(crate) const BUSY: i32 = 5;
pub(crate) const LOCKED: i32 = 6;
pub(crate) const NOMEM: i32 = 7;
pub(crate) const READONLY: i32 = 8;
pub(crate) const INTERRUPT: i32 = 9;
pub(crate) const IOERR: i32 = 10;
pub(crate) const CORRUPT: i32 = 11;
pub(crate) const FULL: i32 = 13;
pub(crate) const CANTOPEN: i32 = 14;
pub(crate) const PROTOCOL: i32 = 15;
pub(crate) const NOTADB: i32 = 26;

/// Pauses between tries to open a file that another process is just making.
const PAUSE: Duration = Duration::from_millis(20);

/// SQLite's primary result code, which is the lowest byte of the extended one.
pub(crate) fn primary(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// Opens a file, again and again while somebody else has it locked, for about so long.
///
/// SQLite does not wait where waiting could be for ever, as when two processes switch a new file to
/// WAL at once; trying again is left to us.
pub(crate) async fn open_once_free<T, E, F: Future<Output = Result<T, E>>>(
    patience: Duration,
    open: impl Fn() -> F,
    code: impl Fn(&E) -> Option<i32>,
) -> Result<T, E> {
    let tries = patience.as_millis() / PAUSE.as_millis();
    let mut tried = 0;
    loop {
        match open().await {
            Err(error) if tried < tries && code(&error) == Some(BUSY) => {
                tried += 1;
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}
