//! The hint `shard`: whether it can be followed, and which shards it leaves.
//!
//! Owns what a value of a hint means for a table that is split by hint. Must never pass over a hint that cannot be followed:
//! whoever wrote it wants one shard, and a statement that acts on all of them instead does what nobody asked for.

use dbmesh_model::topology::sharding::{Axis, ShardedTable};
use dbmesh_sql::StatementKind as Kind;

use super::algorithm::{self, Slot};
use super::reason::RefuseReason;
use super::scope::Scope;
use super::slots::Positions;
use super::value::KeyValue;

/// Whether the hint of the statement, if it has one, can be followed for all of its tables. A statement that names no table
/// has nothing that it could mean.
pub(super) fn check(scope: &Scope<'_>) -> Result<(), RefuseReason> {
    let Some(value) = scope.input.hint else {
        return Ok(());
    };
    if scope.uses.is_empty() {
        return Ok(());
    }
    let mut used = false;
    for table in scope.uses.iter().filter_map(|table| table.sharded()) {
        for axis in axes(table) {
            used = true;
            if slot(axis, value).is_none() {
                return Err(RefuseReason::HintValue {
                    value: value.to_string(),
                    table: table.name.clone(),
                });
            }
        }
    }
    match (used, of_rows(scope.facts.kind)) {
        (false, _) => Err(RefuseReason::HintUnused),
        (true, false) => Err(RefuseReason::HintWhole),
        (true, true) => Ok(()),
    }
}

/// All shards of the table, or those that the hint chooses.
pub(super) fn positions(scope: &Scope<'_>, table: &ShardedTable) -> Positions {
    let mut set = Positions::all(table.shards.len());
    let Some(value) = scope.input.hint else {
        return set;
    };
    for axis in axes(table) {
        // What leads nowhere was refused; no row is there either.
        let slots = match slot(axis, value) {
            Some(slot) => Positions::one(axis.targets.len(), slot),
            None => Positions::none(axis.targets.len()),
        };
        set.intersect(&algorithm::shards(table, axis, &slots));
    }
    set
}

/// The axes along which a hint chooses.
fn axes(table: &ShardedTable) -> impl Iterator<Item = &Axis> {
    let axes = table.database.iter().chain(&table.table);
    axes.filter(|axis| axis.columns.is_empty())
}

fn slot(axis: &Axis, value: &KeyValue) -> Option<usize> {
    match algorithm::slot(axis, std::slice::from_ref(value)) {
        Slot::At(slot) if slot < axis.targets.len() => Some(slot),
        Slot::At(_) | Slot::Nowhere | Slot::Unknown | Slot::Failed => None,
    }
}

/// Whether it is for rows, of which a hint may choose some; all others are for tables as a whole.
fn of_rows(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Select
            | Kind::Table
            | Kind::Values
            | Kind::Insert
            | Kind::Replace
            | Kind::Update
            | Kind::Delete
            | Kind::LoadData
            | Kind::Explain
            | Kind::Set
            | Kind::Do
    )
}
