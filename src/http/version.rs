//! The states of a job that callers tell apart: entity tags and event ids.

use hyper::header::{HeaderMap, HeaderValue, IF_NONE_MATCH};

use super::negotiate::Media;
use crate::queue::JobRecord;

/// A state of a job: the record's version, and a sign for what changes around it without changing
/// the record: that its moment has come, and why its lane waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version(String);

impl Version {
    /// The state that a job is in.
    pub(super) fn of(job: &JobRecord) -> Self {
        let Some(waiting) = &job.waiting else { return Self(job.version.to_string()) };
        let around = format!("{} {waiting:?}", job.status);
        Self(format!("{}.{:08x}", job.version, crc32fast::hash(around.as_bytes())))
    }

    /// The state as the id of an event.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag of a representation of this state. A weak one: each answer has its own request id.
    pub(super) fn etag(&self, media: Media) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("W/\"{}\"", self.opaque(media))).ok()
    }

    fn opaque(&self, media: Media) -> String {
        match media {
            Media::Json | Media::Events => self.0.clone(),
            Media::Page => format!("{}-page", self.0),
        }
    }
}

/// What a caller knows already (`If-None-Match`, RFC 9110, section 13.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing.
    Nothing,
    /// Whatever there is now.
    Anything,
    /// The states with these tags.
    Tags(Vec<String>),
}

impl Known {
    /// What the headers say; what makes no sense in them is passed over.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut tags = Vec::new();
        for value in headers.get_all(IF_NONE_MATCH) {
            let Ok(text) = value.to_str() else { continue };
            if text.trim() == "*" {
                return Self::Anything;
            }
            let tag = |tag: &str| {
                let tag = tag.trim();
                let tag = tag.strip_prefix("W/").unwrap_or(tag);
                Some(tag.strip_prefix('"')?.strip_suffix('"')?.to_owned())
            };
            // No tag of ours has a comma in it, so that those of others may fall apart.
            tags.extend(text.split(',').filter_map(tag));
        }
        if tags.is_empty() { Self::Nothing } else { Self::Tags(tags) }
    }

    /// Whether the caller knows this state as this.
    pub(super) fn includes(&self, version: &Version, media: Media) -> bool {
        match self {
            Self::Nothing => false,
            Self::Anything => true,
            Self::Tags(tags) => tags.contains(&version.opaque(media)),
        }
    }

    /// The same, where "whatever there is now" is this.
    pub(super) fn fixed(self, version: &Version, media: Media) -> Self {
        match self {
            Self::Anything => Self::Tags(vec![version.opaque(media)]),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(values: &[&'static str]) -> Known {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IF_NONE_MATCH, HeaderValue::from_static(value));
        }
        Known::of(&headers)
    }

    #[test]
    fn tags_are_compared_weakly_and_by_media() {
        let version = Version("7".into());
        for hit in [&["W/\"7\""][..], &["\"7\""], &["\"a,b\", W/\"7\" ,\"c\""], &["\"1\"", "\"7\""]]
        {
            assert!(known(hit).includes(&version, Media::Json), "{hit:?}");
            assert!(!known(hit).includes(&version, Media::Page), "{hit:?}");
        }
        for miss in [&[][..], &[""], &["7"], &["W/7"], &["\"70\""], &["w/\"7\""], &["\"7"]] {
            assert!(!known(miss).includes(&version, Media::Json), "{miss:?}");
        }
        assert!(known(&["W/\"7-page\""]).includes(&version, Media::Page));
        assert!(known(&["*"]).includes(&version, Media::Page));
    }

    #[test]
    fn whatever_there_is_now_is_not_what_comes_later() {
        let (now, later) = (Version("7".into()), Version("8".into()));
        let known = known(&["*"]).fixed(&now, Media::Json);
        assert!(known.includes(&now, Media::Json) && !known.includes(&later, Media::Json));
    }
}
