//! The table of replies, row by row.

use super::*;

fn reply(line: &str) -> Reply {
    let (code, rest) = line.split_at(3);
    let mut words = rest.trim().splitn(2, ' ');
    let first = words.next().unwrap_or_default();
    let is_enhanced = first.split('.').count() == 3
        && first.split('.').all(|p| !p.is_empty() && p.bytes().all(|c| c.is_ascii_digit()));
    let (enhanced, text) = if is_enhanced {
        (Some(first.to_owned()), words.next().unwrap_or_default())
    } else {
        (None, rest.trim())
    };
    Reply { code: code.parse().unwrap(), enhanced, text: text.to_owned() }
}

/// An answer, where it was given, and the row and meaning that it must get.
const EXAMPLES: &[(Phase, &str, u8, Meaning)] = &[
    (Phase::Dot, "354 go ahead", 1, Meaning::Unknown),
    (Phase::Rcpt, "354 go ahead", 2, ServerAway),
    (Phase::Rcpt, "421 4.3.2 Service not available, closing transmission channel", 2, ServerAway),
    (Phase::Connect, "421 4.4.2 idle timeout", 2, ServerAway),
    (Phase::Connect, "421 too busy", 2, ServerAway),
    (Phase::Mail, "451 4.4.1 backend unreachable", 2, ServerAway),
    (Phase::Tls, "454 4.7.0 TLS not available due to temporary reason", 2, ServerAway),
    (Phase::Rcpt, "556 5.1.10 recipient address has null MX", 3, HardBounce),
    (Phase::Rcpt, "550 5.1.10 RESOLVER.ADR.RecipientNotFound", 3, HardBounce),
    (Phase::Mail, "530 5.7.0 Authentication required", 4, ConfigError),
    (Phase::Tls, "502 5.5.1 not implemented", 4, ConfigError),
    (Phase::Auth, "504 5.5.4 mechanism not supported", 4, ConfigError),
    (Phase::Auth, "535 5.7.8 Username and Password not accepted", 5, AuthInvalid),
    (Phase::Auth, "535 Incorrect authentication data", 5, AuthInvalid),
    (Phase::Auth, "534 5.7.14 Please log in via your web browser", 5, AuthInvalid),
    (Phase::Auth, "550 5.7.30 Basic authentication is not supported", 5, AuthInvalid),
    (Phase::Auth, "454 4.7.0 Temporary authentication failure", 6, AuthLater),
    (Phase::Auth, "432 4.7.12 A password transition is needed", 6, AuthLater),
    (Phase::Auth, "421 4.7.0 Too many login attempts", 6, AuthLater),
    (Phase::Mail, "550 5.4.5 Daily user sending limit exceeded", 7, QuotaSpent),
    (
        Phase::Dot,
        "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException",
        7,
        QuotaSpent,
    ),
    (Phase::Rcpt, "550 5.7.1 Daily message limit exceeded", 7, QuotaSpent),
    (Phase::Dot, "432 4.3.2 Concurrent connections limit exceeded", 7, QuotaSpent),
    (Phase::Rcpt, "450 4.2.1 Peak SMTP relay limit exceeded for customer", 7, QuotaSpent),
    (
        Phase::Dot,
        "550 5.1.90 Your message can't be sent because you've reached your daily limit",
        7,
        QuotaSpent,
    ),
    (
        Phase::Rcpt,
        "450 4.2.1 The user you are trying to contact is receiving mail too quickly",
        8,
        RecipientBusy,
    ),
    (
        Phase::Rcpt,
        "550 5.2.1 The user is receiving mail at a rate that prevents additional messages",
        8,
        RecipientBusy,
    ),
    (
        Phase::Dot,
        "421 4.7.28 Gmail has detected an unusual rate of unsolicited mail",
        9,
        RateLimited,
    ),
    (Phase::Dot, "421 5.7.32 unusual rate", 9, RateLimited),
    (Phase::Rcpt, "421 4.7.0 Try again later, closing connection", 9, RateLimited),
    (Phase::Mail, "421 4.7.0 [TSS04] Messages from 1.2.3.4 temporarily deferred", 9, RateLimited),
    (Phase::Mail, "451 [TS01] deferred due to user complaints", 9, RateLimited),
    (Phase::Dot, "451 4.7.650 The mail server has been temporarily rate limited", 9, RateLimited),
    (Phase::Dot, "451 4.7.500 Server busy. Please try again later. (S77719)", 9, RateLimited),
    (Phase::Rcpt, "451 4.7.1 Greylisted, please try again in 300 seconds", 10, Greylisted),
    (Phase::Rcpt, "450 4.2.0 Recipient address rejected: Greylisted", 10, Greylisted),
    (Phase::Rcpt, "451 try again later", 10, Greylisted),
    (Phase::Rcpt, "452 4.2.2 The recipient's inbox is out of storage space", 11, Later),
    (Phase::Rcpt, "451 4.3.0 Temporary system problem. Try again later", 11, Later),
    (Phase::Dot, "451 4.3.0 Mail server temporarily rejected message", 11, Later),
    (Phase::Rcpt, "552 Too many recipients", 11, Later),
    (Phase::Rcpt, "552 5.5.3 More addresses than we like", 11, Later),
    (Phase::Rcpt, "550 5.1.1 <x@y>: Recipient address rejected: User unknown", 12, HardBounce),
    (Phase::Rcpt, "550 5.1.2 Domain not found", 12, HardBounce),
    (
        Phase::Rcpt,
        "550 5.2.1 The email account that you tried to reach is disabled",
        12,
        HardBounce,
    ),
    (Phase::Rcpt, "551 5.1.6 User not local", 12, HardBounce),
    (Phase::Rcpt, "551 Try another server", 12, HardBounce),
    (Phase::Rcpt, "553 5.1.8 bad destination mailbox address syntax", 12, HardBounce),
    (Phase::Dot, "550 5.1.1 no such mailbox", 12, HardBounce),
    (Phase::Rcpt, "552 5.2.2 Mailbox full", 13, SoftBounce),
    (Phase::Rcpt, "552 5.2.2 The account is over quota and inactive", 13, HardBounce),
    (Phase::Rcpt, "552 Requested action aborted: exceeded storage allocation", 13, SoftBounce),
    (Phase::Dot, "552 message size exceeds maximum permitted", 14, MessageError),
    (Phase::Mail, "552 5.3.4 message too large", 14, MessageError),
    (Phase::Dot, "554 5.6.0 corrupt message", 14, MessageError),
    (Phase::Dot, "550 5.7.1 This message is not RFC 5322 compliant", 14, MessageError),
    (
        Phase::Dot,
        "550 5.7.1 Messages missing a valid Message-ID header are not accepted",
        14,
        MessageError,
    ),
    (
        Phase::Mail,
        "553 5.7.1 <a@b>: Sender address rejected: not owned by user c@d",
        15,
        SenderRefused,
    ),
    (Phase::Mail, "550 5.1.7 Invalid address", 15, SenderRefused),
    (Phase::Mail, "550 5.7.1 Client was not allowed to send as this sender", 15, SenderRefused),
    (
        Phase::Mail,
        "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
        15,
        SenderRefused,
    ),
    (
        Phase::Dot,
        "550 5.7.26 This mail has been blocked because the sender is unauthenticated",
        16,
        AuthenticationBlocked,
    ),
    (
        Phase::Dot,
        "550 5.7.515 Access denied, sending domain does not meet the required level",
        16,
        AuthenticationBlocked,
    ),
    (Phase::Dot, "554 5.7.9 Message not accepted: DMARC check failed", 16, AuthenticationBlocked),
    (
        Phase::Rcpt,
        "550 5.7.1 Service unavailable, Client host [1.2.3.4] blocked (S3140)",
        17,
        PolicyBlocked,
    ),
    (
        Phase::Dot,
        "550 5.7.1 Our system has detected that this message is likely unsolicited mail",
        17,
        PolicyBlocked,
    ),
    (Phase::Rcpt, "554 5.7.9 Message not accepted for policy reasons", 17, PolicyBlocked),
    (Phase::Connect, "554 Your address is on the Spamhaus blocklist", 17, PolicyBlocked),
    (Phase::Rcpt, "550 Requested action not taken: mailbox unavailable", 18, HardBounce),
    (Phase::Rcpt, "550 no such user here", 18, HardBounce),
    (Phase::Rcpt, "554 go away", 18, PolicyBlocked),
    (Phase::Data, "554 5.5.1 no valid recipients", 19, Failed),
    (Phase::Mail, "501 5.5.4 syntax error", 19, Failed),
    (Phase::Connect, "554 no service", 19, Failed),
];

#[test]
fn every_example_gets_its_row() {
    for (phase, line, row, meaning) in EXAMPLES {
        assert_eq!(classify(*phase, &reply(line)), (*meaning, *row), "{phase:?}: {line}");
    }
}

#[test]
fn every_row_of_the_table_has_an_example() {
    for row in 1..=19 {
        assert!(EXAMPLES.iter().any(|example| example.2 == row), "row {row}");
    }
}

/// A rule that no example reaches is a rule that nobody has seen work, or that another one hides.
#[test]
fn every_rule_is_reached_by_an_example() {
    let reaches = |index: usize| {
        EXAMPLES.iter().any(|(phase, line, ..)| {
            let reply = reply(line);
            let fits = |(rule, text): (&Rule, &Option<Regex>)| {
                (rule.at.is_empty() || rule.at.contains(phase))
                    && code_fits(rule.code, reply.code)
                    && enhanced_fits(rule.enhanced, reply.enhanced.as_deref())
                    && text.as_ref().is_none_or(|text| text.is_match(&reply.text))
            };
            RULES.iter().zip(TEXTS.iter()).position(fits) == Some(index)
        })
    };
    let unreached: Vec<String> = RULES
        .iter()
        .enumerate()
        .filter(|(index, _)| !reaches(*index))
        .map(|(_, rule)| format!("row {}: {} {} {}", rule.row, rule.code, rule.enhanced, rule.text))
        .collect();
    assert_eq!(unreached, [""; 0]);
}

/// What looks alike and is not the same.
#[test]
fn neighbours_are_told_apart() {
    let rows = [
        // A temporary word about an account's address at MAIL FROM suppresses nobody.
        (Phase::Mail, "550 5.1.1 sender unknown", Failed),
        (Phase::Mail, "550 no such user", Failed),
        // A full mailbox is not a missing one.
        (Phase::Rcpt, "452 4.2.2 mailbox full", Later),
        // "Authentication" in the text of a recipient's server is not our login.
        (Phase::Dot, "535 5.7.8 odd", PolicyBlocked),
        // A quota of the recipient is not ours.
        (Phase::Rcpt, "552 5.2.2 quota limit exceeded", SoftBounce),
        // The rate words of a policy block.
        (Phase::Dot, "550 5.7.28 unusual rate of unsolicited mail", PolicyBlocked),
    ];
    for (phase, line, meaning) in rows {
        assert_eq!(classify(phase, &reply(line)).0, meaning, "{phase:?}: {line}");
    }
}

#[test]
fn a_lost_connection_is_unknown_after_the_dot_only() {
    assert_eq!(lost(Phase::Dot), (Meaning::Unknown, 1));
    for phase in [Phase::Connect, Phase::Tls, Phase::Auth, Phase::Mail, Phase::Rcpt, Phase::Data] {
        assert_eq!(lost(phase), (ServerAway, 2));
    }
}

/// 4xx is never a bounce and 5xx, but for quotas and too many recipients, never tried again.
#[test]
fn the_basic_code_decides_whether_to_try_again() {
    use proptest::prelude::*;
    let final_meanings =
        [HardBounce, SoftBounce, MessageError, PolicyBlocked, Failed, SenderRefused];
    proptest!(|(code in 400_u16..500, enhanced in "4\\.[0-7]\\.[0-9]{1,2}", text in "[a-z ]{0,30}",
                phase in 0_usize..7)| {
        let phases = [Phase::Connect, Phase::Tls, Phase::Auth, Phase::Mail, Phase::Rcpt,
            Phase::Data, Phase::Dot];
        let reply = Reply { code, enhanced: Some(enhanced), text };
        let (meaning, _) = classify(phases[phase], &reply);
        prop_assert!(!final_meanings.contains(&meaning), "{:?}", meaning);
        prop_assert!(meaning != Meaning::Unknown);
    });
}
