//! How far a replica is behind: by its own status, by a heartbeat table, by its queue in a group.
//!
//! Owns the questions and the reading of their answers. It must never take silence for freshness: what does not say how far
//! it is behind serves no reads. Input: rows of `SHOW REPLICA STATUS` or of the heartbeat table at one server.

use dbmesh_model::topology::{Heartbeat, HeartbeatClock};

use super::cell;
use crate::backend::{Flavor, NamedRow, ServerFacts};
use crate::standing::Lag;

/// The statement that shows a replica's status.
pub(super) fn status_sql(facts: Option<&ServerFacts>) -> &'static str {
    match facts {
        Some(facts) if facts.flavor == Flavor::MariaDb => "SHOW ALL SLAVES STATUS",
        Some(facts) if facts.version_id < 80_022 => "SHOW SLAVE STATUS",
        _ => "SHOW REPLICA STATUS",
    }
}

/// How old the newest beat is, in µs: NULL if there is none.
pub(super) fn heartbeat_sql(heartbeat: &Heartbeat) -> String {
    let now = match heartbeat.clock {
        HeartbeatClock::Session => "NOW(6)",
        HeartbeatClock::Utc => "UTC_TIMESTAMP(6)",
    };
    let Heartbeat { table, column, .. } = heartbeat;
    format!("SELECT TIMESTAMPDIFF(MICROSECOND, MAX({column}), {now}) AS behind_us FROM {table}")
}

/// The lag that the heartbeat table tells.
pub(super) fn heartbeat_lag(rows: &[NamedRow]) -> Lag {
    let text = cell(rows.first(), "behind_us").and_then(|text| std::str::from_utf8(text).ok());
    match text.and_then(|text| text.parse::<i64>().ok()) {
        // A clock that is ahead of the writer's is no lag.
        Some(us) => Lag::Behind(u64::try_from(us / 1_000).unwrap_or(0)),
        None => Lag::Unknown,
    }
}

/// The lag over all channels of `SHOW REPLICA STATUS`, in its old and new words.
pub(super) fn worst_lag(rows: &[NamedRow]) -> Lag {
    let mut worst = Lag::NoReplica;
    for row in rows {
        let either = |new: &str, old: &str| cell(Some(row), new).or_else(|| cell(Some(row), old));
        let applies = either("replica_sql_running", "slave_sql_running");
        let behind = either("seconds_behind_source", "seconds_behind_master");
        let seconds = behind.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
        match (applies, seconds) {
            (Some(b"Yes"), Some(seconds)) => {
                let ms = seconds.saturating_mul(1_000);
                worst = match worst {
                    Lag::Disconnected => worst,
                    Lag::Behind(so_far) => Lag::Behind(so_far.max(ms)),
                    _ => Lag::Behind(ms),
                };
            }
            (Some(b"Yes"), None) => worst = Lag::Disconnected,
            _ => return Lag::Stopped,
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[(&str, Option<&str>)]) -> NamedRow {
        cells
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.map(|v| v.as_bytes().to_vec())))
            .collect()
    }

    #[test]
    fn the_slowest_channel_counts() {
        let new = |s| {
            row(&[
                ("replica_sql_running", Some("Yes")),
                ("seconds_behind_source", s),
            ])
        };
        let old = row(&[
            ("slave_sql_running", Some("Yes")),
            ("seconds_behind_master", Some("7")),
        ]);
        assert_eq!(worst_lag(&[]), Lag::NoReplica);
        assert_eq!(worst_lag(&[new(Some("0"))]), Lag::Behind(0));
        assert_eq!(worst_lag(&[new(Some("3")), old]), Lag::Behind(7_000));
        assert_eq!(worst_lag(&[new(None), new(Some("3"))]), Lag::Disconnected);
        let no = row(&[
            ("replica_sql_running", Some("No")),
            ("seconds_behind_source", Some("0")),
        ]);
        assert_eq!(worst_lag(&[no]), Lag::Stopped);
    }

    #[test]
    fn beats_are_read_in_any_clock() {
        let beat = |us: Option<&str>| heartbeat_lag(&[row(&[("behind_us", us)])]);
        assert_eq!(beat(Some("1234567")), Lag::Behind(1_234));
        assert_eq!(beat(Some("-9000")), Lag::Behind(0));
        assert_eq!(beat(None), Lag::Unknown);
        assert_eq!(heartbeat_lag(&[]), Lag::Unknown);
        let mut heartbeat = Heartbeat {
            table: "`mesh`.`heartbeat`".into(),
            column: "`ts`".into(),
            clock: HeartbeatClock::Session,
        };
        assert_eq!(
            heartbeat_sql(&heartbeat),
            "SELECT TIMESTAMPDIFF(MICROSECOND, MAX(`ts`), NOW(6)) AS behind_us FROM `mesh`.`heartbeat`"
        );
        heartbeat.clock = HeartbeatClock::Utc;
        assert!(heartbeat_sql(&heartbeat).contains("UTC_TIMESTAMP(6)"));
    }
}
