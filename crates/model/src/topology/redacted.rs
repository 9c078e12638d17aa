//! A topology as JSON without any secret, for people, and hashed for the revision.
//!
//! It owns the shape of `/debug/config`. Passwords, password hashes and PEM contents never appear.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde_json::{Value, json};

use super::sharding::{Axis, ShardedTable, Table};
use super::{
    Address, ConcurrencyRule, Credential, DenyRule, Duty, Endpoint, Mirror, PemFile, Service,
    Shadow, ShadowColumn, ShadowRule, Sharding, Site, Splitting, SplittingMatch, SplittingRule,
    Strategy, Topology, Units, User,
};
use crate::secret::REDACTED;

impl Topology {
    /// The topology as JSON: every field but secrets, in the words of the resources.
    pub fn redacted(&self) -> Value {
        json!({
            "revision": format!("{:016x}", self.revision),
            "services": self.services.iter().map(|s| service(s)).collect::<Vec<_>>(),
            "endpoints": self.endpoints().iter().map(|e| endpoint(e)).collect::<Vec<_>>(),
            "warnings": self.warnings,
        })
    }

    /// A hash of everything, secrets included: equal when nothing changed. Comparable only within
    /// one process, and never to be shown.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.revision.hash(&mut hasher);
        for service in &self.services {
            (&service.users, &service.tls).hash(&mut hasher);
            if let Some(splitting) = &service.strategy.splitting {
                splitting.monitor.hash(&mut hasher);
            }
            for endpoint in service.strategy.all_endpoints() {
                endpoint.fingerprint().hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}

/// The revision of a topology of these services: FNV-1a, 64 bits, of its redacted JSON with sorted
/// keys. It is the same on every machine and in every build.
pub(crate) fn revision(services: &[Arc<Service>]) -> u64 {
    let unnumbered = Topology {
        revision: 0,
        services: services.to_vec(),
        warnings: Vec::new(),
    };
    let mut text = String::new();
    canonical(&unnumbered.redacted(), &mut text);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Writes JSON with sorted keys, which serde_json does or not depending on a feature that any crate
/// of the build may switch on. The depth is that of `redacted`, a handful.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(key, _)| key.as_str());
            text.push('{');
            for (key, field) in sorted {
                text.push_str(key);
                text.push(':');
                canonical(field, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn service(service: &Service) -> Value {
    json!({
        "virtualDatabase": service.database,
        "namespace": service.namespace,
        "name": service.name,
        "listen": service.listen,
        "users": service.users.iter().map(user).collect::<Vec<_>>(),
        "schema": service.schema,
        "serverVersion": service.server_version,
        "tls": {
            "mode": service.tls.mode,
            "cert": service.tls.identity.as_ref().map(|(cert, _)| path(cert)),
            "key": service.tls.identity.as_ref().map(|(_, key)| path(key)),
            "clientCa": service.tls.client_ca.as_ref().map(path),
        },
        "limits": service.limits,
        "pool": service.pool,
        "isolation": service.isolation,
        "proxyProtocol": service.proxy_networks,
        "firewall": service.firewall,
        "compression": service.compression,
        "observability": service.observability,
        "strategy": strategy(&service.strategy),
        "sharding": service.sharding.as_ref().map(|s| sharding(s)),
    })
}

fn sharding(sharding: &Sharding) -> Value {
    let source = |place: usize| sharding.sources.get(place).map(|source| &source.name);
    let sources = sharding.sources.iter().map(|source| {
        let endpoints: Vec<_> = source.endpoints.iter().map(|e| &e.name).collect();
        json!({ "name": source.name, "endpoints": endpoints })
    });
    let tables = sharding.tables.iter().map(|(name, table)| {
        let shown = match table {
            Table::Broadcast => json!("broadcast"),
            Table::Single(place) => json!({ "single": source(*place) }),
            Table::Sharded(table) => sharded(table, &source),
        };
        (name.clone(), shown)
    });
    json!({
        "name": sharding.name,
        "sources": sources.collect::<Vec<_>>(),
        "tables": tables.collect::<serde_json::Map<_, _>>(),
        "default": sharding.default_source.and_then(source),
        "acrossNodes": sharding.across,
        "answers": sharding.answers,
        "retentionHours": sharding.retention_hours,
        "execution": sharding.execution,
    })
}

fn sharded<'a>(table: &ShardedTable, source: &dyn Fn(usize) -> Option<&'a String>) -> Value {
    let shards = table.shards.iter().map(|shard| {
        let name = source(shard.source).map_or("", |name| name.as_str());
        format!("{name}.{}", shard.table)
    });
    let axis = |axis: &Axis| {
        let targets: Vec<_> = axis.targets.iter().map(|target| &target.name).collect();
        json!({ "columns": axis.columns, "algorithm": axis.algorithm, "slots": targets })
    };
    json!({
        "shards": shards.collect::<Vec<_>>(),
        "database": table.database.as_ref().map(axis),
        "table": table.table.as_ref().map(axis),
        "binding": table.binding,
        "keyGenerator": table.key_generator,
        "audit": table.audit,
    })
}

fn user(user: &User) -> Value {
    let credential = match user.credential {
        Credential::Plain(_) => "password",
        Credential::Hash(_) => "passwordHash",
    };
    json!({
        "name": user.name,
        credential: REDACTED,
        "rights": *user.rights,
        "operator": user.duty == Duty::Operates,
    })
}

fn strategy(strategy: &Strategy) -> Value {
    let endpoints: Vec<_> = strategy
        .endpoints
        .iter()
        .map(|endpoint| &endpoint.name)
        .collect();
    json!({
        "name": strategy.name,
        "balance": strategy.balance,
        "consistentHash": strategy.hashing,
        "locality": strategy.locality,
        "endpoints": endpoints,
        "circuitBreaks": strategy.deny.iter().map(deny).collect::<Vec<_>>(),
        "concurrencyControls": strategy.concurrency.iter().map(concurrency).collect::<Vec<_>>(),
        "rules": strategy.rules.rules().iter().skip(strategy.deny.len() + strategy.concurrency.len())
            .map(super::rules::shown::rule).collect::<Vec<_>>(),
        "ejection": strategy.ejection,
        "breaker": strategy.breaker,
        "buffer": strategy.buffer,
        "transactionReplay": strategy.transaction_replay,
        "readWriteSplitting": strategy.splitting.as_ref().map(splitting),
        "hints": strategy.hints,
        "shadow": strategy.shadow.as_ref().map(shadow),
        "mirror": strategy.mirror.as_ref().map(mirror),
        "units": strategy.units.as_ref().map(units),
    })
}

fn shadow(shadow: &Shadow) -> Value {
    let rule = |rule: &ShadowRule| {
        json!({
            "name": rule.name,
            "regex": rule.regexes.as_ref().map(|r| r.patterns()),
            "users": rule.users,
            "tags": rule.tags,
            "columns": rule.columns.iter().map(shadow_column).collect::<Vec<_>>(),
        })
    };
    let rules: Vec<Value> = shadow.rules.iter().map(rule).collect();
    json!({ "endpoint": shadow.endpoint.name, "rules": rules })
}

fn shadow_column(column: &ShadowColumn) -> Value {
    json!({
        "column": column.column,
        "operations": column.operations,
        "values": column.values,
        "regex": column.regexes.as_ref().map(|r| r.patterns()),
    })
}

fn mirror(mirror: &Mirror) -> Value {
    json!({
        "endpoint": mirror.endpoint.name,
        "percent": mirror.percent,
        "writes": mirror.writes,
        "maxCopies": mirror.max_copies,
        "connections": mirror.connections,
        "timeoutMs": mirror.timeout_ms,
    })
}

fn units(units: &Units) -> Value {
    let site = |site: &Site| {
        json!({
            "name": site.name,
            "keys": site.keys,
            "ranges": site.ranges,
            "endpoint": site.endpoint.as_ref().map(|e| &e.name),
        })
    };
    json!({
        "site": units.site,
        "sites": units.sites.iter().map(site).collect::<Vec<_>>(),
        "moving": units.moving,
        "foreign": units.foreign,
        "unknownKeys": units.unknown_keys,
        "withoutKey": units.without_key,
        "columns": units.columns,
    })
}

fn splitting(splitting: &Splitting) -> Value {
    let monitor = &splitting.monitor;
    json!({
        "roles": splitting.roles,
        "defaultTarget": splitting.default_target,
        "rules": splitting.rules.iter().map(splitting_rule).collect::<Vec<_>>(),
        "consistency": splitting.consistency,
        "transactionalRead": splitting.transactional_read,
        "catchUpWaitMs": splitting.catch_up_wait_ms,
        "monitor": {
            "user": monitor.account.as_ref().map(|(user, _)| user),
            "connection": monitor.connection,
            "ping": monitor.ping,
            "readOnly": monitor.read_only,
            "lag": monitor.lag,
            "maxReplicationLagMs": monitor.lag_ms_max,
            "heartbeat": monitor.heartbeat,
        },
    })
}

fn splitting_rule(rule: &SplittingRule) -> Value {
    let (regex, target) = match &rule.matches {
        SplittingMatch::Regex(regexes, role) => (Some(regexes.patterns()), Some(role)),
        SplittingMatch::Generic => (None, None),
    };
    json!({ "name": rule.name, "regex": regex, "target": target, "balance": rule.balance })
}

fn deny(rule: &DenyRule) -> Value {
    json!({ "name": rule.name, "regex": rule.regexes.patterns() })
}

fn concurrency(rule: &ConcurrencyRule) -> Value {
    json!({
        "name": rule.name,
        "regex": rule.regexes.patterns(),
        "durationSeconds": rule.window.as_secs(),
        "maxConcurrency": rule.max,
    })
}

fn endpoint(endpoint: &Endpoint) -> Value {
    let address = match &endpoint.address {
        Address::Tcp { host, port } => json!({ "host": host, "port": port }),
        Address::Unix(path) => json!({ "socket": path }),
    };
    json!({
        "name": endpoint.name,
        "namespace": endpoint.namespace,
        "kind": endpoint.kind,
        "address": address,
        "user": endpoint.user,
        "password": if endpoint.password.is_empty() { "" } else { REDACTED },
        "schema": endpoint.schema,
        "role": endpoint.role,
        "weight": endpoint.weight,
        "zone": endpoint.zone,
        "tls": {
            "mode": endpoint.tls.mode,
            "ca": endpoint.tls.ca.as_ref().map(path),
            "cert": endpoint.tls.identity.as_ref().map(|(cert, _)| path(cert)),
            "key": endpoint.tls.identity.as_ref().map(|(_, key)| path(key)),
        },
        "compression": endpoint.compression,
    })
}

fn path(file: &PemFile) -> Value {
    json!(file.path)
}
