//! The façade: `POST /jobs` and `GET /jobs/<id>`, and nothing else for callers; and, on a listener of
//! its own, what operators' tools ask.
//!
//! A request goes through `facade` in the order of the contract: request id, sizes, key, rate
//! limit, then `submit` or `status`. Whatever is refused is refused with one of the codes of
//! [`ErrorCode`].
//!
//! | file | what it knows |
//! |---|---|
//! | `router` | paths and methods |
//! | `auth` | keys, callers, scopes |
//! | `limits` | the tenant's requests, and the headers that tell of them |
//! | `origin`, `strangers` | where a request comes from, and how often it may come without a good key |
//! | `body`, `json`, `negotiate` | bytes, JSON that means one thing only, media types |
//! | `form` | the three ways to write a submission |
//! | `idempotency` | keys and fingerprints of submissions |
//! | `wait` | callers that wait for a job |
//! | `view`, `version` | what a caller may see of a job, and by what it tells its states apart |
//! | `status`, `follow`, `page` | a job as it is, as it goes on, and for people |
//! | `answer` | bodies, whole or told piece by piece |
//! | `codes`, `error` | every way to be refused, and how it is said |
//! | `openapi` | the interface, described for programs |
//! | `exchange` | what every answer carries, the log line, the count |
//! | `serve`, `places`, `linger` | listening, connections, stopping |
//! | `admin` | health, readiness, metrics |

pub mod admin;
mod answer;
pub mod auth;
mod body;
mod codes;
mod config;
mod error;
mod exchange;
mod facade;
mod follow;
mod form;
mod idempotency;
mod items;
mod json;
mod limits;
mod linger;
mod negotiate;
pub mod openapi;
mod origin;
mod page;
mod places;
mod request_id;
mod router;
mod serve;
mod status;
mod strangers;
mod submit;
mod version;
mod view;
mod wait;

pub use self::{
    codes::ErrorCode,
    config::HttpConfig,
    facade::{Facade, FacadeDeps},
    origin::Network,
    serve::{ListenError, listen},
};

use self::answer::Body;
pub(crate) use self::{
    body::{BULK, SINGLE},
    json::read as read_json,
};
