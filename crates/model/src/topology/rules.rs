//! The rules of a strategy: which statements they mean, and what becomes of those.
//!
//! It owns compiled conditions, all expressions of a kind as one automaton, and the order of the rules; it judges no
//! statement and holds no counter: `plan` and the proxy do.

mod bits;
mod names;
pub(crate) mod shown;
mod time;

use std::collections::{BTreeMap, BTreeSet};

use dbmesh_sql::{Class, Verb};
use regex::RegexSet;
use serde::Serialize;

use super::{ConcurrencyRule, DenyRule, Name, Network};
pub use bits::RuleBits;
pub use names::{ColumnPattern, Glob, TablePattern};
pub use time::TimeWindow;

/// Rules of one strategy, `circuitBreaks` and `concurrencyControls` included.
pub const RULES_MAX: usize = 256;
/// Statements that wait for a rule's turn at a time.
pub const RULE_WAITING_DEFAULT: u32 = 1_000;
/// Milliseconds of a rate, if it says none.
pub const RATE_PER_MS_DEFAULT: u64 = 1_000;
/// Keys that one limit counts apart; those beyond share one count.
pub const LIMIT_KEYS_MAX: usize = 10_000;

/// Whether a rule acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RuleMode {
    /// It is not looked at.
    Off,
    /// What it would do is counted and told.
    Warn,
    /// It acts.
    Enforce,
}

/// Statements that cannot be told to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Unknown {
    /// They match.
    Match,
    /// They do not.
    Pass,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Unique in the book.
    pub name: String,
    /// Whether it acts.
    pub mode: RuleMode,
    /// Which statements.
    pub matches: Match,
    /// Statements that cannot be told to match.
    pub unknown: Unknown,
    /// What becomes of them.
    pub action: Action,
}

/// What must hold of a statement: all that is not empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Match {
    /// Digests.
    pub digests: BTreeSet<u64>,
    /// Expressions on the normalised text, as written.
    pub regexes: Vec<String>,
    /// Expressions on the text itself, as written.
    pub text_regexes: Vec<String>,
    /// Verbs.
    pub verbs: Vec<Verb>,
    /// Classes.
    pub classes: Vec<Class>,
    /// Tables.
    pub tables: Vec<TablePattern>,
    /// Columns.
    pub columns: Vec<ColumnPattern>,
    /// How tables are used.
    pub access: Access,
    /// Clauses of which one is missing.
    pub without: Vec<BoundingClause>,
    /// Users.
    pub users: BTreeSet<String>,
    /// Networks of clients.
    pub networks: Vec<Network>,
    /// Tags with their values.
    pub tags: BTreeMap<String, String>,
    /// Times.
    pub times: Vec<TimeWindow>,
}

impl Match {
    /// Whether the parser must be asked.
    #[must_use]
    pub fn needs_parser(&self) -> bool {
        !(self.tables.is_empty() && self.columns.is_empty() && self.without.is_empty())
    }

    /// Whether it asks anything of the statement's text.
    #[must_use]
    pub fn asks_of_text(&self) -> bool {
        self.needs_parser()
            || !(self.digests.is_empty()
                && self.regexes.is_empty()
                && self.text_regexes.is_empty()
                && self.verbs.is_empty()
                && self.classes.is_empty())
    }
}

/// How a table is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Access {
    /// Read only.
    Read,
    /// Changed.
    Write,
    /// Either; the default.
    #[default]
    Any,
}

/// A clause that bounds what a statement touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum BoundingClause {
    /// WHERE.
    Where,
    /// LIMIT.
    Limit,
}

/// What becomes of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It is let through, past the rules that follow.
    Allow,
    /// It is refused.
    Deny,
    /// It waits for its turn, or is refused.
    Rate(RateLimit),
    /// It waits for its turn, or is refused.
    Concurrency(ConcurrencyLimit),
    /// `concurrencyControls` of the older form.
    Window(ConcurrencyRule),
    /// It may take so long.
    Timeout(u64),
    /// It waits.
    Delay(u64),
    /// It runs there.
    Route(RouteTo),
    /// It gets tags.
    Tag(BTreeMap<String, String>),
}

impl Action {
    /// Its name in listings, logs and metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Rate(_) => "rateLimit",
            Self::Concurrency(_) | Self::Window(_) => "concurrencyLimit",
            Self::Timeout(_) => "timeout",
            Self::Delay(_) => "delay",
            Self::Route(_) => "route",
            Self::Tag(_) => "tag",
        }
    }
}

/// Where a statement runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RouteTo {
    /// At the primary.
    Primary,
    /// At a replica.
    Replica,
    /// At this endpoint of the service.
    Endpoint(Name),
}

/// What has a count of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LimitBy {
    /// The current schema.
    Database,
    /// Each table that is used.
    Table,
    /// The digest.
    Digest,
    /// The class.
    Class,
    /// The user.
    User,
    /// The client's IP address.
    Address,
    /// The tenant that a hint names.
    Tenant,
    /// The value of a tag.
    Tag(String),
    /// The endpoint that the statement goes to.
    Endpoint,
}

/// At most so many statements in a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// Statements; at least 1.
    pub count: u32,
    /// In which they may begin.
    pub per_ms: u64,
    /// Statements that may begin at once; at least 1.
    pub burst: u32,
    /// What has a count of its own.
    pub by: Vec<LimitBy>,
    /// How long a statement waits; 0 is not at all.
    pub max_wait_ms: u64,
    /// Statements that wait at a time; at least 1.
    pub max_waiting: u32,
}

/// At most so many statements at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConcurrencyLimit {
    /// Statements; at least 1.
    pub count: u32,
    /// What has a count of its own.
    pub by: Vec<LimitBy>,
    /// How long a statement waits; 0 is not at all.
    pub max_wait_ms: u64,
    /// Statements that wait at a time; at least 1.
    pub max_waiting: u32,
}

/// Expressions of many rules as one automaton.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    set: RegexSet,
    /// The rule of each expression.
    owners: Vec<usize>,
    /// The rules that have any.
    rules: RuleBits,
}

impl Patterns {
    /// Expressions, already compiled, with the rule that each belongs to.
    #[must_use]
    pub fn new(set: RegexSet, owners: Vec<usize>) -> Self {
        let mut rules = RuleBits::NONE;
        owners.iter().for_each(|owner| rules.add(*owner));
        Self { set, owners, rules }
    }

    /// The rules that have expressions.
    #[must_use]
    pub fn rules(&self) -> RuleBits {
        self.rules
    }

    /// The rules of which an expression matches.
    #[must_use]
    pub fn matching(&self, text: &str) -> RuleBits {
        let mut found = RuleBits::NONE;
        for place in &self.set.matches(text) {
            if let Some(owner) = self.owners.get(place) {
                found.add(*owner);
            }
        }
        found
    }
}

/// The rules of a strategy, in the order in which they are looked at.
#[derive(Debug, Clone, Default)]
pub struct RuleBook {
    rules: Vec<Rule>,
    /// On the normalised text.
    pub normal: Patterns,
    /// On the text itself.
    pub text: Patterns,
    /// Those that are looked at.
    active: RuleBits,
    /// Those that need the parser.
    parsed: RuleBits,
    /// Those that ask anything of the text.
    of_text: RuleBits,
    counts_tables: bool,
}

impl RuleBook {
    /// A book of these rules; at most [`RULES_MAX`].
    #[must_use]
    pub fn new(rules: Vec<Rule>, normal: Patterns, text: Patterns) -> Self {
        let that = |holds: &dyn Fn(&Rule) -> bool| {
            let mut bits = RuleBits::NONE;
            for (place, rule) in rules.iter().enumerate() {
                if rule.mode != RuleMode::Off && holds(rule) {
                    bits.add(place);
                }
            }
            bits
        };
        let active = that(&|_| true);
        let parsed = that(&|rule| rule.matches.needs_parser());
        let of_text = that(&|rule| rule.matches.asks_of_text());
        let by_table = |rule: &Rule| match &rule.action {
            Action::Rate(limit) => limit.by.contains(&LimitBy::Table),
            Action::Concurrency(limit) => limit.by.contains(&LimitBy::Table),
            _ => false,
        };
        let counts_tables = !that(&by_table).is_empty();
        Self {
            rules,
            normal,
            text,
            active,
            parsed,
            of_text,
            counts_tables,
        }
    }

    /// `circuitBreaks` and `concurrencyControls` as the rules that they are.
    pub fn of_older_form(
        deny: &[DenyRule],
        concurrency: &[ConcurrencyRule],
    ) -> impl Iterator<Item = Rule> {
        let of = |name: &String, patterns: &[String], action| Rule {
            name: name.clone(),
            mode: RuleMode::Enforce,
            matches: Match {
                text_regexes: patterns.to_vec(),
                ..Match::default()
            },
            unknown: match action {
                Action::Deny => Unknown::Match,
                _ => Unknown::Pass,
            },
            action,
        };
        let denied = deny
            .iter()
            .map(move |rule| of(&rule.name, rule.regexes.patterns(), Action::Deny));
        let held = concurrency.iter().map(move |rule| {
            let action = Action::Window(rule.clone());
            of(&rule.name, rule.regexes.patterns(), action)
        });
        denied.chain(held)
    }

    /// All rules, those that are off included.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Those that are looked at.
    #[must_use]
    pub fn active(&self) -> RuleBits {
        self.active
    }

    /// Those that need the parser.
    #[must_use]
    pub fn parsed(&self) -> RuleBits {
        self.parsed
    }

    /// Those that ask anything of the statement's text.
    #[must_use]
    pub fn of_text(&self) -> RuleBits {
        self.of_text
    }

    /// Whether a limit counts by table.
    #[must_use]
    pub fn counts_tables(&self) -> bool {
        self.counts_tables
    }
}

impl PartialEq for ConcurrencyRule {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.max == other.max
            && self.window == other.window
            && self.regexes.patterns() == other.regexes.patterns()
    }
}

impl Eq for ConcurrencyRule {}
