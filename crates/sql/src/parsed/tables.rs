//! The tables of a statement, and which of them it writes.
//!
//! Owns the rule for joins that are updated: a table is written when an assignment or target names it; where that cannot
//! be told, all of them are. Must never miss a table, nor take a common table expression for one.

use crate::ast::{
    Ast, Body, Call, CallKind, ExplainedBody, Id, Insert, List, LoadData, MentionRole, Name, Query,
    QueryBody, TableName, TableRef, TableRefKind, unquoted,
};
use crate::dialect::Dialect;
use crate::lexer::Span;

/// Tables that the servers take in one join. With more, all are taken for written.
const JOINED_TABLES_MAX: usize = 61;

/// Table uses above which the memory of the statement before is given back.
const RETAINED_TABLES: usize = 1024;

/// What is done with a table's rows, or with the table itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Rows or the definition are read.
    Read,
    /// Rows or the definition are changed.
    Write,
}

/// One use of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableUse {
    /// Schema and name; its span is what a rewriter replaces.
    pub name: Name,
    /// Its alias.
    pub alias: Option<Span>,
    /// Read or written.
    pub access: Access,
    /// Its place in FROM, for joins and hints.
    pub table_ref: Option<Id<TableRef>>,
    /// Its role in DDL and administration.
    pub role: Option<MentionRole>,
}

impl TableUse {
    /// The schema before the dot.
    pub fn schema_name(&self) -> Option<Span> {
        self.name.qualifier
    }

    fn read(name: Name) -> Self {
        Self {
            name,
            alias: None,
            access: Access::Read,
            table_ref: None,
            role: None,
        }
    }
}

pub(super) fn collect(ast: &Ast, sql: &[u8], dialect: &Dialect, into: &mut Vec<TableUse>) {
    into.clear();
    if into.capacity() > RETAINED_TABLES {
        *into = Vec::new();
    }
    references(ast, into);
    let referenced = into.len();
    if let Some(places) = into.get_mut(..referenced) {
        Writes {
            ast,
            sql,
            dialect,
            places,
        }
        .mark();
    }
    outside_of_from(ast, into);
}

/// Tables in FROM, in the order of their numbers.
fn references(ast: &Ast, into: &mut Vec<TableUse>) {
    let all = ast.all::<TableRef>();
    for (id, node) in List::whole(all.len()).ids().zip(all) {
        let TableRefKind::Table { table, .. } = node.kind else {
            continue;
        };
        if let Some(name) = base_table(ast, table) {
            into.push(TableUse {
                alias: node.alias,
                table_ref: Some(id),
                ..TableUse::read(name)
            });
        }
    }
}

fn base_table(ast: &Ast, table: Id<TableName>) -> Option<Name> {
    let table = ast.node(table)?;
    table.common_table.is_none().then_some(table.name)
}

/// Targets of INSERT and LOAD, `TABLE t`, and what DDL and administration name.
fn outside_of_from(ast: &Ast, into: &mut Vec<TableUse>) {
    let runs = !matches!(ast.statement().body, Body::Explain { runs: false, .. });
    let written = match runs {
        true => Access::Write,
        false => Access::Read,
    };
    let inserted = ast.all::<Insert>().iter().map(|insert| insert.table);
    let loaded = ast.all::<LoadData>().iter().map(|load| load.table);
    for table in inserted.chain(loaded) {
        if let Some(name) = base_table(ast, table) {
            into.push(TableUse {
                access: written,
                ..TableUse::read(name)
            });
        }
    }
    for query in ast.all::<Query>() {
        if let QueryBody::Table(table) = query.body
            && let Some(name) = base_table(ast, table)
        {
            into.push(TableUse::read(name));
        }
    }
    for call in ast.all::<Call>() {
        if call.kind == CallKind::Sequence {
            // The next value of a sequence is a row it keeps.
            into.push(TableUse {
                access: Access::Write,
                ..TableUse::read(call.name)
            });
        }
    }
    for mention in ast.mentions() {
        let access = match mention.role {
            MentionRole::Read | MentionRole::Referenced => Access::Read,
            _ => Access::Write,
        };
        into.push(TableUse {
            alias: mention.alias,
            access,
            role: Some(mention.role),
            ..TableUse::read(mention.name)
        });
    }
}

/// Marks what UPDATE and DELETE write among the tables in FROM.
struct Writes<'a> {
    ast: &'a Ast,
    sql: &'a [u8],
    dialect: &'a Dialect,
    places: &'a mut [TableUse],
}

impl Writes<'_> {
    fn mark(&mut self) {
        let body = self.ast.statement().body;
        match body {
            Body::Update(update)
            | Body::Explain {
                body: ExplainedBody::Update(update),
                runs: true,
                ..
            } => {
                if let Some(update) = self.ast.node(update) {
                    let written = self.ast.list(update.assignments).iter();
                    self.mark_named(update.tables, written.map(|a| table_of_column(a.column)));
                }
            }
            Body::Delete(delete)
            | Body::Explain {
                body: ExplainedBody::Delete(delete),
                runs: true,
                ..
            } => {
                if let Some(delete) = self.ast.node(delete) {
                    let targets = self.ast.list(delete.targets).iter();
                    self.mark_named(delete.tables, targets.map(|name| Some(*name)));
                }
            }
            _ => {}
        }
    }

    /// Of the joined tables, those that `names` mean are written; all, when one of the names means none of them.
    fn mark_named(
        &mut self,
        tables: List<Id<TableRef>>,
        names: impl ExactSizeIterator<Item = Option<Name>>,
    ) {
        if let [table] = self.ast.list(tables)
            && let Ok(place) = self.place(*table)
        {
            self.write(place);
            return;
        }
        let mut joined = Vec::new();
        for table in self.ast.list(tables) {
            self.joined(*table, &mut joined);
        }
        let mut all = joined.len() == 1 || joined.len() > JOINED_TABLES_MAX || names.len() == 0;
        if !all {
            for name in names {
                let found = name.and_then(|name| self.meant(&joined, name));
                match found {
                    Some(place) => self.write(place),
                    None => {
                        all = true;
                        break;
                    }
                }
            }
        }
        if all {
            for place in joined {
                self.write(place);
            }
        }
    }

    /// Where the table is among the places, which are in the order of their numbers.
    fn place(&self, table: Id<TableRef>) -> Result<usize, usize> {
        self.places
            .binary_search_by_key(&Some(table), |known| known.table_ref)
    }

    fn write(&mut self, place: usize) {
        if let Some(table) = self.places.get_mut(place) {
            table.access = Access::Write;
        }
    }

    /// The base tables under `table`; the left operands of joins are followed without recursion.
    fn joined(&self, mut table: Id<TableRef>, into: &mut Vec<usize>) {
        while let Some(node) = self.ast.node(table) {
            match node.kind {
                TableRefKind::Table { .. } => {
                    into.extend(self.place(table).ok());
                    return;
                }
                TableRefKind::Parenthesised(list) => {
                    for inner in self.ast.list(list) {
                        self.joined(*inner, into);
                    }
                    return;
                }
                TableRefKind::Join(join) => {
                    let Some(join) = self.ast.node(join) else {
                        return;
                    };
                    self.joined(join.right, into);
                    table = join.left;
                }
                TableRefKind::Derived { .. } | TableRefKind::JsonTable { .. } => return,
            }
        }
    }

    /// The one table that `name` means: by alias, or by name where it has none.
    fn meant(&self, joined: &[usize], name: Name) -> Option<usize> {
        let mut means = joined.iter().copied().filter(|place| {
            self.places.get(*place).is_some_and(|table| {
                let known = table.alias.unwrap_or(table.name.name);
                let schemas = match (name.qualifier, table.alias, table.name.qualifier) {
                    (Some(said), None, Some(of_table)) => self.same(said, of_table),
                    (Some(_), Some(_), _) => false,
                    _ => true,
                };
                self.same(known, name.name) && schemas
            })
        });
        let first = means.next()?;
        means.next().is_none().then_some(first)
    }

    fn same(&self, one: Span, other: Span) -> bool {
        let name = |span: Span| unquoted(span.of(self.sql), self.dialect);
        name(one).eq_ignore_ascii_case(&name(other))
    }
}

/// The table in `t.a` and `db.t.a`; none in `a`.
fn table_of_column(column: Name) -> Option<Name> {
    let table = column.qualifier?;
    Some(Name {
        span: table,
        name: table,
        qualifier: column.schema,
        schema: None,
    })
}
