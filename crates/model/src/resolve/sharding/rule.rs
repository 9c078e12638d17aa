//! One rule → `ShardedTable`.
//!
//! It owns the slot map: which shards there are, in which order, and which of them every slot of an axis means. A table
//! whose rows could be at two places is a defect.

use std::collections::BTreeMap;

use super::super::findings::{At, Findings};
use super::{Modules, Places, algorithm, generator, nodes};
use crate::spec::{AuditSpec, DataShardSpec, KeyTypeSpec, ShardingRule};
use crate::suggest::suggest;
use crate::topology::sharding::{
    Algorithm, Audit, Axis, KeyColumn, KeyKind, Shard, ShardedTable, Target,
};

/// Longest name of a table.
const TABLE_CHARS_MAX: usize = 64;
/// Most columns of one strategy.
const COLUMNS_MAX: usize = 8;

/// A strategy as it was written, wherever that was.
struct Written<'a, 'd> {
    algorithm: &'a str,
    at_algorithm: At<'d>,
    column: Option<&'a str>,
    at_column: At<'d>,
    count: Option<u32>,
}

/// The names of the algorithms that a rule uses.
pub fn algorithm_names<'a>(spec: &'a DataShardSpec, rule: &'a ShardingRule) -> Vec<&'a str> {
    let defaults = spec.defaults.as_ref();
    let database = rule
        .database_strategy
        .as_ref()
        .or_else(|| defaults?.database_strategy.as_ref());
    let table = rule
        .table_strategy
        .as_ref()
        .or_else(|| defaults?.table_strategy.as_ref());
    let both = rule.database_table_strategy.as_ref();
    [
        database.map(|s| s.database_sharding_algorithm_name.as_str()),
        table.map(|s| s.table_sharding_algorithm_name.as_str()),
        both.map(|s| s.database_sharding_algorithm_name.as_str()),
        both.map(|s| s.table_sharding_algorithm_name.as_str()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What of an algorithm must be equal in a binding group: all, but with columns and the table's name left out of names.
pub fn comparable(axis: &Axis, table: &ShardedTable) -> String {
    if let Algorithm::Wasm { module } = &axis.algorithm {
        // Its digest may hold letters that are a column's name.
        return format!("{module:?}");
    }
    let mut text = match &axis.algorithm {
        // The ring is made of names, so equal names of sources give an equal one; tables have names of their own.
        Algorithm::Inline { expression }
        | Algorithm::ComplexInline { expression }
        | Algorithm::HintInline { expression } => format!("inline {}", expression.text()),
        other => format!("{other:?}"),
    };
    for (index, column) in axis.columns.iter().enumerate() {
        text = text.replace(&column.name, &format!("\u{1}{index}"));
    }
    text.replace(&table.name, "\u{2}")
}

/// Resolves a rule, or reports everything that is wrong.
pub fn resolve(
    at: &At<'_>,
    spec: &DataShardSpec,
    rule: &ShardingRule,
    places: &mut Places<'_>,
    findings: &mut Findings,
) -> Option<ShardedTable> {
    let nodes = nodes::nodes(at, rule, places, findings);
    let (database, table) = strategies(at, spec, rule, findings)?;
    let count = table.as_ref().and_then(|table| table.count);
    let shards = shards(at, &rule.table_name, &nodes?, count, findings)?;
    let by_source = targets(&shards, |shard| source_name(places, shard));
    let by_table = targets(&shards, |shard| shard.table.as_str());
    let kinds = kinds(at, rule, findings);
    let modules = &places.modules;
    let mut axis = |written: Option<Written<'_, '_>>, targets: Vec<Target>| match written {
        None => Some(None),
        Some(written) => self::axis(&written, spec, &kinds, targets, modules, findings).map(Some),
    };
    let several = by_source.len() > 1;
    let database = axis(database, by_source.clone());
    let table = axis(table, by_table.clone());
    let (database, table) = (database?, table?);
    let mut sound = unused_kinds(at, &kinds, [&database, &table], findings);
    let ambiguous = |targets: &[Target]| {
        targets
            .iter()
            .find(|target| target.shards.len() > 1)
            .cloned()
    };
    let twice = match (&database, &table) {
        (None, None) if shards.len() > 1 => Some("neither a database nor a table strategy chooses among its nodes".to_owned()),
        (None, Some(_)) if several => ambiguous(&by_table).map(|target| {
            format!("`{}` is at several nodes, and no database strategy chooses one (or give tables names that are unique across nodes)", target.name)
        }),
        (Some(_), None) => ambiguous(&by_source).map(|target| {
            format!("`{}` has several tables, and no table strategy chooses one", target.name)
        }),
        _ => None,
    };
    if let Some(reason) = twice {
        findings.error(at, reason);
        sound = false;
    }
    let key_generator = generator::of_rule(at, spec, rule, places, findings)?;
    let audit = rule.audit.or_else(|| spec.defaults.as_ref()?.audit);
    sound.then(|| ShardedTable {
        name: rule.table_name.clone(),
        shards,
        database,
        table,
        binding: None,
        key_generator,
        audit: match audit {
            Some(AuditSpec::DmlShardingConditions) => Audit::ShardingConditions,
            Some(AuditSpec::None) | None => Audit::None,
        },
    })
}

fn source_name<'p>(places: &'p Places<'_>, shard: &Shard) -> &'p str {
    places
        .sources
        .get(shard.source)
        .map_or("", |source| source.name.as_str())
}

type Pair<'a, 'd> = (Option<Written<'a, 'd>>, Option<Written<'a, 'd>>);

/// The strategies of a rule: its own, else the defaults.
fn strategies<'a, 'd>(
    at: &At<'d>,
    spec: &'a DataShardSpec,
    rule: &'a ShardingRule,
    findings: &mut Findings,
) -> Option<Pair<'a, 'd>> {
    if let Some(both) = &rule.database_table_strategy {
        if rule.database_strategy.is_some() || rule.table_strategy.is_some() {
            let at = at.field("databaseTableStrategy");
            findings.error(
                &at,
                "goes with neither `databaseStrategy` nor `tableStrategy`",
            );
            return None;
        }
        let at = at.field("databaseTableStrategy");
        let database = Written {
            algorithm: &both.database_sharding_algorithm_name,
            at_algorithm: at.field("databaseShardingAlgorithmName"),
            column: both.database_sharding_column.as_deref(),
            at_column: at.field("databaseShardingColumn"),
            count: None,
        };
        let table = Written {
            algorithm: &both.table_sharding_algorithm_name,
            at_algorithm: at.field("tableShardingAlgorithmName"),
            column: both.table_sharding_column.as_deref(),
            at_column: at.field("tableShardingColumn"),
            count: both.sharding_count,
        };
        return Some((Some(database), Some(table)));
    }
    let at_defaults = At::top(at.document).field("spec").field("defaults");
    let defaults = spec.defaults.as_ref();
    // What a rule says stands alone: the defaults are for rules that say nothing.
    let said = rule.database_strategy.is_some() || rule.table_strategy.is_some();
    let (place, database, table) = match said {
        true => (
            at,
            rule.database_strategy.as_ref(),
            rule.table_strategy.as_ref(),
        ),
        false => (
            &at_defaults,
            defaults.and_then(|d| d.database_strategy.as_ref()),
            defaults.and_then(|d| d.table_strategy.as_ref()),
        ),
    };
    let at_database = place.field("databaseStrategy");
    let at_table = place.field("tableStrategy");
    let database = database.map(|strategy| Written {
        algorithm: &strategy.database_sharding_algorithm_name,
        at_algorithm: at_database.field("databaseShardingAlgorithmName"),
        column: strategy.database_sharding_column.as_deref(),
        at_column: at_database.field("databaseShardingColumn"),
        count: None,
    });
    let table = table.map(|strategy| Written {
        algorithm: &strategy.table_sharding_algorithm_name,
        at_algorithm: at_table.field("tableShardingAlgorithmName"),
        column: strategy.table_sharding_column.as_deref(),
        at_column: at_table.field("tableShardingColumn"),
        count: strategy.sharding_count,
    });
    Some((database, table))
}

/// The slot map: nodes without a table get those that the count says, or the one that is called as the logical one.
fn shards(
    at: &At<'_>,
    name: &str,
    nodes: &[nodes::Node],
    count: Option<u32>,
    findings: &mut Findings,
) -> Option<Vec<Shard>> {
    let mut shards = Vec::new();
    for (source, table) in nodes {
        let source = *source;
        match (table, count) {
            (Some(table), _) => shards.push(Shard {
                source,
                table: table.clone(),
            }),
            (None, Some(count)) => shards.extend((0..count).map(|n| Shard {
                source,
                table: format!("{name}_{n:05}"),
            })),
            (None, None) => shards.push(Shard {
                source,
                table: name.to_owned(),
            }),
        }
        if shards.len() > nodes::SHARDS_MAX {
            findings.error(
                at,
                format!("the table has more than {} parts", nodes::SHARDS_MAX),
            );
            return None;
        }
    }
    let at = at.field("actualDatanodes");
    let mut seen = std::collections::BTreeSet::new();
    for shard in &shards {
        if shard.table.is_empty() || shard.table.chars().count() > TABLE_CHARS_MAX {
            findings.error(&at, format!("{:?} is not a table's name", shard.table));
            return None;
        }
        if !seen.insert((shard.source, shard.table.to_lowercase())) {
            findings.error(
                &at,
                format!("the node of `{}` is listed twice", shard.table),
            );
            return None;
        }
    }
    Some(shards)
}

/// The targets of an axis by slot: by their numbers where these are 0, 1, 2…, else as they were listed.
fn targets<'a>(shards: &'a [Shard], name: impl Fn(&'a Shard) -> &'a str) -> Vec<Target> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut targets: Vec<Target> = Vec::new();
    for (index, shard) in shards.iter().enumerate() {
        let name = name(shard);
        let next = targets.len();
        let place = *places.entry(name).or_insert(next);
        match targets.get_mut(place) {
            Some(target) => target.shards.push(index),
            None => targets.push(Target {
                name: name.to_owned(),
                shards: vec![index],
            }),
        }
    }
    let number = |target: &Target| {
        let stem = target.name.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = target.name.get(stem.len()..)?;
        Some((stem.to_owned(), digits.parse::<usize>().ok()?))
    };
    let mut numbered: Vec<(usize, String, Target)> = Vec::new();
    for target in &targets {
        match number(target) {
            Some((stem, n)) => numbered.push((n, stem, target.clone())),
            None => return targets,
        }
    }
    numbered.sort_by_key(|(n, ..)| *n);
    let stem = numbered.first().map(|(_, stem, _)| stem.clone());
    let counts = numbered
        .iter()
        .enumerate()
        .all(|(slot, (n, of, _))| slot == *n && Some(of) == stem.as_ref());
    match counts {
        true => numbered.into_iter().map(|(.., target)| target).collect(),
        false => targets,
    }
}

/// Key types by column, in lower case, with the field they stand in.
type Kinds = BTreeMap<String, KeyKind>;

fn kinds(at: &At<'_>, rule: &ShardingRule, findings: &mut Findings) -> Kinds {
    let mut kinds = Kinds::new();
    for (column, kind) in rule.key_types.iter().flatten() {
        let kind = match kind {
            KeyTypeSpec::Integer => KeyKind::Integer,
            KeyTypeSpec::String => KeyKind::Text,
            KeyTypeSpec::CollatedString => KeyKind::Collated,
            KeyTypeSpec::Date => KeyKind::Date,
            KeyTypeSpec::Datetime => KeyKind::Datetime,
        };
        if kinds.insert(column.to_lowercase(), kind).is_some() {
            findings.error(
                &at.field("keyTypes").field(column),
                "the column is listed twice",
            );
        }
    }
    kinds
}

fn unused_kinds(
    at: &At<'_>,
    kinds: &Kinds,
    axes: [&Option<Axis>; 2],
    findings: &mut Findings,
) -> bool {
    let known: Vec<&str> = axes
        .into_iter()
        .flatten()
        .flat_map(|axis| axis.columns.iter().map(|column| column.name.as_str()))
        .collect();
    let mut sound = true;
    for column in kinds
        .keys()
        .filter(|column| !known.contains(&column.as_str()))
    {
        let reason = format!("no strategy of the rule names the column `{column}`");
        findings.error_with(
            &at.field("keyTypes"),
            reason,
            suggest(column, known.iter().copied()),
        );
        sound = false;
    }
    sound
}

fn axis(
    written: &Written<'_, '_>,
    spec: &DataShardSpec,
    kinds: &Kinds,
    targets: Vec<Target>,
    modules: &Modules<'_>,
    findings: &mut Findings,
) -> Option<Axis> {
    let found = algorithm::find(
        &written.at_algorithm,
        written.algorithm,
        spec,
        modules,
        findings,
    )?;
    let columns: Vec<KeyColumn> = written
        .column
        .into_iter()
        .flat_map(|columns| columns.split(','))
        .map(|column| {
            let name = column.trim().to_lowercase();
            let kind = kinds.get(&name).copied().unwrap_or(found.kind_unsaid());
            KeyColumn { name, kind }
        })
        .collect();
    let at = &written.at_column;
    if columns.len() > COLUMNS_MAX || columns.iter().any(|column| column.name.is_empty()) {
        findings.error(
            at,
            format!("is not a column, nor 2 to {COLUMNS_MAX} with commas between"),
        );
        return None;
    }
    let algorithm = found.build(&targets, findings)?;
    let reason = match (&algorithm, columns.len()) {
        (hint, 0) if hint.by_hint() => None,
        (hint, _) if hint.by_hint() => {
            Some("the value comes from a hint, not from a column".to_owned())
        }
        (_, 0) => Some("the algorithm needs a column".to_owned()),
        (Algorithm::ComplexInline { expression }, _) | (Algorithm::Inline { expression }, 1) => {
            expression
                .columns()
                .into_iter()
                .find(|used| columns.iter().all(|column| column.name != *used))
                .map(|used| format!("the expression uses `{used}`, which is not among the columns"))
        }
        (_, 1) => None,
        _ => Some("the algorithm takes one column".to_owned()),
    };
    if let Some(reason) = reason {
        findings.error(at, reason);
        return None;
    }
    if let Some(reason) = other_type(&found, &algorithm, &columns) {
        findings.error(at, reason);
        return None;
    }
    Some(Axis {
        columns,
        algorithm,
        targets,
    })
}

/// Which column is of a type that the algorithm does not take.
fn other_type(
    found: &algorithm::Found<'_, '_>,
    algorithm: &Algorithm,
    columns: &[KeyColumn],
) -> Option<String> {
    let module = match algorithm {
        Algorithm::Wasm { module } => Some(module),
        _ => None,
    };
    let takes = |kind| module.map_or_else(|| found.takes(kind), |module| module.takes(kind));
    let column = columns.iter().find(|column| !takes(column.kind))?;
    let reason = format!("the algorithm does not take the type of `{}`", column.name);
    Some(match module {
        Some(module) => format!("{reason}: {}", module.takes_what()),
        None => reason,
    })
}
