//! Commands that are no statements: COM_INIT_DB, COM_SET_OPTION, COM_PROCESS_KILL and what is passed as it came.
//!
//! Owns how each is answered. It must never let an answer show what another session left on the connection. Input: the
//! session's packet.

use dbmesh_sql::{Class, Dialect, analyze};
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::command::{InitDb, MultiStatements, ProcessKill, SetOption};
use dbmesh_wire::relay::{Outcome, Shape};

use super::acquire::PRIMARY;
use super::exchange::Lost;
use super::{Failure, Session};
use crate::backend::Flags;
use crate::fault::Fault;

impl Session {
    /// COM_INIT_DB. Its OK would carry the warning count of whoever used the connection before: so it is answered here.
    pub(super) async fn init_db(&mut self) -> Result<(), Failure> {
        let chosen = InitDb::decode(&self.packet).map_err(|_| Fault::Malformed("COM_INIT_DB"))?;
        let schema = chosen.database.to_vec();
        let place = self.command_place(Class::Session)?;
        let ran = self.choose_schema(&schema).await;
        self.record_init_db(place, &schema, &ran);
        ran.map(drop)
    }

    /// Gives the server's error.
    async fn choose_schema(&mut self, schema: &[u8]) -> Result<Option<u16>, Failure> {
        self.may_enter(schema)?;
        if self.sharded.is_some() && self.choose_own_schema(schema).await? {
            return self.settle().await.map(|()| None);
        }
        self.chooses_schema = true;
        self.acquire(PRIMARY).await?;
        let packet = std::mem::take(&mut self.packet);
        let answer = self.backend()?.run(&packet, Shape::Single).await;
        self.packet = packet;
        let outcome = match answer {
            Ok(Ok((outcome, _))) => outcome,
            Ok(Err(e)) => {
                self.client.packet(&e.payload).await?;
                Outcome {
                    error: Some(e.code),
                    ..Outcome::default()
                }
            }
            Err(e) => return Err(self.lost(Lost::before(e), None)),
        };
        let (kept, failed) = (self.state.diagnostics.clone(), outcome.error.is_some());
        let like_use = analyze(b"USE x", &Dialect::default());
        self.take_in(&like_use, &outcome, &[]).await?;
        if !failed {
            // It leaves the warnings of the statement before.
            self.state.diagnostics.warnings = kept.warnings;
            self.state.diagnostics.warning_count = kept.warning_count;
            let answer = self.answer();
            self.client.ok_with(answer, &outcome.tracked).await?;
        }
        self.settle().await.map(|()| outcome.error)
    }

    /// Sends a command as it is and relays the answer.
    pub(super) async fn pass(&mut self, shape: Shape) -> Result<(), Failure> {
        let packet = std::mem::take(&mut self.packet);
        let result = self.pass_packet(&packet, shape).await;
        self.packet = packet;
        result
    }

    /// COM_FIELD_LIST.
    pub(super) async fn list_fields(&mut self) -> Result<(), Failure> {
        self.may_list_fields().await?;
        match self.sharded.is_some() {
            true => Box::pin(self.list_fields_of_node()).await,
            false => self.pass(Shape::Columns).await,
        }
    }

    pub(super) async fn set_option(&mut self) -> Result<(), Failure> {
        let option = SetOption::decode(&self.packet).map_err(|_| Fault::UnknownCommand)?;
        let before = Flags::of(self.client.capabilities);
        self.client.capabilities = match option.multi_statements {
            MultiStatements::On => self
                .client
                .capabilities
                .union(Capabilities::MULTI_STATEMENTS),
            MultiStatements::Off => self
                .client
                .capabilities
                .difference(Capabilities::MULTI_STATEMENTS),
        };
        let after = Flags::of(self.client.capabilities);
        self.give_up_hold().await;
        if self.lease.is_none() || before == after {
            self.client.eof(self.state.status).await?;
            return Ok(());
        }
        // Pinned: the server must know, and the pool that this connection has other flags now.
        let passed = self.pass(Shape::Single).await;
        if let Ok(backend) = self.backend() {
            backend.flags = after;
        }
        passed
    }

    pub(super) async fn process_kill(&mut self) -> Result<(), Failure> {
        let kill =
            ProcessKill::decode(&self.packet).map_err(|_| Fault::Malformed("COM_PROCESS_KILL"))?;
        self.kill(
            dbmesh_sql::effects::KillKind::Connection,
            Some(u64::from(kill.connection_id)),
        )
        .await?;
        Ok(())
    }
}
