//! Preparing statements: for a client, and again on whatever connection executes them.
//!
//! Owns COM_STMT_PREPARE towards client and server. A statement is always prepared under the state under which the client
//! prepared it first. Input: statement texts, PREPARE answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dbmesh_plan::{Aim, Functions, Local, Plan, Proof, functions, plan, route};
use dbmesh_sql::{Effect, Facts, Statement};
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec::{self, Reader};
use dbmesh_wire::column::put_definition;
use dbmesh_wire::command::{CommandCode, ExecuteFlags};

use super::demand::{Attributes, Carried};
use super::exchange::Lost;
use super::ready::Unsent;
use super::replaying::AtHand;
use super::settle::close_statements;
use super::{Failure, Session};
use crate::backend::{Backend, BackendError, server_error};
use crate::fault::Fault;
use crate::prepared::{Answer, ClientStatement, Cursor, Key};
use crate::state::Warnings;
use crate::vector::{Transition, Vector, transition};

/// Largest packet of a PREPARE's answer, in bytes.
const DEFINITION_BYTES_MAX: usize = 1 << 20;
/// Without a deadline, a server may take its time to prepare: 10 years.
const FOREVER: Duration = Duration::from_secs(315_360_000);

/// A statement prepared on the connection, or the server's refusal.
pub(crate) type Prepared = Result<(u32, Arc<Answer>), Vec<u8>>;

/// What a statement is prepared for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PreparedFor {
    /// To execute it on the connection that the session has.
    Execution,
    /// Its answer, on a connection with this aim; a client waits for it, so that one of long ago does not do.
    Answer(Aim),
    /// What the server says at this moment.
    AnswerNow(Aim),
}

impl Session {
    /// COM_STMT_PREPARE.
    pub(super) async fn prepare(&mut self) -> Result<(), Failure> {
        let packet = std::mem::take(&mut self.packet);
        let result = self.prepare_text(packet.get(1..).unwrap_or_default()).await;
        self.packet = packet;
        result
    }

    async fn prepare_text(&mut self, sql: &[u8]) -> Result<(), Failure> {
        let max = self.serving.service.limits.max_prepared_statements;
        if self.state.statements.len() >= max as usize {
            return Err(Fault::TooManyStatements(max).into());
        }
        let statement = self.interpret(sql);
        let place = self.command_place(statement.class)?;
        let audited = self.is_recorded(&statement).then(|| statement.clone());
        let ran = self.prepare_statement(statement, sql).await;
        if let Some(statement) = audited {
            self.record_prepare(place, &statement, sql, &ran);
        }
        ran.map(drop)
    }

    /// Gives the server's error.
    async fn prepare_statement(
        &mut self,
        statement: Statement,
        sql: &[u8],
    ) -> Result<Option<u16>, Failure> {
        self.take_demand(&statement, sql, Carried::of(Attributes::Later))
            .await?;
        let planned = plan(&statement, sql, self.view(Proof::NotProved));
        let admitted = self.govern(planned).await?;
        if matches!(admitted.plan, Plan::Local(Local::Explain { .. })) {
            return Err(Fault::NotPreparable("EXPLAIN MESH").into());
        }
        if matches!(admitted.plan, Plan::Local(Local::Mesh(_))) {
            return Err(Fault::NotPreparable("SHOW MESH").into());
        }
        drop(admitted);
        if self.sharded.is_some() {
            let prepared = Box::pin(self.prepare_sharded(sql, statement)).await;
            return prepared.map(|()| None);
        }
        let functions = functions(&statement, self.view(Proof::NotProved));
        let spliced = match functions {
            Functions::NONE => None,
            _ => {
                let dialect = self.dialect();
                self.splice(sql, Functions::CONNECTION_ID, &dialect)
            }
        };
        let text = spliced.as_deref().unwrap_or(sql);
        let statement = if spliced.is_some() {
            self.interpret(text)
        } else {
            statement
        };
        let key = Arc::new(Key::of(text, &self.state.vector));
        let proof = self.prove(&statement, text, false);
        // Where it will be executed, it is prepared: reads go on while there is no primary.
        let aim = route(&statement, text, self.view(proof)).aim;
        let prepared = self.prepare_somewhere(&key, aim, &statement).await?;
        if !self.is_mariadb() {
            // MariaDB keeps the list of the statement before.
            self.state.diagnostics.warnings = Warnings::None;
        }
        let error = prepared.as_ref().err().map(|payload| error_code(payload));
        match prepared {
            Ok((_, answer)) => self.take_statement(statement, key, &answer).await?,
            Err(payload) => {
                self.state.diagnostics.warnings = Warnings::OnConnection;
                self.state.set_row_count(-1);
                self.client.packet(&payload).await?;
            }
        }
        self.settle().await.map(|()| error)
    }

    /// In a transaction that lost its server, where that goes on.
    async fn prepare_somewhere(
        &mut self,
        key: &Arc<Key>,
        aim: Aim,
        statement: &Statement,
    ) -> Result<Prepared, Failure> {
        let at_hand = AtHand::prepared(statement, &key.sql);
        let mut attempt = 0;
        loop {
            attempt += 1;
            self.revive(at_hand).await?;
            match self
                .prepared_on_connection(key, PreparedFor::Answer(aim))
                .await
            {
                Ok(prepared) => return Ok(prepared),
                Err(unsent) => self.after_unsent(unsent, attempt, at_hand).await?,
            }
        }
    }

    pub(super) async fn take_statement(
        &mut self,
        statement: Statement,
        key: Arc<Key>,
        answer: &Answer,
    ) -> Result<(), Failure> {
        let reads_diagnostics = reads_diagnostics(&statement);
        if reads_diagnostics {
            self.state.diagnostic_statements += 1;
        }
        if answer.warnings > 0 {
            self.state.diagnostics.warnings = Warnings::OnConnection;
        }
        let id = self.state.statements.insert(ClientStatement {
            executed: key.clone(),
            key,
            statement: Arc::new(statement),
            vector: self.state.vector.clone(),
            params: answer.params,
            types: None,
            cursor: Cursor::Closed,
            long_data: false,
            pieces: None,
            long_data_error: None,
            reads_diagnostics,
        });
        self.serving
            .metrics
            .prepared
            .fetch_add(1, Ordering::Relaxed);
        let out = self.prepare_answer(id, answer);
        self.client.channel.write(&out).await?;
        Ok(())
    }

    fn prepare_answer(&mut self, id: u32, answer: &Answer) -> Vec<u8> {
        let mut payload = vec![0];
        payload.extend_from_slice(&id.to_le_bytes());
        payload.extend_from_slice(&answer.columns.to_le_bytes());
        payload.extend_from_slice(&answer.params.to_le_bytes());
        payload.push(0);
        payload.extend_from_slice(&answer.warnings.to_le_bytes());
        let mut out = Vec::new();
        let eof = !self
            .client
            .capabilities
            .contains(Capabilities::DEPRECATE_EOF);
        let [s0, s1] = self.state.status.0.to_le_bytes();
        codec::put_packet(&mut out, &mut self.client.seq, &payload);
        let (params, columns) = answer
            .definitions
            .split_at_checked(usize::from(answer.params))
            .unwrap_or((&answer.definitions, &[]));
        for part in [params, columns] {
            for definition in part {
                codec::put_packet(&mut out, &mut self.client.seq, definition);
            }
            if eof && !part.is_empty() {
                codec::put_packet(&mut out, &mut self.client.seq, &[0xFE, 0, 0, s0, s1]);
            }
        }
        out
    }

    /// The statement of this key on a connection of the session, prepared there if need be.
    pub(super) async fn prepared_on_connection(
        &mut self,
        key: &Arc<Key>,
        wanted: PreparedFor,
    ) -> Result<Prepared, Unsent> {
        for attempt in 1.. {
            let fresh_lease = self.lease.is_none();
            if let PreparedFor::Answer(aim) | PreparedFor::AnswerNow(aim) = wanted {
                self.acquire(aim).await?;
            }
            let epoch = self.serving.schema_epoch.load(Ordering::Relaxed);
            let patience = self.within_deadline(FOREVER);
            let backend = self.backend()?;
            let known = match wanted {
                PreparedFor::Execution => {
                    let known = backend.statements.find_or_pin(key);
                    known.map(|known| (known.id, known.answer.clone()))
                }
                PreparedFor::Answer(_) => {
                    backend.statements.fresh_answer(key, Instant::now(), epoch)
                }
                PreparedFor::AnswerNow(_) => None,
            };
            if let Some(known) = known {
                return Ok(Ok(known));
            }
            let preparing = prepare_on(backend, key, epoch);
            let Ok(prepared) = tokio::time::timeout(patience, preparing).await else {
                self.kill_connection();
                return Err(self.lost(Lost::Overdue, None).into());
            };
            match prepared {
                Ok(prepared) => return Ok(prepared),
                Err(BackendError::Lost(_))
                    if fresh_lease && wanted != PreparedFor::Execution && attempt == 1 =>
                {
                    self.lease = None;
                }
                Err(e) => return Err(self.unsent(e)),
            }
        }
        Err(Fault::NoEndpoint("no connection for the statement".into()).into())
    }

    /// The server's id of a client's statement on the connection at hand, prepared under the state it was first prepared
    /// under.
    pub(super) async fn server_statement(
        &mut self,
        key: &Arc<Key>,
        under: &Arc<Vector>,
    ) -> Result<u32, Unsent> {
        if let Some(known) = self.backend()?.statements.find_or_pin(key) {
            return Ok(known.id);
        }
        let now = self.state.vector.clone();
        let elsewhere = under.prepare_state(&key.sql) != now.prepare_state(&key.sql);
        if elsewhere {
            let there = Arc::new(now.for_preparing(under, &key.sql));
            self.move_to(&there).await?;
        }
        let prepared = self
            .prepared_on_connection(key, PreparedFor::Execution)
            .await;
        if elsewhere {
            self.move_to(&now).await?;
        }
        match prepared? {
            Ok((id, _)) => Ok(id),
            Err(payload) => {
                // The server would say so at EXECUTE.
                let names = self.sharded.as_ref().and_then(|sharded| sharded.names());
                let payload = match names {
                    Some(names) => names.error(&payload),
                    None => payload,
                };
                let sqlstate = payload
                    .get(4..9)
                    .map(|s| String::from_utf8_lossy(s).into_owned());
                let (code, message) = server_error(payload)
                    .map(|e| (e.code, e.message))
                    .unwrap_or_default();
                Err(Fault::Server {
                    code,
                    sqlstate: sqlstate.unwrap_or_default(),
                    message,
                }
                .into())
            }
        }
    }

    async fn move_to(&mut self, vector: &Arc<Vector>) -> Result<(), Unsent> {
        let way = transition(&self.backend()?.vector, vector);
        if matches!(way, Transition::Reset | Transition::Reconnect) {
            // A reset would end the session's transaction and more: never on a connection that is in use.
            let message = "a statement was prepared under a state that only a reset leads back to; prepare it again";
            return Err(Fault::StateReplay {
                code: 1105,
                message: message.into(),
            }
            .into());
        }
        match self.backend()?.apply(vector).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(e)) => {
                self.lease = None;
                Err(Fault::StateReplay {
                    code: e.code,
                    message: e.message,
                }
                .into())
            }
            Err(e) => Err(self.unsent(e)),
        }
    }
}

pub(super) fn reads_diagnostics(statement: &Statement) -> bool {
    let reads = Facts::READS_ROW_COUNT | Facts::READS_FOUND_ROWS | Facts::READS_WARNING_COUNT;
    statement.facts.has_any(reads)
        || statement.effects.iter().any(|e| {
            matches!(
                e,
                Effect::ShowWarnings { .. }
                    | Effect::ShowCountWarnings { .. }
                    | Effect::GetDiagnostics
            )
        })
}

/// Prepares a statement on a connection; the inner error is the server's.
pub(crate) async fn prepare_on(
    backend: &mut Backend,
    key: &Arc<Key>,
    epoch: u64,
) -> Result<Prepared, BackendError> {
    let mut payload = vec![CommandCode::StmtPrepare as u8];
    payload.extend_from_slice(&key.sql);
    let mut out = Vec::with_capacity(payload.len() + codec::HEADER_BYTES);
    codec::put_packet(&mut out, &mut 0, &payload);
    backend.send(&out).await?;
    let mut seq = backend.answer_seq();
    let mut packet = Vec::new();
    next_packet(backend, &mut packet, &mut seq).await?;
    if packet.first() == Some(&0xFF) {
        backend.answered(None);
        return Ok(Err(packet));
    }
    let mut reader = Reader::new(packet.get(1..).unwrap_or_default());
    let (id, columns, params) = (reader.u32()?, reader.u16()?, reader.u16()?);
    reader.u8()?;
    let warnings = if reader.is_empty() { 0 } else { reader.u16()? };
    let eof = !backend.capabilities.contains(Capabilities::DEPRECATE_EOF);
    let mut definitions = Vec::with_capacity(usize::from(params) + usize::from(columns));
    for count in [params, columns] {
        for _ in 0..count {
            next_packet(backend, &mut packet, &mut seq).await?;
            let mut definition = Vec::with_capacity(packet.len());
            put_definition(
                &mut definition,
                &packet,
                backend.capabilities,
                backend.flags.0,
            )?;
            definitions.push(definition);
        }
        if eof && count > 0 {
            next_packet(backend, &mut packet, &mut seq).await?;
        }
    }
    backend.answered(None);
    let answer = Arc::new(Answer {
        columns,
        params,
        warnings,
        definitions,
    });
    let closed = backend
        .statements
        .insert(key.clone(), id, answer.clone(), Instant::now(), epoch);
    if !closed.is_empty() {
        close_statements(backend, &closed).await?;
    }
    Ok(Ok((id, answer)))
}

async fn next_packet(
    backend: &mut Backend,
    packet: &mut Vec<u8>,
    seq: &mut u8,
) -> Result<(), BackendError> {
    if backend.channel().is_compressed() {
        // The numbers follow the frames'.
        if let Some(header) = backend.channel().read_header().await? {
            *seq = header.seq;
        }
    }
    match backend
        .channel()
        .read_packet(packet, *seq, DEFINITION_BYTES_MAX)
        .await?
    {
        Some(next) => {
            *seq = next;
            Ok(())
        }
        None => Err(BackendError::Lost(std::io::ErrorKind::UnexpectedEof.into())),
    }
}

/// The number in an error packet of a server.
fn error_code(payload: &[u8]) -> u16 {
    match payload {
        [_, low, high, ..] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    }
}

/// A statement that opens no cursor is executed without.
pub(super) fn clear_cursor_flags(packet: &mut [u8]) {
    const CURSORS: u8 = ExecuteFlags::CURSOR_READ_ONLY.0
        | ExecuteFlags::CURSOR_FOR_UPDATE.0
        | ExecuteFlags::CURSOR_SCROLLABLE.0;
    if let Some(flags) = packet.get_mut(5) {
        *flags &= !CURSORS;
    }
}
