//! Bytes that no honest client or server sends: an error or a closed connection, and nothing else suffers.
//!
//! Clients are raw sockets; the servers behind the proxy are scripts, so that no answer is believed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "bad_input/clients.rs"]
mod clients;
#[path = "faultkit/faultkit.rs"]
mod faultkit;
#[path = "bad_input/logins.rs"]
mod logins;
#[path = "bad_input/servers.rs"]
mod servers;

/// A packet with this number.
fn packet(seq: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    dbmesh_wire::codec::put_packet(&mut out, &mut { seq }, payload);
    out
}
