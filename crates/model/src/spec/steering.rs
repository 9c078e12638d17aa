//! What a TrafficStrategy says of statements that ask for something themselves, and of those that do not go the usual way:
//! hints, shadow, mirror, units.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// Who may ask for what in comments and query attributes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HintsSpec {
    /// Whether hints are followed; `on` if absent.
    pub mode: Option<HintsModeSpec>,
    /// Users whose hints are followed, all hints included. If absent, those of every user, except for hints that choose
    /// a server (`endpoint`, `shadow`), which nobody may use.
    #[schemars(length(min = 1))]
    pub users: Option<Vec<String>>,
}

/// Whether hints are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HintsModeSpec {
    /// They are, and what cannot be followed is an error.
    On,
    /// Comments are comments, and attributes the server's.
    Off,
}

/// Statements that run on a shadow endpoint instead.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShadowSpec {
    /// Name of a DatabaseEndpoint with role `shadow`.
    pub endpoint: String,
    /// Which statements, beside those with the hint `shadow`; one rule that matches is enough.
    pub rules: Option<Vec<ShadowRuleSpec>>,
}

/// Which statements are shadow statements: those for which all conditions hold; at least one.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShadowRuleSpec {
    /// Name of the rule.
    pub name: String,
    /// Expressions, of which one must match somewhere in the statement's text.
    #[schemars(length(min = 1, max = 1000))]
    pub regex: Option<Vec<String>>,
    /// Users, of whom the session's is one.
    #[schemars(length(min = 1))]
    pub users: Option<Vec<String>>,
    /// Tags that hints of the statement must have, with their values.
    pub tags: Option<BTreeMap<String, String>>,
    /// Columns, of which one must have such a value in all rows that the statement writes or asks for.
    #[schemars(length(min = 1, max = 100))]
    pub columns: Option<Vec<ShadowColumnSpec>>,
}

/// A column, and the values that make a statement a shadow statement.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShadowColumnSpec {
    /// The table: `schema.table`, or `table` in any schema.
    pub table: String,
    /// The column.
    pub column: String,
    /// What is done with the rows; everything if absent.
    #[schemars(length(min = 1))]
    pub operations: Option<Vec<RowOperationSpec>>,
    /// The values.
    #[schemars(length(min = 1, max = 1000))]
    pub values: Option<Vec<String>>,
    /// Expressions, of which one must match somewhere in the value.
    #[schemars(length(min = 1, max = 1000))]
    pub regex: Option<Vec<String>>,
}

/// What is done with rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RowOperationSpec {
    /// INSERT, REPLACE, LOAD DATA.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// SELECT and the like.
    Select,
}

/// Statements of which a copy runs elsewhere too.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MirrorSpec {
    /// Name of a DatabaseEndpoint with role `shadow`.
    pub endpoint: String,
    /// Of a hundred statements that can be copied, how many are.
    #[schemars(range(min = 1, max = 100))]
    pub percent: u32,
    /// Whether writes that commit by themselves are copied as well; false if absent.
    pub writes: Option<bool>,
    /// Copies that wait or run at a time, beyond which none is made; 100 if absent.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_copies: Option<u32>,
    /// Connections for copies; 4 if absent.
    #[schemars(range(min = 1, max = 1_000))]
    pub connections: Option<u32>,
    /// Milliseconds that a copy may take, waiting included; 5000 if absent.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub timeout_ms: Option<u64>,
}

/// Which site owns which keys, in an active-active deployment.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnitsSpec {
    /// This proxy's own site, one of `sites`.
    pub site: String,
    /// All sites.
    #[schemars(length(min = 1))]
    pub sites: Vec<SiteSpec>,
    /// Keys that are on their way to another site: they are not written.
    pub moving: Option<Vec<String>>,
    /// What becomes of a statement whose key belongs to another site; `refuse` if absent.
    pub foreign: Option<ForeignSpec>,
    /// What becomes of a statement whose key belongs to no site; `refuse` if absent.
    pub unknown_keys: Option<UnownedSpec>,
    /// What becomes of a write without a key; `home` if absent.
    pub without_key: Option<UnownedSpec>,
    /// Columns whose values are keys.
    #[schemars(length(min = 1, max = 100))]
    pub columns: Option<Vec<UnitColumnSpec>>,
}

/// A column whose values are keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnitColumnSpec {
    /// The table: `schema.table`, or `table` in any schema.
    pub table: String,
    /// The column.
    pub column: String,
}

/// A site and the keys that it owns.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SiteSpec {
    /// Name of the site.
    pub name: String,
    /// Keys, as they are.
    pub keys: Option<Vec<String>>,
    /// Ranges of keys that are whole numbers. A key in `keys` of any site is not looked for in ranges.
    pub ranges: Option<Vec<KeyRangeSpec>>,
    /// Name of the DatabaseEndpoint that takes the site's statements, with `foreign: forward`.
    pub endpoint: Option<String>,
}

/// Whole numbers from one to another, both included.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRangeSpec {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
}

/// What becomes of a statement whose key belongs to another site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ForeignSpec {
    /// An error names the site.
    Refuse,
    /// The site's endpoint executes it.
    Forward,
}

/// What becomes of a statement that no site claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum UnownedSpec {
    /// It is an error.
    Refuse,
    /// It runs here.
    Home,
}
