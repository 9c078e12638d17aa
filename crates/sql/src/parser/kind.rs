//! Which statement it is.
//!
//! Owns the kinds, finer than tier 1's verbs. Must never disagree with them: a corpus test compares the two.

use crate::verb::{Class, Verb};

/// Kinds of statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StatementKind {
    /// No token at all.
    #[default]
    Empty,
    /// SELECT, and what WITH, parentheses and set operations make of it.
    Select,
    /// `VALUES ROW(…)`.
    Values,
    /// `TABLE t`.
    Table,
    /// INSERT.
    Insert,
    /// REPLACE.
    Replace,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// LOAD DATA and LOAD XML.
    LoadData,
    /// IMPORT TABLE.
    ImportTable,
    /// CALL.
    Call,
    /// DO.
    Do,
    /// HANDLER.
    Handler,
    /// SET of variables, names, passwords, roles.
    Set,
    /// SET TRANSACTION.
    SetTransaction,
    /// USE.
    Use,
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT.
    Commit,
    /// ROLLBACK.
    Rollback,
    /// SAVEPOINT.
    Savepoint,
    /// RELEASE SAVEPOINT.
    ReleaseSavepoint,
    /// ROLLBACK TO.
    RollbackTo,
    /// XA.
    Xa,
    /// LOCK TABLES.
    LockTables,
    /// UNLOCK TABLES.
    UnlockTables,
    /// LOCK INSTANCE.
    LockInstance,
    /// UNLOCK INSTANCE.
    UnlockInstance,
    /// FLUSH.
    Flush,
    /// PREPARE.
    Prepare,
    /// EXECUTE, EXECUTE IMMEDIATE.
    Execute,
    /// DEALLOCATE PREPARE.
    Deallocate,
    /// KILL.
    Kill,
    /// SHOW.
    Show,
    /// EXPLAIN of a statement or connection.
    Explain,
    /// DESCRIBE of a table.
    Describe,
    /// HELP.
    Help,
    /// CREATE TABLE.
    CreateTable,
    /// ALTER TABLE.
    AlterTable,
    /// DROP TABLE.
    DropTable,
    /// TRUNCATE.
    TruncateTable,
    /// RENAME TABLE.
    RenameTable,
    /// CREATE INDEX.
    CreateIndex,
    /// DROP INDEX.
    DropIndex,
    /// CREATE VIEW.
    CreateView,
    /// ALTER VIEW.
    AlterView,
    /// DROP VIEW.
    DropView,
    /// CREATE DATABASE.
    CreateDatabase,
    /// ALTER DATABASE.
    AlterDatabase,
    /// DROP DATABASE.
    DropDatabase,
    /// CREATE PROCEDURE, FUNCTION, PACKAGE, LIBRARY.
    CreateRoutine,
    /// ALTER PROCEDURE, FUNCTION.
    AlterRoutine,
    /// DROP PROCEDURE, FUNCTION.
    DropRoutine,
    /// CREATE TRIGGER.
    CreateTrigger,
    /// DROP TRIGGER.
    DropTrigger,
    /// CREATE EVENT.
    CreateEvent,
    /// ALTER EVENT.
    AlterEvent,
    /// DROP EVENT.
    DropEvent,
    /// MariaDB's CREATE SEQUENCE.
    CreateSequence,
    /// MariaDB's ALTER SEQUENCE.
    AlterSequence,
    /// MariaDB's DROP SEQUENCE.
    DropSequence,
    /// CREATE of a server, tablespace, resource group….
    CreateOther,
    /// ALTER of those.
    AlterOther,
    /// DROP of those.
    DropOther,
    /// GRANT, REVOKE, and the statements on users and roles.
    UserAdmin,
    /// ANALYZE, OPTIMIZE, CHECK, CHECKSUM, REPAIR TABLE.
    Maintenance,
    /// GET DIAGNOSTICS.
    GetDiagnostics,
    /// SIGNAL, RESIGNAL.
    Signal,
    /// RESET.
    Reset,
    /// CHANGE, START and STOP of replication.
    Replication,
    /// PURGE, BINLOG, INSTALL, CLONE, SHUTDOWN, CACHE INDEX, BACKUP….
    ServerAdmin,
    /// MariaDB's compound statements outside of routines.
    Compound,
}

impl StatementKind {
    /// The verb that tier 1 gives it.
    pub fn verb(self) -> Verb {
        match self {
            Self::Empty => Verb::Empty,
            Self::Select => Verb::Select,
            Self::Values => Verb::Values,
            Self::Table => Verb::Table,
            Self::Insert => Verb::Insert,
            Self::Replace => Verb::Replace,
            Self::Update => Verb::Update,
            Self::Delete => Verb::Delete,
            Self::LoadData => Verb::LoadData,
            Self::ImportTable => Verb::Import,
            Self::Call => Verb::Call,
            Self::Do => Verb::Do,
            Self::Handler => Verb::Handler,
            Self::Set => Verb::Set,
            Self::SetTransaction => Verb::SetTransaction,
            Self::Use => Verb::Use,
            Self::Begin => Verb::Begin,
            Self::Commit => Verb::Commit,
            Self::Rollback => Verb::Rollback,
            Self::Savepoint => Verb::Savepoint,
            Self::ReleaseSavepoint => Verb::ReleaseSavepoint,
            Self::RollbackTo => Verb::RollbackTo,
            Self::Xa => Verb::Xa,
            Self::LockTables | Self::LockInstance => Verb::LockTables,
            Self::UnlockTables | Self::UnlockInstance => Verb::UnlockTables,
            Self::Flush => Verb::Flush,
            Self::Prepare => Verb::Prepare,
            Self::Execute => Verb::Execute,
            Self::Deallocate => Verb::Deallocate,
            Self::Kill => Verb::Kill,
            Self::Show => Verb::Show,
            Self::Explain | Self::Describe => Verb::Explain,
            Self::Help => Verb::Help,
            Self::TruncateTable => Verb::Truncate,
            Self::RenameTable => Verb::Rename,
            Self::UserAdmin => Verb::UserAdmin,
            Self::Maintenance => Verb::Maintenance,
            Self::GetDiagnostics => Verb::GetDiagnostics,
            Self::Signal => Verb::Signal,
            Self::Reset => Verb::Reset,
            Self::Replication => Verb::Replication,
            Self::ServerAdmin => Verb::ServerAdmin,
            Self::Compound => Verb::Compound,
            _ => self.definition_verb(),
        }
    }

    /// The verb of a definition.
    fn definition_verb(self) -> Verb {
        match self {
            Self::CreateTable
            | Self::CreateIndex
            | Self::CreateView
            | Self::CreateDatabase
            | Self::CreateRoutine
            | Self::CreateTrigger
            | Self::CreateEvent
            | Self::CreateSequence
            | Self::CreateOther => Verb::Create,
            Self::AlterTable
            | Self::AlterView
            | Self::AlterDatabase
            | Self::AlterRoutine
            | Self::AlterEvent
            | Self::AlterSequence
            | Self::AlterOther => Verb::Alter,
            Self::DropTable
            | Self::DropIndex
            | Self::DropView
            | Self::DropDatabase
            | Self::DropRoutine
            | Self::DropTrigger
            | Self::DropEvent
            | Self::DropSequence
            | Self::DropOther => Verb::Drop,
            _ => Verb::Unknown,
        }
    }

    /// What it may touch, coarsely.
    pub fn class(self) -> Class {
        self.verb().class()
    }
}
