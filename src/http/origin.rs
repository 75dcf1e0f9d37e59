//! Where a request comes from.
//!
//! The façade leaves TLS to a proxy in front of it, and then every connection comes from the proxy. What a
//! proxy of ours says in `X-Forwarded-For` is believed, and nobody else: each proxy adds whom it was
//! called by at the end, so that the list is read from there, and what stands before the first address
//! that is none of ours may be anybody's invention.

use std::{fmt, net::IpAddr, str::FromStr};

use hyper::{HeaderMap, http::request::Parts};
use serde::{Deserialize, Deserializer, de};

use super::serve::Peer;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Replaces the proxy that a request came through by the address that it came from.
pub(super) fn find(request: &mut Parts, proxies: &[Network]) {
    if let Some(Peer(peer)) = request.extensions.get().copied() {
        request.extensions.insert(Peer(of(&request.headers, peer, proxies)));
    }
}

fn of(headers: &HeaderMap, peer: IpAddr, proxies: &[Network]) -> IpAddr {
    let is_ours = |address: IpAddr| proxies.iter().any(|proxy| proxy.contains(address));
    let mut origin = peer;
    let lines = headers.get_all(FORWARDED_FOR).into_iter().rev();
    let mut named = lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
    while is_ours(origin) {
        // A proxy that says nothing, or nothing that can be read, is all that is known.
        let Some(before) = named.next().and_then(address) else { break };
        origin = before;
    }
    origin
}

/// An address as proxies write it, some of them with a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = || text.trim_start_matches('[').trim_end_matches(']').parse().ok();
    text.parse()
        .ok()
        .or_else(|| Some(text.parse::<std::net::SocketAddr>().ok()?.ip()))
        .or_else(bare)
}

/// Addresses that begin alike.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differs = u32::from(own) ^ u32::from(other);
                u32::from(self.prefix) <= differs.leading_zeros()
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differs = u128::from(own) ^ u128::from(other);
                u32::from(self.prefix) <= differs.leading_zeros()
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) =
            text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let read = || {
            let address: IpAddr = address.parse().ok()?;
            let address = address.to_canonical();
            let longest = if address.is_ipv4() { 32 } else { 128 };
            let prefix = prefix.map_or(Some(longest), |prefix| prefix.parse().ok())?;
            (prefix <= longest).then_some(Self { address, prefix })
        };
        read().ok_or_else(|| {
            format!("expected an address or a network such as 10.0.0.0/8, got {text:?}")
        })
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn origin(proxies: &[&str], peer: &str, forwarded: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(line));
        }
        let proxies: Vec<Network> = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        of(&headers, peer.parse().unwrap(), &proxies).to_string()
    }

    #[test]
    fn nobody_but_a_proxy_of_ours_is_believed() {
        assert_eq!(origin(&[], "192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(origin(&["10.0.0.1"], "192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(origin(&["10.0.0.1"], "10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
    }

    #[test]
    fn what_a_caller_invents_stands_before_its_own_address() {
        let ours = ["10.0.0.0/8", "::1"];
        let invented = ["203.0.113.7, 203.0.113.8", "198.51.100.1, 10.1.2.3"];
        assert_eq!(origin(&ours, "10.0.0.1", &invented), "198.51.100.1");
        assert_eq!(origin(&ours, "::1", &["10.9.9.9,  198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(origin(&ours, "::ffff:10.0.0.1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(origin(&ours, "10.0.0.1", &["[2001:db8::1]"]), "2001:db8::1");
    }

    #[test]
    fn a_proxy_that_says_nothing_of_use_is_all_that_is_known() {
        for nothing in [&[][..], &[""], &["unknown"], &["198.51.100.1, _hidden"], &["10.0.0.2"]] {
            let origin = origin(&["10.0.0.0/8"], "10.0.0.1", nothing);
            assert!(origin.starts_with("10.0.0."), "{nothing:?}: {origin}");
        }
    }

    #[test]
    fn networks_are_read_and_told_apart() {
        let within = |network: &str, address: &str| {
            network.parse::<Network>().unwrap().contains(address.parse().unwrap())
        };
        assert!(within("10.1.0.0/16", "10.1.255.1") && !within("10.1.0.0/16", "10.2.0.1"));
        assert!(within("0.0.0.0/0", "192.0.2.1") && !within("0.0.0.0/0", "2001:db8::1"));
        assert!(
            within("2001:db8::/32", "2001:db8:9::1") && !within("2001:db8::/32", "2001:db9::1")
        );
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "a"] {
            let said = wrong.parse::<Network>().unwrap_err();
            assert!(said.starts_with("expected an address or a network"), "{said}");
        }
    }
}
