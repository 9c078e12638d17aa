//! Definitions: CREATE, ALTER, DROP, TRUNCATE of tables and indexes.
//!
//! Owns what a definition may say of a sharded table so that one MySQL would mean the same: keys that are unique on each
//! shard must be unique in all.

use dbmesh_model::topology::sharding::ShardedTable;
use dbmesh_sql::ast::{Body, CreateTable, KeyKind, MentionRole};
use dbmesh_sql::{Lexer, Span, StatementKind, TokenKind};

pub(super) use self::constraint::Words;
use super::locality;
use super::reason::{RefuseReason, Stop};
use super::rewrite;
use super::route::Target;
use super::scope::{Place, Scope, Use};
use super::{Clock, Gives, ShardPlan, read, write};

mod constraint;

/// The plan of a definition.
pub(super) fn plan(scope: &Scope<'_>) -> Result<ShardPlan, Stop> {
    let mut sources = Vec::new();
    for table in &scope.uses {
        if let Place::Single(source) = table.place {
            sources.push(source);
        }
    }
    if sources.len() == scope.uses.len() {
        let source = sources.first().copied();
        return match sources.iter().all(|other| Some(*other) == source) {
            true => {
                let source = source.or(scope.input.sharding.default_source).unwrap_or(0);
                single(scope, source)
            }
            false => Err(RefuseReason::MixedTables.into()),
        };
    }
    let parsed = scope.ast.statement();
    if parsed.flags.temporary {
        return Err(RefuseReason::TemporaryTable.into());
    }
    let renames = |table: &Use<'_>| table.role == Some(MentionRole::RenamedTo);
    if parsed.kind == StatementKind::RenameTable || scope.uses.iter().any(renames) {
        return Err(RefuseReason::Rename.into());
    }
    let created = match parsed.body {
        Body::CreateTable(create) => scope.ast.node(create),
        _ => None,
    };
    if created.is_some_and(|create| create.query.is_some()) {
        return Err(RefuseReason::CreateSelect.into());
    }
    if !sources.is_empty() {
        return Err(RefuseReason::MixedTables.into());
    }
    let subject = |table: &&Use<'_>| {
        !matches!(
            table.role,
            Some(MentionRole::Referenced | MentionRole::Read) | None
        )
    };
    let named = created.and_then(|create| scope.use_of_name(scope.ast.node(create.table)?.name));
    let subjects: Vec<&Use<'_>> = match named.and_then(|place| scope.uses.get(place)) {
        Some(table) => vec![table],
        None => scope.uses.iter().filter(subject).collect(),
    };
    let sharded: Vec<&ShardedTable> = subjects.iter().filter_map(|t| t.sharded()).collect();
    match sharded.as_slice() {
        [] => copies(scope),
        all if all.len() < subjects.len() => Err(RefuseReason::MixedTables.into()),
        [first, others @ ..] => {
            if others.iter().any(|other| !alike(first, other)) {
                return Err(RefuseReason::MixedTables.into());
            }
            shards(scope, first, created)
        }
    }
}

/// Shard for shard at the same source.
fn alike(one: &ShardedTable, other: &ShardedTable) -> bool {
    let sources = |table: &ShardedTable| -> Vec<usize> {
        table.shards.iter().map(|shard| shard.source).collect()
    };
    sources(one) == sources(other)
}

pub(super) fn single(scope: &Scope<'_>, source: usize) -> Result<ShardPlan, Stop> {
    let target = Target {
        source,
        shards: vec![None; scope.uses.len()],
    };
    Ok(ShardPlan::Single(rewrite::statement(scope, &target, &[])?))
}

fn copies(scope: &Scope<'_>) -> Result<ShardPlan, Stop> {
    if scope.uses.iter().any(|table| table.sharded().is_some()) {
        return Err(RefuseReason::ForeignKey.into());
    }
    if says(scope, "auto_increment") {
        return Err(RefuseReason::AutoIncrement.into());
    }
    write::everywhere(scope, &[])
}

fn shards(
    scope: &Scope<'_>,
    table: &ShardedTable,
    created: Option<&CreateTable>,
) -> Result<ShardPlan, Stop> {
    let crowded = table.shards.iter().enumerate().any(|(place, shard)| {
        let mut before = table.shards.iter().take(place);
        before.any(|other| other.source == shard.source)
    });
    let words = Words::of(scope);
    match created {
        Some(create) if create.like.is_none() => fits(scope, table, create, &words)?,
        Some(_) => {}
        None => fits_by_words(scope, table, &words)?,
    }
    let named = words.names();
    let mut statements = Vec::new();
    for shard in 0..table.shards.len() {
        for other in scope.uses.iter().filter_map(|other| other.sharded()) {
            if !alike(table, other) {
                return Err(RefuseReason::MixedTables.into());
            }
        }
        let target = read::target(scope, shard)?;
        let names = constraint::for_shard(scope, table, &named, (shard, crowded))?;
        statements.push(rewrite::statement(scope, &target, &names)?);
    }
    Ok(ShardPlan::Broadcast {
        statements,
        gives: Gives::Counts,
        clock: Clock::Read,
    })
}

/// Whether keys of these columns tell rows apart in all shards: of a collation, equal texts may be on different ones.
fn covers(table: &ShardedTable, columns: &[String]) -> bool {
    locality::is_exact(table) && table.key_columns().all(|key| columns.contains(&key.name))
}

/// What CREATE TABLE says of its keys.
fn fits(
    scope: &Scope<'_>,
    table: &ShardedTable,
    create: &CreateTable,
    words: &Words<'_, '_>,
) -> Result<(), Stop> {
    let ast = scope.ast;
    let generated = |column: &str| {
        let generator = table.key_generator.as_ref();
        generator.is_some_and(|generator| generator.column == column)
    };
    for column in ast.list(create.columns) {
        let name = scope.lower(column.name);
        if column.auto_increment && !generated(&name) {
            return Err(RefuseReason::AutoIncrement.into());
        }
        if (column.primary || column.unique) && !covers(table, std::slice::from_ref(&name)) {
            return Err(RefuseReason::UniqueKey.into());
        }
    }
    let mut proved = 0;
    for key in ast.list(create.keys) {
        let columns: Vec<String> = ast
            .list(key.columns)
            .iter()
            .map(|name| scope.lower(name.name))
            .collect();
        match key.kind {
            KeyKind::Primary | KeyKind::Unique if !covers(table, &columns) => {
                return Err(RefuseReason::UniqueKey.into());
            }
            KeyKind::Foreign => {
                let referenced = key.references.and_then(|table| ast.node(table));
                let place = referenced.and_then(|table| scope.use_of_name(table.name));
                let other = place.and_then(|place| scope.uses.get(place));
                let local = match other.map(|other| other.place) {
                    Some(Place::Broadcast) => true,
                    Some(Place::Sharded(other)) => {
                        proved += 1;
                        let parents = parent_columns(scope, key.span);
                        locality::bound(table, other) && pairs(table, &columns, other, &parents)
                    }
                    _ => false,
                };
                if !local {
                    return Err(RefuseReason::ForeignKey.into());
                }
            }
            _ => {}
        }
    }
    // REFERENCES may stand at a column as well, of which the tree holds the table only.
    let refers =
        |other: &&Use<'_>| other.role == Some(MentionRole::Referenced) && other.sharded().is_some();
    match scope.uses.iter().filter(refers).count() != proved || words.assigns_keys(table) {
        true => Err(RefuseReason::ForeignKey.into()),
        false => Ok(()),
    }
}

/// Whether a foreign key pairs the whole keys of both tables.
fn pairs(
    table: &ShardedTable,
    columns: &[String],
    parent: &ShardedTable,
    parents: &[String],
) -> bool {
    let mut keys = table.key_columns().zip(parent.key_columns());
    keys.all(|(key, with)| {
        let mut pairs = columns.iter().zip(parents);
        pairs.any(|(column, of)| *column == key.name && *of == with.name)
    })
}

/// The columns in the parentheses after REFERENCES.
fn parent_columns(scope: &Scope<'_>, key: Span) -> Vec<String> {
    let sql = scope.text(key);
    let mut tokens = Lexer::new(sql, scope.input.dialect)
        .skip_while(|token| !token.span.of(sql).eq_ignore_ascii_case(b"references"))
        .skip_while(|token| token.kind != TokenKind::Open);
    tokens.next();
    tokens
        .take_while(|token| token.kind != TokenKind::Close)
        .filter(|token| matches!(token.kind, TokenKind::Word | TokenKind::QuotedName))
        .map(|token| {
            let text = String::from_utf8_lossy(token.span.of(sql)).to_lowercase();
            text.trim_matches('`').to_owned()
        })
        .collect()
}

/// What ALTER and CREATE INDEX say of keys, of which the tree holds nothing: by their words.
fn fits_by_words(
    scope: &Scope<'_>,
    table: &ShardedTable,
    definition: &Words<'_, '_>,
) -> Result<(), Stop> {
    let kind = scope.ast.statement().kind;
    if !matches!(kind, StatementKind::AlterTable | StatementKind::CreateIndex) {
        return Ok(());
    }
    if says(scope, "auto_increment") || says(scope, "serial") {
        return Err(RefuseReason::AutoIncrement.into());
    }
    if says(scope, "exchange") {
        return Err(RefuseReason::MixedTables.into());
    }
    definition.fit(table)?;
    let words = words(scope);
    let changes = ["change", "modify", "drop", "rename"];
    let changes = words.iter().any(|word| changes.contains(&word.as_str()));
    // Behind AFTER a column is only a place.
    let before = std::iter::once("").chain(words.iter().map(String::as_str));
    let subjects = words.iter().zip(before);
    let subjects = subjects.filter(|(_, before)| *before != "after");
    let subjects: Vec<&String> = subjects.map(|(word, _)| word).collect();
    let touches = |key: &str| subjects.iter().any(|word| *word == key);
    if kind == StatementKind::AlterTable
        && changes
        && table.key_columns().any(|key| touches(&key.name))
    {
        return Err(RefuseReason::KeyUpdate.into());
    }
    Ok(())
}

/// Words and names of the statement, in lower case.
fn words(scope: &Scope<'_>) -> Vec<String> {
    let sql = scope.text(scope.ast.statement().span);
    Lexer::new(sql, scope.input.dialect)
        .filter(|token| matches!(token.kind, TokenKind::Word | TokenKind::QuotedName))
        .map(|token| {
            let text: &[u8] = Span::of(token.span, sql);
            let text = String::from_utf8_lossy(text).to_lowercase();
            text.trim_matches('`').to_owned()
        })
        .collect()
}

fn says(scope: &Scope<'_>, word: &str) -> bool {
    words(scope).iter().any(|said| said == word)
}
