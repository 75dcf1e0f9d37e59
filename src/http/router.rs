//! Paths and methods.

use hyper::Method;

use super::{codes::ErrorCode, error::ApiError};

const ON_JOBS: &str = "POST, OPTIONS";
const ON_A_KIND: &str = "POST, OPTIONS";
const ON_A_JOB: &str = "GET, HEAD, OPTIONS";
const ON_THE_DOCUMENT: &str = "GET, HEAD, OPTIONS";
/// How the id of a job begins, and no type does.
const AN_ID: &str = "job_";
/// Where the interface is described.
const DOCUMENT: &str = "/openapi.json";

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// `POST /jobs`: one job, or many.
    Submit,
    /// `POST /jobs/<type>`: one job by its bare payload.
    SubmitKind(String),
    /// `GET /jobs/<id>`, and `HEAD`.
    Status(String),
    /// `GET /openapi.json`, and `HEAD`.
    Document,
    /// `OPTIONS`: what can be asked there.
    Options(&'static str),
}

impl Route {
    /// The route of a request.
    ///
    /// # Errors
    ///
    /// 404 for a path that leads nowhere, 405 for a method that it does not have.
    pub(super) fn of(method: &Method, path: &str) -> Result<Self, ApiError> {
        if path == DOCUMENT {
            return match *method {
                Method::GET | Method::HEAD => Ok(Self::Document),
                Method::OPTIONS => Ok(Self::Options(ON_THE_DOCUMENT)),
                _ => Err(ApiError::method_not_allowed(ON_THE_DOCUMENT)),
            };
        }
        let Some(last) = segment(path) else {
            let detail = "The paths are /jobs, /jobs/<type>, /jobs/<id> and /openapi.json.";
            return Err(ApiError::new(ErrorCode::RouteNotFound, detail));
        };
        let allow = match last {
            None => ON_JOBS,
            Some(last) if last.starts_with(AN_ID) => ON_A_JOB,
            Some(_) => ON_A_KIND,
        };
        match (method, last) {
            (&Method::POST, None) => Ok(Self::Submit),
            (&Method::POST, Some(kind)) if allow == ON_A_KIND => {
                Ok(Self::SubmitKind(kind.to_owned()))
            }
            // What is no id of a job is as unknown as an id that nobody has.
            (&Method::GET | &Method::HEAD, Some(id)) => Ok(Self::Status(id.to_owned())),
            (&Method::OPTIONS, _) => Ok(Self::Options(allow)),
            _ => Err(ApiError::method_not_allowed(allow)),
        }
    }

    /// The path with its variable part named: what logs and metrics count by.
    pub(super) const fn template(&self) -> &'static str {
        match self {
            Self::Submit => "/jobs",
            Self::SubmitKind(_) => "/jobs/{type}",
            Self::Status(_) => "/jobs/{id}",
            Self::Document => DOCUMENT,
            Self::Options(_) => "options",
        }
    }
}

/// The part after `/jobs/`, if there is one; nothing for any other path. Ids and kinds are plain
/// letters, digits, `-` and `_`, so that nothing needs to be decoded here: what is spelled
/// `%6A` is not found.
fn segment(path: &str) -> Option<Option<&str>> {
    let rest = path.strip_prefix("/jobs")?;
    if rest.is_empty() {
        return Some(None);
    }
    let last = rest.strip_prefix('/')?;
    (!last.is_empty() && !last.contains('/')).then_some(Some(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leads_to_few_places() {
        let of = |method: Method, path| Route::of(&method, path);
        assert_eq!(of(Method::POST, "/jobs"), Ok(Route::Submit));
        assert_eq!(of(Method::POST, "/jobs/send"), Ok(Route::SubmitKind("send".into())));
        assert_eq!(of(Method::HEAD, "/jobs/job_1"), Ok(Route::Status("job_1".into())));
        for nowhere in ["", "/", "*", "/jobsx", "/jobs/", "/jobs/a/b", "//jobs", "/jobs//"] {
            assert!(of(Method::POST, nowhere).is_err(), "{nowhere}");
        }
        assert_eq!(of(Method::GET, DOCUMENT), Ok(Route::Document));
        assert!(of(Method::POST, DOCUMENT).is_err());
        assert_eq!(of(Method::GET, "/jobs"), Err(ApiError::method_not_allowed(ON_JOBS)));
        assert_eq!(of(Method::DELETE, "/jobs/x"), Err(ApiError::method_not_allowed(ON_A_KIND)));
        assert_eq!(of(Method::POST, "/jobs/job_1"), Err(ApiError::method_not_allowed(ON_A_JOB)));
        assert_eq!(of(Method::GET, "/jobs/send"), Ok(Route::Status("send".into())));
    }
}
