//! Hostgroups → the servers of a user, and their roles.
//!
//! It owns which hostgroups belong together. What ProxySQL moves between a writer and a reader hostgroup by `read_only` has
//! roles here that servers report.

use std::collections::BTreeMap;

use super::tables::{Row, Tables};
use crate::import::listing::Listing;
use crate::import::tree::{Fields, Tree, field, text};

/// All hostgroups.
pub struct Hostgroups<'a> {
    rows: &'a [Row],
    /// Writer, reader, and the others of the group.
    pairs: Vec<(u64, u64, Vec<u64>)>,
}

/// The servers of a user.
pub struct Servers<'a> {
    /// With the role that they are given; none where servers report it, or all are equal.
    pub rows: Vec<(&'a Row, Option<&'static str>)>,
    /// The user's own hostgroup.
    pub home: u64,
    /// The hostgroup of replicas, if there is one.
    pub reader: Option<u64>,
    /// Whether servers report their roles.
    pub reported: bool,
    /// Whether the user's own hostgroup is the one of replicas.
    pub home_is_reader: bool,
    all: &'a [Row],
}

impl<'a> Hostgroups<'a> {
    /// Reads what there is.
    pub fn of(tables: &'a Tables) -> Self {
        let pairs = |table: &str| {
            let rows = tables
                .of(table)
                .iter()
                .filter(|row| row.truth("active", true));
            let pairs = rows.filter_map(|row| {
                let others = ["backup_writer_hostgroup", "offline_hostgroup"];
                let others = others
                    .iter()
                    .filter_map(|column| row.number(column))
                    .collect();
                Some((
                    row.number("writer_hostgroup")?,
                    row.number("reader_hostgroup")?,
                    others,
                ))
            });
            pairs.collect::<Vec<(u64, u64, Vec<u64>)>>()
        };
        let mut all = pairs("mysql_replication_hostgroups");
        all.extend(pairs("mysql_group_replication_hostgroups"));
        Self {
            rows: tables.of("mysql_servers"),
            pairs: all,
        }
    }

    /// The servers that a user of that hostgroup reaches.
    pub fn servers(&self, home: u64, listing: &mut Listing) -> Servers<'a> {
        let pair = self
            .pairs
            .iter()
            .find(|(writer, reader, _)| *writer == home || *reader == home);
        let members: Vec<u64> = match pair {
            Some((writer, reader, others)) => [*writer, *reader]
                .into_iter()
                .chain(others.iter().copied())
                .collect(),
            None => vec![home],
        };
        let mut found: BTreeMap<(&str, u64), &Row> = BTreeMap::new();
        for row in self
            .rows
            .iter()
            .filter(|row| members.contains(&hostgroup(row)))
        {
            if !is_online(row) {
                let what = format!("server {}", row.text("hostname").unwrap_or_default());
                listing.lost(
                    &row.place,
                    what,
                    "it is offline",
                    "add a DatabaseEndpoint when it is back: `dbmesh drain` takes one out",
                );
                continue;
            }
            let key = (
                row.text("hostname").unwrap_or_default(),
                row.number("port").unwrap_or(3306),
            );
            let known = found.entry(key).or_insert(row);
            // A server of both has the weight that its reads have.
            if pair.is_some_and(|(_, reader, _)| hostgroup(row) == *reader) {
                *known = row;
            }
        }
        Servers {
            rows: found.into_values().map(|row| (row, None)).collect(),
            home,
            reader: pair
                .map(|(_, reader, _)| *reader)
                .filter(|reader| *reader != home || pair.is_some()),
            reported: pair.is_some(),
            home_is_reader: pair
                .is_some_and(|(writer, reader, _)| *reader == home && *writer != home),
            all: self.rows,
        }
    }
}

impl Servers<'_> {
    /// Whether statements go to more than one role.
    pub fn splits(&self) -> bool {
        self.reader.is_some()
    }

    /// The strictest of the lags that replicas may have.
    pub fn lag(&self) -> Option<u64> {
        let lags = self
            .rows
            .iter()
            .filter_map(|(row, _)| row.number("max_replication_lag"));
        lags.filter(|lag| *lag > 0).min()
    }

    /// Takes a hostgroup as the one of replicas, where no table says which that is.
    pub fn read_from(&mut self, hostgroup: u64) -> bool {
        if self.reader.is_some() || self.reported {
            return self.reader == Some(hostgroup);
        }
        let address = |row: &Row| (row.text("hostname").map(str::to_owned), row.number("port"));
        let own: Vec<_> = self.rows.iter().map(|(row, _)| address(row)).collect();
        let readers = self
            .all
            .iter()
            .filter(|row| self::hostgroup(row) == hostgroup && is_online(row));
        let readers: Vec<_> = readers.filter(|row| !own.contains(&address(row))).collect();
        if readers.is_empty() {
            return false;
        }
        self.rows
            .extend(readers.into_iter().map(|row| (row, Some("replica"))));
        self.reader = Some(hostgroup);
        true
    }
}

fn hostgroup(row: &Row) -> u64 {
    row.number("hostgroup_id").unwrap_or(0)
}

fn is_online(row: &Row) -> bool {
    !row.text("status")
        .is_some_and(|status| status.to_ascii_uppercase().starts_with("OFFLINE"))
}

/// `host` and `port`, or `socket`.
pub fn address(row: &Row) -> Fields {
    let host = row.text("hostname").unwrap_or("127.0.0.1");
    match host.starts_with('/') {
        true => vec![field("socket", text(host))],
        false => vec![
            field("host", text(host)),
            field(
                "port",
                Tree::Number(row.number("port").unwrap_or(3306).into()),
            ),
        ],
    }
}
