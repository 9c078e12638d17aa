//! What a statement does to the session, part by part.
//!
//! Owns the effects and the readers of the statements that have them, one file per noun. Must never invent an effect: a
//! statement of this kind that is not understood to its end says so in its facts. Names are without quotes; literals are
//! spans of the text.

mod admin;
mod create;
mod drop;
pub(crate) mod locks;
mod prepared;
mod session;
mod set;
mod show;
mod tables;
mod transaction;

pub(crate) use set::user_variable_name;

use std::ops::Deref;

use smallvec::SmallVec;

use crate::cursor::Cursor;
use crate::dialect::Dialect;
use crate::facts::Facts;
use crate::lexer::{Lexer, Span, TokenKind};
use crate::literal;
use crate::verb::Verb;
use crate::words::Keyword;

/// A table, with its schema when it was given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName {
    /// The schema before the dot.
    pub schema: Option<Box<str>>,
    /// The table.
    pub table: Box<str>,
}

/// Which value of a system variable is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VariableScope {
    /// `SET x`, `SET SESSION x`, `SET LOCAL x`, `@@x`, `@@session.x`.
    Session,
    /// `SET GLOBAL x`, `@@global.x`.
    Global,
    /// `SET PERSIST x`.
    Persist,
    /// `SET PERSIST_ONLY x`.
    PersistOnly,
    /// `SET @@transaction_isolation = …` without a scope: the next transaction only.
    NextTransaction,
}

/// A value in a `SET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Value {
    /// A constant: a literal with its sign or introducer, or one bare word (`ON`, `NULL`, `utf8mb4`).
    Literal(Span),
    /// `DEFAULT`.
    Default,
    /// Anything that the server has to compute.
    Expr(Span),
}

impl Value {
    /// The constant's text, decoded; none for `DEFAULT` and expressions.
    pub fn constant(self, sql: &[u8], dialect: &Dialect) -> Option<Vec<u8>> {
        let Self::Literal(span) = self else {
            return None;
        };
        let text = span.of(sql);
        let quoted = Lexer::new(text, dialect)
            .next()
            .is_some_and(|token| token.kind == TokenKind::QuotedName);
        Some(match literal::decode(text, dialect) {
            Some(bytes) => bytes,
            None if quoted => literal::unquote_name(text),
            None => text.to_vec(),
        })
    }
}

/// What `SET TRANSACTION` speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionScope {
    /// `SET TRANSACTION`: the next one only.
    Next,
    /// `SET SESSION TRANSACTION`.
    Session,
    /// `SET GLOBAL TRANSACTION`.
    Global,
}

/// Isolation levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// READ UNCOMMITTED.
    ReadUncommitted,
    /// READ COMMITTED.
    ReadCommitted,
    /// REPEATABLE READ.
    RepeatableRead,
    /// SERIALIZABLE.
    Serializable,
}

/// READ ONLY or READ WRITE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccessMode {
    /// READ ONLY.
    ReadOnly,
    /// READ WRITE.
    ReadWrite,
}

/// The verbs of XA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum XaVerb {
    /// `XA START`, `XA BEGIN`.
    Start,
    /// `XA END`.
    End,
    /// `XA PREPARE`.
    Prepare,
    /// `XA COMMIT`.
    Commit,
    /// `XA COMMIT … ONE PHASE`.
    CommitOnePhase,
    /// `XA ROLLBACK`.
    Rollback,
    /// `XA RECOVER`.
    Recover,
}

/// What `KILL` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KillKind {
    /// The statement that runs.
    Query,
    /// The connection.
    Connection,
}

/// Whom `KILL` means.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KillTarget {
    /// A connection id.
    Id(u64),
    /// MariaDB: all connections of a user.
    User(Box<str>),
    /// An id that the server computes.
    Expr(Span),
}

/// Which conditions `SHOW` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConditionKind {
    /// `WARNINGS`: all of them.
    Warnings,
    /// `ERRORS` only.
    Errors,
}

/// One change to the session, or one request that only the session's own server can answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// `SET name = value` of a system variable; `name` is in lower case.
    SetSystem {
        /// The variable, in lower case.
        name: Box<str>,
        /// Which of its values.
        scope: VariableScope,
        /// To what.
        value: Value,
    },
    /// `SET @name = value`; the name is in lower case.
    SetUser {
        /// The variable without `@`, in lower case.
        name: Box<str>,
        /// To what.
        value: Value,
    },
    /// `SET NAMES`.
    SetNames {
        /// The charset, [`Value::Default`] for `DEFAULT`.
        charset: Value,
        /// After `COLLATE`.
        collate: Option<Value>,
    },
    /// `SET CHARACTER SET`.
    SetCharacterSet {
        /// The charset, [`Value::Default`] for `DEFAULT`.
        charset: Value,
    },
    /// `SET [SESSION | GLOBAL] TRANSACTION`.
    SetTransaction {
        /// Of which transactions.
        scope: TransactionScope,
        /// After `ISOLATION LEVEL`.
        isolation: Option<Isolation>,
        /// `READ ONLY` or `READ WRITE`.
        access: Option<AccessMode>,
    },
    /// `SET PASSWORD`.
    SetPassword,
    /// `SET ROLE`.
    SetRole,
    /// `SET RESOURCE GROUP`.
    SetResourceGroup,
    /// `USE db`.
    Use(Box<str>),
    /// `CREATE TEMPORARY TABLE` (or MariaDB's temporary sequence).
    CreateTemporary {
        /// The new table.
        name: TableName,
        /// Filled by a query: the server does not report it as a change of state.
        from_select: bool,
    },
    /// `DROP [TEMPORARY] TABLE`.
    DropTables {
        /// The tables.
        names: Vec<TableName>,
        /// Whether `TEMPORARY` was said; without it, temporary tables go first.
        temporary: bool,
    },
    /// `DROP DATABASE`.
    DropDatabase(Box<str>),
    /// `RENAME TABLE a TO b`, one effect each.
    RenameTable {
        /// The old name.
        from: TableName,
        /// The new name.
        to: TableName,
    },
    /// `ALTER TABLE`, which may meet a temporary table.
    AlterTable {
        /// The table.
        name: TableName,
        /// After `RENAME [TO | AS]`.
        renamed_to: Option<TableName>,
    },
    /// `LOCK TABLES`.
    LockTables,
    /// `UNLOCK TABLES`.
    UnlockTables,
    /// `FLUSH TABLES … WITH READ LOCK` or `FOR EXPORT`.
    FlushTablesLock,
    /// `LOCK INSTANCE FOR BACKUP`, MariaDB's `BACKUP STAGE` and `BACKUP LOCK`.
    LockInstance,
    /// `UNLOCK INSTANCE`, `BACKUP STAGE END`, `BACKUP UNLOCK`.
    UnlockInstance,
    /// The whole statement is `SELECT GET_LOCK('name', n)` or `DO GET_LOCK('name', n)`.
    GetLock(Box<str>),
    /// The whole statement is `SELECT RELEASE_LOCK('name')` or the same with DO.
    ReleaseLock(Box<str>),
    /// The whole statement is `SELECT RELEASE_ALL_LOCKS()` or the same with DO.
    ReleaseAllLocks,
    /// `HANDLER t OPEN`.
    HandlerOpen {
        /// The handler's name: its alias, else the table.
        name: Box<str>,
    },
    /// `HANDLER h CLOSE`.
    HandlerClose {
        /// The handler's name.
        name: Box<str>,
    },
    /// `PREPARE name FROM …`; the name is in lower case.
    PrepareSql {
        /// The statement's name, in lower case.
        name: Box<str>,
        /// The literal after FROM; none for a variable or expression.
        text: Option<Span>,
    },
    /// `EXECUTE name`.
    ExecuteSql {
        /// The statement's name, in lower case.
        name: Box<str>,
    },
    /// MariaDB's `EXECUTE IMMEDIATE`.
    ExecuteImmediate {
        /// The literal that is run; none for a variable or expression.
        text: Option<Span>,
    },
    /// `DEALLOCATE PREPARE name`, `DROP PREPARE name`.
    DeallocateSql {
        /// The statement's name, in lower case.
        name: Box<str>,
    },
    /// `XA …`.
    Xa(XaVerb),
    /// `KILL`.
    Kill {
        /// Query or connection.
        kind: KillKind,
        /// Whose.
        target: KillTarget,
    },
    /// `SHOW WARNINGS`, `SHOW ERRORS`.
    ShowWarnings {
        /// Which.
        kind: ConditionKind,
        /// `(offset, count)`.
        limit: Option<(u64, u64)>,
    },
    /// `SHOW COUNT(*) WARNINGS`, `SHOW COUNT(*) ERRORS`.
    ShowCountWarnings {
        /// Which.
        kind: ConditionKind,
    },
    /// `GET DIAGNOSTICS`.
    GetDiagnostics,
    /// `BEGIN`, `START TRANSACTION`.
    Begin {
        /// `READ ONLY` or `READ WRITE`.
        access: Option<AccessMode>,
        /// `WITH CONSISTENT SNAPSHOT`.
        consistent_snapshot: bool,
    },
    /// `COMMIT`.
    Commit {
        /// `AND CHAIN`.
        chain: bool,
        /// `RELEASE`.
        release: bool,
    },
    /// `ROLLBACK` of the whole transaction.
    Rollback {
        /// `AND CHAIN`.
        chain: bool,
        /// `RELEASE`.
        release: bool,
    },
    /// `LOAD DATA LOCAL INFILE 'file'`.
    LoadLocalInfile {
        /// The file's name as the server will ask for it.
        file: Box<[u8]>,
    },
    /// `CALL name`.
    CallRoutine {
        /// The routine; `table` is its name.
        name: TableName,
    },
}

/// The effects of a text, in order. One, as of BEGIN and COMMIT, costs no allocation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effects(SmallVec<[Effect; 1]>);

impl Effects {
    /// No effects.
    pub fn new() -> Self {
        Self(SmallVec::new())
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.0.push(effect);
    }
}

impl Deref for Effects {
    type Target = [Effect];

    fn deref(&self) -> &[Effect] {
        &self.0
    }
}

impl IntoIterator for Effects {
    type Item = Effect;
    type IntoIter = smallvec::IntoIter<[Effect; 1]>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Effects {
    type Item = &'a Effect;
    type IntoIter = std::slice::Iter<'a, Effect>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// What the scanner should take the rest of the statement for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Expression,
    Definition,
    LoadColumns,
    Body,
    Compound,
}

/// What a reader found out about one statement.
pub(crate) struct Outcome<'e> {
    pub(crate) verb: Verb,
    pub(crate) facts: Facts,
    pub(crate) scope: Scope,
    pub(crate) effects: &'e mut Effects,
}

impl<'e> Outcome<'e> {
    pub(crate) fn new(effects: &'e mut Effects) -> Self {
        Self {
            verb: Verb::Unknown,
            facts: Facts::NONE,
            scope: Scope::Expression,
            effects,
        }
    }

    /// The statement is of this kind and defines things rather than computing with them.
    fn defines(&mut self, verb: Verb, facts: Facts) {
        self.verb = verb;
        self.scope = Scope::Definition;
        self.facts.add(facts);
    }

    fn is(&mut self, verb: Verb) {
        self.verb = verb;
    }

    /// A part that may change the session was not understood.
    fn unparsed(&mut self) {
        self.facts.add(Facts::UNPARSED);
    }

    /// All of the statement must have been read by now.
    fn expect_end(&mut self, cursor: &Cursor<'_>) {
        if !cursor.at_end() {
            self.unparsed();
        }
    }
}

/// Verbs whose head words alone change nothing.
pub(crate) fn query_verb(keyword: Keyword) -> Option<Verb> {
    Some(match keyword {
        Keyword::Select | Keyword::With => Verb::Select,
        Keyword::Insert => Verb::Insert,
        Keyword::Replace => Verb::Replace,
        Keyword::Update => Verb::Update,
        Keyword::Delete => Verb::Delete,
        Keyword::Values => Verb::Values,
        Keyword::Table => Verb::Table,
        Keyword::Do => Verb::Do,
        _ => return None,
    })
}

/// Reads a statement that starts with `keyword`; the cursor stands at that word.
pub(crate) fn read(
    keyword: Keyword,
    mut cursor: Cursor<'_>,
    dialect: &Dialect,
    outcome: &mut Outcome<'_>,
) {
    if let Some(verb) = query_verb(keyword) {
        outcome.is(verb);
        return;
    }
    let first = cursor.advance();
    if first.is_none_or(|token| token.kind != TokenKind::Word) {
        outcome.unparsed();
        return;
    }
    match keyword {
        Keyword::Set => set::read(&mut cursor, dialect, outcome),
        Keyword::Begin
        | Keyword::Start
        | Keyword::Commit
        | Keyword::Rollback
        | Keyword::Savepoint
        | Keyword::Release
        | Keyword::Xa => transaction::read(keyword, &mut cursor, dialect, outcome),
        Keyword::Create => create::read(&mut cursor, outcome),
        Keyword::Alter => create::read_alter(&mut cursor, outcome),
        Keyword::Drop => drop::read(&mut cursor, outcome),
        Keyword::Rename => tables::read_rename(&mut cursor, outcome),
        Keyword::Lock | Keyword::Unlock | Keyword::Flush => {
            tables::read_locks(keyword, &mut cursor, outcome)
        }
        Keyword::Handler => tables::read_handler(&mut cursor, outcome),
        Keyword::Prepare | Keyword::Execute | Keyword::Deallocate => {
            prepared::read(keyword, &mut cursor, outcome);
        }
        Keyword::Use | Keyword::Call | Keyword::Kill | Keyword::Load | Keyword::Get => {
            session::read(keyword, &mut cursor, dialect, outcome);
        }
        Keyword::Show => show::read(&mut cursor, outcome),
        Keyword::Explain | Keyword::Describe | Keyword::Desc => {
            show::read_explain(&mut cursor, outcome)
        }
        _ => admin::read(keyword, &mut cursor, dialect, outcome),
    }
}
