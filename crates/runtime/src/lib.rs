//! The process chassis: signals, drain, logs, the admin page, TLS material, the clock, and the
//! topology as it is read from files and read again when they change.
//!
//! It never speaks the MySQL protocol, opens no connection to a backend and knows nothing of
//! sessions: whoever runs a process (`proxy`, `controller`, `daemon`) puts these parts together. Its
//! input is the command line of the process, signals, `/proc/self`, and configuration files.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod admin;
pub mod clock;
pub mod drain;
pub mod exposition;
pub mod ledger;
pub mod lock;
pub mod log;
pub mod process;
pub mod signals;
pub mod source;
#[cfg(test)]
mod test_folder;
pub mod time;
pub mod tls;
