//! What of semi-synchronous replication lets a server acknowledge a commit that no replica has.
//!
//! Owns the names of the settings, which are MySQL's and MariaDB's, and what is said of their values. Must never call a
//! setting wrong that the server does not have. Input: the server's variables.

use std::collections::BTreeMap;

/// A shorter wait for a replica ends before an operator, or a tool, has dealt with what is wrong.
const WAIT_MS_MIN: u64 = 3_600_000;

/// What is so, and what to do about it.
pub(super) type Found = (String, String);

/// Every setting that begins so is read.
pub(super) const QUESTION: &str = "SHOW GLOBAL VARIABLES LIKE 'rpl\\_semi\\_sync\\_%'";

/// The settings, by their names of this server.
struct Settings<'a> {
    values: &'a BTreeMap<String, String>,
    source: &'static str,
    replica: &'static str,
}

/// What a failover can lose, where a service has so many other servers.
pub(super) fn shortfalls(values: &BTreeMap<String, String>, others: usize) -> Vec<Found> {
    let mut named = [("source", "replica"), ("master", "slave")].into_iter();
    let settings = named.find_map(|(source, replica)| {
        let settings = Settings {
            values,
            source,
            replica,
        };
        let on = settings.of_source("enabled")?.1 == "ON";
        on.then_some(settings)
    });
    let Some(settings) = settings else {
        let what = "its replication is not semi-synchronous: a failover can lose what was committed, and tear a transaction";
        let remedy =
            "semi-synchronous replication with AFTER_SYNC and a long timeout, or Group Replication";
        return vec![(what.to_owned(), remedy.to_owned())];
    };
    let all = [
        settings.timeout(),
        settings.alone(),
        settings.point(),
        settings.count(others),
        settings.answers(),
    ];
    all.into_iter().flatten().collect()
}

impl Settings<'_> {
    /// A setting of the source's side: its name, and its value.
    fn of_source(&self, what: &str) -> Option<(String, &str)> {
        self.named(format!("rpl_semi_sync_{}_{what}", self.source))
    }

    fn named(&self, name: String) -> Option<(String, &str)> {
        let value = self.values.get(&name)?;
        Some((name, value))
    }

    /// It waits for a while only.
    fn timeout(&self) -> Option<Found> {
        let (name, value) = self.of_source("timeout")?;
        let wait_ms: u64 = value.parse().ok()?;
        (wait_ms < WAIT_MS_MIN).then(|| {
            let what = format!(
                "its replication stops being semi-synchronous when no replica answers for {wait_ms} ms ({name}): a failover after that can lose what was committed, and tear a transaction"
            );
            (what, self.set(&name, "4294967295"))
        })
    }

    /// It does not wait while too few replicas are connected.
    fn alone(&self) -> Option<Found> {
        let (name, value) = self.of_source(&format!("wait_no_{}", self.replica))?;
        (value == "OFF").then(|| {
            let what = format!(
                "its replication stops being semi-synchronous when too few replicas are connected ({name} is OFF): what it commits alone, a failover loses"
            );
            (what, self.set(&name, "ON"))
        })
    }

    /// Others see what no replica has.
    fn point(&self) -> Option<Found> {
        let (name, value) = self.of_source("wait_point")?;
        (value != "AFTER_SYNC").then(|| {
            let what = format!(
                "it shows a commit to others before a replica has it ({name} is {value}): what they saw, a failover can lose"
            );
            (what, self.set(&name, "AFTER_SYNC"))
        })
    }

    /// More replicas have to answer than there are.
    fn count(&self, others: usize) -> Option<Found> {
        let (name, value) = self.of_source(&format!("wait_for_{}_count", self.replica))?;
        let count: usize = value.parse().ok()?;
        (count > others).then(|| {
            let what = format!(
                "it waits for {count} replicas ({name}), and the service has {others}: no commit is acknowledged, or it stops being semi-synchronous"
            );
            (what, self.set(&name, &others.to_string()))
        })
    }

    /// As a replica, it does not say what it has.
    fn answers(&self) -> Option<Found> {
        let name = format!("rpl_semi_sync_{}_enabled", self.replica);
        let on = self.values.get(&name).is_some_and(|value| value == "ON");
        (!on).then(|| {
            let what = format!(
                "as a replica, it does not acknowledge what it received ({name} is not ON): a primary does not wait for it"
            );
            (what, self.set(&name, "ON"))
        })
    }

    fn set(&self, name: &str, value: &str) -> String {
        match self.source {
            "source" => format!("SET PERSIST {name} = {value}"),
            _ => format!("SET GLOBAL {name} = {value}, and {name} = {value} in its option file"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(values: &[(&str, &str)], others: usize) -> Vec<Found> {
        let owned = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        shortfalls(&owned.collect(), others)
    }

    const GOOD: [(&str, &str); 6] = [
        ("rpl_semi_sync_source_enabled", "ON"),
        ("rpl_semi_sync_source_timeout", "4294967295"),
        ("rpl_semi_sync_source_wait_no_replica", "ON"),
        ("rpl_semi_sync_source_wait_point", "AFTER_SYNC"),
        ("rpl_semi_sync_source_wait_for_replica_count", "1"),
        ("rpl_semi_sync_replica_enabled", "ON"),
    ];

    #[test]
    fn nothing_is_said_of_what_does_not_fall_back() {
        assert_eq!(said(&GOOD, 1), []);
        let mariadb: Vec<_> = GOOD
            .iter()
            .map(|(name, value)| {
                (
                    name.replace("source", "master").replace("replica", "slave"),
                    *value,
                )
            })
            .collect();
        let mut mariadb: Vec<(&str, &str)> =
            mariadb.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        assert_eq!(said(&mariadb, 2), []);
        mariadb[2].1 = "OFF";
        let found = said(&mariadb, 2);
        assert!(
            found[0].0.contains("rpl_semi_sync_master_wait_no_slave"),
            "{found:?}"
        );
        assert!(
            found[0]
                .1
                .starts_with("SET GLOBAL rpl_semi_sync_master_wait_no_slave = ON")
        );
    }

    #[test]
    fn every_way_back_to_asynchronous_is_named() {
        for (place, value, word) in [
            (0, "OFF", "is not semi-synchronous"),
            (1, "10000", "for 10000 ms (rpl_semi_sync_source_timeout)"),
            (2, "OFF", "rpl_semi_sync_source_wait_no_replica is OFF"),
            (3, "AFTER_COMMIT", "wait_point is AFTER_COMMIT"),
            (4, "2", "it waits for 2 replicas"),
            (5, "OFF", "rpl_semi_sync_replica_enabled is not ON"),
        ] {
            let mut values = GOOD;
            values[place].1 = value;
            let found = said(&values, 1);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].0.contains(word), "{found:?}");
        }
        assert_eq!(said(&[], 1).len(), 1);
    }
}
