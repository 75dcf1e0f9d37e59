//! Sealing: `v1:<key id>:<base64(nonce | ciphertext)>`, XChaCha20-Poly1305.
//!
//! A sealed value is bound to its place in the store: one that is copied to another tenant, column
//! or row does not open.

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};

use super::Secrets;

const VERSION: &str = "v1";
/// Bytes of a nonce: long enough that random ones do not meet.
const NONCE_LENGTH: usize = 24;

/// Where a sealed value is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Whose it is.
    pub tenant: &'a str,
    /// The table.
    pub table: &'a str,
    /// The column.
    pub column: &'a str,
    /// The key of the row within the tenant.
    pub row: &'a str,
}

/// Why a sealed value does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// It was sealed with another key.
    #[error("it was sealed with the secret key {sealed_with}, and this process has {have}")]
    OtherKey {
        /// The id of the key that sealed it.
        sealed_with: String,
        /// The id of the key at hand.
        have: String,
    },
    /// It is no sealed value of a known version, or it was changed, or it belongs elsewhere.
    #[error("it is not what was sealed for this place")]
    Broken,
}

impl Place<'_> {
    /// The associated data; each part with its length before it, so that no two places read alike.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in [self.tenant, self.table, self.column, self.row] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    }
}

impl Secrets {
    /// Seals `secret` for its place.
    pub fn seal(&self, place: Place<'_>, secret: &SecretString) -> String {
        let nonce: [u8; NONCE_LENGTH] = rand::rng().random();
        let sealed = self
            .cipher()
            .encrypt(
                &XNonce::from(nonce),
                Payload { msg: secret.expose_secret().as_bytes(), aad: &place.bytes() },
            )
            .expect("the cipher refuses only texts of over 256 GiB");
        let text = STANDARD.encode([nonce.as_slice(), &sealed].concat());
        format!("{VERSION}:{}:{text}", self.key_id)
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    ///
    /// When it was sealed with another key, for another place, or was changed.
    pub fn unseal(&self, place: Place<'_>, sealed: &str) -> Result<SecretString, UnsealError> {
        let (key_id, text) = sealed
            .strip_prefix(VERSION)
            .and_then(|rest| rest.strip_prefix(':'))
            .and_then(|rest| rest.split_once(':'))
            .ok_or(UnsealError::Broken)?;
        if key_id != self.key_id {
            return Err(UnsealError::OtherKey {
                sealed_with: key_id.to_owned(),
                have: self.key_id.clone(),
            });
        }
        let bytes = STANDARD.decode(text).map_err(|_| UnsealError::Broken)?;
        let (nonce, sealed) =
            bytes.split_first_chunk::<NONCE_LENGTH>().ok_or(UnsealError::Broken)?;
        let opened = self
            .cipher()
            .decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: &place.bytes() })
            .map_err(|_| UnsealError::Broken)?;
        String::from_utf8(opened).map(SecretString::from).map_err(|_| UnsealError::Broken)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.sealing).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> =
        Place { tenant: "dev", table: "mailboxes", column: "password", row: "a@example.com" };

    fn secrets(byte: u8) -> Secrets {
        Secrets::from_key(&[byte; 32])
    }

    #[test]
    fn opens_in_its_place_only() {
        // given
        let secrets = secrets(1);
        let sealed = secrets.seal(PLACE, &"open sesame".into());
        assert!(!sealed.contains("sesame"));

        // when, then
        assert_eq!(secrets.unseal(PLACE, &sealed).unwrap().expose_secret(), "open sesame");
        let elsewhere = [
            Place { tenant: "acme", ..PLACE },
            Place { table: "endpoints", ..PLACE },
            Place { column: "username", ..PLACE },
            Place { row: "b@example.com", ..PLACE },
            // The same letters, cut elsewhere.
            Place { tenant: "devm", table: "ailboxes", ..PLACE },
        ];
        for place in elsewhere {
            assert_eq!(secrets.unseal(place, &sealed).unwrap_err(), UnsealError::Broken);
        }
    }

    #[test]
    fn another_key_is_named_as_the_reason() {
        let sealed = secrets(1).seal(PLACE, &"open sesame".into());
        let error = secrets(2).unseal(PLACE, &sealed).unwrap_err();
        assert!(matches!(error, UnsealError::OtherKey { .. }), "{error}");
    }

    #[test]
    fn what_was_changed_does_not_open() {
        let secrets = secrets(1);
        let sealed = secrets.seal(PLACE, &"open sesame".into());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(secrets.unseal(PLACE, &changed).is_err(), "changed at {at}");
        }
        for broken in ["", "v1", "v1:", "v1::", "v2:00000000:AAAA", "open sesame"] {
            assert!(secrets.unseal(PLACE, broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn the_same_secret_never_looks_the_same() {
        let secrets = secrets(1);
        assert_ne!(secrets.seal(PLACE, &"x".into()), secrets.seal(PLACE, &"x".into()));
    }
}
