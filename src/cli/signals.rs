//! Signals: the first asks to stop and gives running jobs their grace, the second stops at once.

use std::{
    io::{self, Write},
    process,
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Failure;

/// Begins to listen for SIGTERM and SIGINT; the token is cancelled by the first of them.
pub(super) fn shutdown() -> Result<CancellationToken, Failure> {
    let wrong = |e: io::Error| Failure::unavailable(format!("cannot listen for signals: {e}"));
    let mut term = signal(SignalKind::terminate()).map_err(wrong)?;
    let mut int = signal(SignalKind::interrupt()).map_err(wrong)?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        either(&mut term, &mut int).await;
        stop.cancel();
        let _ = writeln!(io::stderr(), "Stopping; once more to stop at once.");
        let number = either(&mut term, &mut int).await;
        // The shell's way to say which signal ended a process.
        process::exit(128 + number);
    });
    Ok(token)
}

/// Waits for one of the two, and answers with its number.
async fn either(term: &mut Signal, int: &mut Signal) -> i32 {
    tokio::select! {
        _ = term.recv() => SignalKind::terminate().as_raw_value(),
        _ = int.recv() => SignalKind::interrupt().as_raw_value(),
    }
}
