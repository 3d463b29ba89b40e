//! Which addresses may be reached: the public ones, and what the operator allows besides.
//!
//! Pure. It is asked after name resolution, for each address that would be connected to, so that
//! a name that changes its meaning between check and use gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::Deserialize;

/// What the operator allows besides public addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Rules {
    /// Ranges that may be reached though they are loopback, private or otherwise not public.
    pub allow: Vec<IpNet>,
}

/// Why an address may not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {kind}")]
pub struct Refused {
    pub address: IpAddr,
    /// What the address is, for the operator: `loopback`, `private`, …
    pub kind: &'static str,
}

/// Decides whether `address` may be connected to.
///
/// # Errors
/// [`Refused`] for an address that is not public, unless a range of the rules holds it.
pub fn decide(address: IpAddr, rules: &Rules) -> Result<(), Refused> {
    let Some(kind) = kind(address) else { return Ok(()) };
    let allowed = |a: IpAddr| rules.allow.iter().any(|range| range.contains(&a));
    // A v4 address in v6 clothes is the v4 address: a rule for either allows it.
    if allowed(address) || allowed(address.to_canonical()) {
        return Ok(());
    }
    Err(Refused { address, kind })
}

/// Says what is special about an address; `None` for a public one.
fn kind(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => kind_v4(v4),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => kind_v4(v4).or_else(|| kind_v6(v6)),
            None => kind_v6(v6),
        },
    }
}

// The special-purpose registries of IANA, as far as they are not globally reachable.
fn kind_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("unspecified"),
        [127, ..] => Some("loopback"),
        [169, 254, ..] => Some("link-local"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("private"),
        [100, 64..=127, ..] => Some("shared by carriers"),
        [192, 0, 0, _] | [192, 88, 99, _] => Some("reserved for protocols"),
        [198, 18..=19, ..] => Some("reserved for benchmarks"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("reserved for examples"),
        [224..=239, ..] => Some("multicast"),
        [240..=255, ..] => Some("reserved"),
        _ => None,
    }
}

fn kind_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        return Some("unspecified");
    }
    if address.is_loopback() {
        return Some("loopback");
    }
    match address.segments() {
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xfc00..=0xfdff, ..] => Some("unique local"),
        [0xfec0..=0xfeff, ..] => Some("site-local"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("reserved for examples"),
        // Teredo and 6to4 carry v4 packets to wherever their bits say.
        [0x2001, 0, ..] | [0x2002, ..] => Some("a tunnel"),
        [0x2001, 0..=0x1ff, ..] => Some("reserved for protocols"),
        [0x64, 0xff9b, 1, ..] => Some("translated within a network"),
        // Nobody publishes one honestly; it is a way around rules about v4 addresses.
        [0, 0, 0, 0, 0, 0xffff, ..] => Some("a mapped v4 address"),
        // What is not in the global unicast space, but for the well-known NAT64 prefix.
        [0x2000..=0x3fff, ..] | [0x64, 0xff9b, 0, ..] => None,
        _ => Some("reserved"),
    }
}

/// The v4 address inside a mapped, compatible or NAT64 one.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refused(address: &str, rules: &Rules) -> bool {
        decide(address.parse().unwrap(), rules).is_err()
    }

    fn allowing(ranges: &[&str]) -> Rules {
        Rules { allow: ranges.iter().map(|r| r.parse().unwrap()).collect() }
    }

    #[test]
    fn addresses_that_are_not_public_are_refused() {
        let special = [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.255.255.254",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "febf::1",
            "fc00::1",
            "fd12:3456::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2002::1",
            "2001::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "fd00:ec2::254",
        ];
        for address in special {
            assert!(refused(address, &Rules::default()), "{address}");
        }
    }

    #[test]
    fn public_addresses_are_reached() {
        for address in [
            "8.8.8.8",
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2a00:1450::8",
            "64:ff9b::8.8.8.8",
            "198.20.0.1",
            "223.255.255.255",
        ] {
            assert!(!refused(address, &Rules::default()), "{address}");
        }
    }

    #[test]
    fn an_allowed_range_is_reached_and_nothing_beside_it() {
        let rules = allowing(&["10.1.0.0/16", "::1/128"]);
        for address in ["10.1.2.3", "::ffff:10.1.2.3", "::1"] {
            assert!(!refused(address, &rules), "{address}");
        }
        for address in ["10.2.0.1", "127.0.0.1", "fe80::1"] {
            assert!(refused(address, &rules), "{address}");
        }
    }

    #[test]
    fn a_refusal_says_what_the_address_is() {
        let refused = decide("169.254.169.254".parse().unwrap(), &Rules::default()).unwrap_err();
        assert_eq!(refused.to_string(), "169.254.169.254 is link-local");
    }
}
