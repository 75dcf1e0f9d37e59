//! Signatures: those of Standard Webhooks 1.0.0, and one more in a form that a product promised.

use std::str::FromStr;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{headers, secret::SigningSecret};

const LONGEST_FORM: usize = 200;

/// `webhook-signature`: one signature for each secret, in their order.
pub fn signature(secrets: &[SigningSecret], id: &str, seconds: i64, body: &[u8]) -> String {
    let signed = |secret: &SigningSecret| {
        let head = format!("{id}.{seconds}.");
        format!("v1,{}", STANDARD.encode(mac(secret, &[head.as_bytes(), body])))
    };
    secrets.iter().map(signed).collect::<Vec<_>>().join(" ")
}

/// A second signature header: its name, and the form of its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondSignature {
    /// The header's name: `X-Warmy-Signature`.
    pub header: String,
    /// Its value: parts with commas between them, in which `{timestamp}`, `{hex}` and `{base64}`
    /// stand for what they say. A part with a signature is repeated for each secret.
    pub form: String,
    /// What is signed.
    #[serde(default)]
    pub over: Over,
}

/// What a second signature signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// The timestamp, a dot, the body.
    #[default]
    TimestampAndBody,
    /// The body alone.
    Body,
}

impl FromStr for Over {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "timestamp_and_body" => Ok(Self::TimestampAndBody),
            "body" => Ok(Self::Body),
            other => Err(format!("expected timestamp_and_body or body, got {other:?}")),
        }
    }
}

impl SecondSignature {
    /// Says what is wrong with it, if anything.
    pub fn flaw(&self) -> Option<String> {
        if let Some(words) = headers::name_flaw(&self.header) {
            return Some(format!("the header's name: {words}"));
        }
        let bare =
            self.form.replace("{timestamp}", "").replace("{hex}", "").replace("{base64}", "");
        let plain = |c: u8| c.is_ascii_graphic() || c == b' ';
        let signs = self.form.contains("{hex}") || self.form.contains("{base64}");
        let fits = signs
            && self.form.len() <= LONGEST_FORM
            && bare.bytes().all(plain)
            && !bare.contains(['{', '}']);
        (!fits).then(|| {
            "the form: expected a text with {hex} or {base64}, such as t={timestamp},v1={hex}"
                .into()
        })
    }

    /// The header's value.
    pub fn value(&self, secrets: &[SigningSecret], seconds: i64, body: &[u8]) -> String {
        let seconds = seconds.to_string();
        let of = |secret: &SigningSecret| match self.over {
            Over::TimestampAndBody => mac(secret, &[seconds.as_bytes(), b".", body]),
            Over::Body => mac(secret, &[body]),
        };
        let mut parts = Vec::new();
        for part in self.form.split(',') {
            let part = part.replace("{timestamp}", &seconds);
            if !part.contains("{hex}") && !part.contains("{base64}") {
                parts.push(part);
                continue;
            }
            parts.extend(secrets.iter().map(|secret| {
                let mac = of(secret);
                let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
                part.replace("{hex}", &hex).replace("{base64}", &STANDARD.encode(mac))
            }));
        }
        parts.join(",")
    }
}

fn mac(secret: &SigningSecret, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.key())
        .expect("HMAC takes a key of any length (RFC 2104)");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SigningSecret {
        SigningSecret::read(&text.into()).unwrap()
    }

    /// The vectors of the specification and of its reference libraries.
    #[test]
    fn signs_as_the_specification_does() {
        let one = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", br#"{"test": 2432232314}"#);
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signature(std::slice::from_ref(&one), id, 1_614_265_330, body), expected);

        let other = secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
        let (id, body) = (
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            br#"{"email":"test@example.com","username":"test_user"}"#,
        );
        let expected = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";
        assert_eq!(signature(&[other], id, 1_649_367_553, body), expected);
    }

    #[test]
    fn every_secret_signs_the_current_one_first() {
        let secrets = [SigningSecret::generate(), SigningSecret::generate()];
        let both = signature(&secrets, "msg_1", 1, b"x");
        let each = secrets.each_ref().map(|s| signature(std::slice::from_ref(s), "msg_1", 1, b"x"));
        assert_eq!(both, each.join(" "));
    }

    #[test]
    fn a_second_signature_has_the_form_that_was_promised() {
        let key = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let mut second = SecondSignature {
            header: "X-Warmy-Signature".into(),
            form: "t={timestamp},v1={hex}".into(),
            over: Over::default(),
        };
        assert_eq!(second.flaw(), None);
        let hex = |parts: &[&[u8]]| -> String {
            mac(&key, parts).iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let value = second.value(&[key.clone(), key.clone()], 1_614_265_330, b"{}");
        let one = hex(&[b"1614265330.{}"]);
        assert_eq!(value, format!("t=1614265330,v1={one},v1={one}"));
        (second.form, second.over) = ("sha256={hex}".into(), Over::Body);
        assert_eq!(
            second.value(std::slice::from_ref(&key), 7, b"{}"),
            format!("sha256={}", hex(&[b"{}"]))
        );
        for wrong in ["", "t={timestamp}", "v1={hex}\r\nx: y", "v1={hex},{nonce}"] {
            second.form = wrong.into();
            assert!(second.flaw().is_some(), "{wrong:?}");
        }
        second.form = "{hex}".into();
        for wrong in ["", "Host", "webhook-id", "x y", "x:", "X-Postrider-Event"] {
            second.header = wrong.into();
            assert!(second.flaw().is_some(), "{wrong:?}");
        }
    }

    #[test]
    fn secrets_are_told_by_what_they_decode_to() {
        for wrong in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!"] {
            let error = SigningSecret::read(&wrong.into()).unwrap_err();
            assert!(error.starts_with("expected whsec_"), "{error}");
        }
        let made = SigningSecret::generate();
        assert_eq!(SigningSecret::read(&made.reveal().into()).unwrap(), made);
        assert_eq!(format!("{made:?}"), "whsec_…");
    }
}
