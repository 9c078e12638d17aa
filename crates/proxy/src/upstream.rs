//! The endpoints of one service, and the choice among them.
//!
//! Owns the pools of a service's endpoints, how busy and how fast each is, and the balancing algorithm's position. It must
//! never choose an ejected endpoint while another is left. Input: the service's strategy; what statements took.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use dbmesh_model::topology::{Balance, Endpoint, Role};

use crate::pool::Pool;

/// One endpoint as this service uses it.
#[derive(Debug)]
pub struct Member {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Its connections.
    pub pool: Arc<Pool>,
    /// Statements under way.
    outstanding: AtomicU32,
    /// Peak exponentially weighted latency, in ns.
    latency_ns: AtomicU64,
    /// Statements sent there.
    pub statements: AtomicU64,
}

impl Member {
    /// Notes that a statement begins.
    #[must_use]
    pub fn begin(&self) -> Work<'_> {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        self.statements.fetch_add(1, Ordering::Relaxed);
        Work { member: self }
    }

    fn outstanding(&self) -> u32 {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Latency times work: less is better. An endpoint not measured yet counts as fast, so that it gets measured.
    fn cost(&self) -> u128 {
        let latency = u128::from(self.latency_ns.load(Ordering::Relaxed)).max(1);
        latency * (u128::from(self.outstanding()) + 1) / u128::from(self.endpoint.weight.max(1))
    }

    /// Notes how long a statement took.
    pub fn took(&self, time: Duration) {
        let new = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let old = self.latency_ns.load(Ordering::Relaxed);
        // A peak counts at once, a fall slowly.
        let next = if new > old {
            old / 2 + new / 2
        } else {
            old - old / 16 + new / 16
        };
        self.latency_ns.store(next, Ordering::Relaxed);
    }

    /// The latency as the balancer sees it, in ns.
    #[must_use]
    pub fn latency_ns(&self) -> u64 {
        self.latency_ns.load(Ordering::Relaxed)
    }
}

/// A statement under way at an endpoint.
#[derive(Debug)]
pub struct Work<'a> {
    member: &'a Member,
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.member.outstanding.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The endpoints of one service.
#[derive(Debug)]
pub struct Upstream {
    /// In the strategy's order.
    pub members: Vec<Arc<Member>>,
    balance: Balance,
    turn: AtomicU64,
}

impl Upstream {
    /// The endpoints with their pools.
    #[must_use]
    pub fn new(balance: Balance, pools: Vec<(Arc<Endpoint>, Arc<Pool>)>) -> Self {
        let members = pools
            .into_iter()
            .map(|(endpoint, pool)| {
                Arc::new(Member {
                    endpoint,
                    pool,
                    outstanding: AtomicU32::new(0),
                    latency_ns: AtomicU64::new(0),
                    statements: AtomicU64::new(0),
                })
            })
            .collect();
        Self {
            members,
            balance,
            turn: AtomicU64::new(0),
        }
    }

    /// Chooses an endpoint of this role, not one of `tried`. Ejected ones only when nothing else is left.
    #[must_use]
    pub fn choose(&self, role: Role, tried: &[Arc<Member>]) -> Option<&Arc<Member>> {
        if let [only] = self.members.as_slice() {
            let fits = only.endpoint.role == role && tried.is_empty();
            return fits.then_some(only);
        }
        let fits = |m: &&Arc<Member>| {
            m.endpoint.role == role
                && m.endpoint.weight > 0
                && !tried.iter().any(|t| Arc::ptr_eq(t, m))
        };
        let healthy: Vec<&Arc<Member>> = self
            .members
            .iter()
            .filter(fits)
            .filter(|m| !m.pool.health.is_ejected())
            .collect();
        if healthy.is_empty() {
            let any: Vec<&Arc<Member>> = self.members.iter().filter(fits).collect();
            return self.pick(&any);
        }
        self.pick(&healthy)
    }

    fn pick<'a>(&self, from: &[&'a Arc<Member>]) -> Option<&'a Arc<Member>> {
        let count = from.len() as u64;
        if count <= 1 {
            return from.first().copied();
        }
        let nth = |n: u64| from.get(usize::try_from(n % count).unwrap_or(0)).copied();
        match self.balance {
            Balance::Random => nth(random()),
            Balance::RoundRobin => nth(self.turn.fetch_add(1, Ordering::Relaxed)),
            Balance::Weighted => {
                let total: u64 = from.iter().map(|m| u64::from(m.endpoint.weight)).sum();
                let mut at = self
                    .turn
                    .fetch_add(1, Ordering::Relaxed)
                    .wrapping_mul(GOLDEN)
                    % total.max(1);
                from.iter().copied().find(|m| {
                    let weight = u64::from(m.endpoint.weight);
                    let here = at < weight;
                    at = at.saturating_sub(weight);
                    here
                })
            }
            Balance::LeastConn => {
                let shift = usize::try_from(random() % count).unwrap_or(0);
                let rotated = from.iter().cycle().skip(shift).take(from.len());
                rotated.copied().min_by_key(|m| {
                    u64::from(m.outstanding()) * 1000 / u64::from(m.endpoint.weight.max(1))
                })
            }
            Balance::Ewma => {
                let first = random() % count;
                let second = (first + 1 + random() % (count - 1)) % count;
                let (a, b) = (nth(first)?, nth(second)?);
                Some(if a.cost() <= b.cost() { a } else { b })
            }
        }
    }
}

/// An odd multiplier that spreads consecutive numbers evenly (2^64 divided by the golden ratio).
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A fast random number; good enough to spread load.
#[must_use]
pub fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(seed());
    }
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        x.wrapping_mul(GOLDEN) >> 16
    })
}

fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::thread::current().id()) | 1
}
