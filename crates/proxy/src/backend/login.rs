//! Logging in to a server: TCP or Unix socket, TLS, authentication, session tracking.
//!
//! Owns the way from an endpoint to a connection in a known state. It must never send a password in clear text over a plain
//! transport, and asks for a server's public key only where TLS is not demanded. Input: an endpoint, the wanted state.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dbmesh_model::topology::{Address, BackendTlsMode, Compression, Endpoint};
use dbmesh_runtime::tls;
use dbmesh_wire::auth::{ClientAuth, ClientStep, Secret, ServerKey, Transport};
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec;
use dbmesh_wire::compress::{Algorithm, ZSTD_DEFAULT_LEVEL};
use dbmesh_wire::greeting::{FirstReply, Greeting};
use dbmesh_wire::handshake::{ConnectAttributes, HandshakeResponse};
use dbmesh_wire::status::Status;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};

use super::facts::OWN_CLIENT_CHARSET;
use super::{Backend, BackendError, Cell, Condition, Flags, Flavor, ServerFacts};
use crate::channel::{Channel, Stream};
use crate::fault::Fault;
use crate::prepared::ServerStatements;
use crate::vector::{Charset, Vector};

/// Largest packet before the login is done, in bytes.
const LOGIN_PACKET_BYTES_MAX: usize = 1 << 20;
/// Packet size announced to servers: their largest.
const PACKET_BYTES: u32 = 1 << 30;
/// The collation of connections whose session has one by name: every server knows utf8mb4_general_ci.
const NEUTRAL_COLLATION: u16 = 45;
/// A collation id that no MariaDB knows: MySQL's utf8mb4_0900_ai_ci.
const UNKNOWN_TO_MARIADB: u16 = 255;
/// When the kernel asks a silent peer whether it is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);
/// How long sent bytes may stay unacknowledged before the kernel gives the peer up.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why no connection came about.
#[derive(Debug)]
pub enum ConnectError {
    /// Not reachable, or it broke during the login.
    Unreachable(String),
    /// It took too long.
    Timeout(Duration),
    /// The server refused: wrong password, too many connections, unknown schema.
    Refused {
        /// Error number.
        code: u16,
        /// Message.
        message: String,
    },
    /// TLS is demanded and failed.
    Tls(String),
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "{why}"),
            Self::Timeout(after) => write!(f, "no answer within {} ms", after.as_millis()),
            Self::Refused { code, message } => write!(f, "server error {code}: {message}"),
            Self::Tls(why) => write!(f, "TLS: {why}"),
        }
    }
}

impl ConnectError {
    /// Whether the endpoint is at fault, so that others should be preferred. A wrong password or schema is not its fault.
    #[must_use]
    pub fn is_endpoint_down(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Timeout(_) => true,
            Self::Refused { code, .. } => matches!(code, 1040 | 1053 | 1129 | 1203),
            Self::Tls(_) => false,
        }
    }

    /// The error for the client.
    #[must_use]
    pub fn into_fault(self, endpoint: &str) -> Fault {
        Fault::ConnectFailed {
            endpoint: endpoint.to_owned(),
            reason: self.to_string(),
        }
    }
}

impl From<BackendError> for ConnectError {
    fn from(e: BackendError) -> Self {
        Self::Unreachable(e.to_string())
    }
}

impl From<io::Error> for ConnectError {
    fn from(e: io::Error) -> Self {
        Self::Unreachable(e.to_string())
    }
}

/// Opens connections to one endpoint.
#[derive(Debug)]
pub struct Dialer {
    endpoint: Arc<Endpoint>,
    tls: Option<Arc<rustls::ClientConfig>>,
    timeout: Duration,
}

impl Dialer {
    /// For this endpoint; a connection must be ready within `timeout`.
    ///
    /// # Errors
    /// TLS material that cannot be used.
    pub fn new(endpoint: Arc<Endpoint>, timeout: Duration) -> Result<Self, String> {
        let tls = tls::client_config(&endpoint.tls)
            .map_err(|e| format!("endpoint {}: {e}", endpoint.name))?;
        Ok(Self {
            endpoint,
            tls,
            timeout,
        })
    }

    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Opens a connection whose handshake asks for the schema and character set of `want`; the rest of the state is the
    /// server's default.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        &self,
        want: &Arc<Vector>,
        flags: Flags,
        known: Option<Arc<ServerFacts>>,
    ) -> Result<Backend, ConnectError> {
        match tokio::time::timeout(self.timeout, self.log_in(want, flags, known)).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Timeout(self.timeout)),
        }
    }

    async fn log_in(
        &self,
        want: &Arc<Vector>,
        flags: Flags,
        known: Option<Arc<ServerFacts>>,
    ) -> Result<Backend, ConnectError> {
        let mut channel = Channel::new(self.dial().await?);
        let mut payload = Vec::new();
        let greeting = match self
            .receive(&mut channel, &mut payload, 0)
            .await
            .map(|_| FirstReply::decode(&payload))?
        {
            Ok(FirstReply::Greeting(greeting)) => greeting,
            Ok(FirstReply::Refused(err)) => {
                return Err(ConnectError::Refused {
                    code: err.code,
                    message: err.as_err().text().into_owned(),
                });
            }
            Err(e) => return Err(ConnectError::Unreachable(e.to_string())),
        };
        let collation = match &want.charset {
            Charset::Handshake(id) => *id,
            // MariaDB takes its default for a collation that it does not know.
            Charset::Server
                if ServerFacts::parse_version(&greeting.server_version).0 == Flavor::MariaDb =>
            {
                UNKNOWN_TO_MARIADB
            }
            Charset::Server | Charset::Set(_) => NEUTRAL_COLLATION,
        };
        let response = self.response(&greeting, want, flags, collation);
        let capabilities = self.authenticate(&mut channel, &greeting, response).await?;
        let facts = known.filter(|f| f.version == greeting.server_version);
        self.set_up(
            channel,
            &greeting,
            (capabilities, flags),
            want,
            (collation, facts),
        )
        .await
    }

    async fn dial(&self) -> Result<Stream, ConnectError> {
        Ok(match &self.endpoint.address {
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                let socket = SockRef::from(&stream);
                let _ = socket.set_tcp_keepalive(
                    &TcpKeepalive::new()
                        .with_time(TCP_KEEPALIVE)
                        .with_interval(TCP_KEEPALIVE / 3),
                );
                let _ = socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT));
                Stream::Tcp(stream)
            }
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path).await?),
        })
    }

    fn response(
        &self,
        greeting: &Greeting,
        want: &Vector,
        flags: Flags,
        collation: u16,
    ) -> HandshakeResponse {
        let always = Capabilities(
            Capabilities::LONG_PASSWORD.0
                | Capabilities::LONG_FLAG.0
                | Capabilities::PROTOCOL_41.0
                | Capabilities::TRANSACTIONS.0
                | Capabilities::SECURE_CONNECTION.0
                | Capabilities::PLUGIN_AUTH.0
                | Capabilities::PLUGIN_AUTH_LENENC_DATA.0
                | Capabilities::CONNECT_ATTRS.0
                | Capabilities::SESSION_TRACK.0
                | Capabilities::DEPRECATE_EOF.0,
        );
        let mut capabilities = always.union(flags.0);
        if self.first_schema(want).is_some() {
            capabilities = capabilities.union(Capabilities::CONNECT_WITH_DB);
        }
        for compression in &self.endpoint.compression {
            let flag = match compression {
                Compression::Zlib => Capabilities::COMPRESS,
                Compression::Zstd => Capabilities::ZSTD_COMPRESSION_ALGORITHM,
            };
            if greeting.capabilities.contains(flag) {
                capabilities = capabilities.union(flag);
                break;
            }
        }
        // MariaDB leaves LONG_PASSWORD unset, and so must a client that means MariaDB's own flags.
        let capabilities = capabilities.intersection(greeting.capabilities);
        let zstd = capabilities.contains(Capabilities::ZSTD_COMPRESSION_ALGORITHM);
        HandshakeResponse {
            capabilities,
            max_packet_bytes: PACKET_BYTES,
            collation,
            user: self.endpoint.user.as_bytes().to_vec(),
            auth_response: Vec::new(),
            database: self.first_schema(want).map(|s| s.to_vec()),
            // Named before TLS as well: servers take the flags of the request for TLS as final.
            auth_plugin: Some(greeting.auth_plugin.clone()),
            attributes: capabilities.contains(Capabilities::CONNECT_ATTRS).then(|| {
                ConnectAttributes(vec![
                    ("program_name".into(), "dbmesh".into()),
                    ("_client_name".into(), "dbmesh".into()),
                ])
            }),
            zstd_level: zstd.then_some(ZSTD_DEFAULT_LEVEL),
        }
    }

    /// The schema in which a connection starts: the endpoint's own, unless the session has none. A session's schema is
    /// selected later, so that a wrong one is the session's fault and not the endpoint's.
    fn first_schema(&self, want: &Vector) -> Option<Arc<[u8]>> {
        want.schema.as_ref()?;
        self.endpoint.schema.as_deref().map(|s| s.as_bytes().into())
    }

    async fn authenticate(
        &self,
        channel: &mut Channel,
        greeting: &Greeting,
        mut response: HandshakeResponse,
    ) -> Result<Capabilities, ConnectError> {
        let mut seq = 1;
        if self.wants_tls(greeting, channel)? {
            let mut out = Vec::new();
            let mut payload = Vec::new();
            response.capabilities = response.capabilities.union(Capabilities::SSL);
            response.ssl_request().encode(&mut payload);
            codec::put_packet(&mut out, &mut seq, &payload);
            channel.write(&out).await?;
            self.upgrade(channel).await?;
        }
        let transport = match channel.stream() {
            Stream::Unix(_) => Transport::Local,
            stream if stream.is_secure() => Transport::Secure,
            _ => Transport::Plain,
        };
        let password = Secret::new(self.endpoint.password.expose().as_bytes().to_vec());
        let mut auth = ClientAuth::new(
            password,
            transport,
            &greeting.auth_plugin,
            greeting.nonce,
            ServerKey::Ask,
        );
        response.auth_response = auth.first_response().map_err(refused)?;
        response.auth_plugin = Some(auth.plugin().name().to_owned());
        let mut payload = Vec::new();
        response.encode(&mut payload);
        let mut out = Vec::new();
        codec::put_packet(&mut out, &mut seq, &payload);
        channel.write(&out).await?;
        loop {
            seq = self.receive(channel, &mut payload, seq).await?;
            match auth.step(&payload).map_err(refused)? {
                ClientStep::Done => break,
                ClientStep::Receive(next) => auth = *next,
                ClientStep::Send(bytes, next) => {
                    out.clear();
                    codec::put_packet(&mut out, &mut seq, &bytes);
                    channel.write(&out).await?;
                    auth = *next;
                }
            }
        }
        let agreed = response.capabilities;
        if agreed.contains(Capabilities::COMPRESS) {
            channel.start_compression(Algorithm::Zlib, 0);
        } else if agreed.contains(Capabilities::ZSTD_COMPRESSION_ALGORITHM) {
            channel.start_compression(Algorithm::Zstd, ZSTD_DEFAULT_LEVEL);
        }
        Ok(agreed)
    }

    fn wants_tls(&self, greeting: &Greeting, channel: &Channel) -> Result<bool, ConnectError> {
        let offered = greeting.capabilities.contains(Capabilities::SSL);
        match self.endpoint.tls.mode {
            BackendTlsMode::Disabled => Ok(false),
            // A Unix socket and the loopback cannot be overheard.
            BackendTlsMode::Preferred => {
                let overheard = !channel.stream().is_secure() && !self.is_local();
                Ok(offered && overheard && self.tls.is_some())
            }
            _ if !offered => Err(ConnectError::Tls("the server does not offer it".into())),
            _ => Ok(true),
        }
    }

    fn is_local(&self) -> bool {
        match &self.endpoint.address {
            Address::Tcp { host, .. } => {
                host == "localhost"
                    || host
                        .parse::<std::net::IpAddr>()
                        .is_ok_and(|ip| ip.is_loopback())
            }
            Address::Unix(_) => true,
        }
    }

    async fn upgrade(&self, channel: &mut Channel) -> Result<(), ConnectError> {
        let (Some(config), Some(socket)) = (&self.tls, channel.stream_mut().take_socket()) else {
            return Err(ConnectError::Tls("no TLS configuration".into()));
        };
        let host = match &self.endpoint.address {
            Address::Tcp { host, .. } => host.as_str(),
            Address::Unix(_) => "localhost",
        };
        let name = tls::server_name(host).map_err(|e| ConnectError::Tls(e.to_string()))?;
        let connector = tokio_rustls::TlsConnector::from(config.clone());
        let stream = connector
            .connect(name, socket)
            .await
            .map_err(|e| ConnectError::Tls(e.to_string()))?;
        *channel.stream_mut() = Stream::Client(Box::new(stream));
        Ok(())
    }

    async fn receive(
        &self,
        channel: &mut Channel,
        payload: &mut Vec<u8>,
        seq: u8,
    ) -> Result<u8, ConnectError> {
        match channel
            .read_packet(payload, seq, LOGIN_PACKET_BYTES_MAX)
            .await
        {
            Ok(Some(next)) => Ok(next),
            Ok(None) => Err(ConnectError::Unreachable(
                "the server closed the connection during the login".into(),
            )),
            Err(e) => Err(ConnectError::Unreachable(e.to_string())),
        }
    }

    async fn set_up(
        &self,
        channel: Channel,
        greeting: &Greeting,
        (capabilities, flags): (Capabilities, Flags),
        want: &Vector,
        (collation, facts): (u16, Option<Arc<ServerFacts>>),
    ) -> Result<Backend, ConnectError> {
        let now = Instant::now();
        let mut unknown = facts.is_none();
        let facts =
            facts.unwrap_or_else(|| Arc::new(ServerFacts::new(&greeting.server_version, &[])));
        let mut backend = Backend {
            channel,
            condition: Condition::Idle,
            facts,
            thread_id: u64::from(greeting.connection_id),
            capabilities,
            flags,
            vector: Arc::new(Vector::fresh(
                self.first_schema(want),
                Charset::Handshake(collation),
            )),
            last_insert_id: Some(0),
            statements: ServerStatements::default(),
            status: Status::AUTOCOMMIT,
            opened: now,
            schema_chosen: now,
            idle_since: now,
            last_session: 0,
            handshake_collation: collation,
            answer_seq: 1,
            scratch: Vec::new(),
        };
        if !unknown {
            let base = backend.ask_base().await?;
            let base = base.map_err(|e| server_refused(&e))?;
            unknown = base != *backend.facts.base;
        }
        if unknown {
            backend.learn_facts(&greeting.server_version).await?;
        }
        let charset = backend.facts.handshake_charset(collation);
        let base = backend.facts.base.clone();
        backend.vector = Arc::new(Vector::begun(self.first_schema(want), charset, base));
        backend.set_up().await?.map_err(|e| server_refused(&e))?;
        Ok(backend)
    }
}

impl Backend {
    /// What the server is, and with what its sessions begin now.
    async fn learn_facts(&mut self, version: &str) -> Result<(), ConnectError> {
        // The server's own limit of rows would cut the list.
        self.tell(b"SET SESSION sql_select_limit = 18446744073709551615")
            .await?;
        let variables = self.tell(b"SHOW SESSION VARIABLES").await?;
        self.tell(b"SET SESSION sql_select_limit = DEFAULT").await?;
        let asked = self.tell(OWN_CLIENT_CHARSET.as_bytes()).await?;
        let mut facts = ServerFacts::new(version, &variables);
        let charset = asked
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next());
        facts.own_client_charset = charset.flatten();
        let asked = self.tell(facts.base_sql.as_bytes()).await?;
        facts.base = Arc::new(facts.base_of(&asked));
        self.facts = Arc::new(facts);
        Ok(())
    }

    async fn tell(&mut self, sql: &[u8]) -> Result<Vec<Vec<Cell>>, ConnectError> {
        self.query(sql).await?.map_err(|e| server_refused(&e))
    }
}

fn server_refused(e: &super::ServerError) -> ConnectError {
    ConnectError::Refused {
        code: e.code,
        message: e.message.clone(),
    }
}

fn refused(e: dbmesh_wire::auth::ClientAuthError) -> ConnectError {
    match e {
        dbmesh_wire::auth::ClientAuthError::Refused(err) => ConnectError::Refused {
            code: err.code,
            message: err.as_err().text().into_owned(),
        },
        other => ConnectError::Tls(other.to_string()),
    }
}
