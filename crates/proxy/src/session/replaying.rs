//! A transaction that loses its server before COMMIT is executed again at the next one, where the strategy says so.
//!
//! Owns the decision whether that may be, and the doing. It must never execute again what may have been committed, nor go
//! on behind an answer that is not the one the client has. Input: the journal of the transaction, the loss.

mod announcing;

use std::pin::pin;
use std::time::{Duration, Instant};

use dbmesh_model::topology::TransactionReplay;
use dbmesh_plan::{Aim, Proof, at_first_sight};
use dbmesh_sql::ast::Ast;
use dbmesh_sql::effects::{Effect, TransactionScope};
use dbmesh_sql::parsed::Access;
use dbmesh_sql::{ParsedFacts, Parser, Statement, Verb};
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec;
use dbmesh_wire::command::StmtExecute;
use dbmesh_wire::relay::{Hops, Outcome, Progress, Relay, Shape};
use dbmesh_wire::status::Status;

use super::demand::Place;
use super::exchange::Lost;
use super::execute::may_commit;
use super::leave::{Repeat, TurnedAway, refuses_writes};
use super::prepared::Arguments;
use super::ready::Unsent;
use super::{Failure, Session};
use crate::backend::{Backend, BackendError};
use crate::fault::Fault;
use crate::pins::{PinReason, Pins};
use crate::replay::{Execution, Fingerprint, Journal, Sent, Unplayable};
use crate::state::LastId;

/// Pause before a server is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Deadlock and lock wait timeout: whoever was in the way may be gone the next time.
const IN_THE_WAY: [u16; 2] = [1205, 1213];

/// What ends an execution of the journal.
enum Stop {
    /// There is no server for it now, or it takes no writes yet.
    NotThere,
    /// The next time it may come through.
    Again,
    /// It will not come through.
    For(Unplayable),
}

/// The statement that the client waits for.
#[derive(Clone, Copy)]
pub(super) struct AtHand<'a> {
    statement: &'a Statement,
    /// As it is sent.
    sql: &'a [u8],
    /// Whether it is executed, not only prepared.
    runs: bool,
}

impl<'a> AtHand<'a> {
    pub(super) fn executed(statement: &'a Statement, sql: &'a [u8]) -> Self {
        let runs = true;
        Self {
            statement,
            sql,
            runs,
        }
    }

    pub(super) fn prepared(statement: &'a Statement, sql: &'a [u8]) -> Self {
        let runs = false;
        Self {
            statement,
            sql,
            runs,
        }
    }

    /// The statement, if it is executed.
    fn running(&self) -> Option<&'a Statement> {
        self.runs.then_some(self.statement)
    }
}

impl Session {
    /// Before a statement is sent for the first time: the journal of its transaction expects it, and begins if that does.
    pub(super) fn expect_step(&mut self, statement: &Statement, aim: Aim) {
        if self.serving.service.strategy.transaction_replay.is_none() || self.sharded.is_some() {
            self.replay = None;
            return;
        }
        let open = self.state.in_transaction();
        let begins = statement.verb == Verb::Begin;
        let announced = !open && self.state.pins.has(PinReason::NextTransaction);
        if let Some(journal) = &mut self.replay
            && ((open && !begins) || announced)
        {
            journal.announce();
            return;
        }
        let announces = |effect: &Effect| {
            let next = TransactionScope::Next;
            matches!(effect, Effect::SetTransaction { scope, .. } if *scope == next)
        };
        let opens = begins
            || (!open && !self.state.status.contains(Status::AUTOCOMMIT))
            || (!open && !announced && statement.effects.iter().any(announces));
        let bare = self.demand.place == Place::Home && holds_nothing_else(&self.state.pins);
        self.replay = None;
        if opens && !announced {
            let id = match self.state.last_insert_id {
                LastId::Known(id) => Some(id),
                LastId::OnConnection => None,
            };
            let eof = self.client.capabilities;
            let eof = eof.contains(Capabilities::DEPRECATE_EOF);
            let mut journal = Journal::new(
                aim,
                self.state.vector.clone(),
                id,
                eof,
                self.process.replays.clone(),
            );
            match bare {
                true => journal.announce(),
                false => journal.give_up(Unplayable::State),
            }
            self.replay = Some(Box::new(journal));
        }
    }

    /// After a statement was answered, and its doing taken in.
    pub(super) fn keep_step(
        &mut self,
        statement: &Statement,
        outcome: &Outcome,
        sent: impl FnOnce() -> Sent,
    ) {
        let Some(journal) = &mut self.replay else {
            return;
        };
        let lasts = self.state.in_transaction() || self.state.pins.has(PinReason::NextTransaction);
        let tracks = match self.lease.as_mut().map(|lease| lease.backend()) {
            Some(Ok(backend)) => backend.facts.tracks_state,
            _ => false,
        };
        let policy = self.serving.service.strategy.transaction_replay;
        match policy {
            Some(policy) if lasts => {
                if !tracks {
                    // Nobody would tell of a table without transactions.
                    journal.give_up(Unplayable::NonTransactional);
                }
                let vector = self.state.vector.clone();
                journal.keep(statement, outcome, vector, policy.max_bytes, sent);
            }
            _ => self.replay = None,
        }
    }

    /// Before a statement of a transaction is sent: if its connection is known to be gone, the transaction is executed
    /// again first. That holds for COMMIT as well, which nobody has got.
    pub(super) async fn revive(&mut self, at_hand: AtHand<'_>) -> Result<(), Failure> {
        if self.replay.is_none() || !self.state.in_transaction() {
            return Ok(());
        }
        let gone = match &mut self.lease {
            Some(lease) => {
                let fenced = lease.pool().standing.is_fenced();
                fenced || lease.backend().is_ok_and(Backend::is_stale)
            }
            None => false,
        };
        match gone {
            true => {
                let never = (Repeat::Never, u32::MAX);
                self.recover(Lost::NotSent, never, at_hand).await
            }
            false => Ok(()),
        }
    }

    /// After a loss: either clears the way for another attempt, or gives the error.
    pub(super) async fn recover(
        &mut self,
        lost: Lost,
        (repeat, attempt): (Repeat, u32),
        at_hand: AtHand<'_>,
    ) -> Result<(), Failure> {
        match self.may_replay(&lost, repeat, at_hand.running()) {
            None => self.after_loss(lost, repeat, attempt, at_hand.statement),
            Some(Err(why)) => {
                self.note_unplayable(why);
                self.replay = None;
                self.after_loss(lost, repeat, attempt, at_hand.statement)
            }
            Some(Ok(policy)) => Box::pin(self.replay(lost, policy, at_hand)).await,
        }
    }

    /// Whether a refusal to write need not be the client's answer: the transaction can be executed again elsewhere.
    pub(super) fn plays_on(&self, statement: &Statement) -> bool {
        let refused = self.may_replay(&Lost::NotSent, Repeat::Never, Some(statement));
        self.state.in_transaction() && matches!(refused, Some(Ok(_)))
    }

    /// A server takes no writes, and the client has not been told: where to next. Of a refused statement nothing was done,
    /// nor of a transaction whose COMMIT was refused.
    pub(super) async fn move_on(
        &mut self,
        aim: Aim,
        error: TurnedAway,
        at_hand: AtHand<'_>,
    ) -> Result<Aim, Failure> {
        if self.has_only_announced() && !self.plays_on(at_hand.statement) {
            return Box::pin(self.announce_elsewhere(aim, error)).await;
        }
        if !self.state.in_transaction() {
            return Box::pin(self.turned_away(aim, error)).await;
        }
        if let Some(member) = &self.member {
            self.serving.upstream.refused_write(member);
        }
        let never = (Repeat::Never, u32::MAX);
        self.recover(Lost::NotSent, never, at_hand).await?;
        Ok(aim)
    }

    /// Whether the transaction is executed again, and the statement that runs behind it; nothing if that is not the question.
    fn may_replay(
        &self,
        lost: &Lost,
        repeat: Repeat,
        running: Option<&Statement>,
    ) -> Option<Result<TransactionReplay, Unplayable>> {
        let journal = self.replay.as_ref()?;
        let policy = self.serving.service.strategy.transaction_replay?;
        let open = self.state.in_transaction();
        let sent = match lost {
            Lost::NotSent => false,
            Lost::Cut(_) | Lost::Backend { came: true, .. } => {
                return Some(Err(Unplayable::Partial));
            }
            Lost::Backend {
                error: BackendError::Lost(_),
                ..
            } => true,
            _ => return None,
        };
        if !open && journal.steps.is_empty() && (!sent || repeat == Repeat::Safe) {
            // Nothing was begun: it is simply sent again.
            return None;
        }
        let elsewhere = self.is_away() || self.demand.place != Place::Home;
        let why = match journal.unplayable() {
            _ if sent && open && running.is_some_and(may_commit) => Some(Unplayable::Commit),
            Some(why) => Some(why),
            None if open && journal.steps.is_empty() => Some(Unplayable::Outside),
            None if elsewhere || !holds_nothing_else(&self.state.pins) => Some(Unplayable::State),
            None => running.and_then(|statement| journal.of_interrupted(statement)),
        };
        Some(why.map_or(Ok(policy), Err))
    }

    fn note_unplayable(&self, why: Unplayable) {
        self.serving.metrics.replays.count_failed(why);
        tracing::info!(
            session = self.handle().id,
            reason = why.label(),
            "a transaction lost its server and is not executed again"
        );
    }

    async fn replay(
        &mut self,
        lost: Lost,
        policy: TransactionReplay,
        at_hand: AtHand<'_>,
    ) -> Result<(), Failure> {
        let Some(mut journal) = self.replay.take() else {
            return Err(self.lost(lost, Some(at_hand.statement)));
        };
        if let Some(lease) = self.lease.take() {
            lease.pool().standing.forget_known();
            self.serving.upstream.suspect();
        }
        let state = &self.state;
        let (status, pins, vector) = (state.status, state.pins.clone(), state.vector.clone());
        let (last_insert_id, position) = (state.last_insert_id, state.position.clone());
        let (member, begun) = (self.member.clone(), Instant::now());
        let until = begun + Duration::from_millis(policy.timeout_ms);
        let played = loop {
            if journal.replays >= policy.attempts {
                break Err(Unplayable::Attempts);
            }
            self.state.status = status.difference(Status::IN_TRANS);
            let played = {
                let playing = pin!(self.play(&mut journal, at_hand));
                tokio::time::timeout_at(until.into(), playing).await
            };
            let attempted = self.lease.is_some() && !matches!(played, Ok(Err(Stop::NotThere)));
            if !matches!(played, Ok(Ok(()))) {
                // Whatever was begun there ends with it.
                self.lease = None;
            }
            journal.replays += u32::from(attempted);
            match played {
                Ok(Ok(())) => break Ok(()),
                Ok(Err(Stop::For(why))) => break Err(why),
                Err(_) => break Err(Unplayable::Timeout),
                Ok(Err(Stop::NotThere | Stop::Again)) => {
                    let rest = until.saturating_duration_since(Instant::now());
                    tokio::time::sleep(LOOK_AGAIN.min(rest)).await;
                }
            }
        };
        let state = &mut self.state;
        (state.status, state.pins, state.vector) = (status, pins, vector);
        (state.last_insert_id, state.position) = (last_insert_id, position);
        if let Err(why) = played {
            self.member = member;
            self.note_unplayable(why);
            return Err(self.lost(lost, Some(at_hand.statement)));
        }
        let vector = self.connection_vector().clone();
        let backend = self.backend()?;
        backend.vector = vector;
        // What the session knows is set again where a statement reads it.
        backend.last_insert_id = None;
        self.serving.metrics.replays.count_done();
        tracing::info!(
            session = self.handle().id,
            statements = journal.steps.len(),
            took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            endpoint = %self.member.as_ref().map(|m| m.endpoint.name.to_string()).unwrap_or_default(),
            "a transaction lost its server and was executed again"
        );
        journal.announce();
        self.replay = Some(journal);
        Ok(())
    }

    /// Executes all statements on a new connection.
    async fn play(&mut self, journal: &mut Journal, at_hand: AtHand<'_>) -> Result<(), Stop> {
        self.state.vector = journal.vector.clone();
        self.acquire(journal.aim).await.map_err(|f| stop_of(&f))?;
        if let Some(id) = journal.last_insert_id {
            let set = format!("SET last_insert_id = {id}");
            self.ask(set.as_bytes()).await?;
        }
        self.check_tables(journal, at_hand).await?;
        let mut id_is_set = false;
        for step in &journal.steps {
            if id_is_set && step.writes {
                self.prefer("SET insert_id = DEFAULT").await?;
                id_is_set = false;
            }
            if step.insert_id != 0 && !step.failed_write {
                // What others generated meanwhile, or had generated before, must not shift the ids that the client has.
                let set = format!("SET insert_id = {}", step.insert_id);
                self.prefer(&set).await?;
                id_is_set = true;
            }
            let outcome = self
                .send_again(&step.sent, &mut journal.fingerprint)
                .await?;
            if journal.fingerprint.print() != step.print {
                return Err(match outcome.error {
                    Some(error) if IN_THE_WAY.contains(&error) => Stop::Again,
                    Some(error) if refuses_writes(error) => {
                        if let Some(member) = &self.member {
                            self.serving.upstream.refused_write(member);
                        }
                        Stop::NotThere
                    }
                    _ => Stop::For(Unplayable::Differs),
                });
            }
            self.state.vector = step.vector.clone();
            let vector = self.connection_vector().clone();
            self.backend().map_err(|f| stop_of(&f))?.vector = vector;
        }
        if id_is_set {
            self.prefer("SET insert_id = DEFAULT").await?;
        }
        let lease = self.lease.as_mut().ok_or(Stop::Again)?;
        let fenced = lease.pool().standing.is_fenced();
        let backend = lease.backend().map_err(|_| Stop::Again)?;
        let open = backend.status.contains(Status::IN_TRANS) || journal.steps.is_empty();
        match (fenced, open) {
            (true, _) => Err(Stop::Again),
            // Everything was answered alike, and yet the transaction is over.
            (false, false) if !self.only_announced(journal) => Err(Stop::For(Unplayable::Differs)),
            (false, _) => Ok(()),
        }
    }

    /// Whether the journal has no more than SET TRANSACTION.
    fn only_announced(&self, journal: &Journal) -> bool {
        journal.steps.len() == 1 && self.state.pins.has(PinReason::NextTransaction)
    }

    /// A statement of dbmesh's own on the connection.
    async fn ask(&mut self, sql: &[u8]) -> Result<Vec<Vec<crate::backend::Cell>>, Stop> {
        let backend = self.backend().map_err(|f| stop_of(&f))?;
        match backend.query(sql).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(_)) => Err(Stop::For(Unplayable::State)),
            Err(_) => Err(Stop::Again),
        }
    }

    /// A setting that the account may not be allowed to make; then it goes without.
    async fn prefer(&mut self, sql: &str) -> Result<(), Stop> {
        let backend = self.backend().map_err(|f| stop_of(&f))?;
        match backend.query(sql.as_bytes()).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Stop::Again),
        }
    }

    /// What was not answered, or with an error, may have written to a table without transactions, and nobody told.
    async fn check_tables(&mut self, journal: &Journal, at_hand: AtHand<'_>) -> Result<(), Stop> {
        let failed = journal.steps.iter().filter(|step| step.failed_write);
        let mut doubtful: Vec<&[u8]> = failed.map(|step| step.sent.sql()).collect();
        let doubted = |statement: &&Statement| {
            let writes = dbmesh_sql::Class::Write == statement.class;
            writes && at_first_sight(statement) == Proof::NotProved
        };
        if at_hand.running().filter(doubted).is_some() {
            doubtful.push(at_hand.sql);
        }
        let dialect = self.state.known_dialect().unwrap_or_default();
        for sql in doubtful {
            let mut parser = Parser::new();
            let Ok(ast) = parser.parse(sql, &dialect) else {
                return Err(Stop::For(Unplayable::Outside));
            };
            let facts = ParsedFacts::of(ast, sql, &dialect);
            if !facts.tables_known {
                return Err(Stop::For(Unplayable::Outside));
            }
            let written = facts.tables.iter().filter(|t| t.access != Access::Read);
            for table in written {
                let name = |span: dbmesh_sql::Span| {
                    let name = Ast::unquoted(sql, span, &dialect);
                    let digits: String = name.iter().map(|b| format!("{b:02x}")).collect();
                    format!("_utf8mb4 0x{digits}")
                };
                let schema = table.schema_name().map_or("DATABASE()".into(), name);
                let ask = format!(
                    "SELECT COUNT(*) FROM information_schema.TABLES t JOIN information_schema.ENGINES e \
                     ON e.ENGINE = t.ENGINE WHERE e.TRANSACTIONS = 'YES' AND t.TABLE_SCHEMA = {schema} AND \
                     t.TABLE_NAME = {}",
                    name(table.name.name)
                );
                let rows = self.ask(ask.as_bytes()).await?;
                let cell = rows.first().and_then(|row| row.first());
                if cell.is_none_or(|cell| cell.as_deref() != Some(b"1")) {
                    return Err(Stop::For(Unplayable::NonTransactional));
                }
            }
        }
        Ok(())
    }

    /// Sends one statement again and takes the fingerprint of its answer.
    async fn send_again(&mut self, sent: &Sent, print: &mut Fingerprint) -> Result<Outcome, Stop> {
        let mut out = Vec::new();
        match sent {
            Sent::Text(sql) => {
                let payload = self.backend().map_err(|f| stop_of(&f))?.query_payload(sql);
                codec::put_packet(&mut out, &mut 0, &payload);
            }
            Sent::Execution(execution) => self.put_again(execution, &mut out).await?,
        }
        let (capabilities, status) = (self.client.capabilities, self.state.status);
        let filter = self.client.tracking.filter();
        let backend = self.backend().map_err(|f| stop_of(&f))?;
        let hops = Hops {
            backend: backend.capabilities,
            client: capabilities,
            backend_seq: codec::seq_behind(&out),
            client_seq: 1,
            status,
            numbering: backend.channel().numbering(),
            filter,
            more: Status::NONE,
            names: None,
        };
        print.restart();
        answer(backend, &out, Relay::new(Shape::Results, hops), print)
            .await
            .map_err(|_| Stop::Again)
    }

    async fn put_again(&mut self, execution: &Execution, out: &mut Vec<u8>) -> Result<(), Stop> {
        let server_id = self.server_statement(&execution.key, &execution.under);
        let server_id = server_id.await.map_err(|unsent| match unsent {
            Unsent::Lost => Stop::Again,
            Unsent::Failure(f) => stop_of(&f),
        })?;
        let mut packet = execution.packet.to_vec();
        let execute = StmtExecute::decode(&packet, execution.params, self.client.capabilities)
            .map_err(|_| Stop::For(Unplayable::State))?;
        let arguments = Arguments {
            params: execution.params,
            execute: &execute,
            types: execution.types.as_ref(),
            key: &execution.key,
        };
        self.put_execute(&mut packet, &arguments, server_id, out)
            .map_err(|f| stop_of(&f))?;
        if out.is_empty() {
            codec::put_packet(out, &mut 0, &packet);
        }
        Ok(())
    }
}

/// Reads an answer to its end, as its client would see it.
async fn answer(
    backend: &mut Backend,
    command: &[u8],
    mut relay: Relay,
    print: &mut Fingerprint,
) -> Result<Outcome, BackendError> {
    backend.send(command).await?;
    let mut out = Vec::new();
    loop {
        let channel = backend.channel();
        let (taken, progress) = relay.feed(channel.inbox().unread(), &mut out)?;
        channel.consume(taken);
        print.feed(&out);
        out.clear();
        match progress {
            Progress::Done => break,
            Progress::More => {}
            Progress::LocalInfile(_) => {
                return Err(BackendError::Protocol("unasked LOCAL INFILE".into()));
            }
        }
        if backend.channel().fill().await? == 0 {
            return Err(BackendError::Lost(std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
    let outcome = relay.into_outcome();
    backend.answered(outcome.status);
    Ok(outcome)
}

/// Whether the session has nothing on its connection but its transaction, or what makes no difference.
fn holds_nothing_else(pins: &Pins) -> bool {
    let harmless = [
        PinReason::Transaction,
        PinReason::NextTransaction,
        PinReason::Policy,
        PinReason::Diagnostics,
    ];
    pins.reasons().all(|reason| harmless.contains(&reason))
}

fn stop_of(failure: &Failure) -> Stop {
    match failure {
        Failure::Fault(
            Fault::NoEndpoint(_)
            | Fault::ConnectFailed { .. }
            | Fault::BreakerOpen(_)
            | Fault::PoolTimeout { .. },
        ) => Stop::NotThere,
        Failure::Fault(Fault::BackendLost { .. } | Fault::BackendProtocol { .. }) => Stop::Again,
        Failure::Fault(Fault::Overdue { .. }) => Stop::For(Unplayable::Timeout),
        _ => Stop::For(Unplayable::Unreachable),
    }
}
