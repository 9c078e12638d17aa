//! Runs TPC-C: beside one MySQL, transaction by transaction; and with many clients while servers are killed.
//!
//! Owns the clients' threads, the kills, and the look at the conditions: through the mesh, and on one server to which all
//! rows were copied behind the mesh's back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dbmesh_testkit::Session;

use super::TPCC;
use super::conditions::{self, Condition};
use super::terminal::{End, Kind, Terminal, WRONG_ROWS};
use crate::answer::{Client, Outcome as Said};
use crate::draw::Draw;
use crate::ground::Ground;
use crate::statement::Form;
use crate::{Result, failed};

/// Deadlock and lock wait: what every application runs again.
const RUN_AGAIN: [u16; 2] = [1213, 1205];
/// Between attempts while a server is away.
const PAUSE: Duration = Duration::from_millis(20);
/// In time for which locks of branches in doubt are kept.
const RESOLVED_WITHIN: Duration = Duration::from_secs(60);
/// Where the rows of all shards are copied to.
const GATHERED: &str = "gathered";

/// How many clients for how long.
#[derive(Debug, Clone, Copy)]
pub struct Endurance {
    /// Clients; half of them prepare their statements.
    pub clients: u64,
    /// For how long.
    pub lasts: Duration,
    /// Whether servers are killed meanwhile.
    pub kills: bool,
    /// What they draw from.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Latencies of committed transactions.
    committed: BTreeMap<Kind, Vec<Duration>>,
    /// Rolled back as drawn.
    pub withdrawn: u64,
    /// Failed, by error number.
    pub failed: BTreeMap<u16, u64>,
    /// Errors that no fault explains.
    pub unexplained: Vec<String>,
    /// Connections that broke.
    pub lost: u64,
    /// Servers that were killed.
    pub kills: u64,
}

impl Outcome {
    /// Transactions that committed.
    pub fn committed(&self) -> usize {
        self.committed.values().map(Vec::len).sum()
    }

    fn add(&mut self, other: Self) {
        for (kind, times) in other.committed {
            self.committed.entry(kind).or_default().extend(times);
        }
        for (code, count) in other.failed {
            *self.failed.entry(code).or_default() += count;
        }
        self.withdrawn += other.withdrawn;
        self.unexplained.extend(other.unexplained);
        self.lost += other.lost;
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<14}{:>10}{:>10}{:>10}",
            "transaction", "committed", "p50 ms", "p95 ms"
        )?;
        for (kind, times) in &self.committed {
            let mut times = times.clone();
            times.sort_unstable();
            let at = |percent: usize| {
                let time = times.get(times.len().saturating_sub(1) * percent / 100);
                time.copied().unwrap_or_default().as_secs_f64() * 1e3
            };
            let (kind, count) = (format!("{kind:?}"), times.len());
            writeln!(f, "{kind:<14}{count:>10}{:>10.1}{:>10.1}", at(50), at(95))?;
        }
        let failed = self
            .failed
            .iter()
            .map(|(code, count)| format!("{count} by error {code}, "));
        write!(
            f,
            "{} withdrawn, {}{} connections lost, {} servers killed",
            self.withdrawn,
            failed.collect::<String>(),
            self.lost,
            self.kills
        )
    }
}

/// The same transactions on one MySQL and on the mesh, one at a time; what differs is an error.
pub fn compare(ground: &Ground, form: Form, seed: u64, transactions: usize) -> Result<()> {
    let [judge, mesh] = ground.places();
    let mut judge = Terminal::new(judge.clone(), form, seed)?;
    let mut mesh = Terminal::new(mesh.clone(), form, seed)?;
    for number in 0..transactions {
        let (judged, met) = (judge.next(), mesh.next());
        if judged != met {
            return Err(format!(
                "transaction {number}: {met:?} of the mesh, {judged:?} of one server"
            ));
        }
        if judge.read != mesh.read {
            return Err(format!(
                "transaction {number}, {met:?}, read of the mesh:\n{}of one server:\n{}",
                mesh.read, judge.read
            ));
        }
    }
    for table in TPCC.tables {
        if let Some(difference) = ground.contents_differ(table)? {
            return Err(format!("after {transactions} transactions: {difference}"));
        }
    }
    Ok(())
}

/// Many clients at once on the mesh.
pub fn endure(ground: &Ground, endurance: Endurance) -> Result<Outcome> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..endurance.clients)
            .map(|client| {
                let over = &over;
                scope.spawn(move || of_client(ground, endurance, client, over))
            })
            .collect();
        let killed = last(ground, endurance);
        over.store(true, Ordering::Relaxed);
        let mut outcome = Outcome::default();
        for client in clients {
            let ended = client.join().map_err(|_| "a client panicked".to_owned())?;
            outcome.add(ended?);
        }
        outcome.kills = killed?;
        Ok(outcome)
    })
}

/// Waits until the time is over; how often it killed a server meanwhile.
fn last(ground: &Ground, endurance: Endurance) -> Result<u64> {
    let until = Instant::now() + endurance.lasts;
    let mut draw = Draw::new(endurance.seed);
    let mut kills = 0;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        if !endurance.kills {
            std::thread::sleep(left);
            continue;
        }
        std::thread::sleep(left.min(Duration::from_millis(1_000 + draw.below(1_000))));
        if let Some(server) = ground.servers().get(draw.place(2)) {
            server.kill_9();
            server.restart().map_err(failed("start a server again"))?;
            kills += 1;
        }
    }
    Ok(kills)
}

fn of_client(
    ground: &Ground,
    endurance: Endurance,
    client: u64,
    over: &AtomicBool,
) -> Result<Outcome> {
    let [_, mesh] = ground.places();
    let form = match client.is_multiple_of(2) {
        true => Form::Text,
        false => Form::Prepared,
    };
    let mut mesh = mesh.clone();
    // What waits in a ring over two servers, none of them finds.
    mesh.greeting = "SET innodb_lock_wait_timeout = 3".to_owned();
    let seed = endurance.seed.wrapping_mul(1_000).wrapping_add(client);
    let mut terminal = Terminal::new(mesh, form, seed)?;
    let mut outcome = Outcome::default();
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        match terminal.next() {
            (kind, End::Committed) => outcome
                .committed
                .entry(kind)
                .or_default()
                .push(begun.elapsed()),
            (_, End::Withdrawn) => outcome.withdrawn += 1,
            (kind, End::Failed(code, message)) => {
                *outcome.failed.entry(code).or_default() += 1;
                let explained = code != WRONG_ROWS && endurance.kills;
                if !explained && !RUN_AGAIN.contains(&code) {
                    outcome
                        .unexplained
                        .push(format!("{kind:?}: {code} {message}"));
                }
            }
            (kind, End::Lost(why)) => {
                outcome.lost += 1;
                if !endurance.kills {
                    outcome.unexplained.push(format!("{kind:?}: {why}"));
                }
                std::thread::sleep(PAUSE);
            }
        }
    }
    Ok(outcome)
}

/// What violates the conditions, after everything that is in doubt was finished.
pub fn check(ground: &Ground) -> Result<Vec<String>> {
    settle(ground)?;
    let gathered = gather(ground)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed("start a runtime"))?;
    let [_, mesh] = ground.places();
    let mut mesh = Client::new(mesh.clone());
    let mut violated = Vec::new();
    for Condition { name, violations } in conditions::all() {
        let rows = gathered.query(&violations).map_err(failed(&violations))?;
        if let Some(row) = rows.first() {
            violated.push(format!("{name}: {} rows, such as {row:?}", rows.len()));
        }
        let answer = runtime.block_on(mesh.ask_in(Form::Text, &violations, Vec::new()));
        match answer.outcome {
            Said::Rows { rows: met, .. } if met.len() == rows.len() => {}
            said => violated.push(format!(
                "{name}: one server with all rows finds {} violations, the mesh says {said:?}",
                rows.len()
            )),
        }
    }
    Ok(violated)
}

/// Waits until no branch is in doubt.
fn settle(ground: &Ground) -> Result<()> {
    let undecided = "SELECT 1 FROM _mesh.mesh_txn WHERE state = 1";
    let until = Instant::now() + RESOLVED_WITHIN;
    let left = |server: &dbmesh_testkit::Server, sql: &str| {
        server.query(sql).map_or(true, |rows| !rows.is_empty())
    };
    while ground
        .servers()
        .iter()
        .any(|s| left(s, "XA RECOVER") || left(s, undecided))
    {
        if Instant::now() >= until {
            return Err(format!("transactions are in doubt for {RESOLVED_WITHIN:?}"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Copies the rows of all shards to one schema of the first server; a session there.
fn gather(ground: &Ground) -> Result<Session> {
    let sessions = ground.open()?;
    let [one, other] = &sessions;
    let execute = |sql: &str| {
        let start: String = sql.chars().take(200).collect();
        one.execute(sql).map_err(failed(&start))
    };
    execute(&format!(
        "DROP DATABASE IF EXISTS {GATHERED}; CREATE DATABASE {GATHERED}; USE {GATHERED}"
    ))?;
    for table in TPCC.tables {
        let name = table.name;
        execute(&table.create(name, ground.kind()))?;
        let parts = match table.placed {
            crate::schema::Placed::Broadcast => 1,
            _ => usize::MAX,
        };
        for (server, part) in table.parts().into_iter().take(parts) {
            if server == 0 {
                execute(&format!("INSERT INTO {name} SELECT * FROM shop_0.{part}"))?;
                continue;
            }
            let all = format!("SELECT * FROM shop_{server}.{part}");
            let rows = other.query(&all).map_err(failed(&all))?;
            let quoted =
                |cell: Option<String>| cell.map_or("NULL".to_owned(), |cell| format!("'{cell}'"));
            let rows = rows.into_iter().map(|row| {
                let cells: Vec<String> = row.into_iter().map(quoted).collect();
                format!("({})", cells.join(", "))
            });
            let mut inserts = Vec::new();
            crate::tpch::insert(&mut inserts, name, rows.collect());
            inserts.iter().try_for_each(|insert| execute(insert))?;
        }
    }
    let [one, _] = sessions;
    Ok(one)
}
