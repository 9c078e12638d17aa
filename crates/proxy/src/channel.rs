//! One MySQL connection as bytes: a stream (TCP, Unix socket, TLS), its read buffer and its compression.
//!
//! Owns reading and writing whole buffers for both sides of the proxy. It must never interpret a packet, and holds no
//! buffer while nothing is there to be read: an idle connection costs its socket only. Input: a connected socket.

mod inbox;
mod leaving;
mod stream;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use dbmesh_wire::codec::{HEADER_BYTES, Header, MAX_PAYLOAD};
use dbmesh_wire::compress::{Algorithm, Compressor, Decompressor, FRAME_HEADER_BYTES};
use dbmesh_wire::relay::Numbering;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

use crate::allowance::{Full, Share};
pub use inbox::Inbox;
use inbox::spare;
pub use stream::{Rewound, Stream};

/// First size of a read buffer, in bytes.
const READ_BUFFER_BYTES: usize = 16 << 10;
/// Size to which a read buffer grows while a long response streams, in bytes.
const STREAM_BUFFER_BYTES: usize = 128 << 10;

/// Takes an empty output buffer.
#[must_use]
pub fn output_buffer() -> Vec<u8> {
    spare::take()
}

/// Gives an output buffer back.
pub fn return_buffer(buffer: Vec<u8>) {
    spare::give(buffer);
}

/// The compression of one connection, once agreed.
#[derive(Debug)]
struct Compression {
    compressor: Compressor,
    decompressor: Decompressor,
    /// Compressed bytes as they came.
    raw: Vec<u8>,
    /// Compressed bytes to be sent.
    out: Vec<u8>,
}

/// A connection: stream, unread input, compression.
#[derive(Debug)]
pub struct Channel {
    stream: Stream,
    inbox: Inbox,
    compression: Option<Box<Compression>>,
    watch: leaving::Watch,
    /// Bytes read from and written to the socket.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// How long the peer may pause in the middle of a packet; none: for ever.
    pub progress_timeout: Option<Duration>,
}

impl Channel {
    /// A channel over a fresh stream.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            inbox: Inbox::default(),
            compression: None,
            watch: None,
            bytes_in: 0,
            bytes_out: 0,
            progress_timeout: None,
        }
    }

    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The stream, to be upgraded. Unread bytes must be dealt with first.
    pub fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Unread input.
    #[must_use]
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Takes what is unread out, for another reader.
    pub fn take_unread(&mut self) -> Vec<u8> {
        let unread = self.inbox.unread().to_vec();
        self.inbox.consume(unread.len());
        unread
    }

    /// Marks input as read.
    pub fn consume(&mut self, n: usize) {
        self.inbox.consume(n);
    }

    /// Gives the read buffer back while nothing is unread.
    pub fn rest(&mut self) {
        self.inbox.shrink();
        self.watch = None;
    }

    /// Compresses from here on, in both directions. Bytes that were already read belong to the compressed stream.
    pub fn start_compression(&mut self, algorithm: Algorithm, level: u8) {
        let raw = self.inbox.unread().to_vec();
        let n = raw.len();
        self.inbox.consume(n);
        self.compression = Some(Box::new(Compression {
            compressor: Compressor::new(algorithm, level),
            decompressor: Decompressor::new(algorithm),
            raw,
            out: Vec::new(),
        }));
    }

    /// Whether the connection is compressed.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.compression.is_some()
    }

    /// Number of the next compressed frame that is sent.
    #[must_use]
    pub fn frame_sequence(&self) -> Option<u8> {
        self.compression
            .as_ref()
            .map(|c| c.compressor.next_sequence())
    }

    /// How the peer numbers its packets.
    #[must_use]
    pub fn numbering(&self) -> Numbering {
        if self.is_compressed() {
            Numbering::Jumps
        } else {
            Numbering::Strict
        }
    }

    /// Begins a new command of ours: the compressed packets' own numbering starts again. A client's commands set it
    /// themselves.
    pub fn begin_command(&mut self) {
        if let Some(c) = &mut self.compression {
            c.compressor.reset_sequence();
            c.decompressor.reset_sequence();
        }
    }

    /// Reads more into the inbox; `Ok(0)` at the end of the stream. Cancel-safe.
    ///
    /// # Errors
    /// The socket's, or that of bad compressed bytes.
    pub async fn fill(&mut self) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// As [`Self::fill`], but a peer that sends nothing for too long counts as gone.
    async fn fill_in_time(&mut self) -> io::Result<usize> {
        match self.progress_timeout {
            None => self.fill().await,
            Some(limit) => match tokio::time::timeout(limit, self.fill()).await {
                Ok(filled) => filled,
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            },
        }
    }

    /// As [`Self::fill`], to be polled.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.compression.is_some() {
            return self.poll_fill_compressed(cx);
        }
        if self.inbox.is_empty() {
            // Wait without a buffer: ten thousand idle connections hold none.
            std::task::ready!(self.stream.poll_readable(cx))?;
        }
        let wanted = match self.inbox.bytes.len() {
            0 if self.inbox.bytes.capacity() > READ_BUFFER_BYTES => STREAM_BUFFER_BYTES,
            0 => READ_BUFFER_BYTES,
            _ => READ_BUFFER_BYTES / 2,
        };
        self.inbox.make_room(wanted);
        let n = std::task::ready!(poll_read_vec(&mut self.stream, cx, &mut self.inbox.bytes))?;
        self.bytes_in += n as u64;
        if n >= READ_BUFFER_BYTES && self.inbox.bytes.capacity() < STREAM_BUFFER_BYTES {
            let more = STREAM_BUFFER_BYTES - self.inbox.bytes.len();
            self.inbox.bytes.reserve_exact(more);
        }
        Poll::Ready(Ok(n))
    }

    fn poll_fill_compressed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(c) = self.compression.as_deref_mut() else {
            return Poll::Ready(Ok(0));
        };
        loop {
            self.inbox.make_room(0);
            let before = self.inbox.bytes.len();
            // One frame at a time: a few bytes can stand for 16 MiB, and a read may hold hundreds of such frames.
            let frame = first_frame(&c.raw);
            let taken = c
                .decompressor
                .decompress(frame, &mut self.inbox.bytes)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
            c.raw.drain(..taken);
            if taken > 0 {
                // Both directions of a command count together.
                c.compressor
                    .continue_sequence(c.decompressor.next_sequence());
            }
            let gained = self.inbox.bytes.len() - before;
            if gained > 0 {
                return Poll::Ready(Ok(gained));
            }
            c.raw.reserve(READ_BUFFER_BYTES);
            let n = std::task::ready!(poll_read_vec(&mut self.stream, cx, &mut c.raw))?;
            self.bytes_in += n as u64;
            if n == 0 {
                return Poll::Ready(Ok(0));
            }
        }
    }

    /// Whether any byte is there that was not dealt with.
    #[must_use]
    pub fn has_unread(&self) -> bool {
        !self.inbox.is_empty() || self.compression.as_ref().is_some_and(|c| !c.raw.is_empty())
    }

    /// Writes all of `bytes`, and flushes. Not cancel-safe: a dropped write leaves the peer in the middle of a packet.
    ///
    /// # Errors
    /// The socket's.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(c) = self.compression.as_deref_mut() {
            c.out.clear();
            c.compressor
                .compress(bytes, &mut c.out)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
            self.bytes_out += c.out.len() as u64;
            self.stream.write_all(&c.out).await?;
            return self.flush().await;
        }
        self.bytes_out += bytes.len() as u64;
        self.stream.write_all(bytes).await?;
        self.flush().await
    }

    async fn flush(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Server(s) => s.flush().await,
            Stream::Client(s) => s.flush().await,
            Stream::Tcp(_) | Stream::Unix(_) | Stream::Closed => Ok(()),
        }
    }

    /// Shuts the write side down, politely.
    pub async fn shutdown(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads one whole logical packet (continuation packets joined) into `payload`; gives the sequence number that
    /// follows the last of its packets. `Ok(None)` when the peer closed between packets. `first_seq` is what the first
    /// header must carry.
    ///
    /// # Errors
    /// [`PacketError`].
    pub async fn read_packet(
        &mut self,
        payload: &mut Vec<u8>,
        first_seq: u8,
        payload_bytes_max: usize,
    ) -> Result<Option<u8>, PacketError> {
        self.read_within(payload, first_seq, payload_bytes_max, None)
            .await
    }

    /// As [`Self::read_packet`], with memory of this share.
    ///
    /// # Errors
    /// [`PacketError`].
    pub async fn read_within(
        &mut self,
        payload: &mut Vec<u8>,
        first_seq: u8,
        payload_bytes_max: usize,
        mut share: Option<&mut Share>,
    ) -> Result<Option<u8>, PacketError> {
        payload.clear();
        let mut seq = first_seq;
        loop {
            let Some(header) = self.read_header().await? else {
                if seq == first_seq && self.inbox.is_empty() {
                    return Ok(None);
                }
                return Err(PacketError::Io(io::ErrorKind::UnexpectedEof.into()));
            };
            let len = header.len as usize;
            if header.seq != seq {
                return Err(PacketError::Sequence {
                    expected: seq,
                    found: header.seq,
                });
            }
            seq = seq.wrapping_add(1);
            if payload.len() + len > payload_bytes_max {
                return Err(PacketError::TooLarge { next_seq: seq });
            }
            self.consume(HEADER_BYTES);
            let mut room = |payload: &mut Vec<u8>, more| match share.as_deref_mut() {
                Some(share) => share.make_room(payload, more, payload_bytes_max),
                None => Ok(()),
            };
            match self.read_payload(len, payload, &mut room).await? {
                Ok(()) => {}
                Err(Full) => return Err(PacketError::NoRoom { next_seq: seq }),
            }
            if len < MAX_PAYLOAD {
                return Ok(Some(seq));
            }
        }
    }

    /// The next packet's header, not consumed; `None` at the end of the stream.
    ///
    /// # Errors
    /// The socket's.
    pub async fn read_header(&mut self) -> io::Result<Option<Header>> {
        loop {
            if let Some(header) = Header::first(self.inbox.unread()) {
                return Ok(Some(header));
            }
            if self.fill_in_time().await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn read_payload(
        &mut self,
        len: usize,
        payload: &mut Vec<u8>,
        room: &mut impl FnMut(&mut Vec<u8>, usize) -> Result<(), Full>,
    ) -> io::Result<Result<(), Full>> {
        let mut left = len;
        while left > 0 {
            let unread = self.inbox.unread();
            let take = left.min(unread.len());
            if let Err(full) = room(payload, take) {
                return Ok(Err(full));
            }
            payload.extend_from_slice(unread.get(..take).unwrap_or_default());
            self.inbox.consume(take);
            left -= take;
            if left > 0 && self.fill_in_time().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Ok(()))
    }

    /// Whether an idle connection was closed by its peer, or spoke unasked: either way it is of no more use.
    pub fn is_stale(&mut self) -> bool {
        if self.has_unread() {
            return true;
        }
        let mut byte = [0u8; 1];
        match &self.stream {
            Stream::Tcp(s) => {
                !matches!(s.try_read(&mut byte), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
            }
            Stream::Unix(s) => {
                !matches!(s.try_read(&mut byte), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
            }
            Stream::Server(_) | Stream::Client(_) => {
                let mut buf = ReadBuf::new(&mut byte);
                let mut cx = Context::from_waker(std::task::Waker::noop());
                // Session tickets are taken in here and leave it pending.
                Pin::new(&mut self.stream)
                    .poll_read(&mut cx, &mut buf)
                    .is_ready()
            }
            Stream::Closed => true,
        }
    }
}

/// The first frame in `raw`, or all of it while that is not whole.
fn first_frame(raw: &[u8]) -> &[u8] {
    let whole = raw.first_chunk::<3>().map(|[a, b, c]| {
        let body = usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16;
        FRAME_HEADER_BYTES + body
    });
    whole.and_then(|n| raw.get(..n)).unwrap_or(raw)
}

fn poll_read_vec(
    stream: &mut Stream,
    cx: &mut Context<'_>,
    bytes: &mut Vec<u8>,
) -> Poll<io::Result<usize>> {
    let mut reading = std::pin::pin!(tokio::io::AsyncReadExt::read_buf(stream, bytes));
    std::future::Future::poll(reading.as_mut(), cx)
}

/// Why no packet could be read.
#[derive(Debug)]
pub enum PacketError {
    /// The socket failed or ended in the middle of a packet.
    Io(io::Error),
    /// The numbering is broken.
    Sequence {
        /// The number that was due.
        expected: u8,
        /// The number that came.
        found: u8,
    },
    /// The packet is larger than allowed; an answer may carry this number.
    TooLarge {
        /// Sequence number for the answer.
        next_seq: u8,
    },
    /// The memory of all large commands is in use; an answer may carry this number.
    NoRoom {
        /// Sequence number for the answer.
        next_seq: u8,
    },
}

impl From<io::Error> for PacketError {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl std::fmt::Display for PacketError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(e) => write!(f, "{e}"),
            Self::Sequence { expected, found } => {
                write!(
                    f,
                    "packet out of order: expected number {expected}, found {found}"
                )
            }
            Self::TooLarge { .. } => write!(f, "packet larger than the limit"),
            Self::NoRoom { .. } => write!(f, "no memory for large commands is left"),
        }
    }
}
