//! Statements that are like one that was planned before: no tree is made of them.
//!
//! Owns the way from a text to its node by a remembered plan, and what is kept of a new one. Must never be asked for what
//! generates keys. Input: statements in text, or bound; the plans that rest on what is known of the tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use dbmesh_plan::Route;
use dbmesh_plan::shard::value::{Reading, Variables};
use dbmesh_plan::shard::{Parameter, ShardPlan, ShardPlanner, Template};
use dbmesh_sql::{Statement, Verb, analyze};
use dbmesh_wire::DecodeError;
use dbmesh_wire::command::Query;
use dbmesh_wire::relay::Names;
use smallvec::SmallVec;

use super::super::prepared::Run;
use super::super::{Failure, Session};
use super::PlacedText;
use super::prepared::planned;
use crate::fault::Fault;
use crate::plans::{Asked, Placed, Remembered, Variants};
use crate::prepared::Key;

/// A prepared statement at its node.
pub(super) struct KnownRun {
    source: usize,
    names: Option<Arc<Names>>,
    key: Arc<Key>,
    statement: Arc<Statement>,
}

/// What may be remembered: one table, and nothing that a session's state hangs on.
fn may_be(statement: &Statement) -> bool {
    matches!(statement.verb, Verb::Select | Verb::Update | Verb::Delete)
        && statement.effects.is_empty()
        && statement.statements == 1
        && !statement.unterminated
}

impl Session {
    /// A text in the words of its node, if a plan is remembered that holds for it.
    pub(super) fn remembered_text(
        &mut self,
        packet: &[u8],
        query: &Query<'_>,
        statement: &Statement,
    ) -> Option<PlacedText> {
        let (asked, variants) = self.variants(statement, false)?;
        let head = packet.get(..query.sql_offset)?;
        let reading = Reading {
            sql: query.sql,
            dialect: &asked.dialect,
            utf8: asked.utf8,
            parameters: None,
            variables: Variables::Hidden,
        };
        let mut text = Vec::with_capacity(packet.len() + 64);
        for remembered in &variants {
            let Some(template) = &remembered.template else {
                continue;
            };
            text.clear();
            text.extend_from_slice(head);
            if let Some(shard) = template.fill(&reading, &mut text) {
                let placed = self.placed(remembered, template, shard)?;
                self.serving.metrics.plan_found();
                return Some(PlacedText {
                    source: template.source(shard)?,
                    packet: text,
                    names: placed.names.clone(),
                });
            }
        }
        None
    }

    /// The same for a bound statement, whose text is then the same for all values.
    pub(super) fn remembered_bound(
        &mut self,
        packet: &[u8],
        run: &Run<'_>,
    ) -> Result<Option<KnownRun>, Fault> {
        // The client's packet lacks what came before.
        if run.pieces.is_some() {
            return Ok(None);
        }
        let Some((asked, variants)) = self.variants(run.statement, true) else {
            return Ok(None);
        };
        let types = run.types.as_deref().unwrap_or_default();
        let none = BTreeSet::new();
        let values = run.execute.values(packet, types, &none);
        let values = values.take(usize::from(run.params));
        let bound: Result<SmallVec<[Parameter; 4]>, DecodeError> =
            values.map(|value| Ok(planned(&value?))).collect();
        let bound = bound.map_err(|_| Fault::Malformed("COM_STMT_EXECUTE"))?;
        Ok(self.known_run(run, (&asked, &variants), &bound))
    }

    fn known_run(
        &self,
        run: &Run<'_>,
        (asked, variants): (&Asked, &Variants),
        bound: &[Parameter],
    ) -> Option<KnownRun> {
        let sql = &*run.key.sql;
        let reading = Reading {
            sql,
            dialect: &asked.dialect,
            utf8: asked.utf8,
            parameters: Some(bound),
            variables: Variables::Hidden,
        };
        let state = run.key.state();
        for remembered in variants {
            let template = remembered.template.as_ref();
            let Some(template) = template.filter(|template| !template.has_literals()) else {
                continue;
            };
            let Some(shard) = template.shard_of(&reading) else {
                continue;
            };
            let placed = self.placed(remembered, template, shard)?;
            let (of, key, statement) = placed.prepared.get_or_init(|| {
                let mut text = Vec::new();
                template.fill(&reading, &mut text);
                let key = Key::new(&text, state, 0).pinned(run.key.pins().clone());
                (
                    state,
                    Arc::new(key),
                    Arc::new(analyze(&text, &asked.dialect)),
                )
            });
            if *of != state {
                continue;
            }
            let key = match key.pins() == run.key.pins() {
                true => key.clone(),
                false => Arc::new(key.pinned(run.key.pins().clone())),
            };
            let known = KnownRun {
                source: template.source(shard)?,
                names: placed.names.clone(),
                key,
                statement: statement.clone(),
            };
            self.serving.metrics.plan_found();
            return Some(known);
        }
        None
    }

    fn variants(&mut self, statement: &Statement, bound: bool) -> Option<(Asked, Variants)> {
        if !may_be(statement) || self.demand.shard.is_some() {
            return None;
        }
        let asked = self.asked(statement, bound)?;
        let variants = self.known()?.plans.find(&asked);
        (!variants.is_empty()).then_some((asked, variants))
    }

    fn asked(&mut self, statement: &Statement, bound: bool) -> Option<Asked> {
        let dialect = self.dialect();
        let utf8 = self.text_is_utf8();
        let schema = self.sharded.as_ref()?.home.service.schema.as_deref();
        Some(Asked {
            digest: statement.digest.0,
            dialect,
            in_schema: self.state.vector.schema.as_deref() == schema.map(str::as_bytes),
            utf8,
            bound,
        })
    }

    fn placed<'a>(
        &self,
        remembered: &'a Remembered,
        template: &Template,
        shard: usize,
    ) -> Option<&'a Placed> {
        remembered.at(shard, || {
            let renamed = template.renamed(shard);
            self.names_at(&[template.source(shard)?], renamed.as_slice())
        })
    }

    /// Keeps what holds of a plan for other values, for who asks next.
    pub(super) fn remember(
        &mut self,
        sql: &[u8],
        statement: &Statement,
        bound: Option<&[Parameter]>,
        plan: &ShardPlan,
    ) {
        if !may_be(statement) || !matches!(plan, ShardPlan::Single(_)) {
            return;
        }
        let (Some(known), Some(asked)) =
            (self.known_tables(), self.asked(statement, bound.is_some()))
        else {
            return;
        };
        let variants = known.plans.find(&asked);
        if variants.iter().any(|known| known.template.is_none()) {
            return;
        }
        let made = self.planned(sql, &known, &known.catalog, bound, |planner, input| {
            ShardPlanner::template(planner, input, plan)
        });
        let Ok(template) = made else {
            return;
        };
        // What is not known of a table yet may be another thing once it is.
        if template
            .as_ref()
            .is_some_and(|t| !known.columns.contains(t.table()))
        {
            return;
        }
        self.serving.metrics.plan_made();
        known.plans.keep(asked, template);
    }

    /// Makes the node of a remembered plan the session's place.
    pub(super) async fn go_to_known(&mut self, known: &KnownRun) -> Result<(), Failure> {
        self.note_node(&known.key.sql);
        self.go_to(known.source).await?;
        self.in_own_schema(true).await?;
        if let Some(sharded) = &mut self.sharded {
            sharded.names.clone_from(&known.names);
        }
        Ok(())
    }
}

impl KnownRun {
    /// The execution there, with the client's own packet.
    pub(super) fn part<'a>(&'a self, run: &Run<'a>, route: Route) -> Run<'a> {
        Run {
            id: run.id,
            params: run.params,
            types: run.types.clone(),
            execute: run.execute,
            statement: &self.statement,
            key: &self.key,
            under: run.under,
            pieces: None,
            route,
        }
    }
}
