//! A running ProxySQL's tables, from its admin interface.
//!
//! It owns a connection for the time of the import, and the few statements sent on it, all of which read. The password goes
//! only as the answer to the server's challenge. Input: a DSN of the operator, and a server's bytes.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use dbmesh_wire::auth::scramble_native;
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec::{self, Reader};
use zeroize::Zeroizing;

use super::tables::{CONVERTED, OTHERS, Row, Tables};
use crate::import::listing::Place;

/// How long each step may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer of one statement.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// utf8mb4_general_ci, which every server knows.
const COLLATION: u8 = 45;

/// `mysql://user[:password]@host[:port][/schema]`.
pub struct Dsn {
    user: String,
    password: Zeroizing<String>,
    host: String,
    port: u16,
    schema: Option<String>,
}

impl Dsn {
    /// Reads one; none if the text is no DSN.
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        let rest = text.strip_prefix("mysql://")?;
        let read = || {
            let (account, server) = rest
                .rsplit_once('@')
                .ok_or("the DSN has no user: mysql://USER@HOST:PORT")?;
            let (user, password) = account.split_once(':').unwrap_or((account, ""));
            let password = match password {
                "" => std::env::var("DBMESH_IMPORT_PASSWORD").unwrap_or_default(),
                given => given.to_owned(),
            };
            let (server, schema) = server.split_once('/').unwrap_or((server, ""));
            let (host, port) = server.rsplit_once(':').unwrap_or((server, "6032"));
            let port = port
                .parse()
                .map_err(|_| "the port of the DSN is no number")?;
            Ok(Self {
                user: user.to_owned(),
                password: Zeroizing::new(password),
                host: host.trim_matches(['[', ']']).to_owned(),
                port,
                schema: (!schema.is_empty()).then(|| schema.to_owned()),
            })
        };
        Some(read())
    }
}

/// Reads every table there is.
///
/// # Errors
/// Why it cannot be read.
pub fn read(dsn: &Dsn) -> Result<Tables, String> {
    let mut link = Link::open(dsn)?;
    let mut tables = Tables::default();
    let file = PathBuf::from(format!("{}:{}", dsn.host, dsn.port));
    for table in CONVERTED.iter().chain(&OTHERS) {
        // What runs counts, not what is still being edited; older versions lack tables, and files have none of them.
        let answer = match link.query(&format!("SELECT * FROM runtime_{table}"))? {
            Ok(rows) => Ok(rows),
            Err(_) => link.query(&format!("SELECT * FROM {table}"))?,
        };
        let rows = answer.unwrap_or_default().into_iter();
        let rows = rows.enumerate().map(|(index, cells)| Row {
            place: Place {
                file: file.join(table),
                line: index + 1,
            },
            cells,
        });
        tables.rows.insert(table, rows.collect());
    }
    if tables.of("mysql_servers").is_empty() {
        return Err(
            "its table mysql_servers is empty, or cannot be read: is it the admin interface?"
                .to_owned(),
        );
    }
    let variables = link.query("SELECT variable_name, variable_value FROM global_variables WHERE variable_name LIKE 'mysql-%'")?;
    for (index, mut row) in variables.unwrap_or_default().into_iter().enumerate() {
        let (Some(name), Some(value)) = (row.remove("variable_name"), row.remove("variable_value"))
        else {
            continue;
        };
        let place = Place {
            file: file.join("global_variables"),
            line: index + 1,
        };
        tables
            .variables
            .insert(name.trim_start_matches("mysql-").to_owned(), (place, value));
    }
    Ok(tables)
}

type Cells = BTreeMap<String, String>;

/// A connection.
struct Link {
    socket: TcpStream,
    sequence: u8,
}

impl Link {
    fn open(dsn: &Dsn) -> Result<Self, String> {
        let name = format!("{}:{}", dsn.host, dsn.port);
        let failed = |error: io::Error| format!("{name} cannot be reached: {error}");
        let address = (dsn.host.as_str(), dsn.port)
            .to_socket_addrs()
            .map_err(failed)?
            .next();
        let address = address.ok_or_else(|| format!("{name} is no address"))?;
        let socket = TcpStream::connect_timeout(&address, TIMEOUT).map_err(failed)?;
        socket.set_read_timeout(Some(TIMEOUT)).map_err(failed)?;
        socket.set_write_timeout(Some(TIMEOUT)).map_err(failed)?;
        let mut link = Self {
            socket,
            sequence: 0,
        };
        link.login(dsn)?;
        Ok(link)
    }

    fn login(&mut self, dsn: &Dsn) -> Result<(), String> {
        let greeting = self.receive()?;
        if greeting.first() == Some(&0xff) {
            return Err(error_text(&greeting));
        }
        let nonce = nonce(&greeting).ok_or("the server does not greet as MySQL does")?;
        let mut wanted = Capabilities::PROTOCOL_41
            .union(Capabilities::SECURE_CONNECTION)
            .union(Capabilities::PLUGIN_AUTH);
        if dsn.schema.is_some() {
            wanted = wanted.union(Capabilities::CONNECT_WITH_DB);
        }
        let mut answer = u32::try_from(wanted.0)
            .unwrap_or_default()
            .to_le_bytes()
            .to_vec();
        answer.extend((1_u32 << 24).to_le_bytes());
        answer.push(COLLATION);
        answer.extend([0; 23]);
        answer.extend(dsn.user.as_bytes());
        answer.push(0);
        self.put_scramble(&mut answer, dsn, &nonce);
        if let Some(schema) = &dsn.schema {
            answer.extend(schema.as_bytes());
            answer.push(0);
        }
        answer.extend(b"mysql_native_password\0");
        self.send(&answer)?;
        let mut reply = self.receive()?;
        if let Some(rest) = reply.strip_prefix(&[0xfe]) {
            let (plugin, nonce) =
                rest.split_at(rest.iter().position(|b| *b == 0).unwrap_or(rest.len()));
            if plugin != b"mysql_native_password" {
                let plugin = String::from_utf8_lossy(plugin).into_owned();
                return Err(format!(
                    "the server wants the plugin {plugin}, and an admin interface has mysql_native_password"
                ));
            }
            let nonce = nonce.get(1..21).unwrap_or_default().to_vec();
            let mut scramble = Vec::new();
            self.put_scramble(&mut scramble, dsn, &nonce);
            self.send(scramble.get(1..).unwrap_or_default())?;
            reply = self.receive()?;
        }
        match reply.first() {
            Some(0) => Ok(()),
            _ => Err(error_text(&reply)),
        }
    }

    fn put_scramble(&self, out: &mut Vec<u8>, dsn: &Dsn, nonce: &[u8]) {
        let nonce: [u8; 20] = nonce.try_into().unwrap_or_default();
        if dsn.password.is_empty() {
            out.push(0);
        } else {
            out.push(20);
            out.extend(scramble_native(dsn.password.as_bytes(), &nonce));
        }
    }

    /// The rows of a statement, or the server's error.
    fn query(&mut self, sql: &str) -> Result<Result<Vec<Cells>, String>, String> {
        self.sequence = 0;
        let mut command = vec![3];
        command.extend(sql.as_bytes());
        self.send(&command)?;
        let head = self.receive()?;
        if head.first() == Some(&0xff) {
            return Ok(Err(error_text(&head)));
        }
        let broken = || "the server's answer makes no sense".to_owned();
        let columns = Reader::new(&head).lenenc_int().map_err(|_| broken())?;
        let mut names = Vec::new();
        for _ in 0..columns.min(1_000) {
            names.push(column_name(&self.receive()?).ok_or_else(broken)?);
        }
        let mut bytes = 0_usize;
        let mut rows = Vec::new();
        // EOF behind columns and behind rows: DEPRECATE_EOF was not asked for.
        self.receive()?;
        loop {
            let packet = self.receive()?;
            bytes += packet.len();
            match packet.first() {
                Some(0xfe) if packet.len() < 9 => return Ok(Ok(rows)),
                Some(0xff) => return Ok(Err(error_text(&packet))),
                _ if bytes > ANSWER_BYTES_MAX => {
                    return Err(format!(
                        "the answer is larger than {ANSWER_BYTES_MAX} bytes"
                    ));
                }
                _ => rows.push(cells(&packet, &names).ok_or_else(broken)?),
            }
        }
    }

    fn send(&mut self, payload: &[u8]) -> Result<(), String> {
        let mut out = Vec::new();
        codec::put_packet(&mut out, &mut self.sequence, payload);
        self.socket
            .write_all(&out)
            .map_err(|error| format!("the connection broke: {error}"))
    }

    fn receive(&mut self) -> Result<Vec<u8>, String> {
        let broke = |error: io::Error| format!("the connection broke: {error}");
        let mut header = [0; 4];
        self.socket.read_exact(&mut header).map_err(broke)?;
        let [low, middle, high, sequence] = header;
        let length = u32::from_le_bytes([low, middle, high, 0]) as usize;
        self.sequence = sequence.wrapping_add(1);
        let mut payload = vec![0; length];
        self.socket.read_exact(&mut payload).map_err(broke)?;
        Ok(payload)
    }
}

/// The challenge of a greeting: 8 bytes behind the version and thread, 12 behind the capabilities.
fn nonce(greeting: &[u8]) -> Option<Vec<u8>> {
    let version_end = greeting.iter().position(|b| *b == 0)?;
    let first = version_end + 5;
    let second = first + 8 + 1 + 2 + 1 + 2 + 2 + 1 + 10;
    let mut nonce = greeting.get(first..first + 8)?.to_vec();
    nonce.extend(greeting.get(second..second + 12)?);
    Some(nonce)
}

/// The alias of a column: the fifth of its texts.
fn column_name(packet: &[u8]) -> Option<String> {
    let mut reader = Reader::new(packet);
    let mut name: &[u8] = &[];
    for _ in 0..5 {
        name = reader.lenenc_bytes().ok()?;
    }
    Some(String::from_utf8_lossy(name).to_ascii_lowercase())
}

fn cells(packet: &[u8], names: &[String]) -> Option<Cells> {
    let mut reader = Reader::new(packet);
    let mut cells = Cells::new();
    for name in names {
        if reader.peek() == Some(0xfb) {
            reader.u8().ok()?;
            continue;
        }
        let text = reader.lenenc_bytes().ok()?;
        cells.insert(name.clone(), String::from_utf8_lossy(text).into_owned());
    }
    Some(cells)
}

/// The message of an error packet.
fn error_text(packet: &[u8]) -> String {
    let message = packet.get(3..).unwrap_or_default();
    let message = match message {
        [b'#', _, _, _, _, _, rest @ ..] => rest,
        rest => rest,
    };
    String::from_utf8_lossy(message).into_owned()
}
