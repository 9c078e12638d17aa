//! The sessions of the process: who is there, and how to reach them.
//!
//! Owns the connection ids that clients see, and one handle per session. It must never keep a session alive. Input:
//! sessions that begin and end; KILL, the drain, the idle sweep and /debug/sessions look in.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use dbmesh_runtime::clock::Coarse;
use dbmesh_sql::Hints;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::balance::hash_of;
use crate::control::{Control, Signals};
use crate::pins::Pins;
use crate::pool::Pool;
use crate::standing::Standing;

/// What a session is doing on a server.
#[derive(Debug, Default)]
struct Execution {
    /// The pool of the last statement; kept, so that no counter is shared between workers per statement.
    pool: Option<Arc<Pool>>,
    /// The server's id of the connection on which a statement runs now; 0 when none does.
    thread_id: u64,
    /// Whether a KILL was aimed at the statement under way.
    struck: bool,
    /// KILLs on their way to that connection. It is used for nothing else until they have arrived.
    kills: u32,
}

/// Whether a statement runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It does.
    Runs,
    /// It was interrupted before.
    Interrupted,
}

/// What a client says of its statement in hints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Labels {
    tenant: Option<Box<str>>,
    traceparent: Option<Box<str>>,
    tags: Vec<(Box<str>, Box<str>)>,
}

impl Labels {
    fn of(hints: &Hints<'_>) -> Self {
        let tags = hints.tags.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        Self {
            tenant: hints.tenant.map(Into::into),
            traceparent: hints.traceparent.map(Into::into),
            tags: tags.collect(),
        }
    }

    fn to_json(&self) -> Value {
        let tags: serde_json::Map<String, Value> = self
            .tags
            .iter()
            .map(|(k, v)| (k.to_string(), Value::from(v.as_ref())))
            .collect();
        json!({ "tenant": self.tenant.as_deref(), "traceparent": self.traceparent.as_deref(), "tags": tags })
    }
}

/// One session, as others see it.
#[derive(Debug)]
pub struct SessionHandle {
    /// The connection id that the client sees.
    pub id: u32,
    /// The user.
    pub user: String,
    /// The client's address.
    pub address: String,
    /// Namespace and name of the virtual database, and the service.
    pub service: String,
    /// A number of service and user, the same for all their sessions; of this process alone.
    pub scope: u64,
    /// The mailbox.
    pub control: Arc<Control>,
    /// When it began.
    pub since: Instant,
    /// When it last ended a command, in ms of the process's clock.
    pub idle_since_ms: AtomicU64,
    /// How long it may be idle, in ms.
    pub idle_limit_ms: AtomicU64,
    /// Whether a command is under way.
    pub busy: AtomicBool,
    /// Pins, as bits.
    pub pins: AtomicU32,
    /// Digest of the last statement.
    pub digest: AtomicU64,
    /// Statements answered.
    pub statements: AtomicU64,
    /// What it said of its last statement with hints.
    labels: Mutex<Labels>,
    execution: Mutex<Execution>,
    killed: Notify,
}

impl SessionHandle {
    /// The handle of a session that begins now.
    #[must_use]
    pub fn new(
        id: u32,
        user: String,
        address: String,
        service: String,
        clock: &Coarse,
        idle_limit_ms: u64,
    ) -> Self {
        let scope = scope_of(&service, &user);
        Self {
            id,
            user,
            address,
            service,
            scope,
            control: Arc::default(),
            since: Instant::now(),
            idle_since_ms: AtomicU64::new(clock.now_ms()),
            idle_limit_ms: AtomicU64::new(idle_limit_ms),
            busy: AtomicBool::new(false),
            pins: AtomicU32::new(0),
            digest: AtomicU64::new(0),
            statements: AtomicU64::new(0),
            labels: Mutex::default(),
            execution: Mutex::default(),
            killed: Notify::new(),
        }
    }

    /// The client's IP address, without a port.
    #[must_use]
    pub fn ip(&self) -> &str {
        match self.address.rsplit_once(':') {
            Some((ip, _)) => ip,
            None => &self.address,
        }
    }

    /// Says where the session's statement runs from now on; not if it was interrupted before.
    #[must_use]
    pub fn begin_execution(&self, pool: &Arc<Pool>, thread_id: u64) -> Begun {
        let of_the_last = Signals::FENCED.and(Signals::DOWN);
        if self.control.signals().any(of_the_last) {
            self.control.clear(of_the_last);
        }
        let mut execution = self.execution.lock();
        if !execution
            .pool
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, pool))
        {
            execution.pool = Some(pool.clone());
        }
        // Said under this lock while no server had the statement.
        if self.control.signals().any(Signals::INTERRUPT) {
            return Begun::Interrupted;
        }
        execution.thread_id = thread_id;
        execution.struck = false;
        Begun::Runs
    }

    /// Interrupts a statement that dbmesh holds; nothing if a server has it, or there is none.
    pub fn interrupt(&self) {
        let execution = self.execution.lock();
        if execution.thread_id == 0 && self.busy.load(Ordering::Relaxed) {
            self.control.say(Signals::INTERRUPT);
        }
    }

    /// Remembers what the client says of its statement, for who looks at sessions.
    pub fn note_labels(&self, hints: &Hints<'_>) {
        let labels = Labels::of(hints);
        let mut known = self.labels.lock();
        if *known != labels {
            *known = labels;
        }
    }

    /// A number of the tenant that the client's statement named; 0 if it named none.
    #[must_use]
    pub fn tenant_hash(&self) -> u64 {
        let labels = self.labels.lock();
        let tenant = labels.tenant.as_deref();
        tenant.map_or(0, |tenant| hash_of(tenant.as_bytes()))
    }

    /// Adds tags to what the statement at hand said of itself.
    pub fn add_tags(&self, tags: &[(String, String)]) {
        let mut known = self.labels.lock();
        for (name, value) in tags {
            known.tags.retain(|(tag, _)| **tag != **name);
            known
                .tags
                .push((name.as_str().into(), value.as_str().into()));
        }
    }

    /// Says that the statement ended, and waits for KILLs that were aimed at it: the next user of the connection must
    /// not be hit.
    ///
    /// Gives whether there were any.
    pub async fn end_execution(&self) -> bool {
        loop {
            let arrived = self.killed.notified();
            if let Some(struck) = self.stop_execution() {
                return struck;
            }
            arrived.await;
        }
    }

    /// Once no KILL is on its way any more: whether there was one.
    fn stop_execution(&self) -> Option<bool> {
        let mut execution = self.execution.lock();
        execution.thread_id = 0;
        (execution.kills == 0).then_some(execution.struck)
    }

    /// Whether a statement is under way at this server.
    fn executes_at(&self, standing: &Arc<Standing>) -> bool {
        let execution = self.execution.lock();
        let at = execution.pool.as_ref().map(|pool| &pool.standing);
        execution.thread_id != 0 && at.is_some_and(|at| Arc::ptr_eq(at, standing))
    }

    /// Takes aim at the statement under way, if there is one.
    pub fn aim(self: &Arc<Self>) -> Option<Aim> {
        let mut execution = self.execution.lock();
        let thread_id = Some(execution.thread_id).filter(|id| *id != 0)?;
        let pool = execution.pool.clone()?;
        execution.kills += 1;
        execution.struck = true;
        Some(Aim {
            session: self.clone(),
            pool,
            thread_id,
        })
    }

    /// Whether the session has a connection of this pool: for the statement under way, or by a pin.
    #[must_use]
    pub fn is_at(&self, pool: &Arc<Pool>) -> bool {
        let execution = self.execution.lock();
        let uses = execution.thread_id != 0 || self.pins.load(Ordering::Relaxed) != 0;
        let known = execution.pool.as_ref();
        uses && known.is_some_and(|known| Arc::ptr_eq(known, pool))
    }

    /// What it said of its last statement with hints.
    #[must_use]
    pub fn labels_json(&self) -> Value {
        self.labels.lock().to_json()
    }

    /// Why it keeps its connection.
    #[must_use]
    pub fn pin_labels(&self) -> Vec<&'static str> {
        let pins = Pins::reasons_of(self.pins.load(Ordering::Relaxed));
        pins.map(|reason| reason.label()).collect()
    }

    /// The session, as /debug/sessions shows it. Never SQL, never secrets.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let pins = self.pin_labels();
        let execution = self.execution.lock();
        let at = execution.pool.as_ref().filter(|_| execution.thread_id != 0).map(
            |pool| json!({"endpoint": pool.endpoint().name.as_str(), "thread_id": execution.thread_id}),
        );
        json!({
            "id": self.id,
            "user": self.user,
            "address": self.address,
            "service": self.service,
            "age_s": self.since.elapsed().as_secs(),
            "busy": self.busy.load(Ordering::Relaxed),
            "pins": pins,
            "last_digest": format!("{:016x}", self.digest.load(Ordering::Relaxed)),
            "statements": self.statements.load(Ordering::Relaxed),
            "executing_at": at,
            "labels": self.labels.lock().to_json(),
        })
    }
}

/// By keys that are random per process: nobody can choose names that share a number.
fn scope_of(service: &str, user: &str) -> u64 {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEYS.hash_one((service, user))
}

/// A KILL on its way to a statement. While it exists, the connection is not used for anything else.
#[derive(Debug)]
pub struct Aim {
    session: Arc<SessionHandle>,
    /// The pool of the endpoint.
    pub pool: Arc<Pool>,
    /// The server's id of the connection.
    pub thread_id: u64,
}

impl Drop for Aim {
    fn drop(&mut self) {
        let mut execution = self.session.execution.lock();
        execution.kills = execution.kills.saturating_sub(1);
        drop(execution);
        self.session.killed.notify_waiters();
    }
}

const SHARDS: usize = 16;

/// All sessions.
#[derive(Debug, Default)]
pub struct Registry {
    shards: [Mutex<HashMap<u32, Arc<SessionHandle>>>; SHARDS],
    next: AtomicU32,
    count: AtomicUsize,
}

impl Registry {
    fn shard(&self, id: u32) -> &Mutex<HashMap<u32, Arc<SessionHandle>>> {
        self.shards
            .get(id as usize % SHARDS)
            // tidy-allow: there is at least one shard
            .unwrap_or(&self.shards[0])
    }

    /// An id that no session has.
    pub fn next_id(&self) -> u32 {
        loop {
            let id = self.next.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            if id != 0 && !self.shard(id).lock().contains_key(&id) {
                return id;
            }
        }
    }

    /// Enters a session; it leaves when the guard is dropped.
    pub fn enter(self: &Arc<Self>, handle: Arc<SessionHandle>) -> Registered {
        self.shard(handle.id)
            .lock()
            .insert(handle.id, handle.clone());
        self.count.fetch_add(1, Ordering::Relaxed);
        Registered {
            registry: self.clone(),
            handle,
        }
    }

    /// A session by its id.
    #[must_use]
    pub fn find(&self, id: u64) -> Option<Arc<SessionHandle>> {
        let id = u32::try_from(id).ok()?;
        self.shard(id).lock().get(&id).cloned()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Looks at every session.
    pub fn for_each(&self, mut look: impl FnMut(&Arc<SessionHandle>)) {
        for shard in &self.shards {
            let handles: Vec<_> = shard.lock().values().cloned().collect();
            handles.iter().for_each(&mut look);
        }
    }

    /// Tells every session something.
    pub fn say_all(&self, signals: Signals) {
        self.for_each(|handle| handle.control.say(signals));
    }

    /// Tells every session something that has a statement under way at this server.
    pub fn say_at(&self, standing: &Arc<Standing>, signals: Signals) {
        self.for_each(|handle| {
            if handle.executes_at(standing) {
                handle.control.say(signals);
            }
        });
    }

    /// Closes sessions that are idle for longer than they may be.
    pub fn sweep_idle(&self, now_ms: u64) {
        self.for_each(|handle| {
            let limit = handle.idle_limit_ms.load(Ordering::Relaxed);
            let since = handle.idle_since_ms.load(Ordering::Relaxed);
            if !handle.busy.load(Ordering::Relaxed) && now_ms.saturating_sub(since) > limit {
                handle.control.say(Signals::IDLE);
            }
        });
    }
}

/// A session's place in the registry.
#[derive(Debug)]
pub struct Registered {
    registry: Arc<Registry>,
    /// The session.
    pub handle: Arc<SessionHandle>,
}

impl Registered {
    /// Enters another handle of the same id in place of this one: another user logged in on the same connection.
    #[must_use]
    pub fn replace(&self, handle: Arc<SessionHandle>) -> Self {
        self.registry.enter(handle)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut shard = self.registry.shard(self.handle.id).lock();
        if shard
            .get(&self.handle.id)
            .is_some_and(|known| Arc::ptr_eq(known, &self.handle))
        {
            shard.remove(&self.handle.id);
        }
        drop(shard);
        self.registry.count.fetch_sub(1, Ordering::Relaxed);
    }
}
