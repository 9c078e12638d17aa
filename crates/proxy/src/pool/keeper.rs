//! Keeps a pool in shape while nobody uses it: warm minimum, age, idle time, keepalive.
//!
//! Owns the one background task of a pool. It must never hold the pool's lock while it talks to a server. Input: the
//! pool's policy; it ends when the pool is retired or forgotten.

use std::sync::Weak;
use std::time::Duration;

use dbmesh_wire::command::CommandCode;
use dbmesh_wire::relay::Shape;

use super::{Pool, Want};
use crate::backend::Flags;
use crate::vector::Vector;
use std::sync::Arc;

/// How often a pool is looked after.
const ROUND: Duration = Duration::from_secs(1);
/// How long a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks after a pool until it is retired or nobody has it any more. `vector` and `flags` are what warm connections
/// start with.
pub async fn keep(pool: Weak<Pool>, vector: Arc<Vector>, flags: Flags) {
    loop {
        {
            let Some(pool) = pool.upgrade() else { return };
            if pool.is_retired() {
                return;
            }
            if pool.is_draining() {
                // It may have been warmed while the order came.
                pool.drain();
            }
            pool.trim();
            pool.ping_idle().await;
            pool.warm(&vector, flags).await;
        }
        tokio::time::sleep(ROUND).await;
    }
}

impl Pool {
    /// Closes what is too old or was idle for too long.
    fn trim(&self) {
        let lifetime = Duration::from_millis(self.policy.max_lifetime_ms);
        let idle_time = Duration::from_millis(self.policy.idle_timeout_ms);
        let mut gone = Vec::new();
        {
            let mut inner = self.inner.lock();
            let mut spare = inner.total.saturating_sub(self.policy.min_idle);
            let mut at = 0;
            while at < inner.idle.len() {
                let Some(backend) = inner.idle.get_mut(at) else {
                    break;
                };
                let old = backend.opened.elapsed() > lifetime || backend.is_stale();
                let idle = spare > 0 && backend.idle_since.elapsed() > idle_time;
                if old || idle {
                    spare = spare.saturating_sub(1);
                    gone.push(inner.idle.swap_remove(at));
                } else {
                    at += 1;
                }
            }
        }
        for backend in gone {
            self.close(backend);
        }
    }

    /// Pings one connection at a time that was idle for the keepalive period.
    async fn ping_idle(self: &Arc<Self>) {
        let keepalive = Duration::from_millis(self.policy.keepalive_ms);
        loop {
            let due = {
                let mut inner = self.inner.lock();
                let at = inner
                    .idle
                    .iter()
                    .position(|b| b.idle_since.elapsed() > keepalive);
                at.map(|at| inner.idle.swap_remove(at))
            };
            let Some(mut backend) = due else { return };
            match tokio::time::timeout(
                PING_TIMEOUT,
                backend.run(&[CommandCode::Ping as u8], Shape::Single),
            )
            .await
            {
                Ok(Ok(Ok(_))) => self.put_back(backend),
                _ => self.close(backend),
            }
        }
    }

    /// Opens connections up to the warm minimum.
    pub async fn warm(self: &Arc<Self>, vector: &Arc<Vector>, flags: Flags) {
        loop {
            {
                let mut inner = self.inner.lock();
                if inner.retired
                    || self.is_draining()
                    || inner.total >= self.policy.min_idle.min(self.policy.size)
                {
                    return;
                }
                inner.total += 1;
            }
            let want = Want {
                vector,
                flags,
                session: 0,
                who: 0,
                schema_since: None,
            };
            match self
                .open(&want, Duration::from_millis(self.policy.connect_timeout_ms))
                .await
            {
                Ok(lease) => lease.give_back(),
                Err(_) => return,
            }
        }
    }

    /// Asks the server once for what it is, so that the greeting can show its version before the first statement.
    pub async fn probe(self: &Arc<Self>, vector: &Arc<Vector>, flags: Flags) {
        if self.facts().is_some() {
            return;
        }
        let want = Want {
            vector,
            flags,
            session: 0,
            who: 0,
            schema_since: None,
        };
        if let Ok(lease) = self
            .lease(&want, Duration::from_millis(self.policy.connect_timeout_ms))
            .await
        {
            lease.give_back();
        }
    }
}
