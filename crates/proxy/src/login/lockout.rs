//! Logins that fail again and again: slower each time, then refused for a while.
//!
//! Owns the count of failures in a row, by user and address. Must never hold more than [`TRACKED_MAX`] of them, nor tell a
//! client whether a user exists: unknown ones are counted alike. Input: what came of logins.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use dbmesh_model::topology::Limits;
use parking_lot::Mutex;

/// Pairs of user and address whose failures are counted.
const TRACKED_MAX: usize = 10_000;
/// Failures in a row that cost no time.
const FREE: u32 = 3;
/// What the next one costs; each further one twice as much.
const DELAY_FIRST: Duration = Duration::from_millis(50);
/// What one costs at most.
const DELAY_MAX: Duration = Duration::from_secs(1);
/// Failures are forgotten after this.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// Failures in a row.
#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
    locked_until: Option<Instant>,
}

/// Who failed how often.
#[derive(Debug, Default)]
pub struct Lockout {
    hasher: RandomState,
    failures: Mutex<HashMap<u64, Failures>>,
}

impl Lockout {
    fn key(&self, user: &str, host: &str) -> u64 {
        self.hasher.hash_one((user, host))
    }

    /// Whether logins of this user from this address are refused now.
    pub fn is_locked(&self, user: &str, host: &str, now: Instant) -> bool {
        let failures = self.failures.lock();
        let known = failures.get(&self.key(user, host));
        known
            .and_then(|f| f.locked_until)
            .is_some_and(|until| now < until)
    }

    /// A login failed: how long its answer waits.
    pub fn note_failure(&self, user: &str, host: &str, limits: &Limits, now: Instant) -> Duration {
        let key = self.key(user, host);
        let mut all = self.failures.lock();
        if all.len() >= TRACKED_MAX && !all.contains_key(&key) {
            let old = |f: &Failures| now.saturating_duration_since(f.last) >= FORGOTTEN_AFTER;
            all.retain(|_, f| !old(f) && f.count > 1);
            if all.len() >= TRACKED_MAX {
                return DELAY_MAX;
            }
        }
        let failures = all.entry(key).or_insert(Failures {
            count: 0,
            last: now,
            locked_until: None,
        });
        if now.saturating_duration_since(failures.last) >= FORGOTTEN_AFTER {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        if limits.login_failures > 0 && failures.count >= limits.login_failures {
            failures.locked_until = Some(now + Duration::from_millis(limits.login_lock_ms));
            failures.count = 0;
        }
        let beyond = failures.count.saturating_sub(FREE);
        match beyond {
            0 => Duration::ZERO,
            n => DELAY_MAX.min(DELAY_FIRST.saturating_mul(1 << (n - 1).min(10))),
        }
    }

    /// A login succeeded.
    pub fn note_success(&self, user: &str, host: &str) {
        let mut failures = self.failures.lock();
        if !failures.is_empty() {
            failures.remove(&self.key(user, host));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_cost_more_and_more_until_the_door_is_shut() {
        let lockout = Lockout::default();
        let limits = Limits {
            login_failures: 6,
            login_lock_ms: 1_000,
            ..Limits::default()
        };
        let now = Instant::now();
        let fail = |user: &str, at| lockout.note_failure(user, "h", &limits, at).as_millis();
        let costs: Vec<u128> = (0..5).map(|_| fail("u", now)).collect();
        assert_eq!(costs, [0, 0, 0, 50, 100]);
        assert!(!lockout.is_locked("u", "h", now));
        fail("u", now);
        assert!(lockout.is_locked("u", "h", now) && !lockout.is_locked("u", "other", now));
        assert!(!lockout.is_locked("u", "h", now + Duration::from_secs(2)));
        fail("v", now);
        lockout.note_success("v", "h");
        assert_eq!(fail("v", now), 0);
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let lockout = Lockout::default();
        let now = Instant::now();
        for n in 0..2 * TRACKED_MAX {
            lockout.note_failure(&n.to_string(), "h", &Limits::default(), now);
        }
        assert!(lockout.failures.lock().len() <= TRACKED_MAX);
    }
}
