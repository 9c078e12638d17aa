//! What a TrafficStrategy says of statements in its `rules`: which ones, and what becomes of them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// What becomes of the statements that a rule matches. Exactly one of `action`, `rateLimit`, `concurrencyLimit`,
/// `timeoutMs`, `delayMs`, `route` and `tag` is given.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleSpec {
    /// Name, unique in the strategy: errors, warnings, logs and metrics show it.
    pub name: String,
    /// Whether the rule acts; `enforce` if absent.
    pub mode: Option<RuleModeSpec>,
    /// Which statements; every one if absent.
    #[serde(rename = "match")]
    pub matches: Option<MatchSpec>,
    /// Statements that cannot be told to match: their text or their tables are not known. `match` for `action: deny`,
    /// else `pass`.
    pub unknown: Option<UnknownSpec>,
    /// Whether the statement is let through, past the rules that follow, or refused.
    pub action: Option<ActionSpec>,
    /// At most so many statements in a time.
    pub rate_limit: Option<RateLimitSpec>,
    /// At most so many statements at a time.
    pub concurrency_limit: Option<ConcurrencyLimitSpec>,
    /// Milliseconds that the statement may take at most, waiting included.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub timeout_ms: Option<u64>,
    /// Milliseconds that the statement waits before it begins.
    #[schemars(range(min = 1, max = 60_000))]
    pub delay_ms: Option<u64>,
    /// Where the statement runs, as a hint would say it.
    pub route: Option<RouteSpec>,
    /// Tags that the statement gets, with their values: rules that follow, logs and listings see them.
    pub tag: Option<BTreeMap<String, String>>,
}

/// Whether a rule acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RuleModeSpec {
    /// It is not looked at.
    Off,
    /// What it would do is counted, and told the client as a warning.
    Warn,
    /// It acts.
    Enforce,
}

/// Statements that cannot be told to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum UnknownSpec {
    /// They match.
    Match,
    /// They do not.
    Pass,
}

/// Whether a statement is let through or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ActionSpec {
    /// Let through: rules that follow are not looked at.
    Allow,
    /// Refused.
    Deny,
}

/// Which statements a rule means: those for which all that is given holds.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatchSpec {
    /// Digests, as `EXPLAIN MESH` shows them: 16 hexadecimal digits.
    #[schemars(length(min = 1, max = 1000))]
    pub digests: Option<Vec<String>>,
    /// Regular expressions, one of which matches the normalised text: keywords in capitals, one blank between words, `?`
    /// for literals.
    #[schemars(length(min = 1, max = 1000))]
    pub regex: Option<Vec<String>>,
    /// Regular expressions, one of which matches the text as it came, or the same without comments.
    #[schemars(length(min = 1, max = 1000))]
    pub text_regex: Option<Vec<String>>,
    /// Verbs, such as `select`, `insert`, `drop`.
    #[schemars(length(min = 1))]
    pub verbs: Option<Vec<String>>,
    /// Classes: `read`, `write`, `ddl`, `tcl`, `session`, `admin`, `show`, `unknown`.
    #[schemars(length(min = 1))]
    pub classes: Option<Vec<String>>,
    /// Tables, one of which is used: `schema.table` or `table`, each with `*` for any letters.
    #[schemars(length(min = 1, max = 1000))]
    pub tables: Option<Vec<String>>,
    /// How a table of `tables` or `columns` is used; `any` if absent.
    pub access: Option<AccessSpec>,
    /// Columns, one of which may be used: `schema.table.column` or `table.column`, with `*`.
    #[schemars(length(min = 1, max = 1000))]
    pub columns: Option<Vec<String>>,
    /// Clauses, one of which is missing.
    #[schemars(length(min = 1))]
    pub without: Option<Vec<ClauseSpec>>,
    /// Users, of whom the session's is one.
    #[schemars(length(min = 1))]
    pub users: Option<Vec<String>>,
    /// Networks, one of which has the client: `10.0.0.0/8`.
    #[schemars(length(min = 1))]
    pub networks: Option<Vec<String>>,
    /// Tags that the statement has, by hint or by rule, with their values.
    pub tags: Option<BTreeMap<String, String>>,
    /// Times, one of which is now.
    #[schemars(length(min = 1))]
    pub times: Option<Vec<TimeSpec>>,
}

/// How a table is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AccessSpec {
    /// Read only.
    Read,
    /// Changed.
    Write,
    /// Either.
    Any,
}

/// A clause that bounds what a statement touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ClauseSpec {
    /// A WHERE that names a column, of a statement that reads or changes rows of tables.
    Where,
    /// A LIMIT, of a query, UPDATE or DELETE.
    Limit,
}

/// Hours of some days.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeSpec {
    /// Days; all if absent. A time over midnight belongs to the day on which it begins.
    #[schemars(length(min = 1))]
    pub days: Option<Vec<DaySpec>>,
    /// The first minute, as `22:00`; `00:00` if absent.
    pub from: Option<String>,
    /// The minute after the last, as `06:00`; `24:00` if absent.
    pub to: Option<String>,
    /// Minutes by which the hours are ahead of UTC; 0 if absent.
    #[schemars(range(min = -840, max = 840))]
    pub utc_offset_minutes: Option<i32>,
}

/// A day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DaySpec {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// At most so many statements in a time.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimitSpec {
    /// Statements.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub count: u32,
    /// Milliseconds in which they may begin; 1000 if absent.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub per_ms: Option<u64>,
    /// Statements that may begin at once after a pause; one more than are due in 100 milliseconds, at least 2, if absent.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub burst: Option<u32>,
    /// What has a count of its own: `database`, `table`, `digest`, `class`, `user`, `address`, `tenant`, `tag:NAME`. One
    /// count for all if absent.
    pub by: Option<Vec<String>>,
    /// Milliseconds that a statement waits for its turn; 0, refused at once, if absent.
    #[schemars(range(max = 600_000))]
    pub max_wait_ms: Option<u64>,
    /// Statements that wait at a time; 1000 if absent.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_waiting: Option<u32>,
}

/// At most so many statements at a time.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConcurrencyLimitSpec {
    /// Statements.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub count: u32,
    /// What has a count of its own, as in `rateLimit`.
    pub by: Option<Vec<String>>,
    /// Milliseconds that a statement waits for its turn; 0, refused at once, if absent.
    #[schemars(range(max = 600_000))]
    pub max_wait_ms: Option<u64>,
    /// Statements that wait at a time; 1000 if absent.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_waiting: Option<u32>,
}

/// Where a statement runs: one of the two is given.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteSpec {
    /// At an endpoint that serves in this role.
    pub role: Option<RouteRoleSpec>,
    /// At this endpoint of the service.
    pub endpoint: Option<String>,
}

/// A role to run at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RouteRoleSpec {
    /// The primary.
    Primary,
    /// A replica, if the statement is proved to read only.
    Replica,
}
