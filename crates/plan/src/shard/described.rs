//! A statement in the words of one node, for who asks what its columns and parameters are.
//!
//! Owns the choice of the node, and which tables of the statement are not there. Must never depend on values: a statement is
//! described before it has any. Input: a statement with its names resolved.

use dbmesh_model::topology::sharding::ShardedTable;

use super::gather;
use super::reason::Stop;
use super::rewrite;
use super::route::Target;
use super::scope::{Place, Scope, Use};
use super::{NodeStatement, PullPart};

/// How a statement is described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The statement.
    pub node: NodeStatement,
    /// What it reads that its node does not have.
    pub stand_ins: Vec<StandIn>,
}

/// An empty temporary table in the place of one that is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandIn {
    /// Its name.
    pub name: String,
    /// Whose definition it has.
    pub like: PullPart,
}

impl From<NodeStatement> for Described {
    fn from(node: NodeStatement) -> Self {
        Self {
            node,
            stand_ins: Vec::new(),
        }
    }
}

/// The statement at a node that has a shard of every table, wherever its rows are; where none has, with tables that stand
/// for the others.
pub(super) fn of(scope: &Scope<'_>) -> Result<Described, Stop> {
    let here = scope.input.here;
    let single = |table: &Use<'_>| match table.place {
        Place::Single(source) => Some(source),
        _ => None,
    };
    // A table of one node is only there, and a sharded one may have a shard beside it.
    let single = scope.uses.iter().find_map(single);
    let near = single.or(here);
    let shard = |table: &ShardedTable| {
        let near = table.shards.iter().position(|s| Some(s.source) == near);
        near.unwrap_or(0)
    };
    let of_shard = |table: &Use<'_>| {
        let table = table.sharded()?;
        Some(table.shards.get(shard(table))?.source)
    };
    let source = single.or_else(|| scope.uses.iter().find_map(of_shard));
    let rules = scope.input.sharding.default_source;
    let source = source.or(here).or(rules).unwrap_or(0);
    let is_there = |table: &Use<'_>| match table.place {
        Place::Single(own) => own == source,
        Place::Sharded(_) => of_shard(table) == Some(source),
        Place::Broadcast | Place::Dictionary(_) => true,
    };
    if !scope.uses.iter().all(is_there) {
        return over_stand_ins(scope, source);
    }
    let target = Target {
        source,
        shards: scope
            .uses
            .iter()
            .map(|table| table.sharded().map(shard))
            .collect(),
    };
    Ok(rewrite::statement(scope, &target, &[])?.into())
}

/// The statement at a source that does not have all of its tables.
fn over_stand_ins(scope: &Scope<'_>, source: usize) -> Result<Described, Stop> {
    let stands = |table: &Use<'_>| match table.place {
        Place::Single(own) => own != source,
        Place::Sharded(_) => true,
        Place::Broadcast | Place::Dictionary(_) => false,
    };
    let replaced: Vec<bool> = scope.uses.iter().map(stands).collect();
    let (node, scratches) = gather::over(scope, source, &replaced)?;
    let like = |place: &usize| {
        let table = scope.uses.get(*place)?;
        let whole = |source| PullPart {
            source,
            shard: None,
            table: table.table.clone(),
        };
        match table.place {
            Place::Single(own) => Some(whole(own)),
            Place::Broadcast | Place::Dictionary(_) => Some(whole(source)),
            Place::Sharded(sharded) => {
                let near = sharded.shards.iter().position(|s| s.source == source);
                let shard = near.unwrap_or(0);
                let found = sharded.shards.get(shard)?;
                Some(PullPart {
                    source: found.source,
                    shard: Some(shard),
                    table: found.table.clone(),
                })
            }
        }
    };
    let stand_ins = scratches.into_iter().filter_map(|(place, name)| {
        let like = like(&place)?;
        Some(StandIn { name, like })
    });
    Ok(Described {
        node,
        stand_ins: stand_ins.collect(),
    })
}
