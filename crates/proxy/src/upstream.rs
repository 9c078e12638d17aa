//! The endpoints of one service, which of them is the primary, and the choice among them.
//!
//! Owns the pools of a service's endpoints, how busy and how fast each is, the balancing algorithm's position, and what was
//! written through the service. It must never choose an ejected endpoint while another is left, nor serve two primaries that
//! report themselves. Input: the service's strategy; what statements took; what the monitor saw.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use dbmesh_model::topology::{Balance, Buffer, Endpoint, Role, RoleSource, Service, Splitting};
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::{Notify, watch};

use crate::pool::Pool;
use crate::position::Position;
use crate::standing::AdminState;

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
    /// Endpoints that no role leads to: only a statement that has to run there does.
    pub away: Vec<Arc<Member>>,
    service: Arc<Service>,
    turn: AtomicU64,
    /// The confirmed primary, where roles are what servers report: its place among the members.
    primary: Mutex<Option<usize>>,
    /// Changes when somebody may serve who could not before.
    changes: watch::Sender<u64>,
    /// Wakes the monitor before its time.
    pub suspicion: Notify,
    /// Everything that sessions of this service wrote, for reads that must see all of it.
    written: Mutex<Position>,
    /// Statements that wait for a primary.
    pub waiting: AtomicU32,
    /// Changes of the primary.
    pub elections: AtomicU64,
    /// Reads that were meant for a replica and went to the primary to be fresh.
    pub turned_fresh: AtomicU64,
}

/// A few members, without allocation.
type Few<'a> = SmallVec<[&'a Arc<Member>; 16]>;

impl Upstream {
    /// The endpoints with their pools. What is known of the primary and of writes is taken over.
    #[must_use]
    pub fn new(
        service: &Arc<Service>,
        pools: Vec<(Arc<Endpoint>, Arc<Pool>)>,
        away: Vec<(Arc<Endpoint>, Arc<Pool>)>,
        before: Option<&Self>,
    ) -> Self {
        let member = |(endpoint, pool)| {
            Arc::new(Member {
                endpoint,
                pool,
                outstanding: AtomicU32::new(0),
                latency_ns: AtomicU64::new(0),
                statements: AtomicU64::new(0),
            })
        };
        let members: Vec<Arc<Member>> = pools.into_iter().map(member).collect();
        let away = away.into_iter().map(member).collect();
        let primary = before.and_then(|before| {
            let old = before.primary()?;
            members.iter().position(|m| Arc::ptr_eq(&m.pool, &old.pool))
        });
        Self {
            members,
            away,
            service: service.clone(),
            turn: AtomicU64::new(0),
            primary: Mutex::new(primary),
            changes: watch::Sender::new(0),
            suspicion: Notify::new(),
            written: Mutex::new(before.map(|b| b.written.lock().clone()).unwrap_or_default()),
            waiting: AtomicU32::new(0),
            elections: AtomicU64::new(before.map_or(0, |b| b.elections.load(Ordering::Relaxed))),
            turned_fresh: AtomicU64::new(
                before.map_or(0, |b| b.turned_fresh.load(Ordering::Relaxed)),
            ),
        }
    }

    /// How reads are split off, if they are.
    #[must_use]
    pub fn splitting(&self) -> Option<&Splitting> {
        self.service.strategy.splitting.as_ref()
    }

    /// How statements wait for a primary.
    #[must_use]
    pub fn buffer(&self) -> Buffer {
        self.service.strategy.buffer
    }

    fn reports_roles(&self) -> bool {
        self.splitting()
            .is_some_and(|s| s.roles == RoleSource::Reported)
    }

    /// The confirmed primary, where roles are what servers report.
    #[must_use]
    pub fn primary(&self) -> Option<&Arc<Member>> {
        let at = *self.primary.lock();
        at.and_then(|at| self.members.get(at))
    }

    /// The role in which a member serves now; none while it serves in none.
    #[must_use]
    pub fn role_of(&self, member: &Arc<Member>) -> Option<Role> {
        let standing = &member.pool.standing;
        if standing.admin_state() == AdminState::Draining {
            return None;
        }
        let role = match self.splitting().map(|s| s.roles) {
            None => return Some(member.endpoint.role),
            Some(RoleSource::Configured) => member.endpoint.role,
            Some(RoleSource::Reported) => standing.role()?,
        };
        let serves = match (role, self.reports_roles()) {
            (Role::Shadow, _) => false,
            (Role::Primary, false) => true,
            (Role::Primary, true) => {
                standing.is_up() && self.primary().is_some_and(|p| Arc::ptr_eq(p, member))
            }
            // Without a primary nobody writes, and a replica that lost it is as fresh as can be.
            (Role::Replica, _) => {
                standing.is_up()
                    && (standing.is_fresh()
                        || (standing.is_disconnected() && !self.primary_is_up()))
            }
        };
        serves.then_some(role)
    }

    fn primary_is_up(&self) -> bool {
        if self.reports_roles() {
            return self.primary().is_some();
        }
        let mut primaries = self
            .members
            .iter()
            .filter(|m| m.endpoint.role == Role::Primary);
        primaries.any(|m| m.pool.standing.is_up())
    }

    /// Whether somebody serves as primary.
    #[must_use]
    pub fn has_primary(&self) -> bool {
        self.members
            .iter()
            .any(|m| self.role_of(m) == Some(Role::Primary))
    }

    /// Chooses an endpoint of this role, not one of `tried`. Ejected ones only when nothing else is left.
    #[must_use]
    pub fn choose(
        &self,
        role: Role,
        balance: Option<Balance>,
        tried: &[Arc<Member>],
    ) -> Option<&Arc<Member>> {
        let fits = |m: &&Arc<Member>| {
            !tried.iter().any(|t| Arc::ptr_eq(t, m)) && self.role_of(m) == Some(role)
        };
        if let [only] = self.members.as_slice() {
            return Some(only).filter(fits);
        }
        let balance = balance.unwrap_or(self.service.strategy.balance);
        let able: Few<'_> = self
            .members
            .iter()
            .filter(|m| m.endpoint.weight > 0 && fits(m))
            .collect();
        let healthy: Few<'_> = able
            .iter()
            .copied()
            .filter(|m| !m.pool.health.is_ejected())
            .collect();
        self.pick(balance, if healthy.is_empty() { &able } else { &healthy })
    }

    /// Replicas that serve now.
    pub fn replicas(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.members
            .iter()
            .filter(|m| self.role_of(m) == Some(Role::Replica))
    }

    /// Something looks wrong: the monitor looks at once.
    pub fn suspect(&self) {
        self.suspicion.notify_waiters();
    }

    /// Decides who is the primary, from what the servers report. The one confirmed first stays until it cannot be reached
    /// or does not take writes any more; others that would take them are fenced meanwhile.
    pub fn judge(&self) {
        if self.reports_roles() {
            self.elect();
        }
        self.changes.send_modify(|n| *n += 1);
    }

    fn elect(&self) {
        let writable = |m: &Arc<Member>| {
            m.pool.standing.is_up() && m.pool.standing.role() == Some(Role::Primary)
        };
        let mut primary = self.primary.lock();
        let before = *primary;
        let stays = primary
            .and_then(|at| self.members.get(at))
            .is_some_and(writable);
        if !stays {
            *primary = self.members.iter().position(writable);
        }
        for (at, member) in self.members.iter().enumerate() {
            let second = writable(member) && *primary != Some(at);
            if member.pool.standing.set_fenced(second) {
                let endpoint = &member.endpoint.name;
                if second {
                    tracing::warn!(%endpoint, "fenced: it takes writes, and another server is the primary");
                } else {
                    tracing::info!(%endpoint, "no longer fenced");
                }
            }
        }
        if *primary != before {
            self.elections.fetch_add(1, Ordering::Relaxed);
            match primary.and_then(|at| self.members.get(at)) {
                Some(new) => {
                    tracing::info!(endpoint = %new.endpoint.name, "this is the primary now")
                }
                None => tracing::warn!(service = %self.service.database, "there is no primary"),
            }
        }
    }

    /// A receiver that hears of changes from now on.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A server that was the primary takes no writes: where roles are reported, it has just reported another.
    pub fn refused_write(&self, member: &Member) {
        if self.reports_roles() && member.pool.standing.set_role(Role::Replica) {
            self.judge();
        }
        self.suspect();
    }

    /// A place among those who wait for a primary; none when there are too many.
    #[must_use]
    pub fn wait_in_line(&self) -> Option<InLine<'_>> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = InLine { upstream: self };
        (before < self.buffer().max_statements).then_some(place)
    }

    /// Takes note of what a session wrote, before its client knows that it did.
    pub fn note_written(&self, position: &Position) {
        self.written.lock().follow(position);
    }

    /// Everything that was written.
    #[must_use]
    pub fn written(&self) -> Position {
        self.written.lock().clone()
    }

    fn pick<'a>(&self, balance: Balance, from: &[&'a Arc<Member>]) -> Option<&'a Arc<Member>> {
        let count = from.len() as u64;
        if count <= 1 {
            return from.first().copied();
        }
        let nth = |n: u64| from.get(usize::try_from(n % count).unwrap_or(0)).copied();
        match balance {
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

/// A place among those who wait for a primary.
#[derive(Debug)]
pub struct InLine<'a> {
    upstream: &'a Upstream,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.upstream.waiting.fetch_sub(1, Ordering::Relaxed);
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
