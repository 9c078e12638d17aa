//! The journal of an open transaction: its statements, and the fingerprints of their answers.
//!
//! Owns what is needed to execute the transaction again elsewhere, within the bytes that the strategy allows, and the
//! reasons why one cannot be. It must never keep a statement whose doing is not undone by the end of its connection. Input:
//! the statements of sessions whose service replays transactions, and what came of them.

mod memory;
mod print;

use std::sync::Arc;

use dbmesh_plan::Aim;
use dbmesh_sql::effects::{Effect, TransactionScope, VariableScope};
use dbmesh_sql::{Class, Facts, Statement, Verb};
use dbmesh_wire::relay::Outcome;
use dbmesh_wire::track::{self, Item};

use crate::prepared::Key;
use crate::vector::Vector;
use memory::Held;
pub use memory::ReplayMemory;
pub use print::{Fingerprint, Print};

/// Why a transaction is not executed again, or why that came to nothing. In logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unplayable {
    /// Its statements take more bytes than they may.
    Size,
    /// The statements of all transactions take what they may.
    Memory,
    /// A statement does what the end of a transaction does not undo, or reads what only one connection has.
    Outside,
    /// A table without transactions was written to.
    NonTransactional,
    /// The session has state on its connection besides the transaction.
    State,
    /// The client has part of an answer.
    Partial,
    /// COMMIT, or what commits by itself, was sent: nobody knows whether it was executed.
    Commit,
    /// An answer was not the one that the client has.
    Differs,
    /// It was tried as often as it may be.
    Attempts,
    /// It took too long.
    Timeout,
    /// No server could be used.
    Unreachable,
}

impl Unplayable {
    /// All reasons.
    pub const ALL: [Self; 11] = [
        Self::Size,
        Self::Memory,
        Self::Outside,
        Self::NonTransactional,
        Self::State,
        Self::Partial,
        Self::Commit,
        Self::Differs,
        Self::Attempts,
        Self::Timeout,
        Self::Unreachable,
    ];

    /// The name in logs and metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Memory => "memory",
            Self::Outside => "outside",
            Self::NonTransactional => "non_transactional",
            Self::State => "state",
            Self::Partial => "partial",
            Self::Commit => "commit",
            Self::Differs => "differs",
            Self::Attempts => "attempts",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
        }
    }
}

/// An execution of a prepared statement, as it can be sent again.
#[derive(Debug)]
pub struct Execution {
    /// The statement on server connections.
    pub key: Arc<Key>,
    /// The state under which it was prepared.
    pub under: Arc<Vector>,
    /// Number of its parameters.
    pub params: u16,
    /// Their types.
    pub types: Option<Arc<[u8]>>,
    /// The client's packet.
    pub packet: Box<[u8]>,
}

/// What was sent.
#[derive(Debug)]
pub enum Sent {
    /// A text.
    Text(Box<[u8]>),
    /// An execution.
    Execution(Box<Execution>),
}

impl Sent {
    /// The statement's text.
    #[must_use]
    pub fn sql(&self) -> &[u8] {
        match self {
            Self::Text(sql) => sql,
            Self::Execution(execution) => &execution.key.sql,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Text(sql) => sql.len(),
            Self::Execution(e) => e.packet.len() + e.types.as_ref().map_or(0, |types| types.len()),
        }
    }
}

/// One statement of a transaction.
#[derive(Debug)]
pub struct Step {
    /// What was sent.
    pub sent: Sent,
    /// What the client saw of its answer.
    pub print: Print,
    /// The state of the connection behind it.
    pub vector: Arc<Vector>,
    /// Whether it failed and may have written.
    pub failed_write: bool,
    /// Whether it writes rows.
    pub writes: bool,
    /// The id that it generated; 0 for none.
    pub insert_id: u64,
}

/// Bytes that a step takes besides what was sent.
const STEP_BYTES: usize = size_of::<Step>();

/// An open transaction.
#[derive(Debug)]
pub struct Journal {
    /// The fingerprint of the answer under way.
    pub fingerprint: Fingerprint,
    /// The statement at hand is known to this journal.
    at_hand: bool,
    /// What the first statement needed of an endpoint.
    pub aim: Aim,
    /// The session's state at the beginning.
    pub vector: Arc<Vector>,
    /// LAST_INSERT_ID() at the beginning, if it was known.
    pub last_insert_id: Option<u64>,
    /// The statements.
    pub steps: Vec<Step>,
    held: Held,
    unplayable: Option<Unplayable>,
    /// How often it was executed again.
    pub replays: u32,
}

impl Journal {
    /// Of a transaction that begins in this state.
    #[must_use]
    pub fn new(
        aim: Aim,
        vector: Arc<Vector>,
        last_insert_id: Option<u64>,
        deprecate_eof: bool,
        memory: Arc<ReplayMemory>,
    ) -> Self {
        Self {
            fingerprint: Fingerprint::new(deprecate_eof),
            at_hand: false,
            aim,
            vector,
            last_insert_id,
            steps: Vec::new(),
            held: Held::none(memory),
            unplayable: None,
            replays: 0,
        }
    }

    /// A statement is about to be sent.
    pub fn announce(&mut self) {
        self.at_hand = true;
    }

    /// Another command came.
    pub fn announce_nothing(&mut self) {
        self.at_hand = false;
    }

    /// A command is sent: gives what takes the fingerprint of its answer. One that was not expected does what this journal
    /// does not know.
    pub fn begin_exchange(&mut self) -> Option<&mut Fingerprint> {
        if !self.at_hand {
            self.give_up(Unplayable::Outside);
        }
        if self.unplayable.is_some() {
            return None;
        }
        self.fingerprint.restart();
        Some(&mut self.fingerprint)
    }

    /// The transaction will not be executed again.
    pub fn give_up(&mut self, why: Unplayable) {
        self.unplayable.get_or_insert(why);
        self.steps = Vec::new();
        self.held.release();
    }

    /// Why the transaction cannot be executed again, if so.
    #[must_use]
    pub fn unplayable(&self) -> Option<Unplayable> {
        self.unplayable
    }

    /// The statement at hand was answered.
    pub fn keep(
        &mut self,
        statement: &Statement,
        outcome: &Outcome,
        vector: Arc<Vector>,
        bytes_max: u64,
        sent: impl FnOnce() -> Sent,
    ) {
        self.at_hand = false;
        let print = self.fingerprint.print();
        if let Some(why) = of_outcome(outcome).or_else(|| self.of_statement(statement)) {
            return self.give_up(why);
        }
        if self.unplayable.is_some() {
            return;
        }
        let first = self.steps.is_empty();
        let ends = matches!(statement.verb, Verb::Commit | Verb::Rollback)
            || (!first
                && statement.verb != Verb::Begin
                && statement.facts.has(Facts::IMPLICIT_COMMIT));
        if ends || (first && outcome.error.is_some()) {
            // What is open now was begun by another statement; and a COMMIT that was refused, or went on with another
            // transaction, would commit when it is executed again.
            return self.give_up(Unplayable::Outside);
        }
        let sent = sent();
        let taken = self.held.add(sent.bytes() + STEP_BYTES);
        if self.held.bytes() > bytes_max {
            return self.give_up(Unplayable::Size);
        }
        if taken.is_err() {
            return self.give_up(Unplayable::Memory);
        }
        self.steps.push(Step {
            sent,
            print,
            vector,
            writes: statement.class == Class::Write,
            failed_write: outcome.error.is_some() && statement.class == Class::Write,
            insert_id: outcome.last_insert_id,
        });
    }

    /// Why the transaction cannot be executed again before this statement.
    #[must_use]
    pub fn of_interrupted(&self, statement: &Statement) -> Option<Unplayable> {
        // What dbmesh itself asks on the way changes what these say of the last statement.
        let asks_back = statement.effects.iter().any(|effect| {
            matches!(
                effect,
                Effect::ShowWarnings { .. }
                    | Effect::ShowCountWarnings { .. }
                    | Effect::GetDiagnostics
            )
        });
        let why = self.of_statement(statement);
        why.or_else(|| asks_back.then_some(Unplayable::Outside))
    }

    /// Why a statement of this transaction cannot be executed again.
    #[must_use]
    pub fn of_statement(&self, statement: &Statement) -> Option<Unplayable> {
        let unknown_id =
            self.last_insert_id.is_none() && statement.facts.has_any(Facts::READS_LAST_INSERT_ID);
        (unknown_id || acts_outside(statement)).then_some(Unplayable::Outside)
    }
}

/// Facts of statements that do, or depend on, what a new connection does not have.
const OUTSIDE: [Facts; 25] = [
    Facts::USER_VARIABLE_ASSIGNED,
    Facts::GET_LOCK_FUNCTION,
    Facts::RELEASE_LOCK_FUNCTION,
    Facts::READS_CONNECTION_ID,
    Facts::INTO_OUTFILE,
    Facts::LOCAL_INFILE,
    Facts::TEMPORARY_TABLE,
    Facts::HANDLER,
    Facts::ROLE,
    Facts::CALLS_ROUTINE,
    Facts::CHAIN,
    Facts::RELEASE,
    Facts::SETS_SESSION_TRACK,
    Facts::UNPARSED_SET,
    Facts::MULTI,
    Facts::UNPARSED,
    Facts::DYNAMIC_SQL,
    Facts::COMPOUND,
    Facts::SEQUENCE,
    Facts::READS_PROFILE,
    Facts::READS_ROW_COUNT,
    Facts::READS_FOUND_ROWS,
    Facts::READS_WARNING_COUNT,
    Facts::UNTRUSTED_TEXT,
    Facts::LOAD_FILE,
];

/// Whether a statement does what the end of its connection does not undo, or cannot be done the same way on another one.
fn acts_outside(statement: &Statement) -> bool {
    let inside = matches!(
        statement.verb,
        Verb::Select
            | Verb::Table
            | Verb::Values
            | Verb::Insert
            | Verb::Replace
            | Verb::Update
            | Verb::Delete
            | Verb::Begin
            | Verb::Savepoint
            | Verb::ReleaseSavepoint
            | Verb::RollbackTo
            | Verb::Rollback
            | Verb::Commit
            | Verb::Set
            | Verb::SetTransaction
            | Verb::Use
            | Verb::Show
    );
    let effects = statement.effects.iter().any(|effect| match effect {
        Effect::Xa(_) | Effect::GetLock(_) | Effect::ReleaseLock(_) | Effect::ReleaseAllLocks => {
            true
        }
        Effect::SetSystem { scope, .. } => !matches!(
            scope,
            VariableScope::Session | VariableScope::NextTransaction
        ),
        Effect::SetTransaction { scope, .. } => *scope == TransactionScope::Global,
        _ => false,
    });
    !inside
        || effects
        || statement.statements != 1
        || statement.unterminated
        || OUTSIDE.iter().any(|fact| statement.facts.has(*fact))
}

/// ER_QUERY_INTERRUPTED, ER_QUERY_TIMEOUT, and MariaDB's ER_STATEMENT_TIMEOUT: they come of the moment.
const OF_THE_MOMENT: [u16; 3] = [1317, 3024, 1969];

/// Why a statement cannot be executed again after what came of it.
fn of_outcome(outcome: &Outcome) -> Option<Unplayable> {
    if outcome.error.is_some_and(|e| OF_THE_MOMENT.contains(&e)) || outcome.tracked_overflow {
        return Some(Unplayable::Outside);
    }
    let mut items = track::items(&outcome.tracked);
    // "w": a table without transactions was written to; "W" is for the others.
    items
        .any(|item| match item {
            Ok(Item::TransactionState(state)) => state.contains(&b'w'),
            Ok(_) => false,
            Err(_) => true,
        })
        .then_some(Unplayable::NonTransactional)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dbmesh_plan::Why;
    use dbmesh_sql::{Dialect, analyze};

    fn statement(sql: &str) -> Statement {
        analyze(sql.as_bytes(), &Dialect::default())
    }

    #[test]
    fn only_what_ends_with_its_connection_is_executed_again() {
        for sql in [
            "BEGIN",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT",
            "SELECT a FROM t WHERE id = 1 FOR UPDATE",
            "INSERT INTO t VALUES (1, NOW())",
            "UPDATE t SET a = a + 1",
            "SAVEPOINT s",
            "ROLLBACK TO SAVEPOINT s",
            "RELEASE SAVEPOINT s",
            "SET NAMES utf8mb4",
            "SET @a = 1",
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "SELECT @a",
            "COMMIT",
        ] {
            assert!(!acts_outside(&statement(sql)), "{sql}");
        }
        for sql in [
            "SELECT @a := 1",
            "SELECT a INTO @b FROM t",
            "SELECT GET_LOCK('a', 1)",
            "DO RELEASE_ALL_LOCKS()",
            "SELECT CONNECTION_ID()",
            "CREATE TEMPORARY TABLE x (a INT)",
            "CREATE TABLE x (a INT)",
            "CALL p()",
            "SELECT shop.f(1)",
            "LOAD DATA INFILE 'x' INTO TABLE t",
            "SELECT a FROM t INTO OUTFILE '/tmp/x'",
            "SELECT NEXTVAL(s)",
            "XA START 'a'",
            "LOCK TABLES t READ",
            "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)",
            "COMMIT AND CHAIN",
            "EXECUTE p",
            "HANDLER t OPEN",
            "KILL 7",
            "SET GLOBAL max_connections = 7",
            "SET GLOBAL TRANSACTION READ ONLY",
        ] {
            assert!(acts_outside(&statement(sql)), "{sql}");
        }
    }

    fn memory(max_bytes: u64) -> Arc<ReplayMemory> {
        Arc::new(ReplayMemory::new(max_bytes))
    }

    #[test]
    fn journals_together_are_bounded() {
        let vector = Arc::new(Vector::fresh(None, crate::vector::Charset::Server));
        let aim = Aim::primary(Why::NotProved);
        let all = memory(1_000);
        let one = statement("UPDATE t SET a = 1");
        let mut journals =
            [(); 8].map(|()| Journal::new(aim, vector.clone(), None, true, all.clone()));
        for journal in &mut journals {
            journal.announce();
            let sent = || Sent::Text(vec![b'x'; 100].into());
            journal.keep(&one, &Outcome::default(), vector.clone(), 1 << 20, sent);
        }
        let kept = journals.iter().filter(|j| j.unplayable().is_none());
        assert!((1..8).contains(&kept.count()));
        assert_eq!(journals[7].unplayable(), Some(Unplayable::Memory));
    }

    #[test]
    fn a_journal_is_bounded_and_given_up_for_good() {
        let vector = Arc::new(Vector::fresh(None, crate::vector::Charset::Server));
        let aim = Aim::primary(Why::NotProved);
        let mut journal = Journal::new(aim, vector.clone(), Some(0), true, memory(1 << 20));
        let one = statement("UPDATE t SET a = 1");
        let keep = |journal: &mut Journal, outcome: &Outcome| {
            journal.announce();
            let sent = || Sent::Text(vec![b'x'; 100].into());
            journal.keep(&one, outcome, vector.clone(), 1000, sent);
        };
        let fine = Outcome::default();
        while journal.unplayable().is_none() {
            keep(&mut journal, &fine);
            assert!(journal.held.bytes() <= 1000);
        }
        assert_eq!(journal.unplayable(), Some(Unplayable::Size));
        keep(&mut journal, &fine);
        assert!(journal.steps.is_empty() && journal.begin_exchange().is_none());

        let mut journal = Journal::new(aim, vector.clone(), Some(0), true, memory(1 << 20));
        let mut state = Vec::new();
        Item::TransactionState(b"T__w____").encode(&mut state);
        let outcome = Outcome {
            tracked: state,
            ..Outcome::default()
        };
        keep(&mut journal, &outcome);
        assert_eq!(journal.unplayable(), Some(Unplayable::NonTransactional));

        // A COMMIT behind which a transaction is open.
        let mut journal = Journal::new(aim, vector.clone(), Some(0), true, memory(1 << 20));
        journal.announce();
        let sent = || Sent::Text((*b"COMMIT").into());
        let refused = Outcome {
            error: Some(1290),
            ..Outcome::default()
        };
        journal.keep(&statement("BEGIN"), &fine, vector.clone(), 1000, sent);
        journal.keep(&statement("COMMIT"), &refused, vector.clone(), 1000, sent);
        assert_eq!(journal.unplayable(), Some(Unplayable::Outside));

        // A command that nobody announced.
        let mut journal = Journal::new(aim, vector.clone(), Some(0), true, memory(1 << 20));
        assert!(journal.begin_exchange().is_none());
        assert_eq!(journal.unplayable(), Some(Unplayable::Outside));
    }

    #[test]
    fn every_reason_is_documented() {
        let page = include_str!("../../../docs/transaction-replay.md");
        for reason in Unplayable::ALL {
            let row = format!("| `{}` |", reason.label());
            assert!(page.contains(&row), "{}", reason.label());
        }
    }
}
