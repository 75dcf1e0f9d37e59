//! The forms of a submission: one job, many jobs, or the bare payload of one.

use std::collections::BTreeSet;

use jobs::contract::{Audience, Catalogue, Problem};
use serde_json::Value;

use super::auth::write_scope;
use crate::intake::JobRequest;

/// The most jobs in one request.
const MOST_JOBS: usize = 1_000;
/// The member that makes a body one of many jobs.
const JOBS: &str = "jobs";

/// How a submission is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// `{"type":…,"payload":…}`.
    Single,
    /// `{"jobs":[…]}`.
    Batch,
    /// The bare payload; the kind is in the path.
    Short(String),
}

impl Form {
    /// The form of a body, for the kind in the path if there was one.
    pub(super) fn of(kind: Option<String>, body: &Value) -> Self {
        match kind {
            Some(kind) => Self::Short(kind),
            None if body.get(JOBS).is_some() => Self::Batch,
            None => Self::Single,
        }
    }

    /// Whether it is about many jobs.
    pub(super) fn is_batch(&self) -> bool {
        *self == Self::Batch
    }

    /// What tells requests of different forms with equal bodies apart.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Single => "single".to_owned(),
            Self::Batch => "batch".to_owned(),
            Self::Short(kind) => format!("short {kind}"),
        }
    }

    /// The scopes that a submission needs. What names no public kind needs none: it is refused by
    /// the schema, which comes after.
    pub(super) fn scopes(&self, body: &Value, catalogue: &Catalogue) -> BTreeSet<String> {
        let kinds: Vec<&str> = match self {
            Self::Short(kind) => vec![kind],
            Self::Single => body.get("type").and_then(Value::as_str).into_iter().collect(),
            Self::Batch => {
                items(body).filter_map(|item| item.get("type").and_then(Value::as_str)).collect()
            }
        };
        kinds
            .into_iter()
            .filter_map(|kind| catalogue.find(kind))
            .filter(|kind| kind.audience == Audience::Callers)
            .map(|kind| write_scope(kind.name))
            .collect()
    }

    /// The requests in a body.
    ///
    /// # Errors
    ///
    /// Every problem with the envelopes, each with a pointer into the body.
    pub(super) fn requests(&self, body: Value) -> Result<Vec<JobRequest>, Vec<Problem>> {
        match self {
            Self::Single => one(body, "").map(|request| vec![request]).map_err(|p| vec![p]),
            Self::Short(kind) => Ok(vec![JobRequest::new(kind, body)]),
            Self::Batch => many(body),
        }
    }

    /// Moves a problem that the intake found (`/<index>/…`) to where the caller wrote it.
    pub(super) fn place(&self, problem: Problem) -> Problem {
        let Self::Batch = self else {
            let pointer = problem.pointer.strip_prefix("/0").unwrap_or(&problem.pointer);
            let pointer = match self {
                // The payload is the whole body. What is wrong with the kind is in no body.
                Self::Short(_) => pointer.strip_prefix("/payload").unwrap_or(""),
                _ => pointer,
            };
            return Problem { pointer: pointer.to_owned(), ..problem };
        };
        problem.under("/jobs")
    }
}

fn items(body: &Value) -> impl Iterator<Item = &Value> {
    body.get(JOBS).and_then(Value::as_array).into_iter().flatten()
}

fn many(body: Value) -> Result<Vec<JobRequest>, Vec<Problem>> {
    let Value::Object(mut members) = body else {
        return Err(vec![Problem::new("", "invalid_request", "expected an object")]);
    };
    let jobs = members.remove(JOBS);
    let mut problems: Vec<Problem> = members
        .keys()
        .map(|name| {
            let words = "unknown field; beside `jobs` there is none";
            Problem::new(format!("/{}", escaped(name)), "invalid_request", words)
        })
        .collect();
    let Some(Value::Array(items)) = jobs else {
        problems.push(Problem::new("/jobs", "invalid_request", "expected a list of jobs"));
        return Err(problems);
    };
    if !(1..=MOST_JOBS).contains(&items.len()) {
        let words = format!("expected 1 to {MOST_JOBS} jobs, got {}", items.len());
        problems.push(Problem::new("/jobs", "out_of_range", words));
        return Err(problems);
    }
    let mut requests = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        match one(item, &format!("/jobs/{index}")) {
            Ok(request) => requests.push(request),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(requests) } else { Err(problems) }
}

fn one(item: Value, at: &str) -> Result<JobRequest, Problem> {
    if !item.is_object() {
        // A decoder would take a list for the fields in their order.
        return Err(Problem::new(at, "invalid_request", "expected an object"));
    }
    serde_path_to_error::deserialize(item).map_err(|e| {
        let pointer = format!("{at}{}", pointer(e.path()));
        Problem::undecodable(pointer, "invalid_request", e.inner())
    })
}

/// A decoder's path as a JSON pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(format!("/{index}")),
            Segment::Map { key } => Some(format!("/{}", escaped(key))),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(body: Value) -> Vec<String> {
        let problems = Form::of(None, &body).requests(body).unwrap_err();
        problems.into_iter().map(|problem| problem.pointer).collect()
    }

    #[test]
    fn problems_of_envelopes_point_at_the_place() {
        let good = json!({"type": "send", "payload": {}});
        assert_eq!(pointers(json!([])), [""]);
        assert_eq!(pointers(json!({"type": "send"})), [""]);
        assert_eq!(pointers(json!({"type": "send", "payload": {}, "to/o~": 1})), ["/to~1o~0"]);
        assert_eq!(pointers(json!({"type": 7, "payload": {}})), ["/type"]);
        assert_eq!(pointers(json!({"jobs": []})), ["/jobs"]);
        assert_eq!(pointers(json!({"jobs": {}, "type": "send"})), ["/type", "/jobs"]);
        assert_eq!(pointers(json!({"jobs": vec![good.clone(); 1_001]})), ["/jobs"]);
        assert_eq!(
            pointers(json!({"jobs": [good, 3, {"type": "send", "payload": {}, "tags": ["a", 1]}]})),
            ["/jobs/1", "/jobs/2/tags/1"]
        );
    }

    #[test]
    fn problems_of_payloads_are_placed_where_the_caller_wrote_them() {
        let placed = |form: Form, at: &str| form.place(Problem::new(at, "x", "y")).pointer;
        assert_eq!(placed(Form::Batch, "/3/payload/to/email"), "/jobs/3/payload/to/email");
        assert_eq!(placed(Form::Single, "/0/payload/to"), "/payload/to");
        assert_eq!(placed(Form::Single, "/0/type"), "/type");
        assert_eq!(placed(Form::Short("send".into()), "/0/payload/to"), "/to");
        assert_eq!(placed(Form::Short("send".into()), "/0/payload"), "");
        assert_eq!(placed(Form::Short("send".into()), "/0/type"), "");
    }
}
