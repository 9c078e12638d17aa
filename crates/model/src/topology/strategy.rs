//! How the statements of a service spread over its endpoints, and which of them are held back.
//!
//! It owns compiled rules; it takes no decision and holds no counter: the proxy does.

use std::sync::Arc;
use std::time::Duration;

use regex::RegexSet;
use serde::Serialize;

use super::{Endpoint, HintPolicy, Mirror, Name, RuleBook, Shadow, Splitting, Units};

/// Consecutive failures to connect after which an endpoint is ejected.
pub const EJECTION_CONNECT_FAILURES_DEFAULT: u32 = 3;
/// First ejection; each further one in a row is twice as long.
pub const EJECTION_BASE_MS_DEFAULT: u64 = 1_000;
/// Longest ejection.
pub const EJECTION_MAX_MS_DEFAULT: u64 = 30_000;

/// How an endpoint is chosen among those that may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// Any, evenly.
    Random,
    /// In turn.
    RoundRobin,
    /// In turn, by weight.
    Weighted,
    /// The one with the fewest statements under way.
    LeastConn,
    /// The better of two by latency times outstanding statements; the default.
    Ewma,
    /// The same one for the same key, while it is not overloaded.
    ConsistentHash,
}

/// How much more than its share an endpoint may have under way before others take its keys, in percent of the share.
pub const HASH_LOAD_PERCENT_DEFAULT: u32 = 125;
/// How much of the pools of near endpoints is used before far ones are.
pub const SPILL_OVER_PERCENT_DEFAULT: u32 = 100;

/// What statements of one endpoint have in common under [`Balance::ConsistentHash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HashKey {
    /// The client's IP address; the default.
    Client,
    /// The user.
    User,
    /// The hint `hash=KEY`; the client's IP address without one.
    Hint,
}

/// What [`Balance::ConsistentHash`] goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hashing {
    /// The key.
    pub by: HashKey,
    /// Percent of an even share of the statements under way that one endpoint may have; at least 101.
    pub max_load_percent: u32,
}

impl Default for Hashing {
    fn default() -> Self {
        Self {
            by: HashKey::Client,
            max_load_percent: HASH_LOAD_PERCENT_DEFAULT,
        }
    }
}

/// When statements leave the proxy's zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Locality {
    /// Percent of the pool of every near endpoint that is in use before far ones take statements; 1 to 100.
    pub spill_over_percent: u32,
}

impl Default for Locality {
    fn default() -> Self {
        Self {
            spill_over_percent: SPILL_OVER_PERCENT_DEFAULT,
        }
    }
}

/// Statements that match any of the expressions are refused (`circuitBreaks`).
#[derive(Debug, Clone)]
pub struct DenyRule {
    /// Given by the operator, or `circuitBreaks[N]`; shown to the client that is refused.
    pub name: String,
    /// Matched anywhere in the statement's text, case-sensitive unless written `(?i)`.
    pub regexes: RegexSet,
}

/// At most `max` statements that match any of the expressions start within each window
/// (`concurrencyControls`).
#[derive(Debug, Clone)]
pub struct ConcurrencyRule {
    /// Given by the operator, or `concurrencyControls[N]`; shown to the client that is refused.
    pub name: String,
    /// Matched anywhere in the statement's text, case-sensitive unless written `(?i)`.
    pub regexes: RegexSet,
    /// A whole number of seconds, at least 1.
    pub window: Duration,
    /// At least 1.
    pub max: u32,
}

/// When an endpoint that cannot be reached is left alone, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ejection {
    /// Failures to connect in a row; at least 1.
    pub consecutive_connect_failures: u32,
    /// First ejection; at least 1.
    pub base_ejection_ms: u64,
    /// Longest ejection; at least `base_ejection_ms`.
    pub max_ejection_ms: u64,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            consecutive_connect_failures: EJECTION_CONNECT_FAILURES_DEFAULT,
            base_ejection_ms: EJECTION_BASE_MS_DEFAULT,
            max_ejection_ms: EJECTION_MAX_MS_DEFAULT,
        }
    }
}

/// When an endpoint is spared because too much fails there, or is slow.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Breaker {
    /// What is looked back; at least 100.
    pub window_ms: u64,
    /// Statements in it, below which nothing is concluded; at least 1.
    pub min_volume: u32,
    /// Of a hundred, those that may not fail; 1 to 100.
    pub error_percent: u32,
    /// From when a statement is slow; 0 is never.
    pub slow_ms: u64,
    /// Of a hundred, those that may not be slow; 1 to 100.
    pub slow_percent: u32,
    /// For how long the endpoint is spared; at least 1.
    pub open_ms: u64,
    /// Statements that then try it; at least 1.
    pub probes: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            window_ms: 10_000,
            min_volume: 20,
            error_percent: 50,
            slow_ms: 0,
            slow_percent: 50,
            open_ms: 5_000,
            probes: 3,
        }
    }
}

/// Statements that wait for a primary at a time.
pub const BUFFER_STATEMENTS_DEFAULT: u32 = 10_000;
/// How long a statement waits for a primary, where roles are the servers' to report.
pub const BUFFER_WAIT_MS_DEFAULT: u64 = 10_000;

/// How statements wait while no primary can take them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Buffer {
    /// How long a statement waits at most; 0 refuses at once.
    pub max_wait_ms: u64,
    /// Statements that wait at a time.
    pub max_statements: u32,
}

/// How transactions that lose their server before COMMIT are executed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TransactionReplay {
    /// Statements and parameters of one transaction.
    pub max_bytes: u64,
    /// How often one transaction is executed again.
    pub attempts: u32,
    /// How long a replay takes, the wait for a primary included.
    pub timeout_ms: u64,
}

impl Default for TransactionReplay {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 20,
            attempts: 5,
            timeout_ms: 30_000,
        }
    }
}

/// A TrafficStrategy with its selector resolved.
#[derive(Debug, Clone)]
pub struct Strategy {
    /// Name of the TrafficStrategy; its namespace is the service's.
    pub name: Name,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// What `consistenthash` goes by.
    pub hashing: Hashing,
    /// When statements leave the proxy's zone.
    pub locality: Locality,
    /// What the selector matched, ordered by name; at least one of them is a primary, unless the servers report roles.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// All rules on statements, those of `deny` and `concurrency` first.
    pub rules: RuleBook,
    /// Rules that refuse, in the order written.
    pub deny: Vec<DenyRule>,
    /// Rules that hold back, in the order written.
    pub concurrency: Vec<ConcurrencyRule>,
    /// When an endpoint is left alone.
    pub ejection: Ejection,
    /// When an endpoint is spared because too much fails there.
    pub breaker: Option<Breaker>,
    /// How statements wait for a primary.
    pub buffer: Buffer,
    /// How transactions that lose their server are executed again; never without it.
    pub transaction_replay: Option<TransactionReplay>,
    /// Reads to replicas; without it, every statement goes to a primary.
    pub splitting: Option<Splitting>,
    /// Who may use hints.
    pub hints: HintPolicy,
    /// Statements that run on a shadow endpoint instead.
    pub shadow: Option<Shadow>,
    /// Statements of which a copy runs elsewhere too.
    pub mirror: Option<Mirror>,
    /// Which site owns which keys.
    pub units: Option<Units>,
}

impl Strategy {
    /// The endpoints that serve, and those that it names for other purposes.
    pub fn all_endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        let sites = self.units.iter().flat_map(|units| &units.sites);
        self.endpoints
            .iter()
            .chain(self.shadow.iter().map(|shadow| &shadow.endpoint))
            .chain(self.mirror.iter().map(|mirror| &mirror.endpoint))
            .chain(sites.filter_map(|site| site.endpoint.as_ref()))
    }
}
