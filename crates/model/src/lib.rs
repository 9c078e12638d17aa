//! The vocabulary of dbmesh: resources as written (`spec`), read with their positions (`load`), and
//! resolved into a `Topology` that cannot be wrong, or into every defect at once.
//!
//! It opens no socket, spawns nothing and reads no clock; environment variables and files that a
//! resource names are read only through [`host::Host`]. It never shows a secret: not in `Debug`, not
//! in JSON, not in a defect. Its input is the YAML or JSON of an operator, who may be wrong anywhere.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod defect;
pub mod host;
pub mod load;
pub mod path;
pub mod resolve;
pub mod schema;
pub mod secret;
mod shape;
pub mod spec;
mod suggest;
pub mod topology;
pub mod yaml;

pub use defect::{Defect, Defects, Severity};
pub use load::{Document, Loaded, load, load_text};
pub use resolve::{Purpose, resolve, resolve_for, topology};
pub use schema::{Kind, schema};
pub use secret::Secret;
pub use topology::{Endpoint, Service, Strategy, Topology};
