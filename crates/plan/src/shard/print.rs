//! Plans as people read them: in EXPLAIN MESH, on the command line, in golden cases.

use std::collections::BTreeSet;
use std::fmt;

use dbmesh_model::topology::Sharding;

use super::dictionary::Reading;
use super::merge::{Aggregate, AggregateFunction, ColumnRef, MergeSpec};
use super::{Clock, Gives, Merge, NodeStatement, Pull, ShardPlan};

/// A plan with the rules that give its nodes their names.
#[derive(Debug)]
pub struct Shown<'a> {
    /// The plan.
    pub plan: &'a ShardPlan,
    /// The rules.
    pub sharding: &'a Sharding,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.plan {
            ShardPlan::Session => f.write_str("session"),
            ShardPlan::Single(statement) => {
                f.write_str("single")?;
                self.node(f, statement)
            }
            ShardPlan::Broadcast {
                statements,
                gives,
                clock,
            } => {
                write!(f, "broadcast to {}{}", statements.len(), clock_of(*clock))?;
                if *gives == Gives::Rows {
                    f.write_str(", rows of the first")?;
                }
                statements.iter().try_for_each(|s| self.node(f, s))
            }
            ShardPlan::Scatter {
                statements,
                merge,
                clock,
            } => {
                write!(f, "scatter over {}{}", statements.len(), clock_of(*clock))?;
                match merge {
                    Merge::Affected => f.write_str(", counts added")?,
                    Merge::Explained => f.write_str(", each explained")?,
                    Merge::Rows(spec) => write!(f, ", {spec}")?,
                }
                statements.iter().try_for_each(|s| self.node(f, s))
            }
            ShardPlan::Gather(gather) => {
                write!(f, "gather: {}", gather.reason)?;
                gather
                    .pulls
                    .iter()
                    .try_for_each(|pull| write!(f, "\n  {pull}"))?;
                gather.finish.iter().try_for_each(|s| self.node(f, s))
            }
            ShardPlan::Dictionary(dictionary) => {
                f.write_str("information_schema")?;
                for reading in &dictionary.readings {
                    write!(f, "\n  {reading}")?;
                }
                self.node(f, &dictionary.finish)
            }
            ShardPlan::Load(load) => {
                write!(f, "a file split over {}", load.statements.len())?;
                load.statements.iter().try_for_each(|s| self.node(f, s))
            }
            ShardPlan::Refuse(reason) => write!(f, "refuse: {reason}"),
            ShardPlan::Learn(tables) => write!(f, "learn: {}", tables.join(", ")),
        }
    }
}

fn clock_of(clock: Clock) -> &'static str {
    match clock {
        Clock::Unread => "",
        Clock::Read => " at one time",
    }
}

impl Shown<'_> {
    fn node(&self, f: &mut fmt::Formatter<'_>, statement: &NodeStatement) -> fmt::Result {
        let source = self.sharding.sources.get(statement.source);
        let source = source.map_or("?", |source| source.name.as_str());
        write!(f, "\n  {source}")?;
        if let Some(shard) = statement.shard {
            write!(f, "#{shard}")?;
        }
        write!(f, ": {}", String::from_utf8_lossy(&statement.sql))?;
        if !statement.parameters.is_empty() {
            write!(f, " -- ? = {:?}", statement.parameters)?;
        }
        Ok(())
    }
}

impl fmt::Display for Pull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} of {} shards, ",
            self.table,
            self.parts.len(),
            self.of
        )?;
        match &self.columns {
            Some(columns) => {
                let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
                write!(f, "[{}]", columns.join(", "))?;
            }
            None => f.write_str("all columns")?,
        }
        if let Some(condition) = &self.condition {
            write!(f, " where {}", String::from_utf8_lossy(&condition.text))?;
            if !condition.parameters.is_empty() {
                write!(f, " -- ? = {:?}", condition.parameters)?;
            }
        }
        f.write_str(&String::from_utf8_lossy(&self.first.text))
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = |set: &Option<BTreeSet<String>>, what: &str| match set {
            Some(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                format!("[{}]", names.join(", "))
            }
            None => format!("all {what}"),
        };
        let (columns, tables) = (all(&self.columns, "columns"), all(&self.tables, "tables"));
        let system = if self.system {
            ", and the servers' own"
        } else {
            ""
        };
        write!(f, "{}: {columns} of {tables}{system}", self.view.name)
    }
}

impl fmt::Display for ColumnRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(place) => write!(f, "{place}"),
            Self::End(place) => write!(f, "-{place}"),
        }
    }
}

impl fmt::Display for MergeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        if let Some(group) = &self.group {
            let sorted = if group.sorted { " sorted" } else { "" };
            parts.push(format!("group by [{}]{sorted}", list(&group.keys)));
            parts.extend(group.aggregates.iter().map(ToString::to_string));
        }
        if self.distinct {
            parts.push("distinct".to_owned());
        }
        if !self.order.is_empty() {
            let keys: Vec<String> = self
                .order
                .iter()
                .map(|key| {
                    format!(
                        "{}{}",
                        key.column,
                        if key.descending { " desc" } else { "" }
                    )
                })
                .collect();
            let how = if self.ordered { "merge by" } else { "sort by" };
            parts.push(format!("{how} [{}]", keys.join(", ")));
        }
        if self.offset > 0 {
            parts.push(format!("skip {}", self.offset));
        }
        if let Some(limit) = self.limit {
            parts.push(format!("limit {limit}"));
        }
        if self.hidden > 0 {
            parts.push(format!("hide {}", self.hidden));
        }
        match parts.is_empty() {
            true => f.write_str("rows appended"),
            false => f.write_str(&parts.join(", ")),
        }
    }
}

fn list(columns: &[ColumnRef]) -> String {
    let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
    columns.join(", ")
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = ", self.column)?;
        match &self.function {
            AggregateFunction::Count => f.write_str("count"),
            AggregateFunction::Sum => f.write_str("sum"),
            AggregateFunction::Min => f.write_str("min"),
            AggregateFunction::Max => f.write_str("max"),
            AggregateFunction::Avg { sum, count } => write!(f, "avg({sum} / {count})"),
            AggregateFunction::BitAnd => f.write_str("bit_and"),
            AggregateFunction::BitOr => f.write_str("bit_or"),
            AggregateFunction::BitXor => f.write_str("bit_xor"),
            AggregateFunction::AnyValue => f.write_str("any_value"),
            AggregateFunction::GroupConcat { separator } => {
                write!(f, "group_concat({:?})", String::from_utf8_lossy(separator))
            }
            AggregateFunction::CountDistinct { values } => {
                write!(f, "count_distinct({})", list(values))
            }
            AggregateFunction::SumDistinct { value } => write!(f, "sum_distinct({value})"),
            AggregateFunction::AvgDistinct { value } => write!(f, "avg_distinct({value})"),
        }
    }
}
