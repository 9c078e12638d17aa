//! What rules, limits, firewalls and rights let through, and what they do not: over real servers, which say what happened.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "governance/access.rs"]
mod access;
#[path = "traffic/ask.rs"]
mod ask;
#[path = "governance/breakers.rs"]
mod breakers;
#[path = "faultkit/faultkit.rs"]
mod faultkit;
#[path = "governance/firewall.rs"]
mod firewall;
#[path = "governance/ground.rs"]
mod ground;
#[path = "governance/isolation.rs"]
mod isolation;
#[path = "governance/limits.rs"]
mod limits;
#[path = "governance/memory.rs"]
mod memory;
#[path = "governance/rules.rs"]
mod rules;
