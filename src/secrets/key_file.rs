//! The secret key of the embedded default: a file that only its owner can read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rand::RngExt;
use secrecy::zeroize::Zeroizing;

use super::{KEY_LENGTH, Secrets, SecretsError, decode};

const NAME: &str = "secret.key";

/// The secrets of the key in `dir`, which is made when it is not there.
pub(super) fn load_or_create(dir: &Path) -> Result<Secrets, SecretsError> {
    let file = dir.join(NAME);
    match read(&file) {
        Err(SecretsError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {
            create(dir, &file).map_err(|source| SecretsError::File {
                verb: "create",
                file: file.clone(),
                source,
            })?;
            // Whoever was first, this is the key that everybody uses.
            read(&file)
        }
        read => read,
    }
}

/// The secrets of the key in `dir`, if there is one.
pub(super) fn load(dir: &Path) -> Result<Option<Secrets>, SecretsError> {
    match read(&dir.join(NAME)) {
        Err(SecretsError::File { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

fn read(file: &Path) -> Result<Secrets, SecretsError> {
    let text = fs::read_to_string(file).map_err(|source| SecretsError::File {
        verb: "read",
        file: file.to_owned(),
        source,
    })?;
    decode(&file.display().to_string(), &Zeroizing::new(text))
}

/// Writes a new key beside its place and links it there. A link never replaces a file: of several
/// processes that start at once one makes the key, and nobody reads half of one.
fn create(dir: &Path, file: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let key: Zeroizing<[u8; KEY_LENGTH]> = Zeroizing::new(rand::rng().random());
    let draft = dir.join(format!(".{NAME}.{:016x}", rand::random::<u64>()));
    let written = write(&draft, &STANDARD.encode(*key)).and_then(|()| fs::hard_link(&draft, file));
    // The draft is of no use any more, whether or not it became the key.
    let removed = fs::remove_file(&draft);
    match written {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        written => {
            written?;
            removed?;
        }
    }
    // What is sealed must not outlive its key through a power cut.
    File::open(dir)?.sync_all()
}

fn write(draft: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, sync::Barrier, thread};

    use super::*;

    #[test]
    fn many_that_start_at_once_agree_on_one_key() {
        // given
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("data");
        let start = Barrier::new(16);

        // when
        let ids: Vec<String> = thread::scope(|scope| {
            let starters: Vec<_> = (0..16)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        load_or_create(&dir).unwrap().key_id
                    })
                })
                .collect();
            starters.into_iter().map(|starter| starter.join().unwrap()).collect()
        });

        // then
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        let mode = fs::metadata(dir.join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_broken_key_file_is_named_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(NAME);
        fs::write(&file, "not a key").unwrap();
        let error = load_or_create(dir.path()).unwrap_err().to_string();
        assert!(error.contains("secret.key: expected 32 bytes"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "not a key");
    }

    #[test]
    fn a_place_that_is_no_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = load_or_create(&file.join("data")).unwrap_err().to_string();
        assert!(error.contains("the secret key") && error.contains("file/data"), "{error}");
    }
}
