//! The pins that a statement would add, without running it.
//!
//! Owns no rule of its own: the absorber is asked, with a copy of the session and a server that reports nothing unusual. It
//! must never touch the session. Input: what the absorber takes.

use std::sync::Arc;

use dbmesh_model::topology::Multiplexing;
use dbmesh_sql::effects::Effect;
use dbmesh_sql::{Class, Statement};
use dbmesh_wire::relay::Outcome;
use dbmesh_wire::status::Status;

use super::{Surroundings, absorb};
use crate::pins::{PinReason, Pins};
use crate::state::SessionState;
use crate::vector::Charset;

/// The names of the pins that `statement` would add to those that are there.
#[must_use]
pub fn foresee(
    pins: &Pins,
    status: Status,
    statement: &Statement,
    around: Surroundings<'_>,
    multiplexing: Multiplexing,
) -> Vec<&'static str> {
    let mut copy = SessionState::fresh(None, Charset::Server, (status, Arc::default()));
    copy.pins = pins.clone();
    absorb(&mut copy, statement, &Outcome::default(), around);
    let begins = statement
        .effects
        .iter()
        .any(|effect| matches!(effect, Effect::Begin { .. }));
    let uses_tables = matches!(statement.class, Class::Read | Class::Write);
    let autocommit = status.contains(Status::AUTOCOMMIT);
    if !status.contains(Status::IN_TRANS) && (begins || (!autocommit && uses_tables)) {
        copy.pins.add(PinReason::Transaction);
    }
    if multiplexing == Multiplexing::Session {
        copy.pins.add(PinReason::Policy);
    }
    let new = copy.pins.bits() & !pins.bits();
    Pins::reasons_of(new).map(PinReason::label).collect()
}
