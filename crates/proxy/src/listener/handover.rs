//! Listening sockets on their way from one process to the next.
//!
//! Owns the address in Linux' abstract namespace under which a process answers for a place that it listens at: it says who
//! that is, and it gives the listening socket to a successor. It must never give one to another user's process, nor take one
//! from there. Input: places; processes that ask.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;

use super::Place;

/// What a successor says.
const ASK: u8 = b'T';
/// What comes with the socket.
const GIVE: u8 = b'L';
/// How long the other process may take for its part.
const PEER_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts to answer for a place that another process still answers for.
const RETRY: Duration = Duration::from_secs(1);

/// A process that listens at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number; 0 if it runs where it cannot be seen.
    pub pid: i32,
}

fn address(place: &Place) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("dbmesh:{place}"))
}

fn connect(place: &Place) -> io::Result<UnixStream> {
    let stream = StdStream::connect_addr(&address(place)?)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Which process of this user is at the other end; an error if it is another user's.
fn peer(stream: &UnixStream) -> io::Result<Holder> {
    let peer = stream.peer_cred()?;
    match peer.uid() == rustix::process::geteuid().as_raw() {
        true => Ok(Holder {
            pid: peer.pid().unwrap_or_default(),
        }),
        false => {
            let why = "the process there runs as another user";
            Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
        }
    }
}

/// The process of dbmesh that listens there, if one says so.
#[must_use]
pub fn holder(place: &Place) -> Option<Holder> {
    let mut places = vec![place.clone()];
    if let Place::Tcp(_, port) = place {
        let wildcards = ["0.0.0.0", "::", "127.0.0.1", "localhost"];
        places.extend(wildcards.map(|host| Place::Tcp(host.to_owned(), *port)));
    }
    let mut streams = places.iter().filter_map(|place| connect(place).ok());
    streams.find_map(|stream| peer(&stream).ok())
}

/// Answers for a place, from now on or from when the process before has ended.
#[derive(Debug)]
pub struct Offer {
    place: Place,
    listener: Option<UnixListener>,
    /// When the next attempt is due, however often the wait for it is broken off.
    next: Instant,
}

impl Offer {
    /// For a place that this process listens at.
    #[must_use]
    pub fn of(place: &Place) -> Self {
        Self {
            place: place.clone(),
            listener: answer(place).ok(),
            next: Instant::now() + RETRY,
        }
    }

    /// The next process that asks.
    pub async fn asked(&mut self) -> UnixStream {
        loop {
            match &self.listener {
                Some(listener) => match listener.accept().await {
                    Ok((stream, _)) => return stream,
                    Err(_) => tokio::time::sleep(RETRY).await,
                },
                None => {
                    tokio::time::sleep_until(self.next).await;
                    self.next = Instant::now() + RETRY;
                    self.listener = answer(&self.place).ok();
                }
            }
        }
    }
}

fn answer(place: &Place) -> io::Result<UnixListener> {
    let listener = StdListener::bind_addr(&address(place)?)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Gives the socket to whoever asked, if that is what it asks for; most only want to know who listens.
///
/// # Errors
/// It is another user's process, or is gone.
pub async fn give(mut successor: UnixStream, socket: OwnedFd) -> io::Result<Option<Holder>> {
    let who = peer(&successor)?;
    match tokio::time::timeout(PEER_TIMEOUT, successor.read_u8()).await {
        Ok(Ok(ASK)) => {}
        _ => return Ok(None),
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let sockets = [socket.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&sockets));
    let text = [IoSlice::new(&[GIVE])];
    sendmsg(&successor, &text, &mut control, SendFlags::NOSIGNAL)?;
    Ok(Some(who))
}

/// The listening socket of the process that has the place; none if nobody answers for it.
///
/// # Errors
/// It is another user's process, or it does not answer as one of dbmesh.
pub async fn take(place: &Place) -> io::Result<Option<(OwnedFd, Holder)>> {
    let mut stream = match connect(place) {
        Ok(stream) => stream,
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
        Err(e) => return Err(e),
    };
    let who = peer(&stream)?;
    stream.write_all(&[ASK]).await?;
    let answer = stream.async_io(Interest::READABLE, || receive(&stream));
    let socket = match tokio::time::timeout(PEER_TIMEOUT, answer).await {
        Ok(received) => received?,
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    match socket {
        Some(socket) => Ok(Some((socket, who))),
        None => Err(io::Error::other("it gives no listening socket")),
    }
}

fn receive(stream: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = [0];
    let mut parts = [IoSliceMut::new(&mut text)];
    recvmsg(stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut sockets = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    Ok(sockets.next())
}
