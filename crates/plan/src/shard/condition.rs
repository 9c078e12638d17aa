//! Which shards can have rows that satisfy a condition.
//!
//! Owns the reading of condition trees. Must never leave out a shard with a row for which the condition may be true: what
//! is not understood, negated, or of another table leaves all of them.

use dbmesh_model::topology::sharding::{Axis, KeyKind};
use dbmesh_sql::ast::{BinaryOp, ExprId, ExprKind, LiteralKind, Name};
use dbmesh_sql::parsed::{self, Operand, Predicate};

use super::algorithm;
use super::scope::Scope;
use super::slots::Positions;
use super::value::{Compared, Constraint, KeyValue};

/// Combinations of values of several columns that are computed one by one.
const COMBINATIONS_MAX: usize = 1_024;

/// A class of uses whose rows are on shards of the same number, and the block whose conditions are read.
pub(super) struct Conditions<'s, 'a> {
    pub scope: &'s Scope<'a>,
    pub block: usize,
    pub class: &'s [usize],
    /// Shards of each table of the class.
    pub size: usize,
}

/// Columns with the values they may have, all of which hold together.
type Bound = Vec<(usize, String, Vec<KeyValue>)>;

impl Conditions<'_, '_> {
    /// The shards with rows for which `expr` may be true. Recursion is as deep as parentheses, which the parser bounds.
    pub fn evaluate(&self, expr: ExprId) -> Positions {
        match parsed::predicate(self.scope.ast, expr) {
            Predicate::And(terms) => self.all_of(terms),
            Predicate::Or(terms) => {
                let mut set = Positions::none(self.size);
                for term in terms {
                    set.unite(&self.evaluate(*term));
                }
                set
            }
            Predicate::Compare { column, op, value } => {
                self.leaf(column, |kind| self.compare(kind, op, value))
            }
            Predicate::Between {
                column,
                low,
                high,
                negated: false,
            } => self.leaf(column, |kind| self.between(kind, low, high)),
            Predicate::In {
                column,
                values,
                negated: false,
            } => self.in_list(column, values),
            Predicate::RowCompare {
                columns,
                op,
                values,
            } => self.row(columns, op, values),
            Predicate::RowIn {
                columns,
                rows,
                negated: false,
            } => {
                let mut set = Positions::none(self.size);
                for row in rows {
                    let values = parsed::row(self.scope.ast, *row).unwrap_or_default();
                    set.unite(&self.row(columns, BinaryOp::Equal, values));
                }
                set
            }
            Predicate::Other if self.is_false(expr) => Positions::none(self.size),
            _ => Positions::all(self.size),
        }
    }

    /// FALSE, NULL, 0, and comparisons of whole numbers that do not hold.
    fn is_false(&self, expr: ExprId) -> bool {
        let ast = self.scope.ast;
        let number = |expr: ExprId| {
            let operand = parsed::operand(ast, expr)?;
            match self.scope.reading().compared(KeyKind::Integer, operand) {
                Compared::Value(KeyValue::Integer(number))
                    if !matches!(operand, Operand::Literal(LiteralKind::String, _)) =>
                {
                    Some(number)
                }
                _ => None,
            }
        };
        match ast.expr(expr).map(|node| node.kind) {
            Some(ExprKind::Literal(LiteralKind::False | LiteralKind::Null)) => true,
            Some(ExprKind::Literal(LiteralKind::Number)) => number(expr) == Some(0),
            Some(ExprKind::Binary {
                op: BinaryOp::Equal,
                left,
                right,
            }) => matches!((number(left), number(right)), (Some(a), Some(b)) if a != b),
            _ => false,
        }
    }

    fn all_of(&self, terms: &[ExprId]) -> Positions {
        let mut set = Positions::all(self.size);
        let mut bound = Bound::new();
        for term in terms {
            set.intersect(&self.evaluate(*term));
            self.bind(*term, &mut bound);
        }
        set.intersect(&self.combined(&bound));
        set
    }

    /// The values that a term gives a column, if it does.
    fn bind(&self, term: ExprId, bound: &mut Bound) {
        let ast = self.scope.ast;
        let (column, operands) = match parsed::predicate(ast, term) {
            Predicate::Compare {
                column,
                op: BinaryOp::Equal,
                value,
            } => (column, vec![value]),
            Predicate::In {
                column,
                values,
                negated: false,
            } => {
                let operands: Option<Vec<Operand>> =
                    values.iter().map(|v| parsed::operand(ast, *v)).collect();
                match operands {
                    Some(operands) => (column, operands),
                    None => return,
                }
            }
            _ => return,
        };
        self.bind_values(column, &operands, bound);
    }

    fn bind_values(&self, column: Name, operands: &[Operand], bound: &mut Bound) {
        let name = self.scope.lower(column.name);
        let Some((place, kind)) = self.key(column, &name) else {
            return;
        };
        let mut values = Vec::new();
        for operand in operands {
            match self.scope.reading().compared(kind, *operand) {
                Compared::Value(value) => values.push(value),
                // Nothing is equal to these.
                Compared::Null | Compared::After(_) => {}
                Compared::Unknown => return,
            }
        }
        bound.push((place, name, values));
    }

    /// The use in the class that a column is of, and the type of the key that it is.
    fn key(&self, column: Name, lower: &str) -> Option<(usize, KeyKind)> {
        let place = self.scope.column(self.block, column)?;
        if !self.class.contains(&place) {
            return None;
        }
        let table = self.scope.uses.get(place)?.sharded()?;
        let kind = table.key_columns().find(|key| key.name == lower)?.kind;
        Some((place, kind))
    }

    /// What axes of several columns make of values of all of them.
    fn combined(&self, bound: &Bound) -> Positions {
        let mut set = Positions::all(self.size);
        for place in self.class {
            let Some(table) = self
                .scope
                .uses
                .get(*place)
                .and_then(|table| table.sharded())
            else {
                continue;
            };
            for axis in table.database.iter().chain(&table.table) {
                if axis.columns.len() > 1
                    && let Some(slots) = combined_slots(axis, *place, bound)
                {
                    set.intersect(&algorithm::shards(table, axis, &slots));
                }
            }
        }
        set
    }

    /// What axes of one column make of a constraint.
    fn leaf(&self, column: Name, constraint: impl Fn(KeyKind) -> Constraint) -> Positions {
        let mut set = Positions::all(self.size);
        let name = self.scope.lower(column.name);
        let Some((place, kind)) = self.key(column, &name) else {
            return set;
        };
        let constraint = constraint(kind);
        if constraint == Constraint::Never {
            return Positions::none(self.size);
        }
        let Some(table) = self.scope.uses.get(place).and_then(|table| table.sharded()) else {
            return set;
        };
        for axis in table.database.iter().chain(&table.table) {
            if matches!(axis.columns.as_slice(), [only] if only.name == name) {
                let slots = algorithm::slots(axis, &constraint);
                set.intersect(&algorithm::shards(table, axis, &slots));
            }
        }
        set
    }

    fn in_list(&self, column: Name, values: &[ExprId]) -> Positions {
        let mut set = Positions::none(self.size);
        for value in values {
            if set.is_all() {
                break;
            }
            match parsed::operand(self.scope.ast, *value) {
                Some(value) => {
                    set.unite(&self.leaf(column, |kind| self.compare(kind, BinaryOp::Equal, value)))
                }
                None => return Positions::all(self.size),
            }
        }
        set
    }

    /// The shards of rows in which a column has one of the values of an IN list: for splitting the list.
    pub fn of_member(&self, column: Name, value: ExprId) -> Positions {
        self.in_list(column, &[value])
    }

    /// The shards of rows that are equal to a row of values.
    pub fn of_row(&self, columns: &[ExprId], row: ExprId) -> Positions {
        let values = parsed::row(self.scope.ast, row).unwrap_or_default();
        self.row(columns, BinaryOp::Equal, values)
    }

    fn row(&self, columns: &[ExprId], op: BinaryOp, values: &[ExprId]) -> Positions {
        let ast = self.scope.ast;
        let pairs = columns
            .iter()
            .zip(values)
            .filter_map(|(c, v)| Some((parsed::column(ast, *c)?, parsed::operand(ast, *v)?)));
        let mut set = Positions::all(self.size);
        // Of (a, b) < (x, y), a <= x follows.
        let first_op = match op {
            BinaryOp::Equal => BinaryOp::Equal,
            BinaryOp::Less | BinaryOp::LessOrEqual => BinaryOp::LessOrEqual,
            BinaryOp::Greater | BinaryOp::GreaterOrEqual => BinaryOp::GreaterOrEqual,
            _ => return set,
        };
        let mut bound = Bound::new();
        for (column, value) in pairs {
            set.intersect(&self.leaf(column, |kind| self.compare(kind, first_op, value)));
            if op != BinaryOp::Equal {
                return set;
            }
            self.bind_values(column, &[value], &mut bound);
        }
        set.intersect(&self.combined(&bound));
        set
    }

    fn compare(&self, kind: KeyKind, op: BinaryOp, value: Operand) -> Constraint {
        let compared = self.scope.reading().compared(kind, value);
        let (at, above) = match &compared {
            Compared::Unknown => return Constraint::Any,
            Compared::Null if op == BinaryOp::NullSafeEqual => return Constraint::Any,
            Compared::Null => return Constraint::Never,
            Compared::Value(value) => (value.ordinal(), false),
            Compared::After(floor) => (Some(*floor), true),
        };
        let range = |low: Option<i128>, high: Option<i128>| match at {
            Some(_) => Constraint::Range { low, high },
            None => Constraint::Any,
        };
        let next = at.map(|at| at.saturating_add(1));
        let before = at.map(|at| at.saturating_sub(1));
        match (op, compared) {
            (BinaryOp::Equal | BinaryOp::NullSafeEqual, Compared::Value(value)) => {
                Constraint::Exact(value)
            }
            (BinaryOp::Equal | BinaryOp::NullSafeEqual, _) => Constraint::Never,
            (BinaryOp::Less, _) if !above => range(None, before),
            (BinaryOp::Less | BinaryOp::LessOrEqual, _) => range(None, at),
            (BinaryOp::GreaterOrEqual, _) if !above => range(at, None),
            (BinaryOp::Greater | BinaryOp::GreaterOrEqual, _) => range(next, None),
            _ => Constraint::Any,
        }
    }

    fn between(&self, kind: KeyKind, low: Operand, high: Operand) -> Constraint {
        let low = self.compare(kind, BinaryOp::GreaterOrEqual, low);
        let high = self.compare(kind, BinaryOp::LessOrEqual, high);
        match (low, high) {
            (Constraint::Never, _) | (_, Constraint::Never) => Constraint::Never,
            (Constraint::Range { low, .. }, Constraint::Range { high, .. }) => {
                Constraint::Range { low, high }
            }
            // One bound of another type changes how the other is compared.
            _ => Constraint::Any,
        }
    }
}

/// The slots of every combination of the values of all columns; none if a column has none or there are too many.
fn combined_slots(axis: &Axis, place: usize, bound: &Bound) -> Option<Positions> {
    let mut combinations: Vec<Vec<KeyValue>> = vec![Vec::new()];
    for column in &axis.columns {
        let (.., values) = bound
            .iter()
            .find(|(of, name, _)| *of == place && *name == column.name)?;
        if combinations.len().saturating_mul(values.len()) > COMBINATIONS_MAX {
            return None;
        }
        let extended = combinations.iter().flat_map(|combination| {
            values.iter().map(move |value| {
                let mut longer = combination.clone();
                longer.push(value.clone());
                longer
            })
        });
        combinations = extended.collect();
    }
    let mut set = Positions::none(axis.targets.len());
    for combination in combinations {
        let slot = algorithm::slot(axis, &combination);
        set.unite(&algorithm::of_slot(axis.targets.len(), slot));
    }
    Some(set)
}
