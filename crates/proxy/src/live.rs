//! What the servers of a configuration are: for `dbmesh check --live`.
//!
//! Owns one look at every endpoint, over a connection of its own: version, role, replication, what an atomic commit needs,
//! the tables of the shards. It must never write anything, nor say a secret. Input: a valid topology.

mod semisync;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dbmesh_model::Topology;
use dbmesh_model::topology::sharding::{AcrossSources, Source, Table};
use dbmesh_model::topology::{Endpoint, Role, Service, Sharding};
use serde_json::{Value, json};

use crate::atomic::{has_schema, lacks};
use crate::backend::{Backend, BackendError, Cell, Dialer, Flags, Flavor, NamedRow};
use crate::vector::{Charset, Vector};

/// How long a connection may take, and each question.
const LIMIT: Duration = Duration::from_secs(10);
/// The collation of the connections: utf8mb4_general_ci, which every server knows.
const COLLATION: u16 = 45;
/// Missing tables that are named; the rest is counted.
const NAMED_MAX: usize = 20;

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The configuration does not work with this server as it is.
    Problem,
    /// It works, and promises less than one may think.
    Note,
}

/// Something that an operator should know of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// How much it matters.
    pub weight: Weight,
    /// What is so.
    pub what: String,
    /// What to do about it; empty where that is plain.
    pub remedy: String,
}

/// One endpoint of one service.
#[derive(Clone, Debug)]
pub struct Looked {
    /// `namespace/database/service`.
    pub service: String,
    /// The endpoint.
    pub endpoint: String,
    /// Where it is.
    pub address: String,
    /// The server's version; none where it was not reached.
    pub version: Option<String>,
    /// Whether it takes no writes.
    pub read_only: Option<bool>,
    /// What it replicates from, and how that stands; none where it is no replica or does not say.
    pub replication: Option<String>,
    /// Tables of shards that should be there, and are.
    pub tables_present: usize,
    /// Those that are not.
    pub tables_missing: Vec<String>,
    /// What there is to say.
    pub remarks: Vec<Remark>,
}

impl Looked {
    /// Whether anything does not work.
    #[must_use]
    pub fn has_problem(&self) -> bool {
        let is_problem = |remark: &Remark| remark.weight == Weight::Problem;
        self.remarks.iter().any(is_problem)
    }

    /// As programs read it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let remark = |remark: &Remark| {
            let weight = match remark.weight {
                Weight::Problem => "problem",
                Weight::Note => "note",
            };
            json!({ "weight": weight, "what": remark.what, "remedy": remark.remedy })
        };
        json!({
            "service": self.service, "endpoint": self.endpoint, "address": self.address,
            "version": self.version, "read_only": self.read_only, "replication": self.replication,
            "tables_present": self.tables_present, "tables_missing": self.tables_missing,
            "remarks": self.remarks.iter().map(remark).collect::<Vec<_>>(),
        })
    }

    fn remark(&mut self, weight: Weight, what: impl Into<String>, remedy: &str) {
        self.remarks.push(Remark {
            weight,
            what: what.into(),
            remedy: remedy.to_owned(),
        });
    }
}

/// Looks at every endpoint of every service, one after the other.
pub async fn look(topology: &Topology) -> Vec<Looked> {
    let mut all = Vec::new();
    for service in &topology.services {
        for endpoint in service.strategy.all_endpoints() {
            all.push(look_at(service, endpoint).await);
        }
    }
    all
}

async fn look_at(service: &Service, endpoint: &Arc<Endpoint>) -> Looked {
    let mut looked = Looked {
        service: service.label(),
        endpoint: endpoint.name.to_string(),
        address: endpoint.address.to_string(),
        version: None,
        read_only: None,
        replication: None,
        tables_present: 0,
        tables_missing: Vec::new(),
        remarks: Vec::new(),
    };
    let mut backend = match connect(endpoint).await {
        Ok(backend) => backend,
        Err(why) => {
            looked.remark(Weight::Problem, format!("cannot be reached: {why}"), "");
            return looked;
        }
    };
    let asking = ask_all(&mut looked, &mut backend, service, endpoint);
    match tokio::time::timeout(LIMIT * 4, asking).await {
        Ok(Ok(())) => backend.quit().await,
        Ok(Err(e)) => looked.remark(Weight::Problem, format!("its connection broke: {e}"), ""),
        Err(_) => looked.remark(Weight::Problem, "it does not answer in time", ""),
    }
    looked
}

async fn connect(endpoint: &Arc<Endpoint>) -> Result<Backend, String> {
    let dialer = Dialer::new(endpoint.clone(), LIMIT)?;
    let schema = endpoint.schema.as_deref().map(|s| Arc::from(s.as_bytes()));
    let vector = Arc::new(Vector::fresh(schema, Charset::Handshake(COLLATION)));
    let none = Flags::of(dbmesh_wire::Capabilities(0));
    let connected = dialer.connect(&vector, none, None).await;
    connected.map_err(|e| e.to_string())
}

async fn ask_all(
    looked: &mut Looked,
    backend: &mut Backend,
    service: &Service,
    endpoint: &Endpoint,
) -> Result<(), BackendError> {
    let rows = backend
        .query(b"SELECT VERSION(), @@GLOBAL.read_only")
        .await?;
    let row = rows
        .unwrap_or_default()
        .into_iter()
        .next()
        .unwrap_or_default();
    looked.version = text(row.first());
    looked.read_only = text(row.get(1)).map(|value| value != "0" && value != "OFF");
    replication(looked, backend).await?;
    if looked.read_only == Some(true)
        && endpoint.role == Role::Primary
        && looked.replication.is_none()
    {
        let what = "it is configured as a primary, takes no writes and replicates from nobody";
        looked.remark(
            Weight::Problem,
            what,
            "SET GLOBAL read_only = OFF, or role: replica",
        );
    }
    let Some(sharding) = &service.sharding else {
        return Ok(());
    };
    tables(looked, backend, sharding, endpoint).await?;
    if sharding.across == AcrossSources::Atomic {
        promise(looked, backend, sharding, endpoint).await?;
    }
    Ok(())
}

async fn replication(looked: &mut Looked, backend: &mut Backend) -> Result<(), BackendError> {
    let (sql, source, threads): (&[u8], _, _) = match backend.facts.flavor {
        Flavor::MariaDb => (
            b"SHOW SLAVE STATUS",
            "master_host",
            ["slave_io_running", "slave_sql_running"],
        ),
        _ => (
            b"SHOW REPLICA STATUS",
            "source_host",
            ["replica_io_running", "replica_sql_running"],
        ),
    };
    let rows = match backend.query_named(sql).await? {
        Ok(rows) => rows,
        Err(e) => {
            let what = format!("its replication cannot be looked at (error {})", e.code);
            let remedy = match backend.facts.flavor {
                Flavor::MariaDb => "GRANT SLAVE MONITOR ON *.* to the account of the endpoint",
                _ => "GRANT REPLICATION CLIENT ON *.* to the account of the endpoint",
            };
            looked.remark(Weight::Note, what, remedy);
            return Ok(());
        }
    };
    for row in rows {
        let cell = |name: &str| named(&row, name);
        let [io, applier] = threads.map(cell);
        let from = cell(source);
        if io != "Yes" || applier != "Yes" {
            let what =
                format!("its replication from {from} stands: receiver {io}, applier {applier}");
            looked.remark(Weight::Problem, what, "look at SHOW REPLICA STATUS there");
        }
        looked.replication = Some(format!("from {from}: receiver {io}, applier {applier}"));
    }
    Ok(())
}

/// Which tables should be at an endpoint, and are not.
async fn tables(
    looked: &mut Looked,
    backend: &mut Backend,
    sharding: &Sharding,
    endpoint: &Endpoint,
) -> Result<(), BackendError> {
    let wanted = wanted(sharding, endpoint);
    let sql =
        b"SELECT LOWER(table_name) FROM information_schema.tables WHERE table_schema = DATABASE()";
    let rows = backend.query(sql).await?.unwrap_or_default();
    let there: BTreeSet<String> = rows.iter().filter_map(|row| text(row.first())).collect();
    let missing = wanted
        .iter()
        .filter(|name| !there.contains(&name.to_lowercase()));
    looked.tables_missing = missing.cloned().collect();
    looked.tables_present = wanted.len() - looked.tables_missing.len();
    if !looked.tables_missing.is_empty() {
        let named: Vec<&str> = looked
            .tables_missing
            .iter()
            .take(NAMED_MAX)
            .map(String::as_str)
            .collect();
        let rest = looked.tables_missing.len() - named.len();
        let more = if rest > 0 {
            format!(" and {rest} more")
        } else {
            String::new()
        };
        let what = format!(
            "tables are missing in its schema: {}{more}",
            named.join(", ")
        );
        looked.remark(
            Weight::Problem,
            what,
            "CREATE TABLE through the mesh makes all shards of a table",
        );
    }
    Ok(())
}

fn wanted(sharding: &Sharding, endpoint: &Endpoint) -> BTreeSet<String> {
    let is_here = |at: usize| {
        let source = sharding.sources.get(at);
        source.is_some_and(|source| source.endpoints.iter().any(|e| e.name == endpoint.name))
    };
    let here = (0..sharding.sources.len()).any(is_here);
    let mut wanted = BTreeSet::new();
    for (name, table) in &sharding.tables {
        match table {
            Table::Sharded(table) => {
                let shards = table.shards.iter().filter(|shard| is_here(shard.source));
                wanted.extend(shards.map(|shard| shard.table.clone()));
            }
            Table::Broadcast if here => drop(wanted.insert(name.clone())),
            Table::Single(at) if is_here(*at) => drop(wanted.insert(name.clone())),
            Table::Broadcast | Table::Single(_) => {}
        }
    }
    wanted
}

/// What an atomic commit needs. A replica needs it as well: it may become the primary.
async fn promise(
    looked: &mut Looked,
    backend: &mut Backend,
    sharding: &Sharding,
    endpoint: &Endpoint,
) -> Result<(), BackendError> {
    for shortfall in lacks(backend).await? {
        let what = format!("it cannot keep an atomic commit: {shortfall}");
        looked.remark(Weight::Problem, what, shortfall.remedy());
    }
    if !has_schema(backend).await? {
        let remedy = "the proxy makes it, if the account has CREATE, SELECT, INSERT, UPDATE, DELETE on _mesh.*";
        looked.remark(
            Weight::Note,
            "the table _mesh.mesh_txn is not there yet",
            remedy,
        );
    }
    let has_it = |source: &&Source| source.endpoints.iter().any(|e| e.name == endpoint.name);
    let others = sharding.sources.iter().find(has_it);
    let others = others.map_or(0, |source| source.endpoints.len().saturating_sub(1));
    if others > 0 && !is_in_group(backend).await? {
        let rows = backend.query(semisync::QUESTION.as_bytes()).await?;
        let rows = rows.unwrap_or_default();
        let values = rows
            .iter()
            .filter_map(|row| Some((text(row.first())?, text(row.get(1))?)))
            .collect();
        for (what, remedy) in semisync::shortfalls(&values, others) {
            looked.remark(Weight::Note, what, &remedy);
        }
    }
    Ok(())
}

/// Whether Group Replication is what replicates it: that loses nothing that a majority has.
async fn is_in_group(backend: &mut Backend) -> Result<bool, BackendError> {
    let sql = b"SELECT COUNT(*) FROM performance_schema.replication_group_members WHERE member_state = 'ONLINE'";
    let rows = backend.query(sql).await?.unwrap_or_default();
    let count = rows.first().and_then(|row| text(row.first()));
    Ok(count.is_some_and(|count| count != "0"))
}

fn text(cell: Option<&Cell>) -> Option<String> {
    let bytes = cell?.as_deref()?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

fn named(row: &NamedRow, name: &str) -> String {
    text(row.get(name)).unwrap_or_else(|| "unknown".to_owned())
}
