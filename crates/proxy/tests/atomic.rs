//! Commit across shards on real servers: killed at every step of the protocol, and finished by a resolver.
//!
//! The first part sends the protocol's own texts, driven step by step, so that a server or the coordinator can be killed
//! between any two of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "atomic/failover.rs"]
mod failover;
#[path = "atomic/steps.rs"]
mod steps;
#[path = "atomic/texts.rs"]
mod texts;
#[path = "atomic/waits.rs"]
mod waits;
