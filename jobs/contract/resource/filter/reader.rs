//! Reading a filter.

use serde_json::{Map, Value};

use super::{Filter, Test};
use crate::contract::Problem;

/// How deep conditions may lie in each other, and how many there may be in all.
pub(super) const DEEPEST: usize = 8;
pub(super) const MOST: usize = 200;
/// The most values of one `in`.
const MOST_VALUES: usize = 1_000;
/// The most values of all `in` together.
const MOST_IN_ALL: usize = 10_000;

/// Reads a filter, or says everything that is none in it.
pub(super) fn read(value: &Value, at: &str) -> Result<Filter, Vec<Problem>> {
    let mut reader = Reader { left: MOST, values: MOST_IN_ALL, problems: Vec::new() };
    match reader.read(value, at, DEEPEST) {
        Some(filter) if reader.problems.is_empty() => Ok(filter),
        _ => Err(reader.problems),
    }
}

struct Reader {
    left: usize,
    values: usize,
    problems: Vec<Problem>,
}

impl Reader {
    fn wrong(&mut self, at: impl Into<String>, words: &str) {
        self.problems.push(Problem::new(at, "invalid_filter", words));
    }

    fn read(&mut self, value: &Value, at: &str, depth: usize) -> Option<Filter> {
        let Some(members) = value.as_object() else {
            let words = "expected an object with `and`, `or` or `field`";
            self.wrong(at, words);
            return None;
        };
        if depth == 0 || self.left == 0 {
            let words = format!("expected at most {MOST} conditions, {DEEPEST} deep");
            self.wrong(at, &words);
            return None;
        }
        self.left -= 1;
        for (word, make) in [("and", Filter::And as fn(_) -> _), ("or", Filter::Or)] {
            if let Some(parts) = members.get(word) {
                if members.len() > 1 {
                    self.wrong(at, "`and` and `or` stand alone");
                    return None;
                }
                return self.parts(parts, &format!("{at}/{word}"), depth).map(make);
            }
        }
        self.field(members, at)
    }

    fn parts(&mut self, parts: &Value, at: &str, depth: usize) -> Option<Vec<Filter>> {
        let parts = parts.as_array().filter(|parts| !parts.is_empty());
        let Some(parts) = parts else {
            self.wrong(at, "expected a list of at least one condition");
            return None;
        };
        let mut read = Vec::with_capacity(parts.len().min(MOST));
        for (index, part) in parts.iter().enumerate() {
            read.push(self.read(part, &format!("{at}/{index}"), depth - 1)?);
        }
        Some(read)
    }

    fn field(&mut self, members: &Map<String, Value>, at: &str) -> Option<Filter> {
        let Some(name) = members.get("field").and_then(Value::as_str) else {
            self.wrong(at, "expected `and`, `or`, or `field` with the name of a field");
            return None;
        };
        let test = match Self::test(members) {
            Ok(test) => test,
            Err((word, words)) => {
                self.wrong(format!("{at}{word}"), words);
                return None;
            }
        };
        if let Test::In(values) = &test {
            let Some(left) = self.values.checked_sub(values.len()) else {
                let words = format!("expected at most {MOST_IN_ALL} values in all lists together");
                self.wrong(format!("{at}/in"), &words);
                return None;
            };
            self.values = left;
        }
        Some(Filter::Field { name: name.to_owned(), test })
    }

    fn test(members: &Map<String, Value>) -> Result<Test, (&'static str, &'static str)> {
        const ONE: &str = "expected one of `equals`, `in`, `from` and `to`, `contains`, `is_null`";
        let mut words: Vec<&str> =
            members.keys().map(String::as_str).filter(|word| *word != "field").collect();
        words.sort_unstable();
        match words[..] {
            ["equals"] => Ok(Test::Equals(members["equals"].clone())),
            ["in"] => match members["in"].as_array() {
                Some(values) if (1..=MOST_VALUES).contains(&values.len()) => {
                    Ok(Test::In(values.clone()))
                }
                _ => Err(("/in", "expected a list of 1 to 1000 values")),
            },
            ["from"] | ["to"] | ["from", "to"] => {
                let end = |word: &str| members.get(word).cloned();
                Ok(Test::Range { from: end("from"), to: end("to") })
            }
            ["contains"] => match members["contains"].as_str() {
                Some(part) if !part.is_empty() && !part.contains('\0') => {
                    Ok(Test::Contains(part.to_owned()))
                }
                _ => Err(("/contains", "expected a text that is not empty")),
            },
            ["is_null"] => match members["is_null"].as_bool() {
                Some(null) => Ok(Test::IsNull(null)),
                None => Err(("/is_null", "expected true or false")),
            },
            _ => Err(("", ONE)),
        }
    }
}
