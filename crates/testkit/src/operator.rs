//! What an operator's tool does with a fleet: promotes a replica after the primary died, or moves the primary as planned.
//!
//! Stands in for Orchestrator, MHA or a person with a runbook, and does what those do, in their order. It must never talk to
//! the proxy: that finds out by itself. Its input is a fleet's servers.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{Error, Kind, Result, Server, fleet::follow};

const PATIENCE: Duration = Duration::from_secs(30);

/// Options for every member of a fleet under which a commit is acknowledged only when a replica has received it, as long
/// as one is connected. Without them, a primary that dies takes with it what no replica has received yet.
pub fn semi_synchronous(kind: Kind) -> Vec<String> {
    let options: &[&str] = match kind {
        Kind::MySql => &[
            "--plugin-load-add=semisync_source.so",
            "--plugin-load-add=semisync_replica.so",
            "--rpl-semi-sync-source-enabled=1",
            "--rpl-semi-sync-source-timeout=60000",
            "--rpl-semi-sync-source-wait-no-replica=OFF",
            "--rpl-semi-sync-replica-enabled=1",
        ],
        Kind::MariaDb => &[
            "--rpl-semi-sync-master-enabled=1",
            "--rpl-semi-sync-master-timeout=60000",
            "--rpl-semi-sync-master-wait-no-slave=OFF",
            "--rpl-semi-sync-master-wait-point=AFTER_SYNC",
            "--rpl-semi-sync-slave-enabled=1",
        ],
    };
    options.iter().map(|option| (*option).to_owned()).collect()
}

/// Makes the server refuse writes; waits for commits under way, as the server does.
pub fn refuse_writes(server: &Server) -> Result<()> {
    server.execute(match server.kind() {
        Kind::MySql => "SET GLOBAL super_read_only = 1",
        Kind::MariaDb => "SET GLOBAL read_only = 1",
    })
}

/// Lets the server take writes.
pub fn allow_writes(server: &Server) -> Result<()> {
    server.execute("SET GLOBAL read_only = 0")
}

/// Promotes the most advanced of these replicas, after it has applied all that it received, and lets the others follow it.
/// Returns its place and the moment in which it took writes.
pub fn promote_after_loss(replicas: &[&Server]) -> Result<(usize, Instant)> {
    for replica in replicas {
        replica.execute(match replica.kind() {
            Kind::MySql => "STOP REPLICA IO_THREAD",
            Kind::MariaDb => "STOP SLAVE IO_THREAD",
        })?;
    }
    let mut best = 0;
    let mut most = 0;
    for (place, replica) in replicas.iter().enumerate() {
        drain(replica)?;
        let has = progress(replica)?;
        if has > most {
            (best, most) = (place, has);
        }
    }
    let Some(new) = replicas.get(best) else {
        return Err(Error::Connection("there is no replica".to_owned()));
    };
    stop_following(new)?;
    allow_writes(new)?;
    let promoted = Instant::now();
    for (place, replica) in replicas.iter().enumerate() {
        if place != best {
            follow(replica, new)?;
        }
    }
    Ok((best, promoted))
}

/// Moves the primary from `old` to `new` as planned: writes stop, the replica catches up, takes writes, and all others
/// follow it.
pub fn switch_over(old: &Server, new: &Server, others: &[&Server]) -> Result<()> {
    refuse_writes(old)?;
    catch_up(new, old)?;
    stop_following(new)?;
    allow_writes(new)?;
    for other in others {
        follow(other, new)?;
    }
    return_as_replica(old, new)
}

/// Whether a former primary has transactions that `new` lacks: what it had not sent to anybody when it died, and committed
/// when it started again. As a replica it would stay another one than its source.
pub fn has_more_than(old: &Server, new: &Server) -> Result<bool> {
    match old.kind() {
        Kind::MySql => {
            let has = old.query_value("SELECT @@global.gtid_executed")?;
            let ask = format!(
                "SELECT GTID_SUBSET('{}', @@global.gtid_executed)",
                has.unwrap_or_default()
            );
            Ok(new.query_value(&ask)?.as_deref() != Some("1"))
        }
        Kind::MariaDb => {
            let state = "SELECT @@global.gtid_binlog_state";
            let of = |server: &Server| server.query_value(state).map(Option::unwrap_or_default);
            let (has, others) = (of(old)?, of(new)?);
            // The last number of each server in each domain.
            let last = |of: &str| {
                others.split(',').find_map(|part| {
                    let (known, number) = part.trim().rsplit_once('-')?;
                    (known == of).then(|| number.parse::<u64>().ok())?
                })
            };
            Ok(has.split(',').any(|part| {
                part.trim()
                    .rsplit_once('-')
                    .is_some_and(|(of, number)| number.parse::<u64>().ok() > last(of).or(Some(0)))
            }))
        }
    }
}

/// Makes a former primary a replica of `new`.
pub fn return_as_replica(old: &Server, new: &Server) -> Result<()> {
    refuse_writes(old)?;
    if old.kind() == Kind::MariaDb {
        // Its own writes count as received: the replica's position is what it has written itself.
        old.execute("SET GLOBAL gtid_slave_pos = @@global.gtid_binlog_pos")?;
    }
    follow(old, new)
}

fn stop_following(server: &Server) -> Result<()> {
    server.execute(match server.kind() {
        Kind::MySql => "STOP REPLICA; RESET REPLICA ALL",
        Kind::MariaDb => "STOP SLAVE; RESET SLAVE ALL",
    })
}

/// Waits until `replica` has applied all that `source` has written.
fn catch_up(replica: &Server, source: &Server) -> Result<()> {
    let (position, wait) = match source.kind() {
        Kind::MySql => (
            "SELECT @@global.gtid_executed",
            "WAIT_FOR_EXECUTED_GTID_SET",
        ),
        Kind::MariaDb => ("SELECT @@global.gtid_binlog_pos", "MASTER_GTID_WAIT"),
    };
    let position = source.query_value(position)?.unwrap_or_default();
    let seconds = PATIENCE.as_secs();
    let reached = replica.query_value(&format!("SELECT {wait}('{position}', {seconds})"))?;
    match reached.as_deref() {
        Some("0") => Ok(()),
        _ => Err(late("a replica that caught up")),
    }
}

/// Waits until a replica has applied all that it received.
fn drain(replica: &Server) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let done = match replica.kind() {
            Kind::MySql => replica
                .query_value(
                    "SELECT GTID_SUBSET(RECEIVED_TRANSACTION_SET, @@global.gtid_executed) \
                     FROM performance_schema.replication_connection_status",
                )?
                .is_none_or(|subset| subset == "1"),
            Kind::MariaDb => mariadb_drained(replica)?,
        };
        if done {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(late("a replica that applied its relay log"));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// MariaDB tells what it read and what it executed as positions in the source's log.
fn mariadb_drained(replica: &Server) -> Result<bool> {
    const SOURCE_LOG_FILE: usize = 5;
    const READ_POSITION: usize = 6;
    const RELAY_SOURCE_LOG_FILE: usize = 9;
    const EXECUTED_POSITION: usize = 21;
    let rows = replica.query("SHOW SLAVE STATUS")?;
    let Some(row) = rows.first() else {
        return Ok(true);
    };
    let same = |a: usize, b: usize| row.get(a) == row.get(b);
    Ok(same(SOURCE_LOG_FILE, RELAY_SOURCE_LOG_FILE) && same(READ_POSITION, EXECUTED_POSITION))
}

/// How many transactions a server has, to compare replicas of one source.
fn progress(server: &Server) -> Result<u64> {
    let position = server
        .query_value(match server.kind() {
            Kind::MySql => "SELECT @@global.gtid_executed",
            Kind::MariaDb => "SELECT @@global.gtid_slave_pos",
        })?
        .unwrap_or_default();
    // The highest numbers of all sources, added up: replicas of one source differ in that source's only.
    let highest = |part: &str| {
        let number = part.rsplit(['-', ':']).next()?;
        number.trim().parse::<u64>().ok()
    };
    Ok(position.split(',').filter_map(highest).sum())
}

fn late(what: &str) -> Error {
    Error::Timeout {
        what: what.to_owned(),
        after: PATIENCE,
    }
}
