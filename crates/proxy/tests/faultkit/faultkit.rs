//! What the tests of bad input and faults share: a client and a server that speak the protocol byte by byte.
//!
//! Owns the raw client, the scripted server and the checks that every such test ends with. It must never hide a
//! packet from the test as a driver would. Input: what the tests tell it to send.

#![allow(dead_code, reason = "each test binary uses its own part of the kit")]

pub mod client;
pub mod scripted;
pub mod stage;

use std::time::{Duration, Instant};

/// Waits until `check` holds.
///
/// # Panics
/// When it does not within `limit`.
pub fn eventually(what: &str, limit: Duration, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if check() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("not within {limit:?}: {what}");
}

/// Bytes that look random and are the same in every run.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed | 1;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
        })
        .collect()
}
