//! Generated keys over real servers, with the DataShard of `docs/generated-keys.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs
)]

use dbmesh_differential::answer::{Client, Outcome, Place};
use dbmesh_differential::statement::Form;
use dbmesh_testkit::port::Port;
use dbmesh_testkit::{Kind, Proxy, Server, ServerOptions};
use mysql_async::Value;
use tokio::runtime::Runtime;

const TABLES: [(&str, &str); 4] = [
    ("t_event", "id BIGINT NOT NULL PRIMARY KEY, a INT"),
    (
        "t_log",
        "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, a INT",
    ),
    (
        "t_file",
        "id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY, a INT",
    ),
    (
        "t_note",
        "user_id INT NOT NULL, note_id BIGINT NOT NULL, a INT, PRIMARY KEY (user_id, note_id)",
    ),
];

struct Ground {
    runtime: Runtime,
    place: Place,
    proxies: Vec<Proxy>,
    servers: [Server; 2],
    _ports: Vec<Port>,
}

impl Ground {
    fn start(proxies: usize) -> Self {
        let start = |id| Server::start(ServerOptions::new(Kind::MySql).server_id(id)).unwrap();
        let servers = [start(1), start(2)];
        for (place, server) in servers.iter().enumerate() {
            server
                .execute(&format!("CREATE DATABASE shop_{place}"))
                .unwrap();
            for (name, columns) in TABLES {
                let table = format!("shop_{place}.{name}_{place}");
                server
                    .execute(&format!("CREATE TABLE {table} ({columns})"))
                    .unwrap();
            }
        }
        let mut ground = Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            place: Place {
                port: 0,
                user: "app".to_owned(),
                password: "app-password".to_owned(),
                schema: "shop".to_owned(),
                greeting: "SET NAMES utf8mb4".to_owned(),
            },
            proxies: Vec::new(),
            servers,
            _ports: Vec::new(),
        };
        for _ in 0..proxies {
            let port = Port::reserve().unwrap();
            let proxy = Proxy::start(&ground.resources(port.number()), &[]).unwrap();
            ground.place.port = port.number();
            ground.proxies.push(proxy);
            ground._ports.push(port);
        }
        ground
    }

    fn resources(&self, port: u16) -> String {
        let document = include_str!("../../../docs/generated-keys.md");
        let shard = document
            .split("```yaml\n")
            .nth(1)
            .unwrap()
            .split("```")
            .next()
            .unwrap();
        let api = "apiVersion: core.database-mesh.io/v1alpha1";
        let mut yaml = format!(
            "{api}\nkind: VirtualDatabase\nmetadata: {{name: shop}}\nspec:\n  services:\n  - name: mysql\n    \
             databaseMySQL: {{host: 127.0.0.1, port: {port}, user: app, password: app-password, db: shop}}\n    \
             trafficStrategy: shop\n    dataShard: shop\n---\n\
             {api}\nkind: TrafficStrategy\nmetadata: {{name: shop}}\nspec: {{selector: {{matchLabels: {{source: shop}}}}}}\n---\n{shard}  transactions: {{acrossNodes: bestEffort}}\n"
        );
        for (place, server) in self.servers.iter().enumerate() {
            let port = server.port();
            yaml.push_str(&format!(
                "---\n{api}\nkind: DatabaseEndpoint\nmetadata: {{name: ds_{place}, labels: {{source: shop}}}}\nspec:\n  \
                 database:\n    MySQL: {{host: 127.0.0.1, port: {port}, user: app, password: app-password, db: shop_{place}}}\n"
            ));
        }
        yaml
    }

    /// The insert id of a statement.
    fn insert(&self, client: &mut Client, sql: &str) -> u64 {
        match self
            .runtime
            .block_on(client.ask_in(Form::Text, sql, Vec::new()))
            .outcome
        {
            Outcome::Done { insert_id, .. } => insert_id,
            other => panic!("{sql}: {other:?}"),
        }
    }

    fn value(&self, client: &mut Client, sql: &str) -> String {
        match self
            .runtime
            .block_on(client.ask_in(Form::Text, sql, Vec::new()))
            .outcome
        {
            Outcome::Rows { rows, .. } => match &rows[0][0] {
                Value::Bytes(text) => String::from_utf8(text.clone()).unwrap(),
                other => panic!("{sql}: {other:?}"),
            },
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// Rows of both parts of a table.
    fn count(&self, table: &str) -> u64 {
        let part = |place: usize| {
            let sql = format!("SELECT COUNT(*) FROM shop_{place}.{table}_{place}");
            self.servers[place]
                .query_value(&sql)
                .unwrap()
                .unwrap()
                .parse::<u64>()
                .unwrap()
        };
        part(0) + part(1)
    }
}

#[test]
fn a_key_that_is_left_out_is_generated_and_told() {
    let ground = Ground::start(1);
    let mut client = Client::new(ground.place.clone());
    for table in ["t_event", "t_log"] {
        let first = ground.insert(&mut client, &format!("INSERT INTO {table} (a) VALUES (1)"));
        let last = ground.value(&mut client, "SELECT LAST_INSERT_ID()");
        assert_eq!(last, first.to_string(), "{table}");
        for values in ["(NULL, 2)", "(0, 2)", "(DEFAULT, 2)", "('0', 2)"] {
            let sql = format!("INSERT INTO {table} (id, a) VALUES {values}");
            assert!(ground.insert(&mut client, &sql) > first, "{sql}");
        }
        let set = ground.insert(&mut client, &format!("REPLACE INTO {table} SET a = 5"));
        let found = format!("SELECT a FROM {table} WHERE id = {set}");
        assert_eq!(ground.value(&mut client, &found), "5");
        // A key of the statement's own is told by the packet, and not by LAST_INSERT_ID().
        let own = ground.insert(
            &mut client,
            &format!("INSERT INTO {table} (id, a) VALUES (77, 1)"),
        );
        assert_eq!(own, 77);
        let last = ground.value(&mut client, "SELECT LAST_INSERT_ID()");
        assert_eq!(last, set.to_string(), "{table}");
        assert_eq!(ground.count(table), 7);
    }
}

/// What the packet says of keys that statements give themselves is what a server says of its AUTO_INCREMENT, which
/// the shards of this table do not have.
#[test]
fn a_key_of_ones_own_is_told_as_by_one_server() {
    let ground = Ground::start(1);
    let table =
        "CREATE TABLE shop_0.t_event (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, a INT)";
    ground.servers[0].execute(table).unwrap();
    let mut client = Client::new(ground.place.clone());
    let mut one = Client::new(Place {
        port: ground.servers[0].port(),
        schema: "shop_0".to_owned(),
        ..ground.place.clone()
    });
    for values in [
        "(-5, 1)",
        "(5, 1)",
        "('-6', 1)",
        "(7, 1), (-7, 2)",
        "(-8, 1), (8, 2)",
        "(-9223372036854775808, 1)",
    ] {
        let sql = format!("INSERT INTO t_event (id, a) VALUES {values}");
        let theirs = ground.insert(&mut one, &sql);
        assert_eq!(ground.insert(&mut client, &sql), theirs, "{sql}");
        let sql = sql.replace("INSERT", "REPLACE");
        let theirs = ground.insert(&mut one, &sql);
        assert_eq!(ground.insert(&mut client, &sql), theirs, "{sql}");
    }
    let sql = "INSERT INTO t_event (id, a) VALUES (?, ?)";
    let prepared = |client: &mut Client| {
        let values = vec![Value::Int(-11), Value::Int(1)];
        let asked = client.ask_in(Form::Prepared, sql, values);
        ground.runtime.block_on(asked).outcome
    };
    let theirs = prepared(&mut one);
    assert_eq!(
        format!("{:?}", prepared(&mut client)),
        format!("{theirs:?}")
    );
}

#[test]
fn uuids_and_segments_are_keys_too() {
    let ground = Ground::start(1);
    let mut client = Client::new(ground.place.clone());
    assert_eq!(
        ground.insert(&mut client, "INSERT INTO t_file (a) VALUES (1)"),
        0
    );
    assert_eq!(
        ground.insert(&mut client, "INSERT INTO t_file (id, a) VALUES (NULL, 2)"),
        0
    );
    assert_eq!(ground.count("t_file"), 2);
    // By user, numbered over all shards.
    for (number, user) in [(1000, 1), (1001, 2), (1002, 1)] {
        let sql = format!("INSERT INTO t_note (user_id, a) VALUES ({user}, 5)");
        assert_eq!(ground.insert(&mut client, &sql), number);
    }
    let several = "INSERT INTO t_note (user_id, a) VALUES (4, 1), (4, 2), (4, 3)";
    assert_eq!(ground.insert(&mut client, several), 1003);
    let notes = "SELECT GROUP_CONCAT(note_id ORDER BY a) FROM t_note WHERE user_id = 4";
    assert_eq!(ground.value(&mut client, notes), "1003,1004,1005");
    // Prepared: values that are NULL or 0 when they are bound.
    let sql = "INSERT INTO t_note (user_id, note_id, a) VALUES (?, ?, ?)";
    for (given, told) in [
        (Value::NULL, 1006),
        (Value::Int(0), 1007),
        (Value::Int(5), 5),
    ] {
        let values = vec![Value::Int(1), given, Value::Int(7)];
        let answer = ground
            .runtime
            .block_on(client.ask_in(Form::Prepared, sql, values));
        let Outcome::Done { insert_id, .. } = answer.outcome else {
            panic!("{answer:?}");
        };
        assert_eq!(insert_id, told);
    }
    assert_eq!(ground.value(&mut client, "SELECT LAST_INSERT_ID()"), "1007");
    // To both shards, and told as one.
    let spread = "INSERT INTO t_event (a) VALUES (1), (2), (3), (4)";
    let first = ground.insert(&mut client, spread);
    let last = ground.value(&mut client, "SELECT LAST_INSERT_ID()");
    assert_eq!(last, first.to_string());
    assert_eq!(ground.count("t_event"), 4);
    let next = ground.servers[1]
        .query_value("SELECT next_value FROM shop_1.dbmesh_sequence")
        .unwrap();
    assert_eq!(next.as_deref(), Some("1100"));
    ground.insert(&mut client, "BEGIN");
    assert_eq!(
        ground.insert(&mut client, "INSERT INTO t_note (user_id, a) VALUES (1, 9)"),
        1008
    );
    ground.insert(&mut client, "ROLLBACK");
    assert_eq!(
        ground.insert(&mut client, "INSERT INTO t_note (user_id, a) VALUES (1, 9)"),
        1009
    );
    ground.insert(&mut client, "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'");
    let zero = "INSERT INTO t_note (user_id, note_id, a) VALUES (1, 0, 1)";
    assert_eq!(ground.insert(&mut client, zero), 0);
}

#[test]
fn two_proxies_lease_two_workers() {
    let ground = Ground::start(2);
    let mut keys = Vec::new();
    for port in &ground._ports {
        let place = Place {
            port: port.number(),
            ..ground.place.clone()
        };
        let mut client = Client::new(place);
        for _ in 0..5 {
            keys.push(ground.insert(&mut client, "INSERT INTO t_event (a) VALUES (1)"));
        }
    }
    let worker = |key: &u64| (key >> 12) & 1023;
    assert_eq!(
        keys.iter().map(worker).collect::<Vec<_>>(),
        [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    );
    let workers = ground.servers[0]
        .query_value("SELECT COUNT(*) FROM shop_0.dbmesh_worker")
        .unwrap();
    assert_eq!(workers.as_deref(), Some("2"));
    assert_eq!(ground.count("t_event"), 10);
}
