//! READ ONLY transactions at a replica, and what may not run in them there.
//!
//! Owns how a session leaves a replica in the middle of such a transaction. It must never let a statement leave anything at
//! the replica that binds the session to it, nor take a lock there: the statement goes to the primary where that is exact,
//! gets the error that every server has for it, or is refused. Input: statements of a session whose transaction began at a
//! replica.

use std::time::Duration;

use dbmesh_model::topology::{Multiplexing, Role};
use dbmesh_plan::{Aim, InReading, Route, in_reading, route};
use dbmesh_sql::ast::Body;
use dbmesh_sql::effects::{AccessMode, Effect};
use dbmesh_sql::{Parser, Statement, StatementKind, Verb};
use dbmesh_wire::command::Query;
use dbmesh_wire::relay::Shape;
use dbmesh_wire::status::Status;

use super::acquire::PRIMARY;
use super::demand::Place;
use super::{Executed, Failure, Session};
use crate::absorb::{Surroundings, foresee};
use crate::backend::BackendError;
use crate::fault::Fault;
use crate::state::Reading;

/// How often the transaction is begun at the primary when connections turn out to be dead.
const ATTEMPTS_MAX: u32 = 4;
/// How long a server may take to begin or end a transaction in which nothing was written.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Nothing of a transaction that only read is left by it, whatever `completion_type` says.
const END: &[u8] = b"COMMIT AND NO CHAIN NO RELEASE";
/// What a transaction without a snapshot begins with, wherever it began first.
const BEGIN: &[u8] = b"START TRANSACTION READ ONLY";
/// ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION.
const READ_ONLY_TRANSACTION: u16 = 1792;

impl Session {
    /// After a statement: whether it began a READ ONLY transaction at a replica, or left a session that was `free` bound to
    /// one: what a view calls stands in no text. What was aimed at a primary is not at a replica because that is none now.
    pub(super) fn note_reading(&mut self, statement: &Statement, aim: Aim, free: bool) {
        let left = aim.role == Role::Replica && free && self.is_bound();
        if !left || self.sharded.is_some() || !self.is_on_replica() {
            return;
        }
        let fresh = Effect::Begin {
            access: Some(AccessMode::ReadOnly),
            consistent_snapshot: false,
        };
        let fresh = self.demand.place == Place::Home && *statement.effects == [fresh];
        self.state.reading = Some(match fresh && self.state.pins.is_empty() {
            true => Reading::Fresh,
            false => Reading::Bound,
        });
    }

    /// A statement in text, of a service whose tables are not split.
    pub(super) async fn execute_reading(
        &mut self,
        packet: &[u8],
        query: &Query<'_>,
        statement: &Statement,
        mut route: Route,
    ) -> Result<Executed, Failure> {
        if self.state.reading.is_some() {
            route = Box::pin(self.stay_or_leave(statement, query.sql, route)).await?;
        }
        let free = !self.is_bound();
        let executed = self.execute_text(packet, query, statement, route).await;
        self.note_reading(statement, route.aim, free);
        executed
    }

    /// Before a statement of a session that reads at a replica: it stays there, leaves it, or gets its error. Gives the
    /// route from where the session is then.
    pub(super) async fn stay_or_leave(
        &mut self,
        statement: &Statement,
        sql: &[u8],
        before: Route,
    ) -> Result<Route, Failure> {
        if self.lease.is_none() || !self.is_bound() {
            self.state.reading = None;
        }
        let Some(reading) = self.state.reading.filter(|_| self.is_on_replica()) else {
            return Ok(before);
        };
        let does = match in_reading(statement) {
            InReading::Sets if self.would_pin(statement, sql) => InReading::Acts,
            InReading::Reads if self.explains_write(statement, sql) => InReading::Acts,
            does => does,
        };
        let open = self.state.in_transaction();
        match (does, reading) {
            (InReading::Sets, _) => return Ok(before),
            (InReading::Reads, _) => {
                self.state.reading = Some(Reading::Bound);
                return Ok(before);
            }
            (InReading::Writes, Reading::Bound) if open && self.parses(sql) => {
                return Err(self.refused_write());
            }
            _ if !open || !self.state.pins.is_empty() => return Err(self.bound_to_replica()),
            (_, Reading::Fresh) if does != InReading::Commits => self.begin_at_primary().await?,
            (InReading::Commits, _) if self.parses(sql) => self.end_at_replica().await,
            _ => return Err(self.has_read_at_replica()),
        }
        let proof = self.prove(statement, sql, true);
        Ok(route(statement, sql, self.view(proof)))
    }

    /// For who asks where a statement would run: what becomes of it, if it may not run where the session reads.
    pub(super) fn foretold_in_reading(&self, statement: &Statement) -> Option<String> {
        let reads = self.lease.is_some() && self.state.in_transaction() && self.is_on_replica();
        let reading = self.state.reading.filter(|_| reads)?;
        let at = self.endpoint_name();
        match (in_reading(statement), reading) {
            (InReading::Reads | InReading::Sets, _) => None,
            (InReading::Commits, _) => Some(format!(
                "where it runs alone: the READ ONLY transaction at {at} ends before it"
            )),
            (_, Reading::Fresh) => Some(format!(
                "the primary: the READ ONLY transaction has read nothing at {at}, and begins anew"
            )),
            (InReading::Writes, Reading::Bound) => {
                Some("nowhere: in a READ ONLY transaction it is error 1792".to_owned())
            }
            (InReading::Acts, Reading::Bound) => Some(format!(
                "nowhere: the READ ONLY transaction reads at {at}, where it may not run"
            )),
        }
    }

    /// Whether a statement that sets something would bind the session to its connection.
    fn would_pin(&mut self, statement: &Statement, sql: &[u8]) -> bool {
        let dialect = self.dialect();
        let Some(facts) = self.server_facts() else {
            return true;
        };
        let pool = &self.serving.service.pool;
        let around = Surroundings {
            facts: &facts,
            routines: pool.routines,
            sql,
            dialect: &dialect,
        };
        let (pins, status) = (&self.state.pins, Status::AUTOCOMMIT.union(Status::IN_TRANS));
        !foresee(pins, status, statement, around, Multiplexing::Transaction).is_empty()
    }

    /// Servers refuse to explain a change as they refuse to make it, and each for its own reason.
    fn explains_write(&mut self, statement: &Statement, sql: &[u8]) -> bool {
        if statement.verb != Verb::Explain {
            return false;
        }
        let dialect = self.dialect();
        let mut parser = Parser::default();
        let explained = parser.parse(sql, &dialect).map(|ast| ast.statement().body);
        match explained {
            Ok(Body::Explain { kind, .. }) => !matches!(
                kind,
                StatementKind::Select | StatementKind::Table | StatementKind::Values
            ),
            Ok(_) => false,
            Err(_) => true,
        }
    }

    /// A server that cannot parse a statement says so, and does nothing else for it: it does not commit either.
    fn parses(&mut self, sql: &[u8]) -> bool {
        let dialect = self.dialect();
        Parser::default().parse(sql, &dialect).is_ok()
    }

    /// The transaction has read nothing: it begins at the primary as if it never had anywhere else.
    async fn begin_at_primary(&mut self) -> Result<(), Failure> {
        if self.remembers() && !self.recall().await {
            return Err(self.lost_at_replica());
        }
        let (lease, member) = (self.lease.take(), self.member.take());
        let status = self.state.status;
        self.state.status = status.difference(IN_READING);
        let begun = self.begin_there().await;
        self.state.status = status;
        if let Err(failure) = begun {
            // It goes on where it is; what may have begun at the primary ends with its connection.
            (self.lease, self.member) = (lease, member);
            return Err(failure);
        }
        self.state.reading = None;
        // What would be executed again began elsewhere.
        self.replay = None;
        let primary = (
            std::mem::replace(&mut self.lease, lease),
            self.member.take(),
        );
        self.member = member;
        self.let_go().await;
        (self.lease, self.member) = primary;
        Ok(())
    }

    async fn begin_there(&mut self) -> Result<(), Failure> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            self.acquire(PRIMARY).await?;
            let backend = self.backend()?;
            let payload = backend.query_payload(BEGIN);
            let begun = backend.run(&payload, Shape::Results);
            let silent = || BackendError::Lost(std::io::ErrorKind::TimedOut.into());
            let begun = tokio::time::timeout(ANSWER_TIMEOUT, begun).await;
            match begun.unwrap_or_else(|_| Err(silent())) {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(e)) => {
                    let sqlstate = e.payload.get(4..9).map(String::from_utf8_lossy);
                    return Err(Fault::Server {
                        code: e.code,
                        sqlstate: sqlstate.map(|s| s.into_owned()).unwrap_or_default(),
                        message: e.message,
                    }
                    .into());
                }
                Err(_) if attempt < ATTEMPTS_MAX => {
                    self.lease = None;
                    self.serving.upstream.suspect();
                }
                Err(e) => return Err(self.broke(&e)),
            }
        }
    }

    /// The statement commits: what was read ends at the replica, and the session is free.
    async fn end_at_replica(&mut self) {
        if self.remembers() && !self.recall().await {
            // It went with the connection, and so did the transaction, which only read.
            self.lease = None;
        }
        self.let_go().await;
        self.state.status = self.state.status.difference(IN_READING);
        self.state.reading = None;
        self.replay = None;
    }

    /// Ends the transaction on the connection at hand, and gives that back.
    async fn let_go(&mut self) {
        let ended = match self.backend() {
            Ok(backend) => {
                let payload = backend.query_payload(END);
                tokio::time::timeout(ANSWER_TIMEOUT, backend.run(&payload, Shape::Results)).await
            }
            Err(_) => return,
        };
        match ended {
            Ok(Ok(Ok(_))) => self.give_back().await,
            // Closed, the transaction is over as well.
            _ => self.lease = None,
        }
    }

    fn lost_at_replica(&mut self) -> Failure {
        let gone = BackendError::Lost(std::io::ErrorKind::ConnectionAborted.into());
        self.lost(super::exchange::Lost::before(gone), None)
    }

    fn broke(&mut self, error: &BackendError) -> Failure {
        tracing::info!(error = %error, "a transaction could not begin at the primary");
        let endpoint = self.endpoint_name();
        self.lease = None;
        let state_lost = false;
        Fault::BackendLost {
            endpoint,
            state_lost,
        }
        .into()
    }

    pub(super) fn endpoint_name(&self) -> String {
        let member = self.member.as_ref();
        member.map_or_else(String::new, |m| m.endpoint.name.to_string())
    }

    /// What every server says to a write in a transaction that may only read.
    fn refused_write(&mut self) -> Failure {
        Fault::Server {
            code: READ_ONLY_TRANSACTION,
            sqlstate: "25006".into(),
            message: match self.is_mariadb() {
                true => "Cannot execute statement in a READ ONLY transaction".into(),
                false => "Cannot execute statement in a READ ONLY transaction.".into(),
            },
        }
        .into()
    }

    fn has_read_at_replica(&self) -> Failure {
        Fault::Misplaced(format!(
            "the READ ONLY transaction reads at {} (`transactionalRead`), and this statement is none that only reads there: \
             it has to come before the transaction's first read, or after its end",
            self.endpoint_name()
        ))
        .into()
    }

    fn bound_to_replica(&self) -> Failure {
        Fault::Misplaced(format!(
            "the session is bound to {}, which takes no writes, by {}, and the statement has to run at the primary",
            self.endpoint_name(),
            self.own_state()
        ))
        .into()
    }
}

/// What the status says of a transaction.
const IN_READING: Status = Status(Status::IN_TRANS.0 | Status::IN_TRANS_READONLY.0);
