//! How fast connections to one server are opened.
//!
//! Owns a bucket of tokens that fills with the time. It must never let a herd of sessions fall on a server that just came
//! back. Input: the pool's connect rate.

use std::time::{Duration, Instant};

/// A bucket of tokens.
#[derive(Debug)]
pub struct Rate {
    tokens: f64,
    at: Instant,
}

impl Rate {
    /// A full bucket.
    pub fn new(per_second: u32) -> Self {
        Self {
            tokens: f64::from(per_second),
            at: Instant::now(),
        }
    }

    /// Takes a token, or says how long to wait for one.
    pub fn take(&mut self, per_second: u32) -> Option<Duration> {
        let rate = f64::from(per_second.max(1));
        let now = Instant::now();
        self.tokens = (self.tokens + now.duration_since(self.at).as_secs_f64() * rate).min(rate);
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return None;
        }
        Some(Duration::from_secs_f64((1.0 - self.tokens) / rate))
    }
}
