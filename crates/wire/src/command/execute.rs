//! COM_STMT_EXECUTE.
//!
//! Owns where its parts lie and how to rewrite it for a backend: another statement id, types that the
//! client bound with an earlier execution, query attributes that only one side can speak. Must not
//! interpret values. Input: a client's payload and what the session remembers of the statement.

use super::parameters::{
    ParameterType, Parameters, TypeNames, checked_count, put_type, read_type, skip_types,
};
use super::{CommandCode, body};
use crate::caps::Capabilities;
use crate::codec::{Reader, put_lenenc_int, put_u32};
use crate::error::DecodeError;
use std::collections::BTreeSet;
use std::ops::Range;

const MESSAGE: &str = "COM_STMT_EXECUTE";
const STMT_ID: Range<usize> = 1..5;
/// Servers ignore the count, clients send 1.
const ITERATION_COUNT: u32 = 1;

/// Flags of COM_STMT_EXECUTE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExecuteFlags(pub u8);

impl ExecuteFlags {
    /// Open a read-only cursor.
    pub const CURSOR_READ_ONLY: Self = Self(0x01);
    /// Open a cursor for update (no server supports it).
    pub const CURSOR_FOR_UPDATE: Self = Self(0x02);
    /// Open a scrollable cursor (no server supports it).
    pub const CURSOR_SCROLLABLE: Self = Self(0x04);
    /// The parameter count is in the payload also when the statement has none; meaningful with QUERY_ATTRIBUTES only.
    pub const PARAMETER_COUNT_AVAILABLE: Self = Self(0x08);

    /// Whether every flag of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any cursor is asked for.
    pub const fn asks_for_cursor(self) -> bool {
        self.0 & 0x07 != 0
    }
}

/// A COM_STMT_EXECUTE: its head, and where its parameters lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StmtExecute {
    /// The statement, as numbered on the sender's connection.
    pub stmt_id: u32,
    /// Cursor flags and the like.
    pub flags: ExecuteFlags,
    /// Always 1.
    pub iteration: u32,
    /// The parameters; `None` when there are none.
    pub parameters: Option<ParameterBlock>,
}

/// Where the parameters of a COM_STMT_EXECUTE lie. Offsets count from the command byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterBlock {
    /// Parameters of the statement and query attributes together.
    pub count: usize,
    /// The NULL bitmap.
    pub null_bitmap: Range<usize>,
    /// The flag that says whether types follow.
    pub new_params_bound: usize,
    /// The types block; `None` when the types of an earlier execution hold.
    pub types: Option<Range<usize>>,
    /// Whether types have names behind them.
    pub names: TypeNames,
    /// The values, up to the payload's end.
    pub values: Range<usize>,
}

impl StmtExecute {
    /// Decodes the payload. `num_params` is the statement's parameter count, `caps` are those
    /// negotiated with the sender. Values are not walked over: see [`StmtExecute::values`].
    ///
    /// # Errors
    /// When it ends early or gives fewer parameters than the statement has.
    pub fn decode(
        payload: &[u8],
        num_params: u16,
        caps: Capabilities,
    ) -> Result<Self, DecodeError> {
        let mut r = body(MESSAGE, CommandCode::StmtExecute, payload)?;
        let stmt_id = r.u32()?;
        let flags = ExecuteFlags(r.u8()?);
        let iteration = r.u32()?;
        let names = names_under(caps);
        // With QUERY_ATTRIBUTES servers read the count of every statement that has parameters, whatever the flag says:
        // mysql-connector-python never sets it.
        let counted = names == TypeNames::Named
            && (num_params > 0 || flags.contains(ExecuteFlags::PARAMETER_COUNT_AVAILABLE));
        let at = r.offset();
        let claimed = if counted {
            r.lenenc_int()?
        } else {
            u64::from(num_params)
        };
        let count = checked_count(&r, claimed)?;
        if count < usize::from(num_params) {
            return Err(r.bad_value("parameter count", at, claimed));
        }
        let parameters = match count {
            0 => None,
            count => Some(parameter_block(&mut r, count, names)?),
        };
        Ok(Self {
            stmt_id,
            flags,
            iteration,
            parameters,
        })
    }

    /// The statement id of a payload, readable before the statement's parameter count is known.
    ///
    /// # Errors
    /// When the payload is no COM_STMT_EXECUTE or ends early.
    pub fn stmt_id_of(payload: &[u8]) -> Result<u32, DecodeError> {
        body(MESSAGE, CommandCode::StmtExecute, payload)?.u32()
    }

    /// The types block inside the payload, to be remembered for executions without one.
    pub fn types<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        let range = self.parameters.as_ref()?.types.clone()?;
        payload.get(range)
    }

    /// The types of the parameters, of a types block as [`Self::types`] gives it. Ends where the block does.
    pub fn kinds<'a>(&self, types: &'a [u8]) -> impl Iterator<Item = ParameterType<'a>> {
        let block = self.parameters.as_ref();
        let (count, names) = block.map_or((0, TypeNames::Unnamed), |b| (b.count, b.names));
        let mut r = Reader::of(MESSAGE, types);
        (0..count).map_while(move |_| read_type(&mut r, names).ok())
    }

    /// Iterates over the parameters. `types` is the payload's own types block or the remembered one
    /// (with names if QUERY_ATTRIBUTES was negotiated); `long_data` are the parameters that were sent
    /// by COM_STMT_SEND_LONG_DATA.
    pub fn values<'a>(
        &self,
        payload: &'a [u8],
        types: &'a [u8],
        long_data: &'a BTreeSet<u16>,
    ) -> Parameters<'a> {
        let Some(block) = &self.parameters else {
            return Parameters::none();
        };
        let mut values = Reader::of(MESSAGE, payload);
        let null_bitmap = payload.get(block.null_bitmap.clone()).unwrap_or(&[]);
        // A payload other than the decoded one yields truncation errors, not wrong values.
        if values.skip(block.values.start).is_err() {
            values.rest();
        }
        Parameters::new(
            block.count,
            null_bitmap,
            types,
            block.names,
            values,
            Some(long_data),
        )
    }
}

fn parameter_block(
    r: &mut Reader<'_>,
    count: usize,
    names: TypeNames,
) -> Result<ParameterBlock, DecodeError> {
    let bitmap_start = r.offset();
    r.skip(count.div_ceil(8))?;
    let new_params_bound = r.offset();
    let null_bitmap = bitmap_start..new_params_bound;
    let bound = r.u8()? != 0;
    let types_start = r.offset();
    if bound {
        skip_types(r, count, names)?;
    }
    let values_start = r.offset();
    let types = bound.then_some(types_start..values_start);
    r.rest();
    Ok(ParameterBlock {
        count,
        null_bitmap,
        new_params_bound,
        types,
        names,
        values: values_start..r.offset(),
    })
}

/// Whether types blocks have names under `caps`.
fn names_under(caps: Capabilities) -> TypeNames {
    if caps.contains(Capabilities::QUERY_ATTRIBUTES) {
        TypeNames::Named
    } else {
        TypeNames::Unnamed
    }
}

/// The payload with `types` inserted and the flag set that says so, for a backend that has not seen
/// the types yet. A payload that brings types of its own is returned as it is.
pub fn insert_types(payload: &[u8], block: &ParameterBlock, types: &[u8]) -> Vec<u8> {
    let flag_end = block.new_params_bound.saturating_add(1);
    let parts = (
        payload.get(..block.new_params_bound),
        payload.get(flag_end..),
    );
    let (None, (Some(before), Some(after))) = (&block.types, parts) else {
        return payload.to_vec();
    };
    let mut out = Vec::with_capacity(payload.len().saturating_add(types.len()));
    out.extend_from_slice(before);
    out.push(1);
    out.extend_from_slice(types);
    out.extend_from_slice(after);
    out
}

/// Writes another statement id into a COM_STMT_EXECUTE, COM_STMT_FETCH, COM_STMT_CLOSE,
/// COM_STMT_RESET or COM_STMT_SEND_LONG_DATA, which all have it behind the command byte. A payload
/// too short to have one stays as it is.
pub fn set_stmt_id(payload: &mut [u8], stmt_id: u32) {
    if let Some(slot) = payload.get_mut(STMT_ID) {
        slot.copy_from_slice(&stmt_id.to_le_bytes());
    }
}

/// What an execution is rewritten with.
#[derive(Debug, Clone, Copy)]
pub struct ExecuteTarget<'a> {
    /// The statement on the backend's connection.
    pub stmt_id: u32,
    /// The statement's parameter count.
    pub num_params: u16,
    /// The payload's own types block or the remembered one.
    pub types: &'a [u8],
    /// Parameters that were sent by COM_STMT_SEND_LONG_DATA.
    pub long_data: &'a BTreeSet<u16>,
    /// Capabilities negotiated with the backend.
    pub caps: Capabilities,
}

/// Appends the execution for a backend, with types bound. Query attributes are left out when the
/// backend has no QUERY_ATTRIBUTES; when it has, types get (empty) names and the payload its count.
///
/// # Errors
/// When the values do not fit the types.
pub fn put_execute(
    out: &mut Vec<u8>,
    payload: &[u8],
    execute: &StmtExecute,
    target: ExecuteTarget<'_>,
) -> Result<(), DecodeError> {
    let to = names_under(target.caps);
    let kept = match (&execute.parameters, to) {
        (None, _) => 0,
        (Some(block), TypeNames::Named) => block.count,
        (Some(_), TypeNames::Unnamed) => usize::from(target.num_params),
    };
    let cursor_flags = execute.flags.0 & !ExecuteFlags::PARAMETER_COUNT_AVAILABLE.0;
    let count_flag = match (to, kept) {
        (TypeNames::Named, 1..) => ExecuteFlags::PARAMETER_COUNT_AVAILABLE.0,
        _ => 0,
    };
    out.push(CommandCode::StmtExecute as u8);
    put_u32(out, target.stmt_id);
    out.push(cursor_flags | count_flag);
    put_u32(out, ITERATION_COUNT);
    let Some(block) = execute.parameters.as_ref().filter(|_| kept > 0) else {
        return Ok(());
    };
    if count_flag != 0 {
        put_lenenc_int(out, kept as u64);
    }
    put_null_bitmap(out, payload, block, kept);
    out.push(1);
    let mut types = Reader::of("parameter types", target.types);
    for _ in 0..kept {
        put_type(out, read_type(&mut types, block.names)?, to);
    }
    let mut values = execute.values(payload, target.types, target.long_data);
    values
        .by_ref()
        .take(kept)
        .try_for_each(|parameter| parameter.map(|_| ()))?;
    out.extend_from_slice(
        payload
            .get(block.values.start..values.values_end())
            .unwrap_or(&[]),
    );
    Ok(())
}

fn put_null_bitmap(out: &mut Vec<u8>, payload: &[u8], block: &ParameterBlock, kept: usize) {
    let start = block.null_bitmap.start;
    let end = start.saturating_add(kept.div_ceil(8));
    out.extend_from_slice(payload.get(start..end).unwrap_or(&[]));
    // Bits behind the last parameter belonged to attributes.
    if let (used @ 1.., Some(last)) = (kept % 8, out.last_mut()) {
        *last &= (1u8 << used).wrapping_sub(1);
    }
}
