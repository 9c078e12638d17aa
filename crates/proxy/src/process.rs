//! What all sessions of the process share.
//!
//! Owns the registry, the services now, the clock, the drain, the RSA key and the passwords proved in full. It must never
//! be a place for per-statement work. Input: [`crate::serve()`].

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use dbmesh_merge::SharedMemory;
use dbmesh_model::topology::Service;
use dbmesh_runtime::clock::Coarse;
use dbmesh_runtime::drain::Drain;
use dbmesh_wire::auth::{PasswordVerifier, RsaKeyPair, Secret};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::allowance::Allowance;
use crate::definitions::Definitions;
use crate::generated::Generators;
use crate::insight::Insight;
use crate::listener::Admission;
use crate::login::Lockout;
use crate::memory::MemoryGuard;
use crate::registry::Registry;
use crate::replay::ReplayMemory;
use crate::serving::Current;

/// Users whose password is remembered; beyond this, they prove it in full again.
const REMEMBERED_MAX: usize = 10_000;

/// What all sessions share.
#[derive(Debug)]
pub struct Process {
    /// The sessions.
    pub registry: Arc<Registry>,
    /// What is served now.
    pub current: Current,
    /// Milliseconds, coarse.
    pub clock: Coarse,
    /// Started when the process is told to stop: who has not logged in yet is sent away.
    pub draining: Drain,
    /// Guards of connections: the drain waits for them.
    pub sessions_drain: Drain,
    /// Whether there is memory for new work.
    pub memory: MemoryGuard,
    /// Logins that fail again and again.
    pub lockout: Lockout,
    /// Limits before login.
    pub admission: Arc<Admission>,
    /// What statements have in common.
    pub insight: Insight,
    /// When the clock was 0, in ms since 1970.
    began_unix_ms: u64,
    /// Memory for large commands.
    pub allowance: Arc<Allowance>,
    /// Memory for rows of several shards that are put together.
    pub merging: Arc<SharedMemory>,
    /// Memory for transactions that may have to be executed again.
    pub replays: Arc<ReplayMemory>,
    /// Generators of keys.
    pub generators: Generators,
    /// Definitions over several shards.
    pub definitions: Definitions,
    rsa: OnceLock<Option<Arc<RsaKeyPair>>>,
    rsa_made: Notify,
    proved: Mutex<HashMap<(String, String), PasswordVerifier>>,
}

impl Process {
    /// A process that serves this.
    #[must_use]
    pub fn new(
        current: Current,
        clock: Coarse,
        allowance: Arc<Allowance>,
        merging: SharedMemory,
        replays: ReplayMemory,
        memory: MemoryGuard,
    ) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let unix_ms = since_1970.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(0));
        Self {
            insight: Insight::default(),
            began_unix_ms: unix_ms.saturating_sub(clock.now_ms()),
            registry: current.registry().clone(),
            current,
            clock,
            draining: Drain::new(),
            sessions_drain: Drain::new(),
            memory,
            lockout: Lockout::default(),
            admission: Arc::default(),
            allowance,
            merging: Arc::new(merging),
            replays: Arc::new(replays),
            generators: Generators::default(),
            definitions: Definitions::default(),
            rsa: OnceLock::new(),
            rsa_made: Notify::new(),
            proved: Mutex::default(),
        }
    }

    /// Makes the RSA key with which passwords come over plain connections. It takes a moment.
    pub fn make_rsa(&self) {
        let pair = RsaKeyPair::generate().map(Arc::new);
        if let Err(e) = &pair {
            tracing::error!(error = %e, "no RSA key: full authentication needs TLS");
        }
        let _ = self.rsa.set(pair.ok());
        self.rsa_made.notify_waiters();
    }

    /// The RSA key; waits until it is made.
    pub async fn rsa(&self) -> Option<Arc<RsaKeyPair>> {
        loop {
            let made = self.rsa_made.notified();
            if let Some(pair) = self.rsa.get() {
                return pair.clone();
            }
            made.await;
        }
    }

    /// A time of the clock in ms since 1970.
    #[must_use]
    pub fn unix_ms(&self, clock_ms: u64) -> u64 {
        self.began_unix_ms + clock_ms
    }

    fn key(service: &Service, user: &str) -> (String, String) {
        (
            format!(
                "{}/{}/{}",
                service.namespace, service.database, service.name
            ),
            user.to_owned(),
        )
    }

    /// Remembers what a password proved in full verifies, as a server's cache does.
    pub fn remember_password(&self, service: &Service, user: &str, password: &Secret) {
        let mut proved = self.proved.lock();
        if proved.len() < REMEMBERED_MAX {
            proved.insert(
                Self::key(service, user),
                PasswordVerifier::from_password(password),
            );
        }
    }

    /// The verifier remembered for a user.
    #[must_use]
    pub fn remembered_password(&self, service: &Service, user: &str) -> Option<PasswordVerifier> {
        self.proved.lock().get(&Self::key(service, user)).cloned()
    }

    /// Forgets all remembered passwords: the configuration changed.
    pub fn forget_passwords(&self) {
        self.proved.lock().clear();
    }
}
