//! Commits across the nodes of a service: what its sessions share, and who finishes what nobody did.
//!
//! Owns the names of distributed transactions, what is known of every node's promise, and the counts. The protocol itself is
//! `dbmesh-commit`'s. It must never let a transaction call itself atomic on a node whose settings were not seen to keep
//! that. Input: the service's DataShard; sessions; the task in [`resolving`].

mod asking;
mod resolving;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dbmesh_commit::promise::Shortfall;
use dbmesh_commit::{Decision, Doubt, Gtrid, Shard, Tally, mesh};
use dbmesh_model::topology::{Service, sharding::AcrossSources};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

pub(crate) use asking::{connect, has_schema, lacks, run_chain, run_step};
pub use resolving::watch as resolve;

/// Committed transactions that wait to be marked as done; beyond it, a sweep finds them by itself.
const FINISHED_MAX: usize = 10_000;
/// Orders of operators that wait for the next sweep.
const FORCED_MAX: usize = 64;
/// How long a transaction waits for what is not known of a node yet.
const READINESS_WAIT: Duration = Duration::from_secs(3);

/// Whether a node keeps the promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It was not asked yet, or could not be.
    Unknown,
    /// It does.
    Ready,
    /// It does not: why.
    Short(Vec<Shortfall>),
}

/// What is known of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    readiness: Readiness,
    /// The endpoint of which it is known: whoever takes its place as the primary may be another kind of server.
    endpoint: Option<String>,
}

impl Known {
    const NOTHING: Self = Self {
        readiness: Readiness::Unknown,
        endpoint: None,
    };

    fn is_of(&self, endpoint: Option<&str>) -> bool {
        let same = endpoint.is_none_or(|wanted| self.endpoint.as_deref() == Some(wanted));
        self.readiness != Readiness::Unknown && same
    }
}

/// What became of transactions that touched several nodes; sums since the process began.
#[derive(Debug, Default)]
pub struct Ends {
    /// Committed by two phases.
    pub committed: AtomicU64,
    /// Rolled back although COMMIT was asked for.
    pub rolled_back: AtomicU64,
    /// The client was told that the outcome is not known.
    pub unknown: AtomicU64,
    /// Without the promise: committed on all, one after the other.
    pub best_effort: AtomicU64,
    /// Without the promise: committed in part.
    pub partial: AtomicU64,
}

/// An operator's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forced {
    /// Which transaction.
    pub gtrid: Gtrid,
    /// Commit or abort.
    pub decision: Decision,
}

/// What the resolver saw last.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// Branches in doubt.
    pub doubts: Vec<Doubt>,
    /// What it did.
    pub tally: Tally,
    /// Rows that prepared branches hold, on nodes that have some in doubt.
    pub locked_rows: u64,
    /// Committed transactions of which a server lost a part.
    pub torn: Vec<Gtrid>,
    /// Sweeps that came to an end.
    pub sweeps: u64,
}

/// A service's commits across nodes.
#[derive(Debug)]
pub struct Atomic {
    mesh: u64,
    coordinator: u64,
    epoch: u32,
    /// Hours for which decisions are kept.
    retention_hours: AtomicU64,
    sequence: AtomicU64,
    /// Names of the sources, in their order.
    sources: Vec<String>,
    readiness: watch::Sender<Vec<Known>>,
    sight: Mutex<Sight>,
    finished: Mutex<Vec<Gtrid>>,
    forced: Mutex<Vec<Forced>>,
    due: Notify,
}

impl Atomic {
    /// For a service whose DataShard asks for it; what was before is kept while its nodes are the same.
    #[must_use]
    pub fn of(service: &Service, before: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        let sharding = service.sharding.as_ref()?;
        if sharding.across != AcrossSources::Atomic {
            return None;
        }
        let names = sharding.sources.iter().map(|source| source.name.clone());
        let sources: Vec<String> = names.collect();
        let hours = u64::from(sharding.retention_hours);
        if let Some(before) = before.filter(|before| before.sources == sources) {
            before.retention_hours.store(hours, Ordering::Relaxed);
            return Some(before.clone());
        }
        let mesh = mesh(&format!("{}/{}", service.namespace, sharding.name));
        let random = dbmesh_wire::auth::generate_nonce().unwrap_or_default();
        let (coordinator, rest) = random.split_first_chunk().unwrap_or((&[0; 8], &[]));
        let epoch = rest.first_chunk().unwrap_or(&[0; 4]);
        let unknown = vec![Known::NOTHING; sources.len()];
        Some(Arc::new(Self {
            mesh,
            coordinator: u64::from_be_bytes(*coordinator),
            epoch: u32::from_be_bytes(*epoch),
            retention_hours: AtomicU64::new(hours),
            sequence: AtomicU64::new(1),
            sources,
            readiness: watch::Sender::new(unknown),
            sight: Mutex::default(),
            finished: Mutex::default(),
            forced: Mutex::default(),
            due: Notify::new(),
        }))
    }

    /// The number of a source.
    #[must_use]
    pub fn shard(&self, source: usize) -> Option<Shard> {
        self.sources.get(source).map(|name| Shard::named(name))
    }

    /// The name of a shard's source.
    #[must_use]
    pub fn source_name(&self, shard: Shard) -> Option<&str> {
        let found = self.sources.iter().find(|name| Shard::named(name) == shard);
        found.map(String::as_str)
    }

    /// A name for a new transaction whose home is this source.
    #[must_use]
    pub fn name(&self, home: usize) -> Option<Gtrid> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        Some(Gtrid {
            mesh: self.mesh,
            home: self.shard(home)?,
            coordinator: self.coordinator,
            epoch: self.epoch,
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
            begun_ms: u64::try_from(now.as_millis()).ok()?,
        })
    }

    /// Whether a source keeps the promise, and with this endpoint as its primary; waits a moment for what is not known yet.
    pub async fn ready(&self, source: usize, endpoint: Option<&str>) -> Readiness {
        let mut seen = self.readiness.subscribe();
        let is_known = |all: &Vec<Known>| all.get(source).is_none_or(|k| k.is_of(endpoint));
        if endpoint.is_some() && !is_known(&seen.borrow()) {
            // Somebody else is the primary than before.
            self.due.notify_one();
        }
        match tokio::time::timeout(READINESS_WAIT, seen.wait_for(is_known)).await {
            Ok(Ok(all)) => all
                .get(source)
                .map_or(Readiness::Unknown, |known| known.readiness.clone()),
            _ => Readiness::Unknown,
        }
    }

    /// What is known of every source, with its name.
    #[must_use]
    pub fn readiness(&self) -> Vec<(String, Readiness)> {
        let all = self.readiness.borrow().clone();
        let all = all.into_iter().map(|known| known.readiness);
        self.sources.iter().cloned().zip(all).collect()
    }

    /// Whether what is known of a source is that it keeps the promise, and of this endpoint.
    fn is_ready(&self, source: usize, endpoint: &str) -> bool {
        let all = self.readiness.borrow();
        let ready =
            |known: &Known| known.readiness == Readiness::Ready && known.is_of(Some(endpoint));
        all.get(source).is_some_and(ready)
    }

    fn set_readiness(&self, source: usize, readiness: Readiness, endpoint: String) -> bool {
        let now = Known {
            readiness,
            endpoint: Some(endpoint),
        };
        self.readiness
            .send_if_modified(|all| match all.get_mut(source) {
                Some(known) if *known != now => {
                    *known = now;
                    true
                }
                _ => false,
            })
    }

    /// What the resolver saw last.
    #[must_use]
    pub fn sight(&self) -> Sight {
        self.sight.lock().clone()
    }

    /// A transaction whose branches are all committed: its row can be marked.
    pub fn note_finished(&self, gtrid: Gtrid) {
        let mut finished = self.finished.lock();
        if finished.len() < FINISHED_MAX {
            finished.push(gtrid);
        }
    }

    /// An operator's decision, for the next sweep; false if too many wait.
    #[must_use]
    pub fn force(&self, forced: Forced) -> bool {
        let mut waiting = self.forced.lock();
        if waiting.len() >= FORCED_MAX {
            return false;
        }
        waiting.push(forced);
        self.due.notify_one();
        true
    }
}
