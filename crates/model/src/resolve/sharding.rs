//! DataShard → `Sharding`.
//!
//! It owns what its parts mean together: nodes, strategies, groups and lists of tables. A DataShard that a service names
//! is resolved against the endpoints of that service; one that none names is checked as far as that goes without them.

mod algorithm;
mod execution;
mod generator;
mod nodes;
mod rule;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::findings::{At, Findings};
use super::kinds::{Kinds, Resource};
use crate::host::Host;
use crate::spec::{self, DataShardSpec};
use crate::suggest::suggest;
use crate::topology::sharding::{Module, ShardedTable, Sharding, Source, Table};
use crate::topology::{Endpoint, Strategy};

/// The DataShard of that name.
pub fn find<'k, 'a>(
    kinds: &'k Kinds<'a>,
    namespace: &str,
    name: &str,
) -> Option<&'k Resource<'a, spec::DataShard>> {
    kinds
        .shards
        .iter()
        .find(|shard| shard.namespace.as_str() == namespace && shard.name.as_str() == name)
}

/// Checks those that no service names, and warns of them.
pub fn check_unused(kinds: &Kinds<'_>, host: &dyn Host, findings: &mut Findings) {
    let used: BTreeSet<(&str, &str)> = kinds.shard_references().collect();
    for shard in &kinds.shards {
        if !used.contains(&(shard.namespace.as_str(), shard.name.as_str())) {
            resolve(shard, None, host, findings);
            let at = At::top(shard.document).field("metadata").field("name");
            findings.warning(
                &at,
                "no service names this DataShard: its tables are not sharded",
            );
        }
    }
}

/// Resolves one against the endpoints of a strategy, or reports everything that is wrong.
pub fn resolve(
    shard: &Resource<'_, spec::DataShard>,
    strategy: Option<&Strategy>,
    host: &dyn Host,
    findings: &mut Findings,
) -> Option<Sharding> {
    let at = At::top(shard.document).field("spec");
    let spec = &shard.content.spec;
    let mut places = Places {
        endpoints: strategy.map(|strategy| strategy.endpoints.as_slice()),
        sources: Vec::new(),
        modules: Modules {
            host,
            known: RefCell::default(),
        },
    };
    let mut sound = true;
    let mut sharded: Vec<ShardedTable> = Vec::new();
    for (index, rule) in spec.rules.iter().enumerate() {
        let at = at.field("rules").item(index);
        match rule::resolve(&at, spec, rule, &mut places, findings) {
            Some(table) => sharded.push(table),
            None => sound = false,
        }
    }
    let used = spec
        .rules
        .iter()
        .flat_map(|rule| rule::algorithm_names(spec, rule));
    warn_unused(&at, spec, &used.collect(), findings);
    sound &= bind(&at, spec, &mut sharded, findings);
    let tables = tables(&at, spec, sharded, &mut places, findings);
    let default_source = match spec.defaults.as_ref().and_then(|d| d.node.as_ref()) {
        Some(node) => {
            let at = at.field("defaults").field("node");
            let source = places.source(&at, node, findings);
            sound &= source.is_some();
            source
        }
        None => None,
    };
    sound &= apart(&at, &places.sources, findings);
    let answers = execution::answers(&at, spec.transactions.as_ref(), findings);
    let retention_hours = execution::retention_hours(&at, spec.transactions.as_ref(), findings);
    let execution = execution::execution(&at, spec.execution.as_ref(), host, findings);
    let (true, Some(tables)) = (sound, tables) else {
        return None;
    };
    if !physically_apart(&at, &tables, &places.sources, findings) {
        return None;
    }
    Some(Sharding {
        name: shard.name.clone(),
        sources: places.sources,
        generates: tables.values().any(generates),
        tables,
        default_source,
        across: execution::across(spec.transactions.as_ref()),
        answers: answers?,
        retention_hours: retention_hours?,
        execution: execution?,
    })
}

/// Whether a table has a generator of keys.
fn generates(table: &Table) -> bool {
    matches!(table, Table::Sharded(table) if table.key_generator.is_some())
}

/// The endpoints there are, and the sources made of them so far.
struct Places<'a> {
    /// None: they are not known.
    endpoints: Option<&'a [Arc<Endpoint>]>,
    sources: Vec<Source>,
    modules: Modules<'a>,
}

/// The modules of algorithms, each read and compiled once.
struct Modules<'a> {
    host: &'a dyn Host,
    /// By the algorithm's name.
    known: RefCell<BTreeMap<String, Result<Arc<Module>, String>>>,
}

impl Places<'_> {
    /// The source that is the endpoint of that name, or a source that is there already.
    fn source(&mut self, at: &At<'_>, name: &str, findings: &mut Findings) -> Option<usize> {
        if let Some(known) = self.sources.iter().position(|source| source.name == name) {
            return Some(known);
        }
        let endpoints = self.members(at, &[name.to_owned()], findings)?;
        Some(self.add(name, endpoints))
    }

    fn add(&mut self, name: &str, endpoints: Vec<Arc<Endpoint>>) -> usize {
        let name = name.to_owned();
        self.sources.push(Source { name, endpoints });
        self.sources.len() - 1
    }

    /// The endpoints of those names.
    fn members(
        &self,
        at: &At<'_>,
        names: &[String],
        findings: &mut Findings,
    ) -> Option<Vec<Arc<Endpoint>>> {
        let Some(endpoints) = self.endpoints else {
            return Some(Vec::new());
        };
        let found = names.iter().map(|name| {
            let found = endpoints
                .iter()
                .find(|endpoint| endpoint.name.as_str() == name);
            if found.is_none() {
                let reason = format!("the service's strategy selects no DatabaseEndpoint `{name}`");
                let near = endpoints.iter().map(|endpoint| endpoint.name.as_str());
                findings.error_with(at, reason, suggest(name, near));
            }
            found.cloned()
        });
        let found: Vec<Option<Arc<Endpoint>>> = found.collect();
        found.into_iter().collect()
    }

    fn is_endpoint(&self, name: &str) -> bool {
        self.endpoints.is_some_and(|endpoints| {
            endpoints
                .iter()
                .any(|endpoint| endpoint.name.as_str() == name)
        })
    }
}

/// What is written to every source would be written twice to a server that is in two of them.
fn apart(at: &At<'_>, sources: &[Source], findings: &mut Findings) -> bool {
    let mut seen: BTreeMap<(String, Option<&str>), &str> = BTreeMap::new();
    let mut sound = true;
    for source in sources {
        for endpoint in &source.endpoints {
            let key = (endpoint.address.to_string(), endpoint.schema.as_deref());
            if let Some(other) = seen.insert(key, &source.name)
                && other != source.name
            {
                let (one, endpoint) = (&source.name, &endpoint.name);
                let reason =
                    format!("`{other}` and `{one}` share the server and schema of `{endpoint}`");
                findings.error(at, reason);
                sound = false;
            }
        }
    }
    sound
}

/// Two tables with one part in common would see each other's rows.
fn physically_apart(
    at: &At<'_>,
    tables: &BTreeMap<String, Table>,
    sources: &[Source],
    findings: &mut Findings,
) -> bool {
    let mut seen: BTreeMap<(usize, String), &str> = BTreeMap::new();
    let mut sound = true;
    for (name, table) in tables {
        let places: Vec<(usize, &str)> = match table {
            Table::Sharded(table) => {
                let shards = table.shards.iter();
                shards
                    .map(|shard| (shard.source, shard.table.as_str()))
                    .collect()
            }
            Table::Single(source) => vec![(*source, name)],
            Table::Broadcast => (0..sources.len())
                .map(|source| (source, name.as_str()))
                .collect(),
        };
        for (source, physical) in places {
            let first = *seen
                .entry((source, physical.to_lowercase()))
                .or_insert(name);
            if first != name {
                let reason = format!("`{first}` and `{name}` both have rows in `{physical}`");
                findings.error(at, reason);
                sound = false;
                break;
            }
        }
    }
    sound
}

/// Algorithms and generators that nothing uses are parsed and do nothing: the operator should know.
fn warn_unused(
    at: &At<'_>,
    spec: &DataShardSpec,
    algorithms: &BTreeSet<&str>,
    findings: &mut Findings,
) {
    for name in spec.algorithms.iter().flatten().map(|(name, _)| name) {
        if !algorithms.contains(name.as_str()) {
            findings.warning(
                &at.field("algorithms").field(name),
                "no strategy uses this algorithm",
            );
        }
    }
    let generators: BTreeSet<&str> = spec
        .rules
        .iter()
        .filter_map(|rule| Some(rule.key_generator.as_ref()?.generator.as_str()))
        .collect();
    for name in spec.key_generators.iter().flatten().map(|(name, _)| name) {
        if !generators.contains(name.as_str()) {
            findings.warning(
                &at.field("keyGenerators").field(name),
                "no rule uses this generator",
            );
        }
    }
}

/// Numbers the binding groups.
fn bind(
    at: &At<'_>,
    spec: &DataShardSpec,
    sharded: &mut [ShardedTable],
    findings: &mut Findings,
) -> bool {
    let mut sound = true;
    for (number, group) in spec.binding_tables.iter().flatten().enumerate() {
        let mut first: Option<usize> = None;
        for (index, name) in group.iter().enumerate() {
            let at = at.field("bindingTables").item(number).item(index);
            let Some(place) = sharded.iter().position(|table| table.name == *name) else {
                // A rule that is wrong is reported where it is.
                if spec.rules.iter().all(|rule| rule.table_name != *name) {
                    let known = spec.rules.iter().map(|rule| rule.table_name.as_str());
                    findings.error_with(
                        &at,
                        format!("no rule shards `{name}`"),
                        suggest(name, known),
                    );
                }
                sound = false;
                continue;
            };
            if let Some(reason) = misfit(sharded, first, place) {
                findings.error(&at, reason);
                sound = false;
            }
            first = first.or(Some(place));
            if let Some(table) = sharded.get_mut(place) {
                table.binding = Some(number);
            }
        }
    }
    sound
}

/// Why the table at `place` cannot be bound to the first one of its group.
fn misfit(sharded: &[ShardedTable], first: Option<usize>, place: usize) -> Option<String> {
    let table = sharded.get(place)?;
    if table.binding.is_some() {
        return Some(format!("`{}` is bound already", table.name));
    }
    let first = sharded.get(first?)?;
    let sources = |table: &ShardedTable| -> Vec<usize> {
        table.shards.iter().map(|shard| shard.source).collect()
    };
    let of = &first.name;
    if sources(table) != sources(first) {
        return Some(format!("its shards are not where those of `{of}` are"));
    }
    let axes = |table: &ShardedTable| {
        let axes = [&table.database, &table.table];
        axes.map(|axis| {
            axis.as_ref().map(|axis| {
                let kinds: Vec<_> = axis.columns.iter().map(|column| column.kind).collect();
                let shards: Vec<_> = axis.targets.iter().map(|t| t.shards.clone()).collect();
                (kinds, rule::comparable(axis, table), shards)
            })
        })
    };
    (axes(table) != axes(first)).then(|| format!("its key or algorithm is not that of `{of}`"))
}

/// All tables by name.
fn tables(
    at: &At<'_>,
    spec: &DataShardSpec,
    sharded: Vec<ShardedTable>,
    places: &mut Places<'_>,
    findings: &mut Findings,
) -> Option<BTreeMap<String, Table>> {
    let mut tables = BTreeMap::new();
    let mut sound = true;
    let mut seen: BTreeMap<String, ()> = BTreeMap::new();
    let mut once = |at: &At<'_>, name: &str, findings: &mut Findings| {
        let fits = !name.is_empty() && name.len() <= 64 && !name.contains(['\0', '/', '\\']);
        if !fits {
            findings.error(at, format!("{name:?} is not a table's name"));
        } else if seen.insert(name.to_lowercase(), ()).is_some() {
            findings.error(at, format!("`{name}` is listed twice"));
        }
    };
    for (index, rule) in spec.rules.iter().enumerate() {
        let at = at.field("rules").item(index).field("tableName");
        once(&at, &rule.table_name, findings);
    }
    for table in sharded {
        tables.insert(table.name.clone(), Table::Sharded(Arc::new(table)));
    }
    for (index, name) in spec.broadcast_tables.iter().flatten().enumerate() {
        once(&at.field("broadcastTables").item(index), name, findings);
        tables.insert(name.clone(), Table::Broadcast);
    }
    for (index, single) in spec.single_tables.iter().flatten().enumerate() {
        let at = at.field("singleTables").item(index);
        once(&at.field("tableName"), &single.table_name, findings);
        match places.source(&at.field("node"), &single.node, findings) {
            Some(source) => {
                tables.insert(single.table_name.clone(), Table::Single(source));
            }
            None => sound = false,
        }
    }
    sound.then_some(tables)
}
