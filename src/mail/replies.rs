//! The table of replies: what a server's answer means. Data, in one place, first hit wins.
//!
//! The basic code says whether to try again, the enhanced code (RFC 3463) what it is about; where
//! providers say neither, their texts do. Rows carry the numbers of the published table, so that a
//! refusal can be looked up; a row may take several rules, and a rule stands where it must in order,
//! not where its number would put it.

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use jobs::contract::ports::{Meaning, Phase, Reply};
use regex::{Regex, RegexBuilder};

use Meaning::{
    AuthInvalid, AuthLater, AuthenticationBlocked, ConfigError, Failed, Greylisted, HardBounce,
    Later, MessageError, PolicyBlocked, QuotaSpent, RateLimited, RecipientBusy, SenderRefused,
    ServerAway, SoftBounce,
};

/// One rule. Every field that is not empty must fit.
struct Rule {
    /// The row of the table that it belongs to.
    row: u8,
    /// The steps of the dialogue at which it holds; empty: all.
    at: &'static [Phase],
    /// Basic codes, with a space between; `4xx` is a class.
    code: &'static str,
    /// Enhanced codes, with a space between; `*` is any number, `-` stands for none.
    enhanced: &'static str,
    /// A regular expression somewhere in the text, whatever the case.
    text: &'static str,
    /// What the answer means then.
    means: Meaning,
}

const AUTH: &[Phase] = &[Phase::Auth];
const TLS: &[Phase] = &[Phase::Tls];
const SENDER: &[Phase] = &[Phase::Mail];
const RECIPIENT: &[Phase] = &[Phase::Rcpt, Phase::Data, Phase::Dot];
const ANY: &[Phase] = &[];

const fn rule(
    row: u8,
    at: &'static [Phase],
    code: &'static str,
    enhanced: &'static str,
    text: &'static str,
    means: Meaning,
) -> Rule {
    Rule { row, at, code, enhanced, text, means }
}

const RULES: &[Rule] = &[
    // 7: the mailbox's own quota, whatever the class of the code.
    rule(7, ANY, "550", "5.4.5", "", QuotaSpent),
    rule(7, ANY, "", "5.1.90", "", QuotaSpent),
    rule(7, ANY, "", "", "SubmissionQuotaExceeded", QuotaSpent),
    rule(7, ANY, "550", "5.7.1", "limit exceeded|rate limited", QuotaSpent),
    rule(7, ANY, "450", "4.2.1", "peak smtp relay limit", QuotaSpent),
    rule(
        7,
        &[Phase::Connect, Phase::Mail, Phase::Rcpt, Phase::Data, Phase::Dot],
        "432",
        "4.3.2",
        "",
        QuotaSpent,
    ),
    // 8: the recipient gets mail too fast.
    rule(8, ANY, "550", "5.2.1", "at a rate that prevents", RecipientBusy),
    rule(8, ANY, "450", "4.2.1", "", RecipientBusy),
    // 2: the server is away, or says that it goes.
    rule(2, ANY, "421", "4.3.* 4.4.* 5.3.* 5.4.*", "", ServerAway),
    rule(2, ANY, "4xx", "4.4.*", "", ServerAway),
    rule(2, TLS, "4xx", "", "", ServerAway),
    // 4: our configuration.
    rule(4, ANY, "530 538 523", "", "", ConfigError),
    rule(4, TLS, "5xx", "", "", ConfigError),
    // 5, 6: the login.
    rule(5, AUTH, "535 534 550 554 525", "", "", AuthInvalid),
    rule(4, AUTH, "5xx", "", "", ConfigError),
    rule(6, AUTH, "4xx", "", "", AuthLater),
    // 9, 10: slowed down or greylisted; the two share codes, so their rules alternate.
    rule(9, ANY, "421", "4.7.* 5.7.*", "", RateLimited),
    rule(9, ANY, "4xx", "", r"\[?TS[S0-9][0-9]|S77[0-9]|unusual rate", RateLimited),
    rule(10, ANY, "450 451", "4.7.1", "", Greylisted),
    rule(10, ANY, "4xx", "", "gr[ae]y-?list", Greylisted),
    rule(9, ANY, "450 451", "4.7.*", "", RateLimited),
    rule(2, ANY, "421", "-", "", ServerAway),
    // A system problem (4.2, 4.3, 4.5) that adds "try again later" is no greylisting.
    rule(10, ANY, "450 451", "-", "try again (later|in)", Greylisted),
    // 11: everything else that is temporary.
    rule(11, ANY, "552", "", "too many recipients", Later),
    rule(11, ANY, "552", "5.5.3", "", Later),
    rule(11, ANY, "4xx", "", "", Later),
    // 15: the sender. Only the answer to MAIL FROM is about it.
    rule(15, SENDER, "553", "", "", SenderRefused),
    rule(15, SENDER, "5xx", "5.1.7 5.1.8 5.7.60 5.2.252", "", SenderRefused),
    rule(
        15,
        SENDER,
        "5xx",
        "",
        "sender address rejected|not owned by|send ?as ?denied|not allowed to send as",
        SenderRefused,
    ),
    // 3, 12: the recipient does not exist.
    rule(3, RECIPIENT, "550 556", "5.1.10", "", HardBounce),
    rule(12, RECIPIENT, "5xx", "5.1.1 5.1.2 5.1.3 5.1.6 5.1.10 5.2.1", "", HardBounce),
    rule(12, RECIPIENT, "551", "", "", HardBounce),
    rule(12, &[Phase::Rcpt], "553", "5.1.*", "", HardBounce),
    // 13: the recipient's mailbox is full; Gmail says "inactive" of those that stay so.
    rule(13, RECIPIENT, "5xx", "5.2.2", "inactive", HardBounce),
    rule(13, RECIPIENT, "5xx", "5.2.2", "", SoftBounce),
    rule(13, &[Phase::Rcpt], "552", "-", "storage|quota|mailbox (is )?full", SoftBounce),
    // 14: the message.
    rule(14, ANY, "552", "", "", MessageError),
    rule(14, ANY, "5xx", "5.3.4 5.2.3 5.6.*", "", MessageError),
    rule(
        14,
        ANY,
        "5xx",
        "",
        r"not rfc ?\d+ compliant|missing.{0,20}message-id|multiple addresses in from|encoded-word syntax",
        MessageError,
    ),
    // 16: who we say we are.
    rule(
        16,
        ANY,
        "5xx",
        "5.7.26 5.7.27 5.7.29 5.7.30 5.7.40 5.7.23 5.7.24 5.7.25 5.7.515",
        "",
        AuthenticationBlocked,
    ),
    rule(
        16,
        ANY,
        "5xx",
        "5.7.* -",
        r"\b(dmarc|spf|dkim)\b.{0,60}(fail|not pass|reject)|unauthenticated",
        AuthenticationBlocked,
    ),
    // 17: what we are taken for.
    rule(17, ANY, "5xx", "5.7.*", "", PolicyBlocked),
    rule(
        17,
        ANY,
        "5xx",
        "",
        r"\bspam|blocklist|blacklist|spamhaus|\bs3140\b|reputation|blocked",
        PolicyBlocked,
    ),
    // 18: recipients refused in words only.
    rule(
        18,
        &[Phase::Rcpt],
        "550 554",
        "-",
        r"user unknown|no such user|does ?n.t exist|does not exist|unknown (user|recipient)|invalid recipient|mailbox (unavailable|not found)",
        HardBounce,
    ),
    rule(18, &[Phase::Rcpt], "550 554", "-", "", PolicyBlocked),
    // 19: the rest.
    rule(19, ANY, "5xx", "", "", Failed),
];

/// The row of a connection that was lost.
pub(super) const ROW_UNKNOWN: u8 = 1;
/// The row of a server that is away.
pub(super) const ROW_AWAY: u8 = 2;
/// The row of TLS and configuration errors.
pub(super) const ROW_CONFIG: u8 = 4;

/// What a refusing answer means, and the row of the table that says so.
///
/// An answer that is no refusal (2xx, 3xx) where one was due means that the dialogue is out of step:
/// nobody knows what the server thinks.
pub fn classify(phase: Phase, reply: &Reply) -> (Meaning, u8) {
    if !(400..600).contains(&reply.code) {
        return lost(phase);
    }
    let compiled = RULES.iter().zip(TEXTS.iter());
    let fits = |(rule, text): &(&Rule, &Option<Regex>)| {
        (rule.at.is_empty() || rule.at.contains(&phase))
            && code_fits(rule.code, reply.code)
            && enhanced_fits(rule.enhanced, reply.enhanced.as_deref())
            && text.as_ref().is_none_or(|text| text.is_match(&reply.text))
    };
    // The last two rules of the classes take everything, so there is always one that fits.
    compiled.into_iter().find(fits).map_or((Failed, 19), |(rule, _)| (rule.means, rule.row))
}

/// What a connection that was lost, or an answer that never came, means.
pub(super) fn lost(phase: Phase) -> (Meaning, u8) {
    if phase == Phase::Dot { (Meaning::Unknown, ROW_UNKNOWN) } else { (ServerAway, ROW_AWAY) }
}

static TEXTS: LazyLock<Vec<Option<Regex>>> = LazyLock::new(|| {
    let compile = |rule: &Rule| {
        let regex = RegexBuilder::new(rule.text).case_insensitive(true).build();
        let regex = regex.expect("the table's expressions are constants, and a test compiles them");
        (!rule.text.is_empty()).then_some(regex)
    };
    RULES.iter().map(compile).collect()
});

fn code_fits(pattern: &str, code: u16) -> bool {
    let code = code.to_string();
    pattern.is_empty()
        || pattern
            .split(' ')
            .any(|p| p.strip_suffix("xx").map_or(p == code, |c| code.starts_with(c)))
}

fn enhanced_fits(pattern: &str, enhanced: Option<&str>) -> bool {
    let one = |pattern: &str| match (pattern, enhanced) {
        ("-", enhanced) => enhanced.is_none(),
        (_, None) => false,
        (pattern, Some(enhanced)) => match pattern.strip_suffix('*') {
            Some(start) => enhanced.starts_with(start),
            None => pattern == enhanced,
        },
    };
    pattern.is_empty() || pattern.split(' ').any(one)
}
