//! A client's session: the path of every statement, on one page.
//!
//! Owns the client, the session's state and its lease of a server connection. The path reads top to bottom in [`Session::serve`]
//! and [`Session::query`]: packet → command → statement → plan → admitted → executed → absorbed → settled. It must never
//! hold a connection beyond what its pins say. Input: an authenticated client.

mod acquire;
mod columns;
mod commands;
mod deadline;
mod demand;
mod enforcing;
mod exchange;
mod execute;
mod explain;
mod identity;
mod infile;
mod judging;
mod kill;
mod leave;
mod local;
mod mesh;
mod mirroring;
mod observe;
mod prepare;
mod prepared;
mod reading;
mod ready;
mod replaying;
mod settle;
mod several;
mod sharded;
mod steering;
mod tracking;
mod waiting;
mod writing;

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use dbmesh_plan::{
    Autocommit, Connection, KeptWarnings, Plan, Proof, Prover, Refuse, RowCount, RowsFound,
    SessionView, plan,
};
use dbmesh_sql::{Dialect, Statement, analyze, analyze_guarded};
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::command::{CommandCode, Query};
use dbmesh_wire::relay::Shape;
use dbmesh_wire::status::Status;

use crate::allowance::Share;
use crate::backend::Flavor;
use crate::client::{Answer, Client};
use crate::control::Signals;
use crate::fault::{After, Blame, Fault};
use crate::insight::Protocol;
use crate::listener::Counted;
use crate::logins::Login;
use crate::mirror::{Seen, Tally};
use crate::pool::Lease;
use crate::process::Process;
use crate::registry::{Registered, SessionHandle};
use crate::replay::Journal;
use crate::serving::Serving;
use crate::state::{FoundRows, SessionState, Warnings};
use crate::upstream::Member;
use demand::{Attributes, Carried, Demand, Place};
use judging::Governed;
use observe::{Executed, Noted, Observed};
pub(crate) use prepare::prepare_on;
use sharded::ShardSession;
pub(crate) use sharded::shards_offline;
use waiting::Wake;

/// Why a session ended; in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// COM_QUIT, or the client closed its side.
    ClientDone,
    /// The client's socket failed.
    ClientLost,
    /// An error that ends the session.
    Fault,
    /// The process drains.
    Drained,
    /// KILL CONNECTION.
    Killed,
    /// wait_timeout.
    Idle,
}

/// What ends the serving of a command early.
#[derive(Debug)]
pub enum Failure {
    /// An error for the client.
    Fault(Fault),
    /// The client cannot be reached any more.
    ClientLost,
    /// The client has part of an answer that cannot be completed: the connection must be closed.
    AnswerCut,
    /// The session was told to end while it was busy.
    Stopped,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::ClientLost
    }
}

/// Whether the session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The next command.
    Continue,
    /// The session is over.
    Quit,
}

/// A client's session.
#[derive(Debug)]
pub struct Session {
    process: Arc<Process>,
    serving: Arc<Serving>,
    epoch: u64,
    client: Client,
    state: SessionState,
    lease: Option<Lease>,
    member: Option<Arc<Member>>,
    /// Where the lease was taken for.
    lease_place: Place,
    /// The replica of its READ ONLY transactions.
    fixed: Option<Arc<Member>>,
    registered: Registered,
    login: Option<Login>,
    _place: Counted,
    /// Collation id of the handshake or of the last COM_CHANGE_USER.
    collation: u16,
    nonce: [u8; 20],
    packet: Vec<u8>,
    /// The memory of that command, if it is large.
    share: Share,
    /// When the command at hand arrived.
    started: Instant,
    /// When the last exchange with a server ended.
    answered: Instant,
    pinned: bool,
    /// That the statement at hand took too long, if the client was told so in place of its server's answer.
    told_overdue: Option<Fault>,
    /// Sums up the rows of the statement at hand, if a copy of it is to be made.
    tally: Option<Box<Tally>>,
    /// The open transaction, if it is executed again when its server is lost.
    replay: Option<Box<Journal>>,
    /// What came of it.
    seen: Option<Seen>,
    /// What the statement at hand demands.
    demand: Demand,
    /// What is known of the statement at hand, for who observes it.
    noted: Noted,
    /// The rules that it is under, and what they say of it.
    governed: Governed,
    /// The server of its connection refused to write, and the client was told.
    refused: bool,
    /// The statement at hand chooses a schema: it does not matter if the current one is gone.
    chooses_schema: bool,
    /// Its place among the sources, if the service's tables are split.
    sharded: Option<Box<ShardSession>>,
}

/// What a login settled.
#[derive(Debug)]
pub struct Start {
    /// The process.
    pub process: Arc<Process>,
    /// The service logged in to.
    pub serving: Arc<Serving>,
    /// The client.
    pub client: Client,
    /// The session's state.
    pub state: SessionState,
    /// Its place in the registry.
    pub registered: Registered,
    /// Its count in the limits.
    pub login: Login,
    /// Collation id.
    pub collation: u16,
    /// The nonce of the greeting.
    pub nonce: [u8; 20],
    /// Its count in the limits of addresses.
    pub place: Counted,
}

impl Session {
    /// A session that just logged in.
    #[must_use]
    pub fn new(mut start: Start) -> Self {
        start.place.logged_in();
        let facts = start
            .serving
            .upstream
            .members
            .iter()
            .find_map(|m| m.pool.facts());
        if facts
            .as_ref()
            .is_some_and(|facts| facts.flavor == Flavor::MariaDb)
        {
            // A new session's FOUND_ROWS() is 1 there, and 0 on MySQL.
            start.state.diagnostics.found_rows = FoundRows::Known(1);
        }
        if let Some(facts) = facts.filter(|_| {
            start
                .client
                .capabilities
                .contains(Capabilities::IGNORE_SPACE)
        }) {
            start.state.ignore_space(&facts);
        }
        let epoch = start.process.current.epoch();
        let share = Share::none(start.serving.portion.clone());
        let governed = Governed::new(start.serving.rules.clone());
        start
            .serving
            .metrics
            .sessions
            .fetch_add(1, Ordering::Relaxed);
        let (sharded, serving) = ShardSession::of(&start.serving);
        Self {
            process: start.process,
            serving,
            epoch,
            client: start.client,
            state: start.state,
            lease: None,
            member: None,
            lease_place: Place::Home,
            fixed: None,
            registered: start.registered,
            login: Some(start.login),
            _place: start.place,
            collation: start.collation,
            nonce: start.nonce,
            packet: Vec::new(),
            share,
            started: Instant::now(),
            answered: Instant::now(),
            pinned: false,
            told_overdue: None,
            tally: None,
            replay: None,
            seen: None,
            demand: Demand::default(),
            noted: Noted::default(),
            governed,
            refused: false,
            chooses_schema: false,
            sharded,
        }
    }

    /// Serves the client until it leaves, or must.
    #[allow(clippy::manual_async_fn, reason = "an async fn would hold it twice")]
    pub fn run(mut self) -> impl Future<Output = CloseReason> + Send {
        async move {
            let reason = self.serve_all().await;
            self.finish().await;
            reason
        }
    }

    async fn serve_all(&mut self) -> CloseReason {
        loop {
            match self.wait().await {
                Wake::Command => {}
                Wake::Gone => return CloseReason::ClientDone,
                Wake::Signals(signals) => match self.heed(signals).await {
                    Some(reason) => return reason,
                    None => continue,
                },
            }
            let bytes_max =
                usize::try_from(self.serving.service.limits.max_packet_bytes).unwrap_or(usize::MAX);
            let mut packet = std::mem::take(&mut self.packet);
            let control = self.handle().control.clone();
            let read = {
                let lane = &self.serving.lane;
                let turn = (lane.turn(), lane);
                let client = (&mut self.client, &mut self.share);
                let reading = pin!(waiting::read_in_turn(turn, client, &mut packet, bytes_max));
                exchange::unless_stopped(&control, reading).await
            };
            let Some(read) = read else {
                return self.stopped();
            };
            self.packet = packet;
            self.started = Instant::now();
            let served = match read {
                Ok(Some(())) => {
                    self.handle().busy.store(true, Ordering::Relaxed);
                    let heard = Signals::IDLE.and(Signals::INTERRUPT);
                    self.handle().control.clear(heard);
                    self.demand_nothing();
                    self.noted.clear();
                    self.governed.verdict = None;
                    let served = {
                        let serving = pin!(self.serve());
                        exchange::unless_stopped(&control, serving).await
                    };
                    let Some(served) = served else {
                        return self.stopped();
                    };
                    self.leave_endpoint_limits();
                    self.handle().busy.store(false, Ordering::Relaxed);
                    self.handle()
                        .idle_since_ms
                        .store(self.process.clock.now_ms(), Ordering::Relaxed);
                    served
                }
                Ok(None) => return CloseReason::ClientDone,
                Err(e) => Err(waiting::packet_failure(&e)),
            };
            match served {
                Ok(Flow::Continue) => {}
                Ok(Flow::Quit) => return CloseReason::ClientDone,
                Err(Failure::ClientLost | Failure::AnswerCut) => return CloseReason::ClientLost,
                Err(Failure::Stopped) => return self.stopped(),
                Err(Failure::Fault(fault)) => {
                    if self.handle().control.signals().any(Signals::KILL) {
                        return CloseReason::Killed;
                    }
                    self.state.note_fault(&fault);
                    if self.report(&fault).await.is_err() || fault.after() == After::Close {
                        return CloseReason::Fault;
                    }
                }
            }
        }
    }

    /// One command.
    async fn serve(&mut self) -> Result<Flow, Failure> {
        let Some(code) = CommandCode::of(&self.packet) else {
            return Err(Fault::UnknownCommand.into());
        };
        match code {
            CommandCode::Quit => return Ok(Flow::Quit),
            CommandCode::Query => return self.query().await,
            CommandCode::Ping => {
                self.state.set_row_count(0);
                self.answer_ok().await?;
            }
            CommandCode::InitDb => self.init_db().await?,
            CommandCode::StmtPrepare => self.prepare().await?,
            CommandCode::StmtExecute => self.execute_prepared().await?,
            CommandCode::StmtSendLongData => self.send_long_data().await?,
            CommandCode::StmtClose => self.close_prepared().await?,
            CommandCode::StmtReset => self.reset_prepared().await?,
            CommandCode::StmtFetch => self.fetch().await?,
            CommandCode::ResetConnection => self.reset_connection().await?,
            CommandCode::ChangeUser => self.change_user().await?,
            CommandCode::SetOption => self.set_option().await?,
            CommandCode::FieldList => self.list_fields().await?,
            CommandCode::Statistics => self.pass(Shape::Text).await?,
            CommandCode::ProcessKill => self.process_kill().await?,
            CommandCode::Refresh => return Err(Fault::CommandRefused("COM_REFRESH").into()),
            CommandCode::Shutdown => return Err(Fault::CommandRefused("COM_SHUTDOWN").into()),
            CommandCode::BinlogDump
            | CommandCode::BinlogDumpGtid
            | CommandCode::RegisterReplica => {
                return Err(Fault::CommandRefused("replication").into());
            }
            _ => return Err(Fault::UnknownCommand.into()),
        }
        Ok(Flow::Continue)
    }

    /// COM_QUERY: the path of a statement.
    async fn query(&mut self) -> Result<Flow, Failure> {
        let packet = std::mem::take(&mut self.packet);
        let result = self.query_text(&packet).await;
        self.packet = packet;
        result
    }

    async fn query_text(&mut self, packet: &[u8]) -> Result<Flow, Failure> {
        let query = Query::decode(packet, self.client.capabilities)
            .map_err(|_| Fault::Malformed("COM_QUERY"))?;
        let statement = self.interpret(query.sql);
        if self.divides(&statement, query.sql) {
            return self.query_several(packet, &query, &statement).await;
        }
        let observed = Observed {
            statement: &statement,
            sql: query.sql,
            protocol: Protocol::Text,
            bytes_in: packet.len(),
        };
        let ran = self.run_text(packet, &query, &observed).await;
        self.observe(observed, &ran);
        ran.map(|executed| executed.flow)
    }

    async fn run_text(
        &mut self,
        packet: &[u8],
        query: &Query<'_>,
        observed: &Observed<'_>,
    ) -> Result<Executed, Failure> {
        let statement = observed.statement;
        let attributes = match query.attributes.is_empty() {
            true => Attributes::None,
            false => Attributes::Read(query.attributes.iter()),
        };
        self.trace(statement, query.sql, &attributes);
        let carried = Carried::of(attributes);
        let proof = self.take_demand(statement, query.sql, carried).await?;
        self.recollect(statement).await?;
        let planned = plan(statement, query.sql, self.view(proof));
        let admitted = self.govern(planned).await?;
        if self.is_recorded(statement) {
            Box::pin(self.record(*observed)).await?;
        }
        self.begin_processing();
        let executed = match admitted.plan {
            Plan::Local(local) => self.answer_locally(local, query.sql).await,
            Plan::Route(route) if self.sharded.is_some() => {
                self.query_sharded(packet, query, statement, route).await
            }
            Plan::Route(route) => {
                self.draw(statement, query.sql, proof, route);
                let executed = self.execute_reading(packet, query, statement, route).await;
                self.copy(query.sql);
                executed
            }
            Plan::Refuse(reason) => Err(refusal(reason).into()),
        };
        self.count(statement, packet.len(), &executed);
        self.settle().await?;
        executed
    }

    /// How the session's server reads SQL now.
    fn dialect(&mut self) -> Dialect {
        if let Some(dialect) = self.state.known_dialect() {
            return dialect;
        }
        let facts = self.server_facts();
        self.state.dialect(facts.as_deref())
    }

    /// What the text says.
    fn interpret(&mut self, sql: &[u8]) -> Statement {
        let dialect = self.dialect();
        let statement = match self.guard_key() {
            None => analyze(sql, &dialect),
            Some(key) => analyze_guarded(sql, &dialect, key),
        };
        self.handle()
            .digest
            .store(statement.digest.0, Ordering::Relaxed);
        statement
    }

    /// Whether the statement is proved to read only; where nobody asks, it is not.
    fn prove(&mut self, statement: &Statement, sql: &[u8], asked: bool) -> Proof {
        thread_local! {
            static PROVER: RefCell<Prover> = RefCell::default();
        }
        if self.serving.upstream.splitting().is_none() && !asked {
            return Proof::NotProved;
        }
        let dialect = self.dialect();
        PROVER.with_borrow_mut(|prover| prover.prove(statement, sql, &dialect))
    }

    fn view(&self, proof: Proof) -> SessionView<'_> {
        let diagnostics = &self.state.diagnostics;
        let rows_there = self.lease.is_some() && !diagnostics.found_rows_only_here;
        SessionView {
            connection: if self.lease.is_some() || self.is_across() {
                Connection::Held
            } else {
                Connection::Free
            },
            found_rows: match diagnostics.found_rows {
                FoundRows::Known(_) => RowsFound::Known,
                FoundRows::OnConnection | FoundRows::Unknown if rows_there => {
                    RowsFound::OnConnection
                }
                FoundRows::OnConnection | FoundRows::Unknown => RowsFound::Unknown,
            },
            warnings: if self.state.diagnostics.warnings == Warnings::OnConnection {
                KeptWarnings::OnConnection
            } else {
                KeptWarnings::Here
            },
            autocommit: if self.state.status.contains(Status::AUTOCOMMIT) {
                Autocommit::On
            } else {
                Autocommit::Off
            },
            row_count: if self.state.diagnostics.row_count_only_here {
                RowCount::Here
            } else {
                RowCount::OnConnection
            },
            splitting: self.serving.upstream.splitting(),
            proof,
            hint: self.demand.role,
        }
    }

    /// The connection id that the client sees.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.handle().id
    }

    fn handle(&self) -> &Arc<SessionHandle> {
        &self.registered.handle
    }

    /// What a plain OK says now.
    fn answer(&mut self) -> Answer {
        // MySQL counts what SHOW WARNINGS would list in every OK that leaves it.
        let count = match &self.state.diagnostics.warnings {
            Warnings::None => 0,
            Warnings::Kept { count, .. } => *count,
            Warnings::OnConnection => self.state.diagnostics.warning_count,
        };
        let warnings = if self.is_mariadb() {
            0
        } else {
            u16::try_from(count).unwrap_or(u16::MAX)
        };
        Answer {
            status: self.state.status,
            warnings,
        }
    }

    async fn report(&mut self, fault: &Fault) -> io::Result<()> {
        self.serving.metrics.fault(fault.blame());
        match fault {
            Fault::Overdue { .. } => self.serving.metrics.overdue(fault),
            Fault::Hint(_) | Fault::HintDenied(_) => {
                let refused = &self.serving.metrics.hints_refused;
                refused.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
        let (session, user, code) = (self.handle().id, &self.handle().user, fault.code().0);
        match fault.blame() {
            // A client can cause these as often as it likes: they are counted, and logged for who asks.
            Blame::Client => tracing::debug!(session, %user, code, "{fault}"),
            blame => tracing::info!(session, %user, fault = blame.label(), code, "{fault}"),
        }
        self.client.fault(fault).await
    }
}

fn refusal(reason: Refuse) -> Fault {
    match reason {
        Refuse::DiagnosticsGone => Fault::DiagnosticsGone("GET DIAGNOSTICS"),
        Refuse::FoundRowsGone => Fault::DiagnosticsGone("FOUND_ROWS()"),
        Refuse::KillTarget => Fault::KillTarget,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Most bytes that a session's task may take: ten thousand idle ones hold it, and it moves through the caches with every
    /// statement.
    const TASK_BYTES_MAX: usize = 5_632;

    #[test]
    fn a_session_s_task_is_small() {
        fn size_of_result<F>(_: impl FnOnce(Session) -> F) -> usize {
            std::mem::size_of::<F>()
        }
        let bytes = size_of_result(Session::run);
        assert!(
            bytes <= TASK_BYTES_MAX,
            "{bytes} bytes: box what is rare, pin what is handed on"
        );
    }
}
