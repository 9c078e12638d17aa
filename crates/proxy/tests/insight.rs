//! What is told of statements: insight, SHOW MESH, audit, slow log, metrics, traces; over real servers, with the built
//! command.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "insight/digests.rs"]
mod digests;
#[path = "faultkit/faultkit.rs"]
mod faultkit;
#[path = "insight/ground.rs"]
mod ground;
#[path = "insight/mesh.rs"]
mod mesh;
