//! Values that a statement leaves to the order of the table's columns.
//!
//! Owns that such a statement is planned by the columns as they are: another process may have changed the table, and tells
//! nobody. Must never ask on another connection than the one that the statement goes to, where the session has one. Input:
//! INSERT, REPLACE and LOAD DATA without a list of columns.

use std::sync::Arc;

use dbmesh_model::topology::sharding::Table;
use dbmesh_plan::shard::{Parameter, ShardPlan};
use dbmesh_plan::{Aim, Route};
use dbmesh_sql::literal;

use super::super::prepare::PreparedFor;
use super::super::{Failure, Session};
use super::gather::broken;
use crate::backend::name_of;
use crate::fault::Fault;
use crate::prepared::{Answer, Key};

/// A table that changes more often while one statement is planned is left alone.
const PLANS_MAX: usize = 4;

impl Session {
    /// What becomes of a statement that is about to be executed.
    pub(super) async fn current_plan(
        &mut self,
        sql: &[u8],
        bound: Option<&[Parameter]>,
        route: Route,
    ) -> Result<ShardPlan, Failure> {
        for _ in 0..PLANS_MAX {
            let plan = self.shard_plan(sql, bound).await?;
            let table = self.sharded.as_mut().and_then(|s| s.unlisted.take());
            let Some(table) = table else {
                return Ok(plan);
            };
            if Box::pin(self.has_columns_as_known(&table, &plan, route.aim)).await? {
                return Ok(plan);
            }
            let tables = self.sharded.as_ref().and_then(|s| s.home.tables.as_ref());
            if let Some(tables) = tables {
                tables.forget_now();
            }
        }
        let why =
            "the columns of its table are not alike on all shards, or change meanwhile: name them";
        Err(Fault::Sharding(why.into()).into())
    }

    async fn has_columns_as_known(
        &mut self,
        table: &str,
        plan: &ShardPlan,
        aim: Aim,
    ) -> Result<bool, Failure> {
        let Some(known) = self.known_tables() else {
            return Ok(true);
        };
        let (Some(names), Some(Table::Sharded(sharded))) = (
            known.catalog.columns(table),
            known.sharding.tables.get(table),
        ) else {
            return Ok(true);
        };
        let here = self.sharded.as_ref().map(|sharded| sharded.source);
        let planned: Vec<usize> = match plan {
            ShardPlan::Single(node) => node.shard.into_iter().collect(),
            ShardPlan::Scatter { statements, .. } => {
                statements.iter().filter_map(|node| node.shard).collect()
            }
            _ => (0..sharded.shards.len()).collect(),
        };
        let mut shards = planned
            .iter()
            .filter_map(|shard| sharded.shards.get(*shard));
        let first = shards.clone().next();
        let at_hand = shards.find(|shard| Some(shard.source) == here);
        // What is bound to one node and goes to several is judged where it is, if at all.
        let goes = matches!(plan, ShardPlan::Single(_) | ShardPlan::Scatter { .. });
        let may_go = goes || !(self.lease.is_some() && self.is_bound());
        let Some(shard) = at_hand.or(first.filter(|_| may_go)) else {
            return Ok(true);
        };
        let there = self.columns_at(shard.source, &shard.table, aim).await?;
        // A server that does not say it has a reason, which the statement will meet as well.
        Ok(there.is_none_or(|there| there == *names))
    }

    /// The names of a table's columns at a source, in order and lower case; none if it does not say.
    async fn columns_at(
        &mut self,
        source: usize,
        table: &str,
        aim: Aim,
    ) -> Result<Option<Vec<String>>, Failure> {
        let mut sql = b"SELECT * FROM ".to_vec();
        sql.extend(literal::quote_identifier(table.as_bytes()));
        let waiting = self.suspend_prologue();
        let described = self.described_now(source, &sql, aim).await;
        if described.is_ok() && waiting.is_some() {
            self.give_up_hold().await;
        }
        self.resume_prologue(waiting);
        let Some(answer) = described? else {
            return Ok(None);
        };
        let names = answer.definitions.iter();
        let names = names.map(|one| name_of(one).map_err(broken));
        names.collect::<Result<Vec<_>, Failure>>().map(Some)
    }

    async fn described_now(
        &mut self,
        source: usize,
        sql: &[u8],
        aim: Aim,
    ) -> Result<Option<Arc<Answer>>, Failure> {
        self.go_to(source).await?;
        self.in_own_schema(true).await?;
        let key = Arc::new(Key::of(sql, &self.state.vector));
        let wanted = PreparedFor::AnswerNow(aim);
        match self.prepared_on_connection(&key, wanted).await {
            Ok(prepared) => Ok(prepared.ok().map(|(_, answer)| answer)),
            Err(unsent) => Err(self.not_sent(unsent)),
        }
    }
}
