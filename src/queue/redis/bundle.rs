//! Bundles: jobs that were submitted together and are kept as one text (`lua/bundles.lua`).

use jobs::contract::TenantId;

use super::submitted::{Given, STAMP};
use crate::queue::{NewJob, QueueError, places_by_line};

/// A job's record, before anything happened to it.
pub(super) const WAITS: &[u8; 32] = b"w0000000000000000000000000000000";
/// The length of an offset, and of a job's number.
pub(super) const OFFSET: usize = 7;
pub(super) const NUMBER: usize = 4;

/// Where the jobs of a submission are kept: by their places in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sorted {
    pub(super) bundles: Vec<Together>,
    /// Those that are kept by themselves.
    pub(super) single: Vec<usize>,
}

/// Jobs that are kept together, in the order of their ids; one at least.
#[derive(Debug, PartialEq, Eq)]
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

    /// Adds a job before which so many of the submission's wait in its lane: with none of them it begins a
    /// part.
    fn add(&mut self, at: usize, before: usize) {
        match self.parts.last_mut() {
            Some(part) if before > 0 => part.places.push(at),
            _ => self.parts.push(Part { places: vec![at], before }),
        }
    }

    /// Whether the ids are those of one bundle.
    fn is_sound(&self, jobs: &[NewJob]) -> bool {
        let head = jobs[self.head()].id;
        let mut places = self.parts.iter().flat_map(|part| &part.places).enumerate();
        places.all(|(n, at)| jobs[*at].id.place() == Some((head, n)))
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
    for (before, at) in line.iter().enumerate() {
        let begins = jobs[*at].id.place().is_some_and(|(_, number)| number == 0);
        match bundles.last_mut() {
            Some(bundle) if !begins => bundle.add(*at, before),
            _ => bundles.push(Together { parts: vec![Part { places: vec![*at], before }] }),
        }
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

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use jobs::contract::{JobId, LaneName, Moment};

    use super::*;
    use crate::queue::{LanePolicy, Priority};

    pub(in super::super) fn job(lane: &str) -> NewJob {
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

    pub(in super::super) fn together(mut jobs: Vec<NewJob>) -> Vec<NewJob> {
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
}
