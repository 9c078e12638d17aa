//! UPDATE and DELETE.
//!
//! Owns which changes run on one shard or on several, and that no row leaves its shard.

use dbmesh_sql::ast::{
    Assignment, Body, Call, ExplainedBody, Limit, List, SelectItem, TableRef, TableRefKind, Update,
};
use dbmesh_sql::parsed::{self, Access};

use super::condition::Conditions;
use super::locality::Locality;
use super::merge::MergeSpec;
use super::reason::{GatherReason, RefuseReason, Stop};
use super::rewrite::{self, Splice};
use super::route::{self, Route, Target};
use super::scope::{Place, Scope};
use super::value::Compared;
use super::{Clock, Gives, Merge, ShardPlan, algorithm, read, search};

/// Functions whose value differs from server to server.
const PER_SERVER: [&str; 10] = [
    "connection_id",
    "found_rows",
    "last_insert_id",
    "rand",
    "random_bytes",
    "row_count",
    "sysdate",
    "uuid",
    "uuid_short",
    "version",
];

/// The parts that both have.
struct Change {
    assignments: List<Assignment>,
    limit: Option<Limit>,
    ordered: bool,
    returning: List<SelectItem>,
}

fn change(scope: &Scope<'_>) -> Option<Change> {
    match scope.ast.statement().body {
        Body::Update(update)
        | Body::Explain {
            body: ExplainedBody::Update(update),
            ..
        } => {
            let update: &Update = scope.ast.node(update)?;
            Some(Change {
                assignments: update.assignments,
                limit: update.limit,
                ordered: !update.order_by.is_empty(),
                returning: update.returning,
            })
        }
        _ => {
            let delete = rewrite::delete(scope)?;
            Some(Change {
                assignments: List::default(),
                limit: delete.limit,
                ordered: !delete.order_by.is_empty(),
                returning: delete.returning,
            })
        }
    }
}

/// The plan of an UPDATE or DELETE.
pub(super) fn plan(scope: &Scope<'_>) -> Result<ShardPlan, Stop> {
    let change = change(scope).ok_or(RefuseReason::Kind(scope.facts.kind))?;
    let written = |place: &usize| {
        let table = scope.uses.get(*place);
        table.is_some_and(|table| table.access == Access::Write)
    };
    let written: Vec<usize> = (0..scope.uses.len()).filter(written).collect();
    let copies = written.iter().any(|place| {
        let table = scope.uses.get(*place);
        table.is_some_and(|table| matches!(table.place, Place::Broadcast))
    });
    if copies {
        return copied(scope, &change);
    }
    if reads_target(scope, &written) {
        return Err(RefuseReason::TargetRead.into());
    }
    let locality = Locality::of(scope);
    let route = route::route(scope, &locality).map_err(|stop| match stop {
        Stop::Gather(GatherReason::Join | GatherReason::OuterJoin) => {
            GatherReason::ChangeJoin.into()
        }
        other => other,
    })?;
    keeps_keys(scope, &change, &written, &route)?;
    match route {
        Route::One(target) => Ok(ShardPlan::Single(rewrite::statement(scope, &target, &[])?)),
        Route::Many(set) => {
            read::aggregates_are_inner(scope)?;
            if scope.hangs_on_session() || scope.facts.server_local {
                return Err(RefuseReason::SessionState.into());
            }
            if search::ranks(scope) {
                return Err(RefuseReason::FullText.into());
            }
            if scope.is_seeded() {
                return Err(RefuseReason::SeededRandom.into());
            }
            if change.limit.is_some() {
                return Err(GatherReason::ChangeLimit.into());
            }
            let merge = match change.returning.is_empty() {
                true => Merge::Affected,
                false => Merge::Rows(MergeSpec::default()),
            };
            Ok(ShardPlan::Scatter {
                statements: read::statements(scope, &locality, &set, &[])?,
                merge,
                // A column may be updated with the time without being named.
                clock: Clock::Read,
            })
        }
    }
}

/// Whether a block is inside of a derived table, whose rows servers take before anything is changed.
pub(super) fn in_derived(scope: &Scope<'_>, block: usize) -> bool {
    let span = scope.blocks.get(block).map(|block| block.span);
    scope.ast.all::<TableRef>().iter().any(|table| {
        matches!(table.kind, TableRefKind::Derived { .. })
            && span.is_some_and(|s| table.span.start <= s.start && s.end <= table.span.end)
    })
}

/// Whether a sub-query, other than a derived table, reads a table that is changed: most servers refuse that.
pub(super) fn reads_target(scope: &Scope<'_>, written: &[usize]) -> bool {
    scope.uses.iter().any(|table| {
        let inner = table
            .block
            .is_some_and(|block| Some(block) != scope.top() && !in_derived(scope, block));
        let target = |place: &usize| {
            let target = scope.uses.get(*place);
            target.is_some_and(|target| target.table == table.table)
        };
        inner && written.iter().any(target)
    })
}

/// A change of a table of which every source has a copy.
fn copied(scope: &Scope<'_>, change: &Change) -> Result<ShardPlan, Stop> {
    let all = scope
        .uses
        .iter()
        .all(|table| matches!(table.place, Place::Broadcast));
    if !all {
        route::audit(scope, &route::sets(scope, &Locality::of(scope)), None)?;
        return Err(RefuseReason::BroadcastChange.into());
    }
    let cut = change.limit.is_some() && !change.ordered;
    if cut || change.limit.is_some() || !deterministic(scope) {
        // With ORDER BY too: rows that are equal in its keys come in any order.
        return Err(RefuseReason::NotDeterministic.into());
    }
    everywhere(scope, &[])
}

/// Whether every server computes the same.
pub(super) fn deterministic(scope: &Scope<'_>) -> bool {
    let mut calls = scope.ast.all::<Call>().iter();
    let varies = |call: &Call| PER_SERVER.contains(&scope.lower(call.name.name).as_str());
    !scope.hangs_on_session() && !scope.facts.server_local && !calls.any(varies)
}

/// The statement for every source.
pub(super) fn everywhere(scope: &Scope<'_>, splices: &[Splice]) -> Result<ShardPlan, Stop> {
    let mut statements = Vec::new();
    for source in 0..scope.input.sharding.sources.len() {
        let target = Target {
            source,
            shards: vec![None; scope.uses.len()],
        };
        statements.push(rewrite::statement(scope, &target, splices)?);
    }
    let returning = match scope.inserts() {
        Some(insert) => Some(insert.returning),
        None => change(scope).map(|change| change.returning),
    };
    let gives = match returning.is_some_and(|items| !items.is_empty()) {
        true => Gives::Rows,
        false => Gives::Counts,
    };
    Ok(ShardPlan::Broadcast {
        statements,
        gives,
        clock: Clock::Read,
    })
}

/// No assignment may move a row; one that gives the key the value that chose the shard moves none.
fn keeps_keys(
    scope: &Scope<'_>,
    change: &Change,
    written: &[usize],
    route: &Route,
) -> Result<(), Stop> {
    for assignment in scope.ast.list(change.assignments) {
        let column = scope.lower(assignment.column.name);
        let qualifier = assignment.column.qualifier.map(|q| scope.lower(q));
        for place in written {
            let table = scope.uses.get(*place);
            let Some((table, sharded)) = table.and_then(|t| Some((t, t.sharded()?))) else {
                continue;
            };
            let meant = qualifier.as_ref().is_none_or(|q| *q == table.exposed);
            if !meant || !sharded.is_key(&column) {
                continue;
            }
            let stays = match route {
                Route::One(target) => stays(scope, *place, &column, assignment, target),
                Route::Many(_) => None,
            };
            if stays.is_none() {
                return Err(RefuseReason::KeyUpdate.into());
            }
        }
    }
    Ok(())
}

/// The rows have that value already: the condition says so, and nothing else.
fn stays(
    scope: &Scope<'_>,
    place: usize,
    column: &str,
    assignment: &Assignment,
    target: &Target,
) -> Option<()> {
    let table = scope.uses.get(place)?;
    let sharded = table.sharded()?;
    let key = sharded.key_columns().find(|key| key.name == column)?;
    let operand = parsed::operand(scope.ast, assignment.value)?;
    let Compared::Value(value) = scope.reading().stored(key.kind, operand) else {
        return None;
    };
    let block = table.block?;
    let class = [place];
    let conditions = Conditions {
        scope,
        block,
        class: &class,
        size: sharded.shards.len(),
    };
    // The shard of the new value is that of the statement, for the axes of this column alone.
    let mut set = super::slots::Positions::all(sharded.shards.len());
    let mut axes = 0;
    for axis in sharded.database.iter().chain(&sharded.table) {
        match axis.columns.as_slice() {
            [only] if only.name == column => {
                axes += 1;
                let slot = algorithm::slot(axis, std::slice::from_ref(&value));
                let slots = algorithm::of_slot(axis.targets.len(), slot);
                set.intersect(&algorithm::shards(sharded, axis, &slots));
            }
            columns if columns.iter().any(|c| c.name == column) => return None,
            _ => {}
        }
    }
    let shard = target.shards.get(place).copied().flatten()?;
    let selection = scope.blocks.get(block)?.selection?;
    let here = conditions.evaluate(selection);
    (axes > 0 && set.has(shard) && here.len() == 1 && here.has(shard)).then_some(())
}
