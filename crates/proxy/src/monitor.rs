//! Watches the servers of a service whose reads are split off: reachable, primary or replica, how far behind.
//! `monitor/group.rs` and `monitor/lag.rs` have the questions and read the answers.
//!
//! Owns one task and one connection per endpoint, beside the pools. It must never take a server's role on hearsay: every
//! server is asked itself. It ends when its upstream is replaced. Input: the strategy's probes; sessions that suspect something.

mod group;
mod lag;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use dbmesh_model::topology::{Endpoint, Monitor, ProbePolicy, Role, RoleSource};
use dbmesh_wire::command::CommandCode;
use dbmesh_wire::relay::Shape;
use tokio::sync::watch;

use crate::backend::{Backend, BackendError, Cell, Dialer, Flags, Flavor, NamedRow};
use crate::position::Gtids;
use crate::standing::{Lag, Standing};
use crate::upstream::{Member, Seen, Upstream};
use crate::vector::{Charset, Vector};
use group::Membership;
use lag::{heartbeat_lag, heartbeat_sql, status_sql, worst_lag};

/// Time between probes while there is no primary, or something is suspected.
const HASTE: Duration = Duration::from_millis(100);
/// How long haste lasts after a suspicion.
const HASTE_LASTS: Duration = Duration::from_secs(5);
/// The collation of probes: utf8mb4_general_ci, which every server knows.
const COLLATION: u16 = 45;

/// Watches every member until the upstream is gone.
///
/// # Errors
/// TLS material that cannot be used.
pub fn watch(runtime: &tokio::runtime::Handle, upstream: &Arc<Upstream>) -> Result<(), String> {
    let Some(splitting) = upstream.splitting() else {
        return Ok(());
    };
    let mut tasks = Vec::new();
    for member in &upstream.members {
        let dialer = dialer(&member.endpoint, &splitting.monitor)?;
        let probes = Probes::new(dialer, splitting.monitor.clone(), splitting.roles);
        let suspicions = upstream.suspicions();
        tasks.push(probes.run(Arc::downgrade(upstream), Arc::downgrade(member), suspicions));
    }
    for task in tasks {
        runtime.spawn(task);
    }
    Ok(())
}

fn dialer(endpoint: &Arc<Endpoint>, monitor: &Monitor) -> Result<Dialer, String> {
    let mut endpoint = Endpoint::clone(endpoint);
    if let Some((user, password)) = &monitor.account {
        endpoint.user.clone_from(user);
        endpoint.password = password.clone();
        endpoint.schema = None;
    }
    Dialer::new(
        Arc::new(endpoint),
        Duration::from_millis(monitor.connection.timeout_ms),
    )
}

/// Outcomes of one kind of probe in a row.
#[derive(Debug, Default)]
struct Streak {
    good: u32,
    bad: u32,
}

impl Streak {
    /// Notes an outcome; gives a verdict once there are enough of a kind.
    fn note(&mut self, good: bool, policy: ProbePolicy) -> Option<bool> {
        if good {
            self.bad = 0;
            self.good = self.good.saturating_add(1);
            (self.good >= policy.successes).then_some(true)
        } else {
            self.good = 0;
            self.bad = self.bad.saturating_add(1);
            (self.bad >= policy.failures).then_some(false)
        }
    }
}

/// When one kind of probe is due.
#[derive(Debug)]
struct Due(Instant);

impl Due {
    /// Whether it is due now; then the next time is a period on.
    fn now(&mut self, period_ms: u64, hasty: bool) -> bool {
        let now = Instant::now();
        let period = Duration::from_millis(period_ms);
        let period = if hasty { period.min(HASTE) } else { period };
        if now < self.0 && self.0 - now <= period {
            return false;
        }
        self.0 = now + period;
        true
    }
}

/// The probes of one server.
struct Probes {
    dialer: Dialer,
    monitor: Monitor,
    roles: RoleSource,
    backend: Option<Backend>,
    /// What it is to its replication group, as it said last.
    membership: Membership,
    /// It answers, but has not said for long whether it takes writes.
    role_lost: bool,
    reach: Streak,
    writable: Streak,
    role_unknown: Streak,
    lag: Streak,
    connect_due: Due,
    ping_due: Due,
    role_due: Due,
    lag_due: Due,
}

/// Why a probe failed.
enum Failed {
    /// The server answered with an error, and can be asked again.
    Refused(u16, String),
    /// The connection is of no more use.
    Broken(String),
}

impl From<BackendError> for Failed {
    fn from(e: BackendError) -> Self {
        Self::Broken(e.to_string())
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(code, message) => write!(f, "server error {code}: {message}"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

impl Probes {
    fn new(dialer: Dialer, monitor: Monitor, roles: RoleSource) -> Self {
        let now = Instant::now();
        Self {
            dialer,
            monitor,
            roles,
            backend: None,
            membership: Membership::None,
            role_lost: false,
            reach: Streak::default(),
            writable: Streak::default(),
            role_unknown: Streak::default(),
            lag: Streak::default(),
            connect_due: Due(now),
            ping_due: Due(now),
            role_due: Due(now),
            lag_due: Due(now),
        }
    }

    async fn run(
        mut self,
        upstream: Weak<Upstream>,
        member: Weak<Member>,
        mut suspicions: watch::Receiver<u64>,
    ) {
        let mut hasty_until = Instant::now();
        loop {
            let pause = {
                let (Some(upstream), Some(member)) = (upstream.upgrade(), member.upgrade()) else {
                    return;
                };
                if upstream.is_retired() {
                    return;
                }
                let hasty = Instant::now() < hasty_until || !upstream.has_primary();
                let hasty = hasty || self.doubts();
                let seen = match self.round(&upstream, &member, hasty).await {
                    true => Seen::Changed,
                    false => Seen::Same,
                };
                upstream.judge(seen);
                if hasty || self.doubts() {
                    HASTE
                } else {
                    self.until_due()
                }
            };
            match tokio::time::timeout(pause, suspicions.changed()).await {
                Ok(Ok(())) => hasty_until = Instant::now() + HASTE_LASTS,
                Ok(Err(_)) => return,
                Err(_) => {}
            }
        }
    }

    /// Whether probes failed, and not often enough yet for a verdict.
    fn doubts(&self) -> bool {
        let policy = match self.backend {
            Some(_) => self.monitor.ping,
            None => self.monitor.connection,
        };
        (1..policy.failures).contains(&self.reach.bad)
    }

    fn until_due(&self) -> Duration {
        let due = match self.backend {
            Some(_) => self.ping_due.0.min(self.role_due.0).min(self.lag_due.0),
            None => self.connect_due.0,
        };
        let pause = due.saturating_duration_since(Instant::now());
        pause.max(Duration::from_millis(1))
    }

    /// One round of what is due; says whether anything changed for those who choose.
    async fn round(&mut self, upstream: &Upstream, member: &Member, hasty: bool) -> bool {
        let standing = &*member.pool.standing;
        let mut changed = false;
        if self.backend.is_none() {
            if !self
                .connect_due
                .now(self.monitor.connection.period_ms, hasty)
            {
                return false;
            }
            let vector = Arc::new(Vector::fresh(None, Charset::Handshake(COLLATION)));
            let connected = self
                .dialer
                .connect(&vector, Flags::of(dbmesh_wire::Capabilities(0)), None)
                .await;
            let good = connected.is_ok();
            match connected {
                Ok(backend) => self.backend = Some(backend),
                Err(e) => complain(standing, member, "cannot be reached", &e.to_string()),
            }
            changed |= self.reached(upstream, member, good, self.monitor.connection);
        } else if self.ping_due.now(self.monitor.ping.period_ms, hasty) {
            let good = match self.ping().await {
                Ok(()) => true,
                Err(e) => {
                    complain(standing, member, "does not answer", &e.to_string());
                    false
                }
            };
            changed |= self.reached(upstream, member, good, self.monitor.ping);
        }
        if self.backend.is_some() && self.role_due.now(self.monitor.read_only.period_ms, hasty) {
            changed |= self.probe_role(standing, member).await;
        }
        if self.backend.is_some() && self.lag_due.now(self.monitor.lag.period_ms, hasty) {
            changed |= self.probe_lag(standing, member).await;
        }
        changed
    }

    fn reached(
        &mut self,
        upstream: &Upstream,
        member: &Member,
        good: bool,
        policy: ProbePolicy,
    ) -> bool {
        let standing = &member.pool.standing;
        if !good {
            standing.forget_known();
        }
        let Some(up) = self.reach.note(good, policy) else {
            return false;
        };
        if up && self.role_lost {
            return false;
        }
        let changed = standing.set_up(up);
        if changed {
            let endpoint = &member.endpoint.name;
            if up {
                tracing::info!(%endpoint, "up");
            } else {
                tracing::warn!(%endpoint, error = standing.last_error(), "down");
                self.writable = Streak::default();
                upstream.lost(member);
            }
        }
        if up && good {
            standing.set_error("");
        }
        changed
    }

    async fn ping(&mut self) -> Result<(), Failed> {
        let limit = Duration::from_millis(self.monitor.ping.timeout_ms);
        let Some(backend) = &mut self.backend else {
            return Ok(());
        };
        let pinged = tokio::time::timeout(
            limit,
            backend.run(&[CommandCode::Ping as u8], Shape::Single),
        )
        .await;
        match pinged {
            Ok(Ok(Ok(_))) => Ok(()),
            other => {
                self.backend = None;
                Err(match other {
                    Err(_) => Failed::Broken(format!("no answer within {} ms", limit.as_millis())),
                    Ok(Err(e)) => e.into(),
                    Ok(Ok(Err(e))) => Failed::Refused(e.code, e.message),
                    Ok(Ok(Ok(_))) => return Ok(()),
                })
            }
        }
    }

    async fn ask(&mut self, sql: &str, timeout_ms: u64) -> Result<Vec<NamedRow>, Failed> {
        let Some(backend) = &mut self.backend else {
            return Err(Failed::Broken("not connected".into()));
        };
        let limit = Duration::from_millis(timeout_ms);
        let answer = match tokio::time::timeout(limit, backend.query_named(sql.as_bytes())).await {
            Ok(Ok(Ok(rows))) => return Ok(rows),
            Ok(Ok(Err(e))) => return Err(Failed::Refused(e.code, e.message)),
            Ok(Err(e)) => e.into(),
            Err(_) => Failed::Broken(format!("no answer within {timeout_ms} ms")),
        };
        self.backend = None;
        Err(answer)
    }

    async fn probe_role(&mut self, standing: &Standing, member: &Member) -> bool {
        let policy = self.monitor.read_only;
        let answer = match self
            .ask("SELECT @@global.read_only AS ro", policy.timeout_ms)
            .await
        {
            Ok(rows) => self.ask_membership(policy.timeout_ms).await.map(|()| rows),
            Err(e) => Err(e),
        };
        let read_only = match answer {
            Ok(rows) => {
                if self.role_unknown.note(true, policy) == Some(true) {
                    self.role_lost = false;
                }
                let says = cell(rows.first(), "ro")
                    .is_some_and(|v| v != b"0" && !v.eq_ignore_ascii_case(b"OFF"));
                says || !matches!(
                    self.membership,
                    Membership::None | Membership::Member(Role::Primary)
                )
            }
            Err(e) => {
                complain(
                    standing,
                    member,
                    "does not say whether it is read-only",
                    &e.to_string(),
                );
                // A server that cannot say so for long is not trusted with writes.
                self.role_lost |= self.role_unknown.note(false, policy) == Some(false);
                return self.role_lost && standing.set_up(false);
            }
        };
        let role = match (read_only, self.writable.note(!read_only, policy)) {
            // What takes no writes is no primary from the first answer on.
            (true, _) => Role::Replica,
            (false, Some(true)) => Role::Primary,
            (false, _) => return false,
        };
        let changed = standing.set_role(role);
        if changed {
            tracing::info!(endpoint = %member.endpoint.name, ?role, "reports its role");
        }
        changed
    }

    /// Asks what it is to its replication group, if it may be in one.
    async fn ask_membership(&mut self, timeout_ms: u64) -> Result<(), Failed> {
        self.membership = Membership::None;
        let facts = self.backend.as_ref().map(|backend| &backend.facts);
        if !facts.is_some_and(|f| f.flavor == Flavor::MySql && f.version_id >= 80_000) {
            return Ok(());
        }
        match self.ask(group::KNOWS, timeout_ms).await {
            Ok(rows) if cell(rows.first(), "name").is_none_or(<[u8]>::is_empty) => return Ok(()),
            Ok(_) => {}
            Err(Failed::Refused(group::KNOWS_NOT, _)) => return Ok(()),
            Err(e) => return Err(e),
        }
        let rows = self.ask(group::MEMBERS, timeout_ms).await?;
        self.membership = group::membership(&rows);
        Ok(())
    }

    async fn probe_lag(&mut self, standing: &Standing, member: &Member) -> bool {
        let policy = self.monitor.lag;
        let lag = match (self.membership, &self.monitor.heartbeat) {
            (Membership::Astray(why), _) => Lag::Astray(why),
            (_, Some(heartbeat)) => {
                let sql = heartbeat_sql(heartbeat);
                self.ask_lag(&sql, heartbeat_lag, standing, member).await
            }
            (Membership::Member(_), None) => {
                self.ask_lag(group::QUEUE, group::lag, standing, member)
                    .await
            }
            (Membership::None, None) => self.ask_status(standing, member).await,
        };
        // A server that takes no writes and follows nobody gets nothing new while somebody else is the primary.
        let orphaned = |lag| {
            lag == Lag::NoReplica
                && self.roles == RoleSource::Reported
                && standing.role() == Some(Role::Replica)
        };
        let good = match lag {
            Lag::NoReplica => !orphaned(lag),
            Lag::Behind(ms) => ms <= self.monitor.lag_ms_max,
            Lag::Unknown | Lag::Disconnected | Lag::Stopped | Lag::Denied | Lag::Astray(_) => false,
        };
        let stranded = orphaned(lag) || lag == Lag::Disconnected;
        let beats = self.monitor.heartbeat.is_some() && self.membership == Membership::None;
        let stranded = if beats && !good {
            // The heart stands still with the primary: only its own status says whether a replica has all that there was.
            let status = self.ask_status(standing, member).await;
            let replica = standing.last_role() != Some(Role::Primary);
            replica && matches!(status, Lag::Disconnected | Lag::NoReplica)
        } else {
            stranded
        };
        // The first election goes by what everybody has, and begins when the last one's lag is known.
        self.probe_position(standing).await;
        standing.set_lag(lag, stranded);
        match self.lag.note(good, policy) {
            Some(fresh) => standing.set_fresh(fresh),
            None => false,
        }
    }

    async fn ask_status(&mut self, standing: &Standing, member: &Member) -> Lag {
        let sql = status_sql(self.backend.as_ref().map(|backend| &*backend.facts));
        self.ask_lag(sql, worst_lag, standing, member).await
    }

    async fn ask_lag(
        &mut self,
        sql: &str,
        read: fn(&[NamedRow]) -> Lag,
        standing: &Standing,
        member: &Member,
    ) -> Lag {
        match self.ask(sql, self.monitor.lag.timeout_ms).await {
            Ok(rows) => read(&rows),
            Err(Failed::Refused(1227 | 1045 | 1142, message)) => {
                let why = "does not tell its lag: the probe's user needs REPLICATION CLIENT (MariaDB: SLAVE MONITOR), \
                           SELECT on a heartbeat table, SELECT on performance_schema for a group";
                complain(standing, member, why, &message);
                Lag::Denied
            }
            Err(e) => {
                complain(standing, member, "does not tell its lag", &e.to_string());
                Lag::Unknown
            }
        }
    }

    /// The transactions that it has: reads that want no more need not wait.
    async fn probe_position(&mut self, standing: &Standing) {
        let flavor = self.backend.as_ref().map(|b| b.facts.flavor);
        let tracks = self.backend.as_ref().is_some_and(|b| b.facts.tracks_gtids);
        let (Some(flavor), true) = (flavor, tracks) else {
            return;
        };
        let sql = match flavor {
            Flavor::MySql => "SELECT @@global.gtid_executed AS position, @@server_uuid AS own",
            Flavor::MariaDb => {
                "SELECT @@global.gtid_slave_pos AS position, @@global.gtid_binlog_state AS state"
            }
        };
        if let Ok(rows) = self.ask(sql, self.monitor.lag.timeout_ms).await
            && let Some(text) = cell(rows.first(), "position")
        {
            let mut known = Gtids::held();
            if known.note(text, flavor).is_ok() {
                let extent = match flavor {
                    Flavor::MySql => Some(known.clone()),
                    Flavor::MariaDb => {
                        let state = cell(rows.first(), "state").unwrap_or_default();
                        Gtids::by_server(&[text, state]).ok()
                    }
                };
                standing.set_extent(extent);
                standing.set_known(known);
            }
            if let Some(own) = cell(rows.first(), "own") {
                standing.set_own_source(own);
            }
        }
    }
}

fn complain(standing: &Standing, member: &Member, what: &str, why: &str) {
    if standing.set_error(&format!("{what}: {why}")) {
        tracing::warn!(endpoint = %member.endpoint.name, error = why, "{what}");
    }
}

fn cell<'a>(row: Option<&'a NamedRow>, name: &str) -> Option<&'a [u8]> {
    row.and_then(|row| row.get(name)).and_then(Cell::as_deref)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_its_number() {
        let policy = ProbePolicy {
            failures: 2,
            successes: 3,
            ..ProbePolicy::default()
        };
        let mut streak = Streak::default();
        assert_eq!(streak.note(false, policy), None);
        assert_eq!(streak.note(true, policy), None);
        assert_eq!(streak.note(false, policy), None);
        assert_eq!(streak.note(false, policy), Some(false));
        assert_eq!(
            [true, true, true].map(|good| streak.note(good, policy)),
            [None, None, Some(true)]
        );
    }
}
