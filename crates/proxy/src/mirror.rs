//! Copies of statements that run elsewhere too, to be compared.
//!
//! Owns the connections of copies, how many there are at a time, and the comparison. It must never hold up or fail the
//! original: a copy is made when the client has its answer, and beyond the limit none is. Input: the session, after a
//! statement that was drawn.

mod tally;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dbmesh_model::topology::{Mirror, MirrorWrites};
use dbmesh_wire::relay::Shape;
use dbmesh_wire::status::Status;

use crate::backend::{Applied, Backend, Flags};
use crate::balance::random;
use crate::metrics::{CopyFate, ServiceMetrics};
use crate::pool::{Pool, Want};
use crate::vector::Vector;

pub use tally::{Seen, Tally};

/// Longest statement that is copied.
pub const COPY_BYTES_MAX: usize = 64 << 10;
/// How long the KILL of a copy that took too long may take.
const KILL_TIMEOUT: Duration = Duration::from_secs(3);

/// The mirror of one service.
#[derive(Debug)]
pub struct Copies {
    policy: Mirror,
    pool: Arc<Pool>,
    metrics: Arc<ServiceMetrics>,
    under_way: Arc<AtomicU32>,
}

/// A statement that the service's own server has answered.
#[derive(Debug)]
pub struct Original {
    /// Its text.
    pub sql: Vec<u8>,
    /// The state that it ran in.
    pub vector: Arc<Vector>,
    /// The flags of its connection.
    pub flags: Flags,
    /// What came of it.
    pub seen: Seen,
}

/// A copy's place among those that there may be at a time.
struct Place(Arc<AtomicU32>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Copies {
    /// Over the pool of the mirror's endpoint.
    #[must_use]
    pub fn new(policy: Mirror, pool: Arc<Pool>, metrics: Arc<ServiceMetrics>) -> Self {
        Self {
            policy,
            pool,
            metrics,
            under_way: Arc::default(),
        }
    }

    /// Copies that wait or run now.
    #[must_use]
    pub fn under_way(&self) -> u32 {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Whether writes are copied.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.policy.writes == MirrorWrites::Autocommit
    }

    /// Whether this statement is one of those that are copied.
    #[must_use]
    pub fn draws(&self) -> bool {
        random() % 100 < u64::from(self.policy.percent)
    }

    /// Runs a copy and compares, unless there are too many.
    pub fn copy(&self, original: Original) {
        let before = self.under_way.fetch_add(1, Ordering::AcqRel);
        let place = Place(self.under_way.clone());
        if before >= self.policy.max_copies {
            self.metrics.copied(CopyFate::Dropped, None);
            return;
        }
        let (pool, metrics) = (self.pool.clone(), self.metrics.clone());
        let limit = Duration::from_millis(self.policy.timeout_ms);
        // It ends with its time limit at the latest.
        tokio::spawn(async move {
            match run(&pool, &original, limit).await {
                Some(seen) => {
                    let fate = compare(&original.seen, &seen);
                    metrics.copied(fate, Some((original.seen.took, seen.took)));
                }
                None => metrics.copied(CopyFate::Failed, None),
            }
            drop(place);
        });
    }
}

fn compare(original: &Seen, copy: &Seen) -> CopyFate {
    if original.error != copy.error {
        CopyFate::Error
    } else if (original.rows, original.affected_rows) != (copy.rows, copy.affected_rows) {
        CopyFate::Rows
    } else if original.content != copy.content {
        CopyFate::Content
    } else {
        CopyFate::Same
    }
}

/// What comes of a copy; nothing if it could not be run to its end.
async fn run(pool: &Arc<Pool>, original: &Original, limit: Duration) -> Option<Seen> {
    let began = Instant::now();
    let want = Want {
        vector: &original.vector,
        flags: original.flags,
        session: 0,
        who: 0,
        schema_since: None,
    };
    // A pool bounds its own waits, but not the dialling.
    let leasing = tokio::time::timeout(limit, pool.lease(&want, limit));
    let mut lease = leasing.await.ok()?.ok()?;
    let backend = lease.backend().ok()?;
    let thread_id = backend.thread_id;
    let left = limit.saturating_sub(began.elapsed());
    let Ok(answer) = tokio::time::timeout(left, execute(backend, original)).await else {
        drop(lease);
        let sql = format!("KILL {thread_id}");
        let kill = pool.run_aside(&original.vector, &sql);
        let _ = tokio::time::timeout(KILL_TIMEOUT, kill).await;
        return None;
    };
    let seen = answer?;
    backend.last_insert_id = None;
    if !backend.status.contains(Status::IN_TRANS) {
        lease.give_back();
    }
    Some(seen)
}

async fn execute(backend: &mut Backend, original: &Original) -> Option<Seen> {
    match backend.apply(&original.vector).await {
        Ok(Ok(Applied::Done)) => {}
        _ => return None,
    }
    let payload = backend.query_payload(&original.sql);
    let began = Instant::now();
    match backend.run(&payload, Shape::Results).await.ok()? {
        Ok((outcome, bytes)) => {
            let mut tally = Tally::new(true);
            tally.feed(&bytes);
            Some(tally.seen(&outcome, began.elapsed()))
        }
        Err(error) => Some(Seen {
            error: Some(error.code),
            took: began.elapsed(),
            ..Seen::default()
        }),
    }
}
