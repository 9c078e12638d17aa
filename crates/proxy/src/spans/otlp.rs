//! Spans as OTLP writes them.
//!
//! Owns the encoding of the few messages that are sent; a crate for them would bring a code generator, gRPC and an SDK
//! along. It reads nothing. Source: opentelemetry-proto, trace/v1/trace.proto; Protocol Buffers, "Encoding".

use std::fmt::Write;

/// Longest text of an attribute, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn tag(out: &mut Vec<u8>, field: u32, wire: u32) {
    varint(out, u64::from(field << 3 | wire));
}

fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    tag(out, field, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, 0);
    varint(out, value);
}

fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A KeyValue whose AnyValue has this content.
fn key_value(out: &mut Vec<u8>, field: u32, key: &str, any: &[u8]) {
    let mut pair = Vec::with_capacity(key.len() + any.len() + 8);
    bytes(&mut pair, 1, key.as_bytes());
    bytes(&mut pair, 2, any);
    bytes(out, field, &pair);
}

fn text_value(value: &str) -> Vec<u8> {
    let end = value.floor_char_boundary(TEXT_BYTES_MAX.min(value.len()));
    let mut any = Vec::with_capacity(end + 4);
    bytes(&mut any, 1, value.get(..end).unwrap_or_default().as_bytes());
    any
}

/// What a span is to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A part of the process's work.
    Internal = 1,
    /// An answer to a client.
    Server = 2,
    /// A question to a server.
    Client = 3,
}

/// A span in the making.
pub struct Span(Vec<u8>);

impl Span {
    pub fn new(
        trace: [u8; 16],
        span: [u8; 8],
        parent: Option<[u8; 8]>,
        name: &str,
        kind: Kind,
    ) -> Self {
        let mut out = Vec::with_capacity(512);
        bytes(&mut out, 1, &trace);
        bytes(&mut out, 2, &span);
        if let Some(parent) = parent {
            bytes(&mut out, 4, &parent);
        }
        bytes(&mut out, 5, name.as_bytes());
        number(&mut out, 6, kind as u64);
        Self(out)
    }

    pub fn times(&mut self, start_unix_ns: u64, end_unix_ns: u64) {
        fixed64(&mut self.0, 7, start_unix_ns);
        fixed64(&mut self.0, 8, end_unix_ns);
    }

    pub fn text(&mut self, key: &str, value: &str) -> &mut Self {
        key_value(&mut self.0, 9, key, &text_value(value));
        self
    }

    pub fn number(&mut self, key: &str, value: i64) -> &mut Self {
        let mut any = Vec::with_capacity(12);
        number(&mut any, 3, value.cast_unsigned());
        key_value(&mut self.0, 9, key, &any);
        self
    }

    /// It came to an error.
    pub fn failed(&mut self) {
        const ERROR: u64 = 2;
        let mut status = Vec::new();
        number(&mut status, 3, ERROR);
        bytes(&mut self.0, 15, &status);
    }

    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// An ExportTraceServiceRequest of these spans.
pub fn request(spans: &[Vec<u8>]) -> Vec<u8> {
    let mut resource = Vec::new();
    for (key, value) in [
        ("service.name", "dbmesh"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("telemetry.sdk.language", "rust"),
    ] {
        key_value(&mut resource, 1, key, &text_value(value));
    }
    let mut scope = Vec::new();
    bytes(&mut scope, 1, b"dbmesh");
    bytes(&mut scope, 2, env!("CARGO_PKG_VERSION").as_bytes());
    let mut of_scope = Vec::new();
    bytes(&mut of_scope, 1, &scope);
    for span in spans {
        bytes(&mut of_scope, 2, span);
    }
    let mut of_resource = Vec::new();
    bytes(&mut of_resource, 1, &resource);
    bytes(&mut of_resource, 2, &of_scope);
    let mut out = Vec::with_capacity(of_resource.len() + 8);
    bytes(&mut out, 1, &of_resource);
    out
}

/// How many spans a collector did not take of a request that it took, by its ExportTraceServiceResponse.
pub fn rejected_spans(response: &[u8]) -> u64 {
    const PARTIAL_SUCCESS: u64 = 1;
    const REJECTED_SPANS: u64 = 1;
    let of_part = |part: Field<'_>| match part {
        Field::Bytes(PARTIAL_SUCCESS, part) => Fields(part).find_map(|field| match field {
            Field::Number(REJECTED_SPANS, count) => Some(count),
            _ => None,
        }),
        _ => None,
    };
    Fields(response).find_map(of_part).unwrap_or(0)
}

/// A field of a message: its number and content.
enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
    /// Of a fixed size.
    Fixed,
}

/// The fields of a message, as far as it is well-formed.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let tag = self.varint()?;
        let (number, wire) = (tag >> 3, tag & 7);
        let fixed = match wire {
            0 => return Some(Field::Number(number, self.varint()?)),
            1 => 8,
            5 => 4,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                return Some(Field::Bytes(number, bytes));
            }
            _ => return None,
        };
        self.0 = self.0.get(fixed..)?;
        Some(Field::Fixed)
    }
}

/// Bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_are_encoded_as_protocol_buffers_are() {
        let mut out = Vec::new();
        number(&mut out, 1, 150);
        bytes(&mut out, 2, b"testing");
        // The examples of "Encoding".
        assert_eq!(hex(&out), "089601120774657374696e67");
        let mut span = Span::new([1; 16], [2; 8], None, "n", Kind::Client);
        span.number("k", -1);
        let text = hex(&span.finish());
        assert!(
            text.ends_with("4a100a016b120b18ffffffffffffffffff01"),
            "{text}"
        );
    }
}
