//! A gather inside of a transaction: rows read over the transaction's connections, finished on one apart.
//!
//! Owns the session's way to the connection that finishes and back. Nothing of the transaction happens there, and nothing of
//! the statement on the transaction's connections but reads, so that it sees its own changes and goes on whatever comes of
//! the statement. Must never leave the session at that connection. Input: a plan under which nothing stays where it is.

use std::sync::Arc;

use dbmesh_plan::Route;
use dbmesh_plan::shard::{Gather, Parameter, ShardPlan, ShardPlanner};
use dbmesh_sql::{Facts, Statement};
use dbmesh_wire::status::Status;

use super::super::super::{Failure, Session};
use super::super::schema::Translated;
use super::apart::{Locks, Scratch};
use crate::fault::Fault;
use crate::pins::{PinReason, Pins};
use crate::pool::Lease;
use crate::position::Position;
use crate::serving::Serving;
use crate::upstream::Member;

/// Where the session is, and what it knows of its place.
pub(in super::super) struct Elsewhere {
    lease: Option<Lease>,
    member: Option<Arc<Member>>,
    fixed: Option<Arc<Member>>,
    serving: Arc<Serving>,
    source: usize,
    vector: Option<Translated>,
    position: Position,
    status: Status,
    pins: Pins,
    scratch: Scratch,
}

impl Session {
    /// Whether the session has a transaction, or any statement begins one.
    pub(in super::super) fn is_open(&self) -> bool {
        self.state.in_transaction() || !self.state.status.contains(Status::AUTOCOMMIT)
    }

    /// The plan of a gather for a connection that sees nothing of the session's.
    pub(in super::super) fn plan_apart(
        &mut self,
        sql: &[u8],
        bound: Option<&[Parameter]>,
        gather: &Gather,
    ) -> Result<Gather, Failure> {
        let gone = || Fault::Sharding("the service is not sharded any more".into());
        let known = self.known_tables().ok_or_else(gone)?;
        let reason = gather.reason.clone();
        let plan = self.planned(sql, &known, &known.catalog, bound, |planner, input| {
            ShardPlanner::gather_apart(planner, input, reason)
        })?;
        match plan {
            ShardPlan::Gather(gather) => Ok(*gather),
            other => Err(self.unplanned(other)),
        }
    }

    /// Pulls rows as the transaction sees them, and takes the session to the connection that finishes.
    pub(in super::super) async fn begin_within(
        &mut self,
        gather: &mut Gather,
        route: Route,
    ) -> Result<Elsewhere, Failure> {
        self.has_plain_charset()?;
        if !self.state.in_transaction() {
            self.begin_own();
        }
        let Some(finish) = &mut gather.finish else {
            let why = "it changes rows by rows of several nodes, which is not served";
            return Err(Fault::Sharding(why.into()).into());
        };
        let mut scratch = self.scratch(finish.source).await?;
        let mut budget = self.gather_budget();
        let unlocked = (Locks::None, None);
        self.pull_apart(&mut scratch, gather, unlocked, &mut budget, route)
            .await?;
        if self.has_prologue() {
            // There was nothing to read; the transaction begins all the same.
            self.reach(scratch.source(), route).await?;
        }
        scratch.own().await?;
        // Its answers say that a transaction is open, as one server's would.
        let read_only = self.state.status.contains(Status::IN_TRANS_READONLY);
        let begin: &[u8] = match read_only {
            true => b"START TRANSACTION READ ONLY",
            false => b"START TRANSACTION",
        };
        scratch.run(begin).await?;
        self.go_apart(scratch)
    }

    fn go_apart(&mut self, mut scratch: Scratch) -> Result<Elsewhere, Failure> {
        let gone = || Fault::NoEndpoint("the source is gone".into());
        let source = scratch.source();
        let sharded = self.sharded.as_mut().ok_or_else(gone)?;
        let part = sharded.home.sources.get(source).cloned().ok_or_else(gone)?;
        let elsewhere = Elsewhere {
            lease: std::mem::replace(&mut self.lease, scratch.take_lease()),
            member: self.member.replace(scratch.member()),
            fixed: self.fixed.take(),
            serving: std::mem::replace(&mut self.serving, part),
            source: std::mem::replace(&mut sharded.source, source),
            vector: sharded.vector.take(),
            position: self.state.position.clone(),
            status: self.state.status,
            pins: self.state.pins.clone(),
            scratch,
        };
        Ok(elsewhere)
    }

    /// Takes the session back. An error says that the client's connection must not go on.
    pub(in super::super) async fn end_within(
        &mut self,
        elsewhere: Elsewhere,
        sql: &[u8],
        statement: &Statement,
    ) -> Result<(), Failure> {
        let hidden = elsewhere.pins.has(PinReason::UserVariable);
        let assigns = statement.facts.has(Facts::USER_VARIABLE_ASSIGNED);
        let mut kept = Ok(());
        if assigns && !hidden {
            kept = self.keep_variables(sql).await;
        }
        // What only that connection has is gone with it, and the client takes it for assigned.
        if assigns && self.state.pins.has(PinReason::UserVariable) {
            kept = Err(Failure::AnswerCut);
        }
        if self.lease.is_some() {
            // The next statement may ask for what this one left.
            self.recall().await;
        }
        let mut scratch = elsewhere.scratch;
        let lease = std::mem::replace(&mut self.lease, elsewhere.lease);
        self.member = elsewhere.member;
        self.fixed = elsewhere.fixed;
        self.serving = elsewhere.serving;
        self.state.position = elsewhere.position;
        self.state.status = elsewhere.status;
        self.state.pins = elsewhere.pins;
        if let Some(sharded) = &mut self.sharded {
            sharded.source = elsewhere.source;
            sharded.vector = elsewhere.vector;
            sharded.names = None;
        }
        self.translate_vector();
        if let Some(lease) = lease {
            scratch.put_lease(lease);
            if scratch.run(b"ROLLBACK").await.is_ok() {
                scratch.end().await;
            }
        }
        kept
    }
}
