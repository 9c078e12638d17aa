//! Roles by configuration: the only primary restarts, and statements wait for it within limits.

use std::time::{Duration, Instant};

use dbmesh_testkit::config::Config;
use dbmesh_testkit::port::Port;
use dbmesh_testkit::{Server, ServerOptions};

use crate::cluster::KINDS;
use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::stage::Stage;
use crate::load::{self, Load, Told};

fn alone(kind: dbmesh_testkit::Kind, buffer: &str) -> (Server, Stage) {
    let server = Server::start(ServerOptions::new(kind)).unwrap();
    server
        .execute(
            "CREATE DATABASE app; \
             CREATE TABLE app.ledger (id BIGINT AUTO_INCREMENT PRIMARY KEY, op BIGINT NOT NULL, KEY (op))",
        )
        .unwrap();
    let port = Port::reserve().unwrap();
    let yaml = Config::new(&server, port.number(), 16)
        .schema("app")
        .strategy(&format!("failover: {{buffer: {buffer}}}"))
        .to_yaml();
    (server, Stage::of_yaml(&yaml, port, &[]))
}

#[test]
fn statements_wait_for_the_only_primary() {
    for kind in KINDS {
        let (server, stage) = alone(kind, "{maxWaitMs: 60000}");
        let load = Load::start(stage.port, 8);
        load.run_on(300);
        let began = Instant::now();
        server.restart().unwrap();
        let away = began.elapsed();
        load.run_on(300);
        let writes = load.stop();
        let under_way = writes.iter().filter(|w| !matches!(w.told, Told::Done));
        let told: Vec<_> = under_way.map(|w| &w.told).collect();
        println!(
            "{kind}: {} writes, {} under way at the shutdown: {told:?}",
            writes.len(),
            told.len()
        );
        assert!(told.len() <= 8, "{kind}: one per client at most");
        load::check(&writes, &server);
        // One of those who wait tries every 50 ms, for all of them.
        let attempts = stage.metric("dbmesh_pool_connect_failures_total");
        let at_most = away.as_secs_f64() * 20.0 + 40.0;
        println!("{kind}: away for {away:?}, {attempts} attempts failed");
        assert!(
            attempts <= at_most,
            "{kind}: {attempts} attempts in {away:?}"
        );
        stage.assert_pool_calm();
    }
}

#[test]
fn the_line_has_a_length_and_a_time() {
    let kind = KINDS[0];
    let (server, stage) = alone(kind, "{maxWaitMs: 4000, maxStatements: 2}");
    let mut clients: Vec<RawClient> = (0..5).map(|_| RawClient::app(stage.port)).collect();
    for client in &mut clients {
        assert_eq!(client.query("SELECT 1").value(), "1");
    }
    server.stop().unwrap();
    let began = Instant::now();
    for client in &mut clients {
        client.begin_query("INSERT INTO app.ledger (op) VALUES (1)");
    }
    let replies: Vec<_> = clients
        .iter_mut()
        .map(|c| (c.reply(), began.elapsed()))
        .collect();
    let said = |what: &str| {
        let says =
            |r: &Reply| matches!(r, Reply::Error(e) if e.code == 2003 && e.message.contains(what));
        replies.iter().filter(|(r, _)| says(r)).count()
    };
    assert_eq!(
        said("2 statements wait for a primary already (failover.buffer.maxStatements)"),
        3,
        "{replies:?}"
    );
    assert_eq!(
        said("no primary within 4000 ms (failover.buffer.maxWaitMs)"),
        2,
        "{replies:?}"
    );
    let longest = replies.iter().map(|(_, t)| *t).max().unwrap();
    assert!(
        longest >= Duration::from_millis(3_900) && longest < Duration::from_secs(9),
        "{longest:?}"
    );
    // Sessions go on where they were.
    server.restart().unwrap();
    for client in &mut clients {
        assert_eq!(
            client.query("INSERT INTO app.ledger (op) VALUES (2)"),
            Reply::Ok
        );
    }
}
