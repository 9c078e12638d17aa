//! What named columns say of the statement at hand: whether it is a shadow statement, and which keys of units it has.
//!
//! Owns the reader of this thread and the verdict over all rows of a statement. It must never let a write through whose
//! values cannot be told from those of a shadow: it is refused, with the reason. Input: the strategy's columns, texts,
//! bound parameters.

use std::cell::RefCell;
use std::collections::BTreeSet;

use dbmesh_model::topology::{ColumnRef, RowOperation, ShadowColumn, ShadowRule};
use dbmesh_plan::columns::{Asked, ColumnReader, Operation, Texts, Told};
use dbmesh_plan::shard::value::Said;
use dbmesh_sql::{Class, Dialect, Statement, split};

use super::Session;
use super::demand::{Attributes, Carried};
use crate::fault::Fault;

thread_local! {
    static READER: RefCell<ColumnReader> = RefCell::default();
}

/// What columns say of one statement; of two columns of a table, the greater one holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// Nothing.
    Silent,
    /// None of its rows is a shadow's.
    Unmarked,
    /// It cannot be told, or both: why.
    Refused(&'static str),
    /// All its rows are a shadow's.
    Marked,
}

/// Rows of both kinds in one statement have no place to go.
const MIXED: &str = "it has rows of the shadow and others";

/// The keys in a statement.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Those that are known.
    pub known: BTreeSet<String>,
    /// Whether rows have a key that is not known, or none.
    pub unknown: bool,
}

/// A statement as its columns are read.
pub(super) struct Read<'a> {
    pub statement: &'a Statement,
    pub sql: &'a [u8],
    pub carried: &'a Carried<'a>,
}

impl Session {
    /// The values bound to an execution, if columns ask for them.
    pub(super) fn asks_for_columns(&self) -> bool {
        let strategy = &self.serving.service.strategy;
        let shadow = strategy.shadow.iter().flat_map(|shadow| &shadow.rules);
        let mut shadow = shadow.filter(|rule| !rule.columns.is_empty());
        let units = strategy.units.as_ref();
        shadow.next().is_some() || units.is_some_and(|units| !units.columns.is_empty())
    }

    /// Whether columns make it a shadow statement, by one of these rules.
    pub(super) fn is_marked_by_columns<'r>(
        &mut self,
        rules: impl Iterator<Item = &'r ShadowRule>,
        read: &Read<'_>,
    ) -> Result<bool, Fault> {
        if !has_rows(read.statement) {
            return Ok(false);
        }
        let later = matches!(read.carried.attributes, Attributes::Later);
        let columns: Vec<&ShadowColumn> = rules.flat_map(|rule| &rule.columns).collect();
        let mut whole = Verdict::Silent;
        self.each_statement(read, |asked| {
            let verdict = match &asked {
                Some(asked) => of_statement(asked, &columns),
                None if writes(read.statement) => {
                    Verdict::Refused("it cannot be parsed, and may write such rows")
                }
                None => Verdict::Silent,
            };
            whole = both(whole, verdict);
        });
        match whole {
            Verdict::Marked => Ok(true),
            Verdict::Refused(why) if !later => Err(Fault::Misplaced(format!(
                "whether it is a shadow statement cannot be told by its columns: {why}"
            ))),
            _ => Ok(false),
        }
    }

    /// The keys of units in the columns of a statement.
    pub(super) fn keys_of(&mut self, columns: &[ColumnRef], read: &Read<'_>) -> Keys {
        let mut keys = Keys::default();
        if columns.is_empty() || !has_rows(read.statement) {
            return keys;
        }
        self.each_statement(read, |asked| {
            let Some(asked) = asked else {
                keys.unknown = true;
                return;
            };
            for column in columns {
                match asked.told(column) {
                    Told::Untouched => {}
                    Told::Unsaid | Told::Hidden(_) => keys.unknown = true,
                    Told::Values(values) => {
                        for value in values {
                            match value {
                                Said::Text(text) => match String::from_utf8(text) {
                                    Ok(key) => {
                                        keys.known.insert(key);
                                    }
                                    Err(_) => keys.unknown = true,
                                },
                                Said::Null | Said::Unknown => keys.unknown = true,
                            }
                        }
                    }
                }
            }
        });
        keys
    }

    /// Asks each of the statements in a text.
    fn each_statement(&mut self, read: &Read<'_>, mut ask: impl FnMut(Option<Asked<'_>>)) {
        let dialect: Dialect = self.dialect();
        let utf8 = self.state.client_charset().starts_with("utf8");
        let schema = self.state.vector.schema.clone();
        let pieces: Vec<&[u8]> = match read.statement.statements {
            0 | 1 => vec![read.sql],
            _ => {
                let spans = split(read.sql, &dialect).into_iter();
                spans.map(|span| span.of(read.sql)).collect()
            }
        };
        READER.with_borrow_mut(|reader| {
            for sql in pieces {
                ask(reader.read(Texts {
                    sql,
                    dialect: &dialect,
                    schema: schema.as_deref(),
                    utf8,
                    parameters: read.carried.bound.as_deref(),
                }));
            }
        });
    }
}

/// Whether it may write or ask for rows.
fn has_rows(statement: &Statement) -> bool {
    matches!(statement.class, Class::Read | Class::Write | Class::Unknown)
        || statement.statements > 1
}

fn writes(statement: &Statement) -> bool {
    statement.class != Class::Read
}

fn verdict(asked: &Asked<'_>, column: &ShadowColumn) -> Verdict {
    let operation = match asked.operation() {
        Operation::Insert => Some(RowOperation::Insert),
        Operation::Update => Some(RowOperation::Update),
        Operation::Delete => Some(RowOperation::Delete),
        Operation::Select => Some(RowOperation::Select),
        Operation::Other => None,
    };
    let listed = (column.operations.as_ref())
        .is_none_or(|all| operation.is_some_and(|operation| all.contains(&operation)));
    if !listed {
        return Verdict::Silent;
    }
    match asked.told(&column.column) {
        Told::Untouched | Told::Unsaid => Verdict::Silent,
        Told::Hidden(why) => Verdict::Refused(why),
        Told::Values(values) => {
            let is_match = |said: &Said| match said {
                Said::Text(text) => column.is_match(text),
                Said::Null | Said::Unknown => false,
            };
            match values.iter().filter(|said| is_match(said)).count() {
                0 => Verdict::Unmarked,
                count if count == values.len() => Verdict::Marked,
                _ => Verdict::Refused(MIXED),
            }
        }
    }
}

/// What the columns of all tables say of one statement.
fn of_statement(asked: &Asked<'_>, columns: &[&ShadowColumn]) -> Verdict {
    let mut tables: Vec<(&ColumnRef, Verdict)> = Vec::new();
    for shadow in columns {
        let (column, verdict) = (&shadow.column, verdict(asked, shadow));
        let same = |known: &&mut (&ColumnRef, Verdict)| {
            let schemas = (&known.0.schema, &column.schema);
            let apart = matches!(schemas, (Some(one), Some(other)) if one != other);
            known.0.table == column.table && !apart
        };
        match tables.iter_mut().find(same) {
            Some(known) => known.1 = known.1.max(verdict),
            None => tables.push((column, verdict)),
        }
    }
    let verdicts = tables.into_iter().map(|(_, verdict)| verdict);
    verdicts.fold(Verdict::Silent, both)
}

/// Two tables of one statement, or two statements of one text, must agree.
fn both(one: Verdict, other: Verdict) -> Verdict {
    match (one, other) {
        (Verdict::Refused(why), _) | (_, Verdict::Refused(why)) => Verdict::Refused(why),
        (Verdict::Silent, verdict) | (verdict, Verdict::Silent) => verdict,
        (one, other) if one == other => one,
        _ => Verdict::Refused(MIXED),
    }
}
