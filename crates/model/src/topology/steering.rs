//! What statements may ask for themselves, and where statements go that are not for the service's own servers.
//!
//! It owns who may use hints; it takes no decision: the proxy does.

use std::collections::BTreeSet;

use serde::Serialize;

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
