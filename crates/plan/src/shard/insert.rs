//! INSERT and REPLACE.
//!
//! Owns where every row goes. Must never send a row to a shard that a condition on its key would not look at: a key whose
//! stored value is not certain is refused.

use dbmesh_model::topology::sharding::ShardedTable;
use dbmesh_sql::ast::{
    Assignment, Ast, Expr, ExprId, ExprKind, Insert, InsertSource, LiteralKind, Name, QueryBody,
    Row, Select, SelectItemKind,
};
use dbmesh_sql::{Flavor, Span, parsed};

use super::algorithm::{self, Slot};
use super::locality::{self, Locality};
use super::merge::MergeSpec;
use super::reason::{GatherReason, RefuseReason, Stop};
use super::rewrite::{self, Copied, Splice};
use super::route::{self, Target};
use super::scope::{Place, Scope};
use super::slots::Positions;
use super::value::{Compared, KeyValue, Parameter};
use super::{Clock, KeyLimit, Merge, NodeStatement, ShardPlan, read, write};

/// The plan of an INSERT or REPLACE.
pub(super) fn plan(scope: &Scope<'_>) -> Result<ShardPlan, Stop> {
    let unknown = || Stop::from(RefuseReason::Kind(scope.facts.kind));
    let insert = scope.inserts().ok_or_else(unknown)?;
    let name = scope.ast.node(insert.table).ok_or_else(unknown)?.name;
    let place = scope.use_of_name(name).ok_or_else(unknown)?;
    let table = scope.uses.get(place).ok_or_else(unknown)?;
    if scope.uses.len() > 1 {
        let sets = route::sets(scope, &Locality::of(scope));
        route::audit(scope, &sets, Some(place))?;
    }
    match table.place {
        Place::Dictionary(_) => Err(RefuseReason::SystemSchema.into()),
        Place::Single(_) => {
            let sets = route::sets(scope, &Locality::of(scope));
            let target = route::one(scope, &sets).ok_or(GatherReason::InsertSelect)?;
            let splices = Vec::from_iter(restated(scope, insert, None));
            Ok(ShardPlan::Single(rewrite::statement(
                scope, &target, &splices,
            )?))
        }
        Place::Broadcast => {
            let mut others = scope.uses.iter();
            if others.any(|other| !matches!(other.place, Place::Broadcast)) {
                return Err(GatherReason::InsertSelect.into());
            }
            let queries = scope.ast.all::<dbmesh_sql::ast::Query>();
            if queries.iter().any(|query| query.limit.is_some()) || !write::deterministic(scope) {
                return Err(RefuseReason::NotDeterministic.into());
            }
            write::everywhere(scope, &Vec::from_iter(restated(scope, insert, None)))
        }
        Place::Sharded(sharded) => {
            let into = Into {
                scope,
                insert,
                place,
                sharded,
            };
            into.keeps_keys()?;
            if !scope.ast.list(insert.partitions).is_empty() {
                return Err(RefuseReason::Partition.into());
            }
            match insert.source {
                InsertSource::Values { rows, span } => into.rows(scope.ast.list(rows), span),
                InsertSource::Set(assignments) => into.assigned(scope.ast.list(assignments)),
                InsertSource::Query(_) => into.query(),
            }
        }
    }
}

/// Whether its values are those of columns by their order in the table.
pub(super) fn is_unlisted(ast: &Ast, insert: &Insert) -> bool {
    ast.list(insert.columns).is_empty() && !matches!(insert.source, InsertSource::Set(_))
}

/// The rows of these numbers, or all, in the words in which they go instead of VALUES.
fn restated(scope: &Scope<'_>, insert: &Insert, numbers: Option<&[u32]>) -> Option<Splice> {
    let (words, InsertSource::Values { span, .. }) = (scope.input.rows_as?, insert.source) else {
        return None;
    };
    let rows: Vec<&[u8]> = match numbers {
        None => words.rows.iter().map(Vec::as_slice).collect(),
        Some(numbers) => {
            let row = |number: &u32| {
                words
                    .rows
                    .get(usize::try_from(*number).ok()?.checked_sub(1)?)
            };
            numbers
                .iter()
                .map(|number| row(number).map(Vec::as_slice))
                .collect::<Option<_>>()?
        }
    };
    let text = [words.before, &rows.join(words.between), words.after].concat();
    let whole = Span {
        start: insert.columns_span.end,
        end: span.end,
    };
    Some(Splice::text(whole, text))
}

/// An INSERT into a sharded table.
struct Into<'s, 'a> {
    scope: &'s Scope<'a>,
    insert: &'s Insert,
    place: usize,
    sharded: &'a ShardedTable,
}

impl Into<'_, '_> {
    /// ON DUPLICATE KEY UPDATE may set the key to what it is only.
    fn keeps_keys(&self) -> Result<(), Stop> {
        let Some(on_duplicate) = self.insert.on_duplicate else {
            return Ok(());
        };
        let scope = self.scope;
        for assignment in scope.ast.list(on_duplicate.assignments) {
            let column = scope.lower(assignment.column.name);
            let kept = match scope.ast.expr(assignment.value).map(|node| node.kind) {
                // A unique key has the sharding key, so rows that meet in it have equal ones.
                Some(ExprKind::ValuesOf(expr)) => {
                    let name = parsed::column(scope.ast, expr);
                    let itself = name.is_some_and(|name| scope.lower(name.name) == column);
                    itself && locality::is_exact(self.sharded)
                }
                _ => self.is_own(assignment.value, &column),
            };
            if self.sharded.is_key(&column) && !kept {
                return Err(RefuseReason::KeyUpdate.into());
            }
        }
        Ok(())
    }

    /// Whether this is the column of the row that is there already. Without a qualifier, servers take no other column for it:
    /// where another table has one of that name, they call it ambiguous.
    fn is_own(&self, value: ExprId, column: &str) -> bool {
        let scope = self.scope;
        let Some(name) = parsed::column(scope.ast, value) else {
            return false;
        };
        let exposed = scope.uses.get(self.place).map(|table| &table.exposed);
        let of_table = name
            .qualifier
            .is_none_or(|qualifier| exposed == Some(&scope.lower(qualifier)));
        of_table && scope.lower(name.name) == column
    }

    /// The columns of the rows, in lower case.
    fn columns(&self) -> Result<Vec<String>, Stop> {
        let named: Vec<Name> = self.scope.ast.list(self.insert.columns).to_vec();
        if !named.is_empty() {
            return Ok(named
                .iter()
                .map(|name| self.scope.lower(name.name))
                .collect());
        }
        let known = self.scope.input.catalog.columns(&self.sharded.name);
        let known = known.ok_or(RefuseReason::ColumnsUnknown)?;
        Ok(known.iter().map(|column| column.to_lowercase()).collect())
    }

    fn rows(&self, rows: &[Row], span: Span) -> Result<ShardPlan, Stop> {
        let columns = self.columns()?;
        let mut of_rows = Vec::new();
        for (number, row) in (1..).zip(rows) {
            let values = self.scope.ast.list(row.values);
            if values.len() != columns.len() {
                // `VALUES ()` gives every column its default.
                return Err(match values.is_empty() {
                    true => self.missing(None).into(),
                    false => RefuseReason::ColumnCount { row: number }.into(),
                });
            }
            let value = |column: &str| {
                let place = columns.iter().position(|known| known == column)?;
                values.get(place).copied()
            };
            of_rows.push(self.shard(value)?);
        }
        let mut shards = Positions::none(self.sharded.shards.len());
        of_rows.iter().for_each(|shard| shards.add(*shard));
        if let (1, Some(shard)) = (shards.len(), shards.first()) {
            return self.single(shard, restated(self.scope, self.insert, None));
        }
        self.spread()?;
        let mut statements = Vec::new();
        for shard in shards.iter() {
            let mut text = Copied::default();
            let (mut numbers, mut last) = (Vec::new(), None);
            for (number, (row, of_row)) in (1..).zip(rows.iter().zip(&of_rows)) {
                if *of_row == shard {
                    numbers.push(number);
                    last = Some(row);
                    if !text.text.is_empty() {
                        text.push(b", ");
                    }
                    text.append(rewrite::copy(self.scope, row.span, &[]));
                }
            }
            let restated = restated(self.scope, self.insert, Some(&numbers));
            let other = restated.or_else(|| match (numbers.len(), last) {
                (1, Some(row)) => self.alone(row, span),
                _ => None,
            });
            let splice = other.unwrap_or_else(|| text.splice(span));
            let of_shard = self.statement(&self.target(shard)?, Some(splice))?;
            statements.push(NodeStatement {
                rows: numbers,
                ..of_shard
            });
        }
        Ok(self.scatter(statements))
    }

    /// One row of several, in words by which a server judges it as one of several. A row that comes alone in VALUES is judged
    /// more strictly: NULL for a column that has none ends it in any `sql_mode`, and on MariaDB IGNORE does not hold for CHECK.
    /// None where it is judged alike, or where it cannot be said otherwise.
    fn alone(&self, row: &Row, rows: Span) -> Option<Splice> {
        let scope = self.scope;
        let mariadb = scope.input.dialect.flavor == Flavor::MariaDb;
        let ignored = self.insert.modifiers.ignore && mariadb;
        let values = scope.ast.list(row.values);
        if !ignored && values.iter().all(|value| self.is_value(*value)) {
            return None;
        }
        let within = |span: Span| row.span.start <= span.start && span.end <= row.span.end;
        let of_table = |expr: &Expr| {
            let names = matches!(
                expr.kind,
                ExprKind::Column(_) | ExprKind::Default | ExprKind::DefaultOf(_)
            );
            names && within(expr.span)
        };
        if self.insert.row_alias.is_some() || scope.ast.all::<Expr>().iter().any(of_table) {
            return None;
        }
        let inner = Span {
            start: row.span.start + 1,
            end: row.span.end - 1,
        };
        let mut text = Copied::default();
        text.push(b" SELECT ");
        text.append(rewrite::copy(scope, inner, &[]));
        Some(text.splice(Span {
            start: self.insert.columns_span.end,
            end: rows.end,
        }))
    }

    /// Whether it is surely not NULL.
    fn is_value(&self, value: ExprId) -> bool {
        let scope = self.scope;
        match scope.ast.expr(value).map(|expr| expr.kind) {
            Some(ExprKind::Literal(kind)) => kind != LiteralKind::Null,
            Some(ExprKind::Parameter(ordinal)) => {
                let bound = scope.input.parameters.unwrap_or_default();
                let bound = usize::try_from(ordinal).ok().and_then(|at| bound.get(at));
                bound.is_some_and(|bound| *bound != Parameter::Null)
            }
            _ => false,
        }
    }

    fn assigned(&self, assignments: &[Assignment]) -> Result<ShardPlan, Stop> {
        let value = |column: &str| {
            let mut all = assignments.iter();
            all.find(|a| self.scope.lower(a.column.name) == column)
                .map(|a| a.value)
        };
        let shard = self.shard(value)?;
        self.single(shard, None)
    }

    fn scatter(&self, statements: Vec<NodeStatement>) -> ShardPlan {
        let merge = match self.insert.returning.is_empty() {
            true => Merge::Affected,
            false => Merge::Rows(MergeSpec::default()),
        };
        ShardPlan::Scatter {
            statements,
            merge,
            clock: Clock::Read,
        }
    }

    /// Rows for several shards can be told apart by text only, and read nothing that differs.
    fn spread(&self) -> Result<(), Stop> {
        if self.scope.hangs_on_session() {
            return Err(RefuseReason::SessionState.into());
        }
        match self.scope.ast.all::<Select>().is_empty() && self.scope.uses.len() == 1 {
            true => Ok(()),
            false => Err(GatherReason::InsertSelect.into()),
        }
    }

    fn target(&self, shard: usize) -> Result<Target, Stop> {
        let source = self.sharded.shards.get(shard).map(|shard| shard.source);
        let mut shards = vec![None; self.scope.uses.len()];
        if let Some(place) = shards.get_mut(self.place) {
            *place = Some(shard);
        }
        Ok(Target {
            source: source.ok_or(RefuseReason::KeyNowhere)?,
            shards,
        })
    }

    /// All rows on one shard: whatever else is read must be there as well.
    fn single(&self, shard: usize, change: Option<Splice>) -> Result<ShardPlan, Stop> {
        let locality = Locality::of(self.scope);
        let mut sets = route::sets(self.scope, &locality);
        if let Some(set) = sets.get_mut(self.place) {
            *set = Some(Positions::one(self.sharded.shards.len(), shard));
        }
        let target = route::one(self.scope, &sets).ok_or(GatherReason::InsertSelect)?;
        Ok(ShardPlan::Single(self.statement(&target, change)?))
    }

    /// The text for a shard. Columns that it leaves to their order are named, as their values were read: a shard whose columns
    /// have another order by now must not take them for others.
    fn statement(&self, target: &Target, change: Option<Splice>) -> Result<NodeStatement, Stop> {
        let mut splices = Vec::from_iter(change);
        if is_unlisted(self.scope.ast, self.insert) {
            let names = rewrite::listed(&self.columns()?);
            let at = self.insert.columns_span.end;
            splices.push(Splice::insert(at, [b"(", &names[..], b") "].concat()));
        }
        rewrite::statement(self.scope, target, &splices)
    }

    /// The shard of a row whose columns have these values.
    fn shard(&self, value: impl Fn(&str) -> Option<ExprId>) -> Result<usize, Stop> {
        let mut set = Positions::all(self.sharded.shards.len());
        for axis in self.sharded.database.iter().chain(&self.sharded.table) {
            let mut values = Vec::new();
            if axis.columns.is_empty() {
                let hint = self.scope.input.hint.ok_or(RefuseReason::HintMissing)?;
                values.push(hint.clone());
            }
            for column in &axis.columns {
                let expr = value(&column.name);
                values.push(self.value(expr, column.kind, &column.name)?);
            }
            let slots = match algorithm::slot(axis, &values) {
                Slot::At(slot) => Positions::one(axis.targets.len(), slot),
                Slot::Nowhere => return Err(RefuseReason::KeyNowhere.into()),
                Slot::Unknown => return Err(RefuseReason::KeyUnknown.into()),
                Slot::Failed => {
                    let (algorithm, why) = algorithm::failure(axis, &values);
                    return Err(RefuseReason::AlgorithmFails { algorithm, why }.into());
                }
            };
            set.intersect(&algorithm::shards(self.sharded, axis, &slots));
        }
        match (set.len(), set.first()) {
            (1, Some(shard)) => Ok(shard),
            (0, _) => Err(RefuseReason::KeyNowhere.into()),
            _ => Err(RefuseReason::KeyUnknown.into()),
        }
    }

    fn limit(&self, column: &str) -> Option<KeyLimit> {
        let catalog = self.scope.input.catalog;
        catalog.limit(&self.sharded.name, column)
    }

    fn missing(&self, column: Option<&str>) -> RefuseReason {
        let generated = self.sharded.key_generator.as_ref();
        match generated.is_some_and(|g| column.is_none_or(|column| g.column == column)) {
            true => RefuseReason::KeyGenerated,
            false => RefuseReason::KeyMissing,
        }
    }

    fn value(
        &self,
        expr: Option<ExprId>,
        kind: dbmesh_model::topology::sharding::KeyKind,
        column: &str,
    ) -> Result<KeyValue, Stop> {
        let expr = expr.ok_or_else(|| self.missing(Some(column)))?;
        if let Some(ExprKind::Default) = self.scope.ast.expr(expr).map(|node| node.kind) {
            return Err(self.missing(Some(column)).into());
        }
        let operand = parsed::operand(self.scope.ast, expr).ok_or(RefuseReason::KeyUnknown)?;
        match self.scope.reading().stored(kind, operand) {
            Compared::Value(value) => match self.limit(column) {
                Some(limit) if !limit.holds(&value) => Err(RefuseReason::KeyUnknown.into()),
                _ => Ok(value),
            },
            Compared::Null if self.missing(Some(column)) == RefuseReason::KeyGenerated => {
                Err(RefuseReason::KeyGenerated.into())
            }
            Compared::Null => Err(RefuseReason::KeyNull.into()),
            Compared::After(_) | Compared::Unknown => Err(RefuseReason::KeyUnknown.into()),
        }
    }

    /// INSERT … SELECT: local where the key of every new row is the key of the row it is made of.
    fn query(&self) -> Result<ShardPlan, Stop> {
        let scope = self.scope;
        let refused = || Stop::from(GatherReason::InsertSelect);
        let anchor = self.copied_key().ok_or_else(refused)?;
        let locality = Locality::of(scope);
        let mut sets = route::sets(scope, &locality);
        let set = sets.get(anchor).cloned().flatten().ok_or_else(refused)?;
        if let Some(of_target) = sets.get_mut(self.place) {
            *of_target = Some(set.clone());
        }
        if let Some(target) = route::one(scope, &sets) {
            return Ok(ShardPlan::Single(self.statement(&target, None)?));
        }
        let local = scope
            .uses
            .iter()
            .enumerate()
            .all(|(place, table)| match table.place {
                Place::Broadcast => true,
                Place::Single(_) => false,
                Place::Dictionary(_) => false,
                Place::Sharded(_) => place == self.place || locality.together(anchor, place),
            });
        if !local || locality.escapes || scope.hangs_on_session() || scope.is_seeded() {
            return Err(refused());
        }
        read::aggregates_are_inner(scope)?;
        let statements = set.iter().map(|shard| {
            let target = read::target(scope, shard)?;
            self.statement(&target, None)
        });
        Ok(self.scatter(statements.collect::<Result<_, _>>()?))
    }

    /// The use of the query whose key becomes the key of the new rows.
    fn copied_key(&self) -> Option<usize> {
        let scope = self.scope;
        let InsertSource::Query(query) = self.insert.source else {
            return None;
        };
        let query = scope.ast.node(query)?;
        let QueryBody::Select(select) = query.body else {
            return None;
        };
        let select = scope.ast.node(select)?;
        let mut calls = scope.ast.all::<dbmesh_sql::ast::Call>().iter();
        let computes = calls.any(|call| {
            call.block == select.block
                && (call.kind == dbmesh_sql::ast::CallKind::Aggregate || call.over.is_some())
        });
        if query.limit.is_some() || select.group_by.is_some() || select.having.is_some() || computes
        {
            return None;
        }
        let block = scope
            .blocks
            .iter()
            .position(|b| b.select.is_some_and(|s| s.block == select.block))?;
        let columns = self.columns().ok()?;
        let items = scope.ast.list(select.items);
        if columns.len() != items.len() {
            return None;
        }
        let mut anchor = None;
        let mut places = Vec::new();
        for key in self.sharded.key_columns() {
            let place = columns.iter().position(|column| *column == key.name)?;
            let SelectItemKind::Expr(expr) = items.get(place)?.kind else {
                return None;
            };
            let name = parsed::column(scope.ast, expr)?;
            let found = scope.column(block, name)?;
            if anchor.is_some_and(|anchor| anchor != found) {
                return None;
            }
            anchor = Some(found);
            places.push(scope.lower(name.name));
        }
        let anchor = anchor?;
        let from = scope.uses.get(anchor).filter(|u| u.block == Some(block))?;
        let source = from.sharded()?;
        let names = source.key_columns().map(|key| &key.name);
        (locality::bound(self.sharded, source) && names.eq(&places)).then_some(anchor)
    }
}
