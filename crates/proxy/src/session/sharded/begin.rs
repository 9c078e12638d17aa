//! Transactions that begin before anybody knows where.
//!
//! Owns what a session said before its transaction touched a table: it is kept, answered, and run on the connection of the
//! first statement that needs one. Must never lose what was said, nor run it twice. Input: BEGIN, SAVEPOINT and SET
//! TRANSACTION while the session has no connection.

use dbmesh_plan::Aim;
use dbmesh_sql::effects::TransactionScope;
use dbmesh_sql::{Effect, Facts, Statement, Verb, analyze};
use dbmesh_wire::relay::Shape;
use dbmesh_wire::status::Status;

use super::super::acquire::PRIMARY;
use super::super::exchange::Lost;
use super::super::{Executed, Failure, Session};
use super::characteristics::Characteristics;
use crate::fault::Fault;
use crate::state::Warnings;

/// Most statements that are kept for the first connection.
const PROLOGUE_STATEMENTS_MAX: usize = 16;

/// What runs first on the next connection.
#[derive(Debug, Default)]
pub(super) struct Prologue {
    statements: Vec<Box<[u8]>>,
    /// What makes the connection a part of a transaction that began elsewhere.
    joining: Vec<String>,
}

impl Prologue {
    pub(super) fn is_empty(&self) -> bool {
        self.statements.is_empty() && self.joining.is_empty()
    }

    /// The next connection joins a transaction.
    pub(super) fn join(&mut self, texts: Vec<String>) {
        self.joining = texts;
    }

    /// The next connection begins a transaction.
    pub(super) fn begin(&mut self, sql: &[u8]) {
        self.statements.push(sql.into());
    }
}

/// What of a transaction needs no server yet.
enum Deferred {
    Begin,
    Next,
    Savepoint,
}

fn deferred(statement: &Statement) -> Option<Deferred> {
    let whole = statement.statements == 1 && !statement.facts.has(Facts::UNPARSED);
    if !whole {
        return None;
    }
    match statement.effects.first() {
        Some(Effect::Begin { .. }) => Some(Deferred::Begin),
        Some(Effect::SetTransaction {
            scope: TransactionScope::Next,
            ..
        }) => Some(Deferred::Next),
        None if statement.verb == Verb::Savepoint => Some(Deferred::Savepoint),
        _ => None,
    }
}

impl Session {
    /// Answers what can wait for the first statement that needs a server, if this is such.
    pub(super) async fn defer(
        &mut self,
        sql: &[u8],
        statement: &Statement,
    ) -> Result<Option<Executed>, Failure> {
        let Some(what) = deferred(statement) else {
            return Ok(None);
        };
        if matches!(what, Deferred::Begin) && self.opens_block(sql) {
            return Ok(None);
        }
        let open = self.state.in_transaction();
        match what {
            Deferred::Begin if self.lease.is_some() && open => {
                // It commits the transaction before, and the next may be elsewhere.
                self.run_aside(b"COMMIT").await?;
                if self.is_bound() {
                    return Ok(None);
                }
            }
            Deferred::Begin | Deferred::Next if self.lease.is_some() && self.is_bound() => {
                return Ok(None);
            }
            // Outside of a transaction it does nothing.
            Deferred::Savepoint if self.lease.is_some() || !open => return Ok(None),
            // The server would refuse it.
            Deferred::Next if open => return Ok(None),
            _ => {}
        }
        if self.lease.is_some() {
            self.give_up_hold().await;
        }
        let mariadb = self.is_mariadb();
        let Some(sharded) = &mut self.sharded else {
            return Ok(None);
        };
        let prologue = &mut sharded.prologue;
        match what {
            Deferred::Begin => {
                if open {
                    prologue.statements.clear();
                    sharded.across.clear();
                }
            }
            Deferred::Next | Deferred::Savepoint => {
                if prologue.statements.len() >= PROLOGUE_STATEMENTS_MAX {
                    return Ok(None);
                }
            }
        }
        prologue.statements.push(sql.into());
        for effect in statement.effects.iter() {
            sharded.across.begun.note(effect);
        }
        if matches!(what, Deferred::Begin) {
            self.note_begun();
        }
        self.state.set_row_count(0);
        if !mariadb {
            self.state.diagnostics.warnings = Warnings::None;
        }
        self.answer_ok().await?;
        Ok(Some(Executed::LOCAL))
    }

    /// Whether BEGIN opens a block, as it does in MariaDB's `sql_mode` ORACLE: its server says what is wrong with that.
    fn opens_block(&mut self, sql: &[u8]) -> bool {
        let short = sql.trim_ascii_start().get(..5);
        let mode = self.state.vector.value_of("sql_mode");
        let oracle = |mode: &[u8]| mode.windows(6).any(|part| part == b"ORACLE");
        short.is_some_and(|word| word.eq_ignore_ascii_case(b"begin"))
            && mode.is_some_and(|mode| oracle(mode))
            && self.is_mariadb()
    }

    /// Begins a transaction of a statement's own, at the first connection that is taken next.
    pub(super) fn begin_own(&mut self) {
        let Some(sharded) = &mut self.sharded else {
            return;
        };
        sharded.prologue.begin(b"START TRANSACTION");
        self.state.status = self.state.status.union(Status::IN_TRANS);
    }

    /// Begins another transaction like the one that has ended, at the first connection that is taken next.
    pub(super) fn begin_alike(&mut self, ended: Characteristics) {
        let Some(sharded) = &mut self.sharded else {
            return;
        };
        for text in ended.beginning() {
            sharded.prologue.begin(text.as_bytes());
        }
        sharded.across.begun = ended;
        self.note_begun();
    }

    /// A transaction has begun, though no server knows yet.
    fn note_begun(&mut self) {
        let read_only = match self.begins_read_only() {
            true => Status::IN_TRANS_READONLY,
            false => Status::default(),
        };
        let begun = Status::IN_TRANS.union(read_only);
        self.state.status = self.state.status.union(begun);
    }

    /// Whether something has to run before anything else on the next connection.
    pub(in super::super) fn has_prologue(&self) -> bool {
        let prologue = self.sharded.as_ref().map(|sharded| &sharded.prologue);
        prologue.is_some_and(|prologue| !prologue.is_empty())
    }

    /// Where a statement of a transaction goes, whatever it is: a node that joins by a read may have to write later, and one
    /// that only reads may be asked for locks.
    pub(super) fn transaction_aim(&self) -> Option<Aim> {
        self.state.in_transaction().then_some(PRIMARY)
    }

    /// COMMIT or ROLLBACK of a transaction that touched nothing.
    pub(in super::super) fn end_deferred(&mut self) {
        if let Some(sharded) = &mut self.sharded {
            sharded.prologue = Prologue::default();
            sharded.across.clear();
            let begun = Status::IN_TRANS.union(Status::IN_TRANS_READONLY);
            self.state.status = self.state.status.difference(begun);
        }
    }

    /// Runs on the connection at hand what was said before it was taken.
    pub(in super::super) async fn run_prologue(&mut self) -> Result<(), Failure> {
        let Some(sharded) = &mut self.sharded else {
            return Ok(());
        };
        let prologue = std::mem::take(&mut sharded.prologue);
        if !prologue.joining.is_empty() {
            return self.run_joining(&prologue.joining).await;
        }
        for sql in &prologue.statements {
            self.run_aside(sql).await?;
        }
        Ok(())
    }

    /// Runs a statement of the session's whose answer the client does not see.
    pub(super) async fn run_aside(&mut self, sql: &[u8]) -> Result<(), Failure> {
        let statement = analyze(sql, &self.dialect());
        let backend = self.backend()?;
        let payload = backend.query_payload(sql);
        match backend.run(&payload, Shape::Results).await {
            Ok(Ok((outcome, _))) => {
                let more = self.state.status.intersection(Status::MORE_RESULTS);
                self.take_in(&statement, &outcome, sql).await?;
                self.state.status = self.state.status.union(more);
                Ok(())
            }
            Ok(Err(e)) => {
                let begun = Status::IN_TRANS.union(Status::IN_TRANS_READONLY);
                self.state.status = self.state.status.difference(begun);
                let sqlstate = e.payload.get(4..9).map(String::from_utf8_lossy);
                Err(Fault::Server {
                    code: e.code,
                    sqlstate: sqlstate.map(|s| s.into_owned()).unwrap_or_default(),
                    message: e.message,
                }
                .into())
            }
            Err(e) => Err(self.lost(Lost::before(e), None)),
        }
    }
}
