//! The mail server of the demo: real SMTP over TCP, inside this machine, with moods.

use std::{fs, net::SocketAddr, path::Path};

use jobs::contract::ports::Phase;

use super::samples::{GREYLISTED, SLOWED};
use crate::{
    cli::Failure,
    mail::{Act, Rehearsal, Script},
};

/// The server; it stops when this is dropped.
pub(super) struct Server {
    rehearsal: Rehearsal,
}

impl Server {
    /// Starts it on a free port. It greylists some recipients once, and at another one it says once
    /// that the mailbox is too fast.
    pub(super) async fn start() -> Result<Self, Failure> {
        let say = |words: &str| [Act::Say(Phase::Rcpt, words.to_owned())];
        let mut script = Script::new()
            .recipient(SLOWED, say("421 4.7.28 Too many messages from this account, slow down"));
        for email in GREYLISTED {
            script = script.recipient(email, say("451 4.7.1 Greylisted, please try again later"));
        }
        let rehearsal = Rehearsal::start(script).await.map_err(|e| {
            Failure::unavailable(format!("the rehearsal mail server cannot start: {e}"))
        })?;
        Ok(Self { rehearsal })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.rehearsal.addr()
    }

    /// Writes the mails that it took into `dir`, and answers how many there are.
    pub(super) fn keep(&self, dir: &Path) -> Result<usize, Failure> {
        let mails = self.rehearsal.delivered();
        let wrong = |e| Failure::cannot_create(format!("cannot write to {}: {e}", dir.display()));
        fs::create_dir_all(dir).map_err(wrong)?;
        for (index, mail) in mails.iter().enumerate() {
            let to = mail.to.replace(['/', '\\'], "_");
            let file = dir.join(format!("{:02}-{to}.eml", index + 1));
            fs::write(file, &mail.message).map_err(wrong)?;
        }
        Ok(mails.len())
    }
}
