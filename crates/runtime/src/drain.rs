//! Stopping without breaking anything: a broadcast of "stop", and a count of what is not done yet.
//!
//! It owns the flag and the count; what to do on "stop", and what to do with those who miss the
//! deadline, is their owner's decision. It cannot be undone. Its input is whoever calls `start`.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// A "stop" that many can hear; copies are the same one.
#[derive(Debug, Clone)]
pub struct Drain {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    draining: watch::Sender<bool>,
    guards: AtomicUsize,
    last_dropped: Notify,
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl Drain {
    /// A drain that has not started, with no guard.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                draining: watch::Sender::new(false),
                guards: AtomicUsize::new(0),
                last_dropped: Notify::new(),
            }),
        }
    }

    /// Tells everybody to stop. Calling it again changes nothing.
    pub fn start(&self) {
        self.shared.draining.send_replace(true);
    }

    /// Whether [`Drain::start`] was called.
    pub fn is_draining(&self) -> bool {
        *self.shared.draining.borrow()
    }

    /// Completes when [`Drain::start`] is or was called. Cancel-safe; may be kept pinned across the
    /// turns of a loop.
    pub fn waiter(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        // The future holds `shared`, and with it the sender: `wait_for` cannot fail.
        let shared = Arc::clone(&self.shared);
        async move {
            let mut draining = shared.draining.subscribe();
            let _ = draining.wait_for(|draining| *draining).await;
        }
    }

    /// Counts something that must come to its end before the process may: hold the guard until then.
    pub fn guard(&self) -> DrainGuard {
        self.shared.guards.fetch_add(1, Ordering::AcqRel);
        DrainGuard {
            shared: Arc::clone(&self.shared),
        }
    }

    /// How many guards are held now.
    pub fn guards(&self) -> usize {
        self.shared.guards.load(Ordering::Acquire)
    }

    /// Waits until no guard is held, or for the deadline, and returns how many guards are left. It
    /// does not start the drain. Cancel-safe.
    pub async fn finished(&self, deadline: Instant) -> usize {
        loop {
            let mut dropped = std::pin::pin!(self.shared.last_dropped.notified());
            // Registered before the count is read: a guard dropped in between wakes us.
            dropped.as_mut().enable();
            if self.guards() == 0 {
                return 0;
            }
            if tokio::time::timeout_at(deadline, dropped).await.is_err() {
                return self.guards();
            }
        }
    }
}

/// Something that is not done yet; dropping it says that it is.
#[derive(Debug)]
pub struct DrainGuard {
    shared: Arc<Shared>,
}

impl Drop for DrainGuard {
    fn drop(&mut self) {
        if self.shared.guards.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.last_dropped.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn in_ms(milliseconds: u64) -> Instant {
        Instant::now() + Duration::from_millis(milliseconds)
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_hears_the_stop_whether_waiting_or_late() {
        let drain = Drain::new();
        let waiting = tokio::spawn(drain.waiter());
        tokio::task::yield_now().await;
        assert!(!drain.is_draining() && !waiting.is_finished());
        drain.clone().start();
        assert!(drain.is_draining());
        waiting.await.unwrap();
        drain.waiter().await;
        drain.start();
        assert!(drain.is_draining());
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_outlives_the_drain_without_firing() {
        let waiter = Drain::new().waiter();
        let outcome = tokio::time::timeout(Duration::from_secs(60), waiter).await;
        assert!(outcome.is_err(), "nobody said stop");
    }

    #[tokio::test(start_paused = true)]
    async fn finished_waits_for_the_last_guard_and_no_longer() {
        let drain = Drain::new();
        assert_eq!(drain.finished(in_ms(0)).await, 0);
        for hold_ms in [100u64, 300, 200] {
            let guard = drain.guard();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(hold_ms)).await;
                drop(guard);
            });
        }
        let start = Instant::now();
        assert_eq!(drain.finished(in_ms(10_000)).await, 0);
        let took_ms = start.elapsed().as_millis();
        assert!((300..400).contains(&took_ms), "{took_ms}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_counts_those_who_are_left() {
        let drain = Drain::new();
        let _slow = (drain.guard(), drain.guard());
        let quick = drain.guard();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(quick);
        });
        assert_eq!(drain.guards(), 3);
        assert_eq!(drain.finished(in_ms(1_000)).await, 2);
    }
}
