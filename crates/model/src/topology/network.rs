//! An IP network written as CIDR, for lists of trusted peers.
//!
//! It owns the parsing and the membership test; it never resolves names. Its input is a resource.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// An IP network: an address with its host bits clear, and a prefix length in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Whether `peer` is in this network. An IPv4 peer seen through an IPv6 socket
    /// (`::ffff:192.0.2.1`) counts as IPv4.
    pub fn contains(&self, peer: IpAddr) -> bool {
        masked(peer.to_canonical(), self.prefix_bits) == Some(self.address)
    }
}

/// The address with all but its first `prefix_bits` bits clear; nothing if it has fewer bits.
fn masked(address: IpAddr, prefix_bits: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => {
            let host_bits = 32u32.checked_sub(prefix_bits.into())?;
            let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
            Some(IpAddr::V4((v4.to_bits() & mask).into()))
        }
        IpAddr::V6(v6) => {
            let host_bits = 128u32.checked_sub(prefix_bits.into())?;
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            Some(IpAddr::V6((v6.to_bits() & mask).into()))
        }
    }
}

/// Why a text is not a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkError {
    /// The part before `/` is not an IPv4 or IPv6 address.
    Address,
    /// The part after `/` is not a number, or is more than the address has bits.
    Prefix,
    /// Bits beyond the prefix are set; the value is the network that was probably meant.
    HostBits(Network),
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkError::Address => f.write_str("the address is not an IPv4 or IPv6 address"),
            NetworkError::Prefix => {
                f.write_str("the prefix length is not a number of bits that the address has")
            }
            NetworkError::HostBits(_) => f.write_str("bits beyond the prefix length are set"),
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// Reads `192.0.2.0/24` or `2001:db8::/32`; an address alone is a network of one.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let prefix_bits = match prefix {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| NetworkError::Prefix)?
            }
            Some(_) => return Err(NetworkError::Prefix),
            None if address.is_ipv4() => 32,
            None => 128,
        };
        let clear = masked(address, prefix_bits).ok_or(NetworkError::Prefix)?;
        let network = Network {
            address: clear,
            prefix_bits,
        };
        if clear == address {
            Ok(network)
        } else {
            Err(NetworkError::HostBits(network))
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership_follows_the_prefix() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("192.0.2.0/24", "::ffff:192.0.2.9", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("::/0", "2001:db8::1", true),
            ("::1", "::1", true),
        ];
        for (network, peer, expected) in cases {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(
                parsed.contains(peer.parse().unwrap()),
                expected,
                "{network} {peer}"
            );
        }
    }

    #[test]
    fn what_is_no_network_says_why() {
        assert_eq!("10.0.0.0/33".parse::<Network>(), Err(NetworkError::Prefix));
        assert_eq!("10.0.0.0/+8".parse::<Network>(), Err(NetworkError::Prefix));
        assert_eq!("10.0.0.0/".parse::<Network>(), Err(NetworkError::Prefix));
        assert_eq!("::/129".parse::<Network>(), Err(NetworkError::Prefix));
        assert_eq!("host/8".parse::<Network>(), Err(NetworkError::Address));
        let meant = "10.0.0.0/8".parse().unwrap();
        assert_eq!(
            "10.1.2.3/8".parse::<Network>(),
            Err(NetworkError::HostBits(meant))
        );
    }
}
