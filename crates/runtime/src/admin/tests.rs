//! The page over real sockets on loopback.

use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::exposition::Kind;

struct Content {
    ready: bool,
}

impl AdminContent for Content {
    fn ready(&self) -> (bool, Value) {
        (self.ready, json!({ "draining": !self.ready }))
    }

    fn metrics(&self, out: &mut Text) {
        out.family("dbmesh_test_total", "A test.", Kind::Counter);
        out.sample(&[("a", "b")], 1.0);
    }

    fn debug(&self, page: &str, _: &str) -> Option<Value> {
        (page == "config").then(|| json!({ "revision": "1" }))
    }

    fn debug_pages(&self) -> &'static [&'static str] {
        &["config"]
    }

    fn act(&self, order: &Order<'_>) -> Answer {
        match order.path {
            "/things/a/stop" => Answer::Done(json!({
                "of": order.parameter("of"),
                "actor": order.actor,
                "local": order.peer.ip().is_loopback(),
            })),
            "/things/b/stop" => Answer::NoSuchThing("there is no thing b".to_owned()),
            "/things/c/stop" => Answer::Refused("there are two".to_owned()),
            _ => Answer::NoSuchPath,
        }
    }
}

async fn start(ready: bool) -> (SocketAddr, Drain) {
    let stop = Drain::new();
    let admin = Admin {
        content: Arc::new(Content { ready }),
        stop: stop.clone(),
    };
    let address = serve("127.0.0.1:0".parse().unwrap(), admin).await.unwrap();
    (address, stop)
}

/// Sends `head` and reads to the end of the connection.
async fn exchange(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut response = String::new();
    let read = stream.read_to_string(&mut response);
    tokio::time::timeout(Duration::from_secs(10), read)
        .await
        .unwrap()
        .unwrap();
    response
}

async fn request(address: SocketAddr, method: &str, path: &str, host: &str) -> (u16, String) {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let response = exchange(address, &head).await;
    let status = response.split(' ').nth(1).unwrap().parse().unwrap();
    (status, response)
}

async fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
    let (status, response) = request(address, "GET", path, "localhost").await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

#[tokio::test]
async fn every_path_answers_in_its_form() {
    let (address, _stop) = start(true).await;
    let (status, _, body) = get(address, "/healthz").await;
    assert_eq!((status, body.as_str()), (200, "ok\n"));
    let (status, head, body) = get(address, "/readyz?verbose=1").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap(),
        json!({ "draining": false })
    );
    let (status, head, body) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    assert!(body.ends_with("dbmesh_test_total{a=\"b\"} 1\n"), "{body}");
    let (status, _, body) = get(address, "/debug/config").await;
    assert_eq!(status, 200);
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap()["revision"],
        "1"
    );
    let (status, _, index) = get(address, "/debug/").await;
    assert_eq!(status, 200);
    assert_eq!(
        index,
        "/healthz\n/readyz\n/metrics\n/debug/\n/debug/config\n"
    );
    for path in [
        "/debug/sessions",
        "/debug/config/",
        "/nothing",
        "/%2e%2e/etc/passwd",
    ] {
        let (status, _, body) = get(address, path).await;
        assert_eq!((status, &body), (404, &index), "{path}");
    }
}

#[tokio::test]
async fn unready_is_503_and_still_alive() {
    let (address, _stop) = start(false).await;
    let (status, _, body) = get(address, "/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains("draining"), "{body}");
    assert_eq!(get(address, "/healthz").await.0, 200);
}

#[tokio::test]
async fn only_get_and_head_and_only_by_a_name_of_our_own() {
    let (address, _stop) = start(true).await;
    let (status, response) = request(address, "PUT", "/healthz", "localhost").await;
    assert_eq!(status, 405);
    assert!(
        response.to_ascii_lowercase().contains("allow: get, head"),
        "{response}"
    );
    let (status, response) = request(address, "HEAD", "/healthz", "localhost").await;
    assert_eq!(status, 200);
    assert!(response.ends_with("\r\n\r\n"), "no body: {response}");
    for host in [
        "localhost:6070",
        "LOCALHOST",
        "127.0.0.1:1",
        "[::1]:6070",
        "10.0.0.1",
    ] {
        assert_eq!(
            request(address, "GET", "/healthz", host).await.0,
            200,
            "{host}"
        );
    }
    for host in [
        "attacker.example",
        "localhost.attacker.example:6070",
        "[x]",
        "",
    ] {
        assert_eq!(
            request(address, "GET", "/debug/config", host).await.0,
            421,
            "{host}"
        );
    }
}

#[tokio::test]
async fn a_post_is_done_only_with_our_header_and_never_for_a_browser() {
    let (address, _stop) = start(true).await;
    let post = async |path: &str, headers: &str| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n{headers}\r\n"
        );
        let response = exchange(address, &head).await;
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    };
    let (status, body) = post(
        "/things/a/stop?x=1&of=n/d/s",
        "X-Dbmesh: 1\r\nX-Dbmesh-Actor: ann@host\r\n",
    )
    .await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap(),
        json!({ "of": "n/d/s", "actor": "ann@host", "local": true })
    );
    for headers in [
        "",
        "X-Dbmesh: 0\r\n",
        "X-Dbmesh: 1\r\nOrigin: http://attacker.example\r\n",
        "X-Dbmesh: 1\r\nOrigin: null\r\n",
    ] {
        let (status, body) = post("/things/a/stop", headers).await;
        assert_eq!(status, 403, "{headers}");
        assert!(body.contains("X-Dbmesh"), "{body}");
    }
    assert_eq!(post("/things/b/stop", "X-Dbmesh: 1\r\n").await.0, 404);
    assert_eq!(post("/things/c/stop", "X-Dbmesh: 1\r\n").await.0, 409);
    assert_eq!(post("/nothing", "X-Dbmesh: 1\r\n").await.0, 404);
    assert_eq!(post("/metrics", "X-Dbmesh: 1\r\n").await.0, 405);
    let (status, _) = request(address, "POST", "/things/a/stop", "attacker.example").await;
    assert_eq!(status, 421);
    let (status, _) = request(address, "GET", "/things/a/stop", "localhost").await;
    assert_eq!(status, 404);
    let (status, _) = request(address, "OPTIONS", "/things/a/stop", "localhost").await;
    assert_eq!(status, 405);
}

#[tokio::test]
async fn garbage_and_endless_heads_end_the_connection_alone() {
    let (address, _stop) = start(true).await;
    let response = exchange(address, "\u{1}\u{2} nonsense\r\n\r\n").await;
    assert!(
        response.is_empty() || response.starts_with("HTTP/1.1 400"),
        "{response}"
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
    let block = [b'x'; 4_096];
    let mut sent_bytes = 0;
    while sent_bytes < 8 << 20 && stream.write_all(&block).await.is_ok() {
        sent_bytes += block.len();
    }
    assert!(sent_bytes < 8 << 20, "a head without end was read");
    assert_eq!(get(address, "/healthz").await.0, 200);
}

/// With every place taken by clients that say nothing, the next one waits until they are cut.
#[tokio::test]
async fn silent_clients_are_cut_and_make_room() {
    let (address, _stop) = start(true).await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let start = Instant::now();
    assert_eq!(get(address, "/healthz").await.0, 200);
    let waited = start.elapsed();
    assert!(
        waited > Duration::from_secs(2),
        "there was no bound: {waited:?}"
    );
}

#[tokio::test]
async fn it_ends_when_told_and_waits_for_nobody_who_is_idle() {
    let (address, stop) = start(true).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut buffer = [0; 1_024];
    assert!(idle.read(&mut buffer).await.unwrap() > 0);
    assert_eq!(stop.guards(), 1);
    stop.start();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    assert_eq!(stop.finished(deadline).await, 0);
    assert_eq!(idle.read(&mut buffer).await.unwrap(), 0);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_taken_address_is_an_error_that_names_it() {
    let (address, stop) = start(true).await;
    let content = Arc::new(Content { ready: true });
    let error = serve(address, Admin { content, stop }).await.unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}
