//! A primary and a replica that acknowledges its commits, which change places.
//!
//! Owns both servers of MySQL, and who leads. A commit is not acknowledged before the other one has it, whether it is
//! connected or not, so whatever was acknowledged survives the death of either. It must never call a pair whole whose
//! replica is not heard. Its input is the id of the first server.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{Durability, Error, Fleet, FleetOptions, Kind, Result, Server, operator};

/// One that is set up anew has all to apply that was ever written, while its machine does other work.
const PATIENCE: Duration = Duration::from_secs(240);

/// Two servers, of which one follows the other.
#[derive(Debug)]
pub struct Pair {
    fleet: Fleet,
    lead: usize,
    /// The id of a server that is set up anew: under its old one, it would skip what it wrote before.
    next_id: AtomicU32,
}

impl Pair {
    /// Two durable servers with this id and the next one; `prepare` makes what both have, before commits wait.
    pub fn start(
        first_server_id: u32,
        prepare: impl FnOnce(&Server) -> Result<()>,
    ) -> Result<Pair> {
        let mut options = FleetOptions::new(Kind::MySql, 1);
        options.first_server_id = first_server_id;
        options.durability = Durability::Full;
        options.extra_args = operator::semi_synchronous(Kind::MySql);
        let pair = Pair {
            fleet: Fleet::start(options)?,
            lead: 0,
            next_id: AtomicU32::new(first_server_id.saturating_mul(1_000)),
        };
        prepare(pair.primary())?;
        pair.become_whole()?;
        Ok(pair)
    }

    /// Both servers, in an order that does not change.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.fleet.servers()
    }

    /// Which of the servers leads.
    pub fn lead(&self) -> usize {
        self.lead
    }

    fn server(&self, place: usize) -> &Server {
        match place {
            0 => self.fleet.primary(),
            _ => &self.fleet.replicas()[0],
        }
    }

    /// The one that takes writes.
    pub fn primary(&self) -> &Server {
        self.server(self.lead)
    }

    /// The one that follows.
    pub fn replica(&self) -> &Server {
        self.server(1 - self.lead)
    }

    /// The replica is the primary from now on: somebody has promoted it.
    pub fn change_places(&mut self) {
        self.lead = 1 - self.lead;
    }

    /// The primary dies, and the replica takes its place.
    pub fn fail_over(&mut self) -> Result<()> {
        self.primary().kill_9();
        operator::promote_after_loss(&[self.replica()])?;
        self.change_places();
        Ok(())
    }

    /// The old primary comes back and follows. What it wrote that nobody else has is thrown away with all it has, as by
    /// one who sets it up anew; true if so.
    pub fn reunite(&self) -> Result<bool> {
        let old = self.replica();
        old.restart()?;
        let more = operator::has_more_than(old, self.primary())?;
        if more {
            empty(old)?;
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            old.execute(&format!("SET GLOBAL server_id = {id}"))?;
        }
        operator::return_as_replica(old, self.primary())?;
        self.become_whole()?;
        Ok(more)
    }

    /// Waits until the replica has everything and is heard; then no commit is acknowledged without it.
    fn become_whole(&self) -> Result<()> {
        let has = "SELECT @@global.gtid_executed";
        let has = self.primary().query_value(has)?.unwrap_or_default();
        let seconds = PATIENCE.as_secs();
        let wait = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{has}', {seconds})");
        let deadline = Instant::now() + PATIENCE;
        let heard = "Rpl_semi_sync_source_clients";
        while self.replica().query_value(&wait)?.as_deref() != Some("0")
            || status(self.primary(), heard)? == 0
        {
            if Instant::now() > deadline {
                let applier = "SELECT SERVICE_STATE, LAST_ERROR_MESSAGE, APPLYING_TRANSACTION FROM \
                               performance_schema.replication_applier_status_by_worker";
                let what = format!(
                    "a replica that is heard and has {has}; its appliers: {:?}, its log ends with\n{}",
                    self.replica().query(applier),
                    self.replica().log_tail(10)
                );
                let after = PATIENCE;
                return Err(Error::Timeout { what, after });
            }
            thread::sleep(Duration::from_millis(10));
        }
        let waits = "SET GLOBAL rpl_semi_sync_source_wait_no_replica = ON";
        self.primary().execute(waits)
    }

    /// How many sessions wait for the replica.
    pub fn waiting(&self) -> Result<u64> {
        status(self.primary(), "Rpl_semi_sync_source_wait_sessions")
    }

    /// The replica hears nothing any more: commits wait.
    pub fn cut_off(&self) -> Result<()> {
        self.replica().execute("STOP REPLICA IO_THREAD")
    }

    /// The replica hears its source again.
    pub fn reconnect(&self) -> Result<()> {
        self.replica().execute("START REPLICA IO_THREAD")
    }
}

fn status(server: &Server, name: &str) -> Result<u64> {
    let rows = server.query(&format!("SHOW GLOBAL STATUS LIKE '{name}'"))?;
    let value = rows
        .first()
        .and_then(|row| row.get(1)?.as_deref()?.parse().ok());
    value.ok_or_else(|| Error::Connection(format!("a server does not tell its {name}")))
}

/// Takes away all databases and the memory of all transactions.
fn empty(server: &Server) -> Result<()> {
    operator::allow_writes(server)?;
    for row in server.query("XA RECOVER CONVERT XID")? {
        let cell = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
        let number = |at: usize| cell(at).parse::<usize>().unwrap_or_default();
        // Format, both lengths in bytes, and the bytes of both in hexadecimal digits behind `0x`.
        let digits = cell(3).trim_start_matches("0x");
        let (first, second) = digits.split_at_checked(number(1) * 2).unwrap_or_default();
        server.execute(&format!("XA ROLLBACK X'{first}', X'{second}', {}", cell(0)))?;
    }
    let own = "SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT IN \
               ('mysql', 'sys', 'performance_schema', 'information_schema')";
    for row in server.query(own)? {
        let name = row.first().and_then(Option::as_deref).unwrap_or_default();
        server.execute(&format!("DROP DATABASE `{name}`"))?;
    }
    server.execute("RESET BINARY LOGS AND GTIDS")
}
