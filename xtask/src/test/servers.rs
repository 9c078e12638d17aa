//! Finds or fetches both servers before the tests need them, so that a fetch has progress and its
//! failure a step of its own.

use dbmesh_testkit::{Kind, Server, ServerOptions};

use super::Tally;

/// Starts one server of each kind and says what it is.
pub fn run() -> Tally {
    let kinds = [Kind::MySql, Kind::MariaDb];
    kinds
        .iter()
        .map(|kind| Tally::of(start(*kind)))
        .fold(Tally::default(), Tally::plus)
}

fn start(kind: Kind) -> Result<(), String> {
    let server = Server::start(ServerOptions::new(kind)).map_err(|error| error.to_string())?;
    let version = server
        .query_value("SELECT VERSION()")
        .map_err(|error| error.to_string())?;
    let path = server.installation().server_path().display();
    println!("{kind} {} from {path}", version.unwrap_or_default());
    Ok(())
}
