//! The endpoints of one service, which of them is the primary, and the choice among them.
//!
//! Owns the pools of a service's endpoints, how busy and how fast each is, the balancing algorithm's position, and what was
//! written through the service. It must never choose an ejected endpoint while another is left, nor serve two primaries that
//! report themselves. Input: the service's strategy; what statements took; what the monitor saw.

mod electing;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use dbmesh_model::topology::{Balance, Buffer, Endpoint, Role, RoleSource, Service, Splitting};
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::watch;

use crate::balance::{Way, hash_of, pick, prefer_near};
use crate::breaker::State;
use crate::control::Signals;
use crate::election::Place;
use crate::metrics::Times;
use crate::pool::Pool;
use crate::position::{Gtids, Position};
use crate::recall::Recall;
use crate::registry::Registry;
use crate::standing::AdminState;
use electing::Promised;

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
    /// Those answered with an error.
    pub errors: AtomicU64,
    /// How long they took.
    pub times: Times,
    /// The hash of its name, for consistent hashing.
    pub hash_id: u64,
    /// Whether it stands in the proxy's own zone.
    pub near: bool,
}

impl Member {
    /// Notes that a statement begins.
    #[must_use]
    pub fn begin(&self) -> Work<'_> {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        self.statements.fetch_add(1, Ordering::Relaxed);
        Work { member: self }
    }

    /// Statements under way.
    #[must_use]
    pub fn outstanding(&self) -> u32 {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Latency times work: less is better. An endpoint not measured yet counts as fast, so that it gets measured.
    #[must_use]
    pub fn cost(&self) -> u128 {
        let latency = u128::from(self.latency_ns.load(Ordering::Relaxed)).max(1);
        latency * (u128::from(self.outstanding()) + 1) / u128::from(self.endpoint.weight.max(1))
    }

    /// Counts how long a statement took, and the error that it was answered with.
    pub fn answered(&self, time: Duration, error: Option<u16>) {
        self.times.add(time);
        if error.is_some() {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
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
    /// Some members stand in the proxy's zone, and some do not.
    zoned: bool,
    service: Arc<Service>,
    turn: AtomicU64,
    /// The confirmed primary, where roles are what servers report: its place among the members.
    primary: Mutex<Place>,
    /// When it was made.
    begun: Instant,
    /// Several take writes, and none has all transactions.
    diverged: AtomicBool,
    /// Where it is written down who was deposed, before another one is the primary.
    recall: OnceLock<Arc<Recall>>,
    /// What was written there last, or is being written.
    promised: Arc<Mutex<Promised>>,
    /// Changes when somebody may serve who could not before.
    changes: watch::Sender<u64>,
    /// Wakes the monitor before its time.
    suspicion: watch::Sender<u64>,
    /// Another one is in its place: the monitor ends, and who waits here looks there.
    retired: AtomicBool,
    /// When somebody last began to connect for all who wait.
    scouted: Mutex<Option<Instant>>,
    registry: Arc<Registry>,
    /// Everything that sessions of this service wrote, for reads that must see all of it.
    written: Mutex<Arc<Position>>,
    /// Statements that wait for a primary.
    pub waiting: AtomicU32,
    /// Changes of the primary.
    pub elections: AtomicU64,
    /// Reads that were meant for a replica and went to the primary to be fresh.
    pub turned_fresh: AtomicU64,
}

/// Whether a look at the servers found anything new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Somebody stands otherwise than before.
    Changed,
    /// All is as it was.
    Same,
}

/// What a statement needs of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// That it takes writes.
    Primary,
    /// That it is fresh enough for reads.
    Replica,
    /// That it was fresh when its source was lost: for reads that would fail otherwise.
    Stranded,
}

/// What an upstream is made in.
#[derive(Debug)]
pub struct Ground<'a> {
    /// The one in whose place it is.
    pub before: Option<&'a Upstream>,
    /// The sessions.
    pub registry: Arc<Registry>,
    /// The zone of the proxy.
    pub zone: Option<&'a str>,
}

/// A few members, without allocation.
pub type Few<'a> = SmallVec<[&'a Arc<Member>; 16]>;

impl Upstream {
    /// The endpoints with their pools. What is known of the primary and of writes is taken over.
    #[must_use]
    pub fn new(
        service: &Arc<Service>,
        pools: Vec<(Arc<Endpoint>, Arc<Pool>)>,
        away: Vec<(Arc<Endpoint>, Arc<Pool>)>,
        ground: Ground<'_>,
    ) -> Self {
        let Ground {
            before,
            registry,
            zone,
        } = ground;
        let member = |(endpoint, pool): (Arc<Endpoint>, Arc<Pool>)| {
            Arc::new(Member {
                hash_id: hash_of(endpoint.name.as_str().as_bytes()),
                near: zone.is_some() && endpoint.zone.as_deref() == zone,
                endpoint,
                pool,
                outstanding: AtomicU32::new(0),
                latency_ns: AtomicU64::new(0),
                statements: AtomicU64::new(0),
                errors: AtomicU64::new(0),
                times: Times::default(),
            })
        };
        let members: Vec<Arc<Member>> = pools.into_iter().map(member).collect();
        let away = away.into_iter().map(member).collect();
        let primary = before.map_or_else(Place::default, |before| {
            let old = *before.primary.lock();
            let place = |at: Option<usize>| {
                let standing = &before.members.get(at?)?.pool.standing;
                members
                    .iter()
                    .position(|m| Arc::ptr_eq(&m.pool.standing, standing))
            };
            Place {
                now: place(old.now),
                last: place(old.last),
            }
        });
        Self {
            zoned: members.iter().any(|m| m.near) && members.iter().any(|m| !m.near),
            members,
            away,
            service: service.clone(),
            turn: AtomicU64::new(0),
            primary: Mutex::new(primary),
            begun: Instant::now(),
            diverged: AtomicBool::new(false),
            recall: before
                .and_then(|before| before.recall.get())
                .map(|recall| OnceLock::from(recall.clone()))
                .unwrap_or_default(),
            promised: Arc::default(),
            changes: watch::Sender::new(0),
            suspicion: watch::Sender::new(0),
            retired: AtomicBool::new(false),
            scouted: Mutex::default(),
            registry,
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

    pub(crate) fn reports_roles(&self) -> bool {
        self.splitting()
            .is_some_and(|s| s.roles == RoleSource::Reported)
    }

    /// The confirmed primary, where roles are what servers report.
    #[must_use]
    pub fn primary(&self) -> Option<&Arc<Member>> {
        let at = self.primary.lock().now;
        at.and_then(|at| self.members.get(at))
    }

    /// The role in which a member serves now; none while it serves in none.
    #[must_use]
    pub fn role_of(&self, member: &Arc<Member>) -> Option<Role> {
        self.serving_role(member).ok()
    }

    pub(crate) fn primary_is_up(&self) -> bool {
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

    fn meets(&self, member: &Arc<Member>, need: Need) -> bool {
        let standing = &member.pool.standing;
        match need {
            Need::Primary => self.role_of(member) == Some(Role::Primary),
            Need::Replica => self.role_of(member) == Some(Role::Replica),
            Need::Stranded => {
                let role = match self.reports_roles() {
                    true => standing.role(),
                    false => Some(member.endpoint.role),
                };
                role == Some(Role::Replica)
                    && standing.is_up()
                    && standing.is_stranded()
                    && standing.admin_state() == AdminState::Active
            }
        }
    }

    /// Chooses an endpoint that meets the need, not one of `tried`. Ejected ones only when nothing else is left, far ones
    /// only when no near one has room. The key is what consistent hashing goes by.
    #[must_use]
    pub fn choose(
        &self,
        need: Need,
        balance: Option<Balance>,
        tried: &[Arc<Member>],
        key: impl FnOnce() -> u64,
    ) -> Option<&Arc<Member>> {
        let fits =
            |m: &&Arc<Member>| !tried.iter().any(|t| Arc::ptr_eq(t, m)) && self.meets(m, need);
        if let [only] = self.members.as_slice() {
            return Some(only).filter(fits);
        }
        let strategy = &self.service.strategy;
        // A server that took the primary's place has its work to do, whatever its share of the reads.
        let weightless = need == Need::Primary && self.reports_roles();
        let able: Few<'_> = self
            .members
            .iter()
            .filter(|m| (m.endpoint.weight > 0 || weightless) && fits(m))
            .collect();
        let healthy: Few<'_> = able
            .iter()
            .copied()
            .filter(|m| {
                let health = &m.pool.health;
                !health.is_ejected() && health.breaker.state() != State::Open
            })
            .collect();
        let mut from = if healthy.is_empty() { able } else { healthy };
        if self.zoned {
            prefer_near(&mut from, strategy.locality.spill_over_percent);
        }
        let way = Way {
            balance: balance.unwrap_or(strategy.balance),
            turn: &self.turn,
            hashing: strategy.hashing,
            key,
        };
        pick(way, &from)
    }

    /// Everybody that meets the need now.
    pub fn all(&self, need: Need) -> impl Iterator<Item = &Arc<Member>> {
        self.members.iter().filter(move |m| self.meets(m, need))
    }

    /// Something looks wrong: the monitor looks at once.
    pub fn suspect(&self) {
        self.suspicion.send_modify(|n| *n += 1);
    }

    /// A receiver that hears of suspicions from now on, also of those while nobody listens.
    #[must_use]
    pub fn suspicions(&self) -> watch::Receiver<u64> {
        self.suspicion.subscribe()
    }

    /// Another one serves in its place.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.suspect();
        self.changes.send_modify(|n| *n += 1);
    }

    /// Whether another one serves in its place.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// A server cannot be reached: reads under way there are better asked elsewhere.
    pub fn lost(&self, member: &Member) {
        self.registry.say_at(&member.pool.standing, Signals::DOWN);
    }

    /// The right to try a server that could not be reached, for all who wait for it; none if somebody has begun to a moment
    /// ago.
    #[must_use]
    pub fn scout(&self) -> Option<Scout> {
        let mut last = self.scouted.lock();
        if last.is_some_and(|last| last.elapsed() < BETWEEN_SCOUTS) {
            return None;
        }
        *last = Some(Instant::now());
        Some(Scout)
    }

    /// A scout got through: all who wait may follow.
    pub fn scout_came_through(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// A receiver that hears of changes from now on.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A server that was the primary takes no writes: where roles are reported, it has just reported another.
    pub fn refused_write(&self, member: &Member) {
        if self.reports_roles() && member.pool.standing.set_role(Role::Replica) {
            self.judge(Seen::Changed);
        }
        self.suspect();
    }

    /// A place among those who wait for a primary; none when there are too many.
    #[must_use]
    pub fn wait_in_line(self: &Arc<Self>) -> Option<InLine> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = InLine {
            upstream: self.clone(),
        };
        (before < self.buffer().max_statements).then_some(place)
    }

    /// Takes note of what a session wrote, before its client knows that it did.
    pub fn note_written(&self, position: &Position) {
        if *position == Position::Start {
            // Most statements write nothing: the lock is for those that do.
            return;
        }
        Arc::make_mut(&mut self.written.lock()).follow(position);
    }

    /// Everything that was written. The lock is held for as long as it takes to count one more reader.
    #[must_use]
    pub fn written(&self) -> Arc<Position> {
        self.written.lock().clone()
    }

    /// What is left of `wanted` after the transactions that were lost with a former primary: they are not at the primary of
    /// now, and nobody will ever have them.
    #[must_use]
    pub fn surviving(&self, wanted: Gtids) -> Gtids {
        let Some(primary) = self.primary().filter(|_| self.reports_roles()) else {
            return wanted;
        };
        let others = self.members.iter().filter(|m| !Arc::ptr_eq(m, primary));
        let own = primary.pool.standing.own_source();
        let sources: Vec<_> = others
            .filter_map(|m| m.pool.standing.own_source())
            .filter(|source| Some(source) != own.as_ref())
            .collect();
        let left = primary.pool.standing.surviving(&wanted, &sources);
        left.unwrap_or(wanted)
    }
}

/// A place among those who wait for a primary.
#[derive(Debug)]
pub struct InLine {
    upstream: Arc<Upstream>,
}

impl Drop for InLine {
    fn drop(&mut self) {
        self.upstream.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to try a server that could not be reached, once.
#[derive(Debug)]
pub struct Scout;

/// Time between two attempts to reach a server for which statements wait.
const BETWEEN_SCOUTS: Duration = Duration::from_millis(50);
