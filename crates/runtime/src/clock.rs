//! A cheap clock for idle times and ages: milliseconds since it started, 100 ms coarse.
//!
//! It owns one task, which ends with the last copy of the clock. It never goes backwards and knows
//! nothing of the time of day. Its input is the runtime's monotonic clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior};

/// How far behind the clock may be, in milliseconds, while the runtime is not overloaded.
pub const RESOLUTION_MS: u64 = 100;

/// The clock; copies show the same time.
#[derive(Debug, Clone)]
pub struct Coarse {
    ticking: Arc<Ticking>,
}

#[derive(Debug)]
struct Ticking {
    elapsed_ms: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Coarse {
    /// A clock at 0 ms, advanced by a task on the runtime that this is called in.
    ///
    /// # Panics
    /// Outside of a tokio runtime with its timer enabled.
    pub fn start() -> Self {
        let elapsed_ms = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(advance(Arc::clone(&elapsed_ms))).abort_handle();
        Self {
            ticking: Arc::new(Ticking { elapsed_ms, task }),
        }
    }

    /// Milliseconds since the start: one relaxed load, no system call.
    pub fn now_ms(&self) -> u64 {
        self.ticking.elapsed_ms.load(Ordering::Relaxed)
    }
}

/// Stores the time that has passed rather than counting ticks, so that ticks missed by a busy
/// runtime lose no time.
async fn advance(elapsed_ms: Arc<AtomicU64>) {
    let start = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(RESOLUTION_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let now_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        elapsed_ms.store(now_ms, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_follows_the_time_within_its_resolution() {
        let clock = Coarse::start();
        assert_eq!(clock.now_ms(), 0);
        tokio::time::sleep(Duration::from_millis(1_050)).await;
        assert!(
            (950..=1_050).contains(&clock.now_ms()),
            "{}",
            clock.now_ms()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_task_ends_with_the_last_copy() {
        let clock = Coarse::start();
        let copy = clock.clone();
        let task = clock.ticking.task.clone();
        drop(clock);
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert!(copy.now_ms() >= 200 && !task.is_finished());
        drop(copy);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(task.is_finished());
    }
}
