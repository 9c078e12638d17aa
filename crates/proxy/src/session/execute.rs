//! Executing a planned statement: a connection in the right state, the command, the relayed answer.
//!
//! Owns the choice of a connection and its preparation for the session. A statement is sent a second time only if it is a
//! read, nothing of its answer came, and the connection had been idle: then the server had hung up before. Input: routes of
//! the planner.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dbmesh_model::topology::{Role, Routines};
use dbmesh_plan::{Functions, LastInsertId, Route};
use dbmesh_sql::{
    Class, Dialect, Effect, Facts, Lexer, SessionFunctionValues, Statement, TokenKind, Verb,
    analyze, replace_session_functions,
};
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec;
use dbmesh_wire::command::Query;
use dbmesh_wire::relay::{Outcome, Shape};

use super::exchange::{Infile, Lost};
use super::{Executed, Failure, Flow, Session};
use crate::absorb::{Doubt, Surroundings, absorb};
use crate::backend::{Applied, Backend, BackendError, Flags, ServerError, ServerFacts};
use crate::fault::Fault;
use crate::pins::PinReason;
use crate::pool::{Lease, Want};
use crate::state::{FoundRows, LastId, Warnings};

/// Whether a command may be sent again after its connection broke before anything came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It only reads.
    Safe,
    /// It may have been executed.
    Never,
}

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
            let done = self.set_tracking(query.sql, statement, route.role).await?;
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
        let sql = spliced.as_deref().unwrap_or(query.sql);
        let repeat = self.repeatable(statement);
        let infile = self.infile(statement);
        let mut attempt = 0;
        self.chooses_schema = matches!(statement.effects.first(), Some(Effect::Use(_)));
        let outcome = loop {
            attempt += 1;
            self.acquire(route.role).await?;
            self.restore_insert_id(route.last_insert_id).await?;
            let backend = self.backend()?;
            let both = Capabilities::QUERY_ATTRIBUTES;
            let as_it_came = spliced.is_none() && backend.capabilities.contains(both);
            let mut out = crate::channel::output_buffer();
            if as_it_came || (spliced.is_none() && query.sql_offset == 1) {
                codec::put_packet(&mut out, &mut 0, packet);
            } else {
                codec::put_packet(&mut out, &mut 0, &backend.query_payload(sql));
            }
            match self.exchange(&out, Shape::Results, &infile).await {
                Ok(outcome) => {
                    crate::channel::return_buffer(out);
                    break outcome;
                }
                Err(lost) => self.after_loss(lost, repeat, attempt, statement)?,
            }
        };
        self.take_in(statement, &outcome, query.sql).await
    }

    /// Sends a command as it came and relays its answer: COM_INIT_DB, COM_FIELD_LIST and the like.
    pub(super) async fn pass_packet(&mut self, packet: &[u8], shape: Shape) -> Result<(), Failure> {
        self.acquire(Role::Primary).await?;
        let mut out = Vec::with_capacity(packet.len() + codec::HEADER_BYTES);
        codec::put_packet(&mut out, &mut 0, packet);
        let outcome = match self.exchange(&out, shape, &Infile::Refused).await {
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

    /// Makes sure that the session has a connection in the session's state.
    pub(super) async fn acquire(&mut self, role: Role) -> Result<(), Failure> {
        let (id, control) = (u64::from(self.handle().id), self.handle().control.clone());
        if let Some(lease) = &mut self.lease {
            lease.unhold(id, &control);
            let kept = self.state.in_transaction() || !self.state.pins.is_empty();
            if kept || !lease.backend().is_ok_and(Backend::is_stale) {
                return Ok(());
            }
            // Only what the last statement left was on it; that is lost with it.
            self.forget_memory();
        }
        self.follow_reload()?;
        let deadline = Instant::now() + self.wait_limit();
        let (mut tried, mut stale) = (Vec::new(), 0);
        let mut last = Fault::NoEndpoint("no endpoint of the strategy is a primary".into());
        loop {
            let Some(member) = self.serving.upstream.choose(role, &tried).cloned() else {
                return Err(last.into());
            };
            let want = Want {
                vector: &self.state.vector,
                flags: Flags::of(self.client.capabilities),
                session: id,
            };
            let wait = deadline.saturating_duration_since(Instant::now());
            let leased = member.pool.lease(&want, wait).await;
            match leased {
                Ok(lease) => match make_ready(lease, &want, wait).await {
                    Ok(lease) => {
                        // What this connection says of "the last statement" is not this session's.
                        self.state.diagnostics.row_count_only_here = true;
                        self.lease = Some(lease);
                        self.member = Some(member);
                        return Ok(());
                    }
                    Err(NotReady::Schema(lease, _)) if self.chooses_schema => {
                        self.lease = Some(*lease);
                        self.member = Some(member);
                        return Ok(());
                    }
                    Err(NotReady::Schema(lease, e)) => {
                        lease.give_back();
                        return Err(Fault::Schema {
                            code: e.code,
                            message: e.message,
                        }
                        .into());
                    }
                    Err(NotReady::Fault(fault)) => return Err(fault.into()),
                    Err(NotReady::Stale(fault)) => {
                        // The pool's next connection may be alive, or be a new one.
                        last = fault;
                        stale += 1;
                        if stale > STALE_IN_A_ROW_MAX {
                            tried.push(member);
                        }
                    }
                },
                Err(fault @ Fault::ConnectFailed { .. }) => {
                    last = fault;
                    tried.push(member);
                }
                Err(fault) => return Err(fault.into()),
            }
        }
    }

    /// Takes on the configuration of the newest reload: sessions move at their transaction boundaries.
    fn follow_reload(&mut self) -> Result<(), Failure> {
        let epoch = self.process.current.epoch();
        if epoch == self.epoch {
            return Ok(());
        }
        let Some(now) = self.process.current.find(&self.serving.service) else {
            return Err(Fault::Draining.into());
        };
        self.serving = now;
        self.member = None;
        self.epoch = epoch;
        let idle = self.serving.service.limits.idle_timeout_ms;
        self.handle().idle_limit_ms.store(idle, Ordering::Relaxed);
        Ok(())
    }

    /// Makes LAST_INSERT_ID() right on the connection.
    pub(super) async fn restore_insert_id(&mut self, need: LastInsertId) -> Result<(), Failure> {
        let auto_is_null = self
            .state
            .vector
            .variables
            .get("sql_auto_is_null")
            .is_some_and(|v| !matches!(v.as_ref(), b"0" | b"'OFF'"));
        let LastId::Known(id) = self.state.last_insert_id else {
            return Ok(());
        };
        let backend = self.backend()?;
        if (need == LastInsertId::Unread && !auto_is_null) || backend.last_insert_id == Some(id) {
            return Ok(());
        }
        let set = format!("SET last_insert_id = {id}");
        match backend.query(set.as_bytes()).await {
            Ok(Ok(_)) => {
                backend.last_insert_id = Some(id);
                Ok(())
            }
            Ok(Err(e)) => Err(Fault::StateReplay {
                code: e.code,
                message: e.message,
            }
            .into()),
            Err(e) => Err(self.lost(Lost::before(e), None)),
        }
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

    /// Either clears the way for another attempt, or gives the error.
    pub(super) fn after_loss(
        &mut self,
        lost: Lost,
        repeat: Repeat,
        attempt: u32,
        statement: &Statement,
    ) -> Result<(), Failure> {
        if repeat == Repeat::Safe && attempt == 1 && lost.nothing_came() {
            self.lease = None;
            return Ok(());
        }
        Err(self.lost(lost, Some(statement)))
    }

    /// The error for a broken connection; the lease is dropped, which closes it.
    pub(super) fn lost(&mut self, lost: Lost, statement: Option<&Statement>) -> Failure {
        let in_transaction = self.state.in_transaction();
        let had_state = in_transaction || !self.state.pins.is_empty();
        let endpoint = self
            .member
            .as_ref()
            .map(|m| m.endpoint.name.to_string())
            .unwrap_or_default();
        self.lease = None;
        self.state.pins.clear();
        self.state.status = self.state.status.difference(dbmesh_wire::Status::IN_TRANS);
        match lost {
            Lost::Client | Lost::ClientGone => Failure::ClientLost,
            Lost::Cut(e) => {
                tracing::warn!(endpoint, error = %e, "connection broke in the middle of an answer");
                Failure::AnswerCut
            }
            Lost::Backend { error, .. } => {
                // What commits by itself leaves the same doubt as COMMIT.
                let committing = statement.is_some_and(may_commit);
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
            Lost::Stopped => Failure::Stopped,
            Lost::Refused(_) if had_state => Fault::BackendLost {
                endpoint,
                state_lost: true,
            }
            .into(),
            Lost::Refused(fault) => fault.into(),
        }
    }

    /// Takes in what a statement did to the session.
    pub(super) async fn take_in(
        &mut self,
        statement: &Statement,
        outcome: &Outcome,
        sql: &[u8],
    ) -> Result<Executed, Failure> {
        let done = Executed {
            flow: if statement.facts.has(Facts::RELEASE) && outcome.error.is_none() {
                Flow::Quit
            } else {
                Flow::Continue
            },
            bytes_out: outcome.bytes,
            rows: outcome.rows,
            failed: outcome.error.is_some(),
        };
        let routines = self.serving.service.pool.routines;
        let before = self.state.pins.bits();
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
                return Ok(done);
            }
        }
        if statement.class == Class::Ddl {
            self.serving.schema_epoch.fetch_add(1, Ordering::Relaxed);
        }
        if outcome.last_insert_id != 0 || self.state.last_insert_id == LastId::OnConnection {
            let known = match self.state.last_insert_id {
                LastId::Known(id) => Some(id),
                LastId::OnConnection => None,
            };
            self.backend()?.last_insert_id = known;
        }
        let vector = self.state.vector.clone();
        self.backend()?.vector = vector;
        self.note_pins(before);
        if !outcome.tracked.is_empty() {
            self.follow_wait_timeout();
        }
        if done.flow == Flow::Quit {
            self.lease = None;
            self.state.pins.clear();
        }
        Ok(done)
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

/// Dead connections of one endpoint tried before another endpoint is.
const STALE_IN_A_ROW_MAX: u32 = 8;

/// Whether a transaction may have been committed by a statement, or by one of several.
fn may_commit(statement: &Statement) -> bool {
    let facts = Facts::IMPLICIT_COMMIT | Facts::UNPARSED | Facts::COMPOUND | Facts::DYNAMIC_SQL;
    statement.statements > 1
        || matches!(statement.verb, Verb::Commit | Verb::Call)
        || statement.facts.has_any(facts)
}

enum NotReady {
    Fault(Fault),
    /// All but the schema is ready.
    Schema(Box<Lease>, ServerError),
    /// The connection was dead: another one may not be.
    Stale(Fault),
}

/// Brings a leased connection to the session's state.
async fn make_ready(mut lease: Lease, want: &Want<'_>, wait: Duration) -> Result<Lease, NotReady> {
    let name = lease.pool().endpoint().name.to_string();
    let dead = |e: BackendError| {
        NotReady::Stale(match e {
            BackendError::Protocol(what) => Fault::BackendProtocol {
                endpoint: name.clone(),
                what,
                state_lost: false,
            },
            BackendError::Lost(_) => Fault::BackendLost {
                endpoint: name.clone(),
                state_lost: false,
            },
        })
    };
    let backend = lease.backend().map_err(&dead)?;
    let same = crate::vector::Vector::same(&backend.vector, want.vector);
    if same {
        return Ok(lease);
    }
    let limit = Duration::from_millis(lease.pool().policy().connect_timeout_ms);
    let backend = lease.backend().map_err(&dead)?;
    let applied = tokio::time::timeout(limit, backend.apply(want.vector)).await;
    let applied =
        applied.unwrap_or_else(|_| Err(BackendError::Lost(std::io::ErrorKind::TimedOut.into())));
    match applied.map_err(&dead)? {
        Ok(Applied::Done) => {
            lease
                .pool()
                .counters
                .state_changes
                .fetch_add(1, Ordering::Relaxed);
            Ok(lease)
        }
        Ok(Applied::SchemaRefused(e)) => Err(NotReady::Schema(Box::new(lease), e)),
        Ok(Applied::NeedsNewConnection) => {
            let mut lease = lease.replace(want, wait).await.map_err(NotReady::Fault)?;
            let backend = lease.backend().map_err(&dead)?;
            match backend.apply(want.vector).await.map_err(&dead)? {
                Ok(Applied::Done) => Ok(lease),
                Ok(Applied::SchemaRefused(e)) => Err(NotReady::Schema(Box::new(lease), e)),
                Ok(Applied::NeedsNewConnection) => Err(NotReady::Fault(Fault::StateReplay {
                    code: 1105,
                    message: "a new connection does not have the session's state either".into(),
                })),
                Err(e) => Err(NotReady::Fault(Fault::StateReplay {
                    code: e.code,
                    message: e.message,
                })),
            }
        }
        Err(e) => Err(NotReady::Fault(Fault::StateReplay {
            code: e.code,
            message: e.message,
        })),
    }
}
