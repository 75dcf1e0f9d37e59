//! What is wrong with a payload, and where.

use serde::Serialize;

/// One thing wrong with a payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where: a JSON pointer (RFC 6901) into the payload, `""` for the whole.
    pub pointer: String,
    /// What, for programs: `snake_case`.
    pub code: &'static str,
    /// What, for people: one sentence that says what was expected.
    pub message: String,
}

impl Problem {
    /// A problem at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, message: message.into() }
    }

    /// A value at `pointer` that a decoder cannot make anything of.
    pub fn undecodable(
        pointer: impl Into<String>,
        code: &'static str,
        error: &serde_json::Error,
    ) -> Self {
        Self::new(pointer, code, decoder_words(error))
    }

    /// The same problem, with its pointer moved under `prefix`.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self
    }
}

/// A name as a part of a JSON pointer (RFC 6901).
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// A decoder's words, without the names that our types happen to have, and without a text that it met:
/// that may be anything, a password under the wrong name for one.
pub(super) fn decoder_words(error: &serde_json::Error) -> String {
    const TEXT: &str = "string \"";
    let mut words = error.to_string();
    if let (Some(from), Some(to)) = (words.find(TEXT), words.rfind("\", expected "))
        && from < to
    {
        words.replace_range(from + "string".len()..=to, "");
    }
    match words.split_once("expected struct ") {
        Some((got, _)) => format!("{got}expected an object"),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::decoder_words;

    fn words<T: for<'de> Deserialize<'de>>(value: Value) -> String {
        decoder_words(&serde_json::from_value::<T>(value).err().unwrap())
    }

    #[test]
    fn a_text_is_not_repeated() {
        for text in ["secret", "", "a\", expected \"b", "string \"secret"] {
            let said = words::<u32>(json!(text));
            assert_eq!(said, "invalid type: string, expected u32", "{text}");
        }
        assert_eq!(words::<u32>(json!(-1)), "invalid value: integer `-1`, expected u32");
        assert_eq!(words::<String>(json!(7)), "invalid type: integer `7`, expected a string");
    }
}
