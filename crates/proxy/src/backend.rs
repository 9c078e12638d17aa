//! One connection to a server: login, set-up, and the proxy's own small commands on it.
//!
//! Owns the socket, the state vector that the connection has, and the statements prepared on it. It must never be reused
//! after an answer was not read to its end: every exchange marks it busy first and idle only when the answer was whole,
//! so that a dropped future leaves it marked. Input: an endpoint of the topology, and a server's bytes, which are as
//! untrusted as a client's.

mod answer;
mod facts;
mod login;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec;
use dbmesh_wire::command::CommandCode;
use dbmesh_wire::relay::{Hops, ItemFilter, Outcome, Progress, Relay, RelayError, Shape};
use dbmesh_wire::status::Status;

use crate::channel::{Channel, PacketError};
use crate::prepared::ServerStatements;
use crate::vector::{Base, Charset, Transition, Vector, transition};

use answer::decode_names;
pub(crate) use answer::{definitions_of, name_of, rows_of, server_error};
pub use facts::{Flavor, LAST_GTID, ServerFacts};
pub use login::{ConnectError, Dialer};

/// A schema that everybody may choose.
const ELSEWHERE: &[u8] = b"information_schema";
/// Largest answer that the proxy reads for itself, in bytes.
const OWN_ANSWER_BYTES_MAX: usize = 4 << 20;
/// Most rows that the proxy reads for itself.
pub(crate) const OWN_ANSWER_ROWS_MAX: usize = 10_000;

/// Why a connection is of no more use.
#[derive(Debug)]
pub enum BackendError {
    /// The socket failed or the server closed it.
    Lost(io::Error),
    /// The server broke the protocol.
    Protocol(String),
}

impl From<io::Error> for BackendError {
    fn from(e: io::Error) -> Self {
        if e.kind() == io::ErrorKind::InvalidData {
            Self::Protocol(e.to_string())
        } else {
            Self::Lost(e)
        }
    }
}

impl From<PacketError> for BackendError {
    fn from(e: PacketError) -> Self {
        match e {
            PacketError::Io(e) => e.into(),
            other => Self::Protocol(other.to_string()),
        }
    }
}

impl From<RelayError> for BackendError {
    fn from(e: RelayError) -> Self {
        Self::Protocol(e.to_string())
    }
}

impl From<dbmesh_wire::DecodeError> for BackendError {
    fn from(e: dbmesh_wire::DecodeError) -> Self {
        Self::Protocol(e.to_string())
    }
}

impl std::fmt::Display for BackendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lost(e) => write!(f, "connection lost: {e}"),
            Self::Protocol(what) => write!(f, "protocol broken: {what}"),
        }
    }
}

/// A server's error, as the proxy itself received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// Error number.
    pub code: u16,
    /// Its payload, to be passed on.
    pub payload: Vec<u8>,
    /// The message.
    pub message: String,
}

/// What the server answered to a command of the proxy's own.
pub type Answer<T> = Result<T, ServerError>;

/// One cell of an answer; `None` is NULL.
pub type Cell = Option<Vec<u8>>;

/// One row of an answer, with its columns' names.
pub type NamedRow = HashMap<String, Cell>;

/// What makes connections interchangeable: the client flags that change what the server does. They are fixed at login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flags(pub Capabilities);

impl Flags {
    /// The flags that change a server's behaviour. IGNORE_SPACE is not among them: it only adds to sql_mode, which is part
    /// of the session's vector.
    pub const MASK: Capabilities = Capabilities(
        Capabilities::FOUND_ROWS.0
            | Capabilities::INTERACTIVE.0
            | Capabilities::LOCAL_FILES.0
            | Capabilities::MULTI_STATEMENTS.0
            | Capabilities::MULTI_RESULTS.0
            | Capabilities::PS_MULTI_RESULTS.0
            | Capabilities::QUERY_ATTRIBUTES.0
            | Capabilities::EXTENDED_METADATA.0,
    );

    /// Those of a client.
    #[must_use]
    pub fn of(client: Capabilities) -> Self {
        Self(client.intersection(Self::MASK))
    }
}

/// Whether a connection is between answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Idle,
    /// An answer is due, or was not read to its end.
    Busy,
}

/// Where a handshake asked for a collation that MariaDB does not know, it takes its defaults; a reset then restores what an
/// earlier connection had asked for.
const UNSET_CHARSET: &str = "SET character_set_client = @@global.character_set_client, character_set_results = \
     @@global.character_set_results, collation_connection = @@global.collation_connection";

/// A connection to a server.
#[derive(Debug)]
pub struct Backend {
    channel: Channel,
    condition: Condition,
    /// What is known of the server.
    pub facts: Arc<ServerFacts>,
    /// The server's id of this connection.
    pub thread_id: u64,
    /// Capabilities agreed with the server.
    pub capabilities: Capabilities,
    /// The flags that the session's client asked for.
    pub flags: Flags,
    /// The restorable state it has.
    pub vector: Arc<Vector>,
    /// LAST_INSERT_ID() on it, if known.
    pub last_insert_id: Option<u64>,
    /// What is prepared on it.
    pub statements: ServerStatements,
    /// Status flags of its last answer.
    pub status: Status,
    /// When it was opened.
    pub opened: Instant,
    /// When its schema was chosen.
    pub schema_chosen: Instant,
    /// When it was last given back.
    pub idle_since: Instant,
    /// The session that used it last.
    pub last_session: u64,
    handshake_collation: u16,
    scratch: Vec<u8>,
    /// The number of the first packet of the answer to what was sent last.
    answer_seq: u8,
}

impl Backend {
    /// The channel, for relaying an answer.
    pub fn channel(&mut self) -> &mut Channel {
        &mut self.channel
    }

    /// Whether it is between answers, and so can be used by anybody.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.condition == Condition::Idle
    }

    /// Whether the server hung up, or spoke unasked.
    pub fn is_stale(&mut self) -> bool {
        self.condition != Condition::Idle || self.channel.is_stale()
    }

    /// Sends a command; its answer is due from now on.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn send(&mut self, packets: &[u8]) -> Result<(), BackendError> {
        self.condition = Condition::Busy;
        self.channel.begin_command();
        self.answer_seq = codec::seq_behind(packets);
        Ok(self.channel.write(packets).await?)
    }

    /// Sends a command whose payload is too large to be copied into packets first.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn send_large(&mut self, payload: &[u8]) -> Result<(), BackendError> {
        self.condition = Condition::Busy;
        self.channel.begin_command();
        self.answer_seq = 0;
        for (header, piece) in codec::frames(payload) {
            self.answer_seq = self.answer_seq.wrapping_add(1);
            self.channel.write(&header).await?;
            self.channel.write(piece).await?;
        }
        Ok(())
    }

    /// Sends a command that has no answer.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn send_unanswered(&mut self, packets: &[u8]) -> Result<(), BackendError> {
        self.send(packets).await?;
        self.condition = Condition::Idle;
        Ok(())
    }

    /// The number of the first packet of the answer to what was sent last.
    #[must_use]
    pub fn answer_seq(&self) -> u8 {
        self.answer_seq
    }

    /// Says that the answer was read to its end.
    pub fn answered(&mut self, status: Option<Status>) {
        if let Some(status) = status {
            self.status = status;
        }
        self.channel.rest();
        self.condition = if self.channel.has_unread() {
            Condition::Busy
        } else {
            Condition::Idle
        };
    }

    fn packet(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        codec::put_packet(&mut out, &mut 0, payload);
        out
    }

    /// Runs a command of the proxy's own and reads its whole answer; rows and all.
    ///
    /// # Errors
    /// [`BackendError`]; the server's own error is the inner result.
    pub async fn run(
        &mut self,
        payload: &[u8],
        shape: Shape,
    ) -> Result<Answer<(Outcome, Vec<u8>)>, BackendError> {
        let out = self.packet(payload);
        self.send(&out).await?;
        self.scratch = out;
        self.read_answer(shape).await
    }

    /// The two ends of an answer that the proxy reads for itself, in the form that is simplest to read.
    #[must_use]
    pub fn own_hops(&self) -> Hops {
        Hops {
            backend: self.capabilities,
            client: Capabilities::DEPRECATE_EOF.union(Capabilities::SESSION_TRACK),
            backend_seq: self.answer_seq,
            client_seq: 1,
            status: self.status,
            numbering: self.channel.numbering(),
            filter: ItemFilter::Fixed(|_| true),
            more: Status::NONE,
            names: None,
        }
    }

    /// Reads the answer of a command that was sent.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn read_answer(
        &mut self,
        shape: Shape,
    ) -> Result<Answer<(Outcome, Vec<u8>)>, BackendError> {
        let mut relay = Relay::new(shape, self.own_hops());
        let mut bytes = Vec::new();
        loop {
            let (taken, progress) = relay.feed(self.channel.inbox().unread(), &mut bytes)?;
            self.channel.consume(taken);
            match progress {
                Progress::Done => break,
                Progress::LocalInfile(_) => {
                    return Err(BackendError::Protocol("unasked LOCAL INFILE".into()));
                }
                Progress::More => {}
            }
            if bytes.len() > OWN_ANSWER_BYTES_MAX {
                return Err(BackendError::Protocol("answer too large".into()));
            }
            if self.channel.fill().await? == 0 {
                return Err(BackendError::Lost(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        let outcome = relay.into_outcome();
        self.answered(outcome.status);
        if outcome.error.is_some() {
            let payload = bytes
                .get(codec::HEADER_BYTES..)
                .unwrap_or_default()
                .to_vec();
            return Ok(Err(server_error(payload)?));
        }
        Ok(Ok((outcome, bytes)))
    }

    /// Runs a statement of the proxy's own and gives its rows.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn query(&mut self, sql: &[u8]) -> Result<Answer<Vec<Vec<Cell>>>, BackendError> {
        let payload = self.query_payload(sql);
        let (outcome, bytes) = match self.run(&payload, Shape::Results).await? {
            Ok(answer) => answer,
            Err(e) => return Ok(Err(e)),
        };
        if outcome.result_sets == 0 {
            return Ok(Ok(Vec::new()));
        }
        Ok(Ok(rows_of(&bytes)?))
    }

    /// Runs a statement of the proxy's own and gives its rows with the names of their columns, in lower case.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn query_named(&mut self, sql: &[u8]) -> Result<Answer<Vec<NamedRow>>, BackendError> {
        let payload = self.query_payload(sql);
        let (outcome, bytes) = match self.run(&payload, Shape::Results).await? {
            Ok(answer) => answer,
            Err(e) => return Ok(Err(e)),
        };
        if outcome.result_sets == 0 {
            return Ok(Ok(Vec::new()));
        }
        let names = decode_names(&bytes)?;
        let rows = rows_of(&bytes)?.into_iter();
        Ok(Ok(rows
            .map(|row| names.iter().cloned().zip(row).collect())
            .collect()))
    }

    /// COM_QUERY with this text, as this connection's capabilities want it.
    #[must_use]
    pub fn query_payload(&self, sql: &[u8]) -> Vec<u8> {
        let mut payload = Vec::with_capacity(sql.len() + 3);
        payload.push(CommandCode::Query as u8);
        if self.capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
            payload.extend_from_slice(&[0, 1]);
        }
        payload.extend_from_slice(sql);
        payload
    }

    /// Brings the connection to this state.
    ///
    /// # Errors
    /// [`BackendError`]; a refused SET is the inner error and leaves the connection's state unknown.
    pub async fn apply(&mut self, want: &Arc<Vector>) -> Result<Answer<Applied>, BackendError> {
        if Vector::same(&self.vector, want) {
            return Ok(Ok(Applied::Done));
        }
        let mut wanted = self.with_base(want);
        let mut step = transition(&self.vector, &wanted);
        if step == Transition::Reset {
            if let Err(e) = self.reset().await? {
                return Ok(Err(e));
            }
            wanted = self.with_base(want);
            step = transition(&self.vector, &wanted);
        }
        let want = &wanted;
        match step {
            Transition::None => {}
            Transition::Reset | Transition::Reconnect => {
                return Ok(Ok(Applied::NeedsNewConnection));
            }
            Transition::Change {
                set,
                set_users,
                schema,
            } => {
                for set in [set, set_users].iter().filter(|set| !set.is_empty()) {
                    let payload = self.query_payload(set);
                    if let Err(e) = self.run(&payload, Shape::Results).await? {
                        return Ok(Err(e));
                    }
                }
                if let Some(schema) = schema
                    && let Err(e) = self.choose_schema(&schema).await?
                {
                    // All but the schema is as wanted: the connection is good.
                    let mut vector = Vector::clone(want);
                    vector.schema.clone_from(&self.vector.schema);
                    vector.rehash();
                    self.vector = Arc::new(vector);
                    return Ok(Ok(Applied::SchemaRefused(e)));
                }
            }
        }
        self.vector = want.clone();
        Ok(Ok(Applied::Done))
    }

    /// COM_INIT_DB.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn choose_schema(&mut self, schema: &[u8]) -> Result<Answer<()>, BackendError> {
        let mut payload = vec![CommandCode::InitDb as u8];
        payload.extend_from_slice(schema);
        self.schema_chosen = Instant::now();
        Ok(self.run(&payload, Shape::Single).await?.map(|_| ()))
    }

    /// Chooses the schema that is chosen already, with the collation that it has now.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn choose_schema_again(
        &mut self,
        schema: &Arc<[u8]>,
    ) -> Result<Answer<()>, BackendError> {
        if self.facts.flavor == Flavor::MariaDb {
            // It does nothing where that one is chosen already.
            if let Err(e) = self.choose_schema(ELSEWHERE).await? {
                return Ok(Err(e));
            }
            self.move_to_schema(ELSEWHERE.into());
        }
        if let Err(e) = self.choose_schema(schema).await? {
            return Ok(Err(e));
        }
        self.move_to_schema(schema.clone());
        Ok(Ok(()))
    }

    fn move_to_schema(&mut self, schema: Arc<[u8]>) {
        if self.vector.schema.as_ref() != Some(&schema) {
            let vector = Arc::make_mut(&mut self.vector);
            vector.schema = Some(schema);
            vector.rehash();
        }
    }

    /// What is wanted; a session that does not know yet with what values it began takes those that are there.
    fn with_base(&self, want: &Arc<Vector>) -> Arc<Vector> {
        if !want.base.is_unknown() || self.vector.base.is_unknown() {
            return want.clone();
        }
        let mut vector = Vector::clone(want);
        vector.base = self.vector.base.clone();
        vector.rehash();
        Arc::new(vector)
    }

    /// The values with which a session begins on this connection; it must not have been changed since login or reset.
    async fn ask_base(&mut self) -> Result<Answer<Base>, BackendError> {
        let facts = self.facts.clone();
        let asked = self.query(facts.base_sql.as_bytes()).await?;
        Ok(asked.map(|rows| facts.base_of(&rows)))
    }

    /// COM_RESET_CONNECTION, and the set-up that it undoes.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn reset(&mut self) -> Result<Answer<()>, BackendError> {
        if let Err(e) = self
            .run(&[CommandCode::ResetConnection as u8], Shape::Single)
            .await?
        {
            return Ok(Err(e));
        }
        if let Some(schema) = self.vector.schema.clone() {
            // A reset keeps the schema but forgets its collation: choosing it again brings that back.
            if let Err(e) = self.choose_schema(&schema).await? {
                return Ok(Err(e));
            }
        }
        self.statements.clear();
        self.last_insert_id = Some(0);
        let charset = match (&self.facts.flavor, &self.vector.charset) {
            // MariaDB keeps what the handshake asked for.
            (Flavor::MariaDb, _) => self.facts.handshake_charset(self.handshake_collation),
            (Flavor::MySql, _) => Charset::Server,
        };
        let is_unset = self.facts.flavor == Flavor::MariaDb && charset == Charset::Server;
        let base = match self.ask_base().await? {
            Ok(base) if base == *self.facts.base => self.facts.base.clone(),
            Ok(base) => Arc::new(base),
            Err(e) => return Ok(Err(e)),
        };
        let schema = self.vector.schema.clone();
        self.vector = Arc::new(Vector::begun(schema, charset, base));
        let done = self.set_up().await?;
        if done.is_err() || !is_unset {
            return Ok(done);
        }
        let payload = self.query_payload(UNSET_CHARSET.as_bytes());
        Ok(self.run(&payload, Shape::Results).await?.map(|_| ()))
    }

    /// Turns session tracking on. It must run before anybody's statement.
    async fn set_up(&mut self) -> Result<Answer<()>, BackendError> {
        let payload = self.query_payload(self.facts.tracking_sql.clone().as_bytes());
        Ok(self.run(&payload, Shape::Results).await?.map(|_| ()))
    }

    /// Says good-bye; the server then frees what the connection holds.
    pub async fn quit(mut self) {
        if self.condition == Condition::Idle {
            let _ = self
                .channel
                .write(&[1, 0, 0, 0, CommandCode::Quit as u8])
                .await;
        }
        self.channel.shutdown().await;
    }
}

/// Whether [`Backend::apply`] could do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The connection has the state.
    Done,
    /// The server refused the schema; the rest is done.
    SchemaRefused(ServerError),
    /// No command leads there; a new connection has it.
    NeedsNewConnection,
}
