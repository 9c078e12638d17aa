//! Listening: sockets of all services, limits before a client is known, the PROXY protocol.
//!
//! Owns the listening sockets and the counts of connections per address. Services with one address share its socket. It must
//! never spend memory on a client beyond its limits, nor share a place with another process that did not ask for it. Input:
//! the listen addresses of the topology.

mod handover;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use dbmesh_model::topology::Service;
use dbmesh_runtime::drain::Drain;
use parking_lot::Mutex;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::channel::Stream;
use crate::login;
use crate::logins::Logins;
use crate::process::Process;
use crate::proxy_protocol::{HEADER_BYTES_MAX, Header, decode};
use crate::serving::{Services, Serving};

/// Connections waiting to be accepted, per socket.
const BACKLOG: i32 = 4096;
/// Clients that have not logged in yet, in the whole process. Half of the places are divided among the services.
const ENTRANTS_MAX: u32 = 4096;
/// How long a balancer may take for its PROXY header.
const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// When the kernel asks a silent client whether it is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Host and port.
    Tcp(String, u16),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

impl Place {
    /// The port, of TCP.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(_, port) => Some(*port),
            Self::Unix(_) => None,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How the process comes to its places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nobody else may have them.
    Alone,
    /// It takes them over from the process that has them, if there is one.
    TakeOver,
}

/// The places of services.
#[must_use]
pub fn places<'a>(services: impl Iterator<Item = &'a Arc<Service>>) -> Vec<Place> {
    let mut all = Vec::new();
    for service in services {
        for place in places_of(service) {
            if !all.contains(&place) {
                all.push(place);
            }
        }
    }
    all
}

fn places_of(service: &Service) -> Vec<Place> {
    let listen = &service.listen;
    let tcp = listen
        .tcp
        .as_ref()
        .map(|(host, port)| Place::Tcp(host.clone(), *port));
    let unix = listen.unix.as_ref().map(|path| Place::Unix(path.clone()));
    tcp.into_iter().chain(unix).collect()
}

/// The services of one place.
#[must_use]
pub fn services_at(services: &Services, place: &Place) -> Vec<Arc<Serving>> {
    services
        .list
        .iter()
        .filter(|s| places_of(&s.service).contains(place))
        .cloned()
        .collect()
}

/// A connection accepted, whose client is not known yet.
#[derive(Debug)]
pub struct Accepted {
    /// The stream.
    pub stream: Stream,
    /// The client's address; none over a Unix socket.
    pub address: Option<SocketAddr>,
    /// The services of this place; never empty.
    pub services: Vec<Arc<Serving>>,
    first: Arc<Serving>,
    /// The limit that refuses this client, if any.
    pub refused: Option<&'static str>,
    /// The client's count in the limits.
    pub place: Counted,
}

impl Accepted {
    /// The service whose settings count before the user is known.
    #[must_use]
    pub fn first(&self) -> &Arc<Serving> {
        &self.first
    }
}

/// How many connections there are, by address and before login.
#[derive(Debug, Default)]
pub struct Admission {
    /// Those beyond what their services have for themselves.
    entrants: AtomicU32,
    by_address: Mutex<HashMap<IpAddr, u32>>,
}

/// A connection counted, until dropped.
#[derive(Debug)]
pub struct Counted {
    admission: Arc<Admission>,
    address: Option<IpAddr>,
    entrant: Option<Entrance>,
}

/// Which place a client has before its login.
#[derive(Debug)]
enum Entrance {
    /// One of its service.
    Own(Arc<Logins>),
    /// One that all services share.
    Shared,
}

impl Counted {
    /// The client logged in.
    pub fn logged_in(&mut self) {
        match self.entrant.take() {
            None => {}
            Some(Entrance::Own(logins)) => logins.approached(),
            Some(Entrance::Shared) => {
                self.admission.entrants.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.logged_in();
        if let Some(address) = self.address {
            let mut by_address = self.admission.by_address.lock();
            if let Some(count) = by_address.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    by_address.remove(&address);
                }
            }
        }
    }
}

impl Admission {
    /// Counts a connection, and says which limit it breaks.
    fn count(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        per_address_max: u32,
        (logins, services): (&Arc<Logins>, usize),
    ) -> (Counted, Option<&'static str>) {
        const HALF: u32 = ENTRANTS_MAX / 2;
        let services = u32::try_from(services.max(1)).unwrap_or(HALF);
        let mut refused = None;
        let entrance = if logins.approach(HALF / services) {
            Entrance::Own(logins.clone())
        } else {
            let entrants = self.entrants.fetch_add(1, Ordering::Relaxed) + 1;
            refused = (entrants > HALF).then_some("limit of unfinished handshakes");
            Entrance::Shared
        };
        if let Some(address) = address {
            let mut by_address = self.by_address.lock();
            let count = by_address.entry(address).or_default();
            *count += 1;
            if *count > per_address_max {
                refused = Some("limit of the address");
            }
        }
        (
            Counted {
                admission: self.clone(),
                address,
                entrant: Some(entrance),
            },
            refused,
        )
    }
}

/// A socket that listens.
enum Bound {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        file: Arc<SocketFile>,
    },
}

impl Bound {
    fn socket(&self) -> io::Result<OwnedFd> {
        let socket = match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix { listener, .. } => listener.as_fd(),
        };
        socket.try_clone_to_owned()
    }

    /// Whether the file of a Unix socket goes with this process.
    fn own_file(&self, own: bool) {
        if let Self::Unix { file, .. } = self {
            file.own.store(own, Ordering::Relaxed);
        }
    }
}

/// The file of a Unix socket, removed when its listener ends, unless it is another process's.
struct SocketFile {
    path: PathBuf,
    own: AtomicBool,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.own.load(Ordering::Relaxed) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A place that is this process's; nobody is let in yet.
pub struct Listening {
    place: Place,
    bound: Bound,
}

/// Takes a place.
///
/// # Errors
/// Why it cannot be had, and what to do.
pub async fn bind(place: Place, entry: Entry) -> Result<Listening, String> {
    let taken = match entry {
        Entry::Alone => None,
        Entry::TakeOver => {
            let taken = handover::take(&place).await;
            taken.map_err(|e| {
                let holder = handover::holder(&place);
                let who = holder.map_or(String::new(), |h| format!(" from process {}", h.pid));
                format!("cannot take {place} over{who}: {e}")
            })?
        }
    };
    let bound = match taken {
        Some((socket, holder)) => {
            tracing::info!(place = %place, from = holder.pid, "the listening socket is taken over");
            taken_over(&place, socket)
        }
        None => bind_anew(&place).await,
    };
    match bound {
        Ok(bound) => Ok(Listening { place, bound }),
        Err(e) => Err(refusal(&place, &e)),
    }
}

fn refusal(place: &Place, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::AddrInUse {
        return format!("cannot listen on {place}: {error}");
    }
    match handover::holder(place) {
        Some(holder) => format!(
            "cannot listen on {place}: process {0}, another dbmesh, listens there: stop it (kill -TERM {0}), or start this one \
             with --take-over to take its listening sockets over",
            holder.pid
        ),
        None => format!(
            "cannot listen on {place}: another program listens there: stop it, or have the service listen elsewhere"
        ),
    }
}

impl Listening {
    /// Lets clients in until the drain begins or `stop` does.
    pub fn serve(self, process: Arc<Process>, stop: Drain) -> tokio::task::JoinHandle<()> {
        let Self { place, bound } = self;
        bound.own_file(true);
        tracing::info!(place = %place, "listening");
        let mut offer = handover::Offer::of(&place);
        tokio::spawn(async move {
            let waiter = stop.waiter();
            tokio::pin!(waiter);
            loop {
                tokio::select! {
                    () = &mut waiter => break,
                    accepted = accept(&bound) => match accepted {
                        Ok((stream, address)) => welcome(&process, &place, stream, address).await,
                        Err(e) => {
                            // Out of descriptors: wait for sessions to end rather than spin.
                            tracing::warn!(place = %place, error = %e, "cannot accept");
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                    },
                    successor = offer.asked() => give(&place, &bound, successor),
                }
            }
            tracing::info!(place = %place, "stopped listening");
        })
    }
}

/// Answers a process that asks for the listening socket, beside the clients that come.
fn give(place: &Place, bound: &Bound, successor: UnixStream) {
    let Ok(socket) = bound.socket() else { return };
    let file = match bound {
        Bound::Tcp(_) => None,
        Bound::Unix { file, .. } => Some(file.clone()),
    };
    let place = place.clone();
    tokio::spawn(async move {
        match handover::give(successor, socket).await {
            Ok(None) => {}
            Ok(Some(to)) => {
                if let Some(file) = file {
                    file.own.store(false, Ordering::Relaxed);
                }
                tracing::info!(place = %place, to = to.pid, "another process has the listening socket too");
            }
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                tracing::debug!(place = %place, "another user asks for the listening socket");
            }
            Err(e) => {
                tracing::warn!(place = %place, error = %e, "the listening socket is not handed over");
            }
        }
    });
}

fn taken_over(place: &Place, socket: OwnedFd) -> io::Result<Bound> {
    match place {
        Place::Tcp(..) => {
            let listener = std::net::TcpListener::from(socket);
            listener.set_nonblocking(true)?;
            Ok(Bound::Tcp(TcpListener::from_std(listener)?))
        }
        Place::Unix(path) => {
            let listener = std::os::unix::net::UnixListener::from(socket);
            listener.set_nonblocking(true)?;
            Ok(Bound::Unix {
                listener: UnixListener::from_std(listener)?,
                file: Arc::new(SocketFile {
                    path: path.clone(),
                    own: AtomicBool::new(false),
                }),
            })
        }
    }
}

async fn bind_anew(place: &Place) -> io::Result<Bound> {
    match place {
        Place::Tcp(host, port) => {
            let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
            for address in tokio::net::lookup_host((host.as_str(), *port)).await? {
                match bind_tcp(address) {
                    Ok(listener) => return Ok(Bound::Tcp(listener)),
                    // Another of the name's addresses is no way around whoever listens at this one.
                    Err(e) if e.kind() == io::ErrorKind::AddrInUse => return Err(e),
                    Err(e) => last = e,
                }
            }
            Err(last)
        }
        Place::Unix(path) => {
            remove_dead_socket(path)?;
            let listener = UnixListener::bind(path)?;
            let file = SocketFile {
                path: path.clone(),
                own: AtomicBool::new(true),
            };
            Ok(Bound::Unix {
                listener,
                file: Arc::new(file),
            })
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Connections of a process that ended are in nobody's way. A socket that listens is: there is no SO_REUSEPORT here,
    // with which the kernel would divide the clients between two processes that know nothing of each other.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Removes the file of a socket on which nobody listens any more; a living one is an error.
fn remove_dead_socket(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => {
            match std::os::unix::net::UnixStream::connect(path) {
                Ok(_) => Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "another process listens there",
                )),
                Err(_) => std::fs::remove_file(path),
            }
        }
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file that is no socket is in the way",
        )),
        Err(_) => Ok(()),
    }
}

async fn accept(bound: &Bound) -> io::Result<(Stream, Option<SocketAddr>)> {
    match bound {
        Bound::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            tune(&stream);
            Ok((Stream::Tcp(stream), Some(address)))
        }
        Bound::Unix { listener, .. } => Ok((Stream::Unix(listener.accept().await?.0), None)),
    }
}

fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(TCP_KEEPALIVE)
        .with_interval(TCP_KEEPALIVE / 4);
    let _ = SockRef::from(&stream.as_fd()).set_tcp_keepalive(&keepalive);
}

async fn welcome(
    process: &Arc<Process>,
    place: &Place,
    stream: Stream,
    address: Option<SocketAddr>,
) {
    let all = process.current.services();
    let services = services_at(&all, place);
    let Some(first) = services.first().cloned() else {
        return;
    };
    let services_count = all.list.len();
    drop(all);
    // The next connection is not accepted before that: who floods one place has the kernel keep its clients waiting.
    if let Some(turn) = first.lane.turn_to_log_in() {
        turn.await;
    }
    let guard = process.sessions_drain.guard();
    let process = process.clone();
    tokio::spawn(async move {
        let _guard = guard;
        let mut stream = stream;
        let trusted = |ip: IpAddr| first.service.proxy_networks.iter().any(|n| n.contains(ip));
        let address = match address {
            Some(peer) if trusted(peer.ip()) => match read_proxy_header(&mut stream).await {
                Ok(source) => source.or(Some(peer)),
                Err(why) => {
                    tracing::info!(peer = %peer, why, "PROXY protocol header refused");
                    return;
                }
            },
            other => other,
        };
        let per_address = first.service.limits.max_connections_per_address;
        let (place, refused) = process.admission.count(
            address.map(|a| a.ip().to_canonical()),
            per_address,
            (&first.logins, services_count),
        );
        let accepted = Accepted {
            stream,
            address,
            services,
            first,
            refused,
            place,
        };
        login::serve(process, accepted).await;
    });
}

/// Reads the header byte for byte at its end, so that nothing of the client's own bytes is taken.
async fn read_proxy_header(stream: &mut Stream) -> Result<Option<SocketAddr>, &'static str> {
    let read = async {
        let mut header = Vec::with_capacity(128);
        while header.len() < HEADER_BYTES_MAX {
            let Ok(byte) = stream.read_u8().await else {
                return Err("closed");
            };
            header.push(byte);
            match decode(&header) {
                Header::Incomplete => {}
                Header::Complete { source, .. } => return Ok(source),
                Header::Invalid(why) => return Err(why),
            }
        }
        Err("header too long")
    };
    tokio::time::timeout(PROXY_HEADER_TIMEOUT, read)
        .await
        .unwrap_or(Err("timeout"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_do_not_log_in_leave_places_to_other_services() {
        let admission = Arc::new(Admission::default());
        let [slow, calm] = [(); 2].map(|()| Arc::<Logins>::default());
        let enter = |logins: &Arc<Logins>| admission.count(None, u32::MAX, (logins, 2));
        let mut entrants: Vec<_> = (0..ENTRANTS_MAX).map(|_| enter(&slow)).collect();
        let welcome = entrants.iter().filter(|(_, refused)| refused.is_none());
        assert_eq!(welcome.count() as u32, ENTRANTS_MAX * 3 / 4);
        let others: Vec<_> = (0..ENTRANTS_MAX / 4).map(|_| enter(&calm)).collect();
        assert!(others.iter().all(|(_, refused)| refused.is_none()));
        assert!(enter(&calm).1.is_some());
        entrants.iter_mut().for_each(|(place, _)| place.logged_in());
        assert!(enter(&slow).1.is_none() && enter(&calm).1.is_none());
        drop((entrants, others));
        assert_eq!(admission.entrants.load(Ordering::Relaxed), 0);
    }
}
