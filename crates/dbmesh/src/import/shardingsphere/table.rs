//! One table of a `!SHARDING` rule → a rule of a DataShard.
//!
//! It owns where ShardingSphere looks for a table's rows: nodes that are listed or made, and the target of each slot. It must
//! never carry a table over whose rows could be looked for elsewhere here.

use std::collections::BTreeSet;

use super::groups::Group;
use super::nodes;
use super::tables::{Around, BY_NUMBER, Tables};
use crate::import::draft::Part;
use crate::import::listing::{At, Listing};
use crate::import::tree::{Fields, Tree, field, map, text};

/// What chooses a target.
struct Chosen {
    algorithm: String,
    columns: Vec<String>,
}

/// Whether a table says its nodes, or has them made.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// In `tables`.
    Listed,
    /// In `autoTables`.
    Auto,
}

/// What reads tables of a rule.
pub struct Reader<'a> {
    /// The rule.
    pub rule: At<'a>,
    /// What is there besides.
    pub around: &'a Around<'a>,
}

impl Reader<'_> {
    /// The rule of a table.
    ///
    /// # Errors
    /// Why it cannot be carried over.
    pub fn table(
        &self,
        kind: Kind,
        name: &str,
        at: At<'_>,
        made: &mut Tables,
        listing: &mut Listing,
    ) -> Result<Part, String> {
        let chosen = |strategy: Option<At<'_>>| {
            strategy.map_or(Ok(None), |strategy| self.chosen(strategy, made))
        };
        let (database, table) = self.strategies(kind, at, listing);
        let chosen = [chosen(database)?, chosen(table)?];
        let (nodes, written) = match kind {
            Kind::Listed => self.nodes(name, at)?,
            Kind::Auto => self.auto_nodes(name, at, chosen[1].as_ref(), made)?,
        };
        let sources: Vec<&str> = nodes.iter().map(|(source, _)| source.as_str()).collect();
        let tables: Vec<&str> = nodes.iter().map(|(_, table)| table.as_str()).collect();
        for (chosen, targets) in chosen.iter().zip([&sources, &tables]) {
            self.check(chosen.as_ref(), targets, made)?;
        }
        let mut fields = vec![field("tableName", text(name))];
        fields.extend(self.groups(&sources, made));
        fields.push(field(
            "actualDatanodes",
            map([("valueSource", map([("expression", text(written))]))]),
        ));
        let mut needs = Vec::new();
        for (chosen, prefix) in chosen.iter().zip(["database", "table"]) {
            if let Some(chosen) = chosen {
                fields.push(strategy_field(prefix, chosen));
                needs.push(chosen.algorithm.clone());
            }
        }
        let kinds = self.key_types(name, at, &chosen, made, listing);
        if !kinds.is_empty() {
            fields.push(field("keyTypes", Tree::Map(kinds)));
        }
        if let Some((column, generator)) = self.generator(at, made)? {
            let tree = map([("column", text(column)), ("generator", text(&generator))]);
            fields.push(field("keyGenerator", tree));
            needs.push(generator);
        }
        fields.extend(self.audit(at, listing));
        Ok(Part {
            place: at.place(),
            name: name.to_owned(),
            tree: Tree::Map(fields),
            needs,
        })
    }

    /// What chooses the data source, and the table: the table's own, else the default.
    fn strategies<'t>(
        &'t self,
        kind: Kind,
        at: At<'t>,
        listing: &mut Listing,
    ) -> (Option<At<'t>>, Option<At<'t>>) {
        let mut known = vec!["keyGenerateStrategy", "auditStrategy", "logicTable"];
        let own = |name: &str, default: &str| at.field(name).or_else(|| self.rule.field(default));
        let found = match kind {
            Kind::Listed => {
                known.extend(["actualDataNodes", "databaseStrategy", "tableStrategy"]);
                let database = own("databaseStrategy", "defaultDatabaseStrategy");
                (database, own("tableStrategy", "defaultTableStrategy"))
            }
            Kind::Auto => {
                known.extend(["actualDataSources", "shardingStrategy"]);
                (None, at.field("shardingStrategy"))
            }
        };
        listing.unread(at, &known);
        found
    }

    /// `readWriteSplittingGroup`; notes which data sources are used.
    fn groups(&self, sources: &[&str], made: &mut Tables) -> Option<(String, Tree)> {
        let sources: BTreeSet<&str> = sources.iter().copied().collect();
        made.used
            .extend(sources.iter().map(|source| (*source).to_owned()));
        let splitting = self.around.splitting;
        let groups = sources
            .into_iter()
            .filter_map(|source| splitting.group_of(source));
        let groups: Vec<Tree> = groups.map(Group::tree).collect();
        (!groups.is_empty()).then(|| field("readWriteSplittingGroup", Tree::List(groups)))
    }

    /// The algorithm and columns of a strategy.
    fn chosen(&self, strategy: At<'_>, made: &Tables) -> Result<Option<Chosen>, String> {
        let Some((entry, of)) = strategy.entries().next() else {
            return Ok(None);
        };
        if entry.key == "none" {
            return Ok(None);
        }
        if entry.key == "hint" {
            return Err(
                "its shard is chosen by a hint, and no hint gives a sharding value yet".to_owned(),
            );
        }
        let name = of
            .text("shardingAlgorithmName")
            .ok_or("its strategy names no algorithm")?;
        if made.algorithm(&name).is_none() {
            return Err(format!(
                "the algorithm {name} is not there, or not carried over"
            ));
        }
        let mut columns: Vec<String> = of
            .list("shardingColumn")
            .into_iter()
            .map(|(_, column)| column)
            .collect();
        columns.extend(
            of.list("shardingColumns")
                .into_iter()
                .map(|(_, column)| column),
        );
        if columns.is_empty() {
            columns.extend(self.rule.text("defaultShardingColumn"));
        }
        match columns.is_empty() {
            true => Err("its strategy names no column".to_owned()),
            false => Ok(Some(Chosen {
                algorithm: name,
                columns,
            })),
        }
    }

    /// `actualDataNodes`, with every node in it.
    fn nodes(&self, name: &str, at: At<'_>) -> Result<(Vec<(String, String)>, String), String> {
        let (all, written) = match at.text("actualDataNodes") {
            Some(expression) => {
                let all = nodes::expand(&expression)?;
                let written = nodes::written(&expression, &all);
                (all, written)
            }
            // Every data source has a table of that name.
            None => {
                let all: Vec<String> = self
                    .logical_sources()
                    .iter()
                    .map(|source| format!("{source}.{name}"))
                    .collect();
                let written = all.join(", ");
                (all, written)
            }
        };
        let pairs = all.iter().map(|node| {
            let (source, table) = node
                .split_once('.')
                .ok_or(format!("`{node}` names no table"))?;
            self.is_source(source)?;
            Ok((source.to_owned(), table.to_owned()))
        });
        Ok((pairs.collect::<Result<_, String>>()?, written))
    }

    /// The nodes that ShardingSphere makes: the data sources take turns.
    fn auto_nodes(
        &self,
        name: &str,
        at: At<'_>,
        chosen: Option<&Chosen>,
        made: &Tables,
    ) -> Result<(Vec<(String, String)>, String), String> {
        let sources = match at.text("actualDataSources") {
            Some(expression) => nodes::expand(&expression)?,
            None => self.logical_sources(),
        };
        for source in &sources {
            self.is_source(source)?;
        }
        let chosen = chosen.ok_or("it has no sharding strategy")?;
        let count = made
            .algorithm(&chosen.algorithm)
            .and_then(|(kind, props)| slots(&kind, props))
            .ok_or("its algorithm does not say how many tables there are")?;
        let turns = sources.iter().cycle().take(count).enumerate();
        let nodes: Vec<(String, String)> = turns
            .map(|(n, source)| (source.clone(), format!("{name}_{n}")))
            .collect();
        let written: Vec<String> = nodes
            .iter()
            .map(|(source, table)| format!("{source}.{table}"))
            .collect();
        Ok((nodes, written.join(", ")))
    }

    /// Data sources as other rules see them: groups in place of their members.
    fn logical_sources(&self) -> Vec<String> {
        let splitting = self.around.splitting;
        let alone = self
            .around
            .servers
            .iter()
            .filter(|server| splitting.around(server).is_none());
        alone
            .cloned()
            .chain(splitting.groups.iter().map(|group| group.name.clone()))
            .collect()
    }

    fn is_source(&self, name: &str) -> Result<(), String> {
        match self.around.servers.iter().any(|server| server == name)
            || self.around.splitting.group_of(name).is_some()
        {
            true => Ok(()),
            false => Err(format!(
                "there is no data source `{name}`, or it is not carried over"
            )),
        }
    }

    /// Whether the target of a slot is the same here and there.
    fn check(
        &self,
        chosen: Option<&Chosen>,
        targets: &[&str],
        made: &Tables,
    ) -> Result<(), String> {
        let Some((kind, props)) = chosen.and_then(|chosen| made.algorithm(&chosen.algorithm))
        else {
            return Ok(());
        };
        let count = targets.iter().collect::<BTreeSet<_>>().len();
        if let Some(slots) = slots(&kind, props).filter(|slots| *slots != count) {
            return Err(format!(
                "{kind} has {slots} slots, and there are {count} targets"
            ));
        }
        match BY_NUMBER.contains(&kind.as_str()) && !nodes::are_numbered(targets) {
            true => Err(format!(
                "{kind} finds targets by a number from 0 on at the end of their names, and they have none"
            )),
            false => Ok(()),
        }
    }

    /// The types that keys have, where they are not whole numbers or times.
    fn key_types(
        &self,
        name: &str,
        at: At<'_>,
        chosen: &[Option<Chosen>; 2],
        made: &Tables,
        listing: &mut Listing,
    ) -> Fields {
        let mut kinds = Fields::new();
        for chosen in chosen.iter().flatten() {
            let Some((kind, props)) = made.algorithm(&chosen.algorithm) else {
                continue;
            };
            let expression = props.iter().find_map(|(name, value)| match value {
                Tree::Text(text) if name == "algorithm-expression" => Some(text.as_str()),
                _ => None,
            });
            for column in &chosen.columns {
                let said = self.around.key_types.iter().find(|(table, of, _)| {
                    table.eq_ignore_ascii_case(name) && of.eq_ignore_ascii_case(column)
                });
                let of_text = ["hashCode", "substring", "toLong"].iter().any(|method| {
                    expression.is_some_and(|text| text.contains(&format!("{column}.{method}")))
                });
                let found = match said {
                    Some((.., kind)) => Some(kind.as_str()),
                    None if of_text => Some("string"),
                    None => None,
                };
                match found {
                    Some(found)
                        if kinds
                            .iter()
                            .all(|(known, _)| !known.eq_ignore_ascii_case(column)) =>
                    {
                        kinds.push(field(column, text(found)));
                    }
                    None if matches!(kind.as_str(), "HASH_MOD" | "INLINE" | "COMPLEX_INLINE") => {
                        let why =
                            "the files do not say its type, and it is taken for a whole number";
                        let instead = format!(
                            "if it is not, give --key-type {name}.{column}=string: until then statements on the table are refused"
                        );
                        listing.note(
                            &at.place(),
                            format!("sharding column {name}.{column}"),
                            why,
                            &instead,
                        );
                    }
                    _ => {}
                }
            }
        }
        kinds
    }

    fn generator(&self, at: At<'_>, made: &Tables) -> Result<Option<(String, String)>, String> {
        let strategy = at
            .field("keyGenerateStrategy")
            .or_else(|| self.rule.field("defaultKeyGenerateStrategy"));
        let Some(strategy) = strategy else {
            return Ok(None);
        };
        let (Some(column), Some(generator)) =
            (strategy.text("column"), strategy.text("keyGeneratorName"))
        else {
            return Err("its keyGenerateStrategy has no column or generator".to_owned());
        };
        match made.generators.iter().any(|part| part.name == generator) {
            true => Ok(Some((column, generator))),
            false => Err(format!(
                "the key generator {generator} is not there, or not carried over"
            )),
        }
    }

    fn audit(&self, at: At<'_>, listing: &mut Listing) -> Option<(String, Tree)> {
        let strategy = at
            .field("auditStrategy")
            .or_else(|| self.rule.field("defaultAuditStrategy"))?;
        let mut refuses = false;
        for (place, name) in strategy.list("auditorNames") {
            let auditor = self.rule.field("auditors").and_then(|all| all.field(&name));
            match auditor.and_then(|auditor| auditor.text("type")).as_deref() {
                Some("DML_SHARDING_CONDITIONS") => refuses = true,
                _ => listing.lost(
                    &place,
                    format!("auditor {name}"),
                    "there is no such auditor",
                    "see Rules: statements can be refused by what they are",
                ),
            }
        }
        if refuses && strategy.text("allowHintDisable").as_deref() != Some("false") {
            let why = "no hint lifts the audit";
            listing.note(
                &strategy.place(),
                "allowHintDisable",
                why,
                "take the audit away from tables whose statements need it",
            );
        }
        refuses.then(|| field("audit", text("DML_SHARDING_CONDITIONS")))
    }
}

/// How many tables an algorithm of autoTables has.
fn slots(kind: &str, props: &Fields) -> Option<usize> {
    let said = |wanted: &str| {
        props.iter().find_map(|(name, value)| match value {
            Tree::Text(text) if name == wanted => Some(text.as_str()),
            _ => None,
        })
    };
    let number = |name: &str| said(name)?.trim().parse::<i128>().ok();
    let ranges = |from: i128, to: i128, length: i128| {
        let span = to.checked_sub(from)?;
        (length > 0 && span > 0).then(|| (span + length - 1) / length + 2)
    };
    let count = match kind {
        "MOD" | "HASH_MOD" => number("sharding-count")?,
        "VOLUME_RANGE" => ranges(
            number("range-lower")?,
            number("range-upper")?,
            number("sharding-volume")?,
        )?,
        "BOUNDARY_RANGE" => said("sharding-ranges")?.split(',').count() as i128 + 1,
        "AUTO_INTERVAL" => {
            use dbmesh_model::topology::sharding::time;
            let moment = |name: &str| Some(i128::from(time::parse(said(name)?)?.0));
            let length = number("sharding-seconds")?.checked_mul(i128::from(time::SECOND))?;
            ranges(moment("datetime-lower")?, moment("datetime-upper")?, length)?
        }
        _ => return None,
    };
    usize::try_from(count)
        .ok()
        .filter(|count| (1..=100_000).contains(count))
}

/// `databaseStrategy` or `tableStrategy`.
fn strategy_field(prefix: &str, chosen: &Chosen) -> (String, Tree) {
    let algorithm = format!("{prefix}ShardingAlgorithmName");
    let column = format!("{prefix}ShardingColumn");
    let tree = map([
        (&algorithm, text(&chosen.algorithm)),
        (&column, text(chosen.columns.join(","))),
    ]);
    field(&format!("{prefix}Strategy"), tree)
}
