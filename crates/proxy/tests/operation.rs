//! What an operator does, and what clients see of it: reload, drain, limits of pools, listeners, TLS, credentials.
//!
//! Servers are real; clients are raw, so that nothing that the proxy sends is hidden by a driver.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "operation/entrances.rs"]
mod entrances;
#[path = "faultkit/faultkit.rs"]
mod faultkit;
#[path = "operation/large.rs"]
mod large;
#[path = "operation/logins.rs"]
mod logins;
#[path = "operation/pools.rs"]
mod pools;
#[path = "operation/reload.rs"]
mod reload;
#[path = "operation/stop.rs"]
mod stop;
#[path = "operation/successor.rs"]
mod successor;
