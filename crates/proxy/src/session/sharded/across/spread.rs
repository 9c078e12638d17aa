//! A statement that writes on several nodes and is a transaction by itself: all of them commit, or none does.
//!
//! Owns the beginning and the end of that transaction on the statement's own connections. Between, they work as they do
//! without it. Input: the connections of one statement, one per node.

use std::sync::Arc;

use dbmesh_commit::{Answers, Gtrid, Outcome, Reply, Xid};
use dbmesh_model::topology::sharding::AcrossSources;

use super::super::super::{Failure, Session};
use super::super::work::{Broken, Work};
use super::ending::{Driven, Telling, all, drive, reports};
use super::{Joined, Part, machine};
use crate::atomic::{Atomic, run_step};
use crate::fault::Fault;
use crate::scatter::leg::Leg;

impl Session {
    fn atomic(&self) -> Option<Arc<Atomic>> {
        let sharded = self.sharded.as_ref()?;
        let sharding = sharded.sharding()?;
        let atomic = sharding.across == AcrossSources::Atomic;
        sharded.home.atomic.clone().filter(|_| atomic)
    }

    /// Whether a statement that writes to these nodes by itself is made one; refused where they do not keep that.
    pub(in super::super) async fn will_be_one(&self, sources: &[usize]) -> Result<bool, Failure> {
        let Some(atomic) = self.atomic().filter(|_| sources.len() > 1) else {
            return Ok(false);
        };
        for source in sources {
            self.must_be_ready(&atomic, *source, None).await?;
        }
        Ok(true)
    }

    /// Begins on every connection: the first one's transaction is plain.
    pub(in super::super) async fn begin_as_one(
        &self,
        work: &mut Work<'_>,
    ) -> Result<Gtrid, Broken> {
        let refused = |what: &str| Broken::Fault(Fault::Sharding(what.to_owned()));
        let first = work.legs.first().map(|leg| leg.source);
        let named = self.atomic().zip(first);
        let named = named.and_then(|(atomic, first)| Some((atomic.name(first)?, atomic)));
        let (gtrid, atomic) = named.ok_or_else(|| refused("it cannot be named"))?;
        for leg in &work.legs {
            let ready = self.must_be_ready(&atomic, leg.source, Some(&leg.member));
            ready.await.map_err(Broken::Fault)?;
        }
        let next = work.next;
        let mut telling: Vec<Telling<'_>> = Vec::new();
        for (at, leg) in work.legs.iter_mut().enumerate() {
            let branch = atomic.shard(leg.source).map(|branch| Xid { gtrid, branch });
            let texts = match branch.filter(|_| at > 0) {
                Some(xid) => next.beginning_branch(&xid),
                None => next.beginning(),
            };
            telling.push(Box::pin(async move { (at, tell(leg, &texts).await) }));
        }
        let replies = all(telling).await;
        match replies
            .iter()
            .all(|(_, reply)| matches!(reply, Reply::Done(_)))
        {
            true => Ok(gtrid),
            false => Err(refused("a node could not join its transaction")),
        }
    }

    /// Commits on every connection; says at which sources the session knows that commit.
    pub(in super::super) async fn end_as_one(
        &mut self,
        work: &mut Work<'_>,
        gtrid: Gtrid,
    ) -> Result<Vec<usize>, Broken> {
        let atomic = self.atomic();
        let upstreams = self.upstreams();
        let part = |(at, leg): (usize, &mut Leg)| Part {
            source: leg.source,
            joined: if at == 0 {
                Joined::Plain
            } else {
                Joined::Branch
            },
            work: dbmesh_commit::Work::Writes,
            lease: leg.swap_lease(None),
            member: None,
            written: Vec::new(),
        };
        let mut parts: Vec<Part> = work.legs.iter_mut().enumerate().map(part).collect();
        let home_open = parts.first_mut().is_some_and(super::ending::is_open);
        // Its connections go on to the statement's end, so it is answered when all of them have committed.
        let answers = Answers::AfterBranches;
        let (commit, actions) = machine(&parts, Some(gtrid), atomic.as_ref(), home_open, answers);
        let driven = drive(commit, actions, &mut parts, &upstreams, answers).await;
        let (outcome, finished) = match driven {
            Driven::Ended { outcome, finished } => (outcome, finished),
            Driven::Decided(..) => (Outcome::Committed, false),
        };
        let heard_of = match finished {
            true => parts.iter().map(|part| part.source).collect(),
            false => Vec::new(),
        };
        for (source, gtid) in reports(&mut parts) {
            self.note_written_at(source, &gtid);
        }
        for (leg, part) in work.legs.iter_mut().zip(parts) {
            leg.swap_lease(part.lease);
        }
        if outcome != Outcome::Committed {
            return Err(Broken::Fault(self.failed(&outcome, Some(gtrid))));
        }
        self.note_ends(|ends| &ends.committed);
        if let Some(atomic) = atomic.filter(|_| finished) {
            atomic.note_finished(gtrid);
        }
        Ok(heard_of)
    }
}

async fn tell(leg: &mut Leg, texts: &[String]) -> Reply {
    match leg.backend() {
        Ok(backend) => run_step(backend, texts).await,
        Err(_) => Reply::Lost,
    }
}
