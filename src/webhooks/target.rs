//! From a URL to what is dialled: the URL's own rules, then its addresses.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use jobs::contract::ports::{Class, Format, Unanswered};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;
use url::{Host, Url};

use super::{WebhooksConfig, egress::Egress};

/// The longest URL, in bytes.
const LONGEST: usize = 2_048;

/// Looks names up.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// The addresses of a name.
    ///
    /// # Errors
    ///
    /// When there are none, or nobody could say.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of this host.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// A URL that may be called; its addresses are another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// What was expected. The URL itself is not repeated: it may be a secret.
    pub fn read(url: &str, allow_http: bool) -> Result<Self, String> {
        let expected = if allow_http { "an https:// or http:// URL" } else { "an https:// URL" };
        if url.len() > LONGEST {
            return Err(format!("expected a URL of at most {LONGEST} bytes, got {}", url.len()));
        }
        // The parser drops line breaks and tabs wherever they are; who wrote them meant something else.
        if url.bytes().any(|c| c <= b' ' || c == 0x7f) {
            return Err("expected a URL without spaces and control characters".into());
        }
        let url = Url::parse(url).map_err(|e| format!("expected {expected}: {e}"))?;
        if url.scheme() != "https" && !(allow_http && url.scheme() == "http") {
            return Err(format!("expected {expected}, got one of {:?}", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("expected a URL without a user and a password in it".into());
        }
        if url.fragment().is_some() {
            return Err("expected a URL without a fragment (#…)".into());
        }
        if url.host().is_none_or(|host| host == Host::Domain("")) || url.port() == Some(0) {
            return Err("expected a URL with a host and a port that can be dialled".into());
        }
        Ok(Self { url })
    }

    /// Whether TLS is spoken.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Host and port, as in the `Host` header.
    pub fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// Path and query, as in the request line.
    pub fn path(&self) -> String {
        match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        }
    }

    /// The host by itself, for TLS.
    pub fn host(&self) -> String {
        match self.url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => self.url.host_str().unwrap_or_default().to_owned(),
        }
    }

    /// Scheme, host and port: what may be shown of a URL.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.url.scheme(), self.authority())
    }

    /// A URL as it may be shown: where it leads, without what may be a credential in it.
    pub fn shown(url: &SecretString) -> String {
        match Self::read(url.expose_secret(), true) {
            Ok(target) if target.path() == "/" => format!("{}/", target.origin()),
            Ok(target) => format!("{}/…", target.origin()),
            Err(_) => "…".to_owned(),
        }
    }

    /// Whether this is the URL of a Slack incoming webhook.
    pub fn is_slack(&self) -> bool {
        let host = self.url.host_str().unwrap_or_default();
        // A name may end with the dot of the root.
        host.strip_suffix('.').unwrap_or(host) == "hooks.slack.com"
            && self.url.path().starts_with("/services/")
    }

    /// The form that a URL asks for by what it is.
    pub fn format_of(url: &SecretString) -> Format {
        let slack = Self::read(url.expose_secret(), true).is_ok_and(|target| target.is_slack());
        if slack { Format::Slack } else { Format::Standard }
    }

    fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(443)
    }
}

/// Says where requests may go.
#[derive(Clone)]
pub struct Guard {
    egress: Egress,
    allow_http: bool,
    dns: Duration,
    resolver: Arc<dyn Resolver>,
}

impl Guard {
    /// A guard by this configuration, over this resolver.
    pub fn new(config: &WebhooksConfig, resolver: Arc<dyn Resolver>) -> Self {
        Self {
            egress: Egress::new(config.egress.allow_cidrs.clone()),
            allow_http: config.egress.allow_http,
            dns: config.deadlines.dns,
            resolver,
        }
    }

    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// Why it may not be called.
    pub fn read(&self, url: &str) -> Result<Target, Unanswered> {
        Target::read(url, self.allow_http)
            .map_err(|message| Unanswered { class: Class::InvalidUrl, message })
    }

    /// The addresses of a target, all of which may be dialled. What is answered here is dialled, and
    /// nothing is looked up again: a name that changes its mind changes nothing.
    ///
    /// # Errors
    ///
    /// That there are none, or that one of them may not be dialled. The address is not named: it
    /// would tell outsiders what names mean inside.
    pub async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, Unanswered> {
        let addresses = match target.url.host() {
            Some(Host::Ipv4(address)) => vec![IpAddr::V4(address)],
            Some(Host::Ipv6(address)) => vec![IpAddr::V6(address)],
            Some(Host::Domain(name)) => self.lookup(name).await?,
            None => Vec::new(),
        };
        if !addresses.iter().all(|address| self.egress.admits(*address)) {
            let message = "the endpoint has an address that is not public".to_owned();
            return Err(Unanswered { class: Class::BlockedAddress, message });
        }
        let at = |address: IpAddr| SocketAddr::new(address.to_canonical(), target.port());
        Ok(addresses.into_iter().map(at).collect())
    }

    /// Whether an address may be dialled.
    pub fn admits(&self, address: SocketAddr) -> bool {
        self.egress.admits(address.ip())
    }

    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, Unanswered> {
        let failed = |message: &str| Unanswered { class: Class::Dns, message: message.into() };
        match timeout(self.dns, self.resolver.lookup(name)).await {
            Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
            // The resolver's own words may name its servers.
            Ok(_) => Err(failed("the endpoint's name has no address")),
            Err(_) => Err(failed("the endpoint's name was not looked up in time")),
        }
    }

    /// Checks a URL when it is registered: everything that is checked again at every attempt. A name
    /// that has no address yet is admitted.
    ///
    /// # Errors
    ///
    /// What was expected.
    pub async fn register(&self, url: &str) -> Result<Target, String> {
        let target = self.read(url).map_err(|refused| refused.message)?;
        match self.addresses(&target).await {
            Err(Unanswered { class: Class::BlockedAddress, message }) => Err(message),
            _ => Ok(target),
        }
    }
}
