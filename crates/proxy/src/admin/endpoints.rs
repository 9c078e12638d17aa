//! How endpoints and services stand: `/debug/endpoints`, `/debug/services`, and their metrics.
//!
//! Owns the words in which operators see them. It must never show a secret. Input: the services now, the sessions.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dbmesh_model::topology::{Role, RoleSource};
use dbmesh_runtime::exposition::{Kind, Text};
use serde_json::{Value, json};

use crate::registry::Registry;
use crate::serving::{Services, Serving};
use crate::standing::{AdminState, Astray, Lag};
use crate::upstream::{Member, Upstream};

/// Sessions listed of an endpoint that drains; what keeps it is seldom many.
const HOLDERS_MAX: usize = 20;

/// Every endpoint of every service.
pub(super) fn endpoints(services: &Services, registry: &Registry) -> Value {
    let all = services.parts().flat_map(|serving| {
        let members = serving.upstream.members.iter();
        members.map(|member| endpoint(serving, member, registry))
    });
    Value::Array(all.collect())
}

/// One endpoint as one service uses it.
pub(crate) fn endpoint(serving: &Serving, member: &Arc<Member>, registry: &Registry) -> Value {
    let (pool, standing) = (&member.pool, &member.pool.standing);
    let gauge = pool.gauge();
    let serves = serving.upstream.serving_role(member);
    let draining = pool.is_draining();
    let mut shown = json!({
        "service": serving.service.label(),
        "namespace": member.endpoint.namespace.as_str(),
        "endpoint": member.endpoint.name.as_str(),
        "address": member.endpoint.address.to_string(),
        "server_version": pool.facts().map(|facts| facts.version.clone()),
        "role": member.endpoint.role,
        "reported_role": standing.role(),
        "serves_as": serves.ok(),
        "serves_not": serves.err().map(|idle| idle.label()),
        "serves_not_because": serves.err().map(|idle| idle.to_string()),
        "admin_state": admin_state(standing.admin_state()),
        "watched": serving.upstream.splitting().is_some(),
        "up": standing.is_up(),
        "fenced": standing.is_fenced(),
        "ejected": pool.health.is_ejected(),
        "connect_failures_in_a_row": pool.health.failures(),
        "breaker": pool.health.breaker.state().label(),
        "breaker_forced": pool.health.breaker.forced().map(|state| state.label()),
        "lag": lag_label(standing.lag()),
        "lag_ms": lag_ms(standing.lag()),
        "last_error": Some(standing.last_error()).filter(|error| !error.is_empty()),
        "weight": member.endpoint.weight,
        "zone": member.endpoint.zone,
        "near": member.near,
        "latency_us": member.latency_ns() / 1_000,
        "outstanding": member.outstanding(),
        "statements": member.statements.load(Ordering::Relaxed),
        "pool": {
            "size": pool.policy().size,
            "limit": gauge.limit,
            "open": gauge.total,
            "idle": gauge.idle,
            "leased": gauge.total.saturating_sub(gauge.idle),
            "held": gauge.held,
            "waiting": gauge.waiting,
            "oldest_wait_ms": gauge.oldest_wait_ms,
        },
    });
    if draining && let Some(fields) = shown.as_object_mut() {
        fields.insert("sessions".to_owned(), holders(member, registry));
    }
    shown
}

/// The sessions that keep connections of an endpoint.
fn holders(member: &Member, registry: &Registry) -> Value {
    let mut found = Vec::new();
    registry.for_each(|session| {
        if found.len() < HOLDERS_MAX && session.is_at(&member.pool) {
            found.push(
                json!({"id": session.id, "user": session.user, "pins": session.pin_labels()}),
            );
        }
    });
    Value::Array(found)
}

fn admin_state(state: AdminState) -> &'static str {
    match state {
        AdminState::Active => "active",
        AdminState::Draining => "draining",
    }
}

fn lag_label(lag: Lag) -> &'static str {
    match lag {
        Lag::Unknown => "unknown",
        Lag::NoReplica => "no_replica",
        Lag::Behind(_) => "behind",
        Lag::Disconnected => "disconnected",
        Lag::Stopped => "stopped",
        Lag::Denied => "denied",
        Lag::Astray(Astray::Minority) => "minority",
        Lag::Astray(Astray::Joining) => "joining",
        Lag::Astray(Astray::Failed) => "failed",
    }
}

fn lag_ms(lag: Lag) -> Option<u64> {
    match lag {
        Lag::Behind(ms) => Some(ms),
        _ => None,
    }
}

/// Every service, with who serves in it.
pub(super) fn services(services: &Services) -> Value {
    services.list.iter().map(service).collect()
}

fn service(serving: &Arc<Serving>) -> Value {
    let upstreams = || serving.parts().iter().map(|part| &part.upstream);
    let in_role = |role: Role| -> Vec<&str> {
        let in_role = upstreams().flat_map(|upstream| {
            let serving = upstream.members.iter();
            serving.filter(move |m| upstream.role_of(m) == Some(role))
        });
        in_role.map(|m| m.endpoint.name.as_str()).collect()
    };
    let upstream = &serving.upstream;
    let sum = |count: fn(&Upstream) -> u64| upstreams().map(|u| count(u)).sum::<u64>();
    let listen = &serving.service.listen;
    let tcp = listen
        .tcp
        .as_ref()
        .map(|(host, port)| format!("{host}:{port}"));
    let unix = listen.unix.as_ref().map(|path| path.display().to_string());
    let splitting = upstream.splitting();
    json!({
        "service": serving.service.label(),
        "listen": tcp.into_iter().chain(unix).collect::<Vec<_>>(),
        "strategy": serving.service.strategy.name.as_str(),
        "primaries": in_role(Role::Primary),
        "replicas": in_role(Role::Replica),
        "endpoints": upstreams().map(|u| u.members.len()).sum::<usize>(),
        "sources": serving.sources.len(),
        "roles": match splitting.map(|s| s.roles) {
            Some(RoleSource::Reported) => "reported",
            Some(RoleSource::Configured) | None => "configured",
        },
        "consistency": splitting.map(|s| s.consistency),
        "sessions": serving.metrics.sessions.load(Ordering::Relaxed),
        "sessions_pinned": serving.metrics.pinned.load(Ordering::Relaxed),
        "statements_waiting_for_primary": sum(|u| u64::from(u.waiting.load(Ordering::Relaxed))),
        "buffer_wait_ms": upstream.buffer().max_wait_ms,
        "primary_changes": sum(|u| u.elections.load(Ordering::Relaxed)),
    })
}

/// The services in which nobody serves as primary.
pub(super) fn without_primary(services: &Services) -> Vec<String> {
    let led = |serving: &Arc<Serving>| serving.parts().iter().all(|p| p.upstream.has_primary());
    let lost = services.list.iter().filter(|serving| !led(serving));
    lost.map(|serving| serving.service.label()).collect()
}

type MemberFamily = (&'static str, &'static str, Kind, fn(&Arc<Member>) -> f64);

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
const MEMBER_FAMILIES: [MemberFamily; 4] = [
    (
        "dbmesh_endpoint_errors_total",
        "Statements that the endpoint answered with an error.",
        Kind::Counter,
        |m| m.errors.load(Ordering::Relaxed) as f64,
    ),
    (
        "dbmesh_endpoint_statements_total",
        "Statements sent to the endpoint.",
        Kind::Counter,
        |m| m.statements.load(Ordering::Relaxed) as f64,
    ),
    (
        "dbmesh_endpoint_outstanding",
        "Statements under way at the endpoint.",
        Kind::Gauge,
        |m| f64::from(m.outstanding()),
    ),
    (
        "dbmesh_endpoint_latency_seconds",
        "Latency of the endpoint as the balancer sees it: rising at once, falling slowly.",
        Kind::Gauge,
        |m| m.latency_ns() as f64 / 1e9,
    ),
];

/// The metrics of endpoints that are not their pools'.
pub(super) fn expose(services: &Services, out: &mut Text) {
    for (name, help, kind, value) in MEMBER_FAMILIES {
        out.family(name, help, kind);
        each(services, |service, _, member| {
            let endpoint = member.endpoint.name.as_str();
            out.sample(
                &[("service", service), ("endpoint", endpoint)],
                value(member),
            );
        });
    }
    out.family(
        "dbmesh_endpoint_duration_seconds",
        "From a statement's sending to the endpoint to the last byte of its answer.",
        Kind::Histogram,
    );
    each(services, |service, _, member| {
        let endpoint = member.endpoint.name.as_str();
        let labels = [("service", service), ("endpoint", endpoint)];
        member.times.expose(&labels, out);
    });
    out.family(
        "dbmesh_endpoint_serves",
        "1 for the role in which the endpoint serves now, 0 for the other.",
        Kind::Gauge,
    );
    each(services, |service, upstream, member| {
        let endpoint = member.endpoint.name.as_str();
        let serves = upstream.role_of(member);
        for (label, role) in [("primary", Role::Primary), ("replica", Role::Replica)] {
            let labels = [
                ("service", service),
                ("endpoint", endpoint),
                ("role", label),
            ];
            out.sample(&labels, f64::from(u8::from(serves == Some(role))));
        }
    });
}

fn each(services: &Services, mut look: impl FnMut(&str, &Upstream, &Arc<Member>)) {
    for serving in services.parts() {
        let service = serving.service.label();
        for member in &serving.upstream.members {
            look(&service, &serving.upstream, member);
        }
    }
}
