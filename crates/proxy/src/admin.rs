//! What the admin page says of the proxy.
//!
//! Owns the content of `/readyz`, `/metrics` and `/debug`. It must never show a secret or a statement's
//! literals. Input: the
//! process, looked at when asked.

mod endpoints;
mod orders;
mod transactions;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dbmesh_runtime::admin::{AdminContent, Answer, Order};
use dbmesh_runtime::exposition::{Kind, Text};
use dbmesh_runtime::source::Source;
use serde_json::{Value, json};

use crate::insight::Question;
use crate::metrics::{Labelled, expose};
use crate::pool::Pool;
use crate::process::Process;
use crate::serving::Services;
use crate::upstream::{Member, Upstream};

pub(crate) use endpoints::endpoint;

/// The admin page's content.
pub struct Pages {
    process: Arc<Process>,
    source: Source,
    draining: AtomicBool,
}

impl Pages {
    /// Over this process and its configuration.
    #[must_use]
    pub fn new(process: Arc<Process>, source: Source) -> Self {
        Self {
            process,
            source,
            draining: AtomicBool::new(false),
        }
    }

    /// The configuration's source.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The process drains from now on.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    fn members(&self) -> Vec<(String, Arc<Member>)> {
        let mut all = Vec::new();
        for serving in self.process.current.services().parts() {
            let service = serving.service.label();
            let upstream = &serving.upstream;
            for member in upstream.members.iter().chain(&upstream.away) {
                all.push((service.clone(), member.clone()));
            }
        }
        all
    }

    fn pools(&self) -> Value {
        let pools = self.members().into_iter().map(|(service, member)| {
            let pool = &member.pool;
            let gauge = pool.gauge();
            let facts = pool.facts();
            json!({
                "service": service,
                "endpoint": member.endpoint.name.as_str(),
                "address": member.endpoint.address.to_string(),
                "role": member.endpoint.role,
                "server_version": facts.map(|f| f.version.clone()),
                "size": pool.policy().size,
                "limit": gauge.limit,
                "open": gauge.total,
                "idle": gauge.idle,
                "held": gauge.held,
                "waiting": gauge.waiting,
                "oldest_wait_ms": gauge.oldest_wait_ms,
                "ejected": pool.health.is_ejected(),
                "connect_failures_in_a_row": pool.health.failures(),
                "latency_us": member.latency_ns() / 1000,
                "statements": member.statements.load(Ordering::Relaxed),
            })
        });
        Value::Array(pools.collect())
    }

    fn digests(&self, query: &str) -> Value {
        let unix_ms = |ms| self.process.unix_ms(ms);
        match Question::of_query(query) {
            Ok(question) => self.process.insight.to_json(&question, unix_ms),
            Err(why) => json!({ "error": why }),
        }
    }

    fn sessions(&self) -> Value {
        let mut sessions = Vec::new();
        self.process
            .registry
            .for_each(|handle| sessions.push(handle.to_json()));
        Value::Array(sessions)
    }
}

impl AdminContent for Pages {
    fn ready(&self) -> (bool, Value) {
        let draining = self.draining.load(Ordering::Acquire);
        let detail = json!({
            "ready": !draining,
            "draining": draining,
            "sessions": self.process.registry.len(),
            "services_without_primary": endpoints::without_primary(&self.process.current.services()),
            "configuration": self.source.status().json(),
        });
        (!draining, detail)
    }

    fn metrics(&self, out: &mut Text) {
        let services = self.process.current.services();
        let labelled: Vec<Labelled<'_>> = services
            .list
            .iter()
            .map(|s| Labelled {
                database: s.database_label(),
                service: s.service.name.to_string(),
                metrics: &s.metrics,
            })
            .collect();
        expose(&labelled, out);
        expose_upstreams(&services, out);
        expose_pools(&self.members(), out);
        endpoints::expose(&services, out);
        self.process.insight.metrics(out);
        self.process.current.outlets().metrics(out);
        transactions::expose(&services, out);
        self.process.allowance.expose(out);
        self.process.replays.expose(out);
        let lanes = services.list.iter().map(|s| (s.service.label(), &s.lane));
        crate::turns::expose(lanes, out);
        let rules = services.list.iter().map(|s| (s.service.label(), &*s.rules));
        crate::rules::expose(rules, out);
        let walled = services.list.iter().filter_map(|s| {
            let firewall = s.firewall.as_deref()?;
            Some((s.service.label(), firewall))
        });
        crate::firewall::expose(walled, out);
        crate::plans::expose(&services, out);
        crate::scatter::expose(&self.process.merging, out);
        self.process.memory.expose(out);
        self.source.status().metrics(out);
        workers(out);
        dbmesh_runtime::process::metrics(out);
    }

    fn debug(&self, page: &str, query: &str) -> Option<Value> {
        match page {
            "digests" => Some(self.digests(query)),
            "config" => Some(self.process.current.services().topology.redacted()),
            "sessions" => Some(self.sessions()),
            "pools" => Some(self.pools()),
            "endpoints" => {
                let services = self.process.current.services();
                Some(endpoints::endpoints(&services, &self.process.registry))
            }
            "rules" => Some(rules(&self.process.current.services())),
            "transactions" => Some(transactions::listing(&self.process.current.services())),
            "services" => Some(endpoints::services(&self.process.current.services())),
            _ => None,
        }
    }

    fn act(&self, order: &Order<'_>) -> Answer {
        transactions::act(&self.process, order).unwrap_or_else(|| orders::act(&self.process, order))
    }

    fn orders(&self) -> &'static [&'static str] {
        &orders::PATHS
    }

    fn debug_pages(&self) -> &'static [&'static str] {
        &[
            "config",
            "services",
            "endpoints",
            "pools",
            "rules",
            "sessions",
            "digests",
            "transactions",
        ]
    }
}

/// How busy the threads are that serve sessions: an autoscaler's best sign.
#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
fn workers(out: &mut Text) {
    let metrics = tokio::runtime::Handle::current().metrics();
    out.family(
        "dbmesh_worker_busy_seconds_total",
        "Time that a worker thread was busy.",
        Kind::Counter,
    );
    for worker in 0..metrics.num_workers() {
        let busy = metrics.worker_total_busy_duration(worker);
        out.sample(&[("worker", &worker.to_string())], busy.as_secs_f64());
    }
    out.family("dbmesh_workers", "Worker threads.", Kind::Gauge);
    out.sample(&[], metrics.num_workers() as f64);
    out.family("dbmesh_tasks", "Tasks of the process.", Kind::Gauge);
    out.sample(&[], metrics.num_alive_tasks() as f64);
}

/// The rules of every service, with what they did.
fn rules(services: &Services) -> Value {
    let mut all = Vec::new();
    for serving in &services.list {
        for mut rule in serving.rules.listing() {
            if let Some(fields) = rule.as_object_mut() {
                fields.insert("service".to_owned(), serving.service.label().into());
            }
            all.push(rule);
        }
    }
    Value::Array(all)
}

type PoolValue = fn(&Pool) -> f64;

/// Name, help, kind and value of each metric of a pool.
#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
const POOL_FAMILIES: [(&str, &str, Kind, PoolValue); 25] = [
    (
        "dbmesh_pool_size",
        "Most connections to the endpoint.",
        Kind::Gauge,
        |p| f64::from(p.policy().size),
    ),
    (
        "dbmesh_pool_limit",
        "Connections that may be leased at a time now: fewer than its size if an adaptive pool holds back.",
        Kind::Gauge,
        |p| f64::from(p.gauge().limit),
    ),
    (
        "dbmesh_pool_unloaded_latency_seconds",
        "Latency of the endpoint without load, as an adaptive pool sees it; 0 where it is not known.",
        Kind::Gauge,
        |p| p.unloaded().map_or(0.0, |latency| latency.as_secs_f64()),
    ),
    (
        "dbmesh_pool_open",
        "Connections open or being opened.",
        Kind::Gauge,
        |p| f64::from(p.gauge().total),
    ),
    (
        "dbmesh_pool_idle",
        "Connections not leased.",
        Kind::Gauge,
        |p| f64::from(p.gauge().idle),
    ),
    (
        "dbmesh_pool_held",
        "Connections leased that are given back when asked.",
        Kind::Gauge,
        |p| f64::from(p.gauge().held),
    ),
    (
        "dbmesh_pool_waiting",
        "Sessions waiting for a connection.",
        Kind::Gauge,
        |p| f64::from(p.gauge().waiting),
    ),
    (
        "dbmesh_pool_oldest_wait_seconds",
        "How long somebody has waited for a connection at most.",
        Kind::Gauge,
        |p| p.gauge().oldest_wait_ms as f64 / 1e3,
    ),
    (
        "dbmesh_pool_opened_total",
        "Connections opened.",
        Kind::Counter,
        |p| p.counters.opened.load(Ordering::Relaxed) as f64,
    ),
    (
        "dbmesh_pool_closed_total",
        "Connections closed.",
        Kind::Counter,
        |p| p.counters.closed.load(Ordering::Relaxed) as f64,
    ),
    (
        "dbmesh_pool_connect_failures_total",
        "Attempts to connect that failed.",
        Kind::Counter,
        |p| p.counters.connect_failures.load(Ordering::Relaxed) as f64,
    ),
    (
        "dbmesh_pool_waits_total",
        "Leases that had to wait.",
        Kind::Counter,
        |p| p.counters.waits.load(Ordering::Relaxed) as f64,
    ),
    (
        "dbmesh_pool_wait_seconds_total",
        "Time waited for connections.",
        Kind::Counter,
        |p| p.counters.wait_us.load(Ordering::Relaxed) as f64 / 1e6,
    ),
    (
        "dbmesh_pool_wait_timeouts_total",
        "Waits that ran into their deadline.",
        Kind::Counter,
        |p| p.counters.wait_timeouts.load(Ordering::Relaxed) as f64,
    ),
    (
        "dbmesh_pool_state_changes_total",
        "Connections whose state was changed for a session.",
        Kind::Counter,
        |p| p.counters.state_changes.load(Ordering::Relaxed) as f64,
    ),
    (
        "dbmesh_pool_resets_total",
        "Connections reset when their session let go.",
        Kind::Counter,
        |p| p.counters.resets.load(Ordering::Relaxed) as f64,
    ),
    (
        "dbmesh_endpoint_ejected",
        "1 while the endpoint is left alone.",
        Kind::Gauge,
        |p| f64::from(u8::from(p.health.is_ejected())),
    ),
    (
        "dbmesh_endpoint_ejections_total",
        "Times the endpoint was ejected.",
        Kind::Counter,
        |p| p.health.ejections.load(Ordering::Relaxed) as f64,
    ),
    (
        "dbmesh_endpoint_breaker_state",
        "Of the endpoint's breaker: 0 closed, 1 open, 2 half open.",
        Kind::Gauge,
        |p| f64::from(p.health.breaker.state() as u8),
    ),
    (
        "dbmesh_endpoint_breaker_opened_total",
        "Times that the endpoint's breaker opened.",
        Kind::Counter,
        |p| p.health.breaker.opened.load(Ordering::Relaxed) as f64,
    ),
    (
        "dbmesh_endpoint_up",
        "1 while the monitor reaches the endpoint, or does not watch it.",
        Kind::Gauge,
        |p| f64::from(u8::from(p.standing.is_up())),
    ),
    (
        "dbmesh_endpoint_fenced",
        "1 while the endpoint is kept from traffic as a second primary.",
        Kind::Gauge,
        |p| f64::from(u8::from(p.standing.is_fenced())),
    ),
    (
        "dbmesh_endpoint_draining",
        "1 while an operator keeps the endpoint from new statements.",
        Kind::Gauge,
        |p| f64::from(u8::from(p.is_draining())),
    ),
    (
        "dbmesh_endpoint_replication_lag_seconds",
        "How far the replica is behind; -1 when that is not known.",
        Kind::Gauge,
        |p| p.standing.lag().seconds(),
    ),
    (
        "dbmesh_endpoint_known",
        "1 once a connection was made.",
        Kind::Gauge,
        |p| f64::from(u8::from(p.facts().is_some())),
    ),
];

type UpstreamFamily = (&'static str, &'static str, Kind, fn(&Upstream) -> f64);

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
const UPSTREAM_FAMILIES: [UpstreamFamily; 3] = [
    (
        "dbmesh_statements_waiting_for_primary",
        "Statements that wait for a primary.",
        Kind::Gauge,
        |u| f64::from(u.waiting.load(Ordering::Relaxed)),
    ),
    (
        "dbmesh_primary_changes_total",
        "Times that another server became the primary, or none was one.",
        Kind::Counter,
        |u| u.elections.load(Ordering::Relaxed) as f64,
    ),
    (
        "dbmesh_reads_turned_to_primary_total",
        "Reads meant for a replica that went to the primary, because no replica was fresh enough.",
        Kind::Counter,
        |u| u.turned_fresh.load(Ordering::Relaxed) as f64,
    ),
];

fn expose_upstreams(services: &Services, out: &mut Text) {
    out.family(
        "dbmesh_mirror_copies",
        "Copies of statements that wait or run.",
        Kind::Gauge,
    );
    for serving in &services.list {
        let service = format!("{}/{}", serving.database_label(), serving.service.name);
        let copies = serving.mirror.as_ref().map_or(0, |m| m.under_way());
        out.sample(&[("service", &service)], f64::from(copies));
    }
    for (name, help, kind, value) in UPSTREAM_FAMILIES {
        out.family(name, help, kind);
        for serving in &services.list {
            let service = serving.service.label();
            let values = serving.parts().iter().map(|part| value(&part.upstream));
            out.sample(&[("service", &service)], values.sum());
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
fn expose_pools(members: &[(String, Arc<Member>)], out: &mut Text) {
    for (name, help, kind, value) in POOL_FAMILIES {
        out.family(name, help, kind);
        for (service, member) in members {
            out.sample(
                &[
                    ("service", service),
                    ("endpoint", member.endpoint.name.as_str()),
                ],
                value(&member.pool),
            );
        }
    }
}
