//! Carrying verdicts out, each under its fence.

use std::collections::HashSet;

use futures::future::join_all;
use jobs::contract::{Cause, JobId, Moment, Verdict};
use serde::Serialize;

use super::{
    bundle::Run,
    clamped,
    error::corrupt,
    keys::short,
    reply::text,
    scripts::SETTLE,
    server::{Patience, Server},
};
use crate::queue::{ParkReason, QueueError, Settled, Settlement, ending::Ending};

/// Settlements that one script call carries out at most.
const BATCH: usize = 100;
/// What becomes of a job that completed and has no result.
const PLAIN: &str = "C";
/// Lanes that are looked at again for each refund, at most.
const MOST_LANES: &str = "500";

/// In JSON, what does not apply is not there.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// An ending, as the script takes it.
#[derive(Debug, Serialize)]
pub(super) struct Order {
    #[serde(skip)]
    id: JobId,
    #[serde(skip)]
    fence: u64,
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

impl Order {
    pub(super) fn new(
        id: JobId,
        fence: u64,
        ending: Ending,
        refund: bool,
    ) -> Result<Self, QueueError> {
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
            id,
            fence,
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
        Ok(Self {
            park_until: Some(clamped(until)),
            park_reason: Some(reason),
            unseen: true,
            ..Self::new(id, fence, ending, true)?
        })
    }

    /// What becomes of the job, in as few words as it needs: most complete.
    fn text(&self) -> Result<String, QueueError> {
        match &self.result {
            Some(result) if self.done && self.skipped.is_none() && !self.refund => {
                Ok(if result == "null" { PLAIN.to_owned() } else { format!("C{result}") })
            }
            _ => serde_json::to_string(self).map_err(|e| corrupt("an ending", e)),
        }
    }

    /// The same, to be carried out only if the lease is over.
    pub(super) fn if_vanished(self) -> Self {
        Self { vanished: true, ..self }
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
        // Whether a cancel was asked for is known to the script alone.
        let ending = Ending::of(verdict, false, now);
        orders[shard].push((index, Order::new(lease.id, fence, ending, refund)?));
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
                _ => Settled::Done,
            }))),
            Err(error) => {
                said.extend(indices.map(|index| (index, Settled::Unknown)));
                failure = Some(error);
            }
        }
    }
    (said, failure)
}

/// The orders that one call carries out: a batch in which no job is twice.
fn next_batch<'o>(left: &mut &'o [(usize, Order)]) -> Option<&'o [(usize, Order)]> {
    let mut seen = HashSet::with_capacity(left.len().min(BATCH));
    let fits = left.iter().take(BATCH).take_while(|(_, order)| seen.insert(order.id)).count();
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
    for (Run { first, count }, fence, text) in runs(orders)? {
        arguments.push(format!("{}{count:04}{fence:010}{text}", short(first)));
    }
    let answer = server.call(&SETTLE, shard, Patience::Worker, &arguments).await?;
    let letters = text(answer)?;
    letters.chars().map(became).collect()
}

/// The orders, those in one that are alike for jobs one behind the other.
fn runs<'o>(
    orders: impl Iterator<Item = &'o Order>,
) -> Result<Vec<(Run, u64, String)>, QueueError> {
    let mut runs: Vec<(Run, u64, String)> = Vec::new();
    for order in orders {
        let text = order.text()?;
        if let Some((run, fence, same)) = runs.last_mut()
            && text == PLAIN
            && *same == text
            && *fence == order.fence
            && run.takes(order.id)
        {
            continue;
        }
        runs.push((Run { first: order.id, count: 1 }, order.fence, text));
    }
    Ok(runs)
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
