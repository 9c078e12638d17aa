//! A worker id that is leased from a table, so that processes without a configured one never share theirs.
//!
//! Owns the lease and the keys of its worker. A lease holds for a time of the server's clock, and bounds the time inside of
//! keys: the next owner of the id starts after that bound, so that clocks which differ, or go back, give no key twice.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::lease::{Ask, ask_of_table, number};
use super::snowflake::Snowflake;
use super::uuid7;

/// How long a lease holds.
const LEASE_MS: u64 = 60_000;
/// Left of a lease when it is renewed.
const RENEWAL: Duration = Duration::from_secs(20);
/// How far keys may run ahead of the machine's clock within a lease.
const AHEAD_MS: u64 = 600_000;
/// Ids there are.
const WORKERS: u64 = 1024;
const CREATE: &str = "CREATE TABLE IF NOT EXISTS dbmesh_worker (id INT UNSIGNED NOT NULL PRIMARY KEY, \
                      owner CHAR(36) NOT NULL, until_ms BIGINT UNSIGNED NOT NULL, keys_until_ms BIGINT UNSIGNED NOT NULL, \
                      KEY (owner))";
/// Milliseconds of the server's clock.
const SERVER_MS: &str = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS UNSIGNED)";

/// The worker of this process.
#[derive(Debug, Default)]
pub struct LeasedWorker {
    /// Held while the lease is renewed: no key is made without one.
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    id: u64,
    owner: String,
    until: Instant,
    /// Keys have no later time than this.
    keys_until_ms: u64,
    generator: Snowflake,
}

impl LeasedWorker {
    /// The next keys.
    ///
    /// # Errors
    /// When there is no lease, and none can be had.
    pub async fn take(
        &self,
        count: usize,
        now_ms: impl Fn() -> u64,
        ask: &impl Ask,
    ) -> Result<Vec<u64>, String> {
        let mut held = self.held.lock().await;
        let now = now_ms();
        let good = |held: &Held| {
            Instant::now() + RENEWAL < held.until
                && held.generator.reaches_ms(now, count) <= held.keys_until_ms
        };
        if !held.as_ref().is_some_and(good) {
            let renewed = match held.take() {
                Some(old) => renew(old, now, count, ask).await,
                None => Ok(None),
            };
            let lease = match renewed {
                Ok(Some(lease)) => lease,
                // It was lost: another id, with keys of its own.
                Ok(None) => acquire(now, count, ask).await?,
                Err(why) => return Err(why),
            };
            *held = Some(lease);
        }
        let Some(held) = held.as_mut() else {
            return Err("no worker id".to_owned());
        };
        Ok((0..count).map(|_| held.generator.next(now)).collect())
    }
}

/// The bound for keys from now on.
fn bound(generator: &Snowflake, now_ms: u64, count: usize) -> u64 {
    generator.reaches_ms(now_ms, count) + AHEAD_MS
}

async fn renew(
    mut held: Held,
    now_ms: u64,
    count: usize,
    ask: &impl Ask,
) -> Result<Option<Held>, String> {
    let until = Instant::now() + Duration::from_millis(LEASE_MS);
    let keys_until_ms = bound(&held.generator, now_ms, count);
    let (id, owner) = (held.id, &held.owner);
    let statements = [
        format!(
            "UPDATE dbmesh_worker SET until_ms = {SERVER_MS} + {LEASE_MS}, keys_until_ms = {keys_until_ms} \
             WHERE id = {id} AND owner = '{owner}'"
        ),
        format!("SELECT id FROM dbmesh_worker WHERE id = {id} AND owner = '{owner}'"),
    ];
    let rows = ask_of_table(ask, CREATE, &statements).await;
    let rows = rows.map_err(|why| format!("the lease of worker {id} cannot be renewed: {why}"))?;
    Ok(rows.first().map(|_| {
        held.until = until;
        held.keys_until_ms = keys_until_ms;
        held
    }))
}

/// The first id whose lease is over, or one that nobody had.
async fn acquire(now_ms: u64, count: usize, ask: &impl Ask) -> Result<Held, String> {
    let until = Instant::now() + Duration::from_millis(LEASE_MS);
    let owner = uuid7::text(now_ms, uuid7::entropy());
    let statements = [
        format!(
            "UPDATE dbmesh_worker SET owner = '{owner}', until_ms = {SERVER_MS} + {LEASE_MS} \
             WHERE until_ms < {SERVER_MS} ORDER BY id LIMIT 1"
        ),
        format!(
            "INSERT IGNORE INTO dbmesh_worker (id, owner, until_ms, keys_until_ms) \
             SELECT COALESCE(MAX(id) + 1, 0), '{owner}', {SERVER_MS} + {LEASE_MS}, 0 FROM dbmesh_worker \
             HAVING COALESCE(MAX(id) + 1, 0) < {WORKERS} AND COALESCE(SUM(owner = '{owner}'), 0) = 0"
        ),
        format!("SELECT id, keys_until_ms FROM dbmesh_worker WHERE owner = '{owner}'"),
    ];
    // Another process may have had the same idea at the same time.
    for _ in 0..3 {
        let rows = ask_of_table(ask, CREATE, &statements).await;
        let rows = rows.map_err(|why| format!("no worker id can be leased: {why}"))?;
        let found = number(rows.first(), 0).zip(number(rows.first(), 1));
        if let Some((id, after_ms)) = found {
            let worker = u16::try_from(id).map_err(|_| format!("worker {id} is too great"))?;
            let held = Held {
                id,
                owner,
                until,
                keys_until_ms: 0,
                generator: Snowflake::new(worker, after_ms),
            };
            let held = renew(held, now_ms, count, ask).await?;
            return held.ok_or_else(|| format!("the lease of worker {id} was lost at once"));
        }
    }
    Err("no worker id is free".to_owned())
}
