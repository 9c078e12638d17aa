//! What a session refuses itself, where no server would hear of it, and where a server refused.
//!
//! Owns the checks that servers make of a change before they look at rows, and that steps of dbmesh's own pass. Input: the
//! session's variables and its transaction.

use dbmesh_model::topology::sharding::Table;
use dbmesh_plan::shard::NodeStatement;
use dbmesh_sql::{Statement, Verb};
use dbmesh_wire::status::Status;

use super::super::Session;
use crate::fault::Fault;
use crate::pins::PinReason;

/// What servers say of a change in a transaction that only reads.
pub(super) fn may_not_write() -> Fault {
    Fault::Server {
        code: 1792,
        sqlstate: "25006".into(),
        message: "Cannot execute statement in a READ ONLY transaction.".into(),
    }
}

impl Session {
    /// Whether the session lets a change be made in steps.
    pub(super) fn may_change(&self, statement: &Statement) -> Result<(), Fault> {
        let read_only = match self.state.in_transaction() {
            true => self.state.status.contains(Status::IN_TRANS_READONLY),
            false => self.begins_read_only(),
        };
        if read_only {
            return Err(may_not_write());
        }
        let safe = matches!(statement.verb, Verb::Update | Verb::Delete);
        match safe && self.is_on("sql_safe_updates") {
            true => Err(Fault::Sharding(
                "it changes rows that are found over several nodes, and whether it uses a key, as sql_safe_updates wants, \
                 only one server that has them all would know"
                    .into(),
            )),
            false => Ok(()),
        }
    }

    /// A temporary table may stand in the place of a table of one node, and is not as that one is.
    pub(super) fn hides_nothing(&self, table: &str) -> Result<(), Fault> {
        let rules = self.sharded.as_ref().and_then(|sharded| sharded.sharding());
        let listed = rules.and_then(|rules| rules.tables.get(table));
        let one = !matches!(listed, Some(Table::Sharded(_) | Table::Broadcast));
        match one && self.state.pins.has(PinReason::TemporaryTable) {
            true => Err(Fault::Sharding(format!(
                "it changes `{table}` by rows of other nodes, and the session has temporary tables, one of which may hide it: drop them first"
            ))),
            false => Ok(()),
        }
    }

    /// Whether COMMIT ends a transaction and does nothing else, where dbmesh commits over several connections.
    pub(super) fn ends_plainly(&self) -> Result<(), Fault> {
        match self.chains() {
            false => Ok(()),
            true => Err(Fault::Sharding(
                "it is of several nodes or shards, and completion_type has transactions end otherwise than plainly: say \
                 COMMIT AND CHAIN or COMMIT RELEASE instead"
                    .into(),
            )),
        }
    }

    /// Whether COMMIT begins another transaction, or ends the connection.
    pub(super) fn chains(&self) -> bool {
        let value = self.state.vector.variables.get("completion_type");
        value.is_some_and(|value| !matches!(value.as_ref(), b"0" | b"'NO_CHAIN'"))
    }

    /// Where a node's statement ran: its table there, and the endpoint.
    pub(super) fn place_of(&self, node: &NodeStatement) -> String {
        match node.tables.first() {
            Some((physical, _)) => format!("{}.{physical}", self.endpoint_name()),
            None => String::new(),
        }
    }

    /// Whether the session has notes among its warnings, as it has unless it or its server says otherwise.
    pub(super) fn wants_notes(&self) -> bool {
        let value = self.state.vector.value_of("sql_notes");
        value.is_none_or(|value| !matches!(value.as_ref(), b"0" | b"'OFF'" | b"'0'"))
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        let value = self.state.vector.variables.get(name);
        value.is_some_and(|value| !matches!(value.as_ref(), b"0" | b"'OFF'" | b"'0'"))
    }
}
