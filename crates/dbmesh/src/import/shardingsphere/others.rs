//! Broadcast and single tables, shadow, encryption, masks.
//!
//! It owns what happens to tables whose rule has no counterpart: where ignoring the rule would store or show what it hides,
//! statements on them are refused.

use super::groups::Splitting;
use crate::import::draft::{Part, denial};
use crate::import::listing::{At, Listing, Place};
use crate::import::tree::{Tree, map, text};

/// Tables that are not sharded.
#[derive(Default)]
pub struct Others {
    /// A copy everywhere.
    pub broadcast: Vec<String>,
    /// Table and data source.
    pub single: Vec<(Place, String, String)>,
    /// Data sources of which every table is a single one.
    pub whole: Vec<(Place, String)>,
    /// `*.*`.
    pub all: Option<Place>,
    /// Where new tables are made.
    pub default: Option<(Place, String)>,
    /// Rules that deny tables.
    pub denied: Vec<Part>,
    /// The shadow data source, and where it is said.
    pub shadow: Option<(Place, String)>,
}

impl Others {
    /// `broadcastTables` of `!SHARDING`, or `tables` of `!BROADCAST`.
    pub fn broadcast(&mut self, rule: At<'_>, name: &str) {
        for (_, table) in rule.list(name) {
            if !self.broadcast.contains(&table) {
                self.broadcast.push(table);
            }
        }
    }

    /// `!SINGLE`.
    pub fn single(&mut self, rule: At<'_>, listing: &mut Listing) {
        listing.unread(rule, &["!", "tables", "defaultDataSource"]);
        for (place, table) in rule.list("tables") {
            let parts: Vec<&str> = table.split('.').collect();
            match parts.as_slice() {
                ["*", "*"] | ["*", "*", "*"] => self.all = Some(place),
                [source, "*"] | [source, "*", "*"] => {
                    self.whole.push((place, (*source).to_owned()))
                }
                ["*", _] => {
                    let why = "its data source is not said";
                    listing.lost(
                        &place,
                        format!("single table {table}"),
                        why,
                        "add it to `singleTables` with its node",
                    );
                }
                [source, .., name] => {
                    self.single
                        .push((place, (*name).to_owned(), (*source).to_owned()))
                }
                _ => {
                    listing.lost(
                        &place,
                        format!("single table {table}"),
                        "it is no `data source.table`",
                        "add it to `singleTables`",
                    );
                }
            }
        }
        if let (Some(place), Some(name)) = (
            rule.field("defaultDataSource").map(At::place),
            rule.text("defaultDataSource"),
        ) {
            self.default = Some((place, name));
        }
    }

    /// `!ENCRYPT` and `!MASK`.
    pub fn hidden(&mut self, rule: At<'_>, what: &str, listing: &mut Listing) {
        for (entry, table) in rule.field("tables").into_iter().flat_map(At::entries) {
            let place = table.key_place(entry);
            let columns: Vec<&str> = table
                .field("columns")
                .into_iter()
                .flat_map(At::entries)
                .map(|(column, _)| column.key.as_str())
                .collect();
            let what = format!("{what} of {} ({})", entry.key, columns.join(", "));
            let instead = "statements on the table are refused by a rule of the TrafficStrategy: take it away when the application does it itself";
            listing.lost(&place, what, "it is not supported yet, and without it values would be stored or shown as they are", instead);
            if self
                .denied
                .iter()
                .all(|part| part.name != denial(&place, &entry.key).name)
            {
                self.denied.push(denial(&place, &entry.key));
            }
        }
    }

    /// `!SHADOW`: statements with the hint go to the shadow.
    pub fn shadow(&mut self, rule: At<'_>, splitting: &Splitting, listing: &mut Listing) {
        listing.unread(
            rule,
            &[
                "!",
                "dataSources",
                "tables",
                "shadowAlgorithms",
                "defaultShadowAlgorithmName",
            ],
        );
        let sources: Vec<(Place, String)> = rule
            .field("dataSources")
            .into_iter()
            .flat_map(|sources| match sources.node.items().is_empty() {
                true => sources.entries().map(|(_, at)| at).collect::<Vec<_>>(),
                false => sources.items().collect(),
            })
            .filter_map(|at| Some((at.place(), at.text("shadowDataSourceName")?)))
            .collect();
        let algorithm = |name: &str| {
            let algorithm = rule.field("shadowAlgorithms")?.field(name)?;
            Some((
                algorithm.place(),
                algorithm.text("type")?.to_ascii_uppercase(),
            ))
        };
        let mut by_hint = false;
        let default = rule.text("defaultShadowAlgorithmName");
        let mut names: Vec<String> = default.into_iter().collect();
        for (entry, table) in rule.field("tables").into_iter().flat_map(At::entries) {
            let why = "the hint sends every statement to the shadow, on whichever table";
            listing.lost(
                &table.key_place(entry),
                format!("shadow of table {} alone", entry.key),
                why,
                "give the hint with statements on these tables only",
            );
            names.extend(
                table
                    .list("shadowAlgorithmNames")
                    .into_iter()
                    .map(|(_, name)| name),
            );
        }
        names.sort();
        names.dedup();
        for name in names {
            match algorithm(&name) {
                Some((_, kind)) if matches!(kind.as_str(), "SQL_HINT" | "SIMPLE_HINT") => {
                    by_hint = true
                }
                Some((place, kind)) => {
                    let why = "values of columns do not choose the shadow";
                    listing.lost(&place, format!("shadow algorithm {name} of type {kind}"), why, "give those statements the hint, or see `shadow.rules`: texts, users and tags");
                }
                None => {}
            }
        }
        match sources.as_slice() {
            [(place, name)] if by_hint && splitting.group_of(name).is_none() => {
                self.shadow = Some((place.clone(), name.clone()));
            }
            [] => {}
            [(place, _), ..] => {
                let why = "a service has one shadow, which is one server, and takes statements with the hint";
                listing.lost(place, "shadow", why, "see Shadow and mirror");
            }
        }
    }

    /// `singleTables`.
    pub fn single_tables(&self) -> Vec<Tree> {
        let tree = |(_, table, source): &(Place, String, String)| {
            map([("tableName", text(table)), ("node", text(source))])
        };
        self.single.iter().map(tree).collect()
    }
}
