//! Why a file was not applied.

use std::{io, path::PathBuf};

use crate::{queue::QueueError, store::StoreError};

/// Why a file was not applied. Nothing of that file was, unless the text says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The file is not what it should be; every problem found, with its place.
    #[error("{}: {} found, nothing was changed:\n  {}", file.display(), count(*total), problems.join("\n  "))]
    Data {
        /// The file.
        file: PathBuf,
        /// The problems, at most [`super::SHOWN`] of them.
        problems: Vec<String>,
        /// How many there are.
        total: u64,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store took it, but lanes go on under their former limits.
    #[error(
        "the mailboxes are stored, but the lanes of the queue keep their former limits until the \
         file is applied again: {0}"
    )]
    Queue(QueueError),
    /// The result cannot be written.
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
}

fn count(total: u64) -> String {
    match total {
        1 => "1 problem".to_owned(),
        _ => format!("{total} problems"),
    }
}
