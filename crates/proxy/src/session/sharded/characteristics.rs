//! How a transaction runs: at which isolation level, and whether it may write.
//!
//! Owns the words that let a transaction run on one node as it does on another. Must never leave to a node what the
//! transaction was told: what the session's variables say there may differ. Input: SET TRANSACTION and START TRANSACTION
//! of the client, and what a server says of the transaction at hand.

use dbmesh_commit::{Xid, sql};
use dbmesh_sql::effects::{AccessMode, Isolation};
use dbmesh_sql::{Effect, Verb, analyze};
use dbmesh_wire::status::Status;

use super::super::Session;
use super::refusing::may_not_write;
use super::scatter::Unit;
use crate::fault::Fault;

/// What was said of a transaction; the session's variables say the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Characteristics {
    pub isolation: Option<Isolation>,
    pub access: Option<AccessMode>,
}

impl Characteristics {
    /// A statement said more, or something else.
    pub fn note(&mut self, effect: &Effect) {
        let (isolation, access) = match effect {
            Effect::Begin { access, .. } => (None, *access),
            Effect::SetTransaction {
                isolation, access, ..
            } => (*isolation, *access),
            _ => return,
        };
        self.isolation = isolation.or(self.isolation);
        self.access = access.or(self.access);
    }

    /// What begins a plain transaction. In every `sql_mode`: BEGIN is no such statement in each.
    pub fn beginning(self) -> Vec<String> {
        let begin = match self.access {
            None => "START TRANSACTION",
            Some(AccessMode::ReadOnly) => "START TRANSACTION READ ONLY",
            Some(AccessMode::ReadWrite) => "START TRANSACTION READ WRITE",
        };
        let level = Self {
            access: None,
            ..self
        };
        level
            .announced()
            .into_iter()
            .chain([begin.into()])
            .collect()
    }

    /// What begins a branch, which has no words of its own for this.
    pub fn beginning_branch(self, xid: &Xid) -> Vec<String> {
        let begin = sql::start(xid);
        self.announced().into_iter().chain([begin]).collect()
    }

    fn announced(self) -> Option<String> {
        let level = self.isolation.map(|level| match level {
            Isolation::ReadUncommitted => "ISOLATION LEVEL READ UNCOMMITTED",
            Isolation::ReadCommitted => "ISOLATION LEVEL READ COMMITTED",
            Isolation::RepeatableRead => "ISOLATION LEVEL REPEATABLE READ",
            Isolation::Serializable => "ISOLATION LEVEL SERIALIZABLE",
        });
        let access = self.access.map(|access| match access {
            AccessMode::ReadOnly => "READ ONLY",
            AccessMode::ReadWrite => "READ WRITE",
        });
        let said: Vec<&str> = level.into_iter().chain(access).collect();
        (!said.is_empty()).then(|| format!("SET TRANSACTION {}", said.join(", ")))
    }
}

impl Session {
    /// How the session's transaction runs, as the server says where it began.
    pub(super) fn characteristics(&mut self) -> Characteristics {
        let dialect = self.dialect();
        let Some(sharded) = &self.sharded else {
            return Characteristics::default();
        };
        let mut said = sharded.across.begun;
        if !sharded.across.is_open() {
            for text in self.state.pins.announced().statements() {
                let statement = analyze(text, &dialect);
                statement.effects.iter().for_each(|one| said.note(one));
            }
        }
        said.access = match self.state.status.contains(Status::IN_TRANS_READONLY) {
            true => Some(AccessMode::ReadOnly),
            // Elsewhere the session's variable would hold.
            false if said.access.is_some() || self.begins_read_only() => {
                Some(AccessMode::ReadWrite)
            }
            false => None,
        };
        said
    }

    /// Whether a transaction that begins now may not write, unless its own words say otherwise.
    pub(super) fn begins_read_only(&self) -> bool {
        let next = self.sharded.as_ref().map(|sharded| sharded.across.begun);
        match next.and_then(|next| next.access) {
            Some(access) => access == AccessMode::ReadOnly,
            None => self.is_on("transaction_read_only") || self.is_on("tx_read_only"),
        }
    }

    /// What SET TRANSACTION said of the next transaction, for a statement that is one by itself, on several connections.
    /// A refusal leaves it to the statement behind.
    pub(super) fn take_next(&mut self, unit: Unit, verb: Verb) -> Result<Characteristics, Fault> {
        let waits = self.has_prologue() && !self.is_open() && unit != Unit::Definition;
        let Some(sharded) = self.sharded.as_mut().filter(|_| waits) else {
            return Ok(Characteristics::default());
        };
        let next = sharded.across.begun;
        let writes = unit == Unit::Transaction && verb != Verb::Select;
        if writes && next.access == Some(AccessMode::ReadOnly) {
            return Err(may_not_write());
        }
        if unit == Unit::None && next.isolation == Some(Isolation::ReadUncommitted) {
            let why = "it reads from several nodes, which are not told of an isolation level for this statement alone: say \
                       BEGIN before it";
            return Err(Fault::Sharding(why.into()));
        }
        self.end_deferred();
        Ok(next)
    }
}
