//! From the uses of tables to nodes: one shard for all of them, or the same shards for all of them.
//!
//! Owns the decision whether a statement runs whole on one node. Must never choose a node that lacks rows in question.

use dbmesh_model::topology::sharding::Audit;

use super::condition::Conditions;
use super::locality::Locality;
use super::reason::{GatherReason, RefuseReason, Stop};
use super::scope::{Place, Scope};
use super::slots::Positions;
use super::{hinted, read};

/// Where a statement runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Whole at one source; for every sharded use, the shard there.
    One(Target),
    /// At each of these shards, which all sharded uses have in common.
    Many(Positions),
}

/// A source, with the shard of every use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub source: usize,
    pub shards: Vec<Option<usize>>,
}

impl Target {
    /// The shard that stands for all.
    pub fn shard(&self) -> Option<usize> {
        self.shards.iter().flatten().next().copied()
    }
}

/// The shards of every use that can have rows in question.
pub(super) fn sets(scope: &Scope<'_>, locality: &Locality) -> Vec<Option<Positions>> {
    let mut sets: Vec<Option<Positions>> = (0..scope.uses.len())
        .map(|place| of_use(scope, locality, place))
        .collect();
    // What follows another has rows only where that one has; chains are as long as there are uses.
    for _ in 0..locality.follows.len() {
        for (outer, inner) in &locality.follows {
            let narrow = sets.get(*outer).cloned().flatten();
            if let (Some(narrow), Some(Some(set))) = (narrow, sets.get_mut(*inner)) {
                set.intersect(&narrow);
            }
        }
    }
    sets
}

fn of_use(scope: &Scope<'_>, locality: &Locality, place: usize) -> Option<Positions> {
    let table_use = scope.uses.get(place)?;
    let table = table_use.sharded()?;
    let size = table.shards.len();
    let mut set = hinted::positions(scope, table);
    if let Some(block) = table_use.block {
        let class = locality.class_of(place);
        let conditions = Conditions {
            scope,
            block,
            class: &class,
            size,
        };
        for expr in certain(scope, block) {
            set.intersect(&conditions.evaluate(expr));
        }
    }
    Some(set)
}

/// WHERE, and the ON of inner joins that no outer join may fill with NULL.
pub(super) fn certain(scope: &Scope<'_>, block: usize) -> Vec<dbmesh_sql::ast::ExprId> {
    use dbmesh_sql::ast::{JoinKind, TableRefKind};
    let Some(here) = scope.blocks.get(block) else {
        return Vec::new();
    };
    let mut found: Vec<_> = here.selection.into_iter().collect();
    let mut pending = here.roots.clone();
    while let Some(next) = pending.pop() {
        match scope.ast.node(next).map(|node| node.kind) {
            Some(TableRefKind::Parenthesised(list)) => pending.extend(scope.ast.list(list)),
            Some(TableRefKind::Join(join)) => {
                let Some(join) = scope.ast.node(join) else {
                    continue;
                };
                match join.kind {
                    JoinKind::Inner | JoinKind::Straight | JoinKind::Natural => {
                        found.extend(join.on);
                        pending.extend([join.left, join.right]);
                    }
                    JoinKind::Left | JoinKind::NaturalLeft => pending.push(join.left),
                    JoinKind::Right | JoinKind::NaturalRight => pending.push(join.right),
                    JoinKind::Full => {}
                }
            }
            _ => {}
        }
    }
    found
}

/// One node for the whole statement, if there is one.
pub(super) fn one(scope: &Scope<'_>, sets: &[Option<Positions>]) -> Option<Target> {
    let mut source: Option<usize> = None;
    let mut agree = |found: usize| match source {
        None => {
            source = Some(found);
            true
        }
        Some(known) => known == found,
    };
    for (table, set) in scope.uses.iter().zip(sets) {
        let fits = match (table.place, set) {
            (Place::Single(source), _) => agree(source),
            (Place::Sharded(table), Some(set)) if set.len() == 1 => {
                let shard = set.first().and_then(|first| table.shards.get(first));
                shard.is_some_and(|shard| agree(shard.source))
            }
            (Place::Sharded(_), Some(set)) => set.is_empty(),
            _ => true,
        };
        if !fits {
            return None;
        }
    }
    // Nothing says where: no rows are in question, or every node has them.
    let here = scope.input.here.filter(|here| {
        let sharded = scope.uses.iter().filter_map(|table| table.sharded());
        sharded
            .into_iter()
            .all(|table| table.shards.iter().any(|shard| shard.source == *here))
    });
    let anywhere = || {
        let mut tables = scope.uses.iter().filter_map(|u| u.sharded());
        tables
            .next()
            .and_then(|table| Some(table.shards.first()?.source))
    };
    let source = source
        .or(here)
        .or_else(anywhere)
        .or(scope.input.sharding.default_source)
        .unwrap_or(0);
    let mut shards = Vec::new();
    for (table, set) in scope.uses.iter().zip(sets) {
        shards.push(match (table.place, set) {
            (Place::Sharded(table), Some(set)) => Some(match set.first() {
                Some(shard) => shard,
                // No row satisfies its condition, so any shard of that source gives its answer.
                None => table.shards.iter().position(|s| s.source == source)?,
            }),
            _ => None,
        });
    }
    Some(Target { source, shards })
}

/// One node, or the shards that all uses have in common.
pub(super) fn route(scope: &Scope<'_>, locality: &Locality) -> Result<Route, Stop> {
    let sets = sets(scope, locality);
    audit(scope, &sets, None)?;
    if let Some(target) = one(scope, &sets) {
        return Ok(Route::One(target));
    }
    let top = scope.top();
    let anchor = scope
        .uses
        .iter()
        .position(|table| table.sharded().is_some() && table.block == top && top.is_some());
    if scope.uses.iter().all(|table| table.sharded().is_none()) {
        return Err(GatherReason::SingleTable.into());
    }
    if scope.facts.kind == dbmesh_sql::StatementKind::Table {
        return Err(GatherReason::TableStatement.into());
    }
    let of_union = scope.facts.shape.is_some_and(|shape| shape.set_operation);
    let Some(anchor) = anchor else {
        return Err(match of_union {
            true => GatherReason::SetOperation.into(),
            false => apart(scope, top, None),
        });
    };
    for (place, table) in scope.uses.iter().enumerate() {
        let local = match table.place {
            Place::Broadcast => true,
            Place::Dictionary(_) => return Err(RefuseReason::MixedSchemas.into()),
            Place::Single(_) => return Err(GatherReason::SingleTable.into()),
            Place::Sharded(_) => locality.together(anchor, place),
        };
        if !local {
            return Err(apart(scope, top, table.block));
        }
    }
    if locality.escapes {
        return Err(GatherReason::OuterJoin.into());
    }
    // Every condition that was read must hold for a row of the block, whichever table it is of.
    let mut common: Option<Positions> = None;
    for (table, set) in scope.uses.iter().zip(&sets) {
        match (&mut common, set) {
            (Some(common), Some(set)) if table.block == top => common.intersect(set),
            (None, Some(set)) if table.block == top => common = Some(set.clone()),
            _ => {}
        }
    }
    let common = common.ok_or(GatherReason::Join)?;
    if common.len() > 1 {
        return Ok(Route::Many(common));
    }
    // Where no row can be, any shard says so.
    read::target(scope, common.first().unwrap_or(0)).map(Route::One)
}

/// Why a use of `block` does not run with the others.
fn apart(scope: &Scope<'_>, top: Option<usize>, block: Option<usize>) -> Stop {
    if block.is_some() && block == top {
        return GatherReason::Join.into();
    }
    let inside = |span: dbmesh_sql::Span| {
        block
            .and_then(|block| scope.blocks.get(block))
            .is_none_or(|block| span.start <= block.span.start && block.span.end <= span.end)
    };
    let derived = scope
        .ast
        .all::<dbmesh_sql::ast::TableRef>()
        .iter()
        .any(|table| {
            matches!(table.kind, dbmesh_sql::ast::TableRefKind::Derived { .. })
                && inside(table.span)
        });
    let common = scope.ast.all::<dbmesh_sql::ast::CommonTable>();
    match derived || common.iter().any(|table| inside(table.span)) {
        true => GatherReason::Derived.into(),
        false => GatherReason::Subquery.into(),
    }
}

/// Tables that want a condition on their key must have one where rows of them are looked at; the table that takes new rows
/// has none to look at.
pub(super) fn audit(
    scope: &Scope<'_>,
    sets: &[Option<Positions>],
    takes: Option<usize>,
) -> Result<(), Stop> {
    for (place, (table, set)) in scope.uses.iter().zip(sets).enumerate() {
        if Some(place) == takes {
            continue;
        }
        if let (Some(table), Some(set)) = (table.sharded(), set)
            && table.audit == Audit::ShardingConditions
            && set.is_all()
            && set.size() > 1
        {
            return Err(RefuseReason::NoShardingCondition.into());
        }
    }
    Ok(())
}
