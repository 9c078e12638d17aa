//! A server on the loopback address that says what the test wants, true or not.
//!
//! Owns its listening socket and a thread per connection. Unless told otherwise it lets everybody in and answers as a
//! small MySQL would. Input: a script that sees each command first.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec::{HEADER_BYTES, Header, put_lenenc_bytes, put_packet};
use dbmesh_wire::column::Column;
use dbmesh_wire::greeting::Greeting;
use dbmesh_wire::status::Status;

/// What the scripted server can do.
const OFFERED: Capabilities = Capabilities(
    super::client::USUAL.0
        | Capabilities::CONNECT_WITH_DB.0
        | Capabilities::LOCAL_FILES.0
        | Capabilities::FOUND_ROWS.0
        | Capabilities::MULTI_STATEMENTS.0
        | Capabilities::PS_MULTI_RESULTS.0
        | Capabilities::SESSION_TRACK.0
        | Capabilities::CONNECT_ATTRS.0,
);

/// Whether the script has dealt with something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Yes; go on with the next command.
    Yes,
    /// No; do what a server does.
    No,
    /// Yes, and close the connection.
    Close,
}

/// A script: what to do instead of greeting, and for each command.
pub trait Script: Send + Sync + 'static {
    /// Before the greeting.
    fn greet(&self, _: &mut Wire) -> Done {
        Done::No
    }

    /// In place of the verdict on a login.
    fn verdict(&self, _: &mut Wire) -> Done {
        Done::No
    }

    /// A command; `sql` is empty for others than COM_QUERY.
    fn command(&self, wire: &mut Wire, payload: &[u8], sql: &str) -> Done;
}

impl<F: Fn(&mut Wire, &str) -> Done + Send + Sync + 'static> Script for F {
    fn command(&self, wire: &mut Wire, _: &[u8], sql: &str) -> Done {
        self(wire, sql)
    }
}

/// A well-behaved server.
pub fn honest(_: &mut Wire, _: &str) -> Done {
    Done::No
}

/// A running scripted server.
pub struct ScriptedServer {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// Connections that came so far.
    pub accepted: Arc<AtomicUsize>,
    /// Connections open now.
    pub open: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

impl ScriptedServer {
    /// Starts it.
    pub fn start(script: impl Script) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let server = Self {
            port,
            accepted: Arc::default(),
            open: Arc::default(),
            ended: Arc::default(),
        };
        let (accepted, open, ended) = (
            server.accepted.clone(),
            server.open.clone(),
            server.ended.clone(),
        );
        let script: Arc<dyn Script> = Arc::new(script);
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(2));
                    continue;
                };
                let id = accepted.fetch_add(1, Ordering::Relaxed);
                let (script, open) = (script.clone(), open.clone());
                open.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || {
                    let mut wire = Wire::new(stream, id);
                    let _ = wire.serve(&*script);
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        server
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// One connection, seen by the script.
pub struct Wire {
    stream: TcpStream,
    /// Counts the connections from 0.
    pub connection: usize,
    /// Number of the next packet.
    pub seq: u8,
    /// What the proxy asked for.
    pub capabilities: Capabilities,
}

impl Wire {
    fn new(stream: TcpStream, connection: usize) -> Self {
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
            .set_write_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(120)))
            .unwrap();
        Self {
            stream,
            connection,
            seq: 0,
            capabilities: Capabilities(0),
        }
    }

    fn serve(&mut self, script: &dyn Script) -> io::Result<()> {
        match script.greet(self) {
            Done::Yes => {}
            Done::No => self.greeting("8.4.0-scripted", "mysql_native_password")?,
            Done::Close => return Ok(()),
        }
        let login = self.read()?;
        let low = login.first_chunk::<4>().copied().unwrap_or_default();
        self.capabilities = Capabilities(u64::from(u32::from_le_bytes(low)));
        match script.verdict(self) {
            Done::Yes => {}
            Done::No => self.ok()?,
            Done::Close => return Ok(()),
        }
        loop {
            let payload = self.read()?;
            let sql = match payload.first() {
                Some(1) => return Ok(()),
                Some(3) => String::from_utf8_lossy(&payload[1..]).into_owned(),
                _ => String::new(),
            };
            match script.command(self, &payload, &sql) {
                Done::Yes => {}
                Done::No => self.honest(&payload, &sql)?,
                Done::Close => return Ok(()),
            }
        }
    }

    /// Answers as a server does.
    fn honest(&mut self, payload: &[u8], sql: &str) -> io::Result<()> {
        match payload.first() {
            Some(3) if sql.starts_with("SHOW SESSION VARIABLES") => self.rows(
                &["Variable_name", "Value"],
                &[
                    &["sql_mode", "STRICT_TRANS_TABLES"],
                    &["autocommit", "ON"],
                    &["time_zone", "SYSTEM"],
                    &["character_set_client", "utf8mb4"],
                    &["session_track_state_change", "OFF"],
                ],
            ),
            Some(3) if sql.to_ascii_uppercase().starts_with("SELECT") => {
                self.rows(&["1"], &[&["1"]])
            }
            Some(0x19) => Ok(()),
            Some(0x16) => self.packet(&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            _ => self.ok(),
        }
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// The socket's.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut header = [0; HEADER_BYTES];
        self.stream.read_exact(&mut header)?;
        let header = Header::first(&header).unwrap();
        let mut payload = vec![0; header.len as usize];
        self.stream.read_exact(&mut payload)?;
        self.seq = header.seq.wrapping_add(1);
        Ok(payload)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The socket's.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a packet.
    ///
    /// # Errors
    /// The socket's.
    pub fn packet(&mut self, payload: &[u8]) -> io::Result<()> {
        let bytes = self.encoded(payload);
        self.raw(&bytes)
    }

    /// A packet with the next number, not sent.
    pub fn encoded(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_packet(&mut out, &mut self.seq, payload);
        out
    }

    /// Sends OK.
    ///
    /// # Errors
    /// The socket's.
    pub fn ok(&mut self) -> io::Result<()> {
        self.packet(&OK)
    }

    /// Sends a greeting.
    ///
    /// # Errors
    /// The socket's.
    pub fn greeting(&mut self, version: &str, plugin: &str) -> io::Result<()> {
        let mut payload = Vec::new();
        Greeting {
            server_version: version.into(),
            connection_id: u32::try_from(self.connection).unwrap() + 1,
            nonce: [7; 20],
            capabilities: OFFERED,
            collation: 45,
            status: Status::AUTOCOMMIT,
            auth_plugin: plugin.into(),
        }
        .encode(&mut payload);
        self.packet(&payload)
    }

    /// Sends column count and definitions.
    ///
    /// # Errors
    /// The socket's.
    pub fn columns(&mut self, names: &[&str]) -> io::Result<()> {
        let bytes = self.encoded_columns(names);
        self.raw(&bytes)
    }

    /// Column count and definitions, not sent.
    pub fn encoded_columns(&mut self, names: &[&str]) -> Vec<u8> {
        let mut out = self.encoded(&[u8::try_from(names.len()).unwrap()]);
        for name in names {
            let mut payload = Vec::new();
            Column::text(name.as_bytes(), 45).encode(&mut payload, Capabilities::NONE);
            out.extend_from_slice(&self.encoded(&payload));
        }
        out
    }

    /// Sends a whole result set.
    ///
    /// # Errors
    /// The socket's.
    pub fn rows(&mut self, names: &[&str], rows: &[&[&str]]) -> io::Result<()> {
        self.columns(names)?;
        for row in rows {
            self.packet(&text_row(row))?;
        }
        self.packet(&END)
    }

    /// Waits until the proxy closes, or for `limit`.
    pub fn wait_for_close(&mut self, limit: Duration) {
        let _ = self.stream.set_read_timeout(Some(limit));
        let mut byte = [0; 64];
        while matches!(self.stream.read(&mut byte), Ok(n) if n > 0) {}
    }
}

/// OK's payload: nothing changed, autocommit.
pub const OK: [u8; 7] = [0, 0, 0, 2, 0, 0, 0];
/// The payload behind the last row.
pub const END: [u8; 7] = [0xFE, 0, 0, 2, 0, 0, 0];

/// A row in text.
pub fn text_row(cells: &[&str]) -> Vec<u8> {
    let mut payload = Vec::new();
    for cell in cells {
        put_lenenc_bytes(&mut payload, cell.as_bytes());
    }
    payload
}
