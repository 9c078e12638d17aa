//! Prepared statements of a sharded service.
//!
//! Owns what a client's statement is at each shard: the text differs, so it is prepared there when it is executed, with
//! those of the client's parameters that its part has. Rows come and leave in the binary protocol. Cursors are not opened:
//! all rows come at once, as servers may do. Must never let a statement run in words of the client's. Input: COM_STMT_PREPARE
//! and COM_STMT_EXECUTE.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dbmesh_plan::shard::{self, Clock, Described, Gather, NodeStatement, ShardPlan};
use dbmesh_plan::{Route, route};
use dbmesh_sql::{Statement, analyze};
use dbmesh_wire::column::{BinaryLayout, ColumnType};
use dbmesh_wire::command::{Parameter, ParameterValue, StmtExecute, put_bound};
use dbmesh_wire::relay::Names;
use dbmesh_wire::result_set::RowFormat;
use dbmesh_wire::status::Status;

use super::super::prepare::PreparedFor;
use super::super::prepared::Run;
use super::super::{Executed, Failure, Session};
use super::answers::Spread;
use super::keyed::Asked;
use super::variables::variables_read;
use crate::fault::Fault;
use crate::pieces::Pieces;
use crate::pins::PinReason;
use crate::prepared::{Answer, Key, Pins};
use crate::state::Warnings;
use crate::vector::Vector;

/// Its text means something else now.
const PREPARED_OTHERWISE: &str = "it was prepared under another schema, character set, sql_mode, time_zone, other types of user variables or the like, which \
     MySQL keeps; prepare it again";

/// What a prepared statement is executed with.
#[derive(Clone, Debug)]
pub(super) struct Bound<'a> {
    pub values: &'a [Parameter<'a>],
    /// The state under which it is prepared.
    pub under: Arc<Vector>,
    /// The definitions that had passed.
    pub epoch: u64,
}

impl Session {
    /// COM_STMT_PREPARE: what the server of one shard says of it, in the client's names.
    pub(in super::super) async fn prepare_sharded(
        &mut self,
        sql: &[u8],
        statement: Statement,
    ) -> Result<(), Failure> {
        self.find_unassigned(sql, &statement);
        let described = self.described(sql).await?;
        let node = described.as_ref().map(|described| &described.node);
        let (text, names) = match node {
            Some(node) => (
                node.sql.clone(),
                self.names_of(std::slice::from_ref(node))
                    .unwrap_or_default(),
            ),
            None => (sql.to_vec(), Arc::default()),
        };
        let prepared = match &described {
            Some(described) if !described.stand_ins.is_empty() => {
                Box::pin(self.prepare_over(described)).await
            }
            _ => self.prepare_apart(node, &text, &statement).await,
        };
        if !self.is_mariadb() {
            self.state.diagnostics.warnings = Warnings::None;
        }
        match prepared? {
            Ok(answer) => {
                let answer = renamed(&answer, &names)?;
                let key = Arc::new(Key::of(sql, &self.state.vector));
                self.take_statement(statement, key, &answer).await?;
            }
            Err(payload) => {
                let payload = names.error(&payload);
                let fault = super::work::of_server(&payload, "", &Names::default());
                self.state.note_fault(&fault);
                self.client.packet(&payload).await?;
            }
        }
        self.settle().await
    }

    /// What a server says of a text that nobody here understands.
    pub(super) async fn judged_by_server(
        &mut self,
        sql: &[u8],
        statement: &Statement,
    ) -> Result<Result<Arc<Answer>, Vec<u8>>, Failure> {
        self.prepare_apart(None, sql, statement).await
    }

    /// Prepares it; what waits for the transaction's first statement waits on.
    async fn prepare_apart(
        &mut self,
        node: Option<&NodeStatement>,
        text: &[u8],
        statement: &Statement,
    ) -> Result<Result<Arc<Answer>, Vec<u8>>, Failure> {
        let waiting = self.suspend_prologue();
        let prepared = self.prepare_at(node, text, statement).await;
        if prepared.is_ok() && waiting.is_some() {
            self.give_up_hold().await;
        }
        self.resume_prologue(waiting);
        prepared
    }

    /// The statement in the words of one node, whatever its values are; none if it needs no table.
    async fn described(&mut self, sql: &[u8]) -> Result<Option<Described>, Failure> {
        let gone = || Fault::Sharding("the service is not sharded any more".into());
        let known = self.known_tables().ok_or_else(gone)?;
        let described = self.planned(sql, &known, &known.catalog, None, |planner, input| {
            planner.describe(input)
        })?;
        described.map_err(|reason| self.refusal(&reason).into())
    }

    async fn prepare_at(
        &mut self,
        node: Option<&NodeStatement>,
        text: &[u8],
        statement: &Statement,
    ) -> Result<Result<Arc<Answer>, Vec<u8>>, Failure> {
        if let Some(node) = node {
            self.go_to(node.source).await?;
        }
        self.in_own_schema(node.is_some()).await?;
        let proof = self.prove(statement, text, false);
        let own = route(statement, text, self.view(proof)).aim;
        let aim = self.transaction_aim().unwrap_or(own);
        let key = Arc::new(Key::of(text, &self.state.vector));
        let prepared = match self
            .prepared_on_connection(&key, PreparedFor::Answer(aim))
            .await
        {
            Ok(prepared) => prepared,
            Err(unsent) => return Err(self.not_sent(unsent)),
        };
        Ok(prepared.map(|(_, answer)| answer))
    }

    /// COM_STMT_EXECUTE, of a statement of this text.
    pub(in super::super) async fn execute_sharded(
        &mut self,
        packet: &mut [u8],
        run: &Run<'_>,
    ) -> Result<Executed, Failure> {
        self.find_unassigned(&run.key.sql, run.statement);
        let hidden = self.state.pins.has(PinReason::UserVariable);
        let knew_all = !self.is_hidden();
        let executed = self.execute_planned(packet, run).await?;
        if knew_all && self.is_hidden() {
            Box::pin(self.keep_created()).await?;
        }
        if !hidden && self.state.pins.has(PinReason::UserVariable) {
            Box::pin(self.keep_variables(&run.key.sql)).await?;
        }
        Ok(executed)
    }

    /// Whether a statement that is planned and prepared now is what it was when the client prepared it.
    fn means_the_same(&mut self, run: &Run<'_>) -> bool {
        let (then, sql) = (run.under, &*run.key.sql);
        let now = self.state.vector.clone();
        if Arc::ptr_eq(then, &now)
            || then.prepares_like(&now)
            || then.prepare_state(sql) == now.prepare_state(sql)
        {
            return true;
        }
        if self.is_mariadb() {
            return then.reads_like(&now);
        }
        let Some(names) = variables_read(sql, run.statement, &self.dialect()) else {
            return false;
        };
        // An `@` may also stand in a literal.
        let without: Vec<u8> = sql.iter().copied().filter(|byte| *byte != b'@').collect();
        then.prepare_state(&without) == now.prepare_state(&without) && then.types_like(&now, &names)
    }

    async fn execute_planned(
        &mut self,
        packet: &mut [u8],
        run: &Run<'_>,
    ) -> Result<Executed, Failure> {
        let sql = &run.key.sql;
        if !self.means_the_same(run) {
            return Err(Fault::Sharding(PREPARED_OTHERWISE.into()).into());
        }
        let mut route = run.route;
        if let Some(done) = self.answered_early(sql, run.statement).await? {
            return Ok(done);
        }
        if let Some(aim) = self.transaction_aim() {
            route.aim = aim;
        }
        if let Some(known) = self.remembered_bound(packet, run)? {
            self.go_to_known(&known).await?;
            return self.run_placed(packet, &known.part(run, route)).await;
        }
        // What most statements do not need is not a part of every session's task.
        Box::pin(self.execute_by_plan(packet, run, route)).await
    }

    /// A bound statement that has to be planned.
    async fn execute_by_plan(
        &mut self,
        packet: &mut [u8],
        run: &Run<'_>,
        route: Route,
    ) -> Result<Executed, Failure> {
        let sql = &run.key.sql;
        let original = packet.to_vec();
        let types = run.types.clone().unwrap_or_default();
        let whole = run.pieces.map(Pieces::whole).unwrap_or_default();
        let in_pieces = whole.keys().copied().collect();
        let values = run.execute.values(&original, &types, &in_pieces);
        let values = values_of(run, values, &whole)?;
        let bound: Vec<shard::Parameter> = values.iter().map(planned).collect();
        let plan = self.current_plan(sql, Some(&bound), route).await?;
        self.remember(sql, run.statement, Some(&bound), &plan);
        let keyed = self.with_keys(sql, run.statement, Some(&bound), plan);
        let plan = keyed.await?;
        if let Some(text) = self.with_insert_id(sql, run.statement, &plan) {
            let mut packet = original;
            return self.execute_again(&mut packet, run, &text, route).await;
        }
        let executed = match plan {
            plan if super::keyed::is_keyed(&plan, run.statement) => {
                let asked = Asked {
                    sql,
                    values: &values,
                };
                self.change_by_key(asked, run.statement, route, plan).await
            }
            ShardPlan::Session => {
                self.go_for_session(run.statement).await?;
                self.in_own_schema(false).await?;
                self.run_prepared(packet, run).await
            }
            ShardPlan::Single(node) if self.defines_alone(run.statement) => {
                let spread = Spread::alike(vec![node], Clock::Unread, Some(&values));
                self.spread(run.statement, spread, route).await
            }
            ShardPlan::Single(node) => {
                self.note_node(&node.sql);
                self.commit_before(run.statement, &node).await?;
                self.execute_bound(&node, &values, run, route).await
            }
            ShardPlan::Broadcast {
                statements,
                gives,
                clock,
            } => {
                let spread = Spread::new(statements, gives.into(), clock, Some(&values));
                self.spread(run.statement, spread, route).await
            }
            ShardPlan::Scatter {
                statements,
                merge,
                clock,
            } => {
                let spread = Spread::new(statements, merge.into(), clock, Some(&values));
                self.scatter_bound(spread, &bound, run, route).await
            }
            ShardPlan::Gather(gather) => self.gather_bound(&gather, &values, run, route).await,
            ShardPlan::Dictionary(views) => self.execute_views(&views, Some(&values)).await,
            other => Err(self.unplanned(other)),
        };
        self.forget_keys();
        executed
    }

    /// A bound statement in other words, that asks for less of the connection; its parameters are the same.
    async fn execute_again(
        &mut self,
        packet: &mut [u8],
        run: &Run<'_>,
        text: &[u8],
        route: Route,
    ) -> Result<Executed, Failure> {
        let statement = Arc::new(analyze(text, &self.dialect()));
        let key = Arc::new(Key::of(text, run.under));
        let again = Run {
            statement: &statement,
            key: &key,
            types: run.types.clone(),
            ..*run
        };
        Box::pin(self.execute_by_plan(packet, &again, route)).await
    }

    /// Scatters a prepared statement; what rows do not tell, one server that has them all knows.
    async fn scatter_bound(
        &mut self,
        spread: Spread<'_>,
        bound: &[shard::Parameter],
        run: &Run<'_>,
        route: Route,
    ) -> Result<Executed, Failure> {
        let values = spread.bound.unwrap_or_default();
        let done = self.spread(run.statement, spread, route).await;
        if !self.takes_unmergeable() {
            return done;
        }
        match self.gather_plan(&run.key.sql, Some(bound)).await? {
            ShardPlan::Gather(gather) => self.gather_bound(&gather, values, run, route).await,
            _ => done,
        }
    }

    /// Pulls rows and finishes a prepared statement over them.
    async fn gather_bound(
        &mut self,
        gather: &Gather,
        values: &[Parameter<'_>],
        run: &Run<'_>,
        route: Route,
    ) -> Result<Executed, Failure> {
        if self.is_open() {
            let within = self.within_bound(gather, values, run, route);
            return Box::pin(within).await;
        }
        let finish = self.begin_gather(gather, route).await?;
        let executed = self.execute_bound(finish, values, run, route).await;
        self.end_gather(gather).await;
        executed
    }

    /// The same within the session's transaction.
    async fn within_bound(
        &mut self,
        gather: &Gather,
        values: &[Parameter<'_>],
        run: &Run<'_>,
        route: Route,
    ) -> Result<Executed, Failure> {
        let bound: Vec<shard::Parameter> = values.iter().map(planned).collect();
        let mut gather = self.plan_apart(&run.key.sql, Some(&bound), gather)?;
        let elsewhere = self.begin_within(&mut gather, route).await?;
        let executed = match &gather.finish {
            Some(finish) => self.execute_bound(finish, values, run, route).await,
            None => Err(Fault::Sharding("nothing finishes it".into()).into()),
        };
        self.end_within(elsewhere, &run.key.sql, run.statement)
            .await?;
        executed
    }

    /// The usual path of a prepared statement, in the words of one node.
    async fn execute_bound(
        &mut self,
        node: &NodeStatement,
        values: &[Parameter<'_>],
        run: &Run<'_>,
        route: Route,
    ) -> Result<Executed, Failure> {
        self.go_to(node.source).await?;
        let names = self.names_of(std::slice::from_ref(node));
        self.in_own_schema(true).await?;
        let mut packet = Vec::new();
        let own = selected(values, &node.parameters);
        put_bound(&mut packet, run.id, &own, self.client.capabilities);
        let params = u16::try_from(own.len()).map_err(|_| Fault::Malformed("COM_STMT_EXECUTE"))?;
        let execute = StmtExecute::decode(&packet, params, self.client.capabilities);
        let execute = execute.map_err(|_| Fault::Malformed("COM_STMT_EXECUTE"))?;
        let statement = Arc::new(analyze(&node.sql, &self.dialect()));
        if self.shows_names(&statement, node) {
            return self.show_in_own_names(node, route, RowFormat::Binary).await;
        }
        let under: Arc<Vector> = self.state.vector.clone();
        let key = Arc::new(bound_key(&node.sql, run.key.state(), &own));
        if let Some(sharded) = &mut self.sharded {
            sharded.names = names;
        }
        let part = Run {
            id: run.id,
            params,
            types: execute.types(&packet).map(Into::into),
            execute: &execute,
            statement: &statement,
            key: &key,
            under: &under,
            pieces: None,
            route,
        };
        self.run_placed(&mut packet, &part).await
    }

    /// Runs what is in the words of the session's place.
    pub(super) async fn run_placed(
        &mut self,
        packet: &mut [u8],
        part: &Run<'_>,
    ) -> Result<Executed, Failure> {
        let executed = self.run_prepared(packet, part).await;
        self.note_work(part.statement);
        self.follow_doom().await;
        if executed.is_ok() {
            self.keep_named_warnings().await?;
        }
        if let Some(sharded) = &mut self.sharded {
            sharded.names = None;
        }
        executed
    }

    /// What a prepared statement is executed with.
    pub(super) fn bound<'a>(&self, values: &'a [Parameter<'a>]) -> Bound<'a> {
        Bound {
            values,
            under: self.state.vector.clone(),
            epoch: self.serving.schema_epoch.load(Ordering::Relaxed),
        }
    }

    /// Takes away what runs first on the next connection, so that one can be used for something else.
    pub(super) fn suspend_prologue(&mut self) -> Option<(super::begin::Prologue, Status)> {
        let sharded = self.sharded.as_mut().filter(|s| !s.prologue.is_empty())?;
        let prologue = std::mem::take(&mut sharded.prologue);
        let begun = Status::IN_TRANS.union(Status::IN_TRANS_READONLY);
        let open = self.state.status.intersection(begun);
        self.state.status = self.state.status.difference(begun);
        Some((prologue, open))
    }

    pub(super) fn resume_prologue(&mut self, waiting: Option<(super::begin::Prologue, Status)>) {
        if let (Some((prologue, open)), Some(sharded)) = (waiting, &mut self.sharded) {
            sharded.prologue = prologue;
            self.state.status = self.state.status.union(open);
        }
    }
}

/// What the client bound, as many as the statement has; what came in pieces is whole.
fn values_of<'a, E>(
    run: &Run<'_>,
    values: impl Iterator<Item = Result<Parameter<'a>, E>>,
    whole: &'a BTreeMap<u16, Vec<u8>>,
) -> Result<Vec<Parameter<'a>>, Fault> {
    let values: Result<Vec<_>, _> = values.take(usize::from(run.params)).collect();
    let mut values = values.map_err(|_| Fault::Malformed("COM_STMT_EXECUTE"))?;
    for (parameter, bytes) in whole {
        if let Some(parameter) = values.get_mut(usize::from(*parameter)) {
            parameter.value = ParameterValue::Bytes(bytes);
            // Whatever it was said to be, it is a text.
            if let BinaryLayout::Fixed(_) = parameter.kind.column_type.binary_layout() {
                parameter.kind.column_type = ColumnType::BLOB;
            }
        }
    }
    Ok(values)
}

/// The client's parameters that a part has.
pub(super) fn selected<'a>(values: &[Parameter<'a>], own: &[u32]) -> Vec<Parameter<'a>> {
    let one = |place: &u32| values.get(usize::try_from(*place).ok()?).copied();
    own.iter().filter_map(one).collect()
}

/// The key of a text that is executed with these values.
pub(super) fn bound_key(sql: &[u8], state: u64, own: &[Parameter<'_>]) -> Key {
    Key::new(sql, state, 0).pinned(Pins::of(own.iter().map(|value| value.kind)))
}

/// What a PREPARE said, in the client's names.
fn renamed(answer: &Answer, names: &Names) -> Result<Answer, Fault> {
    let params = usize::from(answer.params);
    let definitions = answer
        .definitions
        .iter()
        .enumerate()
        .map(|(place, definition)| match place < params {
            true => Ok(definition.clone()),
            false => names.definition(definition),
        });
    let definitions = definitions.collect::<Result<Vec<_>, _>>();
    Ok(Answer {
        columns: answer.columns,
        params: answer.params,
        warnings: answer.warnings,
        definitions: definitions.map_err(|_| Fault::Malformed("a column's definition"))?,
    })
}

/// A value as the planner takes it.
pub(in super::super) fn planned(parameter: &Parameter<'_>) -> shard::Parameter {
    use shard::Parameter as Known;
    let bytes = match parameter.value {
        ParameterValue::Null => return Known::Null,
        ParameterValue::Bytes(bytes) => bytes,
        ParameterValue::LongData => return Known::Other,
    };
    let text = || String::from_utf8_lossy(bytes).into_owned();
    match (
        parameter.kind.column_type,
        parameter.kind.column_type.binary_layout(),
    ) {
        (ColumnType::FLOAT | ColumnType::DOUBLE, _) => Known::Other,
        (ColumnType::NULL, _) => Known::Null,
        (_, BinaryLayout::Fixed(_)) => {
            integer(bytes, parameter.kind.unsigned).map_or(Known::Other, Known::Integer)
        }
        (ColumnType::DATE | ColumnType::DATETIME | ColumnType::TIMESTAMP, _) => {
            time(bytes).map_or(Known::Other, Known::Time)
        }
        (ColumnType::DECIMAL | ColumnType::NEWDECIMAL, _) => Known::Decimal(text()),
        (
            ColumnType::VARCHAR
            | ColumnType::VAR_STRING
            | ColumnType::STRING
            | ColumnType::TINY_BLOB
            | ColumnType::BLOB
            | ColumnType::MEDIUM_BLOB
            | ColumnType::LONG_BLOB,
            _,
        ) => Known::Text(bytes.to_vec()),
        _ => Known::Other,
    }
}

pub(super) fn integer(bytes: &[u8], unsigned: bool) -> Option<i128> {
    let negative = !unsigned && bytes.last().is_some_and(|last| last & 0x80 != 0);
    let mut whole = [if negative { 0xFF } else { 0 }; 16];
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i128::from_le_bytes(whole))
}

/// `YYYY-MM-DD[ HH:MM:SS[.ffffff]]`.
pub(super) fn time(bytes: &[u8]) -> Option<String> {
    let (date, rest) = bytes.split_at_checked(4)?;
    let [y0, y1, month, day] = date.first_chunk::<4>()?;
    let year = u16::from_le_bytes([*y0, *y1]);
    let mut text = format!("{year:04}-{month:02}-{day:02}");
    if let Some([hour, minute, second]) = rest.first_chunk::<3>() {
        text += &format!(" {hour:02}:{minute:02}:{second:02}");
        if let Some(micros) = rest.get(3..).and_then(|rest| rest.first_chunk::<4>()) {
            text += &format!(".{:06}", u32::from_le_bytes(*micros));
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_the_client_bound() {
        assert_eq!(integer(&[0xFF], false), Some(-1));
        assert_eq!(integer(&[0xFF], true), Some(255));
        assert_eq!(integer(&[1, 2], false), Some(513));
        assert_eq!(integer(&[0; 17], false), None);
        assert_eq!(time(&[0xE8, 7, 1, 2]).as_deref(), Some("2024-01-02"));
        let whole = [0xE8, 7, 1, 2, 3, 4, 5, 0x40, 0xE2, 1, 0];
        assert_eq!(time(&whole).as_deref(), Some("2024-01-02 03:04:05.123456"));
        assert_eq!(time(&[]), None);
    }
}
