//! The byte streams below a channel: TCP, Unix sockets, TLS on either side.
//!
//! Owns the dispatch among them and the upgrade to TLS. It must never buffer. Input: connected sockets.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected byte stream.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS, the proxy being the server.
    Server(Box<tokio_rustls::server::TlsStream<Rewound>>),
    /// TLS, the proxy being the client.
    Client(Box<tokio_rustls::client::TlsStream<TcpOrUnix>>),
    /// Nothing: the stream is being upgraded, or is gone.
    Closed,
}

/// What TLS runs over.
#[derive(Debug)]
pub enum TcpOrUnix {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

/// A socket of which bytes were read already that belong to what comes now.
#[derive(Debug)]
pub struct Rewound {
    unread: Vec<u8>,
    socket: TcpOrUnix,
}

impl Rewound {
    /// `unread` comes before what the socket has.
    #[must_use]
    pub fn new(unread: Vec<u8>, socket: TcpOrUnix) -> Self {
        Self { unread, socket }
    }

    /// The socket.
    pub(super) fn socket(&self) -> &TcpOrUnix {
        &self.socket
    }
}

/// What is next of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Its end.
    End,
    /// Bytes, and perhaps the end behind them.
    Unclear,
}

impl AsFd for TcpOrUnix {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(s) => s.as_fd(),
            Self::Unix(s) => s.as_fd(),
        }
    }
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        }
        let take = self.unread.len().min(buf.remaining());
        let rest = self.unread.split_off(take);
        buf.put_slice(&self.unread);
        self.unread = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

macro_rules! each_stream {
    ($self:ident, $s:ident => $e:expr, $closed:expr) => {
        match $self.get_mut() {
            Stream::Tcp($s) => $e,
            Stream::Unix($s) => $e,
            Stream::Server($s) => $e,
            Stream::Client($s) => $e,
            Stream::Closed => $closed,
        }
    };
}

macro_rules! each_socket {
    ($self:ident, $s:ident => $e:expr) => {
        match $self.get_mut() {
            TcpOrUnix::Tcp($s) => $e,
            TcpOrUnix::Unix($s) => $e,
        }
    };
}

impl AsyncRead for TcpOrUnix {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each_socket!(self, s => Pin::new(s).poll_read(cx, buf))
    }
}

impl AsyncWrite for TcpOrUnix {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each_socket!(self, s => Pin::new(s).poll_write(cx, buf))
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each_socket!(self, s => Pin::new(s).poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each_socket!(self, s => Pin::new(s).poll_shutdown(cx))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each_stream!(self, s => Pin::new(s).poll_read(cx, buf), Poll::Ready(Err(closed())))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each_stream!(self, s => Pin::new(s).poll_write(cx, buf), Poll::Ready(Err(closed())))
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each_stream!(self, s => Pin::new(s).poll_flush(cx), Poll::Ready(Err(closed())))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each_stream!(self, s => Pin::new(s).poll_shutdown(cx), Poll::Ready(Ok(())))
    }
}

fn closed() -> io::Error {
    io::Error::from(io::ErrorKind::NotConnected)
}

impl Stream {
    /// Whether the peer cannot be overheard: TLS, or a Unix socket.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        matches!(self, Self::Unix(_) | Self::Server(_) | Self::Client(_))
    }

    /// Takes the plain socket out, to wrap it in TLS.
    #[must_use]
    pub fn take_socket(&mut self) -> Option<TcpOrUnix> {
        match std::mem::replace(self, Self::Closed) {
            Self::Tcp(s) => Some(TcpOrUnix::Tcp(s)),
            Self::Unix(s) => Some(TcpOrUnix::Unix(s)),
            other => {
                *self = other;
                None
            }
        }
    }

    /// What is next to be read of a peer that waits for an answer; pending where nothing is.
    pub(super) fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<Seen> {
        let socket = match self {
            Self::Tcp(s) => s,
            Self::Server(s) => match &mut s.get_mut().0.socket {
                TcpOrUnix::Tcp(s) => s,
                TcpOrUnix::Unix(_) => return Poll::Ready(Seen::Unclear),
            },
            // Unix sockets have no peeking that waits.
            Self::Unix(_) | Self::Client(_) => return Poll::Ready(Seen::Unclear),
            Self::Closed => return Poll::Ready(Seen::End),
        };
        let mut byte = [0u8; 1];
        match socket.poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Seen::End),
            Poll::Ready(Ok(_)) => Poll::Ready(Seen::Unclear),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Polls until a read may yield something. TLS streams are always "ready": only reading tells.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(s) => s.poll_read_ready(cx),
            Self::Unix(s) => s.poll_read_ready(cx),
            Self::Server(_) | Self::Client(_) => Poll::Ready(Ok(())),
            Self::Closed => Poll::Ready(Err(closed())),
        }
    }
}
