//! Signing secrets: `whsec_` and the key in base64 (Standard Webhooks 1.0.0).

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use rand::RngExt;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};

const PREFIX: &str = "whsec_";
/// Bytes of a key that is made here, and of the shortest and longest that are taken.
const LENGTH: usize = 32;
const SHORTEST: usize = 24;
const LONGEST: usize = 64;

/// A signing secret. Never printed; [`Self::reveal`] is for showing it once.
#[derive(Clone)]
pub struct SigningSecret {
    text: SecretString,
    key: Zeroizing<Vec<u8>>,
}

impl SigningSecret {
    /// A new one.
    pub fn generate() -> Self {
        let key: Zeroizing<[u8; LENGTH]> = Zeroizing::new(rand::rng().random());
        let text = format!("{PREFIX}{}", STANDARD.encode(*key)).into();
        Self { text, key: Zeroizing::new(key.to_vec()) }
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// What was expected; never what was got.
    pub fn read(text: &SecretString) -> Result<Self, String> {
        let words = || {
            format!("expected {PREFIX} and the base64 of {SHORTEST} to {LONGEST} bytes of a secret")
        };
        let body = text.expose_secret().strip_prefix(PREFIX).ok_or_else(words)?;
        let key = Zeroizing::new(STANDARD.decode(body).map_err(|_| words())?);
        if !(SHORTEST..=LONGEST).contains(&key.len()) {
            return Err(words());
        }
        Ok(Self { text: text.clone(), key })
    }

    /// The whole secret.
    pub fn reveal(&self) -> &str {
        self.text.expose_secret()
    }

    /// The bytes that sign: what the base64 says, not its letters.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whsec_…")
    }
}

impl PartialEq for SigningSecret {
    fn eq(&self, other: &Self) -> bool {
        *self.key == *other.key
    }
}
