//! Money moves between accounts on two nodes while servers and proxies are killed; none may appear or vanish, and no
//! transfer may be half.
//!
//! Every transfer writes its number beside both accounts, so that the checker sees each one by itself: on both nodes or on
//! none, and as its client was told. `DBMESH_BANK_SECONDS` makes it longer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dbmesh_testkit::port::Port;
use dbmesh_testkit::{Error, Kind, Proxy, Server, Session};

use crate::faultkit::eventually;
use crate::ground::{Ground, Options, yaml};

pub const WORKERS: u64 = 4;
pub const ACCOUNTS: u64 = 8;
pub const BALANCE: i64 = 1_000;
/// How long the long ones go on.
pub const LONG: Duration = Duration::from_secs(300);
/// A transfer that was rolled back at its COMMIT, says its error.
const ROLLED_BACK: u16 = 3101;
/// In time for which locks of branches in doubt are kept.
const RESOLVED_WITHIN: Duration = Duration::from_secs(60);

/// Lets the clients end, also when the test fails before.
pub struct Ends<'a>(pub &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a client was told of its transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Committed,
    RolledBack,
    Nothing,
}

pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

pub fn options() -> Options {
    Options {
        data_shard: &["transactions: {acrossNodes: atomic}"],
        durable: true,
        ..Options::default()
    }
}

#[test]
fn a_bank_under_kills_loses_nothing() {
    transfers_under_kills(lasts());
}

#[test]
#[ignore = "long"]
fn a_bank_under_kills_loses_nothing_for_long() {
    transfers_under_kills(LONG);
}

fn transfers_under_kills(lasts: Duration) {
    let ground = Ground::new(Kind::MySql, &options());
    for account in 0..ACCOUNTS {
        ground.mesh().ask(&format!(
            "INSERT INTO t_user VALUES ({account}, 'x', {BALANCE})"
        ));
    }
    let port = Port::reserve().unwrap();
    let config = yaml(&ground.servers, port.number(), &options());
    let over = AtomicBool::new(false);
    let told = std::thread::scope(|scope| {
        let ports = [ground.stage.port, port.number()];
        let over = &over;
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let port = if worker % 2 == 0 { ports[0] } else { ports[1] };
                scope.spawn(move || transfers(worker, port, over))
            })
            .collect();
        let ends = Ends(over);
        torment(&ground.servers, &config, Instant::now() + lasts);
        drop(ends);
        workers
            .into_iter()
            .flat_map(|w| w.join().unwrap())
            .collect::<BTreeMap<u64, Told>>()
    });
    settle(&ground);
    let servers: Vec<&Server> = ground.servers.iter().collect();
    check(&servers, &ground.stage.proxy, &told);
}

/// How long the kills go on.
pub fn lasts() -> Duration {
    let seconds = std::env::var("DBMESH_BANK_SECONDS");
    let seconds = seconds.ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(8))
}

/// Kills servers and the second proxy, one at a time, until the time is up; all live then.
pub fn torment(servers: &[Server], config: &str, until: Instant) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut proxy = Proxy::start(config, &[]).unwrap();
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(300 + random.below(900)));
        match random.below(3) {
            0 => {
                proxy.kill();
                drop(proxy);
                proxy = Proxy::start(config, &[]).unwrap();
            }
            server => {
                let server = &servers[usize::try_from(server - 1).unwrap()];
                server.kill_9();
                server.restart().unwrap();
            }
        }
    }
    // The workers' last transfers need somebody who answers.
    std::thread::sleep(Duration::from_millis(500));
    proxy.kill();
}

pub fn transfers(worker: u64, port: u16, over: &AtomicBool) -> BTreeMap<u64, Told> {
    let mut random = Random(worker + 1);
    let mut told = BTreeMap::new();
    let mut session = None;
    let mut number = worker * 1_000_000;
    while !over.load(Ordering::Relaxed) {
        let Some(client) = &session else {
            session = Session::over_tcp(port, "app", "app-password", Some("shop")).ok();
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        number += 1;
        let outcome = transfer(client, number, &mut random);
        told.insert(number, outcome);
        if outcome != Told::Committed {
            session = None;
        }
    }
    told
}

/// From one account to another, in their order: what waits in a ring over two nodes, no server finds.
fn transfer(client: &Session, number: u64, random: &mut Random) -> Told {
    let one = random.below(ACCOUNTS - 1);
    let other = one + 1 + random.below(ACCOUNTS - one - 1);
    let amount = i64::try_from(random.below(9)).unwrap() - 4;
    let texts = [
        "SET innodb_lock_wait_timeout = 5".to_owned(),
        "BEGIN".to_owned(),
        format!("UPDATE t_user SET score = score - {amount} WHERE user_id = {one}"),
        format!("INSERT INTO t_item VALUES ({number}, {one}, NULL, 'from')"),
        format!("UPDATE t_user SET score = score + {amount} WHERE user_id = {other}"),
        format!("INSERT INTO t_item VALUES ({number}, {other}, NULL, 'to')"),
    ];
    if texts.iter().any(|text| client.execute(text).is_err()) {
        return Told::RolledBack;
    }
    told_of(client.execute("COMMIT"))
}

/// What the answer to COMMIT says.
pub fn told_of(answer: Result<(), Error>) -> Told {
    match answer {
        Ok(()) => Told::Committed,
        Err(Error::Sql {
            code: ROLLED_BACK, ..
        }) => Told::RolledBack,
        Err(_) => Told::Nothing,
    }
}

/// The proxy that is left finishes everything.
pub fn settle(ground: &Ground) {
    settled(&ground.servers.iter().collect::<Vec<_>>());
}

/// Waits until these servers have nothing unfinished.
pub fn settled(servers: &[&Server]) {
    let left = |server: &Server, sql: &str| server.query(sql).map_or(true, |rows| !rows.is_empty());
    let undone = "SELECT 1 FROM _mesh.mesh_txn WHERE state = 1";
    eventually("nothing is in doubt", RESOLVED_WITHIN, || {
        let mut servers = servers.iter();
        !servers.any(|server| left(server, "XA RECOVER") || left(server, undone))
    });
}

pub fn check(servers: &[&Server], proxy: &Proxy, told: &BTreeMap<u64, Told>) {
    let (mut sum, mut rows) = (0_i64, BTreeMap::<u64, u32>::new());
    for (place, server) in servers.iter().enumerate() {
        for shard in place * 4..place * 4 + 4 {
            let table = format!("SELECT score FROM shop_{place}.t_user_{shard} FOR UPDATE");
            let scores = server.query(&table).unwrap_or_else(|error| {
                let held = "SELECT trx_id, trx_state, trx_started, trx_mysql_thread_id, trx_query, trx_rows_locked FROM \
                            information_schema.innodb_trx";
                let (held, prepared) = (server.query(held), server.query("XA RECOVER"));
                let said = proxy.admin_get("/debug/transactions");
                let working = server.query("SHOW FULL PROCESSLIST");
                panic!("{error}: {held:?} {prepared:?} {working:?} {said:?}");
            });
            sum += scores
                .iter()
                .map(|row| row[0].as_deref().unwrap().parse::<i64>().unwrap())
                .sum::<i64>();
            let items = server
                .query(&format!("SELECT id FROM shop_{place}.t_item_{shard}"))
                .unwrap();
            for row in items {
                *rows
                    .entry(row[0].as_deref().unwrap().parse().unwrap())
                    .or_default() += 1;
            }
        }
    }
    let count = |what| told.values().filter(|t| **t == what).count();
    println!(
        "{} transfers: {} committed, {} rolled back, {} of which nobody knows",
        told.len(),
        count(Told::Committed),
        count(Told::RolledBack),
        count(Told::Nothing)
    );
    assert_eq!(
        sum,
        BALANCE * i64::try_from(ACCOUNTS).unwrap(),
        "money appeared or vanished"
    );
    for (number, told) in told {
        let sides = rows.remove(number).unwrap_or(0);
        match told {
            Told::Committed => assert_eq!(sides, 2, "transfer {number} was acknowledged"),
            Told::RolledBack => assert_eq!(sides, 0, "transfer {number} was refused"),
            Told::Nothing => assert!(sides == 0 || sides == 2, "transfer {number} is half"),
        }
    }
    assert!(rows.is_empty(), "transfers that nobody made: {rows:?}");
    assert!(count(Told::Committed) > 5, "hardly anything happened");
}
