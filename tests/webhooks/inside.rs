//! Nobody reaches inside: spellings, names, rebinding, proxies.

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use jobs::contract::ports::Class;
use postrider::webhooks::{Client, Guard, Resolver, SystemResolver, Target};

use super::answers::{Everywhere, config, request};
use crate::support::{defaults, receiver::Receiver};

/// Ways to write what must not be dialled.
const SPELLINGS: [&str; 34] = [
    "https://127.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://0x7f.1/",
    "https://0x7f.0.0.1/",
    "https://0x7f000001/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://0177.0x0.0.1/",
    "https://127.0.0.1./",
    "https://127.0.0.1:8443/",
    "https://１２７.0.0.1/",
    "https://127。0。0。1/",
    "https://%31%32%37.0.0.1/",
    "https://0/",
    "https://0.0.0.0/",
    "https://[::1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[0:0:0:0:0:ffff:127.0.0.1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[fe80::1]/",
    "https://[fd00:ec2::254]/",
    "https://169.254.169.254/latest/meta-data/",
    "https://0xa9fea9fe/",
    "https://2852039166/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://10.0.0.1/",
    "https://192.168.1.1/",
];

fn closed() -> Guard {
    Guard::new(&defaults().webhooks, Arc::new(SystemResolver))
}

#[tokio::test]
async fn no_spelling_of_an_address_inside_is_admitted() {
    for url in SPELLINGS {
        let error = closed().register(url).await.unwrap_err();
        assert!(error.contains("not public"), "{url}: {error}");
    }
    // The name of this host, by its own resolver.
    assert!(closed().register("https://localhost/").await.is_err());
    assert!(closed().register("https://93.184.216.34/hook").await.is_ok());
}

#[tokio::test]
async fn what_is_no_plain_https_url_is_refused() {
    for (url, word) in [
        ("http://example.org/", "https://"),
        ("ftp://example.org/", "https://"),
        ("file:///etc/passwd", "https://"),
        ("gopher://127.0.0.1:6379/_x", "https://"),
        ("javascript:alert(1)", "https://"),
        ("example.org", "https://"),
        ("", "https://"),
        ("https://", "https://"),
        ("https://user@example.org/", "user"),
        ("https://user:canary@example.org/", "user"),
        ("https://example.org@127.0.0.1/", "user"),
        ("https://example.org/#x", "fragment"),
        ("https://example.org:0/", "port"),
        ("https://exam\nple.org/", "control characters"),
        ("https://example.org/ x", "spaces"),
        ("https://example.org/\r\nHost: x", "spaces"),
        ("https://[::1", "https://"),
        ("https://exa mple.org/", "spaces"),
    ] {
        let error = closed().register(url).await.unwrap_err();
        assert!(error.contains(word), "{url:?}: {error}");
        assert!(!error.contains("canary"), "{error}");
    }
    let long = format!("https://example.org/{}", "x".repeat(2_048));
    assert!(closed().register(&long).await.unwrap_err().contains("2048"));
}

/// Names answer as they are told to.
struct Names(Vec<IpAddr>);

#[async_trait]
impl Resolver for Names {
    async fn lookup(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn a_name_with_any_address_inside_is_refused_whole() {
    let public: IpAddr = "93.184.216.34".parse().unwrap();
    for inside in ["127.0.0.1", "10.1.2.3", "::1", "::ffff:10.0.0.1", "169.254.169.254"] {
        let names = Names(vec![public, inside.parse().unwrap()]);
        let guard = Guard::new(&defaults().webhooks, Arc::new(names));
        let target = guard.read("https://example.org/").unwrap();
        let refused = guard.addresses(&target).await.unwrap_err();
        assert_eq!(refused.class, Class::BlockedAddress);
        // The tenant learns that, and not what the name means inside.
        assert!(!refused.message.contains(inside), "{}", refused.message);
    }
    let guard = Guard::new(&defaults().webhooks, Arc::new(Names(vec![public])));
    assert!(guard.register("https://example.org/").await.is_ok());
    // A name that is not there yet may be registered; it is checked when it is dialled.
    let guard = Guard::new(&defaults().webhooks, Arc::new(Names(Vec::new())));
    assert!(guard.register("https://example.org/").await.is_ok());
}

/// A name that changes its mind with every question: allowed, inside, both.
struct Rebinding(AtomicU32);

#[async_trait]
impl Resolver for Rebinding {
    async fn lookup(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let (allowed, inside) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        Ok(match self.0.fetch_add(1, SeqCst) % 4 {
            0 => vec![allowed],
            1 => vec![inside],
            2 => vec![allowed, inside],
            _ => vec![inside, allowed],
        })
    }
}

#[tokio::test]
async fn a_thousand_tries_to_rebind_a_name_reach_nobody_inside() {
    // Given a receiver that may be reached, and one inside on the same port
    let allowed = Receiver::start().await;
    let port = allowed.address.port();
    let inside = Receiver::on(&format!("127.0.0.2:{port}"), None).await;
    let mut config = config();
    config.keep = std::time::Duration::ZERO;
    let guard = Guard::new(&config, Arc::new(Rebinding(AtomicU32::new(0))));
    let client = Client::new(&config, guard).unwrap();
    // When the name is called again and again
    let url = format!("http://rebind.example.org:{port}/");
    let mut blocked = 0;
    for _ in 0..1_000 {
        match client.post("test", &url, request()).await.answer {
            Ok(answer) => assert_eq!(answer.status, 200),
            Err(unanswered) => {
                assert_eq!(unanswered.class, Class::BlockedAddress);
                blocked += 1;
            }
        }
    }
    // Then only what was admitted was dialled: one look-up for each request, and that one counts.
    assert_eq!((allowed.got().len(), blocked), (250, 750));
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn metadata_stays_closed_whatever_is_allowed() {
    let mut config = config();
    config.egress.allow_cidrs = vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
    let everywhere = |address: &str| Arc::new(Everywhere(address.parse().unwrap()));
    for address in ["169.254.169.254", "168.63.129.16", "fe80::1", "fd00:ec2::254"] {
        let guard = Guard::new(&config, everywhere(address));
        let refused = guard.register("https://metadata.example.org/").await.unwrap_err();
        assert!(refused.contains("not public"), "{address}");
    }
    assert!(Guard::new(&config, everywhere("127.0.0.1")).register("http://x.org/").await.is_ok());
}

#[test]
fn a_url_is_shown_without_what_may_be_a_credential() {
    for (url, shown) in [
        ("https://hooks.slack.com/services/T0/B0/canary", "https://hooks.slack.com/…"),
        ("https://example.org/?token=canary", "https://example.org/…"),
        ("https://example.org:8443/canary", "https://example.org:8443/…"),
        ("https://example.org", "https://example.org/"),
        ("canary", "…"),
    ] {
        assert_eq!(Target::shown(&url.into()), shown);
    }
}
