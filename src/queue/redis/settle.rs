//! Carrying verdicts out, each under its fence.

use futures::future::join_all;
use jobs::contract::{Cause, JobId, Moment, Verdict};
use serde::Serialize;

use super::{
    clamped,
    error::corrupt,
    keys::short,
    reply::text,
    scripts::SETTLE,
    server::{Patience, Server},
    taken::Run,
};
use crate::queue::{ParkReason, QueueError, Settled, Settlement, ending::Ending};

/// Settlements that one script call carries out at most.
const BATCH: usize = 100;
/// Lanes that are looked at again for each refund, at most.
const MOST_LANES: &str = "500";

/// In JSON, what does not apply is not there.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A verdict, as the script takes it.
#[derive(Debug)]
pub(super) struct Order {
    id: JobId,
    fence: u64,
    what: What,
}

/// What becomes of the job.
#[derive(Debug)]
enum What {
    /// It completed; its result (JSON), if it has one. Most do, and it takes few words.
    Completed(Option<String>),
    Told(Box<Told>),
}

/// An ending that takes more words.
#[derive(Debug, Serialize)]
struct Told {
    state: &'static str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_at: Option<i64>,
    wait: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    told: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    park_until: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    park_reason: Option<String>,
    /// A cancel that was asked for changes nothing any more.
    #[serde(skip_serializing_if = "is_false")]
    done: bool,
    #[serde(skip_serializing_if = "is_false")]
    back: bool,
    #[serde(skip_serializing_if = "is_false")]
    crashed: bool,
    #[serde(skip_serializing_if = "is_false")]
    keep_error: bool,
    #[serde(skip_serializing_if = "is_false")]
    retryable: bool,
    #[serde(skip_serializing_if = "is_false")]
    refund: bool,
    #[serde(skip_serializing_if = "is_false")]
    unseen: bool,
    #[serde(skip_serializing_if = "is_false")]
    vanished: bool,
}

impl Told {
    fn of(ending: Ending, refund: bool) -> Result<Self, QueueError> {
        let json = |cause: &Cause| serde_json::to_string(cause).map_err(|e| corrupt("a cause", e));
        let error = ending.error.as_ref().and_then(Option::as_ref).map(json).transpose()?;
        let why = ending.why.as_ref().map(|why| Cause::new("snoozed", why.as_str()));
        let told = why.as_ref().map(json).transpose()?.or_else(|| error.clone());
        let park_reason = ending
            .park_until
            .map(|_| serde_json::to_string(&ParkReason::Snooze(ending.why.unwrap_or_default())))
            .transpose()
            .map_err(|e| corrupt("a reason for parking", e))?;
        Ok(Self {
            state: ending.state,
            outcome: ending.outcome,
            run_at: ending.run_at.map(clamped),
            wait: ending.wait,
            reason: ending.wait_reason,
            keep_error: ending.error.is_none(),
            error,
            told,
            result: ending.result.map(|value| value.to_string()),
            skipped: ending.skipped,
            park_until: ending.park_until.map(clamped),
            park_reason,
            done: ending.state == "completed",
            back: ending.gives_back,
            crashed: ending.crashed,
            retryable: ending.retryable,
            refund,
            unseen: false,
            vanished: false,
        })
    }
}

impl Order {
    /// What a verdict of now makes of a job.
    fn of(
        id: JobId,
        fence: u64,
        verdict: Verdict,
        refund: bool,
        now: Moment,
    ) -> Result<Self, QueueError> {
        if let (Verdict::Complete { result, skipped: None }, false) = (&verdict, refund) {
            let result = (!result.is_null()).then(|| result.to_string());
            return Ok(Self { id, fence, what: What::Completed(result) });
        }
        // Whether a cancel was asked for is known to the script alone.
        Ok(Self::told(id, fence, Told::of(Ending::of(verdict, false, now), refund)?))
    }

    fn told(id: JobId, fence: u64, told: Told) -> Self {
        Self { id, fence, what: What::Told(Box::new(told)) }
    }

    /// Gives a job back that was claimed but may not run before `until`, and parks its lane: as if it
    /// had not been claimed.
    pub(super) fn not_before(
        id: JobId,
        fence: u64,
        until: Moment,
        limit: String,
    ) -> Result<Self, QueueError> {
        let ending = Ending::of(Verdict::Release, false, until);
        let reason = serde_json::to_string(&ParkReason::Limit(limit));
        let reason = reason.map_err(|e| corrupt("a reason for parking", e))?;
        let told = Told {
            park_until: Some(clamped(until)),
            park_reason: Some(reason),
            unseen: true,
            ..Told::of(ending, true)?
        };
        Ok(Self::told(id, fence, told))
    }

    /// What becomes of a job whose worker vanished, to be carried out only if the lease is over.
    pub(super) fn if_vanished(id: JobId, fence: u64, ending: Ending) -> Result<Self, QueueError> {
        let told = Told { vanished: true, ..Told::of(ending, false)? };
        Ok(Self::told(id, fence, told))
    }

    /// Whether it completed and has no result: then it takes no words of its own.
    fn is_plain(&self) -> bool {
        matches!(self.what, What::Completed(None))
    }

    /// The same for so many jobs of a bundle, of which this is the first, as the script reads it.
    fn text(&self, count: usize) -> Result<String, QueueError> {
        let what = match &self.what {
            What::Completed(result) => format!("C{}", result.as_deref().unwrap_or_default()),
            What::Told(told) => serde_json::to_string(told).map_err(|e| corrupt("an ending", e))?,
        };
        Ok(format!("{}{count:04}{:010}{what}", short(self.id), self.fence))
    }
}

/// Carries verdicts out, in each shard by itself: `Unknown` where one does not answer, an error only
/// when none does.
pub(super) async fn settle(
    server: &Server,
    settlements: Vec<Settlement>,
    now: Moment,
) -> Result<Vec<Settled>, QueueError> {
    let mut answers = vec![Settled::Lost; settlements.len()];
    let mut orders: Vec<Vec<(usize, Order)>> = server.shards.all().map(|_| Vec::new()).collect();
    for (index, Settlement { lease, verdict, refund }) in settlements.into_iter().enumerate() {
        let Some((shard, fence)) = server.shards.of_lease(&lease) else { continue };
        if verdict == Verdict::Nothing {
            continue;
        }
        let refund = refund || verdict == Verdict::Release;
        orders[shard].push((index, Order::of(lease.id, fence, verdict, refund, now)?));
    }
    let orders = orders.into_iter().enumerate().filter(|(_, orders)| !orders.is_empty());
    let shards = join_all(orders.map(|(shard, orders)| settle_in(server, shard, orders))).await;
    let (mut carried_out, mut failure) = (shards.is_empty(), None);
    for (said, failed) in shards {
        for (index, settled) in said {
            carried_out |= settled != Settled::Unknown;
            answers[index] = settled;
        }
        failure = failure.or(failed);
    }
    match failure {
        Some(error) if !carried_out => return Err(error),
        Some(error) => tracing::warn!(%error, "not all verdicts could be stored yet"),
        None => {}
    }
    Ok(answers)
}

/// What became of the orders of one shard, by their index, and why not all of them were carried out.
type OfShard = (Vec<(usize, Settled)>, Option<QueueError>);

async fn settle_in(server: &Server, shard: usize, mut orders: Vec<(usize, Order)>) -> OfShard {
    // Those of a bundle that completed one behind the other are settled in one.
    orders.sort_by_key(|(_, order)| order.id);
    let mut said = Vec::with_capacity(orders.len());
    let (mut left, mut failure) = (&orders[..], None);
    while let Some(batch) = next_batch(&mut left) {
        let indices = batch.iter().map(|(index, _)| *index);
        if failure.is_some() {
            said.extend(indices.map(|index| (index, Settled::Unknown)));
            continue;
        }
        match carry_out(server, shard, batch.iter().map(|(_, order)| order)).await {
            Ok(became) => said.extend(indices.zip(became.into_iter().map(|became| match became {
                Became::Lost => Settled::Lost,
                Became::Cancelled => Settled::Cancelled,
                Became::Waiting | Became::Completed | Became::Failed => Settled::Done,
            }))),
            Err(error) => {
                said.extend(indices.map(|index| (index, Settled::Unknown)));
                failure = Some(error);
            }
        }
    }
    (said, failure)
}

/// The orders that one call carries out: a batch in which no job is twice. They are sorted by their jobs.
fn next_batch<'o>(left: &mut &'o [(usize, Order)]) -> Option<&'o [(usize, Order)]> {
    let mut before = None;
    let is_new = |(_, order): &&(usize, Order)| before.replace(order.id) != Some(order.id);
    let fits = left.iter().take(BATCH).take_while(is_new).count();
    let (batch, rest) = left.split_at(fits);
    *left = rest;
    (!batch.is_empty()).then_some(batch)
}

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Became {
    /// It waits again.
    Waiting,
    Completed,
    Failed,
    Cancelled,
    /// Nothing: the fence was stale.
    Lost,
}

/// Has one script call carry these out.
pub(super) async fn carry_out<'o>(
    server: &Server,
    shard: usize,
    orders: impl Iterator<Item = &'o Order>,
) -> Result<Vec<Became>, QueueError> {
    let mut arguments = vec![MOST_LANES.to_owned()];
    for (first, run) in runs(orders) {
        arguments.push(first.text(run.count)?);
    }
    let answer = server.call(&SETTLE, shard, Patience::Worker, &arguments).await?;
    let letters = text(answer)?;
    letters.chars().map(became).collect()
}

/// The orders, those in one that are alike for jobs one behind the other.
fn runs<'o>(orders: impl Iterator<Item = &'o Order>) -> Vec<(&'o Order, Run)> {
    let mut runs: Vec<(&Order, Run)> = Vec::new();
    for order in orders {
        if let Some((first, run)) = runs.last_mut()
            && first.is_plain()
            && order.is_plain()
            && first.fence == order.fence
            && run.takes(order.id)
        {
            continue;
        }
        runs.push((order, Run { first: order.id, count: 1 }));
    }
    runs
}

fn became(letter: char) -> Result<Became, QueueError> {
    match letter {
        'w' => Ok(Became::Waiting),
        'c' => Ok(Became::Completed),
        'f' => Ok(Became::Failed),
        'x' => Ok(Became::Cancelled),
        '-' => Ok(Became::Lost),
        other => Err(corrupt("an answer", other)),
    }
}
