//! Drivers of other languages against dbmesh: `tests/drivers/run.py`, for each kind of server, before one server and
//! before two that are sharded.
//!
//! The script reads where to connect from its environment: `DBMESH_TEST_KIND` (`mysql` or `mariadb`),
//! `DBMESH_TEST_MESH_PORT`, `DBMESH_TEST_DIRECT_PORT` and `DBMESH_TEST_NODE_PORT` (all on 127.0.0.1), `DBMESH_TEST_USER`,
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
    match Ground::start(kind) {
        Ok(ground) => TURNS
            .iter()
            .map(|more| match ground.script(more, long) {
                Ok(script) => script.run(step),
                Err(error) => Tally::of(Err(error)),
            })
            .fold(Tally::default(), Tally::plus),
        Err(error) => Tally::of(Err(error)),
    }
}

/// What the script is told: before one server, and before a sharded service.
const TURNS: [&[&str]; 2] = [&[], &["--sharded"]];

/// Two servers, and a proxy before the first; what is sharded is on both, and its proxies are the script's own.
struct Ground {
    kind: Kind,
    servers: [Server; 2],
    mesh_port: u16,
    _proxy: Proxy,
}

impl Ground {
    fn start(kind: Kind) -> Result<Self, String> {
        let server = |id| Server::start(ServerOptions::new(kind).server_id(id)).map_err(text);
        let servers = [server(1)?, server(2)?];
        let mesh_port = port::free_port().map_err(text)?;
        let config = Config::new(&servers[0], mesh_port, POOL_SIZE)
            .service("compression: [zlib, zstd]")
            .to_yaml();
        Ok(Self {
            kind,
            servers,
            mesh_port,
            _proxy: Proxy::start(&config, &[]).map_err(text)?,
        })
    }

    fn script(&self, more: &[&str], long: bool) -> Result<Program, String> {
        let path = workspace::root().join("tests/drivers/run.py");
        if !path.is_file() {
            return Err(format!("{} is missing", path.display()));
        }
        let path = path.to_string_lossy();
        let quick: &[&str] = if long { &[] } else { &["--quick"] };
        let arguments = [&[&*path][..], quick, more].concat();
        let [direct, node] = &self.servers;
        Ok(Program::new("python3", &arguments)
            .env("DBMESH_TEST_KIND", self.kind.to_string().to_lowercase())
            .env("DBMESH_TEST_MESH_PORT", self.mesh_port.to_string())
            .env("DBMESH_TEST_DIRECT_PORT", direct.port().to_string())
            .env("DBMESH_TEST_NODE_PORT", node.port().to_string())
            .env("DBMESH_TEST_USER", APP_USER)
            .env("DBMESH_TEST_PASSWORD", APP_PASSWORD)
            .env("DBMESH_BIN", proxy::binary().map_err(text)?))
    }
}

fn text(error: dbmesh_testkit::Error) -> String {
    error.to_string()
}
