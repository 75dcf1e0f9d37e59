//! Jobs of bundles that a claim took together, and that complete together.

use bytes::Bytes;
use jobs::contract::JobId;

use super::{
    bundle::{NUMBER, OFFSET},
    error::corrupt,
    reply::Fields,
    submitted::{Before, Submitted, number},
};
use crate::queue::QueueError;

/// Where the head stands in what the script says of jobs that it took together.
const HEAD: std::ops::Range<usize> = NUMBER..NUMBER + 26;

/// Jobs of a bundle that were claimed together, as the script names them.
#[derive(Debug)]
pub(super) struct Taken {
    /// The number of the bundle in the script's answer.
    pub(super) number: u32,
    /// The number of the first of them in the bundle.
    pub(super) first: u32,
    /// The bundle's head, as keys hold it.
    pub(super) head: String,
    created_at: i64,
    /// Where the text of each begins, and where the last one ends.
    offsets: Vec<usize>,
}

impl Taken {
    /// Reads what stands behind the `*`.
    pub(super) fn read(text: &str) -> Result<Self, QueueError> {
        Self::parts(text).ok_or_else(|| corrupt("a claim", text))
    }

    fn parts(text: &str) -> Option<Self> {
        let digits = |from: usize, length: usize| number(text.as_bytes().get(from..from + length)?);
        let short = |from: usize| u32::try_from(digits(from, NUMBER)?).ok();
        let count = short(HEAD.end + NUMBER)?;
        let created = HEAD.end + 2 * NUMBER;
        let at = created + 13;
        let offsets = (0..=count as usize)
            .map(|index| usize::try_from(digits(at + index * OFFSET, OFFSET)?).ok())
            .collect::<Option<Vec<usize>>>()?;
        Some(Self {
            number: short(0)?,
            first: short(HEAD.end)?,
            head: text.get(HEAD)?.to_owned(),
            created_at: digits(created, 13)?,
            offsets,
        })
    }

    /// The first and the last byte of their texts.
    pub(super) fn range(&self) -> (usize, usize) {
        let (first, end) = (self.offsets[0], self.offsets[self.offsets.len() - 1]);
        (first, end.saturating_sub(1))
    }

    /// The jobs in that part of the bundle's text.
    fn jobs(&self, text: Vec<u8>) -> Result<Vec<(JobId, Submitted)>, QueueError> {
        let (text, first) = (Bytes::from(text), self.offsets[0]);
        let job = |ends: &[usize]| {
            let (from, till) = (ends[0].checked_sub(first)?, ends[1].checked_sub(first)?);
            (from <= till && till <= text.len()).then(|| text.slice(from..till))
        };
        let mut before = Before::default();
        self.offsets
            .windows(2)
            .map(|ends| {
                let text = job(ends).ok_or_else(|| corrupt("a bundle", &self.head))?;
                Submitted::behind_stamp(self.created_at, &text, &mut before)
            })
            .collect()
    }
}

/// Jobs of one lane among those that a claim took of a bundle.
#[derive(Debug)]
pub(super) struct Few {
    /// The number of the bundle in the script's answer.
    bundle: u32,
    /// The number of the first of them in the bundle.
    first: u32,
    pub(super) count: usize,
}

impl Few {
    /// Reads what stands behind the `=`.
    pub(super) fn read(text: &str) -> Result<Self, QueueError> {
        let digits = |at: usize| number(text.as_bytes().get(at * NUMBER..(at + 1) * NUMBER)?);
        let numbers = || {
            let (first, last) = (digits(1)?, digits(2)?);
            Some(Self {
                bundle: u32::try_from(digits(0)?).ok()?,
                first: u32::try_from(first).ok()?,
                count: usize::try_from(last - first + 1).ok()?,
            })
        };
        numbers().ok_or_else(|| corrupt("a claim", text))
    }
}

/// The jobs of a take, as far as they were not given out.
struct Span {
    bundle: u32,
    first: u32,
    jobs: Vec<Option<(JobId, Submitted)>>,
}

/// What a claim took of bundles.
pub(super) struct Opened(Vec<Span>);

impl Opened {
    /// The jobs of these takes, with the part of each one's bundle.
    pub(super) fn of(takes: &[Taken], mut texts: Fields) -> Result<Self, QueueError> {
        let spans = takes.iter().map(|taken| {
            let jobs = taken.jobs(texts.bytes()?)?;
            let jobs = jobs.into_iter().map(Some).collect();
            Ok(Span { bundle: taken.number, first: taken.first, jobs })
        });
        Ok(Self(spans.collect::<Result<_, QueueError>>()?))
    }

    /// Gives jobs out, each once.
    pub(super) fn take(&mut self, few: &Few) -> Result<Vec<(JobId, Submitted)>, QueueError> {
        let jobs = self.0.iter_mut().find_map(|span| {
            let from = few.first.checked_sub(span.first).filter(|_| span.bundle == few.bundle)?;
            let from = usize::try_from(from).ok()?;
            span.jobs.get_mut(from..from + few.count)?.iter_mut().map(Option::take).collect()
        });
        jobs.ok_or_else(|| corrupt("a claim", format!("{few:?}")))
    }
}

/// One settlement for jobs of a bundle that completed one behind the other, or for one job.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: JobId,
    pub(super) count: usize,
}

impl Run {
    /// Whether the job is the next one.
    pub(super) fn takes(&mut self, id: JobId) -> bool {
        let Some((head, number)) = id.place() else { return false };
        let Some((of, first)) = self.first.place() else { return false };
        let next = head == of && number == first + self.count;
        self.count += usize::from(next);
        next
    }
}

#[cfg(test)]
mod tests {
    use jobs::contract::{Moment, TenantId};

    use super::*;
    use crate::queue::redis::{
        bundle::{
            WAITS, sort,
            tests::{job, together},
            text,
        },
        submitted::STAMP,
    };

    #[test]
    fn what_is_written_is_read() {
        // given a bundle's text, and a claim of its second and third job
        let tenant: TenantId = "acme".parse().unwrap();
        let jobs = together(["a", "a", "a"].map(job).into());
        let sorted = sort(&jobs);
        let text = text(&tenant, &[1], &jobs, &sorted.bundles[0]).unwrap();
        let front = STAMP + 2 * NUMBER + 3 * WAITS.len();
        let offsets = String::from_utf8(text[front + OFFSET..front + 4 * OFFSET].to_vec()).unwrap();
        let head = jobs[0].id.to_string().split_off(4);
        let claim = format!("0001{head}00010002{:013}{offsets}", 1_700_000_000_000_u64);

        // when
        let taken = Taken::read(&claim).unwrap();
        let (first, last) = taken.range();
        let read = taken.jobs(text[first..=last].to_vec()).unwrap();

        // then
        assert_eq!((taken.offsets.len(), last + 1), (3, text.len()));
        for ((id, submitted), job) in read.iter().zip(&jobs[1..]) {
            assert_eq!((*id, &submitted.payload), (job.id, &job.payload));
            assert_eq!(submitted.created_at, Moment::from_millis(1_700_000_000_000));
        }
        assert!(taken.jobs(text[first..last].to_vec()).is_err());
        for length in 0..claim.len() {
            assert!(Taken::read(&claim[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_run_takes_what_comes_next() {
        let ids: Vec<JobId> = JobId::together(4).collect();
        let mut run = Run { first: ids[1], count: 1 };
        assert!(!run.takes(ids[0]) && !run.takes(ids[3]) && !run.takes(JobId::generate()));
        assert!(run.takes(ids[2]) && run.takes(ids[3]));
        assert_eq!(run.count, 3);
    }
}
