//! What a refused mail means for the job, the lane, the mailbox and the recipient.

use std::time::Duration;

use crate::contract::{
    Cause, Moment, Scope, Stop,
    ports::{Meaning, Pauses, Phase, Refusal},
};

/// What follows from a refusal.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Consequence {
    /// How the run ends.
    pub(super) stop: Stop,
    /// The address does not exist: never write to it again.
    pub(super) suppress: bool,
    /// The mailbox's login was refused: count it.
    pub(super) login_refused: bool,
}

/// Decides what follows from a refusal, on attempt number `attempt`. Pure.
///
/// What is the mailbox's or its provider's affair puts the lane to sleep and costs no attempt; what
/// is this mail's affair is retried or ends the job.
pub(super) fn consequence(
    refusal: &Refusal,
    attempt: u32,
    now: Moment,
    pauses: &Pauses,
) -> Consequence {
    // Up to the login the server has not heard of this mail: whatever it says is about us.
    let about_the_mail = refusal.phase > Phase::Auth;
    let lane_waits =
        if about_the_mail { lane_wait(refusal, pauses) } else { Some(early(refusal, pauses)) };
    let cause = || Cause::new(code(refusal.meaning), refusal.message.clone());
    let stop = match (lane_waits, mail_wait(refusal.meaning, attempt, pauses)) {
        (Some(wait), _) => {
            Stop::Snooze { until: now.plus(wait), why: refusal.message.clone(), scope: Scope::Lane }
        }
        (None, Some(wait)) => Stop::Retry { cause: cause(), after: Some(wait) },
        (None, None) => Stop::Cancel { cause: cause() },
    };
    Consequence {
        stop,
        suppress: refusal.meaning == Meaning::HardBounce && about_the_mail,
        login_refused: refusal.meaning == Meaning::AuthInvalid,
    }
}

/// How long the lane waits after a refusal that came before the server had heard of the mail.
fn early(refusal: &Refusal, pauses: &Pauses) -> Duration {
    match refusal.meaning {
        Meaning::ServerAway | Meaning::Later | Meaning::Greylisted | Meaning::RecipientBusy => {
            step(&pauses.server_away, refusal.in_a_row)
        }
        _ => lane_wait(refusal, pauses).unwrap_or(pauses.misconfigured),
    }
}

/// How long the lane waits, when the refusal is about the mailbox and not about the mail.
fn lane_wait(refusal: &Refusal, pauses: &Pauses) -> Option<Duration> {
    match refusal.meaning {
        Meaning::ConfigError | Meaning::SenderRefused | Meaning::AuthenticationBlocked => {
            Some(pauses.misconfigured)
        }
        Meaning::AuthInvalid => Some(pauses.login_refused),
        Meaning::AuthLater => Some(pauses.login_later),
        Meaning::QuotaSpent if is_connection_limit(refusal) => Some(pauses.connections_spent),
        Meaning::QuotaSpent => Some(pauses.quota_spent),
        Meaning::RateLimited => Some(step(&pauses.rate_limited, refusal.in_a_row)),
        _ => None,
    }
}

/// How long this mail waits before it is tried again; `None`: never.
fn mail_wait(meaning: Meaning, attempt: u32, pauses: &Pauses) -> Option<Duration> {
    match meaning {
        // A server that goes away over this very mail must not block the lane with it.
        Meaning::ServerAway => Some(step(&pauses.server_away, attempt)),
        Meaning::RecipientBusy => Some(pauses.recipient_busy),
        Meaning::Greylisted => Some(step(&pauses.greylisted, attempt)),
        Meaning::Later => Some(step(&pauses.later, attempt)),
        _ => None,
    }
}

/// Too many connections at once (432) passes in seconds, a spent quota in hours.
fn is_connection_limit(refusal: &Refusal) -> bool {
    refusal.reply.as_ref().is_some_and(|reply| reply.code == 432)
}

/// The entry for the `nth` time, from 1; the last one repeats.
fn step(schedule: &[Duration], nth: u32) -> Duration {
    let index = usize::try_from(nth.saturating_sub(1)).unwrap_or(usize::MAX);
    schedule.get(index).or(schedule.last()).copied().unwrap_or_default()
}

/// The code of the cause, for programs.
fn code(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::Unknown => "delivery_unknown",
        Meaning::ServerAway => "server_away",
        Meaning::HardBounce => "hard_bounce",
        Meaning::ConfigError => "config_error",
        Meaning::AuthInvalid => "login_refused",
        Meaning::AuthLater => "login_later",
        Meaning::QuotaSpent => "quota_spent",
        Meaning::RecipientBusy => "recipient_busy",
        Meaning::RateLimited => "rate_limited",
        Meaning::Greylisted => "greylisted",
        Meaning::Later => "later",
        Meaning::SoftBounce => "soft_bounce",
        Meaning::MessageError => "message_error",
        Meaning::SenderRefused => "sender_refused",
        Meaning::AuthenticationBlocked => "authentication_blocked",
        Meaning::PolicyBlocked => "policy_blocked",
        Meaning::Failed => "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::ports::Reply;

    const NOW: Moment = Moment::from_millis(1_000_000);
    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3_600);

    #[derive(Debug, PartialEq)]
    enum Ends {
        LaneWaits(Duration),
        RetriedAfter(Duration),
        Cancelled,
    }

    fn refusal(meaning: Meaning, phase: Phase, code: u16, in_a_row: u32) -> Refusal {
        let reply = Some(Reply { code, enhanced: None, text: "no".into() });
        Refusal { meaning, phase, reply, rule: 0, message: "the server said no".into(), in_a_row }
    }

    fn ends(stop: &Stop) -> Ends {
        match stop {
            Stop::Snooze { until, scope: Scope::Lane, .. } => Ends::LaneWaits(until.since(NOW)),
            Stop::Retry { after: Some(after), .. } => Ends::RetriedAfter(*after),
            Stop::Cancel { .. } => Ends::Cancelled,
            other => panic!("not an ending of the table: {other:?}"),
        }
    }

    #[test]
    fn every_meaning_has_its_consequence() {
        use Ends::{Cancelled, LaneWaits, RetriedAfter};
        // meaning, phase, code, how often in a row, attempt -> ending, suppress, login refused
        let rows = [
            (Meaning::Unknown, Phase::Dot, 0, 1, 1, Cancelled, false, false),
            (Meaning::ServerAway, Phase::Connect, 0, 1, 1, LaneWaits(MINUTE / 2), false, false),
            (Meaning::ServerAway, Phase::Tls, 0, 3, 1, LaneWaits(MINUTE * 5), false, false),
            (Meaning::ServerAway, Phase::Connect, 0, 99, 1, LaneWaits(MINUTE * 30), false, false),
            (Meaning::ServerAway, Phase::Rcpt, 0, 1, 2, RetriedAfter(MINUTE * 2), false, false),
            (Meaning::Later, Phase::Connect, 450, 2, 7, LaneWaits(MINUTE * 2), false, false),
            (Meaning::PolicyBlocked, Phase::Connect, 554, 1, 1, LaneWaits(HOUR), false, false),
            (Meaning::HardBounce, Phase::Connect, 550, 1, 1, LaneWaits(HOUR), false, false),
            (Meaning::HardBounce, Phase::Rcpt, 550, 1, 1, Cancelled, true, false),
            (Meaning::ConfigError, Phase::Tls, 530, 1, 1, LaneWaits(HOUR), false, false),
            (Meaning::AuthInvalid, Phase::Auth, 535, 1, 1, LaneWaits(MINUTE * 15), false, true),
            (Meaning::AuthLater, Phase::Auth, 454, 1, 1, LaneWaits(MINUTE * 15), false, false),
            (Meaning::QuotaSpent, Phase::Mail, 550, 1, 1, LaneWaits(HOUR), false, false),
            (Meaning::QuotaSpent, Phase::Dot, 432, 1, 1, LaneWaits(MINUTE / 2), false, false),
            (Meaning::RecipientBusy, Phase::Rcpt, 450, 1, 1, RetriedAfter(HOUR), false, false),
            (Meaning::RateLimited, Phase::Rcpt, 421, 1, 5, LaneWaits(HOUR), false, false),
            (Meaning::RateLimited, Phase::Rcpt, 421, 2, 5, LaneWaits(HOUR * 2), false, false),
            (Meaning::RateLimited, Phase::Rcpt, 421, 9, 5, LaneWaits(HOUR * 4), false, false),
            (Meaning::Greylisted, Phase::Rcpt, 451, 1, 1, RetriedAfter(MINUTE * 5), false, false),
            (Meaning::Greylisted, Phase::Rcpt, 451, 1, 4, RetriedAfter(MINUTE * 40), false, false),
            (Meaning::Later, Phase::Dot, 451, 1, 1, RetriedAfter(MINUTE * 15), false, false),
            (Meaning::Later, Phase::Dot, 451, 1, 7, RetriedAfter(HOUR * 3), false, false),
            (Meaning::SoftBounce, Phase::Rcpt, 552, 1, 1, Cancelled, false, false),
            (Meaning::MessageError, Phase::Dot, 552, 1, 1, Cancelled, false, false),
            (Meaning::SenderRefused, Phase::Mail, 553, 1, 1, LaneWaits(HOUR), false, false),
            (Meaning::AuthenticationBlocked, Phase::Dot, 550, 1, 1, LaneWaits(HOUR), false, false),
            (Meaning::PolicyBlocked, Phase::Dot, 550, 1, 1, Cancelled, false, false),
            (Meaning::Failed, Phase::Rcpt, 554, 1, 1, Cancelled, false, false),
        ];
        for (meaning, phase, code, in_a_row, attempt, expected, suppress, login) in rows {
            // given
            let refusal = refusal(meaning, phase, code, in_a_row);
            // when
            let got = consequence(&refusal, attempt, NOW, &Pauses::default());
            // then
            assert_eq!(ends(&got.stop), expected, "{meaning:?} at {phase:?}");
            assert_eq!((got.suppress, got.login_refused), (suppress, login), "{meaning:?}");
        }
    }

    #[test]
    fn an_empty_schedule_does_not_wait() {
        assert_eq!(step(&[], 3), Duration::ZERO);
    }
}
