//! Faults of real servers and of the network between: what is acknowledged is there, nothing is done twice, nobody gets
//! another's answer, and the proxy says what it knows.
//!
//! Servers are started by the harness; the network's faults are those of its relay.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "faults/answers.rs"]
mod answers;
#[path = "faultkit/faultkit.rs"]
mod faultkit;
#[path = "faults/kills.rs"]
mod kills;
#[path = "faults/servers.rs"]
mod servers;
