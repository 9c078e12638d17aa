//! What the planner is told, and what its word means for a client.
//!
//! Owns the planner of this thread, and what is looked up before it is asked. Input: texts, what is known of the tables.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dbmesh_model::Service;
use dbmesh_plan::shard::{
    Catalog, Input, Parameter, RefuseReason, RowsAs, ShardPlan, ShardPlanner, Shown, Unknown,
    Variables, Zone,
};

use dbmesh_sql::{Dialect, Flavor, Statement, analyze};
use dbmesh_wire::relay::Names;

use super::super::{Failure, Session};
use super::keyed;
use super::work::of_server;
use crate::catalog::Known;
use crate::fault::Fault;
use crate::scatter::spec::Settings;
use crate::state::{Warning, Warnings};

/// Time zones without clocks that are set back, besides offsets.
const STEADY_ZONES: [&[u8]; 2] = [b"UTC", b"Etc/UTC"];

/// Times that columns are read for one plan, while other tables are defined.
const LEARNINGS_MAX: u32 = 16;

/// ER_PARSE_ERROR.
pub(super) const SYNTAX_ERROR: u16 = 1064;

/// The rows of EXPLAIN MESH that say where a statement would go among the sources, from the rules alone: nothing is known of
/// columns, nor of a session.
pub(crate) fn shards_offline(
    service: &Service,
    sql: &[u8],
    dialect: &Dialect,
) -> Vec<(String, String)> {
    const UNKNOWN: &str = "what becomes of it depends on the columns of its tables: ask a proxy that runs (EXPLAIN MESH)";
    let Some(sharding) = &service.sharding else {
        return Vec::new();
    };
    let schema = service.schema.as_deref();
    let planned = ShardPlanner::default().plan(&Input {
        sql,
        dialect,
        sharding,
        catalog: &Catalog::default(),
        schema,
        in_schema: true,
        chosen: schema,
        here: None,
        utf8: true,
        parameters: None,
        variables: Variables::Hidden,
        select_limit: None,
        hint: None,
        rows_as: None,
        zone: Zone::Steady,
    });
    let text = match &planned {
        ShardPlan::Learn(_) => UNKNOWN.to_owned(),
        plan if keyed::is_keyed(plan, &analyze(sql, dialect)) => UNKNOWN.to_owned(),
        ShardPlan::Refuse(reason) => format!("refused: {}", reason.why()),
        plan => Shown { plan, sharding }.to_string(),
    };
    by_node(&text)
}

/// What a plan says of itself as rows: the first line is of the whole, the others are each of a node.
fn by_node(planned: &str) -> Vec<(String, String)> {
    let mut lines = planned.lines();
    let first = lines.next().unwrap_or_default().to_owned();
    let mut rows = vec![("sharding".to_owned(), first)];
    for line in lines {
        let line = line.trim();
        let (node, text) = line.split_once(": ").unwrap_or((line, ""));
        rows.push((format!("node {node}"), text.to_owned()));
    }
    rows
}

/// Tables whose columns were asked for: each once, and again where a definition made it forgotten.
#[derive(Debug, Default)]
pub(super) struct Learning {
    asked: HashSet<String>,
    definitions: Option<u64>,
    times: u32,
}

impl Learning {
    /// So many definitions have passed.
    pub fn look(&mut self, definitions: u64) {
        if self.definitions.replace(definitions) != Some(definitions) && self.times < LEARNINGS_MAX
        {
            self.times += 1;
            self.asked.clear();
        }
    }

    /// Whether a table is to be asked for.
    pub fn is_new(&mut self, table: &str) -> bool {
        self.asked.insert(table.to_owned())
    }
}

impl Session {
    /// Why nothing is executed.
    pub(super) fn unplanned(&self, plan: ShardPlan) -> Failure {
        if let ShardPlan::Refuse(reason) = &plan {
            return self.refusal(reason).into();
        }
        let why = match plan {
            ShardPlan::Learn(_) => "its tables are not known".to_owned(),
            ShardPlan::Load(_) => "a prepared LOAD DATA: send it as text".to_owned(),
            _ => "it was planned and not executed".to_owned(),
        };
        Fault::Sharding(why).into()
    }

    /// Whether the rows of the statement just tried cannot be put together.
    pub(super) fn takes_unmergeable(&mut self) -> bool {
        let sharded = self.sharded.as_mut();
        sharded.is_some_and(|sharded| std::mem::take(&mut sharded.unmergeable))
    }

    /// The plan that has one server finish the statement.
    pub(super) async fn gather_plan(
        &mut self,
        sql: &[u8],
        bound: Option<&[Parameter]>,
    ) -> Result<ShardPlan, Fault> {
        let gone = || Fault::Sharding("the service is not sharded any more".into());
        let known = self.known_tables().ok_or_else(gone)?;
        self.planned(sql, &known, &known.catalog, bound, ShardPlanner::gather)
    }

    /// A refusal of the planner's as the client hears it: of a table that is not there, what a server would say.
    pub(super) fn refusal(&self, reason: &RefuseReason) -> Fault {
        let schema = self
            .sharded
            .as_ref()
            .and_then(|s| s.home.service.schema.as_deref());
        match reason {
            RefuseReason::UnknownTable(name) => Fault::Server {
                code: 1146,
                sqlstate: "42S02".into(),
                message: format!(
                    "Table '{}.{name}' doesn't exist (dbmesh: {})",
                    schema.unwrap_or_default(),
                    reason.why()
                ),
            },
            RefuseReason::UnknownSchema(name) => Fault::Server {
                code: 1049,
                sqlstate: "42000".into(),
                message: format!("Unknown database '{name}' (dbmesh: {})", reason.why()),
            },
            RefuseReason::ColumnCount { row } => Fault::Server {
                code: 1136,
                sqlstate: "21S01".into(),
                message: format!(
                    "Column count doesn't match value count at row {row} (dbmesh: {})",
                    reason.why()
                ),
            },
            reason @ (RefuseReason::HintUnused
            | RefuseReason::HintValue { .. }
            | RefuseReason::HintWhole) => Fault::Hint(reason.why()),
            reason => Fault::Sharding(reason.why()),
        }
    }

    /// Of a text that is not understood here, what a server says against it: it is prepared there, and never executed.
    pub(super) async fn unparsed(
        &mut self,
        sql: &[u8],
        statement: &Statement,
        plan: ShardPlan,
    ) -> Failure {
        let payload = match self.judged_by_server(sql, statement).await {
            Ok(Err(payload)) => payload,
            Ok(Ok(_)) => return self.unplanned(plan),
            Err(failure) => return failure,
        };
        match of_server(&payload, "", &Names::default()) {
            error @ Fault::Server {
                code: SYNTAX_ERROR, ..
            } => error.into(),
            _ => self.unplanned(plan),
        }
    }

    /// What becomes of a text, once all that it needs is known.
    pub(super) async fn shard_plan(
        &mut self,
        sql: &[u8],
        bound: Option<&[Parameter]>,
    ) -> Result<ShardPlan, Fault> {
        self.shard_plan_of(sql, bound, None).await
    }

    async fn shard_plan_of(
        &mut self,
        sql: &[u8],
        bound: Option<&[Parameter]>,
        rows_as: Option<RowsAs<'_>>,
    ) -> Result<ShardPlan, Fault> {
        let gone = || Fault::Sharding("the service is not sharded any more".into());
        let plan = |planner: &mut ShardPlanner, input: &Input<'_>| {
            planner.plan(&Input { rows_as, ..*input })
        };
        let known = self.known_tables().ok_or_else(gone)?;
        let planned = self.planned(sql, &known, &known.catalog, bound, |planner, input| {
            (plan(planner, input), planner.unlisted().map(str::to_owned))
        });
        let (first, unlisted) = planned?;
        if let Some(sharded) = &mut self.sharded {
            sharded.unlisted = unlisted;
        }
        let ShardPlan::Learn(mut names) = first else {
            return Ok(first);
        };
        let mut left = LEARNINGS_MAX;
        loop {
            let definitions = self.definitions_passed();
            self.learn(&names).await?;
            let known = self.known_tables().ok_or_else(gone)?;
            left -= 1;
            match self.planned(sql, &known, &known.catalog, bound, plan)? {
                // What was learned is forgotten: a table was defined meanwhile.
                ShardPlan::Learn(again) if left > 0 && self.definitions_passed() != definitions => {
                    names = again;
                }
                ShardPlan::Learn(_) => {
                    // They are not there: the servers will say so, or the statement creates them.
                    let catalog = Catalog {
                        others: Unknown::Accept,
                        ..known.catalog.clone()
                    };
                    return self.planned(sql, &known, &catalog, bound, plan);
                }
                plan => return Ok(plan),
            }
        }
    }

    /// How many definitions of tables passed by.
    pub(super) fn definitions_passed(&self) -> u64 {
        let sharded = self.sharded.as_ref();
        sharded.map_or(0, |sharded| {
            sharded.home.schema_epoch.load(Ordering::Relaxed)
        })
    }

    /// The same of a step of a statement; a hint that is for no table of the step was for what came before it.
    pub(super) async fn step_plan(
        &mut self,
        sql: &[u8],
        bound: Option<&[Parameter]>,
        rows_as: Option<RowsAs<'_>>,
    ) -> Result<ShardPlan, Fault> {
        let plan = self.shard_plan_of(sql, bound, rows_as).await?;
        if plan != ShardPlan::Refuse(RefuseReason::HintUnused) {
            return Ok(plan);
        }
        let hint = self.demand.shard.take();
        let without = self.shard_plan_of(sql, bound, rows_as).await;
        self.demand.shard = hint;
        without
    }

    /// Where a statement would go among the sources, for EXPLAIN MESH.
    pub(in super::super) async fn explain_shards(&mut self, sql: &[u8]) -> Vec<(String, String)> {
        let rules = self.sharded.as_ref().and_then(|sharded| sharded.sharding());
        let Some(rules) = rules.cloned() else {
            return Vec::new();
        };
        let statement = analyze(sql, &self.dialect());
        let planned = match self.shard_plan(sql, None).await {
            Ok(plan) if keyed::is_keyed(&plan, &statement) => {
                match self.explain_steps(sql, &statement, plan).await {
                    Ok(steps) => steps,
                    Err(Failure::Fault(fault)) => format!("refused: {fault}"),
                    Err(_) => "refused".to_owned(),
                }
            }
            Ok(ShardPlan::Refuse(reason)) => format!("refused: {}", reason.why()),
            Ok(plan) => Shown {
                plan: &plan,
                sharding: &rules,
            }
            .to_string(),
            Err(fault) => fault.to_string(),
        };
        by_node(&planned)
    }

    /// Asks the planner something of a text.
    pub(super) fn planned<T>(
        &mut self,
        sql: &[u8],
        known: &Known,
        catalog: &Catalog,
        bound: Option<&[Parameter]>,
        ask: impl FnOnce(&mut ShardPlanner, &Input<'_>) -> T,
    ) -> Result<T, Fault> {
        thread_local! {
            static PLANNER: RefCell<ShardPlanner> = RefCell::default();
        }
        let dialect = self.dialect();
        let utf8 = self.text_is_utf8();
        let variables = self.known_variables(sql, &dialect);
        let select_limit = self.select_limit()?;
        let zone = self.zone();
        let gone = || Fault::Sharding("the service is not sharded any more".into());
        let sharded = self.sharded.as_ref().ok_or_else(gone)?;
        let schema = sharded.home.service.schema.as_deref();
        let input = Input {
            sql,
            dialect: &dialect,
            sharding: &known.sharding,
            catalog,
            schema,
            chosen: self
                .state
                .vector
                .schema
                .as_deref()
                .and_then(|name| std::str::from_utf8(name).ok()),
            in_schema: self.state.vector.schema.as_deref() == schema.map(str::as_bytes),
            here: Some(sharded.source),
            utf8,
            parameters: bound,
            variables: match &variables {
                Some(known) => Variables::Known(known),
                None => Variables::Hidden,
            },
            select_limit,
            hint: self.demand.shard.as_ref(),
            rows_as: None,
            zone,
        };
        Ok(PLANNER.with_borrow_mut(|planner| ask(planner, &input)))
    }

    /// Whether times of the session tell their moments.
    pub(super) fn zone(&mut self) -> Zone {
        let facts = self.server_facts();
        let default = |name| facts.as_ref().and_then(|facts| facts.default_of(name));
        let own = self.state.vector.value_of("time_zone");
        let own = own.map(AsRef::as_ref).or_else(|| default("time_zone"));
        let own = own.unwrap_or(b"SYSTEM");
        let utc = |zone: &[u8]| {
            STEADY_ZONES
                .iter()
                .any(|utc| zone.eq_ignore_ascii_case(utc))
        };
        let is_steady = match own {
            [b'+' | b'-', ..] => true,
            // What servers say of their system's zone may look like an offset, and is its name of now.
            own if own.eq_ignore_ascii_case(b"SYSTEM") => {
                default("system_time_zone").is_some_and(utc)
            }
            own => utc(own),
        };
        match is_steady {
            true => Zone::Steady,
            false => Zone::Shifting,
        }
    }

    /// The session's `sql_select_limit`, where it has one.
    fn select_limit(&self) -> Result<Option<u64>, Fault> {
        let Some(value) = self.state.vector.variables.get("sql_select_limit") else {
            return Ok(None);
        };
        let number = std::str::from_utf8(value).ok();
        let number = number.and_then(|n| n.trim_matches('\'').parse().ok());
        let why = || "its `sql_select_limit` is no number: set a number, or DEFAULT".to_owned();
        let number: u64 = number.ok_or_else(|| Fault::Sharding(why()))?;
        Ok(Some(number).filter(|number| *number < u64::MAX))
    }

    /// What is known of the tables now.
    pub(super) fn known_tables(&mut self) -> Option<Arc<Known>> {
        self.known().cloned()
    }

    /// The same, of the session's own: it is counted by all sessions, so that who only looks takes no count.
    pub(super) fn known(&mut self) -> Option<&Arc<Known>> {
        let sharded = self.sharded.as_mut()?;
        let tables = sharded.home.tables.as_ref()?;
        let (version, epoch) = (
            tables.version(),
            sharded.home.schema_epoch.load(Ordering::Relaxed),
        );
        let current = matches!(&sharded.known, Some((v, e, _)) if *v == version && *e == epoch);
        if !current {
            let known = tables.known(epoch);
            sharded.known = Some((tables.version(), epoch, known));
        }
        sharded.known.as_ref().map(|(_, _, known)| known)
    }

    /// Reads the columns of these tables.
    pub(super) async fn learn(&mut self, names: &[String]) -> Result<(), Fault> {
        let Some(sharded) = &self.sharded else {
            return Ok(());
        };
        let home = sharded.home.clone();
        let Some(tables) = &home.tables else {
            return Ok(());
        };
        let epoch = home.schema_epoch.load(Ordering::Relaxed);
        let upstreams: Vec<_> = home.sources.iter().map(|s| s.upstream.clone()).collect();
        let schema = home.service.schema.as_deref().unwrap_or_default();
        tables.learn(names, schema, &upstreams, epoch).await
    }

    /// Whether the client's texts are UTF-8.
    pub(super) fn text_is_utf8(&mut self) -> bool {
        let hash = self.state.vector.hash();
        let known = self.sharded.as_ref().and_then(|sharded| sharded.utf8);
        if let Some((_, utf8)) = known.filter(|(known, _)| *known == hash) {
            return utf8;
        }
        let charset = self.state.client_charset();
        let utf8 = charset.starts_with("utf8") || charset == "ascii";
        if let Some(sharded) = &mut self.sharded {
            sharded.utf8 = Some((hash, utf8));
        }
        utf8
    }

    /// What the session says of aggregates.
    pub(super) fn settings(&mut self) -> Settings {
        let increment = self.number_of("div_precision_increment");
        let increment = increment.and_then(|n| u8::try_from(n).ok());
        let flavor = match self.is_mariadb() {
            true => Flavor::MariaDb,
            false => Flavor::MySql,
        };
        Settings {
            zone: self.zone(),
            flavor,
            increment: increment.unwrap_or(4),
            concat_bytes_max: self.number_of("group_concat_max_len"),
        }
    }

    /// Keeps warnings of a statement over several nodes, as many as the session keeps, for who asks for them.
    pub(super) fn tell_warnings(&mut self, mut rows: Vec<Warning>, count: u64) {
        let most = self.number_of("max_error_count").unwrap_or(u64::MAX);
        rows.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        let diagnostics = &mut self.state.diagnostics;
        diagnostics.warning_count = count;
        diagnostics.warnings = match count {
            0 => Warnings::None,
            count => Warnings::Kept { rows, count },
        };
    }

    /// A variable of the session's that is a number.
    pub(super) fn number_of(&mut self, name: &str) -> Option<u64> {
        let parsed = |value: &[u8]| {
            let text = std::str::from_utf8(value).ok()?;
            text.trim_matches('\'').parse::<u64>().ok()
        };
        match self.state.vector.value_of(name) {
            Some(own) => parsed(own),
            None => parsed(self.server_facts()?.default_of(name)?),
        }
    }
}
