//! Whether an endpoint can be reached: ejection after failures to connect.
//!
//! Owns the count of consecutive failures and the time until which the endpoint is left alone. It must never eject for a
//! reason that is not the endpoint's (a wrong password is the configuration's). Input: what connecting found.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use dbmesh_model::topology::Ejection;

use crate::breaker::{Breaker, Fate};

/// The reachability of one endpoint.
#[derive(Debug)]
pub struct Health {
    policy: Ejection,
    since: Instant,
    failures: AtomicU32,
    /// In ms since `since`; 0 when not ejected.
    ejected_until_ms: AtomicU64,
    /// How often it was ejected.
    pub ejections: AtomicU64,
    /// Whether too much fails there.
    pub breaker: Breaker,
}

impl Health {
    /// A healthy endpoint.
    #[must_use]
    pub fn new(policy: Ejection) -> Self {
        Self {
            policy,
            since: Instant::now(),
            failures: AtomicU32::new(0),
            ejected_until_ms: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            breaker: Breaker::default(),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A connection was made.
    pub fn connected(&self) {
        if self.failures.swap(0, Ordering::Relaxed) != 0 {
            self.ejected_until_ms.store(0, Ordering::Relaxed);
        }
    }

    /// A connection could not be made.
    pub fn connect_failed(&self) {
        self.breaker.note(Fate::Failed);
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        let beyond = match failures.checked_sub(self.policy.consecutive_connect_failures) {
            Some(beyond) => beyond.min(16),
            None => return,
        };
        let pause = self
            .policy
            .base_ejection_ms
            .saturating_mul(1 << beyond)
            .min(self.policy.max_ejection_ms);
        self.ejected_until_ms
            .store(self.now_ms() + pause, Ordering::Relaxed);
        self.ejections.fetch_add(1, Ordering::Relaxed);
    }

    /// Consecutive failures to connect.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Whether the endpoint is left alone now.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        match self.ejected_until_ms.load(Ordering::Relaxed) {
            0 => false,
            until => self.now_ms() < until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ejects_after_the_configured_failures_and_recovers() {
        let health = Health::new(Ejection::default());
        health.connect_failed();
        health.connect_failed();
        assert!(!health.is_ejected());
        health.connect_failed();
        assert!(health.is_ejected());
        health.connected();
        assert!(!health.is_ejected());
        assert_eq!(health.failures(), 0);
    }
}
