//! A client of a few hundred lines less than a driver: it logs in and reads results without looking at rows, so that thousands
//! of it fit into this process and a long result is read as fast as it comes. Rows are counted and lent as they came, never
//! decoded. Input: a MySQL server, or something that answers like one, on the loopback address.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use dbmesh_wire::Capabilities;
use dbmesh_wire::auth::{ClientAuth, ClientStep, Secret, ServerKey, Transport};
use dbmesh_wire::codec::{HEADER_BYTES, Header, MAX_PAYLOAD, Reader, put_packet};
use dbmesh_wire::greeting::FirstReply;
use dbmesh_wire::handshake::HandshakeResponse;
use dbmesh_wire::reply::{EOF_MARKER, ERR_MARKER, Err as ServerError, OK_MARKER};

use super::rig::{PASSWORD, SCHEMA, USER};

/// What the client asks for; the server must know all of it.
const WANTED: [Capabilities; 7] = [
    Capabilities::PROTOCOL_41,
    Capabilities::TRANSACTIONS,
    Capabilities::SECURE_CONNECTION,
    Capabilities::CONNECT_WITH_DB,
    Capabilities::PLUGIN_AUTH,
    Capabilities::PLUGIN_AUTH_LENENC_DATA,
    Capabilities::DEPRECATE_EOF,
];
/// Collation of the session: `utf8mb4_general_ci`, which every server has.
const COLLATION: u16 = 45;
/// Bytes of the read buffer of a client that has read little; it grows while it is filled, up to the second number.
const BUFFER_BYTES: usize = 1 << 10;
const BUFFER_BYTES_MAX: usize = 1 << 18;
/// How long the client waits for bytes: a server may sort millions of rows before the first one comes.
const PATIENCE: Duration = Duration::from_secs(600);
/// Largest packet that the client says it accepts.
const PACKET_BYTES_MAX: u32 = 1 << 24;

/// A client that has logged in.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Where unread bytes begin and end in `buffer`.
    unread: std::ops::Range<usize>,
}

/// How much a statement returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Rows of the result; 0 for a statement without one.
    pub rows: u64,
    /// Bytes of the rows with their packet headers.
    pub bytes: u64,
}

impl Client {
    /// Connects to `port` of the loopback address and logs in with the account of the rig.
    ///
    /// # Errors
    /// What the server says, or where it departs from the protocol.
    pub fn connect(port: u16) -> Result<Client, String> {
        Client::connect_as(port, USER, PASSWORD)
    }

    /// As [`Client::connect`], with another account.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_as(port: u16, user: &str, password: &str) -> Result<Client, String> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .map_err(|error| format!("connect: {error}"))?;
        stream.set_nodelay(true).map_err(text)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
        let mut client = Client {
            stream,
            buffer: vec![0; BUFFER_BYTES],
            unread: 0..0,
        };
        client.log_in(user, password)?;
        Ok(client)
    }

    /// The connection itself, when nothing of it is unread.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Sends a statement and reads its answer to the end.
    ///
    /// # Errors
    /// The server's error, or where it departs from the protocol.
    pub fn query(&mut self, sql: &str) -> Result<Answer, String> {
        self.each(sql, |_| Ok(()))
    }

    /// As [`Client::query`], and shows every row to `look`, which may end the reading with an error.
    ///
    /// # Errors
    /// As [`Client::query`], and what `look` says.
    pub fn each(
        &mut self,
        sql: &str,
        mut look: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<Answer, String> {
        const COM_QUERY: u8 = 3;
        let mut payload = vec![COM_QUERY];
        payload.extend_from_slice(sql.as_bytes());
        self.send(0, &payload)?;
        let (_, first) = self.packet()?;
        let columns = match first.first() {
            Some(&OK_MARKER) => return Ok(Answer { rows: 0, bytes: 0 }),
            Some(&ERR_MARKER) => return Err(refusal(first)),
            _ => Reader::new(first).lenenc_int().map_err(text)?,
        };
        for _ in 0..columns {
            self.packet()?;
        }
        let mut answer = Answer { rows: 0, bytes: 0 };
        loop {
            let (_, row) = self.packet()?;
            match row.first() {
                Some(&EOF_MARKER) if row.len() < MAX_PAYLOAD => return Ok(answer),
                Some(&ERR_MARKER) => return Err(refusal(row)),
                _ => {
                    answer.rows += 1;
                    answer.bytes += (row.len() + HEADER_BYTES) as u64;
                    look(row)?;
                }
            }
        }
    }

    fn log_in(&mut self, user: &str, password: &str) -> Result<(), String> {
        let (mut seq, first) = self.packet()?;
        let greeting = match FirstReply::decode(first).map_err(text)? {
            FirstReply::Greeting(greeting) => greeting,
            FirstReply::Refused(error) => {
                return Err(format!("error {}: {}", error.code, error.as_err().text()));
            }
        };
        let capabilities = WANTED
            .into_iter()
            .fold(Capabilities(0), Capabilities::union);
        if !greeting.capabilities.contains(capabilities) {
            return Err("the server does not announce what this client needs".to_owned());
        }
        // The server is this machine's own: whoever could stand between could read its memory too.
        let mut auth = ClientAuth::new(
            Secret::new(password),
            Transport::Plain,
            &greeting.auth_plugin,
            greeting.nonce,
            ServerKey::Ask,
        );
        let auth_response = auth.first_response().map_err(text)?;
        let response = HandshakeResponse {
            capabilities,
            max_packet_bytes: PACKET_BYTES_MAX,
            collation: COLLATION,
            user: user.into(),
            auth_response,
            database: Some(SCHEMA.into()),
            auth_plugin: Some(auth.plugin().name().to_owned()),
            attributes: None,
            zstd_level: None,
        };
        let mut payload = Vec::new();
        response.encode(&mut payload);
        self.send(seq.wrapping_add(1), &payload)?;
        loop {
            let (number, payload) = self.packet()?;
            seq = number;
            auth = match auth.step(payload).map_err(text)? {
                ClientStep::Done => return Ok(()),
                ClientStep::Receive(next) => *next,
                ClientStep::Send(payload, next) => {
                    self.send(seq.wrapping_add(1), &payload)?;
                    *next
                }
            };
        }
    }

    fn send(&mut self, mut seq: u8, payload: &[u8]) -> Result<(), String> {
        let mut out = Vec::with_capacity(payload.len() + HEADER_BYTES);
        put_packet(&mut out, &mut seq, payload);
        self.stream
            .write_all(&out)
            .map_err(|error| format!("send: {error}"))
    }

    /// The next packet: its number and its payload.
    fn packet(&mut self) -> Result<(u8, &[u8]), String> {
        let header = loop {
            match Header::first(self.buffer.get(self.unread.clone()).unwrap_or_default()) {
                Some(header) => break header,
                None => self.fill()?,
            }
        };
        let length = header.len as usize + HEADER_BYTES;
        while self.unread.len() < length {
            self.fill()?;
        }
        let start = self.unread.start;
        self.unread.start += length;
        let payload = self
            .buffer
            .get(start + HEADER_BYTES..start + length)
            .unwrap_or_default();
        Ok((header.seq, payload))
    }

    /// Reads once, after making room: unread bytes move to the front, and a full buffer doubles.
    fn fill(&mut self) -> Result<(), String> {
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        if self.unread.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let room = self.buffer.get_mut(self.unread.end..).unwrap_or_default();
        let wanted = room.len();
        match self
            .stream
            .read(room)
            .map_err(|error| format!("receive: {error}"))?
        {
            0 => Err("the connection was closed".to_owned()),
            count => {
                self.unread.end += count;
                // A stream that fills the whole buffer at once deserves a larger one.
                if count == wanted && self.buffer.len() < BUFFER_BYTES_MAX {
                    self.buffer.resize(self.buffer.len() * 2, 0);
                }
                Ok(())
            }
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn refusal(payload: &[u8]) -> String {
    match ServerError::decode(payload, Capabilities::PROTOCOL_41) {
        Ok(error) => format!("error {}: {}", error.code, error.text()),
        Err(error) => error.to_string(),
    }
}
