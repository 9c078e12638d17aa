//! Real servers for tests, demonstrations and benchmarks: MySQL and MariaDB instances, fleets of them
//! with replication, the `dbmesh` binary, and a relay that breaks connections on purpose.
//!
//! Owns processes, ports and folders, and ends all of them whatever happens to the test. It must never
//! be part of the shipped binary, never touch a server it did not start, and never listen on anything
//! but the loopback address. Its inputs are the test's options and the environment variables
//! `DBMESH_MYSQLD`, `DBMESH_MARIADBD`, `DBMESH_CACHE` and `DBMESH_BIN`.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod binaries;
pub mod config;
mod error;
pub mod fleet;
pub mod folder;
pub mod group;
mod http;
pub mod operator;
pub mod pair;
pub mod port;
pub mod process;
pub mod proxy;
pub mod query;
pub mod relay;
pub mod server;
mod template;

pub use error::{Error, Result};
pub use fleet::{Fleet, FleetOptions};
pub use group::Group;
pub use pair::Pair;
pub use proxy::Proxy;
pub use query::{Rows, Session};
pub use relay::FaultRelay;
pub use server::{Durability, Kind, Server, ServerOptions, Writes, shared};
