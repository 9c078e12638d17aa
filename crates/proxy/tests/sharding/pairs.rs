//! Shards that are on groups of a primary and a replica: reads of replicas, the session's view over nodes, and failovers of
//! one node's primary in the middle of everything.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use dbmesh_testkit::fleet::{Fleet, FleetOptions};
use dbmesh_testkit::port::Port;
use dbmesh_testkit::{Kind, Pair, Proxy, Server, operator};
use dbmesh_wire::Capabilities;

use crate::bank::{self, ACCOUNTS, BALANCE, Random, Told, WORKERS, lasts, settled};
use crate::faultkit::client::{Credentials, RawClient};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;
use crate::ground::{Answer, Client, Options, endpoint, make_shards, yaml_of};
use crate::live;

const WITHIN: Duration = Duration::from_secs(60);
const STRATEGY: &[&str] = &[
    "loadBalance: {readWriteSplitting: {consistency: session, transactionalRead: replica, dynamic: {discovery: {masterHighAvailability: \
     {monitorInterval: 200}}}}}",
    "failover: {buffer: {maxWaitMs: 20000}}",
];

struct Nodes {
    pairs: [Pair; 2],
    stage: Stage,
    options: Options,
}

impl Nodes {
    fn start(data_shard: &'static [&'static str]) -> Self {
        let options = Options {
            data_shard,
            strategy: STRATEGY,
            ..Options::default()
        };
        let start = |place: usize| {
            let id = u32::try_from(20 + 10 * place).unwrap();
            Pair::start(id, |server| {
                make_shards(server, place);
                Ok(())
            })
        };
        let pairs = std::thread::scope(|scope| {
            let starting = [0, 1].map(|place| scope.spawn(move || start(place)));
            starting.map(|one| one.join().unwrap().unwrap())
        });
        let port = Port::reserve().unwrap();
        let config = config(&pairs, port.number(), &options);
        let stage = Stage::of_yaml(&config, port, &[]);
        let nodes = Self {
            pairs,
            stage,
            options,
        };
        nodes.ready();
        nodes
    }

    fn ready(&self) {
        eventually("the nodes are ready", WITHIN, || {
            let short = self.stage.proxy.metric("dbmesh_nodes_without_promise", "");
            short.unwrap() == Some(0.0) && self.statuses("serves_as").len() == 4
        });
    }

    /// A field of every endpoint.
    fn statuses(&self, field: &str) -> Vec<String> {
        let (_, page) = self.stage.proxy.admin_get("/debug/endpoints").unwrap();
        let page: serde_json::Value = serde_json::from_str(&page).unwrap();
        let all = page.as_array().unwrap().iter();
        all.filter_map(|endpoint| endpoint[field].as_str().map(str::to_owned))
            .collect()
    }

    fn primaries(&self) -> Vec<&Server> {
        self.pairs.iter().map(Pair::primary).collect()
    }

    fn client(&self) -> Client {
        let credentials = Credentials::app().schema("shop");
        Client::of(RawClient::logged_in(self.stage.port, &credentials))
    }

    /// Statements that the proxy sent to a server.
    fn statements(&self, endpoint: &str) -> f64 {
        let label = format!("endpoint=\"{endpoint}\"");
        let name = "dbmesh_endpoint_statements_total";
        let sent = self.stage.proxy.metric(name, &label).unwrap();
        sent.unwrap_or(0.0)
    }

    fn replicas_asked(&self) -> f64 {
        self.statements("m0_1") + self.statements("m1_1")
    }
}

fn config(pairs: &[Pair; 2], port: u16, options: &Options) -> String {
    config_of(pairs.each_ref().map(Pair::servers), port, options)
}

/// The same over the servers of two nodes.
fn config_of<'s>(
    nodes: [impl Iterator<Item = &'s Server>; 2],
    port: u16,
    options: &Options,
) -> String {
    let mut endpoints = String::new();
    for (place, servers) in nodes.into_iter().enumerate() {
        for (member, server) in servers.enumerate() {
            endpoints += &endpoint(&format!("m{place}_{member}"), server, place);
        }
    }
    let groups = "tableName: t_hint\n    readWriteSplittingGroup: [{name: ds_0, endpoints: [m0_0, m0_1]}, {name: ds_1, \
                  endpoints: [m1_0, m1_1]}]\n";
    yaml_of(&endpoints, port, options).replace("tableName: t_hint\n", groups)
}

fn rows(client: &mut Client, sql: &str) -> Vec<Vec<Option<String>>> {
    client.ask(sql).rows().to_vec()
}

fn number(client: &mut Client, sql: &str) -> i64 {
    rows(client, sql)[0][0].as_deref().unwrap().parse().unwrap()
}

/// Users 2 and 6 are on different nodes.
fn write_both(client: &mut Client, score: i64) {
    for text in [
        "BEGIN".to_owned(),
        format!("UPDATE t_user SET score = {score} WHERE user_id = 2"),
        format!("UPDATE t_user SET score = {score} WHERE user_id = 6"),
        "COMMIT".to_owned(),
    ] {
        client.ask(&text).done();
    }
}

const BOTH: &str = "SELECT score FROM t_user WHERE user_id IN (2, 6) ORDER BY user_id";

#[track_caller]
fn sees(client: &mut Client, score: i64) {
    let want = vec![vec![Some(score.to_string())]; 2];
    assert_eq!(rows(client, BOTH), want);
    for user in [2, 6] {
        let one = format!("SELECT score FROM t_user WHERE user_id = {user}");
        assert_eq!(number(client, &one), score, "user {user}");
    }
}

/// A node that joins by a read has to write later; and no lock is taken at a replica.
fn transactions_are_at_primaries(client: &mut Client) {
    for first in ["UPDATE t_user SET score = 8 WHERE user_id = 2", BOTH] {
        client.ask("BEGIN").done();
        client.ask(first);
        rows(client, "SELECT score FROM t_user WHERE user_id = 6");
        for user in [6, 2] {
            let write = format!("UPDATE t_user SET score = score + 1 WHERE user_id = {user}");
            assert_eq!(client.ask(&write).done(), 1, "{first}");
        }
        client.ask("ROLLBACK").done();
    }
    client.ask("START TRANSACTION READ ONLY").done();
    rows(client, "SELECT score FROM t_user WHERE user_id = 6");
    let refused = client.refused("UPDATE t_user SET score = 9 WHERE user_id = 6");
    assert!(refused.contains("READ ONLY transaction"), "{refused}");
    client.ask("COMMIT").done();
}

fn sessions_see_their_own(nodes: &Nodes) {
    let mut client = nodes.client();
    client
        .ask("INSERT INTO t_user VALUES (2, 'a', 0), (6, 'b', 0)")
        .done();
    eventually("replicas answer", WITHIN, || {
        let before = nodes.replicas_asked();
        sees(&mut client, 0);
        nodes.replicas_asked() > before
    });
    for score in 1..40 {
        write_both(&mut client, score);
        sees(&mut client, score);
        let all = format!("UPDATE t_user SET score = {score} + 100");
        assert_eq!(client.ask(&all).done(), 2);
        sees(&mut client, score + 100);
        // Within a transaction, what it did is seen, at the primaries.
        client.ask("BEGIN").done();
        client.ask("UPDATE t_user SET score = 7").done();
        sees(&mut client, 7);
        client.ask("ROLLBACK").done();
        sees(&mut client, score + 100);
    }
    transactions_are_at_primaries(&mut client);
    // A replica that does not apply what it has is not read from by who wrote it, also when its node's lag is not known yet.
    for pair in &nodes.pairs {
        pair.replica().execute("STOP REPLICA SQL_THREAD").unwrap();
    }
    for score in 200..220 {
        write_both(&mut client, score);
        sees(&mut client, score);
    }
    for pair in &nodes.pairs {
        pair.replica().execute("START REPLICA SQL_THREAD").unwrap();
    }
    eventually("replicas answer again", WITHIN, || {
        let before = nodes.replicas_asked();
        sees(&mut client, 219);
        nodes.replicas_asked() > before
    });
    client.ask("DELETE FROM t_user").done();
}

/// What a text wants of roles holds for each of its statements.
fn hints_hold_for_whole_texts(nodes: &Nodes) {
    let credentials = Credentials::app()
        .schema("shop")
        .more(Capabilities::MULTI_STATEMENTS);
    let mut client = Client::of(RawClient::logged_in(nodes.stage.port, &credentials));
    let text = "SELECT 1; SELECT score FROM t_user; SELECT score FROM t_user WHERE user_id = 2";
    eventually("replicas answer texts", WITHIN, || {
        let before = nodes.replicas_asked();
        client.ask_all(text);
        nodes.replicas_asked() > before
    });
    let before = nodes.replicas_asked();
    for _ in 0..10 {
        let answers = client.ask_all(&format!("/* mesh: primary */ {text}"));
        assert_eq!(answers.len(), 3, "{answers:?}");
        for answer in &answers {
            answer.rows();
        }
    }
    assert_eq!(nodes.replicas_asked(), before);
}

#[test]
fn reads_of_shards_go_to_replicas_and_see_what_the_session_did() {
    let nodes = Nodes::start(&["transactions: {acrossNodes: atomic}"]);
    sessions_see_their_own(&nodes);
    hints_hold_for_whole_texts(&nodes);
    // The same, where COMMIT is answered before all nodes have committed.
    let early = Options {
        data_shard: &["transactions: {acrossNodes: atomic, answers: afterDecision}"],
        strategy: STRATEGY,
        ..Options::default()
    };
    let port = Port::reserve().unwrap();
    let config = config(&nodes.pairs, port.number(), &early);
    let nodes = Nodes {
        stage: Stage::of_yaml(&config, port, &[]),
        ..nodes
    };
    nodes.ready();
    sessions_see_their_own(&nodes);
}

/// Whether a transaction over both nodes commits; else what is said.
fn transfers(client: &mut Client) -> Result<(), String> {
    for text in [
        "BEGIN",
        "UPDATE t_user SET score = score - 1 WHERE user_id = 2",
        "UPDATE t_user SET score = score + 1 WHERE user_id = 6",
        "COMMIT",
    ] {
        if let Answer::Error(code) = client.ask(text) {
            let said = client.said.take().unwrap_or_default();
            client.ask("ROLLBACK");
            return Err(format!("{code}: {said}"));
        }
    }
    Ok(())
}

#[test]
fn who_takes_over_must_keep_the_promise_as_well() {
    let mut nodes = Nodes::start(&["transactions: {acrossNodes: atomic}"]);
    let mut client = nodes.client();
    client
        .ask("INSERT INTO t_user VALUES (2, 'a', 9), (6, 'b', 9)")
        .done();
    transfers(&mut client).unwrap();
    let next = nodes.pairs[1].replica();
    next.execute("SET GLOBAL sync_binlog = 0").unwrap();
    nodes.pairs[1].fail_over().unwrap();
    // Who was the primary before kept it; that says nothing of the one that is it now, from its first transaction on.
    let mut client = nodes.client();
    eventually("it is said why", WITHIN, || {
        let refused = transfers(&mut client).expect_err("it was taken on trust");
        if refused.contains("sync_binlog is not 1") {
            return true;
        }
        client = nodes.client();
        false
    });
    // Transactions of one node go on.
    client
        .ask("UPDATE t_user SET score = 1 WHERE user_id = 6")
        .done();
    let now = nodes.pairs[1].primary();
    now.execute("SET GLOBAL sync_binlog = 1").unwrap();
    eventually("it is trusted", WITHIN, || transfers(&mut client).is_ok());
}

/// Kills the primary of a node, lets its replica take over, and gives the old one back as a replica; or kills a proxy.
fn torment(pairs: &mut [Pair; 2], config: &str, until: Instant, random: &mut Random) -> [u32; 2] {
    let mut proxy = Proxy::start(config, &[]).unwrap();
    let mut count = [0, 0];
    while Instant::now() < until || count[0] < 2 {
        std::thread::sleep(Duration::from_millis(300 + random.below(900)));
        match random.below(3) {
            0 => {
                proxy.kill();
                drop(proxy);
                proxy = Proxy::start(config, &[]).unwrap();
            }
            place => {
                let pair = &mut pairs[usize::try_from(place - 1).unwrap()];
                pair.fail_over().unwrap();
                std::thread::sleep(Duration::from_millis(random.below(1_000)));
                count[0] += 1;
                count[1] += u32::from(pair.reunite().unwrap());
            }
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    proxy.kill();
    count
}

#[test]
fn a_bank_loses_nothing_when_replicas_take_over() {
    takeovers(lasts());
}

#[test]
#[ignore = "long"]
fn a_bank_loses_nothing_when_replicas_take_over_for_long() {
    takeovers(bank::LONG);
}

fn takeovers(lasts: Duration) {
    let mut nodes = Nodes::start(&["transactions: {acrossNodes: atomic}"]);
    for account in 0..ACCOUNTS {
        let row = format!("INSERT INTO t_user VALUES ({account}, 'x', {BALANCE})");
        nodes.client().ask(&row).done();
    }
    let port = Port::reserve().unwrap();
    let config = config(&nodes.pairs, port.number(), &nodes.options);
    let over = AtomicBool::new(false);
    let ports = [nodes.stage.port, port.number()];
    let told = std::thread::scope(|scope| {
        let over = &over;
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let port = ports[usize::try_from(worker % 2).unwrap()];
                scope.spawn(move || bank::transfers(worker, port, over))
            })
            .collect();
        let ends = bank::Ends(over);
        let mut random = Random(0x51ed_270b_0a1f_39c5);
        let counts = torment(
            &mut nodes.pairs,
            &config,
            Instant::now() + lasts,
            &mut random,
        );
        drop(ends);
        println!(
            "{} failovers, {} old primaries set up anew",
            counts[0], counts[1]
        );
        let told = workers.into_iter().flat_map(|w| w.join().unwrap());
        told.collect::<BTreeMap<u64, Told>>()
    });
    settled(&nodes.primaries());
    bank::check(&nodes.primaries(), &nodes.stage.proxy, &told);
}

/// What a live check says of an endpoint, which is no reason not to begin.
fn notes(config: &str, endpoint: &str) -> String {
    let (_, _, json) = live::check_text(config);
    let notes = live::remarks(&json, endpoint).into_iter();
    let notes: Vec<String> = notes.filter(|remark| remark.starts_with("note")).collect();
    notes.join("\n")
}

#[test]
fn a_live_check_names_what_ends_semi_synchronous_replication() {
    let nodes = Nodes::start(&["transactions: {acrossNodes: atomic}"]);
    let config = config(&nodes.pairs, nodes.stage.port, &nodes.options);
    let said = notes(&config, "m0_0");
    assert!(
        said.contains("for 60000 ms (rpl_semi_sync_source_timeout)"),
        "{said}"
    );
    assert!(!said.contains("wait_no_replica"), "{said}");
    // It would be the primary with what it has.
    let said = notes(&config, "m0_1");
    assert!(
        said.contains("rpl_semi_sync_source_wait_no_replica is OFF"),
        "{said}"
    );
    let primary = nodes.pairs[0].primary();
    primary
        .execute("SET GLOBAL rpl_semi_sync_source_timeout = 4294967295")
        .unwrap();
    assert_eq!(notes(&config, "m0_0"), "");
    for (sql, word) in [
        ("wait_for_replica_count = 2", "it waits for 2 replicas"),
        ("wait_point = AFTER_COMMIT", "wait_point is AFTER_COMMIT"),
        ("enabled = OFF", "is not semi-synchronous"),
    ] {
        primary
            .execute(&format!("SET GLOBAL rpl_semi_sync_source_{sql}"))
            .unwrap();
        let said = notes(&config, "m0_0");
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn a_live_check_knows_the_settings_of_mariadb() {
    let mut options = FleetOptions::new(Kind::MariaDb, 1);
    options.extra_args = operator::semi_synchronous(Kind::MariaDb);
    let fleet = Fleet::start(options).unwrap();
    for place in [0, 1] {
        make_shards(fleet.primary(), place);
    }
    let options = Options {
        data_shard: &["transactions: {acrossNodes: atomic}"],
        strategy: STRATEGY,
        ..Options::default()
    };
    let config = config_of([fleet.servers(), fleet.servers()], 1, &options);
    let said = notes(&config, "m0_0");
    for word in [
        "for 60000 ms (rpl_semi_sync_master_timeout)",
        "rpl_semi_sync_master_wait_no_slave is OFF",
    ] {
        assert!(said.contains(word), "{said}");
    }
    for set in ["timeout = 86400000", "wait_no_slave = ON"] {
        let sql = format!("SET GLOBAL rpl_semi_sync_master_{set}");
        fleet.primary().execute(&sql).unwrap();
    }
    let said = notes(&config, "m0_0");
    assert!(!said.contains("rpl_semi_sync"), "{said}");
}
