//! The data plane: one MySQL endpoint in front of real servers.
//!
//! `serve` wires it together; `listener` accepts, `login` lets in, `session` is the path of every statement, `pool` and
//! `backend` are the connections to servers. Start reading at `session.rs`.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

mod absorb;
mod admin;
mod allowance;
mod announced;
mod atomic;
mod backend;
mod balance;
mod breaker;
mod catalog;
mod channel;
mod client;
mod control;
mod definitions;
mod election;
mod explain;
mod fault;
mod firewall;
mod generated;
mod health;
mod insight;
mod limit;
mod listener;
pub mod live;
mod login;
mod logins;
mod logs;
#[doc(hidden)]
pub mod measure;
mod memory;
mod metrics;
mod mirror;
mod monitor;
mod outlets;
mod pieces;
mod pins;
mod plans;
mod pool;
mod position;
mod prepared;
mod process;
mod proxy_protocol;
mod recall;
mod record;
mod redact;
mod registry;
mod replay;
mod rules;
mod scatter;
mod serve;
mod serves;
mod serving;
mod session;
mod spans;
mod standing;
mod state;
mod texts;
mod tracking;
mod turns;
mod upstream;
mod vector;

pub use explain::explain_offline;
pub use serve::{Options, ServeError, serve};
