//! The mail server of the demo: real SMTP over TCP, inside this machine, with moods.

use std::{fs, net::SocketAddr, path::Path};

use crate::cli::Failure;

/// The server; it stops when this is dropped.
pub(super) struct Server {
    address: SocketAddr,
}

impl Server {
    /// Starts it on a free port. It greylists one recipient once, and at another one it says once
    /// that the mailbox is too fast.
    #[expect(clippy::unused_async, reason = "the rehearsal server is started here")]
    pub(super) async fn start() -> Result<Self, Failure> {
        Err(Failure::unavailable("this build has no rehearsal server"))
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Writes the mails that it took into `dir`, and answers how many there are.
    pub(super) fn keep(&self, dir: &Path) -> Result<usize, Failure> {
        let mails: [(String, Vec<u8>); 0] = [];
        let wrong = |e| Failure::cannot_create(format!("cannot write to {}: {e}", dir.display()));
        fs::create_dir_all(dir).map_err(wrong)?;
        for (index, (to, message)) in mails.iter().enumerate() {
            let file = dir.join(format!("{:02}-{}.eml", index + 1, to.replace(['/', '\\'], "_")));
            fs::write(file, message).map_err(wrong)?;
        }
        Ok(mails.len())
    }
}
