//! The rules of a service as they run: the book of its strategy with counts and limits.
//!
//! Owns what a rule remembers between statements, and which rules a session can meet at all. Must cost nothing where there
//! are no rules. Decisions on text are `plan`'s; what a verdict does to a statement is the session's. Input: the topology.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use dbmesh_model::topology::{Action, Rule, RuleBits, RuleBook, RuleMode, Strategy};
use dbmesh_runtime::exposition::{Kind, Text};
use serde_json::{Value, json};

use crate::limit::{Concurrency, Rate, Window};

/// Numbers of books, so that what is remembered of one is never taken for another's.
static BOOKS: AtomicU64 = AtomicU64::new(1);

/// The rules of one service.
#[derive(Debug)]
pub struct Rules {
    strategy: Arc<Strategy>,
    id: u64,
    /// For guards of digests: nobody outside knows it.
    key: u64,
    states: Vec<Arc<RuleState>>,
}

/// What a rule remembers.
#[derive(Debug)]
pub struct RuleState {
    /// Its name.
    pub name: Arc<str>,
    /// Its limit.
    pub limit: Limiter,
    /// Statements that wait for it.
    pub waiting: AtomicU32,
    /// Statements that it matched.
    pub matched: AtomicU64,
    /// Statements that it refused, or would have.
    pub refused: AtomicU64,
    /// Statements that waited for it.
    pub waited: AtomicU64,
}

/// The state of a limit.
#[derive(Debug)]
pub enum Limiter {
    /// The rule is none.
    None,
    /// In a time.
    Rate(Rate),
    /// At a time.
    Concurrency(Concurrency),
    /// The older form.
    Window(Arc<Window>),
}

impl RuleState {
    fn new(rule: &Rule) -> Self {
        Self {
            name: rule.name.as_str().into(),
            limit: match &rule.action {
                Action::Rate(limit) => Limiter::Rate(Rate::new(limit)),
                Action::Concurrency(limit) => Limiter::Concurrency(Concurrency::new(limit)),
                Action::Window(rule) => Limiter::Window(Arc::new(Window::new(rule))),
                _ => Limiter::None,
            },
            waiting: AtomicU32::new(0),
            matched: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            waited: AtomicU64::new(0),
        }
    }
}

impl Rules {
    /// The rules of a strategy; the state of rules that did not change is taken over.
    #[must_use]
    pub fn new(strategy: &Arc<Strategy>, before: Option<&Self>) -> Self {
        let known: HashMap<&str, (&Rule, &Arc<RuleState>)> = before
            .map(|before| {
                let rules = before.book().rules().iter().zip(&before.states);
                rules
                    .map(|(rule, s)| (rule.name.as_str(), (rule, s)))
                    .collect()
            })
            .unwrap_or_default();
        let states = strategy.rules.rules().iter().map(|rule| {
            let same = known
                .get(rule.name.as_str())
                .filter(|(before, _)| *before == rule);
            same.map_or_else(
                || Arc::new(RuleState::new(rule)),
                |(_, state)| (*state).clone(),
            )
        });
        Self {
            states: states.collect(),
            strategy: strategy.clone(),
            id: BOOKS.fetch_add(1, Ordering::Relaxed),
            key: RandomState::new().hash_one(0),
        }
    }

    /// The book.
    #[must_use]
    pub fn book(&self) -> &RuleBook {
        &self.strategy.rules
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The key of guards.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.key
    }

    /// The rules that a session of this user and address can meet.
    #[must_use]
    pub fn of_session(&self, user: &str, address: Option<IpAddr>) -> RuleBits {
        let mut bits = RuleBits::NONE;
        for place in self.book().active().iter() {
            let Some(rule) = self.book().rules().get(place) else {
                continue;
            };
            let (users, networks) = (&rule.matches.users, &rule.matches.networks);
            let here = |address: IpAddr| networks.iter().any(|n| n.contains(address));
            // A Unix socket is in no network.
            let there = networks.is_empty() || address.is_some_and(here);
            if there && (users.is_empty() || users.contains(user)) {
                bits.add(place);
            }
        }
        bits
    }

    /// A rule and what it remembers.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<(&Rule, &Arc<RuleState>)> {
        self.book().rules().get(place).zip(self.states.get(place))
    }

    /// What operators see.
    #[must_use]
    pub fn listing(&self) -> Vec<Value> {
        let count = |c: &AtomicU64| c.load(Ordering::Relaxed);
        let rules = self.book().rules().iter().zip(&self.states);
        let shown = rules.map(|(rule, state)| {
            json!({
                "rule": rule.name,
                "mode": rule.mode,
                "action": rule.action.label(),
                "matched": count(&state.matched),
                "refused": count(&state.refused),
                "waited": count(&state.waited),
                "waiting": state.waiting.load(Ordering::Relaxed),
            })
        });
        shown.collect()
    }
}

/// Names and values of the metrics of a rule.
type Family = (&'static str, &'static str, Kind, fn(&RuleState) -> u64);

const FAMILIES: [Family; 4] = [
    (
        "dbmesh_rule_matched_total",
        "Statements that a rule matched.",
        Kind::Counter,
        |s| s.matched.load(Ordering::Relaxed),
    ),
    (
        "dbmesh_rule_refused_total",
        "Statements that a rule refused, or in mode warn would have.",
        Kind::Counter,
        |s| s.refused.load(Ordering::Relaxed),
    ),
    (
        "dbmesh_rule_waited_total",
        "Statements that waited for a rule.",
        Kind::Counter,
        |s| s.waited.load(Ordering::Relaxed),
    ),
    (
        "dbmesh_rule_waiting",
        "Statements that wait for a rule now.",
        Kind::Gauge,
        |s| s.waiting.load(Ordering::Relaxed).into(),
    ),
];

/// Writes the metrics of the rules of all services.
#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
pub fn expose<'a>(all: impl Iterator<Item = (String, &'a Rules)> + Clone, out: &mut Text) {
    for (name, help, kind, value) in FAMILIES {
        out.family(name, help, kind);
        for (service, rules) in all.clone() {
            for (rule, state) in rules.book().rules().iter().zip(&rules.states) {
                let mode = match rule.mode {
                    RuleMode::Off => "off",
                    RuleMode::Warn => "warn",
                    RuleMode::Enforce => "enforce",
                };
                let labels = [
                    ("service", service.as_str()),
                    ("rule", &rule.name),
                    ("mode", mode),
                ];
                out.sample(&labels, value(state) as f64);
            }
        }
    }
}
