//! The text for a node: splices over the client's bytes.
//!
//! Owns how names become physical. A table gets its logical name as alias, so that columns, hints and the names of result
//! columns stay as they were; where no alias can stand, qualifiers are replaced. Must never print an expression again: what
//! is added is copied from the text.

use dbmesh_sql::ast::{
    Assignment, Body, Call, ColumnName, CommonTable, Delete, Expr, ExprKind, Id, InsertSource,
    Name, Query, SelectItem, SelectItemKind, TableRef, TableRefKind,
};
use dbmesh_sql::{Span, literal};

use super::NodeStatement;
use super::dictionary;
use super::reason::{RefuseReason, Stop};
use super::route::Target;
use super::scope::{Answers, Place, Scope, Use};
use super::write;

/// Longest name that servers make of a column's text.
const NAME_BYTES_MAX: usize = 256;

/// One change: this text instead of that span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splice {
    /// What is replaced; empty for an insertion.
    pub span: Span,
    /// The text.
    pub text: Vec<u8>,
    /// The parameters that the text has, in order.
    pub parameters: Vec<u32>,
}

impl Splice {
    pub(super) fn text(span: Span, text: impl Into<Vec<u8>>) -> Self {
        Self {
            span,
            text: text.into(),
            parameters: Vec::new(),
        }
    }

    pub(super) fn insert(at: usize, text: impl Into<Vec<u8>>) -> Self {
        Self::text(Span { start: at, end: at }, text)
    }
}

/// A text with its parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// The text.
    pub text: Vec<u8>,
    /// Which of the client's parameters stand in it, in order.
    pub parameters: Vec<u32>,
}

impl Copied {
    /// Adds words without parameters.
    pub fn push(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    /// Adds words with theirs.
    pub fn append(&mut self, other: Self) {
        self.text.extend(other.text);
        self.parameters.extend(other.parameters);
    }

    pub(super) fn splice(self, span: Span) -> Splice {
        Splice {
            span,
            text: self.text,
            parameters: self.parameters,
        }
    }
}

/// A part of the text with the splices inside of it, which do not overlap.
pub(super) fn copy(scope: &Scope<'_>, span: Span, splices: &[Splice]) -> Copied {
    let mut inside: Vec<&Splice> = splices
        .iter()
        .filter(|splice| span.start <= splice.span.start && splice.span.end <= span.end)
        .collect();
    inside.sort_by_key(|splice| (splice.span.start, splice.span.end));
    let mut marks: Vec<(usize, u32)> = scope
        .ast
        .all::<Expr>()
        .iter()
        .filter_map(|expr| match expr.kind {
            ExprKind::Parameter(ordinal) => Some((expr.span.start, ordinal)),
            _ => None,
        })
        .collect();
    marks.sort_unstable();
    let mut copied = Copied::default();
    let mut at = span.start;
    let take = |from: usize, to: usize, copied: &mut Copied| {
        copied.push(
            Span {
                start: from,
                end: to,
            }
            .of(scope.input.sql),
        );
        let between = marks.iter().filter(|(at, _)| (from..to).contains(at));
        copied
            .parameters
            .extend(between.map(|(_, ordinal)| *ordinal));
    };
    for splice in inside {
        take(at, splice.span.start, &mut copied);
        copied.push(&splice.text);
        copied.parameters.extend(&splice.parameters);
        at = splice.span.end;
    }
    take(at, span.end, &mut copied);
    copied
}

/// What tables are called where the statement runs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Naming<'a> {
    /// By the shards of a target.
    Target(&'a Target),
    /// By these names; none where a table keeps its own.
    Scratch(&'a [Option<String>]),
}

impl Naming<'_> {
    /// The name of a use; none if it has no other than its logical one.
    fn of<'t>(&'t self, table: &'t Use<'_>, place: usize) -> Option<&'t str> {
        match self {
            Self::Target(target) => {
                let shard = target.shards.get(place).copied().flatten()?;
                Some(table.sharded()?.shards.get(shard)?.table.as_str())
            }
            Self::Scratch(names) => names.get(place)?.as_deref(),
        }
    }
}

/// The text for a target, with its names and what else changes.
pub(super) fn statement(
    scope: &Scope<'_>,
    target: &Target,
    more: &[Splice],
) -> Result<NodeStatement, Stop> {
    let copied = text(scope, Naming::Target(target), more)?;
    Ok(NodeStatement {
        source: target.source,
        shard: target.shard(),
        sql: copied.text,
        parameters: copied.parameters,
        tables: renamed(scope, target),
        rows: Vec::new(),
    })
}

/// The tables whose names change.
fn renamed(scope: &Scope<'_>, target: &Target) -> Vec<(String, String)> {
    let naming = Naming::Target(target);
    let mut found: Vec<(String, String)> = Vec::new();
    for (place, table) in scope.uses.iter().enumerate() {
        if let Some(name) = naming.of(table, place)
            && name != table.table
            && found.iter().all(|(known, _)| known != name)
        {
            found.push((name.to_owned(), table.table.clone()));
        }
    }
    found
}

/// The text with other names, and what else changes.
pub(super) fn text(scope: &Scope<'_>, naming: Naming<'_>, more: &[Splice]) -> Result<Copied, Stop> {
    let mut splices = splices(scope, naming, Vec::new())?;
    splices.extend_from_slice(more);
    Ok(copy(scope, whole(scope), &splices))
}

pub(super) fn whole(scope: &Scope<'_>) -> Span {
    Span {
        start: 0,
        end: scope.input.sql.len(),
    }
}

/// What changes with the names of tables, and with these other names.
pub(super) fn splices(
    scope: &Scope<'_>,
    naming: Naming<'_>,
    renamed: Vec<Splice>,
) -> Result<Vec<Splice>, Stop> {
    let mut splices = names(scope, naming)?;
    splices.extend(qualifiers(scope)?);
    splices.extend(renamed);
    splices.extend(schema_calls(scope));
    let aliases = aliases(scope, &splices)?;
    splices.extend(aliases);
    Ok(splices)
}

/// What changes, if none of it depends on a literal of the text.
pub(super) fn fixed(scope: &Scope<'_>, naming: Naming<'_>) -> Option<Vec<Splice>> {
    let mut splices = names(scope, naming).ok()?;
    splices.extend(qualifiers(scope).ok()?);
    let calls = schema_calls(scope);
    // The schema that the session has chosen is no part of what is remembered.
    if !calls.is_empty() && !scope.input.in_schema {
        return None;
    }
    splices.extend(calls);
    let aliases = aliases(scope, &splices).ok()?;
    aliases.is_empty().then_some(splices)
}

/// The server calls a column after its text: where that changes, the old one becomes an alias.
fn aliases(scope: &Scope<'_>, changes: &[Splice]) -> Result<Vec<Splice>, Stop> {
    let mut found = Vec::new();
    for item in scope.ast.all::<SelectItem>() {
        let SelectItemKind::Expr(expr) = item.kind else {
            continue;
        };
        let inside = |splice: &Splice| {
            item.span.start <= splice.span.start && splice.span.end <= item.span.end
        };
        let bare = dbmesh_sql::parsed::column(scope.ast, expr).is_some();
        if item.alias.is_some() || bare || !changes.iter().any(inside) {
            continue;
        }
        let Some(name) = made_name(scope.text(item.span), scope.input.utf8) else {
            match is_seen(scope, item.span) {
                true => return Err(RefuseReason::ColumnName.into()),
                false => continue,
            }
        };
        let mut alias = b" AS ".to_vec();
        alias.extend(literal::quote_identifier(&name));
        found.push(Splice::insert(item.span.end, alias));
    }
    Ok(found)
}

/// What servers call a column of this text, as an alias; none where an alias cannot say it.
fn made_name(text: &[u8], utf8: bool) -> Option<Vec<u8>> {
    let has = |sign: &[u8]| text.windows(sign.len()).any(|window| window == sign);
    // Comments are no part of the name, and a longer one is cut.
    let comments = has(b"/*") || has(b"--") || has(b"#");
    if text.len() > NAME_BYTES_MAX || comments {
        return None;
    }
    if text.is_ascii() {
        return Some(text.to_vec());
    }
    let text = std::str::from_utf8(text).ok().filter(|_| utf8)?;
    // Names have no characters of four bytes.
    let in_names = |c: char| if c > '\u{FFFF}' { '?' } else { c };
    let name: String = text.chars().map(in_names).collect();
    Some(name.into_bytes())
}

/// Whether anybody sees what a column is called: not in a sub-query that is a value, nor where rows only go on.
fn is_seen(scope: &Scope<'_>, item: Span) -> bool {
    let ast = scope.ast;
    let around = |query: Id<Query>| {
        let span = ast.node(query)?.span;
        let around = span.start <= item.start && item.end <= span.end;
        around.then_some(span.end - span.start)
    };
    let values = ast.all::<Expr>().iter();
    let value = values.filter_map(|expr| match expr.kind {
        ExprKind::Subquery(query)
        | ExprKind::Exists(query)
        | ExprKind::Quantified { query, .. } => around(query),
        _ => None,
    });
    let derived = ast.all::<TableRef>().iter();
    let derived = derived.filter_map(|table| match table.kind {
        TableRefKind::Derived { query, .. } => around(query),
        _ => None,
    });
    let common = ast.all::<CommonTable>().iter();
    let common = common.filter_map(|table| around(table.query));
    match (value.min(), derived.chain(common).min()) {
        (Some(value), Some(named)) => named < value,
        (Some(_), None) => false,
        (None, Some(_)) => true,
        (None, None) => match ast.statement().body {
            Body::Insert(insert) => {
                // What RETURNING gives stands behind the query.
                let source = ast.node(insert).map(|insert| insert.source);
                !matches!(source, Some(InsertSource::Query(query)) if around(query).is_some())
            }
            _ => scope.answers == Answers::Client,
        },
    }
}

/// A name as it may stand in the text: in backquotes unless it cannot be a word of the grammar, none of which has both `_`
/// and a digit.
pub(super) fn quoted(name: &str) -> Vec<u8> {
    let mut text = Vec::new();
    push_quoted(name, &mut text);
    text
}

/// Names of columns, as a list of them has them.
pub(super) fn listed(columns: &[String]) -> Vec<u8> {
    let names = columns
        .iter()
        .map(|name| literal::quote_identifier(name.as_bytes()));
    names.collect::<Vec<_>>().join(&b", "[..])
}

/// Whether a name stands in a text as it is: no word of the grammar has both an underscore and a digit.
pub(super) fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.contains('_')
        && name.contains(|c: char| c.is_ascii_digit())
}

pub(super) fn push_quoted(name: &str, text: &mut Vec<u8>) {
    match is_plain(name) {
        true => text.extend_from_slice(name.as_bytes()),
        false => text.extend(literal::quote_identifier(name.as_bytes())),
    }
}

fn names(scope: &Scope<'_>, naming: Naming<'_>) -> Result<Vec<Splice>, Stop> {
    let mut splices = Vec::new();
    for (place, table) in scope.uses.iter().enumerate() {
        let name = match naming.of(table, place) {
            Some(name) if name != table.table => name,
            _ if matches!(table.place, Place::Dictionary(_)) => {
                // That schema is at every node, and the connection is in another.
                if table.name.qualifier.is_none() {
                    let schema = format!("{}.", dictionary::SCHEMA);
                    splices.push(Splice::insert(table.name.span.start, schema));
                }
                continue;
            }
            _ => {
                // The logical schema is not that of the node.
                if table.name.qualifier.is_some() {
                    let span = Span {
                        start: table.name.span.start,
                        end: table.name.name.start,
                    };
                    splices.push(Splice::text(span, ""));
                }
                continue;
            }
        };
        splices.push(Splice::text(table.name.span, quoted(name)));
        let Some(reference) = table.table_ref.and_then(|id| scope.ast.node(id)) else {
            splices.extend(requalified(scope, table, name)?);
            continue;
        };
        if table.aliased {
            continue;
        }
        if deletes_plainly(scope) && table.block == scope.top() {
            splices.extend(requalified(scope, table, name)?);
            continue;
        }
        let mut alias = b" AS ".to_vec();
        alias.extend_from_slice(scope.text(table.name.name));
        splices.push(Splice::insert(alias_place(reference, table), alias));
    }
    Ok(splices)
}

/// After the name and what belongs to it: partitions, and which of its past.
fn alias_place(reference: &TableRef, table: &Use<'_>) -> usize {
    match reference.kind {
        TableRefKind::Table { alias_at, .. } => alias_at,
        _ => table.name.span.end,
    }
}

/// DELETE of one table takes an alias in newer servers only.
fn deletes_plainly(scope: &Scope<'_>) -> bool {
    delete(scope).is_some_and(|delete| delete.targets.is_empty())
}

pub(super) fn delete<'a>(scope: &Scope<'a>) -> Option<&'a Delete> {
    match scope.ast.statement().body {
        Body::Delete(delete)
        | Body::Explain {
            body: dbmesh_sql::ast::ExplainedBody::Delete(delete),
            ..
        } => scope.ast.node(delete),
        _ => None,
    }
}

/// The physical name in place of the logical one before columns, where no alias keeps it.
fn requalified(scope: &Scope<'_>, table: &Use<'_>, name: &str) -> Result<Vec<Splice>, Stop> {
    let mut found = Vec::new();
    // A query whose rows are inserted does not see the table that they come to.
    let query = scope.inserts().and_then(|insert| match insert.source {
        InsertSource::Query(query) => Some(scope.ast.node(query)?.span),
        _ => None,
    });
    let elsewhere =
        |at: Span| query.is_some_and(|query| query.start <= at.start && at.end <= query.end);
    let means = |column: &Name| {
        column.qualifier.is_some_and(|qualifier| {
            scope.lower(qualifier) == table.exposed && !elsewhere(qualifier)
        })
    };
    let assigned = scope.ast.all::<Assignment>().iter().map(|a| a.column);
    let inserted = scope.inserts().map(|i| scope.ast.list(i.columns));
    let read = scope
        .ast
        .all::<ColumnName>()
        .iter()
        .map(|column| column.name);
    let reads = read.clone().any(|column| means(&column));
    let names = read
        .chain(assigned)
        .chain(inserted.into_iter().flatten().copied());
    for column in names.filter(means) {
        if let Some(qualifier) = column.qualifier {
            found.push(Splice::text(qualifier, quoted(name)));
        }
    }
    found.sort_by_key(|splice| splice.span.start);
    found.dedup();
    let hides = |other: &&Use<'_>| {
        other.table_ref.is_some()
            && other.table_ref != table.table_ref
            && other.exposed == table.exposed
    };
    // What is assigned is the table's own.
    if reads && scope.uses.iter().any(|other| hides(&other)) {
        return Err(RefuseReason::AmbiguousName.into());
    }
    // Without its alias, the server would refuse to read the table that is changed; with it, it would not.
    let again = |other: &Use<'_>| {
        other.table_ref.is_some()
            && other.table_ref != table.table_ref
            && other.table == table.table
            && !other.aliased
            && !other
                .block
                .is_some_and(|block| write::in_derived(scope, block))
    };
    let from_query = scope
        .inserts()
        .is_some_and(|insert| matches!(insert.source, InsertSource::Query(_)));
    match scope.uses.iter().any(again) && !from_query {
        true => Err(RefuseReason::TargetRead.into()),
        false => Ok(found),
    }
}

/// What DATABASE() gives, where the schema has another name at a source.
fn schema_calls(scope: &Scope<'_>) -> Vec<Splice> {
    let own = scope.input.schema.filter(|_| scope.input.in_schema);
    let endpoints = || {
        scope
            .input
            .sharding
            .sources
            .iter()
            .flat_map(|s| &s.endpoints)
    };
    let mut theirs = endpoints().filter_map(|endpoint| endpoint.schema.as_deref());
    if own.is_some_and(|schema| theirs.all(|theirs| theirs == schema)) {
        return Vec::new();
    }
    // Nodes execute it in their own schema, whichever the session has chosen.
    let value = match own.or(scope.input.chosen) {
        Some(schema) => {
            literal::quote_literal(schema.as_bytes(), scope.input.dialect.no_backslash_escapes)
        }
        None => b"NULL".to_vec(),
    };
    // Of the function's own type, whatever length servers give it, and as able to be NULL.
    let value = [
        b"IF(DATABASE() IS NULL, DATABASE(), ",
        value.as_slice(),
        b")",
    ]
    .concat();
    schema_functions(scope)
        .map(|call| Splice::text(call.span, value.clone()))
        .collect()
}

/// Calls of DATABASE() and SCHEMA().
pub(super) fn schema_functions<'a>(scope: &Scope<'a>) -> impl Iterator<Item = &'a Call> {
    let asks = |call: &&Call| {
        let name = scope.lower(call.name.name);
        call.name.qualifier.is_none()
            && call.arguments.is_empty()
            && matches!(name.as_str(), "database" | "schema")
    };
    scope.ast.all::<Call>().iter().filter(asks)
}

/// Takes the logical schema away from columns and stars.
pub(super) fn qualifiers(scope: &Scope<'_>) -> Result<Vec<Splice>, Stop> {
    let mut splices = Vec::new();
    let mut strip = |name: Name| -> Result<(), Stop> {
        let (Some(schema), Some(table)) = (name.schema, name.qualifier) else {
            return Ok(());
        };
        if scope.input.schema != Some(&*scope.name(schema)) && !scope.is_dictionary(schema) {
            return Err(RefuseReason::ForeignSchema.into());
        }
        let span = Span {
            start: schema.start,
            end: table.start,
        };
        splices.push(Splice::text(span, ""));
        Ok(())
    };
    for column in scope.ast.all::<ColumnName>() {
        strip(column.name)?;
    }
    for assignment in scope.ast.all::<Assignment>() {
        strip(assignment.column)?;
    }
    for insert in scope.ast.all::<dbmesh_sql::ast::Insert>() {
        for column in scope.ast.list(insert.columns) {
            strip(*column)?;
        }
    }
    let mut stars = Vec::new();
    for item in scope.ast.all::<SelectItem>() {
        match item.kind {
            SelectItemKind::TableStar(name) => stars.push(name),
            SelectItemKind::Star | SelectItemKind::Expr(_) => {}
        }
    }
    for delete in scope.ast.all::<Delete>() {
        stars.extend(scope.ast.list(delete.targets));
    }
    // `db.t.*` and the targets of DELETE have a schema as qualifier.
    for name in stars {
        if let Some(schema) = name.qualifier {
            if scope.input.schema != Some(&*scope.name(schema)) && !scope.is_dictionary(schema) {
                return Err(RefuseReason::ForeignSchema.into());
            }
            let span = Span {
                start: schema.start,
                end: name.name.start,
            };
            splices.push(Splice::text(span, ""));
        }
    }
    splices.sort_by_key(|splice| (splice.span.start, splice.span.end));
    splices.dedup();
    Ok(splices)
}
