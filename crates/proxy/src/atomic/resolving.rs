//! The task that finishes what nobody did: one per service and process.
//!
//! Owns a connection to the primary of every source, beside the pools, and the sweeps over them. It ends when the service is
//! replaced. It must never ask a server that is not known to be the primary. Input: what servers list and answer.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use dbmesh_commit::promise::Shortfall;
use dbmesh_commit::{Ask, Event, Gtrid, Resolver, Shard, Verdict, Xid, sql};
use tokio::task::JoinSet;

use super::asking::{ask, connect, has_schema, insert, lacks, locked_rows, purge};
use super::{Atomic, Forced, Readiness, Sight};
use crate::backend::{Backend, BackendError, Flavor};
use crate::serving::Serving;
use crate::upstream::{Member, Need, Upstream};

/// Time between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// Sweeps between two looks at the servers' settings, and for rows to remove where none were left.
const SWEEPS_PER_ROUND: u64 = 150;
/// Removals of some rows after one sweep: more than a busy service decides in that time.
const PURGES_PER_SWEEP_MAX: usize = 40;
/// A branch that is in doubt for longer is told to the log.
const ALARM_AFTER_MS: u64 = 30_000;

/// Starts the task of a service that commits atomically.
pub fn watch(runtime: &tokio::runtime::Handle, serving: &Arc<Serving>) {
    if let Some(atomic) = &serving.atomic {
        let resolving = Resolving::new(atomic.clone());
        runtime.spawn(resolving.run(Arc::downgrade(serving)));
    }
}

/// A source's primary, and the connection to it.
struct Connection {
    member: Arc<Member>,
    backend: Backend,
}

struct Resolving {
    atomic: Arc<Atomic>,
    resolver: Resolver,
    connections: HashMap<Shard, Connection>,
    began: Instant,
    sweeps: u64,
    alarmed: bool,
    /// Sources that may have more rows to remove.
    purging: HashSet<usize>,
    locked_rows: u64,
}

impl Resolving {
    fn new(atomic: Arc<Atomic>) -> Self {
        let shards: Vec<Shard> = atomic
            .sources
            .iter()
            .map(|name| Shard::named(name))
            .collect();
        Self {
            resolver: Resolver::new(atomic.mesh, shards),
            atomic,
            connections: HashMap::new(),
            began: Instant::now(),
            sweeps: 0,
            alarmed: false,
            purging: HashSet::new(),
            locked_rows: 0,
        }
    }

    async fn run(mut self, serving: Weak<Serving>) {
        loop {
            let Some(now) = serving.upgrade() else { return };
            if now.parts().iter().any(|part| part.upstream.is_retired()) {
                return;
            }
            let upstreams: Vec<Arc<Upstream>> = now
                .parts()
                .iter()
                .map(|part| part.upstream.clone())
                .collect();
            drop(now);
            self.look(&upstreams).await;
            self.sweep(&upstreams).await;
            self.force(&upstreams).await;
            self.mark_finished(&upstreams).await;
            self.purge(&upstreams).await;
            self.count_locks(&upstreams).await;
            self.show();
            let ordered = self.atomic.due.notified();
            let _ = tokio::time::timeout(SWEEP_EVERY, ordered).await;
        }
    }

    fn source(&self, shard: Shard) -> Option<usize> {
        let mut names = self.atomic.sources.iter();
        names.position(|name| Shard::named(name) == shard)
    }

    /// Takes the connection to a shard's primary, or makes one.
    async fn take(&mut self, upstreams: &[Arc<Upstream>], shard: Shard) -> Option<Connection> {
        let upstream = upstreams.get(self.source(shard)?)?;
        let member = upstream.choose(Need::Primary, None, &[], || 0)?.clone();
        if let Some(known) = self.connections.remove(&shard)
            && Arc::ptr_eq(&known.member, &member)
            && known.backend.is_idle()
        {
            return Some(known);
        }
        let backend = connect(&member.pool).await.ok()?;
        Some(Connection { member, backend })
    }

    fn put(&mut self, shard: Shard, connection: Option<Connection>) {
        if let Some(connection) = connection.filter(|c| c.backend.is_idle()) {
            self.connections.insert(shard, connection);
        }
    }

    /// Looks whether servers keep the promise, where that is not known, and now and then again.
    async fn look(&mut self, upstreams: &[Arc<Upstream>]) {
        let again = self.sweeps.is_multiple_of(SWEEPS_PER_ROUND);
        for source in 0..self.atomic.sources.len() {
            let Some(shard) = self.atomic.shard(source) else {
                continue;
            };
            let primary = upstreams
                .get(source)
                .and_then(|upstream| upstream.choose(Need::Primary, None, &[], || 0));
            let known = primary.is_none_or(|primary| {
                let endpoint = primary.endpoint.name.to_string();
                self.atomic.is_ready(source, &endpoint)
            });
            if known && !again {
                continue;
            }
            let Some(mut connection) = self.take(upstreams, shard).await else {
                continue;
            };
            let Ok(found) = readiness_of(&mut connection.backend).await else {
                continue;
            };
            let endpoint = connection.member.endpoint.name.to_string();
            self.put(shard, Some(connection));
            let node = self.atomic.sources.get(source);
            if self.atomic.set_readiness(source, found.clone(), endpoint)
                && let Readiness::Short(shortfalls) = &found
            {
                for shortfall in shortfalls {
                    let remedy = shortfall.remedy();
                    tracing::warn!(node, %shortfall, remedy, "a node cannot take part in atomic commits");
                }
            }
        }
    }

    async fn sweep(&mut self, upstreams: &[Arc<Upstream>]) {
        self.sweeps = self.sweeps.wrapping_add(1);
        let mut asks = self.resolver.sweep();
        while !asks.is_empty() {
            asks = self.ask_all(upstreams, asks).await;
        }
    }

    /// Asks every server its questions, all servers at once; gives the questions that follow.
    async fn ask_all(&mut self, upstreams: &[Arc<Upstream>], asks: Vec<Ask>) -> Vec<Ask> {
        let mut by_shard: HashMap<Shard, Vec<Ask>> = HashMap::new();
        for ask in asks {
            by_shard.entry(ask.shard()).or_default().push(ask);
        }
        let mut running = JoinSet::new();
        for (shard, asks) in by_shard {
            let connection = self.take(upstreams, shard).await;
            running.spawn(ask_one(shard, connection, asks));
        }
        let mut next = Vec::new();
        while let Some(asked) = running.join_next().await {
            let Ok((shard, connection, answers)) = asked else {
                continue;
            };
            self.put(shard, connection);
            for (ask, event) in answers {
                self.note(&ask, &event);
                let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
                next.extend(self.resolver.on(now_ms, &ask, event));
            }
        }
        next
    }

    fn note(&self, ask: &Ask, event: &Event) {
        match (ask, event) {
            (Ask::Finish(shard, xid, verdict), Event::Done) => {
                let node = self.atomic.source_name(*shard);
                tracing::info!(gtrid = %xid.gtrid, node, ?verdict, "a branch that nobody finished is finished");
            }
            (Ask::Holds(shard, gtrid, gtid), Event::Holds(false)) => {
                let node = self.atomic.source_name(*shard);
                tracing::error!(%gtrid, node, gtid, "a server lost its part of a committed transaction");
            }
            _ => {}
        }
    }

    /// Does what operators decided.
    async fn force(&mut self, upstreams: &[Arc<Upstream>]) {
        let forced = std::mem::take(&mut *self.atomic.forced.lock());
        for forced in forced {
            let said = self.force_one(upstreams, forced).await;
            let (gtrid, decision) = (forced.gtrid, forced.decision);
            tracing::warn!(%gtrid, ?decision, said, "an operator's decision on a transaction");
        }
    }

    async fn force_one(&mut self, upstreams: &[Arc<Upstream>], forced: Forced) -> &'static str {
        let home = forced.gtrid.home;
        let verdict = match self.source(home) {
            // Nobody else can decide any more: its home is gone from the configuration.
            None => forced.decision.verdict(),
            Some(_) => {
                let Some(mut connection) = self.take(upstreams, home).await else {
                    return "refused: its home cannot be reached";
                };
                let text = sql::force(&forced.gtrid, forced.decision);
                let inserted = insert(&mut connection.backend, &text).await;
                let verdict = match inserted {
                    Ok(Event::Done) => Some(forced.decision.verdict()),
                    Ok(Event::Error(dbmesh_commit::code::DUP_ENTRY)) => None,
                    _ => return "refused: its home did not take it",
                };
                self.put(home, Some(connection));
                match verdict {
                    Some(verdict) => verdict,
                    None => return "refused: it is decided already, and is being finished so",
                }
            }
        };
        self.tell_all(upstreams, forced.gtrid, verdict).await;
        "done"
    }

    async fn tell_all(&mut self, upstreams: &[Arc<Upstream>], gtrid: Gtrid, verdict: Verdict) {
        let of_it = |(xid, shard): &(Xid, Shard)| {
            (xid.gtrid == gtrid).then_some(Ask::Finish(*shard, *xid, verdict))
        };
        let doubts: Vec<(Xid, Shard)> = self.resolver.doubts(0).map(|d| (d.xid, d.shard)).collect();
        let asks: Vec<Ask> = doubts.iter().filter_map(of_it).collect();
        if !asks.is_empty() {
            self.ask_all(upstreams, asks).await;
        }
    }

    /// Marks the rows of transactions that their coordinators finished.
    async fn mark_finished(&mut self, upstreams: &[Arc<Upstream>]) {
        let finished = std::mem::take(&mut *self.atomic.finished.lock());
        let mut by_home: HashMap<Shard, Vec<Gtrid>> = HashMap::new();
        for gtrid in finished {
            by_home.entry(gtrid.home).or_default().push(gtrid);
        }
        for (home, gtrids) in by_home {
            let Some(mut connection) = self.take(upstreams, home).await else {
                continue;
            };
            for some in gtrids.chunks(sql::ROWS_PER_SWEEP_MAX) {
                let _ = ask(&mut connection.backend, &Ask::Done(home, some.to_vec())).await;
            }
            self.put(home, Some(connection));
        }
    }

    /// Removes old rows: now and then, and as long as there are some. It gives way to the next sweep.
    async fn purge(&mut self, upstreams: &[Arc<Upstream>]) {
        let hours = self.atomic.retention_hours.load(Ordering::Relaxed);
        if self.sweeps % SWEEPS_PER_ROUND == 1 {
            self.purging = (0..upstreams.len()).collect();
        }
        for source in std::mem::take(&mut self.purging) {
            let Some(shard) = self.atomic.shard(source) else {
                continue;
            };
            let Some(mut connection) = self.take(upstreams, shard).await else {
                continue;
            };
            let mut more = true;
            for _ in 0..PURGES_PER_SWEEP_MAX {
                more = purge(&mut connection.backend, hours).await.unwrap_or(false);
                if !more {
                    break;
                }
            }
            if more {
                self.purging.insert(source);
            }
            self.put(shard, Some(connection));
        }
    }

    /// What branches in doubt keep from others.
    async fn count_locks(&mut self, upstreams: &[Arc<Upstream>]) {
        self.locked_rows = 0;
        let shards: HashSet<Shard> = self.resolver.doubts(0).map(|doubt| doubt.shard).collect();
        for shard in shards {
            let Some(mut connection) = self.take(upstreams, shard).await else {
                continue;
            };
            if let Ok(Some(locked)) = locked_rows(&mut connection.backend).await {
                self.locked_rows = self.locked_rows.saturating_add(locked);
            }
            self.put(shard, Some(connection));
        }
    }

    fn show(&mut self) {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let doubts: Vec<_> = self.resolver.doubts(now_ms).collect();
        let oldest = doubts.iter().max_by_key(|doubt| doubt.age_ms);
        let alarm = oldest.filter(|doubt| doubt.age_ms >= ALARM_AFTER_MS);
        if let Some(doubt) = alarm.filter(|_| !self.alarmed) {
            let (gtrid, age_ms, why) = (doubt.xid.gtrid, doubt.age_ms, doubt.why.name());
            let node = self.atomic.source_name(doubt.shard);
            tracing::error!(%gtrid, node, age_ms, why, "a prepared branch holds its locks for long");
        }
        self.alarmed = alarm.is_some();
        *self.atomic.sight.lock() = Sight {
            doubts,
            tally: self.resolver.tally(),
            locked_rows: self.locked_rows,
            torn: self.resolver.torn().copied().collect(),
            sweeps: self.sweeps,
        };
    }
}

async fn ask_one(
    shard: Shard,
    mut connection: Option<Connection>,
    asks: Vec<Ask>,
) -> (Shard, Option<Connection>, Vec<(Ask, Event)>) {
    let mut answers = Vec::with_capacity(asks.len());
    for one in asks {
        let event = match connection.as_mut().filter(|c| c.backend.is_idle()) {
            Some(connection) => ask(&mut connection.backend, &one).await,
            None => Event::Lost,
        };
        answers.push((one, event));
    }
    (shard, connection, answers)
}

/// Looks at a server's settings and rights, and makes the table of decisions where it is missing.
async fn readiness_of(backend: &mut Backend) -> Result<Readiness, BackendError> {
    let mut found = lacks(backend).await?;
    if backend.facts.flavor != Flavor::MariaDb && !has_schema(backend).await? {
        for text in sql::SCHEMA {
            let _ = backend.query(text.as_bytes()).await?;
        }
        if !has_schema(backend).await? {
            found.push(Shortfall::NoSchema);
        }
    }
    Ok(match found.is_empty() {
        true => Readiness::Ready,
        false => Readiness::Short(found),
    })
}
