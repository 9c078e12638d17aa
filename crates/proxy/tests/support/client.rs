//! A raw MySQL client: one socket, any capabilities, commands as bytes.
//!
//! Owns the login, framing, compression and TLS of one connection. It must never repair or skip what a server sends: a wrong
//! sequence number or a missing packet is an error here. Input: options of the test, and a server's bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use dbmesh_wire::auth::{
    ClientAuth, ClientStep, Plugin, Secret, ServerKey, Transport, scramble_caching_sha2,
    scramble_native,
};
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec::{self, HEADER_BYTES, Header};
use dbmesh_wire::command::ChangeUser;
use dbmesh_wire::compress::{Algorithm, Compressor, Decompressor};
use dbmesh_wire::greeting::{FirstReply, NONCE_BYTES};
use dbmesh_wire::handshake::HandshakeResponse;
use rustls::pki_types::ServerName;

use super::reply::{Part, Reply};

/// Longer than any statement of a scenario, in case a server never answers.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// How to log in.
#[derive(Clone, Debug)]
pub struct Options {
    /// Capabilities asked for; what the server lacks is left out.
    pub capabilities: Capabilities,
    /// Default schema.
    pub schema: Option<String>,
    /// Collation id of the handshake.
    pub collation: u16,
}

/// What every client of these tests has.
const BASE: Capabilities = Capabilities(
    Capabilities::LONG_PASSWORD.0
        | Capabilities::LONG_FLAG.0
        | Capabilities::PROTOCOL_41.0
        | Capabilities::TRANSACTIONS.0
        | Capabilities::SECURE_CONNECTION.0
        | Capabilities::PLUGIN_AUTH.0
        | Capabilities::PLUGIN_AUTH_LENENC_DATA.0
        | Capabilities::MULTI_RESULTS.0
        | Capabilities::PS_MULTI_RESULTS.0,
);

impl Default for Options {
    fn default() -> Self {
        Self {
            capabilities: BASE | Capabilities::DEPRECATE_EOF,
            schema: Some("twin".to_owned()),
            collation: 45,
        }
    }
}

impl Options {
    /// Options named by words: `eof`, `track`, `found_rows`, `multi`, `attributes`, `zlib`, `zstd`, `tls`, `nodb`,
    /// `ignore_space`, `extended` (a client of MariaDB), `collation=33`.
    pub fn of_words(words: &[String]) -> Self {
        let mut options = Self::default();
        for word in words {
            let flag = match word.as_str() {
                "eof" => {
                    options.capabilities =
                        options.capabilities.difference(Capabilities::DEPRECATE_EOF);
                    continue;
                }
                "nodb" => {
                    options.schema = None;
                    continue;
                }
                "track" => Capabilities::SESSION_TRACK,
                "found_rows" => Capabilities::FOUND_ROWS,
                "multi" => Capabilities::MULTI_STATEMENTS,
                "attributes" => Capabilities::QUERY_ATTRIBUTES,
                "zlib" => Capabilities::COMPRESS,
                "zstd" => Capabilities::ZSTD_COMPRESSION_ALGORITHM,
                "tls" => Capabilities::SSL,
                "ignore_space" => Capabilities::IGNORE_SPACE,
                "extended" => {
                    options.capabilities =
                        options.capabilities.difference(Capabilities::LONG_PASSWORD);
                    Capabilities::EXTENDED_METADATA
                }
                other => match other
                    .strip_prefix("collation=")
                    .and_then(|id| id.parse().ok())
                {
                    Some(id) => {
                        options.collation = id;
                        continue;
                    }
                    None => panic!("unknown option {other:?}"),
                },
            };
            options.capabilities |= flag;
        }
        options
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>),
}

impl Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(s) => s.read(buffer),
            Self::Tls(s) => s.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(s) => s.write_all(bytes),
            Self::Tls(s) => s.write_all(bytes).and_then(|()| s.flush()),
        }
    }
}

struct Frames {
    out: Compressor,
    back: Decompressor,
    inbox: Vec<u8>,
}

/// One connection.
pub struct Client {
    stream: Stream,
    frames: Option<Frames>,
    inbox: Vec<u8>,
    /// What was agreed.
    pub capabilities: Capabilities,
    /// The connection id of the greeting.
    pub id: u32,
    /// The answer to the login.
    pub welcome: Reply,
    seq: u8,
    greeted_plugin: String,
}

/// What a command's answer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// OK, ERR or result sets.
    Results,
    /// The same, rows in the binary protocol.
    BinaryResults,
    /// OK, EOF or ERR.
    Single,
    /// COM_STMT_PREPARE.
    Prepare,
    /// COM_STMT_FETCH, for a statement of these columns.
    Fetch,
    /// COM_FIELD_LIST.
    Fields,
    /// COM_STATISTICS.
    Text,
    /// COM_CHANGE_USER.
    Login,
    /// Nothing comes.
    Nothing,
}

impl Client {
    /// Logs in as `app`.
    pub fn connect(port: u16, options: &Options) -> Result<Self, String> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let socket = TcpStream::connect(address).map_err(|e| format!("connect: {e}"))?;
        socket.set_nodelay(true).map_err(|e| e.to_string())?;
        socket
            .set_read_timeout(Some(ANSWER_LIMIT))
            .map_err(|e| e.to_string())?;
        let mut client = Self {
            stream: Stream::Plain(socket),
            frames: None,
            inbox: Vec::new(),
            capabilities: Capabilities::NONE,
            id: 0,
            welcome: Reply::default(),
            seq: 0,
            greeted_plugin: String::new(),
        };
        client.log_in(options)?;
        Ok(client)
    }

    fn log_in(&mut self, options: &Options) -> Result<(), String> {
        let greeting = match FirstReply::decode(&self.packet()?).map_err(|e| e.to_string())? {
            FirstReply::Greeting(greeting) => greeting,
            FirstReply::Refused(e) => {
                return Err(format!("refused: {} {}", e.code, e.as_err().text()));
            }
        };
        self.id = greeting.connection_id;
        self.greeted_plugin.clone_from(&greeting.auth_plugin);
        let schema = if options.schema.is_some() {
            Capabilities::CONNECT_WITH_DB
        } else {
            Capabilities::NONE
        };
        // MariaDB has no CLIENT_MYSQL bit; a MySQL client sets it all the same.
        let offered = greeting.capabilities | Capabilities::LONG_PASSWORD;
        self.capabilities = (options.capabilities | schema) & offered;
        let mut response = self.handshake_response(options);
        let mut transport = Transport::Plain;
        if self.capabilities.contains(Capabilities::SSL) {
            let mut payload = Vec::new();
            response.ssl_request().encode(&mut payload);
            self.send(&payload)?;
            self.start_tls()?;
            transport = Transport::Secure;
        }
        let mut auth = ClientAuth::new(
            Secret::new("app-password"),
            transport,
            &greeting.auth_plugin,
            greeting.nonce,
            ServerKey::Ask,
        );
        response.auth_response = auth.first_response().map_err(|e| e.to_string())?;
        response.auth_plugin = Some(auth.plugin().name().to_owned());
        let mut payload = Vec::new();
        response.encode(&mut payload);
        self.send(&payload)?;
        self.welcome = self.authenticate(auth)?;
        let algorithm = if self.capabilities.contains(Capabilities::COMPRESS) {
            Some(Algorithm::Zlib)
        } else if self
            .capabilities
            .contains(Capabilities::ZSTD_COMPRESSION_ALGORITHM)
        {
            Some(Algorithm::Zstd)
        } else {
            None
        };
        self.frames = algorithm.map(|a| Frames {
            out: Compressor::new(a, 0),
            back: Decompressor::new(a),
            inbox: Vec::new(),
        });
        Ok(())
    }

    fn handshake_response(&self, options: &Options) -> HandshakeResponse {
        HandshakeResponse {
            capabilities: self.capabilities,
            max_packet_bytes: 64 << 20,
            collation: options.collation,
            user: b"app".to_vec(),
            database: options.schema.as_ref().map(|s| s.clone().into_bytes()),
            zstd_level: self
                .capabilities
                .contains(Capabilities::ZSTD_COMPRESSION_ALGORITHM)
                .then_some(3),
            ..HandshakeResponse::default()
        }
    }

    fn authenticate(&mut self, mut auth: ClientAuth) -> Result<Reply, String> {
        loop {
            let payload = self.packet()?;
            if payload.first() == Some(&0xFF) {
                return Ok(Reply(vec![Part::error(&payload)]));
            }
            match auth.step(&payload).map_err(|e| e.to_string())? {
                ClientStep::Send(answer, next) => {
                    self.send(&answer)?;
                    auth = *next;
                }
                ClientStep::Receive(next) => auth = *next,
                ClientStep::Done => return Ok(Reply(vec![Part::ok(&payload, self.capabilities)?])),
            }
        }
    }

    fn start_tls(&mut self) -> Result<(), String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").map_err(|e| e.to_string())?;
        let session =
            rustls::ClientConnection::new(Arc::new(config), name).map_err(|e| e.to_string())?;
        let Stream::Plain(socket) = &self.stream else {
            return Err("TLS twice".to_owned());
        };
        let socket = socket.try_clone().map_err(|e| e.to_string())?;
        self.stream = Stream::Tls(Box::new(rustls::StreamOwned::new(session, socket)));
        Ok(())
    }

    /// Sends one command and reads its answer.
    pub fn run(&mut self, payload: &[u8], shape: Shape) -> Result<Reply, String> {
        self.command(&[payload])?;
        self.answer(shape)
    }

    /// Sends commands in one write.
    pub fn command(&mut self, payloads: &[&[u8]]) -> Result<(), String> {
        let mut bytes = Vec::new();
        for payload in payloads {
            codec::put_packet(&mut bytes, &mut 0, payload);
        }
        if let Some(frames) = &mut self.frames {
            frames.out.reset_sequence();
        }
        self.write(&bytes)
    }

    /// Reads the answer of one command.
    pub fn answer(&mut self, shape: Shape) -> Result<Reply, String> {
        self.seq = 1;
        match shape {
            Shape::Login => self.change_user_answer(),
            _ => Reply::read(self, shape),
        }
    }

    /// The payload of COM_CHANGE_USER to the same user, with a first answer that no nonce belongs to.
    pub fn change_user_payload(&self, schema: Option<&str>, collation: u16) -> Vec<u8> {
        let change = ChangeUser {
            user: b"app".to_vec(),
            database: schema.unwrap_or_default().as_bytes().to_vec(),
            collation: Some(collation),
            auth_plugin: Some(self.greeted_plugin.clone()),
            ..ChangeUser::default()
        };
        let mut payload = Vec::new();
        change.encode(&mut payload, self.capabilities);
        payload
    }

    fn change_user_answer(&mut self) -> Result<Reply, String> {
        for _ in 0..8 {
            let payload = self.packet()?;
            let answer = match payload.first() {
                Some(0x00) => return Ok(Reply(vec![Part::ok(&payload, self.capabilities)?])),
                Some(0xFE) => switch_answer(&payload)?,
                Some(0x01) if payload.get(1) == Some(&3) => continue,
                Some(0x01) => return Err("full authentication in COM_CHANGE_USER".to_owned()),
                _ => return Ok(Reply(vec![Part::error(&payload)])),
            };
            self.send(&answer)?;
        }
        Err("COM_CHANGE_USER without end".to_owned())
    }

    /// Closes as an application does, and waits until the server has closed too.
    pub fn quit(mut self) {
        let _ = self.command(&[&[1]]);
        let mut rest = [0; 256];
        for _ in 0..1000 {
            match self.stream.read(&mut rest) {
                Ok(n) if n > 0 => {}
                _ => return,
            }
        }
    }

    /// Waits at most this long for answers from now on.
    pub fn patience(&self, limit: Duration) {
        let socket = match &self.stream {
            Stream::Plain(s) => s,
            Stream::Tls(s) => &s.sock,
        };
        let _ = socket.set_read_timeout(Some(limit));
    }

    /// The next packet's payload, joined where it is continued.
    pub fn packet(&mut self) -> Result<Vec<u8>, String> {
        let mut payload = Vec::new();
        loop {
            while self.inbox.len() < HEADER_BYTES {
                self.fill()?;
            }
            let header = Header::first(&self.inbox).ok_or("no header")?;
            let end = HEADER_BYTES + header.len as usize;
            while self.inbox.len() < end {
                self.fill()?;
            }
            if header.seq != self.seq {
                return Err(format!(
                    "sequence number {} where {} is due",
                    header.seq, self.seq
                ));
            }
            self.seq = self.seq.wrapping_add(1);
            payload.extend_from_slice(&self.inbox[HEADER_BYTES..end]);
            self.inbox.drain(..end);
            if !header.is_continued() {
                return Ok(payload);
            }
        }
    }

    fn fill(&mut self) -> Result<(), String> {
        let mut chunk = [0; 16 << 10];
        let n = match self.stream.read(&mut chunk) {
            // Bytes of ours that were never read make a reset of it.
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => 0,
            other => other.map_err(|e| format!("read: {}", e.kind()))?,
        };
        if n == 0 {
            return Err("closed".to_owned());
        }
        match &mut self.frames {
            None => self.inbox.extend_from_slice(&chunk[..n]),
            Some(frames) => {
                frames.inbox.extend_from_slice(&chunk[..n]);
                let used = frames
                    .back
                    .decompress(&frames.inbox, &mut self.inbox)
                    .map_err(|e| e.to_string())?;
                frames.inbox.drain(..used);
            }
        }
        Ok(())
    }

    /// A packet that goes on where the exchange stands.
    fn send(&mut self, payload: &[u8]) -> Result<(), String> {
        let mut bytes = Vec::new();
        codec::put_packet(&mut bytes, &mut self.seq, payload);
        if let Some(frames) = &mut self.frames {
            frames.out.continue_sequence(frames.back.next_sequence());
        }
        self.write(&bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let framed = match &mut self.frames {
            None => None,
            Some(frames) => {
                let mut out = Vec::new();
                frames
                    .out
                    .compress(bytes, &mut out)
                    .map_err(|e| e.to_string())?;
                Some(out)
            }
        };
        self.stream
            .write_all(framed.as_deref().unwrap_or(bytes))
            .map_err(|e| format!("write: {}", e.kind()))
    }
}

/// The answer to an AuthSwitchRequest.
fn switch_answer(payload: &[u8]) -> Result<Vec<u8>, String> {
    let request =
        dbmesh_wire::auth::AuthSwitchRequest::decode(payload).map_err(|e| e.to_string())?;
    let nonce = request.data.get(..NONCE_BYTES).ok_or("short nonce")?;
    match Plugin::from_name(&request.plugin) {
        Plugin::CachingSha2 => Ok(scramble_caching_sha2(b"app-password", nonce).to_vec()),
        Plugin::Native => Ok(scramble_native(b"app-password", nonce).to_vec()),
        other => Err(format!("a switch to {other}")),
    }
}

/// Takes every certificate: what TLS protects is not examined here.
#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
