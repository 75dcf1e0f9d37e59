//! The file transport: mail as `.eml` files, for the embedded default and for trying things out.

use std::{
    io,
    path::{Path, PathBuf},
};

use jobs::contract::{
    Fault,
    ports::{Composed, NotSent, PointOfNoReturn, Receipt},
};
use lettre::{
    AsyncFileTransport, AsyncTransport, Tokio1Executor,
    address::{Address, Envelope},
};
use tokio::fs;

use super::FILES;

/// Writes mails to `<dir>/<Message-ID>.eml`.
#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
}

impl Files {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Writes the mail beside, asks the gate, and moves it into place: a mail is there whole or not
    /// at all, and the rename is what the final dot is to SMTP.
    pub(super) async fn send(
        &self,
        mail: &Composed,
        gate: &dyn PointOfNoReturn,
    ) -> Result<Receipt, NotSent> {
        let drafts = self.dir.join("drafts");
        let draft = write(&drafts, mail).await.map_err(|e| fault(&self.dir, &e))?;
        match gate.pass().await {
            Ok(true) => {}
            no => {
                // A draft that cannot be removed is litter, not a mail.
                let _ = fs::remove_file(&draft).await;
                return Err(NotSent::Stopped(no.err()));
            }
        }
        let name = file_name(&mail.message_id);
        if let Err(e) = fs::rename(&draft, self.dir.join(&name)).await {
            let _ = fs::remove_file(&draft).await;
            return Err(fault(&self.dir, &e));
        }
        // The mail is there; that its name outlives a power cut is as good as we can make it.
        let _ = sync(&self.dir).await;
        // Callers read this: where on the host the directory is, is not for them.
        let provider_id = Some(format!("{FILES}/{name}"));
        Ok(Receipt { reply: None, provider_id, logged_in: false })
    }
}

async fn write(drafts: &Path, mail: &Composed) -> io::Result<PathBuf> {
    fs::create_dir_all(drafts).await?;
    let parse = |address: &str| {
        let parsed = address.parse::<Address>();
        parsed.map_err(|_| io::Error::other("an address of the mail is not one"))
    };
    let envelope = Envelope::new(Some(parse(&mail.from)?), vec![parse(&mail.to)?])
        .map_err(io::Error::other)?;
    let transport = AsyncFileTransport::<Tokio1Executor>::new(drafts);
    let id = transport.send_raw(&envelope, &mail.bytes).await.map_err(io::Error::other)?;
    let draft = drafts.join(format!("{id}.eml"));
    sync(&draft).await?;
    Ok(draft)
}

async fn sync(path: &Path) -> io::Result<()> {
    fs::File::open(path).await?.sync_all().await
}

fn fault(dir: &Path, error: &io::Error) -> NotSent {
    // The tenant hears that it failed, the operator's log where.
    tracing::warn!(mail.dir = %dir.display(), %error, "a mail could not be written");
    let words = format!("cannot write the mail to the data directory: {error}");
    NotSent::Fault(Fault::transient("mail_not_written", words))
}

/// The Message-ID as a file name: nothing in it can name another directory.
fn file_name(message_id: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "@.-_".contains(c) { c } else { '_' };
    let name: String = message_id.trim_matches(['<', '>']).chars().take(200).map(plain).collect();
    format!("{}.eml", name.trim_start_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_stays_in_its_directory() {
        assert_eq!(file_name("<abc@example.com>"), "abc@example.com.eml");
        assert_eq!(file_name("<../../etc/passwd>"), "_.._etc_passwd.eml");
        assert_eq!(file_name("</a\0b>"), "_a_b.eml");
    }
}
