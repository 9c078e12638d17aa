//! Another configuration while statements run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dbmesh_testkit::FaultRelay;
use dbmesh_testkit::config::{Backend, Config};
use dbmesh_testkit::port::Port;
use dbmesh_testkit::server::{Kind, shared};

use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;

/// Applies a configuration and waits until it is served.
fn apply(stage: &Stage, yaml: &str) {
    let applied = || stage.proxy.log().matches("configuration applied").count();
    let before = applied();
    stage.proxy.rewrite_config(yaml).unwrap();
    stage.proxy.sighup();
    eventually(
        "the configuration is applied",
        Duration::from_secs(15),
        || applied() > before,
    );
}

/// Sessions that run statements and transactions until stopped; any error or wrong answer is a failure.
struct Load {
    stop: Arc<AtomicBool>,
    workers: Vec<std::thread::JoinHandle<u64>>,
}

impl Load {
    fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let workers = (0..4)
            .map(|n| {
                let stop = stop.clone();
                std::thread::spawn(move || work(port, n, &stop))
            })
            .collect();
        Self { stop, workers }
    }

    /// Statements answered.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum()
    }
}

fn work(port: u16, n: u32, stop: &AtomicBool) -> u64 {
    let mut client = RawClient::app(port);
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        let token = format!("{n} {done}");
        assert_eq!(client.query(&format!("SELECT '{token}'")).value(), token);
        assert_eq!(client.query("BEGIN"), Reply::Ok);
        assert_eq!(
            client
                .query(&format!("SELECT '{token}', SLEEP(0.002)"))
                .value(),
            token
        );
        assert_eq!(client.query("COMMIT"), Reply::Ok);
        done += 4;
        if done % 400 == 0 {
            client = RawClient::app(port);
        }
    }
    done
}

#[test]
fn reloads_under_load_cost_no_statement() {
    let kind = Kind::MySql;
    let server = shared(kind);
    server
        .execute("CREATE USER mesh IDENTIFIED BY 'one'; GRANT ALL ON *.* TO mesh")
        .unwrap();
    let relay = FaultRelay::start(server.port()).unwrap();
    let port = Port::reserve().unwrap();
    let number = port.number();
    let yaml = |pool_size: u32, password: &str, second: bool| {
        let mut config = Config::new(server, number, pool_size);
        if second {
            config = config.replica(Backend {
                kind,
                port: relay.port(),
            });
        }
        let text = config.to_yaml().replace("role: replica", "role: primary");
        let (head, endpoints) = text.split_once("kind: DatabaseEndpoint").unwrap();
        let endpoints = endpoints
            .replace("user: app", "user: mesh")
            .replace("app-password", password);
        format!("{head}kind: DatabaseEndpoint{endpoints}")
    };
    let stage = Stage::of_yaml(&yaml(8, "one", false), port, &[]);
    let mut held = RawClient::app(number);
    assert_eq!(held.query("BEGIN"), Reply::Ok);
    assert_eq!(
        held.query("SELECT CONNECTION_ID()").value(),
        held.id.to_string()
    );
    let load = Load::start(number);
    apply(&stage, &yaml(3, "one", false));
    assert_eq!(stage.metric("dbmesh_pool_size"), 3.0);
    apply(&stage, &yaml(16, "one", false));
    server
        .execute("ALTER USER mesh IDENTIFIED BY 'two' RETAIN CURRENT PASSWORD")
        .unwrap();
    apply(&stage, &yaml(16, "two", false));
    server
        .execute("ALTER USER mesh DISCARD OLD PASSWORD")
        .unwrap();
    apply(&stage, &yaml(16, "two", true));
    std::thread::sleep(Duration::from_millis(700));
    let on_second = stage
        .proxy
        .metric("dbmesh_endpoint_statements_total", "endpoint=\"server-1\"")
        .unwrap();
    assert!(
        on_second.unwrap_or(0.0) > 0.0,
        "an endpoint that was added serves"
    );
    apply(&stage, &yaml(16, "two", false));
    assert_eq!(
        held.query("SELECT 'still in its transaction'").value(),
        "still in its transaction"
    );
    assert_eq!(held.query("COMMIT"), Reply::Ok);
    let done = load.end();
    assert!(done > 100, "{done}");
    println!("{done} statements through six configurations, no error");
    eventually(
        "connections to the removed endpoint are closed",
        Duration::from_secs(10),
        || relay.open_connections() == 0,
    );
    stage.assert_pool_calm();
}

#[test]
fn a_bad_edit_keeps_what_runs_and_is_shown() {
    let kind = Kind::MySql;
    let port = Port::reserve().unwrap();
    let good = Config::new(shared(kind), port.number(), 8).to_yaml();
    let stage = Stage::of_yaml(&good, port, &[]);
    let mut client = RawClient::app(stage.port);
    assert_eq!(stage.metric("dbmesh_config_last_reload_ok"), 1.0);
    for bad in [
        good.replace("trafficStrategy: testkit", "trafficStrategy: nobody"),
        "a: [".to_owned(),
        String::new(),
    ] {
        stage.proxy.rewrite_config(&bad).unwrap();
        stage.proxy.sighup();
        eventually("the refusal shows", Duration::from_secs(10), || {
            stage
                .proxy
                .metric("dbmesh_config_last_reload_ok", "")
                .unwrap()
                == Some(0.0)
        });
        let (status, body) = stage.proxy.admin_get("/readyz").unwrap();
        assert_eq!(status, 200, "what runs is still good");
        assert!(body.contains("defects") || body.contains("error"), "{body}");
        assert_eq!(client.query("SELECT 1").value(), "1");
        stage.assert_serves();
        apply_same(&stage, &good);
    }
}

/// Goes back to the configuration that runs.
fn apply_same(stage: &Stage, yaml: &str) {
    stage.proxy.rewrite_config(yaml).unwrap();
    stage.proxy.sighup();
    eventually(
        "the configuration is good again",
        Duration::from_secs(10),
        || {
            stage
                .proxy
                .metric("dbmesh_config_last_reload_ok", "")
                .unwrap()
                == Some(1.0)
        },
    );
}

#[test]
fn a_listener_moves_and_sessions_of_a_removed_service_end() {
    let kind = Kind::MySql;
    let (port, other) = (Port::reserve().unwrap(), Port::reserve().unwrap());
    let other_number = other.number();
    let yaml = Config::new(shared(kind), port.number(), 8).to_yaml();
    let stage = Stage::of_yaml(&yaml, port, &[]);
    let mut client = RawClient::app(stage.port);
    assert_eq!(client.query("SELECT 1").value(), "1");
    apply(
        &stage,
        &yaml.replace(
            &format!("port: {}", stage.port),
            &format!("port: {other_number}"),
        ),
    );
    assert_eq!(client.query("SELECT 2").value(), "2", "who is in stays in");
    assert_eq!(RawClient::app(other_number).query("SELECT 3").value(), "3");
    assert!(
        std::net::TcpStream::connect(("127.0.0.1", stage.port)).is_err(),
        "the old place is closed"
    );
    let renamed = yaml
        .replace(
            &format!("port: {}", stage.port),
            &format!("port: {other_number}"),
        )
        .replace("- name: mysql", "- name: renamed");
    apply(&stage, &renamed);
    let reply = client.query("SELECT 4");
    assert_eq!(reply.code(), Some(1053), "{reply:?}");
    assert!(client.is_closed());
    assert_eq!(RawClient::app(other_number).query("SELECT 5").value(), "5");
}
