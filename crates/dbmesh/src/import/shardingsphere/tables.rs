//! `!SHARDING` → rules of a DataShard.
//!
//! It owns the places where ShardingSphere and a DataShard could put a row differently. A table for which they might is lost:
//! statements on it are refused.

use std::collections::BTreeSet;

use super::groups::Splitting;
use super::nodes;
use super::table::{Kind, Reader};
use crate::import::draft::Part;
use crate::import::listing::{At, Listing, Place};
use crate::import::tree::{Fields, Tree, field, map, text};

/// Algorithms whose target is found by the number of its slot.
pub const BY_NUMBER: [&str; 5] = [
    "MOD",
    "HASH_MOD",
    "VOLUME_RANGE",
    "BOUNDARY_RANGE",
    "AUTO_INTERVAL",
];
/// The others that are there under the same name.
const BY_NAME: [&str; 3] = ["INTERVAL", "INLINE", "COMPLEX_INLINE"];

/// What tables are read against.
pub struct Around<'a> {
    /// Names of the data sources that lead to a server.
    pub servers: &'a [String],
    /// Groups of them.
    pub splitting: &'a Splitting,
    /// `--key-type`.
    pub key_types: &'a [(String, String, String)],
}

/// What became of the rule.
#[derive(Default)]
pub struct Tables {
    /// Sharded tables.
    pub rules: Vec<Part>,
    /// Algorithms by name.
    pub algorithms: Vec<Part>,
    /// Generators by name.
    pub generators: Vec<Part>,
    /// Groups of tables.
    pub binding: Vec<(Place, Vec<String>)>,
    /// Tables that cannot be carried over, and where they stand.
    pub lost: Vec<(Place, String)>,
    /// Data sources and groups that rules use.
    pub used: BTreeSet<String>,
}

impl Tables {
    /// Reads a `!SHARDING` rule.
    pub fn read(&mut self, rule: At<'_>, around: &Around<'_>, listing: &mut Listing) {
        let known = [
            "!",
            "tables",
            "autoTables",
            "bindingTables",
            "broadcastTables",
            "defaultDatabaseStrategy",
            "defaultTableStrategy",
            "defaultKeyGenerateStrategy",
            "defaultShardingColumn",
            "defaultAuditStrategy",
            "shardingAlgorithms",
            "keyGenerators",
            "auditors",
        ];
        listing.unread(rule, &known);
        let reader = Reader { rule, around };
        self.algorithms(rule, listing);
        self.generators(rule, listing);
        for (kind, tables) in [(Kind::Listed, "tables"), (Kind::Auto, "autoTables")] {
            for (entry, table) in rule.field(tables).into_iter().flat_map(At::entries) {
                let place = table.key_place(entry);
                match reader.table(kind, &entry.key, table, self, listing) {
                    Ok(part) => self.rules.push(part),
                    Err(why) => {
                        listing.lost(
                            &place,
                            format!("sharded table {}", entry.key),
                            &why,
                            crate::import::draft::INSTEAD,
                        );
                        self.lost.push((place, entry.key.clone()));
                    }
                }
            }
        }
        for item in rule.field("bindingTables").into_iter().flat_map(At::items) {
            let names = item.scalar().unwrap_or_default();
            // A group may have a name in front.
            let names = names
                .split_once(':')
                .map_or(names.as_str(), |(_, names)| names);
            let names: Vec<String> = names
                .split(',')
                .map(|name| self.spelling(name.trim()))
                .collect();
            if names.len() > 1 {
                self.binding.push((item.place(), names));
            }
        }
    }

    /// ShardingSphere does not look at the case of tables; the group's names are those of the rules.
    fn spelling(&self, name: &str) -> String {
        let rule = self
            .rules
            .iter()
            .find(|part| part.name.eq_ignore_ascii_case(name));
        rule.map_or_else(|| name.to_owned(), |part| part.name.clone())
    }

    fn algorithms(&mut self, rule: At<'_>, listing: &mut Listing) {
        for (entry, algorithm) in rule
            .field("shardingAlgorithms")
            .into_iter()
            .flat_map(At::entries)
        {
            let place = algorithm.key_place(entry);
            let kind = algorithm
                .text("type")
                .unwrap_or_default()
                .to_ascii_uppercase();
            if !BY_NUMBER.contains(&kind.as_str()) && !BY_NAME.contains(&kind.as_str()) {
                let (why, instead) = match kind.as_str() {
                    "HINT_INLINE" => (
                        "no hint gives a sharding value yet",
                        "choose the shard by a column",
                    ),
                    "CLASS_BASED" => (
                        "a class of Java does not run here",
                        "write it again as a module of WebAssembly for type WASM, or choose an algorithm of those in Resources and move \
                         the rows to where it looks for them",
                    ),
                    _ => (
                        "there is no such algorithm",
                        "choose an algorithm of those in Resources, and move the rows to where it looks for them",
                    ),
                };
                listing.lost(
                    &place,
                    format!("algorithm {} of type {kind}", entry.key),
                    why,
                    instead,
                );
                continue;
            }
            let mut props = Fields::new();
            let mut wrong = None;
            for (prop, value) in algorithm.field("props").into_iter().flat_map(At::entries) {
                let said = value.scalar().unwrap_or_default();
                match prop.key.as_str() {
                    // Ranges are answered, by all shards where they do not tell which.
                    "allow-range-query-with-inline-sharding" if said != "true" => {}
                    "algorithm-expression" => match expression(&said) {
                        Ok(written) => props.push(field(&prop.key, text(written))),
                        Err(why) => wrong = Some((value.place(), why)),
                    },
                    _ => props.push(field(&prop.key, text(said))),
                }
            }
            if let Some((at, why)) = wrong {
                let what = format!("expression of the algorithm {}", entry.key);
                listing.lost(
                    &at,
                    what,
                    &why,
                    "choose an algorithm of those in Resources, and move the rows to where it looks for them",
                );
                continue;
            }
            self.algorithms.push(Part {
                place,
                name: entry.key.clone(),
                tree: map([("type", text(kind)), ("props", Tree::Map(props))]),
                needs: Vec::new(),
            });
        }
    }

    fn generators(&mut self, rule: At<'_>, listing: &mut Listing) {
        for (entry, generator) in rule
            .field("keyGenerators")
            .into_iter()
            .flat_map(At::entries)
        {
            let place = generator.key_place(entry);
            let kind = generator
                .text("type")
                .unwrap_or_default()
                .to_ascii_uppercase();
            let what = format!("key generator {} of type {kind}", entry.key);
            let mut fields = vec![field("type", text(&kind))];
            let props = generator.field("props");
            match kind.as_str() {
                "SNOWFLAKE" => match props.and_then(|props| props.text("worker-id")) {
                    Some(worker) => {
                        let why = "two proxies with one worker id make equal keys";
                        listing.note(
                            &place,
                            what,
                            why,
                            "give each proxy its own, or none: then it is leased",
                        );
                        let worker = match worker.parse() {
                            Ok(number) => Tree::Number(number),
                            Err(_) => text(worker),
                        };
                        fields.push(field("props", map([("worker-id", worker)])));
                    }
                    None => {
                        let why = "its worker id is leased from a table on a node";
                        listing.note(&place, what, why, "the account of that node has to create `dbmesh_worker`: see Generated keys");
                    }
                },
                "UUID" => {
                    let why =
                        "values are of version 7 with 36 characters, and were of version 4 with 32";
                    listing.lost(&place, what, why, "make room in the column: CHAR(36)");
                }
                _ => {
                    listing.lost(
                        &place,
                        what,
                        "there is no such generator",
                        "use SNOWFLAKE, UUID or SEGMENT: see Generated keys",
                    );
                    continue;
                }
            }
            for (prop, value) in props
                .into_iter()
                .flat_map(At::entries)
                .filter(|(prop, _)| prop.key != "worker-id")
            {
                let why =
                    "the sequence runs over all shards, and a clock that goes back stops no key";
                listing.note(&value.place(), prop.key.clone(), why, "nothing");
            }
            self.generators.push(Part {
                place,
                name: entry.key.clone(),
                tree: Tree::Map(fields),
                needs: Vec::new(),
            });
        }
    }

    /// The type and properties of an algorithm.
    pub fn algorithm(&self, name: &str) -> Option<(String, &Fields)> {
        let part = self.algorithms.iter().find(|part| part.name == name)?;
        let Tree::Map(fields) = &part.tree else {
            return None;
        };
        match fields.as_slice() {
            [(_, Tree::Text(kind)), (_, Tree::Map(props))] => Some((kind.clone(), props)),
            _ => None,
        }
    }
}

/// An inline expression in our words, unless it could compute something else here.
fn expression(groovy: &str) -> Result<String, String> {
    let text = nodes::plain(groovy)?;
    for inside in text.split("${").skip(1) {
        let inside = inside.split('}').next().unwrap_or_default();
        if inside.contains('*') {
            return Err("a product may be more than 32 bits, which Java cuts off".to_owned());
        }
        if inside.contains("toInteger") || inside.contains("intValue") {
            return Err(
                "a conversion to 32 bits fails or cuts off there, and does not here".to_owned(),
            );
        }
        let octal = |word: &str| {
            word.len() > 1 && word.starts_with('0') && word.bytes().all(|b| b.is_ascii_digit())
        };
        if inside
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .any(octal)
        {
            return Err("a number with a zero in front is octal in Groovy".to_owned());
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_that_java_computes_otherwise_are_refused() {
        assert_eq!(expression("t_$->{id % 4}").as_deref(), Ok("t_${id % 4}"));
        for text in [
            "t_${id * 7 % 4}",
            "t_${id.toInteger() % 4}",
            "t_${id % 010}",
            "<ESPRESSO>t_${id}",
        ] {
            assert!(expression(text).is_err(), "{text}");
        }
    }
}
