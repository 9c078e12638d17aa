//! SELECT and its like.
//!
//! Owns which queries run whole on one shard, which on several with a merge, and why others do not.

use dbmesh_model::topology::sharding::ShardedTable;
use dbmesh_sql::ast::{
    Call, CallKind, ColumnName, ExprId, Id, Into, IntoKind, LockWait, Locking, Name, OrderItem,
    Query, QueryBody, Select, SetOp, Window,
};
use dbmesh_sql::parsed::{self, NotReadOnly, QueryShape, ReadOnly};

use super::condition::Conditions;
use super::locality::{self, Locality};
use super::merge::MergeSpec;
use super::order::Rows;
use super::reason::{GatherReason, RefuseReason, Stop};
use super::rewrite::{self, Splice};
use super::route::{self, Route, Target};
use super::scope::{Place, Scope, Use};
use super::slots::Positions;
use super::{Clock, Merge, NodeStatement, ShardPlan, group, order, search};

/// Functions that read the clock.
const CLOCKS: [&str; 13] = [
    "curdate",
    "current_date",
    "current_time",
    "current_timestamp",
    "curtime",
    "localtime",
    "localtimestamp",
    "now",
    "sysdate",
    "unix_timestamp",
    "utc_date",
    "utc_time",
    "utc_timestamp",
];

/// The plan of a query.
pub(super) fn plan(scope: &Scope<'_>) -> Result<ShardPlan, Stop> {
    let locality = Locality::of(scope);
    let routed = route::route(scope, &locality);
    let copies = |table: &Use<'_>| matches!(table.place, Place::Broadcast);
    if locks_copy(scope) && !scope.uses.iter().all(copies) {
        // One copy would be locked here, and another one there.
        return Err(RefuseReason::LockingCopy.into());
    }
    match routed {
        Ok(Route::One(target)) => Ok(ShardPlan::Single(rewrite::statement(scope, &target, &[])?)),
        Ok(Route::Many(set)) => select(scope, &locality, &set),
        Err(Stop::Gather(GatherReason::SetOperation)) => union(scope, &locality),
        Err(stop) => Err(stop),
    }
}

/// Whether a row of a copied table is locked: FOR UPDATE OF may name others.
fn locks_copy(scope: &Scope<'_>) -> bool {
    let locks = |locking: &Locking, table: &Use<'_>| {
        let named = scope.ast.list(locking.tables);
        let is_named = |name: &Name| scope.lower(name.name) == table.exposed;
        named.is_empty() || named.iter().any(is_named)
    };
    let mut copies = scope.uses.iter();
    copies.any(|table| {
        let mut all = scope.ast.all::<Locking>().iter();
        matches!(table.place, Place::Broadcast) && all.any(|locking| locks(locking, table))
    })
}

/// Rows that are brought to one place are not locked where they were.
pub(super) fn locks_nothing(scope: &Scope<'_>) -> Result<(), Stop> {
    if scope.ast.all::<Locking>().is_empty() {
        return Ok(());
    }
    Err(match locks_copy(scope) {
        true => RefuseReason::LockingCopy.into(),
        false => RefuseReason::LockingGather.into(),
    })
}

/// The clock of the statement.
pub(super) fn clock(scope: &Scope<'_>) -> Clock {
    let mut calls = scope.ast.all::<Call>().iter();
    match calls.any(|call| CLOCKS.contains(&scope.lower(call.name.name).as_str())) {
        true => Clock::Read,
        false => Clock::Unread,
    }
}

/// An aggregate of columns of an outer block makes that block one group, wherever the aggregate stands.
pub(super) fn aggregates_are_inner(scope: &Scope<'_>) -> Result<(), Stop> {
    let nested = |call: &Call| {
        scope.blocks.iter().position(|block| {
            block.parent.is_some() && block.select.is_some_and(|s| s.block == call.block)
        })
    };
    for call in scope.ast.all::<Call>() {
        let (CallKind::Aggregate, None, Some(block)) = (call.kind, call.over, nested(call)) else {
            continue;
        };
        let leaves = scope
            .blocks
            .get(block)
            .map_or(&[][..], |block| &block.leaves);
        let exposed: Vec<String> = leaves
            .iter()
            .filter_map(|leaf| scope.exposed(*leaf))
            .collect();
        let inner = |column: &ColumnName| {
            let name = scope.lower(column.name.name);
            match column.name.qualifier {
                Some(qualifier) => exposed.contains(&scope.lower(qualifier)),
                None => scope.of_block(block).any(|(_, table)| {
                    table.sharded().is_some_and(|sharded| sharded.is_key(&name))
                        || scope.has_column(table, &name) == Some(true)
                }),
            }
        };
        let mut columns = scope.ast.all::<ColumnName>().iter().filter(|column| {
            let span = column.name.span;
            call.span.start <= span.start && span.end <= call.span.end
        });
        if columns.clone().next().is_some() && !columns.any(inner) {
            return Err(GatherReason::Subquery.into());
        }
    }
    Ok(())
}

/// Variables are set where all rows are; files are the business of one server.
fn into(scope: &Scope<'_>) -> Result<(), Stop> {
    let variables = |into: &Into| matches!(into.kind, IntoKind::Variables(_));
    match scope.ast.all::<Into>() {
        [] => Ok(()),
        all if all.iter().all(variables) => Err(GatherReason::Into.into()),
        _ => Err(RefuseReason::Into.into()),
    }
}

/// What no query over several shards may do.
fn check(scope: &Scope<'_>) -> Result<(), Stop> {
    let ast = scope.ast;
    aggregates_are_inner(scope)?;
    if scope.assigns() {
        return Err(RefuseReason::Assignment.into());
    }
    if scope.hangs_on_session() || scope.facts.server_local {
        return Err(RefuseReason::SessionState.into());
    }
    into(scope)?;
    if ast.all::<Select>().iter().any(|s| s.calc_found_rows) {
        return Err(GatherReason::FoundRows.into());
    }
    if search::ranks(scope) {
        return Err(RefuseReason::FullText.into());
    }
    if scope.is_seeded() {
        return Err(GatherReason::SeededRandom.into());
    }
    if let ReadOnly::No(NotReadOnly::AdvisoryLock | NotReadOnly::SetsLastInsertId) =
        scope.facts.read_only
    {
        return Err(RefuseReason::SessionState.into());
    }
    Ok(())
}

fn select(scope: &Scope<'_>, locality: &Locality, set: &Positions) -> Result<ShardPlan, Stop> {
    check(scope)?;
    let shape = scope.facts.shape.ok_or(GatherReason::TableStatement)?;
    let select = shape.select.and_then(|select| scope.ast.node(select));
    let select = select.ok_or(GatherReason::TableStatement)?;
    if parenthesised(scope, shape.query) && (!shape.order_by.is_empty() || shape.limit.is_some()) {
        return Err(GatherReason::SetOperation.into());
    }
    // Every shard locks as many rows as the answer may take from it: who waits for them waits, and who skips them misses some.
    let mut lockings = scope.ast.all::<Locking>().iter();
    if shape.limit.is_some() && lockings.any(|locking| locking.wait != LockWait::Wait) {
        return Err(RefuseReason::LockingLimit.into());
    }
    let block = scope.top().ok_or(GatherReason::TableStatement)?;
    let keys = Keys { scope, block };
    if !keys.windows_are_local(select) {
        return Err(GatherReason::Window.into());
    }
    let (mut spec, splices) = match select.group_by {
        Some(group_by) if group_by.rollup => return Err(GatherReason::Rollup.into()),
        Some(group_by) if keys.groups(scope.ast.list(group_by.items)) => {
            order::plain(scope, select, &shape)?
        }
        None if !collapses(scope, select) => order::plain(scope, select, &shape)?,
        _ if shape.windows => return Err(GatherReason::Window.into()),
        _ => group::plan(scope, select, &shape)?,
    };
    // Equal rows of different shards differ in a key that is selected.
    if spec.distinct && spec.group.is_none() && keys.selected(select) {
        spec.distinct = false;
    }
    let statements = statements(scope, locality, set, &splices)?;
    Ok(ShardPlan::Scatter {
        statements,
        merge: Merge::Rows(spec),
        clock: clock(scope),
    })
}

/// Whether an aggregate makes one row of all. `ANY_VALUE` alone does not: it is an aggregate for the check of GROUP BY only.
fn collapses(scope: &Scope<'_>, select: &Select) -> bool {
    let mut calls = scope.ast.all::<Call>().iter();
    calls.any(|call| {
        call.block == select.block
            && call.kind == CallKind::Aggregate
            && call.over.is_none()
            && scope.lower(call.name.name) != "any_value"
    })
}

/// Whether parentheses stand around the outermost query.
fn parenthesised(scope: &Scope<'_>, query: Id<Query>) -> bool {
    let query = scope.ast.node(query);
    query.is_some_and(|query| matches!(query.body, QueryBody::Parenthesised(_)))
}

/// The text for every shard of a set; lists of IN are split.
pub(super) fn statements(
    scope: &Scope<'_>,
    locality: &Locality,
    set: &Positions,
    splices: &[Splice],
) -> Result<Vec<NodeStatement>, Stop> {
    let of_shard = |(target, mut parts): (Target, Vec<Splice>)| {
        parts.extend_from_slice(splices);
        rewrite::statement(scope, &target, &parts)
    };
    let all = parts(scope, locality, set)?;
    all.into_iter().map(of_shard).collect()
}

/// Every shard of a set, with what is left of lists of IN there.
pub(super) fn parts(
    scope: &Scope<'_>,
    locality: &Locality,
    set: &Positions,
) -> Result<Vec<(Target, Vec<Splice>)>, Stop> {
    let lists = lists(scope, locality, set);
    let part = |shard| {
        let kept = lists.iter().filter_map(|list| list.part(scope, shard));
        Ok((target(scope, shard)?, kept.collect()))
    };
    set.iter().map(part).collect()
}

/// The shard of that number of all sharded uses.
pub(super) fn target(scope: &Scope<'_>, shard: usize) -> Result<Target, Stop> {
    let tables = || scope.uses.iter().map(|table| table.sharded());
    let source = tables()
        .flatten()
        .find_map(|table| Some(table.shards.get(shard)?.source));
    Ok(Target {
        source: source.ok_or(GatherReason::Join)?,
        shards: tables().map(|table| table.map(|_| shard)).collect(),
    })
}

/// A list of IN in a condition that must hold, with the shards of every member.
struct MemberList {
    members: Vec<(dbmesh_sql::Span, Positions)>,
}

impl MemberList {
    fn part(&self, scope: &Scope<'_>, shard: usize) -> Option<Splice> {
        let of_shard = |member: &&(dbmesh_sql::Span, Positions)| member.1.has(shard);
        let kept: Vec<_> = self.members.iter().filter(of_shard).collect();
        if kept.len() == self.members.len() || kept.is_empty() {
            return None;
        }
        let span = dbmesh_sql::Span {
            start: self.members.first()?.0.start,
            end: self.members.last()?.0.end,
        };
        let mut text = rewrite::Copied::default();
        for (place, (member, _)) in kept.into_iter().enumerate() {
            if place > 0 {
                text.push(b", ");
            }
            text.append(rewrite::copy(scope, *member, &[]));
        }
        Some(text.splice(span))
    }
}

fn lists(scope: &Scope<'_>, locality: &Locality, set: &Positions) -> Vec<MemberList> {
    let Some(block) = scope.top() else {
        return Vec::new();
    };
    let selection = scope.blocks.get(block).and_then(|block| block.selection);
    let anchor = scope
        .of_block(block)
        .find(|(_, table)| table.sharded().is_some());
    let (Some(selection), Some((anchor, _))) = (selection, anchor) else {
        return Vec::new();
    };
    let class = locality.class_of(anchor);
    let conditions = Conditions {
        scope,
        block,
        class: &class,
        size: set.size(),
    };
    let mut terms = Vec::new();
    locality::conjuncts(scope, selection, &mut terms);
    let span = |expr: ExprId| scope.ast.expr(expr).map(|node| node.span);
    let lists = terms.into_iter().map(|term| {
        let members = match parsed::predicate(scope.ast, term) {
            parsed::Predicate::In {
                column,
                values,
                negated: false,
            } => values
                .iter()
                .filter_map(|v| Some((span(*v)?, conditions.of_member(column, *v))))
                .collect(),
            parsed::Predicate::RowIn {
                columns,
                rows,
                negated: false,
            } => rows
                .iter()
                .filter_map(|row| Some((span(*row)?, conditions.of_row(columns, *row))))
                .collect(),
            _ => Vec::new(),
        };
        MemberList { members }
    });
    // A member that may be anywhere is one whose comparison depends on the others' types.
    let known = |list: &MemberList| list.members.iter().all(|(_, shards)| !shards.is_all());
    lists
        .filter(|list| !list.members.is_empty() && known(list))
        .collect()
}

/// The keys of the sharded tables of a block.
struct Keys<'s, 'a> {
    scope: &'s Scope<'a>,
    block: usize,
}

impl Keys<'_, '_> {
    /// Whether expressions hold the whole key of one of the tables: rows of different shards differ in them.
    fn covers(&self, expressions: &[ExprId]) -> bool {
        let columns: Vec<(usize, String)> = expressions
            .iter()
            .filter_map(|expr| {
                let name = parsed::column(self.scope.ast, *expr)?;
                let place = self.scope.column(self.block, name)?;
                Some((place, self.scope.lower(name.name)))
            })
            .collect();
        self.scope.of_block(self.block).any(|(place, table)| {
            table.sharded().is_some_and(|sharded| {
                locality::is_exact(sharded)
                    && !self.scope.nullable(self.block, place)
                    && key_names(sharded).all(|key| columns.contains(&(place, key.to_owned())))
            })
        })
    }

    /// Whether groups are whole on their shard. A name that is also an alias may mean that.
    fn groups(&self, items: &[OrderItem]) -> bool {
        let expressions: Vec<ExprId> = items.iter().map(|item| item.expr).collect();
        self.covers(&expressions)
    }

    fn windows_are_local(&self, select: &Select) -> bool {
        let ast = self.scope.ast;
        let over = ast
            .all::<Call>()
            .iter()
            .filter(|call| call.block == select.block)
            .filter_map(|call| call.over);
        let mut windows = over.filter_map(|window| ast.node(window));
        windows.all(|window| {
            let named = window.name.or(window.base);
            let base = named.and_then(|name| {
                let name = self.scope.lower(name);
                let known = ast.list(select.windows).iter();
                let mut known =
                    known.filter(|w| w.name.is_some_and(|n| self.scope.lower(n) == name));
                known.next()
            });
            let covers = |window: &Window| self.covers(ast.list(window.partition_by));
            covers(window) || base.is_some_and(covers)
        })
    }

    /// Whether the whole key is selected, so that equal rows are on one shard.
    fn selected(&self, select: &Select) -> bool {
        let rows = Rows::of(self.scope, *select);
        let expressions: Vec<ExprId> = rows
            .items
            .iter()
            .filter_map(|item| match item.kind {
                dbmesh_sql::ast::SelectItemKind::Expr(expr) => Some(expr),
                _ => None,
            })
            .collect();
        self.covers(&expressions)
    }
}

fn key_names(table: &ShardedTable) -> impl Iterator<Item = &str> {
    table.key_columns().map(|key| key.name.as_str())
}

/// A set operation whose parts are plain, over shards that all parts have in common.
fn union(scope: &Scope<'_>, locality: &Locality) -> Result<ShardPlan, Stop> {
    check(scope)?;
    let refused = || Stop::from(GatherReason::SetOperation);
    let shape = scope.facts.shape.ok_or_else(refused)?;
    let mut arms = Vec::new();
    let distinct = self::arms(scope, shape.query, &mut arms).ok_or_else(refused)?;
    let sets = route::sets(scope, locality);
    let mut all: Option<Positions> = None;
    let mut first: Option<&ShardedTable> = None;
    for (place, table) in scope.uses.iter().enumerate() {
        match table.place {
            Place::Broadcast => {}
            Place::Dictionary(_) => return Err(RefuseReason::MixedSchemas.into()),
            Place::Single(_) => return Err(GatherReason::SingleTable.into()),
            Place::Sharded(sharded) => {
                let aligned = first.is_none_or(|first| locality::bound(first, sharded));
                let in_arm = |arm: &usize| {
                    let mut anchors = scope.of_block(*arm).filter(|(_, t)| t.sharded().is_some());
                    anchors
                        .next()
                        .is_some_and(|(anchor, _)| locality.together(anchor, place))
                };
                if !aligned || !arms.iter().any(in_arm) {
                    return Err(refused());
                }
                first = first.or(Some(sharded));
                match (&mut all, sets.get(place).cloned().flatten()) {
                    (Some(all), Some(set)) => all.unite(&set),
                    (all, set) => *all = set,
                }
            }
        }
    }
    for arm in &arms {
        plain_arm(scope, *arm)?;
    }
    if locality.escapes {
        return Err(GatherReason::OuterJoin.into());
    }
    let all = all.ok_or_else(refused)?;
    let (spec, splices) = union_spec(scope, &arms, &shape, distinct)?;
    let mut statements = Vec::new();
    for shard in all.iter() {
        let target = target(scope, shard)?;
        statements.push(rewrite::statement(scope, &target, &splices)?);
    }
    Ok(ShardPlan::Scatter {
        statements,
        merge: Merge::Rows(spec),
        clock: clock(scope),
    })
}

/// The blocks of a chain of UNION, and whether all duplicates go; none if it is anything else.
fn arms(scope: &Scope<'_>, query: Id<Query>, into: &mut Vec<usize>) -> Option<bool> {
    let outer = scope.ast.node(query)?;
    let mut distinct = None;
    let mut next = outer.body;
    loop {
        let QueryBody::Set {
            op: SetOp::Union,
            all,
            left,
            right,
        } = next
        else {
            into.push(arm(scope, next)?);
            return distinct;
        };
        // Duplicates go up to the last UNION without ALL: whole, if that is the last of the chain, or if there is none.
        match (distinct, all) {
            (None, all) => distinct = Some(!all),
            (Some(false), false) => return None,
            _ => {}
        }
        into.push(arm(scope, scope.ast.node(right).filter(is_plain)?.body)?);
        next = scope.ast.node(left).filter(is_plain)?.body;
    }
}

fn is_plain(query: &&Query) -> bool {
    query.order_by.is_empty() && query.limit.is_none() && query.with.is_none()
}

fn arm(scope: &Scope<'_>, mut body: QueryBody) -> Option<usize> {
    loop {
        match body {
            QueryBody::Parenthesised(inner) => {
                body = scope.ast.node(inner).filter(is_plain)?.body;
            }
            QueryBody::Select(select) => {
                let select = scope.ast.node(select)?;
                return scope
                    .blocks
                    .iter()
                    .position(|b| b.select.is_some_and(|s| s.block == select.block));
            }
            _ => return None,
        }
    }
}

/// A part whose rows of all shards together are its rows.
fn plain_arm(scope: &Scope<'_>, arm: usize) -> Result<(), Stop> {
    let select = scope.blocks.get(arm).and_then(|block| block.select);
    let select = select.ok_or(GatherReason::SetOperation)?;
    let calls = scope.ast.all::<Call>().iter();
    let mut calls = calls.filter(|call| call.block == select.block);
    let keys = Keys { scope, block: arm };
    let grouped = match select.group_by {
        Some(group_by) => group_by.rollup || !keys.groups(scope.ast.list(group_by.items)),
        None => calls.any(|c| c.kind == dbmesh_sql::ast::CallKind::Aggregate && c.over.is_none()),
    };
    let distinct =
        select.distinct == dbmesh_sql::ast::Distinct::Distinct && !keys.selected(&select);
    let anchored = scope
        .of_block(arm)
        .any(|(_, table)| table.sharded().is_some());
    match grouped || distinct || !anchored || !keys.windows_are_local(&select) {
        true => Err(GatherReason::SetOperation.into()),
        false => Ok(()),
    }
}

/// Order and limit of a union: by the columns of its first part.
fn union_spec(
    scope: &Scope<'_>,
    arms: &[usize],
    shape: &QueryShape,
    distinct: bool,
) -> Result<(MergeSpec, Vec<Splice>), Stop> {
    let refused = || Stop::from(GatherReason::SetOperation);
    let first = arms.last().and_then(|arm| scope.blocks.get(*arm)?.select);
    let first = first.ok_or_else(refused)?;
    let mut rows = Rows::of(scope, first);
    let order = rows.order(shape.order_by, |rows, expr| rows.order_key(expr))?;
    if rows.hidden() > 0 {
        return Err(refused());
    }
    let mut spec = MergeSpec {
        distinct,
        order: rows.keys(&order)?,
        ordered: !order.is_empty(),
        ..MergeSpec::default()
    };
    let splices = order::limit(scope, shape, &mut spec)?;
    Ok((spec, splices.into_iter().collect()))
}
