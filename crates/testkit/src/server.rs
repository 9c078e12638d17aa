//! One MySQL or MariaDB instance with a folder, a port and accounts of its own.
//!
//! Owns the instance from start to removal. It must never listen beyond 127.0.0.1 and never reuse the
//! data of another instance. Every instance has `root@localhost` without a password over its socket,
//! `app`/`app-password` with all rights but that of writing to a read-only server (caching_sha2_password
//! on MySQL, mysql_native_password on MariaDB), `repl`/`repl-password`, and on MariaDB
//! `app_ed25519`/`app-password` where the plugin exists.

use std::{
    fmt,
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Error, Result, Rows,
    binaries::Installation,
    folder::Folder,
    port::Port,
    process::{self, Process},
    query::Session,
    template,
};

mod options;

pub use options::{Durability, ServerOptions, Writes};

/// The account that every instance has, with all rights.
pub const APP_USER: &str = "app";
/// Its password.
pub const APP_PASSWORD: &str = "app-password";

const READY_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const START_ATTEMPTS: u32 = 3;

/// Which server program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Oracle MySQL 8 or later.
    MySql,
    /// MariaDB 10 or later.
    MariaDb,
}

/// A running instance; it is killed and its folder removed when dropped.
#[derive(Debug)]
pub struct Server {
    installation: Installation,
    options: ServerOptions,
    folder: Folder,
    port: Reservation,
    process: Mutex<Option<Process>>,
}

#[derive(Debug)]
enum Reservation {
    Ours(Port),
    Chosen(u16),
}

impl Server {
    /// Starts an instance and waits until it answers.
    pub fn start(options: ServerOptions) -> Result<Server> {
        let installation = Installation::find(options.kind)?;
        let folder = Folder::create(options.kind.folder_name())?;
        template::copy_to(&installation, &folder.path().join("data"))?;
        let mut attempt = 1;
        loop {
            let port = match options.port {
                Some(number) => Reservation::Chosen(number),
                None => Reservation::Ours(Port::reserve()?),
            };
            let log = folder.path().join("log");
            match run(&installation, &options, folder.path(), port.number()) {
                Ok(process) => {
                    let process = Mutex::new(Some(process));
                    return Ok(Server {
                        installation,
                        options,
                        folder,
                        port,
                        process,
                    });
                }
                // Someone who does not know our locks may have taken the port meanwhile.
                Err(_) if attempt < START_ATTEMPTS && port_was_taken(&log) => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// MySQL or MariaDB.
    pub fn kind(&self) -> Kind {
        self.installation.kind()
    }

    /// Its programs, for client commands of the same version.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The Unix socket.
    pub fn socket_path(&self) -> PathBuf {
        self.folder.path().join("sock")
    }

    /// The data folder.
    pub fn data_path(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The certificate authority that signed the server's certificate for localhost and 127.0.0.1.
    /// Beside it are `client-cert.pem` and `client-key.pem`.
    pub fn ca_path(&self) -> PathBuf {
        self.data_path().join("ca.pem")
    }

    /// The server's error log.
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The end of the server's error log.
    pub fn log_tail(&self, lines: usize) -> String {
        process::tail(&self.log_path(), lines)
    }

    /// Process id; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.process()
            .as_mut()
            .and_then(|process| process.try_wait().is_none().then(|| process.id()))
    }

    /// Kills it as a crash would; [`Server::restart`] brings it back with its data.
    pub fn kill_9(&self) {
        *self.process() = None;
    }

    /// Freezes it (SIGSTOP).
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    /// Shuts it down in order and waits for its end.
    pub fn stop(&self) -> Result<()> {
        let mut slot = self.process();
        let Some(mut process) = slot.take() else {
            return Ok(());
        };
        process.signal(libc::SIGCONT);
        process.signal(libc::SIGTERM);
        let ended = process.wait(STOP_LIMIT).is_some();
        let timeout = || Error::Timeout {
            what: format!("{} shutting down", self.kind()),
            after: STOP_LIMIT,
        };
        if ended { Ok(()) } else { Err(timeout()) }
    }

    /// Starts it again on the same port with the same data, after shutting it down if it still runs.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        let process = run(
            &self.installation,
            &self.options,
            self.folder.path(),
            self.port.number(),
        )?;
        *self.process() = Some(process);
        Ok(())
    }

    /// A new session as root over the socket.
    pub fn session(&self) -> Result<Session> {
        Session::over_socket(&self.socket_path())
    }

    /// Runs one or several statements as root in a session of their own.
    pub fn execute(&self, sql: &str) -> Result<()> {
        self.session()?.execute(sql)
    }

    /// Runs a statement as root in a session of its own and returns its rows as text.
    pub fn query(&self, sql: &str) -> Result<Rows> {
        self.session()?.query(sql)
    }

    /// The single value that a statement returns; `None` for NULL or no row.
    pub fn query_value(&self, sql: &str) -> Result<Option<String>> {
        let rows = self.query(sql)?;
        Ok(rows
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next())
            .flatten())
    }

    /// A client program of the same version, such as `mysqldump`, told to connect here over TCP as `app`.
    pub fn client_command(&self, program: &str) -> Result<Command> {
        let mut command = self.installation.client_command(program)?;
        command.args(["--protocol=TCP", "--host=127.0.0.1"]);
        command
            .arg(format!("--port={}", self.port()))
            .arg(format!("--user={APP_USER}"));
        command.arg(format!("--password={APP_PASSWORD}"));
        Ok(command)
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: i32) {
        if let Some(process) = self.process().as_mut() {
            process.signal(signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process goes before the folder it writes into, whatever the order of the fields.
        self.kill_9();
    }
}

/// One server of that kind for the whole test process, started at the first call.
///
/// # Panics
/// When it cannot be started: a test without its server cannot go on.
pub fn shared(kind: Kind) -> &'static Server {
    static MYSQL: OnceLock<Server> = OnceLock::new();
    static MARIADB: OnceLock<Server> = OnceLock::new();
    let slot = match kind {
        Kind::MySql => &MYSQL,
        Kind::MariaDb => &MARIADB,
    };
    slot.get_or_init(|| match Server::start(ServerOptions::new(kind)) {
        Ok(server) => server,
        Err(error) => panic!("no shared {kind} server: {error}"),
    })
}

/// Waits until a session can be opened, or the process ends, or the time is over.
pub(crate) fn wait_until_ready(process: &mut Process, socket: &Path, log: &Path) -> Result<()> {
    let deadline = Instant::now() + READY_LIMIT;
    while Instant::now() < deadline {
        if let Some(status) = process.try_wait() {
            let output = process::tail(log, 30);
            return Err(Error::Program {
                program: "the server".to_owned(),
                status: Some(status),
                output,
            });
        }
        if socket.exists() && Session::over_socket(socket).is_ok() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    let what = format!(
        "a server that answers; its log ends with\n{}",
        process::tail(log, 30)
    );
    Err(Error::Timeout {
        what,
        after: READY_LIMIT,
    })
}

fn run(
    installation: &Installation,
    options: &ServerOptions,
    folder: &Path,
    port: u16,
) -> Result<Process> {
    let (socket, log) = (folder.join("sock"), folder.join("log"));
    let stderr = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .map_err(Error::io("open", &log))?;
    let stdout = stderr.try_clone().map_err(Error::io("open", &log))?;
    let mut command = installation.server_command();
    command
        .args(options.arguments(installation, folder, port))
        .stdout(stdout)
        .stderr(stderr);
    // A socket left by a killed server would look like a server that is not ready.
    let _ = std::fs::remove_file(&socket);
    let mut process = Process::spawn(command).map_err(Error::io("start a server in", folder))?;
    wait_until_ready(&mut process, &socket, &log)?;
    Ok(process)
}

fn port_was_taken(log: &Path) -> bool {
    process::tail(log, 30).contains("Address already in use")
}

impl Reservation {
    fn number(&self) -> u16 {
        match self {
            Reservation::Ours(port) => port.number(),
            Reservation::Chosen(number) => *number,
        }
    }
}

impl Kind {
    /// The name of its folders in the cache.
    pub(crate) fn folder_name(self) -> &'static str {
        match self {
            Kind::MySql => "mysql",
            Kind::MariaDb => "mariadb",
        }
    }

    /// What a reader without it should do.
    pub(crate) fn install_hint(self) -> String {
        match self {
            Kind::MySql => "install MySQL 8 or later and set DBMESH_MYSQLD to the path of mysqld".to_owned(),
            Kind::MariaDb => {
                "install MariaDB 10.5 or later (Debian: apt-get install mariadb-server-core mariadb-client) or set \
                 DBMESH_MARIADBD to the path of mariadbd"
                    .to_owned()
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::MySql => "MySQL",
            Kind::MariaDb => "MariaDB",
        })
    }
}
