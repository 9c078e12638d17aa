//! Which part plans a statement, and what stands outside of all of them.
//!
//! Owns the list of kinds. A kind that is not in it is refused.

use dbmesh_sql::ast::{Body, ExplainedBody};
use dbmesh_sql::{Facts, Span, StatementKind as Kind};

use super::define::Words;
use super::locality::Locality;
use super::reason::{GatherReason, RefuseReason, Stop};
use super::rewrite::{self, Splice};
use super::route::{self, Target};
use super::scope::{Place, Scope};
use super::{
    Clock, Merge, NodeStatement, ShardPlan, define, dictionary, insert, load, read, write,
};

/// What SHOW may show without a table's or schema's name in the answer.
const SHOWN: [&str; 15] = [
    "character",
    "charset",
    "collation",
    "engines",
    "grants",
    "plugins",
    "privileges",
    "processlist",
    "status",
    "storage",
    "variables",
    "global",
    "session",
    "local",
    "full",
];

pub(super) fn plan(scope: &Scope<'_>) -> Result<ShardPlan, Stop> {
    let kind = scope.facts.kind;
    if !scope.facts.tables_known && runs_hidden_text(kind) {
        return Err(RefuseReason::Routine.into());
    }
    match kind {
        // What the last statement left behind is the session's to tell.
        Kind::Select if scope.uses.is_empty() && scope.facts.session != Facts::NONE => {
            known(scope).and_then(|()| for_session(scope))
        }
        Kind::Select | Kind::Table | Kind::Values => known(scope).and_then(|()| read::plan(scope)),
        Kind::Insert | Kind::Replace => known(scope).and_then(|()| insert::plan(scope)),
        Kind::Update | Kind::Delete => known(scope).and_then(|()| write::plan(scope)),
        Kind::CreateTable
        | Kind::AlterTable
        | Kind::DropTable
        | Kind::TruncateTable
        | Kind::RenameTable
        | Kind::CreateIndex
        | Kind::DropIndex => known(scope).and_then(|()| define::plan(scope)),
        Kind::CreateView | Kind::AlterView | Kind::DropView => {
            on_one_node(scope, RefuseReason::View)
        }
        Kind::CreateDatabase => made_database(scope),
        Kind::LoadData => known(scope).and_then(|()| load::plan(scope)),
        Kind::LockTables => on_one_node(scope, RefuseReason::LockTables),
        Kind::Maintenance => on_one_node(scope, RefuseReason::PhysicalNames),
        Kind::Show => show(scope),
        Kind::Describe => describe(scope),
        Kind::Explain => explain(scope),
        Kind::Set | Kind::Do => settings(scope),
        Kind::Empty
        | Kind::SetTransaction
        | Kind::Use
        | Kind::Begin
        | Kind::Commit
        | Kind::Rollback
        | Kind::Savepoint
        | Kind::ReleaseSavepoint
        | Kind::RollbackTo
        | Kind::UnlockTables
        // A branch is where the session is; that it stays there, the session sees to.
        | Kind::Xa
        | Kind::Deallocate
        | Kind::Kill
        | Kind::Help
        | Kind::GetDiagnostics => Ok(ShardPlan::Session),
        kind => Err(RefuseReason::Kind(kind).into()),
    }
}

/// Statements that run text which is not in them.
fn runs_hidden_text(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Call | Kind::Execute | Kind::Prepare | Kind::Compound
    )
}

/// A stored function may read tables by their logical names, which no node has.
fn known(scope: &Scope<'_>) -> Result<(), Stop> {
    match scope.facts.tables_known {
        true => Ok(()),
        false => Err(RefuseReason::Routine.into()),
    }
}

/// Only where every table is on one and the same node.
fn on_one_node(scope: &Scope<'_>, otherwise: RefuseReason) -> Result<ShardPlan, Stop> {
    known(scope)?;
    let mut source = None;
    for table in &scope.uses {
        match table.place {
            Place::Single(place) if source.is_none_or(|known| known == place) => {
                source = Some(place);
            }
            _ => return Err(otherwise.into()),
        }
    }
    match source {
        Some(source) => define::single(scope, source),
        None => Err(otherwise.into()),
    }
}

fn anywhere(scope: &Scope<'_>) -> usize {
    let rules = scope.input.sharding.default_source;
    scope.input.here.or(rules).unwrap_or(0)
}

fn show(scope: &Scope<'_>) -> Result<ShardPlan, Stop> {
    let text = scope.text(scope.ast.statement().span).to_ascii_lowercase();
    let text = String::from_utf8_lossy(&text);
    let mut words = text.split(|c: char| !c.is_alphanumeric()).skip(1);
    let word = words.next();
    if !scope.uses.is_empty() {
        // Every shard says the same of these, but for the table's name, which the executor takes for the client's.
        let what = match word {
            Some("full" | "extended") => words.find(|word| !matches!(*word, "full" | "")),
            word => word,
        };
        return match (what, words.find(|word| !word.is_empty())) {
            (Some("index" | "indexes" | "keys"), _) if names_table(scope) => {
                on_one_node(scope, RefuseReason::PhysicalNames)
            }
            (Some("columns" | "fields" | "index" | "indexes" | "keys"), _)
            | (Some("create"), Some("table")) => describe(scope),
            _ => on_one_node(scope, RefuseReason::PhysicalNames),
        };
    }
    if let Some(database) = create_database(scope) {
        return database;
    }
    if matches!(word, Some("warnings" | "errors" | "count")) {
        return Ok(ShardPlan::Session);
    }
    match word.is_some_and(|word| SHOWN.contains(&word)) && !text.contains("tables") {
        true => define::single(scope, anywhere(scope)),
        false => Err(RefuseReason::PhysicalNames.into()),
    }
}

/// Whether a WHERE compares the name of the table, which is another at the node.
fn names_table(scope: &Scope<'_>) -> bool {
    let columns = scope.ast.all::<dbmesh_sql::ast::ColumnName>().iter();
    columns
        .into_iter()
        .any(|column| scope.lower(column.name.name) == "table")
}

/// SHOW CREATE DATABASE of the service's schema, or of one that every server has.
fn create_database(scope: &Scope<'_>) -> Option<Result<ShardPlan, Stop>> {
    let words = Words::of(scope);
    if !words.is_any(1, &["create"]) || !words.is_any(2, &["database", "schema"]) {
        return None;
    }
    let span = words.last()?;
    let name = scope.name(span);
    if name.eq_ignore_ascii_case(dictionary::SCHEMA) {
        return Some(define::single(scope, anywhere(scope)));
    }
    Some(of_database(scope, span))
}

/// CREATE DATABASE of the service's schema: a server has it, and says so. Tools ask for it before they make tables.
fn made_database(scope: &Scope<'_>) -> Result<ShardPlan, Stop> {
    let words = Words::of(scope);
    let plain = words.is_any(0, &["create"]) && words.is_any(1, &["database", "schema"]);
    let place = match words.is_any(2, &["if"]) {
        true => 5,
        false => 2,
    };
    match words.span(place).filter(|_| plain) {
        Some(span) => of_database(scope, span),
        None => Err(RefuseReason::Kind(scope.facts.kind).into()),
    }
}

/// A statement about the service's schema, whose name stands there, for one node.
fn of_database(scope: &Scope<'_>, span: Span) -> Result<ShardPlan, Stop> {
    let name = scope.name(span).into_owned();
    let source = anywhere(scope);
    if scope.input.schema != Some(&name) {
        return Err(RefuseReason::UnknownSchema(name).into());
    }
    let endpoints = scope.input.sharding.sources.get(source);
    let endpoint = endpoints.and_then(|source| source.endpoints.first());
    let theirs = endpoint.and_then(|endpoint| endpoint.schema.as_deref());
    let theirs = theirs.unwrap_or(&name);
    let splice = Splice::text(span, rewrite::quoted(theirs));
    let copied = rewrite::copy(scope, rewrite::whole(scope), &[splice]);
    Ok(ShardPlan::Single(NodeStatement {
        source,
        shard: None,
        sql: copied.text,
        parameters: Vec::new(),
        tables: vec![(theirs.to_owned(), name)],
        rows: Vec::new(),
    }))
}

/// A schema behind the table is not that of the node.
fn schemas_behind(scope: &Scope<'_>) -> Vec<Splice> {
    let names = scope.uses.iter().map(|table| table.name);
    let behind = names.filter_map(|name| {
        let schema = name.qualifier.filter(|q| q.start > name.name.end)?;
        let span = Span {
            start: name.name.end,
            end: schema.end,
        };
        Some(Splice::text(span, ""))
    });
    behind.collect()
}

/// The columns of a table are those of any of its shards.
fn describe(scope: &Scope<'_>) -> Result<ShardPlan, Stop> {
    let sharded = scope.uses.iter().find_map(|table| table.sharded());
    let single = scope.uses.iter().find_map(|table| match table.place {
        Place::Single(source) => Some(source),
        _ => None,
    });
    let first = sharded.and_then(|table| table.shards.first());
    let source = first.map(|shard| shard.source).or(single);
    let target = Target {
        source: source.unwrap_or_else(|| anywhere(scope)),
        shards: scope
            .uses
            .iter()
            .map(|table| table.sharded().map(|_| 0))
            .collect(),
    };
    let behind = schemas_behind(scope);
    Ok(ShardPlan::Single(rewrite::statement(
        scope, &target, &behind,
    )?))
}

/// EXPLAIN of what runs on one shard, or on each of several.
fn explain(scope: &Scope<'_>) -> Result<ShardPlan, Stop> {
    known(scope)?;
    let plan = match scope.ast.statement().body {
        Body::Explain {
            body: ExplainedBody::Insert(_),
            ..
        } => insert::plan(scope),
        Body::Explain {
            body: ExplainedBody::Update(_) | ExplainedBody::Delete(_),
            ..
        } => write::plan(scope),
        Body::Explain { .. } => read::plan(scope),
        _ => return Err(RefuseReason::Explain.into()),
    };
    match plan? {
        ShardPlan::Single(statement) => Ok(ShardPlan::Single(statement)),
        ShardPlan::Scatter { statements, .. } | ShardPlan::Broadcast { statements, .. } => {
            Ok(ShardPlan::Scatter {
                statements,
                merge: Merge::Explained,
                clock: Clock::Unread,
            })
        }
        _ => Err(RefuseReason::Explain.into()),
    }
}

/// What only the session knows runs where it is: as it came, unless it asks for the schema, which has another name there.
fn for_session(scope: &Scope<'_>) -> Result<ShardPlan, Stop> {
    match rewrite::schema_functions(scope).next() {
        Some(_) => define::single(scope, anywhere(scope)),
        None => Ok(ShardPlan::Session),
    }
}

/// SET and DO of values that need no table are the session's.
fn settings(scope: &Scope<'_>) -> Result<ShardPlan, Stop> {
    if scope.uses.is_empty() {
        return match scope.facts.tables_known {
            true => for_session(scope),
            false => Err(RefuseReason::Routine.into()),
        };
    }
    known(scope)?;
    let sets = route::sets(scope, &Locality::of(scope));
    route::audit(scope, &sets, None)?;
    match route::one(scope, &sets) {
        Some(target) => Ok(ShardPlan::Single(rewrite::statement(scope, &target, &[])?)),
        None if scope.facts.kind == Kind::Set => Err(GatherReason::Subquery.into()),
        None => Err(RefuseReason::SessionState.into()),
    }
}
