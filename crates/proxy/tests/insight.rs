//! What is told of statements: insight, SHOW MESH, audit, slow log, metrics, traces; over real servers, with the built
//! command.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
#[path = "traffic/ask.rs"]
mod ask;
#[path = "insight/audit.rs"]
mod audit;
#[path = "insight/collectors.rs"]
mod collectors;
#[path = "insight/digests.rs"]
mod digests;
#[path = "faultkit/faultkit.rs"]
mod faultkit;
#[path = "insight/ground.rs"]
mod ground;
#[path = "insight/mesh.rs"]
mod mesh;
#[path = "insight/metrics.rs"]
mod metrics;
#[path = "insight/receiver.rs"]
mod receiver;
#[path = "insight/top.rs"]
mod top;
#[path = "insight/tracing.rs"]
mod tracing;
