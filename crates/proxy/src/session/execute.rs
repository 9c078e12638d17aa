//! Executing a planned statement: a connection in the right state, the command, the relayed answer.
//!
//! Owns the choice of a connection and its preparation for the session. A statement is sent a second time only if it is a
//! read, nothing of its answer came, and the connection had been idle: then the server had hung up before. Input: routes of
//! the planner.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dbmesh_model::topology::{Role, Routines};
use dbmesh_plan::{Aim, Functions, Proof, Route, at_first_sight};
use dbmesh_sql::{
    Class, Dialect, Effect, Facts, Lexer, SessionFunctionValues, Statement, TokenKind, Verb,
    analyze, replace_session_functions,
};
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec;
use dbmesh_wire::command::Query;
use dbmesh_wire::relay::{Outcome, Shape};

use super::acquire::PRIMARY;
use super::demand::Place;
use super::exchange::{Command, LARGE_BYTES, Lost};
use super::infile::Infile;
use super::leave::{Leave, Repeat, Runs, Withhold};
use super::replaying::AtHand;
use super::{Executed, Failure, Flow, Session};
use crate::absorb::{Doubt, Surroundings, absorb};
use crate::backend::{Backend, BackendError, Flavor, ServerFacts};
use crate::fault::{Fault, Overdue};
use crate::pins::PinReason;
use crate::pool::Lease;
use crate::position::Position;
use crate::replay::Sent;
use crate::state::{FoundRows, Warnings};

/// How often a statement is tried whose connections break before anything of it was sent, or of a read came back.
const ATTEMPTS_MAX: u32 = 4;

impl Session {
    /// A statement in text.
    pub(super) async fn execute_text(
        &mut self,
        packet: &[u8],
        query: &Query<'_>,
        statement: &Statement,
        route: Route,
    ) -> Result<Executed, Failure> {
        if statement.facts.has(Facts::SETS_SESSION_TRACK) {
            let setting = self.set_tracking(query.sql, statement, route.aim);
            let done = Box::pin(setting).await?;
            if let Some(executed) = done {
                return Ok(executed);
            }
        }
        let spliced = match route.functions {
            Functions::NONE => None,
            functions => {
                let dialect = self.dialect();
                self.splice(query.sql, functions, &dialect)
            }
        };
        let spliced = self.governed.filtered.take().map(Vec::from).or(spliced);
        let sql = spliced.as_deref().unwrap_or(query.sql);
        let repeat = self.repeatable(statement);
        let infile = self.infile(statement);
        let (mut attempt, mut aim) = (0, route.aim);
        self.chooses_schema = matches!(statement.effects.first(), Some(Effect::Use(_)));
        let at_hand = AtHand::executed(statement, sql);
        self.expect_step(statement, aim);
        let outcome = loop {
            attempt += 1;
            self.revive(at_hand).await?;
            self.acquire(aim).await?;
            let ready = self.restore_insert_id(route.last_insert_id).await;
            if let Err(unsent) = ready {
                self.after_unsent(unsent, attempt, at_hand).await?;
                continue;
            }
            let backend = self.backend()?;
            let both = Capabilities::QUERY_ATTRIBUTES;
            let as_it_came = spliced.is_none() && backend.capabilities.contains(both);
            let (mut out, mut command) = (crate::channel::output_buffer(), None);
            if as_it_came || (spliced.is_none() && query.sql_offset == 1) {
                if packet.len() >= LARGE_BYTES {
                    command = Some(Command::Payload(packet));
                } else {
                    codec::put_packet(&mut out, &mut 0, packet);
                }
            } else {
                codec::put_packet(&mut out, &mut 0, &backend.query_payload(sql));
            }
            let command = command.unwrap_or(Command::Packets(&out));
            let leave = Leave {
                withhold: self.withholds(statement, aim),
                repeat,
                runs: runs(statement),
            };
            match self.exchange(command, Shape::Results, &infile, leave).await {
                Ok(outcome) => {
                    crate::channel::return_buffer(out);
                    break outcome;
                }
                Err(Lost::TurnedAway(e)) => aim = self.move_on(aim, e, at_hand).await?,
                Err(lost) => self.recover(lost, (repeat, attempt), at_hand).await?,
            }
        };
        let done = self.take_in(statement, &outcome, query.sql).await;
        self.keep_step(statement, &outcome, || Sent::Text(sql.into()));
        done
    }

    /// Sends a command as it came and relays its answer: COM_INIT_DB, COM_FIELD_LIST and the like.
    pub(super) async fn pass_packet(&mut self, packet: &[u8], shape: Shape) -> Result<(), Failure> {
        self.acquire(PRIMARY).await?;
        let mut out = Vec::with_capacity(packet.len() + codec::HEADER_BYTES);
        codec::put_packet(&mut out, &mut 0, packet);
        let outcome = match self
            .exchange(
                Command::Packets(&out),
                shape,
                &Infile::Refused,
                Leave::NEVER,
            )
            .await
        {
            Ok(outcome) => outcome,
            Err(lost) => return Err(self.lost(lost, None)),
        };
        if shape != Shape::Text {
            // None of these commands changes what a statement would.
            let statement = analyze(b"", &Dialect::default());
            self.take_in(&statement, &outcome, &[]).await?;
        }
        self.settle().await
    }

    /// The server's facts, of the connection held or of any endpoint.
    pub(super) fn server_facts(&mut self) -> Option<Arc<ServerFacts>> {
        if let Some(lease) = &mut self.lease {
            return lease.backend().ok().map(|b| b.facts.clone());
        }
        self.serving
            .upstream
            .members
            .iter()
            .find_map(|m| m.pool.facts())
    }

    pub(super) fn backend(&mut self) -> Result<&mut Backend, Failure> {
        match self.lease.as_mut().map(Lease::backend) {
            Some(Ok(backend)) => Ok(backend),
            _ => Err(Fault::NoEndpoint("the connection is gone".into()).into()),
        }
    }

    pub(super) fn wait_limit(&self) -> Duration {
        Duration::from_millis(self.serving.service.limits.queue_wait_ms)
    }

    /// Replaces functions that a shared connection would answer wrongly. Only the first of several statements asks for what
    /// was before the text.
    pub(super) fn splice(
        &self,
        sql: &[u8],
        functions: Functions,
        dialect: &Dialect,
    ) -> Option<Vec<u8>> {
        if functions == Functions::NONE {
            return None;
        }
        let own = SessionFunctionValues {
            connection_id: Some(u64::from(self.handle().id)),
            ..SessionFunctionValues::default()
        };
        let values = self.function_values(functions, &own);
        let end = Lexer::new(sql, dialect)
            .find(|t| t.kind == TokenKind::Semicolon)
            .map_or(sql.len(), |t| t.span.start);
        let (head, tail) = sql.split_at_checked(end)?;
        let new_head = replace_session_functions(head, dialect, &values);
        let new_tail = replace_session_functions(tail, dialect, &own);
        if new_head.is_none() && new_tail.is_none() {
            return None;
        }
        let mut text = new_head.unwrap_or_else(|| head.to_vec());
        text.extend_from_slice(new_tail.as_deref().unwrap_or(tail));
        Some(text)
    }

    fn function_values(
        &self,
        functions: Functions,
        own: &SessionFunctionValues,
    ) -> SessionFunctionValues {
        let mut values = *own;
        let d = &self.state.diagnostics;
        if functions.any(Functions::ROW_COUNT) {
            values.row_count = Some(d.row_count);
        }
        if functions.any(Functions::FOUND_ROWS) {
            values.found_rows = match d.found_rows {
                FoundRows::Known(rows) => Some(rows),
                FoundRows::OnConnection | FoundRows::Unknown => None,
            };
        }
        if functions.any(Functions::WARNING_COUNT) {
            let (warnings, errors) = match &d.warnings {
                Warnings::Kept { rows, count } => (
                    *count,
                    rows.iter().filter(|w| w.level == b"Error").count() as u64,
                ),
                Warnings::None | Warnings::OnConnection => (0, 0),
            };
            values.warning_count = Some(warnings);
            values.error_count = Some(errors);
        }
        values
    }

    pub(super) fn repeatable(&self, statement: &Statement) -> Repeat {
        let reads =
            matches!(statement.class, Class::Read | Class::Show) && statement.statements <= 1;
        let kept = self.state.in_transaction() || !self.state.pins.is_empty();
        let acts = Facts::CALLS_ROUTINE
            | Facts::GET_LOCK_FUNCTION
            | Facts::LOCKING_READ
            | Facts::USER_VARIABLE_ASSIGNED;
        if reads && !kept && !statement.facts.has_any(acts) {
            Repeat::Safe
        } else {
            Repeat::Never
        }
    }

    /// Whether the statement may go to another server if this one takes no writes.
    pub(super) fn withholds(&self, statement: &Statement, aim: Aim) -> Withhold {
        let upstream = &self.serving.upstream;
        let kept = self.state.in_transaction() || !self.state.pins.is_empty();
        if self.demand.place != Place::Home {
            return Withhold::Nothing;
        }
        let elsewhere = aim.role == Role::Replica || upstream.buffer().max_wait_ms > 0;
        // What runs several statements may have done some of them before it met one that writes.
        let locks = Facts::GET_LOCK_FUNCTION | Facts::RELEASE_LOCK_FUNCTION;
        let one = runs(statement) == Runs::One && !statement.facts.has_any(locks);
        match upstream.splitting().is_some() && one {
            true if elsewhere && !kept => Withhold::ReadOnly,
            true if self.plays_on(statement) => match may_commit(statement) {
                true => Withhold::ReadOnlyOption,
                false => Withhold::ReadOnly,
            },
            true if elsewhere && self.has_only_announced() => Withhold::ReadOnly,
            _ => Withhold::Nothing,
        }
    }

    /// Either clears the way for another attempt, or gives the error.
    pub(super) fn after_loss(
        &mut self,
        lost: Lost,
        repeat: Repeat,
        attempt: u32,
        statement: &Statement,
    ) -> Result<(), Failure> {
        let kept = self.state.in_transaction() || !self.state.pins.is_empty();
        let again = match &lost {
            Lost::NotSent => !kept,
            lost => repeat == Repeat::Safe && lost.nothing_came(),
        };
        if again && attempt < ATTEMPTS_MAX {
            self.serving.upstream.suspect();
            self.lease = None;
            return Ok(());
        }
        Err(self.lost(lost, Some(statement)))
    }

    /// The error for a broken connection; the lease is dropped, which closes it.
    pub(super) fn lost(&mut self, lost: Lost, statement: Option<&Statement>) -> Failure {
        if matches!(lost, Lost::Interrupted) {
            // Nothing was sent: the connection is as good as before.
            return Fault::Interrupted.into();
        }
        let in_transaction = self.state.in_transaction();
        let had_state = in_transaction || !self.state.pins.is_empty();
        let endpoint = self
            .member
            .as_ref()
            .map(|m| m.endpoint.name.to_string())
            .unwrap_or_default();
        if let Some(lease) = self.lease.take()
            && matches!(lost, Lost::Cut(_) | Lost::Backend { .. })
        {
            lease.pool().standing.forget_known();
            self.serving.upstream.suspect();
        }
        self.state.pins.clear();
        self.state.status = self.state.status.difference(dbmesh_wire::Status::IN_TRANS);
        if statement.is_some_and(|s| at_first_sight(s) == Proof::NotProved) {
            self.doubt_position();
        }
        // What commits by itself leaves the same doubt as COMMIT.
        let committing = statement.is_some_and(may_commit);
        match lost {
            Lost::Client | Lost::ClientGone => Failure::ClientLost,
            Lost::Cut(e) => {
                tracing::warn!(endpoint, error = %e, "connection broke in the middle of an answer");
                Failure::AnswerCut
            }
            Lost::Backend { error, .. } => {
                let fault = match error {
                    _ if committing && in_transaction => Fault::CommitUnknown(endpoint),
                    BackendError::Protocol(what) => Fault::BackendProtocol {
                        endpoint,
                        what,
                        state_lost: had_state,
                    },
                    BackendError::Lost(_) => Fault::BackendLost {
                        endpoint,
                        state_lost: had_state,
                    },
                };
                fault.into()
            }
            Lost::Overdue if committing && in_transaction => Fault::CommitUnknown(endpoint).into(),
            Lost::Overdue => Fault::Overdue {
                limit_ms: self.demand.deadline.map_or(0, |d| d.limit_ms),
                when: Overdue::Abandoned {
                    state_lost: had_state,
                },
            }
            .into(),
            Lost::Interrupted => Fault::Interrupted.into(),
            Lost::Stopped => Failure::Stopped,
            Lost::NotSent => Fault::BackendLost {
                endpoint,
                state_lost: had_state,
            }
            .into(),
            Lost::TurnedAway(error) => error.into_fault().into(),
            Lost::Refused(_) if had_state => Fault::BackendLost {
                endpoint,
                state_lost: true,
            }
            .into(),
            Lost::Refused(fault) => fault.into(),
        }
    }

    /// Something may have been written that no server reported.
    fn doubt_position(&mut self) {
        if matches!(self.lease_place, Place::Away(..)) {
            return;
        }
        self.state.position = Position::Unknown;
        let upstream = &self.serving.upstream;
        if upstream.splitting().is_some() {
            upstream.note_written(&Position::Unknown);
        }
    }

    /// Takes in what a statement did to the session.
    pub(super) async fn take_in(
        &mut self,
        statement: &Statement,
        outcome: &Outcome,
        sql: &[u8],
    ) -> Result<Executed, Failure> {
        let done = Executed::of(statement, outcome);
        let routines = self.serving.service.pool.routines;
        let before = self.state.pins.bits();
        // Other servers' transactions say nothing of what replicas must have.
        let own_position = self.is_away().then(|| self.state.position.clone());
        let Some(Ok(backend)) = self.lease.as_mut().map(Lease::backend) else {
            return Err(Fault::NoEndpoint("the connection is gone".into()).into());
        };
        let facts = &backend.facts;
        let dialect = self.state.dialect(Some(facts));
        let around = Surroundings {
            facts,
            routines,
            sql,
            dialect: &dialect,
        };
        let (tracks_gtids, flavor) = (facts.tracks_gtids, facts.flavor);
        let reports = self.state.position_reports;
        let doubt = absorb(&mut self.state, statement, outcome, around);
        if let Doubt::Reread(names) = &doubt {
            let facts = facts.clone();
            self.reread(names, &facts).await?;
        } else if doubt == Doubt::AskAgain {
            let facts = facts.clone();
            self.ask_again(statement, &facts, routines).await?;
            if self.lease.is_none() {
                // The connection broke behind the answer, and nothing of the session was on it.
                self.forget_memory();
                if may_write(statement) {
                    self.doubt_position();
                }
                return Ok(done);
            }
        }
        self.note_error(outcome.error);
        let reported = self.state.position_reports != reports;
        let tells = tracks_gtids && !(flavor == Flavor::MariaDb && outcome.error.is_some());
        self.settle_position(statement, outcome, tells, reported);
        if let Some(position) = own_position {
            self.state.position = position;
        }
        if statement.class == Class::Ddl {
            self.serving.schema_epoch.fetch_add(1, Ordering::Relaxed);
        }
        self.pass_insert_id_on(outcome)?;
        self.translate_vector();
        let vector = self.connection_vector().clone();
        self.backend()?.vector = vector;
        self.note_schema(statement, outcome)?;
        self.keep_warnings(outcome).await?;
        self.note_pins(before);
        self.note_overdue(outcome);
        if !outcome.tracked.is_empty() {
            self.follow_wait_timeout();
        }
        if done.flow == Flow::Quit {
            self.lease = None;
            self.state.pins.clear();
        }
        Ok(done)
    }

    /// The schema was chosen, with the collation that it has now.
    fn note_schema(&mut self, statement: &Statement, outcome: &Outcome) -> Result<(), Failure> {
        let uses = |effect: &Effect| matches!(effect, Effect::Use(_));
        if outcome.error.is_none() && statement.effects.iter().any(uses) {
            self.state.schema_since = Instant::now();
            self.backend()?.schema_chosen = self.state.schema_since;
        }
        Ok(())
    }

    /// After a statement: whether what it wrote is known. MariaDB tells nothing with an error.
    fn settle_position(
        &mut self,
        statement: &Statement,
        outcome: &Outcome,
        tells: bool,
        reported: bool,
    ) {
        let silent = outcome.affected_rows > 0 && !self.state.in_transaction() && !reported;
        if (!tells || silent) && may_write(statement) {
            self.doubt_position();
        } else if reported && outcome.error.is_some() {
            // It came only when the server was asked again.
            self.serving.upstream.note_written(&self.state.position);
        }
    }

    /// A client's own wait_timeout bounds its idle time here, as its server would.
    fn follow_wait_timeout(&self) {
        let variables = &self.state.vector.variables;
        let seconds = variables
            .get("wait_timeout")
            .and_then(|v| std::str::from_utf8(v).ok()?.parse::<u64>().ok());
        let limit = self.serving.service.limits.idle_timeout_ms;
        let own = seconds.map_or(limit, |s| limit.min(s.saturating_mul(1000)));
        self.handle().idle_limit_ms.store(own, Ordering::Relaxed);
    }

    /// Variables that were set without a report are set to themselves, which is reported.
    async fn reread(
        &mut self,
        names: &[Box<str>],
        facts: &Arc<ServerFacts>,
    ) -> Result<(), Failure> {
        let parts: Vec<String> = names
            .iter()
            .map(|n| format!("SESSION {n} = @@SESSION.{n}"))
            .collect();
        let backend = self.backend()?;
        let payload = backend.query_payload(format!("SET {}", parts.join(", ")).as_bytes());
        match backend.run(&payload, Shape::Results).await {
            Ok(Ok((outcome, _))) => crate::absorb::absorb_reread(&mut self.state, &outcome, facts),
            Ok(Err(_)) => self.state.pins.add_unnamed(PinReason::SessionVariable),
            Err(e) => return Err(self.lost(Lost::before(e), None)),
        }
        self.state.diagnostics.row_count_only_here = true;
        Ok(())
    }

    /// After an error: the status flags, and what the server had not reported yet.
    async fn ask_again(
        &mut self,
        statement: &Statement,
        facts: &Arc<ServerFacts>,
        routines: Routines,
    ) -> Result<(), Failure> {
        let answer = self
            .backend()?
            .run(
                &[dbmesh_wire::command::CommandCode::Ping as u8],
                Shape::Single,
            )
            .await;
        self.state.diagnostics.row_count_only_here = true;
        match answer {
            Ok(Ok((outcome, _))) => {
                let dialect = Dialect::default();
                let around = Surroundings {
                    facts,
                    routines,
                    sql: &[],
                    dialect: &dialect,
                };
                crate::absorb::absorb_after_error(&mut self.state, statement, &outcome, around);
                Ok(())
            }
            Ok(Err(_)) => Ok(()),
            // The client has its answer; the loss shows with its next statement.
            Err(e) => {
                let failure = self.lost(Lost::before(e), None);
                match failure {
                    Failure::Fault(Fault::BackendLost {
                        state_lost: false, ..
                    }) => Ok(()),
                    other => Err(other),
                }
            }
        }
    }
}

/// What a statement runs.
pub(super) fn runs(statement: &Statement) -> Runs {
    let several = Facts::CALLS_ROUTINE | Facts::COMPOUND | Facts::DYNAMIC_SQL | Facts::UNPARSED;
    if statement.statements > 1 || statement.verb == Verb::Call || statement.facts.has_any(several)
    {
        Runs::Several
    } else {
        Runs::One
    }
}

/// Whether a statement may write, or run something that does.
fn may_write(statement: &Statement) -> bool {
    let runs = Facts::CALLS_ROUTINE | Facts::COMPOUND | Facts::DYNAMIC_SQL;
    statement.facts.has_any(runs)
        || !matches!(
            statement.class,
            Class::Read | Class::Show | Class::Session | Class::Tcl
        )
}

/// Whether a transaction may have been committed by a statement, or by one of several.
pub(super) fn may_commit(statement: &Statement) -> bool {
    let facts = Facts::IMPLICIT_COMMIT | Facts::UNPARSED | Facts::COMPOUND | Facts::DYNAMIC_SQL;
    statement.statements > 1
        || matches!(statement.verb, Verb::Commit | Verb::Call)
        || statement.facts.has_any(facts)
}
