//! `cargo xtask demo --sharded`: orders split over two servers, each with a replica, and what becomes of statements.
//!
//! Owns what it starts. Its input is `deploy/demo-sharded/sharded.yaml`, whose ports it replaces where they are taken.

use std::thread;
use std::time::Duration;

use dbmesh_testkit::binaries::Installation;
use dbmesh_testkit::{Fleet, FleetOptions, Kind, Proxy, Session, port};

use super::{MESH_PORT, build, read, text};
use crate::workspace;

const USER: &str = "shop_user";
const PASSWORD: &str = "default_password";
const SERVER_PORTS: [u16; 4] = [13_307, 13_308, 13_309, 13_310];
const USERS: u32 = 64;
/// How long replicas may take to serve.
const REPLICAS_LIMIT: Duration = Duration::from_secs(20);

const TABLES: [&str; 3] = [
    "CREATE TABLE orders (id INT NOT NULL, user_id INT NOT NULL, total DECIMAL(10,2), placed DATE, PRIMARY KEY (id, user_id))",
    "CREATE TABLE items (id INT NOT NULL, user_id INT NOT NULL, order_id INT NOT NULL, name VARCHAR(40), PRIMARY KEY (id, user_id))",
    "CREATE TABLE country (id INT NOT NULL PRIMARY KEY, name VARCHAR(40))",
];

/// Statements, with what they show.
const SHOWN: [(&str, &str); 7] = [
    (
        "one shard, by the key",
        "SELECT COUNT(*), SUM(total) FROM orders WHERE user_id = 42",
    ),
    (
        "a join that stays on its shard",
        "SELECT o.id, i.name FROM orders o JOIN items i ON o.user_id = i.user_id AND i.order_id = o.id WHERE o.user_id = 42 ORDER BY o.id LIMIT 3",
    ),
    (
        "all shards, merged in order",
        "SELECT id, user_id, total FROM orders ORDER BY total DESC, id LIMIT 3",
    ),
    (
        "groups over all shards",
        "SELECT placed, COUNT(*), AVG(total) FROM orders GROUP BY placed ORDER BY placed LIMIT 3",
    ),
    (
        "values counted once over all shards",
        "SELECT COUNT(DISTINCT total) FROM orders",
    ),
    (
        "rows brought together, finished by one server",
        "SELECT COUNT(*) FROM orders a JOIN orders b ON a.total = b.total AND a.id < b.id",
    ),
    (
        "what becomes of a statement",
        "EXPLAIN MESH SELECT id FROM orders WHERE user_id IN (1, 5) ORDER BY id",
    ),
];

/// Starts everything, shows statements with their answers, and stays.
pub(super) fn run(kind: Kind, stay: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let installation = Installation::find(kind).map_err(text)?;
    if std::env::var_os("DBMESH_BIN").is_none() {
        eprintln!("demo: building dbmesh");
        build()?;
    }
    eprintln!(
        "demo: starting two primaries, each with a replica ({kind} {})",
        installation.version()
    );
    let start = |first_server_id| {
        thread::spawn(move || {
            Fleet::start(FleetOptions {
                first_server_id,
                ..FleetOptions::new(kind, 1)
            })
        })
    };
    let mut fleets = Vec::new();
    for starting in [start(1), start(11)] {
        let fleet = starting
            .join()
            .map_err(|_| "a fleet did not start".to_owned())?;
        fleets.push(fleet.map_err(text)?);
    }
    for fleet in &fleets {
        fleet
            .primary()
            .execute("CREATE DATABASE shop")
            .map_err(text)?;
        fleet.wait_until_caught_up().map_err(text)?;
    }
    let port = match port::is_free(MESH_PORT) {
        true => MESH_PORT,
        false => port::free_port().map_err(text)?,
    };
    let proxy = Proxy::start(&resources(kind, &fleets, port)?, &[]).map_err(text)?;
    let session = Session::over_tcp(port, USER, PASSWORD, Some("shop")).map_err(text)?;
    load(&session)?;
    await_replicas(&proxy)?;
    println!(
        "\ndbmesh listens on 127.0.0.1:{port} in front of 8 shards on two primaries, each with a replica."
    );
    println!(
        "Connect:    mysql --host=127.0.0.1 --port={port} --user={USER} --password={PASSWORD} shop"
    );
    println!("Configure:  {}\n", proxy.config_path().display());
    for (what, sql) in SHOWN {
        println!("-- {what}\n{sql};");
        for row in session.query(sql).map_err(text)? {
            let cells = row
                .into_iter()
                .map(|cell| cell.unwrap_or_else(|| "NULL".to_owned()));
            println!("   {}", cells.collect::<Vec<_>>().join(" | "));
        }
        println!();
    }
    stay()
}

/// Tables and rows, through the mesh.
fn load(session: &Session) -> Result<(), String> {
    eprintln!("demo: creating tables on all shards and loading orders");
    for table in TABLES {
        session.execute(table).map_err(text)?;
    }
    session
        .execute("INSERT INTO country VALUES (1, 'Chile'), (2, 'Finland')")
        .map_err(text)?;
    for user in 0..USERS {
        let of_orders = (0..8).map(|n| {
            let id = user * 8 + n;
            format!(
                "({id}, {user}, {}.{:02}, '2026-0{}-01')",
                id * 7919 % 97,
                id * 31 % 100,
                id % 6 + 1
            )
        });
        let orders = of_orders.collect::<Vec<_>>().join(", ");
        session
            .execute(&format!("INSERT INTO orders VALUES {orders}"))
            .map_err(text)?;
        let of_items = (0..8).map(|n| {
            let id = user * 8 + n;
            format!("({id}, {user}, {id}, 'sock {}')", id % 10)
        });
        let items = of_items.collect::<Vec<_>>().join(", ");
        session
            .execute(&format!("INSERT INTO items VALUES {items}"))
            .map_err(text)?;
    }
    let counted = session.query("SELECT COUNT(*) FROM orders").map_err(text)?;
    let wanted = (USERS * 8).to_string();
    match counted == [[Some(wanted.clone())]] {
        true => Ok(()),
        false => Err(format!(
            "the mesh counts {counted:?} orders instead of {wanted}"
        )),
    }
}

fn await_replicas(proxy: &Proxy) -> Result<(), String> {
    let until = std::time::Instant::now() + REPLICAS_LIMIT;
    loop {
        let serve = proxy
            .metric("dbmesh_endpoint_serves", "role=\"replica\"")
            .map_err(text)?;
        if serve == Some(2.0) {
            return Ok(());
        }
        if std::time::Instant::now() > until {
            return Err(format!("{serve:?} replicas serve, not 2"));
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// The resources with the ports of this run and the kind of its servers.
fn resources(kind: Kind, fleets: &[Fleet], mesh_port: u16) -> Result<String, String> {
    let mut yaml = read(&workspace::root().join("deploy/demo-sharded/sharded.yaml"))?;
    let servers = fleets
        .iter()
        .flat_map(Fleet::servers)
        .map(dbmesh_testkit::Server::port);
    // The ports of servers first: none of them is that of the mesh.
    for (written, actual) in SERVER_PORTS
        .into_iter()
        .zip(servers)
        .chain([(MESH_PORT, mesh_port)])
    {
        yaml = yaml.replace(&format!("port: {written}"), &format!("port: {actual}"));
    }
    Ok(yaml.replace("{MySQL: {", &format!("{{{kind}: {{")))
}
