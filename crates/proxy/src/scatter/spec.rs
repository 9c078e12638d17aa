//! The planner's word on a merge, given the columns that the shards describe.
//!
//! Owns the translation: the planner knows the statement, the shards know types, the catalog knows collations, which no
//! description tells. What is not known for certain is left to the merge, which refuses it. Input: all of these.

use dbmesh_merge as merge;
use dbmesh_merge::column::ValueType;
use dbmesh_merge::{Comparison, Definition, Direction, FloatSums, Key, OutputDefinition};
use dbmesh_plan::shard::Zone;
use dbmesh_plan::shard::merge::{Aggregate, AggregateFunction, ColumnRef, Grouping, MergeSpec};
use dbmesh_sql::Flavor;
use dbmesh_wire::column::ColumnType;

/// What the session says of aggregates.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// div_precision_increment.
    pub increment: u8,
    /// group_concat_max_len, in bytes, if it is known.
    pub concat_bytes_max: Option<u64>,
    /// What the servers are.
    pub flavor: Flavor,
    /// Whether a time tells its moment.
    pub zone: Zone,
}

/// Whether the shards' rows come side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// All shards are at work at once: orders can be kept.
    Together,
    /// Some begin when others have ended: rows are sorted here.
    InTurns,
}

/// Why a specification does not fit: a column is not there, or a setting is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchColumn;

/// The merge's own specification.
///
/// # Errors
/// When a column is not there.
pub fn translate(
    plan: &MergeSpec,
    columns: &[Definition],
    collations: &[Option<u16>],
    settings: Settings,
    arrival: Arrival,
) -> Result<merge::MergeSpec, NoSuchColumn> {
    let shape = Shape {
        columns,
        collations,
        settings,
    };
    let mut spec = merge::MergeSpec {
        hidden: plan.hidden,
        limit: merge::Limit {
            offset_rows: plan.offset,
            count_rows: plan.limit,
        },
        ..merge::MergeSpec::default()
    };
    let mut order = Vec::new();
    for key in &plan.order {
        let mut translated = shape.key(key.column)?;
        if key.descending {
            translated.direction = Direction::Descending;
        }
        order.push(translated);
    }
    if plan.distinct {
        let shown = columns.len().checked_sub(plan.hidden).ok_or(NoSuchColumn)?;
        let keys = (0..shown).map(|at| shape.key(ColumnRef::Start(at)));
        spec.distinct = keys.collect::<Result<_, _>>()?;
    }
    match &plan.group {
        Some(group) => {
            let keys = group.keys.iter().map(|column| shape.key(*column));
            let keys: Vec<Key> = keys.collect::<Result<_, _>>()?;
            if group.sorted && arrival == Arrival::Together {
                spec.order.clone_from(&keys);
            }
            spec.group = Some(shape.grouping(group, keys)?);
            spec.sort = order;
        }
        None if plan.ordered && arrival == Arrival::Together => spec.order = order,
        None => spec.sort = order,
    }
    Ok(spec)
}

/// Whether the merge would compare values that each shard may give in another form: the least and the greatest BIT of a group
/// are bytes or, in MariaDB without a temporary table, the digits of a number.
pub fn has_forms(spec: &merge::MergeSpec, columns: &[Definition], flavor: Flavor) -> bool {
    let is_bits = |output: &merge::Output| match &output.value {
        merge::Aggregate::Min(key) | merge::Aggregate::Max(key) => {
            let column = columns.get(key.column);
            column.is_some_and(|column| column.value_type() == ValueType::Bit)
        }
        _ => false,
    };
    let groups = spec.group.iter().filter(|group| !group.keys.is_empty());
    flavor == Flavor::MariaDb
        && groups
            .into_iter()
            .any(|group| group.outputs.iter().any(is_bits))
}

/// Whether rows would be put in order, or in groups, by times that do not tell which moments they are: to servers, a TIMESTAMP
/// is a moment. What is computed from several rows is a time.
pub fn is_ambiguous(spec: &merge::MergeSpec, columns: &[Definition], zone: Zone) -> bool {
    let is_moment = |key: &Key| {
        let column = columns.get(key.column);
        column.is_some_and(|column| column.column_type == ColumnType::TIMESTAMP)
    };
    zone == Zone::Shifting
        && match &spec.group {
            Some(group) => group.keys.iter().any(is_moment),
            None => spec.order.iter().chain(&spec.sort).any(is_moment),
        }
}

struct Shape<'a> {
    columns: &'a [Definition],
    collations: &'a [Option<u16>],
    settings: Settings,
}

impl Shape<'_> {
    fn place(&self, column: ColumnRef) -> Result<usize, NoSuchColumn> {
        let place = match column {
            ColumnRef::Start(place) => Some(place),
            ColumnRef::End(back) => self.columns.len().checked_sub(back),
        };
        place
            .filter(|place| *place < self.columns.len())
            .ok_or(NoSuchColumn)
    }

    fn key(&self, column: ColumnRef) -> Result<Key, NoSuchColumn> {
        let place = self.place(column)?;
        let mut key = Key::ascending(place);
        let kind = self.columns.get(place).map(Definition::value_type);
        let collation = self.collations.get(place).copied().flatten();
        if let (Some(ValueType::String | ValueType::EnumOrSet), Some(id)) = (kind, collation) {
            key.comparison = Comparison::Collation(id);
        }
        Ok(key)
    }

    fn grouping(&self, group: &Grouping, keys: Vec<Key>) -> Result<merge::Grouping, NoSuchColumn> {
        let mut outputs = Vec::new();
        for place in 0..self.columns.len() {
            outputs.push(merge::Output {
                value: merge::Aggregate::First(place),
                definition: OutputDefinition::Column(place),
            });
        }
        for aggregate in &group.aggregates {
            let place = self.place(aggregate.column)?;
            let value = self.aggregate(aggregate, place)?;
            outputs.get_mut(place).ok_or(NoSuchColumn)?.value = value;
        }
        Ok(merge::Grouping {
            keys,
            outputs,
            float_sums: FloatSums::Refuse,
        })
    }

    fn aggregate(
        &self,
        aggregate: &Aggregate,
        at: usize,
    ) -> Result<merge::Aggregate, NoSuchColumn> {
        let increment = self.settings.increment;
        let here = ColumnRef::Start(at);
        Ok(match &aggregate.function {
            AggregateFunction::Count => merge::Aggregate::CountPartial(at),
            AggregateFunction::Sum => merge::Aggregate::Sum(at),
            AggregateFunction::Min => merge::Aggregate::Min(self.key(here)?),
            AggregateFunction::Max => merge::Aggregate::Max(self.key(here)?),
            AggregateFunction::Avg { sum, count } => merge::Aggregate::AvgPartial {
                sum: self.place(*sum)?,
                count: self.place(*count)?,
                increment,
            },
            AggregateFunction::BitAnd => merge::Aggregate::BitAnd(at),
            AggregateFunction::BitOr => merge::Aggregate::BitOr(at),
            AggregateFunction::BitXor => merge::Aggregate::BitXor(at),
            AggregateFunction::AnyValue => merge::Aggregate::First(at),
            AggregateFunction::GroupConcat { separator } => {
                merge::Aggregate::GroupConcat(merge::GroupConcat {
                    columns: vec![at],
                    distinct: Vec::new(),
                    order: Vec::new(),
                    separator: separator.clone(),
                    bytes_max: self.settings.concat_bytes_max.ok_or(NoSuchColumn)?,
                })
            }
            AggregateFunction::CountDistinct { values } => {
                let keys = values.iter().map(|value| self.key(*value));
                merge::Aggregate::CountDistinct(keys.collect::<Result<_, _>>()?)
            }
            AggregateFunction::SumDistinct { value } => {
                merge::Aggregate::SumDistinct(self.key(*value)?)
            }
            AggregateFunction::AvgDistinct { value } => merge::Aggregate::AvgDistinct {
                key: self.key(*value)?,
                increment,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dbmesh_plan::shard::merge::OrderKey;
    use dbmesh_wire::column::Column;

    const SETTINGS: Settings = Settings {
        flavor: Flavor::MySql,
        zone: Zone::Steady,
        increment: 4,
        concat_bytes_max: Some(1024),
    };

    fn columns() -> Vec<Definition> {
        let columns = [
            Column::integer(b"id"),
            Column::text(b"name", 255),
            Column::integer(b"n"),
        ];
        columns.iter().map(Definition::of).collect()
    }

    #[test]
    fn times_are_no_order_of_moments_where_an_hour_comes_twice() {
        let mut columns = columns();
        columns[0].column_type = ColumnType::TIMESTAMP;
        let ordered = |column| merge::MergeSpec {
            order: vec![Key::ascending(column)],
            ..merge::MergeSpec::default()
        };
        let grouped = |column| merge::MergeSpec {
            group: Some(merge::Grouping {
                keys: vec![Key::ascending(column)],
                ..merge::Grouping::default()
            }),
            // The greatest time of a group is a time.
            sort: vec![Key::ascending(0)],
            ..merge::MergeSpec::default()
        };
        let is = |spec, zone| is_ambiguous(&spec, &columns, zone);
        assert!(is(ordered(0), Zone::Shifting) && is(grouped(0), Zone::Shifting));
        assert!(!is(ordered(2), Zone::Shifting) && !is(grouped(2), Zone::Shifting));
        assert!(!is(ordered(0), Zone::Steady) && !is(grouped(0), Zone::Steady));
    }

    #[test]
    fn an_order_is_kept_or_made() {
        let plan = MergeSpec {
            hidden: 1,
            order: vec![OrderKey {
                column: ColumnRef::End(2),
                descending: true,
            }],
            ordered: true,
            offset: 3,
            limit: Some(7),
            ..MergeSpec::default()
        };
        let of = |arrival| {
            translate(
                &plan,
                &columns(),
                &[None, Some(45), None],
                SETTINGS,
                arrival,
            )
        };
        let key = Key::ascending(1).descending().collated(45);
        let together = of(Arrival::Together).unwrap();
        assert_eq!(
            (together.order.as_slice(), together.sort.len()),
            ([key].as_slice(), 0)
        );
        let in_turns = of(Arrival::InTurns).unwrap();
        assert_eq!(
            (in_turns.order.len(), in_turns.sort.as_slice()),
            (0, [key].as_slice())
        );
        assert_eq!(
            (together.limit.offset_rows, together.limit.count_rows),
            (3, Some(7))
        );
        let beyond = MergeSpec {
            order: vec![OrderKey {
                column: ColumnRef::End(4),
                descending: false,
            }],
            ..MergeSpec::default()
        };
        let beyond = translate(&beyond, &columns(), &[], SETTINGS, Arrival::Together);
        assert_eq!(beyond, Err(NoSuchColumn));
    }

    #[test]
    fn groups_keep_what_they_do_not_compute() {
        let plan = MergeSpec {
            group: Some(Grouping {
                keys: vec![ColumnRef::Start(1)],
                aggregates: vec![Aggregate {
                    column: ColumnRef::Start(0),
                    function: AggregateFunction::Count,
                }],
                sorted: true,
            }),
            distinct: true,
            hidden: 1,
            ..MergeSpec::default()
        };
        let spec = translate(
            &plan,
            &columns(),
            &[None, Some(45), None],
            SETTINGS,
            Arrival::Together,
        );
        let spec = spec.unwrap();
        let group = spec.group.unwrap();
        let values: Vec<_> = group
            .outputs
            .iter()
            .map(|output| output.value.clone())
            .collect();
        let expected = [
            merge::Aggregate::CountPartial(0),
            merge::Aggregate::First(1),
            merge::Aggregate::First(2),
        ];
        assert_eq!(values, expected);
        assert_eq!((spec.order.len(), spec.distinct.len()), (1, 2));
    }
}
