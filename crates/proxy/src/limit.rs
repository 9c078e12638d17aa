//! Counts of what runs, and of what began: the state of limits.
//!
//! Owns rates (GCRA: one time per key says when the next may begin) and numbers at a time, each by key. Must never hold more
//! keys than [`LIMIT_KEYS_MAX`]: those beyond share one count, so that many keys loosen no limit. Input: keys that the
//! rules make, the time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dbmesh_model::topology::{ConcurrencyLimit, ConcurrencyRule, LIMIT_KEYS_MAX, RateLimit};
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The key of those that have none of their own.
const SHARED: u64 = 0;
/// Between two searches for keys that nobody uses.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Keys with their counts.
#[derive(Debug)]
struct Keys<T> {
    counts: HashMap<u64, T>,
    swept: Option<Instant>,
}

impl<T> Default for Keys<T> {
    fn default() -> Self {
        Self {
            counts: HashMap::new(),
            swept: None,
        }
    }
}

impl<T> Keys<T> {
    /// The count of a key, or the shared one where there is no room.
    fn of(&mut self, key: u64, unused: impl Fn(&T) -> bool, fresh: impl FnOnce() -> T) -> &mut T {
        let mut key = key;
        if self.counts.len() >= LIMIT_KEYS_MAX && !self.counts.contains_key(&key) {
            if self.swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY) {
                self.swept = Some(Instant::now());
                self.counts.retain(|_, count| !unused(count));
            }
            if self.counts.len() >= LIMIT_KEYS_MAX {
                key = SHARED;
            }
        }
        self.counts.entry(key).or_insert_with(fresh)
    }
}

/// A rate, by key.
#[derive(Debug)]
pub struct Rate {
    /// Between two that begin.
    interval_ns: u64,
    /// By how much they may be early.
    tolerance_ns: u64,
    since: Instant,
    /// When the next is due, in ns since then.
    due: Mutex<Keys<u64>>,
}

impl Rate {
    /// As the rule says.
    #[must_use]
    pub fn new(limit: &RateLimit) -> Self {
        let per_ns = limit.per_ms.saturating_mul(1_000_000);
        let interval_ns = (per_ns / u64::from(limit.count.max(1))).max(1);
        Self {
            interval_ns,
            tolerance_ns: interval_ns.saturating_mul(u64::from(limit.burst.saturating_sub(1))),
            since: Instant::now(),
            due: Mutex::default(),
        }
    }

    /// Takes the next turn of a key, if it comes within a time: how long until then.
    pub fn take(&self, key: u64, now: Instant, within: Duration) -> Option<Duration> {
        let now_ns = nanos(now.saturating_duration_since(self.since));
        let mut keys = self.due.lock();
        let due = keys.of(key, |due| *due <= now_ns, || 0);
        let next = (*due).max(now_ns);
        let wait = next
            .saturating_sub(self.tolerance_ns)
            .saturating_sub(now_ns);
        if wait > nanos(within) {
            return None;
        }
        *due = next.saturating_add(self.interval_ns);
        Some(Duration::from_nanos(wait))
    }

    #[cfg(test)]
    fn keys(&self) -> usize {
        self.due.lock().counts.len()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A number at a time, by key.
#[derive(Debug)]
pub struct Concurrency {
    count: usize,
    places: Mutex<Keys<Arc<Semaphore>>>,
}

impl Concurrency {
    /// As the rule says.
    #[must_use]
    pub fn new(limit: &ConcurrencyLimit) -> Self {
        let count = usize::try_from(limit.count).unwrap_or(usize::MAX);
        Self {
            count: count.min(Semaphore::MAX_PERMITS),
            places: Mutex::default(),
        }
    }

    /// The places of a key: whoever waits for one stands in line.
    pub fn places(&self, key: u64) -> Arc<Semaphore> {
        let unused = |places: &Arc<Semaphore>| {
            Arc::strong_count(places) == 1 && places.available_permits() == self.count
        };
        let fresh = || Arc::new(Semaphore::new(self.count));
        self.places.lock().of(key, unused, fresh).clone()
    }
}

/// The older form: at most a number at a time, and as many that begin within a window.
#[derive(Debug)]
pub struct Window {
    rule: ConcurrencyRule,
    state: Mutex<Begun>,
}

#[derive(Debug, Default)]
struct Begun {
    /// When the statements of the current window began; those still running keep their place beyond it.
    starts: VecDeque<Instant>,
    running: u32,
}

impl Window {
    /// As the rule says.
    #[must_use]
    pub fn new(rule: &ConcurrencyRule) -> Self {
        Self {
            rule: rule.clone(),
            state: Mutex::default(),
        }
    }

    /// A place, if there is one.
    pub fn enter(self: &Arc<Self>, now: Instant) -> Option<WindowPlace> {
        let mut state = self.state.lock();
        let over = |start: &Instant| now.duration_since(*start) >= self.rule.window;
        while state.starts.front().is_some_and(over) {
            state.starts.pop_front();
        }
        let begun = u32::try_from(state.starts.len()).unwrap_or(u32::MAX);
        if begun >= self.rule.max || state.running >= self.rule.max {
            return None;
        }
        state.starts.push_back(now);
        state.running += 1;
        Some(WindowPlace(self.clone()))
    }
}

/// A place in a window, given back when dropped.
#[derive(Debug)]
pub struct WindowPlace(Arc<Window>);

impl Drop for WindowPlace {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.running = state.running.saturating_sub(1);
    }
}

/// A place in a limit, given back when dropped.
#[derive(Debug)]
#[allow(dead_code, reason = "they are held, not read")]
pub enum Place {
    /// Of a number at a time.
    Concurrency(OwnedSemaphorePermit),
    /// Of the older form.
    Window(WindowPlace),
}

/// Somebody in line, counted until dropped.
#[derive(Debug)]
pub struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    /// One more in line, unless there are too many.
    pub fn enter(line: &'a AtomicU32, max: u32) -> Option<Self> {
        if line.fetch_add(1, Ordering::Relaxed) >= max {
            line.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self(line))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(count: u32, burst: u32) -> Rate {
        Rate::new(&RateLimit {
            count,
            per_ms: 1000,
            burst,
            by: Vec::new(),
            max_wait_ms: 0,
            max_waiting: 1,
        })
    }

    /// Statements let through of those that come every `every_us` for ten seconds.
    fn admitted(rate: &Rate, every_us: u64, within: Duration) -> u32 {
        let start = Instant::now();
        let mut count = 0;
        let mut at = Duration::ZERO;
        while at < Duration::from_secs(10) {
            if let Some(wait) = rate.take(1, start + at, within)
                && at + wait < Duration::from_secs(10)
            {
                count += 1;
            }
            at += Duration::from_micros(every_us);
        }
        count
    }

    #[test]
    fn a_rate_is_kept_under_overload() {
        for (burst, within) in [(10, 0), (10, 50), (100, 0)] {
            let count = admitted(&rate(1000, burst), 250, Duration::from_millis(within));
            let allowed = 9_800..=10_200;
            assert!(allowed.contains(&count), "{count} with burst {burst}");
        }
    }

    /// How those come that ask four times as often as they may, as times in turns of the rate.
    fn arrivals(pattern: &str, turns: u32) -> Vec<f64> {
        let count = 4 * turns;
        let mut state = 42_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut at = 0.0;
        (0..count)
            .map(|n| {
                at += match pattern {
                    // Never quite at the time of a turn.
                    "even" => 0.25,
                    "uneven" => 0.15 + 0.2 * random(),
                    "poisson" => -0.25 * (1.0 - random()).ln(),
                    // Four, eight, ... clients that come at the same moment.
                    "in step" => f64::from(u8::from(n % 4 == 0)),
                    other => panic!("{other}"),
                };
                at
            })
            .collect()
    }

    #[test]
    fn a_rate_without_a_burst_of_its_own_is_reached_and_never_passed() {
        for per_second in [1, 3, 10, 50, 100, 1_000, 20_000, 100_000] {
            // As the resolver chooses it.
            let burst = (per_second / 10).max(1) + 1;
            let turns = (10 * per_second).max(2_000);
            for pattern in ["even", "uneven", "poisson", "in step"] {
                let rate = rate(per_second, burst);
                let start = Instant::now() + Duration::from_secs(3600);
                let turn_s = 1.0 / f64::from(per_second);
                let mut begun: Vec<f64> = arrivals(pattern, turns);
                let end = *begun.last().unwrap();
                begun.retain(|at| {
                    let now = start + Duration::from_secs_f64(at * turn_s);
                    rate.take(1, now, Duration::ZERO).is_some()
                });
                let count = begun.len() as f64;
                let what = format!("{per_second}/s, {pattern}: {count} of {end}");
                assert!(count >= 0.98 * end - 1.0, "{what}");
                assert!(count <= 1.001 * end + f64::from(burst) + 1.0, "{what}");
                let window = f64::from(per_second);
                let mut first = 0;
                for (last, at) in begun.iter().enumerate() {
                    while begun[first] <= at - window {
                        first += 1;
                    }
                    let within = (last - first + 1) as f64;
                    assert!(
                        within <= window + f64::from(burst),
                        "{what}: {within} in 1 s"
                    );
                }
            }
        }
    }

    #[test]
    fn many_clients_in_step_lose_no_turn_within_a_tenth_of_a_second() {
        let rate = rate(100, 11);
        let start = Instant::now() + Duration::from_secs(3600);
        let bunch = |n: u64| {
            let now = start + Duration::from_millis(100 * n);
            (0..40)
                .filter(|_| rate.take(1, now, Duration::ZERO).is_some())
                .count()
        };
        assert_eq!((0..100).map(bunch).sum::<usize>(), 1_001);
    }

    #[test]
    fn no_more_than_the_burst_begins_at_once() {
        let rate = rate(1000, 7);
        let now = Instant::now() + Duration::from_secs(5);
        let taken = |now| {
            (0..100)
                .filter(|_| rate.take(1, now, Duration::ZERO).is_some())
                .count()
        };
        assert_eq!(taken(now), 7);
        assert_eq!(taken(now + Duration::from_millis(3)), 3);
        assert_eq!(taken(now + Duration::from_secs(60)), 7);
    }

    #[test]
    fn many_keys_share_a_count_instead_of_growing() {
        let rate = rate(1, 1);
        let now = Instant::now();
        let limit = u64::try_from(LIMIT_KEYS_MAX).unwrap();
        let passed = (1..=3 * limit).filter(|key| rate.take(*key, now, Duration::ZERO).is_some());
        assert_eq!(passed.count(), LIMIT_KEYS_MAX + 1);
        assert!(rate.keys() <= LIMIT_KEYS_MAX + 1);
        let later = now + Duration::from_secs(2);
        std::thread::sleep(SWEEP_EVERY);
        assert!(rate.take(4 * limit, later, Duration::ZERO).is_some());
        assert!(rate.keys() <= 2, "keys that are due count for nothing");
    }
}
