//! Who calls, and what the key allows.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{Method, header::AUTHORIZATION, http::request::Parts};
use jobs::contract::Fault;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::{error::ApiError, strangers::Strangers};
pub use crate::store::Caller;

/// The scope that lets a caller ask for jobs.
pub const JOBS_READ: &str = "jobs:read";

/// The longest bearer token that is looked at; ours are shorter.
const LONGEST_BEARER: usize = 256;
/// Keys that are remembered at once: some hundred bytes each.
const MOST_CACHED: usize = 10_000;

/// The scope that lets a caller submit jobs of this kind.
pub fn write_scope(kind: &str) -> String {
    format!("{kind}:write")
}

impl Caller {
    /// Refuses a caller whose key lacks the scope.
    pub(super) fn require(&self, scope: &str) -> Result<(), ApiError> {
        if self.scopes.contains(scope) { Ok(()) } else { Err(ApiError::insufficient_scope(scope)) }
    }
}

/// Where keys are known.
#[async_trait]
pub trait Keys: Send + Sync {
    /// The caller to whom this bearer token belongs; none when it is unknown, malformed, expired or
    /// revoked.
    ///
    /// # Errors
    ///
    /// A transient fault when that cannot be found out now.
    async fn caller(&self, bearer: &str) -> Result<Option<Caller>, Fault>;

    /// Whether this could be a key, as far as can be told without looking it up.
    fn is_plausible(&self, bearer: &str) -> bool;
}

/// A caller that was let in, and the key that it came with.
pub(super) struct Guest {
    pub(super) caller: Caller,
    key: SecretString,
}

impl Guest {
    /// Whoever sends this request; nobody, without a good key. A caller that was not seen before
    /// counts as a stranger until its key was looked up, and strangers are counted.
    pub(super) async fn by(
        head: &Parts,
        keys: &CachedKeys,
        strangers: &Strangers,
    ) -> Result<Option<Self>, ApiError> {
        let key = presented(head).filter(|key| keys.is_plausible(key));
        if !key.as_ref().is_some_and(|key| keys.was_good(key)) {
            strangers.admit(&head.extensions, key.is_some())?;
        }
        let Some(key) = key else { return Ok(None) };
        let caller = keys.caller(&key).await?;
        Ok(caller.map(|caller| Self { caller, key: key.into() }))
    }

    /// Whether the same key still opens the same doors.
    pub(super) async fn is_still_welcome(&self, keys: &dyn Keys) -> Result<bool, Fault> {
        let caller = keys.caller(self.key.expose_secret()).await?;
        Ok(caller.as_ref() == Some(&self.caller))
    }
}

/// Whether a key may come as the password of a browser. For looking only: a browser sends it along
/// with whatever another site makes it ask for.
pub(super) fn may_use_basic(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The key that a request presents, if it is exactly one.
fn presented(head: &Parts) -> Option<String> {
    let mut values = head.headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    let key = if scheme.eq_ignore_ascii_case("bearer") {
        token.to_owned()
    } else if scheme.eq_ignore_ascii_case("basic") && may_use_basic(&head.method) {
        password(token)?
    } else {
        return None;
    };
    let plausible =
        (1..=LONGEST_BEARER).contains(&key.len()) && key.bytes().all(|c| c.is_ascii_graphic());
    plausible.then_some(key)
}

/// The password of RFC 7617; or the name, for people who type the key there and nothing below.
fn password(token: &str) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some(if password.is_empty() { name } else { password }.to_owned())
}

/// Keys that trust a good key for a while before they ask again.
///
/// Only good keys are remembered: a key that was just made works at once, and a stranger cannot
/// fill the memory. A token is remembered by its hash, so that memory holds no secret.
pub struct CachedKeys {
    keys: Arc<dyn Keys>,
    trust: Duration,
    most: usize,
    now: fn() -> Instant,
    known: Mutex<HashMap<[u8; 32], (Caller, Instant)>>,
}

impl CachedKeys {
    /// Trusts a good key for this long.
    pub fn new(keys: Arc<dyn Keys>, trust: Duration) -> Self {
        Self { keys, trust, most: MOST_CACHED, now: Instant::now, known: Mutex::default() }
    }

    /// Whether this key was good when it was last asked for, however long ago.
    pub(super) fn was_good(&self, bearer: &str) -> bool {
        let token: [u8; 32] = Sha256::digest(bearer.as_bytes()).into();
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&token)
    }

    fn forget(&self, token: &[u8; 32]) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
    }

    fn remembered(&self, token: &[u8; 32]) -> Option<Caller> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (caller, asked_at) = known.get(token)?;
        ((self.now)().duration_since(*asked_at) < self.trust).then(|| caller.clone())
    }

    fn remember(&self, token: [u8; 32], caller: &Caller, asked_at: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= self.most {
            let now = (self.now)();
            known.retain(|_, (_, asked_at)| now.duration_since(*asked_at) < self.trust);
        }
        if known.len() >= self.most {
            // More good keys within five seconds than there is room for: the next look-ups cost a
            // query again, which is all that forgetting does.
            known.clear();
        }
        known.insert(token, (caller.clone(), asked_at));
    }
}

#[async_trait]
impl Keys for CachedKeys {
    async fn caller(&self, bearer: &str) -> Result<Option<Caller>, Fault> {
        let token: [u8; 32] = Sha256::digest(bearer.as_bytes()).into();
        if let Some(caller) = self.remembered(&token) {
            return Ok(Some(caller));
        }
        // Trust counts from before the question: a revocation during it is felt in time, too.
        let asked_at = (self.now)();
        let caller = self.keys.caller(bearer).await?;
        match &caller {
            Some(caller) => self.remember(token, caller, asked_at),
            None => self.forget(&token),
        }
        Ok(caller)
    }

    fn is_plausible(&self, bearer: &str) -> bool {
        self.keys.is_plausible(bearer)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    };

    use hyper::header::HeaderValue;

    use std::collections::BTreeSet;

    use super::*;

    thread_local!(static ELAPSED: Cell<Duration> = const { Cell::new(Duration::ZERO) });

    fn now() -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now) + ELAPSED.get()
    }

    #[derive(Default)]
    struct Counting {
        asked: AtomicUsize,
        revoked: AtomicBool,
    }

    #[async_trait]
    impl Keys for Counting {
        async fn caller(&self, bearer: &str) -> Result<Option<Caller>, Fault> {
            self.asked.fetch_add(1, SeqCst);
            Ok((bearer.starts_with("good") && !self.revoked.load(SeqCst)).then(|| Caller {
                tenant: "acme".parse().unwrap(),
                key_id: "k".into(),
                scopes: BTreeSet::new(),
            }))
        }

        fn is_plausible(&self, _: &str) -> bool {
            true
        }
    }

    fn cached(keys: &Arc<Counting>, most: usize) -> CachedKeys {
        let inner: Arc<dyn Keys> = Arc::<Counting>::clone(keys);
        CachedKeys { most, now, ..CachedKeys::new(inner, Duration::from_secs(5)) }
    }

    #[tokio::test]
    async fn a_revocation_is_felt_within_the_time_of_trust() {
        let keys = Arc::new(Counting::default());
        let cached = cached(&keys, 10);
        assert!(cached.caller("good").await.unwrap().is_some());

        keys.revoked.store(true, SeqCst);
        ELAPSED.set(Duration::from_millis(4_999));
        assert!(cached.caller("good").await.unwrap().is_some());
        assert_eq!(keys.asked.load(SeqCst), 1);

        ELAPSED.set(Duration::from_secs(5));
        assert!(cached.was_good("good"));
        assert!(cached.caller("good").await.unwrap().is_none());
        assert!(!cached.was_good("good"), "a revoked key is a stranger's");
    }

    #[tokio::test]
    async fn refusals_are_not_remembered() {
        let keys = Arc::new(Counting::default());
        let cached = cached(&keys, 10);
        for _ in 0..3 {
            assert!(cached.caller("bad").await.unwrap().is_none());
        }
        assert_eq!(keys.asked.load(SeqCst), 3);
        assert_eq!(cached.known.lock().unwrap().len(), 0);
    }

    #[tokio::test]
    async fn memory_is_bounded() {
        let keys = Arc::new(Counting::default());
        let cached = cached(&keys, 3);
        for n in 0..20 {
            cached.caller(&format!("good{n}")).await.unwrap();
            assert!(cached.was_good(&format!("good{n}")));
            assert!(cached.known.lock().unwrap().len() <= 3);
        }
    }

    fn head(method: Method) -> Parts {
        hyper::Request::builder().method(method).body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_browser_may_look_with_the_key_as_password() {
        let of = |method: Method, text: &str| {
            let mut head = head(method);
            let value = format!("Basic {}", STANDARD.encode(text));
            head.headers.insert(AUTHORIZATION, HeaderValue::try_from(value).unwrap());
            presented(&head)
        };
        for text in [":abc", "anybody:abc", "abc:"] {
            assert_eq!(of(Method::GET, text).as_deref(), Some("abc"), "{text}");
            assert_eq!(of(Method::POST, text), None, "{text}");
        }
        for none in ["", ":", "abc", ":a b", ":\u{e9}"] {
            assert_eq!(of(Method::GET, none), None, "{none}");
        }
    }

    #[test]
    fn a_bearer_token_is_one_plausible_word() {
        let of = |values: &[&'static str]| {
            let mut head = head(Method::POST);
            for value in values {
                head.headers.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            presented(&head)
        };
        assert_eq!(of(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(of(&["bEARER  abc"]).as_deref(), Some("abc"));
        for none in [&[][..], &["abc"], &["Bearer "], &["Bearer a b"], &["Basic abc"]] {
            assert_eq!(of(none), None, "{none:?}");
        }
        assert_eq!(of(&["Bearer abc", "Bearer abc"]), None);
    }
}
