//! The client's side of a session: its channel, its capabilities, and everything that is written to it.
//!
//! Owns the one way to answer: nothing else writes to a client. It must never mix an answer of the proxy's own into one that
//! is being relayed. Input: answers of the proxy as values, relayed bytes.

use std::io;

use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec;
use dbmesh_wire::reply;
use dbmesh_wire::status::Status;
use dbmesh_wire::track;

use crate::allowance::Share;
use crate::channel::{Channel, PacketError, output_buffer, return_buffer};
use crate::fault::Fault;
use crate::tracking::Tracking;

/// A client's connection.
#[derive(Debug)]
pub struct Client {
    /// Its bytes.
    pub channel: Channel,
    /// What was agreed with it.
    pub capabilities: Capabilities,
    /// Sequence number of the next packet to it.
    pub seq: u8,
    /// What it hears of its session's state.
    pub tracking: Tracking,
}

/// What a plain OK says.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Status flags.
    pub status: Status,
    /// Warnings.
    pub warnings: u16,
}

/// Packets of an answer that have not left. They count when they have: what ends the answer before takes the number of
/// the first of them.
#[derive(Debug)]
pub struct Unsent {
    /// Their bytes.
    pub bytes: Vec<u8>,
    seq: u8,
}

impl Unsent {
    /// None yet, behind what the client was sent.
    #[must_use]
    pub fn to(client: &Client) -> Self {
        Self {
            bytes: output_buffer(),
            seq: client.seq,
        }
    }

    /// Adds a packet.
    pub fn put(&mut self, payload: &[u8]) {
        codec::put_packet(&mut self.bytes, &mut self.seq, payload);
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        return_buffer(std::mem::take(&mut self.bytes));
    }
}

impl Client {
    /// Reads a command into `payload`; `None` when the client is gone.
    ///
    /// # Errors
    /// [`PacketError`].
    pub async fn read_command(
        &mut self,
        payload: &mut Vec<u8>,
        bytes_max: usize,
        share: &mut Share,
    ) -> Result<Option<()>, PacketError> {
        self.seq = 1;
        let read = self.channel.read_within(payload, 0, bytes_max, Some(share));
        match read.await {
            Ok(Some(next)) => {
                self.seq = next;
                Ok(Some(()))
            }
            Ok(None) => Ok(None),
            Err(e) => {
                if let PacketError::TooLarge { next_seq } | PacketError::NoRoom { next_seq } = &e {
                    self.seq = *next_seq;
                }
                Err(e)
            }
        }
    }

    /// Writes one packet.
    ///
    /// # Errors
    /// The socket's.
    pub async fn packet(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut out = output_buffer();
        codec::put_packet(&mut out, &mut self.seq, payload);
        let written = self.channel.write(&out).await;
        return_buffer(out);
        written
    }

    /// Writes packets of an answer.
    ///
    /// # Errors
    /// The socket's.
    pub async fn send(&mut self, unsent: &mut Unsent) -> io::Result<()> {
        self.channel.write(&unsent.bytes).await?;
        unsent.bytes.clear();
        self.has_sent(unsent);
        Ok(())
    }

    /// These packets have left.
    pub fn has_sent(&mut self, unsent: &Unsent) {
        self.seq = unsent.seq;
    }

    /// Answers OK.
    ///
    /// # Errors
    /// The socket's.
    pub async fn ok(&mut self, answer: Answer) -> io::Result<()> {
        let ok = reply::Ok {
            affected_rows: 0,
            last_insert_id: 0,
            status: answer.status,
            warnings: answer.warnings,
            info: &[],
            session_state: &[],
        };
        let mut payload = Vec::with_capacity(16);
        ok.encode(&mut payload, reply::OkForm::Command, self.capabilities);
        self.packet(&payload).await
    }

    /// Answers OK with the session-state items that this client gets.
    ///
    /// # Errors
    /// The socket's.
    pub async fn ok_with(&mut self, answer: Answer, tracked: &[u8]) -> io::Result<()> {
        let mut state = Vec::new();
        if self.capabilities.contains(Capabilities::SESSION_TRACK) {
            let filter = self.tracking.filter();
            for item in track::items(tracked).filter_map(Result::ok) {
                if filter.passes(&item) {
                    item.encode(&mut state);
                }
            }
        }
        let status = if state.is_empty() {
            answer.status
        } else {
            answer.status.union(Status::SESSION_STATE_CHANGED)
        };
        let ok = reply::Ok {
            affected_rows: 0,
            last_insert_id: 0,
            status,
            warnings: answer.warnings,
            info: &[],
            session_state: &state,
        };
        let mut payload = Vec::with_capacity(16 + state.len());
        ok.encode(&mut payload, reply::OkForm::Command, self.capabilities);
        self.packet(&payload).await
    }

    /// Answers EOF, or the OK that stands for it.
    ///
    /// # Errors
    /// The socket's.
    pub async fn eof(&mut self, status: Status) -> io::Result<()> {
        let mut payload = Vec::with_capacity(16);
        if self.capabilities.contains(Capabilities::DEPRECATE_EOF) {
            payload.extend_from_slice(&[reply::EOF_MARKER, 0, 0]);
            payload.extend_from_slice(&status.0.to_le_bytes());
            payload.extend_from_slice(&[0, 0]);
        } else {
            payload.extend_from_slice(&[reply::EOF_MARKER, 0, 0]);
            payload.extend_from_slice(&status.0.to_le_bytes());
        }
        self.packet(&payload).await
    }

    /// Answers with an error.
    ///
    /// # Errors
    /// The socket's.
    pub async fn fault(&mut self, fault: &Fault) -> io::Result<()> {
        let mut payload = error_payload(fault);
        if !self.capabilities.contains(Capabilities::PROTOCOL_41) {
            // Before anything is agreed, servers send no SQLSTATE.
            payload.drain(3..9);
        }
        self.packet(&payload).await
    }
}

/// An ERR packet's payload.
#[must_use]
pub fn error_payload(fault: &Fault) -> Vec<u8> {
    let (code, sqlstate) = fault.code();
    let sqlstate = match fault {
        Fault::Server { sqlstate, .. } if sqlstate.len() == 5 => sqlstate.as_str(),
        _ => sqlstate,
    };
    let mut payload = vec![reply::ERR_MARKER];
    payload.extend_from_slice(&code.to_le_bytes());
    payload.push(b'#');
    payload.extend_from_slice(sqlstate.as_bytes());
    payload.extend_from_slice(fault.to_string().as_bytes());
    payload
}
