//! Rows pulled to one server that finishes the statement there, with its own semantics.
//!
//! Owns which rows and columns of every table are pulled, and the text that runs over them. Must never leave out a row or
//! column that the statement may look at: a condition is sent along only if it is of one table, must hold for every row of
//! it that matters, and is as cheap and silent as a comparison. Every use of a table is pulled under a name of its own, for
//! a temporary table can be named only once in a statement.

pub(super) mod common;
mod scratch;

use std::collections::BTreeSet;

use dbmesh_model::topology::sharding::ShardedTable;
use dbmesh_sql::ast::{
    BinaryOp, Body, ColumnName, ExplainedBody, ExprId, ExprKind, IndexHint, Into, IntoKind, Join,
    JoinKind, LiteralKind, Name, SelectItem, SelectItemKind, TableRefKind,
};
use dbmesh_sql::parsed::{self, NotReadOnly, Operand, ReadOnly};
use dbmesh_sql::{Facts, StatementKind};

use super::locality::{self, Locality};
use super::reason::{GatherReason, RefuseReason, Stop};
use super::rewrite::{self, Copied, Naming, Splice};
use super::route;
use super::scope::{Place, Scope, Use};
use super::slots::Positions;
use super::{NodeStatement, ShardPlan, read};

pub use scratch::{Joins, LentTable, Moments, ScratchTable, Unique, Wanted, Words, Writing};

/// What the names of pulled tables begin with.
pub const SCRATCH_PREFIX: &str = "mesh_gather_";

/// What is pulled, and what is done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gather {
    /// Why no merge does.
    pub reason: GatherReason,
    /// The tables.
    pub pulls: Vec<Pull>,
    /// The statement over them, at the source that keeps them meanwhile; none if it is a change.
    pub finish: Option<NodeStatement>,
}

/// One use of a table, whose rows are pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// The table's logical name.
    pub table: String,
    /// The name of its temporary table.
    pub scratch: String,
    /// What is looked at, in lower case: at least these columns have to be pulled. None: all.
    pub columns: Option<BTreeSet<String>>,
    /// Where the table's definition is read.
    pub like: PullPart,
    /// Where the rows are.
    pub parts: Vec<PullPart>,
    /// How many parts the whole table has.
    pub of: usize,
    /// The name that the condition calls the table by, as it was written.
    pub alias: Vec<u8>,
    /// What must hold for a row.
    pub condition: Option<Copied>,
    /// Which rows of a part are enough: ` ORDER BY … LIMIT …`, in the client's words. Empty if all are needed.
    pub first: Copied,
}

/// Where some of the rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullPart {
    /// The source.
    pub source: usize,
    /// The shard; none where the table is not sharded.
    pub shard: Option<usize>,
    /// The table's name there.
    pub table: String,
}

/// Which tables are read where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeps {
    /// Those of which the server that finishes has all rows.
    Whole,
    /// None: the connection that finishes sees nothing of the session's transaction.
    Nothing,
}

/// The plan of a statement that no merge answers.
pub(super) fn plan(scope: &Scope<'_>, reason: GatherReason) -> ShardPlan {
    match gather(scope, reason, Keeps::Whole) {
        Ok(gather) => ShardPlan::Gather(Box::new(gather)),
        Err(Stop::Refuse(reason)) => ShardPlan::Refuse(reason),
        Err(Stop::Gather(reason)) => ShardPlan::Gather(Box::new(Gather {
            reason,
            pulls: Vec::new(),
            finish: None,
        })),
    }
}

pub(super) fn gather(
    scope: &Scope<'_>,
    reason: GatherReason,
    keeps: Keeps,
) -> Result<Gather, Stop> {
    Ok(gathered(scope, reason, keeps)?.0)
}

/// The same, with what changes in the text of a query for the statement over the pulled tables.
pub(super) fn gathered(
    scope: &Scope<'_>,
    reason: GatherReason,
    keeps: Keeps,
) -> Result<(Gather, Vec<Splice>), Stop> {
    let sets = route::sets(scope, &Locality::of(scope));
    // SET and DO read rows as queries do.
    let reads = matches!(scope.facts.kind, StatementKind::Set | StatementKind::Do);
    let query = reads || matches!(scope.ast.statement().body, Body::Query(_));
    if matches!(
        scope.ast.statement().body,
        Body::Explain {
            body: ExplainedBody::Query(_),
            ..
        }
    ) {
        return Err(RefuseReason::Explain.into());
    }
    if query {
        check(scope)?;
    }
    let home = home(scope);
    let may_stay = query && keeps == Keeps::Whole;
    let stays = |table: &Use<'_>| match table.place {
        Place::Broadcast => may_stay,
        Place::Single(source) => may_stay && source == home,
        Place::Sharded(_) | Place::Dictionary(_) => false,
    };
    let pulled: Vec<bool> = scope.uses.iter().map(|table| !stays(table)).collect();
    let expanded = common::expand(scope, &pulled)?;
    let (names, scratches) = scratches(scope, &pulled, expanded.as_ref());
    let pull = |(place, scratch): &(usize, String)| {
        pull(
            scope,
            *place,
            sets.get(*place).and_then(Option::as_ref),
            home,
            scratch,
        )
    };
    let pulls = scratches.iter().map(pull).collect::<Result<_, _>>()?;
    let mut gather = Gather {
        reason,
        pulls,
        finish: None,
    };
    if !query {
        return Ok((gather, Vec::new()));
    }
    let splices = finishing(scope, &names, expanded)?;
    gather.finish = Some(finished(scope, home, &scratches, &splices));
    Ok((gather, splices))
}

/// The names of temporary tables: of every use, and with the uses that are pulled for them.
type Scratches = (Vec<Option<String>>, Vec<(usize, String)>);

pub(super) fn scratches(
    scope: &Scope<'_>,
    pulled: &[bool],
    expanded: Option<&common::Expanded>,
) -> Scratches {
    let mut scratches = Vec::new();
    let mut names: Vec<Option<String>> = vec![None; scope.uses.len()];
    for (place, (table, name)) in scope.uses.iter().zip(&mut names).enumerate() {
        let within = |expanded: &common::Expanded| expanded.holds(table.name.span);
        if pulled.get(place) == Some(&true) && !expanded.is_some_and(within) {
            let scratch = format!("{SCRATCH_PREFIX}{place}");
            scratches.push((place, scratch.clone()));
            *name = Some(scratch);
        }
    }
    if let Some(expanded) = expanded {
        scratches.extend(expanded.pulls.iter().cloned());
    }
    (names, scratches)
}

/// Whether an answer may differ from server to server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Local {
    /// One server is asked for all that differs.
    Allowed,
    Refused,
}

/// What no other server can finish.
fn check(scope: &Scope<'_>) -> Result<(), Stop> {
    check_state(scope, Local::Refused)?;
    let ast = scope.ast;
    if scope.is_seeded() {
        return Err(RefuseReason::SeededRandom.into());
    }
    let exprs = ast.all::<dbmesh_sql::ast::Expr>().iter();
    if exprs
        .into_iter()
        .any(|e| matches!(e.kind, ExprKind::Match(_)))
    {
        return Err(RefuseReason::FullText.into());
    }
    Ok(())
}

/// What no connection but the session's own can finish.
pub(super) fn check_state(scope: &Scope<'_>, local: Local) -> Result<(), Stop> {
    let ast = scope.ast;
    if scope.assigns() {
        return Err(RefuseReason::Assignment.into());
    }
    let silent = !matches!(
        scope.facts.read_only,
        ReadOnly::No(NotReadOnly::AdvisoryLock | NotReadOnly::SetsLastInsertId)
    );
    let alone = local == Local::Refused;
    let state = match alone {
        true => scope.hangs_on_session(),
        false => scope.facts.session != Facts::NONE,
    };
    if state || (scope.facts.server_local && alone) || !silent {
        return Err(RefuseReason::SessionState.into());
    }
    let kept = |into: &Into| alone && matches!(into.kind, IntoKind::Variables(_));
    if !ast.all::<Into>().iter().all(kept) {
        return Err(RefuseReason::Into.into());
    }
    read::locks_nothing(scope)?;
    let selects = ast.all::<dbmesh_sql::ast::Select>().iter();
    if selects.into_iter().any(|select| select.calc_found_rows) {
        return Err(RefuseReason::SessionState.into());
    }
    Ok(())
}

/// The source that finishes: that of a table of one node, else the first that a sharded table has.
fn home(scope: &Scope<'_>) -> usize {
    let single = scope.uses.iter().find_map(|table| match table.place {
        Place::Single(source) => Some(source),
        _ => None,
    });
    let mut sharded = scope.uses.iter().filter_map(|table| table.sharded());
    single
        .or_else(|| sharded.find_map(|table| Some(table.shards.first()?.source)))
        .unwrap_or(0)
}

fn pull(
    scope: &Scope<'_>,
    place: usize,
    set: Option<&Positions>,
    home: usize,
    scratch: &str,
) -> Result<Pull, Stop> {
    let table = scope.uses.get(place).ok_or(GatherReason::Join)?;
    let part = |sharded: &ShardedTable, shard: usize| {
        let found = sharded.shards.get(shard)?;
        Some(PullPart {
            source: found.source,
            shard: Some(shard),
            table: found.table.clone(),
        })
    };
    let (like, parts) = match (table.place, set) {
        (Place::Sharded(sharded), Some(set)) => {
            let parts: Vec<PullPart> = set.iter().filter_map(|s| part(sharded, s)).collect();
            let all = || (0..sharded.shards.len()).filter_map(|shard| part(sharded, shard));
            // Nearest to where it is finished.
            let like = all()
                .find(|part| part.source == home)
                .or_else(|| all().next());
            (like.ok_or(GatherReason::Join)?, parts)
        }
        (Place::Single(source), _) => (whole(source, table), vec![whole(source, table)]),
        _ => (whole(home, table), vec![whole(home, table)]),
    };
    let reference = table.table_ref.and_then(|id| scope.ast.node(id));
    match reference.map(|reference| reference.kind) {
        Some(TableRefKind::Table { partitions, .. }) if !partitions.is_empty() => {
            return Err(RefuseReason::Partition.into());
        }
        Some(TableRefKind::Table {
            history: Some(_), ..
        }) => {
            return Err(RefuseReason::History.into());
        }
        _ => {}
    }
    Ok(Pull {
        table: table.table.clone(),
        scratch: scratch.to_owned(),
        columns: columns(scope, place, table),
        like,
        parts,
        of: set.map_or(1, Positions::size),
        alias: alias(scope, table).to_vec(),
        condition: condition(scope, place)?,
        first: Copied::default(),
    })
}

fn whole(source: usize, table: &Use<'_>) -> PullPart {
    PullPart {
        source,
        shard: None,
        table: table.table.clone(),
    }
}

/// The name that columns of a use are qualified with, as it was written.
pub(super) fn alias<'a>(scope: &Scope<'a>, table: &Use<'_>) -> &'a [u8] {
    let node = table.table_ref.and_then(|id| scope.ast.node(id));
    let alias = node.and_then(|node| node.alias);
    scope.text(alias.unwrap_or(table.name.name))
}

/// The names that may be columns of a use; none if `*` or NATURAL means all.
pub(super) fn columns(
    scope: &Scope<'_>,
    place: usize,
    table: &Use<'_>,
) -> Option<BTreeSet<String>> {
    let ast = scope.ast;
    let block = table.block?;
    let natural = |join: &Join| {
        matches!(
            join.kind,
            JoinKind::Natural | JoinKind::NaturalLeft | JoinKind::NaturalRight
        )
    };
    if scope.facts.kind == StatementKind::Table || scope.joins(block).iter().any(natural) {
        return None;
    }
    for item in ast.all::<SelectItem>() {
        let of_this = match item.kind {
            SelectItemKind::Expr(_) => continue,
            SelectItemKind::Star => true,
            SelectItemKind::TableStar(name) => scope.lower(name.name) == table.exposed,
        };
        if of_this && scope.innermost(item.span) == Some(block) {
            return None;
        }
    }
    let mut names: BTreeSet<String> = ast
        .all::<ColumnName>()
        .iter()
        .filter(|column| match column.name.qualifier {
            // One of another table for certain.
            Some(qualifier) => {
                let same = scope.lower(qualifier) == table.exposed;
                same || scope.column(block, column.name) == Some(place)
            }
            None => true,
        })
        .map(|column| scope.lower(column.name.name))
        .collect();
    for join in ast.all::<Join>() {
        names.extend(
            ast.list(join.using)
                .iter()
                .map(|name| scope.lower(name.name)),
        );
    }
    Some(names)
}

/// What must hold for every row of a use that matters.
fn condition(scope: &Scope<'_>, place: usize) -> Result<Option<Copied>, Stop> {
    let Some(block) = scope.uses.get(place).and_then(|table| table.block) else {
        return Ok(None);
    };
    let mut terms = Vec::new();
    if !scope.nullable(block, place) {
        for expr in route::certain(scope, block) {
            locality::conjuncts(scope, expr, &mut terms);
        }
    }
    for on in outer_conditions(scope, block, place) {
        locality::conjuncts(scope, on, &mut terms);
    }
    let qualifiers = rewrite::qualifiers(scope)?;
    let mut all = Copied::default();
    for term in terms {
        let plain = Plain {
            scope,
            block,
            place,
        };
        let Some(node) = scope.ast.expr(term).filter(|_| plain.condition(term)) else {
            continue;
        };
        all.push(match all.text.is_empty() {
            true => b"(",
            false => b" AND (",
        });
        all.append(rewrite::copy(scope, node.span, &qualifiers));
        all.push(b")");
    }
    Ok((!all.text.is_empty()).then_some(all))
}

/// Whether the condition of a use says all that the statement, which reads no other table, says of its rows.
pub(super) fn says_all(scope: &Scope<'_>, block: usize, place: usize) -> bool {
    let mut terms = Vec::new();
    for expr in route::certain(scope, block) {
        locality::conjuncts(scope, expr, &mut terms);
    }
    let plain = Plain {
        scope,
        block,
        place,
    };
    terms.into_iter().all(|term| plain.condition(term))
}

/// The ON of outer joins that say which rows of this use, the nullable side, match at all.
fn outer_conditions(scope: &Scope<'_>, block: usize, place: usize) -> Vec<ExprId> {
    let leaf = scope.uses.get(place).and_then(|table| table.table_ref);
    let joins = scope
        .joins(block)
        .into_iter()
        .filter(|join| match join.kind {
            JoinKind::Left => Some(join.right) == leaf,
            JoinKind::Right => Some(join.left) == leaf,
            _ => false,
        });
    joins.filter_map(|join| join.on).collect()
}

/// Conditions of one table that compare its columns with values.
struct Plain<'s, 'a> {
    scope: &'s Scope<'a>,
    block: usize,
    place: usize,
}

impl Plain<'_, '_> {
    /// Recursion is as deep as parentheses, which the parser bounds.
    fn condition(&self, expr: ExprId) -> bool {
        let ast = self.scope.ast;
        let Some(node) = ast.expr(expr) else {
            return false;
        };
        match node.kind {
            ExprKind::Parenthesised(inner) => self.condition(inner),
            ExprKind::And(terms) | ExprKind::Or(terms) => {
                ast.list(terms).iter().all(|term| self.condition(*term))
            }
            ExprKind::Binary { op, left, right } => {
                op.is_comparison() && self.value(left) && self.value(right)
            }
            ExprKind::In {
                operand, values, ..
            } => self.value(operand) && ast.list(values).iter().all(|value| self.value(*value)),
            ExprKind::Between { operands, .. } | ExprKind::Like { operands, .. } => {
                ast.list(operands).iter().all(|value| self.value(*value))
            }
            ExprKind::Is { operand, .. } => self.value(operand),
            _ => false,
        }
    }

    fn value(&self, expr: ExprId) -> bool {
        let ast = self.scope.ast;
        if let Some(name) = parsed::column(ast, expr) {
            return self.is_ours(name);
        }
        match parsed::operand(ast, expr) {
            Some(Operand::Literal(..) | Operand::Parameter(..)) => return true,
            Some(Operand::UserVariable(_)) => return false,
            None => {}
        }
        // DATE '1994-01-01' + INTERVAL '1' YEAR.
        let Some(ExprKind::Binary {
            op: BinaryOp::Add | BinaryOp::Subtract,
            left,
            right,
        }) = ast.expr(expr).map(|node| node.kind)
        else {
            return false;
        };
        let date = matches!(
            parsed::operand(ast, left),
            Some(Operand::Literal(LiteralKind::Temporal(_), _))
        );
        let interval = match ast.expr(right).map(|node| node.kind) {
            Some(ExprKind::Interval(value, _)) => {
                matches!(parsed::operand(ast, value), Some(Operand::Literal(..)))
            }
            _ => false,
        };
        date && interval
    }

    /// Whether a name certainly means a column of this use.
    fn is_ours(&self, name: Name) -> bool {
        let scope = self.scope;
        if scope.column(self.block, name) == Some(self.place) {
            return true;
        }
        if name.qualifier.is_some() {
            return false;
        }
        let column = scope.lower(name.name);
        let leaves = scope.blocks.get(self.block).map_or(0, |b| b.leaves.len());
        let mut uses = 0;
        let mut owners = Vec::new();
        for (place, table) in scope.of_block(self.block) {
            uses += 1;
            match scope.has_column(table, &column) {
                Some(true) => owners.push(place),
                Some(false) => {}
                None => return false,
            }
        }
        uses == leaves && owners == [self.place]
    }
}

/// The statement at `home` over temporary tables in the place of some uses; with the uses that these are of, and their names.
pub(super) fn over(
    scope: &Scope<'_>,
    home: usize,
    replaced: &[bool],
) -> Result<(NodeStatement, Vec<(usize, String)>), Stop> {
    let expanded = common::expand(scope, replaced)?;
    let (names, scratches) = scratches(scope, replaced, expanded.as_ref());
    let node = finish(scope, home, &names, &scratches, expanded)?;
    Ok((node, scratches))
}

/// The statement over the pulled tables.
pub(super) fn finish(
    scope: &Scope<'_>,
    home: usize,
    names: &[Option<String>],
    scratches: &[(usize, String)],
    expanded: Option<common::Expanded>,
) -> Result<NodeStatement, Stop> {
    let splices = finishing(scope, names, expanded)?;
    Ok(finished(scope, home, scratches, &splices))
}

/// What changes in the text of the statement over the pulled tables.
fn finishing(
    scope: &Scope<'_>,
    names: &[Option<String>],
    expanded: Option<common::Expanded>,
) -> Result<Vec<Splice>, Stop> {
    let (within, renamed) = match expanded {
        Some(expanded) => (expanded.within, expanded.splices),
        None => (Vec::new(), Vec::new()),
    };
    let mut splices = rewrite::splices(scope, Naming::Scratch(names), renamed)?;
    // What is pulled has not all indexes, and hints of them say nothing about rows.
    let hints = scope.ast.all::<IndexHint>().iter();
    splices.extend(hints.map(|hint| Splice::text(hint.span, "")));
    // Definitions that were written anew have their changes already.
    for within in within {
        splices.retain(|splice| {
            splice.span == within
                || splice.span.end <= within.start
                || within.end <= splice.span.start
        });
    }
    Ok(splices)
}

fn finished(
    scope: &Scope<'_>,
    home: usize,
    scratches: &[(usize, String)],
    splices: &[Splice],
) -> NodeStatement {
    let text = rewrite::copy(scope, rewrite::whole(scope), splices);
    let logical = |(place, scratch): &(usize, String)| {
        let table = scope.uses.get(*place)?;
        Some((scratch.clone(), table.table.clone()))
    };
    let known_as = scratches.iter().filter_map(logical).collect();
    NodeStatement {
        source: home,
        shard: None,
        sql: text.text,
        parameters: text.parameters,
        tables: known_as,
        rows: Vec::new(),
    }
}
