//! Who may do what with which tables, and the allow-list of a service.
//!
//! It owns the rights as resolved; it judges nothing: `plan` and the proxy do.

use std::path::PathBuf;

use serde::Serialize;

use super::Network;

/// Texts of one user that a firewall learns.
pub const FIREWALL_DIGESTS_DEFAULT: u32 = 10_000;

/// What a user's logins must meet, and what the user may do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rights {
    /// Networks that logins come from; empty: all, and Unix sockets.
    pub networks: Vec<Network>,
    /// Whether logins need TLS or a Unix socket.
    pub require_tls: bool,
    /// Seconds since 1970 before which logins are refused.
    pub valid_from: Option<u64>,
    /// Seconds since 1970 from which logins are refused.
    pub valid_until: Option<u64>,
    /// Whether only statements run that are proved to read.
    pub read_only: bool,
    /// What may be done; none: everything.
    pub grants: Option<Vec<Grant>>,
}

impl Rights {
    /// What a user has that is no more.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            grants: Some(Vec::new()),
            ..Self::default()
        }
    }

    /// Whether statements need not be looked at.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        !self.read_only && self.grants.is_none()
    }
}

/// What may be done with some tables.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// Schemas and tables, each with `*` for any letters.
    pub tables: Vec<(String, String)>,
    /// What.
    pub allow: Vec<Right>,
    /// The only columns that may be named, in lower case.
    pub columns: Option<Vec<String>>,
}

/// Something that may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Right {
    /// Rows are read.
    Read,
    /// Rows are changed.
    Write,
    /// Definitions are changed.
    Ddl,
    /// Stored routines run.
    Call,
    /// The server is administered.
    Admin,
}

impl Grant {
    /// Whether it speaks of a table. The case of letters counts: what is not sure to be meant is not.
    #[must_use]
    pub fn covers(&self, schema: &str, table: &str) -> bool {
        let mut patterns = self.tables.iter();
        patterns.any(|(s, t)| matches(s, schema) && matches(t, table))
    }

    /// Whether it speaks of some table of a schema.
    #[must_use]
    pub fn reaches(&self, schema: &str) -> bool {
        self.tables.iter().any(|(s, _)| matches(s, schema))
    }

    /// Whether it speaks of everything.
    #[must_use]
    pub fn is_of_all(&self) -> bool {
        self.tables.iter().any(|(s, t)| s == "*" && t == "*") && self.columns.is_none()
    }
}

/// Whether a name matches a pattern with `*` for any letters.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((first, rest)) => {
            let Some(left) = name.strip_prefix(first) else {
                return false;
            };
            let places = left.char_indices().map(|(at, _)| at).chain([left.len()]);
            let mut tails = places.filter_map(|at| left.get(at..));
            tails.any(|tail| matches(rest, tail))
        }
    }
}

/// The allow-list of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Firewall {
    /// What it does.
    pub mode: FirewallMode,
    /// Where it is kept.
    pub file: PathBuf,
    /// Texts of one user that are learned at most; at least 1.
    pub max_digests: u32,
}

/// What a firewall does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FirewallMode {
    /// What comes is added.
    Learn,
    /// What is not on it is counted and told.
    Warn,
    /// What is not on it is refused.
    Enforce,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_grants_count_letters_as_they_are() {
        assert!(matches("app", "app") && matches("*", "") && matches("a*c", "abbc"));
        assert!(matches("*_log", "a_log") && matches("a*b*", "axbx"));
        assert!(!matches("app", "App") && !matches("a*c", "ab") && !matches("", "a"));
    }
}
