//! What an email address looks like, as far as that can be seen without asking anybody.

/// The longest address and local part (RFC 5321 section 4.5.3.1, with its erratum 1690).
const LONGEST: usize = 254;
const LONGEST_LOCAL: usize = 64;
const LONGEST_LABEL: usize = 63;

/// Whether mail can be addressed to this text: `local@domain` in ASCII, the local part unquoted, the
/// domain with a dot.
pub(super) fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    text.len() <= LONGEST && is_local(local) && is_domain(domain)
}

fn is_local(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    text.len() <= LONGEST_LOCAL
        && text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(fits))
}

/// Whether this is the name of a domain: labels of letters, digits and inner hyphens, at least two,
/// the last not a number.
pub(super) fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let Some((_, last)) = text.rsplit_once('.') else { return false };
    text.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_what_is_none() {
        for good in [
            "ada@example.org",
            "a.b+c@mail.example.co.uk",
            "o'hara@xn--mller-kva.de",
            "1@2.example",
            "a@3com.com",
        ] {
            assert!(is_address(good), "{good}");
        }
        let long = format!("{}@example.org", "a".repeat(65));
        for bad in [
            "",
            "ada",
            "ada@",
            "@example.org",
            "ada@example",
            "a@b@example.org",
            "ada@.org",
            "ada@example.",
            "ada@exa mple.org",
            "a da@example.org",
            ".ada@example.org",
            "ada.@example.org",
            "a..b@example.org",
            "ada@-x.org",
            "ada@127.0.0.1",
            "ada@[::1]",
            "\"a b\"@example.org",
            "ada@example.org\r\nBcc: x@y.z",
            "ada@exämple.org",
            "Ada <ada@example.org>",
            "ada@example.org\0",
            &long,
        ] {
            assert!(!is_address(bad), "{bad:?}");
        }
    }
}
