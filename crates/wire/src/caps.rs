//! Capability flags of the handshake.
//!
//! Owns the flags that client and server negotiate: MySQL's 32, and MariaDB's own above them, which
//! exist only between two that leave the first bit unset. The two sides of a proxy have independent
//! sets: never copy one side's flags to the other. Values come from the greeting and the handshake
//! response (MySQL documentation, "Capabilities Flags"; MariaDB documentation, "Capabilities").

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Not};

/// A set of capability flags.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Capabilities(pub u64);

const NAMES: [(Capabilities, &str); 33] = [
    (Capabilities::LONG_PASSWORD, "LONG_PASSWORD"),
    (Capabilities::FOUND_ROWS, "FOUND_ROWS"),
    (Capabilities::LONG_FLAG, "LONG_FLAG"),
    (Capabilities::CONNECT_WITH_DB, "CONNECT_WITH_DB"),
    (Capabilities::NO_SCHEMA, "NO_SCHEMA"),
    (Capabilities::COMPRESS, "COMPRESS"),
    (Capabilities::ODBC, "ODBC"),
    (Capabilities::LOCAL_FILES, "LOCAL_FILES"),
    (Capabilities::IGNORE_SPACE, "IGNORE_SPACE"),
    (Capabilities::PROTOCOL_41, "PROTOCOL_41"),
    (Capabilities::INTERACTIVE, "INTERACTIVE"),
    (Capabilities::SSL, "SSL"),
    (Capabilities::IGNORE_SIGPIPE, "IGNORE_SIGPIPE"),
    (Capabilities::TRANSACTIONS, "TRANSACTIONS"),
    (Capabilities::RESERVED, "RESERVED"),
    (Capabilities::SECURE_CONNECTION, "SECURE_CONNECTION"),
    (Capabilities::MULTI_STATEMENTS, "MULTI_STATEMENTS"),
    (Capabilities::MULTI_RESULTS, "MULTI_RESULTS"),
    (Capabilities::PS_MULTI_RESULTS, "PS_MULTI_RESULTS"),
    (Capabilities::PLUGIN_AUTH, "PLUGIN_AUTH"),
    (Capabilities::CONNECT_ATTRS, "CONNECT_ATTRS"),
    (
        Capabilities::PLUGIN_AUTH_LENENC_DATA,
        "PLUGIN_AUTH_LENENC_DATA",
    ),
    (
        Capabilities::CAN_HANDLE_EXPIRED_PASSWORDS,
        "CAN_HANDLE_EXPIRED_PASSWORDS",
    ),
    (Capabilities::SESSION_TRACK, "SESSION_TRACK"),
    (Capabilities::DEPRECATE_EOF, "DEPRECATE_EOF"),
    (
        Capabilities::OPTIONAL_RESULTSET_METADATA,
        "OPTIONAL_RESULTSET_METADATA",
    ),
    (
        Capabilities::ZSTD_COMPRESSION_ALGORITHM,
        "ZSTD_COMPRESSION_ALGORITHM",
    ),
    (Capabilities::QUERY_ATTRIBUTES, "QUERY_ATTRIBUTES"),
    (
        Capabilities::MULTI_FACTOR_AUTHENTICATION,
        "MULTI_FACTOR_AUTHENTICATION",
    ),
    (Capabilities::CAPABILITY_EXTENSION, "CAPABILITY_EXTENSION"),
    (
        Capabilities::SSL_VERIFY_SERVER_CERT,
        "SSL_VERIFY_SERVER_CERT",
    ),
    (Capabilities::REMEMBER_OPTIONS, "REMEMBER_OPTIONS"),
    (Capabilities::EXTENDED_METADATA, "EXTENDED_METADATA"),
];

impl Capabilities {
    /// No flag at all.
    pub const NONE: Self = Self(0);
    /// Improved version of the old password authentication; set by everyone.
    pub const LONG_PASSWORD: Self = Self(1 << 0);
    /// `affected_rows` counts matched rows instead of changed rows.
    pub const FOUND_ROWS: Self = Self(1 << 1);
    /// Column flags take two bytes.
    pub const LONG_FLAG: Self = Self(1 << 2);
    /// The handshake response names a default database.
    pub const CONNECT_WITH_DB: Self = Self(1 << 3);
    /// `database.table.column` is not allowed (obsolete).
    pub const NO_SCHEMA: Self = Self(1 << 4);
    /// Compressed protocol with zlib.
    pub const COMPRESS: Self = Self(1 << 5);
    /// The client is ODBC; without effect since 3.22.
    pub const ODBC: Self = Self(1 << 6);
    /// The client answers LOAD DATA LOCAL.
    pub const LOCAL_FILES: Self = Self(1 << 7);
    /// The parser allows blanks before `(`.
    pub const IGNORE_SPACE: Self = Self(1 << 8);
    /// The protocol of 4.1 and later.
    pub const PROTOCOL_41: Self = Self(1 << 9);
    /// `interactive_timeout` applies instead of `wait_timeout`.
    pub const INTERACTIVE: Self = Self(1 << 10);
    /// The connection is to be upgraded to TLS after the SSL request.
    pub const SSL: Self = Self(1 << 11);
    /// The client ignores SIGPIPE; means nothing on the wire.
    pub const IGNORE_SIGPIPE: Self = Self(1 << 12);
    /// Status flags are sent in OK and EOF.
    pub const TRANSACTIONS: Self = Self(1 << 13);
    /// Was CLIENT_PROTOCOL_41 in old drafts.
    pub const RESERVED: Self = Self(1 << 14);
    /// Authentication of 4.1 (named RESERVED2 since 8.0).
    pub const SECURE_CONNECTION: Self = Self(1 << 15);
    /// COM_QUERY may hold several statements.
    pub const MULTI_STATEMENTS: Self = Self(1 << 16);
    /// COM_QUERY may answer with several result sets.
    pub const MULTI_RESULTS: Self = Self(1 << 17);
    /// COM_STMT_EXECUTE may answer with several result sets.
    pub const PS_MULTI_RESULTS: Self = Self(1 << 18);
    /// Authentication plugins are named.
    pub const PLUGIN_AUTH: Self = Self(1 << 19);
    /// The handshake response carries connection attributes.
    pub const CONNECT_ATTRS: Self = Self(1 << 20);
    /// The authentication response has a length-encoded length.
    pub const PLUGIN_AUTH_LENENC_DATA: Self = Self(1 << 21);
    /// The client can change an expired password.
    pub const CAN_HANDLE_EXPIRED_PASSWORDS: Self = Self(1 << 22);
    /// OK packets carry session state changes.
    pub const SESSION_TRACK: Self = Self(1 << 23);
    /// OK packets stand where EOF packets stood.
    pub const DEPRECATE_EOF: Self = Self(1 << 24);
    /// Result sets say whether column definitions follow.
    pub const OPTIONAL_RESULTSET_METADATA: Self = Self(1 << 25);
    /// Compressed protocol with zstd.
    pub const ZSTD_COMPRESSION_ALGORITHM: Self = Self(1 << 26);
    /// COM_QUERY and COM_STMT_EXECUTE carry query attributes.
    pub const QUERY_ATTRIBUTES: Self = Self(1 << 27);
    /// Authentication may ask for several factors.
    pub const MULTI_FACTOR_AUTHENTICATION: Self = Self(1 << 28);
    /// Reserved to extend the flags beyond 32 bits.
    pub const CAPABILITY_EXTENSION: Self = Self(1 << 29);
    /// Client-side only: verify the server's certificate.
    pub const SSL_VERIFY_SERVER_CERT: Self = Self(1 << 30);
    /// Client-side only: keep options after a failed connect.
    pub const REMEMBER_OPTIONS: Self = Self(1 << 31);
    /// MariaDB: column definitions carry the name and format of types that have no code (JSON, UUID…).
    pub const EXTENDED_METADATA: Self = Self(1 << 35);

    /// The flags of MySQL's four bytes and of MariaDB's further four. These count only where the first
    /// bit is unset, which is how MariaDB and its clients show themselves.
    pub const fn from_wire(mysql: u32, mariadb: u32) -> Self {
        // Widening only: `u64::from` is not const.
        let low = Self(mysql as u64);
        if low.contains(Self::LONG_PASSWORD) {
            low
        } else {
            Self(mysql as u64 | (mariadb as u64) << 32)
        }
    }

    /// MySQL's four bytes.
    pub const fn mysql(self) -> u32 {
        (self.0 & 0xFFFF_FFFF) as u32
    }

    /// MariaDB's further four bytes; 0 where the first bit says MySQL.
    pub const fn mariadb(self) -> u32 {
        if self.contains(Self::LONG_PASSWORD) {
            0
        } else {
            (self.0 >> 32) as u32
        }
    }

    /// Whether every flag of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any flag of `other` is set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The flags of both.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The flags that both have.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The flags that only `self` has.
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Capabilities {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for Capabilities {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

impl BitAnd for Capabilities {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        self.intersection(other)
    }
}

impl Not for Capabilities {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

impl fmt::Debug for Capabilities {
    /// Names joined by `|`; bits without a name as one hexadecimal number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = *self;
        let mut separator = "";
        for (flag, name) in NAMES {
            if self.contains(flag) {
                write!(f, "{separator}{name}")?;
                separator = "|";
                rest = rest.difference(flag);
            }
        }
        if rest.0 != 0 {
            write!(f, "{separator}0x{:x}", rest.0)
        } else if separator.is_empty() {
            f.write_str("NONE")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cover_distinct_bits() {
        let mut seen = Capabilities::NONE;
        for (flag, name) in NAMES {
            assert_eq!(flag.0.count_ones(), 1, "{name}");
            assert!(!seen.intersects(flag), "{name} twice");
            seen |= flag;
        }
    }

    #[test]
    fn debug_lists_names() {
        let caps = Capabilities::PROTOCOL_41 | Capabilities::SSL;
        assert_eq!(format!("{caps:?}"), "PROTOCOL_41|SSL");
        assert_eq!(format!("{:?}", Capabilities::NONE), "NONE");
    }

    #[test]
    fn known_values() {
        assert_eq!(Capabilities::SESSION_TRACK.0, 0x0080_0000);
        assert_eq!(Capabilities::DEPRECATE_EOF.0, 0x0100_0000);
        assert_eq!(Capabilities::QUERY_ATTRIBUTES.0, 0x0800_0000);
        assert_eq!(Capabilities::EXTENDED_METADATA.mariadb(), 8);
    }

    #[test]
    fn mariadbs_flags_count_only_without_the_first_bit() {
        let both = Capabilities::from_wire(0x200, 8);
        assert_eq!(
            both,
            Capabilities::PROTOCOL_41 | Capabilities::EXTENDED_METADATA
        );
        assert_eq!((both.mysql(), both.mariadb()), (0x200, 8));
        let mysql = Capabilities::from_wire(0x201, 8);
        assert_eq!((mysql.mysql(), mysql.mariadb()), (0x201, 0));
        assert_eq!((both | Capabilities::LONG_PASSWORD).mariadb(), 0);
    }
}
