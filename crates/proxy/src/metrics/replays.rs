//! What becomes of transactions that lose their server.
//!
//! Owns their counters and names. Input: sessions of services that execute such transactions again.

use std::sync::atomic::{AtomicU64, Ordering};

use dbmesh_runtime::exposition::{Kind, Text};

use super::{Labelled, each, each_of};
use crate::replay::Unplayable;

/// Transactions that lost their server.
#[derive(Debug, Default)]
pub struct Replays {
    done: AtomicU64,
    failed: [AtomicU64; Unplayable::ALL.len()],
}

impl Replays {
    /// One was executed again, and its client knows nothing of it.
    pub fn count_done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// One was lost, and its client was told.
    pub fn count_failed(&self, why: Unplayable) {
        if let Some(counter) = self.failed.get(why as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
pub(super) fn expose(all: &[Labelled<'_>], out: &mut Text) {
    let count = |c: &AtomicU64| c.load(Ordering::Relaxed) as f64;
    let family = (
        "dbmesh_transactions_replayed_total",
        "Transactions that lost their server and were executed again.",
        Kind::Counter,
    );
    each(all, out, family, |m| count(&m.replays.done));
    let family = (
        "dbmesh_transaction_replays_failed_total",
        "Transactions that lost their server and could not be executed again, by reason.",
        Kind::Counter,
    );
    let reasons = Unplayable::ALL.map(Unplayable::label);
    each_of(all, out, family, ("reason", &reasons), |m, at| {
        m.replays.failed.get(at).map_or(0.0, count)
    });
}
