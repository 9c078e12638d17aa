//! Transactions that lose their primary before COMMIT are executed again at the next one, or said to be lost.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use dbmesh_testkit::{Kind, operator};

use crate::cluster::{Cluster, KINDS, NOTICE};
use crate::faultkit::client::{ErrorPacket, RawClient, Reply};
use crate::faultkit::eventually;
use crate::load;

const REPLAY: &str = "failover: {transactionReplay: {maxBytes: 20000}, buffer: {maxWaitMs: 60000}}";
const TABLES: &str = "CREATE TABLE app.ops (op BIGINT NOT NULL, KEY (op)); \
     CREATE TABLE app.account (id INT PRIMARY KEY, balance BIGINT NOT NULL); \
     INSERT INTO app.account VALUES (1, 100), (2, 100), (3, 100), (4, 100)";

fn cluster(kind: Kind) -> Cluster {
    let cluster = Cluster::with_strategy(kind, &[REPLAY]);
    cluster.fleet.primary().execute(TABLES).unwrap();
    cluster.fleet.wait_until_caught_up().unwrap();
    cluster
}

impl Cluster {
    fn replayed(&self) -> f64 {
        self.stage.metric("dbmesh_transactions_replayed_total")
    }

    fn failed(&self, reason: &str) -> f64 {
        let label = format!("reason=\"{reason}\"");
        let name = "dbmesh_transaction_replays_failed_total";
        let value = self.stage.proxy.metric(name, &label).unwrap();
        value.unwrap_or(0.0)
    }

    /// Why transactions were lost, for who wonders.
    fn reasons(&self) -> String {
        let all = [
            "size",
            "outside",
            "non_transactional",
            "state",
            "partial",
            "commit",
            "differs",
            "attempts",
            "timeout",
            "unreachable",
        ];
        let counts = all.map(|reason| format!("{reason} {}", self.failed(reason)));
        counts.join(", ")
    }

    /// Until so many statements have been sent to the first server, which does not answer.
    fn wait_for_statements(&self, count: u32) {
        let label = "endpoint=\"server-0\"";
        let sent = || {
            let metric = self
                .stage
                .proxy
                .metric("dbmesh_endpoint_outstanding", label);
            metric.unwrap().unwrap_or(0.0)
        };
        eventually(
            "statements are on their way",
            Duration::from_secs(60),
            || sent() >= f64::from(count),
        );
    }

    /// Kills the primary at this place and has one of the others that run promoted; gives the place of that.
    fn lose(&self, primary: usize, running: &mut Vec<usize>) -> usize {
        self.servers()[primary].kill_9();
        running.retain(|at| *at != primary);
        self.promote_one_of(running)
    }

    fn promote_one_of(&self, places: &[usize]) -> usize {
        let servers = self.servers();
        let replicas: Vec<_> = places.iter().map(|at| servers[*at]).collect();
        let (best, _) = operator::promote_after_loss(&replicas).unwrap();
        places[best]
    }

    fn promote_another(&self, lost: usize) -> usize {
        let others: Vec<usize> = (0..self.servers().len()).filter(|at| *at != lost).collect();
        self.promote_one_of(&others)
    }
}

fn ok(client: &mut RawClient, sql: &str) {
    assert_eq!(client.query(sql), Reply::Ok, "{sql}");
}

fn read(client: &mut RawClient, sql: &str) -> String {
    client.query(sql).value()
}

fn assert_lost(reply: &Reply) {
    let Reply::Error(e) = reply else {
        panic!("{reply:?}")
    };
    assert!(e.code == 2013 && e.message.contains("is gone"), "{e:?}");
}

/// A transaction that waits between two statements, with text and prepared statements, state that it set, and an error; and
/// its prepared statement.
fn waiting_transaction(cluster: &Cluster) -> (RawClient, Vec<u8>) {
    let mut waiting = cluster.client();
    let prepared = load::prepare(&mut waiting, "INSERT INTO app.ops (op) VALUES (?)").unwrap();
    ok(&mut waiting, "SET time_zone = '+03:00'");
    ok(
        &mut waiting,
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    );
    ok(&mut waiting, "BEGIN");
    let lock = "SELECT balance FROM app.account WHERE id = 1 FOR UPDATE";
    assert_eq!(read(&mut waiting, lock), "100");
    ok(&mut waiting, "SET @amount = 7, time_zone = '+05:00'");
    ok(&mut waiting, "SAVEPOINT before_it");
    let take = "UPDATE app.account SET balance = balance - @amount WHERE id = 1";
    ok(&mut waiting, take);
    ok(&mut waiting, "ROLLBACK TO SAVEPOINT before_it");
    ok(&mut waiting, take);
    waiting.command(&load::execute(&prepared, 41));
    assert_eq!(waiting.reply(), Reply::Ok);
    let twice = waiting.query("INSERT INTO app.account VALUES (1, 0)");
    assert_eq!(twice.code(), Some(1062));
    (waiting, prepared)
}

fn end_of_the_waiting(waiting: &mut RawClient, prepared: &[u8]) {
    assert_eq!(read(waiting, "SELECT @@time_zone"), "+05:00");
    assert_eq!(
        read(waiting, "SELECT balance FROM app.account WHERE id = 1"),
        "93"
    );
    waiting.command(&load::execute(prepared, 42));
    assert_eq!(waiting.reply(), Reply::Ok);
    ok(waiting, "COMMIT");
}

#[test]
fn transactions_go_on_at_the_next_primary() {
    for kind in KINDS {
        let cluster = cluster(kind);
        let servers = cluster.servers();
        let (mut waiting, prepared) = waiting_transaction(&cluster);
        // Its id is not the one that the next primary would generate: no replica knows of one that was rolled back.
        let mut generating = cluster.client();
        ok(&mut generating, "BEGIN");
        ok(&mut generating, "INSERT INTO app.ledger (op) VALUES (0)");
        ok(&mut generating, "ROLLBACK");
        ok(&mut generating, "BEGIN");
        ok(&mut generating, "INSERT INTO app.ledger (op) VALUES (1)");
        let id = read(&mut generating, "SELECT LAST_INSERT_ID()");
        // One that only has its COMMIT before it.
        let mut done = cluster.client();
        ok(&mut done, "SET autocommit = 0");
        ok(&mut done, "UPDATE app.account SET balance = 1 WHERE id = 2");
        // One whose next command prepares a statement.
        let mut preparing = open_transaction(&cluster, &["INSERT INTO app.ops (op) VALUES (45)"]);
        // One whose statement is under way, and one whose BEGIN is.
        let (mut under_way, mut beginning) = (cluster.client(), cluster.client());
        ok(&mut under_way, "BEGIN");
        ok(&mut under_way, "INSERT INTO app.ops (op) VALUES (51)");
        assert_eq!(read(&mut beginning, "SELECT 1"), "1");
        servers[0].pause();
        under_way.begin_query("INSERT INTO app.ops (op) VALUES (52)");
        beginning.begin_query("BEGIN");
        cluster.wait_for_statements(1);
        servers[0].kill_9();
        let new = cluster.promote_another(0);

        assert_eq!(
            under_way.reply(),
            Reply::Ok,
            "{kind}: {}",
            cluster.reasons()
        );
        ok(&mut under_way, "COMMIT");
        assert_eq!(beginning.reply(), Reply::Ok, "{kind}");
        ok(&mut beginning, "INSERT INTO app.ops (op) VALUES (61)");
        ok(&mut beginning, "COMMIT");
        ok(&mut done, "COMMIT");
        let insert = "INSERT INTO app.ops (op) VALUES (? + 0)";
        let later = load::prepare(&mut preparing, insert).unwrap();
        preparing.command(&load::execute(&later, 46));
        assert_eq!(preparing.reply(), Reply::Ok, "{kind}");
        ok(&mut preparing, "COMMIT");
        end_of_the_waiting(&mut waiting, &prepared);
        ok(&mut generating, "INSERT INTO app.ledger (op) VALUES (2)");
        ok(&mut generating, "COMMIT");
        let first = format!("SELECT op FROM app.ledger WHERE id = {id}");
        assert_eq!(read(&mut generating, &first), "1");

        let ops = "SELECT GROUP_CONCAT(op ORDER BY op) FROM app.ops";
        assert_eq!(
            servers[new].query_value(ops).unwrap().unwrap(),
            "41,42,45,46,51,52,61"
        );
        let balances = "SELECT GROUP_CONCAT(balance ORDER BY id) FROM app.account";
        assert_eq!(
            servers[new].query_value(balances).unwrap().unwrap(),
            "93,1,100,100"
        );
        // A BEGIN that never left is simply sent.
        assert!(cluster.replayed() >= 5.0, "{kind}");
        for client in [&mut waiting, &mut generating, &mut done, &mut under_way] {
            assert_eq!(read(client, "SELECT 7"), "7");
        }
    }
}

/// A transaction of a session that has a clock of its own.
fn with_a_clock(cluster: &Cluster) -> RawClient {
    let mut client = cluster.client();
    for sql in [
        "SET timestamp = 1700000000",
        "BEGIN",
        "INSERT INTO app.ops (op) VALUES (9)",
    ] {
        ok(&mut client, sql);
    }
    client
}

fn open_transaction(cluster: &Cluster, sql: &[&str]) -> RawClient {
    let mut client = cluster.client();
    ok(&mut client, "BEGIN");
    for sql in sql {
        let reply = client.query(sql);
        assert!(reply.code().is_none(), "{sql}: {reply:?}");
    }
    client
}

#[test]
fn what_differs_or_reaches_beyond_its_transaction_is_lost() {
    for kind in KINDS {
        let cluster = cluster(kind);
        let servers = cluster.servers();
        let open = |sql: &[&str]| open_transaction(&cluster, sql);
        let mut changed = open(&["SELECT balance FROM app.account WHERE id = 3"]);
        let mut temporary = open(&["CREATE TEMPORARY TABLE app.x (a INT)"]);
        let mut locked = open(&["SELECT GET_LOCK('it', 1)"]);
        let mut assigned = open(&["SELECT balance INTO @b FROM app.account WHERE id = 3"]);
        let long = format!("SELECT '{}'", "x".repeat(20_001));
        let mut large = open(&[&long]);
        let mut called = open(&["SELECT CONNECTION_ID()"]);
        let mut clocked = with_a_clock(&cluster);
        let mut others = vec![
            ("differs", &mut changed),
            ("state", &mut clocked),
            ("outside", &mut temporary),
            ("outside", &mut locked),
            ("outside", &mut assigned),
            ("size", &mut large),
            ("outside", &mut called),
        ];
        // With GTIDs, MySQL itself refuses to mix tables with and without transactions.
        let mut mixed = (kind == Kind::MariaDb).then(|| {
            let primary = cluster.fleet.primary();
            primary
                .execute("CREATE TABLE app.plain (a INT) ENGINE = MyISAM")
                .unwrap();
            open(&["INSERT INTO app.plain VALUES (1)"])
        });
        others.extend(mixed.iter_mut().map(|client| ("non_transactional", client)));
        let mut committing = open(&["INSERT INTO app.ops (op) VALUES (7)"]);
        let mut read_twice = open(&["INSERT INTO app.ops (op) VALUES (8)"]);
        cluster.fleet.wait_until_caught_up().unwrap();

        servers[0].pause();
        committing.begin_query("COMMIT");
        cluster.wait_for_statements(1);
        servers[0].kill_9();
        let Reply::Error(e) = committing.reply() else {
            panic!("{kind}: a COMMIT without an answer")
        };
        assert_eq!((e.code, e.state.as_str()), (1105, "08007"), "{kind}");
        let new = cluster.promote_another(0);
        cluster.wait_for_primary(new);
        servers[new]
            .execute("UPDATE app.account SET balance = 101 WHERE id = 3")
            .unwrap();
        for (reason, client) in others {
            let before = cluster.failed(reason);
            let sql = "UPDATE app.account SET balance = 0 WHERE id = 3";
            assert_lost(&client.query(sql));
            assert!(client.is_closed());
            assert_eq!(
                cluster.failed(reason),
                before + 1.0,
                "{kind}: {reason}: {}",
                cluster.reasons()
            );
        }
        assert_eq!(cluster.failed("commit"), 1.0, "{kind}");
        // Its answers are the same; it is not of those that are lost.
        ok(&mut read_twice, "COMMIT");
        assert_eq!(cluster.replayed(), 1.0, "{kind}");
        let balance = "SELECT balance FROM app.account WHERE id = 3";
        assert_eq!(servers[new].query_value(balance).unwrap().unwrap(), "101");
        let ops = "SELECT GROUP_CONCAT(op ORDER BY op) FROM app.ops WHERE op = 8";
        assert_eq!(servers[new].query_value(ops).unwrap().unwrap(), "8");
    }
}

/// What a client was told of its transaction.
#[derive(Debug)]
enum Told {
    Committed,
    Unknown,
    Lost(ErrorPacket),
}

/// Clients that run transactions of two writes each, with operation ids of their own, until they are told to stop.
struct Transfers {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    told: Arc<Mutex<Vec<(u64, Told)>>>,
    clients: Vec<JoinHandle<()>>,
}

/// Accounts that transactions take from.
const ACCOUNTS: u64 = 4;
/// Clients that share accounts by twos.
const CLIENTS: u64 = 2 * ACCOUNTS;

impl Transfers {
    fn start(port: u16, clients: u64) -> Self {
        let mut all = Self {
            stop: Arc::default(),
            count: Arc::default(),
            told: Arc::default(),
            clients: Vec::new(),
        };
        for number in 0..clients {
            let (stop, count, told) = (all.stop.clone(), all.count.clone(), all.told.clone());
            all.clients.push(std::thread::spawn(move || {
                let mut client = RawClient::app(port);
                let mut op = number << 32;
                while !stop.load(Ordering::Relaxed) {
                    op += 1;
                    let outcome = transfer(&mut client, op, number % ACCOUNTS + 1);
                    if !matches!(outcome, Told::Committed) {
                        client = RawClient::app(port);
                    }
                    told.lock().unwrap().push((op, outcome));
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        all
    }

    /// Waits until so many more have ended.
    fn run_on(&self, more: u64) {
        let goal = self.count.load(Ordering::Relaxed) + more;
        eventually("transactions end", Duration::from_secs(120), || {
            self.count.load(Ordering::Relaxed) >= goal
        });
    }

    fn stop(self) -> Vec<(u64, Told)> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

#[test]
fn nothing_is_lost_or_done_twice_over_several_deaths() {
    const DEATHS: usize = 3;
    for kind in KINDS {
        let cluster = cluster(kind);
        let transfers = Transfers::start(cluster.stage.port, CLIENTS);
        transfers.run_on(100);
        let (mut primary, mut deaths, mut errant) = (0, 0, 0);
        let mut running: Vec<usize> = (0..cluster.servers().len()).collect();
        while deaths < DEATHS && running.len() > 1 {
            let old = primary;
            primary = cluster.lose(old, &mut running);
            deaths += 1;
            transfers.run_on(50);
            let servers = cluster.servers();
            servers[old].restart().unwrap();
            // A COMMIT of unknown outcome may be on the killed server alone, and its rows are not what the others' changes
            // were made of: an operator does not let such a server replicate, but makes it anew.
            match operator::has_more_than(servers[old], servers[primary]).unwrap() {
                true => {
                    servers[old].kill_9();
                    errant += 1;
                }
                false => {
                    operator::return_as_replica(servers[old], servers[primary]).unwrap();
                    eventually("it is a replica", NOTICE, || !cluster.is_fenced(old));
                    running.push(old);
                }
            }
            transfers.run_on(50);
        }
        let told = transfers.stop();
        let [committed, unknown, lost] = check(&cluster, primary, &told);
        println!(
            "{kind}: {deaths} deaths, {errant} servers with a transaction of their own, {committed} committed, {unknown} of \
             unknown outcome, {lost} lost ({}), {} executed again",
            cluster.reasons(),
            cluster.replayed()
        );
        assert!(cluster.replayed() >= 1.0, "{kind}");
        assert!(unknown <= CLIENTS * deaths as u64, "{kind}");
        // Locks of others may be in the way, but that is rare.
        assert!(lost <= CLIENTS * deaths as u64 / 2, "{kind}: {lost}");
    }
}

#[test]
fn a_planned_switchover_loses_no_transaction() {
    for kind in KINDS {
        let cluster = cluster(kind);
        let servers = cluster.servers();
        // Each has an account of its own: read_only waits for statements that wait for a row, and lets whoever has the row
        // not go on, until the wait for the row times out. That is so without dbmesh as well.
        let transfers = Transfers::start(cluster.stage.port, ACCOUNTS);
        transfers.run_on(100);
        for (old, new, other) in [(0, 1, 2), (1, 2, 0)] {
            operator::switch_over(servers[old], servers[new], &[servers[other]]).unwrap();
            transfers.run_on(100);
        }
        let told = transfers.stop();
        let [committed, unknown, lost] = check(&cluster, 2, &told);
        println!(
            "{kind}: {committed} committed, {} executed again, lost: {}",
            cluster.replayed(),
            cluster.reasons()
        );
        assert_eq!([unknown, lost], [0, 0], "{kind}: {told:?}");
        assert!(cluster.replayed() >= 1.0, "{kind}");
    }
}

#[test]
fn transactions_go_on_over_a_planned_switchover() {
    for kind in KINDS {
        let cluster = cluster(kind);
        let servers = cluster.servers();
        let (mut waiting, prepared) = waiting_transaction(&cluster);
        let mut done = open_transaction(&cluster, &["INSERT INTO app.ops (op) VALUES (71)"]);
        let mut outside = open_transaction(
            &cluster,
            &[
                "SELECT GET_LOCK('it', 1)",
                "INSERT INTO app.ops (op) VALUES (72)",
            ],
        );
        let mut changed =
            open_transaction(&cluster, &["SELECT balance FROM app.account WHERE id = 3"]);
        operator::switch_over(servers[0], servers[1], &[servers[2]]).unwrap();
        cluster.wait_for_primary(1);
        servers[1]
            .execute("UPDATE app.account SET balance = 101 WHERE id = 3")
            .unwrap();
        // Its COMMIT is what the old primary refuses, and nothing of it was done.
        ok(&mut done, "COMMIT");
        end_of_the_waiting(&mut waiting, &prepared);
        assert_eq!(cluster.replayed(), 2.0, "{kind}: {}", cluster.reasons());
        // Those that cannot be executed again hear what the server said, as without replay.
        let write = "INSERT INTO app.ops (op) VALUES (73)";
        assert_eq!(outside.query(write).code(), Some(1290), "{kind}");
        ok(&mut outside, "ROLLBACK");
        // One that began to be executed again is gone.
        assert_lost(&changed.query(write));
        assert_eq!(cluster.failed("differs"), 1.0, "{kind}");
        let ops = "SELECT GROUP_CONCAT(op ORDER BY op) FROM app.ops";
        assert_eq!(servers[1].query_value(ops).unwrap().unwrap(), "41,42,71");
    }
}

/// Every transaction is there as its client was told; gives how many were committed, unknown and lost.
fn check(cluster: &Cluster, primary: usize, told: &[(u64, Told)]) -> [u64; 3] {
    let mut there: HashMap<u64, u64> = HashMap::new();
    let rows = cluster.servers()[primary]
        .query("SELECT op, COUNT(*) FROM app.ops GROUP BY op")
        .unwrap();
    for row in rows {
        let number = |cell: &Option<String>| cell.as_ref().unwrap().parse().unwrap();
        there.insert(number(&row[0]), number(&row[1]));
    }
    let (mut committed, mut unknown, mut lost, mut doubtful) = (0u64, 0u64, 0u64, 0u64);
    for (op, told) in told {
        let times = there.remove(op).unwrap_or(0);
        match told {
            Told::Committed => {
                assert_eq!(times, 2, "{op} was committed, once");
                committed += 1;
            }
            Told::Unknown => {
                assert!(times == 0 || times == 2, "{op}: {times}");
                unknown += 1;
                doubtful += times / 2;
            }
            Told::Lost(e) => {
                assert_eq!(times, 0, "{op} was lost: {e:?}");
                lost += 1;
            }
        }
    }
    assert!(there.is_empty(), "written by nobody: {there:?}");
    let sum = "SELECT 400 - SUM(balance) FROM app.account";
    let sum = cluster.servers()[primary].query_value(sum).unwrap();
    let applied: u64 = sum.unwrap().parse().unwrap();
    assert_eq!(
        applied,
        committed + doubtful,
        "of {unknown} unknown, {doubtful} are there"
    );
    [committed, unknown, lost]
}

fn transfer(client: &mut RawClient, op: u64, account: u64) -> Told {
    let statements = [
        "BEGIN".to_owned(),
        format!("INSERT INTO app.ops (op) VALUES ({op})"),
        format!("UPDATE app.account SET balance = balance - 1 WHERE id = {account}"),
        format!("INSERT INTO app.ops (op) VALUES ({op})"),
        "COMMIT".to_owned(),
    ];
    for sql in &statements {
        match client.query(sql) {
            Reply::Ok => {}
            Reply::Error(e) if e.code == 1105 && e.state == "08007" => {
                assert_eq!(sql, "COMMIT");
                return Told::Unknown;
            }
            Reply::Error(e) => return Told::Lost(e),
            other => panic!("{sql}: {other:?}"),
        }
    }
    Told::Committed
}
