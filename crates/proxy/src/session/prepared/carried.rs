//! What an execution carries besides its statement: query attributes, and the values of parameters where columns are asked
//! for.
//!
//! Owns the reading alone. It must never give a value of a parameter that came in pieces. Input: the packet, what the
//! session knows of the statement.

use std::collections::BTreeSet;

use dbmesh_plan::shard::Parameter;
use dbmesh_wire::command::TypeNames;

use super::Asked;
use crate::session::Session;
use crate::session::demand::{Attributes, Carried};
use crate::session::sharded::planned;

impl Session {
    /// What an execution carries besides its statement.
    pub(super) fn carried<'a>(&self, asked: &'a Asked<'_>, packet: &'a [u8]) -> Carried<'a> {
        let asks = self.asks_for_columns();
        Carried {
            attributes: attributes_of(asked, packet),
            bound: asks.then(|| bound_of(asked, packet)),
        }
    }
}

/// The query attributes of an execution: what it carries beyond the statement's parameters.
fn attributes_of<'a>(asked: &'a Asked<'_>, packet: &'a [u8]) -> Attributes<'a> {
    let (execute, params) = (asked.execute, asked.params);
    let types = asked.types.as_deref();
    static NO_LONG_DATA: BTreeSet<u16> = BTreeSet::new();
    let beyond = execute
        .parameters
        .as_ref()
        .is_some_and(|block| block.names == TypeNames::Named && block.count > usize::from(params));
    match (beyond, asked.in_pieces) {
        (false, _) => Attributes::None,
        (true, true) => Attributes::Hidden,
        (true, false) => {
            Attributes::Read(execute.values(packet, types.unwrap_or_default(), &NO_LONG_DATA))
        }
    }
}

/// The values of an execution's parameters; none of them where some came in pieces before.
fn bound_of(asked: &Asked<'_>, packet: &[u8]) -> Vec<Parameter> {
    if asked.in_pieces {
        return Vec::new();
    }
    let (types, params) = (asked.types.as_deref(), usize::from(asked.params));
    let none = BTreeSet::new();
    let values = asked
        .execute
        .values(packet, types.unwrap_or_default(), &none);
    let values = values.take(params).map_while(Result::ok);
    values.map(|value| planned(&value)).collect()
}
