//! What a statement needs on everything, whatever its tables: the privileges that MySQL asks for, as the rights here.
//!
//! Owns the list of the kinds of statements, with no kind left out, and that of session variables that MySQL lets only
//! administrators set. Must never let a kind pass that nobody thought of.

use dbmesh_model::topology::Right;
use dbmesh_sql::ast::{Ast, Body};
use dbmesh_sql::effects::{Effect, VariableScope, XaVerb};
use dbmesh_sql::{Flavor, Lexer, StatementKind, TokenKind};

use crate::judge::Subject;

/// A right on everything, as errors name it.
pub(super) type Need = (Right, &'static str);

const NOTHING: &[Need] = &[];
pub(super) const ADMIN: Need = (Right::Admin, "the right `admin`");
const DDL: Need = (Right::Ddl, "the right `ddl` on `*.*`");
const CALL: Need = (Right::Call, "stored code: the right `call`");
const FILES: Need = (Right::Admin, "files of the server: the right `admin`");

/// What a kind of statement needs. What depends on more than the kind is in [`of_statement`]; rights on the tables that it
/// names come on top.
pub(super) fn of_kind(kind: StatementKind) -> &'static [Need] {
    use StatementKind as Kind;
    match kind {
        // Their tables, files and routines say what they need.
        Kind::Empty
        | Kind::Select
        | Kind::Values
        | Kind::Table
        | Kind::Insert
        | Kind::Replace
        | Kind::Update
        | Kind::Delete
        | Kind::LoadData
        | Kind::Do
        | Kind::Handler
        | Kind::Explain
        | Kind::Describe
        | Kind::LockTables
        | Kind::UnlockTables
        | Kind::Maintenance => NOTHING,
        // The session's own affairs, and what it runs by other names.
        Kind::Set
        | Kind::SetTransaction
        | Kind::Use
        | Kind::Begin
        | Kind::Commit
        | Kind::Rollback
        | Kind::Savepoint
        | Kind::ReleaseSavepoint
        | Kind::RollbackTo
        | Kind::Xa
        | Kind::Prepare
        | Kind::Execute
        | Kind::Deallocate
        | Kind::GetDiagnostics
        | Kind::Signal
        | Kind::Help => NOTHING,
        // SHOW is told apart by what it shows; KILL reaches the user's own sessions only.
        Kind::Show | Kind::Kill => NOTHING,
        Kind::Call => &[CALL],
        Kind::ImportTable => &[FILES],
        Kind::LockInstance
        | Kind::UnlockInstance
        | Kind::Flush
        | Kind::UserAdmin
        | Kind::Reset
        | Kind::Replication
        | Kind::Compound => &[ADMIN],
        // CACHE INDEX and LOAD INDEX are of tables; the rest has none, which asks for `admin`.
        Kind::ServerAdmin => NOTHING,
        _ => of_definition(kind),
    }
}

/// What a definition needs. A kind that nobody thought of needs `admin`.
fn of_definition(kind: StatementKind) -> &'static [Need] {
    use StatementKind as Kind;
    match kind {
        Kind::CreateTable
        | Kind::AlterTable
        | Kind::DropTable
        | Kind::TruncateTable
        | Kind::RenameTable
        | Kind::CreateIndex
        | Kind::DropIndex
        | Kind::CreateView
        | Kind::AlterView
        | Kind::DropView
        | Kind::CreateSequence
        | Kind::AlterSequence
        | Kind::DropSequence => NOTHING,
        Kind::CreateDatabase
        | Kind::AlterDatabase
        | Kind::DropDatabase
        | Kind::DropRoutine
        | Kind::DropTrigger
        | Kind::DropEvent => &[DDL],
        Kind::CreateRoutine
        | Kind::AlterRoutine
        | Kind::CreateTrigger
        | Kind::CreateEvent
        | Kind::AlterEvent => &[DDL, CALL],
        // Servers, tablespaces, resource groups, spatial reference systems, the instance.
        Kind::CreateOther | Kind::AlterOther | Kind::DropOther => &[ADMIN],
        _ => &[ADMIN],
    }
}

/// What this statement needs beside what its kind does.
pub(super) fn of_statement(subject: &Subject<'_>, ast: &Ast, kind: StatementKind) -> Option<Need> {
    let effects = subject.statement.effects.iter();
    let mut effects = effects.map(|effect| match effect {
        Effect::Xa(XaVerb::Recover) | Effect::SetResourceGroup => true,
        Effect::LockInstance | Effect::UnlockInstance => true,
        Effect::SetSystem { name, scope, .. } => {
            matches!(
                scope,
                VariableScope::Session | VariableScope::NextTransaction
            ) && is_restricted(name, subject.dialect.flavor)
        }
        _ => false,
    });
    if effects.any(|restricted| restricted) || sets_for_statement(subject) {
        return Some(ADMIN);
    }
    let word = |word: &str| {
        let mut tokens = Lexer::new(subject.sql, subject.dialect);
        tokens.any(|token| {
            let text = token.span.of(subject.sql);
            token.kind == TokenKind::Word && text.eq_ignore_ascii_case(word.as_bytes())
        })
    };
    let explains_others = match (kind, ast.statement().body) {
        // FOR CONNECTION: another session's statement.
        (StatementKind::Explain, Body::Recognised) => true,
        // FOR SCHEMA: names mean other tables than here.
        (StatementKind::Explain, Body::Explain { span, .. }) => {
            let head = subject.sql.get(..span.start).unwrap_or_default();
            let mut tokens = Lexer::new(head, subject.dialect);
            tokens.any(|token| {
                let text = token.span.of(head);
                text.eq_ignore_ascii_case(b"schema") || text.eq_ignore_ascii_case(b"database")
            })
        }
        _ => false,
    };
    // A loadable function is code in the server itself.
    let loads = kind == StatementKind::CreateRoutine && word("soname");
    (explains_others || loads).then_some(ADMIN)
}

/// Whether MariaDB's `SET STATEMENT … FOR` sets a restricted variable for the statement behind it.
fn sets_for_statement(subject: &Subject<'_>) -> bool {
    let sql = subject.sql;
    let dialect = subject.dialect;
    let mut tokens = Lexer::new(sql, dialect)
        .filter(|token| !token.kind.is_trivia())
        .map(|token| (token.kind, Ast::unquoted(sql, token.span, dialect)));
    let mut next_is = |word: &[u8]| {
        let token = tokens.next();
        token.is_some_and(|(_, text)| text.eq_ignore_ascii_case(word))
    };
    if dialect.flavor != Flavor::MariaDb || !next_is(b"set") || !next_is(b"statement") {
        return false;
    }
    // What is a value here may be taken for a name: that denies one too many.
    let head = tokens.take_while(|(_, text)| !text.eq_ignore_ascii_case(b"for"));
    let mut names = head.map(|(_, text)| String::from_utf8_lossy(&text).to_lowercase());
    names.any(|name| is_restricted(&name, dialect.flavor))
}

/// Whether a server lets only administrators set the session's value of a variable, by its name in lower case.
fn is_restricted(name: &str, flavor: Flavor) -> bool {
    match flavor {
        Flavor::MariaDb => RESTRICTED_MARIADB.binary_search(&name).is_ok(),
        _ => RESTRICTED_MYSQL.binary_search(&name).is_ok(),
    }
}

/// What a MySQL 9.7 refuses with error 1227 to a user without SESSION_VARIABLES_ADMIN, and `debug` of builds that have it.
const RESTRICTED_MYSQL: [&str; 38] = [
    "binlog_direct_non_transactional_updates",
    "binlog_format",
    "binlog_row_image",
    "binlog_row_value_options",
    "binlog_rows_query_log_events",
    "binlog_transaction_compression",
    "binlog_transaction_compression_level_zstd",
    "bulk_insert_buffer_size",
    "character_set_database",
    "character_set_filesystem",
    "connection_memory_chunk_size",
    "connection_memory_limit",
    "debug",
    "global_connection_memory_tracking",
    "gtid_next",
    "histogram_generation_max_mem_size",
    "immediate_server_version",
    "innodb_strict_mode",
    "innodb_tmpdir",
    "internal_tmp_mem_storage_engine",
    "low_priority_updates",
    "max_delayed_threads",
    "max_error_count",
    "max_insert_delayed_threads",
    "min_examined_row_limit",
    "original_commit_timestamp",
    "original_server_version",
    "preload_buffer_size",
    "pseudo_replica_mode",
    "pseudo_slave_mode",
    "pseudo_thread_id",
    "select_into_buffer_size",
    "select_into_disk_sync_delay",
    "sql_generate_invisible_primary_key",
    "sql_log_bin",
    "sql_log_off",
    "sql_require_primary_key",
    "xa_detach_on_prepare",
];

/// What a MariaDB 10.11 refuses so.
const RESTRICTED_MARIADB: [&str; 15] = [
    "binlog_annotate_row_events",
    "binlog_direct_non_transactional_updates",
    "binlog_format",
    "binlog_row_image",
    "enforce_storage_engine",
    "gtid_domain_id",
    "gtid_seq_no",
    "innodb_tmpdir",
    "log_disabled_statements",
    "pseudo_thread_id",
    "server_id",
    "skip_replication",
    "sql_log_bin",
    "sql_log_off",
    "wsrep_on",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restricted_variables_are_sorted() {
        assert!(RESTRICTED_MYSQL.is_sorted() && RESTRICTED_MARIADB.is_sorted());
    }
}
