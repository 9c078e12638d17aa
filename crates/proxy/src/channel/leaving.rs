//! Whether a peer left behind bytes that nobody reads while it waits for an answer.
//!
//! Owns the look at the socket: its end alone shows at once, but many clients say goodbye first, and TLS does. Must cost
//! statements that end soon nothing. Input: a channel whose peer waits.

use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use dbmesh_wire::codec::HEADER_BYTES;
use dbmesh_wire::compress::FRAME_HEADER_BYTES;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
use tokio::time::{Instant, Sleep, sleep};

use super::stream::Seen;
use super::{Channel, Stream};

/// How often the socket is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// COM_QUIT, as a packet.
const QUIT: [u8; HEADER_BYTES + 1] = [1, 0, 0, 0, 1];

/// When the next look is due.
pub(super) type Watch = Option<Pin<Box<Sleep>>>;

impl Channel {
    /// Ready when the peer hung up; looked at while it waits for an answer. A peer that sent further commands before it closed
    /// its side may still read the answers.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.stream.poll_peek(cx) {
            Poll::Ready(Seen::End) => return Poll::Ready(()),
            Poll::Ready(Seen::Unclear) => {}
            // The end itself would wake.
            Poll::Pending => return Poll::Pending,
        }
        let watch = self
            .watch
            .get_or_insert_with(|| Box::pin(sleep(LOOK_EVERY)));
        loop {
            ready!(watch.as_mut().poll(cx));
            watch.as_mut().reset(Instant::now() + LOOK_EVERY);
            if has_left(
                &self.stream,
                self.inbox.unread(),
                self.compression.is_some(),
            ) {
                return Poll::Ready(());
            }
        }
    }
}

/// Whether nobody is there any more: the peer closed its side with nothing, or goodbye, as its next command.
fn has_left(stream: &Stream, unread: &[u8], is_compressed: bool) -> bool {
    let Some(socket) = stream.socket() else {
        return true;
    };
    let state = state_of(socket);
    if state.intersects(PollFlags::HUP | PollFlags::ERR) {
        return true;
    }
    if !state.contains(PollFlags::RDHUP) {
        return false;
    }
    if !unread.is_empty() {
        return unread.starts_with(&QUIT);
    }
    // What TLS has for us cannot be told, but nobody closes one side of it.
    let is_encrypted = matches!(stream, Stream::Server(_) | Stream::Client(_));
    let mut next = [0; FRAME_HEADER_BYTES + QUIT.len()];
    let Ok((len, _)) = recv(socket, &mut next, RecvFlags::PEEK | RecvFlags::DONTWAIT) else {
        return true;
    };
    let next = next.get(..len).unwrap_or_default();
    is_encrypted || next.is_empty() || says_goodbye(next, is_compressed)
}

/// Whether the next bytes of a peer are COM_QUIT. In a compressed stream it stands behind the header of a frame that is not
/// compressed.
fn says_goodbye(next: &[u8], is_compressed: bool) -> bool {
    if !is_compressed {
        return next.starts_with(&QUIT);
    }
    match next.split_at_checked(FRAME_HEADER_BYTES) {
        Some((header, packet)) => header.ends_with(&[0, 0, 0]) && packet.starts_with(&QUIT),
        None => false,
    }
}

fn state_of(socket: BorrowedFd<'_>) -> PollFlags {
    let mut all = [PollFd::new(&socket, PollFlags::RDHUP)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match poll(&mut all, Some(&now)) {
        Ok(1) => all.map(|one| one.revents()).into_iter().collect(),
        _ => PollFlags::empty(),
    }
}

impl Stream {
    /// The socket below.
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(match self {
            Self::Tcp(s) => s.as_fd(),
            Self::Unix(s) => s.as_fd(),
            Self::Server(s) => s.get_ref().0.socket().as_fd(),
            Self::Client(s) => s.get_ref().0.as_fd(),
            Self::Closed => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream, UnixStream};

    use super::*;

    async fn pair() -> (TcpStream, Channel) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap());
        let (peer, accepted) = tokio::join!(peer, listener.accept());
        (
            peer.unwrap(),
            Channel::new(Stream::Tcp(accepted.unwrap().0)),
        )
    }

    /// Whether it is seen to be gone within some looks.
    async fn is_gone(channel: &mut Channel) -> bool {
        let gone = poll_fn(|cx| channel.poll_gone(cx));
        tokio::time::timeout(LOOK_EVERY.mul_f32(2.5), gone)
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn who_says_goodbye_or_just_closes_is_gone() {
        for goodbye in [&QUIT[..], &[]] {
            let (mut peer, mut channel) = pair().await;
            peer.write_all(goodbye).await.unwrap();
            assert!(!is_gone(&mut channel).await);
            drop(peer);
            assert!(is_gone(&mut channel).await, "{goodbye:?}");
        }
        let (peer, accepted) = UnixStream::pair().unwrap();
        let mut channel = Channel::new(Stream::Unix(accepted));
        assert!(!is_gone(&mut channel).await);
        drop(peer);
        assert!(is_gone(&mut channel).await);
    }

    #[tokio::test]
    async fn who_sent_further_commands_may_still_read() {
        let (mut peer, mut channel) = pair().await;
        peer.write_all(b"\x02\0\0\0\x03x\x01\0\0\0\x01")
            .await
            .unwrap();
        peer.shutdown().await.unwrap();
        assert!(!is_gone(&mut channel).await);
    }

    #[test]
    fn goodbye_is_found_in_frames() {
        let framed = [&[5, 0, 0, 0, 0, 0, 0][..], &QUIT].concat();
        assert!(says_goodbye(&framed, true) && !says_goodbye(&framed, false));
        assert!(says_goodbye(&QUIT, false) && !says_goodbye(&QUIT, true));
        assert!(!says_goodbye(b"\x05\0\0\0\x0e\0\0\x78\x9c\0\0\0", true));
    }
}
