//! What a statement did to its session: from its parsed effects and the server's own report to state and pins.
//!
//! Owns the rules that decide which state can be restored and which pins. The server's report is the truth; the text adds
//! what no server reports; what neither explains pins. It must never end a pin that might still hold. Input: the
//! statement, the outcome of its answer, the server's facts.

mod foresee;
mod memory;

use dbmesh_model::topology::Routines;
use dbmesh_sql::effects::{Effect, TableName, TransactionScope, Value, VariableScope, XaVerb};
use dbmesh_sql::{Class, Dialect, Facts, Statement, Verb, analyze, literal};
use dbmesh_wire::relay::Outcome;
use dbmesh_wire::status::Status;
use dbmesh_wire::track::{self, Item};

use crate::backend::{Flavor, LAST_GTID, ServerFacts};
use crate::pins::PinReason;
use crate::state::{LastId, SessionState};
use crate::vector::is_charset_variable;
pub use foresee::foresee;
pub use memory::shows_by_query;
use memory::{diagnostics, insert_id};

/// What else must be asked of the connection before anything is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Nothing.
    None,
    /// These variables were set and not reported (MariaDB says nothing of `SET @@x = …`): setting them to themselves does.
    Reread(Vec<Box<str>>),
    /// An error hid the state: COM_PING brings the status flags and what was not reported.
    AskAgain,
}

/// What the absorber needs to know besides the session.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The server.
    pub facts: &'a ServerFacts,
    /// Whether routines are trusted to report their state.
    pub routines: Routines,
    /// The text of the statement, for literals.
    pub sql: &'a [u8],
    /// How that text is read.
    pub dialect: &'a Dialect,
}

/// Takes in what a statement did.
pub fn absorb(
    state: &mut SessionState,
    statement: &Statement,
    outcome: &Outcome,
    around: Surroundings<'_>,
) -> Doubt {
    diagnostics(state, statement, outcome, around.sql, around.facts.flavor);
    if let Some(status) = outcome.status {
        state.status = lasting(status);
    }
    let reported = report(state, outcome, around.facts);
    let (failed, open) = (outcome.error.is_some(), state.in_transaction());
    state.pins.follow(statement, failed, open);
    if failed {
        return absorb_error(state, statement, outcome, &reported, around);
    }
    text_effects(state, statement, &reported, around);
    let explained = explains_change(statement)
        || (statement.class == Class::Ddl && state.pins.has(PinReason::TemporaryTable));
    // What a hint sets is as it was when the statement has ended. A trigger may have done more.
    let explained =
        explained || (statement.class <= Class::Read && statement.facts.has(Facts::SET_VAR_HINT));
    // A statement prepared under another schema is executed under that one, and the way there and back is reported.
    let explained = explained || (reported.schema && !reported.variables && is_plain(statement));
    if reported.malformed || (reported.changed && !explained) {
        state.pins.add_unnamed(PinReason::StateChange);
    }
    if outcome.tracked_overflow {
        state.pins.add_unnamed(PinReason::StateChange);
    }
    if !around.facts.tracks_state && !is_plain(statement) {
        state.pins.add_unnamed(PinReason::Unparsed);
    }
    insert_id(state, statement, outcome, around.sql);
    let unreported = unreported(statement, &reported, around.facts);
    if unreported.is_empty() || !around.facts.tracks_state {
        Doubt::None
    } else {
        Doubt::Reread(unreported)
    }
}

/// Variables that a statement set and its server did not report.
fn unreported(statement: &Statement, reported: &Reported, facts: &ServerFacts) -> Vec<Box<str>> {
    let set = statement.effects.iter().filter_map(|effect| match effect {
        Effect::SetSystem {
            name,
            scope: VariableScope::Session,
            ..
        } => Some(name),
        _ => None,
    });
    set.filter(|name| {
        facts.tracked.contains(*name) && !reported.names.iter().any(|n| **n == ***name)
    })
    .cloned()
    .collect()
}

/// Takes in the report of variables that were asked for again.
pub fn absorb_reread(state: &mut SessionState, outcome: &Outcome, facts: &ServerFacts) {
    report(state, outcome, facts);
}

/// Takes in the OK of the COM_PING that followed an error.
pub fn absorb_after_error(
    state: &mut SessionState,
    statement: &Statement,
    outcome: &Outcome,
    around: Surroundings<'_>,
) {
    if let Some(status) = outcome.status {
        state.status = lasting(status);
    }
    let reported = report(state, outcome, around.facts);
    let only_variables = statement.verb == Verb::Set && !sets_user_variable(statement);
    if reported.changed && !(only_variables && reported.variables) {
        state.pins.add_unnamed(PinReason::AfterError);
    }
}

/// The flags that say something of the session; the others spoke of one statement.
fn lasting(status: Status) -> Status {
    const LASTING: u16 = Status::IN_TRANS.0
        | Status::AUTOCOMMIT.0
        | Status::IN_TRANS_READONLY.0
        | Status::NO_BACKSLASH_ESCAPES.0
        | Status::ANSI_QUOTES.0;
    Status(status.0 & LASTING)
}

/// What the server reported.
#[derive(Debug, Default)]
struct Reported {
    changed: bool,
    variables: bool,
    /// The report could not be read to its end.
    malformed: bool,
    /// A schema came with it.
    schema: bool,
    /// Names of all variables reported.
    names: Vec<String>,
    /// Character set variables with their values: NAMES in the same statement must not hide them.
    charset: Vec<(String, Vec<u8>)>,
}

fn report(state: &mut SessionState, outcome: &Outcome, facts: &ServerFacts) -> Reported {
    let mut reported = Reported::default();
    if outcome.tracked.is_empty() {
        return reported;
    }
    for item in track::items(&outcome.tracked) {
        let Ok(item) = item else {
            reported.malformed = true;
            break;
        };
        match item {
            Item::SystemVariable { name, value } => {
                let name = String::from_utf8_lossy(name).to_ascii_lowercase();
                if name == LAST_GTID {
                    state.note_position(value, Flavor::MariaDb);
                    continue;
                }
                reported.variables = true;
                reported.names.push(name.clone());
                if is_charset_variable(&name) {
                    reported.charset.push((name.clone(), value.to_vec()));
                }
                if facts.tracked.contains(name.as_str()) {
                    state.change_vector(|v| v.note_variable(&name, value));
                }
            }
            Item::Schema(schema) => {
                reported.schema = true;
                let schema = if schema.is_empty() {
                    None
                } else {
                    Some(schema.into())
                };
                state.change_vector(|v| v.schema = schema);
            }
            Item::StateChange(true) => reported.changed = true,
            Item::TransactionCharacteristics(words) => state.pins.announce(words),
            Item::TransactionState(done) => state.pins.note_transaction(done),
            Item::Gtids(gtids) => state.note_position(gtids, Flavor::MySql),
            Item::StateChange(false) | Item::Unknown(..) => {}
        }
    }
    reported
}

fn absorb_error(
    state: &mut SessionState,
    statement: &Statement,
    outcome: &Outcome,
    reported: &Reported,
    around: Surroundings<'_>,
) -> Doubt {
    let several = statement.statements > 1;
    if never_ran(statement, outcome) {
        return Doubt::None;
    }
    if reported.changed && !statement.effects.is_empty() {
        state.pins.add_unnamed(PinReason::AfterError);
    }
    let may_insert =
        Facts::CALLS_ROUTINE | Facts::COMPOUND | Facts::DYNAMIC_SQL | Facts::SETS_LAST_INSERT_ID;
    if several || statement.class >= Class::Write || statement.facts.has_any(may_insert) {
        // Part of it may have run, and inserted.
        state.last_insert_id = LastId::OnConnection;
    }
    // MariaDB forgets what changed before an error: where anything may have changed, the connection is in doubt.
    let silent = around.facts.flavor == Flavor::MariaDb || !around.facts.tracks_state;
    // A COMMIT that is refused leaves the transaction, which the status shows.
    let ends = !several && matches!(statement.verb, Verb::Commit | Verb::Rollback);
    let may_have_changed =
        !ends && (several || !statement.effects.is_empty() || !is_plain(statement));
    if silent && may_have_changed {
        state.pins.add_unnamed(PinReason::AfterError);
    }
    if several {
        // Some of the statements ran. What they did without a report stays on the connection.
        if !statement.effects.is_empty() || !is_plain(statement) {
            state.pins.add_unnamed(PinReason::AfterError);
        }
    } else {
        silent_effects_of_a_failure(state, statement);
    }
    Doubt::AskAgain
}

/// Whether an error came before anything of a single statement ran: it could not be parsed, names something that does
/// not exist, or may not be run. Inside a routine the same errors come in the middle.
fn never_ran(statement: &Statement, outcome: &Outcome) -> bool {
    let inside = Facts::DYNAMIC_SQL | Facts::COMPOUND;
    if statement.verb == Verb::Call || statement.facts.has_any(inside) {
        return false;
    }
    if outcome.error == Some(1064) && outcome.status.is_none() {
        return true;
    }
    if statement.statements > 1 {
        return false;
    }
    if statement.verb == Verb::Set {
        // All assignments are checked before the first is made.
        let refused = matches!(
            outcome.error,
            Some(1115 | 1193 | 1227 | 1229 | 1231 | 1232 | 1238 | 1273 | 1298)
        );
        return refused && !statement.facts.has(Facts::CALLS_ROUTINE);
    }
    matches!(
        outcome.error,
        Some(1044 | 1046 | 1047 | 1049 | 1054 | 1142 | 1143 | 1146 | 1305)
    )
}

/// A failed statement may have done part of its work: a lock taken, a variable assigned, a routine half run.
fn silent_effects_of_a_failure(state: &mut SessionState, statement: &Statement) {
    let facts = statement.facts;
    if facts.has_any(Facts::USER_VARIABLE_ASSIGNED) {
        state.pins.add_unnamed(PinReason::UserVariable);
    }
    if facts.has(Facts::GET_LOCK_FUNCTION) {
        state.pins.add_unnamed(PinReason::UserLock);
    }
    if facts.has_any(Facts::CALLS_ROUTINE | Facts::COMPOUND | Facts::DYNAMIC_SQL) {
        state.pins.add_unnamed(PinReason::Routine);
    }
    if facts.has(Facts::SETS_LAST_INSERT_ID) {
        state.pins.add(PinReason::LastInsertId);
    }
    if facts.has(Facts::SETS_SESSION_TRACK) {
        state.pins.add_unnamed(PinReason::SessionTracking);
    }
}

/// What the text says, and no server reports.
fn text_effects(
    state: &mut SessionState,
    statement: &Statement,
    reported: &Reported,
    around: Surroundings<'_>,
) {
    let facts = statement.facts;
    for effect in statement.effects.iter() {
        apply_effect(state, effect, reported, around);
    }
    let counted_lock = statement.effects.iter().any(|e| {
        matches!(
            e,
            Effect::GetLock(_) | Effect::ReleaseLock(_) | Effect::ReleaseAllLocks
        )
    });
    if facts.has(Facts::GET_LOCK_FUNCTION) && !counted_lock {
        state.pins.add_unnamed(PinReason::UserLock);
    }
    if facts.has(Facts::USER_VARIABLE_ASSIGNED) {
        state.pins.add_unnamed(PinReason::UserVariable);
    }
    let trusted = around.routines == Routines::Track;
    if facts.has(Facts::CALLS_ROUTINE) && !trusted {
        state.pins.add_unnamed(PinReason::Routine);
    }
    if facts.has_any(Facts::COMPOUND | Facts::SEQUENCE) {
        state.pins.add_unnamed(PinReason::Routine);
    }
    if facts.has_any(Facts::UNPARSED | Facts::UNTRUSTED_TEXT) || statement.unterminated {
        state.pins.add_unnamed(PinReason::Unparsed);
    }
    if facts.has(Facts::UNPARSED_SET) {
        state.pins.add_unnamed(PinReason::SessionVariable);
    }
    if facts.has(Facts::SETS_SESSION_TRACK) {
        state.pins.add_unnamed(PinReason::SessionTracking);
    }
    if facts.has(Facts::ROLE) {
        state.pins.add(PinReason::Role);
    }
    if facts.has(Facts::TEMPORARY_TABLE)
        && !statement
            .effects
            .iter()
            .any(|e| matches!(e, Effect::CreateTemporary { .. }))
    {
        state.pins.add_unnamed(PinReason::TemporaryTable);
    }
    if facts.has(Facts::SETS_LAST_INSERT_ID) && statement.class == Class::Read {
        state.pins.add(PinReason::LastInsertId);
    }
}

fn apply_effect(
    state: &mut SessionState,
    effect: &Effect,
    reported: &Reported,
    around: Surroundings<'_>,
) {
    match effect {
        Effect::SetSystem {
            name,
            scope: VariableScope::Session,
            value,
        } => {
            if &**name == "timestamp" {
                state.pins.set_clock(*value != Value::Default);
            } else if matches!(&**name, "last_insert_id" | "identity") {
                state.last_insert_id = LastId::OnConnection;
                state.pins.add(PinReason::LastInsertId);
            } else if !around.facts.tracked.contains(name.as_ref()) {
                state.pins.add_unnamed(PinReason::SessionVariable);
            } else if &**name == "sql_mode" && state.vector.has_string_user_variable() {
                // The literal was read by another sql_mode than the one under which it would be restored.
                state.pins.add_unnamed(PinReason::UserVariable);
            } else if is_charset_variable(name) {
                set_charset_variable(state, name, reported);
            }
        }
        Effect::SetSystem {
            scope: VariableScope::NextTransaction,
            ..
        }
        | Effect::SetTransaction {
            scope: TransactionScope::Next,
            ..
        } => {
            state.pins.add(PinReason::NextTransaction);
        }
        Effect::SetSystem { .. } | Effect::SetTransaction { .. } => {}
        Effect::SetUser { name, value } => {
            set_user_variable(state, name.as_bytes(), *value, around)
        }
        Effect::SetNames { charset, collate } => set_names(state, *charset, *collate, around),
        // It takes the collation of the current schema: no SET restores that.
        Effect::SetCharacterSet { .. } => state.pins.add_unnamed(PinReason::SessionVariable),
        Effect::SetRole => {
            state.pins.add(PinReason::Role);
        }
        Effect::SetResourceGroup => {
            state.pins.add(PinReason::ResourceGroup);
        }
        other => hold_or_let_go(state, other, around),
    }
}

/// Effects that put something on the connection, or take it off.
fn hold_or_let_go(state: &mut SessionState, effect: &Effect, around: Surroundings<'_>) {
    match effect {
        Effect::CreateTemporary { name, .. } => state.pins.add_temporary_table(table_name(name)),
        Effect::DropTables { names, .. } => {
            for name in names {
                state.pins.drop_table(&table_name(name));
            }
        }
        Effect::AlterTable {
            renamed_to: Some(_),
            ..
        }
        | Effect::RenameTable { .. }
            if state.pins.has(PinReason::TemporaryTable) =>
        {
            // A temporary table may have a new name now.
            state.pins.add_unnamed(PinReason::TemporaryTable);
        }
        Effect::LockTables => {
            state.pins.add(PinReason::TableLock);
        }
        Effect::UnlockTables => {
            state.pins.remove(PinReason::TableLock);
            state.pins.remove(PinReason::GlobalReadLock);
        }
        Effect::Begin { .. } => state.pins.remove(PinReason::TableLock),
        Effect::FlushTablesLock => {
            state.pins.add(PinReason::GlobalReadLock);
        }
        Effect::LockInstance => {
            state.pins.add(PinReason::InstanceLock);
        }
        Effect::UnlockInstance => state.pins.remove(PinReason::InstanceLock),
        Effect::GetLock(name) => state.pins.add_lock(name.as_bytes().to_vec()),
        Effect::ReleaseLock(name) => state.pins.drop_lock(name.as_bytes()),
        Effect::ReleaseAllLocks => state.pins.remove_all(PinReason::UserLock),
        Effect::HandlerOpen { name } => state.pins.add_handler(lower(name)),
        Effect::HandlerClose { name } => state.pins.drop_handler(&lower(name)),
        Effect::PrepareSql { name, text } => {
            let text = text.and_then(|span| literal::decode_span(around.sql, span, around.dialect));
            let plain = text.is_some_and(|text| leaves_nothing(&analyze(&text, around.dialect)));
            state.pins.add_prepared(lower(name), plain);
        }
        Effect::ExecuteSql { name } if !state.pins.prepares_plain(&lower(name)) => {
            state.pins.add_unnamed(PinReason::Routine);
        }
        Effect::ExecuteImmediate { .. } => state.pins.add_unnamed(PinReason::Routine),
        Effect::DeallocateSql { name } => state.pins.drop_prepared(&lower(name)),
        Effect::Xa(verb) => xa(state, *verb, around.facts),
        _ => {}
    }
}

fn set_charset_variable(state: &mut SessionState, name: &str, reported: &Reported) {
    if state.vector.has_string_user_variable() {
        state.pins.add_unnamed(PinReason::UserVariable);
    }
    if let Some((_, value)) = reported.charset.iter().rev().find(|(n, _)| n == name) {
        state.change_vector(|v| v.note_variable(name, value));
    }
}

fn xa(state: &mut SessionState, verb: XaVerb, facts: &ServerFacts) {
    match verb {
        XaVerb::Start | XaVerb::End => {
            state.pins.add(PinReason::Xa);
        }
        // MySQL detaches a prepared branch from its session; MariaDB keeps it.
        XaVerb::Prepare if facts.flavor == Flavor::MySql && !state.in_transaction() => {
            state.pins.remove(PinReason::Xa)
        }
        XaVerb::Commit | XaVerb::CommitOnePhase | XaVerb::Rollback if !state.in_transaction() => {
            state.pins.remove(PinReason::Xa)
        }
        _ => {}
    }
}

fn lower(name: &str) -> Vec<u8> {
    name.to_lowercase().into_bytes()
}

/// `schema.table`, or the table alone, as it was written. A table created by one form and dropped by the other keeps its
/// pin: one pin too long beats one table lost.
fn table_name(name: &TableName) -> Vec<u8> {
    match &name.schema {
        Some(schema) => lower(&format!("{schema}.{}", name.table)),
        None => lower(&name.table),
    }
}

fn set_user_variable(
    state: &mut SessionState,
    name: &[u8],
    value: Value,
    around: Surroundings<'_>,
) {
    let literal = match value {
        Value::Literal(span) => Some(span.of(around.sql)).filter(|text| !text.is_empty()),
        Value::Default | Value::Expr(_) => None,
    };
    let Some(literal) = literal.filter(|_| !name.contains(&b'`')) else {
        state.pins.add_unnamed(PinReason::UserVariable);
        return;
    };
    if literal.eq_ignore_ascii_case(b"NULL") && state.vector.user_variables.contains_key(name) {
        // It keeps the type that it had.
        state.pins.add_unnamed(PinReason::UserVariable);
    }
    state.change_vector(|v| {
        v.user_variables.insert(name.into(), literal.into());
    });
    if !state.vector.user_variables_fit() {
        state.pins.add_unnamed(PinReason::UserVariable);
    }
}

fn set_names(
    state: &mut SessionState,
    charset: Value,
    collate: Option<Value>,
    around: Surroundings<'_>,
) {
    if state.vector.has_string_user_variable() {
        state.pins.add_unnamed(PinReason::UserVariable);
    }
    match names_text(charset, collate, around.sql) {
        Some(text) => state.change_vector(|v| v.note_names(text.into())),
        None => state.pins.add_unnamed(PinReason::SessionVariable),
    }
}

fn names_text(charset: Value, collate: Option<Value>, sql: &[u8]) -> Option<Vec<u8>> {
    let word = |value: Value| match value {
        Value::Literal(span) | Value::Expr(span) => {
            Some(span.of(sql).to_vec()).filter(|text| !text.is_empty())
        }
        Value::Default => Some(b"DEFAULT".to_vec()),
    };
    let mut text = b"NAMES ".to_vec();
    text.extend_from_slice(&word(charset)?);
    if let Some(collate) = collate {
        text.extend_from_slice(b" COLLATE ");
        text.extend_from_slice(&word(collate)?);
    }
    Some(text)
}

fn sets_user_variable(statement: &Statement) -> bool {
    statement.facts.has(Facts::USER_VARIABLE)
}

/// Whether a reported change is one that the text accounts for. Among several statements, one that writes may have a
/// trigger that changes what another seems to explain.
fn explains_change(statement: &Statement) -> bool {
    if statement.statements > 1 && statement.class > Class::Tcl {
        return false;
    }
    statement.effects.iter().any(|e| {
        matches!(
            e,
            Effect::SetSystem { .. }
                | Effect::SetUser { .. }
                | Effect::SetNames { .. }
                | Effect::SetCharacterSet { .. }
                | Effect::SetTransaction { .. }
                | Effect::Use(_)
                | Effect::CreateTemporary { .. }
                | Effect::DropTables { .. }
                | Effect::PrepareSql { .. }
                | Effect::DeallocateSql { .. }
                | Effect::SetRole
        )
    }) || statement.facts.has_any(Facts::USER_VARIABLE_ASSIGNED)
}

/// A statement that leaves nothing behind that its server does not report.
fn leaves_nothing(statement: &Statement) -> bool {
    is_plain(statement)
        && statement.effects.is_empty()
        && !statement.facts.has_any(
            Facts::USER_VARIABLE_ASSIGNED
                | Facts::GET_LOCK_FUNCTION
                | Facts::CALC_FOUND_ROWS
                | Facts::SETS_LAST_INSERT_ID
                | Facts::TEMPORARY_TABLE
                | Facts::UNTRUSTED_TEXT,
        )
}

/// A statement whose text holds nothing that could change session state.
fn is_plain(statement: &Statement) -> bool {
    matches!(
        statement.class,
        Class::Read | Class::Write | Class::Show | Class::Tcl | Class::Ddl
    ) && statement.effects.iter().all(|e| {
        matches!(
            e,
            Effect::Begin { .. } | Effect::Commit { .. } | Effect::Rollback { .. }
        )
    }) && !statement
        .facts
        .has_any(Facts::CALLS_ROUTINE | Facts::DYNAMIC_SQL | Facts::COMPOUND | Facts::UNPARSED)
}
