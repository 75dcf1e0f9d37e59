//! The ids of records.

use super::field::is_uuid;
use crate::contract::{JobId, address};

/// The longest id, in characters.
pub const LONGEST_ID: usize = 200;

/// What the ids of a resource look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdForm {
    /// Any text, compared as it is.
    Text,
    /// A whole number.
    Integer,
    /// A UUID, whatever the case.
    Uuid,
    /// A mail address, whatever the case.
    Address,
    /// A mail address, or a domain after an `@`, whatever the case.
    AddressOrDomain,
    /// A job's.
    Job,
}

impl IdForm {
    /// An id as it is stored: one spelling for one record.
    ///
    /// # Errors
    ///
    /// What was expected.
    pub fn read(self, given: &str) -> Result<String, String> {
        let lower = || given.trim().to_lowercase();
        let is_address = |text: &str| address::flaw(text).is_none();
        let wrong = |expected: &str| Err(format!("expected {expected}"));
        match self {
            Self::Text => Ok(given.to_owned()),
            Self::Integer => match given.parse::<i64>() {
                Ok(number) => Ok(number.to_string()),
                Err(_) => wrong("a whole number as the id"),
            },
            Self::Uuid if is_uuid(given) => Ok(given.to_lowercase()),
            Self::Uuid => wrong("a UUID as the id"),
            Self::Address if is_address(&lower()) => Ok(lower()),
            Self::Address => wrong("an address such as ada@example.org as the id"),
            Self::AddressOrDomain => {
                let name = lower();
                let is_domain = name.strip_prefix('@').is_some_and(address::is_domain);
                if is_domain || is_address(&name) {
                    return Ok(name);
                }
                wrong(
                    "an address such as ada@example.org or a domain such as @example.org as the id",
                )
            }
            Self::Job if given.parse::<JobId>().is_ok() => Ok(given.to_owned()),
            Self::Job => wrong("a job's id such as job_01J8… as the id"),
        }
    }

    /// What is wrong with a text as any id, if something is.
    pub fn flaw(given: &str) -> Option<String> {
        let fits = (1..=LONGEST_ID).contains(&given.chars().count())
            && !given.chars().any(char::is_control);
        let words = || format!("expected an id of 1 to {LONGEST_ID} characters, none of control");
        (!fits).then(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_has_one_spelling() {
        let read = |form: IdForm, given: &str| form.read(given).ok();
        assert_eq!(read(IdForm::Text, " A ").as_deref(), Some(" A "));
        assert_eq!(read(IdForm::Integer, "007").as_deref(), Some("7"));
        assert_eq!(read(IdForm::Integer, "x"), None);
        let uuid = "67E55044-10B1-426F-9247-BB680E5FE0C8";
        assert_eq!(read(IdForm::Uuid, uuid), Some(uuid.to_lowercase()));
        assert_eq!(read(IdForm::Address, "Ada@Example.org").as_deref(), Some("ada@example.org"));
        assert_eq!(read(IdForm::Address, "@example.org"), None);
        let domain = read(IdForm::AddressOrDomain, "@Example.org");
        assert_eq!(domain.as_deref(), Some("@example.org"));
        assert_eq!(read(IdForm::AddressOrDomain, "example.org"), None);
        assert_eq!(read(IdForm::Job, "job_1"), None);
    }

    #[test]
    fn what_is_no_id_at_all_is_told() {
        assert!(IdForm::flaw("").is_some() && IdForm::flaw(&"x".repeat(201)).is_some());
        assert!(IdForm::flaw("a\nb").is_some() && IdForm::flaw("t_1").is_none());
    }
}
