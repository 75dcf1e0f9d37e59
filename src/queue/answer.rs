//! The answer to a submission of which some jobs were there before.

use std::collections::HashMap;

use bytes::Bytes;
use jobs::contract::JobId;

/// `job_` and a ULID, in bytes.
const ID_LENGTH: usize = 30;

/// The answer with the ids of jobs that were there before (`taken`) in place of those that their
/// twins in the submission would have had (`asked`).
///
/// The submitter writes its answer before it knows which jobs are there, and an adapter remembers it
/// in the step in which it finds out: both put the ids right with this, so that the first answer and
/// every repetition of it are the same bytes. All ids are equally long, and too improbable to be
/// anything else in an answer.
pub fn with_ids(answer: &Bytes, asked: &[JobId], taken: &[JobId]) -> Bytes {
    if asked == taken {
        return answer.clone();
    }
    let twins: HashMap<Vec<u8>, Vec<u8>> = asked
        .iter()
        .zip(taken)
        .filter(|(asked, taken)| asked != taken)
        .map(|(asked, taken)| (asked.to_string().into_bytes(), taken.to_string().into_bytes()))
        .collect();
    let mut bytes = answer.to_vec();
    let mut at = 0;
    while at + ID_LENGTH <= bytes.len() {
        if let Some(taken) = twins.get(&bytes[at..at + ID_LENGTH]) {
            bytes[at..at + ID_LENGTH].copy_from_slice(taken);
            at += ID_LENGTH;
        } else {
            // One pass over the answer, however many twins there are: on to the next beginning.
            let next = bytes[at + 1..].iter().position(|&byte| byte == b'j');
            at = next.map_or(bytes.len(), |next| at + 1 + next);
        }
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ids_of_twins_change() {
        let [a, b, c] = [1, 2, 3].map(JobId::from_u128);
        let answer =
            |first: JobId, second: JobId| Bytes::from(format!("[{first} {second} {first}]"));
        assert_eq!(with_ids(&answer(a, b), &[a, b], &[a, b]), answer(a, b));
        assert_eq!(with_ids(&answer(a, b), &[a, b], &[c, b]), answer(c, b));
        assert_eq!(with_ids(&answer(a, b), &[a, b], &[a, a]), answer(a, a));
        assert_eq!(a.to_string().len(), ID_LENGTH);
        let around = |id: JobId| Bytes::from(format!("jjob_job_{id}j"));
        assert_eq!(with_ids(&around(a), &[a], &[c]), around(c));
        assert_eq!(with_ids(&Bytes::new(), &[a], &[b]), Bytes::new());
    }
}
