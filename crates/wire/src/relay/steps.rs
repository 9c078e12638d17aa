//! What one step of a relay came to.

/// Why a run of rows ends.
pub(super) enum RowsStop {
    /// The next packet needs a closer look.
    Control,
    /// More input is needed.
    Short,
    /// The last row goes on beyond the input.
    Streaming,
}

/// What became of a packet.
pub(super) enum Taken {
    Short,
    Bytes(usize),
    LocalInfile(usize, Vec<u8>),
}

/// What ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum EndKind {
    Ok,
    Rows,
}
