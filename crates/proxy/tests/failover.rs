//! Failover and planned switchover with real servers: what is acknowledged is there, nothing is done twice, reads go on and
//! are not stale, and what was not sent yet waits for the new primary.
//!
//! An operator's tool promotes (`testkit::operator`); the proxy finds out by itself. Unplanned failovers run with
//! semi-synchronous replication: without it, a primary that dies takes with it what no replica has received, whatever a
//! proxy does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "failover/cluster.rs"]
mod cluster;
#[path = "failover/death.rs"]
mod death;
#[path = "faultkit/faultkit.rs"]
mod faultkit;
#[path = "failover/frozen.rs"]
mod frozen;
#[path = "failover/load.rs"]
mod load;
#[path = "failover/planned.rs"]
mod planned;
#[path = "failover/reads.rs"]
mod reads;
#[path = "failover/recall.rs"]
mod recall;
#[path = "failover/replay.rs"]
mod replay;
#[path = "failover/restart.rs"]
mod restart;
