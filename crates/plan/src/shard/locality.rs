//! Which uses of tables have their matching rows on shards of the same number.
//!
//! Owns the proof that a join or sub-query is local: the keys of both sides are equal, and equal keys are on one shard.
//! Must never take an equality for one that a row can escape: what stands in ON of an outer join says nothing about the
//! preserved side, and a collation in which different texts are equal proves nothing.

use dbmesh_model::topology::sharding::{KeyKind, ShardedTable};
use dbmesh_sql::ast::{
    BinaryOp, CallKind, ExprId, ExprKind, Id, Join, JoinKind, Name, Query, QueryBody, Select,
    SelectItemKind, TableRef, TableRefKind,
};
use dbmesh_sql::parsed::{self, Predicate};

use super::scope::Scope;

/// Equalities of one place in the statement: columns of uses.
type Equalities = Vec<((usize, String), (usize, String))>;

/// What is proved about the uses of a statement.
#[derive(Debug)]
pub(super) struct Locality {
    /// The class of every use: uses of one class, in one block, have only rows with equal keys in the answer.
    pub class: Vec<usize>,
    /// Rows of the second matter only where the first has an equal key.
    pub follows: Vec<(usize, usize)>,
    /// As `class`, but also over outer joins and sub-queries: all of one number can run shard by shard.
    pub joined: Vec<usize>,
    /// An outer join whose sides are not proved to meet on one shard, or with copies on its preserved side.
    pub escapes: bool,
}

impl Locality {
    pub fn of(scope: &Scope<'_>) -> Self {
        let count = scope.uses.len();
        let mut found = Self {
            class: (0..count).collect(),
            follows: Vec::new(),
            joined: (0..count).collect(),
            escapes: false,
        };
        for block in 0..scope.blocks.len() {
            found.block(scope, block);
        }
        found
    }

    fn block(&mut self, scope: &Scope<'_>, block: usize) {
        let Some(here) = scope.blocks.get(block) else {
            return;
        };
        let mut terms = Vec::new();
        if let Some(selection) = here.selection {
            conjuncts(scope, selection, &mut terms);
        }
        let mut certain = equalities(scope, block, &terms);
        for root in &here.roots {
            self.walk(scope, block, *root, &mut certain);
        }
        for (one, other) in edges(scope, &certain) {
            let blocks = [one, other].map(|place| scope.uses.get(place).and_then(|u| u.block));
            if blocks == [Some(block); 2] {
                unite(&mut self.class, one, other);
                unite(&mut self.joined, one, other);
            } else {
                // A column of a block around this one: for its row, only rows with an equal key matter here.
                let (outer, inner) = match blocks.first() {
                    Some(first) if *first == Some(block) => (other, one),
                    _ => (one, other),
                };
                self.follows.push((outer, inner));
                unite(&mut self.joined, outer, inner);
            }
        }
        for term in &terms {
            if let Some((outer, inner)) = semi_join(scope, block, *term) {
                self.follows.push((outer, inner));
                unite(&mut self.joined, outer, inner);
            }
        }
    }

    /// Collects what the ON of inner joins makes certain, and proves outer joins. Left operands are followed in a loop.
    fn walk(
        &mut self,
        scope: &Scope<'_>,
        block: usize,
        root: Id<TableRef>,
        certain: &mut Equalities,
    ) {
        let mut pending = vec![(root, true)];
        while let Some((next, preserved)) = pending.pop() {
            match scope.ast.node(next).map(|node| node.kind) {
                Some(TableRefKind::Parenthesised(list)) => {
                    pending.extend(scope.ast.list(list).iter().map(|inner| (*inner, preserved)));
                }
                Some(TableRefKind::Join(join)) => {
                    let Some(join) = scope.ast.node(join) else {
                        continue;
                    };
                    let (left, right) = match join.kind {
                        JoinKind::Left | JoinKind::NaturalLeft => (preserved, false),
                        JoinKind::Right | JoinKind::NaturalRight => (false, preserved),
                        JoinKind::Full => (false, false),
                        _ => (preserved, preserved),
                    };
                    pending.push((join.left, left));
                    pending.push((join.right, right));
                    if !is_outer(join.kind) {
                        if preserved {
                            certain.extend(join_equalities(scope, block, join));
                        }
                        continue;
                    }
                    self.outer(scope, block, join);
                }
                _ => {}
            }
        }
    }

    fn outer(&mut self, scope: &Scope<'_>, block: usize, join: &Join) {
        let (kept, nullable) = match join.kind {
            JoinKind::Left | JoinKind::NaturalLeft => (join.left, join.right),
            JoinKind::Right | JoinKind::NaturalRight => (join.right, join.left),
            // Both sides are kept and none decides.
            _ => {
                self.escapes = true;
                return;
            }
        };
        let uses = |root: Id<TableRef>| -> Vec<usize> {
            let leaves = scope.leaves(root);
            let sharded = |place: &usize| {
                let found = scope.uses.get(*place);
                found.is_some_and(|u| {
                    u.sharded().is_some() && u.table_ref.is_some_and(|r| leaves.contains(&r))
                })
            };
            (0..scope.uses.len()).filter(sharded).collect()
        };
        let (kept_uses, nullable_uses) = (uses(kept), uses(nullable));
        let own = join_equalities(scope, block, join);
        for (one, other) in edges(scope, &own) {
            let pair = match (kept_uses.contains(&one), nullable_uses.contains(&other)) {
                (true, true) => Some((one, other)),
                _ if kept_uses.contains(&other) && nullable_uses.contains(&one) => {
                    Some((other, one))
                }
                _ => None,
            };
            if let Some((outer, inner)) = pair {
                self.follows.push((outer, inner));
                unite(&mut self.joined, outer, inner);
            }
        }
        if nullable_uses.is_empty() {
            return;
        }
        if kept_uses.is_empty() {
            // Every shard would give the copies' rows, with or without a match.
            self.escapes = true;
            return;
        }
        // Within this join, all sharded tables must be proved to meet by what stands in it.
        let mut inside = own;
        let mut pending = vec![join.left, join.right];
        while let Some(next) = pending.pop() {
            match scope.ast.node(next).map(|node| node.kind) {
                Some(TableRefKind::Parenthesised(list)) => pending.extend(scope.ast.list(list)),
                Some(TableRefKind::Join(id)) => {
                    if let Some(join) = scope.ast.node(id) {
                        inside.extend(join_equalities(scope, block, join));
                        pending.extend([join.left, join.right]);
                    }
                }
                _ => {}
            }
        }
        let mut within: Vec<usize> = (0..scope.uses.len()).collect();
        for (one, other) in edges(scope, &inside) {
            unite(&mut within, one, other);
            unite(&mut self.joined, one, other);
        }
        let all: Vec<usize> = kept_uses.into_iter().chain(nullable_uses).collect();
        let classes = all.iter().map(|place| root_of(&within, *place));
        let classes: Vec<usize> = classes.collect();
        self.escapes |= classes
            .windows(2)
            .any(|pair| matches!(pair, [a, b] if a != b));
    }

    /// The uses of a block in the class of `place`.
    pub fn class_of(&self, place: usize) -> Vec<usize> {
        let class = root_of(&self.class, place);
        (0..self.class.len())
            .filter(|other| root_of(&self.class, *other) == class)
            .collect()
    }

    /// Whether two uses can run shard by shard.
    pub fn together(&self, one: usize, other: usize) -> bool {
        root_of(&self.joined, one) == root_of(&self.joined, other)
    }
}

fn is_outer(kind: JoinKind) -> bool {
    matches!(
        kind,
        JoinKind::Left
            | JoinKind::Right
            | JoinKind::Full
            | JoinKind::NaturalLeft
            | JoinKind::NaturalRight
    )
}

fn root_of(parents: &[usize], mut place: usize) -> usize {
    while let Some(parent) = parents.get(place)
        && *parent != place
    {
        place = *parent;
    }
    place
}

fn unite(parents: &mut [usize], one: usize, other: usize) {
    let (one, other) = (root_of(parents, one), root_of(parents, other));
    if let Some(parent) = parents.get_mut(one.max(other)) {
        *parent = one.min(other);
    }
}

/// The terms that all hold.
pub(super) fn conjuncts(scope: &Scope<'_>, expr: ExprId, into: &mut Vec<ExprId>) {
    match parsed::predicate(scope.ast, expr) {
        Predicate::And(terms) => terms.iter().for_each(|term| conjuncts(scope, *term, into)),
        _ => into.push(expr),
    }
}

fn equalities(scope: &Scope<'_>, block: usize, terms: &[ExprId]) -> Equalities {
    let mut found = Equalities::new();
    let mut add = |left: Name, right: Name| {
        let side = |name: Name| Some((scope.column(block, name)?, scope.lower(name.name)));
        if let (Some(left), Some(right)) = (side(left), side(right)) {
            found.push((left, right));
        }
    };
    for term in terms {
        if let Predicate::Columns {
            left,
            op: BinaryOp::Equal,
            right,
        } = parsed::predicate(scope.ast, *term)
        {
            add(left, right);
        } else if let Some(ExprKind::Binary {
            op: BinaryOp::Equal,
            left,
            right,
        }) = scope.ast.expr(*term).map(|node| node.kind)
        {
            // (a.x, a.y) = (b.x, b.y).
            let rows = (parsed::row(scope.ast, left), parsed::row(scope.ast, right));
            if let (Some(lefts), Some(rights)) = rows {
                for (left, right) in lefts.iter().zip(rights) {
                    let columns = [*left, *right].map(|side| parsed::column(scope.ast, side));
                    if let [Some(left), Some(right)] = columns {
                        add(left, right);
                    }
                }
            }
        }
    }
    found
}

/// What ON, USING and NATURAL of a join make equal.
fn join_equalities(scope: &Scope<'_>, block: usize, join: &Join) -> Equalities {
    let mut terms = Vec::new();
    if let Some(on) = join.on {
        conjuncts(scope, on, &mut terms);
    }
    let mut found = equalities(scope, block, &terms);
    let sharded = |root: Id<TableRef>| -> Vec<usize> {
        let leaves = scope.leaves(root);
        let on_this_side = |place: &usize| {
            scope.uses.get(*place).is_some_and(|u| {
                u.sharded().is_some() && u.table_ref.is_some_and(|r| leaves.contains(&r))
            })
        };
        (0..scope.uses.len()).filter(on_this_side).collect()
    };
    let (lefts, rights) = (sharded(join.left), sharded(join.right));
    // A common column is that of the one table that has it; with more tables on a side, it may be another's.
    let ([left], [right]) = (lefts.as_slice(), rights.as_slice()) else {
        return found;
    };
    let alone = |root| scope.leaves(root).len() == 1;
    if !alone(join.left) || !alone(join.right) {
        return found;
    }
    let keys = |place: usize| -> Vec<String> {
        let table = scope.uses.get(place).and_then(|u| u.sharded());
        let keys = table.into_iter().flat_map(ShardedTable::key_columns);
        keys.map(|key| key.name.clone()).collect()
    };
    let natural = matches!(
        join.kind,
        JoinKind::Natural | JoinKind::NaturalLeft | JoinKind::NaturalRight
    );
    let common: Vec<String> = match natural {
        true => keys(*left)
            .into_iter()
            .filter(|key| keys(*right).contains(key))
            .collect(),
        false => {
            let using = scope.ast.list(join.using).iter();
            using.map(|name| scope.lower(name.name)).collect()
        }
    };
    for column in common {
        found.push(((*left, column.clone()), (*right, column)));
    }
    found
}

/// Pairs of uses whose whole keys are equal.
fn edges(scope: &Scope<'_>, equalities: &Equalities) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for ((left, _), (right, _)) in equalities {
        let (left, right) = (*left, *right);
        let pair = (left.min(right), left.max(right));
        if left == right || found.contains(&pair) {
            continue;
        }
        let tables = [left, right].map(|place| scope.uses.get(place).and_then(|u| u.sharded()));
        let [Some(one), Some(other)] = tables else {
            continue;
        };
        if !bound(one, other) {
            continue;
        }
        let mut keys = one.key_columns().zip(other.key_columns());
        let whole = keys.all(|(key, with)| {
            equalities.iter().any(|(a, b)| {
                let forth = (a.0, &a.1) == (left, &key.name) && (b.0, &b.1) == (right, &with.name);
                let back = (b.0, &b.1) == (left, &key.name) && (a.0, &a.1) == (right, &with.name);
                forth || back
            })
        });
        if whole {
            found.push(pair);
        }
    }
    found
}

/// Whether rows of two tables with equal keys are on shards of the same number.
pub(super) fn bound(one: &ShardedTable, other: &ShardedTable) -> bool {
    let same = one.name == other.name || (one.binding.is_some() && one.binding == other.binding);
    same && is_exact(one) && is_exact(other)
}

/// Whether equal keys are on one shard: not where a hint or a collation comes in.
pub(super) fn is_exact(table: &ShardedTable) -> bool {
    let axes = || table.database.iter().chain(&table.table);
    axes().all(|axis| !axis.columns.is_empty())
        && table.key_columns().all(|key| key.kind != KeyKind::Collated)
}

/// `outer.key IN (SELECT inner.key FROM …)`, which must hold: for a row, only rows with an equal key matter.
fn semi_join(scope: &Scope<'_>, block: usize, term: ExprId) -> Option<(usize, usize)> {
    let ExprKind::In {
        operand,
        values,
        negated: false,
    } = scope.ast.expr(term)?.kind
    else {
        return None;
    };
    let [value] = scope.ast.list(values) else {
        return None;
    };
    let ExprKind::Subquery(query) = scope.ast.expr(*value)?.kind else {
        return None;
    };
    let select = plain_select(scope, query)?;
    let [item] = scope.ast.list(select.items) else {
        return None;
    };
    let SelectItemKind::Expr(item) = item.kind else {
        return None;
    };
    let outer_column = parsed::column(scope.ast, operand)?;
    let inner_column = parsed::column(scope.ast, item)?;
    let inner_block = scope
        .blocks
        .iter()
        .position(|b| b.select.is_some_and(|s| s.block == select.block))?;
    let outer = scope.column(block, outer_column)?;
    let inner = scope.column(inner_block, inner_column)?;
    let (of_outer, of_inner) = (scope.uses.get(outer)?, scope.uses.get(inner)?);
    if of_inner.block != Some(inner_block) || of_outer.block != Some(block) {
        return None;
    }
    let pair = (
        (outer, scope.lower(outer_column.name)),
        (inner, scope.lower(inner_column.name)),
    );
    edges(scope, &vec![pair]).first().map(|_| (outer, inner))
}

/// The block of a query that gives a row for every row it finds.
fn plain_select<'a>(scope: &Scope<'a>, query: Id<Query>) -> Option<&'a Select> {
    let mut query = scope.ast.node(query)?;
    loop {
        if query.limit.is_some() || query.with.is_some() {
            return None;
        }
        match query.body {
            QueryBody::Parenthesised(inner) => query = scope.ast.node(inner)?,
            QueryBody::Select(select) => {
                let select = scope.ast.node(select)?;
                let calls = scope.ast.all::<dbmesh_sql::ast::Call>();
                let aggregates = calls.iter().any(|call| {
                    call.block == select.block
                        && (call.kind == CallKind::Aggregate || call.over.is_some())
                });
                let plain = select.group_by.is_none() && select.having.is_none() && !aggregates;
                return plain.then_some(select);
            }
            _ => return None,
        }
    }
}
