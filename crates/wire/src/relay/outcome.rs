//! What a relay is told and what it says: how packets are numbered, the server's report, or why there is none.
//!
//! Owns no behaviour. Input: the relay.

use crate::codec::DecodeError;
use crate::status::Status;

/// What the server reported in the course of one response.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Status flags of the last OK or EOF; `None` when there was none.
    pub status: Option<Status>,
    /// Rows changed, from the last OK that ended no result set.
    pub affected_rows: u64,
    /// The last generated or explicit id reported, 0 when none.
    pub last_insert_id: u64,
    /// Warning count of the last OK or EOF.
    pub warnings: u16,
    /// Rows of the last result set.
    pub rows: u64,
    /// Result sets seen.
    pub result_sets: u32,
    /// Whether the last result was a result set (not a plain OK).
    pub ended_in_rows: bool,
    /// The server's error, if the response ended in one: its number.
    pub error: Option<u16>,
    /// Session-state items of all OKs, in order, as they came.
    pub tracked: Vec<u8>,
    /// Whether items were dropped because there were too many.
    pub tracked_overflow: bool,
    /// Bytes appended for the client.
    pub bytes: u64,
}

impl Outcome {
    pub(super) fn begin_result(&mut self) {
        self.rows = 0;
        self.warnings = 0;
    }
}

/// Why a response could not be followed. The connection that sent it is in doubt.
#[derive(Debug, PartialEq, Eq)]
pub enum RelayError {
    /// A packet carried another sequence number than the next one.
    Sequence {
        /// The number that was due.
        expected: u8,
        /// The number that came.
        found: u8,
    },
    /// A packet that must be seen whole is too large.
    ControlTooLarge(usize),
    /// A packet that does not belong here.
    Unexpected(&'static str),
    /// A packet that could not be decoded.
    Decode(DecodeError),
}

impl std::fmt::Display for RelayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sequence { expected, found } => {
                write!(
                    f,
                    "packet out of order: expected number {expected}, found {found}"
                )
            }
            Self::ControlTooLarge(bytes) => write!(f, "control packet of {bytes} bytes"),
            Self::Unexpected(what) => write!(f, "unexpected {what}"),
            Self::Decode(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for RelayError {}

impl From<DecodeError> for RelayError {
    fn from(e: DecodeError) -> Self {
        Self::Decode(e)
    }
}

/// How a server numbers the packets of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// One after the other.
    Strict,
    /// Each result begins with the number of its compressed frame: servers set it whenever they flush.
    Jumps,
}
