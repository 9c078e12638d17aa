//! The PROXY protocol, versions 1 and 2, from balancers that are trusted.
//!
//! Owns the decoding of its header with strict bounds. It must never be read from a peer outside the listed networks: such
//! a peer could claim any address. Source: "The PROXY protocol, versions 1 & 2".

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header that is read: version 1 has 107 bytes at most, version 2 is held to this with its extensions.
pub const HEADER_BYTES_MAX: usize = 1024;

const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What the bytes so far say.
#[derive(Debug, PartialEq, Eq)]
pub enum Header {
    /// More bytes are needed.
    Incomplete,
    /// The header is `bytes` long; the client's address, unless the balancer speaks for itself.
    Complete {
        /// Length of the header, in bytes.
        bytes: usize,
        /// The client.
        source: Option<SocketAddr>,
    },
    /// No header, or a broken one.
    Invalid(&'static str),
}

/// Decodes a header at the start of `input`.
#[must_use]
pub fn decode(input: &[u8]) -> Header {
    let seen = input.len().min(V2_SIGNATURE.len());
    if input.get(..seen) == V2_SIGNATURE.get(..seen) && seen > 0 && input.first() == Some(&b'\r') {
        return decode_v2(input);
    }
    let seen = input.len().min(6);
    if input.get(..seen) == b"PROXY ".get(..seen) {
        return decode_v1(input);
    }
    Header::Invalid("no PROXY protocol header")
}

fn decode_v1(input: &[u8]) -> Header {
    const LINE_BYTES_MAX: usize = 107;
    let Some(end) = input
        .windows(2)
        .take(LINE_BYTES_MAX)
        .position(|w| w == b"\r\n")
    else {
        return if input.len() >= LINE_BYTES_MAX {
            Header::Invalid("line too long")
        } else {
            Header::Incomplete
        };
    };
    let bytes = end + 2;
    let Some(Ok(line)) = input.get(..end).map(std::str::from_utf8) else {
        return Header::Invalid("not ASCII");
    };
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Header::Complete {
            bytes,
            source: None,
        };
    }
    let (Some(source), Some(_), Some(port)) = (words.next(), words.next(), words.next()) else {
        return Header::Invalid("too few words");
    };
    let address: Option<IpAddr> = match family {
        Some("TCP4") => source.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        Some("TCP6") => source.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    match (address, port.parse()) {
        (Some(ip), Ok(port)) => Header::Complete {
            bytes,
            source: Some(SocketAddr::new(ip, port)),
        },
        _ => Header::Invalid("bad address"),
    }
}

fn decode_v2(input: &[u8]) -> Header {
    let Some(&[version_command, family, l0, l1]) =
        input.get(12..16).and_then(|h| h.first_chunk::<4>())
    else {
        return Header::Incomplete;
    };
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    let bytes = 16 + len;
    if version_command >> 4 != 2 {
        return Header::Invalid("version is not 2");
    }
    if bytes > HEADER_BYTES_MAX {
        return Header::Invalid("header too long");
    }
    let Some(body) = input.get(16..bytes) else {
        return Header::Incomplete;
    };
    match (version_command & 15, family) {
        (0, _) => Header::Complete {
            bytes,
            source: None,
        },
        (1, 0x11) => match body.first_chunk::<12>() {
            Some(&[a, b, c, d, _, _, _, _, p0, p1, _, _]) => {
                let ip = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
                Header::Complete {
                    bytes,
                    source: Some(SocketAddr::new(ip, u16::from_be_bytes([p0, p1]))),
                }
            }
            None => Header::Invalid("IPv4 addresses cut short"),
        },
        (1, 0x21) => match (body.first_chunk::<16>(), body.get(32..34)) {
            (Some(ip), Some(&[p0, p1])) => {
                let ip = IpAddr::V6(Ipv6Addr::from(*ip));
                Header::Complete {
                    bytes,
                    source: Some(SocketAddr::new(ip, u16::from_be_bytes([p0, p1]))),
                }
            }
            _ => Header::Invalid("IPv6 addresses cut short"),
        },
        (1, _) => Header::Complete {
            bytes,
            source: None,
        },
        _ => Header::Invalid("unknown command"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1() {
        let header = b"PROXY TCP4 192.0.2.7 192.0.2.8 56324 3306\r\nrest";
        let source = Some("192.0.2.7:56324".parse().unwrap());
        assert_eq!(
            decode(header),
            Header::Complete {
                bytes: header.len() - 4,
                source
            }
        );
        assert_eq!(
            decode(b"PROXY UNKNOWN\r\n"),
            Header::Complete {
                bytes: 15,
                source: None
            }
        );
        assert_eq!(decode(b"PROXY TCP4 192.0"), Header::Incomplete);
        assert_eq!(
            decode(b"PROXY TCP4 x y 1 2\r\n"),
            Header::Invalid("bad address")
        );
        assert_eq!(
            decode(&[b"PROXY ".as_slice(), &[b'x'; 200]].concat()),
            Header::Invalid("line too long")
        );
        assert_eq!(
            decode(b"\x10\x00\x00\x01"),
            Header::Invalid("no PROXY protocol header")
        );
    }

    #[test]
    fn version_2() {
        let mut header = V2_SIGNATURE.to_vec();
        header.extend_from_slice(&[
            0x21, 0x11, 0, 12, 192, 0, 2, 7, 192, 0, 2, 8, 0xDC, 4, 0x0C, 0xEA,
        ]);
        let source = Some("192.0.2.7:56324".parse().unwrap());
        assert_eq!(decode(&header), Header::Complete { bytes: 28, source });
        for cut in 1..header.len() {
            assert_eq!(decode(&header[..cut]), Header::Incomplete, "{cut}");
        }
        header[14] = 0xFF;
        assert_eq!(decode(&header), Header::Invalid("header too long"));
    }

    #[test]
    fn any_bytes_are_survived() {
        let mut state = 1u64;
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..40)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    (state >> 56) as u8
                })
                .collect();
            let _ = decode(&bytes);
            let _ = decode(&[V2_SIGNATURE.as_slice(), &bytes].concat());
        }
    }
}
