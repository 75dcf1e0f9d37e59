//! What was submitted of a job, as the scripts keep it: one text, of which they read the front
//! (`lua/records.lua`).

use std::sync::Arc;

use bytes::Bytes;
use jobs::contract::{JobId, LaneName, Moment, TenantId};
use serde::{Deserialize, Serialize};

use super::{
    error::corrupt,
    keys::{self, SEPARATOR, job_of, lane_id, lane_of, short},
    moment_arg,
    reply::Fields,
    server::{Patience, Server},
};
use crate::queue::{LaneRef, NewJob, Priority, QueueError};

/// Payloads up to this many bytes are kept inside the text; longer ones apart, so that what is read
/// often stays short.
pub(super) const INSIDE: usize = 1_024;
/// What the script writes before it: created_at, version, arrival.
pub(super) const STAMP: usize = 13 + 14 + 10;
const CREATED: usize = 13;
/// The job's number, its letter, id, the number of its lane, its priority, the moment asked for.
const FRONT: usize = 4 + 1 + 26 + 4 + 1 + MOMENT;
const LETTER: usize = 4;
const ID: std::ops::Range<usize> = 5..31;
const MOMENT: usize = 13;
const LENGTH: usize = 6;

/// What of a job never changes and no script reads. Its names are short: there may be millions. Jobs that
/// are read together share texts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Fixed {
    #[serde(rename = "k", with = "shared_text")]
    pub(super) kind: Arc<str>,
    #[serde(rename = "n")]
    pub(super) items: u64,
    #[serde(rename = "a")]
    pub(super) max_attempts: u32,
    #[serde(rename = "t", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<String>,
    #[serde(rename = "r", with = "shared_text")]
    pub(super) request_id: Arc<str>,
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) callback: Vec<String>,
}

/// Texts that several own, written as any text.
mod shared_text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(from).map(Arc::from)
    }
}

/// What the script takes of a job: the text, and what comes behind it where the text says so.
pub(super) struct Given {
    pub(super) text: Vec<u8>,
    /// The uniqueness key.
    pub(super) unique: Option<Vec<u8>>,
    /// The payload that lies apart.
    pub(super) apart: Option<Vec<u8>>,
}

impl Given {
    /// The job, which is the `number`th of its submission, and waits in the `lane`th of its lanes; its
    /// payload is kept apart when it is longer than `longest`.
    pub(super) fn of(
        tenant: &TenantId,
        lane: usize,
        number: usize,
        job: &NewJob,
        longest: usize,
    ) -> Result<Self, QueueError> {
        let fixed = Fixed {
            kind: job.kind.as_str().into(),
            items: job.total_items,
            max_attempts: job.max_attempts,
            tags: job.tags.clone(),
            request_id: job.request_id.as_str().into(),
            callback: job.callback.clone(),
        };
        let fixed = serde_json::to_vec(&fixed).map_err(|e| corrupt("a job", e))?;
        let unique = job.unique.as_ref().map(|unique| format!("{}{SEPARATOR}{unique}", job.kind));
        let unique = unique.map(String::into_bytes);
        let inside = job.payload.len() <= longest;
        let run_at = job.run_at.map_or_else(|| "0".repeat(13), moment_arg);
        let mut text = Vec::with_capacity(200 + fixed.len() + job.payload.len().min(longest));
        let letter = match (inside, job.callback.is_empty()) {
            (true, true) => 'i',
            (false, true) => 'a',
            (true, false) => 'j',
            (false, false) => 'b',
        };
        let letter = if unique.is_some() { letter.to_ascii_uppercase() } else { letter };
        let id = short(job.id);
        let rank = rank(job.priority) + if job.run_at.is_some() { 3 } else { 0 };
        let front = format!("{number:04}{letter}{id}{lane:04}{rank}{run_at}");
        text.extend_from_slice(front.as_bytes());
        let lane = lane_id(&job.queue, tenant, &job.lane);
        for piece in [lane.as_bytes(), unique.as_deref().unwrap_or_default(), &fixed] {
            text.extend_from_slice(format!("{:06}", piece.len()).as_bytes());
            text.extend_from_slice(piece);
        }
        if inside {
            text.extend_from_slice(&job.payload);
        }
        Ok(Self { text, unique, apart: (!inside).then(|| job.payload.to_vec()) })
    }
}

/// The place of a priority in the run order.
pub(super) fn rank(priority: Priority) -> u8 {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}

/// What is kept of it.
pub(super) struct Submitted {
    pub(super) created_at: Moment,
    /// The moment at which it was first to run.
    pub(super) due_at: Moment,
    pub(super) lane: Lane,
    pub(super) fixed: Fixed,
    pub(super) payload: Bytes,
    /// The payload lies apart.
    apart: bool,
}

/// The lane that it was submitted to; of which queue, whoever reads it knows.
#[derive(Clone)]
pub(super) struct Lane {
    pub(super) tenant: TenantId,
    pub(super) name: LaneName,
}

impl Submitted {
    pub(super) fn of(id: JobId, text: Vec<u8>) -> Result<Self, QueueError> {
        let created_at = text.get(..STAMP).and_then(|stamp| number(&stamp[..CREATED]));
        created_at
            .and_then(|created_at| {
                Self::parts(created_at, &Bytes::from(text).slice(STAMP..), &mut Before::default())
            })
            .ok_or_else(|| corrupt("a job", format!("{id} is cut off or garbled")))
    }

    /// What was submitted at that moment, from what stands behind the stamp.
    pub(super) fn behind_stamp(
        created_at: i64,
        text: &Bytes,
        before: &mut Before,
    ) -> Result<(JobId, Self), QueueError> {
        let id = text.get(ID).and_then(|id| std::str::from_utf8(id).ok());
        let id = job_of(id.unwrap_or_default())?;
        let cut_off = || corrupt("a job", format!("{id} is cut off or garbled"));
        Ok((id, Self::parts(created_at, text, before).ok_or_else(cut_off)?))
    }

    fn parts(created_at: i64, text: &Bytes, before: &mut Before) -> Option<Self> {
        let asked: i64 = number(text.get(FRONT - MOMENT..FRONT)?)?;
        let apart = matches!(text.get(LETTER)?.to_ascii_lowercase(), b'a' | b'b');
        let mut at = FRONT;
        let mut piece = || {
            let length = usize::try_from(number(text.get(at..at + LENGTH)?)?).ok()?;
            let from = at + LENGTH;
            at = from + length;
            text.get(from..at)
        };
        let lane = piece()?;
        piece()?;
        let fixed = piece()?;
        let (lane, fixed) = before.read(lane, fixed)?;
        let payload = text.slice(at..);
        Some(Self {
            created_at: Moment::from_millis(created_at),
            due_at: Moment::from_millis(asked.max(created_at)),
            lane,
            fixed,
            payload,
            apart,
        })
    }
}

/// What the job before had, which the next one mostly has, too: reading it costs more than a copy.
#[derive(Default)]
pub(super) struct Before {
    lane: Vec<u8>,
    fixed: Vec<u8>,
    read: Option<(Lane, Fixed)>,
}

impl Before {
    fn read(&mut self, lane: &[u8], fixed: &[u8]) -> Option<(Lane, Fixed)> {
        if self.read.is_none() || self.lane != lane || self.fixed != fixed {
            let LaneRef { tenant, name, .. } = lane_of(std::str::from_utf8(lane).ok()?).ok()?;
            self.read = Some((Lane { tenant, name }, serde_json::from_slice(fixed).ok()?));
            (self.lane, self.fixed) = (lane.to_vec(), fixed.to_vec());
        }
        self.read.clone()
    }
}

/// Reads jobs of a shard that are there, with their payloads.
pub(super) async fn read(
    server: &Server,
    shard: usize,
    ids: &[JobId],
) -> Result<Vec<Submitted>, QueueError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let base = server.shards.base(shard);
    let mut command = redis::cmd("HMGET");
    command.arg(format!("{base}jobs")).arg(ids.iter().map(|id| short(*id)).collect::<Vec<_>>());
    let mut texts = Fields::of(server.query(shard, &command, Patience::Worker).await?)?;
    let found = ids.iter().map(|id| Submitted::of(*id, texts.bytes()?));
    let mut found = found.collect::<Result<Vec<_>, _>>()?;
    let apart = || (0..ids.len()).filter(|index| found[*index].apart);
    let keys: Vec<String> = apart().map(|index| keys::payload(base, ids[index])).collect();
    if !keys.is_empty() {
        let places: Vec<usize> = apart().collect();
        let answer = server.query(shard, redis::cmd("MGET").arg(keys), Patience::Worker).await?;
        let mut payloads = Fields::of(answer)?;
        for place in places {
            found[place].payload = payloads.bytes()?.into();
        }
    }
    Ok(found)
}

/// The number that these digits write; none for anything else.
pub(super) fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_i64, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(i64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::LanePolicy;

    fn job(payload: Bytes) -> NewJob {
        NewJob {
            id: JobId::from_u128(7),
            kind: "send".into(),
            queue: "send".into(),
            lane: LaneName::custom("l"),
            policy: Arc::new(LanePolicy::default()),
            payload,
            priority: Priority::Low,
            run_at: Some(Moment::from_millis(1_700_000_000_000)),
            max_attempts: 8,
            unique: Some("once".into()),
            total_items: 3,
            tags: vec!["q3".into()],
            request_id: "cli".into(),
            callback: Vec::new(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for length in [0, INSIDE, INSIDE + 1] {
            // given what the script keeps and gives
            let payload = Bytes::from(vec![b'x'; length]);
            let tenant = "acme".parse().unwrap();
            let given = Given::of(&tenant, 1, 2, &job(payload.clone()), INSIDE).unwrap();
            assert_eq!(given.apart.is_none(), length <= INSIDE);
            let stamp = format!("{:013}{:014}{:010}", 1_600_000_000_000_u64, 5, 6);
            let text = [stamp.as_bytes(), &given.text].concat();

            // when
            let read = Submitted::of(JobId::from_u128(7), text).unwrap();

            // then
            assert_eq!(read.created_at.millis(), 1_600_000_000_000);
            assert_eq!(read.due_at.millis(), 1_700_000_000_000);
            assert_eq!((read.lane.tenant, read.lane.name), (tenant, LaneName::custom("l")));
            assert_eq!((&*read.fixed.kind, read.fixed.items), ("send", 3));
            let inside = if given.apart.is_some() { Vec::new() } else { payload.to_vec() };
            assert_eq!((read.payload.to_vec(), read.apart), (inside, length > INSIDE));
        }
    }

    #[test]
    fn a_letter_says_what_scripts_have_to_know() {
        for (length, unique, told, letter) in [
            (0, false, false, b'i'),
            (0, true, false, b'I'),
            (0, false, true, b'j'),
            (0, true, true, b'J'),
            (INSIDE + 1, false, false, b'a'),
            (INSIDE + 1, true, false, b'A'),
            (INSIDE + 1, false, true, b'b'),
            (INSIDE + 1, true, true, b'B'),
        ] {
            let mut job = job(Bytes::from(vec![b'x'; length]));
            job.unique = job.unique.filter(|_| unique);
            job.callback = if told { vec!["crm".into()] } else { Vec::new() };
            let given = Given::of(&"acme".parse().unwrap(), 1, 0, &job, INSIDE).unwrap();
            assert_eq!(given.text[LETTER], letter);
            let text = [&[b'0'; STAMP][..], &given.text].concat();
            let read = Submitted::of(JobId::from_u128(7), text).unwrap();
            assert_eq!((read.apart, read.fixed.callback), (length > INSIDE, job.callback));
        }
    }

    #[test]
    fn a_number_is_digits_and_nothing_else() {
        assert_eq!(number(b"0042"), Some(42));
        assert_eq!(number(b"9223372036854775807"), Some(i64::MAX));
        for wrong in ["", "-1", "+1", "1 ", "4a", "9223372036854775808"] {
            assert_eq!(number(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_cut_off_is_said_to_be() {
        let given = Given::of(&"acme".parse().unwrap(), 1, 0, &job(Bytes::new()), INSIDE).unwrap();
        let text = [&[b'0'; STAMP][..], &given.text].concat();
        for length in 0..text.len() {
            assert!(Submitted::of(JobId::from_u128(7), text[..length].to_vec()).is_err());
        }
    }
}
