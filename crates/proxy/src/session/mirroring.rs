//! Which statements are drawn for a copy, and the handing over of what came of them.
//!
//! Owns the conditions: a copy must not depend on anything but the session's restorable state. Input: statements in text
//! with their routes; the strategy's `mirror`.

use dbmesh_plan::{Functions, LastInsertId, Proof, Route};
use dbmesh_sql::{Class, Facts, Statement, Verb};
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::status::Status;

use super::Session;
use super::demand::Place;
use crate::backend::Flags;
use crate::mirror::{COPY_BYTES_MAX, Original, Tally};

impl Session {
    /// Sums up the rows of this statement if it is drawn.
    pub(super) fn draw(&mut self, statement: &Statement, sql: &[u8], proof: Proof, route: Route) {
        (self.tally, self.seen) = (None, None);
        let Some(mirror) = &self.serving.mirror else {
            return;
        };
        let plain = route.functions == Functions::NONE && statement.statements == 1;
        let free = self.state.status.contains(Status::AUTOCOMMIT)
            && !self.is_bound()
            && self.demand.place == Place::Home;
        if !plain || !free || sql.len() > COPY_BYTES_MAX {
            return;
        }
        let copied = match proof {
            Proof::Reads => route.last_insert_id == LastInsertId::Unread,
            Proof::NotProved => mirror.writes() && is_plain_write(statement),
            Proof::ReadsServer | Proof::ReadOnlyTransaction => false,
        };
        if copied && mirror.draws() {
            let client = self.client.capabilities;
            let tally = Tally::new(client.contains(Capabilities::DEPRECATE_EOF));
            self.tally = Some(Box::new(tally));
        }
    }

    /// Has a copy made of the statement that was drawn, now that the client has its answer.
    pub(super) fn copy(&mut self, sql: &[u8]) {
        if self.tally.take().is_none() {
            return;
        }
        if let (Some(mirror), Some(seen)) = (&self.serving.mirror, self.seen.take()) {
            mirror.copy(Original {
                sql: sql.to_vec(),
                vector: self.state.vector.clone(),
                flags: Flags::of(self.client.capabilities),
                seen,
            });
        }
    }
}

/// A write of rows that leaves nothing in its session but what every write does.
fn is_plain_write(statement: &Statement) -> bool {
    let leaves = Facts::USER_VARIABLE_ASSIGNED
        | Facts::GET_LOCK_FUNCTION
        | Facts::RELEASE_LOCK_FUNCTION
        | Facts::CALLS_ROUTINE
        | Facts::READS_LAST_INSERT_ID
        | Facts::SETS_LAST_INSERT_ID
        | Facts::TEMPORARY_TABLE
        | Facts::UNPARSED
        | Facts::UNTRUSTED_TEXT;
    statement.class == Class::Write
        && matches!(
            statement.verb,
            Verb::Insert | Verb::Replace | Verb::Update | Verb::Delete
        )
        && statement.effects.is_empty()
        && !statement.facts.has_any(leaves)
}
