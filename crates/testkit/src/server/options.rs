//! How an instance is to run, and the command-line options that say so to each kind of server.

use std::path::Path;

use super::Kind;
use crate::binaries::Installation;

/// Whether clients may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// As a primary.
    Allowed,
    /// As a replica: `read_only`, and on MySQL `super_read_only`.
    Refused,
}

/// What a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: fast, survives the death of the process but not of the machine.
    Relaxed,
    /// The disk, as in production: for tests of crash safety.
    Full,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// MySQL or MariaDB.
    pub kind: Kind,
    /// `server_id`, different for every member of a fleet.
    pub server_id: u32,
    /// Whether clients may write.
    pub writes: Writes,
    /// What a commit waits for.
    pub durability: Durability,
    /// TCP port, or `None` for a free one.
    pub port: Option<u16>,
    /// More options of the server, such as `--max-connections=20`; they win over ours.
    pub extra_args: Vec<String>,
}

impl ServerOptions {
    /// A writable instance with relaxed durability on a free port.
    pub fn new(kind: Kind) -> ServerOptions {
        ServerOptions {
            kind,
            server_id: 1,
            writes: Writes::Allowed,
            durability: Durability::Relaxed,
            port: None,
            extra_args: Vec::new(),
        }
    }

    /// Sets `server_id`.
    pub fn server_id(mut self, id: u32) -> ServerOptions {
        self.server_id = id;
        self
    }

    /// Refuses writes of clients.
    pub fn read_only(mut self) -> ServerOptions {
        self.writes = Writes::Refused;
        self
    }

    /// Makes commits wait for the disk.
    pub fn durable(mut self) -> ServerOptions {
        self.durability = Durability::Full;
        self
    }

    /// Takes this TCP port.
    pub fn port(mut self, number: u16) -> ServerOptions {
        self.port = Some(number);
        self
    }

    /// Adds an option of the server.
    pub fn arg(mut self, argument: impl Into<String>) -> ServerOptions {
        self.extra_args.push(argument.into());
        self
    }

    /// The server's command line after its own paths.
    pub(super) fn arguments(
        &self,
        installation: &Installation,
        folder: &Path,
        port: u16,
    ) -> Vec<String> {
        let data = folder.join("data");
        let mut arguments = vec![
            format!("--datadir={}", data.display()),
            format!("--socket={}", folder.join("sock").display()),
            format!("--pid-file={}", folder.join("pid").display()),
            format!("--tmpdir={}", folder.display()),
            format!("--port={port}"),
            format!("--report-port={port}"),
            format!("--server-id={}", self.server_id),
        ];
        let common = [
            "--bind-address=127.0.0.1",
            "--report-host=127.0.0.1",
            "--skip-name-resolve",
            "--log-bin=binlog",
            "--relay-log=relay",
            "--max-connections=600",
            "--table-open-cache=400",
            "--table-definition-cache=400",
            "--innodb-buffer-pool-size=64M",
            "--innodb-buffer-pool-load-at-startup=OFF",
            "--innodb-buffer-pool-dump-at-shutdown=OFF",
            "--local-infile=ON",
            "--max-allowed-packet=64M",
        ];
        arguments.extend(common.map(str::to_owned));
        match self.durability {
            Durability::Relaxed => arguments.extend(
                [
                    "--sync-binlog=0",
                    "--innodb-flush-log-at-trx-commit=2",
                    "--innodb-doublewrite=OFF",
                ]
                .map(str::to_owned),
            ),
            Durability::Full => arguments.extend(
                ["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"].map(str::to_owned),
            ),
        }
        match self.kind {
            Kind::MySql => self.mysql(&mut arguments),
            Kind::MariaDb => self.mariadb(&mut arguments, installation, &data),
        }
        arguments.extend(self.extra_args.iter().cloned());
        arguments
    }

    fn mysql(&self, arguments: &mut Vec<String>) {
        let own = [
            "--mysqlx=OFF",
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
            "--innodb-redo-log-capacity=32M",
        ];
        arguments.extend(own.map(str::to_owned));
        if self.writes == Writes::Refused {
            arguments.extend(["--read-only=ON", "--super-read-only=ON"].map(str::to_owned));
        }
    }

    fn mariadb(&self, arguments: &mut Vec<String>, installation: &Installation, data: &Path) {
        let own = [
            "--binlog-format=ROW",
            "--log-slave-updates=ON",
            "--gtid-strict-mode=ON",
            "--innodb-log-file-size=32M",
        ];
        arguments.extend(own.map(str::to_owned));
        // MySQL finds these in its data folder by itself.
        for (option, file) in [
            ("ca", "ca.pem"),
            ("cert", "server-cert.pem"),
            ("key", "server-key.pem"),
        ] {
            arguments.push(format!("--ssl-{option}={}", data.join(file).display()));
        }
        if installation.has_ed25519() {
            arguments.push("--plugin-load-add=auth_ed25519".to_owned());
        }
        if self.writes == Writes::Refused {
            arguments.push("--read-only=ON".to_owned());
        }
    }
}
