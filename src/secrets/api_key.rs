//! API keys: `prk_<live|test>_<key id 8>_<secret 43>_<crc 6>`, letters and digits throughout.
//!
//! The checksum is there for typing errors: a key that was cut or mistyped is refused before
//! anything is looked up. The secret carries 256 bits.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::mac;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_LENGTH: usize = 8;
/// 62^43 is a little more than 2^256.
const SECRET_LENGTH: usize = 43;
/// 62^6 is more than 2^32, the values of a CRC-32.
const CRC_LENGTH: usize = 6;

/// What a key is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Environment {
    /// Real work.
    #[default]
    Live,
    /// Trying things out; the same rights, told apart by people and secret scanners.
    Test,
}

impl Environment {
    /// The word for it inside a key.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

/// A well-formed API key. Whether it opens anything, the store knows.
#[derive(Clone)]
pub struct ApiKey {
    environment: Environment,
    id: String,
    text: SecretString,
}

/// A text that is no API key: cut, mistyped, or something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an API key (prk_live_… or prk_test_…) with a right checksum")]
pub struct MalformedKey;

impl ApiKey {
    /// A new key.
    pub fn generate(environment: Environment) -> Self {
        let id = random(ID_LENGTH);
        let body = format!("prk_{}_{id}_{}", environment.as_str(), random(SECRET_LENGTH));
        let text = format!("{body}_{}", checksum(&body)).into();
        Self { environment, id, text }
    }

    /// The part that names the key; no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it is for.
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// The whole key, to be shown once.
    pub fn reveal(&self) -> &str {
        self.text.expose_secret()
    }
}

impl FromStr for ApiKey {
    type Err = MalformedKey;

    fn from_str(text: &str) -> Result<Self, MalformedKey> {
        let (body, crc) = text.rsplit_once('_').ok_or(MalformedKey)?;
        let parts: Vec<&str> = body.split('_').collect();
        let ["prk", environment, id, secret] = parts[..] else { return Err(MalformedKey) };
        let environment = match environment {
            "live" => Environment::Live,
            "test" => Environment::Test,
            _ => return Err(MalformedKey),
        };
        let fits = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        if fits(id, ID_LENGTH) && fits(secret, SECRET_LENGTH) && crc == checksum(body) {
            Ok(Self { environment, id: id.to_owned(), text: text.to_owned().into() })
        } else {
            Err(MalformedKey)
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "prk_{}_{}_…", self.environment.as_str(), self.id)
    }
}

fn random(length: usize) -> String {
    let mut rng = rand::rng();
    (0..length).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}

fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes()) as usize;
    let mut digits = [b'0'; CRC_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[rest % ALPHABET.len()];
        rest /= ALPHABET.len();
    }
    digits.into_iter().map(char::from).collect()
}

/// HMAC-SHA256 of a whole key under the pepper; compared in constant time.
#[derive(Clone)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    pub(super) fn of(pepper: &[u8], key: &ApiKey) -> Self {
        Self(mac(pepper, key.reveal().as_bytes()))
    }

    /// The text that is stored.
    pub(crate) fn to_text(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Whether this is what was stored.
    pub(crate) fn matches(&self, stored: &str) -> bool {
        let stored = STANDARD.decode(stored).unwrap_or_default();
        self.0.as_slice().ct_eq(&stored).into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_generated_key_has_the_documented_form_and_is_read_back() {
        for environment in [Environment::Live, Environment::Test] {
            let key = ApiKey::generate(environment);
            let lengths: Vec<usize> = key.reveal().split('_').map(str::len).collect();
            assert_eq!(lengths, [3, 4, 8, 43, 6]);
            let read: ApiKey = key.reveal().parse().unwrap();
            assert_eq!((read.id(), read.environment()), (key.id(), environment));
            assert_eq!(read.reveal(), key.reveal());
        }
    }

    #[test]
    fn every_single_wrong_character_is_refused() {
        let key = ApiKey::generate(Environment::Live);
        let text = key.reveal();
        for at in 0..text.len() {
            for wrong in [b'x', b'Y', b'_', b'0'] {
                let mut typo = text.as_bytes().to_vec();
                if typo[at] == wrong {
                    continue;
                }
                typo[at] = wrong;
                let typo = String::from_utf8(typo).unwrap();
                assert!(typo.parse::<ApiKey>().is_err(), "{wrong} at {at}");
            }
            assert!(text[..at].parse::<ApiKey>().is_err(), "cut at {at}");
        }
        for odd in [format!("{text} "), format!(" {text}"), format!("{text}_"), "ä".repeat(66)] {
            assert!(odd.parse::<ApiKey>().is_err(), "{odd:?}");
        }
    }

    #[test]
    fn keys_differ_and_are_not_printed() {
        let keys: Vec<ApiKey> = (0..100).map(|_| ApiKey::generate(Environment::Live)).collect();
        let texts: HashSet<&str> = keys.iter().map(ApiKey::reveal).collect();
        assert_eq!(texts.len(), keys.len());
        assert_eq!(format!("{:?}", keys[0]), format!("prk_live_{}_…", keys[0].id()));
    }

    #[test]
    fn a_hash_matches_its_key_under_its_pepper_only() {
        let (one, other) =
            (ApiKey::generate(Environment::Live), ApiKey::generate(Environment::Live));
        let stored = KeyHash::of(b"pepper", &one).to_text();
        assert!(KeyHash::of(b"pepper", &one).matches(&stored));
        assert!(!KeyHash::of(b"pepper", &other).matches(&stored));
        assert!(!KeyHash::of(b"salt", &one).matches(&stored));
        assert!(!KeyHash::of(b"pepper", &one).matches(""));
    }
}
