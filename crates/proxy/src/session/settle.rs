//! Between two commands: keep the connection, hold it, or give it back; and the end of a session.
//!
//! Owns the decision what becomes of the lease. A connection with pins is kept. One that merely remembers something of the
//! last statement (warnings, an id, a count of rows) is held until somebody needs it; then what it remembers is fetched
//! first. It must never give a connection back that could show one session's state to another. Input: pins and diagnostics.

use std::sync::atomic::Ordering;
use std::time::Duration;

use dbmesh_model::topology::{Multiplexing, Role};
use dbmesh_plan::LastInsertId;
use dbmesh_sql::{Effect, Facts, Statement};
use dbmesh_wire::relay::Outcome;

use super::exchange::Lost;
use super::prepare::reads_diagnostics;
use super::{Failure, Session};

use crate::backend::{Backend, BackendError, Cell, Flavor};
use crate::control::Signals;
use crate::pins::{Parting, PinReason, Pins};
use crate::prepared::Cursor;
use crate::state::{FoundRows, LastId, Warning, Warnings};
use crate::tracking::Tracking;
use crate::vector::Charset;

/// How long the clean-up of a connection may take before it is closed instead.
const CLEAN_UP_TIMEOUT: Duration = Duration::from_secs(5);

impl Session {
    /// The connection knows what LAST_INSERT_ID() is on it now.
    pub(super) fn pass_insert_id_on(&mut self, outcome: &Outcome) -> Result<(), Failure> {
        if outcome.last_insert_id != 0 || self.state.last_insert_id == LastId::OnConnection {
            let known = match self.state.last_insert_id {
                LastId::Known(id) => Some(id),
                LastId::OnConnection => None,
            };
            self.backend()?.last_insert_id = known;
        }
        self.take_up_keys(outcome)
    }

    /// After a command: what becomes of the connection.
    pub(super) async fn settle(&mut self) -> Result<(), Failure> {
        self.pin_by_statements();
        let kept = self.state.in_transaction() || !self.state.pins.is_empty();
        self.show_pins(kept);
        if !kept {
            self.state.reading = None;
        }
        if kept || self.lease.is_none() {
            return Ok(());
        }
        if self.remembers() {
            let (id, control) = (u64::from(self.handle().id), self.handle().control.clone());
            if let Some(lease) = &mut self.lease {
                lease.hold(id, &control);
            }
            return Ok(());
        }
        self.give_back().await;
        Ok(())
    }

    /// Whether the connection knows something of the last statement that the session does not.
    pub(super) fn remembers(&self) -> bool {
        self.state.diagnostics.warnings == Warnings::OnConnection
            || self.state.diagnostics.found_rows == FoundRows::OnConnection
            || self.state.last_insert_id == LastId::OnConnection
    }

    /// Pins that follow from the session's prepared statements and its policy.
    fn pin_by_statements(&mut self) {
        let cursors = self
            .state
            .statements
            .iter_mut()
            .any(|s| s.cursor == Cursor::Open);
        let long_data = self.state.statements.iter_mut().any(|s| s.long_data);
        self.state.pins.set(PinReason::Cursor, cursors);
        self.state.pins.set(PinReason::LongData, long_data);
        self.state.pins.set(
            PinReason::Diagnostics,
            self.state.diagnostic_statements > 0 && self.lease.is_some() && !self.is_on_replica(),
        );
        let never_shared = self.serving.service.pool.multiplexing == Multiplexing::Session;
        self.state.pins.set(
            PinReason::Policy,
            never_shared && self.lease.is_some() && !self.is_on_replica(),
        );
    }

    /// Counts pins that a statement added.
    pub(super) fn note_pins(&mut self, before: u32) {
        let after = self.state.pins.bits();
        if after & !before != 0 {
            self.noted.pins |= after & !before;
            for reason in Pins::reasons_of(after & !before) {
                self.serving.metrics.pin(reason);
            }
        }
    }

    fn show_pins(&mut self, kept: bool) {
        let mut pins = self.state.pins.bits();
        if self.state.in_transaction() {
            pins |= 1 << (PinReason::Transaction as u8);
        }
        self.handle().pins.store(pins, Ordering::Relaxed);
        if kept != self.pinned {
            self.pinned = kept;
            self.serving
                .metrics
                .pinned
                .fetch_add(if kept { 1 } else { -1 }, Ordering::Relaxed);
        }
    }

    /// Somebody waits for a connection, and this session merely holds one.
    pub(super) async fn give_up_hold(&mut self) {
        if self.state.in_transaction() || !self.state.pins.is_empty() {
            return;
        }
        if self.recall().await {
            self.give_back().await;
        }
    }

    /// Before a statement that asks what the last one left: where it may be sent to another server than that one was, or
    /// other words are sent before it, the session has to know it itself, because its plan depends on that.
    pub(super) async fn recollect(&mut self, statement: &Statement) -> Result<(), Failure> {
        if self.lease.is_none() || !reads_diagnostics(statement) {
            return Ok(());
        }
        let moves = self.serving.upstream.splitting().is_some()
            || self.sharded.is_some()
            || self.member.as_ref().is_some_and(|m| m.pool.is_draining());
        // What GET DIAGNOSTICS reads stays on the connection: it may go there as long as it sets variables at the primary.
        let stays = statement.effects.contains(&Effect::GetDiagnostics) && !self.is_on_replica();
        if moves && !stays {
            self.give_up_hold().await;
        }
        let restores = statement.facts.has(Facts::READS_LAST_INSERT_ID)
            && self.lease.is_some()
            && matches!(self.insert_id_to_restore(LastInsertId::Read), Ok(Some(_)));
        if !restores {
            return Ok(());
        }
        let kept = self.state.in_transaction() || !self.state.pins.is_empty();
        if !self.recall().await && kept {
            let gone = BackendError::Lost(std::io::ErrorKind::ConnectionAborted.into());
            return Err(self.lost(Lost::before(gone), None));
        }
        self.state.diagnostics.row_count_only_here = true;
        Ok(())
    }

    /// Whether reads are split off and the session's connection is to a server that only takes them.
    pub(super) fn is_on_replica(&self) -> bool {
        let upstream = &self.serving.upstream;
        let at_primary = |member| upstream.role_of(member) == Some(Role::Primary);
        upstream.splitting().is_some() && !self.member.as_ref().is_some_and(at_primary)
    }

    /// Fetches what the connection remembers of the last statement; says whether that is known now. If not, it is lost with
    /// the connection.
    pub(super) async fn recall(&mut self) -> bool {
        let (id, control) = (u64::from(self.handle().id), self.handle().control.clone());
        let Some(lease) = &mut self.lease else {
            return false;
        };
        lease.unhold(id, &control);
        let Ok(backend) = lease.backend() else {
            self.lease = None;
            return false;
        };
        let fetched =
            tokio::time::timeout(CLEAN_UP_TIMEOUT, fetch_memory(backend, &self.state)).await;
        match fetched {
            Ok(Ok(memory)) => {
                if let Some(id) = memory.last_insert_id {
                    self.state.last_insert_id = LastId::Known(id);
                    if let Ok(backend) = lease.backend() {
                        backend.last_insert_id = Some(id);
                    }
                }
                if let Some(found) = memory.found_rows {
                    self.state.diagnostics.found_rows = FoundRows::Known(found);
                }
                // It has that of the question now.
                self.state.diagnostics.found_rows_only_here = true;
                if let Some(warnings) = memory.warnings {
                    self.state.diagnostics.warnings = warnings;
                }
                true
            }
            _ => {
                self.forget_memory();
                false
            }
        }
    }

    /// The warnings of the last statement, while its connection is here.
    pub(super) async fn fetch_warnings(&mut self) -> Result<Vec<Warning>, Failure> {
        let fetched = show_warnings(self.backend()?).await;
        self.state.diagnostics.row_count_only_here = true;
        fetched.map_err(|e| self.lost(Lost::before(e), None))
    }

    /// The connection is gone, and what it remembered of the last statement with it.
    pub(super) fn forget_memory(&mut self) {
        self.lease = None;
        self.state.diagnostics.warnings = Warnings::None;
        self.state.diagnostics.found_rows = FoundRows::Unknown;
        if self.state.last_insert_id == LastId::OnConnection {
            self.state.last_insert_id = LastId::Known(0);
        }
    }

    /// Gives a connection without pins back to its pool.
    pub(super) async fn give_back(&mut self) {
        let Some(mut lease) = self.lease.take() else {
            return;
        };
        let Ok(backend) = lease.backend() else { return };
        let owned = backend.statements.remove_owned();
        if !owned.is_empty() && close_statements(backend, &owned).await.is_err() {
            return;
        }
        lease.give_back();
    }

    /// The end of the session: nothing of it may stay on the connection.
    pub(super) async fn finish(&mut self) {
        let sessions = &self.serving.metrics.sessions;
        sessions.fetch_sub(1, Ordering::Relaxed);
        self.forget_statements();
        if std::mem::take(&mut self.pinned) {
            self.serving.metrics.pinned.fetch_sub(1, Ordering::Relaxed);
        }
        self.part().await;
    }

    /// Forgets the client's prepared statements.
    pub(super) fn forget_statements(&mut self) {
        let prepared = i64::try_from(self.state.statements.len()).unwrap_or(0);
        self.serving
            .metrics
            .prepared
            .fetch_sub(prepared, Ordering::Relaxed);
        self.state.statements.clear();
        self.state.diagnostic_statements = 0;
    }

    /// Lets go of the connection, whatever is on it.
    pub(super) async fn part(&mut self) {
        self.drop_parts();
        // What was begun on the connection is open there, whatever becomes of what was only deferred.
        let open = self.state.in_transaction();
        self.end_deferred();
        // A KILL may still be on its way to this connection; its next user must not be hit.
        let arrived = tokio::time::timeout(CLEAN_UP_TIMEOUT, self.handle().end_execution()).await;
        if arrived.is_err() || self.handle().control.signals().any(Signals::KILL) {
            // Killed together with its session, though it may not look so yet.
            self.lease = None;
        }
        let (id, control) = (u64::from(self.handle().id), self.handle().control.clone());
        let Some(mut lease) = self.lease.take() else {
            return;
        };
        lease.unhold(id, &control);
        let parting = match self.state.pins.parting() {
            Parting::Share if open => Parting::Reset,
            other => other,
        };
        let Ok(backend) = lease.backend() else { return };
        if !backend.is_idle() || parting == Parting::Close {
            return;
        }
        if parting == Parting::Share {
            self.lease = Some(lease);
            return self.give_back().await;
        }
        lease.pool().counters.resets.fetch_add(1, Ordering::Relaxed);
        let Ok(backend) = lease.backend() else { return };
        if let Ok(Ok(Ok(()))) = tokio::time::timeout(CLEAN_UP_TIMEOUT, backend.reset()).await {
            lease.give_back();
        }
    }

    /// COM_RESET_CONNECTION.
    pub(super) async fn reset_connection(&mut self) -> Result<(), Failure> {
        self.part().await;
        let facts = self.server_facts();
        let charset = match facts.as_deref() {
            Some(facts) if facts.flavor == Flavor::MariaDb => {
                facts.handshake_charset(self.collation)
            }
            _ => Charset::Server,
        };
        self.forget_statements();
        self.client.tracking = Tracking::default();
        self.state
            .reset(charset, crate::login::beginning(&self.serving));
        self.begin_with_client_flags();
        self.show_pins(false);
        self.answer_ok().await?;
        Ok(())
    }
}

/// What a connection remembered.
#[derive(Debug, Default)]
struct Memory {
    last_insert_id: Option<u64>,
    found_rows: Option<u64>,
    warnings: Option<Warnings>,
}

async fn fetch_memory(
    backend: &mut Backend,
    state: &crate::state::SessionState,
) -> Result<Memory, BackendError> {
    let mut memory = Memory::default();
    let want_warnings = state.diagnostics.warnings == Warnings::OnConnection;
    if want_warnings {
        // SHOW WARNINGS first: it leaves the other two alone, and they do not leave it alone.
        let rows = show_warnings(backend).await?;
        let count = state.diagnostics.warning_count.max(rows.len() as u64);
        memory.warnings = Some(Warnings::Kept { rows, count });
    }
    let want_rows = state.diagnostics.found_rows == FoundRows::OnConnection;
    let want_id = state.last_insert_id == LastId::OnConnection;
    if want_rows || want_id {
        let rows = backend
            .query(b"SELECT FOUND_ROWS(), LAST_INSERT_ID()")
            .await?
            .unwrap_or_default();
        let cell = |at: usize| rows.first().and_then(|row| row.get(at)).and_then(number);
        memory.found_rows = cell(0).filter(|_| want_rows);
        memory.last_insert_id = cell(1).filter(|_| want_id);
    }
    Ok(memory)
}

async fn show_warnings(backend: &mut Backend) -> Result<Vec<Warning>, BackendError> {
    let rows = backend.query(b"SHOW WARNINGS").await?.unwrap_or_default();
    Ok(rows.into_iter().filter_map(warning).collect())
}

pub(super) fn warning(row: Vec<Cell>) -> Option<Warning> {
    let mut cells = row.into_iter().map(Option::unwrap_or_default);
    Some(Warning {
        level: cells.next()?,
        code: cells.next()?,
        message: cells.next()?,
    })
}

fn number(cell: &Cell) -> Option<u64> {
    std::str::from_utf8(cell.as_deref()?).ok()?.parse().ok()
}

/// Closes statements on the server; there is no answer to wait for.
pub(super) async fn close_statements(
    backend: &mut Backend,
    ids: &[u32],
) -> Result<(), BackendError> {
    let mut out = Vec::with_capacity(ids.len() * 9);
    for id in ids {
        let mut payload = Vec::with_capacity(5);
        dbmesh_wire::command::put_stmt_close(&mut payload, *id);
        dbmesh_wire::codec::put_packet(&mut out, &mut 0, &payload);
    }
    backend.send_unanswered(&out).await
}
