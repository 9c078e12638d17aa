//! The compressed protocol, zlib and zstd.
//!
//! Owns its frames: a seven-byte header (compressed length, sequence id, plain length) around a piece
//! of the packet stream. A frame's claimed length is checked before memory is taken, and a frame that
//! holds more or less than it claims is an error. Input: bytes to and from an authenticated peer.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::fmt;

/// Bytes of a compressed frame's header.
pub const FRAME_HEADER_BYTES: usize = 7;
/// Payloads shorter than this are sent as they are.
pub const MIN_COMPRESS_BYTES: usize = 50;
/// Most plain bytes in one frame, in either direction.
pub const MAX_FRAME_BYTES: usize = 0xFF_FFFF;

/// Plain bytes per frame that we send: small enough for the peer to start early.
const CHUNK_BYTES: usize = 256 * 1024;
/// Level of zstd unless the client asks for another.
pub const ZSTD_DEFAULT_LEVEL: u8 = 3;
const ZSTD_MAX_LEVEL: u8 = 22;
/// zlib's own default.
const ZLIB_DEFAULT_LEVEL: u8 = 6;
const ZLIB_MAX_LEVEL: u8 = 9;

/// How frames are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// zlib (CLIENT_COMPRESS).
    Zlib,
    /// zstd (CLIENT_ZSTD_COMPRESSION_ALGORITHM).
    Zstd,
}

/// Frames that cannot be made or taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressError {
    /// A frame claims more plain bytes than accepted.
    TooLarge {
        /// What it claims.
        claimed_bytes: usize,
        /// What is accepted.
        limit_bytes: usize,
    },
    /// A frame holds another number of plain bytes than it claims, or is damaged.
    Corrupt {
        /// What it claims.
        claimed_bytes: usize,
    },
    /// The compression library failed.
    Library,
}

impl fmt::Display for CompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge {
                claimed_bytes,
                limit_bytes,
            } => {
                write!(
                    f,
                    "a compressed packet claims {claimed_bytes} bytes, at most {limit_bytes} are accepted"
                )
            }
            Self::Corrupt { claimed_bytes } => {
                write!(
                    f,
                    "a compressed packet does not hold the {claimed_bytes} bytes that it claims"
                )
            }
            Self::Library => f.write_str("the compression library failed"),
        }
    }
}

impl std::error::Error for CompressError {}

/// Makes frames of plain bytes.
pub struct Compressor {
    engine: Deflater,
    seq: u8,
    scratch: Vec<u8>,
}

enum Deflater {
    Zlib(Box<Compress>),
    Zstd(Option<zstd::bulk::Compressor<'static>>),
}

impl Compressor {
    /// `level` 0 is the algorithm's default; levels that it does not have become its highest.
    pub fn new(algorithm: Algorithm, level: u8) -> Self {
        let or_default = |default| if level == 0 { default } else { level };
        let engine = match algorithm {
            Algorithm::Zlib => {
                let level = u32::from(or_default(ZLIB_DEFAULT_LEVEL).min(ZLIB_MAX_LEVEL));
                Deflater::Zlib(Box::new(Compress::new(Compression::new(level), true)))
            }
            Algorithm::Zstd => {
                let level = i32::from(or_default(ZSTD_DEFAULT_LEVEL).min(ZSTD_MAX_LEVEL));
                Deflater::Zstd(zstd::bulk::Compressor::new(level).ok())
            }
        };
        Self {
            engine,
            seq: 0,
            scratch: Vec::new(),
        }
    }

    /// Starts the frames' own numbering again, as each command does.
    pub fn reset_sequence(&mut self) {
        self.seq = 0;
    }

    /// Goes on with this number: both directions of a command count together, so an answer goes on
    /// where the [`Decompressor::next_sequence`] of the question stands. libmysqlclient checks it.
    pub fn continue_sequence(&mut self, seq: u8) {
        self.seq = seq;
    }

    /// Number of the next frame.
    pub fn next_sequence(&self) -> u8 {
        self.seq
    }

    /// Appends frames with all of `plain` to `out`. Pieces that do not get smaller are stored.
    ///
    /// # Errors
    /// When the compression library fails.
    pub fn compress(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        for chunk in plain.chunks(CHUNK_BYTES) {
            let smaller = chunk.len() >= MIN_COMPRESS_BYTES && self.deflate(chunk)?;
            let (body, plain_bytes) = if smaller {
                (&*self.scratch, chunk.len())
            } else {
                (chunk, 0)
            };
            put_length(out, body.len());
            out.push(self.seq);
            put_length(out, plain_bytes);
            out.extend_from_slice(body);
            self.seq = self.seq.wrapping_add(1);
        }
        Ok(())
    }

    /// Compresses `chunk` into the scratch buffer; false when that does not make it smaller.
    fn deflate(&mut self, chunk: &[u8]) -> Result<bool, CompressError> {
        // One byte less than the chunk: what does not fit is not worth compressing.
        let room = chunk.len().saturating_sub(1);
        self.scratch.clear();
        self.scratch.reserve(room);
        match &mut self.engine {
            Deflater::Zlib(zlib) => {
                zlib.reset();
                self.scratch.resize(room, 0);
                let status = zlib
                    .compress(chunk, &mut self.scratch, FlushCompress::Finish)
                    .map_err(|_| CompressError::Library)?;
                self.scratch
                    .truncate(usize::try_from(zlib.total_out()).unwrap_or(0));
                Ok(status == Status::StreamEnd)
            }
            Deflater::Zstd(zstd) => {
                let zstd = zstd.as_mut().ok_or(CompressError::Library)?;
                self.scratch.resize(room, 0);
                // The only failure of a whole-buffer call is a result that does not fit.
                let written = zstd.compress_to_buffer(chunk, self.scratch.as_mut_slice());
                self.scratch
                    .truncate(written.as_ref().copied().unwrap_or(0));
                Ok(written.is_ok())
            }
        }
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor")
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}

/// Takes plain bytes out of frames.
pub struct Decompressor {
    engine: Inflater,
    seq: u8,
    frame_bytes_max: usize,
}

enum Inflater {
    Zlib(Box<Decompress>),
    Zstd(Option<zstd::bulk::Decompressor<'static>>),
}

impl Decompressor {
    /// Accepts frames of up to [`MAX_FRAME_BYTES`] plain bytes, which is all that a header can say.
    pub fn new(algorithm: Algorithm) -> Self {
        let engine = match algorithm {
            Algorithm::Zlib => Inflater::Zlib(Box::new(Decompress::new(true))),
            Algorithm::Zstd => Inflater::Zstd(zstd::bulk::Decompressor::new().ok()),
        };
        Self {
            engine,
            seq: 0,
            frame_bytes_max: MAX_FRAME_BYTES,
        }
    }

    /// Accepts frames of up to this many plain bytes.
    #[must_use]
    pub fn with_frame_bytes_max(self, frame_bytes_max: usize) -> Self {
        Self {
            frame_bytes_max,
            ..self
        }
    }

    /// Starts the frames' own numbering again, as each command does.
    pub fn reset_sequence(&mut self) {
        self.seq = 0;
    }

    /// The number behind the last frame's. Numbers are not checked: servers do not always count right
    /// when they flush in the middle of an answer.
    pub fn next_sequence(&self) -> u8 {
        self.seq
    }

    /// Takes the whole frames at the start of `frames` apart, appends their plain bytes to `out` and
    /// returns how many bytes of `frames` were used. Give the others again with what follows them; a
    /// frame is never longer than 16 MiB + 6.
    ///
    /// # Errors
    /// When a frame claims too much, or does not hold what it claims. The connection is then lost.
    pub fn decompress(&mut self, frames: &[u8], out: &mut Vec<u8>) -> Result<usize, CompressError> {
        let mut used: usize = 0;
        while let Some((header, body)) = frames.get(used..).and_then(Self::frame) {
            let claimed_bytes = header.plain_bytes.unwrap_or(body.len());
            if claimed_bytes > self.frame_bytes_max {
                return Err(CompressError::TooLarge {
                    claimed_bytes,
                    limit_bytes: self.frame_bytes_max,
                });
            }
            match header.plain_bytes {
                None => out.extend_from_slice(body),
                Some(plain_bytes) => self.inflate(body, plain_bytes, out)?,
            }
            self.seq = header.seq.wrapping_add(1);
            used = used
                .saturating_add(FRAME_HEADER_BYTES)
                .saturating_add(body.len());
        }
        Ok(used)
    }

    /// The first frame, once it is whole.
    fn frame(bytes: &[u8]) -> Option<(FrameHeader, &[u8])> {
        let (header, rest) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>()?;
        let [a, b, c, seq, x, y, z] = *header;
        let body_bytes = u32::from_le_bytes([a, b, c, 0]) as usize;
        let plain_bytes = match u32::from_le_bytes([x, y, z, 0]) as usize {
            0 => None,
            claimed => Some(claimed),
        };
        rest.get(..body_bytes)
            .map(|body| (FrameHeader { seq, plain_bytes }, body))
    }

    fn inflate(
        &mut self,
        body: &[u8],
        plain_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CompressError> {
        let start = out.len();
        let end = start.saturating_add(plain_bytes);
        out.resize(end, 0);
        let room = out.get_mut(start..end).unwrap_or_default();
        let right = match &mut self.engine {
            Inflater::Zlib(zlib) => {
                zlib.reset(true);
                let status = zlib.decompress(body, room, FlushDecompress::Finish);
                matches!(status, Ok(Status::StreamEnd)) && zlib.total_out() == plain_bytes as u64
            }
            Inflater::Zstd(zstd) => {
                let zstd = zstd.as_mut().ok_or(CompressError::Library)?;
                zstd.decompress_to_buffer(body, room)
                    .is_ok_and(|written| written == plain_bytes)
            }
        };
        if right {
            return Ok(());
        }
        out.truncate(start);
        Err(CompressError::Corrupt {
            claimed_bytes: plain_bytes,
        })
    }
}

/// A frame's header without its compressed length.
struct FrameHeader {
    seq: u8,
    /// `None` when the body is stored.
    plain_bytes: Option<usize>,
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor")
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}

/// A three-byte length; frames are cut so that it fits.
fn put_length(out: &mut Vec<u8>, length: usize) {
    crate::codec::put_u24(out, u32::try_from(length).unwrap_or(u32::MAX));
}
