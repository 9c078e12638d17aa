//! A client that shows every packet.
//!
//! Owns one connection to the proxy. It must never repair what the proxy sends: a wrong number or a cut packet is a
//! failure that the test sees. Input: payloads and bytes of the test.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dbmesh_wire::auth::{ClientAuth, ClientStep, Secret, ServerKey, Transport};
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec::{HEADER_BYTES, Header, Reader, put_packet};
use dbmesh_wire::compress::{Algorithm, Compressor, Decompressor};
use dbmesh_wire::greeting::{FirstReply, Greeting};
use dbmesh_wire::handshake::{HandshakeResponse, SslRequest};

/// How long a client waits for bytes before it calls the proxy silent.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What every client of the kit asks for.
pub const USUAL: Capabilities = Capabilities(
    Capabilities::LONG_PASSWORD.0
        | Capabilities::LONG_FLAG.0
        | Capabilities::PROTOCOL_41.0
        | Capabilities::TRANSACTIONS.0
        | Capabilities::SECURE_CONNECTION.0
        | Capabilities::MULTI_RESULTS.0
        | Capabilities::PLUGIN_AUTH.0
        | Capabilities::PLUGIN_AUTH_LENENC_DATA.0
        | Capabilities::DEPRECATE_EOF.0,
);

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// An error packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPacket {
    /// Error number.
    pub code: u16,
    /// SQLSTATE, if there is one.
    pub state: String,
    /// The message.
    pub message: String,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// OK.
    Ok,
    /// An error.
    Error(ErrorPacket),
    /// Rows in text.
    Rows(Vec<Vec<Option<String>>>),
    /// The connection ended, in order or by a reset.
    Closed,
    /// Nothing came for [`PATIENCE`], or less if the test said so.
    Silent,
}

impl Reply {
    /// The error's number.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Error(e) => Some(e.code),
            _ => None,
        }
    }

    /// The only value.
    ///
    /// # Panics
    /// When it is not one row with at least one value.
    pub fn value(&self) -> String {
        match self {
            Self::Rows(rows) if rows.len() == 1 => {
                rows[0][0].clone().unwrap_or_else(|| "NULL".to_owned())
            }
            other => panic!("not one row: {other:?}"),
        }
    }
}

/// What a login asks for.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
    /// The schema.
    pub schema: Option<String>,
    /// Capabilities beyond [`USUAL`].
    pub more: Capabilities,
    /// The plugin that the client insists on; the greeting's otherwise.
    pub plugin: Option<String>,
    /// The id of the collation that it asks for.
    pub collation: u16,
}

impl Credentials {
    /// The user of the kit's configurations.
    pub fn app() -> Self {
        Self::of("app", "app-password")
    }

    /// These.
    pub fn of(user: &str, password: &str) -> Self {
        Self {
            user: user.into(),
            password: password.into(),
            schema: None,
            more: Capabilities(0),
            plugin: None,
            collation: 45,
        }
    }

    /// With this collation.
    pub fn collation(mut self, id: u16) -> Self {
        self.collation = id;
        self
    }

    /// With a schema.
    pub fn schema(mut self, schema: &str) -> Self {
        self.schema = Some(schema.into());
        self.more = self.more.union(Capabilities::CONNECT_WITH_DB);
        self
    }

    /// With more capabilities.
    pub fn more(mut self, more: Capabilities) -> Self {
        self.more = self.more.union(more);
        self
    }

    /// With this plugin, whatever the greeting says.
    pub fn plugin(mut self, plugin: &str) -> Self {
        self.plugin = Some(plugin.into());
        self
    }
}

struct Frames {
    compressor: Compressor,
    decompressor: Decompressor,
    raw: Vec<u8>,
}

/// A raw client.
pub struct RawClient {
    stream: Box<dyn Stream>,
    tcp: Option<TcpStream>,
    inbox: Vec<u8>,
    frames: Option<Frames>,
    /// Number of the next packet in either direction.
    pub seq: u8,
    /// What was agreed.
    pub capabilities: Capabilities,
    /// The proxy's id of the connection.
    pub id: u32,
    secure: bool,
    /// Payloads of the login's packets from the proxy behind the greeting.
    pub login_packets: Vec<Vec<u8>>,
}

impl RawClient {
    /// Connects to a port of 127.0.0.1 and reads nothing.
    pub fn connect(port: u16) -> Self {
        Self::connect_from(Ipv4Addr::LOCALHOST, port)
    }

    /// Connects to a port of a loopback address.
    pub fn connect_from(address: Ipv4Addr, port: u16) -> Self {
        let tcp = TcpStream::connect_timeout(&SocketAddr::from((address, port)), PATIENCE).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        tcp.set_nodelay(true).unwrap();
        let stream = Box::new(tcp.try_clone().unwrap());
        Self::over(stream, Some(tcp), false)
    }

    /// Connects to a Unix socket.
    pub fn connect_unix(path: &Path) -> Self {
        let unix = UnixStream::connect(path).unwrap();
        unix.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::over(Box::new(unix), None, true)
    }

    fn over(stream: Box<dyn Stream>, tcp: Option<TcpStream>, secure: bool) -> Self {
        Self {
            stream,
            tcp,
            inbox: Vec::new(),
            frames: None,
            seq: 0,
            capabilities: Capabilities(0),
            id: 0,
            secure,
            login_packets: Vec::new(),
        }
    }

    /// Connects and logs in.
    ///
    /// # Panics
    /// When the login is refused.
    pub fn app(port: u16) -> Self {
        Self::logged_in(port, &Credentials::app())
    }

    /// Connects and logs in with these.
    ///
    /// # Panics
    /// When the login is refused.
    pub fn logged_in(port: u16, credentials: &Credentials) -> Self {
        let mut client = Self::connect(port);
        let reply = client.login(credentials);
        assert_eq!(reply, Reply::Ok, "login of {}", credentials.user);
        client
    }

    /// The plain socket, to stop reading or close one side.
    pub fn tcp(&self) -> &TcpStream {
        self.tcp.as_ref().unwrap()
    }

    /// Closes the side that writes.
    pub fn close_writing(&self) {
        let _ = self.tcp().shutdown(Shutdown::Write);
    }

    /// Waits no longer than this for bytes.
    pub fn patience(&self, limit: Duration) {
        self.tcp().set_read_timeout(Some(limit)).unwrap();
    }

    /// Reads the greeting.
    ///
    /// # Errors
    /// What came instead.
    pub fn greeting(&mut self) -> Result<Greeting, Reply> {
        let payload = self.packet().map_err(|e| ended(&e))?;
        match FirstReply::decode(&payload) {
            Ok(FirstReply::Greeting(greeting)) => {
                self.id = greeting.connection_id;
                Ok(greeting)
            }
            _ => Err(Reply::Error(error_packet(&payload))),
        }
    }

    /// Logs in behind the greeting, which is read first.
    pub fn login(&mut self, credentials: &Credentials) -> Reply {
        let greeting = match self.greeting() {
            Ok(greeting) => greeting,
            Err(reply) => return reply,
        };
        self.login_after(&greeting, credentials)
    }

    /// Logs in with a greeting already read.
    pub fn login_after(&mut self, greeting: &Greeting, credentials: &Credentials) -> Reply {
        let plugin = credentials
            .plugin
            .clone()
            .unwrap_or_else(|| greeting.auth_plugin.clone());
        let transport = if self.secure {
            Transport::Secure
        } else {
            Transport::Plain
        };
        let password = Secret::new(credentials.password.as_bytes().to_vec());
        let mut auth =
            ClientAuth::new(password, transport, &plugin, greeting.nonce, ServerKey::Ask);
        let capabilities = USUAL.union(credentials.more);
        let response = HandshakeResponse {
            capabilities,
            max_packet_bytes: 1 << 24,
            collation: credentials.collation,
            user: credentials.user.as_bytes().to_vec(),
            auth_response: auth.first_response().unwrap(),
            database: credentials.schema.as_ref().map(|s| s.as_bytes().to_vec()),
            auth_plugin: Some(plugin),
            zstd_level: capabilities
                .contains(Capabilities::ZSTD_COMPRESSION_ALGORITHM)
                .then_some(3),
            ..HandshakeResponse::default()
        };
        let mut payload = Vec::new();
        response.encode(&mut payload);
        self.send_next(&payload);
        self.capabilities = capabilities;
        loop {
            let payload = match self.packet() {
                Ok(payload) => payload,
                Err(e) => return ended(&e),
            };
            self.login_packets.push(payload.clone());
            if payload.first() == Some(&0xFF) {
                return Reply::Error(error_packet(&payload));
            }
            match auth.step(&payload) {
                Ok(ClientStep::Done) => break,
                Ok(ClientStep::Receive(next)) => auth = *next,
                Ok(ClientStep::Send(bytes, next)) => {
                    self.send_next(&bytes);
                    auth = *next;
                }
                Err(e) => panic!("login of {}: {e}", credentials.user),
            }
        }
        self.compress();
        Reply::Ok
    }

    fn compress(&mut self) {
        let algorithm = if self
            .capabilities
            .contains(Capabilities::ZSTD_COMPRESSION_ALGORITHM)
        {
            Algorithm::Zstd
        } else if self.capabilities.contains(Capabilities::COMPRESS) {
            Algorithm::Zlib
        } else {
            return;
        };
        self.frames = Some(Frames {
            compressor: Compressor::new(algorithm, 0),
            decompressor: Decompressor::new(algorithm),
            raw: Vec::new(),
        });
    }

    /// Asks for TLS behind the greeting, wraps the socket and gives the proxy's certificate.
    ///
    /// # Errors
    /// What the handshake says.
    pub fn start_tls(&mut self, config: Arc<rustls::ClientConfig>) -> io::Result<Vec<u8>> {
        let request = SslRequest {
            capabilities: USUAL.union(Capabilities::SSL),
            max_packet_bytes: 1 << 24,
            collation: 45,
        };
        let mut payload = Vec::new();
        request.encode(&mut payload);
        self.send_next(&payload);
        let name = "localhost".try_into().unwrap();
        let session = rustls::ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut tls = rustls::StreamOwned::new(session, self.tcp().try_clone()?);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        let chain = tls.conn.peer_certificates().unwrap_or_default();
        let certificate = chain.first().map(|c| c.to_vec()).unwrap_or_default();
        self.stream = Box::new(tls);
        self.secure = true;
        Ok(certificate)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The socket's.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Sends a command.
    pub fn command(&mut self, payload: &[u8]) {
        self.seq = 0;
        if let Some(frames) = &mut self.frames {
            frames.compressor.reset_sequence();
        }
        self.send_next(payload);
    }

    /// Sends a packet with the next number. A socket that is gone shows at the next read.
    pub fn send_next(&mut self, payload: &[u8]) {
        let mut out = Vec::new();
        put_packet(&mut out, &mut self.seq, payload);
        let bytes = match &mut self.frames {
            Some(frames) => {
                let mut framed = Vec::new();
                frames.compressor.compress(&out, &mut framed).unwrap();
                framed
            }
            None => out,
        };
        let _ = self.raw(&bytes);
    }

    /// The next packet's payload.
    ///
    /// # Errors
    /// The socket's; `UnexpectedEof` at the end, `InvalidData` when the number is wrong.
    pub fn packet(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(header) = Header::first(&self.inbox) {
                let end = HEADER_BYTES + header.len as usize;
                if self.inbox.len() >= end {
                    if header.seq != self.seq {
                        let what = format!("packet {} where {} is due", header.seq, self.seq);
                        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                    }
                    self.seq = header.seq.wrapping_add(1);
                    let payload = self.inbox[HEADER_BYTES..end].to_vec();
                    self.inbox.drain(..end);
                    return Ok(payload);
                }
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 << 10];
        let n = self.stream.read(&mut chunk)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match &mut self.frames {
            Some(frames) => {
                frames.raw.extend_from_slice(&chunk[..n]);
                let used = frames
                    .decompressor
                    .decompress(&frames.raw, &mut self.inbox)
                    .map_err(io::Error::other)?;
                frames.raw.drain(..used);
            }
            None => self.inbox.extend_from_slice(&chunk[..n]),
        }
        Ok(())
    }

    /// The answer to a command that was sent before others.
    pub fn next_reply(&mut self) -> Reply {
        self.seq = 1;
        self.reply()
    }

    /// Sends a statement and reads its first result.
    pub fn query(&mut self, sql: &str) -> Reply {
        self.begin_query(sql);
        self.reply()
    }

    /// Sends a statement.
    pub fn begin_query(&mut self, sql: &str) {
        let mut payload = vec![3];
        if self.capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
            payload.extend_from_slice(&[0, 1]);
        }
        payload.extend_from_slice(sql.as_bytes());
        self.command(&payload);
    }

    /// Reads one result.
    ///
    /// # Panics
    /// When the proxy breaks the protocol.
    pub fn reply(&mut self) -> Reply {
        match self.read_reply() {
            Ok(reply) => reply,
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                panic!("the proxy broke the protocol: {e}")
            }
            Err(e) => ended(&e),
        }
    }

    fn read_reply(&mut self) -> io::Result<Reply> {
        let first = self.packet()?;
        match first.first() {
            Some(0) => return Ok(Reply::Ok),
            Some(0xFE) if first.len() < 9 => return Ok(Reply::Ok),
            Some(0xFF) => return Ok(Reply::Error(error_packet(&first))),
            _ => {}
        }
        let columns = Reader::new(&first).lenenc_int().map_err(io::Error::other)?;
        for _ in 0..columns {
            let definition = self.packet()?;
            if definition.first() == Some(&0xFF) {
                return Ok(Reply::Error(error_packet(&definition)));
            }
        }
        let mut rows = Vec::new();
        loop {
            let payload = self.packet()?;
            match payload.first() {
                Some(0xFE) => return Ok(Reply::Rows(rows)),
                Some(0xFF) => return Ok(Reply::Error(error_packet(&payload))),
                _ => rows.push(text_row(&payload, columns)?),
            }
        }
    }

    /// Whether the connection is closed: reads away what still comes.
    pub fn is_closed(&mut self) -> bool {
        loop {
            match self.packet() {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::InvalidData => return true,
                Err(e) => return ended(&e) == Reply::Closed,
            }
        }
    }

    /// COM_PING.
    pub fn ping(&mut self) -> Reply {
        self.command(&[0x0E]);
        self.reply()
    }
}

fn text_row(payload: &[u8], columns: u64) -> io::Result<Vec<Option<String>>> {
    let mut reader = Reader::new(payload);
    let mut row = Vec::new();
    for _ in 0..columns {
        let cell = reader
            .lenenc_bytes_or_null()
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
        row.push(cell.map(|bytes| String::from_utf8_lossy(bytes).into_owned()));
    }
    Ok(row)
}

fn ended(error: &io::Error) -> Reply {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Reply::Silent,
        _ => Reply::Closed,
    }
}

/// Decodes an error packet, with or without SQLSTATE.
pub fn error_packet(payload: &[u8]) -> ErrorPacket {
    assert_eq!(payload.first(), Some(&0xFF), "no error packet: {payload:?}");
    let code = u16::from_le_bytes([payload[1], payload[2]]);
    let text = String::from_utf8_lossy(&payload[3..]).into_owned();
    match text.strip_prefix('#') {
        Some(rest) => ErrorPacket {
            code,
            state: rest[..5].to_owned(),
            message: rest[5..].to_owned(),
        },
        None => ErrorPacket {
            code,
            state: String::new(),
            message: text,
        },
    }
}
