//! Whether an instance of a module can keep anything from one call to the next.
//!
//! Owns the instructions by which it could: those that write to memory, globals or tables. It must never take a module for
//! one without state that has such an instruction, used or not. Input: a module that was found valid, with the extensions
//! that its interpreter knows.

use wasmparser::{Operator, Parser, Payload};

/// Looks at every instruction.
///
/// # Errors
/// It cannot be read.
pub(super) fn can_be_kept(module: &[u8]) -> Result<bool, String> {
    let unreadable = |error: wasmparser::BinaryReaderError| format!("cannot be read: {error}");
    for payload in Parser::new(0).parse_all(module) {
        let Payload::CodeSectionEntry(body) = payload.map_err(unreadable)? else {
            continue;
        };
        for operator in body.get_operators_reader().map_err(unreadable)? {
            if keeps(&operator.map_err(unreadable)?) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

const fn keeps(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::GlobalSet { .. }
            | Operator::I32Store { .. }
            | Operator::I64Store { .. }
            | Operator::F32Store { .. }
            | Operator::F64Store { .. }
            | Operator::I32Store8 { .. }
            | Operator::I32Store16 { .. }
            | Operator::I64Store8 { .. }
            | Operator::I64Store16 { .. }
            | Operator::I64Store32 { .. }
            | Operator::MemoryGrow { .. }
            | Operator::MemoryInit { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryFill { .. }
            | Operator::DataDrop { .. }
            | Operator::TableSet { .. }
            | Operator::TableGrow { .. }
            | Operator::TableInit { .. }
            | Operator::TableCopy { .. }
            | Operator::TableFill { .. }
            | Operator::ElemDrop { .. }
    )
}
