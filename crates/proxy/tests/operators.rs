//! What operators see and steer: listings, drain and undrain, EXPLAIN MESH; over real fleets, with the built command.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "operators/document.rs"]
mod document;
#[path = "operators/drain.rs"]
mod drain;
#[path = "operators/explain.rs"]
mod explain;
#[path = "faultkit/faultkit.rs"]
mod faultkit;
#[path = "operators/ground.rs"]
mod ground;
#[path = "operators/listings.rs"]
mod listings;
