//! The services of a VirtualDatabase → `Service`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::connection::{self, PemContent};
use super::findings::{At, Findings};
use super::kinds::{self, Kinds, Resource};
use super::strategy::Strategies;
use super::{Purpose, access, observability, sharding, user};
use crate::host::Host;
use crate::load::{Completeness, Document};
use crate::schema::Kind;
use crate::spec::{
    ClientTlsModeSpec, DatabaseMySQL, FairBySpec, IsolationSpec, LimitsSpec, ListenerTlsSpec,
    MultiplexingSpec, PoolSpec, ProxyProtocolSpec, RoutinesSpec, ServiceSpec, VirtualDatabase,
};
use crate::suggest::suggest;
use crate::topology::{
    ADAPTIVE_MIN_DEFAULT, ADAPTIVE_TOLERANCE_PERCENT_DEFAULT, AdaptivePool, ClientTlsMode, FairBy,
    Isolation, Limits, Listen, ListenerTls, LocalInfile, Multiplexing, Network, NetworkError,
    PoolPolicy, Routines, Service, Sharding, Strategy,
};

/// Address that a service listens on when it names none, as the older form has it.
const LISTEN_HOST_DEFAULT: &str = "127.0.0.1";
/// Port that a service listens on when it names none.
const LISTEN_PORT_DEFAULT: u16 = 3306;
/// Longest version in a greeting.
const SERVER_VERSION_BYTES_MAX: usize = 60;

/// A service as written, and as resolved unless it is wrong.
pub struct Served<'a> {
    pub at: At<'a>,
    pub spec: ServiceSpec,
    pub service: Option<Arc<Service>>,
}

/// What a service is resolved against.
pub struct Surroundings<'s> {
    pub strategies: &'s Strategies,
    pub completeness: Completeness,
    pub host: &'s dyn Host,
    pub purpose: Purpose,
}

/// Resolves every service of every virtual database, wrong ones included.
pub fn resolve<'a>(
    kinds: &Kinds<'a>,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings,
) -> Vec<Served<'a>> {
    let mut served = Vec::new();
    for database in &kinds.databases {
        let top = At::top(database.document).field("spec");
        if database.content.spec.database_class_name.is_some() {
            let at = top.field("databaseClassName");
            findings.warning(&at, "databaseClassName does not act yet");
        }
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, spec) in database.content.spec.services.iter().enumerate() {
            let at = top.field("services").item(index);
            let first = *names.entry(spec.name.as_str()).or_insert(index);
            if first != index {
                let reason = format!("duplicate service `{}`, first services[{first}]", spec.name);
                findings.error(&at.field("name"), reason);
            }
            let service = service(&at, database, spec, surroundings, findings);
            let sharding = sharding(&at, kinds, database, spec, surroundings, &service, findings);
            let service = match (service, sharding) {
                (Some(mut service), Some(sharding)) => {
                    service.sharding = sharding;
                    Some(Arc::new(service))
                }
                _ => None,
            };
            served.push(Served {
                at,
                spec: spec.clone(),
                service,
            });
        }
    }
    served
}

fn service(
    at: &At<'_>,
    database: &Resource<'_, VirtualDatabase>,
    spec: &ServiceSpec,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings,
) -> Option<Service> {
    let mysql = &spec.database_mysql;
    let mysql_at = at.field("databaseMySQL");
    warn_of_the_unimplemented(at, spec, findings);
    let name = kinds::name(&at.field("name"), &spec.name, findings);
    let listen = listen(&mysql_at, mysql, findings);
    let users = user::users(at, spec, surroundings.host, findings);
    let schema = connection::schema(&mysql_at.field("db"), mysql.db.as_deref(), findings);
    let version = server_version(&mysql_at, mysql.server_version.as_deref(), findings);
    let tls = listener_tls(
        &at.field("tls"),
        spec.tls.as_ref(),
        surroundings.host,
        findings,
    );
    let pool = pool(at, spec, findings);
    let proxy_networks = proxy_networks(at, spec.proxy_protocol.as_ref(), findings);
    let strategy = strategy(at, database, spec, surroundings, findings);
    let observability = observability::observability(
        &at.field("observability"),
        spec.observability.as_ref(),
        surroundings.host,
        findings,
    );
    Some(Service {
        database: database.name.clone(),
        namespace: database.namespace.clone(),
        name: name?,
        listen: listen?,
        users: users?,
        schema: schema?,
        server_version: version?,
        tls: tls?,
        limits: limits(spec.limits.as_ref()),
        pool: pool?,
        isolation: isolation(spec.isolation.as_ref()),
        proxy_networks: proxy_networks?,
        firewall: access::firewall(spec.firewall.as_ref()),
        compression: connection::compression(spec.compression.as_deref()),
        strategy: strategy?,
        observability: observability?,
        sharding: None,
    })
}

/// The DataShard that the service names, resolved against the endpoints of its strategy.
fn sharding(
    at: &At<'_>,
    kinds: &Kinds<'_>,
    database: &Resource<'_, VirtualDatabase>,
    spec: &ServiceSpec,
    surroundings: &Surroundings<'_>,
    service: &Option<Service>,
    findings: &mut Findings,
) -> Option<Option<Arc<Sharding>>> {
    let Some(name) = &spec.data_shard else {
        return Some(None);
    };
    let at = at.field("dataShard");
    let served = surroundings.purpose == Purpose::Plan || servable(&at, service, findings);
    let namespace = database.namespace.as_str();
    let Some(shard) = sharding::find(kinds, namespace, name) else {
        let broken = |(kind, document): &(Kind, &Document)| {
            *kind == Kind::DataShard && document.namespace == namespace && document.name == *name
        };
        let known = kinds.broken.iter().any(broken);
        if !known && surroundings.completeness == Completeness::Complete {
            let near = kinds
                .shards
                .iter()
                .filter(|s| s.namespace.as_str() == namespace);
            let suggestion = suggest(name, near.map(|shard| shard.name.as_str()));
            let reason = format!("there is no DataShard `{name}` in namespace {namespace}");
            findings.error_with(&at, reason, suggestion);
        }
        return None;
    };
    let strategy = service.as_ref().map(|service| &*service.strategy);
    let resolved = sharding::resolve(shard, strategy, surroundings.host, findings);
    let resolved = resolved.map(|sharding| Some(Arc::new(sharding)));
    resolved.filter(|_| served)
}

/// Whether a service can be served sharded: what would run statements elsewhere than at their shards cannot go with it.
fn servable(at: &At<'_>, service: &Option<Service>, findings: &mut Findings) -> bool {
    let Some(service) = service else {
        return true;
    };
    let strategy = &service.strategy;
    let mut sound = true;
    let others = [
        (strategy.shadow.is_some(), "shadow"),
        (strategy.mirror.is_some(), "mirror"),
        (strategy.units.is_some(), "units"),
    ];
    for (_, name) in others.iter().filter(|(there, _)| *there) {
        let reason = format!("the strategy's `{name}` does not go with sharding yet");
        findings.error(at, reason);
        sound = false;
    }
    if service.schema.is_none() {
        findings.error(
            at,
            "a sharded service needs `databaseMySQL.db`, the schema of its tables",
        );
        sound = false;
    }
    sound
}

fn warn_of_the_unimplemented(at: &At<'_>, spec: &ServiceSpec, findings: &mut Findings) {
    if spec.qos_claim.is_some() {
        findings.warning(&at.field("qosClaim"), "qosClaim does not act yet");
    }
}

/// The strategy that the service names.
fn strategy(
    at: &At<'_>,
    database: &Resource<'_, VirtualDatabase>,
    spec: &ServiceSpec,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings,
) -> Option<Arc<Strategy>> {
    let (name, namespace) = (&spec.traffic_strategy, database.namespace.as_str());
    let by_name = &surroundings.strategies.by_name;
    let found = by_name.get(&(namespace.to_owned(), name.clone()));
    if found.is_none() && surroundings.completeness == Completeness::Complete {
        let near = by_name.keys().filter(|(other, _)| other == namespace);
        let suggestion = suggest(name, near.map(|(_, name)| name.as_str()));
        let reason = format!("there is no TrafficStrategy `{name}` in namespace {namespace}");
        findings.error_with(&at.field("trafficStrategy"), reason, suggestion);
    }
    found.cloned().flatten()
}

fn listen(at: &At<'_>, spec: &DatabaseMySQL, findings: &mut Findings) -> Option<Listen> {
    let unix = match &spec.socket {
        Some(path) => Some(connection::socket(&at.field("socket"), path, findings)?),
        None => None,
    };
    if unix.is_some() && spec.host.is_none() && spec.port.is_none() {
        return Some(Listen { tcp: None, unix });
    }
    let host = spec.host.as_deref().unwrap_or(LISTEN_HOST_DEFAULT);
    let host = connection::host_name(&at.field("host"), host, findings)?;
    Some(Listen {
        tcp: Some((host, spec.port.unwrap_or(LISTEN_PORT_DEFAULT))),
        unix,
    })
}

/// Drivers read the version up to the first byte that is no digit or dot, so it begins with a digit.
fn server_version(
    at: &At<'_>,
    version: Option<&str>,
    findings: &mut Findings,
) -> Option<Option<String>> {
    let Some(version) = version else {
        return Some(None);
    };
    let fits = version.starts_with(|c: char| c.is_ascii_digit())
        && version.len() <= SERVER_VERSION_BYTES_MAX
        && version.bytes().all(|b| b.is_ascii_graphic());
    if !fits {
        let reason = "not a server version: a digit, then letters, digits and signs, 60 at most";
        findings.error_with(
            &at.field("serverVersion"),
            reason,
            "as in `8.0.36`".to_owned(),
        );
        return None;
    }
    Some(Some(version.to_owned()))
}

fn listener_tls(
    at: &At<'_>,
    spec: Option<&ListenerTlsSpec>,
    host: &dyn Host,
    findings: &mut Findings,
) -> Option<ListenerTls> {
    let Some(spec) = spec else {
        return Some(ListenerTls::default());
    };
    let mode = match spec.mode {
        Some(ClientTlsModeSpec::Disabled) => ClientTlsMode::Disabled,
        Some(ClientTlsModeSpec::Preferred) | None => ClientTlsMode::Preferred,
        Some(ClientTlsModeSpec::Required) => ClientTlsMode::Required,
        Some(ClientTlsModeSpec::VerifyClient) => ClientTlsMode::VerifyClient,
    };
    let client_ca = match &spec.client_ca {
        Some(file) if mode == ClientTlsMode::VerifyClient => {
            let at = at.field("clientCa");
            Some(connection::pem_file(
                &at,
                file,
                PemContent::Certificates,
                host,
                findings,
            )?)
        }
        Some(_) => {
            findings.error(
                &at.field("clientCa"),
                "`clientCa` acts only with mode `verifyClient`",
            );
            return None;
        }
        None if mode == ClientTlsMode::VerifyClient => {
            findings.error(at, "mode `verifyClient` needs `clientCa`");
            return None;
        }
        None => None,
    };
    let files = (spec.cert.as_deref(), spec.key.as_deref());
    let identity = connection::identity(at, files, host, findings)?;
    if identity.is_some() && mode == ClientTlsMode::Disabled {
        findings.error(
            &at.field("cert"),
            "`cert` does not act with mode `disabled`",
        );
        return None;
    }
    Some(ListenerTls {
        mode,
        identity,
        client_ca,
    })
}

fn limits(spec: Option<&LimitsSpec>) -> Limits {
    let Some(spec) = spec else {
        return Limits::default();
    };
    let defaults = Limits::default();
    Limits {
        max_connections: spec.max_connections.unwrap_or(defaults.max_connections),
        max_connections_per_user: spec
            .max_connections_per_user
            .unwrap_or(defaults.max_connections_per_user),
        max_connections_per_address: spec
            .max_connections_per_address
            .unwrap_or(defaults.max_connections_per_address),
        handshake_timeout_ms: spec
            .handshake_timeout_ms
            .unwrap_or(defaults.handshake_timeout_ms),
        idle_timeout_ms: spec.idle_timeout_ms.unwrap_or(defaults.idle_timeout_ms),
        max_packet_bytes: spec.max_packet_bytes.unwrap_or(defaults.max_packet_bytes),
        max_prepared_statements: spec
            .max_prepared_statements
            .unwrap_or(defaults.max_prepared_statements),
        queue_wait_ms: spec.queue_wait_ms.unwrap_or(defaults.queue_wait_ms),
        statement_timeout_ms: spec
            .statement_timeout_ms
            .unwrap_or(defaults.statement_timeout_ms),
        login_failures: spec.login_failures.unwrap_or(defaults.login_failures),
        login_lock_ms: spec.login_lock_ms.unwrap_or(defaults.login_lock_ms),
        local_infile: match spec.local_infile {
            Some(true) => LocalInfile::Allow,
            Some(false) => LocalInfile::Refuse,
            None => defaults.local_infile,
        },
    }
}

fn pool(at: &At<'_>, spec: &ServiceSpec, findings: &mut Findings) -> Option<PoolPolicy> {
    let absent = PoolSpec::default();
    let pool = spec.pool.as_ref().unwrap_or(&absent);
    let older = spec.database_mysql.pool_size;
    if let (Some(size), Some(older)) = (pool.size, older)
        && size != older
    {
        let reason = format!("`pool.size` is {size} and `databaseMySQL.poolSize` is {older}");
        let suggestion = "remove one of them".to_owned();
        findings.error_with(&at.field("pool").field("size"), reason, suggestion);
        return None;
    }
    let defaults = PoolPolicy::default();
    let policy = PoolPolicy {
        size: pool.size.or(older).unwrap_or(defaults.size),
        min_idle: pool.min_idle.unwrap_or(defaults.min_idle),
        max_lifetime_ms: pool.max_lifetime_ms.unwrap_or(defaults.max_lifetime_ms),
        idle_timeout_ms: pool.idle_timeout_ms.unwrap_or(defaults.idle_timeout_ms),
        keepalive_ms: pool.keepalive_ms.unwrap_or(defaults.keepalive_ms),
        connect_timeout_ms: pool
            .connect_timeout_ms
            .unwrap_or(defaults.connect_timeout_ms),
        connect_rate_per_second: pool
            .connect_rate_per_second
            .unwrap_or(defaults.connect_rate_per_second),
        multiplexing: match pool.multiplexing {
            Some(MultiplexingSpec::Transaction) | None => Multiplexing::Transaction,
            Some(MultiplexingSpec::Session) => Multiplexing::Session,
        },
        routines: match pool.routines {
            Some(RoutinesSpec::Pin) | None => Routines::Pin,
            Some(RoutinesSpec::Track) => Routines::Track,
        },
        adaptive: None,
    };
    let policy = PoolPolicy {
        adaptive: pool.adaptive.as_ref().map(|spec| AdaptivePool {
            min: spec.min.unwrap_or(ADAPTIVE_MIN_DEFAULT.min(policy.size)),
            tolerance_percent: spec
                .tolerance_percent
                .unwrap_or(ADAPTIVE_TOLERANCE_PERCENT_DEFAULT),
        }),
        ..policy
    };
    if let Some(adaptive) = &policy.adaptive
        && adaptive.min > policy.size
    {
        let reason = format!("`min` is more than the size of the pool, {}", policy.size);
        findings.error(&at.field("pool").field("adaptive").field("min"), reason);
        return None;
    }
    if policy.min_idle > policy.size {
        let reason = format!(
            "`minIdle` is more than the size of the pool, {}",
            policy.size
        );
        findings.error(&at.field("pool").field("minIdle"), reason);
        return None;
    }
    Some(policy)
}

fn isolation(spec: Option<&IsolationSpec>) -> Isolation {
    let defaults = Isolation::default();
    let Some(spec) = spec else {
        return defaults;
    };
    Isolation {
        weight: spec.weight.unwrap_or(defaults.weight),
        fair_by: match spec.fair_by {
            None => defaults.fair_by,
            Some(FairBySpec::User) => FairBy::User,
            Some(FairBySpec::Address) => FairBy::Address,
            Some(FairBySpec::Tenant) => FairBy::Tenant,
            Some(FairBySpec::Nobody) => FairBy::Nobody,
        },
    }
}

fn proxy_networks(
    at: &At<'_>,
    spec: Option<&ProxyProtocolSpec>,
    findings: &mut Findings,
) -> Option<Vec<Network>> {
    let Some(spec) = spec else {
        return Some(Vec::new());
    };
    let at = at.field("proxyProtocol").field("trustedNetworks");
    let parsed: Vec<Option<Network>> = spec
        .trusted_networks
        .iter()
        .enumerate()
        .map(|(index, text)| match text.parse() {
            Ok(network) => Some(network),
            Err(error) => {
                let meant = match &error {
                    NetworkError::HostBits(network) => Some(format!("did you mean `{network}`?")),
                    NetworkError::Address | NetworkError::Prefix => {
                        Some("as in `10.0.0.0/8`".into())
                    }
                };
                let reason = format!("{text:?} is not a network: {error}");
                findings.error_with(&at.item(index), reason, meant);
                None
            }
        })
        .collect();
    parsed.into_iter().collect()
}
