//! Rows that go each to the shard of a key that their server computes.
//!
//! Owns the steps: the rows are found and locked at every shard, with the keys that they will have; every shard changes them
//! in place; then those that belong elsewhere are taken, all of them before the first one is brought. Must never let a row
//! be changed that was not found, nor one move whose new key is not known for certain. Input: what the planner says.

use std::collections::BTreeMap;

use dbmesh_model::topology::sharding::{ShardedTable, Table};
use dbmesh_plan::Route;
use dbmesh_plan::shard::gather::{ScratchTable, Unique};
use dbmesh_plan::shard::{Computed, Moving, NodeStatement, PullPart, Rekeyed, Unmoved};
use dbmesh_sql::Statement;
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::command::Parameter;
use dbmesh_wire::reply;

use super::super::super::super::{Failure, Session};
use super::super::super::gather::{Batches, Budget, for_each};
use super::super::super::prepared::selected;
use super::super::super::work::{Ended, of_server};
use super::super::Changed;
use super::{part_of, unmoved};
use crate::fault::Fault;

/// What is kept of a row besides its values.
const ROW_BYTES: usize = 256;

/// Rows of a shard, by the one to which they go.
type Flows<'r> = BTreeMap<(usize, usize), Vec<&'r Rekeyed>>;

/// Rows on their way to a shard.
struct Arriving {
    to: PullPart,
    table: ScratchTable,
    batches: Batches,
}

impl Session {
    /// Changes rows, and moves those that get a key of another shard.
    pub(super) async fn move_computed(
        &mut self,
        (moving, computed): (&Moving, &Computed),
        statement: &Statement,
        route: Route,
        changed: &mut Changed<'_>,
    ) -> Result<(), Failure> {
        let gone = || Fault::Sharding("the service is not sharded any more".into());
        let known = self.known_tables().ok_or_else(gone)?;
        let Some(Table::Sharded(sharded)) = known.sharding.tables.get(&moving.table) else {
            return Err(gone().into());
        };
        // Always in the same order, so that no two sessions wait for each other.
        let mut nodes: Vec<(&NodeStatement, &NodeStatement)> =
            moving.statements.iter().zip(&computed.finds).collect();
        nodes.sort_by_key(|(node, _)| (node.source, node.shard));
        let mut budget = self.gather_budget();
        let mut rows: Vec<(usize, Rekeyed)> = Vec::new();
        let mut counts = Vec::new();
        let mut doubt = None;
        for (node, find) in &nodes {
            self.may_go_on()?;
            self.touch(node.source, route, changed).await?;
            let before = rows.len();
            let doubted = self
                .find_keys(
                    (sharded, computed),
                    (find, changed.values),
                    &mut rows,
                    &mut budget,
                )
                .await?;
            doubt = doubt.or(doubted);
            let found = rows.len() - before;
            if found > 0 {
                let part = part_of(node).ok_or_else(|| unmoved("its shard has no name"))?;
                self.is_plain(&part).await?;
            }
            counts.push(found);
        }
        if let Some(doubt) = doubt {
            // What is wrong with a value, its server says best.
            for (node, _) in &nodes {
                self.change_at(node, statement, route, changed).await?;
            }
            return Err(unmoved(doubt));
        }
        let flows = flows(&rows);
        let arrivals = self
            .may_arrive((moving, computed), sharded, (&rows, &flows), route, changed)
            .await?;
        for ((node, _), found) in nodes.iter().zip(counts) {
            self.may_go_on()?;
            let ended = self.change_at(node, statement, route, changed).await?;
            if matched(&ended) != Some(found) {
                return Err(unmoved("another transaction changed which rows it finds"));
            }
            changed.ended.push(ended);
        }
        self.carry(
            (moving, computed),
            (&nodes, &flows),
            arrivals,
            statement,
            budget,
        )
        .await
    }

    /// Finds the rows of a shard and what their keys become; they are locked then. Says why one of them cannot move.
    async fn find_keys(
        &mut self,
        (sharded, computed): (&ShardedTable, &Computed),
        (find, values): (&NodeStatement, &[Parameter<'_>]),
        rows: &mut Vec<(usize, Rekeyed)>,
        budget: &mut Budget,
    ) -> Result<Option<Unmoved>, Failure> {
        let from = find.shard.ok_or_else(|| unmoved("its shard has no name"))?;
        let names = self
            .names_of(std::slice::from_ref(find))
            .unwrap_or_default();
        // What the session wants answers in is not what its literals are in.
        let results = self.state.vector.variables.get("character_set_results");
        let utf8 = results.is_none() && self.text_is_utf8();
        let mut doubt = None;
        let own = selected(values, &find.parameters);
        let read = for_each(
            self.backend()?,
            (&find.sql, &own),
            computed.width(),
            |columns, cells| {
                let bytes: usize = cells.iter().flatten().map(|cell| cell.len()).sum();
                budget.take(bytes * 3 + ROW_BYTES)?;
                let values: Vec<Option<&[u8]>> = cells.iter().map(|cell| cell.as_deref()).collect();
                let row = match columns.iter().any(|column| is_inexact(column)) {
                    true => Err(Unmoved::Stored),
                    false => computed.row(sharded, &values, utf8),
                };
                match row {
                    Ok(row) => rows.push((from, row)),
                    Err(why) => drop(doubt.get_or_insert(why)),
                }
                Ok(())
            },
        );
        match read.await? {
            Ok(()) => Ok(doubt),
            Err(error) => {
                self.note_error(Some(error.code));
                let place = self.place_of(find);
                Err(of_server(&error.payload, &place, &names).into())
            }
        }
    }

    /// Whether rows can go to their shards, and how they arrive there.
    async fn may_arrive(
        &mut self,
        (moving, computed): (&Moving, &Computed),
        sharded: &ShardedTable,
        (rows, flows): (&[(usize, Rekeyed)], &Flows<'_>),
        route: Route,
        changed: &mut Changed<'_>,
    ) -> Result<BTreeMap<usize, Arriving>, Failure> {
        let mut arrivals = BTreeMap::new();
        for to in flows.keys().map(|(_, to)| *to) {
            if arrivals.contains_key(&to) {
                continue;
            }
            let shard = sharded.shards.get(to);
            let shard = shard.ok_or_else(|| unmoved("its shard has no name"))?;
            let part = PullPart {
                source: shard.source,
                shard: Some(to),
                table: shard.table.clone(),
            };
            let sources = moving.statements.iter().map(|node| node.source);
            self.may_reach(sources, part.source)?;
            self.touch(part.source, route, changed).await?;
            self.is_plain(&part).await?;
            let (table, shown) = self.table_of(&part).await?;
            if computed.clashes(rows, Unique::of(&shown, &computed.assigned)) {
                return Err(unmoved(Unmoved::Clashing));
            }
            let batches = Batches::of(&table, &moving.table);
            let arriving = Arriving {
                to: part,
                table,
                batches,
            };
            arrivals.insert(to, arriving);
        }
        Ok(arrivals)
    }

    /// Takes all rows that belong elsewhere, and brings them there.
    async fn carry(
        &mut self,
        (moving, computed): (&Moving, &Computed),
        (nodes, flows): (&[(&NodeStatement, &NodeStatement)], &Flows<'_>),
        mut arrivals: BTreeMap<usize, Arriving>,
        statement: &Statement,
        mut budget: Budget,
    ) -> Result<(), Failure> {
        for ((from, to), rows) in flows {
            let mut nodes = nodes.iter().map(|(node, _)| node);
            let node = nodes.find(|node| node.shard == Some(*from));
            let from = node.and_then(|node| part_of(node));
            let (Some(from), Some(arriving)) = (from, arrivals.get_mut(to)) else {
                return Err(unmoved("its shard has no name"));
            };
            self.go_to(from.source).await?;
            for (condition, count) in computed.conditions(rows.iter().copied()) {
                self.may_go_on()?;
                let taken = self
                    .take_rows(
                        (&from, &condition),
                        &arriving.table,
                        &mut arriving.batches,
                        &mut budget,
                    )
                    .await?;
                if taken != count {
                    return Err(unmoved(
                        "its shard stored another value than the one that was computed",
                    ));
                }
            }
        }
        for arriving in arrivals.into_values() {
            self.may_go_on()?;
            self.go_to(arriving.to.source).await?;
            self.bring_rows(&arriving.to, moving, arriving.batches, statement)
                .await?;
        }
        Ok(())
    }
}

/// The rows that belong to another shard than theirs, by both.
fn flows(rows: &[(usize, Rekeyed)]) -> Flows<'_> {
    let mut flows = Flows::new();
    for (from, row) in rows {
        if *from != row.shard {
            flows.entry((*from, row.shard)).or_default().push(row);
        }
    }
    flows
}

/// Whether values of this column are printed with fewer digits than they have.
fn is_inexact(definition: &[u8]) -> bool {
    use dbmesh_wire::column::{Column, ColumnType};
    let column = Column::decode(definition);
    column.is_ok_and(|column| matches!(column.column_type, ColumnType::FLOAT | ColumnType::DOUBLE))
}

/// How many rows an UPDATE found.
fn matched(ended: &Ended) -> Option<usize> {
    let caps = Capabilities::PROTOCOL_41.union(Capabilities::SESSION_TRACK);
    let ok = reply::Ok::decode(&ended.end, caps).ok()?;
    // MariaDB says nothing where a condition can never hold.
    if ok.info.is_empty() && ended.outcome.affected_rows == 0 {
        return Some(0);
    }
    let words = std::str::from_utf8(ok.info).ok()?;
    let number = words.strip_prefix("Rows matched: ")?;
    number.split(' ').next()?.parse().ok()
}
