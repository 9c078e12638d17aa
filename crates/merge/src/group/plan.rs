//! What is done for a group, made from the specification and the columns.
//!
//! Owns the check of every aggregate against the types it is to work on, and the parts that rows are sent
//! through. Aggregates that need all values at once (DISTINCT, GROUP_CONCAT) become value sets. Input: the
//! specification, the shards' columns.

use dbmesh_wire::column::ColumnType;
use dbmesh_wire::result_set::RowFormat;

use super::definition;
use super::values::{Total, ValueSet};
use crate::aggregate::{Accumulator, BitOperation, Number, Sum};
use crate::column::{Definition, ValueType};
use crate::error::{MergeError, Refusal};
use crate::key::{KeyEncoder, Purpose};
use crate::spec::{Aggregate, GroupConcat, Grouping, Key, Output, OutputDefinition};

/// What a row does to its group's accumulators.
#[derive(Debug)]
pub(super) enum Step {
    CountRows,
    Count(usize),
    CountPartial(usize),
    Sum(usize, Number),
    Average(usize, Number),
    AveragePartial(usize, Number, usize),
    Extreme(usize, KeyEncoder),
    Bits { column: usize, unsigned: bool },
}

/// Where a column of a grouped row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    First(usize),
    Accumulator(usize),
    /// An accumulator's average, with div_precision_increment and the digits after the point.
    Average(usize, (u8, u8)),
    Values(usize),
}

/// What is done for a group.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) format: RowFormat,
    /// Columns of which the first row's values are kept.
    pub(super) first: Vec<usize>,
    pub(super) steps: Vec<Step>,
    pub(super) empty: Vec<Accumulator>,
    pub(super) sets: Vec<ValueSet>,
    pub(super) slots: Vec<Slot>,
    pub(super) definitions: Vec<Definition>,
}

impl Plan {
    pub(super) fn new(
        format: RowFormat,
        columns: &[Definition],
        grouping: &Grouping,
    ) -> Result<Self, MergeError> {
        let plan = Self {
            format,
            first: Vec::new(),
            steps: Vec::new(),
            empty: Vec::new(),
            sets: Vec::new(),
            slots: Vec::new(),
            definitions: Vec::new(),
        };
        let mut builder = Builder {
            plan,
            columns,
            grouping,
        };
        for output in &grouping.outputs {
            let mut slot = builder.slot(&output.value)?;
            let defined = builder.definition(output)?;
            // Which digits AVG is rounded to is its type's.
            match &mut slot {
                Slot::Average(_, (_, scale)) => *scale = defined.decimals,
                Slot::Values(set) => builder.plan.round_to(*set, defined.decimals),
                Slot::First(_) | Slot::Accumulator(_) => {}
            }
            builder.plan.slots.push(slot);
            builder.plan.definitions.push(defined);
        }
        Ok(builder.plan)
    }

    fn round_to(&mut self, set: usize, decimals: u8) {
        if let Some(set) = self.sets.get_mut(set)
            && let Total::Average(_, _, (_, scale), ..) = &mut set.total
        {
            *scale = decimals;
        }
    }
}

struct Builder<'a> {
    plan: Plan,
    columns: &'a [Definition],
    grouping: &'a Grouping,
}

impl Builder<'_> {
    fn column(&self, column: usize) -> Result<&Definition, MergeError> {
        self.columns.get(column).ok_or(MergeError::Misuse(
            "an aggregate's column is not in the rows",
        ))
    }

    fn number(&self, column: usize) -> Result<Number, MergeError> {
        let definition = self.column(column)?;
        Number::of(
            self.plan.format,
            column,
            definition,
            self.grouping.float_sums,
        )
    }

    fn keys(&self, keys: &[Key], purpose: Purpose) -> Result<KeyEncoder, MergeError> {
        KeyEncoder::new(self.plan.format, self.columns, keys, purpose)
    }

    fn accumulate(&mut self, step: Step, empty: Accumulator) -> Slot {
        self.plan.steps.push(step);
        self.plan.empty.push(empty);
        Slot::Accumulator(self.plan.steps.len() - 1)
    }

    fn slot(&mut self, aggregate: &Aggregate) -> Result<Slot, MergeError> {
        match *aggregate {
            Aggregate::First(column) => {
                self.column(column)?;
                self.plan.first.push(column);
                Ok(Slot::First(self.plan.first.len() - 1))
            }
            Aggregate::CountRows => Ok(self.accumulate(Step::CountRows, Accumulator::Count(0))),
            Aggregate::Count(column) => {
                self.column(column)?;
                Ok(self.accumulate(Step::Count(column), Accumulator::Count(0)))
            }
            Aggregate::CountPartial(column) => {
                self.integer(column)?;
                Ok(self.accumulate(Step::CountPartial(column), Accumulator::Count(0)))
            }
            Aggregate::Sum(column) => {
                let step = Step::Sum(column, self.number(column)?);
                Ok(self.accumulate(step, Accumulator::Sum(Sum::Null)))
            }
            Aggregate::Avg { column, increment } => {
                let step = Step::Average(column, self.number(column)?);
                Ok(self.average(step, increment))
            }
            Aggregate::AvgPartial {
                sum,
                count,
                increment,
            } => {
                self.integer(count)?;
                let step = Step::AveragePartial(sum, self.number(sum)?, count);
                Ok(self.average(step, increment))
            }
            Aggregate::Min(key) => self.extreme(key, false),
            Aggregate::Max(key) => self.extreme(key, true),
            Aggregate::BitAnd(column) => self.bits(column, BitOperation::And),
            Aggregate::BitOr(column) => self.bits(column, BitOperation::Or),
            Aggregate::BitXor(column) => self.bits(column, BitOperation::Xor),
            Aggregate::CountDistinct(ref keys) => self.values(keys, &[], Total::Count(0)),
            Aggregate::SumDistinct(key) => {
                let total = Total::Sum(key.column, self.number(key.column)?, Sum::Null);
                self.values(&[key], &[], total)
            }
            Aggregate::AvgDistinct { key, increment } => {
                let number = self.number(key.column)?;
                let total = Total::Average(key.column, number, (increment, 0), Sum::Null, 0);
                self.values(&[key], &[], total)
            }
            Aggregate::GroupConcat(ref concat) => self.concat(concat),
            Aggregate::Variance(_) => Err(MergeError::Refused(Refusal::Variance)),
        }
    }

    fn average(&mut self, step: Step, increment: u8) -> Slot {
        self.accumulate(step, Accumulator::Average(Sum::Null, 0));
        Slot::Average(self.plan.steps.len() - 1, (increment, 0))
    }

    fn extreme(&mut self, key: Key, greatest: bool) -> Result<Slot, MergeError> {
        let ascending = Key {
            direction: crate::spec::Direction::Ascending,
            ..key
        };
        let step = Step::Extreme(key.column, self.keys(&[ascending], Purpose::Extreme)?);
        let empty = Accumulator::Extreme {
            greatest,
            best: None,
        };
        Ok(self.accumulate(step, empty))
    }

    fn bits(&mut self, column: usize, operation: BitOperation) -> Result<Slot, MergeError> {
        let unsigned = self.integer(column)?;
        let empty = Accumulator::Bits(operation, operation.of_nothing());
        Ok(self.accumulate(Step::Bits { column, unsigned }, empty))
    }

    /// Whether an integer column is unsigned.
    fn integer(&self, column: usize) -> Result<bool, MergeError> {
        match self.column(column)?.value_type() {
            ValueType::Integer { unsigned } => Ok(unsigned),
            _ => Err(MergeError::Refused(Refusal::AggregateType { column })),
        }
    }

    fn values(
        &mut self,
        distinct: &[Key],
        order: &[Key],
        total: Total,
    ) -> Result<Slot, MergeError> {
        let keys = |keys: &[Key]| self.keys(keys, Purpose::Rows);
        let set = ValueSet {
            distinct: (!distinct.is_empty()).then(|| keys(distinct)).transpose()?,
            order: (!order.is_empty()).then(|| keys(order)).transpose()?,
            total,
        };
        self.plan.sets.push(set);
        Ok(Slot::Values(self.plan.sets.len() - 1))
    }

    fn concat(&mut self, concat: &GroupConcat) -> Result<Slot, MergeError> {
        let mut parts = Vec::new();
        for column in &concat.columns {
            let kind = self.column(*column)?.value_type();
            let is_text = matches!(
                kind,
                ValueType::String | ValueType::EnumOrSet | ValueType::Decimal | ValueType::Null
            );
            let integer = match kind {
                ValueType::Integer { unsigned } => Some(unsigned),
                _ => None,
            };
            if self.plan.format == RowFormat::Binary && !is_text && integer.is_none() {
                return Err(MergeError::Refused(Refusal::AggregateType {
                    column: *column,
                }));
            }
            parts.push((*column, integer));
        }
        let total = Total::Concat {
            columns: parts,
            separator: concat.separator.clone(),
            bytes_max: usize::try_from(concat.bytes_max).unwrap_or(usize::MAX),
        };
        self.values(&concat.distinct, &concat.order, total)
    }

    fn definition(&self, output: &Output) -> Result<Definition, MergeError> {
        let derived = definition::derived(&output.value, self.columns)?;
        match &output.definition {
            OutputDefinition::Derived(name) => {
                let mut derived = derived;
                let [.., label, _] = &mut derived.names;
                label.clone_from(name);
                Ok(derived)
            }
            OutputDefinition::Column(column) => {
                let given = self.column(*column)?;
                let layout = |column: ColumnType| column.binary_layout();
                let fits = layout(given.column_type) == layout(derived.column_type)
                    && (given.value_type() == derived.value_type() || !is_number(given));
                fits.then(|| given.clone()).ok_or(MergeError::Misuse(
                    "an output's definition is of another type",
                ))
            }
        }
    }
}

fn is_number(definition: &Definition) -> bool {
    matches!(
        definition.value_type(),
        ValueType::Integer { .. } | ValueType::Float { .. } | ValueType::Double { .. }
    )
}
