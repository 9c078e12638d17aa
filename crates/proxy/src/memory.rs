//! The guard of the process's memory: near its limit, new work is refused until there is room again.
//!
//! Owns the judgement, made ten times a second, and what is given up first: idle connections of pools, and what the
//! allocator keeps. Must never refuse what ends work that is under way. Costs one relaxed load per statement. Input: the
//! resident memory, as the operating system says it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dbmesh_runtime::exposition::{Kind, Text};
use dbmesh_runtime::process::{give_back_memory, resident_bytes};

use crate::process::Process;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Of a hundred parts of the limit, those from which it is near.
const NEAR_PERCENT: u64 = 90;
/// Of a hundred parts, those below which it is far again.
const FAR_PERCENT: u64 = 85;

/// Whether there is room for new work.
#[derive(Debug)]
pub struct MemoryGuard {
    /// 0 is none.
    limit_bytes: u64,
    near: AtomicBool,
    /// Statements and logins that were refused.
    pub refused: AtomicU64,
}

impl MemoryGuard {
    /// A guard of this limit, in bytes; 0 is none.
    #[must_use]
    pub fn new(limit_bytes: u64) -> Self {
        Self {
            limit_bytes,
            near: AtomicBool::new(false),
            refused: AtomicU64::new(0),
        }
    }

    /// Whether new work must be refused; counts that it is.
    #[must_use]
    pub fn refuses(&self) -> bool {
        let near = self.near.load(Ordering::Relaxed);
        if near {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        near
    }

    fn is_beyond(&self, percent: u64) -> bool {
        let used = resident_bytes().unwrap_or(0);
        used > self.limit_bytes / 100 * percent
    }

    /// Writes its metrics.
    #[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
    pub fn expose(&self, out: &mut Text) {
        let near = u64::from(self.near.load(Ordering::Relaxed));
        let refused = self.refused.load(Ordering::Relaxed);
        for (name, help, kind, value) in [
            (
                "dbmesh_memory_limit_bytes",
                "Memory that the process may use; 0 is no limit.",
                Kind::Gauge,
                self.limit_bytes,
            ),
            (
                "dbmesh_memory_near_limit",
                "1 while new work is refused, because the limit is near.",
                Kind::Gauge,
                near,
            ),
            (
                "dbmesh_memory_refused_total",
                "Statements and logins refused because the limit was near.",
                Kind::Counter,
                refused,
            ),
        ] {
            out.family(name, help, kind);
            out.sample(&[], value as f64);
        }
    }
}

/// Watches until the process stops; it ends with its runtime.
pub async fn watch(process: Arc<Process>) {
    let guard = &process.memory;
    if guard.limit_bytes == 0 {
        return;
    }
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let was = guard.near.load(Ordering::Relaxed);
        let percent = if was { FAR_PERCENT } else { NEAR_PERCENT };
        if guard.is_beyond(percent) {
            shed(&process).await;
        }
        let near = guard.is_beyond(percent);
        if near != was {
            guard.near.store(near, Ordering::Relaxed);
            match near {
                true => tracing::warn!(
                    limit_bytes = guard.limit_bytes,
                    "memory is short: new work is refused"
                ),
                false => tracing::info!("there is memory again: new work is let in"),
            }
        }
    }
}

/// Gives up what nobody needs now.
async fn shed(process: &Arc<Process>) {
    for serving in process.current.services().parts() {
        for member in &serving.upstream.members {
            member.pool.shed_idle();
        }
    }
    let _ = tokio::task::spawn_blocking(give_back_memory).await;
}
