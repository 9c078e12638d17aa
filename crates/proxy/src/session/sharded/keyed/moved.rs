//! Rows that an UPDATE gives another sharding key: changed where they are, and brought where they belong.
//!
//! Owns the path of such a change: it is one transaction, the session's or its own. Every shard changes its rows in place,
//! so that counts, conversions and errors are one server's; then the rows with the new key are deleted there and inserted at
//! their shard, value by value as they were stored. Must never leave a row behind, nor bring one twice: what was brought is
//! counted against what was changed. Input: an UPDATE that changes the key.

mod computed;

use std::collections::BTreeSet;
use std::sync::Arc;

use dbmesh_model::topology::sharding::AcrossSources;
use dbmesh_plan::Route;
use dbmesh_plan::shard::gather::ScratchTable;
use dbmesh_plan::shard::{
    Going, Moving, NodeStatement, PullPart, RefuseReason, ShardPlan, ShardPlanner, Unmoved,
};
use dbmesh_sql::{Statement, Verb, literal};
use dbmesh_wire::relay::Shape;

use super::super::super::{Executed, Failure, Session};
use super::super::gather::{Batches, Budget, broken, loading, refused, run};
use super::super::planning::Learning;
use super::{Asked, Changed, Found, in_words_of};
use crate::backend::{Applied, BackendError};
use crate::fault::Fault;
use crate::vector::Vector;

/// A plan that may be carried out by moving rows.
pub(super) fn is_moving(plan: &ShardPlan, statement: &Statement) -> bool {
    statement.verb == Verb::Update && *plan == ShardPlan::Refuse(RefuseReason::KeyUpdate)
}

fn unmoved(why: impl std::fmt::Display) -> Failure {
    let why = format!("it changes the sharding key, and its rows cannot move: {why}");
    Fault::Sharding(why).into()
}

impl Session {
    /// Changes rows and moves them.
    pub(super) async fn change_and_move(
        &mut self,
        asked: Asked<'_>,
        statement: &Statement,
        route: Route,
    ) -> Result<Executed, Failure> {
        let moving = self.moving_plan(asked).await?;
        let own = self.begin_change().await?;
        let mut changed = Changed::nothing(asked.values);
        let done = match &moving.going {
            Going::To { to, condition } => {
                let to = (to, condition.as_slice());
                Box::pin(self.move_rows(&moving, to, statement, route, &mut changed)).await
            }
            Going::Computed(computed) => {
                let moves = self.move_computed((&moving, computed), statement, route, &mut changed);
                Box::pin(moves).await
            }
        };
        let found = Found {
            statements: Vec::new(),
            expected: None,
            warnings: Vec::new(),
            charsets: BTreeSet::new(),
            rows: 0,
        };
        let done = done.map(|()| found);
        let found = self.end_change(own, &changed, done).await?;
        self.answer_changed(statement, true, found, changed).await
    }

    /// What moves, and whether it may.
    async fn moving_plan(&mut self, asked: Asked<'_>) -> Result<Moving, Failure> {
        let (sql, bound) = (asked.sql, asked.bound());
        let gone = || Fault::Sharding("the service is not sharded any more".into());
        let mut learning = Learning::default();
        let moving = loop {
            learning.look(self.definitions_passed());
            let known = self.known_tables().ok_or_else(gone)?;
            let bound = bound.as_deref();
            match self.planned(sql, &known, &known.catalog, bound, ShardPlanner::moving)? {
                Err(Unmoved::Unknown(table)) if learning.is_new(&table) => {
                    self.learn(&[table]).await?;
                }
                planned => break planned.map_err(unmoved)?,
            }
        };
        self.may_move(&moving)?;
        Ok(moving)
    }

    /// What would be done, in a sentence.
    pub(super) async fn explain_move(&mut self, sql: &[u8]) -> Result<String, Failure> {
        let moving = self.moving_plan(Asked::in_text(sql)).await?;
        let shards = moving.statements.len();
        Ok(match moving.going {
            Going::To { .. } => format!(
                "rows are changed where they are ({shards} shards), and those that come to another shard move there, as one change"
            ),
            Going::Computed(_) => format!(
                "rows are found with their new keys ({shards} shards), with locks, changed where they are, and those that come to another shard move there, as one change"
            ),
        })
    }

    /// Whether the nodes in question commit as one, and texts can stand among those of dbmesh.
    fn may_move(&mut self, moving: &Moving) -> Result<(), Failure> {
        let sources = moving.statements.iter().map(|node| node.source);
        match &moving.going {
            Going::To { to, .. } => self.may_reach(sources, to.source)?,
            Going::Computed(_) => {
                let first = moving.statements.first().map_or(0, |node| node.source);
                self.may_reach(sources, first)?;
            }
        }
        self.has_plain_charset().map_err(Failure::from)
    }

    /// Whether a change at these sources and at another is one.
    fn may_reach(
        &self,
        mut sources: impl Iterator<Item = usize>,
        other: usize,
    ) -> Result<(), Failure> {
        let sharding = self.sharded.as_ref().and_then(|sharded| sharded.sharding());
        let atomic = sharding.is_some_and(|sharding| sharding.across == AcrossSources::Atomic);
        match atomic || sources.all(|source| source == other) {
            true => Ok(()),
            false => Err(unmoved(
                "that needs nodes that commit as one (`transactions.acrossNodes: atomic` of the DataShard)",
            )),
        }
    }

    async fn move_rows(
        &mut self,
        moving: &Moving,
        (to, condition): (&PullPart, &[u8]),
        statement: &Statement,
        route: Route,
        changed: &mut Changed<'_>,
    ) -> Result<(), Failure> {
        // Always in the same order, so that no two sessions wait for each other.
        let mut nodes: Vec<&NodeStatement> = moving.statements.iter().collect();
        nodes.sort_by_key(|node| (node.source, node.shard));
        let mut left = Vec::new();
        for node in nodes {
            self.may_go_on()?;
            let ended = self.change_at(node, statement, route, changed).await?;
            let rows = ended.outcome.affected_rows;
            let stays = node.shard == to.shard;
            if stays && ended.outcome.warnings > 0 {
                return Err(unmoved("its shard stored the change with warnings"));
            }
            if !stays && rows > 0 {
                left.push((node, rows));
            }
            changed.ended.push(ended);
        }
        if left.is_empty() {
            return Ok(());
        }
        self.touch(to.source, route, changed).await?;
        self.is_plain(to).await?;
        let (table, _) = self.table_of(to).await?;
        let mut budget = self.gather_budget();
        for (node, rows) in left {
            self.may_go_on()?;
            let from = part_of(node).ok_or_else(|| unmoved("its shard has no name"))?;
            self.reach(from.source, route).await?;
            self.is_plain(&from).await?;
            let mut batches = Batches::of(&table, &moving.table);
            let taken = self
                .take_rows((&from, condition), &table, &mut batches, &mut budget)
                .await?;
            if taken != rows {
                return Err(unmoved(
                    "its shard stored another value than the one that is written",
                ));
            }
            self.reach(to.source, route).await?;
            self.bring_rows(to, moving, batches, statement).await?;
        }
        Ok(())
    }

    /// Reads the rows of a shard that belong elsewhere, and deletes them there; says how many.
    async fn take_rows(
        &mut self,
        (from, condition): (&PullPart, &[u8]),
        table: &ScratchTable,
        batches: &mut Batches,
        budget: &mut Budget,
    ) -> Result<u64, Failure> {
        let own = self.load_here().await?;
        let name = literal::quote_identifier(from.table.as_bytes());
        let backend = self.backend()?;
        if let Some(lossy) = table.unfaithful() {
            let sql = [
                b"SELECT COUNT(*) FROM ",
                name.as_slice(),
                b" WHERE (",
                condition,
                b") AND (",
                &lossy,
                b")",
            ];
            let rows = backend.query(&sql.concat()).await.map_err(broken)?;
            let rows = rows.map_err(refused)?;
            let none = rows.first().and_then(|row| row.first()?.as_deref()) == Some(b"0");
            if !none {
                return Err(unmoved(
                    "a JSON document has values that its text does not give back",
                ));
            }
        }
        let mut select = table.select(&from.table, &name, Some(condition));
        select.extend_from_slice(b" FOR UPDATE");
        let rows = batches.read(backend, table, &select, budget).await?;
        let delete = [b"DELETE FROM ", name.as_slice(), b" WHERE ", condition];
        let payload = backend.query_payload(&delete.concat());
        let deleted = backend.run(&payload, Shape::Results).await;
        let (outcome, _) = deleted.map_err(broken)?.map_err(refused)?;
        if outcome.affected_rows != rows {
            return Err(unmoved("its rows did not stay the same"));
        }
        self.unload_here(own).await?;
        Ok(rows)
    }

    /// Inserts rows where the session is.
    async fn bring_rows(
        &mut self,
        to: &PullPart,
        moving: &Moving,
        batches: Batches,
        statement: &Statement,
    ) -> Result<(), Failure> {
        let own = self.load_here().await?;
        let table = (to.table.clone(), moving.table.clone());
        let names = self.names_at(&[to.source], &[table]).unwrap_or_default();
        for insert in batches.statements() {
            let inserted = run(self.backend()?, &insert).await;
            if let Err(Failure::Fault(Fault::Server { code, .. })) = &inserted {
                self.note_error(Some(*code));
            }
            inserted.map_err(|failure| in_words_of(failure, &names))?;
        }
        self.note_work(statement);
        self.unload_here(own).await
    }

    /// Values are read and written as they are stored, from here on; gives back the connection's own state.
    async fn load_here(&mut self) -> Result<Arc<Vector>, Failure> {
        let own = self.backend()?.vector.clone();
        let mut vector = Vector::clone(&own);
        vector.unbind();
        loading(&mut vector);
        vector.rehash();
        self.unload_here(Arc::new(vector)).await?;
        Ok(own)
    }

    async fn unload_here(&mut self, vector: Arc<Vector>) -> Result<(), Failure> {
        let applied = self.backend()?.apply(&vector).await;
        match applied.map_err(broken)?.map_err(refused)? {
            Applied::Done => Ok(()),
            _ => {
                let what = "the session's state did not come back".to_owned();
                Err(broken(BackendError::Protocol(what)))
            }
        }
    }

    /// How rows travel to the table of this part, where the session is, and its definition.
    async fn table_of(&mut self, part: &PullPart) -> Result<(ScratchTable, Vec<u8>), Failure> {
        let own = self.load_here().await?;
        let name = literal::quote_identifier(part.table.as_bytes());
        let sql = [&b"SHOW CREATE TABLE "[..], &name].concat();
        let rows = self.backend()?.query(&sql).await.map_err(broken)?;
        let rows = rows.map_err(refused)?;
        self.unload_here(own).await?;
        let shown = rows.first().and_then(|row| row.get(1)?.as_deref());
        let shown = shown.unwrap_or_default().to_vec();
        let table = ScratchTable::of(&shown, &part.table, None);
        let table = table.ok_or_else(|| unmoved("it is no plain table"))?;
        Ok((table, shown))
    }

    /// No trigger fires for a row that is brought, and no other table refers to it, where the session is.
    async fn is_plain(&mut self, part: &PullPart) -> Result<(), Failure> {
        let no_escapes = self.dialect().no_backslash_escapes;
        let name = literal::quote_literal(part.table.as_bytes(), no_escapes);
        let sql = [
            b"SELECT (SELECT COUNT(*) FROM information_schema.triggers WHERE event_object_schema = DATABASE() \
              AND event_object_table = "
                .as_slice(),
            &name,
            b"), (SELECT COUNT(*) FROM information_schema.referential_constraints WHERE \
              (constraint_schema = DATABASE() AND table_name = ",
            &name,
            b") OR (unique_constraint_schema = DATABASE() AND referenced_table_name = ",
            &name,
            b"))",
        ];
        let rows = self.backend()?.query(&sql.concat()).await;
        let rows = rows.map_err(broken)?.map_err(refused)?;
        let count = |at: usize| rows.first().and_then(|row| row.get(at)?.as_deref());
        match (count(0), count(1)) {
            (Some(b"0"), Some(b"0")) => Ok(()),
            (Some(b"0"), _) => Err(unmoved("a foreign key is on its table")),
            _ => Err(unmoved("a trigger is on its table")),
        }
    }
}

/// The table that a statement changes at its node.
fn part_of(node: &NodeStatement) -> Option<PullPart> {
    let (table, _) = node.tables.first()?;
    Some(PullPart {
        source: node.source,
        shard: node.shard,
        table: table.clone(),
    })
}
