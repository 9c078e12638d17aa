//! A COM_STMT_EXECUTE made anew from values: for a statement that has some of another's parameters, in another order.
//!
//! Owns the encoding. Must not interpret values. Input: parameters as a client bound them.

use super::CommandCode;
use super::execute::ExecuteFlags;
use super::parameters::{Parameter, ParameterValue};
use crate::caps::Capabilities;
use crate::codec::{put_lenenc_bytes, put_lenenc_int, put_u32};
use crate::column::BinaryLayout;

/// Servers ignore the count, clients send 1.
const ITERATION_COUNT: u32 = 1;
const UNSIGNED_BIT: u8 = 0x80;

/// Appends the execution of a statement with these parameters, without a cursor, for a receiver with these capabilities.
/// Names of parameters are left out. One whose value came before, in pieces, is NULL.
pub fn put_bound(
    out: &mut Vec<u8>,
    stmt_id: u32,
    parameters: &[Parameter<'_>],
    caps: Capabilities,
) {
    let named = caps.contains(Capabilities::QUERY_ATTRIBUTES);
    let flags = match named && !parameters.is_empty() {
        true => ExecuteFlags::PARAMETER_COUNT_AVAILABLE.0,
        false => 0,
    };
    out.push(CommandCode::StmtExecute as u8);
    put_u32(out, stmt_id);
    out.push(flags);
    put_u32(out, ITERATION_COUNT);
    if parameters.is_empty() {
        return;
    }
    if named {
        put_lenenc_int(out, parameters.len() as u64);
    }
    let mut bitmap = vec![0_u8; parameters.len().div_ceil(8)];
    for (index, parameter) in parameters.iter().enumerate() {
        let null = !matches!(parameter.value, ParameterValue::Bytes(_));
        if let (true, Some(byte)) = (null, bitmap.get_mut(index / 8)) {
            *byte |= 1 << (index % 8);
        }
    }
    out.extend_from_slice(&bitmap);
    out.push(1);
    for parameter in parameters {
        out.push(parameter.kind.column_type.0);
        out.push(if parameter.kind.unsigned {
            UNSIGNED_BIT
        } else {
            0
        });
        if named {
            out.push(0);
        }
    }
    for parameter in parameters {
        let ParameterValue::Bytes(bytes) = parameter.value else {
            continue;
        };
        match parameter.kind.column_type.binary_layout() {
            BinaryLayout::Fixed(_) => out.extend_from_slice(bytes),
            // A time has twelve bytes at most.
            BinaryLayout::ShortLength => {
                out.push(u8::try_from(bytes.len()).unwrap_or(0));
                out.extend_from_slice(bytes);
            }
            BinaryLayout::LengthEncoded => put_lenenc_bytes(out, bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ParameterType, StmtExecute};
    use super::*;
    use crate::column::ColumnType;
    use std::collections::BTreeSet;

    #[test]
    fn what_is_bound_is_read_again() {
        let kind = |column_type, unsigned| ParameterType {
            column_type,
            unsigned,
            name: b"",
        };
        let parameters = [
            Parameter {
                kind: kind(ColumnType::LONGLONG, true),
                value: ParameterValue::Bytes(&[1, 2, 3, 4, 5, 6, 7, 8]),
            },
            Parameter {
                kind: kind(ColumnType::VAR_STRING, false),
                value: ParameterValue::Null,
            },
            Parameter {
                kind: kind(ColumnType::DATETIME, false),
                value: ParameterValue::Bytes(&[0xE8, 7, 1, 2]),
            },
            Parameter {
                kind: kind(ColumnType::BLOB, false),
                value: ParameterValue::Bytes(b"bytes"),
            },
        ];
        for caps in [Capabilities(0), Capabilities::QUERY_ATTRIBUTES] {
            let mut out = Vec::new();
            put_bound(&mut out, 7, &parameters, caps);
            let execute = StmtExecute::decode(&out, 4, caps).unwrap();
            assert_eq!(execute.stmt_id, 7);
            let types = execute.types(&out).unwrap();
            let none = BTreeSet::new();
            let again: Vec<_> = execute
                .values(&out, types, &none)
                .map(Result::unwrap)
                .collect();
            assert_eq!(again, parameters);
            let mut empty = Vec::new();
            put_bound(&mut empty, 7, &[], caps);
            assert!(StmtExecute::decode(&empty, 0, caps).is_ok());
        }
    }
}
