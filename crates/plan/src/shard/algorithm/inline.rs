//! INLINE, COMPLEX_INLINE and HINT_INLINE: an expression computes the name of the target.
//!
//! Numbers are whole, with Java's remainder; what overflows, divides by zero or does not divide is unknown.

use std::collections::HashMap;

use dbmesh_model::topology::sharding::expression::Function;
use dbmesh_model::topology::sharding::{Axis, Expression, Piece, Term, TermOp};

use super::Slot;
use super::crc32_mod::crc32;
use super::hash_mod::java_hash;
use crate::shard::value::KeyValue;

/// Widest padding.
const PAD_MAX: usize = 64;

pub(super) fn slot(axis: &Axis, expression: &Expression, values: &[KeyValue]) -> Slot {
    let mut bound: HashMap<&str, &KeyValue> = HashMap::new();
    match (axis.columns.is_empty(), values) {
        (true, [value]) => {
            bound.insert("value", value);
        }
        _ => {
            let columns = axis.columns.iter().map(|column| column.name.as_str());
            bound.extend(columns.zip(values));
        }
    }
    let Some(name) = name(expression, &bound) else {
        return Slot::Unknown;
    };
    let target = axis.targets.iter().position(|target| target.name == name);
    target.map_or(Slot::Nowhere, Slot::At)
}

fn name(expression: &Expression, bound: &HashMap<&str, &KeyValue>) -> Option<String> {
    let mut name = String::new();
    for piece in expression.pieces() {
        match piece {
            Piece::Text(text) => name.push_str(text),
            Piece::Term(term) => match compute(term, bound)? {
                KeyValue::Integer(number) => name.push_str(&number.to_string()),
                KeyValue::Text(text) => name.push_str(std::str::from_utf8(&text).ok()?),
                KeyValue::Time(_) => return None,
            },
        }
    }
    Some(name)
}

/// Recursion is as deep as the expression, which its parser bounds.
fn compute(term: &Term, bound: &HashMap<&str, &KeyValue>) -> Option<KeyValue> {
    Some(match term {
        Term::Integer(number) => KeyValue::Integer(i128::from(*number)),
        Term::Text(text) => KeyValue::Text(text.clone().into_bytes()),
        Term::Column(name) => (*bound.get(name.as_str())?).clone(),
        Term::Binary(op, left, right) => {
            let (left, right) = (compute(left, bound)?, compute(right, bound)?);
            match (left, right) {
                (KeyValue::Integer(left), KeyValue::Integer(right)) => {
                    KeyValue::Integer(arithmetic(*op, left, right)?)
                }
                (KeyValue::Text(mut left), KeyValue::Text(right)) if *op == TermOp::Add => {
                    left.extend(right);
                    KeyValue::Text(left)
                }
                _ => return None,
            }
        }
        Term::Call(function, arguments) => {
            let arguments: Option<Vec<KeyValue>> =
                arguments.iter().map(|a| compute(a, bound)).collect();
            call(*function, &arguments?)?
        }
    })
}

fn arithmetic(op: TermOp, left: i128, right: i128) -> Option<i128> {
    match op {
        TermOp::Add => left.checked_add(right),
        TermOp::Subtract => left.checked_sub(right),
        TermOp::Multiply => left.checked_mul(right),
        TermOp::Divide => match left.checked_rem(right)? {
            0 => left.checked_div(right),
            _ => None,
        },
        TermOp::Remainder => left.checked_rem(right),
    }
}

fn call(function: Function, arguments: &[KeyValue]) -> Option<KeyValue> {
    use KeyValue::{Integer, Text};
    Some(match (function, arguments) {
        (Function::Abs, [Integer(number)]) => Integer(number.checked_abs()?),
        (Function::Hash, [value]) => Integer(i128::from(java_hash(value)?)),
        (Function::Crc32, [Integer(number)]) => Integer(crc32(number.to_string().as_bytes())),
        (Function::Crc32, [Text(text)]) => Integer(crc32(text)),
        (Function::IntDiv, [Integer(left), Integer(right)]) => Integer(left.checked_div(*right)?),
        (Function::Long, [Integer(number)]) => Integer(*number),
        (Function::Long, [Text(text)]) => Integer(std::str::from_utf8(text).ok()?.parse().ok()?),
        (Function::Pad, [Integer(number), Integer(width)]) => {
            let width = usize::try_from(*width).ok().filter(|w| *w <= PAD_MAX)?;
            Text(format!("{number:0width$}").into_bytes())
        }
        (Function::Substring, [Text(text), Integer(from), rest @ ..]) if text.is_ascii() => {
            let to = match rest {
                [] => text.len(),
                [Integer(to)] => usize::try_from(*to).ok()?,
                _ => return None,
            };
            Text(text.get(usize::try_from(*from).ok()?..to)?.to_vec())
        }
        _ => return None,
    })
}
