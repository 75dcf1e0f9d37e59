//! A mailbox's limit over a fleet whose workers are killed: never too much in any window, and little
//! of what is allowed unused.

use std::time::Duration;

use jobs::contract::Moment;
use postrider::queue::AttemptRecord;

use super::{rig::Fleet, say, size, submitter::submit_all, within};

/// Mails in every four seconds.
const COUNT: usize = 30;
const WINDOW: Duration = Duration::from_secs(4);
/// How much of what is allowed is used while there is a backlog, in percent.
const USED: f64 = 95.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_in_every_window_and_is_used_while_workers_are_killed() {
    limited(4, 3, Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the long form: tests/fleet limits"]
async fn long() {
    limited(size("WINDOWS", 60), size("KILLS", 40), within()).await;
}

async fn limited(windows: usize, kills: usize, within: Duration) {
    // given a fleet, a mailbox with a limit, and work for some windows
    let mut fleet = Fleet::start(&[("LIMITS__MAILBOX_IN_FLIGHT", "100")]).await;
    let mailbox = "limited@example.com";
    let limit = format!("{COUNT}/{}s", WINDOW.as_secs());
    fleet.house.limited_mailbox(mailbox, fleet.sink.addr(), &limit).await;
    let jobs = windows * COUNT;
    let accepted = submit_all(fleet.submitter(), vec![mailbox.to_owned()], jobs).await;
    // when workers are killed while they send
    for kill in 0..kills {
        let moment = fleet.sink.until(5 + kill * jobs * 8 / 10 / kills);
        tokio::time::timeout(within, moment).await.expect("the fleet is at work");
        fleet.workers.remove(0).kill().await;
        fleet.man().await;
    }
    fleet.drained(within).await;
    fleet.account(&accepted).await.assert_clean();
    // then no window has more claims than the limit, by the server's clock
    let (records, arrivals) = (fleet.records(&accepted).await, fleet.sink.arrivals());
    let (mut claims, mut effects) = (Vec::new(), Vec::new());
    let (mut last_new, mut slowest) = (Moment::from_millis(0), Duration::ZERO);
    for job in &accepted {
        let runs = &records[&job.id].attempts;
        let effect = arrivals.get(&job.effect).map(|moments| moments[0]);
        let had_it = effect.and_then(|effect| runs.iter().rfind(|run| run.started_at <= effect));
        claims.extend(runs.iter().filter(|run| drew(run, had_it)).map(|run| run.started_at));
        last_new = last_new.max(runs[0].started_at);
        if let (Some(effect), Some(run)) = (effect, had_it) {
            slowest = slowest.max(effect.since(run.started_at));
            effects.push(effect);
        }
    }
    assert_within("claims", &mut claims, WINDOW);
    // and no window has more effects, but for the time that a mail takes from its claim to its end
    assert_within("effects", &mut effects, WINDOW.saturating_sub(slowest));
    // and what was allowed was used, in the whole windows during which new jobs waited
    let whole = last_new.since(claims[0]).as_millis() / WINDOW.as_millis();
    let end = claims[0].plus(WINDOW * u32::try_from(whole).unwrap());
    let busy = claims.iter().filter(|claim| **claim < end).count();
    let used = 100.0 * busy as f64 / (whole as f64 * COUNT as f64);
    say(format_args!(
        "{busy} claims in {whole} windows, {used:.1} % of what {limit} allows; the slowest mail took {} ms; \
         {kills} kills",
        slowest.as_millis()
    ));
    assert!(used >= USED, "{used:.1} %");
    fleet.stop().await;
}

/// Whether a run kept what it drew on the limit. It gave it back when it came to its end and had no
/// effect: it was put off, or found that a run before it had the effect and did not live to say so.
fn drew(run: &AttemptRecord, had_the_effect: Option<&AttemptRecord>) -> bool {
    run.outcome.as_deref() == Some("vanished") || had_the_effect.is_some_and(|had| had == run)
}

/// Fails when some window of this length has more than the limit allows.
fn assert_within(what: &str, moments: &mut [Moment], window: Duration) {
    moments.sort_unstable();
    for pair in moments.windows(COUNT + 1) {
        let span = pair[COUNT].since(pair[0]);
        assert!(span >= window, "{} {what} from {} within {span:?}", COUNT + 1, pair[0]);
    }
}
