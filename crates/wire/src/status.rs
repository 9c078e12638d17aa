//! Server status flags of OK and EOF packets.
//!
//! Owns the 16 flags by which a server reports the state of its session. The proxy never forwards
//! them blindly: MORE_RESULTS and CURSOR_EXISTS are promises that it must then keep. Values come
//! from a server's replies (MySQL documentation, "SERVER_STATUS_flags_enum").

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Not};

/// A set of server status flags.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Status(pub u16);

const NAMES: [(Status, &str); 15] = [
    (Status::IN_TRANS, "IN_TRANS"),
    (Status::AUTOCOMMIT, "AUTOCOMMIT"),
    (Status::MORE_RESULTS, "MORE_RESULTS"),
    (Status::NO_GOOD_INDEX_USED, "NO_GOOD_INDEX_USED"),
    (Status::NO_INDEX_USED, "NO_INDEX_USED"),
    (Status::CURSOR_EXISTS, "CURSOR_EXISTS"),
    (Status::LAST_ROW_SENT, "LAST_ROW_SENT"),
    (Status::DB_DROPPED, "DB_DROPPED"),
    (Status::NO_BACKSLASH_ESCAPES, "NO_BACKSLASH_ESCAPES"),
    (Status::METADATA_CHANGED, "METADATA_CHANGED"),
    (Status::SLOW, "SLOW"),
    (Status::PS_OUT_PARAMS, "PS_OUT_PARAMS"),
    (Status::IN_TRANS_READONLY, "IN_TRANS_READONLY"),
    (Status::SESSION_STATE_CHANGED, "SESSION_STATE_CHANGED"),
    (Status::ANSI_QUOTES, "ANSI_QUOTES"),
];

impl Status {
    /// No flag at all.
    pub const NONE: Self = Self(0);
    /// A transaction is open.
    pub const IN_TRANS: Self = Self(0x0001);
    /// Autocommit is on.
    pub const AUTOCOMMIT: Self = Self(0x0002);
    /// Another result follows this one.
    pub const MORE_RESULTS: Self = Self(0x0008);
    /// No good index was found.
    pub const NO_GOOD_INDEX_USED: Self = Self(0x0010);
    /// No index was used.
    pub const NO_INDEX_USED: Self = Self(0x0020);
    /// A read-only cursor is open; rows come by COM_STMT_FETCH.
    pub const CURSOR_EXISTS: Self = Self(0x0040);
    /// The cursor's last row was sent.
    pub const LAST_ROW_SENT: Self = Self(0x0080);
    /// The default database was dropped.
    pub const DB_DROPPED: Self = Self(0x0100);
    /// sql_mode NO_BACKSLASH_ESCAPES is on.
    pub const NO_BACKSLASH_ESCAPES: Self = Self(0x0200);
    /// A re-prepared statement has other columns than before.
    pub const METADATA_CHANGED: Self = Self(0x0400);
    /// The statement was slow.
    pub const SLOW: Self = Self(0x0800);
    /// The result set holds OUT parameters of a procedure.
    pub const PS_OUT_PARAMS: Self = Self(0x1000);
    /// The open transaction is read-only.
    pub const IN_TRANS_READONLY: Self = Self(0x2000);
    /// Session state changes follow in this OK.
    pub const SESSION_STATE_CHANGED: Self = Self(0x4000);
    /// MariaDB: sql_mode ANSI_QUOTES is on.
    pub const ANSI_QUOTES: Self = Self(0x8000);

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

impl BitOr for Status {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for Status {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

impl BitAnd for Status {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        self.intersection(other)
    }
}

impl Not for Status {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

impl fmt::Debug for Status {
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
        let mut seen = Status::NONE;
        for (flag, name) in NAMES {
            assert_eq!(flag.0.count_ones(), 1, "{name}");
            assert!(!seen.intersects(flag), "{name} twice");
            seen |= flag;
        }
    }

    #[test]
    fn unnamed_bits_are_shown() {
        assert_eq!(format!("{:?}", Status(0x0007)), "IN_TRANS|AUTOCOMMIT|0x4");
    }
}
