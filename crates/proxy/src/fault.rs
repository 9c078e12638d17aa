//! Every error that dbmesh itself answers: whose fault it is, what it says, which MySQL code it carries.
//!
//! Owns the one table from [`Fault`] to error number and SQLSTATE. A server's own error never passes through here: it
//! reaches the client as it came. No text may hold a secret or a literal of a statement.

mod governing;

use std::fmt;

/// Who caused an error: the label of the metric, and who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The client sent something wrong, or asked for what it may not have.
    Client,
    /// A server failed.
    Backend,
    /// dbmesh or its configuration.
    Mesh,
}

impl Blame {
    /// All, in the order of [`Self::index`].
    pub const ALL: [Self; 3] = [Self::Client, Self::Backend, Self::Mesh];

    /// The metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Backend => "backend",
            Self::Mesh => "mesh",
        }
    }

    /// Position in [`Self::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// What becomes of the client's session after the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The session goes on.
    Continue,
    /// The connection is closed behind the error.
    Close,
}

/// What had become of a statement when its time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// It had not been sent to a server.
    Waiting,
    /// The server ended it.
    Ended,
    /// The server did not end it, and its connection was closed.
    Abandoned {
        /// Whether the session's state was lost with it.
        state_lost: bool,
    },
}

/// An error answered by dbmesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Wrong user, password or schema rights; who tried from where, and whether a password came.
    AccessDenied {
        /// The user named.
        user: String,
        /// The client's host.
        host: String,
        /// "YES" or "NO".
        password: bool,
    },
    /// The process, user or address has its limit of connections.
    TooManyConnections(&'static str),
    /// TLS is required and was not used.
    TlsRequired,
    /// The handshake could not be understood.
    BadHandshake(String),
    /// The handshake took too long.
    HandshakeTimeout,
    /// A packet's number was not the next one.
    OutOfOrder,
    /// A packet is larger than the limit.
    PacketTooLarge,
    /// The memory of all large commands is in use.
    NoMemoryForCommand,
    /// A command that dbmesh does not serve.
    UnknownCommand,
    /// A command that dbmesh never forwards.
    CommandRefused(&'static str),
    /// A command that could not be decoded.
    Malformed(&'static str),
    /// A prepared statement that this session does not have.
    UnknownStatement {
        /// Its id.
        id: u32,
        /// The command.
        command: &'static str,
    },
    /// COM_STMT_FETCH without an open cursor.
    NoCursor(u32),
    /// More prepared statements than a session may hold.
    TooManyStatements(u32),
    /// A statement that can only be sent as text.
    NotPreparable(&'static str),
    /// No connection became free in time.
    PoolTimeout {
        /// Time waited, in ms.
        waited_ms: u64,
        /// Limit of the pool.
        size: u32,
        /// The endpoint.
        endpoint: String,
    },
    /// The process is near its limit of memory.
    MemoryShort,
    /// Too much failed at the endpoint: it is spared.
    BreakerOpen(String),
    /// No endpoint can take the statement.
    NoEndpoint(String),
    /// A server could not be reached, or refused the login.
    ConnectFailed {
        /// The endpoint.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// The server's connection broke while a statement was under way.
    BackendLost {
        /// The endpoint.
        endpoint: String,
        /// Whether the session's state was lost with it.
        state_lost: bool,
    },
    /// The server's connection broke while COMMIT was under way: committed or not, nobody knows.
    CommitUnknown(String),
    /// A transaction over several nodes was rolled back at its COMMIT: why.
    RolledBack(String),
    /// The server sent what is no MySQL protocol.
    BackendProtocol {
        /// The endpoint.
        endpoint: String,
        /// What was wrong.
        what: String,
        /// Whether the session's state was lost with it.
        state_lost: bool,
    },
    /// Session state could not be restored on another connection.
    StateReplay {
        /// The server's error number.
        code: u16,
        /// The server's message.
        message: String,
    },
    /// A statement that must be prepared again is refused by the server: what it says.
    Server {
        /// The server's error number.
        code: u16,
        /// Its SQLSTATE.
        sqlstate: String,
        /// The server's message.
        message: String,
    },
    /// The session's schema does not exist any more, or may not be used: what the server says.
    Schema {
        /// The server's error number.
        code: u16,
        /// The server's message.
        message: String,
    },
    /// The process is being stopped.
    Draining,
    /// KILL QUERY by another session while dbmesh held the statement.
    Interrupted,
    /// KILL CONNECTION.
    Killed,
    /// Idle for longer than wait_timeout.
    IdleTimeout,
    /// No such thread.
    UnknownThread(u64),
    /// Somebody else's thread.
    NotOwner(u64),
    /// KILL of something that is no number.
    KillTarget,
    /// A statement matched a deny rule.
    Denied(String),
    /// A deny rule cannot be told to match or not: the text, or what it uses, is not known.
    DeniedUnknown(String),
    /// What a user may not do: a server's code and words for it.
    Forbidden {
        /// Its error number.
        code: u16,
        /// Its message.
        message: String,
    },
    /// A statement that is not on the user's allow-list: its digest.
    NotListed(String),
    /// A statement matched a rule whose rate is used up.
    RateExceeded(String),
    /// A statement matched a concurrency rule that is full.
    TooBusy(String),
    /// The server asked for a file that the statement does not name.
    LocalInfileRefused,
    /// A hint that cannot be followed: why.
    Hint(String),
    /// Hints that the user may not use: which.
    HintDenied(&'static str),
    /// An audit that may miss no statement cannot be written: why.
    AuditFailing(String),
    /// What only operators of the service may ask for.
    OperatorOnly(&'static str),
    /// A statement that cannot run where it must: why.
    Misplaced(String),
    /// A statement whose key is another site's, or nobody's, or on its way: why.
    Unit(String),
    /// A statement that tables which are split do not serve: why.
    Sharding(String),
    /// A statement took too long.
    Overdue {
        /// The limit, in ms.
        limit_ms: u64,
        /// What had become of it.
        when: Overdue,
    },
    /// Diagnostics of the last statement are gone with its connection.
    DiagnosticsGone(&'static str),
}

impl Fault {
    /// MySQL error number and SQLSTATE.
    #[must_use]
    pub fn code(&self) -> (u16, &'static str) {
        match self {
            Self::AccessDenied { .. } => (1045, "28000"),
            Self::TooManyConnections(_) => (1040, "08004"),
            Self::TlsRequired => (3159, "HY000"),
            Self::BadHandshake(_) => (1043, "08S01"),
            Self::HandshakeTimeout => (1159, "08S01"),
            Self::OutOfOrder => (1156, "08S01"),
            Self::PacketTooLarge => (1153, "08S01"),
            Self::NoMemoryForCommand => (1041, "HY000"),
            Self::UnknownCommand => (1047, "08S01"),
            Self::CommandRefused(_) => (1227, "42000"),
            Self::Malformed(_) => (1835, "HY000"),
            Self::UnknownStatement { .. } => (1243, "HY000"),
            Self::NoCursor(_) => (1421, "HY000"),
            Self::TooManyStatements(_) => (1461, "42000"),
            Self::NotPreparable(_) => (1295, "HY000"),
            Self::PoolTimeout { .. } | Self::TooBusy(_) => (1203, "42000"),
            Self::NoEndpoint(_) | Self::BreakerOpen(_) | Self::ConnectFailed { .. } => {
                (2003, "HY000")
            }
            Self::BackendLost { .. } | Self::BackendProtocol { .. } => (2013, "HY000"),
            Self::CommitUnknown(_) => (1105, "08007"),
            Self::AuditFailing(_) => (1290, "HY000"),
            Self::RolledBack(_) => (3101, "40000"),
            Self::StateReplay { .. } | Self::LocalInfileRefused | Self::DiagnosticsGone(_) => {
                (1105, "HY000")
            }
            Self::Server { code, .. } => (*code, "HY000"),
            Self::Schema { code, .. } | Self::Forbidden { code, .. } => (*code, "42000"),
            Self::MemoryShort => (1041, "HY000"),
            Self::Draining => (1053, "08S01"),
            Self::Interrupted => (1317, "70100"),
            Self::Killed => (1317, "70100"),
            Self::IdleTimeout => (4031, "HY000"),
            Self::UnknownThread(_) => (1094, "HY000"),
            Self::NotOwner(_) => (1095, "HY000"),
            Self::KillTarget | Self::Sharding(_) => (1235, "42000"),
            Self::RateExceeded(_) => (1226, "42000"),
            Self::Denied(_)
            | Self::DeniedUnknown(_)
            | Self::NotListed(_)
            | Self::Misplaced(_)
            | Self::Unit(_) => (1105, "HY000"),
            Self::Hint(_) => (1064, "42000"),
            Self::HintDenied(_) | Self::OperatorOnly(_) => (1227, "42000"),
            Self::Overdue { .. } => (3024, "HY000"),
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::NoEndpoint(_)
            | Self::BreakerOpen(_)
            | Self::ConnectFailed { .. }
            | Self::BackendLost { .. }
            | Self::CommitUnknown(_)
            | Self::RolledBack(_)
            | Self::BackendProtocol { .. } => Blame::Backend,
            Self::PoolTimeout { .. }
            | Self::Overdue {
                when: Overdue::Waiting,
                ..
            }
            | Self::StateReplay { .. }
            | Self::AuditFailing(_)
            | Self::Draining
            | Self::MemoryShort
            | Self::TooManyConnections(_)
            | Self::NoMemoryForCommand
            | Self::DiagnosticsGone(_) => Blame::Mesh,
            _ => Blame::Client,
        }
    }

    /// What becomes of the session.
    #[must_use]
    pub fn after(&self) -> After {
        match self {
            Self::AccessDenied { .. }
            | Self::TooManyConnections(_)
            | Self::TlsRequired
            | Self::BadHandshake(_)
            | Self::HandshakeTimeout
            | Self::OutOfOrder
            | Self::PacketTooLarge
            | Self::NoMemoryForCommand
            | Self::BackendLost {
                state_lost: true, ..
            }
            | Self::BackendProtocol {
                state_lost: true, ..
            }
            | Self::CommitUnknown(_)
            | Self::Overdue {
                when: Overdue::Abandoned { state_lost: true },
                ..
            }
            | Self::Draining
            | Self::Killed
            | Self::IdleTimeout => After::Close,
            _ => After::Continue,
        }
    }
}

const PACKET_TOO_LARGE: &str = "Got a packet bigger than 'max_allowed_packet' bytes";
const NO_MEMORY: &str = "Out of memory: large commands of all sessions take what dbmesh may use for them (--large-commands-mib)";

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccessDenied {
                user,
                host,
                password,
            } => {
                let yes = if *password { "YES" } else { "NO" };
                write!(
                    f,
                    "Access denied for user '{user}'@'{host}' (using password: {yes})"
                )
            }
            Self::TooManyConnections(of) => write!(f, "Too many connections ({of})"),
            Self::TlsRequired => f.write_str(
                "Connections using insecure transport are prohibited: this listener requires TLS",
            ),
            Self::BadHandshake(why) => write!(f, "Bad handshake: {why}"),
            Self::HandshakeTimeout => write!(f, "Got timeout reading the handshake"),
            Self::OutOfOrder => write!(f, "Got packets out of order"),
            Self::PacketTooLarge => f.write_str(PACKET_TOO_LARGE),
            Self::NoMemoryForCommand => f.write_str(NO_MEMORY),
            Self::UnknownCommand => write!(f, "Unknown command"),
            Self::CommandRefused(name) => {
                write!(f, "Access denied; {name} is not forwarded by dbmesh")
            }
            Self::Malformed(what) => write!(f, "Malformed communication packet: {what}"),
            Self::UnknownStatement { id, command } => {
                write!(
                    f,
                    "Unknown prepared statement handler ({id}) given to {command}"
                )
            }
            Self::NoCursor(id) => write!(f, "The statement ({id}) has no open cursor."),
            Self::TooManyStatements(max) => write!(
                f,
                "Can't create more than max_prepared_stmt_count statements (current value: {max} per session)"
            ),
            Self::NotPreparable(it) => write!(f, "dbmesh: {it} is not prepared; send it as text"),
            Self::PoolTimeout {
                waited_ms,
                size,
                endpoint,
            } => write!(
                f,
                "dbmesh: no connection to {endpoint} became free within {waited_ms} ms (pool size {size}); raise the \
                 pool's size, or shorten transactions"
            ),
            Self::NoEndpoint(why) => write!(f, "dbmesh: no endpoint can take the statement: {why}"),
            Self::ConnectFailed { endpoint, reason } => {
                write!(f, "dbmesh: cannot connect to endpoint {endpoint}: {reason}")
            }
            Self::BackendLost {
                endpoint,
                state_lost: true,
            } => write!(
                f,
                "dbmesh: lost connection to {endpoint} during query; the transaction or session state on it is gone, \
                 please reconnect"
            ),
            Self::BackendLost {
                endpoint,
                state_lost: false,
            } => {
                write!(
                    f,
                    "dbmesh: lost connection to {endpoint} during query; it may or may not have been executed"
                )
            }
            Self::RolledBack(why) => write!(f, "dbmesh: the transaction was rolled back: {why}"),
            Self::CommitUnknown(endpoint) => write!(
                f,
                "dbmesh: transaction resolution unknown: lost connection to {endpoint} while COMMIT was under way"
            ),
            Self::BackendProtocol { endpoint, what, .. } => {
                write!(
                    f,
                    "dbmesh: endpoint {endpoint} broke the protocol ({what}); its connection was closed"
                )
            }
            Self::StateReplay { code, message } => write!(
                f,
                "dbmesh: the session's state could not be restored on another connection: server error {code}: {message}"
            ),
            Self::Server { message, .. }
            | Self::Schema { message, .. }
            | Self::Forbidden { message, .. } => write!(f, "{message}"),
            Self::Draining => write!(f, "Server shutdown in progress"),
            Self::Interrupted => write!(f, "Query execution was interrupted"),
            Self::Killed => write!(f, "Connection was killed"),
            Self::IdleTimeout => write!(
                f,
                "The client was disconnected by the server because of inactivity. See wait_timeout and \
                 interactive_timeout for configuring this behavior."
            ),
            Self::UnknownThread(id) => write!(f, "Unknown thread id: {id}"),
            Self::NotOwner(id) => write!(f, "You are not owner of thread {id}"),
            Self::KillTarget => write!(f, "dbmesh: KILL takes a number or CONNECTION_ID() here"),
            Self::Denied(_)
            | Self::DeniedUnknown(_)
            | Self::NotListed(_)
            | Self::RateExceeded(_)
            | Self::TooBusy(_)
            | Self::MemoryShort
            | Self::BreakerOpen(_) => self.of_rules(f),
            Self::Hint(_)
            | Self::HintDenied(_)
            | Self::OperatorOnly(_)
            | Self::AuditFailing(_)
            | Self::Misplaced(_)
            | Self::Unit(_)
            | Self::Sharding(_)
            | Self::Overdue { .. }
            | Self::LocalInfileRefused
            | Self::DiagnosticsGone(_) => self.of_demand(f),
        }
    }
}

impl Fault {
    /// What is wrong with what a statement asks for.
    fn of_demand(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hint(why) => write!(f, "dbmesh: {why}"),
            Self::HintDenied(what) => write!(
                f,
                "Access denied; dbmesh: the user may not use {what}; who may stands in `hints.users` of the TrafficStrategy"
            ),
            Self::AuditFailing(why) => write!(
                f,
                "dbmesh: no statement runs unrecorded (`audit.onFailure: closed`), and {why}"
            ),
            Self::OperatorOnly(what) => write!(
                f,
                "Access denied; dbmesh: {what} is for operators of the service: `operator: true` in `users`"
            ),
            Self::Misplaced(why) | Self::Unit(why) => write!(f, "dbmesh: {why}"),
            Self::Sharding(why) => write!(f, "dbmesh: refused on sharded tables: {why}"),
            Self::Overdue { limit_ms, when } => write!(
                f,
                "Query execution was interrupted, maximum statement execution time exceeded (dbmesh: {limit_ms} ms; {})",
                match when {
                    Overdue::Waiting => "it waited for a connection and was not executed",
                    Overdue::Ended => "it was killed",
                    Overdue::Abandoned { state_lost: false } =>
                        "its server did not end it in time; it may or may not have been executed",
                    Overdue::Abandoned { state_lost: true } =>
                        "its server did not end it in time; the transaction or session state is gone, please reconnect",
                }
            ),
            Self::LocalInfileRefused => write!(
                f,
                "dbmesh: LOAD DATA LOCAL refused: the server asked for a file that the statement does not name, or \
                 local files are off"
            ),
            Self::DiagnosticsGone(what) => write!(
                f,
                "dbmesh: {what} must directly follow its statement inside a transaction, or with pool.multiplexing: \
                 session; the connection that knew the answer is shared"
            ),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests;
