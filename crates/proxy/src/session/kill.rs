//! KILL by the ids that clients see.
//!
//! Owns the translation of such an id to the server connection on which that session's statement runs at that moment. A KILL
//! reaches that statement or nothing: the connection is used for nothing else until the KILL has arrived. Input: KILL
//! statements and COM_PROCESS_KILL; a user may kill its own sessions,
//! an operator those of its service.

use std::sync::Arc;

use dbmesh_sql::effects::KillKind;

use super::{Failure, Session};
use crate::control::Signals;
use crate::fault::Fault;
use crate::record::Record;
use crate::registry::SessionHandle;

fn kind_label(kind: KillKind) -> &'static str {
    match kind {
        KillKind::Query => "query",
        KillKind::Connection => "connection",
    }
}

impl Session {
    /// Kills a session's statement, or the session.
    pub(super) async fn kill(
        &mut self,
        kind: KillKind,
        target: Option<u64>,
    ) -> Result<(), Failure> {
        let own = u64::from(self.handle().id);
        let id = target.unwrap_or(own);
        if id == own {
            return self.kill_self(kind).await;
        }
        let victim = self
            .process
            .registry
            .find(id)
            .ok_or(Fault::UnknownThread(id))?;
        let own = self.handle();
        let operates = || self.serving.service.is_operator(&own.user);
        if victim.service != own.service || (victim.user != own.user && !operates()) {
            return Err(Fault::NotOwner(id).into());
        }
        if victim.user != own.user {
            let (by, user, what) = (&own.user, &victim.user, kind_label(kind));
            tracing::info!(session = id, %user, %by, what, "an operator kills a session of another user");
            let mut record = Record::new("operator");
            record
                .session(own)
                .text("action", "kill")
                .text("what", what);
            record.number("target", id).text("target_user", user);
            self.serving.logs.note(record);
        }
        if kind == KillKind::Connection {
            victim.control.say(Signals::KILL);
        }
        self.strike(&victim, kind).await?;
        self.state.set_row_count(0);
        self.answer_ok().await?;
        Ok(())
    }

    /// A session that kills itself is told so, and is gone if it killed its connection.
    async fn kill_self(&mut self, kind: KillKind) -> Result<(), Failure> {
        Err(match kind {
            KillKind::Connection => Fault::Killed,
            KillKind::Query => Fault::Interrupted,
        }
        .into())
    }

    /// Ends whatever the server does for the session; its connection is not used any more.
    pub(super) fn kill_connection(&mut self) {
        let Some(lease) = &mut self.lease else { return };
        let (pool, vector) = (lease.pool().clone(), self.state.vector.clone());
        let Ok(backend) = lease.backend() else { return };
        let sql = format!("KILL {}", backend.thread_id);
        tokio::spawn(async move { pool.run_aside(&vector, &sql).await });
    }

    async fn strike(&mut self, victim: &Arc<SessionHandle>, kind: KillKind) -> Result<(), Failure> {
        // The aim is held until the KILL has arrived.
        let Some(aim) = victim.aim() else {
            // It may wait for a connection or a primary.
            victim.interrupt();
            return Ok(());
        };
        let sql = match kind {
            KillKind::Query => format!("KILL QUERY {}", aim.thread_id),
            KillKind::Connection => format!("KILL {}", aim.thread_id),
        };
        let endpoint = aim.pool.endpoint().name.to_string();
        match aim.pool.run_aside(&self.state.vector, &sql).await {
            // The victim itself heard of the end of its connection: it ends even while its server cannot be reached.
            Err(_) if kind == KillKind::Connection => Ok(()),
            other => other.map_err(|e| e.into_fault(&endpoint).into()),
        }
    }
}
