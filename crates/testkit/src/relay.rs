//! A TCP relay on the loopback address that delays, stalls, cuts, corrupts or resets on command.
//!
//! Owns the connections that pass through it. It must never change a byte unless told to, nor listen
//! beyond 127.0.0.1. Its input is what both sides send; faults are set by the test, apply to existing
//! and new connections alike, and end with [`FaultRelay::heal`].

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{Error, Result};

const BUFFER_BYTES: usize = 16 * 1024;
/// How soon a pump notices that a fault was set or that the relay ends.
const NOTICE: Duration = Duration::from_millis(5);

/// Which bytes a fault applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the connecting side to the target.
    ToTarget,
    /// From the target to the connecting side.
    FromTarget,
}

/// What happens to the bytes of one direction. Offsets count the bytes of that direction since the
/// fault was set, of each connection on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every read is passed on so much later.
    Delay(Duration),
    /// So many bytes pass, then the connection is closed both ways.
    CutAfter(u64),
    /// Nothing is read and nothing passes, not even the end: the sender's window fills up, and the
    /// other side waits. The other direction goes on.
    Stall,
    /// The byte at this offset arrives with all its bits turned.
    CorruptByte(u64),
    /// Bytes are read and thrown away, and no end is ever passed on.
    BlackHole,
    /// So many bytes pass, then both sides get a reset instead of an orderly end.
    ResetAfter(u64),
}

/// What new connections meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// They are relayed.
    Relayed,
    /// They are reset at once, as by a machine without the service.
    Reset,
    /// They are accepted and never answered.
    Silent,
}

/// A running relay; its connections are closed when it is dropped.
#[derive(Debug)]
pub struct FaultRelay {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    ended: AtomicBool,
    /// Grows with every change of `plan`, so that pumps know when to start counting anew.
    generation: AtomicU64,
    plan: Mutex<Plan>,
    /// Both ends of every relayed connection, kept to close them from outside.
    streams: Mutex<BTreeMap<u64, (TcpStream, TcpStream)>>,
    open: AtomicUsize,
    accepted: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    to_target: Option<Fault>,
    from_target: Option<Fault>,
    arrival: Arrival,
}

impl FaultRelay {
    /// Relays a free port of 127.0.0.1 to a port of 127.0.0.1.
    pub fn start(target_port: u16) -> Result<FaultRelay> {
        let failed = |source| Error::Io {
            doing: "start a relay".to_owned(),
            source,
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        listener.set_nonblocking(true).map_err(failed)?;
        let shared = Arc::new(Shared {
            target: SocketAddr::from((Ipv4Addr::LOCALHOST, target_port)),
            ended: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            plan: Mutex::new(Plan {
                to_target: None,
                from_target: None,
                arrival: Arrival::Relayed,
            }),
            streams: Mutex::new(BTreeMap::new()),
            open: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Ok(FaultRelay { port, shared })
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets what happens to one direction from now on, instead of what was set before.
    pub fn set(&self, direction: Direction, fault: Fault) {
        self.change(|plan| match direction {
            Direction::ToTarget => plan.to_target = Some(fault),
            Direction::FromTarget => plan.from_target = Some(fault),
        });
    }

    /// Makes every connection half-open: it neither closes nor carries anything, in both directions, as
    /// if the peer's machine was gone.
    pub fn half_open(&self) {
        self.change(|plan| {
            plan.to_target = Some(Fault::Stall);
            plan.from_target = Some(Fault::Stall);
        });
    }

    /// Sets what new connections meet from now on.
    pub fn set_arrival(&self, arrival: Arrival) {
        self.change(|plan| plan.arrival = arrival);
    }

    /// Ends all faults. Bytes that a stall held back pass now; what was cut stays cut.
    pub fn heal(&self) {
        self.change(|plan| {
            *plan = Plan {
                to_target: None,
                from_target: None,
                arrival: Arrival::Relayed,
            };
        });
    }

    /// Closes every connection in an orderly way, both sides.
    pub fn cut_all(&self) {
        for (client, target) in std::mem::take(&mut *self.shared.streams()).into_values() {
            let _ = client.shutdown(Shutdown::Both);
            let _ = target.shutdown(Shutdown::Both);
        }
    }

    /// Resets every connection, both sides.
    pub fn reset_all(&self) {
        for (client, target) in std::mem::take(&mut *self.shared.streams()).into_values() {
            reset(&client);
            reset(&target);
        }
    }

    /// Connections that are relayed now.
    pub fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::Acquire)
    }

    /// Connections that have arrived since the start.
    pub fn accepted_connections(&self) -> u64 {
        self.shared.accepted.load(Ordering::Acquire)
    }

    fn change(&self, change: impl FnOnce(&mut Plan)) {
        let mut plan = self
            .shared
            .plan
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        change(&mut plan);
        self.shared.generation.fetch_add(1, Ordering::Release);
    }
}

impl Drop for FaultRelay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.cut_all();
    }
}

impl Shared {
    fn plan(&self) -> Plan {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, direction: Direction) -> Option<Fault> {
        match direction {
            Direction::ToTarget => self.plan().to_target,
            Direction::FromTarget => self.plan().from_target,
        }
    }

    fn streams(&self) -> MutexGuard<'_, BTreeMap<u64, (TcpStream, TcpStream)>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    // Connections that nobody answers stay open as long as the relay.
    let mut silent = Vec::new();
    while !shared.has_ended() {
        let Ok((client, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(1));
            continue;
        };
        let id = shared.accepted.fetch_add(1, Ordering::AcqRel);
        match shared.plan().arrival {
            Arrival::Relayed => {
                if let Err(error) = relay(id, &client, shared) {
                    // The target refuses: pass that on as a reset, the nearest thing after accept.
                    eprintln!("relay: no connection to {}: {error}", shared.target);
                    reset(&client);
                }
            }
            Arrival::Reset => reset(&client),
            Arrival::Silent => silent.push(client),
        }
    }
}

fn relay(id: u64, client: &TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let target = TcpStream::connect_timeout(&shared.target, Duration::from_secs(5))?;
    for stream in [client, &target] {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(NOTICE))?;
    }
    shared
        .streams()
        .insert(id, (client.try_clone()?, target.try_clone()?));
    shared.open.fetch_add(1, Ordering::AcqRel);
    let live = Arc::new(Live {
        id,
        shared: Arc::clone(shared),
        client: client.try_clone()?,
        target,
    });
    for direction in [Direction::ToTarget, Direction::FromTarget] {
        let live = Arc::clone(&live);
        thread::spawn(move || live.pump(direction));
    }
    Ok(())
}

/// One relayed connection, held by its two pumps.
struct Live {
    id: u64,
    shared: Arc<Shared>,
    client: TcpStream,
    target: TcpStream,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.streams().remove(&self.id);
        self.shared.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a pump does next.
enum Step {
    GoOn,
    End,
}

/// Bytes of one direction since the plan last changed.
struct Count {
    bytes: u64,
    generation: u64,
}

impl Live {
    fn pump(&self, direction: Direction) {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut count = Count {
            bytes: 0,
            generation: 0,
        };
        while !self.shared.has_ended() {
            self.wait_while_stalled(direction);
            match self.pass(direction, &mut buffer, &mut count) {
                Step::GoOn => {}
                Step::End => return,
            }
        }
    }

    fn wait_while_stalled(&self, direction: Direction) {
        while self.shared.fault(direction) == Some(Fault::Stall) && !self.shared.has_ended() {
            thread::sleep(NOTICE);
        }
    }

    /// Reads once and passes on what the fault lets through.
    fn pass(&self, direction: Direction, buffer: &mut [u8], count: &mut Count) -> Step {
        let (mut from, mut to) = match direction {
            Direction::ToTarget => (&self.client, &self.target),
            Direction::FromTarget => (&self.target, &self.client),
        };
        let read = from.read(buffer);
        if matches!(&read, Err(error) if is_timeout(error)) {
            return Step::GoOn;
        }
        // A stall that was set during the read holds back what was read.
        self.wait_while_stalled(direction);
        let fault = self.shared.fault(direction);
        let Ok(read @ 1..) = read else {
            match (read, fault) {
                (_, Some(Fault::BlackHole)) => {}
                (Ok(_), _) => drop(to.shutdown(Shutdown::Write)),
                (Err(_), _) => reset(to),
            }
            return Step::End;
        };
        let bytes = buffer.get_mut(..read).unwrap_or_default();
        let begin = count.add(read, self.shared.generation.load(Ordering::Acquire));
        let allowed = apply(fault, bytes, begin);
        if to
            .write_all(bytes.get(..allowed).unwrap_or_default())
            .is_err()
        {
            reset(from);
            return Step::End;
        }
        match fault {
            Some(Fault::CutAfter(limit)) if count.bytes >= limit => {
                let _ = self.client.shutdown(Shutdown::Both);
                let _ = self.target.shutdown(Shutdown::Both);
                Step::End
            }
            Some(Fault::ResetAfter(limit)) if count.bytes >= limit => {
                reset(&self.client);
                reset(&self.target);
                Step::End
            }
            _ => Step::GoOn,
        }
    }
}

impl Count {
    /// Counts bytes and returns how many there were before, both since the plan last changed.
    fn add(&mut self, read: usize, generation: u64) -> u64 {
        if generation != self.generation {
            *self = Count {
                bytes: 0,
                generation,
            };
        }
        let before = self.bytes;
        self.bytes += read as u64;
        before
    }
}

/// Waits, changes the bytes, and says how many of them pass; `begin` is the offset of the first.
fn apply(fault: Option<Fault>, bytes: &mut [u8], begin: u64) -> usize {
    let all = bytes.len();
    match fault {
        None | Some(Fault::Stall) => all,
        Some(Fault::Delay(delay)) => {
            thread::sleep(delay);
            all
        }
        Some(Fault::CorruptByte(offset)) => {
            let within = offset
                .checked_sub(begin)
                .and_then(|at| usize::try_from(at).ok());
            if let Some(byte) = within.and_then(|at| bytes.get_mut(at)) {
                *byte = !*byte;
            }
            all
        }
        Some(Fault::BlackHole) => 0,
        Some(Fault::CutAfter(limit) | Fault::ResetAfter(limit)) => {
            usize::try_from(limit.saturating_sub(begin))
                .unwrap_or(all)
                .min(all)
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// Sends RST now. Closing would do so only when the last copy of the socket closes; connecting a
/// socket to no address (AF_UNSPEC) disconnects it at once, with a reset. Some kernels answer EBUSY
/// while another thread reads, which here lasts for [`NOTICE`] at most.
fn reset(stream: &TcpStream) {
    let nowhere = libc::sockaddr {
        sa_family: 0,
        sa_data: [0; 14],
    };
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr>()).unwrap_or(16);
    for _ in 0..50 {
        // SAFETY: the descriptor is open as long as `stream` is, and the address outlives the call.
        let answer = unsafe { libc::connect(stream.as_raw_fd(), &raw const nowhere, length) };
        if answer == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EBUSY) {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}
