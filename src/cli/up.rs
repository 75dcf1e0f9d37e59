//! `postrider up`: everything in one process, and something to begin with.

use std::{
    fs::{self, DirBuilder},
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use super::{Failure, Globals, Out, roles::listen, signals};
use crate::app::{App, Embedded, Roles};
use clap::Args;

/// The file of the data directory in which the key of tenant `dev` lies, for scripts and restarts.
const DEV_KEY: &str = "dev.key";

/// How to run everything.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
}

/// Runs façade, worker and scheduler until a signal; prints one line when it serves.
///
/// In a new data directory it makes tenant `dev`, its mailbox `dev@example.com` and a key. The key is
/// kept in `dev.key` there, readable by its owner only, so that the line is the same after a restart.
///
/// # Errors
///
/// Why it does not run.
pub async fn run(args: &UpArgs, globals: &Globals, out: &mut Out<'_>) -> Result<(), Failure> {
    let flags: Vec<_> = listen(args.listen).into_iter().collect();
    let config = globals.read(&flags)?;
    writable(&config.data_dir)?;
    let app = App::open(config, Embedded::Yes).await?;
    let key = dev_key(&app).await?;
    let shutdown = signals::shutdown()?;
    app.run_roles(Roles::ALL, shutdown, |address| out.ready(address, Some(&key))).await
}

/// Makes the data directory, and proves that it can be written to.
///
/// # Errors
///
/// Names the directory, and says what the system said.
pub fn writable(dir: &Path) -> Result<(), Failure> {
    let wrong = |words: io::Error| {
        Failure::cannot_create(format!(
            "cannot write to the data directory {}: {words}",
            dir.display()
        ))
    };
    if dir.exists() && !dir.is_dir() {
        return Err(wrong(io::Error::other("it is a file")));
    }
    // Payloads, addresses and mail lie here: nobody else's business.
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(wrong)?;
    let probe = dir.join(format!(".probe-{}", std::process::id()));
    fs::write(&probe, b"").map_err(wrong)?;
    fs::remove_file(&probe).map_err(wrong)
}

/// The key of tenant `dev`: the one in `dev.key` while it is good, else a new one.
///
/// # Errors
///
/// When the store is out of reach, or the key cannot be kept.
pub async fn dev_key(app: &App) -> Result<String, Failure> {
    let file = app.config.data_dir.join(DEV_KEY);
    if let Ok(text) = fs::read_to_string(&file) {
        let key = text.trim().to_owned();
        if app.knows_key(&key).await? {
            return Ok(key);
        }
    }
    let key = app.make_dev().await?;
    keep(&file, &key).map_err(|e| {
        Failure::cannot_create(format!("cannot write the key to {}: {e}", file.display()))
    })?;
    Ok(key)
}

/// Writes a secret for its owner only; whoever looks sees all of it or the one before.
fn keep(file: &Path, key: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let part = file.with_extension(format!("part-{}", std::process::id()));
    let mut options = fs::OpenOptions::new();
    let mut to = options.write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    writeln!(to, "{key}")?;
    to.sync_all()?;
    fs::rename(&part, file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_kept_key_is_for_its_owner_only() {
        let dir = std::env::temp_dir().join(format!("postrider-key-{}", ulid::Ulid::generate()));
        writable(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        let file = dir.join(DEV_KEY);
        keep(&file, "one").unwrap();
        keep(&file, "two").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two\n");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing else is left behind");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        for (path, why) in
            [("/dev/null/postrider", "Not a directory"), ("/dev/null", "it is a file")]
        {
            let failure = writable(Path::new(path)).unwrap_err();
            assert_eq!(failure.code, 73);
            let words = format!("cannot write to the data directory {path}: {why}");
            assert!(failure.sentence.starts_with(&words), "{failure}");
        }
    }
}
