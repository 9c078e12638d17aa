//! The rules of a traffic strategy: statements denied, and statements held to a number within a time.
//!
//! Owns the counts of the concurrency rules. Decisions are made on the statement's text, in both protocols alike, and
//! cost nothing where there are no rules. Input: `circuitBreaks` and `concurrencyControls` of the topology.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use dbmesh_model::topology::{ConcurrencyRule, DenyRule, Strategy};
use parking_lot::Mutex;

use crate::fault::Fault;

/// The rules of one service.
#[derive(Debug, Default)]
pub struct Rules {
    deny: Vec<DenyRule>,
    concurrency: Vec<Arc<Concurrency>>,
}

#[derive(Debug)]
struct Concurrency {
    rule: ConcurrencyRule,
    /// When the statements of the current window began; those still running keep their place beyond it.
    running: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    starts: VecDeque<Instant>,
    running: u32,
}

/// The places that a statement takes in concurrency rules, given back when dropped.
#[derive(Debug, Default)]
pub struct Permits(Vec<Arc<Concurrency>>);

impl Drop for Permits {
    fn drop(&mut self) {
        for concurrency in &self.0 {
            let mut window = concurrency.running.lock();
            window.running = window.running.saturating_sub(1);
        }
    }
}

impl Rules {
    /// The rules of a strategy; counts of rules that did not change are taken over.
    #[must_use]
    pub fn new(strategy: &Strategy, before: Option<&Self>) -> Self {
        let concurrency = strategy
            .concurrency
            .iter()
            .map(|rule| {
                let kept = before.and_then(|b| {
                    b.concurrency.iter().find(|c| {
                        c.rule.name == rule.name
                            && c.rule.max == rule.max
                            && c.rule.window == rule.window
                            && c.rule.regexes.patterns() == rule.regexes.patterns()
                    })
                });
                kept.cloned().unwrap_or_else(|| {
                    Arc::new(Concurrency {
                        rule: rule.clone(),
                        running: Mutex::default(),
                    })
                })
            })
            .collect();
        Self {
            deny: strategy.deny.clone(),
            concurrency,
        }
    }

    /// Whether there is any rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deny.is_empty() && self.concurrency.is_empty()
    }

    /// Lets a statement through, or says which rule does not.
    ///
    /// # Errors
    /// [`Fault::Denied`], [`Fault::TooBusy`].
    pub fn admit(&self, sql: &[u8]) -> Result<Permits, Fault> {
        if self.is_empty() {
            return Ok(Permits::default());
        }
        let text = String::from_utf8_lossy(sql);
        let text = text.trim();
        if let Some(rule) = self.deny.iter().find(|rule| rule.regexes.is_match(text)) {
            return Err(Fault::Denied(rule.name.clone()));
        }
        let mut permits = Permits::default();
        for concurrency in &self.concurrency {
            if !concurrency.rule.regexes.is_match(text) {
                continue;
            }
            if !concurrency.enter(Instant::now()) {
                return Err(Fault::TooBusy(concurrency.rule.name.clone()));
            }
            permits.0.push(concurrency.clone());
        }
        Ok(permits)
    }
}

impl Concurrency {
    /// At most `max` matching statements run at a time, and at most `max` begin within one window.
    fn enter(&self, now: Instant) -> bool {
        let mut window = self.running.lock();
        while window
            .starts
            .front()
            .is_some_and(|start| now.duration_since(*start) >= self.rule.window)
        {
            window.starts.pop_front();
        }
        let begun = u32::try_from(window.starts.len()).unwrap_or(u32::MAX);
        if begun >= self.rule.max || window.running >= self.rule.max {
            return false;
        }
        window.starts.push_back(now);
        window.running += 1;
        true
    }
}
