//! Which mail addresses Postrider is willing to write to or from: one rule for every door.

/// The longest address, and the longest part before the `@` (RFC 5321 section 4.5.3.1).
const LONGEST: usize = 254;
const LONGEST_LOCAL: usize = 64;

/// Says what is wrong with an address, if anything.
///
/// Narrower than RFC 5321 on purpose: quoted local parts, address literals and bare host names are
/// legal, but in a list of people they are mistakes or attacks. Internationalised local parts need
/// SMTPUTF8 along the whole way, which hardly any mailbox has.
pub fn flaw(address: &str) -> Option<String> {
    let wrong = |what: &str| Some(format!("expected an address such as ada@example.org: {what}"));
    if !address.is_ascii() {
        return wrong("it has characters outside ASCII (write the domain in its xn-- form)");
    }
    if address.len() > LONGEST {
        return wrong("it has more than 254 characters");
    }
    let Some((local, domain)) = address.rsplit_once('@') else { return wrong("there is no @") };
    if local.is_empty() || local.len() > LONGEST_LOCAL {
        return wrong("the part before the @ needs 1 to 64 characters");
    }
    let atom = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&c);
    if !local.split('.').all(|part| !part.is_empty() && part.bytes().all(atom)) {
        return wrong(
            "the part before the @ may have letters, digits, inner dots and !#$%&'*+/=?^_`{|}~-",
        );
    }
    if !is_domain(domain) {
        return wrong("the domain needs two or more labels of letters, digits and inner hyphens");
    }
    None
}

/// Whether this is a full domain name: at least two labels, the last one not a number.
pub fn is_domain(domain: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let last = domain.rsplit('.').next().unwrap_or_default();
    domain.len() <= 253
        && domain.contains('.')
        && domain.split('.').all(label)
        && !last.bytes().all(|c| c.is_ascii_digit())
        && !last.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_addresses_are_fine() {
        for good in [
            "ada@example.org",
            "ada.lovelace+tag@mail.example.co.uk",
            "o'brien@example.com",
            "x@xn--bcher-kva.example",
            &format!("{}@example.org", "a".repeat(64)),
        ] {
            assert_eq!(flaw(good), None, "{good}");
        }
    }

    #[test]
    fn mistakes_and_attacks_are_refused() {
        for bad in [
            "",
            "ada",
            "@example.org",
            "ada@",
            "ada@localhost",
            "ada@mail.localhost",
            "ada@[127.0.0.1]",
            "ada@127.0.0.1",
            "\"ada l\"@example.org",
            "a b@example.org",
            "ada@example..org",
            "ada@-example.org",
            "ada@example.org.",
            ".ada@example.org",
            "ada.@example.org",
            "a..b@example.org",
            "a@b@example.org",
            "ada@example.org\r\nBcc: x@example.org",
            "ada@exam\u{0}ple.org",
            "jörg@example.org",
            "ada@bücher.example",
            "<ada@example.org>",
            "ada@example.org>",
            "ada@example.org,bob@example.org",
            &format!("{}@example.org", "a".repeat(65)),
            &format!("a@{}.org", "b.".repeat(130)),
        ] {
            assert!(flaw(bad).is_some(), "{bad:?}");
        }
    }
}
