//! Answers about one shard that have its name in their rows, in the client's words.
//!
//! Owns SHOW CREATE and SHOW INDEX of a table that is split: one shard says it, and its name becomes that of the table;
//! ANALYZE and its like, whose rows begin with the schema; and COM_FIELD_LIST, which names a table outside of any text. Small answers only, which are read whole. Input: a plan for one
//! node.

use dbmesh_plan::Route;
use dbmesh_plan::shard::dictionary::definition;
use dbmesh_plan::shard::dictionary::mapping::Tables;
use dbmesh_plan::shard::{NodeStatement, ShardPlan};
use dbmesh_sql::{Statement, Verb, analyze, literal};
use dbmesh_wire::column::{BinaryLayout, Column};
use dbmesh_wire::command::{CommandCode, FieldList};
use dbmesh_wire::relay::{Names, Shape};
use dbmesh_wire::result_set::{Cell as Shown, ResultSetBuilder, RowFormat};

use super::super::{Executed, Failure, Session};
use super::gather::broken;
use super::work::of_server;
use crate::absorb::shows_by_query;
use crate::backend::{Cell, definitions_of, rows_of};
use crate::fault::Fault;
use crate::state::Warnings;

/// The column of SHOW INDEX that counts; SHOW CREATE has fewer columns.
const CARDINALITY: usize = 6;

/// Whether the rows of its answer have the name of a shard.
fn has_names(statement: &Statement, node: &NodeStatement) -> bool {
    let words = node.sql.split(|byte| !byte.is_ascii_alphanumeric());
    let mut words = words.filter(|word| !word.is_empty());
    let named = ["create", "index", "indexes", "keys"];
    statement.verb == Verb::Show
        && !node.tables.is_empty()
        && words.any(|word| {
            named
                .iter()
                .any(|n| word.eq_ignore_ascii_case(n.as_bytes()))
        })
}

/// A row with the client's names: the first cell is one, alone or behind the schema's, and a definition has more.
fn rename(
    row: &mut [Cell],
    node: &NodeStatement,
    names: &Names,
    others: &dyn Fn(&str) -> Option<String>,
) {
    if let Some(first) = row.first_mut().and_then(Option::as_mut)
        && let Some(point) = first.iter().position(|byte| *byte == b'.')
    {
        let (schema, table) = first.split_at(point);
        let table = table.get(1..).unwrap_or_default();
        *first = [names.schema(schema), b".", names.table(table)].concat();
    }
    for (theirs, ours) in &node.tables {
        let first = row.first_mut().and_then(Option::as_mut);
        if let Some(first) = first.filter(|cell| cell.as_slice() == theirs.as_bytes()) {
            *first = ours.as_bytes().to_vec();
        }
        if let Some(text) = row.get_mut(1).and_then(Option::as_mut) {
            *text = definition::in_own_names(text, (theirs, ours), others);
        }
    }
}

/// What is said of a table in the end of a row of ANALYZE and its like.
fn rename_said(rows: &mut [Vec<Cell>], names: &Names) {
    for said in rows.iter_mut().filter_map(|row| row.get_mut(3)?.as_mut()) {
        *said = names.text(said);
    }
}

/// A cell by the type of its column.
fn shown<'a>((cell, column): (&'a Cell, &Column<'_>)) -> Shown<'a> {
    let Some(text) = cell.as_deref() else {
        return Shown::Null;
    };
    match column.column_type.binary_layout() {
        BinaryLayout::Fixed(_) => {
            let number = std::str::from_utf8(text).ok();
            number
                .and_then(|number| number.parse().ok())
                .map_or(Shown::Null, Shown::Int)
        }
        _ => Shown::Bytes(text),
    }
}

impl Session {
    /// Whether the rows of its answer have the name of a shard, or of a node's schema. Maintenance commits, which is
    /// not followed here over several nodes.
    pub(super) fn shows_names(&self, statement: &Statement, node: &NodeStatement) -> bool {
        match statement.verb {
            Verb::Maintenance => !self.is_across(),
            _ => has_names(statement, node),
        }
    }

    /// Executes it at its node and answers with the client's names.
    pub(super) async fn show_in_own_names(
        &mut self,
        node: &NodeStatement,
        route: Route,
        format: RowFormat,
    ) -> Result<Executed, Failure> {
        self.reach(node.source, route).await?;
        let names = self
            .names_of(std::slice::from_ref(node))
            .unwrap_or_default();
        let backend = self.backend()?;
        let payload = backend.query_payload(&node.sql);
        let answer = backend
            .run(&payload, Shape::Results)
            .await
            .map_err(broken)?;
        let statement = analyze(&node.sql, &self.dialect());
        let maintained = statement.verb == Verb::Maintenance;
        let (outcome, bytes) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.note_error(Some(error.code));
                return Err(of_server(&error.payload, "", &names).into());
            }
        };
        if maintained {
            self.take_in(&statement, &outcome, &node.sql).await?;
            self.note_work(&statement);
        }
        let malformed = |_| {
            broken(crate::backend::BackendError::Protocol(
                "a definition".into(),
            ))
        };
        let definitions = definitions_of(&bytes).map_err(broken)?;
        let definitions = definitions.iter().map(|one| names.definition(one));
        let definitions = definitions
            .collect::<Result<Vec<_>, _>>()
            .map_err(malformed)?;
        let columns = definitions.iter().map(|one| Column::decode(one));
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(malformed)?;
        let mut rows = rows_of(&bytes).map_err(broken)?;
        if let Some((_, table)) = node.tables.first().filter(|_| columns.len() > CARDINALITY) {
            // Who asks for more connections keeps none that it can do without.
            self.settle().await?;
            self.count_all(table, &mut rows).await?;
        }
        self.rename_all(&mut rows, node, &names);
        if maintained {
            rename_said(&mut rows, &names);
        }
        self.state.diagnostics.warnings = Warnings::None;
        if statement.verb == Verb::Show && shows_by_query(&node.sql) {
            self.state.set_found_rows(rows.len() as u64);
        }
        self.state.set_row_count(-1);
        let (capabilities, status) = (self.client.capabilities, self.state.status);
        let seq = &mut self.client.seq;
        let mut set = ResultSetBuilder::new(seq, capabilities, status, &columns, format);
        for row in &rows {
            let cells: Vec<Shown<'_>> = row.iter().zip(&columns).map(shown).collect();
            set.row(&cells);
        }
        let packets = set.finish(0);
        self.end_shown(&packets, rows.len()).await
    }

    /// Sends an answer that was made here.
    pub(super) async fn end_shown(
        &mut self,
        packets: &[u8],
        rows: usize,
    ) -> Result<Executed, Failure> {
        self.client.channel.write(packets).await?;
        self.answered = std::time::Instant::now();
        self.settle().await?;
        Ok(Executed {
            rows: rows as u64,
            ..Executed::LOCAL
        })
    }

    fn rename_all(&self, rows: &mut [Vec<Cell>], node: &NodeStatement, names: &Names) {
        let sharding = self.sharded.as_ref().and_then(|sharded| sharded.sharding());
        let tables = sharding.map(|sharding| Tables::of(sharding, "", 0));
        let others = |name: &str| {
            let known = tables.as_ref()?.logical(node.source, name)?;
            Some(known.to_owned())
        };
        for row in rows {
            rename(row, node, names, &others);
        }
    }

    /// What counts in the rows of SHOW INDEX, over all shards, and the names of indexes as clients know them.
    async fn count_all(&mut self, table: &str, rows: &mut [Vec<Cell>]) -> Result<(), Failure> {
        let counted = self.cardinality(table).await?;
        for row in rows {
            if let Some(index) = row.get_mut(2).and_then(Option::as_mut) {
                let name = String::from_utf8_lossy(index).into_owned();
                *index = definition::unnumbered(name).into_bytes();
            }
            let (index, number) = (row.get(2).cloned(), row.get(3).cloned());
            if let (Some(Some(index)), Some(Some(number))) = (index, number)
                && let Some(count) = counted.get(&(index, number))
                && let Some(cell) = row.get_mut(CARDINALITY)
            {
                *cell = Some(count.clone());
            }
        }
        Ok(())
    }

    /// COM_FIELD_LIST: the columns of a table, as one node has it.
    pub(in super::super) async fn list_fields_of_node(&mut self) -> Result<(), Failure> {
        let asked = self.packet.clone();
        let malformed = |_| Fault::Malformed("COM_FIELD_LIST");
        let asked = FieldList::decode(&asked).map_err(malformed)?;
        let mut sql = b"SHOW COLUMNS FROM ".to_vec();
        sql.extend(literal::quote_identifier(asked.table));
        let node = match self.shard_plan(&sql, None).await? {
            ShardPlan::Single(node) => node,
            other => return Err(self.unplanned(other)),
        };
        let there = node.tables.first().map(|(theirs, _)| theirs.as_bytes());
        let mut packet = vec![CommandCode::FieldList as u8];
        packet.extend_from_slice(there.unwrap_or(asked.table));
        packet.push(0);
        packet.extend_from_slice(asked.wildcard);
        self.go_to(node.source).await?;
        self.in_own_schema(true).await?;
        let names = self.names_of(std::slice::from_ref(&node));
        if let Some(sharded) = &mut self.sharded {
            sharded.names = names;
        }
        let passed = self.pass_packet(&packet, Shape::Columns).await;
        if let Some(sharded) = &mut self.sharded {
            sharded.names = None;
        }
        passed
    }
}
