//! Identities: of tenants and of jobs.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// A tenant: 1 to 64 characters of `a-z`, `0-9`, `-` and `_`, beginning with a letter or digit. Its clones
/// share one text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// The tenant's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
        let well_formed = (1..=64).contains(&text.len())
            && text.bytes().all(fits)
            && text.as_bytes()[0].is_ascii_alphanumeric();
        if well_formed {
            Ok(Self(text.into()))
        } else {
            Err(format!(
                "expected a tenant name of 1 to 64 characters a-z, 0-9, - and _, got {text:?}"
            ))
        }
    }
}

/// A job: `job_` and a ULID, so that ids sort by when they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(ulid::Ulid);

impl JobId {
    /// A new id.
    pub fn generate() -> Self {
        Self(ulid::Ulid::generate())
    }

    /// New ids for jobs that belong together: the first ends in `0000`, and the others count on from there,
    /// in decimal, so that one name and two numbers name any run of them.
    ///
    /// # Panics
    ///
    /// For more than [`JobId::MOST_TOGETHER`].
    pub fn together(count: usize) -> impl Iterator<Item = Self> {
        assert!(
            count <= Self::MOST_TOGETHER,
            "at most {} ids belong together",
            Self::MOST_TOGETHER
        );
        let head = u128::from(ulid::Ulid::generate()) & !LAST_FOUR;
        (0..count).map(move |number| Self(ulid::Ulid::from(head | last_four(number))))
    }

    /// How many ids belong together at most: four digits would do for more, but what is kept together is
    /// deleted together.
    pub const MOST_TOGETHER: usize = 200;

    /// The first of the ids that this one may belong with, and its number among them.
    pub fn place(self) -> Option<(Self, usize)> {
        let id = u128::from(self.0);
        let digit =
            |shift: u32| usize::try_from((id >> shift) & 31).ok().filter(|digit| *digit < 10);
        let number = digit(15)? * 1_000 + digit(10)? * 100 + digit(5)? * 10 + digit(0)?;
        Some((Self(ulid::Ulid::from(id & !LAST_FOUR)), number))
    }

    /// The id under another prefix: what belongs to one job alone is named after it.
    pub fn with_prefix(self, prefix: &str) -> String {
        format!("{prefix}_{}", self.0)
    }

    /// The id of what [`JobId::with_prefix`] has written; none of any other text.
    pub fn under_prefix(prefix: &str, text: &str) -> Option<Self> {
        Self::without_prefix(text.strip_prefix(prefix)?.strip_prefix('_')?)
    }

    /// The id whose ULID this is. One spelling for one job: the ULID alphabet's lower case and look-alikes
    /// are refused.
    pub fn without_prefix(text: &str) -> Option<Self> {
        let id = ulid::Ulid::from_string(text).ok()?;
        // The decoder refuses look-alikes, but neither lower case nor what is more than 128 bits.
        let digits = text.as_bytes();
        let is_canonical = digits[0] <= b'7' && !digits.iter().any(u8::is_ascii_lowercase);
        is_canonical.then_some(Self(id))
    }

    /// The id without any prefix, written where there is room for it.
    pub fn ulid(self, room: &mut [u8; ulid::ULID_LEN]) -> &str {
        self.0.array_to_str(room)
    }

    /// The id with this number; for tests and tools.
    pub fn from_u128(number: u128) -> Self {
        Self(ulid::Ulid::from(number))
    }
}

/// The bits of an id's last four characters; the digits stand for themselves in its alphabet.
const LAST_FOUR: u128 = (1 << 20) - 1;

fn last_four(number: usize) -> u128 {
    let digit = |power: usize| (number / power % 10) as u128;
    (digit(1_000) << 15) | (digit(100) << 10) | (digit(10) << 5) | digit(1)
}

impl FromStr for JobId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::under_prefix("job", text)
            .ok_or_else(|| format!("expected a job id such as job_01J8…, got {text:?}"))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job_{}", self.0)
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! text_id {
    ($($id:ty),*) => {$(
        impl TryFrom<String> for $id {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
        impl From<$id> for String {
            fn from(id: $id) -> Self {
                id.to_string()
            }
        }
    )*};
}
text_id!(TenantId, JobId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_has_one_spelling() {
        let id = JobId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().to_lowercase().parse::<JobId>().is_err());
        assert!("job_".parse::<JobId>().is_err());
        assert!("01ARZ3NDEKTSV4RRFFQ69G5FAV".parse::<JobId>().is_err());
        let last = "7ZZZZZZZZZZZZZZZZZZZZZZZZZ";
        assert_eq!(JobId::without_prefix(last), Some(JobId::from_u128(u128::MAX)));
        for wrong in ["", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "7ZZZZZZZZZZZZZZZZZZZZZZZZz"] {
            assert_eq!(JobId::without_prefix(wrong), None, "{wrong:?}");
        }
        for lookalike in ["I", "L", "O", "U", "i", "l", "o", "u", " ", "ß"] {
            let text = last.replacen('Z', lookalike, 1);
            assert_eq!(JobId::without_prefix(&text), None, "{text:?}");
        }
    }

    #[test]
    fn ids_that_belong_together_count_from_their_head() {
        let ids: Vec<JobId> = JobId::together(123).collect();
        assert!(ids.is_sorted());
        for (number, id) in ids.iter().enumerate() {
            let text = id.to_string();
            assert!(text.ends_with(&format!("{number:04}")), "{text}");
            assert_eq!(text.parse(), Ok(*id));
            assert_eq!(id.place(), Some((ids[0], number)));
        }
        let other: JobId = "job_01J8ZZZZZZZZZZZZZZZZZZ000A".parse().unwrap();
        assert_eq!(other.place(), None);
    }

    #[test]
    fn tenant_names_are_narrow() {
        for good in ["dev", "a", "acme-2", "0_0"] {
            assert!(good.parse::<TenantId>().is_ok(), "{good}");
        }
        for bad in ["", "Dev", "-a", "a b", "ä", "a/b", &"a".repeat(65)] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad}");
        }
    }
}
