//! A server as the protocol sees it: local transactions, branches that survive once prepared, rows whose keys are locked.
//!
//! Owns what a crash keeps and what it loses, as `server-facts` measured it on MySQL: a branch is detached when prepared, an
//! unknown one is NOTA, an insert waits behind an uncommitted row of the same key and then finds it or not.

use std::collections::{BTreeMap, BTreeSet};

use super::Weakness;
use crate::broken::{Broken, Rule};
use crate::sql::Prepared;
use crate::{Ack, Ask, Decision, Event, Gtrid, Listed, Reply, Step, Undone, Verdict, Xid, code};

/// How long rows are kept, in place of a day.
const RETENTION_MS: u64 = 60_000;
/// How long deciding is allowed, in place of half a day.
const DECIDE_WITHIN_MS: u64 = 30_000;
/// How long a resolver's fence acts, in place of an hour.
const FENCE_WITHIN_MS: u64 = 20_000;
/// How long an insert waits for a row.
pub const LOCK_WAIT_MS: u64 = 1_000;
const DEADLOCK: u16 = 1213;
const LOCK_WAIT_TIMEOUT: u16 = 1205;
const RMFAIL: u16 = 1399;

/// The number of a transaction in a history.
pub type Txn = u64;
/// The number of a connection in a history.
pub type ConnId = usize;

/// How a transaction reaches a server first.
#[derive(Clone, Copy, Debug)]
pub enum Begin {
    Plain,
    Branch(Xid),
    Already,
}

#[derive(Clone, Debug)]
pub enum Request {
    Work {
        txn: Txn,
        begin: Begin,
        writes: bool,
        /// The server makes it the victim of a deadlock.
        deadlock: bool,
    },
    Step {
        step: Step,
        xid: Xid,
        promises: Vec<Prepared>,
    },
    Ask(Ask),
}

#[derive(Clone, Debug)]
pub enum Response {
    Step(Reply),
    Ask(Event),
}

impl Response {
    /// What the proxy makes of a lost connection.
    pub fn lost(request: &Request) -> Response {
        match request {
            Request::Ask(_) => Response::Ask(Event::Lost),
            _ => Response::Step(Reply::Lost),
        }
    }
}

/// What the checker hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Applied(Txn),
    PreparedRolledBack(Txn),
}

#[derive(Clone, Debug)]
struct Row {
    decision: Decision,
    participants: Vec<Prepared>,
    at_ms: u64,
}

/// What a crash keeps.
#[derive(Clone, Debug, Default)]
pub struct Durable {
    pub prepared: BTreeMap<Xid, bool>,
    pub applied: BTreeMap<Txn, u32>,
    rows: BTreeMap<Gtrid, Row>,
    gtids: BTreeSet<u64>,
}

#[derive(Clone, Debug)]
enum Op {
    Prepare(Xid, bool),
    Finish(Xid, Verdict),
    Local(Option<Txn>, Vec<(Gtrid, Row)>),
    Done(Vec<Gtrid>, u64),
    Purge(Vec<Gtrid>),
}

#[derive(Clone, Debug, Default)]
struct Session {
    /// A plain transaction: its number, whether it wrote, and rows of decisions.
    local: Option<(Txn, bool)>,
    rows: Vec<(Gtrid, Row)>,
    branch: Option<(Xid, bool)>,
    since_ms: u64,
}

#[derive(Clone, Debug)]
struct Waiter {
    conn: ConnId,
    request: Request,
}

#[derive(Debug)]
pub struct Server {
    pub up: bool,
    pub incarnation: u32,
    pub durable: Durable,
    log: Vec<(u64, Op)>,
    sessions: BTreeMap<ConnId, Session>,
    waiters: Vec<Waiter>,
    next_gtid: u64,
    weakness: Option<Weakness>,
    broken: Broken,
}

impl Server {
    pub fn new(weakness: Option<Weakness>, broken: Broken) -> Server {
        Server {
            up: true,
            incarnation: 0,
            durable: Durable::default(),
            log: Vec::new(),
            sessions: BTreeMap::new(),
            waiters: Vec::new(),
            next_gtid: 1,
            weakness,
            broken,
        }
    }

    /// Whether nothing is open, prepared or undone.
    pub fn is_quiet(&self) -> bool {
        let undone = |row: &Row| row.decision == Decision::Commit;
        self.up
            && self
                .sessions
                .values()
                .all(|s| s.local.is_none() && s.branch.is_none())
            && self.waiters.is_empty()
            && self.durable.prepared.is_empty()
            && !self.durable.rows.values().any(undone)
    }

    /// The death of the process, or a failover; `loses` is how many of the newest commits a replica had not got.
    pub fn crash(&mut self, loses: usize) {
        self.up = false;
        self.incarnation += 1;
        self.sessions.clear();
        self.waiters.clear();
        match self.weakness {
            Some(Weakness::PreparedLost) => self.durable.prepared.clear(),
            Some(Weakness::ReplicaBehind) if loses > 0 => {
                let keep = self.log.len().saturating_sub(loses);
                self.log.truncate(keep);
                let mut durable = Durable::default();
                for (gtid, op) in &self.log {
                    durable.apply(*gtid, op, &mut Vec::new());
                }
                self.durable = durable;
            }
            _ => {}
        }
    }

    fn commit(&mut self, op: Op, seen: &mut Vec<Seen>) -> u64 {
        let gtid = self.next_gtid;
        self.next_gtid += 1;
        self.durable.apply(gtid, &op, seen);
        if self.weakness == Some(Weakness::ReplicaBehind) {
            self.log.push((gtid, op));
        }
        gtid
    }

    /// The end of a connection, seen by the server.
    pub fn close(&mut self, conn: ConnId) {
        self.sessions.remove(&conn);
    }

    /// Executes; none: it waits for the row of a gtrid, or its COMMIT is under way.
    pub fn execute(
        &mut self,
        now_ms: u64,
        conn: ConnId,
        request: &Request,
        seen: &mut Vec<Seen>,
    ) -> Option<Response> {
        if self.is_blocked(conn, request) {
            let request = request.clone();
            self.waiters.push(Waiter { conn, request });
            return None;
        }
        Some(match request {
            Request::Work { .. } => Response::Step(self.work(now_ms, conn, request)),
            Request::Step {
                step,
                xid,
                promises,
            } => Response::Step(self.step(now_ms, conn, step, *xid, promises, seen)?),
            Request::Ask(ask) => Response::Ask(self.ask(now_ms, ask, seen)),
        })
    }

    /// Who waited for rows that are free now, with what came of it.
    pub fn wake(&mut self, now_ms: u64, seen: &mut Vec<Seen>) -> Vec<(ConnId, Response)> {
        let waiters = std::mem::take(&mut self.waiters);
        let again = |w: Waiter| Some((w.conn, self.execute(now_ms, w.conn, &w.request, seen)?));
        waiters.into_iter().filter_map(again).collect()
    }

    /// The lock wait of a connection is over.
    pub fn give_up_wait(&mut self, conn: ConnId) -> Option<Response> {
        let at = self.waiters.iter().position(|w| w.conn == conn)?;
        Some(match self.waiters.remove(at).request {
            Request::Ask(_) => Response::Ask(Event::Error(LOCK_WAIT_TIMEOUT)),
            _ => Response::Step(Reply::Error(LOCK_WAIT_TIMEOUT)),
        })
    }

    fn is_blocked(&self, conn: ConnId, request: &Request) -> bool {
        let gtrid = match request {
            Request::Step {
                step: Step::Fence | Step::ReadDecision,
                xid,
                ..
            } => xid.gtrid,
            Request::Ask(Ask::Fence { gtrid, .. } | Ask::Read(gtrid)) => *gtrid,
            _ => return false,
        };
        let locks = |(other, s): (&ConnId, &Session)| {
            *other != conn && s.rows.iter().any(|(g, _)| *g == gtrid)
        };
        self.sessions.iter().any(locks)
    }

    fn work(&mut self, now_ms: u64, conn: ConnId, request: &Request) -> Reply {
        let Request::Work {
            txn,
            begin,
            writes,
            deadlock,
        } = request
        else {
            return Reply::Error(RMFAIL);
        };
        let session = self.sessions.entry(conn).or_default();
        match begin {
            Begin::Plain => {
                session.local = Some((*txn, false));
                session.since_ms = now_ms;
            }
            Begin::Branch(xid) => session.branch = Some((*xid, false)),
            Begin::Already => {}
        }
        if *deadlock {
            // A branch stays as "rollback only"; here it is as good as gone, for its work is.
            session.local = None;
            session.branch = None;
            return Reply::Error(DEADLOCK);
        }
        match (&mut session.local, &mut session.branch) {
            (Some((_, wrote)), _) | (_, Some((_, wrote))) => *wrote |= *writes,
            // No transaction is open: the server would commit it at once. The driver must not get here.
            _ => return Reply::Error(RMFAIL),
        }
        done(true, None)
    }

    fn step(
        &mut self,
        now_ms: u64,
        conn: ConnId,
        step: &Step,
        xid: Xid,
        promises: &[Prepared],
        seen: &mut Vec<Seen>,
    ) -> Option<Reply> {
        Some(match step {
            Step::Commit => self.commit_local(conn, seen),
            Step::Rollback => {
                self.sessions.remove(&conn);
                done(false, None)
            }
            Step::Prepare | Step::CommitOnePhase | Step::Discard => {
                let Some((open, wrote)) = self.sessions.entry(conn).or_default().branch.take()
                else {
                    return Some(Reply::Error(RMFAIL));
                };
                match step {
                    Step::Prepare => {
                        let gtid = self.commit(Op::Prepare(open, wrote), seen);
                        return Some(done(false, Some(gtid)));
                    }
                    Step::CommitOnePhase => {
                        self.commit(
                            Op::Local(wrote.then_some(open.gtrid.sequence), Vec::new()),
                            seen,
                        );
                    }
                    _ => {}
                }
                done(false, None)
            }
            Step::Decide => match self.decide(now_ms, conn, xid.gtrid, promises) {
                Ok(()) => return None,
                Err(_) if self.broken.is(Rule::CommitBehindRow) => self.commit_local(conn, seen),
                Err(code) => Reply::Error(code),
            },
            Step::Finish(verdict) => self.finish(xid, *verdict, seen),
            Step::Fence if now_ms >= xid.gtrid.begun_ms + DECIDE_WITHIN_MS => {
                Reply::Done(Ack::default())
            }
            Step::Fence => match self.insert_abort(now_ms, xid.gtrid, seen) {
                true => done(false, None),
                false => Reply::Error(code::DUP_ENTRY),
            },
            Step::ReadDecision if now_ms >= xid.gtrid.begun_ms + DECIDE_WITHIN_MS => {
                Reply::Done(Ack::default())
            }
            Step::ReadDecision => Reply::Done(Ack {
                decision: self.durable.rows.get(&xid.gtrid).map(|row| row.decision),
                ..Ack::default()
            }),
        })
    }

    fn commit_local(&mut self, conn: ConnId, seen: &mut Vec<Seen>) -> Reply {
        let session = self.sessions.entry(conn).or_default();
        let rows = std::mem::take(&mut session.rows);
        let local = session.local.take();
        let txn = local.and_then(|(txn, wrote)| wrote.then_some(txn));
        self.commit(Op::Local(txn, rows), seen);
        done(false, None)
    }

    /// Whether the row of a decision is there, and its COMMIT is under way.
    pub fn is_deciding(&self, conn: ConnId) -> bool {
        self.sessions.get(&conn).is_some_and(|s| !s.rows.is_empty())
    }

    /// The end of the COMMIT behind a decision, unless the connection ended before.
    pub fn commit_decided(&mut self, conn: ConnId, seen: &mut Vec<Seen>) -> Option<Response> {
        let deciding = self.is_deciding(conn);
        deciding.then(|| Response::Step(self.commit_local(conn, seen)))
    }

    fn decide(
        &mut self,
        now_ms: u64,
        conn: ConnId,
        gtrid: Gtrid,
        promises: &[Prepared],
    ) -> Result<(), u16> {
        let late = now_ms >= gtrid.begun_ms + DECIDE_WITHIN_MS;
        let careless = self.weakness == Some(Weakness::RowsForgottenEarly);
        if late && !careless {
            return Err(code::BAD_NULL);
        }
        if self.durable.rows.contains_key(&gtrid) {
            return Err(code::DUP_ENTRY);
        }
        let row = Row {
            decision: Decision::Commit,
            participants: promises.to_vec(),
            at_ms: now_ms,
        };
        let session = self.sessions.entry(conn).or_default();
        session.rows.push((gtrid, row));
        Ok(())
    }

    fn finish(&mut self, xid: Xid, verdict: Verdict, seen: &mut Vec<Seen>) -> Reply {
        if !self.durable.prepared.contains_key(&xid) {
            return Reply::Error(code::XAER_NOTA);
        }
        self.commit(Op::Finish(xid, verdict), seen);
        done(false, None)
    }

    fn insert_abort(&mut self, now_ms: u64, gtrid: Gtrid, seen: &mut Vec<Seen>) -> bool {
        if self.durable.rows.contains_key(&gtrid) {
            return false;
        }
        let row = Row {
            decision: Decision::Abort,
            participants: Vec::new(),
            at_ms: now_ms,
        };
        self.commit(Op::Local(None, vec![(gtrid, row)]), seen);
        true
    }

    fn ask(&mut self, now_ms: u64, ask: &Ask, seen: &mut Vec<Seen>) -> Event {
        match ask {
            Ask::Undone(_) => {
                let old = |(_, row): &(&Gtrid, &Row)| {
                    row.decision == Decision::Commit && row.at_ms + crate::GRACE_MS < now_ms
                };
                let undone = |(gtrid, row): (&Gtrid, &Row)| Undone {
                    gtrid: *gtrid,
                    participants: Some(row.participants.clone()),
                };
                Event::Undone {
                    clock_s: now_ms,
                    rows: self.durable.rows.iter().filter(old).map(undone).collect(),
                }
            }
            Ask::Recover(_) => Event::Listed(Listed {
                branches: self.durable.prepared.keys().copied().collect(),
            }),
            Ask::Fence { clock_s, .. } if now_ms >= clock_s + FENCE_WITHIN_MS => Event::Lost,
            Ask::Fence { gtrid, .. } => match self.insert_abort(now_ms, *gtrid, seen) {
                true => Event::Done,
                false => Event::Error(code::DUP_ENTRY),
            },
            Ask::Read(gtrid) => {
                Event::Decision(self.durable.rows.get(gtrid).map(|row| row.decision))
            }
            Ask::Finish(_, xid, verdict) => match self.finish(*xid, *verdict, seen) {
                Reply::Error(code) => Event::Error(code),
                _ => Event::Done,
            },
            Ask::Holds(_, _, gtid) => Event::Holds(
                gtid.parse()
                    .is_ok_and(|gtid| self.durable.gtids.contains(&gtid)),
            ),
            Ask::Done(_, gtrids) => {
                self.commit(Op::Done(gtrids.clone(), now_ms), seen);
                Event::Done
            }
        }
    }

    /// Forgets old rows, as `sql::purgeable` selects them.
    pub fn purge(&mut self, now_ms: u64) {
        let careless = self.weakness == Some(Weakness::RowsForgottenEarly);
        let keep_ms = if careless { 1_000 } else { RETENTION_MS };
        let oldest = self
            .sessions
            .values()
            .filter(|s| s.local.is_some())
            .map(|s| s.since_ms)
            .min();
        let old = |row: &Row| {
            row.decision != Decision::Commit
                && row.at_ms + keep_ms < now_ms
                && (careless || oldest.is_none_or(|oldest| row.at_ms < oldest))
        };
        let rows = self.durable.rows.iter().filter(|(_, row)| old(row));
        let gtrids: Vec<Gtrid> = rows.map(|(gtrid, _)| *gtrid).collect();
        if !gtrids.is_empty() {
            self.commit(Op::Purge(gtrids), &mut Vec::new());
        }
    }
}

impl Durable {
    fn apply(&mut self, gtid: u64, op: &Op, seen: &mut Vec<Seen>) {
        self.gtids.insert(gtid);
        match op {
            Op::Prepare(xid, wrote) => {
                self.prepared.insert(*xid, *wrote);
            }
            Op::Finish(xid, verdict) => {
                let Some(wrote) = self.prepared.remove(xid) else {
                    return;
                };
                match verdict {
                    Verdict::Commit if wrote => self.work(xid.gtrid.sequence, seen),
                    Verdict::Commit => {}
                    Verdict::Rollback => seen.push(Seen::PreparedRolledBack(xid.gtrid.sequence)),
                }
            }
            Op::Local(txn, rows) => {
                self.rows.extend(rows.iter().cloned());
                if let Some(txn) = txn {
                    self.work(*txn, seen);
                }
            }
            Op::Done(gtrids, now_ms) => {
                for gtrid in gtrids {
                    if let Some(row) = self.rows.get_mut(gtrid) {
                        row.decision = Decision::Done;
                        row.at_ms = *now_ms;
                    }
                }
            }
            Op::Purge(gtrids) => self.rows.retain(|gtrid, _| !gtrids.contains(gtrid)),
        }
    }

    fn work(&mut self, txn: Txn, seen: &mut Vec<Seen>) {
        *self.applied.entry(txn).or_insert(0) += 1;
        seen.push(Seen::Applied(txn));
    }
}

fn done(in_transaction: bool, gtid: Option<u64>) -> Reply {
    Reply::Done(Ack {
        affected: 1,
        in_transaction,
        gtid: gtid.map(|gtid| gtid.to_string()),
        decision: None,
    })
}
