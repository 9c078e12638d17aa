//! What statements may ask for themselves, and where statements go that are not for the service's own servers.
//!
//! It owns who may use hints, which statements are shadow statements, and which site owns a key; it sends nothing anywhere:
//! the proxy does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use regex::RegexSet;
use serde::Serialize;

use super::Endpoint;

/// Copies that wait or run at a time.
pub const MIRROR_MAX_COPIES_DEFAULT: u32 = 100;
/// Connections for copies.
pub const MIRROR_CONNECTIONS_DEFAULT: u32 = 4;
/// How long a copy may take, waiting included.
pub const MIRROR_TIMEOUT_MS_DEFAULT: u64 = 5_000;

/// Who may ask for what in comments and query attributes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase", tag = "mode", content = "users")]
pub enum HintPolicy {
    /// Comments are comments.
    Off,
    /// Every user, but nobody may choose a server; the default.
    Everybody,
    /// These users, and all hints.
    Listed(BTreeSet<String>),
}

/// What a user's hints may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HintRights {
    /// Hints are not looked for.
    NotRead,
    /// None.
    Nothing,
    /// All that do not choose a server.
    Plain,
    /// All.
    Everything,
}

impl HintPolicy {
    /// What this user's hints may do.
    #[must_use]
    pub fn rights_of(&self, user: &str) -> HintRights {
        match self {
            Self::Off => HintRights::NotRead,
            Self::Everybody => HintRights::Plain,
            Self::Listed(users) if users.contains(user) => HintRights::Everything,
            Self::Listed(_) => HintRights::Nothing,
        }
    }
}

/// Statements that run on a shadow endpoint instead.
#[derive(Debug, Clone)]
pub struct Shadow {
    /// Where they run; of role `shadow`, and no endpoint of the service.
    pub endpoint: Arc<Endpoint>,
    /// Which they are, beside those with the hint.
    pub rules: Vec<ShadowRule>,
}

/// Which statements are shadow statements: all that is given must hold, and something is given.
#[derive(Debug, Clone)]
pub struct ShadowRule {
    /// Its name.
    pub name: String,
    /// One of these matches the text.
    pub regexes: Option<RegexSet>,
    /// The session's user is one of these.
    pub users: Option<BTreeSet<String>>,
    /// The statement's hints have these tags.
    pub tags: BTreeMap<String, String>,
    /// One of these has such a value, where there are any.
    pub columns: Vec<ShadowColumn>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnRef {
    /// The schema; any if none.
    pub schema: Option<String>,
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
}

/// What is done with rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RowOperation {
    /// INSERT, REPLACE, LOAD DATA.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// SELECT and the like.
    Select,
}

/// A column, and the values that make a statement a shadow statement.
#[derive(Debug, Clone)]
pub struct ShadowColumn {
    /// The column.
    pub column: ColumnRef,
    /// What is done with the rows; everything if none.
    pub operations: Option<BTreeSet<RowOperation>>,
    /// The values.
    pub values: BTreeSet<String>,
    /// Or one of these matches.
    pub regexes: Option<RegexSet>,
}

impl ShadowColumn {
    /// Whether a value is one of those.
    #[must_use]
    pub fn is_match(&self, value: &[u8]) -> bool {
        std::str::from_utf8(value).is_ok_and(|value| {
            self.values.contains(value) || self.regexes.as_ref().is_some_and(|r| r.is_match(value))
        })
    }
}

impl ShadowRule {
    /// Whether the rule asks for nothing but the user.
    #[must_use]
    pub fn is_of_users_only(&self) -> bool {
        self.regexes.is_none() && self.tags.is_empty() && self.columns.is_empty()
    }
}

/// Whether writes are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum MirrorWrites {
    /// Never; the default.
    Never,
    /// Those that commit by themselves.
    Autocommit,
}

/// Statements of which a copy runs elsewhere too.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// Where copies run; of role `shadow`, and no endpoint of the service.
    pub endpoint: Arc<Endpoint>,
    /// Of a hundred; 1 to 100.
    pub percent: u32,
    /// Whether writes are copied.
    pub writes: MirrorWrites,
    /// Copies that wait or run at a time; at least 1.
    pub max_copies: u32,
    /// Connections for copies; at least 1.
    pub connections: u32,
    /// How long a copy may take; at least 1.
    pub timeout_ms: u64,
}

/// What becomes of a statement whose key belongs to another site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Foreign {
    /// An error names the site; the default.
    Refuse,
    /// The site's endpoint executes it; every other site has one.
    Forward,
}

/// What becomes of a statement that no site claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Unowned {
    /// It is an error.
    Refuse,
    /// It runs here.
    Home,
}

/// Which site owns which keys.
#[derive(Debug, Clone)]
pub struct Units {
    /// This proxy's site; one of `sites`.
    pub site: String,
    /// All sites; names differ, and no key has two.
    pub sites: Vec<Site>,
    /// Keys that are not written now.
    pub moving: BTreeSet<String>,
    /// Keys of other sites.
    pub foreign: Foreign,
    /// Keys of no site; refused by default.
    pub unknown_keys: Unowned,
    /// Writes without a key; at home by default.
    pub without_key: Unowned,
    /// Columns whose values are keys.
    pub columns: Vec<ColumnRef>,
}

/// A site.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// Keys that it owns.
    pub keys: BTreeSet<String>,
    /// Ranges of whole numbers that it owns, ends included, where no site has the key itself.
    pub ranges: Vec<(u64, u64)>,
    /// What executes its statements when they are forwarded.
    pub endpoint: Option<Arc<Endpoint>>,
}

impl Units {
    /// The site that owns a key.
    #[must_use]
    pub fn site_of(&self, key: &str) -> Option<&Site> {
        if let Some(site) = self.sites.iter().find(|site| site.keys.contains(key)) {
            return Some(site);
        }
        // `007` and `+7` are other keys than `7`.
        let number: u64 = key.parse().ok().filter(|n: &u64| n.to_string() == key)?;
        let holds = |range: &(u64, u64)| (range.0..=range.1).contains(&number);
        self.sites.iter().find(|site| site.ranges.iter().any(holds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_belongs_to_one_site() {
        let site = |name: &str, keys: &[&str], ranges: &[(u64, u64)]| Site {
            name: name.into(),
            keys: keys.iter().map(|k| (*k).to_owned()).collect(),
            ranges: ranges.to_vec(),
            endpoint: None,
        };
        let units = Units {
            site: "a".into(),
            sites: vec![
                site("a", &["x", "150"], &[(0, 99)]),
                site("b", &["y", "7"], &[(100, u64::MAX)]),
            ],
            moving: BTreeSet::new(),
            foreign: Foreign::Refuse,
            unknown_keys: Unowned::Refuse,
            without_key: Unowned::Home,
            columns: Vec::new(),
        };
        let owner = |key: &str| units.site_of(key).map(|s| s.name.as_str());
        for (key, expected) in [
            ("x", Some("a")),
            ("y", Some("b")),
            ("0", Some("a")),
            ("99", Some("a")),
            ("7", Some("b")),
            ("100", Some("b")),
            ("150", Some("a")),
            ("18446744073709551615", Some("b")),
            ("18446744073709551616", None),
            ("07", None),
            ("+8", None),
            ("-1", None),
            ("", None),
            ("X", None),
        ] {
            assert_eq!(owner(key), expected, "{key:?}");
        }
    }
}
