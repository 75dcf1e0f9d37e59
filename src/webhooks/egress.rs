//! Which addresses may be dialled: public ones, and those that the operator allows.
//!
//! The tables follow the IANA special-purpose registries (RFC 6890) and are read the strict way round
//! for IPv6: only what is global unicast, less what lies inside it for other purposes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// Not public.
const CLOSED_V4: [Ipv4Net; 20] = [
    v4(0, 0, 0, 0, 8),       // this network
    v4(10, 0, 0, 0, 8),      // private
    v4(100, 64, 0, 0, 10),   // carrier-grade NAT
    v4(127, 0, 0, 0, 8),     // loopback
    v4(169, 254, 0, 0, 16),  // link-local, metadata of clouds
    v4(172, 16, 0, 0, 12),   // private
    v4(192, 0, 0, 0, 24),    // protocol assignments
    v4(192, 0, 2, 0, 24),    // documentation
    v4(192, 31, 196, 0, 24), // AS112
    v4(192, 52, 193, 0, 24), // AMT
    v4(192, 88, 99, 0, 24),  // 6to4 relays
    v4(192, 168, 0, 0, 16),  // private
    v4(192, 175, 48, 0, 24), // AS112
    v4(198, 18, 0, 0, 15),   // benchmarks
    v4(198, 51, 100, 0, 24), // documentation
    v4(203, 0, 113, 0, 24),  // documentation
    v4(224, 0, 0, 0, 4),     // multicast
    v4(240, 0, 0, 0, 4),     // reserved, broadcast
    METADATA_V4[0],
    METADATA_V4[1],
];
/// Global unicast.
const OPEN_V6: Ipv6Net = v6(0x2000, 0, 0, 3);
/// Within it, and not public.
const CLOSED_V6: [Ipv6Net; 5] = [
    v6(0x2001, 0, 0, 23),         // protocol assignments, Teredo among them
    v6(0x2001, 0xdb8, 0, 32),     // documentation
    v6(0x2002, 0, 0, 16),         // 6to4: an IPv4 address inside
    v6(0x3fff, 0, 0, 20),         // documentation
    v6(0x2620, 0x4f, 0x8000, 48), // AS112
];

/// Metadata of clouds outside the link-local networks: Azure's, Alibaba's, Oracle's.
const METADATA_V4: [Ipv4Net; 3] =
    [v4(168, 63, 129, 16, 32), v4(100, 100, 100, 200, 32), v4(192, 0, 0, 192, 32)];
/// In unique local space: Amazon's, that of its Kubernetes pods, Google's.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];
/// Where the last 32 bits are an IPv4 address: NAT64 (RFC 6052), and "compatible" ones (RFC 4291).
const LAST_IS_V4: [Ipv6Net; 2] = [v6(0x64, 0xff9b, 0, 96), v6(0, 0, 0, 96)];
/// Where an IPv4 address follows the first 16 bits: 6to4 (RFC 3056).
const SECOND_IS_V4: Ipv6Net = v6(0x2002, 0, 0, 16);
const LINK_LOCAL_V4: Ipv4Net = v4(169, 254, 0, 0, 16);
const LINK_LOCAL_V6: Ipv6Net = v6(0xfe80, 0, 0, 10);

/// Which addresses may be dialled.
#[derive(Debug, Clone, Default)]
pub struct Egress {
    allowed: Vec<IpNet>,
}

impl Egress {
    /// Public addresses, and those of `allowed`.
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Whether this address may be dialled.
    pub fn admits(&self, address: IpAddr) -> bool {
        // An IPv4 address in IPv6 clothes is that IPv4 address.
        let address = address.to_canonical();
        let allowed = self.allowed.iter().any(|net| net.contains(&address));
        is_public(address) || (allowed && !is_never(address))
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !CLOSED_V4.iter().any(|net| net.contains(&address)),
        IpAddr::V6(address) => {
            OPEN_V6.contains(&address) && !CLOSED_V6.iter().any(|net| net.contains(&address))
        }
    }
}

/// What no configuration opens: from there a machine's own credentials are read.
fn is_never(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            LINK_LOCAL_V4.contains(&address) || METADATA_V4.iter().any(|net| net.contains(&address))
        }
        IpAddr::V6(address) => {
            LINK_LOCAL_V6.contains(&address)
                || METADATA_V6.contains(&address)
                || v4_inside(address).is_some_and(|inside| is_never(IpAddr::V4(inside)))
        }
    }
}

/// The IPv4 address that a gateway would make of it.
fn v4_inside(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [_, _, a, b, c, d, .., w, x, y, z] = address.octets();
    if SECOND_IS_V4.contains(&address) {
        return Some(Ipv4Addr::new(a, b, c, d));
    }
    let last = LAST_IS_V4.iter().any(|net| net.contains(&address));
    last.then(|| Ipv4Addr::new(w, x, y, z))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: [&str; 2] = ["0.0.0.0/0", "::/0"];

    fn admits(egress: &Egress, address: &str) -> bool {
        egress.admits(address.parse().unwrap())
    }

    #[test]
    fn metadata_in_other_clothes_stays_closed_whatever_is_allowed() {
        let everything = Egress::new(EVERYTHING.map(|net| net.parse().unwrap()).to_vec());
        for address in ["fd00:ec2::23", "fd20:ce::254", "::169.254.169.254", "64:ff9b::a9fe:a9fe"] {
            assert!(!admits(&everything, address), "{address}");
        }
        for address in ["fd00::1", "64:ff9b::0a00:1", "2002:0a00:1::1", "::1"] {
            assert!(admits(&everything, address), "{address}");
        }
    }

    /// One address of every closed network, and both ends of most.
    const CLOSED: [&str; 72] = [
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.0.0",
        "169.254.169.254",
        "169.254.170.2",
        "169.254.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.0",
        "192.0.0.192",
        "192.0.0.255",
        "192.0.2.1",
        "192.31.196.1",
        "192.52.193.1",
        "192.88.99.1",
        "192.168.0.0",
        "192.168.255.255",
        "192.175.48.1",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.0",
        "255.255.255.255",
        "168.63.129.16",
        "::",
        "::1",
        "::2",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "100::1",
        "2001::1",
        "2001:0:7f00:1::",
        "2001:1ff:ffff::1",
        "2001:db8::1",
        "2001:db8:ffff::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2002:a9fe:a9fe::1",
        "3fff::1",
        "3fff:fff::1",
        "2620:4f:8000::1",
        "4000::1",
        "5f00::1",
        "1fff::1",
        "fc00::1",
        "fd00::1",
        "fd00:ec2::254",
        "fdff::1",
        "fe80::1",
        "fe80::a9fe:a9fe",
        "febf::1",
        "fec0::1",
        "ff00::1",
        "ff02::1",
        "ff0e::1",
        "::ffff:192.168.1.1",
        "::ffff:100.64.0.1",
    ];

    #[test]
    fn nothing_inside_is_admitted() {
        let egress = Egress::default();
        for address in CLOSED {
            assert!(!admits(&egress, address), "{address}");
        }
    }

    #[test]
    fn neighbours_of_closed_networks_are_public() {
        let egress = Egress::default();
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.1.1.1",
            "128.0.0.1",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "168.63.129.15",
            "::ffff:8.8.8.8",
            "2001:200::1",
            "2001:db7::1",
            "2606:4700::1111",
            "2620:4f:8001::1",
            "2a00::1",
            "3ffe::1",
            "3fff:1000::1",
        ] {
            assert!(admits(&egress, address), "{address}");
        }
    }

    #[test]
    fn what_is_allowed_is_admitted_but_never_metadata() {
        // Given everything allowed, then of the closed only these stay closed.
        let egress = Egress::new(EVERYTHING.iter().map(|net| net.parse().unwrap()).collect());
        let never: Vec<&str> =
            CLOSED.into_iter().filter(|address| !admits(&egress, address)).collect();
        assert_eq!(
            never,
            [
                "100.100.100.200",
                "169.254.0.0",
                "169.254.169.254",
                "169.254.170.2",
                "169.254.255.255",
                "192.0.0.192",
                "168.63.129.16",
                "::ffff:169.254.169.254",
                "2002:a9fe:a9fe::1",
                "fd00:ec2::254",
                "fe80::1",
                "fe80::a9fe:a9fe",
                "febf::1",
            ]
        );
        // Given one network, then its neighbour stays closed.
        let egress = Egress::new(vec!["127.0.0.0/31".parse().unwrap()]);
        assert!(admits(&egress, "127.0.0.1") && admits(&egress, "::ffff:127.0.0.1"));
        assert!(!admits(&egress, "127.0.0.2") && !admits(&egress, "::1"));
    }
}
