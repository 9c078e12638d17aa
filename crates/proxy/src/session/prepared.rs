//! COM_STMT_*: prepared statements of a client over whatever connection serves it.
//!
//! Owns the way from a client's statement id to a statement on the connection at hand, preparing it there when it is not.
//! A statement with a cursor or long data gets one of its own, so that two of the same text do not disturb each other.
//! Input: COM_STMT_* packets.

mod carried;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dbmesh_model::topology::Role;
use dbmesh_plan::{Aim, Functions, Plan, Route, functions, plan, route};
use dbmesh_sql::{Statement, Verb};
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec::{self};
use dbmesh_wire::command::{
    ExecuteTarget, StmtClose, StmtExecute, StmtFetch, StmtReset, StmtSendLongData, insert_types,
    put_execute, set_stmt_id,
};
use dbmesh_wire::relay::Shape;
use dbmesh_wire::status::Status;

use super::acquire::PRIMARY;
use super::demand::{Attributes, Carried};
use super::exchange::{Command, LARGE_BYTES, Lost};
use super::execute::runs;
use super::infile::Infile;
use super::leave::Leave;
use super::observe::Observed;
use super::prepare::clear_cursor_flags;
use super::ready::Unsent;
use super::replaying::AtHand;
use super::settle::close_statements;
use super::sharded::ShardSession;
use super::{Executed, Failure, Session};
use crate::allowance::Share;
use crate::backend::Flavor;
use crate::channel::{output_buffer, return_buffer};
use crate::fault::Fault;
use crate::insight::Protocol;
use crate::pieces::Pieces;
use crate::prepared::{Cursor, Key};
use crate::replay::{Execution, Sent, Unplayable};
use crate::vector::Vector;

/// Where a statement goes that may open a cursor: that binds the session to its server, which then has to take writes too.
fn binding(aim: Aim, cursor: bool) -> Aim {
    match cursor && aim.role == Role::Replica {
        true => PRIMARY,
        false => aim,
    }
}

impl Session {
    /// COM_STMT_EXECUTE: the path of a prepared statement.
    pub(super) async fn execute_prepared(&mut self) -> Result<(), Failure> {
        let mut packet = std::mem::take(&mut self.packet);
        let result = self.execute_packet(&mut packet).await;
        self.packet = packet;
        result
    }

    async fn execute_packet(&mut self, packet: &mut [u8]) -> Result<(), Failure> {
        let malformed = Fault::Malformed("COM_STMT_EXECUTE");
        let id = StmtExecute::stmt_id_of(packet).map_err(|_| malformed.clone())?;
        let capabilities = self.client.capabilities;
        let unknown = Fault::UnknownStatement {
            id,
            command: self.handler("mysqld_stmt_execute"),
        };
        let keeps_types = !self.is_mariadb();
        let known = self.state.statements.find(id).ok_or(unknown)?;
        let pieces = known.pieces.take();
        if let Some(fault) = known.long_data_error.take() {
            return Err(fault.into());
        }
        let execute =
            StmtExecute::decode(packet, known.params, capabilities).map_err(|_| malformed)?;
        if let Some(types) = execute.types(packet)
            && known.types.as_deref() != Some(types)
        {
            known.types = Some(types.into());
            if keeps_types {
                known.pin(execute.kinds(types).take(usize::from(known.params)));
            }
        }
        let (statement, types) = (known.statement.clone(), known.types.clone());
        let (params, in_pieces) = (known.params, known.long_data || pieces.is_some());
        let cursor = execute.flags.asks_for_cursor() && opens_cursor(&statement, &self.sharded);
        let key = known.key_for(id, u64::from(self.registered.handle.id), cursor);
        let (bytes, text) = (packet.len(), key.clone());
        let mut asked = Asked {
            id,
            params,
            execute: &execute,
            types,
            statement: &statement,
            key,
            under: known.vector.clone(),
            in_pieces,
            pieces,
            cursor,
        };
        let observed = Observed {
            statement: &statement,
            sql: &text.sql,
            protocol: Protocol::Prepared,
            bytes_in: bytes,
        };
        let ran = self.run_execute(packet, &mut asked, &observed).await;
        self.observe(observed, &ran);
        ran.map(|_| ())
    }

    async fn run_execute(
        &mut self,
        packet: &mut [u8],
        asked: &mut Asked<'_>,
        observed: &Observed<'_>,
    ) -> Result<Executed, Failure> {
        let (id, statement) = (asked.id, asked.statement);
        let carried = self.carried(asked, packet);
        self.trace(statement, observed.sql, &carried.attributes);
        let proof = self.take_demand(statement, observed.sql, carried);
        let proof = proof.await?;
        self.recollect(statement).await?;
        let functions = functions(statement, self.view(proof));
        if functions.any(Functions::DIAGNOSTICS) {
            // The connection does not know, or not any more: this one execution has the values written into its text.
            let dialect = self.dialect();
            if let (Some(text), Some(known)) = (
                self.splice(observed.sql, functions, &dialect),
                self.state.statements.find(id),
            ) {
                asked.key = known.respelled(&text, id, u64::from(self.registered.handle.id));
            }
        }
        let Some(known) = self.state.statements.find(id) else {
            return Ok(Executed::LOCAL);
        };
        known.cursor = Cursor::Closed;
        if asked.execute.flags.asks_for_cursor() && !asked.cursor {
            clear_cursor_flags(packet);
        }
        let planned = plan(statement, &asked.key.sql, self.view(proof));
        let admitted = self.govern(planned).await?;
        let mut route = match &admitted.plan {
            Plan::Route(route) => *route,
            Plan::Local(_) | Plan::Refuse(_) => route(statement, &asked.key.sql, self.view(proof)),
        };
        if self.state.reading.is_some() {
            let leaving = self.stay_or_leave(statement, &asked.key.sql, route);
            route = Box::pin(leaving).await?;
        }
        route.aim = binding(route.aim, asked.cursor);
        if self.is_recorded(statement) {
            Box::pin(self.record(*observed)).await?;
        }
        self.begin_processing();
        let run = Run {
            id,
            params: asked.params,
            execute: asked.execute,
            types: asked.types.take(),
            statement,
            key: &asked.key,
            under: &asked.under,
            pieces: asked.pieces.as_deref(),
            route,
        };
        let free = !self.is_bound();
        let executed = self.run_somewhere(packet, &run).await;
        self.note_reading(statement, route.aim, free);
        self.count(statement, packet.len(), &executed);
        drop(admitted);
        self.settle().await?;
        executed
    }

    async fn run_somewhere(
        &mut self,
        packet: &mut [u8],
        run: &Run<'_>,
    ) -> Result<Executed, Failure> {
        match self.sharded {
            Some(_) => self.execute_sharded(packet, run).await,
            None => self.run_prepared(packet, run).await,
        }
    }

    pub(super) async fn run_prepared(
        &mut self,
        packet: &mut [u8],
        run: &Run<'_>,
    ) -> Result<Executed, Failure> {
        let repeat = self.repeatable(run.statement);
        let (mut attempt, mut aim) = (0, run.route.aim);
        let (statement, sql) = (run.statement, &*run.key.sql);
        let at_hand = AtHand::executed(statement, sql);
        self.expect_step(statement, aim);
        let outcome = loop {
            attempt += 1;
            self.revive(at_hand).await?;
            self.acquire(aim).await?;
            let server_id = match self.ready_prepared(run).await {
                Ok(id) => id,
                Err(unsent) => {
                    self.after_unsent(unsent, attempt, at_hand).await?;
                    continue;
                }
            };
            let mut out = output_buffer();
            self.put_execute(packet, &run.arguments(), server_id, &mut out)?;
            let leave = Leave {
                withhold: self.withholds(run.statement, aim),
                repeat,
                runs: runs(run.statement),
            };
            let command = match out.is_empty() {
                true => Command::Payload(packet),
                false => Command::Packets(&out),
            };
            let answer = self.exchange(command, Shape::Results, &Infile::Refused, leave);
            match answer.await {
                Ok(outcome) => {
                    return_buffer(out);
                    break outcome;
                }
                Err(Lost::TurnedAway(e)) => aim = self.move_on(aim, e, at_hand).await?,
                Err(lost) => self.recover(lost, (repeat, attempt), at_hand).await?,
            }
        };
        if let Some(known) = self.state.statements.find(run.id) {
            let in_packet = !std::mem::take(&mut known.long_data);
            if let Some(journal) = self.replay.as_mut().filter(|_| !in_packet) {
                journal.give_up(Unplayable::State);
            }
            if outcome
                .status
                .is_some_and(|s| s.contains(Status::CURSOR_EXISTS))
            {
                known.cursor = Cursor::Open;
            }
        }
        self.state.status = self.state.status.difference(CURSOR_FLAGS);
        let done = self.take_in(run.statement, &outcome, &run.key.sql).await?;
        self.state.status = self.state.status.difference(CURSOR_FLAGS);
        self.keep_step(statement, &outcome, || {
            let execution = Execution {
                key: run.key.clone(),
                under: run.under.clone(),
                params: run.params,
                types: run.types.clone(),
                packet: (&*packet).into(),
            };
            Sent::Execution(Box::new(execution))
        });
        Ok(done)
    }

    /// The statement on the connection at hand, with all that it reads of the session.
    async fn ready_prepared(&mut self, run: &Run<'_>) -> Result<u32, Unsent> {
        let server_id = self.server_statement(run.key, run.under).await?;
        self.restore_insert_id(run.route.last_insert_id).await?;
        Ok(server_id)
    }

    /// The EXECUTE packet for this connection: its statement id, and the parameter types if it does not have them. Nothing
    /// in `out` means `packet` itself.
    pub(super) fn put_execute(
        &mut self,
        packet: &mut [u8],
        run: &Arguments<'_>,
        server_id: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        set_stmt_id(packet, server_id);
        let client = self.client.capabilities;
        let backend = self.backend()?;
        let differ = client.contains(Capabilities::QUERY_ATTRIBUTES)
            != backend
                .capabilities
                .contains(Capabilities::QUERY_ATTRIBUTES);
        if differ {
            // The two hops write parameters differently: what one counts, the other takes for NULL bits.
            let target = ExecuteTarget {
                stmt_id: server_id,
                num_params: run.params,
                types: run
                    .execute
                    .types(packet)
                    .or(run.types.map(|types| &**types))
                    .unwrap_or_default(),
                long_data: &BTreeSet::new(),
                caps: backend.capabilities,
            };
            let mut payload = Vec::with_capacity(packet.len());
            put_execute(&mut payload, packet, run.execute, target)
                .map_err(|_| Fault::Malformed("COM_STMT_EXECUTE"))?;
            codec::put_packet(out, &mut 0, &payload);
            return Ok(());
        }
        let has = backend.statements.find(run.key);
        let carried = run.execute.types(packet).is_some();
        let same = has
            .as_ref()
            .is_some_and(|s| s.types.is_some() && s.types.as_ref() == run.types);
        if let Some(statement) = has {
            statement.executed = true;
            if !same {
                statement.types = run.types.cloned();
            }
        }
        match (&run.execute.parameters, run.types) {
            (Some(block), Some(types)) if !carried && !same => {
                codec::put_packet(out, &mut 0, &insert_types(packet, block, types));
            }
            // Too large to copy: it is sent from where it is.
            _ if packet.len() >= LARGE_BYTES => {}
            _ => codec::put_packet(out, &mut 0, packet),
        }
        Ok(())
    }

    /// COM_STMT_SEND_LONG_DATA has no answer; what goes wrong is told at EXECUTE.
    pub(super) async fn send_long_data(&mut self) -> Result<(), Failure> {
        let mut packet = std::mem::take(&mut self.packet);
        let result = self.pass_long_data(&mut packet).await;
        self.packet = packet;
        match result {
            Ok(()) => self.settle().await,
            Err((id, Failure::Fault(fault))) => {
                if let Some(known) = self.state.statements.find(id) {
                    known.long_data_error = Some(fault);
                }
                self.settle().await
            }
            Err((_, other)) => Err(other),
        }
    }

    async fn pass_long_data(&mut self, packet: &mut [u8]) -> Result<(), (u32, Failure)> {
        // A packet too short to name a statement is ignored, as servers do.
        let Ok(data) = StmtSendLongData::decode(packet) else {
            return Ok(());
        };
        let id = data.stmt_id;
        let session = u64::from(self.handle().id);
        let limit = self.serving.service.limits.max_packet_bytes;
        let Some(known) = self.state.statements.find(id) else {
            return Ok(());
        };
        if self.sharded.is_some() {
            let none = || Box::new(Pieces::none(Share::none(self.serving.portion.clone())));
            let pieces = known.pieces.get_or_insert_with(none);
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let added = pieces.add(data.parameter, data.data, limit);
            return added.map_err(|fault| (id, fault.into()));
        }
        known.long_data = true;
        let (key, under) = (known.key_for(id, session, true), known.vector.clone());
        let (tell, statement) = (|failure| (id, failure), known.statement.clone());
        // What its values say is told with the execution.
        let carried = Carried::of(Attributes::Later);
        let demanded = self.take_demand(&statement, &key.sql, carried);
        demanded.await.map_err(tell)?;
        self.acquire(PRIMARY).await.map_err(tell)?;
        let server_id = match self.server_statement(&key, &under).await {
            Ok(server_id) => server_id,
            Err(unsent) => return Err(tell(self.not_sent(unsent))),
        };
        set_stmt_id(packet, server_id);
        let mut out = output_buffer();
        codec::put_packet(&mut out, &mut 0, packet);
        let sent = self.backend().map_err(tell)?.send_unanswered(&out).await;
        return_buffer(out);
        sent.map_err(|e| tell(self.lost(Lost::before(e), None)))
    }

    /// COM_STMT_CLOSE has no answer.
    pub(super) async fn close_prepared(&mut self) -> Result<(), Failure> {
        let Ok(close) = StmtClose::decode(&self.packet) else {
            return Ok(());
        };
        let session = u64::from(self.handle().id);
        let Some(known) = self.state.statements.remove(close.stmt_id) else {
            return Ok(());
        };
        self.serving
            .metrics
            .prepared
            .fetch_sub(1, Ordering::Relaxed);
        if known.reads_diagnostics {
            self.state.diagnostic_statements -= 1;
        }
        let owned = known.key_for(close.stmt_id, session, true);
        if let Ok(backend) = self.backend()
            && let Some(id) = backend.statements.remove(&owned)
            && let Err(e) = close_statements(backend, &[id]).await
        {
            return Err(self.lost(Lost::before(e), None));
        }
        self.settle_if_unheld().await
    }

    /// Settles after a command that leaves the last statement's diagnostics alone.
    async fn settle_if_unheld(&mut self) -> Result<(), Failure> {
        if self.lease.is_some() {
            self.settle().await
        } else {
            Ok(())
        }
    }

    /// The name by which servers call the function that did not find a statement.
    fn handler(&self, mariadb: &'static str) -> &'static str {
        let facts = self
            .serving
            .upstream
            .members
            .iter()
            .find_map(|m| m.pool.facts());
        match facts {
            Some(facts) if facts.flavor == Flavor::MariaDb => mariadb,
            _ => "mysql_stmt_precheck",
        }
    }

    /// COM_STMT_RESET.
    pub(super) async fn reset_prepared(&mut self) -> Result<(), Failure> {
        let reset =
            StmtReset::decode(&self.packet).map_err(|_| Fault::Malformed("COM_STMT_RESET"))?;
        let session = u64::from(self.handle().id);
        let id = reset.stmt_id;
        let unknown = Fault::UnknownStatement {
            id,
            command: self.handler("mysqld_stmt_reset"),
        };
        let known = self.state.statements.find(id).ok_or(unknown)?;
        known.cursor = Cursor::Closed;
        known.long_data = false;
        known.pieces = None;
        known.long_data_error = None;
        let owned = known.key_for(id, session, true);
        let here = self
            .backend()
            .ok()
            .and_then(|b| b.statements.find(&owned).map(|s| s.id));
        if let Some(server_id) = here {
            let mut packet = self.packet.clone();
            set_stmt_id(&mut packet, server_id);
            let answer = self.backend()?.run(&packet, Shape::Single).await;
            if let Err(e) = answer {
                return Err(self.lost(Lost::before(e), None));
            }
        }
        self.state.set_row_count(0);
        self.answer_ok().await?;
        self.settle_if_unheld().await
    }

    /// COM_STMT_FETCH.
    pub(super) async fn fetch(&mut self) -> Result<(), Failure> {
        let fetch =
            StmtFetch::decode(&self.packet).map_err(|_| Fault::Malformed("COM_STMT_FETCH"))?;
        let id = fetch.stmt_id;
        let session = u64::from(self.handle().id);
        let unknown = Fault::UnknownStatement {
            id,
            command: self.handler("mysqld_stmt_fetch"),
        };
        let known = self.state.statements.find(id).ok_or(unknown)?;
        if known.cursor == Cursor::Closed {
            return Err(Fault::NoCursor(id).into());
        }
        let owned = known.key_for(id, session, true);
        let server_id = self
            .backend()?
            .statements
            .find(&owned)
            .map(|s| s.id)
            .ok_or(Fault::NoCursor(id))?;
        let mut packet = self.packet.clone();
        set_stmt_id(&mut packet, server_id);
        let mut out = Vec::new();
        codec::put_packet(&mut out, &mut 0, &packet);
        let outcome = match self
            .exchange(
                Command::Packets(&out),
                Shape::Rows,
                &Infile::Refused,
                Leave::NEVER,
            )
            .await
        {
            Ok(outcome) => outcome,
            Err(lost) => return Err(self.lost(lost, None)),
        };
        if let Some(status) = outcome.status {
            if status.contains(Status::LAST_ROW_SENT)
                && let Some(known) = self.state.statements.find(id)
            {
                known.cursor = Cursor::Closed;
            }
            self.state.status =
                status.difference(CURSOR_FLAGS.union(Status::SESSION_STATE_CHANGED));
        }
        self.settle().await
    }
}

const CURSOR_FLAGS: Status = Status(Status::CURSOR_EXISTS.0 | Status::LAST_ROW_SENT.0);

/// An execution that a client asks for.
struct Asked<'a> {
    id: u32,
    /// Parameters of the statement.
    params: u16,
    execute: &'a StmtExecute,
    types: Option<Arc<[u8]>>,
    statement: &'a Statement,
    key: Arc<Key>,
    /// The state under which it was prepared.
    under: Arc<Vector>,
    /// Whether parameters came in pieces before.
    in_pieces: bool,
    /// Those that are kept here.
    pieces: Option<Box<Pieces>>,
    /// Whether it opens a cursor.
    cursor: bool,
}

/// Servers open cursors for queries only; asked for others, one of them crashes at the next FETCH. Over shards, all rows
/// come at once.
fn opens_cursor(statement: &Statement, sharded: &Option<Box<ShardSession>>) -> bool {
    matches!(statement.verb, Verb::Select | Verb::Values | Verb::Table) && sharded.is_none()
}

/// One execution of a client's statement.
pub(super) struct Run<'a> {
    pub id: u32,
    /// Parameters of the statement.
    pub params: u16,
    pub execute: &'a StmtExecute,
    pub types: Option<Arc<[u8]>>,
    pub statement: &'a Statement,
    pub key: &'a Arc<Key>,
    pub under: &'a Arc<Vector>,
    /// Values that came before.
    pub pieces: Option<&'a Pieces>,
    pub route: Route,
}

impl Run<'_> {
    fn arguments(&self) -> Arguments<'_> {
        Arguments {
            params: self.params,
            execute: self.execute,
            types: self.types.as_ref(),
            key: self.key,
        }
    }
}

/// What an EXECUTE carries.
pub(super) struct Arguments<'a> {
    pub params: u16,
    pub execute: &'a StmtExecute,
    pub types: Option<&'a Arc<[u8]>>,
    pub key: &'a Arc<Key>,
}
