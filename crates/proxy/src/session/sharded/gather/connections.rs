//! The connections of a gather, and the states in which each of its steps runs.
//!
//! Owns the way from the session's state to the one of a step and back. Definitions are read and rows written under a
//! known sql_mode and in UTC; conditions are evaluated under the session's own. Must never give a connection on whose state
//! is not the session's, nor lock rows that a query would not. Dropped, it closes those it still has.

use std::collections::BTreeMap;
use std::sync::Arc;

use dbmesh_plan::shard::Pull;
use dbmesh_plan::shard::gather::ScratchTable;
use dbmesh_sql::literal;
use dbmesh_wire::relay::Shape;

use super::super::super::Failure;
use crate::backend::{Applied, Backend, BackendError, Cell, Flavor, ServerError};
use crate::fault::Fault;
use crate::pool::Lease;
use crate::upstream::Member;
use crate::vector::Vector;

/// Every value is taken as it was stored, and backslash escapes.
const LOADING_MODE: &str = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES";
/// Modes that refuse values, or change them while they are stored.
const REFUSING_MODES: [&str; 7] = [
    "STRICT_TRANS_TABLES",
    "STRICT_ALL_TABLES",
    "NO_ZERO_DATE",
    "NO_ZERO_IN_DATE",
    "ERROR_FOR_DIVISION_BY_ZERO",
    "TRADITIONAL",
    "TIME_ROUND_FRACTIONAL",
];

/// The level at which INSERT … SELECT locks nothing, and sees what is not committed. At the level above it locks nothing
/// either; as a transaction of its own it then reads what any query of its own reads. From there on, it locks what it reads.
const READS_ALL: &str = "READ-UNCOMMITTED";
/// With it, servers refuse to write at such levels.
const LOGS_STATEMENTS: &str = "STATEMENT";

/// How definitions are shown, and which warnings are heard of.
const TELLING: [&str; 8] = [
    "default_collation_for_utf8mb4",
    "max_error_count",
    "max_join_size",
    "show_create_table_skip_secondary_engine",
    "show_create_table_verbosity",
    "show_old_temporals",
    "sql_notes",
    "sql_quote_show_create",
];

/// A connection to a source, for the time of the gather.
pub(super) struct Held {
    pub lease: Lease,
    pub member: Option<Arc<Member>>,
}

/// All of them.
pub(super) struct Connections {
    home: usize,
    held: BTreeMap<usize, Held>,
    /// The session's state on each.
    own: BTreeMap<usize, Arc<Vector>>,
}

impl Connections {
    pub fn new(home: usize, mut held: BTreeMap<usize, Held>) -> Result<Self, Failure> {
        let mut own = BTreeMap::new();
        for (source, held) in &mut held {
            let backend = held.lease.backend().map_err(broken)?;
            own.insert(*source, backend.vector.clone());
        }
        Ok(Self { home, held, own })
    }

    fn backend(&mut self, source: usize) -> Result<&mut Backend, Failure> {
        match self.held.get_mut(&source) {
            Some(held) => held.lease.backend().map_err(broken),
            None => Err(Fault::NoEndpoint("the connection is gone".into()).into()),
        }
    }

    /// The connections that rows come from, by source, and the one they go to.
    pub fn apart(&mut self) -> Result<(BTreeMap<usize, &mut Backend>, &mut Backend), Failure> {
        let (mut sources, mut home) = (BTreeMap::new(), None);
        for (source, held) in &mut self.held {
            let backend = held.lease.backend().map_err(broken)?;
            match *source == self.home {
                true => home = Some(backend),
                false => drop(sources.insert(*source, backend)),
            }
        }
        let home = home.ok_or_else(|| Fault::NoEndpoint("the connection is gone".into()))?;
        Ok((sources, home))
    }

    /// Brings a connection to the session's state with changes.
    async fn change(
        &mut self,
        source: usize,
        change: impl FnOnce(&mut Vector),
    ) -> Result<(), Failure> {
        let Some(own) = self.own.get(&source) else {
            return Ok(());
        };
        let mut vector = Vector::clone(own);
        vector.unbind();
        for own_joins in ["max_join_size", "sql_big_selects"] {
            vector.variables.remove(own_joins);
        }
        change(&mut vector);
        vector.rehash();
        self.apply(source, Arc::new(vector)).await
    }

    async fn apply(&mut self, source: usize, vector: Arc<Vector>) -> Result<(), Failure> {
        let backend = self.backend(source)?;
        match backend.apply(&vector).await.map_err(broken)? {
            Ok(Applied::Done) => Ok(()),
            Ok(_) => {
                let what = "the session's state did not come back".to_owned();
                Err(broken(BackendError::Protocol(what)))
            }
            Err(e) => Err(refused(e)),
        }
    }

    /// Creates the temporary tables.
    pub async fn create(&mut self, pulls: &[Pull]) -> Result<Vec<ScratchTable>, Failure> {
        let mut asked: Vec<usize> = pulls.iter().map(|pull| pull.like.source).collect();
        asked.push(self.home);
        asked.sort_unstable();
        asked.dedup();
        for source in asked {
            self.change(source, loading).await?;
        }
        let mut tables = Vec::new();
        for pull in pulls {
            let mut sql = b"SHOW CREATE TABLE ".to_vec();
            sql.extend(literal::quote_identifier(pull.like.table.as_bytes()));
            let backend = self.backend(pull.like.source)?;
            let rows = backend
                .query(&sql)
                .await
                .map_err(broken)?
                .map_err(refused)?;
            let shown = rows.first().and_then(|row| row.get(1)?.as_deref());
            let shown = shown.unwrap_or_default();
            let table = ScratchTable::of(shown, &pull.scratch, pull.columns.as_ref());
            let Some(table) = table else {
                let why = format!(
                    "rows of {} cannot be put in one place: it is no plain table",
                    pull.table
                );
                return Err(Fault::Sharding(why).into());
            };
            run(self.backend(self.home)?, &table.create).await?;
            tables.push(table);
        }
        Ok(tables)
    }

    /// Conditions are evaluated from here on.
    pub async fn begin_copying(&mut self) -> Result<(), Failure> {
        let others: Vec<usize> = self.held.keys().copied().collect();
        for source in others {
            self.change(source, |_| {}).await?;
        }
        let backend = self.backend(self.home)?;
        let level = match backend.facts.flavor {
            Flavor::MySql => "transaction_isolation",
            Flavor::MariaDb => "tx_isolation",
        };
        let sql = format!("SELECT @@sql_mode, @@{level}, @@binlog_format");
        let rows = backend.query(sql.as_bytes()).await.map_err(broken)?;
        let rows = rows.map_err(refused)?;
        let cell = |place: usize| {
            let cell = rows.first().and_then(|row| row.get(place)?.as_deref());
            String::from_utf8_lossy(cell.unwrap_or_default())
        };
        let mode = cell(0);
        let kept = mode
            .split(',')
            .filter(|mode| !REFUSING_MODES.contains(mode) && !mode.is_empty());
        let kept: Vec<&str> = kept.chain(LOADING_MODE.split(',')).collect();
        let mode = kept.join(",");
        let locks = cell(1) != READS_ALL && cell(2) != LOGS_STATEMENTS;
        let copying = |vector: &mut Vector| {
            vector.note_variable("sql_mode", mode.as_bytes());
            if locks {
                vector.note_variable(level, b"READ-COMMITTED");
            }
        };
        self.change(self.home, copying).await
    }

    /// Copies rows on the server that finishes.
    pub async fn copy(&mut self, sql: &[u8], table: &str) -> Result<(), Failure> {
        store(self.backend(self.home)?, sql, table, 0).await
    }

    /// Rows of other servers are written from here on.
    pub async fn begin_loading(&mut self) -> Result<(), Failure> {
        match self.held.len() {
            1 => Ok(()),
            _ => self.change(self.home, loading).await,
        }
    }

    /// The session's own state everywhere; the connection that has the tables remains.
    pub async fn end(mut self) -> Result<Held, Failure> {
        let own = std::mem::take(&mut self.own);
        for (source, vector) in own {
            self.apply(source, vector).await?;
        }
        let home = self.held.remove(&self.home);
        for held in std::mem::take(&mut self.held).into_values() {
            held.lease.give_back();
        }
        home.ok_or_else(|| Fault::NoEndpoint("the connection is gone".into()).into())
    }
}

/// The state in which definitions are read, and rows are written.
pub(in super::super) fn loading(vector: &mut Vector) {
    for name in TELLING {
        vector.variables.remove(name);
    }
    vector.note_variable("sql_mode", LOADING_MODE.as_bytes());
    vector.note_variable("time_zone", b"+00:00");
}

/// Runs a statement that gives no rows.
pub(in super::super) async fn run(backend: &mut Backend, sql: &[u8]) -> Result<(), Failure> {
    let payload = backend.query_payload(sql);
    let answer = backend
        .run(&payload, Shape::Results)
        .await
        .map_err(broken)?;
    answer.map(|_| ()).map_err(refused)
}

/// What servers say of a value that a column does not take as it is.
const CUT: [&[u8]; 4] = [b"1264", b"1265", b"1366", b"1406"];

/// Stores rows of this table, of which so many values are warned of anyway. Those that do not fit are of a shard that is
/// defined otherwise than the first.
pub(in super::super) async fn store(
    backend: &mut Backend,
    sql: &[u8],
    table: &str,
    outside: u64,
) -> Result<(), Failure> {
    let payload = backend.query_payload(sql);
    let answer = backend.run(&payload, Shape::Results).await;
    let (outcome, _) = answer.map_err(broken)?.map_err(refused)?;
    if u64::from(outcome.warnings) == outside {
        return Ok(());
    }
    let rows = backend.query(b"SHOW WARNINGS").await.map_err(broken)?;
    let cut = |row: &Vec<Cell>| {
        let code = row.get(1)?.as_deref()?;
        CUT.contains(&code).then(|| row.get(2)?.clone())?
    };
    match rows.map_err(refused)?.iter().find_map(cut) {
        Some(message) => {
            let message = String::from_utf8_lossy(&message);
            let why = format!("shards of `{table}` are not defined alike: {message}");
            Err(Fault::Sharding(why).into())
        }
        None => Ok(()),
    }
}

/// A connection broke: nothing of the statement has been seen by anybody.
pub(in super::super) fn broken(error: BackendError) -> Failure {
    let endpoint = "a node of the gather".to_owned();
    match error {
        BackendError::Lost(_) => Fault::BackendLost {
            endpoint,
            state_lost: false,
        },
        BackendError::Protocol(what) => Fault::BackendProtocol {
            endpoint,
            what,
            state_lost: false,
        },
    }
    .into()
}

/// The server's own error.
pub(in super::super) fn refused(error: ServerError) -> Failure {
    let sqlstate = error.payload.get(4..9).map(String::from_utf8_lossy);
    Fault::Server {
        code: error.code,
        sqlstate: sqlstate
            .map(std::borrow::Cow::into_owned)
            .unwrap_or_default(),
        message: error.message,
    }
    .into()
}
