//! Sealing, in envelopes: `v2:<key id>:<base64(nonce | wrapped key)>:<base64(nonce | ciphertext)>`,
//! XChaCha20-Poly1305 both.
//!
//! Each value has a key of its own, and that key is wrapped by the secret key: another secret key needs
//! the wrapping anew and nothing else. A sealed value is bound to its place in the store: one that is
//! copied to another tenant, column or row does not open.

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use rand::RngExt;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};

use super::{Key, Secrets};

const VERSION: &str = "v2";
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

/// A sealed value, taken apart.
struct Envelope<'a> {
    key_id: &'a str,
    wrapped: &'a str,
    text: &'a str,
}

impl<'a> Envelope<'a> {
    fn read(sealed: &'a str) -> Result<Self, UnsealError> {
        let mut parts = sealed.split(':');
        let parts = [parts.next(), parts.next(), parts.next(), parts.next(), parts.next()];
        let [Some(VERSION), Some(key_id), Some(wrapped), Some(text), None] = parts else {
            return Err(UnsealError::Broken);
        };
        Ok(Self { key_id, wrapped, text })
    }
}

impl Secrets {
    /// Seals `secret` for its place.
    pub fn seal(&self, place: Place<'_>, secret: &SecretString) -> String {
        let aad = place.bytes();
        let key: Key = Zeroizing::new(rand::rng().random());
        let text = encrypt(&key, &aad, secret.expose_secret().as_bytes());
        self.envelope(&key, &aad, &text)
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    ///
    /// When it was sealed with another key, for another place, or was changed.
    pub fn unseal(&self, place: Place<'_>, sealed: &str) -> Result<SecretString, UnsealError> {
        let (envelope, aad) = (Envelope::read(sealed)?, place.bytes());
        let key = self.unwrap_key(&envelope, &aad)?;
        let opened = decrypt(&key, &aad, envelope.text)?;
        String::from_utf8(opened).map(SecretString::from).map_err(|_| UnsealError::Broken)
    }

    /// What was sealed with the key before this one, wrapped by this one; nothing when it is already.
    ///
    /// # Errors
    ///
    /// As [`Self::unseal`].
    pub fn rewrap(&self, place: Place<'_>, sealed: &str) -> Result<Option<String>, UnsealError> {
        let (envelope, aad) = (Envelope::read(sealed)?, place.bytes());
        if envelope.key_id == self.key_id {
            return Ok(None);
        }
        let key = self.unwrap_key(&envelope, &aad)?;
        Ok(Some(self.envelope(&key, &aad, envelope.text)))
    }

    fn envelope(&self, key: &Key, aad: &[u8], text: &str) -> String {
        let wrapped = encrypt(&self.sealing, aad, key.as_slice());
        format!("{VERSION}:{}:{wrapped}:{text}", self.key_id)
    }

    /// The value's own key, which this secret key wrapped, or the one before it.
    fn unwrap_key(&self, envelope: &Envelope<'_>, aad: &[u8]) -> Result<Key, UnsealError> {
        let known = std::iter::once(self).chain(self.previous.as_deref());
        let wrapping = known.into_iter().find(|secrets| secrets.key_id == envelope.key_id);
        let other_key = || UnsealError::OtherKey {
            sealed_with: envelope.key_id.to_owned(),
            have: self.key_id.clone(),
        };
        let wrapping = wrapping.ok_or_else(other_key)?;
        let key = Zeroizing::new(decrypt(&wrapping.sealing, aad, envelope.wrapped)?);
        key.as_slice().try_into().map(Zeroizing::new).map_err(|_| UnsealError::Broken)
    }
}

/// The base64 of a nonce and what the key made of `message`.
fn encrypt(key: &Key, aad: &[u8], message: &[u8]) -> String {
    let nonce: [u8; NONCE_LENGTH] = rand::rng().random();
    let sealed = XChaCha20Poly1305::new((&**key).into())
        .encrypt(&XNonce::from(nonce), Payload { msg: message, aad })
        .expect("the cipher refuses only texts of over 256 GiB");
    STANDARD.encode([nonce.as_slice(), &sealed].concat())
}

fn decrypt(key: &Key, aad: &[u8], text: &str) -> Result<Vec<u8>, UnsealError> {
    let bytes = STANDARD.decode(text).map_err(|_| UnsealError::Broken)?;
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LENGTH>().ok_or(UnsealError::Broken)?;
    XChaCha20Poly1305::new((&**key).into())
        .decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad })
        .map_err(|_| UnsealError::Broken)
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
        for broken in ["", "v2", "v2:", "v2:::", "v1:00000000:AAAA:AAAA", "open sesame"] {
            assert!(secrets.unseal(PLACE, broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn the_same_secret_never_looks_the_same() {
        let secrets = secrets(1);
        assert_ne!(secrets.seal(PLACE, &"x".into()), secrets.seal(PLACE, &"x".into()));
    }

    #[test]
    fn a_new_secret_key_needs_the_wrapping_anew_and_nothing_else() {
        // given
        let sealed = secrets(1).seal(PLACE, &"open sesame".into());
        let new = secrets(2).with_previous(secrets(1));
        // when it is wrapped anew, then the text stays, and the new key alone opens it
        assert_eq!(new.unseal(PLACE, &sealed).unwrap().expose_secret(), "open sesame");
        let rewrapped = new.rewrap(PLACE, &sealed).unwrap().unwrap();
        assert_eq!(rewrapped.split(':').next_back(), sealed.split(':').next_back());
        assert_eq!(secrets(2).unseal(PLACE, &rewrapped).unwrap().expose_secret(), "open sesame");
        assert!(secrets(1).unseal(PLACE, &rewrapped).is_err());
        assert_eq!(new.rewrap(PLACE, &rewrapped).unwrap(), None);
        // and without the old key, or elsewhere, it cannot be
        assert!(secrets(2).rewrap(PLACE, &sealed).is_err());
        assert!(new.rewrap(Place { row: "b@example.com", ..PLACE }, &sealed).is_err());
    }
}
