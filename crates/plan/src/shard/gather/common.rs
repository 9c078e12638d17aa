//! Common table expressions that are read several times, over tables that can be named only once.
//!
//! Owns the definitions of the outermost WITH, written once for every reading of each, all over pulled tables of their own.
//! Must never expand without a bound: definitions that read one another double.

use dbmesh_sql::Span;
use dbmesh_sql::ast::{Body, CommonTable, TableName, TableRef, TableRefKind};

use super::super::reason::{RefuseReason, Stop};
use super::super::rewrite::{self, Copied, Naming, Splice};
use super::super::scope::Scope;
use super::SCRATCH_PREFIX;

/// Most definitions in the place of those that were written.
const DEFINITIONS_MAX: usize = 32;

/// The statement's WITH, written anew.
#[derive(Debug)]
pub struct Expanded {
    /// Uses of tables inside, with the names of what is pulled for each reading.
    pub pulls: Vec<(usize, String)>,
    /// What changes: the definitions, and the names of what is read outside of them.
    pub splices: Vec<Splice>,
    /// Where the definitions stood.
    pub within: Span,
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
    let outermost = match scope.ast.statement().body {
        Body::Query(query) => scope.ast.node(query).and_then(|query| query.with),
        _ => None,
    };
    let tables = outermost.map_or(&[][..], |with| scope.ast.list(with.tables));
    if !again.all(|table| tables.iter().any(|t| t.name == table.name)) {
        return Err(RefuseReason::CommonTableTwice.into());
    }
    let (Some(first), Some(last)) = (tables.first(), tables.last()) else {
        return Ok(None);
    };
    let within = Span {
        start: first.span.start,
        end: last.span.end,
    };
    let mut expansion = Expansion {
        scope,
        pulled,
        tables,
        readings: &readings,
        definitions: Vec::new(),
        pulls: Vec::new(),
        count: 0,
    };
    let outside = readings.iter().filter(|r| !inside(within, r.name));
    let mut splices = Vec::new();
    for reading in outside {
        splices.extend(expansion.read(reading)?);
    }
    let mut list = Copied::default();
    for (place, definition) in expansion.definitions.into_iter().enumerate() {
        if place > 0 {
            list.push(b", ");
        }
        list.append(definition);
    }
    splices.push(list.splice(within));
    Ok(Some(Expanded {
        pulls: expansion.pulls,
        splices,
        within,
    }))
}

struct Expansion<'s, 'a> {
    scope: &'s Scope<'a>,
    pulled: &'s [bool],
    tables: &'s [CommonTable],
    readings: &'s [Reading],
    definitions: Vec<Copied>,
    pulls: Vec<(usize, String)>,
    count: usize,
}

impl Expansion<'_, '_> {
    /// A definition for a reading, and the reading of that one. Definitions read earlier ones only, so this ends.
    fn read(&mut self, reading: &Reading) -> Result<Vec<Splice>, Stop> {
        let known = self.tables.iter().find(|t| t.name == reading.definition);
        match known {
            Some(table) => {
                let name = self.define(*table)?;
                Ok(renamed(self.scope, reading, &name))
            }
            // One of an inner WITH, which is read once.
            None => Ok(Vec::new()),
        }
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
