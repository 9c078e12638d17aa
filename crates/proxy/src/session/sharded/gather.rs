//! Statements that one server finishes over rows of several: pulled into temporary tables on one connection.
//!
//! Owns the path of such a statement. Must never let a row be read under another snapshot than the session's transaction
//! has: inside of one, its own connections read. Temporary tables go with the statement, or with their connection. Input: a
//! plan that says what to pull, and the text that finishes.

mod abreast;
mod apart;
mod batches;
mod connections;
mod dictionary;
mod over;
mod rows;
mod within;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use dbmesh_plan::Route;
use dbmesh_plan::shard::gather::{Moments, ScratchTable};
use dbmesh_plan::shard::{Gather, NodeStatement, Zone};
use dbmesh_sql::{Verb, analyze, literal};
use dbmesh_wire::command::Query;

use super::super::{Executed, Failure, Session};
use super::scatter::Unit;
use crate::backend::{Applied, Backend};
use crate::control::Signals;
use crate::fault::Fault;
use crate::pins::PinReason;
use crate::upstream::Member;
use crate::vector::Vector;
use abreast::Part;
pub(super) use batches::Batches;
use connections::{Connections, Held, store};
pub(super) use connections::{broken, loading, refused, run};
use rows::Rows;
pub(super) use rows::for_each;

pub(super) use apart::{Locks, Scratch};

/// Bytes of rows in one INSERT; a larger row goes alone.
const BATCH_BYTES: usize = 256 << 10;

/// Values of one INSERT of which its server warns, as it counts no more than 65,535.
const OUTSIDE_MAX: u64 = 32 << 10;

/// Bytes that may still be pulled.
pub(super) struct Budget {
    bytes_max: u64,
    left: AtomicU64,
}

impl Budget {
    fn of(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            left: AtomicU64::new(bytes_max),
        }
    }

    pub fn take(&mut self, bytes: usize) -> Result<(), Fault> {
        self.spend(bytes)
    }

    /// The same where several take from it.
    pub fn spend(&self, bytes: usize) -> Result<(), Fault> {
        let spend = |left: u64| left.checked_sub(bytes as u64);
        match self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend)
        {
            Ok(_) => Ok(()),
            Err(_) => Err(Fault::Sharding(format!(
                "it needs more than {} bytes of rows in one place (`execution.gatherBytes` of the DataShard)",
                self.bytes_max
            ))),
        }
    }
}

impl Session {
    /// Pulls rows and finishes the statement over them.
    pub(super) async fn execute_gather(
        &mut self,
        packet: &[u8],
        query: &Query<'_>,
        gather: &Gather,
        route: Route,
    ) -> Result<Executed, Failure> {
        if self.is_open() {
            let within = self.execute_within(packet, query, gather, route);
            return Box::pin(within).await;
        }
        let finish = self.begin_gather(gather, route).await?;
        let executed = self.execute_at(packet, query, finish, route).await;
        self.end_gather(gather).await;
        executed
    }

    /// The same within the session's transaction.
    async fn execute_within(
        &mut self,
        packet: &[u8],
        query: &Query<'_>,
        gather: &Gather,
        route: Route,
    ) -> Result<Executed, Failure> {
        let mut gather = self.plan_apart(query.sql, None, gather)?;
        let elsewhere = self.begin_within(&mut gather, route).await?;
        let executed = match &gather.finish {
            Some(finish) => self.execute_at(packet, query, finish, route).await,
            None => Err(Fault::Sharding("nothing finishes it".into()).into()),
        };
        let statement = analyze(query.sql, &self.dialect());
        self.end_within(elsewhere, query.sql, &statement).await?;
        executed
    }

    /// Pulls rows; the session then has the connection on which the statement, in these words, finishes.
    pub(super) async fn begin_gather<'g>(
        &mut self,
        gather: &'g Gather,
        route: Route,
    ) -> Result<&'g NodeStatement, Failure> {
        let Some(finish) = &gather.finish else {
            let why = gather.reason.why();
            let why =
                format!("it changes rows by rows of several nodes, which is not served: {why}");
            return Err(Fault::Sharding(why).into());
        };
        self.may_gather()?;
        self.take_next(Unit::None, Verb::Select)?;
        if self.lease.is_some() {
            self.give_up_hold().await;
        }
        let held = self.hold_sources(gather, finish.source, route).await?;
        let began = Instant::now();
        let members = held.iter();
        let members = members.filter_map(|(source, held)| Some((*source, held.member.clone()?)));
        let members: BTreeMap<usize, Arc<Member>> = members.collect();
        self.note_pulls(&gather.pulls, &members);
        let home = self.pull_all(gather, finish.source, held).await?;
        self.note_pulled(members.values(), began.elapsed());
        self.go_to(finish.source).await?;
        (self.lease, self.member) = (Some(home.lease), home.member);
        // What the statement reads is on this connection alone.
        self.state.pins.set(PinReason::TemporaryTable, true);
        Ok(finish)
    }

    /// Whether rows of several servers may be read together now.
    fn may_gather(&mut self) -> Result<(), Fault> {
        let refused = |why: &str| {
            let why = format!("it needs rows of several nodes in one place, {why}");
            Err(Fault::Sharding(why))
        };
        if self.is_bound() {
            return refused(&format!("and the session has {}", self.own_state()));
        }
        self.has_plain_charset()
    }

    /// Whether texts of the client can stand among those of dbmesh.
    pub(super) fn has_plain_charset(&mut self) -> Result<(), Fault> {
        let charset = match self.state.client_charset() {
            own if own.is_empty() => {
                let facts = self.server_facts();
                facts.map_or_else(String::new, |facts| facts.own_client_charset())
            }
            said => said,
        };
        let plain = ["utf8", "latin", "ascii", "binary", "cp125", "koi8"];
        match plain.iter().any(|plain| charset.starts_with(plain)) {
            true => Ok(()),
            false => Err(Fault::Sharding(format!(
                "it needs rows of several nodes in one place, which is not served to clients with the character set \
                     '{charset}'"
            ))),
        }
    }

    /// A connection to every source that has to do with the statement. Always in the same order, so that no two sessions
    /// wait for each other.
    async fn hold_sources(
        &mut self,
        gather: &Gather,
        home: usize,
        route: Route,
    ) -> Result<BTreeMap<usize, Held>, Failure> {
        let mut sources = BTreeSet::from([home]);
        for pull in &gather.pulls {
            sources.insert(pull.like.source);
            sources.extend(pull.parts.iter().map(|part| part.source));
        }
        let mut held: BTreeMap<usize, Held> = BTreeMap::new();
        for source in sources {
            match (self.reach(source, route).await, self.lease.take()) {
                (Ok(()), Some(lease)) => {
                    let member = self.member.take();
                    held.insert(source, Held { lease, member });
                }
                (taken, lease) => {
                    let others = held.into_values().map(|held| held.lease);
                    others.chain(lease).for_each(crate::pool::Lease::give_back);
                    taken?;
                    return Err(Fault::NoEndpoint("the connection is gone".into()).into());
                }
            }
        }
        Ok(held)
    }

    /// Takes the session to a source, with a connection.
    pub(super) async fn reach(&mut self, source: usize, route: Route) -> Result<(), Failure> {
        self.go_to(source).await?;
        self.in_own_schema(true).await?;
        self.acquire(route.aim).await
    }

    /// Fills the temporary tables; gives back the connection that has them. Where it fails, connections are closed.
    async fn pull_all(
        &mut self,
        gather: &Gather,
        home: usize,
        held: BTreeMap<usize, Held>,
    ) -> Result<Held, Failure> {
        let budget = Budget::of(self.gather_bytes_max());
        let moments = match self.has_zones() && self.zone() == Zone::Shifting {
            true => Moments::ByOffset,
            false => Moments::AsTheyAre,
        };
        let mut connections = Connections::new(home, held)?;
        let tables = connections.create(&gather.pulls).await?;
        connections.begin_copying().await?;
        for (pull, table) in gather.pulls.iter().zip(&tables) {
            for part in &pull.parts {
                if part.source == home {
                    self.may_go_on()?;
                    let copy = table.copy(&part.table, &pull.alias, said_of(pull), moments);
                    connections.copy(&copy, &pull.table).await?;
                }
            }
        }
        connections.begin_loading().await?;
        let mut away = Vec::new();
        for (pull, table) in gather.pulls.iter().zip(&tables) {
            let parts = pull.parts.iter().filter(|part| part.source != home);
            away.extend(parts.map(|part| Part {
                source: part.source,
                table,
                name: &pull.table,
                select: table.select(&part.table, &pull.alias, said_of(pull)),
            }));
        }
        if !away.is_empty() {
            let (sources, to) = connections.apart()?;
            let pulling = self.pull_abreast(sources, to, &away, &budget);
            Box::pin(pulling).await?;
        }
        connections.end().await
    }

    /// Brings the rows of a part over.
    async fn pull(
        &self,
        from: &mut Backend,
        to: &mut Backend,
        (table, name): (&ScratchTable, &str),
        rows: &mut Rows,
        budget: &mut Budget,
    ) -> Result<(), Failure> {
        let mut batch = table.insert();
        let head = batch.len();
        let mut outside = 0;
        while rows.more(from).await.map_err(broken)?.map_err(refused)? {
            while let Some(row) = rows.next().map_err(broken)? {
                if batch.len() > head {
                    batch.push(b',');
                }
                let before = batch.len();
                outside += rows::push(table, name, row, &mut batch)?;
                budget.take(batch.len() - before)?;
                if batch.len() >= BATCH_BYTES || outside >= OUTSIDE_MAX {
                    store(to, &batch, name, outside).await?;
                    batch.truncate(head);
                    outside = 0;
                    self.may_go_on()?;
                }
            }
        }
        match batch.len() > head {
            true => store(to, &batch, name, outside).await,
            false => self.may_go_on(),
        }
    }

    /// Between two steps of a statement: whether its time is up, or a KILL QUERY has come.
    pub(super) fn may_go_on(&self) -> Result<(), Failure> {
        if self.handle().control.signals().any(Signals::INTERRUPT) {
            return Err(Fault::Interrupted.into());
        }
        match self.overdue() {
            Some(overdue) => Err(overdue.into()),
            None => Ok(()),
        }
    }

    /// After the statement: nothing of it stays.
    pub(super) async fn end_gather(&mut self, gather: &Gather) {
        self.state.pins.set(PinReason::TemporaryTable, false);
        if self.lease.is_none() || gather.pulls.is_empty() {
            return;
        }
        // The next statement may ask for what this one left.
        self.recall().await;
        let Some(Ok(backend)) = self.lease.as_mut().map(crate::pool::Lease::backend) else {
            return;
        };
        let names: Vec<Vec<u8>> = gather
            .pulls
            .iter()
            .map(|pull| literal::quote_identifier(pull.scratch.as_bytes()))
            .collect();
        let mut sql = b"DROP TEMPORARY TABLE IF EXISTS ".to_vec();
        sql.extend(names.join(&b", "[..]));
        // Where the client may not write, dbmesh may not drop.
        let own = backend.vector.clone();
        let mut free = Vector::clone(&own);
        free.unbind();
        free.rehash();
        let dropped = backend.is_idle()
            && applied(backend, &Arc::new(free)).await
            && run(backend, &sql).await.is_ok()
            && applied(backend, &own).await;
        if !dropped {
            self.lease = None;
        }
    }

    fn gather_bytes_max(&self) -> u64 {
        let sharding = self.sharded.as_ref().and_then(|sharded| sharded.sharding());
        sharding.map_or(0, |sharding| sharding.execution.gather_bytes_max)
    }
}

async fn applied(backend: &mut Backend, vector: &Arc<Vector>) -> bool {
    matches!(backend.apply(vector).await, Ok(Ok(Applied::Done)))
}

/// What rows must satisfy, where that can be said in a text: with parameters, the finishing statement alone says it.
fn said_of(pull: &dbmesh_plan::shard::Pull) -> Option<&[u8]> {
    let condition = pull.condition.as_ref()?;
    let bound = condition.parameters.is_empty();
    bound.then_some(condition.text.as_slice())
}
