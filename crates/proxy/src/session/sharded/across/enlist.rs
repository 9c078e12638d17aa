//! A statement over several nodes within the session's transaction: its connections are the transaction's own.
//!
//! Owns their way from the transaction to the statement's parts and back. What the statement breaks off is ended on its
//! server and read to its end, so that the transaction stays; where that fails, the transaction is lost and the session
//! says so. Must never give one of these connections to anybody else. Input: the nodes of one statement.

use std::time::Duration;

use dbmesh_commit::Work as Did;
use dbmesh_model::topology::sharding::AcrossSources;
use dbmesh_plan::Aim;
use dbmesh_wire::status::Status;

use super::super::super::{Failure, Session};
use super::super::scatter::{SAVEPOINT, Unit};
use super::super::work::Work;
use super::sharded_place;
use crate::fault::Fault;
use crate::pins::PinReason;
use crate::scatter::leg::Leg;

/// How long what was broken off may take to end at its server.
const CALM_TIMEOUT: Duration = Duration::from_secs(10);

impl Session {
    /// Whether a statement may touch these nodes within a transaction.
    pub(in super::super) fn may_enlist(&self, sources: &[usize]) -> Result<(), Fault> {
        let Some(sharded) = &self.sharded else {
            return Ok(());
        };
        let across = sharded.sharding().map(|sharding| sharding.across);
        if sources.len() > 1 {
            self.ends_plainly()?;
        }
        if across.is_some_and(|across| across != AcrossSources::Refuse) {
            return Ok(());
        }
        let here = sharded.source;
        let bound = self.lease.is_some() && self.is_bound();
        if let Some(other) = sources.iter().find(|source| bound && **source != here) {
            return Err(Fault::Sharding(self.bound_to(here, *other)));
        }
        match sources.len() {
            0 | 1 => Ok(()),
            _ => {
                let why = "its transaction would be on several nodes (`transactions.acrossNodes` of the DataShard)";
                Err(Fault::Sharding(why.into()))
            }
        }
    }

    /// The transaction's connections to these nodes, which join it where they are not in it. Always in the same order, so
    /// that nobody waits in a ring for connections.
    pub(in super::super) async fn enlist(
        &mut self,
        sources: &[usize],
        aim: Aim,
        writes: bool,
    ) -> Result<Vec<Leg>, Failure> {
        let begins = !self.state.in_transaction() && sources.len() > 1;
        if begins && let Some(sharded) = &mut self.sharded {
            // Without autocommit, the statement begins a transaction; all nodes must know that it is one.
            sharded.prologue.begin(b"START TRANSACTION");
            self.state.status = self.state.status.union(Status::IN_TRANS);
        }
        for source in sources {
            self.go_to(*source).await?;
            self.in_own_schema(true).await?;
            self.acquire(aim).await?;
        }
        let vector = self.connection_vector().clone();
        let mut legs = Vec::with_capacity(sources.len());
        for source in sources {
            let gone = || Fault::NoEndpoint("the connection is gone".into());
            let lent = self.lend(*source, writes).ok_or_else(gone)?;
            legs.push(Leg::new(lent.0, lent.1, *source, vector.clone()));
        }
        Ok(legs)
    }

    /// Lends a connection of the transaction to a statement.
    fn lend(
        &mut self,
        source: usize,
        writes: bool,
    ) -> Option<(crate::pool::Lease, std::sync::Arc<crate::upstream::Member>)> {
        let here = sharded_place(self);
        let writes = writes && !self.is_read_only();
        let across = &mut self.sharded.as_mut()?.across;
        if let Some(part) = across.part(source) {
            if writes {
                part.work = Did::Writes;
            }
            if source != here {
                return Some((part.lease.take()?, part.member.clone()?));
            }
        } else if source == here {
            // What a transaction of one node does is known when a second one joins.
            let did = across.here.get_or_insert(Did::Reads);
            if writes {
                *did = Did::Writes;
            }
        }
        (source == here).then(|| Some((self.lease.take()?, self.member.clone()?)))?
    }

    /// Takes the connections back after a statement. An error says that the transaction is lost.
    pub(in super::super) async fn take_back(
        &mut self,
        mut work: Work<'_>,
        unit: Unit,
        broken: bool,
    ) -> Result<(), Failure> {
        let here = sharded_place(self);
        let several = self.is_across();
        let mut gone = None;
        for mut leg in work.legs.drain(..) {
            let mut sound = leg.calm(CALM_TIMEOUT).await;
            if sound && broken && unit == Unit::Savepoint {
                let undo = format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}");
                match leg.run(undo.as_bytes()).await {
                    Ok(Ok(_)) => {}
                    // Its server has rolled back all of the transaction, or its savepoint was never set; who has
                    // done a part of the statement elsewhere must not keep that.
                    Ok(Err(_)) => {
                        if let Some(across) = self.across().filter(|_| several) {
                            across.doomed = true;
                        }
                    }
                    Err(_) => sound = false,
                }
            } else if sound && broken {
                // An error does not say whether a transaction is open; this answer does.
                sound = leg.run(b"DO 0").await.is_ok();
            }
            if sound && work.sets_clock {
                sound = matches!(leg.run(b"SET timestamp = DEFAULT").await, Ok(Ok(_)));
            }
            if sound {
                self.learn_leg(&mut leg, &work.loaded.names).await;
            }
            if leg.unclean {
                self.state.pins.add_unnamed(PinReason::StateChange);
            }
            let (source, endpoint) = (leg.source, leg.endpoint().to_owned());
            let status = leg.backend().ok().map(|backend| backend.status);
            let Some(lease) = leg.into_lease().filter(|_| sound) else {
                gone = Some(endpoint);
                continue;
            };
            match self.across().and_then(|across| across.part(source)) {
                Some(part) if source != here => part.lease = Some(lease),
                _ => self.lease = Some(lease),
            }
            if let Some(status) = status.filter(|_| !several) {
                let trans = Status::IN_TRANS.union(Status::IN_TRANS_READONLY);
                let rest = self.state.status.difference(trans);
                self.state.status = rest.union(status.intersection(trans));
            }
        }
        let Some(endpoint) = gone else {
            self.note_session_statement();
            return Ok(());
        };
        Err(self.lose_transaction(endpoint))
    }

    /// One of the transaction's connections is gone, and the transaction with it.
    pub(in super::super) fn lose_transaction(&mut self, endpoint: String) -> Failure {
        self.drop_parts();
        self.lease = None;
        self.state.pins.clear();
        let trans = Status::IN_TRANS.union(Status::IN_TRANS_READONLY);
        self.state.status = self.state.status.difference(trans);
        Fault::BackendLost {
            endpoint,
            state_lost: true,
        }
        .into()
    }
}
