//! The file of a `LOAD DATA LOCAL`, from the client to the server.
//!
//! Owns the one question whether a server may ask for a file, and its relaying in pieces. It must never believe a server
//! that asks for another file than the statement names. Input: the statement, the server's request, the client's packets.

use std::io;
use std::pin::pin;
use std::time::Duration;

use dbmesh_model::topology::LocalInfile;
use dbmesh_sql::{Effect, Statement};
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec::{HEADER_BYTES, Header};
use dbmesh_wire::relay::Relay;

use super::Session;
use super::exchange::{Done, Lost, guarded};
use crate::backend::{Backend, BackendError};
use crate::client::Client;
use crate::control::Control;
use crate::fault::Fault;

/// What a server may ask of the client in this command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Infile {
    /// Nothing.
    Refused,
    /// The file of this name, which the statement itself names.
    Named(Vec<u8>),
}

impl Session {
    /// The file that this statement lets a server ask for.
    pub(super) fn infile(&self, statement: &Statement) -> Infile {
        let allowed = self.serving.service.limits.local_infile == LocalInfile::Allow
            && self.client.capabilities.contains(Capabilities::LOCAL_FILES);
        if !allowed || statement.effects.is_empty() {
            return Infile::Refused;
        }
        statement
            .effects
            .iter()
            .find_map(|e| match e {
                Effect::LoadLocalInfile { file } => Some(Infile::Named(file.to_vec())),
                _ => None,
            })
            .unwrap_or(Infile::Refused)
    }
}

/// Passes the client's file on, as long as the session and the statement may.
pub(super) async fn pass_file(
    backend: &mut Backend,
    client: &mut Client,
    control: &Control,
    limit: Option<Duration>,
    (relay, name, infile): (&mut Relay, &[u8], &Infile),
) -> Result<(), Lost> {
    let sending = pin!(send_file(backend, client, relay, name, infile));
    match guarded(control, limit, sending).await {
        Done::Io(sent) => sent,
        Done::Stopped => Err(Lost::Stopped),
        // In the middle of a file, only the end of both connections stops both sides.
        Done::TooSlow => Err(Lost::Cut(BackendError::Lost(
            io::ErrorKind::TimedOut.into(),
        ))),
    }
}

/// Passes the client's file on, if the statement named it. The server is never believed otherwise.
async fn send_file(
    backend: &mut Backend,
    client: &mut Client,
    relay: &mut Relay,
    name: &[u8],
    infile: &Infile,
) -> Result<(), Lost> {
    if *infile != Infile::Named(name.to_vec()) {
        return Err(Lost::Refused(Fault::LocalInfileRefused));
    }
    let (mut backend_seq, client_seq) = relay.sequence();
    // A server that compresses counts by its frames.
    backend_seq = backend.channel().frame_sequence().unwrap_or(backend_seq);
    client.seq = client_seq;
    let mut request = vec![dbmesh_wire::reply::LOCAL_INFILE_MARKER];
    request.extend_from_slice(name);
    client.packet(&request).await.map_err(|_| Lost::Client)?;
    let mut expected = client.seq;
    loop {
        let header = match client.channel.read_header().await {
            Ok(Some(header)) if header.seq == expected => header,
            _ => return Err(Lost::Client),
        };
        client.channel.consume(HEADER_BYTES);
        expected = expected.wrapping_add(1);
        pass_payload(backend, client, header, &mut backend_seq).await?;
        if header.len == 0 {
            break;
        }
    }
    client.seq = expected;
    relay.set_sequence(backend_seq, expected);
    Ok(())
}

/// Passes one packet of a file on, in pieces as they come.
async fn pass_payload(
    backend: &mut Backend,
    client: &mut Client,
    header: Header,
    backend_seq: &mut u8,
) -> Result<(), Lost> {
    let mut piece = Header {
        len: header.len,
        seq: *backend_seq,
    }
    .encode()
    .to_vec();
    *backend_seq = backend_seq.wrapping_add(1);
    let mut left = header.len as usize;
    loop {
        let unread = client.channel.inbox().unread();
        let take = left.min(unread.len());
        piece.extend_from_slice(unread.get(..take).unwrap_or_default());
        client.channel.consume(take);
        left -= take;
        let sent = backend.channel().write(&piece).await;
        sent.map_err(|e| Lost::Backend {
            error: e.into(),
            came: true,
        })?;
        piece.clear();
        if left == 0 {
            return Ok(());
        }
        if !matches!(client.channel.fill().await, Ok(n) if n > 0) {
            return Err(Lost::Client);
        }
    }
}
