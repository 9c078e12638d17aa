//! MySQL error numbers with their SQLSTATEs.
//!
//! Owns the list of errors that a proxy raises itself or must recognise in a backend's reply. It
//! must not map a backend's error to another one: those pass through untouched. Source: the MySQL
//! server error reference and the servers' replies.

use crate::reply::SqlState;
use std::fmt;

/// An error number and its SQLSTATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode {
    /// MySQL error number.
    pub number: u16,
    /// SQLSTATE.
    pub sqlstate: SqlState,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number, self.sqlstate.as_str())
    }
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $state:literal;)*) => {
        $($(#[$doc])* pub const $name: ErrorCode =
            ErrorCode { number: $number, sqlstate: SqlState(*$state) };)*

        /// Every error of this list with its name, by ascending number.
        pub const ALL: &[(&str, ErrorCode)] = &[$((stringify!($name), $name),)*];
    };
}

error_codes! {
    /// Cannot create the database: it exists.
    DB_CREATE_EXISTS = 1007, b"HY000";
    /// A record that must exist was not found.
    KEY_NOT_FOUND = 1032, b"HY000";
    /// Out of memory.
    OUT_OF_MEMORY = 1037, b"HY001";
    /// Too many connections.
    CON_COUNT = 1040, b"08004";
    /// Out of memory or another resource.
    OUT_OF_RESOURCES = 1041, b"HY000";
    /// The client's host name cannot be found.
    BAD_HOST = 1042, b"08S01";
    /// Bad handshake.
    HANDSHAKE = 1043, b"08S01";
    /// No right on this database.
    DBACCESS_DENIED = 1044, b"42000";
    /// Wrong user, host or password.
    ACCESS_DENIED = 1045, b"28000";
    /// No database selected.
    NO_DB = 1046, b"3D000";
    /// Unknown command.
    UNKNOWN_COM = 1047, b"08S01";
    /// A column may not be NULL.
    BAD_NULL = 1048, b"23000";
    /// Unknown database.
    BAD_DB = 1049, b"42000";
    /// The table exists.
    TABLE_EXISTS = 1050, b"42S01";
    /// Unknown table in DROP.
    BAD_TABLE = 1051, b"42S02";
    /// A column name is ambiguous.
    NON_UNIQ = 1052, b"23000";
    /// The server is shutting down.
    SERVER_SHUTDOWN = 1053, b"08S01";
    /// Unknown column.
    BAD_FIELD = 1054, b"42S22";
    /// Duplicate key.
    DUP_ENTRY = 1062, b"23000";
    /// Syntax error.
    PARSE = 1064, b"42000";
    /// The statement is empty.
    EMPTY_QUERY = 1065, b"42000";
    /// Invalid default value.
    INVALID_DEFAULT = 1067, b"42000";
    /// Unknown connection id in KILL.
    NO_SUCH_THREAD = 1094, b"HY000";
    /// The connection belongs to somebody else.
    KILL_DENIED = 1095, b"HY000";
    /// Any other error.
    UNKNOWN_ERROR = 1105, b"HY000";
    /// Unknown character set.
    UNKNOWN_CHARACTER_SET = 1115, b"42000";
    /// The host is blocked after many connection errors.
    HOST_IS_BLOCKED = 1129, b"HY000";
    /// The host may not connect.
    HOST_NOT_PRIVILEGED = 1130, b"HY000";
    /// Column count and value count differ.
    WRONG_VALUE_COUNT_ON_ROW = 1136, b"21S01";
    /// No right on this table.
    TABLEACCESS_DENIED = 1142, b"42000";
    /// No right on this column.
    COLUMNACCESS_DENIED = 1143, b"42000";
    /// The table does not exist.
    NO_SUCH_TABLE = 1146, b"42S02";
    /// The command is not allowed.
    NOT_ALLOWED_COMMAND = 1148, b"42000";
    /// The connection was aborted.
    ABORTING_CONNECTION = 1152, b"08S01";
    /// A packet is larger than max_allowed_packet.
    NET_PACKET_TOO_LARGE = 1153, b"08S01";
    /// Reading from the connection failed.
    NET_READ_ERROR_FROM_PIPE = 1154, b"08S01";
    /// A socket option could not be set.
    NET_FCNTL_ERROR = 1155, b"08S01";
    /// Packets arrived out of order.
    NET_PACKETS_OUT_OF_ORDER = 1156, b"08S01";
    /// A packet could not be decompressed.
    NET_UNCOMPRESS_ERROR = 1157, b"08S01";
    /// Reading packets failed.
    NET_READ_ERROR = 1158, b"08S01";
    /// Reading packets timed out.
    NET_READ_INTERRUPTED = 1159, b"08S01";
    /// Writing packets failed.
    NET_ERROR_ON_WRITE = 1160, b"08S01";
    /// Writing packets timed out.
    NET_WRITE_INTERRUPTED = 1161, b"08S01";
    /// Not allowed inside a transaction.
    CANT_DO_THIS_DURING_AN_TRANSACTION = 1179, b"25000";
    /// COMMIT failed.
    ERROR_DURING_COMMIT = 1180, b"HY000";
    /// ROLLBACK failed.
    ERROR_DURING_ROLLBACK = 1181, b"HY000";
    /// The connection was aborted.
    NEW_ABORTING_CONNECTION = 1184, b"08S01";
    /// Unknown system variable.
    UNKNOWN_SYSTEM_VARIABLE = 1193, b"HY000";
    /// The user has too many connections.
    TOO_MANY_USER_CONNECTIONS = 1203, b"42000";
    /// A lock was waited for too long.
    LOCK_WAIT_TIMEOUT = 1205, b"HY000";
    /// Update locks cannot be acquired in READ UNCOMMITTED.
    READ_ONLY_TRANSACTION = 1207, b"25000";
    /// Wrong arguments.
    WRONG_ARGUMENTS = 1210, b"HY000";
    /// Deadlock; the transaction was rolled back.
    LOCK_DEADLOCK = 1213, b"40001";
    /// The user has used up a resource.
    USER_LIMIT_REACHED = 1226, b"42000";
    /// A privilege is missing.
    SPECIFIC_ACCESS_DENIED = 1227, b"42000";
    /// The variable is a session variable.
    LOCAL_VARIABLE = 1228, b"HY000";
    /// The variable is a global variable.
    GLOBAL_VARIABLE = 1229, b"HY000";
    /// The variable cannot have this value.
    WRONG_VALUE_FOR_VAR = 1231, b"42000";
    /// The variable cannot have a value of this type.
    WRONG_TYPE_FOR_VAR = 1232, b"42000";
    /// Not supported.
    NOT_SUPPORTED_YET = 1235, b"42000";
    /// The variable has another scope.
    INCORRECT_GLOBAL_LOCAL_VAR = 1238, b"HY000";
    /// Unknown prepared statement.
    UNKNOWN_STMT_HANDLER = 1243, b"HY000";
    /// The client does not know the authentication asked for.
    CLIENT_AUTH_MODE = 1251, b"08004";
    /// Unknown collation.
    UNKNOWN_COLLATION = 1273, b"HY000";
    /// The server runs with an option that forbids the statement.
    OPTION_PREVENTS_STATEMENT = 1290, b"HY000";
    /// The statement cannot be prepared.
    UNSUPPORTED_PS = 1295, b"HY000";
    /// The procedure or function does not exist.
    SP_DOES_NOT_EXIST = 1305, b"42000";
    /// The statement was killed.
    QUERY_INTERRUPTED = 1317, b"70100";
    /// An operation on a user failed.
    CANT_CREATE_USER = 1396, b"HY000";
    /// Unknown XA transaction.
    XAER_NOTA = 1397, b"XAE04";
    /// Invalid arguments of an XA statement.
    XAER_INVAL = 1398, b"XAE05";
    /// The XA statement does not fit the transaction's state.
    XAER_RMFAIL = 1399, b"XAE07";
    /// Work is done outside of the XA transaction.
    XAER_OUTSIDE = 1400, b"XAE09";
    /// A fatal error in the XA transaction.
    XAER_RMERR = 1401, b"XAE03";
    /// The XA transaction was rolled back.
    XA_RBROLLBACK = 1402, b"XA100";
    /// No such grant on the routine.
    NONEXISTING_PROC_GRANT = 1403, b"42000";
    /// The statement has no open cursor.
    STMT_HAS_NO_OPEN_CURSOR = 1421, b"HY000";
    /// The XA id exists.
    XAER_DUPID = 1440, b"XAE08";
    /// A foreign key refers to the row.
    ROW_IS_REFERENCED_2 = 1451, b"23000";
    /// The foreign key's parent row does not exist.
    NO_REFERENCED_ROW_2 = 1452, b"23000";
    /// Too many prepared statements.
    MAX_PREPARED_STMT_COUNT_REACHED = 1461, b"42000";
    /// The statement is unsafe for statement-based replication.
    BINLOG_UNSAFE_STATEMENT = 1592, b"HY000";
    /// The XA transaction was rolled back: it took too long.
    XA_RBTIMEOUT = 1613, b"XA106";
    /// The XA transaction was rolled back: deadlock.
    XA_RBDEADLOCK = 1614, b"XA102";
    /// The statement must be prepared again.
    NEED_REPREPARE = 1615, b"HY000";
    /// The transaction is read-only.
    CANT_EXECUTE_IN_READ_ONLY_TRANSACTION = 1792, b"25006";
    /// The password has expired.
    MUST_CHANGE_PASSWORD = 1820, b"HY000";
    /// The server runs in read-only mode.
    READ_ONLY_MODE = 1836, b"HY000";
    /// The password has expired and the client cannot change it.
    MUST_CHANGE_PASSWORD_LOGIN = 1862, b"HY000";
    /// Access denied at COM_CHANGE_USER.
    ACCESS_DENIED_CHANGE_USER = 1873, b"28000";
    /// MariaDB: the connection was killed.
    CONNECTION_KILLED_MARIADB = 1927, b"70100";
    /// MariaDB: max_statement_time was exceeded.
    STATEMENT_TIMEOUT_MARIADB = 1969, b"70100";
    /// Client library: cannot connect through the local socket.
    CR_CONNECTION_ERROR = 2002, b"HY000";
    /// Client library: cannot connect to the server.
    CR_CONN_HOST_ERROR = 2003, b"HY000";
    /// Client library: the server has gone away.
    CR_SERVER_GONE = 2006, b"HY000";
    /// Client library: the connection was lost during the statement.
    CR_SERVER_LOST = 2013, b"HY000";
    /// max_execution_time was exceeded.
    QUERY_TIMEOUT = 3024, b"HY000";
    /// Deadlock among user-level locks.
    USER_LOCK_DEADLOCK = 3058, b"HY000";
    /// The transaction was rolled back by a plugin at COMMIT.
    TRANSACTION_ROLLBACK_DURING_COMMIT = 3101, b"HY000";
    /// The account is locked.
    ACCOUNT_HAS_BEEN_LOCKED = 3118, b"HY000";
    /// Insecure transports are refused.
    SECURE_TRANSPORT_REQUIRED = 3159, b"HY000";
    /// The statement was refused by a rule.
    AUDIT_ABORT = 3164, b"HY000";
    /// The session was killed.
    SESSION_WAS_KILLED = 3169, b"HY000";
    /// The client was idle for too long.
    CLIENT_INTERACTION_TIMEOUT = 4031, b"HY000";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_states_are_states() {
        assert!(ALL.windows(2).all(|w| w[0].1.number < w[1].1.number));
        for (name, code) in ALL {
            assert!(
                code.sqlstate
                    .0
                    .iter()
                    .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()),
                "{name}: {}",
                code.sqlstate.as_str()
            );
        }
    }
}
