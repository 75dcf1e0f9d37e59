//! Bundles: jobs that were submitted together and are kept as one text (`lua/bundles.lua`).

use bytes::Bytes;
use jobs::contract::{JobId, TenantId};

use super::{
    error::corrupt,
    reply::Fields,
    submitted::{Before, Given, STAMP, Submitted, number},
};
use crate::queue::{NewJob, QueueError, places_by_line};

/// A job's record, before anything happened to it.
const WAITS: &[u8; 32] = b"w0000000000000000000000000000000";
/// The length of an offset, and of a job's number.
const OFFSET: usize = 7;
const NUMBER: usize = 4;
/// Where the head stands in what the script says of jobs that it took together.
const HEAD: std::ops::Range<usize> = NUMBER..NUMBER + 26;

/// Where the jobs of a submission are kept: by their places in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sorted {
    pub(super) bundles: Vec<Together>,
    /// Those that are kept by themselves.
    pub(super) single: Vec<usize>,
}

/// Jobs that are kept together, in the order of their ids.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Together {
    pub(super) parts: Vec<Part>,
}

/// Jobs of a bundle that wait in one lane with one priority.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Their places in the submission.
    pub(super) places: Vec<usize>,
    /// How many of the submission's jobs wait before them in the lane.
    pub(super) before: usize,
}

impl Together {
    /// How many jobs they are.
    pub(super) fn count(&self) -> usize {
        self.parts.iter().map(|part| part.places.len()).sum()
    }

    /// The place of the first, after whose id it is named.
    pub(super) fn head(&self) -> usize {
        self.parts[0].places[0]
    }

    /// Whether the ids are those of one bundle, and nothing sets a job apart.
    fn is_sound(&self, jobs: &[NewJob]) -> bool {
        let head = jobs[self.head()].id;
        let mut places = self.parts.iter().flat_map(|part| &part.places).enumerate();
        places.all(|(n, at)| jobs[*at].is_plain() && jobs[*at].id.place() == Some((head, n)))
    }
}

/// Sorts the jobs of a submission. What waits in one lane with one priority is kept in one way: its order
/// is counted so. All are kept by themselves where the ids are not those of [`NewJob::name_together`], and
/// where some may have a twin.
pub(super) fn sort(jobs: &[NewJob]) -> Sorted {
    let apart = || Sorted { bundles: Vec::new(), single: (0..jobs.len()).collect() };
    if jobs.len() < 2 || jobs.iter().any(|job| job.unique.is_some()) {
        return apart();
    }
    let mut sorted = Sorted::default();
    for line in places_by_line(jobs) {
        if line.iter().all(|at| jobs[*at].is_plain() && jobs[*at].id.place().is_some()) {
            add_line(&mut sorted.bundles, jobs, &line);
        } else {
            sorted.single.extend(line);
        }
    }
    if !sorted.bundles.iter().all(|bundle| bundle.is_sound(jobs)) {
        return apart();
    }
    sorted.single.sort_unstable();
    sorted
}

/// Adds the jobs of a line to the last bundle, and to a new one wherever one begins.
fn add_line(bundles: &mut Vec<Together>, jobs: &[NewJob], line: &[usize]) {
    let begins = |at: usize| jobs[at].id.place().is_some_and(|(_, number)| number == 0);
    for (before, at) in line.iter().enumerate() {
        if begins(*at) || bundles.is_empty() {
            bundles.push(Together::default());
        }
        let Some(bundle) = bundles.last_mut() else { continue };
        if before == 0 || begins(*at) {
            bundle.parts.push(Part { places: Vec::new(), before });
        }
        bundle.parts.last_mut().expect("a part was begun").places.push(*at);
    }
}

/// The bundle's text: its stamp is left open. `lanes` are the numbers of its parts' lanes.
pub(super) fn text(
    tenant: &TenantId,
    lanes: &[usize],
    jobs: &[NewJob],
    bundle: &Together,
) -> Result<Vec<u8>, QueueError> {
    let count = bundle.count();
    let mut texts = Vec::with_capacity(count * 512);
    let mut begins = Vec::with_capacity(count + 1);
    for (part, lane) in bundle.parts.iter().zip(lanes) {
        for (index, place) in part.places.iter().enumerate() {
            begins.push(texts.len());
            let (number, job) = (part.before + index, &jobs[*place]);
            texts.extend(Given::of(tenant, *lane, number, job, NewJob::LONGEST_TOGETHER)?.text);
        }
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
    use std::sync::Arc;

    use jobs::contract::{LaneName, Moment};

    use super::*;
    use crate::queue::{LanePolicy, Priority};

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

    /// Of each bundle its parts: how many wait before, and the places.
    fn parts(sorted: &Sorted) -> Vec<Vec<(usize, Vec<usize>)>> {
        let parts = |bundle: &Together| {
            bundle.parts.iter().map(|part| (part.before, part.places.clone())).collect()
        };
        sorted.bundles.iter().map(parts).collect()
    }

    type Change = Box<dyn Fn(NewJob) -> NewJob>;

    /// What sets a job apart.
    fn changes() -> [Change; 3] {
        let later = Some(Moment::from_millis(1));
        let long = Bytes::from(vec![b'1'; NewJob::LONGEST_TOGETHER + 1]);
        [
            Box::new(|job| NewJob { callback: vec!["crm".into()], ..job }),
            Box::new(move |job| NewJob { run_at: later, ..job }),
            Box::new(move |job| NewJob { payload: long.clone(), ..job }),
        ]
    }

    #[test]
    fn what_was_submitted_together_is_kept_together_lane_by_lane() {
        // given jobs of two lanes in turns, and one of a third
        let jobs = together(["a", "b", "a", "b", "c", "a"].map(job).into());

        // when
        let sorted = sort(&jobs);

        // then
        assert_eq!(parts(&sorted), [[(0, vec![0, 2, 5]), (0, vec![1, 3]), (0, vec![4])]]);
        assert_eq!(sorted.single, [0; 0]);
    }

    #[test]
    fn long_bundles_count_on() {
        // given more jobs than a bundle holds, of two lanes
        let most = JobId::MOST_TOGETHER;
        let lanes = (0..most + 2).map(|n| job(if n < most - 1 { "a" } else { "b" }));
        let jobs = together(lanes.collect());

        // when
        let sorted = sort(&jobs);

        // then the second lane begins in the first bundle and goes on in the next
        let all: Vec<usize> = (0..most - 1).collect();
        let [first, second] = &parts(&sorted)[..] else { panic!("two bundles") };
        assert_eq!(first[..], [(0, all), (0, vec![most - 1])]);
        assert_eq!(second[..], [(1, vec![most, most + 1])]);
    }

    #[test]
    fn a_lane_in_which_one_is_set_apart_is_kept_job_by_job() {
        for change in changes() {
            // given jobs of two lanes, one of which is set apart
            let jobs = ["a", "b", "a", "b"].map(job);
            let mut jobs = jobs.to_vec();
            let last = jobs.pop().unwrap();
            jobs.push(change(last));

            // when
            let sorted = sort(&together(jobs));

            // then those of its lane are kept by themselves, and the others together
            assert_eq!(parts(&sorted), [[(0, vec![0, 2])]]);
            assert_eq!(sorted.single, [1, 3]);
        }
    }

    #[test]
    fn jobs_that_are_named_in_any_other_way_are_kept_job_by_job() {
        let others: [Change; 2] = [
            Box::new(|job| NewJob { id: JobId::generate(), ..job }),
            Box::new(|job| NewJob { unique: Some("once".into()), ..job }),
        ];
        for change in changes().into_iter().chain(others) {
            // given jobs of which one changed after all were named
            let mut jobs = together(["a", "b", "a"].map(job).into());
            let last = jobs.pop().unwrap();
            jobs.push(change(last));

            // then
            assert_eq!(sort(&jobs), Sorted { bundles: Vec::new(), single: vec![0, 1, 2] });
        }
    }

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
