//! One server with a table, a proxy with an operator in front of it, and what its admin page says.

use dbmesh_testkit::config::Config;
use dbmesh_testkit::proxy::binary;
use dbmesh_testkit::server::{Kind, Server, ServerOptions};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output};

use crate::faultkit::client::{Credentials, RawClient, Reply};
use crate::faultkit::stage::Stage;

pub const KINDS: [Kind; 2] = [Kind::MySql, Kind::MariaDb];

/// Another user, and one who operates the service.
const USERS: &str = "users: [{name: bob, password: bob-password}, \
                     {name: ops, password: ops-password, operator: true}]";

/// A server with an empty table `app.t`.
pub fn server(kind: Kind) -> Server {
    let server = Server::start(ServerOptions::new(kind)).unwrap();
    server.execute("CREATE DATABASE IF NOT EXISTS app").unwrap();
    server
        .execute("CREATE TABLE app.t (id INT PRIMARY KEY, v INT NOT NULL)")
        .unwrap();
    server
}

/// A proxy in front of it, with more lines for the service.
pub fn stage(server: &Server, lines: &[&str]) -> Stage {
    stage_of(server, lines, |config| config)
}

pub fn stage_of(server: &Server, lines: &[&str], adapt: impl FnOnce(Config) -> Config) -> Stage {
    Stage::before(server.kind(), server.port(), |config| {
        let config = config.schema("app").service(USERS);
        let config = lines
            .iter()
            .fold(config, |config, line| config.service(line));
        adapt(config)
    })
}

pub fn client(stage: &Stage, user: &str) -> RawClient {
    if user == "app" {
        return RawClient::app(stage.port);
    }
    let credentials = Credentials::of(user, &format!("{user}-password"));
    RawClient::logged_in(stage.port, &credentials)
}

/// What a page of the administration says.
pub fn page(stage: &Stage, path: &str) -> Value {
    let (status, body) = stage.proxy.admin_get(path).unwrap();
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// Rows of a query as texts, `NULL` for NULL.
pub fn rows(client: &mut RawClient, sql: &str) -> Vec<Vec<String>> {
    match client.query(sql) {
        Reply::Rows(rows) => {
            let cell = |cell: Option<String>| cell.unwrap_or_else(|| "NULL".to_owned());
            let row = |row: Vec<Option<String>>| row.into_iter().map(cell).collect();
            rows.into_iter().map(row).collect()
        }
        other => panic!("{sql}: {other:?}"),
    }
}

/// `dbmesh ARGS --admin …`.
pub fn dbmesh(stage: &Stage, args: &[&str]) -> Output {
    let admin = format!("127.0.0.1:{}", stage.proxy.admin_port());
    Command::new(binary().unwrap())
        .args(args)
        .args(["--admin", &admin])
        .output()
        .unwrap()
}

/// What it says on both outputs, and whether it succeeded.
pub fn said(output: &Output) -> (Option<i32>, String) {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// The status of a POST to the administration, by an actor.
pub fn post(stage: &Stage, path: &str, actor: &str) -> u16 {
    let port = stage.proxy.admin_port();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Dbmesh: 1\r\nX-Dbmesh-Actor: {actor}\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_whitespace().nth(1).unwrap().parse().unwrap()
}
