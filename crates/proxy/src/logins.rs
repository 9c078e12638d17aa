//! Who is connected how often, and the limits on that.
//!
//! Owns the counts of a service, the same through reloads. Input: logins that begin and end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

/// Who is connected how often.
#[derive(Debug, Default)]
pub struct Logins {
    total: AtomicU32,
    by_user: Mutex<HashMap<String, u32>>,
}

/// One login, counted until dropped.
#[derive(Debug)]
pub struct Login {
    logins: Arc<Logins>,
    user: String,
}

impl Logins {
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
