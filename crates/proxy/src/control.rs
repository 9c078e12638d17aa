//! What others may tell a session while it waits: stop, give the connection back, look at the configuration again.
//!
//! Owns one small mailbox of flags per session. It must never block or queue: a flag said twice is one flag. Input: the
//! drain, KILL, pools under pressure, the idle sweep, reloads.

use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// A set of things said to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signals(u32);

impl Signals {
    /// The process is being stopped: end at the next transaction boundary.
    pub const DRAIN: Self = Self(1);
    /// KILL CONNECTION.
    pub const KILL: Self = Self(2);
    /// Somebody waits for a connection: give back what is merely held.
    pub const RECLAIM: Self = Self(4);
    /// Idle beyond wait_timeout.
    pub const IDLE: Self = Self(8);
    /// The drain's time is up: end now, boundary or not.
    pub const CLOSE: Self = Self(16);
    /// The server at work lost the place of the primary: what it still answers is worth nothing.
    pub const FENCED: Self = Self(32);
    /// The server at work cannot be reached: what only reads is better asked elsewhere.
    pub const DOWN: Self = Self(64);
    /// KILL QUERY while no server has the statement.
    pub const INTERRUPT: Self = Self(128);

    /// Whether any of `other` is in it.
    #[must_use]
    pub fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The mailbox of one session.
#[derive(Debug, Default)]
pub struct Control {
    flags: AtomicU32,
    waker: Mutex<Option<Waker>>,
}

impl Control {
    /// Says something, and wakes the session if it waits.
    pub fn say(&self, signals: Signals) {
        self.flags.fetch_or(signals.0, Ordering::AcqRel);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes signals back.
    pub fn clear(&self, signals: Signals) {
        self.flags.fetch_and(!signals.0, Ordering::AcqRel);
    }

    /// What was said.
    #[must_use]
    pub fn signals(&self) -> Signals {
        Signals(self.flags.load(Ordering::Acquire))
    }

    /// Ready when any of `wanted` was said.
    pub fn poll(&self, wanted: Signals, cx: &mut Context<'_>) -> Poll<Signals> {
        let said = self.signals();
        if said.any(wanted) {
            return Poll::Ready(said);
        }
        {
            let mut waker = self.waker.lock();
            match &*waker {
                Some(known) if known.will_wake(cx.waker()) => {}
                _ => *waker = Some(cx.waker().clone()),
            }
        }
        // Said between the look and the registration?
        let said = self.signals();
        if said.any(wanted) {
            Poll::Ready(said)
        } else {
            Poll::Pending
        }
    }
}
