//! Documents → a topology that cannot be wrong, or every defect at once.
//!
//! It owns what fields mean together: defaults, references, selectors, conflicts. The proxy, the
//! command line and every other judge of a configuration call this one function, so they cannot
//! disagree. It never opens a socket. Its input is what `load` read, and the `Host` that documents
//! refer to.

mod access;
mod connection;
mod endpoint;
mod findings;
mod kinds;
mod listener;
mod observability;
mod rules;
mod selector;
mod service;
mod sharding;
mod splitting;
mod steering;
mod strategy;
mod user;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::defect::{Defect, Defects, Severity};
use crate::host::{Host, LocalHost};
use crate::load::{Completeness, Document, Loaded, load};
use crate::topology::{Endpoint, Role, Service, Topology, revision};

use self::endpoint::Candidates;
use self::findings::{At, Findings};
use self::kinds::{Kinds, sort};
use self::service::{Served, Surroundings};
use self::strategy::Strategies;

/// Reads and resolves a file or folder on this machine.
pub fn topology(path: &Path) -> Result<Topology, Defects> {
    resolve(load(path), &LocalHost)
}

/// What a topology is resolved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The proxy serves by it: what it cannot do yet is refused.
    Serve,
    /// Statements are planned and explained by it, and none is executed.
    Plan,
}

/// Resolves what was read, to be served. Warnings go with the topology, or among the defects if there is none.
pub fn resolve(loaded: Loaded, host: &dyn Host) -> Result<Topology, Defects> {
    resolve_for(Purpose::Serve, loaded, host)
}

/// Resolves what was read.
pub fn resolve_for(purpose: Purpose, loaded: Loaded, host: &dyn Host) -> Result<Topology, Defects> {
    let mut findings = Findings::new(loaded.defects);
    let kinds = sort(&loaded.documents, &mut findings);
    let candidates = endpoint::resolve(&kinds, loaded.completeness, host, &mut findings);
    let strategies = strategy::resolve(&kinds, &candidates, host, &mut findings);
    let surroundings = Surroundings {
        strategies: &strategies,
        completeness: loaded.completeness,
        host,
        purpose,
    };
    let served = service::resolve(&kinds, &surroundings, &mut findings);
    listener::check(&served, &mut findings);
    observability::check_files(&served, &mut findings);
    if loaded.completeness == Completeness::Complete {
        sharding::check_unused(&kinds, host, &mut findings);
        check_use(
            &loaded.documents,
            &kinds,
            &candidates,
            &strategies,
            &mut findings,
        );
    }
    finish(served, findings.into_defects())
}

/// Warns about what nothing uses, and about a configuration that serves nothing.
fn check_use(
    documents: &[Document],
    kinds: &Kinds<'_>,
    candidates: &Candidates<'_>,
    strategies: &Strategies,
    findings: &mut Findings,
) {
    for candidate in &candidates.all {
        let at = At::top(candidate.document).field("metadata").field("name");
        let Some(endpoint) = &candidate.endpoint else {
            continue;
        };
        if endpoint.role == Role::Shadow {
            if !strategies.names(endpoint) {
                let reason = "it gets no statements: no strategy names it in `shadow` or `mirror`";
                findings.warning(&at, reason);
            }
        } else if !strategies.selects(endpoint) {
            findings.warning(&at, "no TrafficStrategy selects this endpoint");
        } else if endpoint.role == Role::Replica && !strategies.reads_from(endpoint) {
            let reason =
                "it gets no statements: no strategy that selects it has `readWriteSplitting`";
            findings.warning(&at, reason);
        }
    }
    let used: BTreeSet<(&str, &str)> = kinds.strategy_references().collect();
    for strategy in &kinds.strategies {
        if !used.contains(&(strategy.namespace.as_str(), strategy.name.as_str())) {
            let at = At::top(strategy.document).field("metadata").field("name");
            findings.warning(&at, "no service follows this strategy");
        }
    }
    let declared = documents
        .iter()
        .any(|document| document.kind == "VirtualDatabase");
    if let (false, Some(first)) = (declared, documents.first()) {
        findings.error(
            &At::top(first),
            "there is no VirtualDatabase: nothing to serve",
        );
    }
}

fn finish(served: Vec<Served<'_>>, mut defects: Vec<Defect>) -> Result<Topology, Defects> {
    let order = |d: &Defect| (d.file.clone(), d.line, d.column, d.severity, d.path.clone());
    defects.sort_by_cached_key(order);
    defects.dedup();
    if defects
        .iter()
        .any(|defect| defect.severity == Severity::Error)
    {
        return Err(Defects(defects));
    }
    let mut services: Vec<Arc<Service>> = served
        .into_iter()
        .filter_map(|served| served.service)
        .collect();
    services.sort_by(|a, b| {
        (&a.namespace, &a.database, &a.name).cmp(&(&b.namespace, &b.database, &b.name))
    });
    Ok(Topology {
        revision: revision(&services),
        services,
        warnings: defects,
    })
}

impl Strategies {
    /// Whether some strategy selects the endpoint, as far as is known.
    fn selects(&self, endpoint: &Arc<Endpoint>) -> bool {
        let key = (endpoint.namespace.clone(), endpoint.name.clone());
        self.selected
            .as_ref()
            .is_none_or(|selected| selected.contains(&key))
    }

    /// Whether some strategy uses the endpoint, as far as is known.
    fn names(&self, endpoint: &Arc<Endpoint>) -> bool {
        self.by_name.values().any(|strategy| {
            strategy.as_ref().is_none_or(|strategy| {
                strategy
                    .all_endpoints()
                    .any(|e| e.namespace == endpoint.namespace && e.name == endpoint.name)
            })
        })
    }

    /// Whether some strategy splits reads off and selects the endpoint, as far as is known.
    fn reads_from(&self, endpoint: &Arc<Endpoint>) -> bool {
        self.by_name.values().any(|strategy| {
            strategy.as_ref().is_none_or(|strategy| {
                strategy.splitting.is_some()
                    && strategy
                        .endpoints
                        .iter()
                        .any(|e| e.namespace == endpoint.namespace && e.name == endpoint.name)
            })
        })
    }
}
