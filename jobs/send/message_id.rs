//! The Message-ID of a mail.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Separates this use of HMAC from every other. Not a secret: the id must come out the same in every
/// process, and tells nothing that the mail does not tell anyway.
const LABEL: &[u8] = b"postrider message-id v1";

/// The Message-ID of the mail with this effect key, with its angle brackets: a function of the effect
/// and not of the attempt, so that whoever finds it twice knows that it is one mail.
pub(super) fn message_id(tenant: &str, effect_key: &str, from: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(LABEL).expect("HMAC takes keys of any length");
    mac.update(tenant.as_bytes());
    mac.update(&[0]); // a tenant name has no NUL: the two parts cannot run into each other
    mac.update(effect_key.as_bytes());
    let digest = mac.finalize().into_bytes();
    let domain = from.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    format!("<{}@{}>", base32(&digest[..20]), domain.to_lowercase())
}

/// RFC 4648 base32 in lower case; whole groups of five bytes only, so there is no padding.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = String::new();
    for group in bytes.chunks_exact(5) {
        let bits = group.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for shift in (0..8).rev() {
            let index = usize::try_from(bits >> (shift * 5) & 31).unwrap_or(0);
            text.push(char::from(ALPHABET[index]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_from_tenant_and_effect_key_alone() {
        let id = message_id("dev", "k", "dev@Example.com");
        assert_eq!(id, message_id("dev", "k", "other@example.com"));
        assert_ne!(id, message_id("dev", "k2", "dev@example.com"));
        assert_ne!(id, message_id("dev2", "k", "dev@example.com"));
        assert_ne!(message_id("a", "bc", "x@y.z"), message_id("ab", "c", "x@y.z"));
        let local = id.strip_prefix('<').unwrap().strip_suffix("@example.com>").unwrap();
        assert_eq!(local.len(), 32);
    }

    #[test]
    fn base32_is_that_of_rfc_4648() {
        assert_eq!(base32(b"fooba"), "mzxw6ytb");
    }
}
