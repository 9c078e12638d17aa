//! Connections for those who have one already: only what is free, so that nobody waits for a second one while holding a
//! first.
//!
//! Owns no connection. Input: statements over several shards.

use std::sync::Arc;
use std::time::Duration;

use super::{Lease, Pool, Want};

/// How long it may take when somebody else was quicker.
const RACE_TIMEOUT: Duration = Duration::from_millis(20);

impl Pool {
    /// A connection, if one is free or may be opened now.
    pub async fn lease_if_free(self: &Arc<Self>, want: &Want<'_>) -> Option<Lease> {
        {
            let inner = self.inner.lock();
            let full = (inner.idle.is_empty() && inner.total >= self.policy.size)
                || inner.leased() >= inner.limit;
            if full || !inner.waiters.is_empty() {
                return None;
            }
        }
        self.lease(want, RACE_TIMEOUT).await.ok()
    }
}
