//! The connections to one endpoint: who has them, who waits for one, when they are opened and closed.
//!
//! Owns every connection to its endpoint that is not leased, and a count of those that are; the count never exceeds the
//! policy's size. A lease that is dropped closes its connection: only [`Lease::give_back`] after a whole answer returns it.
//! Waiting is bounded by a deadline, in turn by who waits. Input: the endpoint and policy of the topology.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dbmesh_model::topology::{Endpoint, PoolPolicy};
use dbmesh_wire::status::Status;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::backend::{Backend, Dialer, Flags, ServerFacts};
use crate::control::{Control, Signals};
use crate::fault::Fault;
use crate::health::Health;
use crate::standing::Standing;
use crate::vector::Vector;

mod adaptive;
mod aside;
mod drain;
mod free;
mod keeper;
mod lease;
mod line;
mod rate;

use adaptive::Adaptive;
pub use keeper::keep;
pub use lease::Lease;
use line::Line;
use rate::Rate;

/// Idle connections looked at for one whose state fits; the most recently used ones.
const SEARCH_DEPTH: usize = 16;

/// What a session needs of a connection.
#[derive(Debug)]
pub struct Want<'a> {
    /// The restorable state.
    pub vector: &'a Arc<Vector>,
    /// The flags fixed at login.
    pub flags: Flags,
    /// The session, which gets its last connection again where it can.
    pub session: u64,
    /// On whose behalf: those who wait take turns by this.
    pub who: u64,
    /// When the session chose its schema, by login or USE, which reads the schema's collation. A connection that chose it
    /// before chooses it again.
    pub schema_since: Option<Instant>,
}

/// What the pool did, for metrics.
#[derive(Debug, Default)]
pub struct PoolCounters {
    /// Connections opened.
    pub opened: AtomicU64,
    /// Connections closed.
    pub closed: AtomicU64,
    /// Attempts to connect that failed.
    pub connect_failures: AtomicU64,
    /// Leases that had to wait.
    pub waits: AtomicU64,
    /// Time waited in all, in µs.
    pub wait_us: AtomicU64,
    /// Waits that ran into their deadline.
    pub wait_timeouts: AtomicU64,
    /// Connections whose state had to be changed for the session.
    pub state_changes: AtomicU64,
    /// Connections reset.
    pub resets: AtomicU64,
}

/// How many connections there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolGauge {
    /// Open or being opened.
    pub total: u32,
    /// Not leased.
    pub idle: u32,
    /// Sessions waiting.
    pub waiting: u32,
    /// Leased, but given back when somebody asks.
    pub held: u32,
    /// How long somebody has waited at most, in ms.
    pub oldest_wait_ms: u64,
    /// Connections that may be leased at a time now.
    pub limit: u32,
}

/// The connections to one endpoint.
#[derive(Debug)]
pub struct Pool {
    dialer: Dialer,
    policy: PoolPolicy,
    inner: Mutex<Inner>,
    facts: Mutex<Option<Arc<ServerFacts>>>,
    rate: Mutex<Rate>,
    /// Whether the endpoint can be reached.
    pub health: Health,
    /// What the monitor and operators say of it.
    pub standing: Arc<Standing>,
    /// What was done.
    pub counters: PoolCounters,
    /// What moves the limit, if anything does.
    adaptive: Option<Mutex<Adaptive>>,
}

#[derive(Debug)]
struct Inner {
    /// Boxed, since a connection moves from hand to hand.
    #[allow(
        clippy::vec_box,
        reason = "leases and grants own boxes; unboxing would copy a kilobyte each time"
    )]
    idle: Vec<Box<Backend>>,
    total: u32,
    waiters: Line,
    /// Sessions that hold a connection for their own comfort only.
    held: VecDeque<(u64, Arc<Control>)>,
    retired: bool,
    /// Connections that may be leased at a time.
    limit: u32,
}

#[derive(Debug)]
struct Waiter {
    flags: Flags,
    since: Instant,
    grant: oneshot::Sender<Grant>,
}

#[derive(Debug)]
enum Grant {
    Connection(Box<Backend>),
    /// The right to open one.
    Permit,
}

enum Choice {
    Take(Box<Backend>),
    Open,
    /// Open one in place of this one.
    Replace(Box<Backend>),
    Wait(oneshot::Receiver<Grant>),
    /// The endpoint is being drained.
    Leave,
}

impl Pool {
    /// A pool without connections.
    #[must_use]
    pub fn new(
        dialer: Dialer,
        policy: PoolPolicy,
        health: Health,
        standing: Arc<Standing>,
    ) -> Self {
        let rate = Rate::new(policy.connect_rate_per_second);
        let size = policy.size;
        let adaptive = policy
            .adaptive
            .as_ref()
            .map(|adaptive| Adaptive::new(adaptive, size, Instant::now()));
        let limit = adaptive.as_ref().map_or(size, Adaptive::limit);
        Self {
            adaptive: adaptive.map(Mutex::new),
            dialer,
            policy,
            inner: Mutex::new(Inner {
                idle: Vec::new(),
                total: 0,
                waiters: Line::default(),
                held: VecDeque::new(),
                retired: false,
                limit,
            }),
            facts: Mutex::new(None),
            rate: Mutex::new(rate),
            health,
            standing,
            counters: PoolCounters::default(),
        }
    }

    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        self.dialer.endpoint()
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &PoolPolicy {
        &self.policy
    }

    /// What is known of the server, once a connection was made.
    #[must_use]
    pub fn facts(&self) -> Option<Arc<ServerFacts>> {
        self.facts.lock().clone()
    }

    /// How many connections there are.
    #[must_use]
    pub fn gauge(&self) -> PoolGauge {
        let inner = self.inner.lock();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        // Who gave up waiting stays in the queue until its turn comes.
        let waiting = || inner.waiters.iter().filter(|w| !w.grant.is_closed());
        let oldest = waiting().map(|w| w.since.elapsed().as_millis()).max();
        PoolGauge {
            total: inner.total,
            idle: count(inner.idle.len()),
            waiting: count(waiting().count()),
            held: count(inner.held.len()),
            oldest_wait_ms: u64::try_from(oldest.unwrap_or(0)).unwrap_or(u64::MAX),
            limit: inner.limit,
        }
    }

    /// How much of its size is in use, in percent; connections that are given back when somebody asks are not.
    #[must_use]
    pub fn use_percent(&self) -> u32 {
        let inner = self.inner.lock();
        let free = inner.idle.len() + inner.held.len();
        let used = u64::from(inner.total).saturating_sub(free as u64);
        let percent = used * 100 / u64::from(self.policy.size.max(1));
        u32::try_from(percent).unwrap_or(u32::MAX)
    }

    /// Leases a connection, opening or awaiting one.
    ///
    /// # Errors
    /// [`Fault::PoolTimeout`], [`Fault::ConnectFailed`]; [`Fault::NoEndpoint`] when the endpoint is being drained.
    pub async fn lease(self: &Arc<Self>, want: &Want<'_>, wait: Duration) -> Result<Lease, Fault> {
        let choice = self.choose(want);
        match choice {
            Choice::Take(backend) => Ok(self.hand_out(backend, want)),
            Choice::Open => self.open(want, wait).await,
            Choice::Replace(old) => {
                self.counters.closed.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(old.quit());
                self.open(want, wait).await
            }
            Choice::Wait(granted) => self.wait(granted, want, wait).await,
            Choice::Leave => Err(self.sends_away()),
        }
    }

    fn choose(&self, want: &Want<'_>) -> Choice {
        let mut stale = Vec::new();
        let mut inner = self.inner.lock();
        if self.is_draining() {
            return Choice::Leave;
        }
        let choice = loop {
            if inner.leased() >= inner.limit {
                break None;
            }
            let Some(at) = best_fit(&inner.idle, want) else {
                break None;
            };
            let mut backend = inner.idle.swap_remove(at);
            if backend.is_stale() {
                inner.total = inner.total.saturating_sub(1);
                stale.push(backend);
                continue;
            }
            break Some(Choice::Take(backend));
        };
        let choice = choice.unwrap_or_else(|| inner.without_fit(want, self.policy.size));
        drop(inner);
        self.counters
            .closed
            .fetch_add(stale.len() as u64, Ordering::Relaxed);
        choice
    }

    async fn wait(
        self: &Arc<Self>,
        granted: oneshot::Receiver<Grant>,
        want: &Want<'_>,
        wait: Duration,
    ) -> Result<Lease, Fault> {
        let started = Instant::now();
        self.counters.waits.fetch_add(1, Ordering::Relaxed);
        let grant = tokio::time::timeout(
            wait,
            Granted {
                pool: self,
                receiver: granted,
            },
        )
        .await;
        let waited = started.elapsed();
        self.counters.wait_us.fetch_add(
            u64::try_from(waited.as_micros()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
        match grant {
            Ok(Some(Grant::Connection(backend))) => Ok(self.hand_out(backend, want)),
            Ok(Some(Grant::Permit)) => self.open(want, wait.saturating_sub(waited)).await,
            Ok(None) => Err(self.sends_away()),
            Err(_) => {
                self.counters.wait_timeouts.fetch_add(1, Ordering::Relaxed);
                Err(self.timeout(waited))
            }
        }
    }

    fn sends_away(&self) -> Fault {
        Fault::NoEndpoint(format!(
            "endpoint {} is being drained",
            self.endpoint().name
        ))
    }

    fn timeout(&self, waited: Duration) -> Fault {
        Fault::PoolTimeout {
            waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
            size: self.policy.size,
            endpoint: self.endpoint().name.to_string(),
        }
    }

    fn hand_out(self: &Arc<Self>, mut backend: Box<Backend>, want: &Want<'_>) -> Lease {
        if backend.last_session != want.session {
            backend.last_session = want.session;
        }
        Lease {
            pool: self.clone(),
            backend: Some(backend),
            held: None,
        }
    }

    /// Opens a connection; the permit (a count in `total`) is taken already.
    async fn open(self: &Arc<Self>, want: &Want<'_>, wait: Duration) -> Result<Lease, Fault> {
        let permit = Permit { pool: self };
        let started = Instant::now();
        while let Some(pause) = self.connect_pause() {
            if started.elapsed() + pause > wait {
                return Err(self.timeout(started.elapsed()));
            }
            tokio::time::sleep(pause).await;
        }
        let known = self.facts();
        // Boxed: a login is rare, and its room would be kept in every session.
        match Box::pin(self.dialer.connect(want.vector, want.flags, known)).await {
            Ok(backend) => {
                self.health.connected();
                self.counters.opened.fetch_add(1, Ordering::Relaxed);
                *self.facts.lock() = Some(backend.facts.clone());
                std::mem::forget(permit);
                Ok(self.hand_out(Box::new(backend), want))
            }
            Err(e) => {
                self.counters
                    .connect_failures
                    .fetch_add(1, Ordering::Relaxed);
                if e.is_endpoint_down() {
                    self.health.connect_failed();
                }
                tracing::warn!(endpoint = %self.endpoint().name, error = %e, "cannot connect");
                Err(e.into_fault(self.endpoint().name.as_str()))
            }
        }
    }

    fn connect_pause(&self) -> Option<Duration> {
        self.rate.lock().take(self.policy.connect_rate_per_second)
    }

    /// Takes a connection back.
    fn put_back(&self, mut backend: Box<Backend>) {
        let now = Instant::now();
        let expired = now.saturating_duration_since(backend.opened)
            > Duration::from_millis(self.policy.max_lifetime_ms);
        // Its next user would be part of that transaction.
        let open = backend.status.contains(Status::IN_TRANS);
        if open {
            tracing::error!(endpoint = %self.endpoint().name, "a connection came back with an open transaction; it is closed");
        }
        let mut inner = self.inner.lock();
        if inner.retired || self.is_draining() || expired || open || !backend.is_idle() {
            drop(inner);
            return self.close(backend);
        }
        while inner.leased() <= inner.limit
            && let Some(waiter) = inner.waiters.pop()
        {
            if waiter.grant.is_closed() {
                continue;
            }
            if waiter.flags != backend.flags {
                // The next in line cannot use this one, but may open one in its place.
                if waiter.grant.send(Grant::Permit).is_ok() {
                    drop(inner);
                    self.counters.closed.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(backend.quit());
                    return;
                }
                continue;
            }
            match waiter.grant.send(Grant::Connection(backend)) {
                Ok(()) => return,
                Err(Grant::Connection(back)) => backend = back,
                Err(Grant::Permit) => return,
            }
        }
        backend.idle_since = now;
        inner.idle.push(backend);
    }

    /// Closes a connection and passes its permit on.
    fn close(&self, backend: Box<Backend>) {
        self.counters.closed.fetch_add(1, Ordering::Relaxed);
        if backend.is_idle() && tokio::runtime::Handle::try_current().is_ok() {
            tokio::spawn(backend.quit());
        }
        self.release_permit();
    }

    fn release_permit(&self) {
        let mut inner = self.inner.lock();
        while inner.leased() <= inner.limit
            && let Some(waiter) = inner.waiters.pop()
        {
            if waiter.grant.send(Grant::Permit).is_ok() {
                return;
            }
        }
        inner.total = inner.total.saturating_sub(1);
    }
}

fn best_fit(idle: &[Box<Backend>], want: &Want<'_>) -> Option<usize> {
    let mut best = None;
    for (at, backend) in idle.iter().enumerate().rev().take(SEARCH_DEPTH) {
        if backend.flags != want.flags {
            continue;
        }
        let score = match (
            Vector::same(&backend.vector, want.vector),
            backend.last_session == want.session,
        ) {
            (true, true) => return Some(at),
            (true, false) => 3,
            (false, true) => 2,
            (false, false) => 1,
        };
        if best.is_none_or(|(_, s)| score > s) {
            best = Some((at, score));
        }
    }
    best.map(|(at, _)| at)
}

impl Inner {
    /// Connections that somebody has, or opens.
    fn leased(&self) -> u32 {
        let idle = u32::try_from(self.idle.len()).unwrap_or(u32::MAX);
        self.total.saturating_sub(idle)
    }

    fn without_fit(&mut self, want: &Want<'_>, size: u32) -> Choice {
        if self.leased() < self.limit {
            if self.total < size {
                self.total += 1;
                return Choice::Open;
            }
            // Every connection is taken, or has other flags: an idle one makes room.
            if !self.idle.is_empty() {
                return Choice::Replace(self.idle.swap_remove(0));
            }
        }
        let (grant, granted) = oneshot::channel();
        let waiter = Waiter {
            flags: want.flags,
            since: Instant::now(),
            grant,
        };
        self.waiters.push(want.who, waiter);
        if let Some((_, control)) = self.held.pop_front() {
            control.say(Signals::RECLAIM);
        }
        Choice::Wait(granted)
    }
}

/// A wait for a grant that gives the grant on if it is abandoned.
struct Granted<'a> {
    pool: &'a Arc<Pool>,
    receiver: oneshot::Receiver<Grant>,
}

impl Future for Granted<'_> {
    type Output = Option<Grant>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.receiver)
            .poll(cx)
            .map(Result::ok)
    }
}

impl Drop for Granted<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        match self.receiver.try_recv() {
            Ok(Grant::Connection(backend)) => self.pool.put_back(backend),
            Ok(Grant::Permit) => self.pool.release_permit(),
            Err(_) => {}
        }
    }
}

/// The right to one connection, returned unless it is used.
struct Permit<'a> {
    pool: &'a Arc<Pool>,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.pool.release_permit();
    }
}
