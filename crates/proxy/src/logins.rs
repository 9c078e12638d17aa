//! Who is connected how often, and the limits on that.
//!
//! Owns the counts of a service, the same through reloads, and the one place where its passwords are checked at a cost. Input:
//! logins that begin and end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// Costly checks of passwords at a time, of one service: each takes milliseconds of a processor.
const CHECKS_MAX: usize = 1;

/// Who is connected how often.
#[derive(Debug)]
pub struct Logins {
    /// Clients that have not logged in yet and need no place that services share.
    entrants: AtomicU32,
    checks: Arc<Semaphore>,
    total: AtomicU32,
    by_user: Mutex<HashMap<String, u32>>,
}

/// One login, counted until dropped.
#[derive(Debug)]
pub struct Login {
    logins: Arc<Logins>,
    user: String,
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            entrants: AtomicU32::new(0),
            checks: Arc::new(Semaphore::new(CHECKS_MAX)),
            total: AtomicU32::new(0),
            by_user: Mutex::default(),
        }
    }
}

impl Logins {
    /// Counts a client before its login, if the service has so much room of its own.
    pub fn approach(&self, max: u32) -> bool {
        let one_more = |n: u32| (n < max).then(|| n + 1);
        let entrants = &self.entrants;
        let counted = entrants.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        counted.is_ok()
    }

    /// It logged in, or left.
    pub fn approached(&self) {
        self.entrants.fetch_sub(1, Ordering::Relaxed);
    }

    /// Does what a check of a password takes, away from the threads that serve statements, and one after the other: a service
    /// whose passwords are guessed at costs the others no more than that. It goes on to its end if nobody waits any more.
    pub async fn check<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let permit = self.checks.clone().acquire_owned().await.ok()?;
        let checking = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        checking.await.ok()
    }

    /// Counts a login, unless it is beyond a limit.
    ///
    /// # Errors
    /// Which limit.
    pub fn enter(
        self: &Arc<Self>,
        user: &str,
        max: u32,
        max_per_user: u32,
    ) -> Result<Login, &'static str> {
        if self.total.fetch_add(1, Ordering::Relaxed) >= max {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return Err("limit of the service");
        }
        let mut by_user = self.by_user.lock();
        let count = by_user.entry(user.to_owned()).or_default();
        if *count >= max_per_user {
            drop(by_user);
            self.total.fetch_sub(1, Ordering::Relaxed);
            return Err("limit of the user");
        }
        *count += 1;
        drop(by_user);
        Ok(Login {
            logins: self.clone(),
            user: user.to_owned(),
        })
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.logins.total.fetch_sub(1, Ordering::Relaxed);
        let mut by_user = self.logins.by_user.lock();
        if let Some(count) = by_user.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_service_has_so_many_entrants_of_its_own() {
        let logins = Logins::default();
        assert_eq!((0..10).filter(|_| logins.approach(3)).count(), 3);
        logins.approached();
        assert!(logins.approach(3));
        assert!(!logins.approach(3));
    }

    #[tokio::test]
    async fn passwords_are_checked_one_after_the_other_even_for_who_left() {
        let logins = Arc::new(Logins::default());
        let running = Arc::new(AtomicU32::new(0));
        let checks = (0..20).map(|n| {
            let (logins, running) = (logins.clone(), running.clone());
            tokio::spawn(async move {
                let checked = logins.check(move || {
                    let others = running.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(2));
                    running.fetch_sub(1, Ordering::SeqCst);
                    others
                });
                match n % 2 {
                    0 => checked.await,
                    _ => tokio::time::timeout(Duration::from_millis(1), checked)
                        .await
                        .unwrap_or(Some(0)),
                }
            })
        });
        for check in checks.collect::<Vec<_>>() {
            assert_eq!(check.await.unwrap(), Some(0));
        }
    }
}
