//! Drivers of other languages against dbmesh: `tests/drivers/run.py`, once for each kind of server.
//!
//! The script reads where to connect from its environment: `DBMESH_TEST_KIND` (`mysql` or `mariadb`),
//! `DBMESH_TEST_MESH_PORT` and `DBMESH_TEST_DIRECT_PORT` (both on 127.0.0.1), `DBMESH_TEST_USER`,
//! `DBMESH_TEST_PASSWORD`, and `DBMESH_BIN`. It fetches what it needs with the package managers. Its last line is
//! `N passed, N failed`.

use dbmesh_testkit::{
    Kind, Proxy, Server, ServerOptions,
    config::Config,
    port, proxy,
    server::{APP_PASSWORD, APP_USER},
};

use super::{Program, Step, Tally};
use crate::workspace;

const POOL_SIZE: u32 = 16;

/// Runs the script, which is part of the sources, against both kinds of server: all of it, or what is quick.
pub fn run(step: &Step, long: bool) -> Tally {
    [Kind::MySql, Kind::MariaDb]
        .into_iter()
        .map(|kind| against(step, kind, long))
        .fold(Tally::default(), Tally::plus)
}

fn against(step: &Step, kind: Kind, long: bool) -> Tally {
    match start(kind, long) {
        Ok((script, _server, _proxy)) => script.run(step),
        Err(error) => Tally::of(Err(error)),
    }
}

fn start(kind: Kind, long: bool) -> Result<(Program, Server, Proxy), String> {
    let path = workspace::root().join("tests/drivers/run.py");
    if !path.is_file() {
        return Err(format!("{} is missing", path.display()));
    }
    let text = |error: dbmesh_testkit::Error| error.to_string();
    let server = Server::start(ServerOptions::new(kind)).map_err(text)?;
    let mesh_port = port::free_port().map_err(text)?;
    let config = Config::new(&server, mesh_port, POOL_SIZE)
        .service("compression: [zlib, zstd]")
        .to_yaml();
    let proxy = Proxy::start(&config, &[]).map_err(text)?;
    let path = path.to_string_lossy();
    let arguments: &[&str] = if long { &[&path] } else { &[&path, "--quick"] };
    let script = Program::new("python3", arguments)
        .env("DBMESH_TEST_KIND", kind.to_string().to_lowercase())
        .env("DBMESH_TEST_MESH_PORT", mesh_port.to_string())
        .env("DBMESH_TEST_DIRECT_PORT", server.port().to_string())
        .env("DBMESH_TEST_USER", APP_USER)
        .env("DBMESH_TEST_PASSWORD", APP_PASSWORD)
        .env("DBMESH_BIN", proxy::binary().map_err(text)?);
    Ok((script, server, proxy))
}
