//! Commands that a client sends.
//!
//! Owns the command bytes, their decoders and the encoders for what a proxy sends to a backend. A
//! decoder says where things lie in the payload, so that a command can be forwarded unchanged; it
//! must not interpret SQL. Input: whole command payloads of an authenticated client.

mod bound;
mod change_user;
mod execute;
mod parameters;
mod query;
mod simple;

pub use bound::put_bound;
pub use change_user::ChangeUser;
pub use execute::{
    ExecuteFlags, ExecuteTarget, ParameterBlock, StmtExecute, insert_types, put_execute,
    set_stmt_id,
};
pub use parameters::{Parameter, ParameterType, ParameterValue, Parameters, TypeNames};
pub use query::{Query, QueryAttributes, put_query};
pub use simple::{
    FieldList, InitDb, MultiStatements, ProcessKill, SetOption, StmtClose, StmtFetch, StmtPrepare,
    StmtReset, StmtSendLongData, put_init_db, put_ping, put_process_kill, put_quit,
    put_reset_connection, put_set_option, put_stmt_close, put_stmt_fetch, put_stmt_prepare,
    put_stmt_reset, put_stmt_send_long_data,
};

use crate::codec::Reader;
use crate::error::DecodeError;

macro_rules! command_codes {
    ($($(#[$doc:meta])* $name:ident = $byte:literal,)*) => {
        /// The first byte of a command.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum CommandCode {
            $($(#[$doc])* $name = $byte,)*
        }

        impl TryFrom<u8> for CommandCode {
            /// The byte that is no known command.
            type Error = u8;

            fn try_from(byte: u8) -> Result<Self, u8> {
                match byte {
                    $($byte => Ok(Self::$name),)*
                    other => Err(other),
                }
            }
        }

        impl CommandCode {
            /// The command's name, e.g. `StmtPrepare`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

command_codes! {
    /// COM_SLEEP, internal to the server.
    Sleep = 0x00,
    /// COM_QUIT.
    Quit = 0x01,
    /// COM_INIT_DB.
    InitDb = 0x02,
    /// COM_QUERY.
    Query = 0x03,
    /// COM_FIELD_LIST, deprecated.
    FieldList = 0x04,
    /// COM_CREATE_DB, removed.
    CreateDb = 0x05,
    /// COM_DROP_DB, removed.
    DropDb = 0x06,
    /// COM_REFRESH, deprecated.
    Refresh = 0x07,
    /// COM_SHUTDOWN, deprecated.
    Shutdown = 0x08,
    /// COM_STATISTICS.
    Statistics = 0x09,
    /// COM_PROCESS_INFO, deprecated.
    ProcessInfo = 0x0A,
    /// COM_CONNECT, internal to the server.
    Connect = 0x0B,
    /// COM_PROCESS_KILL, deprecated.
    ProcessKill = 0x0C,
    /// COM_DEBUG.
    Debug = 0x0D,
    /// COM_PING.
    Ping = 0x0E,
    /// COM_TIME, internal to the server.
    Time = 0x0F,
    /// COM_DELAYED_INSERT, internal to the server.
    DelayedInsert = 0x10,
    /// COM_CHANGE_USER.
    ChangeUser = 0x11,
    /// COM_BINLOG_DUMP.
    BinlogDump = 0x12,
    /// COM_TABLE_DUMP, removed.
    TableDump = 0x13,
    /// COM_CONNECT_OUT, internal to the server.
    ConnectOut = 0x14,
    /// COM_REGISTER_SLAVE.
    RegisterReplica = 0x15,
    /// COM_STMT_PREPARE.
    StmtPrepare = 0x16,
    /// COM_STMT_EXECUTE.
    StmtExecute = 0x17,
    /// COM_STMT_SEND_LONG_DATA. Has no reply.
    StmtSendLongData = 0x18,
    /// COM_STMT_CLOSE. Has no reply.
    StmtClose = 0x19,
    /// COM_STMT_RESET.
    StmtReset = 0x1A,
    /// COM_SET_OPTION.
    SetOption = 0x1B,
    /// COM_STMT_FETCH.
    StmtFetch = 0x1C,
    /// COM_DAEMON, internal to the server.
    Daemon = 0x1D,
    /// COM_BINLOG_DUMP_GTID.
    BinlogDumpGtid = 0x1E,
    /// COM_RESET_CONNECTION.
    ResetConnection = 0x1F,
    /// COM_CLONE, internal to servers.
    Clone = 0x20,
    /// COM_SUBSCRIBE_GROUP_REPLICATION_STREAM, internal to servers.
    SubscribeGroupReplicationStream = 0x21,
    /// MariaDB's COM_STMT_BULK_EXECUTE.
    StmtBulkExecute = 0xFA,
}

impl CommandCode {
    /// The command of a payload; `None` for an empty payload or an unknown command.
    pub fn of(payload: &[u8]) -> Option<Self> {
        payload.first().and_then(|&byte| Self::try_from(byte).ok())
    }

    /// Whether a server sends nothing back.
    pub const fn has_no_reply(self) -> bool {
        matches!(self, Self::Quit | Self::StmtClose | Self::StmtSendLongData)
    }
}

/// A reader placed behind the command byte, which must be `code`.
fn body<'a>(
    message: &'static str,
    code: CommandCode,
    payload: &'a [u8],
) -> Result<Reader<'a>, DecodeError> {
    let mut r = Reader::of(message, payload);
    let byte = r.u8()?;
    if byte == code as u8 {
        Ok(r)
    } else {
        Err(r.bad_value("command", 0, u64::from(byte)))
    }
}
