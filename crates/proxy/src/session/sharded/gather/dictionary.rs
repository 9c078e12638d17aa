//! Statements over information_schema, finished over what all nodes say under the client's names.
//!
//! Owns the path of such a statement, on connections apart from the session's: what servers say of themselves is part of
//! no transaction. Rows of views are kept here while they are put together, no more than a budget of bytes. Input: a plan
//! that says which views are read, and the text that finishes.

use std::collections::BTreeMap;
use std::sync::Arc;

use dbmesh_merge::Share;
use dbmesh_plan::shard::Dictionary;
use dbmesh_plan::shard::dictionary::mapping::{Row, Rows as Together, SYSTEM_SCHEMAS, Tables};
use dbmesh_plan::shard::dictionary::{Reading, RowsOf};
use dbmesh_sql::literal;
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec;
use dbmesh_wire::column::{Column, put_definition};
use dbmesh_wire::command::{Parameter, put_bound};
use dbmesh_wire::relay::{Names, Pair};
use dbmesh_wire::reply::{self, EofMode};

use super::super::super::prepare::prepare_on;
use super::super::super::settle::warning;
use super::super::super::{Executed, Failure, Session};
use super::super::prepared::selected;
use super::super::rows::{end, memory_short};
use super::super::work::of_server;
use super::apart::Scratch;
use super::connections::{broken, refused};
use super::rows::{Rows, cells};
use super::{BATCH_BYTES, Budget};
use crate::backend::BackendError;
use crate::client::Unsent;
use crate::fault::Fault;
use crate::prepared::Answer;
use crate::state::{Warning, Warnings};

/// Bytes of what servers say of themselves that one statement may need.
const BYTES_MAX: u64 = 64 << 20;
/// Names of tables in one question; more are sorted out here.
const NAMES_MAX: usize = 1_000;
/// Bytes of rows before they go to the client.
const FLUSH_BYTES: usize = 64 << 10;

/// A view's rows, with the columns that they have.
struct Pulled {
    columns: Vec<String>,
    rows: Vec<Row>,
}

impl Session {
    /// Executes a statement over views.
    pub(in super::super) async fn execute_views(
        &mut self,
        views: &Dictionary,
        values: Option<&[Parameter<'_>]>,
    ) -> Result<Executed, Failure> {
        // Rare, and large: the session's task does without its room.
        Box::pin(self.execute_dictionary(views, values)).await
    }

    /// Pulls what is said of tables, and finishes the statement over it.
    async fn execute_dictionary(
        &mut self,
        dictionary: &Dictionary,
        values: Option<&[Parameter<'_>]>,
    ) -> Result<Executed, Failure> {
        self.note_node(&dictionary.finish.sql);
        let home = dictionary.finish.source;
        let mut share = Share::of(self.process.merging.clone());
        let pulled = self.pull_views(&dictionary.readings, home, &mut share);
        let pulled = pulled.await?;
        let mut scratch = self.scratch(home).await?;
        scratch.ask().await?;
        for (reading, pulled) in dictionary.readings.iter().zip(&pulled) {
            self.may_go_on()?;
            fill(&mut scratch, reading, pulled).await?;
        }
        drop((pulled, share));
        scratch.answer().await?;
        let rows = self.answer_views(&mut scratch, dictionary, values).await?;
        scratch.end().await;
        self.answered = std::time::Instant::now();
        self.settle().await?;
        Ok(Executed {
            rows,
            ..Executed::LOCAL
        })
    }

    /// What counts in the indexes of a split table, over all of its shards: by index and place in it.
    pub(in super::super) async fn cardinality(
        &mut self,
        table: &str,
    ) -> Result<BTreeMap<(Vec<u8>, Vec<u8>), Vec<u8>>, Failure> {
        let mut found = BTreeMap::new();
        let sharding = self.sharded.as_ref().and_then(|s| s.sharding());
        let home = sharding.and_then(|sharding| sharding.default_source);
        let readings: Vec<Reading> = Reading::cardinality(table).into_iter().collect();
        let mut share = Share::of(self.process.merging.clone());
        let pulled = self.pull_views(&readings, home.unwrap_or(0), &mut share);
        let pulled = Box::pin(pulled).await?;
        for Pulled { columns, rows } in pulled {
            let place = |name: &str| columns.iter().position(|c| c.eq_ignore_ascii_case(name));
            let places = ["INDEX_NAME", "SEQ_IN_INDEX", "CARDINALITY"].map(place);
            for row in rows {
                let cell = |at: Option<usize>| row.get(at?).and_then(Option::as_deref);
                let [index, number, count] = places.map(|at| cell(at).map(<[u8]>::to_vec));
                if let (Some(index), Some(number), Some(count)) = (index, number, count) {
                    found.insert((index, number), count);
                }
            }
        }
        Ok(found)
    }

    /// The rows of every view that is read, of all nodes.
    async fn pull_views(
        &mut self,
        readings: &[Reading],
        home: usize,
        share: &mut Share,
    ) -> Result<Vec<Pulled>, Failure> {
        let gone = || Fault::Sharding("the service is not sharded any more".into());
        let sharded = self.sharded.as_ref().ok_or_else(gone)?;
        let sharding = sharded.sharding().cloned().ok_or_else(gone)?;
        let schema = sharded.home.service.schema.clone().ok_or_else(gone)?;
        let tables = Tables::of(&sharding, &schema, home);
        let mut budget = Budget::of(BYTES_MAX.min(self.gather_bytes_max()));
        let mut together: Vec<(Vec<String>, Together<'_>)> = Vec::new();
        // Home first: of what all nodes have alike, its rows are shown. One connection at a time, so that no two sessions
        // wait for each other.
        let others = (0..sharding.sources.len()).filter(|source| *source != home);
        for source in std::iter::once(home).chain(others) {
            let asked = |reading: &Reading| source == home || is_asked(reading, source, &tables);
            if !readings.iter().any(asked) {
                continue;
            }
            let mut scratch = self.scratch(source).await?;
            scratch.ask().await?;
            for (place, reading) in readings.iter().enumerate() {
                if source == home {
                    let columns = columns_of(&mut scratch, reading).await?;
                    let rows = Together::new(&tables, reading, &columns);
                    together.push((columns, rows));
                }
                let Some((columns, rows)) = together.get_mut(place).filter(|_| asked(reading))
                else {
                    continue;
                };
                for sql in questions(reading, columns, source, &tables, home) {
                    self.may_go_on()?;
                    let bounds = (&mut budget, &mut *share);
                    pull(&mut scratch, &sql, source, rows, bounds).await?;
                }
            }
            scratch.end().await;
        }
        let pulled = together.into_iter().map(|(columns, rows)| Pulled {
            columns,
            rows: rows.end(),
        });
        Ok(pulled.collect())
    }

    /// Executes the statement over the views, and passes on its answer with the client's names.
    async fn answer_views(
        &mut self,
        scratch: &mut Scratch,
        dictionary: &Dictionary,
        values: Option<&[Parameter<'_>]>,
    ) -> Result<u64, Failure> {
        let finish = &dictionary.finish;
        let names = self.names_of_views(dictionary);
        let described = prepared(scratch, &dictionary.described.sql, &names).await?;
        scratch.forget(&dictionary.described.sql).await?;
        // Their columns are told as to the client; those of rows, as to dbmesh.
        let told = scratch.backend()?.flags.0;
        let described = Described {
            columns: plain(&described.1.definitions, told).map_err(broken)?,
            params: usize::from(described.1.params),
        };
        let id = match values {
            Some(_) => prepared(scratch, &finish.sql, &names).await?.0,
            None => 0,
        };
        let backend = scratch.backend()?;
        let payload = match values {
            None => backend.query_payload(&finish.sql),
            Some(values) => {
                let mut payload = Vec::new();
                let own = selected(values, &finish.parameters);
                put_bound(&mut payload, id, &own, backend.capabilities);
                payload
            }
        };
        let mut coming = Rows::begin_with(backend, &payload).await.map_err(broken)?;
        let mut out = Unsent::to(&self.client);
        let (mut count, mut head) = (0, false);
        loop {
            let more = match coming.more(backend).await.map_err(broken)? {
                Ok(more) => more,
                Err(error) => return Err(of_server(&error.payload, "", &names).into()),
            };
            if !more {
                break;
            }
            while let Some(row) = coming.next().map_err(broken)? {
                let row = row.to_vec();
                if !head {
                    self.describe_views(&mut out, coming.columns(), &described)?;
                    head = true;
                }
                out.put(&row);
                count += 1;
                if out.bytes.len() >= FLUSH_BYTES {
                    self.client.send(&mut out).await?;
                    self.may_go_on()?;
                }
            }
        }
        if !head {
            self.describe_views(&mut out, coming.columns(), &described)?;
        }
        let warnings = coming.warnings();
        if values.is_some() {
            scratch.forget(&finish.sql).await?;
        }
        self.keep_view_warnings(scratch, warnings, &names).await?;
        let payload = end(&self.client, self.state.status, warnings);
        out.put(&payload);
        self.client.send(&mut out).await?;
        self.state.set_found_rows(count);
        self.state.set_row_count(-1);
        Ok(count)
    }

    /// Fetches the warnings of the statement, which the next one may ask for.
    async fn keep_view_warnings(
        &mut self,
        scratch: &mut Scratch,
        warnings: u16,
        names: &Names,
    ) -> Result<(), Failure> {
        let count = u64::from(warnings);
        let kept = match count {
            0 => Warnings::None,
            count => {
                let rows = scratch.query(b"SHOW WARNINGS").await?;
                let mut rows: Vec<Warning> = rows.into_iter().filter_map(warning).collect();
                for row in &mut rows {
                    row.message = names.text(&row.message);
                }
                Warnings::Kept { rows, count }
            }
        };
        self.state.diagnostics.warning_count = count;
        self.state.diagnostics.warnings = kept;
        Ok(())
    }

    /// What the client calls otherwise than the server that finishes.
    fn names_of_views(&self, dictionary: &Dictionary) -> Names {
        let pair = |(theirs, ours): (&str, &str)| -> Pair {
            (theirs.as_bytes().into(), ours.as_bytes().into())
        };
        let tables = dictionary.finish.tables.iter();
        let tables = tables.map(|(t, o)| pair((t, o))).collect();
        // The temporary tables are in the service's schema.
        let schema = self.schemas_of(dictionary.finish.source);
        let schema = schema.map(|(_, theirs)| pair((theirs, "information_schema")));
        Names::new(schema.into_iter().collect(), tables)
    }

    /// Column count and columns: with the names that the views' own have, whatever letters the text has, and the types of the rows.
    fn describe_views(
        &self,
        out: &mut Unsent,
        columns: Option<&[Vec<u8>]>,
        described: &Described,
    ) -> Result<(), Failure> {
        let columns = columns.unwrap_or_default();
        let own = described.columns.iter().skip(described.params);
        if own.len() != columns.len() {
            let what = "a view has other columns than its rows".to_owned();
            return Err(broken(BackendError::Protocol(what)));
        }
        let malformed = |_| broken(BackendError::Protocol("a column's definition".into()));
        let capabilities = self.client.capabilities;
        let mut payload = Vec::new();
        codec::put_lenenc_int(&mut payload, columns.len() as u64);
        out.put(&payload);
        for (own, column) in own.zip(columns) {
            let own = Column::decode(own).map_err(malformed)?;
            let mut column = Column::decode(column).map_err(malformed)?;
            if column.column_type == own.column_type {
                column = own;
            } else {
                (column.schema, column.table) = (own.schema, own.table);
                (column.org_table, column.org_name) = (own.org_table, own.org_name);
                column.name = own.name;
            }
            payload.clear();
            column.encode(&mut payload, capabilities);
            out.put(&payload);
        }
        if EofMode::of(capabilities) == EofMode::Eof {
            payload.clear();
            let (warnings, status) = (0, self.state.status);
            reply::Eof { warnings, status }.encode(&mut payload);
            out.put(&payload);
        }
        Ok(())
    }
}

/// What a server says of the columns.
struct Described {
    /// Those of the parameters come first.
    columns: Vec<Vec<u8>>,
    params: usize,
}

/// Definitions for a peer with these capabilities as others have them: no view has a column that MariaDB would say more of.
fn plain(definitions: &[Vec<u8>], told: Capabilities) -> Result<Vec<Vec<u8>>, BackendError> {
    let plain = definitions.iter().map(|definition| {
        let mut plain = Vec::with_capacity(definition.len());
        put_definition(&mut plain, definition, told, Capabilities::PROTOCOL_41)?;
        Ok(plain)
    });
    plain.collect()
}

/// Prepares a statement; what a server has against it is told in the client's names.
async fn prepared(
    scratch: &mut Scratch,
    sql: &[u8],
    names: &Names,
) -> Result<(u32, Arc<Answer>), Failure> {
    let key = Arc::new(scratch.key(sql));
    let backend = scratch.backend()?;
    let prepared = prepare_on(backend, &key, 0).await.map_err(broken)?;
    prepared.map_err(|payload| of_server(&payload, "", names).into())
}

/// Whether a node has rows of its own for a view.
fn is_asked(reading: &Reading, source: usize, tables: &Tables<'_>) -> bool {
    match reading.view.rows {
        RowsOf::Server => false,
        RowsOf::Schemas => true,
        RowsOf::Tables => {
            let all = reading
                .columns
                .as_ref()
                .is_none_or(|columns| reading.adds(&columns.iter().cloned().collect::<Vec<_>>()));
            tables.has(source, |table| reading.wants(table), all)
        }
    }
}

/// The columns of a view that are pulled.
async fn columns_of(scratch: &mut Scratch, reading: &Reading) -> Result<Vec<String>, Failure> {
    let sql = format!(
        "SELECT * FROM information_schema.{} LIMIT 0",
        reading.view.name
    );
    let backend = scratch.backend()?;
    let coming = Rows::begin(backend, sql.as_bytes(), &[]).await;
    let mut coming = coming.map_err(broken)?.map_err(refused)?;
    while coming
        .more(backend)
        .await
        .map_err(broken)?
        .map_err(refused)?
    {
        coming.next().map_err(broken)?;
    }
    let columns = coming.columns().unwrap_or_default().iter();
    let columns = columns.map(|definition| {
        let column = Column::decode(definition);
        let column = column.map_err(|_| BackendError::Protocol("a column's definition".into()))?;
        Ok(String::from_utf8_lossy(column.name).into_owned())
    });
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(broken)?;
    Ok(reading.columns_of(&columns))
}

fn listed(columns: &[String]) -> Vec<u8> {
    let quoted = columns
        .iter()
        .map(|name| literal::quote_identifier(name.as_bytes()));
    quoted.collect::<Vec<_>>().join(&b", "[..])
}

/// What a node is asked: of its own schema, and for all of them of what every server has.
fn questions(
    reading: &Reading,
    columns: &[String],
    source: usize,
    tables: &Tables<'_>,
    home: usize,
) -> Vec<Vec<u8>> {
    let Some(schema) = reading.view.schemas.first() else {
        return Vec::new();
    };
    let head = [
        b"SELECT ",
        listed(columns).as_slice(),
        b" FROM information_schema.",
        reading.view.name.as_bytes(),
        b" WHERE ",
        schema.as_bytes(),
    ]
    .concat();
    let quote = |name: &str| literal::quote_literal(name.as_bytes(), false);
    let mut own = [head.as_slice(), b" = ", &quote(tables.schema_at(source))].concat();
    if let (Some(column), true) = (reading.view.tables.first(), reading.tables.is_some()) {
        let adds = reading.adds(columns);
        let names = tables.physical(source, reading, adds);
        if names.len() <= NAMES_MAX {
            let names: Vec<Vec<u8>> = names.iter().map(|name| quote(name)).collect();
            if names.is_empty() {
                own.clear();
            } else {
                own.extend([b" AND ", column.as_bytes(), b" IN ("].concat());
                own.extend(names.join(&b", "[..]));
                own.push(b')');
            }
        }
    }
    let mut questions = vec![own];
    questions.retain(|sql| !sql.is_empty());
    if source == home && reading.system {
        let names: Vec<Vec<u8>> = SYSTEM_SCHEMAS.iter().map(|name| quote(name)).collect();
        let names = names.join(&b", "[..]);
        questions.push([head.as_slice(), b" IN (", &names, b")"].concat());
    }
    questions
}

async fn pull(
    scratch: &mut Scratch,
    sql: &[u8],
    source: usize,
    rows: &mut Together<'_>,
    (budget, share): (&mut Budget, &mut Share),
) -> Result<(), Failure> {
    let backend = scratch.backend()?;
    let coming = Rows::begin(backend, sql, &[]).await.map_err(broken)?;
    let mut coming = coming.map_err(refused)?;
    while coming
        .more(backend)
        .await
        .map_err(broken)?
        .map_err(refused)?
    {
        while let Some(row) = coming.next().map_err(broken)? {
            let cells = cells(row, rows.width());
            let cells = cells.ok_or_else(|| {
                broken(BackendError::Protocol(
                    "a row has other columns than its view".into(),
                ))
            })?;
            let cells = cells
                .into_iter()
                .map(|cell| cell.map(Vec::into_boxed_slice));
            let bytes = rows.take(source, cells.collect());
            budget.take(bytes)?;
            share.grow(bytes).map_err(|e| memory_short(&e))?;
        }
    }
    Ok(())
}

/// Puts rows into the temporary table that stands for a view.
async fn fill(scratch: &mut Scratch, reading: &Reading, pulled: &Pulled) -> Result<(), Failure> {
    let columns = listed(&pulled.columns);
    let query = [
        b"SELECT ",
        columns.as_slice(),
        b" FROM information_schema.",
        reading.view.name.as_bytes(),
        b" LIMIT 0",
    ]
    .concat();
    scratch.create_as(&reading.scratch, &query, &[]).await?;
    let name = literal::quote_identifier(reading.scratch.as_bytes());
    let mut batch = [b"INSERT INTO ", name.as_slice(), b" VALUES "].concat();
    let head = batch.len();
    for row in &pulled.rows {
        batch.push(if batch.len() > head { b',' } else { b' ' });
        for (place, cell) in row.iter().enumerate() {
            batch.push(if place > 0 { b',' } else { b'(' });
            match cell {
                Some(cell) => batch.extend(literal::quote_literal(cell, false)),
                None => batch.extend_from_slice(b"NULL"),
            }
        }
        batch.push(b')');
        if batch.len() >= BATCH_BYTES {
            scratch.run(&batch).await?;
            batch.truncate(head);
        }
    }
    match batch.len() > head {
        true => scratch.run(&batch).await,
        false => Ok(()),
    }
}
