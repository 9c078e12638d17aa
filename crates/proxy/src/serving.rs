//! What the process serves now: the services of the current topology with their pools, and how one topology follows
//! another.
//!
//! Owns the upstreams and pools of all services. Pools whose endpoint and policy did not change live on through a reload;
//! changed ones are warmed before use and old ones drain. It must never touch a session: sessions look here at their
//! transaction boundaries. Input: topologies from the source.

mod pools;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dbmesh_model::topology::sharding::{ShardedTable, Table};
use dbmesh_model::topology::{Endpoint, Service, Topology};
use dbmesh_runtime::tls;
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::relay;
use parking_lot::RwLock;

use crate::allowance::{Allowance, Portion};
use crate::atomic::{self, Atomic};
use crate::backend::Flags;
use crate::catalog::Tables;
use crate::firewall::Firewall;
use crate::logins::Logins;
use crate::logs::Logs;
use crate::metrics::ServiceMetrics;
use crate::mirror::Copies;
use crate::monitor;
use crate::outlets::Outlets;
use crate::pool::{Pool, keep};
use crate::registry::Registry;
use crate::rules::Rules;
use crate::spans::Tracer;
use crate::turns::{Lane, Turns};
use crate::upstream::{Ground, Upstream};
use crate::vector::{Charset, Vector};
use pools::Pools;

/// The collation of warm connections: utf8mb4_general_ci, which every server knows.
const WARM_COLLATION: u16 = 45;
/// How long a reload waits for changed pools to be warm.
const WARM_TIMEOUT: Duration = Duration::from_secs(3);

/// One service as the proxy runs it.
#[derive(Debug)]
pub struct Serving {
    /// The service of the topology.
    pub service: Arc<Service>,
    /// Its endpoints.
    pub upstream: Arc<Upstream>,
    /// Copies of its statements.
    pub mirror: Option<Copies>,
    /// What is denied or held back.
    pub rules: Arc<Rules>,
    /// Its allow-list.
    pub firewall: Option<Arc<Firewall>>,
    /// Its audit and its slow log.
    pub logs: Arc<Logs>,
    /// What traces its statements.
    pub tracer: Option<Arc<Tracer>>,
    /// Its counters, the same through reloads.
    pub metrics: Arc<ServiceMetrics>,
    /// Connections per user now, the same through reloads.
    pub logins: Arc<Logins>,
    /// Its turns at the processor, the same through reloads.
    pub lane: Lane,
    /// Its memory for large commands, the same through reloads.
    pub portion: Arc<Portion>,
    /// TLS towards clients.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// DDL seen so far: answers of PREPARE from before it are old.
    pub schema_epoch: Arc<AtomicU64>,
    /// If its tables are split: itself at every source, in their order. Its own upstream is then that of one of them.
    pub sources: Vec<Arc<Serving>>,
    /// If its tables are split: what is known of them.
    pub tables: Option<Arc<Tables>>,
    /// If its transactions commit on all sources or on none: what their sessions share.
    pub atomic: Option<Arc<Atomic>>,
}

/// What clients call the shards of a table.
impl relay::Tables for Serving {
    fn ours(&self, theirs: &str) -> Option<String> {
        let tables = self.service.sharding.as_ref()?.tables.iter();
        let mut sharded = tables.filter_map(|(name, table)| match table {
            Table::Sharded(table) => Some((name, table)),
            _ => None,
        });
        let of = |table: &ShardedTable| table.shards.iter().any(|shard| shard.table == theirs);
        sharded.find_map(|(name, table)| of(table).then(|| name.clone()))
    }
}

impl Serving {
    /// Where it has upstreams: at its sources, if its tables are split.
    #[must_use]
    pub fn parts(self: &Arc<Self>) -> &[Arc<Self>] {
        match self.sources.as_slice() {
            [] => std::slice::from_ref(self),
            sources => sources,
        }
    }

    /// `namespace/database`, the label of metrics.
    #[must_use]
    pub fn database_label(&self) -> String {
        format!("{}/{}", self.service.namespace, self.service.database)
    }
}

/// Everything served under one topology.
#[derive(Debug)]
pub struct Services {
    /// The topology.
    pub topology: Arc<Topology>,
    /// Its services, in its order.
    pub list: Vec<Arc<Serving>>,
    pools: HashMap<u64, Arc<Pool>>,
}

impl Services {
    /// All services, sharded ones once for every source.
    pub fn parts(&self) -> impl Iterator<Item = &Arc<Serving>> {
        self.list.iter().flat_map(Serving::parts)
    }
}

/// The services now, and how to replace them.
#[derive(Debug)]
pub struct Current {
    services: RwLock<Arc<Services>>,
    /// Counts replacements: a session compares one number per transaction.
    epoch: AtomicU64,
    runtime: tokio::runtime::Handle,
    /// The sessions: the monitor tells those at a server that is lost.
    registry: Arc<Registry>,
    /// Where the process stands.
    zone: Option<String>,
    /// Where its services write.
    outlets: Outlets,
    /// What its services share.
    common: Common,
}

/// What all services share, each by its weight.
#[derive(Clone, Debug)]
pub struct Common {
    /// Whose command begins next.
    pub turns: Arc<Turns>,
    /// Memory for large commands.
    pub allowance: Arc<Allowance>,
}

/// What services are made with.
struct Around<'a> {
    registry: &'a Arc<Registry>,
    outlets: &'a Outlets,
    common: &'a Common,
    runtime: &'a tokio::runtime::Handle,
    zone: Option<&'a str>,
}

impl Current {
    /// Begins to serve a topology.
    ///
    /// # Errors
    /// TLS material that cannot be used.
    pub fn start(
        topology: Arc<Topology>,
        runtime: tokio::runtime::Handle,
        zone: Option<String>,
        common: Common,
    ) -> Result<Self, String> {
        let empty = Services {
            topology: topology.clone(),
            list: Vec::new(),
            pools: HashMap::new(),
        };
        let registry = Arc::new(Registry::default());
        let outlets = Outlets::default();
        let around = Around {
            registry: &registry,
            outlets: &outlets,
            common: &common,
            runtime: &runtime,
            zone: zone.as_deref(),
        };
        let (services, fresh) = build(topology, &empty, &around)?;
        for pool in fresh {
            look_after(&runtime, &pool);
        }
        watch_all(&runtime, &services)?;
        common.turns.engage(services.list.len());
        Ok(Self {
            services: RwLock::new(Arc::new(services)),
            epoch: AtomicU64::new(1),
            runtime,
            registry,
            zone,
            outlets,
            common,
        })
    }

    /// The sessions.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Where they write.
    #[must_use]
    pub fn outlets(&self) -> &Outlets {
        &self.outlets
    }

    /// The services now.
    #[must_use]
    pub fn services(&self) -> Arc<Services> {
        self.services.read().clone()
    }

    /// Changes whenever the services do.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The service of this identity now, if it is still served.
    #[must_use]
    pub fn find(&self, like: &Service) -> Option<Arc<Serving>> {
        self.services()
            .list
            .iter()
            .find(|s| same_service(&s.service, like))
            .cloned()
    }

    /// Serves another topology: new pools are warmed first, unchanged ones kept, old ones drain.
    ///
    /// # Errors
    /// TLS material that cannot be used; the old topology is still served.
    pub async fn replace(&self, topology: Arc<Topology>) -> Result<(), String> {
        let before = self.services();
        let around = Around {
            registry: &self.registry,
            outlets: &self.outlets,
            common: &self.common,
            runtime: &self.runtime,
            zone: self.zone.as_deref(),
        };
        let (services, fresh) = build(topology, &before, &around)?;
        let warming = fresh.iter().map(|pool| {
            let pool = pool.clone();
            self.runtime
                .spawn(async move { pool.warm(&warm_vector(pool.endpoint()), warm_flags()).await })
        });
        let warmed: Vec<_> = warming.collect();
        let deadline = Instant::now() + WARM_TIMEOUT;
        for task in warmed {
            let _ = tokio::time::timeout(deadline.saturating_duration_since(Instant::now()), task)
                .await;
        }
        for pool in &fresh {
            look_after(&self.runtime, pool);
        }
        watch_all(&self.runtime, &services)?;
        self.common.turns.engage(services.list.len());
        let kept: Vec<u64> = services.pools.keys().copied().collect();
        *self.services.write() = Arc::new(services);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        for part in before.parts() {
            part.upstream.retire();
        }
        for (key, pool) in &before.pools {
            if !kept.contains(key) {
                self.tell_of_drained(pool);
                pool.retire();
            }
        }
        Ok(())
    }
}

impl Current {
    /// A drained endpoint that has another address now is another server, and serves.
    fn tell_of_drained(&self, before: &Pool) {
        let services = self.services();
        let same = |p: &&Arc<Pool>| {
            let (now, then) = (p.endpoint(), before.endpoint());
            (&now.namespace, &now.name) == (&then.namespace, &then.name)
        };
        let mut now = services.pools.values().filter(same);
        if before.is_draining() && now.any(|pool| !pool.is_draining()) {
            let endpoint = &before.endpoint().name;
            tracing::warn!(%endpoint, "it was draining; with another address it serves again");
        }
    }
}

/// Whether two services are the same one, possibly changed.
#[must_use]
pub fn same_service(a: &Service, b: &Service) -> bool {
    a.namespace == b.namespace && a.database == b.database && a.name == b.name
}

fn watch_all(runtime: &tokio::runtime::Handle, services: &Services) -> Result<(), String> {
    services
        .list
        .iter()
        .for_each(|serving| atomic::resolve(runtime, serving));
    let mut parts = services.parts();
    parts.try_for_each(|serving| monitor::watch(runtime, &serving.upstream))
}

fn look_after(runtime: &tokio::runtime::Handle, pool: &Arc<Pool>) {
    let vector = warm_vector(pool.endpoint());
    let first = pool.clone();
    let (v, weak) = (vector.clone(), Arc::downgrade(pool));
    runtime.spawn(async move {
        first.probe(&v, warm_flags()).await;
        drop(first);
        keep(weak, v, warm_flags()).await;
    });
}

fn warm_vector(endpoint: &Endpoint) -> Arc<Vector> {
    let schema = endpoint.schema.as_deref().map(|s| s.as_bytes().into());
    Arc::new(Vector::fresh(schema, Charset::Handshake(WARM_COLLATION)))
}

/// A zone that nobody can prefer is not passed over in silence.
fn tell_of_zones(topology: &Topology, zone: Option<&str>) {
    let endpoints = topology.endpoints();
    let mut zones = endpoints.iter().filter_map(|e| e.zone.as_deref());
    match zone {
        None if zones.next().is_some() => {
            tracing::warn!(
                "endpoints have a zone, and this proxy was given none (--zone): it prefers nobody"
            );
        }
        Some(zone) if !zones.any(|z| z == zone) => {
            tracing::warn!(
                zone,
                "no endpoint is in the zone of this proxy: it prefers nobody"
            );
        }
        _ => {}
    }
}

/// What most drivers ask for.
fn warm_flags() -> Flags {
    Flags::of(Capabilities(
        Capabilities::MULTI_RESULTS.0 | Capabilities::PS_MULTI_RESULTS.0,
    ))
}

fn build(
    topology: Arc<Topology>,
    before: &Services,
    around: &Around<'_>,
) -> Result<(Services, Vec<Arc<Pool>>), String> {
    tell_of_zones(&topology, around.zone);
    let mut pools = Pools {
        before: &before.pools,
        now: HashMap::new(),
        fresh: Vec::new(),
    };
    let mut list = Vec::new();
    for service in &topology.services {
        let owner = service.label();
        let old = before
            .list
            .iter()
            .find(|s| same_service(&s.service, service));
        list.push(serve(service, &owner, old, around, &mut pools)?);
    }
    Ok((
        Services {
            topology,
            list,
            pools: pools.now,
        },
        pools.fresh,
    ))
}

/// A service, with what it had before.
fn serve(
    service: &Arc<Service>,
    owner: &str,
    old: Option<&Arc<Serving>>,
    around: &Around<'_>,
    pools: &mut Pools<'_>,
) -> Result<Arc<Serving>, String> {
    let strategy = &service.strategy;
    let shadow = strategy.shadow.iter().map(|shadow| &shadow.endpoint);
    let sites = strategy.units.iter().flat_map(|units| &units.sites);
    let away = shadow.chain(sites.filter_map(|site| site.endpoint.as_ref()));
    let away = pools.of_all(owner, service, away, old)?;
    let mirror = match &strategy.mirror {
        Some(mirror) => Some((mirror.clone(), pools.of_mirror(owner, service, mirror)?)),
        None => None,
    };
    let metrics = old.map(|s| s.metrics.clone()).unwrap_or_default();
    // Unchanged TLS keeps its configuration, and with it the sessions that clients can resume.
    let tls = match old.filter(|s| s.service.tls == service.tls) {
        Some(old) => old.tls.clone(),
        None => tls::server_config(&service.tls).map_err(|e| format!("service {owner}: {e}"))?,
    };
    let tracer = around.outlets.tracer(service, around.runtime);
    let mut base = Base {
        service,
        rules: Arc::new(Rules::new(strategy, old.map(|s| &*s.rules))),
        firewall: firewall_of(service, old)?,
        mirror: mirror.map(|(policy, pool)| Copies::new(policy, pool, metrics.clone())),
        metrics,
        logins: old.map(|s| s.logins.clone()).unwrap_or_default(),
        lane: lane_of(service, old, &around.common.turns),
        portion: portion_of(service, old, &around.common.allowance),
        tls,
        schema_epoch: old.map(|s| s.schema_epoch.clone()).unwrap_or_default(),
        tables: service.sharding.as_ref().map(|s| Arc::new(Tables::new(s))),
        logs: Arc::new(around.outlets.files.of(service)?),
        tracer: tracer.map_err(|e| format!("service {owner}: its collector: {e}"))?,
        atomic: Atomic::of(service, old.and_then(|s| s.atomic.as_ref())),
    };
    let Some(sharding) = &service.sharding else {
        let members = pools.of_all(owner, service, strategy.endpoints.iter(), old)?;
        let ground = Ground {
            before: old.map(|s| &*s.upstream),
            registry: around.registry.clone(),
            zone: around.zone,
        };
        let upstream = Upstream::new(service, members, away, ground);
        return Ok(base.serving(Arc::new(upstream), Vec::new()));
    };
    let mut sources = Vec::new();
    for source in &sharding.sources {
        let members = pools.of_all(owner, service, source.endpoints.iter(), old)?;
        let before = old.and_then(|old| at_source(old, &source.name));
        let ground = Ground {
            before: before.map(|part| &*part.upstream),
            registry: around.registry.clone(),
            zone: around.zone,
        };
        let upstream = Upstream::new(service, members, Vec::new(), ground);
        sources.push(base.serving(Arc::new(upstream), Vec::new()));
    }
    let first = sources.get(sharding.default_source.unwrap_or(0));
    let first = first.map(|source| source.upstream.clone());
    let first = first.ok_or_else(|| format!("service {owner}: its DataShard has no source"))?;
    Ok(base.serving(first, sources))
}

/// The turns of a service, with what it had before.
fn lane_of(service: &Service, old: Option<&Arc<Serving>>, turns: &Arc<Turns>) -> Lane {
    let weight = service.isolation.weight;
    match old {
        Some(old) => {
            old.lane.set_weight(weight);
            old.lane.clone()
        }
        None => Lane::new(turns.clone(), weight),
    }
}

/// The memory of a service, with what it had before.
fn portion_of(
    service: &Service,
    old: Option<&Arc<Serving>>,
    allowance: &Arc<Allowance>,
) -> Arc<Portion> {
    let weight = service.isolation.weight;
    match old {
        Some(old) => {
            old.portion.set_weight(weight);
            old.portion.clone()
        }
        None => Portion::new(allowance, weight),
    }
}

/// The firewall of a service, with what it learned before.
fn firewall_of(
    service: &Service,
    old: Option<&Arc<Serving>>,
) -> Result<Option<Arc<Firewall>>, String> {
    let Some(policy) = &service.firewall else {
        return Ok(None);
    };
    let before = old.and_then(|s| s.firewall.as_deref());
    Ok(Some(Arc::new(Firewall::new(policy, before)?)))
}

/// A sharded service at the source of this name.
fn at_source<'a>(serving: &'a Serving, name: &str) -> Option<&'a Arc<Serving>> {
    let sharding = serving.service.sharding.as_ref()?;
    let place = sharding.sources.iter().position(|s| s.name == name)?;
    serving.sources.get(place)
}

/// What a service has at all of its sources.
struct Base<'a> {
    service: &'a Arc<Service>,
    rules: Arc<Rules>,
    firewall: Option<Arc<Firewall>>,
    mirror: Option<Copies>,
    metrics: Arc<ServiceMetrics>,
    logins: Arc<Logins>,
    lane: Lane,
    portion: Arc<Portion>,
    tls: Option<Arc<rustls::ServerConfig>>,
    schema_epoch: Arc<AtomicU64>,
    tables: Option<Arc<Tables>>,
    logs: Arc<Logs>,
    tracer: Option<Arc<Tracer>>,
    atomic: Option<Arc<Atomic>>,
}

impl Base<'_> {
    /// The mirror goes to the first that is made: a sharded service has none.
    fn serving(&mut self, upstream: Arc<Upstream>, sources: Vec<Arc<Serving>>) -> Arc<Serving> {
        Arc::new(Serving {
            service: self.service.clone(),
            upstream,
            rules: self.rules.clone(),
            firewall: self.firewall.clone(),
            mirror: self.mirror.take(),
            metrics: self.metrics.clone(),
            logins: self.logins.clone(),
            lane: self.lane.clone(),
            portion: self.portion.clone(),
            tls: self.tls.clone(),
            schema_epoch: self.schema_epoch.clone(),
            sources,
            tables: self.tables.clone(),
            logs: self.logs.clone(),
            tracer: self.tracer.clone(),
            atomic: self.atomic.clone(),
        })
    }
}
