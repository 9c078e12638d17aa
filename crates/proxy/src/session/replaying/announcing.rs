//! A transaction in which nothing has run, at a server that takes no writes any more: it is announced at another one.
//!
//! Owns the decision whether nothing has run, and the doing. Must never leave behind what the client believes to be there:
//! where no other server is found in time, the client hears that the transaction is gone. Input: the session's pins.

use std::pin::pin;

use dbmesh_plan::Aim;
use dbmesh_wire::status::Status;

use super::holds_nothing_else;
use crate::fault::Fault;
use crate::pins::Pins;
use crate::session::demand::in_time;
use crate::session::exchange::Lost;
use crate::session::leave::TurnedAway;
use crate::session::{Failure, Session};

impl Session {
    /// Whether all that the session has on its connection is a transaction in which nothing has run, begun or not.
    pub(in crate::session) fn has_only_announced(&self) -> bool {
        let state = &self.state;
        let elsewhere = self.sharded.is_some() || self.is_away();
        // One that only reads may be at a replica, which never takes writes.
        let reads = state.status.contains(Status::IN_TRANS_READONLY);
        let open = state.in_transaction();
        !elsewhere
            && !reads
            && self.lease.is_some()
            && holds_nothing_else(&state.pins)
            && state.pins.announced().again(open).is_some()
    }

    /// The server takes no writes: the transaction is announced where they are taken.
    pub(super) async fn announce_elsewhere(
        &mut self,
        aim: Aim,
        error: TurnedAway,
    ) -> Result<Aim, Failure> {
        let endpoint = self.member.as_ref().map(|m| m.endpoint.name.to_string());
        let (pins, status) = (std::mem::take(&mut self.state.pins), self.state.status);
        let open = self.state.in_transaction();
        self.state.status = status.difference(Status::IN_TRANS);
        // Closed, it is rolled back.
        self.lease = None;
        let found = self.announce_at_next(aim, error, &pins, open).await;
        if let Err(Failure::Fault(_)) = found {
            // The client must not go on as if its transaction were there.
            self.lease = None;
            let endpoint = endpoint.unwrap_or_default();
            return Err(Fault::BackendLost {
                endpoint,
                state_lost: true,
            }
            .into());
        }
        let aim = found?;
        (self.state.pins, self.state.status) = (pins, status);
        Ok(aim)
    }

    async fn announce_at_next(
        &mut self,
        aim: Aim,
        error: TurnedAway,
        pins: &Pins,
        open: bool,
    ) -> Result<Aim, Failure> {
        let aim = self.turned_away(aim, error).await?;
        self.acquire(aim).await?;
        for statement in pins.announced().again(open).into_iter().flatten() {
            self.announce(statement).await?;
        }
        Ok(aim)
    }

    async fn announce(&mut self, statement: &[u8]) -> Result<(), Failure> {
        let deadline = self.demand.deadline;
        let backend = self.backend()?;
        let answer = in_time(deadline, pin!(backend.query(statement))).await;
        match answer {
            Some(Ok(Ok(_))) => Ok(()),
            Some(Ok(Err(e))) => Err(Fault::StateReplay {
                code: e.code,
                message: e.message,
            }
            .into()),
            Some(Err(e)) => Err(self.lost(Lost::before(e), None)),
            None => Err(self.lost(Lost::Overdue, None)),
        }
    }
}
