//! COM_QUERY, with or without query attributes.
//!
//! Owns the split of its payload into attributes and SQL text. Must not look into the SQL. Input: a
//! client's COM_QUERY and the capabilities negotiated with that client.

use super::parameters::{Parameters, TypeNames, checked_count, skip_types};
use super::{CommandCode, body};
use crate::caps::Capabilities;
use crate::codec::Reader;
use crate::error::DecodeError;

/// A COM_QUERY.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// The statement, in the session's character set.
    pub sql: &'a [u8],
    /// Where `sql` starts in the payload; it goes on to the payload's end.
    pub sql_offset: usize,
    /// The query attributes; none without QUERY_ATTRIBUTES.
    pub attributes: QueryAttributes<'a>,
}

/// The query attributes of a COM_QUERY.
#[derive(Debug, Clone)]
pub struct QueryAttributes<'a> {
    block: &'a [u8],
    count: usize,
    parameters: Parameters<'a>,
}

impl<'a> QueryAttributes<'a> {
    /// No attributes.
    pub fn none() -> Self {
        Self {
            block: &[0, 1],
            count: 0,
            parameters: Parameters::none(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The attributes in order. They were checked when the query was decoded: no item is an error.
    pub fn iter(&self) -> Parameters<'a> {
        self.parameters.clone()
    }
}

impl<'a> Query<'a> {
    /// Decodes the payload under the capabilities negotiated with its sender.
    ///
    /// # Errors
    /// When the attributes end early, are too many, or come in another number of sets than one.
    pub fn decode(payload: &'a [u8], caps: Capabilities) -> Result<Self, DecodeError> {
        let mut r = body("COM_QUERY", CommandCode::Query, payload)?;
        if !caps.contains(Capabilities::QUERY_ATTRIBUTES) {
            return Ok(Self {
                sql: r.rest(),
                sql_offset: 1,
                attributes: QueryAttributes::none(),
            });
        }
        let attributes = attributes(&mut r, payload)?;
        let sql_offset = r.offset();
        Ok(Self {
            sql: r.rest(),
            sql_offset,
            attributes,
        })
    }
}

fn attributes<'a>(
    r: &mut Reader<'a>,
    payload: &'a [u8],
) -> Result<QueryAttributes<'a>, DecodeError> {
    let start = r.offset();
    let claimed = r.lenenc_int()?;
    let count = checked_count(r, claimed)?;
    let at = r.offset();
    let sets = r.lenenc_int()?;
    if sets != 1 {
        return Err(r.bad_value("parameter set count", at, sets));
    }
    let mut parameters = Parameters::none();
    if count > 0 {
        let null_bitmap = r.bytes(count.div_ceil(8))?;
        let at = r.offset();
        let bound = r.u8()?;
        if bound != 1 {
            return Err(r.bad_value("new params bind flag", at, u64::from(bound)));
        }
        let types_start = r.offset();
        skip_types(r, count, TypeNames::Named)?;
        let types = payload.get(types_start..r.offset()).unwrap_or(&[]);
        parameters = Parameters::new(count, null_bitmap, types, TypeNames::Named, r.clone(), None);
        let mut walk = parameters.clone();
        walk.try_for_each(|parameter| parameter.map(|_| ()))?;
        r.skip(walk.values_end().saturating_sub(r.offset()))?;
    }
    let block = payload.get(start..r.offset()).unwrap_or(&[]);
    Ok(QueryAttributes {
        block,
        count,
        parameters,
    })
}

/// Appends a COM_QUERY for a receiver with these capabilities. Without QUERY_ATTRIBUTES the
/// attributes are left out.
pub fn put_query(
    out: &mut Vec<u8>,
    sql: &[u8],
    attributes: &QueryAttributes<'_>,
    caps: Capabilities,
) {
    out.push(CommandCode::Query as u8);
    if caps.contains(Capabilities::QUERY_ATTRIBUTES) {
        out.extend_from_slice(attributes.block);
    }
    out.extend_from_slice(sql);
}
