//! Who may do what: what a user's login must meet, what the user may touch, and the allow-list of a service.

use schemars::JsonSchema;
use serde::Deserialize;

/// What a user may do with some tables.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantSpec {
    /// Tables: `schema.table` or `schema.*`, with `*` for any letters. Case of letters counts.
    #[schemars(length(min = 1, max = 1000))]
    pub tables: Vec<String>,
    /// What may be done with them.
    #[schemars(length(min = 1))]
    pub allow: Vec<RightSpec>,
    /// The only columns that may be named; all if absent.
    #[schemars(length(min = 1, max = 1000))]
    pub columns: Option<Vec<String>>,
}

/// Something that may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RightSpec {
    /// Rows are read.
    Read,
    /// Rows are changed.
    Write,
    /// Definitions are changed.
    Ddl,
    /// Stored routines run, whose doing is not seen; only with the tables `*.*`.
    Call,
    /// The server is administered; only with the tables `*.*`.
    Admin,
}

/// The allow-list of normalised texts, by user.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FirewallSpec {
    /// What it does.
    pub mode: FirewallModeSpec,
    /// The file that keeps what was learned.
    pub file: String,
    /// Texts of one user that are learned at most; 10000 if absent.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_digests: Option<u32>,
}

/// What a firewall does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FirewallModeSpec {
    /// What comes is added to the list.
    Learn,
    /// What is not on the list is counted, and told the client as a warning.
    Warn,
    /// What is not on the list is refused.
    Enforce,
}
