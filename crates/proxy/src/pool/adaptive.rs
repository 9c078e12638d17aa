//! How many connections of a pool are worth using now, told by the latency of its server.
//!
//! Owns the limit: it grows while statements take about as long as on an idle server, and shrinks in proportion when they
//! take longer, for then more at a time only means a longer queue at the server. The measure is the least mean of a window
//! in the last two epochs; each epoch begins with a window at a fraction of the limit, so that a server that is always
//! busy is not taken for an idle one. Must never leave its bounds. Input: the time of each exchange, the policy.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dbmesh_model::topology::AdaptivePool;

use super::{Grant, Inner, Pool};
use crate::breaker::Fate;

/// Statements from which a window concludes.
const WINDOW_STATEMENTS: u32 = 32;
/// Shortest window.
const WINDOW: Duration = Duration::from_millis(100);
/// How long a measure counts, and once more.
const EPOCH: Duration = Duration::from_secs(30);
/// The fraction of the limit at which an epoch begins.
const PROBE_FRACTION: f64 = 0.25;
/// How much of the way to its aim the limit goes in a window.
const STEP: f64 = 0.3;
/// Most by which a window shrinks its aim.
const GRADIENT_MIN: f64 = 0.5;
/// What a failure leaves of the limit.
const AFTER_FAILURE: f64 = 0.9;

/// The limit of one pool.
#[derive(Debug)]
pub struct Adaptive {
    bounds: (f64, f64),
    /// How often the idle server's latency is still good.
    tolerance: f64,
    limit: f64,
    /// Until the window's end, to measure with little load.
    probe: Option<f64>,
    began: Instant,
    count: u32,
    sum: Duration,
    failed: bool,
    /// Most leased at a time in this window.
    used_max: u32,
    epoch_began: Instant,
    /// Least mean of this epoch and of the one before.
    least: [Option<Duration>; 2],
}

impl Adaptive {
    /// At first, all that the pool has: a limit comes from what is measured.
    pub fn new(policy: &AdaptivePool, size: u32, now: Instant) -> Self {
        let min = policy.min.min(size);
        Self {
            bounds: (f64::from(min), f64::from(size)),
            tolerance: 1.0 + f64::from(policy.tolerance_percent) / 100.0,
            limit: f64::from(size),
            probe: Some(f64::from(min)),
            began: now,
            count: 0,
            sum: Duration::ZERO,
            failed: false,
            used_max: 0,
            epoch_began: now,
            least: [None; 2],
        }
    }

    /// Connections that may be leased at a time.
    pub fn limit(&self) -> u32 {
        let limit = self.probe.unwrap_or(self.limit);
        let limit = limit.clamp(self.bounds.0, self.bounds.1).round();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between two numbers of connections"
        )]
        let limit = limit as u32;
        limit.max(1)
    }

    /// Latency of the server without load, as far as it is known.
    pub fn unloaded(&self) -> Option<Duration> {
        self.least.iter().flatten().min().copied()
    }

    /// An exchange ended while so many connections were leased; gives whether the limit is another now.
    pub fn note(&mut self, took: Option<Duration>, leased: u32, now: Instant) -> bool {
        let before = self.limit();
        match took {
            Some(took) => {
                self.count += 1;
                self.sum += took;
            }
            None => self.failed = true,
        }
        self.used_max = self.used_max.max(leased);
        let over = now.duration_since(self.began) >= WINDOW;
        if over && (self.count >= WINDOW_STATEMENTS || self.failed) {
            self.conclude(now);
        }
        before != self.limit()
    }

    fn conclude(&mut self, now: Instant) {
        let mean = (self.count >= WINDOW_STATEMENTS).then(|| self.sum / self.count.max(1));
        if let Some(mean) = mean {
            let [least, _] = &mut self.least;
            *least = Some(least.map_or(mean, |known| known.min(mean)));
        }
        if self.failed {
            self.limit *= AFTER_FAILURE;
        } else if let (None, Some(mean), Some(unloaded)) = (self.probe, mean, self.unloaded()) {
            self.follow(mean, unloaded);
        }
        self.limit = self.limit.clamp(self.bounds.0, self.bounds.1);
        self.probe = None;
        if now.duration_since(self.epoch_began) >= EPOCH {
            self.epoch_began = now;
            let [this, _] = self.least;
            self.least = [None, this];
            self.probe = Some((self.limit * PROBE_FRACTION).max(self.bounds.0));
        }
        self.began = now;
        (self.count, self.sum, self.failed, self.used_max) = (0, Duration::ZERO, false, 0);
    }

    /// One window's step.
    fn follow(&mut self, mean: Duration, unloaded: Duration) {
        let good = unloaded.as_secs_f64() * self.tolerance;
        let gradient = (good / mean.as_secs_f64().max(1e-9)).clamp(GRADIENT_MIN, 1.0);
        let aim = self.limit * gradient + self.limit.sqrt();
        // What nobody uses proves nothing.
        if aim > self.limit && f64::from(self.used_max) * 2.0 < self.limit {
            return;
        }
        self.limit += (aim - self.limit) * STEP;
    }
}

impl Pool {
    /// An exchange with the server came to this.
    pub fn note(&self, fate: Fate) {
        let Some(adaptive) = &self.adaptive else {
            return;
        };
        let took = match fate {
            Fate::Answered(took) => Some(took),
            Fate::Failed => None,
        };
        let leased = self.inner.lock().leased();
        let moved = {
            let mut adaptive = adaptive.lock();
            let moved = adaptive.note(took, leased, Instant::now());
            moved.then(|| adaptive.limit())
        };
        if let Some(limit) = moved {
            let mut inner = self.inner.lock();
            inner.limit = limit;
            let closed = inner.let_more_in(self.policy.size);
            drop(inner);
            self.counters.closed.fetch_add(closed, Ordering::Relaxed);
        }
    }

    /// Latency of the server without load, where the pool follows it.
    #[must_use]
    pub fn unloaded(&self) -> Option<Duration> {
        self.adaptive.as_ref()?.lock().unloaded()
    }
}

impl Inner {
    /// Who waits gets what a higher limit has room for. Says how many connections were closed for others with other flags.
    fn let_more_in(&mut self, size: u32) -> u64 {
        let mut closed = 0;
        while self.leased() < self.limit
            && let Some(waiter) = self.waiters.pop()
        {
            let fit = |at: &usize| self.idle.get(*at).is_some_and(|b| b.flags == waiter.flags);
            let fitting = (0..self.idle.len()).rev().find(fit);
            if let Some(at) = fitting {
                let backend = self.idle.swap_remove(at);
                if let Err(Grant::Connection(back)) = waiter.grant.send(Grant::Connection(backend))
                {
                    self.idle.push(back);
                }
                continue;
            }
            if self.total >= size {
                let Some(other) = self.idle.pop() else {
                    return closed;
                };
                closed += 1;
                tokio::spawn(other.quit());
            } else {
                self.total += 1;
            }
            if waiter.grant.send(Grant::Permit).is_err() {
                self.total = self.total.saturating_sub(1);
            }
        }
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: AdaptivePool = AdaptivePool {
        min: 4,
        tolerance_percent: 100,
    };

    /// A server that works on `width` statements at a time, each for 1 ms; the rest wait there.
    struct Server {
        width: u32,
        now: Instant,
    }

    impl Server {
        /// Clients that always use all that the limit lets them, for this long.
        fn load(&mut self, adaptive: &mut Adaptive, clients: u32, time: Duration) {
            let end = self.now + time;
            while self.now < end {
                let at_once = adaptive.limit().min(clients);
                let took = Duration::from_millis(1)
                    .mul_f64(f64::from(at_once.max(self.width)) / f64::from(self.width));
                for _ in 0..at_once {
                    adaptive.note(Some(took), at_once, self.now);
                }
                self.now += took;
            }
        }
    }

    fn at(width: u32) -> (Server, Adaptive) {
        let now = Instant::now();
        (Server { width, now }, Adaptive::new(&POLICY, 128, now))
    }

    #[test]
    fn a_server_gets_what_it_can_work_on_and_little_more() {
        for width in [4, 8, 16] {
            let (mut server, mut adaptive) = at(width);
            server.load(&mut adaptive, 1_000, Duration::from_secs(20));
            let limit = adaptive.limit();
            assert!(
                (width..=width * 5).contains(&limit),
                "{limit} for a server of {width}"
            );
            assert_eq!(adaptive.unloaded(), Some(Duration::from_millis(1)));
        }
    }

    #[test]
    fn it_follows_a_server_that_slows_down_and_recovers() {
        let (mut server, mut adaptive) = at(64);
        server.load(&mut adaptive, 1_000, Duration::from_secs(20));
        let before = adaptive.limit();
        assert!(before >= 64, "{before}");
        server.width = 4;
        server.load(&mut adaptive, 1_000, Duration::from_secs(15));
        let slow = adaptive.limit();
        assert!(slow <= before / 3, "{before}, then {slow}");
        server.width = 64;
        server.load(&mut adaptive, 1_000, Duration::from_secs(25));
        assert!(
            adaptive.limit() >= before * 2 / 3,
            "{before}, {}",
            adaptive.limit()
        );
    }

    #[test]
    fn a_server_that_is_always_busy_is_not_taken_for_an_idle_one() {
        let (mut server, mut adaptive) = at(8);
        for _ in 0..10 {
            server.load(&mut adaptive, 1_000, Duration::from_secs(60));
            assert!(adaptive.limit() <= 40, "{}", adaptive.limit());
        }
    }

    #[test]
    fn bounds_hold_and_failures_shrink_it() {
        let (mut server, mut adaptive) = at(1);
        server.load(&mut adaptive, 1_000, Duration::from_secs(60));
        assert!((4..=12).contains(&adaptive.limit()), "{}", adaptive.limit());
        let (mut server, mut adaptive) = at(1_000);
        server.load(&mut adaptive, 1_000, Duration::from_secs(60));
        assert_eq!(adaptive.limit(), 128);
        let mut now = server.now;
        for _ in 0..100 {
            now += WINDOW;
            adaptive.note(None, 128, now);
        }
        assert_eq!(adaptive.limit(), 4);
    }
}
