//! A connection for a statement: to an endpoint that may take it, fresh enough, in the session's state.
//!
//! Owns the choice among a service's endpoints and the wait for one: for a replica to catch up, for a primary to be there. It
//! must never use a replica that may miss what the aim's consistency promises. Input: the aim of a route.

mod search;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use dbmesh_model::topology::{Consistency, Role, TransactionalRead};
use dbmesh_plan::{Aim, Why};
use tokio::sync::watch;

use super::demand::{Place, in_time};
use super::exchange::Lost;
use super::leave::TurnedAway;
use super::ready::{NotReady, make_ready};
use super::{Failure, Session, observe};
use crate::backend::{Backend, BackendError, Flags};
use crate::control::Signals;
use crate::fault::Fault;
use crate::pool::{Lease, Want};
use crate::position::{Gtids, Position, Wanted};
use crate::upstream::{Member, Need};
use search::{Leased, Search};

/// What every command that is no read needs.
pub(super) const PRIMARY: Aim = Aim::primary(Why::NotProved);

/// Dead connections of one endpoint tried before another endpoint is.
const STALE_IN_A_ROW_MAX: u32 = 8;
/// How long a waiting statement pauses before it looks for a primary again, if nobody tells it.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long nobody else waits for a replica that did not catch up in time.
const BEHIND_MS: u64 = 200;
/// How long a replica may take to answer, beyond the wait itself.
const WAIT_ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

impl Session {
    /// Makes sure that the session has a connection in the session's state, to an endpoint that the statement may use.
    pub(super) async fn acquire(&mut self, aim: Aim) -> Result<(), Failure> {
        if self.has_left() {
            Box::pin(self.await_left()).await;
        }
        self.translate_vector();
        let (found, waited) = observe::timed(pin!(self.find_connection(aim))).await;
        self.noted.waited(waited);
        match self.overdue() {
            // Whatever came of it, the statement is not sent any more.
            Some(overdue) => {
                found?;
                Err(overdue.into())
            }
            None if self.has_prologue() => {
                found?;
                Box::pin(self.run_prologue()).await
            }
            None => found,
        }
    }

    async fn find_connection(&mut self, aim: Aim) -> Result<(), Failure> {
        if self.keep_lease(aim).await? {
            if self.has_endpoint_limits()
                && let Some(member) = self.member.clone()
            {
                Box::pin(self.pass_endpoint_limits(&member)).await?;
            }
            return Ok(());
        }
        let mut search = Search::new(self.wait_limit());
        // Listening costs something that all sessions share: only who finds nobody does, and then looks again first.
        let mut changes = None;
        loop {
            if self.follow_reload_midway()? {
                // It listened to endpoints that are no more.
                changes = None;
            }
            let found = match self.demanded(&mut search)? {
                Some(member) => Some((member, None)),
                None => self.choose(aim, &search),
            };
            let Some((member, missing)) = found else {
                match &mut changes {
                    None => changes = Some(self.serving.upstream.changes()),
                    Some(changes) => self.await_primary(&mut search, changes).await?,
                }
                continue;
            };
            if search.leaves(&member, &self.serving.upstream) {
                search.tried.push(member);
                continue;
            }
            match self.lease_from(member, missing, &mut search).await? {
                Leased::Ready => {
                    if search.scout.is_some() {
                        self.serving.upstream.scout_came_through();
                    }
                    if aim.why == Why::Transaction && aim.role == Role::Replica {
                        self.fixed.clone_from(&self.member);
                    }
                    return Ok(());
                }
                Leased::NotThere => {}
                Leased::Overdue => return Ok(()),
            }
            search.scout = None;
            search.left = (search.limit + search.in_line).saturating_sub(self.started.elapsed());
        }
    }

    /// The endpoint at which alone the statement may run, if there is one.
    fn demanded(&self, search: &mut Search) -> Result<Option<Arc<Member>>, Failure> {
        let upstream = &self.serving.upstream;
        let (member, name) = match &self.demand.place {
            Place::Home => return Ok(None),
            Place::Named(name) => {
                let named = |m: &&Arc<Member>| m.endpoint.name == *name;
                let serves = |m: &&Arc<Member>| upstream.role_of(m).is_some();
                (upstream.members.iter().find(named).filter(serves), name)
            }
            Place::Away(_, name) => {
                let named = |m: &&Arc<Member>| m.endpoint.name == *name;
                (upstream.away.iter().find(named), name)
            }
        };
        match member {
            Some(member) if !search.has_tried(member) => Ok(Some(member.clone())),
            tried => {
                let why = || Fault::Misplaced(format!("endpoint {name} does not serve now"));
                let last = search.last.take().filter(|_| tried.is_some());
                Err(last.unwrap_or_else(why).into())
            }
        }
    }

    /// Whether the connection that the session has serves.
    async fn keep_lease(&mut self, aim: Aim) -> Result<bool, Failure> {
        let id = u64::from(self.handle().id);
        let kept = self.state.in_transaction() || !self.state.pins.is_empty();
        if !kept && self.lease.is_some() && !self.member_serves(aim) {
            // It only remembers something of the last statement, which is fetched.
            self.give_up_hold().await;
        }
        let left_behind = self.is_left_behind(aim);
        let Some(lease) = &mut self.lease else {
            return Ok(false);
        };
        lease.unhold(id, &self.registered.handle.control);
        let fenced = lease.pool().standing.is_fenced();
        if fenced || left_behind {
            // Nothing that happens there counts any more, or nothing more can.
            let gone = BackendError::Lost(std::io::ErrorKind::ConnectionAborted.into());
            return Err(self.lost(Lost::before(gone), None));
        }
        if kept || !lease.backend().is_ok_and(Backend::is_stale) {
            return Ok(true);
        }
        // Only what the last statement left was on it; that is lost with it.
        self.forget_memory();
        Ok(false)
    }

    /// Whether the session's state is on a server that is no primary any more and has refused it a write: it would be
    /// refused for good. One that only reads what it has there may go on.
    fn is_left_behind(&self, aim: Aim) -> bool {
        let upstream = &self.serving.upstream;
        // Whether it serves reads already, or is not fresh enough for that yet, is not the question.
        let demoted = |m: &Arc<Member>| match upstream.reports_roles() {
            true => m.pool.standing.role() == Some(Role::Replica),
            false => upstream.role_of(m) == Some(Role::Replica),
        };
        self.refused
            && aim.role == Role::Primary
            && !self.state.in_transaction()
            && upstream.splitting().is_some()
            && self.member.as_ref().is_some_and(demoted)
    }

    /// Whether the endpoint of the session's connection may take the statement: one that writes needs the primary of now,
    /// one that reads a server that has what it must see.
    pub(super) fn member_serves(&self, aim: Aim) -> bool {
        let upstream = &self.serving.upstream;
        if self.member.as_ref().is_some_and(|m| m.pool.is_draining()) {
            return false;
        }
        if self.demand.place != Place::Home || self.is_away() {
            return self.is_in_place();
        }
        if upstream.splitting().is_none() {
            return true;
        }
        let Some(member) = &self.member else {
            return false;
        };
        match (upstream.role_of(member), aim.role) {
            (None, _) | (Some(Role::Replica), Role::Primary) => false,
            (Some(Role::Shadow), _) | (_, Role::Shadow) => false,
            (Some(Role::Primary), Role::Primary) => true,
            // The connection only remembers something, which is no reason to read at the primary.
            (Some(Role::Primary), Role::Replica) => upstream.all(Need::Replica).next().is_none(),
            (Some(Role::Replica), Role::Replica) => match self.wanted(aim).as_deref() {
                Some(Position::Start) => true,
                Some(Position::At(wanted)) => member.pool.standing.has(wanted),
                Some(Position::Unknown) | None => false,
            },
        }
    }

    /// What a replica must have to answer; none when no replica may.
    pub(super) fn wanted(&self, aim: Aim) -> Option<Wanted<'_>> {
        static NOTHING: Position = Position::Start;
        match aim.consistency {
            Consistency::Eventual => Some(Wanted::Own(&NOTHING)),
            Consistency::Session => Some(Wanted::Own(&self.state.position)),
            Consistency::Global => Some(Wanted::OfAll(self.serving.upstream.written())),
            Consistency::Primary => None,
        }
    }

    /// An endpoint, and the transactions that it must be seen to have before it is used.
    fn choose(&self, aim: Aim, search: &Search) -> Option<(Arc<Member>, Option<Gtids>)> {
        let upstream = &self.serving.upstream;
        if aim.role == Role::Replica
            && !search.only_primary
            && let Some(found) = self.choose_replica(aim, search, Need::Replica)
        {
            return Some(found);
        }
        // A primary may answer every read.
        let member = upstream.choose(
            Need::Primary,
            aim.balance.filter(|_| aim.role == Role::Primary),
            &search.tried,
            || self.hash_key(),
        );
        match member {
            Some(member) => Some((member.clone(), None)),
            // It cannot be reached, and neither can the replicas reach it: nothing is fresher than they are.
            None if aim.role == Role::Replica && !search.only_primary => {
                self.choose_replica(aim, search, Need::Stranded)
            }
            // What it asks about the server, another one may tell while there is no primary.
            None if aim.why == Why::ServerLocal => {
                let any = Aim {
                    consistency: Consistency::Eventual,
                    ..aim
                };
                self.choose_replica(any, search, Need::Replica)
            }
            None => None,
        }
    }

    fn choose_replica(
        &self,
        aim: Aim,
        search: &Search,
        need: Need,
    ) -> Option<(Arc<Member>, Option<Gtids>)> {
        let upstream = &self.serving.upstream;
        let chosen = match self.fixed_replica(aim, search) {
            Some(fixed) => fixed,
            None => upstream.choose(need, aim.balance, &search.tried, || self.hash_key())?,
        };
        let wanted = match &*self.wanted(aim)? {
            Position::Start => return Some((chosen.clone(), None)),
            Position::At(wanted) if chosen.pool.standing.has(wanted) => {
                return Some((chosen.clone(), None));
            }
            Position::At(wanted) => upstream.surviving(wanted.clone()),
            Position::Unknown => return self.turn_to_primary(),
        };
        if chosen.pool.standing.has(&wanted) {
            return Some((chosen.clone(), None));
        }
        let other = upstream
            .all(need)
            .filter(|m| !search.tried.iter().any(|t| Arc::ptr_eq(t, m)))
            .find(|m| m.pool.standing.has(&wanted));
        if let Some(other) = other {
            return Some((other.clone(), None));
        }
        if chosen.pool.standing.is_behind(self.process.clock.now_ms()) {
            return self.turn_to_primary();
        }
        Some((chosen.clone(), Some(wanted)))
    }

    /// The replica of the session's READ ONLY transactions, where they stay at one.
    fn fixed_replica(&self, aim: Aim, search: &Search) -> Option<&Arc<Member>> {
        let upstream = &self.serving.upstream;
        let stays = aim.why == Why::Transaction
            && upstream
                .splitting()
                .is_some_and(|s| s.transactional_read == TransactionalRead::Fixed);
        self.fixed.as_ref().filter(|member| {
            stays
                && upstream.role_of(member) == Some(Role::Replica)
                && upstream.members.iter().any(|m| Arc::ptr_eq(m, member))
                && !search.tried.iter().any(|t| Arc::ptr_eq(t, member))
        })
    }

    fn turn_to_primary<T>(&self) -> Option<T> {
        self.count_turned();
        None
    }

    fn count_turned(&self) {
        self.serving
            .upstream
            .turned_fresh
            .fetch_add(1, Ordering::Relaxed);
    }

    /// A connection of this endpoint in the session's state, or what to try next.
    async fn lease_from(
        &mut self,
        member: Arc<Member>,
        missing: Option<Gtids>,
        search: &mut Search,
    ) -> Result<Leased, Failure> {
        if !member.pool.health.breaker.admits() {
            return Ok(search.spare(member));
        }
        if self.has_endpoint_limits() {
            Box::pin(self.pass_endpoint_limits(&member)).await?;
        }
        let want = self.want();
        let wait = self.within_deadline(search.left);
        let leasing = member.pool.lease(&want, wait);
        let mut lease = match self.unless_interrupted(leasing).await? {
            Ok(lease) => lease,
            Err(Fault::PoolTimeout { .. }) if self.overdue().is_some() => {
                return Ok(Leased::Overdue);
            }
            Err(fault @ (Fault::ConnectFailed { .. } | Fault::NoEndpoint(_))) => {
                if !member.pool.is_draining() {
                    member.pool.standing.forget_known();
                    self.serving.upstream.suspect();
                }
                search.last = Some(fault);
                search.tried.push(member);
                return Ok(Leased::NotThere);
            }
            Err(fault) => return Err(fault.into()),
        };
        if let Some(missing) = missing
            && !self.caught_up(&mut lease, &member, &missing).await
        {
            search.only_primary = true;
            self.count_turned();
            return Ok(Leased::NotThere);
        }
        let ready = {
            let making = pin!(make_ready(lease, &want, wait));
            in_time(self.demand.deadline, making).await
        };
        let Some(ready) = ready else {
            // The connection is closed: nobody knows in which state it is.
            return Ok(Leased::Overdue);
        };
        match ready {
            Ok(lease) => self.take_lease(lease, member),
            Err(NotReady::Schema(lease, _)) if self.chooses_schema => {
                self.take_lease(*lease, member)
            }
            Err(NotReady::Schema(lease, e)) => {
                lease.give_back();
                let (code, message) = (e.code, e.message);
                return Err(Fault::Schema { code, message }.into());
            }
            Err(NotReady::Fault(fault)) => return Err(fault.into()),
            Err(NotReady::Stale(fault)) => {
                // The pool's next connection may be alive, or be a new one.
                search.last = Some(fault);
                search.stale += 1;
                if search.stale > STALE_IN_A_ROW_MAX {
                    search.tried.push(member);
                }
                return Ok(Leased::NotThere);
            }
        }
        Ok(Leased::Ready)
    }

    /// What it needs of a connection.
    pub(super) fn want(&self) -> Want<'_> {
        Want {
            vector: self.connection_vector(),
            flags: Flags::of(self.client.capabilities),
            session: u64::from(self.registered.handle.id),
            who: self.who(),
            schema_since: Some(self.state.schema_since),
        }
    }

    /// A session that began before any server was known has begun with what its first one has.
    fn take_base(&mut self) {
        if self.state.vector.base.is_unknown()
            && let Ok(backend) = self.backend()
        {
            let base = backend.vector.base.clone();
            self.state.change_vector(|vector| vector.base = base);
        }
    }

    fn take_lease(&mut self, lease: Lease, member: Arc<Member>) {
        // What this connection says of "the last statement" is not this session's.
        self.state.diagnostics.row_count_only_here = true;
        self.state.diagnostics.found_rows_only_here = true;
        self.refused = false;
        self.lease = Some(lease);
        self.take_base();
        self.lease_place.clone_from(&self.demand.place);
        self.member = Some(member);
    }

    /// Waits for a replica to have what is missing; not for long.
    async fn caught_up(&self, lease: &mut Lease, member: &Member, missing: &Gtids) -> bool {
        let standing = &member.pool.standing;
        let Some(splitting) = self.serving.upstream.splitting() else {
            return false;
        };
        let wait_ms = splitting.catch_up_wait_ms;
        let Ok(backend) = lease.backend() else {
            return false;
        };
        let sql = missing.wait_sql(backend.facts.flavor, wait_ms);
        let limit = Duration::from_millis(wait_ms) + WAIT_ANSWER_TIMEOUT;
        let limit = self.within_deadline(limit);
        let answer = tokio::time::timeout(limit, backend.query(sql.as_bytes())).await;
        let caught_up = match answer {
            Ok(Ok(Ok(rows))) => rows
                .first()
                .and_then(|row| row.first())
                .is_some_and(|cell| cell.as_deref() == Some(b"0")),
            _ => false,
        };
        if caught_up {
            standing.learn(missing);
        } else {
            standing.was_behind(self.process.clock.now_ms() + BEHIND_MS);
        }
        caught_up
    }

    /// Waits until somebody may serve who did not before, if statements wait here at all.
    async fn await_primary(
        &self,
        search: &mut Search,
        changes: &mut watch::Receiver<u64>,
    ) -> Result<(), Failure> {
        let upstream = &self.serving.upstream;
        let buffer = upstream.buffer();
        let limit = Duration::from_millis(buffer.max_wait_ms);
        let waited = self.started.elapsed();
        if let Some(overdue) = self.overdue() {
            return Err(overdue.into());
        }
        if waited >= limit {
            let last = search.why(upstream);
            return Err(match search.line {
                None => last,
                Some(_) => Fault::NoEndpoint(format!(
                    "no primary within {} ms (failover.buffer.maxWaitMs): {last}",
                    buffer.max_wait_ms
                )),
            }
            .into());
        }
        if search.line.is_none() {
            search.line = upstream.wait_in_line();
            if search.line.is_none() {
                let full = format!(
                    "{} statements wait for a primary already (failover.buffer.maxStatements): {}",
                    buffer.max_statements,
                    search.why(upstream)
                );
                return Err(Fault::NoEndpoint(full).into());
            }
            upstream.suspect();
        }
        let pause = self.within_deadline(LOOK_AGAIN.min(limit - waited));
        let look = tokio::time::timeout(pause, changes.changed());
        let _ = self.unless_interrupted(look).await?;
        search.in_line += self.started.elapsed().saturating_sub(waited);
        search.tried.clear();
        search.stale = 0;
        Ok(())
    }

    /// Waits, unless KILL QUERY says otherwise.
    async fn unless_interrupted<T>(&self, waiting: impl Future<Output = T>) -> Result<T, Failure> {
        let control = &self.handle().control;
        let mut waiting = std::pin::pin!(waiting);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(done) = waiting.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            let interrupted = control.poll(Signals::INTERRUPT, cx);
            interrupted.map(|_| Err(Fault::Interrupted.into()))
        })
        .await
    }

    /// A server does not take writes, and the client has not been told: where to next.
    pub(super) async fn turned_away(
        &mut self,
        aim: Aim,
        error: TurnedAway,
    ) -> Result<Aim, Failure> {
        let upstream = self.serving.upstream.clone();
        let member = self.member.take();
        self.give_back().await;
        let by_primary = member
            .as_ref()
            .is_some_and(|m| upstream.role_of(m) == Some(Role::Primary));
        if aim.role == Role::Replica && !by_primary {
            return Ok(Aim::primary(aim.why));
        }
        if let Some(member) = &member {
            upstream.refused_write(member);
        }
        let limit = Duration::from_millis(upstream.buffer().max_wait_ms);
        let Some(left) = limit.checked_sub(self.started.elapsed()) else {
            return Err(error.into_fault().into());
        };
        let Some(_place) = upstream.wait_in_line() else {
            return Err(error.into_fault().into());
        };
        if member.is_some_and(|m| upstream.role_of(&m) == Some(Role::Primary)) {
            tokio::time::sleep(LOOK_AGAIN.min(left)).await;
        }
        Ok(aim)
    }

    /// Takes on the newest reload while a statement waits for a connection, if its plan holds then as well; says whether it was taken on.
    fn follow_reload_midway(&mut self) -> Result<bool, Failure> {
        if self.process.current.epoch() == self.epoch || !self.plan_outlives_reload() {
            return Ok(false);
        }
        let before = self.epoch;
        self.follow_reload()?;
        self.translate_vector();
        Ok(self.epoch != before)
    }

    /// Takes on the configuration of the newest reload at the transaction's end, wherever its connections are.
    pub(super) fn follow_reload(&mut self) -> Result<(), Failure> {
        let epoch = self.process.current.epoch();
        if epoch == self.epoch || self.is_across() {
            return Ok(());
        }
        let Some(now) = self.process.current.find(&self.serving.service) else {
            return Err(Fault::Draining.into());
        };
        match self.sharded {
            Some(_) => self.take_up(now),
            None => self.serving = now,
        }
        self.member = None;
        self.epoch = epoch;
        let idle = self.serving.service.limits.idle_timeout_ms;
        self.handle().idle_limit_ms.store(idle, Ordering::Relaxed);
        Ok(())
    }
}
