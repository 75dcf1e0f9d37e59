//! Bundles: jobs that were submitted together and are kept as one text (`lua/bundles.lua`).

use std::collections::HashMap;

use bytes::Bytes;
use jobs::contract::{JobId, LaneName, TenantId};

use super::{
    error::corrupt,
    submitted::{Before, Given, STAMP, Submitted, number},
};
use crate::queue::{NewJob, Priority, QueueError};

/// The longest payload that is kept in a bundle.
const LONGEST: usize = 4_096;
/// A job's record, before anything happened to it.
const WAITS: &[u8; 32] = b"w0000000000000000000000000000000";
/// The length of an offset, and of a job's number.
const OFFSET: usize = 7;
const NUMBER: usize = 4;

/// Where the jobs of a submission are kept: by their places in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sorted {
    pub(super) bundles: Vec<Together>,
    /// Those that are kept by themselves.
    pub(super) single: Vec<usize>,
}

/// Jobs of a lane that are kept together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Together {
    /// Their places in the submission, in the order of their ids.
    pub(super) places: Vec<usize>,
    /// How many of the submission's jobs wait before them in the lane.
    pub(super) before: usize,
}

/// Sorts the jobs of a submission. What waits in one lane with one priority is kept in one way: its order
/// is counted so.
pub(super) fn sort(jobs: &[NewJob]) -> Sorted {
    let mut sorted = Sorted::default();
    if jobs.len() < 2 || jobs.iter().any(|job| job.unique.is_some()) {
        sorted.single.extend(0..jobs.len());
        return sorted;
    }
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<(&str, &LaneName, Priority), usize> = HashMap::new();
    for (place, job) in jobs.iter().enumerate() {
        let group = *known.entry((&job.queue, &job.lane, job.priority)).or_insert(groups.len());
        if group == groups.len() {
            groups.push(Vec::new());
        }
        groups[group].push(place);
    }
    for group in groups {
        match bundles_of(jobs, &group) {
            Some(bundles) => sorted.bundles.extend(bundles),
            None => sorted.single.extend(group),
        }
    }
    sorted.single.sort_unstable();
    sorted
}

/// The bundles that these jobs of a lane are, if that is what they are.
fn bundles_of(jobs: &[NewJob], group: &[usize]) -> Option<Vec<Together>> {
    let mut bundles: Vec<Together> = Vec::new();
    for (before, place) in group.iter().enumerate() {
        let job = &jobs[*place];
        if job.run_at.is_some() || !job.callback.is_empty() || job.payload.len() > LONGEST {
            return None;
        }
        let (head, number) = job.id.place()?;
        if number == 0 {
            bundles.push(Together { places: vec![*place], before });
            continue;
        }
        let bundle = bundles
            .last_mut()
            .filter(|bundle| jobs[bundle.places[0]].id == head && bundle.places.len() == number)?;
        bundle.places.push(*place);
    }
    Some(bundles)
}

/// The bundle's text: its stamp is left open.
pub(super) fn text(
    tenant: &TenantId,
    lane: usize,
    jobs: &[NewJob],
    bundle: &Together,
) -> Result<Vec<u8>, QueueError> {
    let count = bundle.places.len();
    let mut texts = Vec::with_capacity(count * 512);
    let mut begins = Vec::with_capacity(count + 1);
    for (index, place) in bundle.places.iter().enumerate() {
        begins.push(texts.len());
        texts.extend(Given::of(tenant, lane, bundle.before + index, &jobs[*place], LONGEST)?.text);
    }
    begins.push(texts.len());
    let front = STAMP + 2 * NUMBER + count * WAITS.len() + (count + 1) * OFFSET;
    let mut text = Vec::with_capacity(front + texts.len());
    text.resize(STAMP, b'0');
    text.extend(format!("{count:04}{count:04}").into_bytes());
    (0..count).for_each(|_| text.extend_from_slice(WAITS));
    for begin in begins {
        text.extend(format!("{:07}", front + begin).into_bytes());
    }
    text.append(&mut texts);
    Ok(text)
}

/// Jobs of a bundle that were claimed together, as the script names them.
#[derive(Debug)]
pub(super) struct Taken {
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
        let count = usize::try_from(digits(26 + NUMBER, NUMBER)?).ok()?;
        let at = 26 + 2 * NUMBER + 13;
        let offsets = (0..=count)
            .map(|index| usize::try_from(digits(at + index * OFFSET, OFFSET)?).ok())
            .collect::<Option<Vec<usize>>>()?;
        let head = text.get(..26)?.to_owned();
        Some(Self { head, created_at: digits(26 + 2 * NUMBER, 13)?, offsets })
    }

    /// How many they are.
    pub(super) fn count(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The first and the last byte of their texts.
    pub(super) fn range(&self) -> (usize, usize) {
        let (first, end) = (self.offsets[0], self.offsets[self.count()]);
        (first, end.saturating_sub(1))
    }

    /// The jobs in that part of the bundle's text.
    pub(super) fn jobs(&self, text: Vec<u8>) -> Result<Vec<(JobId, Submitted)>, QueueError> {
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
    use std::sync::Arc;

    use jobs::contract::Moment;

    use super::*;
    use crate::queue::LanePolicy;

    fn job(lane: &str) -> NewJob {
        NewJob {
            id: JobId::generate(),
            kind: "send".into(),
            queue: "send".into(),
            lane: LaneName::custom(lane),
            policy: Arc::new(LanePolicy::default()),
            payload: Bytes::from(format!("{{\"to\":\"{lane}\"}}")),
            priority: Priority::Normal,
            run_at: None,
            max_attempts: 8,
            unique: None,
            total_items: 1,
            tags: Vec::new(),
            callback: Vec::new(),
            request_id: "cli".into(),
        }
    }

    fn together(mut jobs: Vec<NewJob>) -> Vec<NewJob> {
        NewJob::name_together(&mut jobs);
        jobs
    }

    fn places(sorted: &Sorted) -> Vec<&[usize]> {
        sorted.bundles.iter().map(|bundle| &bundle.places[..]).collect()
    }

    #[test]
    fn what_waits_in_one_lane_is_kept_together() {
        // given jobs of two lanes in turns, and one of a third
        let jobs = together(["a", "b", "a", "b", "c", "a"].map(job).into());

        // when
        let sorted = sort(&jobs);

        // then
        assert_eq!(places(&sorted), [&[0, 2, 5][..], &[1, 3]]);
        assert_eq!(sorted.single, [4]);
    }

    #[test]
    fn long_bundles_count_on() {
        let jobs = together((0..JobId::MOST_TOGETHER + 2).map(|_| job("a")).collect());
        let sorted = sort(&jobs);
        let lengths: Vec<_> = sorted.bundles.iter().map(|b| (b.before, b.places.len())).collect();
        assert_eq!(lengths, [(0, JobId::MOST_TOGETHER), (JobId::MOST_TOGETHER, 2)]);
    }

    #[test]
    fn a_lane_in_which_one_is_set_apart_is_kept_job_by_job() {
        let later = Some(Moment::from_millis(1));
        let long = Bytes::from(vec![b'1'; LONGEST + 1]);
        type Change = Box<dyn Fn(NewJob) -> NewJob>;
        let changes: [Change; 5] = [
            Box::new(|job| NewJob { callback: vec!["crm".into()], ..job }),
            Box::new(move |job| NewJob { run_at: later, ..job }),
            Box::new(move |job| NewJob { payload: long.clone(), ..job }),
            Box::new(|job| NewJob { unique: Some("once".into()), ..job }),
            Box::new(|job| NewJob { id: JobId::generate(), ..job }),
        ];
        for change in changes {
            let mut jobs = together(["a", "a", "a"].map(job).into());
            let last = jobs.pop().unwrap();
            jobs.push(change(last));
            assert_eq!(sort(&jobs), Sorted { bundles: Vec::new(), single: vec![0, 1, 2] });
        }
    }

    #[test]
    fn what_is_written_is_read() {
        // given a bundle's text, and a claim of its second and third job
        let tenant: TenantId = "acme".parse().unwrap();
        let jobs = together(["a", "a", "a"].map(job).into());
        let sorted = sort(&jobs);
        let text = text(&tenant, 1, &jobs, &sorted.bundles[0]).unwrap();
        let front = STAMP + 2 * NUMBER + 3 * WAITS.len();
        let offsets = String::from_utf8(text[front + OFFSET..front + 4 * OFFSET].to_vec()).unwrap();
        let head = jobs[0].id.to_string().split_off(4);
        let claim = format!("{head}00010002{:013}{offsets}", 1_700_000_000_000_u64);

        // when
        let taken = Taken::read(&claim).unwrap();
        let (first, last) = taken.range();
        let read = taken.jobs(text[first..=last].to_vec()).unwrap();

        // then
        assert_eq!((taken.count(), last + 1), (2, text.len()));
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
