//! Secrets: sealing what is stored, and the pepper of API keys.
//!
//! One secret key of 32 bytes is configured (`secret_key`) or, for the embedded default, kept in a
//! file of the data directory. It is never used itself: sealing has a key of its own, derived from it
//! with HMAC-SHA256 under a label. The pepper is derived from nothing: a store draws it once and keeps it
//! sealed, so that a secret key which was rotated away tells nothing about it.

mod api_key;
mod key_file;
mod sealing;

use std::{fmt, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use rand::RngExt;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use sha2::Sha256;

pub use self::{
    api_key::{ApiKey, Environment, KeyHash, MalformedKey},
    sealing::{Place, UnsealError},
};
use crate::config::Config;

/// Bytes of a secret key.
const KEY_LENGTH: usize = 32;

/// A key, wiped when it is dropped.
type Key = Zeroizing<[u8; KEY_LENGTH]>;

/// Keys for sealing and for hashing API keys. Cheap to clone; never printed.
#[derive(Clone)]
pub struct Secrets {
    /// Names the secret key without telling anything about it; part of every sealed value.
    key_id: String,
    sealing: Key,
    /// Drawn at random until a store has given its own: by this one no key is known.
    pepper: Key,
    /// The keys of the secret key before this one, which still open what they sealed.
    previous: Option<Box<Secrets>>,
}

/// Why there is no secret key.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// None is configured.
    #[error(
        "no secret key: set POSTRIDER_SECRET_KEY to 32 random bytes in base64 \
         (`openssl rand -base64 32`); only `up` and `demo` make one themselves"
    )]
    Missing,
    /// What is configured is no key.
    #[error("{from}: expected 32 bytes in base64 (`openssl rand -base64 32`), got {got}")]
    Malformed {
        /// The option or file it came from.
        from: String,
        /// What was got, without telling it.
        got: String,
    },
    /// The key file cannot be read or made.
    #[error("cannot {verb} the secret key {}: {source}", file.display())]
    File {
        /// `read` or `create`.
        verb: &'static str,
        /// The file.
        file: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
}

impl Secrets {
    /// The secrets of the configured key.
    ///
    /// # Errors
    ///
    /// When none is configured, or when it is not 32 bytes in base64.
    pub fn load(config: &Config) -> Result<Self, SecretsError> {
        if config.secret_key.expose_secret().trim().is_empty() {
            return Err(SecretsError::Missing);
        }
        Self::from_base64(&config.secret_key)?.and_previous(config)
    }

    /// These, and those of the configured key before, if there is one.
    fn and_previous(self, config: &Config) -> Result<Self, SecretsError> {
        let text = config.secret_key_previous.expose_secret();
        if text.trim().is_empty() {
            return Ok(self);
        }
        Ok(self.with_previous(decode("secret_key_previous", text)?))
    }

    /// These, which also open what `previous` sealed.
    #[must_use]
    pub fn with_previous(mut self, previous: Self) -> Self {
        self.previous = Some(Box::new(Self { previous: None, ..previous }));
        self
    }

    /// Whether there is a key before this one.
    pub fn has_previous(&self) -> bool {
        self.previous.is_some()
    }

    /// The pepper that API keys are hashed with, for safe-keeping.
    pub(crate) fn pepper(&self) -> SecretString {
        STANDARD.encode(self.pepper.as_slice()).into()
    }

    /// Hashes API keys with a pepper that was kept; `false` when it is none.
    pub(crate) fn set_pepper(&mut self, text: &SecretString) -> bool {
        let bytes = STANDARD.decode(text.expose_secret()).map(Zeroizing::new);
        let Some(pepper) = bytes.ok().and_then(|bytes| bytes.as_slice().try_into().ok()) else {
            return false;
        };
        self.pepper = Zeroizing::new(pepper);
        true
    }

    /// The secrets of the configured key or else of `secret.key` in the data directory, which is
    /// made when it is not there. For `up` and `demo` only: a fleet shares one configured key.
    ///
    /// # Errors
    ///
    /// When the configured key or the file's is none, or the file cannot be read or made.
    pub fn load_or_create(config: &Config) -> Result<Self, SecretsError> {
        match Self::load(config) {
            Err(SecretsError::Missing) => {
                key_file::load_or_create(&config.data_dir)?.and_previous(config)
            }
            loaded => loaded,
        }
    }

    /// The secrets of the configured key or else of a `secret.key` that is there already: for
    /// commands that work beside `up` in its data directory. Nothing is made.
    ///
    /// # Errors
    ///
    /// When there is none, or what there is is no key or cannot be read.
    pub fn load_beside(config: &Config) -> Result<Self, SecretsError> {
        match Self::load(config) {
            Err(SecretsError::Missing) => {
                let secrets = key_file::load(&config.data_dir)?;
                secrets.ok_or(SecretsError::Missing)?.and_previous(config)
            }
            loaded => loaded,
        }
    }

    /// The secrets of a key as it is configured.
    ///
    /// # Errors
    ///
    /// When it is not 32 bytes in base64.
    pub fn from_base64(text: &SecretString) -> Result<Self, SecretsError> {
        decode("secret_key", text.expose_secret())
    }

    fn from_key(key: &[u8; KEY_LENGTH]) -> Self {
        let id = derive(key, "postrider key id");
        Self {
            key_id: id[..4].iter().map(|byte| format!("{byte:02x}")).collect(),
            sealing: Zeroizing::new(derive(key, "postrider sealing")),
            pepper: Zeroizing::new(rand::rng().random()),
            previous: None,
        }
    }

    /// What a stored API key is compared by.
    pub fn hash(&self, key: &ApiKey) -> KeyHash {
        KeyHash::of(self.pepper.as_slice(), key)
    }
}

fn decode(from: &str, text: &str) -> Result<Secrets, SecretsError> {
    let malformed = |got: String| SecretsError::Malformed { from: from.to_owned(), got };
    let bytes = STANDARD.decode(text.trim()).map_err(|_| malformed("no base64".into()))?;
    let bytes = Zeroizing::new(bytes);
    let key: &[u8; KEY_LENGTH] =
        bytes.as_slice().try_into().map_err(|_| malformed(format!("{} bytes", bytes.len())))?;
    Ok(Secrets::from_key(key))
}

/// A key for one purpose.
fn derive(key: &[u8], label: &str) -> [u8; KEY_LENGTH] {
    mac(key, label.as_bytes())
}

fn mac(key: &[u8], message: &[u8]) -> [u8; KEY_LENGTH] {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length (RFC 2104)");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_length_says_so_and_not_itself() {
        let short = STANDARD.encode([7_u8; 31]);
        let error = Secrets::from_base64(&short.clone().into()).unwrap_err().to_string();
        assert!(error.contains("secret_key: expected 32 bytes") && error.ends_with("got 31 bytes"));
        assert!(!error.contains(&short));

        let error = Secrets::from_base64(&"hunter2!".into()).unwrap_err().to_string();
        assert!(error.ends_with("got no base64"), "{error}");
    }

    #[test]
    fn the_secret_key_tells_no_pepper() {
        // Given the secrets of one key, twice
        let [one, mut other] = [(); 2].map(|()| Secrets::from_key(&[7; 32]));
        // When nobody has given a pepper, then each has another one,
        assert_eq!(one.key_id, other.key_id);
        assert_ne!(*one.pepper, *other.pepper);
        // and the one that was kept is everybody's.
        assert!(other.set_pepper(&one.pepper()));
        assert_eq!(*one.pepper, *other.pepper);
        assert!(!other.set_pepper(&"no pepper".into()));
        assert_eq!(*one.pepper, *other.pepper);
    }

    #[test]
    fn each_purpose_has_its_own_key_and_none_is_printed() {
        let secrets = Secrets::from_base64(&STANDARD.encode([7_u8; 32]).into()).unwrap();
        assert_ne!(*secrets.sealing, *secrets.pepper);
        assert_ne!(*secrets.sealing, [7; 32]);
        assert_eq!(
            format!("{secrets:?}"),
            format!("Secrets {{ key_id: {:?}, .. }}", secrets.key_id)
        );
    }
}
