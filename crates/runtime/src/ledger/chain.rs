//! How lines are linked: `{"seq":N,"prev":"HASH",…,"hash":"HASH"}`.
//!
//! It owns the form of a linked line. A line's hash is the SHA-256 of all of it before `,"hash"`, the hash of the line
//! before included, so that no line can be changed, left out or moved without another one telling. Who can write the
//! file can make the whole chain anew: its end belongs somewhere else too. Its input is lines, also of strangers.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};

/// Digits of a hash.
const DIGITS: usize = 64;
/// What stands before a chain's first line.
pub const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Where a chain is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Number of the last line; 0 before the first.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

impl Default for End {
    fn default() -> Self {
        Self {
            seq: 0,
            hash: NOTHING.to_owned(),
        }
    }
}

pub fn hash_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(DIGITS);
    for byte in digest(&SHA256, bytes).as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl End {
    /// Appends the next line with its end of line.
    pub fn link(&mut self, fields: &str, out: &mut Vec<u8>) {
        let start = out.len();
        let (seq, prev) = (self.seq + 1, &self.hash);
        out.extend_from_slice(format!("{{\"seq\":{seq},\"prev\":\"{prev}\",{fields}").as_bytes());
        self.hash = hash_of(out.get(start..).unwrap_or_default());
        self.seq = seq;
        out.extend_from_slice(format!(",\"hash\":\"{}\"}}\n", self.hash).as_bytes());
    }
}

/// A linked line, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Linked<'a> {
    pub seq: u64,
    pub prev: &'a str,
    /// The hash that it says.
    pub hash: &'a str,
    /// What the hash is of.
    pub hashed: &'a [u8],
}

impl<'a> Linked<'a> {
    /// Of a line without its end.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?;
        let rest = text.strip_prefix("{\"seq\":")?;
        let (seq, rest) = rest.split_once(",\"prev\":\"")?;
        let (prev, rest) = rest.split_at_checked(DIGITS)?;
        rest.strip_prefix("\",")?;
        let body = text.strip_suffix("\"}")?;
        let (before, hash) = body.split_at_checked(body.len().checked_sub(DIGITS)?)?;
        let hashed = before.strip_suffix(",\"hash\":\"")?;
        let digits = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (digits(prev) && digits(hash)).then_some(Self {
            seq: seq.parse().ok()?,
            prev,
            hash,
            hashed: hashed.as_bytes(),
        })
    }

    /// Whether it is as it was written.
    pub fn is_whole(&self) -> bool {
        hash_of(self.hashed) == self.hash
    }
}
