//! ProxySQL's tables, from its file or from its admin interface: rows of texts by column, each with its place.
//!
//! It owns which tables are read, and names that differ between file and interface. It must never print a row: it may hold a
//! password.

use std::collections::BTreeMap;
use std::path::Path;

use super::libconfig::{self, Setting};
use crate::import::listing::{Listing, Place};

/// Tables that are converted.
pub const CONVERTED: [&str; 5] = [
    "mysql_servers",
    "mysql_users",
    "mysql_replication_hostgroups",
    "mysql_group_replication_hostgroups",
    "mysql_query_rules",
];
/// Tables whose rows are listed as lost.
pub const OTHERS: [&str; 6] = [
    "mysql_galera_hostgroups",
    "mysql_aws_aurora_hostgroups",
    "mysql_hostgroup_attributes",
    "mysql_query_rules_fast_routing",
    "mysql_firewall_whitelist_users",
    "scheduler",
];

/// A row.
pub struct Row {
    /// Where it stands.
    pub place: Place,
    /// Texts by column; NULL is absent.
    pub cells: BTreeMap<String, String>,
}

impl Row {
    /// The text of a column, by its name in the interface.
    pub fn text(&self, column: &str) -> Option<&str> {
        self.cells
            .get(column)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// The number of a column.
    pub fn number(&self, column: &str) -> Option<u64> {
        self.text(column)?.parse().ok()
    }

    /// Whether a column is not 0; its default if it is not there.
    pub fn truth(&self, column: &str, default: bool) -> bool {
        self.text(column).map_or(default, |text| text != "0")
    }
}

/// All tables.
#[derive(Default)]
pub struct Tables {
    /// Rows by table.
    pub rows: BTreeMap<&'static str, Vec<Row>>,
    /// `mysql_variables`, without `mysql-`, and where each stands.
    pub variables: BTreeMap<String, (Place, String)>,
}

impl Tables {
    /// Rows of a table.
    pub fn of(&self, table: &str) -> &[Row] {
        self.rows.get(table).map_or(&[], Vec::as_slice)
    }

    /// A variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|(_, value)| value.as_str())
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// The line, and what is wrong there.
    pub fn of_file(
        file: &Path,
        text: &str,
        listing: &mut Listing,
    ) -> Result<Self, (usize, String)> {
        let top = libconfig::parse(text)?;
        let place = |setting: &Setting| Place {
            file: file.to_owned(),
            line: setting.line,
        };
        let mut tables = Self::default();
        for (name, setting) in top.entries() {
            if name == "mysql_variables" {
                for (name, value) in setting.entries() {
                    let value = (place(value), value.scalar().unwrap_or_default().to_owned());
                    tables
                        .variables
                        .insert(name.trim_start_matches("mysql-").to_owned(), value);
                }
            } else if let Some(table) = CONVERTED.iter().chain(&OTHERS).find(|table| *table == name)
            {
                let rows = setting.items().iter().map(|row| Row {
                    place: place(row),
                    cells: cells(row),
                });
                tables.rows.entry(table).or_default().extend(rows);
            } else if !matches!(name.as_str(), "datadir" | "errorlog" | "admin_variables") {
                listing.lost(
                    &place(setting),
                    name.clone(),
                    "nothing here corresponds to it",
                    "decide whether the application needs it",
                );
            }
        }
        Ok(tables)
    }
}

/// The columns of a row; its file has other names for some.
fn cells(row: &Setting) -> BTreeMap<String, String> {
    let named = row.entries().iter().filter_map(|(name, value)| {
        let name = match name.as_str() {
            "address" => "hostname",
            "hostgroup" => "hostgroup_id",
            other => other,
        };
        Some((name.to_owned(), value.scalar()?.to_owned()))
    });
    named.collect()
}
