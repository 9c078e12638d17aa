//! Rows that are brought to one place are read at all nodes at the same time, and answered as if one was read after the other.

use std::time::Duration;

use dbmesh_testkit::Session;
use dbmesh_testkit::port::Port;
use dbmesh_testkit::server::{APP_PASSWORD, APP_USER, Kind, Server, ServerOptions};

use crate::faultkit::client::{Credentials, RawClient};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;
use crate::ground::{Answer, Client, KINDS};

/// Nodes, which are schemas of one server.
const NODES: usize = 4;
const ROWS: usize = 400;
/// How long a server may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The key says nothing of `v`.
const JOIN: &str = "SELECT a.id, b.note FROM t a JOIN t b ON a.id = b.v ORDER BY a.id";

struct Nodes {
    server: Server,
    stage: Stage,
}

impl Nodes {
    fn new(kind: Kind) -> Self {
        let server = Server::start(ServerOptions::new(kind)).unwrap();
        let port = Port::reserve().unwrap();
        let mut text = format!(
            "apiVersion: core.database-mesh.io/v1alpha1\nkind: VirtualDatabase\nmetadata: {{name: shop}}\nspec:\n  services:\n  \
             - name: mysql\n    databaseMySQL: {{host: 127.0.0.1, port: {}, user: {APP_USER}, password: {APP_PASSWORD}, db: shop}}\n    \
             trafficStrategy: shop\n    dataShard: shop\n---\n\
             apiVersion: core.database-mesh.io/v1alpha1\nkind: TrafficStrategy\nmetadata: {{name: shop}}\nspec: {{selector: \
             {{matchLabels: {{source: shop}}}}}}\n---\n\
             apiVersion: core.database-mesh.io/v1alpha1\nkind: DataShard\nmetadata: {{name: shop}}\nspec:\n  \
             algorithms: {{all: {{type: MOD, props: {{sharding-count: {NODES}}}}}}}\n  rules:\n  - tableName: t\n    \
             tableStrategy: {{tableShardingAlgorithmName: all, tableShardingColumn: id}}\n    actualDatanodes: {{valueSource: \
             {{nodes: [{}]}}}}\n",
            port.number(),
            (0..NODES)
                .map(|node| format!("{{value: ds_{node}.t_{node}}}"))
                .collect::<Vec<_>>()
                .join(", "),
        );
        for node in 0..NODES {
            text += &format!(
                "---\napiVersion: core.database-mesh.io/v1alpha1\nkind: DatabaseEndpoint\nmetadata: {{name: ds_{node}, labels: \
                 {{source: shop}}}}\nspec: {{database: {{{kind}: {{host: 127.0.0.1, port: {}, user: {APP_USER}, password: \
                 {APP_PASSWORD}, db: node_{node}}}}}}}\n",
                server.port(),
            );
            let rows: Vec<String> = (0..ROWS)
                .filter(|id| id % NODES == node)
                .map(|id| {
                    format!(
                        "({id}, {}, REPEAT('{}', 2000))",
                        ROWS - 1 - id,
                        (ROWS - 1 - id) % 10
                    )
                })
                .collect();
            server
                .execute(&format!(
                    "CREATE DATABASE node_{node}; CREATE TABLE node_{node}.t_{node} (id INT NOT NULL PRIMARY KEY, v INT, note TEXT); \
                     INSERT INTO node_{node}.t_{node} VALUES {}",
                    rows.join(",")
                ))
                .unwrap();
        }
        let stage = Stage::of_yaml(&text, port, &[]);
        Self { server, stage }
    }

    fn mesh(&self) -> Client {
        let credentials = Credentials::app().schema("shop");
        Client::of(RawClient::logged_in(self.stage.port, &credentials))
    }

    /// Lets readers of these nodes wait until the session unlocks them.
    fn lock(&self, nodes: &[usize]) -> Session {
        let session = self.server.session().unwrap();
        let tables = nodes
            .iter()
            .map(|node| format!("node_{node}.t_{node} WRITE"));
        let tables: Vec<String> = tables.collect();
        session
            .execute(&format!("LOCK TABLES {}", tables.join(", ")))
            .unwrap();
        session
    }

    fn waiting(&self) -> String {
        let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'Waiting for table metadata lock'";
        self.server.query_value(sql).unwrap().unwrap()
    }
}

/// A row's note is a digit of its `v`, which is the `id` that it is joined to.
fn all_rows() -> Vec<Vec<Option<String>>> {
    let note = |id: usize| Some((id % 10).to_string().repeat(2_000));
    (0..ROWS)
        .map(|id| vec![Some(id.to_string()), note(id)])
        .collect()
}

#[test]
fn nodes_are_read_at_the_same_time() {
    for kind in KINDS {
        let nodes = Nodes::new(kind);
        assert_eq!(nodes.mesh().ask(JOIN).rows(), all_rows(), "{kind:?}");
        let locks = nodes.lock(&[1, 2, 3]);
        let mut mesh = nodes.mesh();
        let asking = std::thread::spawn(move || mesh.ask(JOIN));
        eventually("three nodes are being read", PATIENCE, || {
            nodes.waiting() == "3"
        });
        locks.execute("UNLOCK TABLES").unwrap();
        assert_eq!(asking.join().unwrap().rows(), all_rows(), "{kind:?}");
    }
}

#[test]
fn the_first_error_in_the_order_of_nodes_is_told() {
    for kind in KINDS {
        let nodes = Nodes::new(kind);
        assert_eq!(nodes.mesh().ask(JOIN).rows(), all_rows(), "{kind:?}");
        let run = |sql: &str| nodes.server.execute(sql).unwrap();
        run(
            "RENAME TABLE node_3.t_3 TO node_3.gone; ALTER TABLE node_1.t_1 CHANGE id was INT NOT NULL",
        );
        // The last node fails at once, and the first one when it is unlocked.
        let locks = nodes.lock(&[1]);
        let mut mesh = nodes.mesh();
        let asking = std::thread::spawn(move || {
            let answer = mesh.ask(JOIN);
            (answer, mesh.said.take(), mesh)
        });
        eventually("the first node is being read", PATIENCE, || {
            nodes.waiting() == "1"
        });
        locks.execute("UNLOCK TABLES").unwrap();
        let (answer, said, mut mesh) = asking.join().unwrap();
        assert_eq!(answer, Answer::Error(1054), "{kind:?}: {said:?}");
        // The session goes on, over other connections.
        run(
            "RENAME TABLE node_3.gone TO node_3.t_3; ALTER TABLE node_1.t_1 CHANGE was id INT NOT NULL",
        );
        let now = mesh.ask(JOIN);
        assert_eq!(now.rows(), all_rows(), "{kind:?}");
    }
}
