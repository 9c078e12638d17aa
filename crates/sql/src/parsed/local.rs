//! On what a statement's answer depends besides rows: the session, the server.
//!
//! Owns the lists of functions, variables and schemas. Must never take a function of the connection for one of the data.

use super::tables::TableUse;
use crate::ast::{Ast, Call, Expr, ExprKind, VariableScope, unquoted};
use crate::dialect::Dialect;
use crate::facts::Facts;
use crate::parser::StatementKind;

const SESSION_FUNCTIONS: &[(&str, Facts)] = &[
    ("found_rows", Facts::READS_FOUND_ROWS),
    ("row_count", Facts::READS_ROW_COUNT),
    ("last_insert_id", Facts::READS_LAST_INSERT_ID),
    ("connection_id", Facts::READS_CONNECTION_ID),
    ("ps_current_thread_id", Facts::READS_CONNECTION_ID),
    ("is_used_lock", Facts::READS_CONNECTION_ID),
    ("user", Facts::READS_USER),
    ("session_user", Facts::READS_USER),
    ("system_user", Facts::READS_USER),
    ("current_user", Facts::READS_USER),
    ("current_role", Facts::READS_USER),
    ("lastval", Facts::SEQUENCE),
];

const SESSION_VARIABLES: &[(&str, Facts)] = &[
    ("last_insert_id", Facts::READS_LAST_INSERT_ID),
    ("identity", Facts::READS_LAST_INSERT_ID),
    ("warning_count", Facts::READS_WARNING_COUNT),
    ("error_count", Facts::READS_WARNING_COUNT),
    ("pseudo_thread_id", Facts::READS_CONNECTION_ID),
    ("last_gtid", Facts::READS_LAST_GTID),
];

/// Schemas whose tables describe the server.
const SYSTEM_SCHEMAS: &[&str] = &["information_schema", "performance_schema", "mysql", "sys"];

/// Variables without a session value, that servers of one group need not share.
const SERVER_VARIABLES: &[&str] = &[
    "basedir",
    "bind_address",
    "datadir",
    "general_log",
    "gtid_binlog_pos",
    "gtid_binlog_state",
    "gtid_current_pos",
    "gtid_executed",
    "gtid_purged",
    "gtid_slave_pos",
    "hostname",
    "innodb_read_only",
    "log_bin",
    "log_error",
    "pid_file",
    "port",
    "read_only",
    "relay_log",
    "report_host",
    "report_port",
    "server_id",
    "server_uuid",
    "server_uid",
    "socket",
    "super_read_only",
    "tmpdir",
    "version",
    "version_comment",
    "version_compile_os",
    "wsrep_node_name",
    "wsrep_node_address",
];

/// Functions whose answer is the server's own.
const SERVER_FUNCTIONS: &[&str] = &[
    "binlog_gtid_pos",
    "is_free_lock",
    "is_used_lock",
    "load_file",
    "master_gtid_wait",
    "master_pos_wait",
    "ps_current_thread_id",
    "ps_thread_id",
    "source_pos_wait",
    "version",
    "wait_for_executed_gtid_set",
    "wsrep_last_seen_gtid",
    "wsrep_last_written_gtid",
    "wsrep_sync_wait_upto_gtid",
];

/// What SHOW may show that servers of one group share: definitions.
const SHOWN_ALIKE: &[&str] = &[
    "character",
    "charset",
    "collation",
    "columns",
    "create",
    "databases",
    "events",
    "extended",
    "fields",
    "index",
    "indexes",
    "keys",
    "schemas",
    "tables",
    "triggers",
    "warnings",
    "errors",
    "count",
    "procedure",
    "function",
];

pub(super) fn session(ast: &Ast, sql: &[u8], dialect: &Dialect) -> Facts {
    let mut facts = Facts::NONE;
    for call in ast.all::<Call>() {
        let name = call.name.name.of(sql);
        for (known, fact) in SESSION_FUNCTIONS {
            if name.eq_ignore_ascii_case(known.as_bytes()) {
                facts.add(*fact);
            }
        }
    }
    for expr in ast.all::<Expr>() {
        match expr.kind {
            ExprKind::UserVariable => facts.add(Facts::USER_VARIABLE),
            ExprKind::SystemVariable(_) => {
                let name = variable_name(expr, sql);
                let name = unquoted(name, dialect);
                for (known, fact) in SESSION_VARIABLES {
                    if name.eq_ignore_ascii_case(known.as_bytes()) {
                        facts.add(*fact);
                    }
                }
            }
            _ => {}
        }
    }
    facts
}

pub(super) fn server(ast: &Ast, sql: &[u8], dialect: &Dialect, tables: &[TableUse]) -> bool {
    let is_listed =
        |name: &[u8], list: &[&str]| list.iter().any(|n| name.eq_ignore_ascii_case(n.as_bytes()));
    let of_system = |table: &TableUse| {
        table
            .schema_name()
            .is_some_and(|schema| is_listed(&unquoted(schema.of(sql), dialect), SYSTEM_SCHEMAS))
    };
    let of_server = |expr: &Expr| match expr.kind {
        ExprKind::SystemVariable(VariableScope::Global | VariableScope::Persist) => true,
        ExprKind::SystemVariable(VariableScope::Unsaid) => is_listed(
            &unquoted(variable_name(expr, sql), dialect),
            SERVER_VARIABLES,
        ),
        _ => false,
    };
    tables.iter().any(of_system)
        || ast.all::<Expr>().iter().any(of_server)
        || ast
            .all::<Call>()
            .iter()
            .any(|call| is_listed(call.name.name.of(sql), SERVER_FUNCTIONS))
        || (ast.statement().kind == StatementKind::Show && shows_server(ast, sql))
}

/// Whether a SHOW is about the server: its state, its logs, its variables.
fn shows_server(ast: &Ast, sql: &[u8]) -> bool {
    let mut words = ast
        .statement()
        .span
        .of(sql)
        .split(|byte| !crate::lexer::is_name_byte(*byte))
        .filter(|word| !word.is_empty())
        .skip(1)
        .skip_while(|word| word.eq_ignore_ascii_case(b"full"));
    let (first, second) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let alike = SHOWN_ALIKE
        .iter()
        .any(|known| first.eq_ignore_ascii_case(known.as_bytes()));
    // `SHOW TABLE STATUS` has sizes of its server; `SHOW PROCEDURE CODE` does not matter.
    !alike || second.eq_ignore_ascii_case(b"code")
}

/// The last part of `@@x`, `@@session.x`.
fn variable_name<'a>(expr: &Expr, sql: &'a [u8]) -> &'a [u8] {
    let text = expr.span.of(sql);
    let text = text.strip_prefix(b"@@").unwrap_or(text);
    text.rsplit(|byte| *byte == b'.').next().unwrap_or(text)
}
