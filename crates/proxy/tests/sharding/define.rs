//! Definitions over 64 shards of two servers, one of which goes away in the middle.

use std::time::Duration;

use dbmesh_testkit::port::Port;
use dbmesh_testkit::server::{APP_PASSWORD, APP_USER, Kind, Server, ServerOptions};

use crate::faultkit::client::{Credentials, RawClient, error_packet};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;
use crate::ground::{Answer, Client, Ground, KINDS, Options};

const SHARDS: usize = 64;
/// How long servers may take to be used again.
const PATIENCE: Duration = Duration::from_secs(60);
const CREATE: &str = "CREATE TABLE t_wide (id INT NOT NULL PRIMARY KEY, v INT) COMMENT='wide'";
const ALTER: &str = "ALTER TABLE t_wide ADD COLUMN more VARCHAR(10), ADD INDEX (v)";

struct Wide {
    servers: [Server; 2],
    stage: Stage,
}

impl Wide {
    fn new(kind: Kind) -> Self {
        let start =
            |id| std::thread::spawn(move || Server::start(ServerOptions::new(kind).server_id(id)));
        let servers = [start(21), start(22)].map(|server| server.join().unwrap().unwrap());
        for server in &servers {
            server.execute("CREATE DATABASE shop").unwrap();
        }
        let port = Port::reserve().unwrap();
        let mut text = format!(
            "apiVersion: core.database-mesh.io/v1alpha1\nkind: VirtualDatabase\nmetadata: {{name: shop}}\nspec:\n  services:\n  \
             - name: mysql\n    databaseMySQL: {{host: 127.0.0.1, port: {}, user: {APP_USER}, password: {APP_PASSWORD}, db: shop}}\n    \
             trafficStrategy: shop\n    dataShard: shop\n    limits: {{queueWaitMs: 1000}}\n    users: [{{name: ops, password: ops-password, operator: true}}]\n---\n\
             apiVersion: core.database-mesh.io/v1alpha1\nkind: TrafficStrategy\nmetadata: {{name: shop}}\nspec: {{selector: \
             {{matchLabels: {{source: shop}}}}}}\n---\n\
             apiVersion: core.database-mesh.io/v1alpha1\nkind: DataShard\nmetadata: {{name: shop}}\nspec:\n  \
             algorithms: {{wide: {{type: MOD, props: {{sharding-count: {SHARDS}}}}}}}\n  rules:\n  - tableName: t_wide\n    \
             tableStrategy: {{tableShardingAlgorithmName: wide, tableShardingColumn: id}}\n    actualDatanodes: {{valueSource: \
             {{expression: \"ds_0.t_wide_{{0..31}}, ds_1.t_wide_{{32..63}}\"}}}}\n",
            port.number(),
        );
        for (place, server) in servers.iter().enumerate() {
            text += &format!(
                "---\napiVersion: core.database-mesh.io/v1alpha1\nkind: DatabaseEndpoint\nmetadata: {{name: ds_{place}, labels: \
                 {{source: shop}}}}\nspec: {{database: {{{kind}: {{host: 127.0.0.1, port: {}, user: {APP_USER}, password: \
                 {APP_PASSWORD}, db: shop}}}}}}\n",
                server.port(),
            );
        }
        let stage = Stage::of_yaml(&text, port, &[]);
        Self { servers, stage }
    }

    fn mesh(&self) -> Client {
        let credentials = Credentials::app().schema("shop");
        Client::of(RawClient::logged_in(self.stage.port, &credentials))
    }

    /// Asks until the servers that were down are used again.
    fn eventually_done(&self, sql: &str) {
        eventually("the statement is done", PATIENCE, || {
            matches!(self.mesh().ask(sql), Answer::Done(..))
        });
    }

    /// How many shards' tables have so many columns.
    fn with_columns(&self, columns: u32) -> usize {
        let count = |server: &Server| -> usize {
            let sql = format!(
                "SELECT COUNT(*) FROM (SELECT table_name FROM information_schema.columns WHERE table_schema = 'shop' GROUP BY \
                 table_name HAVING COUNT(*) = {columns}) t"
            );
            server.query_value(&sql).unwrap().unwrap().parse().unwrap()
        };
        self.servers.iter().map(count).sum()
    }

    /// The last definition: its state, and how many shards have it.
    fn last(&self) -> (String, usize) {
        let operator = Credentials::of("ops", "ops-password").schema("shop");
        let mut client = Client::of(RawClient::logged_in(self.stage.port, &operator));
        let answer = client.ask("SHOW MESH DEFINITIONS LIMIT 1");
        let row = answer.rows()[0].clone();
        (
            row[3].clone().unwrap(),
            row[4].clone().unwrap().parse().unwrap(),
        )
    }
}

#[test]
fn a_definition_that_lost_a_server_in_the_middle_is_finished_by_the_same_statement() {
    for kind in KINDS {
        let wide = Wide::new(kind);
        let mut mesh = wide.mesh();
        assert!(matches!(mesh.ask(CREATE), Answer::Done(..)));
        assert_eq!(wide.with_columns(2), SHARDS);
        assert_eq!(wide.last(), ("done".to_owned(), SHARDS));

        // Somebody reads at one of the shards, so that the definition waits there.
        let reader = wide.servers[1].session().unwrap();
        reader.execute("BEGIN").unwrap();
        reader.query("SELECT * FROM shop.t_wide_48").unwrap();
        let port = wide.stage.port;
        let altering = std::thread::spawn(move || {
            let credentials = Credentials::app().schema("shop");
            let mut client = RawClient::logged_in(port, &credentials);
            client.begin_query(ALTER);
            error_packet(&client.packet().unwrap()).message
        });
        eventually("48 shards have it", PATIENCE, || {
            wide.last() == ("running".to_owned(), 48)
        });
        wide.servers[1].kill_9();
        let said = altering.join().unwrap();
        for words in [
            "done at ds_0.t_wide_0,",
            "and 40 more",
            "not at ds_1.t_wide_48,",
            "(perhaps at ds_1.t_wide_48)",
            "the same statement again finishes it",
        ] {
            assert!(said.contains(words), "{kind:?}: {words}: {said}");
        }
        assert_eq!(wide.last(), ("stopped".to_owned(), 48));

        // While the server is down, it is not finished, and says so.
        let said = wide.mesh().refused(ALTER);
        assert!(
            said.contains("not at ds_1.t_wide_48") || said.contains("not at node 1"),
            "{said}"
        );
        drop(reader);
        wide.servers[1].restart().unwrap();
        wide.eventually_done(ALTER);
        assert_eq!(wide.with_columns(3), SHARDS);
        let indexes = |server: &Server| {
            server
                .query_value("SELECT COUNT(DISTINCT table_name, index_name) FROM information_schema.statistics WHERE table_schema = 'shop'")
                .unwrap()
        };
        for server in &wide.servers {
            assert_eq!(indexes(server).as_deref(), Some("64"), "each has it once");
        }
        assert_eq!(wide.last(), ("done".to_owned(), SHARDS));
        assert!(matches!(
            wide.mesh()
                .ask("INSERT INTO t_wide VALUES (1, 1, 'a'), (40, 1, 'b')"),
            Answer::Error(_) | Answer::Done(2, ..)
        ));
    }
}

#[test]
fn a_table_that_is_created_while_a_server_is_down_is_finished_by_the_same_statement() {
    for kind in KINDS {
        let wide = Wide::new(kind);
        let mut mesh = wide.mesh();
        assert_eq!(mesh.ask("SELECT 1 ORDER BY 1").rows().len(), 1);
        wide.servers[1].kill_9();
        for _ in 0..2 {
            let said = wide.mesh().refused(CREATE);
            assert!(
                said.contains("the same statement again finishes it"),
                "{kind:?}: {said}"
            );
            assert_eq!(wide.last(), ("stopped".to_owned(), 32), "{kind:?}: {said}");
        }
        wide.servers[1].restart().unwrap();
        wide.eventually_done(CREATE);
        assert_eq!(wide.with_columns(2), SHARDS, "{kind:?}");
        assert_eq!(wide.last(), ("done".to_owned(), SHARDS), "{kind:?}");
    }
}

#[test]
fn what_some_shards_have_already_is_finished_if_it_is_the_same() {
    let wide = Wide::new(Kind::MySql);
    let same = |shard: usize| CREATE.replace("t_wide", &format!("shop.t_wide_{shard}"));
    for shard in [32, 33, 63] {
        wide.servers[1].execute(&same(shard)).unwrap();
    }
    assert!(matches!(wide.mesh().ask(CREATE), Answer::Done(..)));
    assert_eq!(wide.with_columns(2), SHARDS);
    // All have it: that is what one server would say.
    assert_eq!(wide.mesh().ask(CREATE), Answer::Error(1050));
    assert!(matches!(
        wide.mesh().ask("DROP TABLE t_wide"),
        Answer::Done(..)
    ));
    wide.servers[0]
        .execute("CREATE TABLE shop.t_wide_7 (id INT)")
        .unwrap();
    let said = wide.mesh().refused(CREATE);
    assert!(said.contains("not at ds_0.t_wide_7"), "{said}");
    // What stood in the way is gone.
    wide.servers[0].execute("DROP TABLE shop.t_wide_7").unwrap();
    assert!(matches!(wide.mesh().ask(CREATE), Answer::Done(..)));
    assert_eq!(wide.with_columns(2), SHARDS);
    // DROP goes on where some are gone.
    wide.servers[0].execute("DROP TABLE shop.t_wide_9").unwrap();
    assert!(matches!(
        wide.mesh().ask("DROP TABLE t_wide"),
        Answer::Done(..)
    ));
    assert_eq!(wide.with_columns(2), 0);
    assert_eq!(wide.mesh().ask("DROP TABLE t_wide"), Answer::Error(1051));
}

#[test]
fn writes_go_on_beside_definitions_of_other_tables() {
    let options = Options {
        data_shard: &["transactions: {acrossNodes: bestEffort}"],
        ..Options::default()
    };
    for kind in KINDS {
        let ground = Ground::new(kind, &options);
        let mut defining = ground.mesh();
        let mut writing = ground.mesh();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..40 {
                    defining.ask("TRUNCATE TABLE t_item").done();
                }
            });
            for row in 0..60 {
                let user = 2 * row;
                let whole = format!(
                    "INSERT INTO t_user VALUES ({user}, 'a', 1), ({}, 'b', 2)",
                    user + 1
                );
                assert_eq!(writing.ask(&whole).done(), 2, "{kind:?}: {whole}");
                let from = format!(
                    "INSERT INTO t_user SELECT user_id + 1000, name, score FROM t_user WHERE user_id = {user}"
                );
                assert_eq!(writing.ask(&from).done(), 1, "{kind:?}: {from}");
            }
        });
        let rows = writing.ask("SELECT COUNT(*) FROM t_user");
        assert_eq!(rows.rows(), [[Some("180".to_owned())]]);
    }
}
