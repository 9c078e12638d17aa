//! How far single steps of a relay came.
//!
//! Owns no behaviour. Input: the relay.

pub(super) enum RowsStop {
    /// The next packet needs a closer look.
    Control,
    /// More input is needed.
    Short,
    /// The last row goes on beyond the input.
    Streaming,
}

pub(super) enum Taken {
    Short,
    Bytes(usize),
    LocalInfile(usize, Vec<u8>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum EndKind {
    Ok,
    Rows,
}
