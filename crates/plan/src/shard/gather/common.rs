//! Common table expressions that are read several times, over tables that can be named only once.
//!
//! Owns the definitions of a WITH, written once for every reading of each, all over pulled tables of their own. Must never
//! expand without a bound, as definitions that read one another double, nor write twice what comes out otherwise each time.

use dbmesh_sql::Span;
use dbmesh_sql::ast::{Call, CommonTable, Query, TableName, TableRef, TableRefKind};

use super::super::reason::{RefuseReason, Stop};
use super::super::rewrite::{self, Copied, Naming, Splice};
use super::super::scope::Scope;
use super::SCRATCH_PREFIX;

/// Functions that give another value each time.
const VARYING: [&str; 6] = [
    "rand",
    "random_bytes",
    "sleep",
    "sysdate",
    "uuid",
    "uuid_short",
];

/// Most definitions in the place of those that were written.
const DEFINITIONS_MAX: usize = 32;

/// Lists of definitions, written anew.
#[derive(Debug)]
pub struct Expanded {
    /// Uses of tables inside, with the names of what is pulled for each reading.
    pub pulls: Vec<(usize, String)>,
    /// What changes: the definitions, and the names of what is read outside of them.
    pub splices: Vec<Splice>,
    /// Where they stood.
    pub within: Vec<Span>,
}

impl Expanded {
    /// Whether a span is in one of the lists.
    pub fn holds(&self, span: Span) -> bool {
        self.within.iter().any(|within| inside(*within, span))
    }
}

/// One reading of a common table.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// The definition that it means.
    definition: Span,
    name: Span,
    aliased: bool,
}

fn inside(outer: Span, inner: Span) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

fn readings(scope: &Scope<'_>) -> Vec<Reading> {
    let reading = |reference: &TableRef| {
        let TableRefKind::Table { table, .. } = reference.kind else {
            return None;
        };
        let table: &TableName = scope.ast.node(table)?;
        Some(Reading {
            definition: table.common_table?,
            name: table.name.span,
            aliased: reference.alias.is_some(),
        })
    };
    scope
        .ast
        .all::<TableRef>()
        .iter()
        .filter_map(reading)
        .collect()
}

/// The definitions once for every reading; none if no pulled table is named twice as they are. `pulled` says of every use
/// whether it is.
pub fn expand(scope: &Scope<'_>, pulled: &[bool]) -> Result<Option<Expanded>, Stop> {
    let readings = readings(scope);
    let definitions = scope.ast.all::<CommonTable>();
    let pulls = |span: Span| {
        let uses = scope.uses.iter().zip(pulled);
        uses.into_iter()
            .any(|(table, pulled)| *pulled && inside(span, table.name.span))
    };
    let reads_of = |table: &CommonTable| {
        let others = readings
            .iter()
            .filter(|r| r.definition == table.name && !inside(table.span, r.name));
        others.count()
    };
    // What a definition reads, it reads once more for each of its own readings.
    let twice = |table: &&CommonTable| reads_of(table) > 1;
    let reached = |table: &CommonTable| {
        pulls(table.span) || readings.iter().any(|r| inside(table.span, r.name))
    };
    let mut again = definitions
        .iter()
        .filter(twice)
        .filter(|t| reached(t))
        .peekable();
    if again.peek().is_none() {
        return Ok(None);
    }
    let lists = lists(scope, &again.collect::<Vec<_>>())?;
    let mut expanded = Expanded {
        pulls: Vec::new(),
        splices: Vec::new(),
        within: Vec::new(),
    };
    let mut count = 0;
    for tables in lists {
        let (Some(first), Some(last)) = (tables.first(), tables.last()) else {
            continue;
        };
        let within = Span {
            start: first.span.start,
            end: last.span.end,
        };
        // What is written several times has no lists inside that are.
        let mut others = expanded.within.iter();
        if others.any(|other| inside(*other, within) || inside(within, *other)) {
            return Err(RefuseReason::CommonTableTwice.into());
        }
        let mut expansion = Expansion {
            scope,
            pulled,
            tables,
            within,
            readings: &readings,
            definitions: Vec::new(),
            pulls: Vec::new(),
            count,
        };
        expanded.splices.extend(expansion.all()?);
        count = expansion.count;
        expanded.pulls.extend(expansion.pulls);
        expanded.within.push(within);
    }
    Ok(Some(expanded))
}

/// The lists of definitions in which these are.
fn lists<'s>(scope: &'s Scope<'_>, again: &[&CommonTable]) -> Result<Vec<&'s [CommonTable]>, Stop> {
    let one_of = |table: &CommonTable| again.iter().any(|known| known.name == table.name);
    let queries = scope.ast.all::<Query>().iter();
    let lists = queries.filter_map(|query| Some(scope.ast.list(query.with?.tables)));
    let lists: Vec<&[CommonTable]> = lists.filter(|tables| tables.iter().any(one_of)).collect();
    let listed = |table: &&&CommonTable| {
        let mut tables = lists.iter().copied().flatten();
        tables.any(|known| known.name == table.name)
    };
    match again.iter().all(|table| listed(&table)) && !again.iter().any(|t| varies(scope, t)) {
        true => Ok(lists),
        false => Err(RefuseReason::CommonTableTwice.into()),
    }
}

/// Whether a definition comes out otherwise each time, for which servers compute it once.
fn varies(scope: &Scope<'_>, table: &CommonTable) -> bool {
    let mut calls = scope.ast.all::<Call>().iter();
    calls.any(|call| {
        inside(table.span, call.span) && VARYING.contains(&scope.lower(call.name.name).as_str())
    })
}

struct Expansion<'s, 'a> {
    scope: &'s Scope<'a>,
    pulled: &'s [bool],
    tables: &'s [CommonTable],
    /// Where they stand.
    within: Span,
    readings: &'s [Reading],
    definitions: Vec<Copied>,
    pulls: Vec<(usize, String)>,
    count: usize,
}

impl Expansion<'_, '_> {
    /// Definitions for all readings outside of the list, and these readings.
    fn all(&mut self) -> Result<Vec<Splice>, Stop> {
        let mut splices = Vec::new();
        let within = self.within;
        for reading in self.readings.iter().filter(|r| !inside(within, r.name)) {
            splices.extend(self.read(reading)?);
        }
        let mut list = Copied::default();
        for (place, definition) in std::mem::take(&mut self.definitions)
            .into_iter()
            .enumerate()
        {
            if place > 0 {
                list.push(b", ");
            }
            list.append(definition);
        }
        splices.push(list.splice(within));
        Ok(splices)
    }

    /// A definition for a reading, and the reading of that one. Definitions read earlier ones only, so this ends.
    fn read(&mut self, reading: &Reading) -> Result<Vec<Splice>, Stop> {
        let known = self.tables.iter().find(|t| t.name == reading.definition);
        match known {
            Some(table) => {
                let name = self.define(*table)?;
                Ok(renamed(self.scope, reading, &name))
            }
            // One of another WITH. What is read in this list would be read as often as the list is written.
            None if self.is_written_elsewhere(reading) => {
                Err(RefuseReason::CommonTableTwice.into())
            }
            None => Ok(Vec::new()),
        }
    }

    /// Whether the reading stands in the list, and its definition outside of it.
    fn is_written_elsewhere(&self, reading: &Reading) -> bool {
        inside(self.within, reading.name) && !inside(self.within, reading.definition)
    }

    fn define(&mut self, table: CommonTable) -> Result<String, Stop> {
        self.count += 1;
        if self.count > DEFINITIONS_MAX {
            return Err(RefuseReason::CommonTableTwice.into());
        }
        let number = self.count;
        let name = format!("{SCRATCH_PREFIX}with_{number}");
        let mut changes = vec![Splice::text(table.name, name.as_str())];
        let within = self.readings.iter().filter(|r| inside(table.span, r.name));
        for reading in within {
            changes.extend(match reading.definition == table.name {
                true => renamed(self.scope, reading, &name),
                false => self.read(reading)?,
            });
        }
        let mut names = vec![None; self.scope.uses.len()];
        for (place, used) in self.scope.uses.iter().enumerate() {
            if self.pulled.get(place) == Some(&true) && inside(table.span, used.name.span) {
                let scratch = format!("{SCRATCH_PREFIX}{place}_{number}");
                self.pulls.push((place, scratch.clone()));
                if let Some(name) = names.get_mut(place) {
                    *name = Some(scratch);
                }
            }
        }
        let splices = rewrite::splices(self.scope, Naming::Scratch(&names), changes)?;
        self.definitions
            .push(rewrite::copy(self.scope, table.span, &splices));
        Ok(name)
    }
}

/// A reading under another name, which keeps its own as alias.
fn renamed(scope: &Scope<'_>, reading: &Reading, name: &str) -> Vec<Splice> {
    let mut splices = vec![Splice::text(reading.name, name)];
    if !reading.aliased {
        let mut alias = b" AS ".to_vec();
        alias.extend_from_slice(scope.text(reading.name));
        splices.push(Splice::insert(reading.name.end, alias));
    }
    splices
}
