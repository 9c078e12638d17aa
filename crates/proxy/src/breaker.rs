//! A breaker of one endpoint: it opens when too much fails or is slow, and fails fast until a few probes come through.
//!
//! Owns the sliding window of what came of statements and connects, and the state that an operator may force. Must never
//! open for what is the client's own doing: errors that a healthy server gives do not count. Costs one relaxed load where it
//! is not configured. Input: the session, at the end of each exchange; the pool, when connecting fails.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dbmesh_model::topology::Breaker as Policy;
use parking_lot::Mutex;

/// Parts of the window.
const SLICES: usize = 10;

/// Whether statements pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// They do.
    Closed,
    /// They do not.
    Open,
    /// A few do, to see what comes of them.
    HalfOpen,
}

impl State {
    /// Its name in listings.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// What came of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The server answered; in this time.
    Answered(Duration),
    /// It failed, or the statement's time was up.
    Failed,
}

/// The breaker of an endpoint.
#[derive(Debug, Default)]
pub struct Breaker {
    /// Whether anything has to be looked at: a policy, or a forced state.
    acts: AtomicBool,
    inner: Mutex<Inner>,
    /// How often it opened.
    pub opened: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    policy: Option<Policy>,
    forced: Option<State>,
    window: [Slice; SLICES],
    open_until: Option<Instant>,
    probing: Option<Probing>,
}

/// One part of the window.
#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    /// Its number since the process began.
    number: u64,
    all: u32,
    failed: u32,
    slow: u32,
}

#[derive(Clone, Copy, Debug)]
struct Probing {
    since: Instant,
    sent: u32,
    passed: u32,
}

impl Breaker {
    /// Follows a policy from now on; none leaves it closed.
    pub fn follow(&self, policy: Option<&Policy>) {
        let mut inner = self.inner.lock();
        if inner.policy.as_ref() != policy {
            inner.policy = policy.cloned();
            inner.forget();
        }
        self.set_acts(&inner);
    }

    /// An operator forces a state, or lets the breaker decide again.
    pub fn force(&self, state: Option<State>) {
        let mut inner = self.inner.lock();
        inner.forced = state;
        inner.forget();
        self.set_acts(&inner);
    }

    fn set_acts(&self, inner: &Inner) {
        let acts = inner.policy.is_some() || inner.forced.is_some();
        self.acts.store(acts, Ordering::Release);
    }

    /// What an operator forced.
    #[must_use]
    pub fn forced(&self) -> Option<State> {
        self.inner.lock().forced
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> State {
        match self.acts.load(Ordering::Acquire) {
            false => State::Closed,
            true => self.inner.lock().state(Instant::now()),
        }
    }

    /// Whether a statement may try the endpoint: while it is half open, only a few may.
    #[must_use]
    pub fn admits(&self) -> bool {
        if !self.acts.load(Ordering::Acquire) {
            return true;
        }
        self.inner.lock().admits(Instant::now())
    }

    /// What came of a statement, or of an attempt to connect.
    pub fn note(&self, fate: Fate) {
        if self.acts.load(Ordering::Acquire) && self.inner.lock().note(fate, Instant::now()) {
            self.opened.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Inner {
    fn forget(&mut self) {
        self.window = Default::default();
        self.open_until = None;
        self.probing = None;
    }

    fn state(&self, now: Instant) -> State {
        if let Some(forced) = self.forced {
            return forced;
        }
        match self.open_until {
            None => State::Closed,
            Some(until) if now < until => State::Open,
            Some(_) => State::HalfOpen,
        }
    }

    fn admits(&mut self, now: Instant) -> bool {
        match (self.state(now), &self.policy) {
            (State::Closed, _) => true,
            (State::Open, _) | (State::HalfOpen, None) => false,
            (State::HalfOpen, Some(policy)) => {
                let patience = Duration::from_millis(policy.open_ms);
                let probing = self.probing.get_or_insert(Probing {
                    since: now,
                    sent: 0,
                    passed: 0,
                });
                if now.duration_since(probing.since) > patience {
                    // Of those that were let through, some never came to an end.
                    (probing.since, probing.sent) = (now, 0);
                }
                probing.sent += 1;
                probing.sent <= policy.probes
            }
        }
    }

    /// Takes in a fate; gives whether it opened the breaker.
    fn note(&mut self, fate: Fate, now: Instant) -> bool {
        let Some(policy) = self.policy.clone() else {
            return false;
        };
        let slow = match fate {
            Fate::Failed => false,
            Fate::Answered(took) => {
                policy.slow_ms > 0 && took >= Duration::from_millis(policy.slow_ms)
            }
        };
        let bad = fate == Fate::Failed || slow;
        match self.state(now) {
            State::Open => false,
            State::HalfOpen if bad => {
                self.open(&policy, now);
                true
            }
            State::HalfOpen => {
                if let Some(probing) = &mut self.probing {
                    probing.passed += 1;
                    if probing.passed >= policy.probes {
                        self.forget();
                    }
                }
                false
            }
            State::Closed => {
                self.count(&policy, fate == Fate::Failed, slow, now);
                let opens = self.forced.is_none() && bad && self.is_too_much(&policy, now);
                if opens {
                    self.open(&policy, now);
                }
                opens
            }
        }
    }

    fn open(&mut self, policy: &Policy, now: Instant) {
        self.forget();
        self.open_until = Some(now + Duration::from_millis(policy.open_ms));
    }

    fn count(&mut self, policy: &Policy, failed: bool, slow: bool, now: Instant) {
        let number = slice_number(policy, now);
        let place = usize::try_from(number).unwrap_or(0) % SLICES;
        let Some(slice) = self.window.get_mut(place) else {
            return;
        };
        if slice.number != number {
            *slice = Slice {
                number,
                ..Slice::default()
            };
        }
        slice.all += 1;
        slice.failed += u32::from(failed);
        slice.slow += u32::from(slow);
    }

    fn is_too_much(&self, policy: &Policy, now: Instant) -> bool {
        let newest = slice_number(policy, now);
        let oldest = newest.saturating_sub(SLICES as u64 - 1);
        let (mut all, mut failed, mut slow) = (0u64, 0u64, 0u64);
        for slice in self.window.iter().filter(|s| s.number >= oldest) {
            all += u64::from(slice.all);
            failed += u64::from(slice.failed);
            slow += u64::from(slice.slow);
        }
        let beyond = |part: u64, percent: u32| part * 100 >= all * u64::from(percent);
        all >= u64::from(policy.min_volume)
            && ((failed > 0 && beyond(failed, policy.error_percent))
                || (slow > 0 && beyond(slow, policy.slow_percent)))
    }
}

/// Slices since the process began.
fn slice_number(policy: &Policy, now: Instant) -> u64 {
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let began = *BEGAN.get_or_init(|| now);
    let slice_ms = (policy.window_ms / SLICES as u64).max(1);
    let since = now.saturating_duration_since(began).as_millis();
    // From 1, so that an empty slice is never taken for the first.
    u64::try_from(since).unwrap_or(0) / slice_ms + SLICES as u64
}

/// Errors that speak of the server and not of the statement: memory, disk, connections, shutdown.
#[must_use]
pub fn is_of_server(code: u16) -> bool {
    matches!(
        code,
        1021 | 1037 | 1038 | 1040 | 1041 | 1053 | 1080 | 1135 | 1203 | 3168
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(slow_ms: u64) -> Breaker {
        let breaker = Breaker::default();
        breaker.follow(Some(&Policy {
            window_ms: 10_000,
            min_volume: 10,
            error_percent: 50,
            slow_ms,
            slow_percent: 80,
            open_ms: 1_000,
            probes: 2,
        }));
        breaker
    }

    const GOOD: Fate = Fate::Answered(Duration::from_millis(1));

    #[test]
    fn it_opens_probes_and_closes() {
        let breaker = breaker(0);
        let now = Instant::now();
        let mut inner = breaker.inner.lock();
        for _ in 0..5 {
            assert!(!inner.note(GOOD, now));
        }
        for _ in 0..4 {
            assert!(!inner.note(Fate::Failed, now), "too few to tell");
        }
        assert!(inner.note(Fate::Failed, now));
        assert_eq!(inner.state(now), State::Open);
        assert!(!inner.admits(now));
        let later = now + Duration::from_millis(1_001);
        assert_eq!(inner.state(later), State::HalfOpen);
        assert!(inner.admits(later) && inner.admits(later) && !inner.admits(later));
        assert!(
            inner.note(Fate::Failed, later),
            "a probe that fails opens it again"
        );
        let later = later + Duration::from_millis(1_001);
        assert!(inner.admits(later) && inner.admits(later));
        inner.note(GOOD, later);
        assert_eq!(inner.state(later), State::HalfOpen);
        inner.note(GOOD, later);
        assert_eq!(inner.state(later), State::Closed);
    }

    #[test]
    fn what_is_long_ago_does_not_count_and_what_is_slow_does() {
        let breaker = breaker(100);
        let now = Instant::now();
        let mut inner = breaker.inner.lock();
        for _ in 0..9 {
            inner.note(Fate::Failed, now);
        }
        let later = now + Duration::from_secs(30);
        assert!(!inner.note(Fate::Failed, later));
        for _ in 0..8 {
            assert!(!inner.note(GOOD, later + Duration::from_secs(30)));
        }
        let slow = Fate::Answered(Duration::from_millis(100));
        let mut opened = 0;
        for _ in 0..40 {
            opened += u32::from(inner.note(slow, later + Duration::from_secs(31)));
        }
        assert_eq!(opened, 1);
    }

    #[test]
    fn an_operator_is_obeyed() {
        let breaker = Breaker::default();
        assert!(breaker.admits());
        breaker.force(Some(State::Open));
        assert!(!breaker.admits() && breaker.state() == State::Open);
        breaker.force(Some(State::Closed));
        assert!(breaker.admits());
        breaker.force(None);
        assert!(breaker.admits() && breaker.state() == State::Closed);
    }
}
