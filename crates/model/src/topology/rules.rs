//! The rules of a strategy: which statements they mean, and what becomes of those.
//!
//! It owns compiled conditions, all expressions of a kind as one automaton, and the order of the rules; it judges no
//! statement and holds no counter: `plan` and the proxy do.

pub(crate) mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{BitAnd, BitOr, Not};

use dbmesh_sql::{Class, Verb};
use regex::RegexSet;
use serde::Serialize;

use super::{ConcurrencyRule, DenyRule, Name, Network};

/// Rules of one strategy, `circuitBreaks` and `concurrencyControls` included.
pub const RULES_MAX: usize = 256;
/// Statements that wait for a rule's turn at a time.
pub const RULE_WAITING_DEFAULT: u32 = 1_000;
/// Milliseconds of a rate, if it says none.
pub const RATE_PER_MS_DEFAULT: u64 = 1_000;
/// Keys that one limit counts apart; those beyond share one count.
pub const LIMIT_KEYS_MAX: usize = 10_000;

const WORDS: usize = RULES_MAX / 64;

/// A set of rules, by their place in the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct RuleBits([u64; WORDS]);

impl RuleBits {
    /// None.
    pub const NONE: Self = Self([0; WORDS]);
    /// Every one.
    pub const ALL: Self = Self([u64::MAX; WORDS]);

    /// Adds a rule.
    pub fn add(&mut self, rule: usize) {
        if let Some(word) = self.0.get_mut(rule / 64) {
            *word |= 1 << (rule % 64);
        }
    }

    /// Whether a rule is among them.
    #[must_use]
    pub fn has(self, rule: usize) -> bool {
        let word = self.0.get(rule / 64).copied().unwrap_or(0);
        word >> (rule % 64) & 1 == 1
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Their places, in order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(at, mut word)| {
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros() as usize;
                (bit < 64).then(|| {
                    word &= word - 1;
                    at * 64 + bit
                })
            })
        })
    }
}

impl BitAnd for RuleBits {
    type Output = Self;

    fn bitand(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a &= b);
        self
    }
}

impl BitOr for RuleBits {
    type Output = Self;

    fn bitor(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a |= b);
        self
    }
}

impl Not for RuleBits {
    type Output = Self;

    fn not(mut self) -> Self {
        self.0.iter_mut().for_each(|word| *word = !*word);
        self
    }
}

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

/// A name with `*` for any letters; the case of letters does not count.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Glob {
    written: String,
    /// What stands between the stars, in lower case.
    parts: Vec<String>,
}

impl Glob {
    /// Reads a name with stars.
    #[must_use]
    pub fn new(written: &str) -> Self {
        let lower = written.to_lowercase();
        Self {
            written: written.to_owned(),
            parts: lower.split('*').map(str::to_owned).collect(),
        }
    }

    /// Whether a name in lower case matches.
    #[must_use]
    pub fn matches(&self, lower: &str) -> bool {
        let [first, rest @ ..] = self.parts.as_slice() else {
            return false;
        };
        let Some(mut left) = lower.strip_prefix(first.as_str()) else {
            return false;
        };
        let Some((last, middle)) = rest.split_last() else {
            return left.is_empty();
        };
        for part in middle {
            match left.split_once(part.as_str()) {
                Some((_, after)) => left = after,
                None => return false,
            }
        }
        left.ends_with(last.as_str())
    }

    /// As it was written.
    #[must_use]
    pub fn written(&self) -> &str {
        &self.written
    }
}

/// Tables by schema and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TablePattern {
    /// Schemas.
    pub schema: Glob,
    /// Tables.
    pub table: Glob,
}

impl TablePattern {
    /// Reads `schema.table`, or `table` of any schema.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('.').collect();
        let (schema, table) = match parts.as_slice() {
            [table] => ("*", *table),
            [schema, table] => (*schema, *table),
            _ => return None,
        };
        (!schema.is_empty() && !table.is_empty()).then(|| Self {
            schema: Glob::new(schema),
            table: Glob::new(table),
        })
    }

    /// Whether a table, in lower case, is meant.
    #[must_use]
    pub fn matches(&self, schema: &str, table: &str) -> bool {
        self.table.matches(table) && self.schema.matches(schema)
    }

    /// As it was written.
    #[must_use]
    pub fn written(&self) -> String {
        format!("{}.{}", self.schema.written(), self.table.written())
    }
}

/// Columns by table and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ColumnPattern {
    /// Their tables.
    pub table: TablePattern,
    /// Columns.
    pub column: Glob,
}

impl ColumnPattern {
    /// Reads `schema.table.column` or `table.column`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (table, column) = text.rsplit_once('.')?;
        (!column.is_empty()).then_some(())?;
        Some(Self {
            table: TablePattern::parse(table)?,
            column: Glob::new(column),
        })
    }
}

/// Minutes of some days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeWindow {
    /// Bit n: the n-th day from Monday.
    pub days: u8,
    /// First minute of the day.
    pub from_minute: u16,
    /// The minute after the last; not after `from_minute`: of the next day.
    pub to_minute: u16,
    /// Minutes ahead of UTC.
    pub utc_offset_minutes: i32,
}

impl TimeWindow {
    /// Whether a time, in seconds since 1970 UTC, is in it.
    #[must_use]
    pub fn contains(&self, unix_seconds: u64) -> bool {
        let minutes = i64::try_from(unix_seconds / 60).unwrap_or(i64::MAX / 2);
        let local = minutes + i64::from(self.utc_offset_minutes);
        let (day, minute) = (local.div_euclid(1440), local.rem_euclid(1440));
        // 1970-01-01 was a Thursday.
        let on = |day: i64| self.days >> (day + 3).rem_euclid(7) & 1 == 1;
        let (from, to) = (i64::from(self.from_minute), i64::from(self.to_minute));
        if from < to {
            return on(day) && (from..to).contains(&minute);
        }
        (on(day) && minute >= from) || (on(day - 1) && minute < to)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_letters() {
        for (pattern, name) in [
            ("Orders", "orders"),
            ("*", ""),
            ("log_*", "log_2024"),
            ("*_log", "a_log"),
            ("a*b*c", "axxbyyc"),
            ("a*b*c", "abc"),
            ("**", "x"),
        ] {
            assert!(Glob::new(pattern).matches(name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("orders", "orders2"),
            ("log_*", "log"),
            ("*_log", "log"),
            ("a*b*c", "acb"),
            ("ab*ba", "aba"),
        ] {
            assert!(!Glob::new(pattern).matches(name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_window_may_span_midnight() {
        // 2024-01-01 was a Monday, 1704067200.
        let monday = 1_704_067_200;
        let at = |hour: u64| monday + hour * 3600;
        let night = TimeWindow {
            days: 1,
            from_minute: 22 * 60,
            to_minute: 6 * 60,
            utc_offset_minutes: 0,
        };
        for (hour, inside) in [
            (1, false),
            (21, false),
            (22, true),
            (29, true),
            (30, false),
            (46, false),
        ] {
            assert_eq!(night.contains(at(hour)), inside, "{hour}");
        }
        let east = TimeWindow {
            utc_offset_minutes: 120,
            ..night
        };
        assert!(east.contains(at(20)) && !east.contains(at(28)));
        let always = TimeWindow {
            days: 0x7F,
            from_minute: 0,
            to_minute: 1440,
            utc_offset_minutes: 0,
        };
        assert!(always.contains(0) && always.contains(at(23)));
    }

    #[test]
    fn bits_come_in_order() {
        let mut bits = RuleBits::NONE;
        for place in [200, 3, 64, 63] {
            bits.add(place);
        }
        assert_eq!(bits.iter().collect::<Vec<_>>(), [3, 63, 64, 200]);
        assert!((bits & !bits).is_empty() && (bits | RuleBits::ALL) == RuleBits::ALL);
    }
}
