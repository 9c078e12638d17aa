//! Starts one real server and keeps it until the process ends: `cargo run -p dbmesh-testkit --example server -- mysql 3399`.

use dbmesh_testkit::{Kind, Server, ServerOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let kind = match args.next().as_deref() {
        Some("mariadb") => Kind::MariaDb,
        _ => Kind::MySql,
    };
    let mut options = ServerOptions::new(kind);
    if let Some(port) = args.next() {
        options = options.port(port.parse()?);
    }
    for arg in args {
        options = options.arg(&arg);
    }
    let server = Server::start(options)?;
    println!(
        "port {} socket {}",
        server.port(),
        server.socket_path().display()
    );
    loop {
        std::thread::park();
    }
}
