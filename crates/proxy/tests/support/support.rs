//! What the session tests share: a raw client, its answers, scenarios, and where they run.
//!
//! Owns everything an application could see of a server, written down so that two servers can be compared. It must never
//! hide a difference that it does not name in `reply.rs`. Input: real servers and the built proxy, from the testkit.

pub mod client;
pub mod draw;
pub mod ground;
pub mod known;
pub mod names;
pub mod reply;
pub mod scenario;
pub mod script;
