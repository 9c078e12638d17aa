//! Reads to replicas: which statements, how fresh, and how servers are watched.
//!
//! It owns the compiled rules and every default; it takes no decision: `plan` does, and the proxy watches the servers.

use std::cell::RefCell;

use regex::RegexSet;
use regex_automata::meta::Regex;
use regex_automata::{Input, MatchKind, PatternSet};
use serde::Serialize;

use super::{Balance, Role};
use crate::secret::Secret;

/// How long a read waits for a replica to catch up before it goes to the primary.
pub const CATCH_UP_WAIT_MS_DEFAULT: u64 = 20;
/// Time between two probes of a server.
pub const PROBE_PERIOD_MS_DEFAULT: u64 = 1_000;
/// Time after which a probe has failed.
pub const PROBE_TIMEOUT_MS_DEFAULT: u64 = 1_000;
/// Failures in a row that count.
pub const PROBE_FAILURES_DEFAULT: u32 = 3;
/// Successes in a row that count.
pub const PROBE_SUCCESSES_DEFAULT: u32 = 1;
/// How far a replica may be behind.
pub const REPLICATION_LAG_S_DEFAULT: u64 = 10;

/// What a read may miss of what was written before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// Anything younger than the lag that a replica may have.
    Eventual,
    /// Nothing that the same session wrote; the default.
    Session,
    /// Nothing that any session of this proxy wrote.
    Global,
    /// Nothing: reads go to the primary.
    Primary,
}

/// Where transactions that declare themselves READ ONLY run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TransactionalRead {
    /// At the primary; the default.
    Primary,
    /// At one replica, the same for all such transactions of a session while it serves.
    Fixed,
    /// At any replica.
    Replica,
}

/// Who decides which endpoint is the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleSource {
    /// The configuration (`static`).
    Configured,
    /// The servers themselves (`dynamic`).
    Reported,
}

/// What a rule looks at.
#[derive(Debug, Clone)]
pub enum SplittingMatch {
    /// The statement's text: statements that match go to endpoints of this role, if they may.
    Regex(RegexSet, Role),
    /// Whether the statement is proved to read only.
    Generic,
}

/// A rule of read/write splitting.
#[derive(Debug, Clone)]
pub struct SplittingRule {
    /// Its name, as EXPLAIN MESH shows it.
    pub name: String,
    /// Which statements it decides on.
    pub matches: SplittingMatch,
    /// How an endpoint is chosen; the strategy's way if absent.
    pub balance: Option<Balance>,
}

/// How often and how patiently one thing is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbePolicy {
    /// Time between two probes; at least 1.
    pub period_ms: u64,
    /// Time after which a probe has failed; at least 1.
    pub timeout_ms: u64,
    /// Failures in a row that count; at least 1.
    pub failures: u32,
    /// Successes in a row that count; at least 1.
    pub successes: u32,
}

impl Default for ProbePolicy {
    fn default() -> Self {
        Self {
            period_ms: PROBE_PERIOD_MS_DEFAULT,
            timeout_ms: PROBE_TIMEOUT_MS_DEFAULT,
            failures: PROBE_FAILURES_DEFAULT,
            successes: PROBE_SUCCESSES_DEFAULT,
        }
    }
}

/// By which clock a heartbeat is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HeartbeatClock {
    /// That of the server's time zone; the default.
    Session,
    /// UTC.
    Utc,
}

/// A table into which somebody writes the time at the primary, again and again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// Schema and table, quoted.
    pub table: String,
    /// The column with the time, quoted.
    pub column: String,
    /// By which clock.
    pub clock: HeartbeatClock,
}

/// How the servers are watched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Monitor {
    /// User and password of probes; those of the endpoint if absent.
    pub account: Option<(String, Secret)>,
    /// Whether a connection opens.
    pub connection: ProbePolicy,
    /// Whether the server answers a ping.
    pub ping: ProbePolicy,
    /// Whether the server is read-only.
    pub read_only: ProbePolicy,
    /// How far a replica is behind.
    pub lag: ProbePolicy,
    /// How far a replica may be behind and still serve reads.
    pub lag_ms_max: u64,
    /// The table that tells the lag; the replica's own status if absent.
    pub heartbeat: Option<Heartbeat>,
}

impl Default for Monitor {
    fn default() -> Self {
        let probe = ProbePolicy::default();
        Self {
            account: None,
            connection: probe,
            ping: probe,
            read_only: probe,
            lag: probe,
            lag_ms_max: REPLICATION_LAG_S_DEFAULT * 1_000,
            heartbeat: None,
        }
    }
}

/// Memory that the automaton of all rules may take.
const AUTOMATON_BYTES_MAX: usize = 10 << 20;

/// The expressions of all rules as one automaton: a hundred of them cost what one does.
#[derive(Debug, Clone)]
pub struct Matcher {
    set: Regex,
    /// The rule of each expression.
    rules: Vec<usize>,
}

impl Matcher {
    /// Of these rules; none when they are too large for one automaton.
    pub fn of(rules: &[SplittingRule]) -> Option<Self> {
        let mut patterns = Vec::new();
        let mut owners = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            if let SplittingMatch::Regex(regexes, _) = &rule.matches {
                patterns.extend(regexes.patterns());
                owners.resize(patterns.len(), number);
            }
        }
        let config = Regex::config()
            .match_kind(MatchKind::All)
            .nfa_size_limit(Some(AUTOMATON_BYTES_MAX));
        let set = Regex::builder()
            .configure(config)
            .build_many(&patterns)
            .ok()?;
        Some(Self { set, rules: owners })
    }

    /// The first rule that has an expression which matches.
    ///
    /// Most texts match none: that takes a search which looks at each byte once and stops at the first match. Only where
    /// there is one, all that match are collected.
    pub fn first(&self, text: &str) -> Option<usize> {
        let any = Input::new(text).earliest(true);
        let ended = self.set.search_half(&any)?;
        let rule = self.rules.get(ended.pattern().as_usize()).copied();
        if rule == self.rules.first().copied() {
            // Nothing comes before it.
            return rule;
        }
        self.first_of_all(text)
    }

    fn first_of_all(&self, text: &str) -> Option<usize> {
        thread_local! {
            /// Kept, so that a statement costs no allocation.
            static MATCHES: RefCell<PatternSet> = RefCell::new(PatternSet::new(0));
        }
        MATCHES.with_borrow_mut(|matches| {
            if matches.capacity() < self.rules.len() {
                *matches = PatternSet::new(self.rules.len());
            }
            matches.clear();
            let input = Input::new(text);
            self.set.which_overlapping_matches(&input, matches);
            // Expressions are in the order of their rules.
            let first = matches.iter().next()?;
            self.rules.get(first.as_usize()).copied()
        })
    }
}

/// Reads to replicas.
#[derive(Debug, Clone)]
pub struct Splitting {
    /// Who decides which endpoint is the primary.
    pub roles: RoleSource,
    /// Where a read goes that no rule decides on.
    pub default_target: Role,
    /// The first that decides wins.
    pub rules: Vec<SplittingRule>,
    /// Their expressions together.
    pub matcher: Option<Matcher>,
    /// What a read may miss.
    pub consistency: Consistency,
    /// Where READ ONLY transactions run.
    pub transactional_read: TransactionalRead,
    /// How long a read waits for a replica to catch up.
    pub catch_up_wait_ms: u64,
    /// How the servers are watched.
    pub monitor: Monitor,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(patterns: &[&[&str]]) -> Vec<SplittingRule> {
        let rule = |patterns: &&[&str]| SplittingRule {
            name: String::new(),
            matches: SplittingMatch::Regex(RegexSet::new(*patterns).unwrap(), Role::Primary),
            balance: None,
        };
        let mut rules: Vec<_> = patterns.iter().map(rule).collect();
        rules.insert(
            1,
            SplittingRule {
                matches: SplittingMatch::Generic,
                ..rules[0].clone()
            },
        );
        rules
    }

    fn one_by_one(rules: &[SplittingRule], text: &str) -> Option<usize> {
        rules.iter().position(|rule| match &rule.matches {
            SplittingMatch::Regex(set, _) => set.is_match(text),
            SplittingMatch::Generic => false,
        })
    }

    /// All together find what each alone does, wherever in the text the match of an earlier rule ends.
    #[test]
    fn the_first_rule_is_found() {
        let rules = rules(&[
            &["b c", "a+b$"],
            &["^a", "cc"],
            &["(?i)A.*B"],
            &["s{3}"],
            &["", "^$"],
        ]);
        let known = [&rules[..], &rules[..5]].map(|rules| (rules, Matcher::of(rules).unwrap()));
        proptest!(|(text in "[abcs \\n]{0,24}")| {
            for (rules, matcher) in &known {
                prop_assert_eq!(matcher.first(&text), one_by_one(rules, &text));
            }
        });
    }
}
