//! Generated keys: which values an INSERT or REPLACE needs, and the text that has them.
//!
//! Owns where a value goes: where AUTO_INCREMENT would make one, that is where the column is left out, NULL, DEFAULT, or 0.
//! Must never make a value, which takes a clock or a server: they are given. A value that may or may not be NULL is refused.

use dbmesh_model::topology::sharding::{GeneratorKind, KeyGenerator, KeyKind, ShardedTable};
use dbmesh_sql::ast::{Assignment, ExprId, ExprKind, Insert, InsertSource, Name, Row};
use dbmesh_sql::{Span, literal, parsed};

use super::reason::{RefuseReason, Stop};
use super::rewrite::{self, Copied, Splice};
use super::scope::Scope;
use super::value::{Compared, KeyValue};
use super::{Input, ShardPlan, ShardPlanner, locality};

/// What an INSERT needs of a generator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// The table, as the rules name it.
    pub table: String,
    /// The column, and how its values are made.
    pub generator: KeyGenerator,
    /// How many values are needed, in the order of rows.
    pub count: usize,
    /// The value that the last row gives itself: what the OK packet says where none is generated.
    pub given: Option<u64>,
}

/// Whether 0 asks for a value: not under `NO_AUTO_VALUE_ON_ZERO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zero {
    /// It does.
    Asks,
    /// It is a value.
    Counts,
}

impl ShardPlanner {
    /// What the statement needs; none where it is no INSERT into a table with a generator.
    pub fn generation(
        &mut self,
        input: &Input<'_>,
        zero: Zero,
    ) -> Result<Option<Generation>, RefuseReason> {
        let Ok(ast) = self.parser.parse(input.sql, input.dialect) else {
            // Planning says so.
            return Ok(None);
        };
        self.facts.fill(ast, input.sql, input.dialect);
        let Ok(scope) = Scope::of(*input, ast, &self.facts) else {
            return Ok(None);
        };
        let wants = wants(&scope, zero)?;
        Ok(wants.map(|wants| Generation {
            table: wants.table.name.clone(),
            generator: wants.generator.clone(),
            count: wants.holes.len(),
            given: wants.given,
        }))
    }

    /// The plan of a statement with these values in it, as many as [`Self::generation`] said.
    pub fn plan_generated(
        &mut self,
        input: &Input<'_>,
        zero: Zero,
        values: &[KeyValue],
    ) -> ShardPlan {
        let filled = match self.filled(input, zero, values) {
            Ok(filled) => filled,
            Err(reason) => return ShardPlan::Refuse(reason),
        };
        let kept = |ordinal: &u32| {
            let index = usize::try_from(*ordinal).ok()?;
            input.parameters?.get(index).cloned()
        };
        let parameters: Option<Vec<_>> = input
            .parameters
            .and_then(|_| filled.parameters.iter().map(kept).collect());
        let mut plan = self.plan(&Input {
            sql: &filled.text,
            parameters: parameters.as_deref(),
            ..*input
        });
        if let ShardPlan::Single(statement) = &mut plan {
            statement.parameters = back(&statement.parameters, &filled.parameters);
        }
        if let ShardPlan::Broadcast { statements, .. } | ShardPlan::Scatter { statements, .. } =
            &mut plan
        {
            for statement in statements {
                statement.parameters = back(&statement.parameters, &filled.parameters);
            }
        }
        plan
    }

    fn filled(
        &mut self,
        input: &Input<'_>,
        zero: Zero,
        values: &[KeyValue],
    ) -> Result<Copied, RefuseReason> {
        let unparsed = |error: dbmesh_sql::ParseError| RefuseReason::Unparsed {
            offset: error.offset,
        };
        let ast = self
            .parser
            .parse(input.sql, input.dialect)
            .map_err(unparsed)?;
        self.facts.fill(ast, input.sql, input.dialect);
        let scope = Scope::of(*input, ast, &self.facts).map_err(reason)?;
        let wants = wants(&scope, zero)?.ok_or(RefuseReason::KeyGenerated)?;
        if wants.holes.len() != values.len() {
            return Err(RefuseReason::KeyGenerated);
        }
        let mut splices: Vec<Splice> = wants.column.into_iter().collect();
        for (hole, value) in wants.holes.iter().zip(values) {
            splices.push(hole.filled(&written(value)));
        }
        let whole = Span {
            start: 0,
            end: input.sql.len(),
        };
        Ok(rewrite::copy(&scope, whole, &splices))
    }
}

/// The client's ordinals of the parameters that were kept.
fn back(ordinals: &[u32], kept: &[u32]) -> Vec<u32> {
    let client = |ordinal: &u32| kept.get(usize::try_from(*ordinal).ok()?).copied();
    ordinals.iter().filter_map(client).collect()
}

fn reason(stop: Stop) -> RefuseReason {
    match stop {
        Stop::Refuse(reason) => reason,
        Stop::Gather(_) => RefuseReason::KeyGenerated,
    }
}

fn written(value: &KeyValue) -> Vec<u8> {
    match value {
        // Generated texts have no quote and no backslash.
        KeyValue::Text(text) => [b"'", text.as_slice(), b"'"].concat(),
        value => plain(value),
    }
}

/// A generated value without quotes.
pub(super) fn plain(value: &KeyValue) -> Vec<u8> {
    match value {
        KeyValue::Integer(number) => number.to_string().into_bytes(),
        KeyValue::Time(at) => at.to_string().into_bytes(),
        KeyValue::Text(text) => text.clone(),
    }
}

/// Where a value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hole {
    /// What it replaces; empty for an insertion.
    span: Span,
    /// What stands before it.
    before: Before,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Comma,
    /// The column of an assignment.
    Column,
}

impl Hole {
    fn at(place: usize, before: Before) -> Self {
        let span = Span {
            start: place,
            end: place,
        };
        Self { span, before }
    }

    fn filled(&self, value: &[u8]) -> Splice {
        let mut text = match self.before {
            Before::Nothing | Before::Column => Vec::new(),
            Before::Comma => b", ".to_vec(),
        };
        text.extend_from_slice(value);
        Splice::text(self.span, text)
    }
}

/// What a statement wants.
struct Wants<'a> {
    table: &'a ShardedTable,
    generator: &'a KeyGenerator,
    /// The column's name, where the list of columns has to get it.
    column: Option<Splice>,
    holes: Vec<Hole>,
    given: Option<u64>,
}

/// What the statement wants; none where it has nothing to do with a generator.
fn wants<'a>(scope: &Scope<'a>, zero: Zero) -> Result<Option<Wants<'a>>, RefuseReason> {
    let Some(insert) = scope.inserts() else {
        return Ok(None);
    };
    let name = scope.ast.node(insert.table).map(|table| table.name);
    let place = name.and_then(|name| scope.use_of_name(name));
    let table = place.and_then(|place| scope.uses.get(place)?.sharded());
    let Some((table, generator)) = table.and_then(|t| Some((t, t.key_generator.as_ref()?))) else {
        return Ok(None);
    };
    let column = Column {
        scope,
        insert,
        table,
        generator,
        zero,
    };
    let mut wants = Wants {
        table,
        generator,
        column: None,
        holes: Vec::new(),
        given: None,
    };
    match insert.source {
        InsertSource::Values { rows, .. } => column.of_rows(scope.ast.list(rows), &mut wants)?,
        InsertSource::Set(assignments) => {
            column.of_assignments(scope.ast.list(assignments), &mut wants)?;
        }
        InsertSource::Query(_) => column.of_query()?,
    }
    if !wants.holes.is_empty() {
        column.is_told()?;
    }
    Ok(Some(wants))
}

/// A value as an OK packet tells it, which has no sign: of -5 servers say 2^64 - 5.
fn told(number: i128) -> Option<u64> {
    let negative = || i64::try_from(number).ok().map(i64::cast_unsigned);
    u64::try_from(number).ok().or_else(negative)
}

/// The generated column of an INSERT.
struct Column<'s, 'a> {
    scope: &'s Scope<'a>,
    insert: &'s Insert,
    table: &'a ShardedTable,
    generator: &'a KeyGenerator,
    zero: Zero,
}

/// What a row says of the column.
enum Said {
    Hole,
    Value(Option<u64>),
}

impl Column<'_, '_> {
    fn named(&self) -> &[Name] {
        self.scope.ast.list(self.insert.columns)
    }

    /// Its place among the values of a row; none where it is left out.
    fn place(&self) -> Result<Option<usize>, RefuseReason> {
        let named = self.named();
        if !named.is_empty() {
            let mut names = named.iter().map(|name| self.scope.lower(name.name));
            return Ok(names.position(|name| name == self.generator.column));
        }
        let known = self.scope.input.catalog.columns(&self.table.name);
        let known = known.ok_or(RefuseReason::ColumnsUnknown)?;
        let mut names = known.iter().map(|name| name.to_lowercase());
        Ok(names.position(|name| name == self.generator.column))
    }

    fn of_rows(&self, rows: &[Row], wants: &mut Wants<'_>) -> Result<(), RefuseReason> {
        let empty = |row: &Row| self.scope.ast.list(row.values).is_empty();
        let place = match rows.iter().all(empty) && self.named().is_empty() {
            // `INSERT INTO t VALUES ()`: every column has its default.
            true => None,
            false => self.place()?,
        };
        if place.is_none() {
            wants.column = Some(self.added());
        }
        for (number, row) in (1..).zip(rows) {
            let values = self.scope.ast.list(row.values);
            let Some(place) = place else {
                let before = match values.is_empty() {
                    true => Before::Nothing,
                    false => Before::Comma,
                };
                wants
                    .holes
                    .push(Hole::at(row.span.end.saturating_sub(1), before));
                continue;
            };
            let value = values.get(place);
            let value = value.ok_or(RefuseReason::ColumnCount { row: number })?;
            self.said(*value, wants)?;
        }
        Ok(())
    }

    /// The column at the end of the list, or the list.
    fn added(&self) -> Splice {
        let span = self.insert.columns_span;
        let mut text = literal::quote_identifier(self.generator.column.as_bytes());
        if span.start == span.end {
            let list = [b"(".as_slice(), &text, b") "].concat();
            return Splice::insert(span.start, list);
        }
        if !self.named().is_empty() {
            text.splice(0..0, *b", ");
        }
        Splice::insert(span.end.saturating_sub(1), text)
    }

    fn of_assignments(
        &self,
        assignments: &[Assignment],
        wants: &mut Wants<'_>,
    ) -> Result<(), RefuseReason> {
        let ours = |a: &&Assignment| self.scope.lower(a.column.name) == self.generator.column;
        if let Some(assignment) = assignments.iter().find(ours) {
            return self.said(assignment.value, wants);
        }
        let last = assignments.last().ok_or(RefuseReason::KeyGenerated)?;
        let value = self.scope.ast.expr(last.value);
        let end = value.ok_or(RefuseReason::KeyGenerated)?.span.end;
        let mut text = b", ".to_vec();
        text.extend(literal::quote_identifier(self.generator.column.as_bytes()));
        text.extend_from_slice(b" = ");
        wants.column = Some(Splice::insert(end, text));
        wants.holes.push(Hole::at(end, Before::Column));
        Ok(())
    }

    /// Values of a query are not known; a column that it leaves out would not be filled.
    fn of_query(&self) -> Result<(), RefuseReason> {
        match self.place()? {
            Some(_) => Ok(()),
            None => Err(RefuseReason::KeyGenerated),
        }
    }

    fn said(&self, value: ExprId, wants: &mut Wants<'_>) -> Result<(), RefuseReason> {
        let expr = self.scope.ast.expr(value);
        let span = expr.ok_or(RefuseReason::KeyUnknown)?.span;
        match self.read(value)? {
            Said::Hole => wants.holes.push(Hole {
                span,
                before: Before::Nothing,
            }),
            Said::Value(number) => wants.given = number,
        }
        Ok(())
    }

    fn read(&self, value: ExprId) -> Result<Said, RefuseReason> {
        let scope = self.scope;
        if let Some(ExprKind::Default) = scope.ast.expr(value).map(|node| node.kind) {
            return Ok(Said::Hole);
        }
        let operand = parsed::operand(scope.ast, value).ok_or(RefuseReason::KeyUnknown)?;
        match scope.reading().stored(self.kind(), operand) {
            Compared::Null => Ok(Said::Hole),
            Compared::Value(KeyValue::Integer(0)) if self.zero == Zero::Asks && self.counts() => {
                Ok(Said::Hole)
            }
            // What a row is told that meets another one by another key, only its server knows.
            Compared::Value(_) if self.meets_others() => Ok(Said::Value(None)),
            Compared::Value(KeyValue::Integer(number)) => Ok(Said::Value(told(number))),
            Compared::Value(_) => Ok(Said::Value(None)),
            // While nothing is bound, a parameter is a value.
            Compared::Unknown if scope.input.parameters.is_none() => match operand {
                parsed::Operand::Parameter(..) => Ok(Said::Value(None)),
                _ => Err(RefuseReason::KeyUnknown),
            },
            Compared::After(_) | Compared::Unknown => Err(RefuseReason::KeyUnknown),
        }
    }

    /// Whether values are numbers.
    fn counts(&self) -> bool {
        !matches!(self.generator.kind, GeneratorKind::Uuid)
    }

    fn kind(&self) -> KeyKind {
        let mut keys = self.table.key_columns();
        let key = keys.find(|key| key.name == self.generator.column);
        match (key, self.counts()) {
            (Some(key), _) => key.kind,
            (None, true) => KeyKind::Integer,
            (None, false) => KeyKind::Text,
        }
    }

    /// Whether a row may meet another one, which is updated, by another key than the generated one.
    fn meets_others(&self) -> bool {
        let is_key = self.table.is_key(&self.generator.column) && locality::is_exact(self.table);
        self.insert.on_duplicate.is_some() && !is_key
    }

    /// Whether the first generated value is what MySQL would tell: not where a row may meet another one by another key.
    fn is_told(&self) -> Result<(), RefuseReason> {
        match self.meets_others() || !self.scope.ast.list(self.insert.row_columns).is_empty() {
            true => Err(RefuseReason::KeyGenerated),
            false => Ok(()),
        }
    }
}
