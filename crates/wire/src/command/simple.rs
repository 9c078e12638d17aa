//! The commands whose fields stand at fixed places.
//!
//! Owns decoders and encoders of COM_INIT_DB, COM_FIELD_LIST, COM_PROCESS_KILL, COM_SET_OPTION and
//! of the statement commands except EXECUTE. Must not look into SQL or data. Input: command payloads
//! of a client, with the command byte.

use super::{CommandCode, body};
use crate::codec::{put_u16, put_u32};
use crate::error::DecodeError;

/// COM_INIT_DB: changes the default database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitDb<'a> {
    /// The database, unquoted, in the session's character set.
    pub database: &'a [u8],
}

impl<'a> InitDb<'a> {
    /// Decodes the payload. Never fails but for another command byte or an empty payload.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(Self {
            database: body("COM_INIT_DB", CommandCode::InitDb, payload)?.rest(),
        })
    }
}

/// COM_FIELD_LIST: asks for the columns of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldList<'a> {
    /// The table.
    pub table: &'a [u8],
    /// A LIKE pattern for the columns; empty for all.
    pub wildcard: &'a [u8],
}

impl<'a> FieldList<'a> {
    /// Decodes the payload.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = body("COM_FIELD_LIST", CommandCode::FieldList, payload)?;
        let table = r.nul_bytes_or_rest();
        // Some clients end the pattern with a NUL as well.
        Ok(Self {
            table,
            wildcard: r.nul_bytes_or_rest(),
        })
    }
}

/// COM_PROCESS_KILL: closes a connection, like KILL CONNECTION.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessKill {
    /// The connection to close.
    pub connection_id: u32,
}

impl ProcessKill {
    /// Decodes the payload.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self {
            connection_id: body("COM_PROCESS_KILL", CommandCode::ProcessKill, payload)?.u32()?,
        })
    }
}

/// Whether a session may send several statements in one COM_QUERY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MultiStatements {
    /// It may.
    On,
    /// It may not.
    Off,
}

/// COM_SET_OPTION: switches multi-statements. Answered by EOF, or by OK in the 0xFE form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetOption {
    /// The new setting.
    pub multi_statements: MultiStatements,
}

impl SetOption {
    /// Decodes the payload. Other options than the two known ones are a [`DecodeError::BadValue`],
    /// to which servers answer with error 1047.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = body("COM_SET_OPTION", CommandCode::SetOption, payload)?;
        match r.u16()? {
            0 => Ok(Self {
                multi_statements: MultiStatements::On,
            }),
            1 => Ok(Self {
                multi_statements: MultiStatements::Off,
            }),
            other => Err(r.bad_value("option", 1, u64::from(other))),
        }
    }
}

/// COM_STMT_PREPARE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StmtPrepare<'a> {
    /// The statement.
    pub sql: &'a [u8],
}

impl<'a> StmtPrepare<'a> {
    /// Decodes the payload. Never fails but for another command byte or an empty payload.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(Self {
            sql: body("COM_STMT_PREPARE", CommandCode::StmtPrepare, payload)?.rest(),
        })
    }
}

/// COM_STMT_SEND_LONG_DATA: appends to a parameter's value. Has no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StmtSendLongData<'a> {
    /// The statement.
    pub stmt_id: u32,
    /// The parameter, counted from 0.
    pub parameter: u16,
    /// The piece to append.
    pub data: &'a [u8],
}

impl<'a> StmtSendLongData<'a> {
    /// Decodes the payload.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = body(
            "COM_STMT_SEND_LONG_DATA",
            CommandCode::StmtSendLongData,
            payload,
        )?;
        Ok(Self {
            stmt_id: r.u32()?,
            parameter: r.u16()?,
            data: r.rest(),
        })
    }
}

/// COM_STMT_FETCH: asks for rows of an open cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StmtFetch {
    /// The statement.
    pub stmt_id: u32,
    /// At most this many rows.
    pub rows: u32,
}

impl StmtFetch {
    /// Decodes the payload.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = body("COM_STMT_FETCH", CommandCode::StmtFetch, payload)?;
        Ok(Self {
            stmt_id: r.u32()?,
            rows: r.u32()?,
        })
    }
}

/// COM_STMT_CLOSE: forgets a statement. Has no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StmtClose {
    /// The statement.
    pub stmt_id: u32,
}

impl StmtClose {
    /// Decodes the payload.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self {
            stmt_id: body("COM_STMT_CLOSE", CommandCode::StmtClose, payload)?.u32()?,
        })
    }
}

/// COM_STMT_RESET: drops a statement's long data and cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StmtReset {
    /// The statement.
    pub stmt_id: u32,
}

impl StmtReset {
    /// Decodes the payload.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self {
            stmt_id: body("COM_STMT_RESET", CommandCode::StmtReset, payload)?.u32()?,
        })
    }
}

/// Appends COM_QUIT.
pub fn put_quit(out: &mut Vec<u8>) {
    out.push(CommandCode::Quit as u8);
}

/// Appends COM_PING.
pub fn put_ping(out: &mut Vec<u8>) {
    out.push(CommandCode::Ping as u8);
}

/// Appends COM_RESET_CONNECTION.
pub fn put_reset_connection(out: &mut Vec<u8>) {
    out.push(CommandCode::ResetConnection as u8);
}

/// Appends COM_INIT_DB.
pub fn put_init_db(out: &mut Vec<u8>, database: &[u8]) {
    out.push(CommandCode::InitDb as u8);
    out.extend_from_slice(database);
}

/// Appends COM_PROCESS_KILL.
pub fn put_process_kill(out: &mut Vec<u8>, connection_id: u32) {
    out.push(CommandCode::ProcessKill as u8);
    put_u32(out, connection_id);
}

/// Appends COM_SET_OPTION.
pub fn put_set_option(out: &mut Vec<u8>, multi_statements: MultiStatements) {
    out.push(CommandCode::SetOption as u8);
    put_u16(
        out,
        match multi_statements {
            MultiStatements::On => 0,
            MultiStatements::Off => 1,
        },
    );
}

/// Appends COM_STMT_PREPARE.
pub fn put_stmt_prepare(out: &mut Vec<u8>, sql: &[u8]) {
    out.push(CommandCode::StmtPrepare as u8);
    out.extend_from_slice(sql);
}

/// Appends COM_STMT_CLOSE.
pub fn put_stmt_close(out: &mut Vec<u8>, stmt_id: u32) {
    out.push(CommandCode::StmtClose as u8);
    put_u32(out, stmt_id);
}

/// Appends COM_STMT_RESET.
pub fn put_stmt_reset(out: &mut Vec<u8>, stmt_id: u32) {
    out.push(CommandCode::StmtReset as u8);
    put_u32(out, stmt_id);
}

/// Appends COM_STMT_FETCH.
pub fn put_stmt_fetch(out: &mut Vec<u8>, stmt_id: u32, rows: u32) {
    out.push(CommandCode::StmtFetch as u8);
    put_u32(out, stmt_id);
    put_u32(out, rows);
}

/// Appends COM_STMT_SEND_LONG_DATA.
pub fn put_stmt_send_long_data(out: &mut Vec<u8>, stmt_id: u32, parameter: u16, data: &[u8]) {
    out.push(CommandCode::StmtSendLongData as u8);
    put_u32(out, stmt_id);
    put_u16(out, parameter);
    out.extend_from_slice(data);
}
