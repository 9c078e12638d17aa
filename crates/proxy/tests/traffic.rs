//! What statements ask for themselves, and where they go that do not go the usual way: hints, deadlines, zones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "traffic/ask.rs"]
mod ask;
#[path = "traffic/balancing.rs"]
mod balancing;
#[path = "traffic/deadlines.rs"]
mod deadlines;
#[path = "faultkit/faultkit.rs"]
mod faultkit;
#[path = "traffic/heartbeat.rs"]
mod heartbeat;
#[path = "traffic/hints.rs"]
mod hints;
#[path = "traffic/large.rs"]
mod large;
#[path = "traffic/mirror.rs"]
mod mirror;
#[path = "traffic/shadow.rs"]
mod shadow;
#[path = "traffic/units.rs"]
mod units;
