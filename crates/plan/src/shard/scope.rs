//! Which table every name means, and in which query block it stands.
//!
//! Owns the resolution of tables and columns. Must never resolve a column that may mean another table's: such a column
//! binds nothing. Blocks nest by their spans.

use std::borrow::Cow;

use dbmesh_model::topology::sharding::{ShardedTable, Table};
use dbmesh_sql::ast::{
    Ast, Body, Call, ExplainedBody, Expr, ExprId, ExprKind, Id, Insert, Join, JoinKind,
    MentionRole, Name, Select, TableRef, TableRefKind,
};
use dbmesh_sql::parsed::{Access, TableUse};
use dbmesh_sql::{Facts, ParsedFacts, Span};

use super::Input;
use super::dictionary::{self, View};
use super::reason::{RefuseReason, Stop};
use super::value::{Reading, Variables};

const SYSTEM_SCHEMAS: [&str; 4] = ["information_schema", "performance_schema", "mysql", "sys"];

/// Where the rows of a table are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    Sharded(&'a ShardedTable),
    Broadcast,
    Single(usize),
    /// A view of information_schema.
    Dictionary(&'static View),
}

/// One use of a table.
#[derive(Debug, Clone)]
pub(super) struct Use<'a> {
    pub name: Name,
    pub place: Place<'a>,
    /// The table's name, as it is listed.
    pub table: String,
    /// The name that columns are qualified with, in lower case.
    pub exposed: String,
    pub aliased: bool,
    pub block: Option<usize>,
    pub table_ref: Option<Id<TableRef>>,
    pub role: Option<MentionRole>,
    pub access: Access,
}

impl<'a> Use<'a> {
    pub fn sharded(&self) -> Option<&'a ShardedTable> {
        match self.place {
            Place::Sharded(table) => Some(table),
            _ => None,
        }
    }
}

/// A query block, or the tables and WHERE of an UPDATE or DELETE.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub span: Span,
    pub select: Option<Select>,
    pub roots: Vec<Id<TableRef>>,
    pub selection: Option<ExprId>,
    pub parent: Option<usize>,
    /// Tables and derived tables in FROM.
    pub leaves: Vec<Id<TableRef>>,
}

/// Who gets what a query gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    /// The client, who sees what columns are called.
    Client,
    /// A step of dbmesh's own.
    Step,
}

/// A statement with its names resolved.
pub(super) struct Scope<'a> {
    pub input: Input<'a>,
    pub answers: Answers,
    pub ast: &'a Ast,
    pub facts: &'a ParsedFacts,
    pub uses: Vec<Use<'a>>,
    pub blocks: Vec<Block>,
}

impl<'a> Scope<'a> {
    pub fn of(input: Input<'a>, ast: &'a Ast, facts: &'a ParsedFacts) -> Result<Self, Stop> {
        let mut scope = Self {
            input,
            answers: Answers::Client,
            ast,
            facts,
            uses: Vec::new(),
            blocks: blocks(ast),
        };
        let rest = input.sql.get(ast.statement().next_offset..);
        if rest.is_some_and(|rest| !rest.trim_ascii().is_empty()) {
            return Err(RefuseReason::SeveralStatements.into());
        }
        for table in &facts.tables {
            let found = scope.table(table)?;
            scope.uses.push(found);
        }
        Ok(scope)
    }

    pub fn text(&self, span: Span) -> &'a [u8] {
        span.of(self.input.sql)
    }

    /// A name without quotes.
    pub fn name(&self, span: Span) -> Cow<'a, str> {
        match Ast::unquoted(self.input.sql, span, self.input.dialect) {
            Cow::Borrowed(name) => String::from_utf8_lossy(name),
            Cow::Owned(name) => Cow::Owned(String::from_utf8_lossy(&name).into_owned()),
        }
    }

    pub fn lower(&self, span: Span) -> String {
        self.name(span).to_lowercase()
    }

    pub fn reading(&self) -> Reading<'a> {
        Reading {
            sql: self.input.sql,
            dialect: self.input.dialect,
            utf8: self.input.utf8,
            parameters: self.input.parameters,
            variables: self.variables(),
        }
    }

    /// Whether it assigns user variables row by row.
    pub fn assigns(&self) -> bool {
        let assigns = |expr: &Expr| matches!(expr.kind, ExprKind::Assign { .. });
        self.ast.all::<Expr>().iter().any(assigns)
    }

    /// Whether it calls `RAND(seed)`, whose numbers follow the order of rows.
    pub fn is_seeded(&self) -> bool {
        let seeded =
            |call: &Call| self.lower(call.name.name) == "rand" && !call.arguments.is_empty();
        self.ast.all::<Call>().iter().any(seeded)
    }

    /// What user variables are while the statement runs.
    fn variables(&self) -> Variables<'a> {
        match self.assigns() {
            true => Variables::Hidden,
            false => self.input.variables,
        }
    }

    /// Whether it reads what other connections do not have as this one has it.
    pub fn hangs_on_session(&self) -> bool {
        let session = self.facts.session;
        let known = matches!(self.variables(), Variables::Known(_));
        session != Facts::NONE && !(session == Facts::USER_VARIABLE && known)
    }

    fn table(&self, table: &TableUse) -> Result<Use<'a>, Stop> {
        let mut name = self.name(table.name.name).into_owned();
        let place = match self.dictionary(table.name, &name)? {
            Some(view) => {
                view.name.clone_into(&mut name);
                Place::Dictionary(view)
            }
            None => {
                match table.name.qualifier {
                    Some(schema) => self.check_schema(schema)?,
                    None if !self.input.in_schema => {
                        return Err(RefuseReason::ForeignSchema.into());
                    }
                    None => {}
                }
                self.place(&name)?
            }
        };
        let block = table.table_ref.and_then(|id| {
            self.blocks
                .iter()
                .position(|block| block.leaves.contains(&id))
        });
        Ok(Use {
            name: table.name,
            place,
            exposed: self.lower(table.alias.unwrap_or(table.name.name)),
            aliased: table.alias.is_some(),
            table: name,
            block,
            table_ref: table.table_ref,
            role: table.role,
            access: table.access,
        })
    }

    /// The view of information_schema that a name means.
    fn dictionary(&self, of: Name, name: &str) -> Result<Option<&'static View>, Stop> {
        let is = match of.qualifier {
            Some(schema) => self.is_dictionary(schema),
            None => !self.input.in_schema && self.input.chosen == Some(dictionary::SCHEMA),
        };
        match (is, dictionary::views::of_name(name)) {
            (false, _) => Ok(None),
            (true, Some(view)) => Ok(Some(view)),
            (true, None) => Err(RefuseReason::SystemSchema.into()),
        }
    }

    /// Whether a schema is the one of these views.
    pub fn is_dictionary(&self, schema: Span) -> bool {
        self.name(schema).eq_ignore_ascii_case(dictionary::SCHEMA)
    }

    fn check_schema(&self, schema: Span) -> Result<(), Stop> {
        let schema = self.name(schema);
        if self.input.schema == Some(&*schema) {
            return Ok(());
        }
        let system = SYSTEM_SCHEMAS
            .iter()
            .any(|name| schema.eq_ignore_ascii_case(name));
        Err(match system {
            true => RefuseReason::SystemSchema.into(),
            false => RefuseReason::ForeignSchema.into(),
        })
    }

    fn place(&self, name: &str) -> Result<Place<'a>, Stop> {
        let sharding = self.input.sharding;
        if let Some(table) = sharding.tables.get(name) {
            return Ok(match table {
                Table::Sharded(table) => Place::Sharded(table),
                Table::Broadcast => Place::Broadcast,
                Table::Single(source) => Place::Single(*source),
            });
        }
        let lower = name.to_lowercase();
        if sharding
            .tables
            .keys()
            .any(|known| known.to_lowercase() == lower)
        {
            return Err(RefuseReason::TableNameCase(name.to_owned()).into());
        }
        // Somebody who knows a shard's name must not read one shard for all, nor write past the rules.
        let shard = sharding.tables.values().any(|table| match table {
            Table::Sharded(table) => {
                let mut shards = table.shards.iter();
                shards.any(|shard| shard.table.to_lowercase() == lower)
            }
            _ => false,
        });
        match sharding.default_source {
            Some(source) if !shard => Ok(Place::Single(source)),
            _ => Err(RefuseReason::UnknownTable(name.to_owned()).into()),
        }
    }

    /// The target of an INSERT or LOAD DATA.
    pub fn use_of_name(&self, name: Name) -> Option<usize> {
        self.uses.iter().position(|table| table.name == name)
    }

    pub fn inserts(&self) -> Option<&'a Insert> {
        match self.ast.statement().body {
            Body::Insert(insert)
            | Body::Explain {
                body: ExplainedBody::Insert(insert),
                ..
            } => self.ast.node(insert),
            _ => None,
        }
    }

    /// The uses in a block.
    pub fn of_block(&self, block: usize) -> impl Iterator<Item = (usize, &Use<'a>)> {
        self.uses
            .iter()
            .enumerate()
            .filter(move |(_, table)| table.block == Some(block))
    }

    /// The use that a column is of, in a block or one around it.
    pub fn column(&self, block: usize, name: Name) -> Option<usize> {
        let column = self.lower(name.name);
        let Some(qualifier) = name.qualifier else {
            return self.unqualified(block, &column);
        };
        if let Some(schema) = name.schema
            && self.input.schema != Some(&*self.name(schema))
        {
            return None;
        }
        let qualifier = self.lower(qualifier);
        let mut block = Some(block);
        while let Some(here) = block {
            let known = self.blocks.get(here)?;
            let exposed = |leaf: &Id<TableRef>| self.exposed(*leaf).as_deref() == Some(&qualifier);
            let mut found = known.leaves.iter().filter(|leaf| exposed(leaf));
            if let Some(first) = found.next() {
                if found.next().is_some() {
                    return None;
                }
                return self
                    .uses
                    .iter()
                    .position(|table| table.table_ref == Some(*first));
            }
            block = known.parent;
        }
        None
    }

    /// The name that columns of a table reference are qualified with.
    pub fn exposed(&self, leaf: Id<TableRef>) -> Option<String> {
        let node = self.ast.node(leaf)?;
        if let Some(alias) = node.alias {
            return Some(self.lower(alias));
        }
        match node.kind {
            TableRefKind::Table { table, .. } => Some(self.lower(self.ast.node(table)?.name.name)),
            _ => None,
        }
    }

    /// A sharded table certainly has the columns of its key, so a name of one means it, or the statement is ambiguous.
    fn unqualified(&self, block: usize, column: &str) -> Option<usize> {
        let mut found = self.of_block(block).filter(|(_, table)| {
            table
                .sharded()
                .is_some_and(|sharded| sharded.is_key(column))
        });
        let (first, _) = found.next()?;
        match found.next() {
            None => Some(first),
            // Of a common column of inner joins, both sides are equal.
            Some(_) if self.coalesces(block) => Some(first),
            Some(_) => None,
        }
    }

    /// Whether all joins of a block are inner ones.
    fn coalesces(&self, block: usize) -> bool {
        let joins = self.joins(block);
        joins.iter().all(|join| {
            matches!(
                join.kind,
                JoinKind::Inner | JoinKind::Straight | JoinKind::Natural
            )
        })
    }

    /// The joins of a block.
    pub fn joins(&self, block: usize) -> Vec<Join> {
        let mut found = Vec::new();
        let mut pending = match self.blocks.get(block) {
            Some(block) => block.roots.clone(),
            None => Vec::new(),
        };
        while let Some(next) = pending.pop() {
            match self.ast.node(next).map(|node| node.kind) {
                Some(TableRefKind::Join(join)) => {
                    if let Some(join) = self.ast.node(join) {
                        pending.extend([join.left, join.right]);
                        found.push(*join);
                    }
                }
                Some(TableRefKind::Parenthesised(list)) => {
                    pending.extend(self.ast.list(list));
                }
                _ => {}
            }
        }
        found
    }

    /// Whether an outer join of its block may fill the columns of a use with NULL.
    pub fn nullable(&self, block: usize, place: usize) -> bool {
        let leaf = self.uses.get(place).and_then(|table| table.table_ref);
        self.joins(block).iter().any(|join| {
            let side = match join.kind {
                JoinKind::Left | JoinKind::NaturalLeft => join.right,
                JoinKind::Right | JoinKind::NaturalRight => join.left,
                JoinKind::Full => return true,
                _ => return false,
            };
            leaf.is_some_and(|leaf| self.leaves(side).contains(&leaf))
        })
    }

    /// The innermost block around a span.
    pub fn innermost(&self, span: Span) -> Option<usize> {
        let around = self
            .blocks
            .iter()
            .enumerate()
            .filter(|(_, block)| block.span.start <= span.start && span.end <= block.span.end);
        let inner = around.min_by_key(|(_, block)| block.span.end - block.span.start);
        inner.map(|(place, _)| place)
    }

    /// The tables and derived tables under a reference.
    pub fn leaves(&self, root: Id<TableRef>) -> Vec<Id<TableRef>> {
        leaves(self.ast, &[root])
    }

    /// The block of the outermost SELECT, UPDATE or DELETE.
    pub fn top(&self) -> Option<usize> {
        let select = self.facts.shape.and_then(|shape| shape.select);
        match select.and_then(|select| self.ast.node(select)) {
            Some(select) => self
                .blocks
                .iter()
                .position(|block| block.select.is_some_and(|s| s.block == select.block)),
            None => self.blocks.iter().position(|block| block.select.is_none()),
        }
    }

    /// The table whose column that certainly is, by what is known of all tables of the block.
    pub fn owner(&self, block: usize, name: Name) -> Option<String> {
        let column = self.lower(name.name);
        if name.qualifier.is_some() {
            let place = self.column(block, name)?;
            return self.uses.get(place).map(|table| table.table.clone());
        }
        let leaves = self.blocks.get(block)?.leaves.len();
        let tables: Vec<_> = self.of_block(block).map(|(_, table)| table).collect();
        if tables.len() != leaves {
            return None;
        }
        let mut owners = Vec::new();
        for table in tables {
            if self.has_column(table, &column)? {
                owners.push(table.table.clone());
            }
        }
        match owners.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        }
    }

    /// Whether a table is known to have the column; none if its columns are not known.
    pub fn has_column(&self, table: &Use<'_>, column: &str) -> Option<bool> {
        let columns = self.input.catalog.columns(&table.table)?;
        Some(
            columns
                .iter()
                .any(|known| known.eq_ignore_ascii_case(column)),
        )
    }
}

fn blocks(ast: &Ast) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let body = ast.statement().body;
    let changed = match body {
        Body::Update(update)
        | Body::Explain {
            body: ExplainedBody::Update(update),
            ..
        } => ast.node(update).map(|u| (u.tables, u.selection)),
        Body::Delete(delete)
        | Body::Explain {
            body: ExplainedBody::Delete(delete),
            ..
        } => ast.node(delete).map(|d| (d.tables, d.selection)),
        _ => None,
    };
    let statement = ast.statement().span;
    let mut add = |span, select: Option<Select>, roots: Vec<Id<TableRef>>, selection| {
        blocks.push(Block {
            span,
            select,
            leaves: leaves(ast, &roots),
            roots,
            selection,
            parent: None,
        });
    };
    if let Some((tables, selection)) = changed {
        let selection = selection.map(|clause| clause.expr);
        add(statement, None, ast.list(tables).to_vec(), selection);
    }
    for select in ast.all::<Select>() {
        let roots = select
            .from
            .map_or(Vec::new(), |from| ast.list(from.tables).to_vec());
        let selection = select.selection.map(|clause| clause.expr);
        add(select.span, Some(*select), roots, selection);
    }
    let spans: Vec<Span> = blocks.iter().map(|block| block.span).collect();
    for (index, block) in blocks.iter_mut().enumerate() {
        let around = spans.iter().enumerate().filter(|(other, span)| {
            *other != index && span.start <= block.span.start && block.span.end <= span.end
        });
        block.parent = around
            .min_by_key(|(_, span)| span.end - span.start)
            .map(|(other, _)| other);
    }
    blocks
}

fn leaves(ast: &Ast, roots: &[Id<TableRef>]) -> Vec<Id<TableRef>> {
    let mut found = Vec::new();
    let mut pending: Vec<Id<TableRef>> = roots.iter().rev().copied().collect();
    while let Some(next) = pending.pop() {
        match ast.node(next).map(|node| node.kind) {
            Some(TableRefKind::Join(join)) => {
                if let Some(join) = ast.node(join) {
                    pending.extend([join.right, join.left]);
                }
            }
            Some(TableRefKind::Parenthesised(list)) => pending.extend(ast.list(list)),
            Some(_) => found.push(next),
            None => {}
        }
    }
    found
}
