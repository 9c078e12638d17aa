//! What kind of statement it is.
//!
//! Owns the verbs and their classes. Must never say more than the head words do: what a statement does besides is in
//! its facts.

/// The head of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `SELECT`, parenthesised queries and `WITH … SELECT`.
    Select,
    /// `VALUES ROW(…)`.
    Values,
    /// `TABLE t`.
    Table,
    /// `INSERT`.
    Insert,
    /// `REPLACE`.
    Replace,
    /// `UPDATE`.
    Update,
    /// `DELETE`.
    Delete,
    /// `LOAD DATA` and `LOAD XML`.
    LoadData,
    /// `IMPORT TABLE`.
    Import,
    /// `CALL`.
    Call,
    /// `DO`.
    Do,
    /// `HANDLER`.
    Handler,
    /// `SET` of variables, names, passwords, roles.
    Set,
    /// `SET [SESSION | GLOBAL] TRANSACTION`.
    SetTransaction,
    /// `USE`.
    Use,
    /// `BEGIN [WORK]` and `START TRANSACTION`.
    Begin,
    /// `COMMIT`.
    Commit,
    /// `ROLLBACK` of the whole transaction.
    Rollback,
    /// `SAVEPOINT`.
    Savepoint,
    /// `RELEASE SAVEPOINT`.
    ReleaseSavepoint,
    /// `ROLLBACK TO`.
    RollbackTo,
    /// `XA …`.
    Xa,
    /// `LOCK TABLES` and `LOCK INSTANCE FOR BACKUP`.
    LockTables,
    /// `UNLOCK TABLES` and `UNLOCK INSTANCE`.
    UnlockTables,
    /// `FLUSH`.
    Flush,
    /// `PREPARE`.
    Prepare,
    /// `EXECUTE` and `EXECUTE IMMEDIATE`.
    Execute,
    /// `DEALLOCATE PREPARE` and `DROP PREPARE`.
    Deallocate,
    /// `KILL`.
    Kill,
    /// `SHOW`.
    Show,
    /// `EXPLAIN`, `DESCRIBE`, `DESC`, and MariaDB's `ANALYZE` of a query.
    Explain,
    /// `HELP`.
    Help,
    /// `CREATE` of anything but users and roles.
    Create,
    /// `ALTER` of anything but users.
    Alter,
    /// `DROP` of anything but users, roles and prepared statements.
    Drop,
    /// `TRUNCATE`.
    Truncate,
    /// `RENAME TABLE`.
    Rename,
    /// `GRANT`, `REVOKE`, and the statements on users and roles.
    UserAdmin,
    /// `ANALYZE`, `OPTIMIZE`, `CHECK`, `CHECKSUM`, `REPAIR` of tables.
    Maintenance,
    /// `GET DIAGNOSTICS`.
    GetDiagnostics,
    /// `SIGNAL` and `RESIGNAL`.
    Signal,
    /// `RESET` of anything.
    Reset,
    /// `CHANGE`, `START`, `STOP` of replication.
    Replication,
    /// `PURGE`, `BINLOG`, `INSTALL`, `UNINSTALL`, `CLONE`, `SHUTDOWN`, `RESTART`, `CACHE INDEX`, `LOAD INDEX`, `BACKUP`…
    ServerAdmin,
    /// MariaDB's compound statements outside of routines: `BEGIN NOT ATOMIC`, `IF`, `LOOP`…
    Compound,
    /// No token at all.
    Empty,
    /// Not recognised.
    Unknown,
}

/// What a statement may touch, coarsely. The order is that of growing consequence: a text of several statements has the
/// highest class of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Reads server state or nothing at all.
    Show,
    /// Reads rows.
    Read,
    /// Changes the session.
    Session,
    /// Controls the transaction.
    Tcl,
    /// May change rows.
    Write,
    /// Changes definitions.
    Ddl,
    /// Administers the server or its users.
    Admin,
    /// Not known: to be treated as the worst.
    Unknown,
}

impl Verb {
    /// The class the verb alone implies.
    pub fn class(self) -> Class {
        match self {
            Self::Select | Self::Values | Self::Table | Self::Do | Self::Handler => Class::Read,
            Self::Insert
            | Self::Replace
            | Self::Update
            | Self::Delete
            | Self::LoadData
            | Self::Call
            | Self::Execute
            | Self::Compound => Class::Write,
            Self::Set
            | Self::Use
            | Self::LockTables
            | Self::UnlockTables
            | Self::Prepare
            | Self::Deallocate
            | Self::Signal => Class::Session,
            Self::Begin
            | Self::Commit
            | Self::Rollback
            | Self::Savepoint
            | Self::ReleaseSavepoint
            | Self::RollbackTo
            | Self::SetTransaction
            | Self::Xa => Class::Tcl,
            Self::Show | Self::Explain | Self::Help | Self::GetDiagnostics | Self::Empty => {
                Class::Show
            }
            Self::Create
            | Self::Alter
            | Self::Drop
            | Self::Truncate
            | Self::Rename
            | Self::Import => Class::Ddl,
            Self::UserAdmin
            | Self::Maintenance
            | Self::Flush
            | Self::Kill
            | Self::Reset
            | Self::Replication
            | Self::ServerAdmin => Class::Admin,
            Self::Unknown => Class::Unknown,
        }
    }
}
