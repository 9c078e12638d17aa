//! Statements over several shards: who may take part, on which connections, and what becomes of the session.
//!
//! Owns the policy (what may touch several nodes), the connections of one statement, and the small transactions that make
//! changes of several shards one. Must never leave a connection with half of a statement to anybody else. Input: plans of
//! several nodes.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use dbmesh_commit::Gtrid;
use dbmesh_model::topology::sharding::AcrossSources;
use dbmesh_plan::shard::{Clock, NodeStatement};
use dbmesh_plan::{Aim, Route};
use dbmesh_sql::{Class, Statement, Verb};
use dbmesh_wire::relay::{Names, Outcome};
use dbmesh_wire::status::Status;

use super::super::ready::make_ready;
use super::super::{Executed, Failure, Flow, Session};
use super::answers::{Answers, Spread, Whose};
use super::counts::{self, Sum};
use super::definition::{self, Report};
use super::rows::{self, Recipe};
use super::work::{Around, Broken, Ended, Refusal, Work, lost, of_server};
use super::{explained, load, said};
use crate::definitions::{Definition, Running};
use crate::fault::{Fault, Overdue};
use crate::pins::PinReason;
use crate::scatter::leg::Leg;
use crate::state::FoundRows;

/// What undoes a statement's part within a transaction.
pub(super) const SAVEPOINT: &str = "dbmesh_statement";

/// What its parts are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Each stands for itself: reads.
    None,
    /// A transaction of the statement's own, on every connection.
    Transaction,
    /// A savepoint in the session's transaction.
    Savepoint,
    /// Definitions, which nothing undoes.
    Definition,
}

impl Unit {
    fn of(statement: &Statement, open: bool) -> Self {
        match statement.class {
            Class::Ddl => Self::Definition,
            Class::Read | Class::Show => Self::None,
            _ if open => Self::Savepoint,
            _ => Self::Transaction,
        }
    }

    fn refusal(self) -> Refusal {
        match self {
            Self::Definition => Refusal::Counts,
            _ => Refusal::Ends,
        }
    }
}

impl Session {
    /// Executes a statement on several shards and answers it.
    pub(super) async fn spread(
        &mut self,
        statement: &Statement,
        spread: Spread<'_>,
        route: Route,
    ) -> Result<Executed, Failure> {
        let open = self.state.in_transaction() || !self.state.status.contains(Status::AUTOCOMMIT);
        let writes = !matches!(statement.class, Class::Read | Class::Show);
        let unit = Unit::of(statement, open);
        if unit == Unit::Definition {
            self.commit_before_definition().await?;
        }
        let definition = match unit {
            Unit::Definition => Some(self.begin_definition(&spread.nodes)),
            _ => None,
        };
        let _running = definition.clone().map(Running);
        let sources = sources(&spread.nodes, definition.as_deref());
        // A definition commits what is open, and is no part of it.
        let within = open && unit != Unit::Definition;
        match within {
            true => self.may_enlist(&sources)?,
            false => self.allow(&sources, unit)?,
        }
        let as_one = unit == Unit::Transaction && self.will_be_one(&sources).await?;
        let next = self.take_next(unit, statement.verb)?;
        if self.lease.is_some() && !self.is_bound() {
            self.give_up_hold().await;
        }
        let names = self.names_of(&spread.nodes).unwrap_or_default();
        let (mut legs, unreached) = match &definition {
            Some(definition) => self.definition_legs(definition, &sources, &spread).await?,
            None if within => (self.enlist(&sources, route.aim, writes).await?, Vec::new()),
            None => {
                let legs = self.legs(&sources, &spread, unit, route.aim).await?;
                (legs, Vec::new())
            }
        };
        if definition.is_none() {
            share_out(&mut legs, &spread.nodes);
        }
        self.note_nodes(&legs, &spread.nodes);
        let bound = spread.bound.map(|values| self.bound(values));
        let refusal = (unit.refusal(), self.is_mariadb());
        let mut work = Work::new(legs, spread.nodes, refusal, bound);
        (work.as_one, work.next, work.unanswered) = (as_one, next, unreached);
        work.definition.clone_from(&definition);
        let done = self
            .work(&mut work, &spread.answers, spread.clock, unit, &names)
            .await;
        self.note_spread(&work.legs);
        let broken = done.is_err();
        let report = definition.map(|one| Report::of(one, &mut work, self.sharded.as_deref()));
        let kept = match within {
            // The next such statement sets its savepoint in the place of this one's.
            true => self.take_back(work, unit, broken).await,
            false => self.release(work, unit, broken).await,
        };
        match done {
            Ok(done) => {
                kept?;
                self.answer_spread(statement, done, report, unit, &names)
                    .await
            }
            Err(broken) => Err(self.spread_broke(broken, kept).await),
        }
    }

    /// After a statement that broke off, and what became of its connections.
    async fn spread_broke(&mut self, broken: Broken, kept: Result<(), Failure>) -> Failure {
        let failure = self.spread_failed(broken);
        self.follow_doom().await;
        match (failure, kept) {
            // That the transaction is lost is the worse news.
            (Failure::Fault(_), Err(lost)) => lost,
            (failure, _) => failure,
        }
    }

    /// A definition commits what is open.
    pub(super) async fn commit_before_definition(&mut self) -> Result<(), Failure> {
        if self.state.in_transaction() {
            match self.lease.is_some() {
                true => self.run_aside(b"COMMIT").await?,
                false => self.end_deferred(),
            }
            self.note_session_statement();
        }
        Ok(())
    }

    /// Whether a statement by itself may touch these sources.
    fn allow(&self, sources: &[usize], unit: Unit) -> Result<(), Fault> {
        if unit == Unit::Transaction {
            self.ends_plainly()?;
        }
        let Some(sharded) = &self.sharded else {
            return Ok(());
        };
        if let (true, Some(other)) = (
            self.is_bound() && self.lease.is_some(),
            sources.iter().find(|s| **s != sharded.source),
        ) {
            return Err(Fault::Sharding(self.bound_to(sharded.source, *other)));
        }
        let across = sharded.sharding().map(|sharding| sharding.across);
        let refused = across.is_none_or(|across| across == AcrossSources::Refuse);
        if unit == Unit::Transaction && sources.len() > 1 && refused {
            let why = "it writes to several nodes, which cannot be done as one (`transactions.acrossNodes: atomic` or `bestEffort` of the DataShard)";
            return Err(Fault::Sharding(why.into()));
        }
        Ok(())
    }

    /// Connections to the sources, for a statement by itself.
    async fn legs(
        &mut self,
        sources: &[usize],
        spread: &Spread<'_>,
        unit: Unit,
        aim: Aim,
    ) -> Result<Vec<Leg>, Failure> {
        let max = self.sharded.as_ref().and_then(|sharded| sharded.sharding());
        let max = max.map_or(1, |sharding| sharding.execution.connections_per_source_max);
        // What is one transaction is on one connection; so is what a session's own connection must see.
        let abreast = unit == Unit::None && !self.is_bound();
        let mut legs: Vec<Leg> = Vec::new();
        for source in sources {
            self.go_to(*source).await?;
            self.in_own_schema(true).await?;
            self.acquire(aim).await?;
            let (Some(lease), Some(member)) = (self.lease.take(), self.member.clone()) else {
                return Err(Fault::NoEndpoint("the connection is gone".into()).into());
            };
            let vector = self.connection_vector().clone();
            let first = legs.len();
            legs.push(Leg::new(lease, member, *source, vector));
            if abreast {
                let parts = spread.nodes.iter().filter(|node| node.source == *source);
                let more = parts.count().min(max).saturating_sub(1);
                self.more_legs(&mut legs, first, more).await;
            }
        }
        Ok(legs)
    }

    /// Further connections to the endpoint of a leg, as many as are free: nobody waits for a second one while it has a first.
    async fn more_legs(&self, legs: &mut Vec<Leg>, first: usize, more: usize) {
        let Some((member, source)) = legs.get(first).map(|leg| (leg.member.clone(), leg.source))
        else {
            return;
        };
        let want = self.want();
        for _ in 0..more {
            let Some(lease) = member.pool.lease_if_free(&want).await else {
                return;
            };
            let Ok(lease) = make_ready(lease, &want, self.wait_limit()).await else {
                return;
            };
            legs.push(Leg::new(lease, member.clone(), source, want.vector.clone()));
        }
    }

    /// Does the work between what begins and what ends it.
    async fn work(
        &mut self,
        work: &mut Work<'_>,
        answers: &Answers,
        clock: Clock,
        unit: Unit,
        names: &Names,
    ) -> Result<Worked, Broken> {
        let settings = self.settings();
        let gone = || Fault::Sharding("the service is not sharded any more".into());
        let known = self.known_tables().ok_or_else(gone)?;
        let own_clock = self.state.vector.variables.contains_key("timestamp");
        work.sets_clock = clock == Clock::Read && !own_clock;
        if work.sets_clock {
            let set = format!("SET timestamp = {}", now());
            work.run_everywhere(set.as_bytes()).await?;
        }
        let one = self.begin_unit(work, unit).await?;
        let made = self.made(answers)?;
        let (handle, memory) = (self.registered.handle.clone(), self.process.merging.clone());
        let mut around = Around {
            client: &mut self.client,
            control: &handle.control,
            deadline: self.demand.deadline.map(|deadline| deadline.at),
        };
        let mut worked = Worked::of(answers);
        match answers {
            Answers::Rows(plan, whose) => {
                let recipe = Recipe {
                    plan,
                    whose: *whose,
                    known: &known,
                    names,
                    settings,
                    format: work.format(),
                    status: self.state.status,
                    memory: &memory,
                };
                worked.rows = Some(rows::relay(work, &recipe, &mut around).await?);
            }
            Answers::Explained => {
                let status = self.state.status;
                worked.rows = Some(explained::relay(work, names, &mut around, status).await?);
            }
            Answers::Loaded(file) => {
                let own = (names, &memory, made);
                let done = load::run(work, file, &mut around, own).await;
                self.take_loaded(work, file, done)?;
                worked.first_key = work.loaded.first_key;
            }
            Answers::Counts | Answers::Alike => counts::run(work, &mut around, names).await?,
        }
        if unit == Unit::Definition {
            definition::compare(work).await;
        }
        match (one, unit) {
            (Some(gtrid), _) => worked.heard_of = self.end_as_one(work, gtrid).await?,
            (None, Unit::Transaction) => {
                worked.reports = self.commit_in_turn(work).await?;
                worked.committed_apart = work.sources_written();
            }
            _ => {}
        }
        if std::mem::take(&mut work.sets_clock) {
            drop(work.run_everywhere(b"SET timestamp = DEFAULT").await);
        }
        worked.ended = work.take_ended();
        Ok(worked)
    }

    /// Commits on one connection after the other, without a promise. When one fails behind another, that is said.
    async fn commit_in_turn(&self, work: &mut Work<'_>) -> Result<Vec<(usize, Outcome)>, Broken> {
        let mut reports = Vec::new();
        for leg in &mut work.legs {
            match leg.run(b"COMMIT").await {
                Ok(Ok(outcome)) => reports.push((leg.source, outcome)),
                _ if !reports.is_empty() => {
                    return Err(Broken::Fault(self.committed_in_part(reports.len())));
                }
                Ok(Err(e)) => {
                    return Err(Broken::Fault(of_server(&e.payload, "", &Names::default())));
                }
                // Whether it is committed, nobody knows.
                Err(_) => {
                    let endpoint = leg.endpoint().to_owned();
                    return Err(Broken::Fault(Fault::CommitUnknown(endpoint)));
                }
            }
        }
        Ok(reports)
    }

    /// Begins what makes the parts one.
    async fn begin_unit(
        &mut self,
        work: &mut Work<'_>,
        unit: Unit,
    ) -> Result<Option<Gtrid>, Broken> {
        match unit {
            Unit::Transaction if work.as_one => return self.begin_as_one(work).await.map(Some),
            Unit::Transaction => work.begin_plain().await?,
            Unit::Savepoint => {
                let begin = format!("SAVEPOINT {SAVEPOINT}");
                drop(work.run_everywhere(begin.as_bytes()).await?);
            }
            Unit::Definition => work.begin_asking(&self.dialect()).await?,
            Unit::None => {}
        }
        Ok(None)
    }

    /// The connections after the work: back to their pools, or to the session whose transaction is on one.
    async fn release(
        &mut self,
        mut work: Work<'_>,
        unit: Unit,
        broken: bool,
    ) -> Result<(), Failure> {
        let bound = self.is_bound();
        let undo: &[u8] = match unit {
            Unit::Transaction if broken => b"ROLLBACK",
            _ => b"",
        };
        let mut gone = None;
        for (at, mut leg) in work.legs.drain(..).enumerate() {
            // What is not given back is closed, which undoes it as well.
            let mut sound = leg.is_idle();
            if sound && !undo.is_empty() {
                sound = matches!(leg.run(undo).await, Ok(Ok(_)));
            }
            if sound && work.sets_clock {
                sound = matches!(leg.run(b"SET timestamp = DEFAULT").await, Ok(Ok(_)));
            }
            sound = sound && Work::end_asking(&mut leg, work.asking.get(at)).await;
            if sound {
                self.learn_leg(&mut leg, &work.loaded.names).await;
            }
            if leg.unclean && bound {
                self.state.pins.add_unnamed(PinReason::StateChange);
            }
            sound &= bound || !leg.unclean;
            let endpoint = leg.endpoint().to_owned();
            let status = leg.backend().ok().map(|backend| backend.status);
            let lease = if sound { leg.into_lease() } else { None };
            match lease {
                Some(lease) if bound => {
                    self.lease = Some(lease);
                    if let Some(status) = status {
                        let trans = Status::IN_TRANS.union(Status::IN_TRANS_READONLY);
                        let rest = self.state.status.difference(trans);
                        self.state.status = rest.union(status.intersection(trans));
                    }
                }
                Some(lease) => {
                    self.lease = Some(lease);
                    let in_transaction = status.is_some_and(|s| s.contains(Status::IN_TRANS));
                    match in_transaction && !broken {
                        // Without autocommit, it began one.
                        true => self.state.status = self.state.status.union(Status::IN_TRANS),
                        false => self.give_back().await,
                    }
                }
                None => gone = Some(endpoint),
            }
        }
        match gone {
            Some(endpoint) if bound => {
                self.state.pins.clear();
                self.state.status = self.state.status.difference(Status::IN_TRANS);
                Err(Fault::BackendLost {
                    endpoint,
                    state_lost: true,
                }
                .into())
            }
            _ => Ok(()),
        }
    }

    fn spread_failed(&mut self, broken: Broken) -> Failure {
        match broken {
            Broken::ClientGone => Failure::ClientLost,
            Broken::Stopped => Failure::Stopped,
            Broken::Interrupted => Fault::Interrupted.into(),
            Broken::Overdue => Fault::Overdue {
                limit_ms: self.demand.deadline.map_or(0, |d| d.limit_ms),
                when: Overdue::Ended,
            }
            .into(),
            Broken::Lost { endpoint, error } => lost(endpoint, error, false).into(),
            Broken::Unmergeable(why) => {
                if let Some(sharded) = &mut self.sharded {
                    sharded.unmergeable = true;
                }
                Fault::Sharding(why).into()
            }
            Broken::Unread(broken) => {
                if let Some(sharded) = &mut self.sharded {
                    sharded.unmergeable = true;
                }
                self.spread_failed(*broken)
            }
            Broken::Fault(fault) => fault.into(),
            Broken::Refused {
                payload,
                place,
                names,
            } => {
                let fault = of_server(&payload, &place, &names);
                if let Fault::Server { code, .. } = &fault {
                    self.note_error(Some(*code));
                }
                fault.into()
            }
        }
    }

    /// Answers what is not answered yet, and takes in what the shards report.
    async fn answer_spread(
        &mut self,
        statement: &Statement,
        mut worked: Worked,
        report: Option<Report>,
        unit: Unit,
        names: &Names,
    ) -> Result<Executed, Failure> {
        self.note_reports(&worked, unit);
        if let Some(report) = report {
            self.serving.schema_epoch.fetch_add(1, Ordering::Relaxed);
            report.check(&worked.ended, names)?;
            let refused = |ended: &Ended| ended.outcome.error.is_some();
            worked
                .ended
                .retain(|ended| !ended.as_ref().is_some_and(refused));
        }
        let counted = match worked.alike {
            true => 1,
            false => worked.ended.len(),
        };
        let counted = || worked.ended.iter().flatten().take(counted);
        let inserts = matches!(statement.verb, Verb::Insert | Verb::Replace);
        let mut sum = Sum::of(counted(), inserts);
        let warned = std::mem::take(&mut self.governed.warned);
        sum.warnings += warned.len() as u64;
        let mut rows = said::warnings(counted());
        rows.extend(warned);
        if worked.committed_apart > 1
            && let Some(note) = self.best_effort(worked.committed_apart)
        {
            rows.push(note);
            sum.warnings += 1;
        }
        self.tell_first_key(&mut sum);
        self.tell_loaded_key(worked.first_key, &sum);
        self.tell_warnings(rows, sum.warnings);
        let diagnostics = &mut self.state.diagnostics;
        diagnostics.row_count_only_here = true;
        diagnostics.found_rows_only_here = true;
        let warnings = u16::try_from(sum.warnings).unwrap_or(u16::MAX);
        let status = self.state.status.union(counts::of_plans(counted()));
        let payload = match worked.rows {
            Some(rows) => {
                diagnostics.row_count = -1;
                diagnostics.found_rows = match worked.skipped {
                    0 => FoundRows::Known(rows),
                    _ => FoundRows::Unknown,
                };
                rows::end(&self.client, status, warnings)
            }
            None => {
                diagnostics.row_count = i64::try_from(sum.affected_rows).unwrap_or(i64::MAX);
                sum.ok(status, warnings, self.client.capabilities)
            }
        };
        self.client.packet(&payload).await?;
        self.answered = std::time::Instant::now();
        Ok(Executed {
            flow: Flow::Continue,
            bytes_out: payload.len() as u64,
            rows: worked.rows.unwrap_or(0),
            affected: sum.affected_rows,
            error: None,
        })
    }
}

/// What came of the work.
#[derive(Debug, Default)]
pub(super) struct Worked {
    pub ended: Vec<Option<Ended>>,
    /// What commits reported.
    pub reports: Vec<(usize, Outcome)>,
    /// Sources whose commit is known already.
    pub heard_of: Vec<usize>,
    rows: Option<u64>,
    skipped: u64,
    alike: bool,
    /// The first generated key of a file's records.
    first_key: Option<u64>,
    /// How many nodes committed it without being promised to be one.
    committed_apart: usize,
}

impl Worked {
    /// Nothing yet, of answers that make one in this way.
    fn of(answers: &Answers) -> Self {
        Self {
            alike: matches!(answers, Answers::Alike | Answers::Rows(_, Whose::First)),
            skipped: match answers {
                Answers::Rows(plan, _) => plan.offset,
                _ => 0,
            },
            ..Self::default()
        }
    }
}

/// What each connection has to do: those of one source take turns.
fn share_out(legs: &mut [Leg], nodes: &[NodeStatement]) {
    for (number, node) in nodes.iter().enumerate() {
        let of_source = legs.iter_mut().filter(|leg| leg.source == node.source);
        if let Some(leg) = of_source.min_by_key(|leg| leg.queue.len()) {
            leg.queue.push_back(number);
        }
    }
}

/// The sources of these statements, in order: everybody takes them in the same, so that nobody waits in a ring.
fn sources(nodes: &[NodeStatement], definition: Option<&Definition>) -> Vec<usize> {
    let nodes = nodes.iter().enumerate();
    let due = nodes.filter(|(number, _)| definition.is_none_or(|d| !d.has(*number)));
    let mut sources: Vec<usize> = due.map(|(_, node)| node.source).collect();
    sources.sort_unstable();
    sources.dedup();
    sources
}

/// Seconds since 1970, as servers take them.
pub(super) fn now() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("{}.{:06}", since.as_secs(), since.subsec_micros())
}
