//! information_schema, and SHOW of names, under the names that clients know.
//!
//! Owns which views a statement reads, what of them matters to it, and the text that runs over them. The rows are pulled
//! from every node, put together by [`mapping`], and finished by one server, whose own types and rules the answer then has.
//! Must never let a statement read a node's own view of tables. Input: a statement all of whose tables are such views.

pub mod definition;
pub mod mapping;
pub(super) mod numbered;
mod show;
pub(super) mod views;

use std::collections::BTreeSet;

use dbmesh_sql::ast::{BinaryOp, Body, ExplainedBody, ExprId, ExprKind, Name};
use dbmesh_sql::parsed::{self, Operand, Predicate};
use dbmesh_sql::{Flavor, StatementKind as Kind, literal};

use super::gather::{self, common};
use super::reason::{RefuseReason, Stop};
use super::rewrite::{self, Naming};
use super::scope::{Place, Scope, Use};
use super::value::Parameter;
use super::{NodeStatement, ShardPlan, locality, route};

pub(super) use show::query as query_of_show;
pub use views::{RowsOf, View};

/// The schema of the views.
pub(super) const SCHEMA: &str = "information_schema";

/// A statement over views of information_schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dictionary {
    /// The views whose rows are pulled.
    pub readings: Vec<Reading>,
    /// The statement over them, at the node that also tells what all nodes have.
    pub finish: NodeStatement,
    /// The statement over that node's own views, which says what its columns are.
    pub described: NodeStatement,
}

/// One use of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The view.
    pub view: &'static View,
    /// The name of its temporary table.
    pub scratch: String,
    /// What is looked at, in lower case; none: all columns.
    pub columns: Option<BTreeSet<String>>,
    /// The tables that matter, as they were written; none: all.
    pub tables: Option<BTreeSet<String>>,
    /// Whether their names are taken to the letter: MariaDB looks one table up before it compares.
    pub to_the_letter: bool,
    /// Whether rows of the servers' own schemas matter.
    pub system: bool,
}

impl Reading {
    /// What counts in the indexes of a table.
    pub fn cardinality(table: &str) -> Option<Self> {
        let columns = ["index_name", "seq_in_index", "cardinality"];
        Some(Self {
            view: views::of_name("STATISTICS")?,
            scratch: String::new(),
            columns: Some(columns.map(str::to_owned).into()),
            tables: Some([table.to_owned()].into()),
            to_the_letter: false,
            system: false,
        })
    }

    /// Whether a table of the client's matters.
    pub fn wants(&self, table: &str) -> bool {
        let Some(tables) = &self.tables else {
            return true;
        };
        if self.to_the_letter {
            return tables.contains(table);
        }
        // Other letters may be equal by a collation.
        !table.is_ascii() || tables.iter().any(|name| name.eq_ignore_ascii_case(table))
    }

    /// Columns that are pulled, of these that the view has.
    pub fn columns_of(&self, all: &[String]) -> Vec<String> {
        let Some(columns) = &self.columns else {
            return all.to_vec();
        };
        let own = self.view.own_columns(&|name| columns.contains(name));
        let wanted = |name: &&String| {
            columns.contains(&name.to_lowercase()) || own.contains(&name.to_uppercase().as_str())
        };
        all.iter().filter(wanted).cloned().collect()
    }

    /// Whether rows of all shards of a table matter, for their sums.
    pub fn adds(&self, columns: &[String]) -> bool {
        let mut adding = self.view.sums.iter().chain(self.view.latest);
        adding.any(|adding| columns.iter().any(|name| name.eq_ignore_ascii_case(adding)))
    }
}

/// The plan of a statement that reads such views; none if it reads none.
pub(super) fn plan(scope: &Scope<'_>) -> Option<Result<ShardPlan, Stop>> {
    reads(scope).then(|| match scope.facts.kind {
        // What columns the views have, any server tells.
        Kind::Show | Kind::Describe => over_own_views(scope).map(ShardPlan::Single),
        _ => dictionary(scope).map(|d| ShardPlan::Dictionary(Box::new(d))),
    })
}

fn reads(scope: &Scope<'_>) -> bool {
    let mut uses = scope.uses.iter();
    uses.any(|table| matches!(table.place, Place::Dictionary(_)))
}

/// The node that tells what all have, and finishes.
fn home(scope: &Scope<'_>) -> usize {
    scope.input.sharding.default_source.unwrap_or(0)
}

/// The statement for who asks what its columns are: over the views of one node.
pub(super) fn described(scope: &Scope<'_>) -> Option<Result<NodeStatement, Stop>> {
    reads(scope).then(|| {
        if !matches!(scope.facts.kind, Kind::Show | Kind::Describe) {
            check(scope)?;
        }
        over_own_views(scope)
    })
}

/// The statement over a node's own views.
fn over_own_views(scope: &Scope<'_>) -> Result<NodeStatement, Stop> {
    let text = rewrite::text(scope, Naming::Scratch(&[]), &[])?;
    Ok(node(scope, text.text, text.parameters, Vec::new()))
}

fn node(
    scope: &Scope<'_>,
    sql: Vec<u8>,
    parameters: Vec<u32>,
    tables: Vec<(String, String)>,
) -> NodeStatement {
    NodeStatement {
        source: home(scope),
        shard: None,
        sql,
        parameters,
        tables,
        rows: Vec::new(),
    }
}

fn check(scope: &Scope<'_>) -> Result<(), Stop> {
    let body = scope.ast.statement().body;
    let explains = matches!(
        body,
        Body::Explain {
            body: ExplainedBody::Query(_),
            ..
        }
    );
    if explains {
        return Err(RefuseReason::Explain.into());
    }
    if !matches!(scope.facts.kind, Kind::Select | Kind::Table | Kind::Values) {
        return Err(RefuseReason::SystemSchema.into());
    }
    if !scope.facts.tables_known {
        return Err(RefuseReason::Routine.into());
    }
    let views = |table: &Use<'_>| matches!(table.place, Place::Dictionary(_));
    if !scope.uses.iter().all(views) {
        return Err(RefuseReason::MixedSchemas.into());
    }
    gather::check_state(scope, gather::Local::Allowed)
}

fn dictionary(scope: &Scope<'_>) -> Result<Dictionary, Stop> {
    check(scope)?;
    let pulled: Vec<bool> = scope.uses.iter().map(is_pulled).collect();
    let expanded = common::expand(scope, &pulled)?;
    let (names, scratches) = gather::scratches(scope, &pulled, expanded.as_ref());
    let reading = |(place, scratch): &(usize, String)| {
        let table = scope.uses.get(*place)?;
        let Place::Dictionary(view) = table.place else {
            return None;
        };
        let (tables, system) = restriction(scope, *place, table, view);
        let mariadb = scope.input.dialect.flavor == Flavor::MariaDb;
        Some(Reading {
            view,
            scratch: scratch.clone(),
            columns: gather::columns(scope, *place, table),
            to_the_letter: mariadb && tables.as_ref().is_some_and(|tables| tables.len() == 1),
            tables,
            system,
        })
    };
    let readings = scratches.iter().filter_map(reading).collect();
    let finish = gather::finish(scope, home(scope), &names, &scratches, expanded)?;
    Ok(Dictionary {
        readings,
        finish,
        described: over_own_views(scope)?,
    })
}

fn is_pulled(table: &Use<'_>) -> bool {
    matches!(table.place, Place::Dictionary(view) if view.rows != RowsOf::Server)
}

/// The tables that a use may look at, and whether it may look at the servers' own schemas.
fn restriction(
    scope: &Scope<'_>,
    place: usize,
    table: &Use<'_>,
    view: &View,
) -> (Option<BTreeSet<String>>, bool) {
    let (mut tables, mut system) = (None, true);
    let Some(block) = table.block.filter(|block| !scope.nullable(*block, place)) else {
        return (tables, system);
    };
    let mut terms = Vec::new();
    for expr in route::certain(scope, block) {
        locality::conjuncts(scope, expr, &mut terms);
    }
    let only = scope.blocks.get(block).map_or(0, |b| b.leaves.len()) == 1;
    let is = |name: Name, column: Option<&&str>| {
        let ours = match name.qualifier {
            Some(_) => scope.column(block, name) == Some(place),
            None => only,
        };
        ours && column.is_some_and(|column| scope.lower(name.name) == column.to_lowercase())
    };
    for term in terms {
        let (column, values) = match compared(scope, term) {
            Some(compared) => compared,
            None => continue,
        };
        if is(column, view.schemas.first()) {
            system &= values.iter().any(|value| mapping::is_system(value));
        } else if is(column, view.tables.first()) {
            tables = Some(values.into_iter().collect());
        }
    }
    (tables, system)
}

/// A column, and the texts, in any letters, of which it has to be one.
fn compared(scope: &Scope<'_>, term: ExprId) -> Option<(Name, Vec<String>)> {
    let ast = scope.ast;
    match parsed::predicate(ast, term) {
        Predicate::Compare {
            column,
            op: BinaryOp::Equal,
            value,
        } => Some((column, vec![text(scope, value)?])),
        Predicate::In {
            column,
            values,
            negated: false,
        } => {
            let texts = values
                .iter()
                .map(|value| match parsed::operand(ast, *value) {
                    Some(operand) => text(scope, operand),
                    None => chosen(scope, *value),
                });
            Some((column, texts.collect::<Option<_>>()?))
        }
        _ => {
            let ExprKind::Binary {
                op: BinaryOp::Equal,
                left,
                right,
            } = ast.expr(term)?.kind
            else {
                return None;
            };
            let column = parsed::column(ast, left).map(|column| (column, right));
            let (column, value) =
                column.or_else(|| parsed::column(ast, right).map(|column| (column, left)))?;
            Some((column, vec![chosen(scope, value)?]))
        }
    }
}

/// The session's schema, where the expression is DATABASE().
fn chosen(scope: &Scope<'_>, value: ExprId) -> Option<String> {
    let span = scope.ast.expr(value)?.span;
    let mut calls = rewrite::schema_functions(scope);
    let chosen = calls.any(|call| call.span == span);
    let schema = scope.input.schema.filter(|_| scope.input.in_schema);
    schema
        .or(scope.input.chosen)
        .filter(|_| chosen)
        .map(str::to_owned)
}

/// A text that compares as it is written, but for letters: ASCII without blanks behind.
fn text(scope: &Scope<'_>, value: Operand) -> Option<String> {
    let text = match value {
        Operand::Literal(_, span) => {
            literal::decode_span(scope.input.sql, span, scope.input.dialect)?
        }
        Operand::Parameter(number, _) => {
            let number = usize::try_from(number).ok()?;
            match scope.input.parameters?.get(number)? {
                Parameter::Text(text) => text.clone(),
                _ => return None,
            }
        }
        Operand::UserVariable(_) => return None,
    };
    let plain = text.iter().all(u8::is_ascii_graphic);
    String::from_utf8(text).ok().filter(|_| plain)
}
