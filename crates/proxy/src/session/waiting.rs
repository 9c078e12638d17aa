//! Waiting for the next command, and for what others say meanwhile.
//!
//! Owns which signals a session heeds when. A session with a transaction or pins hears a drain only behind them. It must
//! hold no buffer while it waits. Input: the client's channel and the session's mailbox.

use std::task::Poll;

use super::{CloseReason, Failure, Session};
use crate::allowance::Share;
use crate::channel::PacketError;
use crate::client::Client;
use crate::control::Signals;
use crate::fault::Fault;
use crate::turns::{Lane, Wait};

impl Session {
    /// Waits for a command, or for something that others say.
    pub(super) async fn wait(&mut self) -> Wake {
        if self.client.channel.has_unread() && !self.handle().control.signals().any(URGENT) {
            return Wake::Command;
        }
        self.client.channel.rest();
        if self.packet.capacity() > PACKET_KEPT_BYTES {
            self.packet = Vec::new();
            self.share.release();
        }
        let control = self.handle().control.clone();
        let wanted = if self.at_boundary() {
            WANTED
        } else {
            WANTED_PINNED
        };
        std::future::poll_fn(|cx| {
            if let Poll::Ready(signals) = control.poll(wanted, cx) {
                return Poll::Ready(Wake::Signals(signals));
            }
            self.client
                .channel
                .poll_fill(cx)
                .map(|filled| match filled {
                    Ok(n) if n > 0 => Wake::Command,
                    _ => Wake::Gone,
                })
        })
        .await
    }

    /// Does what others said; gives the reason if the session ends.
    pub(super) async fn heed(&mut self, signals: Signals) -> Option<CloseReason> {
        let (fault, reason) = if signals.any(Signals::KILL) {
            (None, CloseReason::Killed)
        } else if signals.any(Signals::IDLE) {
            (Some(Fault::IdleTimeout), CloseReason::Idle)
        } else if signals.any(Signals::CLOSE) || (signals.any(Signals::DRAIN) && self.at_boundary())
        {
            (Some(Fault::Draining), CloseReason::Drained)
        } else {
            if signals.any(Signals::RECLAIM) {
                self.handle().control.clear(Signals::RECLAIM);
                self.give_up_hold().await;
            }
            return None;
        };
        if let Some(fault) = fault {
            self.client.seq = 0;
            let _ = self.report(&fault).await;
        }
        Some(reason)
    }

    /// Whether the session could stop here and lose nothing but its connection.
    fn at_boundary(&self) -> bool {
        self.lease.is_none() || (self.state.pins.is_empty() && !self.state.in_transaction())
    }

    pub(super) fn stopped(&mut self) -> CloseReason {
        self.observe_stopped();
        if self.handle().control.signals().any(Signals::KILL) {
            CloseReason::Killed
        } else {
            CloseReason::Drained
        }
    }
}

/// What ended a wait.
pub(super) enum Wake {
    Command,
    Gone,
    Signals(Signals),
}

const URGENT: Signals = Signals::KILL.and(Signals::CLOSE);

const WANTED: Signals = Signals::DRAIN
    .and(Signals::KILL)
    .and(Signals::RECLAIM)
    .and(Signals::IDLE)
    .and(Signals::CLOSE);

/// A pinned session ends its transaction first.
const WANTED_PINNED: Signals = Signals::KILL
    .and(Signals::RECLAIM)
    .and(Signals::IDLE)
    .and(Signals::CLOSE);

/// Command buffers up to this size are kept between commands, in bytes.
const PACKET_KEPT_BYTES: usize = 1024;

/// Reads a command once it is the service's turn.
pub(super) async fn read_in_turn(
    (turn, lane): (Option<Wait>, &Lane),
    (client, share): (&mut Client, &mut Share),
    packet: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<Option<()>, PacketError> {
    if let Some(turn) = turn {
        turn.await;
    }
    let read = client.read_command(packet, bytes_max, share).await;
    lane.charge_for(packet.len());
    read
}

/// Why no command could be read.
pub(super) fn packet_failure(error: &PacketError) -> Failure {
    match error {
        PacketError::Io(_) => Failure::ClientLost,
        PacketError::Sequence { .. } => Failure::Fault(Fault::OutOfOrder),
        PacketError::TooLarge { .. } => Failure::Fault(Fault::PacketTooLarge),
        PacketError::NoRoom { .. } => Failure::Fault(Fault::NoMemoryForCommand),
    }
}
