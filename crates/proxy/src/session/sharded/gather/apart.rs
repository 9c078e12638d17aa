//! Rows of several nodes on a connection apart from those of the session's transaction.
//!
//! Owns that connection: nothing of the transaction happens on it, so that temporary tables and the transaction do not
//! concern each other. What the transaction sees is pulled over its own connections. Dropped before its end, the
//! connection is closed. Input: what to pull.

use std::sync::Arc;
use std::time::Duration;

use dbmesh_plan::Route;
use dbmesh_plan::shard::gather::ScratchTable;
use dbmesh_plan::shard::{Gather, Pull, PullPart};
use dbmesh_sql::literal;
use dbmesh_wire::command::Parameter;

use super::super::super::ready::{NotReady, make_ready};
use super::super::super::settle::close_statements;
use super::super::super::{Failure, Session};
use super::super::aimed::{Aimed, error_of};
use super::super::bound;
use super::super::prepared::selected;
use super::super::said;
use super::connections::{broken, loading, refused, run};
use super::rows::Rows;
use super::{Budget, rows, said_of};
use crate::backend::{Applied, Backend, BackendError, Cell, Flags};
use crate::fault::Fault;
use crate::pool::{Lease, Want};
use crate::prepared::Key;
use crate::registry::SessionHandle;
use crate::state::Warning;
use crate::upstream::{Member, Need};
use crate::vector::{Charset, Vector};

/// utf8mb4_general_ci, which every server knows.
const UTF8: u16 = 45;

/// How long what was broken off may take to end at its server.
const CALM_TIMEOUT: Duration = Duration::from_secs(10);

/// How pulled rows are locked until the transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Locks<'a> {
    /// As servers lock what a change reads, and for a change what is of these tables.
    Change(&'a [&'a str]),
    /// Not at all.
    None,
}

impl Locks<'_> {
    fn words(self, pull: &Pull) -> &'static [u8] {
        match self {
            Self::Change(tables) if tables.contains(&pull.table.as_str()) => b" FOR UPDATE",
            Self::Change(_) => b" LOCK IN SHARE MODE",
            Self::None => b"",
        }
    }
}

/// A connection with temporary tables.
#[derive(Debug)]
pub(in super::super) struct Scratch {
    /// None while the session uses it.
    lease: Option<Lease>,
    member: Arc<Member>,
    source: usize,
    /// The session's state there.
    own: Arc<Vector>,
    /// The session, for who kills its statement.
    handle: Arc<SessionHandle>,
    /// In backquotes.
    tables: Vec<Vec<u8>>,
}

impl Scratch {
    pub(in super::super) fn backend(&mut self) -> Result<&mut Backend, Failure> {
        match &mut self.lease {
            Some(lease) => lease.backend().map_err(broken),
            None => Err(Fault::NoEndpoint("the connection is gone".into()).into()),
        }
    }

    pub fn source(&self) -> usize {
        self.source
    }

    pub(super) fn member(&self) -> Arc<Member> {
        self.member.clone()
    }

    pub(super) fn take_lease(&mut self) -> Option<Lease> {
        self.lease.take()
    }

    pub(super) fn put_lease(&mut self, lease: Lease) {
        self.lease = Some(lease);
    }

    /// The session's whole state from here on.
    pub(super) async fn own(&mut self) -> Result<(), Failure> {
        self.apply(self.own.clone()).await
    }

    async fn apply(&mut self, vector: Arc<Vector>) -> Result<(), Failure> {
        match self
            .backend()?
            .apply(&vector)
            .await
            .map_err(broken)?
            .map_err(refused)?
        {
            Applied::Done => Ok(()),
            _ => {
                let what = "the session's state did not come back".to_owned();
                Err(broken(BackendError::Protocol(what)))
            }
        }
    }

    /// Definitions are read and rows written from here on.
    pub(super) async fn load(&mut self) -> Result<(), Failure> {
        let mut vector = Vector::clone(&self.own);
        vector.unbind();
        loading(&mut vector);
        vector.rehash();
        self.apply(Arc::new(vector)).await
    }

    /// Of a prepared statement.
    pub(super) fn key(&self, sql: &[u8]) -> Key {
        Key::of(sql, &self.own)
    }

    /// Closes a prepared statement.
    pub(super) async fn forget(&mut self, sql: &[u8]) -> Result<(), Failure> {
        let key = self.key(sql);
        let backend = self.backend()?;
        match backend.statements.remove_text(&key) {
            ids if ids.is_empty() => Ok(()),
            ids => close_statements(backend, &ids).await.map_err(broken),
        }
    }

    /// A state in which texts are UTF-8, and everything of the server is told as it is, whatever the session has chosen.
    pub(super) async fn ask(&mut self) -> Result<(), Failure> {
        let charset = Charset::Handshake(UTF8);
        let (schema, base) = (self.own.schema.clone(), self.own.base.clone());
        let mut vector = Vector::begun(schema, charset, base);
        vector.user_variables.clone_from(&self.own.user_variables);
        loading(&mut vector);
        vector.rehash();
        self.apply(Arc::new(vector)).await
    }

    /// The session's own state from here on, outside of its transaction.
    pub(super) async fn answer(&mut self) -> Result<(), Failure> {
        let mut vector = Vector::clone(&self.own);
        if vector.variables.contains_key("autocommit") {
            vector.note_variable("autocommit", b"ON");
            vector.rehash();
        }
        self.apply(Arc::new(vector)).await
    }

    /// Creates a table of what a query with these parameters gives, without rows.
    pub async fn create_as(
        &mut self,
        name: &str,
        query: &[u8],
        values: &[Parameter<'_>],
    ) -> Result<(), Failure> {
        let name = literal::quote_identifier(name.as_bytes());
        let create = [b"CREATE TEMPORARY TABLE ", name.as_slice(), b" ", query].concat();
        self.tables.push(name);
        self.run_bound(&create, values).await
    }

    /// The session's own state from here on.
    pub async fn compute(&mut self) -> Result<(), Failure> {
        let mut vector = Vector::clone(&self.own);
        vector.unbind();
        vector.rehash();
        self.apply(Arc::new(vector)).await
    }

    /// Creates a table.
    pub async fn create(&mut self, table: &ScratchTable, name: &str) -> Result<(), Failure> {
        self.tables.push(literal::quote_identifier(name.as_bytes()));
        self.run(&table.create).await
    }

    /// Runs a statement that gives no rows.
    pub async fn run(&mut self, sql: &[u8]) -> Result<(), Failure> {
        run(self.backend()?, sql).await
    }

    /// Runs a statement of the client's words, with these parameters, that gives no rows: a KILL QUERY reaches it.
    pub async fn run_bound(&mut self, sql: &[u8], values: &[Parameter<'_>]) -> Result<(), Failure> {
        let gone = || Failure::from(Fault::NoEndpoint("the connection is gone".into()));
        let lease = self.lease.as_mut().ok_or_else(gone)?;
        let aimed = Aimed::begin(&self.handle, lease)?;
        let backend = lease.backend().map_err(broken)?;
        let answer = bound::run(backend, sql, values).await.map_err(broken);
        let done = answer.and_then(|answer| answer.map(|_| ()).map_err(refused));
        aimed.end(backend, error_of(&done)).await?;
        done
    }

    /// Runs a query whose answer is small.
    pub async fn query(&mut self, sql: &[u8]) -> Result<Vec<Vec<Cell>>, Failure> {
        let rows = self.backend()?.query(sql).await.map_err(broken)?;
        rows.map_err(refused)
    }

    /// Reads all rows of a table, as they are carried; errors name it so.
    pub async fn read(
        &mut self,
        (table, name): (&ScratchTable, &str),
        budget: &mut Budget,
    ) -> Result<Vec<Vec<Cell>>, Failure> {
        self.load().await?;
        let backend = self.backend()?;
        let mut all = Vec::new();
        let coming = Rows::begin(backend, &table.read(), &[]).await;
        let mut coming = coming.map_err(broken)?.map_err(refused)?;
        while coming
            .more(backend)
            .await
            .map_err(broken)?
            .map_err(refused)?
        {
            while let Some(row) = coming.next().map_err(broken)? {
                budget.take(row.len())?;
                all.push(rows::cells_of(table, name, row)?);
            }
        }
        Ok(all)
    }

    /// Reads rows of one text, as the session has them.
    pub async fn texts(
        &mut self,
        query: &[u8],
        budget: &mut Budget,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let backend = self.backend()?;
        let mut all = Vec::new();
        let mut take = |cells: &[Cell]| {
            let text = cells.first().and_then(|cell| cell.as_deref());
            let text = text.unwrap_or_default();
            budget.take(text.len())?;
            all.push(text.to_vec());
            Ok(())
        };
        let read = rows::for_each(backend, (query, &[]), 1, |_, cells| take(cells));
        read.await?.map_err(refused)?;
        Ok(all)
    }

    /// Nothing of it stays; the connection goes back.
    pub async fn end(mut self) {
        if !self.tables.is_empty() {
            let mut sql = b"DROP TEMPORARY TABLE IF EXISTS ".to_vec();
            sql.extend(self.tables.join(&b", "[..]));
            let idle = self.backend().is_ok_and(|backend| backend.is_idle());
            // Where it may not write, it may not drop.
            if !idle || self.compute().await.is_err() || self.run(&sql).await.is_err() {
                return;
            }
        }
        if self.apply(self.own.clone()).await.is_ok()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

impl Session {
    /// Bytes of rows that one statement may have in one place.
    pub(in super::super) fn gather_budget(&self) -> Budget {
        Budget::of(self.gather_bytes_max())
    }

    /// A connection to a source, in the session's state, that is not the session's.
    pub(in super::super) async fn scratch(&mut self, source: usize) -> Result<Scratch, Failure> {
        let gone = || Failure::from(Fault::NoEndpoint("the source is gone".into()));
        let (_, theirs) = self.schemas_of(source).ok_or_else(gone)?;
        let mut vector = Vector::clone(&self.state.vector);
        vector.schema = Some(theirs.as_bytes().into());
        vector.rehash();
        let own = Arc::new(vector);
        let part = self
            .sharded
            .as_ref()
            .and_then(|s| s.home.sources.get(source));
        let upstream = part.map(|part| part.upstream.clone()).ok_or_else(gone)?;
        let member = upstream.choose(Need::Primary, None, &[], || 0);
        let member = member.ok_or_else(|| Fault::NoEndpoint(upstream.why_no_primary()))?;
        let want = Want {
            vector: &own,
            flags: Flags::of(self.client.capabilities),
            session: u64::from(self.registered.handle.id),
            who: self.who(),
            schema_since: None,
        };
        // Who has a connection waits for no second one.
        let lease = match self.lease.is_some() || self.is_across() {
            false => member.pool.lease(&want, self.wait_limit()).await?,
            true => member.pool.lease_if_free(&want).await.ok_or_else(|| {
                let why = "it needs another connection, and none is free";
                Fault::Sharding(why.into())
            })?,
        };
        let lease = match make_ready(lease, &want, self.wait_limit()).await {
            Ok(lease) => lease,
            Err(NotReady::Fault(fault) | NotReady::Stale(fault)) => return Err(fault.into()),
            Err(NotReady::Schema(_, error)) => return Err(refused(error)),
        };
        Ok(Scratch {
            lease: Some(lease),
            member: member.clone(),
            source,
            own,
            handle: self.handle().clone(),
            tables: Vec::new(),
        })
    }

    /// What SHOW CREATE TABLE says of a part.
    pub(in super::super) async fn shown(
        &mut self,
        scratch: &mut Scratch,
        part: &PullPart,
    ) -> Result<Vec<u8>, Failure> {
        let table = literal::quote_identifier(part.table.as_bytes());
        let rows = if part.source == scratch.source {
            let sql = [&b"SHOW CREATE TABLE "[..], &table].concat();
            scratch.load().await?;
            scratch.query(&sql).await?
        } else {
            let gone = || Failure::from(Fault::NoEndpoint("the source is gone".into()));
            let (_, theirs) = self.schemas_of(part.source).ok_or_else(gone)?;
            let schema = literal::quote_identifier(theirs.as_bytes());
            let sql = [&b"SHOW CREATE TABLE "[..], &schema, b".", &table].concat();
            let source = self.sharded.as_ref();
            let source = source.and_then(|s| s.home.sources.get(part.source));
            let upstream = source.map(|s| s.upstream.clone()).ok_or_else(gone)?;
            let member = upstream.choose(Need::Primary, None, &[], || 0);
            let member = member.ok_or_else(|| Fault::NoEndpoint(upstream.why_no_primary()))?;
            let rows = member.pool.ask_aside(&String::from_utf8_lossy(&sql)).await;
            rows.map_err(|e| e.into_fault(member.endpoint.name.as_str()))?
        };
        let shown = rows
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().nth(1)?);
        Ok(shown.unwrap_or_default().to_vec())
    }

    /// Pulls rows over the connections of the session's transaction; says what servers warned of, for a change. Without the
    /// client's values, what parameters say of rows is left to the statement that finishes.
    pub(in super::super) async fn pull_apart(
        &mut self,
        scratch: &mut Scratch,
        gather: &Gather,
        (locks, values): (Locks<'_>, Option<&[Parameter<'_>]>),
        budget: &mut Budget,
        route: Route,
    ) -> Result<Vec<Warning>, Failure> {
        let mut warnings = Vec::new();
        let mut work: Vec<(usize, &Pull, Arc<ScratchTable>, &PullPart)> = Vec::new();
        for pull in &gather.pulls {
            let shown = self.shown(scratch, &pull.like).await?;
            let table = ScratchTable::of(&shown, &pull.scratch, pull.columns.as_ref());
            let table = table.ok_or_else(|| {
                let table = &pull.table;
                let why =
                    format!("rows of {table} cannot be put in one place: it is no plain table");
                Fault::Sharding(why)
            })?;
            scratch.load().await?;
            scratch.create(&table, &pull.scratch).await?;
            let table = Arc::new(table);
            let parts = pull.parts.iter();
            work.extend(parts.map(|part| (part.source, pull, table.clone(), part)));
        }
        // Always in the same order, so that no two sessions wait for each other.
        work.sort_by_key(|(source, ..)| *source);
        for (source, pull, table, part) in work {
            self.reach(source, route).await?;
            let (select, own) = self.words_of(pull, &table, part, (locks, values));
            let Some(mut lease) = self.lease.take() else {
                return Err(Fault::NoEndpoint("the connection is gone".into()).into());
            };
            let mut rows = None;
            let from = (&mut lease, select.as_slice(), own.as_slice());
            let table = (table.as_ref(), pull.table.as_str());
            let pulled = self.pull_part(from, scratch, table, &mut rows, budget);
            let pulled = pulled.await;
            let warned = rows.as_ref().is_some_and(|rows| rows.warnings() > 0);
            let sound = pulled.is_ok() || self.calm(&mut lease, rows).await;
            self.lease = Some(lease);
            if warned && pulled.is_ok() && locks != Locks::None {
                let said = self.said_here(source, (part, pull)).await?;
                said::add(&mut warnings, said.into_iter());
            }
            if !sound {
                let endpoint = self.member.as_ref().map(|m| m.endpoint.name.to_string());
                return Err(self.lose_transaction(endpoint.unwrap_or_default()));
            }
            pulled?;
        }
        Ok(warnings)
    }

    /// Brings over what a statement gives on a connection, where a KILL QUERY reaches it.
    async fn pull_part(
        &self,
        (lease, select, own): (&mut Lease, &[u8], &[Parameter<'_>]),
        scratch: &mut Scratch,
        table: (&ScratchTable, &str),
        rows: &mut Option<Rows>,
        budget: &mut Budget,
    ) -> Result<(), Failure> {
        let aimed = Aimed::begin(self.handle(), lease)?;
        let from = lease.backend().map_err(broken)?;
        let pulled = match (Rows::begin(from, select, own).await, scratch.backend()) {
            (Ok(Ok(begun)), Ok(to)) => {
                let rows = rows.insert(begun);
                self.pull(from, to, table, rows, budget).await
            }
            (Ok(Err(error)), _) => Err(refused(error)),
            (Err(error), _) => Err(broken(error)),
            (_, Err(failure)) => Err(failure),
        };
        aimed.end(from, error_of(&pulled)).await?;
        pulled
    }

    /// What reads the rows of a part, and its parameters.
    fn words_of<'v>(
        &self,
        pull: &Pull,
        table: &ScratchTable,
        part: &PullPart,
        (locks, values): (Locks<'_>, Option<&[Parameter<'v>]>),
    ) -> (Vec<u8>, Vec<Parameter<'v>>) {
        let (condition, own) = match values {
            Some(values) => {
                let condition = pull.condition.as_ref();
                let places = condition.iter().flat_map(|condition| &condition.parameters);
                let places: Vec<u32> = places.chain(&pull.first.parameters).copied().collect();
                let text = condition.map(|condition| condition.text.as_slice());
                (text, selected(values, &places))
            }
            None => (said_of(pull), Vec::new()),
        };
        let mut select = table.select(&part.table, &pull.alias, condition);
        select.extend_from_slice(&pull.first.text);
        let limited = self.state.vector.variables.contains_key("sql_select_limit");
        if limited && pull.first.text.is_empty() {
            // A limit of the client's is for its own rows.
            select.extend_from_slice(b" LIMIT 18446744073709551615");
        }
        select.extend_from_slice(locks.words(pull));
        (select, own)
    }

    /// The warnings of the connection at hand, in the client's names.
    async fn said_here(
        &mut self,
        source: usize,
        (part, pull): (&PullPart, &Pull),
    ) -> Result<Vec<Warning>, Failure> {
        let renamed = (part.table.clone(), pull.table.clone());
        let names = self.names_at(&[source], &[renamed]).unwrap_or_default();
        let mut said = self.fetch_warnings().await?;
        for row in &mut said {
            row.message = names.text(&row.message);
        }
        Ok(said)
    }

    /// After rows that are not wanted any more: ends their statement and reads the rest, so that the transaction stays.
    async fn calm(&self, lease: &mut Lease, rows: Option<Rows>) -> bool {
        let Ok(backend) = lease.backend() else {
            return false;
        };
        if backend.is_idle() {
            return true;
        }
        let (Some(member), Some(mut rows)) = (self.member.clone(), rows) else {
            return false;
        };
        let calming = async {
            let kill = format!("KILL QUERY {}", backend.thread_id);
            let vector = backend.vector.clone();
            member.pool.run_aside(&vector, &kill).await.ok()?;
            while rows.more(backend).await.ok()?.unwrap_or(false) {
                while rows.next().ok()?.is_some() {}
            }
            // A KILL that came too late would end the next statement: this one takes it.
            let ping = [dbmesh_wire::command::CommandCode::Ping as u8];
            let pinged = backend.run(&ping, dbmesh_wire::relay::Shape::Single).await;
            pinged.ok().map(|_| ())
        };
        let calmed = tokio::time::timeout(CALM_TIMEOUT, calming).await;
        matches!(calmed, Ok(Some(()))) && lease.backend().is_ok_and(|backend| backend.is_idle())
    }
}
