//! The rows that a change finds, over rows of several nodes.
//!
//! Owns the temporary tables that take them, and what servers say while they are found: what one server refuses in a strict
//! mode is refused, although only queries run here. Must never change a row. Input: the query, and the client's values.

use dbmesh_plan::Route;
use dbmesh_plan::shard::gather::{Joins, LentTable, ScratchTable, Wanted, Writing};
use dbmesh_plan::shard::keyed::{FOUND, LENT, Then};
use dbmesh_plan::shard::{Keyed, NodeStatement, PullPart};
use dbmesh_wire::command::Parameter;
use dbmesh_wire::relay::Names;

use super::super::super::settle::warning;
use super::super::super::{Failure, Session};
use super::super::gather::{Budget, Locks, Scratch};
use super::super::prepared::selected;
use super::super::said::renumber;
use super::texts::LentRows;
use super::{Found, in_words_of, texts};
use crate::backend::{Cell, Flavor};
use crate::fault::Fault;
use crate::state::Warning;

/// ER_TRUNCATED_WRONG_VALUE: a value that is compared cannot be converted. In a strict mode, changes end with it. Its SQLSTATE.
const NOT_CONVERTED: (&[u8], u16, &str) = (b"1292", 1292, "22007");

/// ER_DATETIME_FUNCTION_OVERFLOW: what storing says of a time that does not fit, without a column's name.
const NO_SUCH_TIME: &[u8] = b"1441";
/// What a hash join stores a value in has no name.
const UNNAMED: &[u8] = b"'(null)'";

impl Session {
    /// Finds the rows, and says what has to be done with them.
    pub(super) async fn find(
        &mut self,
        keyed: &Keyed,
        scratch: &mut Scratch,
        (route, values): (Route, &[Parameter<'_>]),
    ) -> Result<Found, Failure> {
        let mut budget = self.gather_budget();
        let tables: Vec<&str> = all_of(keyed).map(|part| part.table.as_str()).collect();
        let locks = Locks::Change(&tables);
        let pulled = self.pull_apart(
            scratch,
            &keyed.find,
            (locks, Some(values)),
            &mut budget,
            route,
        );
        let mut warned = pulled.await?;
        if keyed.find.pulls.len() > 1 {
            // Which rows of several tables are looked at, its plan says.
            warned.clear();
        }
        self.refuses_warned(keyed, &warned)?;
        let mut found = Found {
            warnings: warned,
            expected: Some(0),
            ..Found::default()
        };
        for (number, part) in all_of(keyed).enumerate() {
            let name = match number {
                0 => FOUND.to_owned(),
                number => format!("{FOUND}_{number}"),
            };
            let part = self.find_part((part, &name), scratch, values, &mut budget, &mut found);
            part.await?;
        }
        Ok(found)
    }

    /// Finds the rows of one table, in a temporary table of this name.
    async fn find_part(
        &mut self,
        (keyed, name): (&Keyed, &str),
        scratch: &mut Scratch,
        values: &[Parameter<'_>],
        budget: &mut Budget,
        found: &mut Found,
    ) -> Result<(), Failure> {
        let unserved = |why: &str| Failure::from(Fault::Sharding(why.into()));
        let nothing = || unserved("nothing finds its rows");
        let finish = keyed.find.finish.as_ref().ok_or_else(nothing)?;
        let part = self.part_of(&keyed.table, finish.source)?;
        let shown = self.shown(scratch, &part).await?;
        let table = ScratchTable::of_columns(&shown, name, &wanted(keyed));
        let why = "its values cannot be put in one place: columns are not there, or are computed";
        let table = table.ok_or_else(|| unserved(why))?;
        if let Then::Change { keys, .. } = &keyed.then
            && (0..*keys).any(|key| !table.compares(key))
        {
            return Err(unserved(
                "its rows would be changed by a key of a type that does not compare exactly",
            ));
        }
        scratch.compute().await?;
        let lent = self.lent_table(keyed, scratch, &shown, values).await?;
        let whole = lent.as_ref().map_or(&table, |lent| &lent.table);
        scratch.create(whole, name).await?;
        let names = self.names_found((keyed, name), finish);
        let stored = self.store_all(keyed, whole, scratch, values).await;
        let said = stored.map_err(|failure| in_words_of(failure, &names))?;
        let warned = std::mem::take(&mut found.warnings);
        found.warnings = with_warned(said.into_iter().filter_map(warning), warned, &names);
        let zones = self.has_zones();
        if (!zones || lent.is_some()) && is_ambiguous(whole, scratch).await? {
            return Err(unserved(
                "a TIMESTAMP is of an hour that the session's time zone has twice",
            ));
        }
        found.charsets.extend(whole.charsets());
        let lent = with_rows(lent, scratch, budget).await?;
        let rows = scratch.read((&table, &keyed.table), budget).await?;
        if has_outside(keyed, &table, &rows) {
            return Err(unserved("an ENUM holds no value of its list"));
        }
        let writing = self.writing(zones);
        let (statements, expected) =
            texts::statements(&keyed.then, (&table, &rows), lent.as_ref(), writing);
        // What they leave out, or another row of theirs takes along, is not found again.
        let expected = expected.filter(|_| !keyed.ignore && !ScratchTable::cascades(&shown));
        found.expected = found.expected.zip(expected).map(|(all, part)| all + part);
        found.rows += rows.len();
        found.statements.extend(statements);
        Ok(())
    }

    /// How literals of a step are written.
    fn writing(&mut self, zones: bool) -> Writing {
        Writing {
            no_backslash_escapes: self.dialect().no_backslash_escapes,
            utf8: self.text_is_utf8(),
            zones,
        }
    }

    /// Stores what the query finds; gives what the server said of it.
    async fn store_found(
        &mut self,
        keyed: &Keyed,
        table: &ScratchTable,
        scratch: &mut Scratch,
        own: &[Parameter<'_>],
    ) -> Result<Vec<Vec<Cell>>, Failure> {
        let finish = keyed.find.finish.as_ref().map_or(&b""[..], |f| &f.sql);
        let store = |joins| table.store(finish, keyed.ignore, joins);
        let stored = scratch.run_bound(&store(Joins::Any), own).await;
        let said = match stored {
            Ok(()) => Ok(scratch.query(b"SHOW WARNINGS").await?),
            Err(failure) => Err(failure),
        };
        let changes = matches!(keyed.then, Then::Change { .. });
        if !changes || !may_be_of_join(&said) || !self.joins_by_hash() {
            return said;
        }
        let empty = [b"TRUNCATE TABLE ", table.name()].concat();
        scratch.run(&empty).await?;
        scratch.run_bound(&store(Joins::Nested), own).await?;
        scratch.query(b"SHOW WARNINGS").await
    }

    /// Stores all that is found; gives what the server said of it.
    async fn store_all(
        &mut self,
        keyed: &Keyed,
        table: &ScratchTable,
        scratch: &mut Scratch,
        values: &[Parameter<'_>],
    ) -> Result<Vec<Vec<Cell>>, Failure> {
        if !keyed.rows.is_empty() {
            return self.store_rows(keyed, table, scratch, values).await;
        }
        let finish = keyed.find.finish.as_ref();
        let own = finish.map(|finish| selected(values, &finish.parameters));
        let own = own.unwrap_or_default();
        self.store_found(keyed, table, scratch, &own).await
    }

    /// Stores what queries of one row each find, one after the other; gives what the server said of all.
    async fn store_rows(
        &mut self,
        keyed: &Keyed,
        table: &ScratchTable,
        scratch: &mut Scratch,
        values: &[Parameter<'_>],
    ) -> Result<Vec<Vec<Cell>>, Failure> {
        let mut said = Vec::new();
        for (number, row) in (1..).zip(&keyed.rows) {
            self.may_go_on()?;
            let own = selected(values, &row.parameters);
            let sql = table.store(&row.text, keyed.ignore, Joins::Any);
            let stored = scratch.run_bound(&sql, &own).await;
            stored.map_err(|failure| of_row(failure, number))?;
            for mut row in scratch.query(b"SHOW WARNINGS").await? {
                if let Some(Some(message)) = row.get_mut(2) {
                    let mut text = message.to_vec();
                    renumber(&mut text, &[number]);
                    *message = text;
                }
                said.push(row);
            }
        }
        Ok(said)
    }

    /// Whether the servers have hash joins, and a hint that forbids them: MySQL since 8.0.18.
    fn joins_by_hash(&mut self) -> bool {
        let facts = self.server_facts();
        facts.is_some_and(|f| f.flavor == Flavor::MySql && f.version_id >= 80_018)
    }

    /// The table of rows that have more to give than their columns, if they have; `shown` is said of the one they are for.
    async fn lent_table(
        &mut self,
        keyed: &Keyed,
        scratch: &mut Scratch,
        shown: &[u8],
        values: &[Parameter<'_>],
    ) -> Result<Option<LentTable>, Failure> {
        let Then::Insert {
            lent: Some(lent), ..
        } = &keyed.then
        else {
            return Ok(None);
        };
        let own = selected(values, &lent.typed.parameters);
        scratch.create_as(LENT, &lent.typed.text, &own).await?;
        let part = PullPart {
            source: scratch.source(),
            shard: None,
            table: LENT.to_owned(),
        };
        let types = self.shown(scratch, &part).await?;
        scratch.compute().await?;
        let flavor = self.dialect().flavor;
        let table = LentTable::of(shown, &types, (FOUND, &wanted(keyed)), flavor);
        let why = "a column of the query that ON DUPLICATE KEY UPDATE reads, or one that the rows have, is of a type whose \
                   values cannot be given to other nodes so";
        let table = table.ok_or_else(|| Fault::Sharding(why.into()))?;
        Ok(Some(table))
    }

    /// What servers warn of while rows are found is the change's own error, where one server's would be: MariaDB finds rows
    /// first as well, where they are sorted or joined, and goes on.
    fn refuses_warned(&mut self, keyed: &Keyed, warned: &[Warning]) -> Result<(), Failure> {
        let (text, code, sqlstate) = NOT_CONVERTED;
        match warned.iter().find(|row| row.code == text) {
            Some(row) if !keyed.ignore && !self.is_mariadb() && self.is_strict() => {
                Err(Fault::Server {
                    code,
                    sqlstate: sqlstate.to_owned(),
                    message: String::from_utf8_lossy(&row.message).into_owned(),
                }
                .into())
            }
            _ => Ok(()),
        }
    }

    /// Whether literals have a time zone: MySQL since 8.0.19; what the list of the key says is compared otherwise.
    pub(in super::super) fn has_zones(&mut self) -> bool {
        let facts = self.server_facts();
        facts.is_some_and(|f| f.flavor == Flavor::MySql && f.version_id >= 80_019)
    }

    /// Whether values that do not fit are errors.
    fn is_strict(&mut self) -> bool {
        let mode = match self.state.vector.value_of("sql_mode") {
            Some(own) => own.to_vec(),
            None => {
                let facts = self.server_facts();
                let mode = facts.and_then(|facts| Some(facts.default_of("sql_mode")?.to_vec()));
                mode.unwrap_or_default()
            }
        };
        let mode = mode.to_ascii_uppercase();
        let has = |word: &[u8]| mode.windows(word.len()).any(|part| part == word);
        has(b"STRICT_TRANS_TABLES") || has(b"STRICT_ALL_TABLES") || has(b"TRADITIONAL")
    }

    /// Where the definition of a table can be read.
    fn part_of(&mut self, table: &str, near: usize) -> Result<PullPart, Failure> {
        use dbmesh_model::topology::sharding::Table;
        let gone = || Fault::Sharding("the service is not sharded any more".into());
        let known = self.known_tables().ok_or_else(gone)?;
        let whole = |source| PullPart {
            source,
            shard: None,
            table: table.to_owned(),
        };
        Ok(match known.sharding.tables.get(table) {
            Some(Table::Sharded(sharded)) => {
                let mut shards = sharded.shards.iter();
                let shard = shards.find(|shard| shard.source == near);
                let shard = shard.or_else(|| sharded.shards.first()).ok_or_else(gone)?;
                PullPart {
                    source: shard.source,
                    shard: None,
                    table: shard.table.clone(),
                }
            }
            Some(Table::Broadcast) => whole(near),
            Some(Table::Single(source)) => whole(*source),
            None => whole(known.sharding.default_source.unwrap_or(0)),
        })
    }

    /// What the client calls the temporary tables.
    fn names_found(&self, (keyed, name): (&Keyed, &str), finish: &NodeStatement) -> Names {
        let mut node = finish.clone();
        node.tables.push((name.to_owned(), keyed.table.clone()));
        let names = self.names_of(std::slice::from_ref(&node));
        names.map(|names| Names::clone(&names)).unwrap_or_default()
    }
}

/// A change, and what is changed besides.
pub(super) fn all_of(keyed: &Keyed) -> impl Iterator<Item = &Keyed> {
    std::iter::once(keyed).chain(&keyed.also)
}

/// The columns of what is found.
fn wanted(keyed: &Keyed) -> Wanted<'_> {
    Wanted {
        columns: &keyed.columns,
        moments: &keyed.moments,
        asking: keyed.asking.as_deref(),
    }
}

/// Whether a hash join may have said it, and not the values that were found.
fn may_be_of_join(said: &Result<Vec<Vec<Cell>>, Failure>) -> bool {
    let may_be = |code: &[u8], message: &[u8]| {
        let unnamed = || message.windows(UNNAMED.len()).any(|part| part == UNNAMED);
        code == NO_SUCH_TIME || unnamed()
    };
    match said {
        Err(Failure::Fault(Fault::Server { code, message, .. })) => {
            may_be(code.to_string().as_bytes(), message.as_bytes())
        }
        Err(_) => false,
        Ok(rows) => rows.iter().any(|row| match row.as_slice() {
            [_, Some(code), Some(message), ..] => may_be(code, message),
            _ => false,
        }),
    }
}

/// A server's error of the only row of a statement, as that of a row of this number.
fn of_row(failure: Failure, number: u32) -> Failure {
    match failure {
        Failure::Fault(Fault::Server {
            code,
            sqlstate,
            message,
        }) => {
            let mut message = message.into_bytes();
            renumber(&mut message, &[number]);
            Fault::Server {
                code,
                sqlstate,
                message: String::from_utf8_lossy(&message).into_owned(),
            }
            .into()
        }
        other => other,
    }
}

/// Rows as they go with what is lent to them.
async fn with_rows(
    lent: Option<LentTable>,
    scratch: &mut Scratch,
    budget: &mut Budget,
) -> Result<Option<LentRows>, Failure> {
    let Some(lent) = lent else {
        return Ok(None);
    };
    let rows = scratch.texts(&lent.read(), budget).await?;
    Ok(Some((lent, rows)))
}

/// What was said while rows were found, and then: what was found is compared once more, with the same words.
fn with_warned(
    said: impl Iterator<Item = Warning>,
    mut warned: Vec<Warning>,
    names: &Names,
) -> Vec<Warning> {
    let found = warned.len();
    for mut row in said {
        row.message = names.text(&row.message);
        let again = warned.iter().take(found);
        if again.into_iter().all(|known| known.message != row.message) {
            warned.push(row);
        }
    }
    warned
}

/// Whether a moment would not come back from its time in the session's zone.
async fn is_ambiguous(table: &ScratchTable, scratch: &mut Scratch) -> Result<bool, Failure> {
    let Some(ambiguous) = table.ambiguous() else {
        return Ok(false);
    };
    let found = scratch.query(&ambiguous).await?;
    Ok(found.first().and_then(|row| row.first()?.as_deref()) != Some(b"0"))
}

/// Whether a value is an ENUM's that holds no value of its list, which one server stores without a word. Of one that is
/// computed it has warned by now, or has refused it.
fn has_outside(keyed: &Keyed, table: &ScratchTable, rows: &[Vec<Cell>]) -> bool {
    let mut values = rows.iter().flat_map(|row| row.iter().enumerate());
    let pulled = !keyed.find.pulls.is_empty() || matches!(keyed.then, Then::Change { .. });
    pulled && values.any(|(at, value)| value.as_deref().is_some_and(|v| table.is_outside(at, v)))
}
