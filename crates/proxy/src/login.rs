//! A client's way in: greeting, TLS, credentials, the service it may use.
//!
//! Owns everything before a session exists. An unauthenticated client is a type without any way to run a command; what
//! comes out is a session or a closed connection. Unknown users, wrong passwords and wrong schemas look the same. It must
//! never log what a handshake holds beyond the user's name. Input: an accepted connection.

mod change_user;
mod judge;
mod lockout;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dbmesh_model::topology::{ClientTlsMode, Compression, LocalInfile, Role};
use dbmesh_wire::auth::{Plugin, generate_nonce};
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::charset;
use dbmesh_wire::compress::{Algorithm, ZSTD_DEFAULT_LEVEL};
use dbmesh_wire::greeting::Greeting;
use dbmesh_wire::handshake::{FirstRequest, HandshakeResponse};
use dbmesh_wire::status::Status;

use crate::backend::{Flavor, ServerFacts};
use crate::channel::{Channel, PacketError, Rewound, Stream};
use crate::client::Client;
use crate::fault::Fault;
use crate::listener::Accepted;
use crate::logins::Login;
use crate::process::Process;
use crate::record::Record;
use crate::registry::SessionHandle;
use crate::serving::Serving;
use crate::session::{Failure, Session, Start};
use crate::state::{Beginning, SessionState};
use crate::tracking::Tracking;
use crate::upstream::Member;
use crate::vector::Charset;
pub(crate) use judge::may_enter;
use judge::{Claim, judge};
pub use lockout::Lockout;

/// Largest packet before a client is known, in bytes.
const LOGIN_PACKET_BYTES_MAX: usize = 64 << 10;
/// Collation id of the greeting: utf8mb4_0900_ai_ci, or utf8mb4_general_ci for MariaDB.
const GREETING_COLLATION_MYSQL: u8 = 255;
const GREETING_COLLATION_MARIADB: u8 = 45;
/// The version shown while no server has been reached yet.
const VERSION_UNKNOWN: &str = "8.4.0-dbmesh";
/// How long a login under way may take once the process is told to stop.
const LOGIN_GRACE: Duration = Duration::from_secs(1);
/// How long a client may pause in the middle of a command, as net_read_timeout.
const CLIENT_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a greeting waits for the first server to tell its version.
const VERSION_WAIT: Duration = Duration::from_millis(1000);

/// What the proxy offers to every client.
const OFFERED: Capabilities = Capabilities(
    Capabilities::LONG_PASSWORD.0
        | Capabilities::FOUND_ROWS.0
        | Capabilities::LONG_FLAG.0
        | Capabilities::CONNECT_WITH_DB.0
        | Capabilities::NO_SCHEMA.0
        | Capabilities::ODBC.0
        | Capabilities::LOCAL_FILES.0
        | Capabilities::IGNORE_SPACE.0
        | Capabilities::PROTOCOL_41.0
        | Capabilities::INTERACTIVE.0
        | Capabilities::IGNORE_SIGPIPE.0
        | Capabilities::TRANSACTIONS.0
        | Capabilities::RESERVED.0
        | Capabilities::SECURE_CONNECTION.0
        | Capabilities::MULTI_STATEMENTS.0
        | Capabilities::MULTI_RESULTS.0
        | Capabilities::PS_MULTI_RESULTS.0
        | Capabilities::PLUGIN_AUTH.0
        | Capabilities::CONNECT_ATTRS.0
        | Capabilities::PLUGIN_AUTH_LENENC_DATA.0
        | Capabilities::SESSION_TRACK.0
        | Capabilities::DEPRECATE_EOF.0
        | Capabilities::QUERY_ATTRIBUTES.0,
);

/// Serves one accepted connection from greeting to end.
pub async fn serve(process: Arc<Process>, accepted: Accepted) {
    let limit = Duration::from_millis(accepted.first().service.limits.handshake_timeout_ms);
    let address = accepted.address;
    let mut entrant = Entrant::new(process.clone(), accepted);
    let draining = process.draining.waiter();
    let told_to_stop = async {
        draining.await;
        tokio::time::sleep(LOGIN_GRACE).await;
    };
    let entered = tokio::select! {
        entered = tokio::time::timeout(limit, entrant.enter()) => {
            entered.unwrap_or(Err(Failure::Fault(Fault::HandshakeTimeout)))
        }
        () = told_to_stop => Err(Failure::Fault(Fault::Draining)),
    };
    match entered {
        Ok(login) => {
            let zstd_level = login.zstd_level;
            let mut session = entrant.into_session(login);
            let id = session.id();
            if session.confirm_login().await.is_err() {
                session.leave().await;
                return;
            }
            session.record_login();
            let client = session.client_mut();
            client.channel.progress_timeout = Some(CLIENT_READ_TIMEOUT);
            start_compression(client, zstd_level);
            let reason = Box::pin(session.run()).await;
            tracing::debug!(session = id, reason = ?reason, "session ended");
        }
        Err(Failure::Fault(fault)) => {
            tracing::info!(address = ?address, fault = fault.blame().label(), code = fault.code().0, "login refused: {fault}");
            let metrics = &entrant.accepted.first().metrics;
            metrics.refused.fetch_add(1, Ordering::Relaxed);
            metrics.fault(fault.blame());
            entrant.record_refusal(&fault);
            let _ = entrant.client.fault(&fault).await;
            entrant.client.channel.shutdown().await;
        }
        Err(Failure::ClientLost | Failure::AnswerCut | Failure::Stopped) => {
            tracing::debug!(address = ?address, "client left during the handshake");
        }
    }
}

/// A client that is not authenticated yet.
struct Entrant {
    process: Arc<Process>,
    accepted: Accepted,
    client: Client,
    id: u32,
    nonce: [u8; 20],
    default_plugin: Plugin,
}

fn start_compression(client: &mut Client, zstd_level: u8) {
    if client
        .capabilities
        .contains(Capabilities::ZSTD_COMPRESSION_ALGORITHM)
    {
        client
            .channel
            .start_compression(Algorithm::Zstd, zstd_level);
    } else if client.capabilities.contains(Capabilities::COMPRESS) {
        client.channel.start_compression(Algorithm::Zlib, 0);
    }
}

/// What the login settled.
struct Entered {
    serving: Arc<Serving>,
    login: Login,
    user: String,
    schema: Option<Vec<u8>>,
    collation: u16,
    zstd_level: u8,
}

impl Entrant {
    /// A refused login is always in the audit, that of the listener's first service.
    fn record_refusal(&self, fault: &Fault) {
        let serving = self.accepted.first();
        let mut record = Record::new("login");
        let address = self.accepted.address;
        let address = address.map_or_else(|| "unix socket".to_owned(), |a| a.to_string());
        record
            .text("service", &serving.service.label())
            .text("client", &address)
            .text("outcome", "refused")
            .number("error", u64::from(fault.code().0));
        if let Fault::AccessDenied { user, .. } = fault {
            record.text("user", user);
        }
        serving.logs.note(record);
    }

    fn new(process: Arc<Process>, mut accepted: Accepted) -> Self {
        let id = process.registry.next_id();
        let stream = std::mem::replace(&mut accepted.stream, Stream::Closed);
        let client = Client {
            channel: Channel::new(stream),
            capabilities: Capabilities(0),
            seq: 0,
            tracking: Tracking::default(),
        };
        Self {
            process,
            accepted,
            client,
            id,
            nonce: [0; 20],
            default_plugin: Plugin::CachingSha2,
        }
    }

    async fn enter(&mut self) -> Result<Entered, Failure> {
        if let Some(limit) = self.accepted.refused {
            return Err(Fault::TooManyConnections(limit).into());
        }
        if self.process.memory.refuses() {
            return Err(Fault::MemoryShort.into());
        }
        self.greet().await?;
        let response = self.first_packet().await?;
        // From here on errors carry their SQLSTATE.
        self.client.capabilities = Capabilities::PROTOCOL_41;
        let tls_mode = self.accepted.first().service.tls.mode;
        if matches!(
            tls_mode,
            ClientTlsMode::Required | ClientTlsMode::VerifyClient
        ) && !self.client.channel.stream().is_secure()
        {
            return Err(Fault::TlsRequired.into());
        }
        let offered = self.offered();
        self.client.capabilities = response.capabilities.intersection(offered);
        let entered = self.judge_login(&response).await?;
        Ok(entered)
    }

    fn offered(&self) -> Capabilities {
        let mut offered = OFFERED;
        let service = &self.accepted.first().service;
        for compression in &service.compression {
            offered = offered.union(match compression {
                Compression::Zlib => Capabilities::COMPRESS,
                Compression::Zstd => Capabilities::ZSTD_COMPRESSION_ALGORITHM,
            });
        }
        if self
            .facts()
            .is_some_and(|facts| facts.flavor == Flavor::MariaDb)
        {
            // Offered is what such a server would offer.
            offered = offered.difference(Capabilities::QUERY_ATTRIBUTES);
            let shown = service.server_version.as_deref();
            if shown.is_none_or(|v| ServerFacts::parse_version(v).0 == Flavor::MariaDb) {
                offered = offered
                    .difference(Capabilities::LONG_PASSWORD)
                    .union(Capabilities::EXTENDED_METADATA);
            }
        }
        if service.limits.local_infile == LocalInfile::Refuse {
            // Servers then refuse LOAD DATA LOCAL themselves, and the transaction goes on.
            offered = offered.difference(Capabilities::LOCAL_FILES);
        }
        if self.accepted.first().tls.is_some()
            && matches!(
                self.client.channel.stream(),
                Stream::Tcp(_) | Stream::Server(_)
            )
        {
            offered = offered.union(Capabilities::SSL);
        }
        offered
    }

    async fn greet(&mut self) -> Result<(), Failure> {
        self.nonce =
            generate_nonce().map_err(|_| Fault::BadHandshake("no random numbers".into()))?;
        let version = self.version().await;
        let mariadb = ServerFacts::parse_version(&version).0 == Flavor::MariaDb;
        self.default_plugin = if mariadb {
            Plugin::Native
        } else {
            Plugin::CachingSha2
        };
        let greeting = Greeting {
            server_version: version,
            connection_id: self.id,
            nonce: self.nonce,
            capabilities: self.offered(),
            collation: self.greeting_collation(mariadb),
            status: Status::AUTOCOMMIT,
            auth_plugin: self.default_plugin.name().to_owned(),
        };
        let mut payload = Vec::new();
        greeting.encode(&mut payload);
        self.client.packet(&payload).await?;
        Ok(())
    }

    /// The server's own collation: drivers judge by it whether they must ask for another.
    fn greeting_collation(&self, mariadb: bool) -> u8 {
        let facts = self.facts();
        let name = facts
            .as_deref()
            .and_then(|f| f.default_of("collation_server"));
        let id = name.and_then(|name| charset::by_collation_name(std::str::from_utf8(name).ok()?));
        let unknown = if mariadb {
            GREETING_COLLATION_MARIADB
        } else {
            GREETING_COLLATION_MYSQL
        };
        id.and_then(|collation| u8::try_from(collation.id).ok())
            .unwrap_or(unknown)
    }

    /// What is known of the servers behind.
    fn facts(&self) -> Option<Arc<ServerFacts>> {
        let members = &self.accepted.first().upstream.members;
        members.iter().find_map(|m| m.pool.facts())
    }

    /// The configured version, else a server's own.
    async fn version(&self) -> String {
        let first = self.accepted.first();
        if let Some(version) = &first.service.server_version {
            return version.clone();
        }
        let known = || {
            first
                .upstream
                .members
                .iter()
                .find_map(|m| m.pool.facts())
                .map(|f| f.version.clone())
        };
        let deadline = Instant::now() + VERSION_WAIT;
        loop {
            if let Some(version) = known() {
                return version;
            }
            let unreachable = first
                .upstream
                .members
                .iter()
                .all(|m| m.pool.health.failures() > 0);
            if unreachable || Instant::now() >= deadline {
                return VERSION_UNKNOWN.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn first_packet(&mut self) -> Result<HandshakeResponse, Failure> {
        let mut payload = Vec::new();
        let mut seq = 1;
        loop {
            seq = self.receive(&mut payload, seq).await?;
            self.client.seq = seq;
            match FirstRequest::decode(&payload).map_err(|e| Fault::BadHandshake(e.to_string()))? {
                FirstRequest::Login(response) => return Ok(*response),
                FirstRequest::Tls(_) => {
                    if self.client.channel.stream().is_secure() {
                        return Err(Fault::BadHandshake("TLS asked for twice".into()).into());
                    }
                    self.upgrade().await?;
                }
            }
        }
    }

    async fn upgrade(&mut self) -> Result<(), Failure> {
        let Some(config) = self.accepted.first().tls.clone() else {
            return Err(Fault::BadHandshake("TLS is not offered here".into()).into());
        };
        // Nothing answers the request, so the client's first TLS bytes may have come with it. All that was read goes to
        // TLS: bytes in the clear fail there and never count as the client's.
        let unread = self.client.channel.take_unread();
        let Some(socket) = self.client.channel.stream_mut().take_socket() else {
            return Err(Failure::ClientLost);
        };
        if let Some(turn) = self.accepted.first().lane.turn_to_encrypt() {
            turn.await;
        }
        let acceptor = tokio_rustls::TlsAcceptor::from(config);
        let stream = acceptor
            .accept(Rewound::new(unread, socket))
            .await
            .map_err(|e| {
                tracing::info!(error = %e, "TLS handshake failed");
                Failure::ClientLost
            })?;
        *self.client.channel.stream_mut() = Stream::Server(Box::new(stream));
        Ok(())
    }

    async fn receive(&mut self, payload: &mut Vec<u8>, seq: u8) -> Result<u8, Failure> {
        match self
            .client
            .channel
            .read_packet(payload, seq, LOGIN_PACKET_BYTES_MAX)
            .await
        {
            Ok(Some(next)) => Ok(next),
            Ok(None) | Err(PacketError::Io(_)) => Err(Failure::ClientLost),
            Err(PacketError::Sequence { .. }) => {
                self.client.seq = seq.wrapping_add(1);
                Err(Fault::OutOfOrder.into())
            }
            Err(PacketError::TooLarge { next_seq } | PacketError::NoRoom { next_seq }) => {
                self.client.seq = next_seq;
                Err(Fault::PacketTooLarge.into())
            }
        }
    }

    async fn judge_login(&mut self, response: &HandshakeResponse) -> Result<Entered, Failure> {
        let claim = Claim {
            user: &response.user,
            database: response.database.as_deref(),
            plugin: response.auth_plugin.as_deref(),
            response: &response.auth_response,
        };
        let host = self.host();
        let (serving, login) = judge(
            &self.process,
            &self.accepted.services,
            &mut self.client,
            self.nonce,
            &self.default_plugin,
            &claim,
            &host,
        )
        .await?;
        let schema = claim
            .database
            .map(<[u8]>::to_vec)
            .or_else(|| serving.service.schema.clone().map(String::into_bytes));
        let user = String::from_utf8_lossy(&response.user).into_owned();
        Ok(Entered {
            serving,
            login,
            user,
            schema,
            collation: response.collation,
            zstd_level: response.zstd_level.unwrap_or(ZSTD_DEFAULT_LEVEL),
        })
    }

    fn host(&self) -> String {
        self.accepted.address.map_or_else(
            || "localhost".to_owned(),
            |a| a.ip().to_canonical().to_string(),
        )
    }

    fn into_session(self, entered: Entered) -> Session {
        let Entered {
            serving,
            login,
            user,
            schema,
            collation,
            ..
        } = entered;
        let handle = Arc::new(SessionHandle::new(
            self.id,
            user,
            self.accepted
                .address
                .map_or_else(|| "unix socket".to_owned(), |a: SocketAddr| a.to_string()),
            format!("{}/{}", serving.database_label(), serving.service.name),
            &self.process.clock,
            serving.service.limits.idle_timeout_ms,
        ));
        let registered = self.process.registry.enter(handle);
        serving.metrics.connections.fetch_add(1, Ordering::Relaxed);
        let charset = handshake_charset(&serving, collation);
        Session::new(Start {
            state: SessionState::fresh(schema.as_deref(), charset, beginning(&serving)),
            process: self.process,
            serving,
            client: self.client,
            registered,
            login,
            collation,
            nonce: self.nonce,
            place: self.accepted.place,
        })
    }
}

/// With what a session begins: as on the primary, as far as that is known. A server may have autocommit off by default.
pub(crate) fn beginning(serving: &Serving) -> Beginning {
    let upstream = &serving.upstream;
    let at_primary = |member: &&Arc<Member>| upstream.role_of(member) == Some(Role::Primary);
    let primary = upstream.members.iter().find(at_primary);
    let of_primary = primary.and_then(|m| m.pool.facts());
    let facts = of_primary.or_else(|| upstream.members.iter().find_map(|m| m.pool.facts()));
    let base = facts.map_or_else(Arc::default, |facts| facts.base.clone());
    let off = base.get("autocommit").map(AsRef::as_ref);
    let off = matches!(off, Some(b"0" | b"'OFF'"));
    (if off { Status(0) } else { Status::AUTOCOMMIT }, base)
}

/// The character set that a handshake with this collation id leads to.
pub(crate) fn handshake_charset(serving: &Serving, collation: u16) -> Charset {
    match serving.upstream.members.iter().find_map(|m| m.pool.facts()) {
        Some(facts) => facts.handshake_charset(collation),
        None => Charset::Handshake(collation),
    }
}
