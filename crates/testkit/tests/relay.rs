//! The fault relay in front of a server that echoes.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use dbmesh_testkit::relay::{Arrival, Direction, Fault, FaultRelay};

fn echo_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..read]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

fn connect(relay: &FaultRelay) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port())).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn echo(stream: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).unwrap();
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).unwrap();
    answer
}

fn read_times_out(stream: &mut TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_millis(150)))
        .unwrap();
    let outcome = stream.read(&mut [0; 64]);
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    outcome.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn a_healthy_relay_changes_nothing() {
    let relay = FaultRelay::start(echo_port()).unwrap();
    let mut stream = connect(&relay);
    let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i * 7 % 251) as u8).collect();
    let mut sender = stream.try_clone().unwrap();
    let sent = bytes.clone();
    let writer = thread::spawn(move || sender.write_all(&sent).unwrap());
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).unwrap();
    writer.join().unwrap();
    assert!(answer == bytes);
    assert_eq!(
        (relay.open_connections(), relay.accepted_connections()),
        (1, 1)
    );
    drop(stream);
    let deadline = Instant::now() + Duration::from_secs(5);
    while relay.open_connections() > 0 {
        assert!(
            Instant::now() < deadline,
            "the relay keeps closed connections"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn delay_and_stall_hold_bytes_back_and_heal_lets_them_go() {
    let relay = FaultRelay::start(echo_port()).unwrap();
    let mut stream = connect(&relay);
    assert_eq!(echo(&mut stream, b"one"), b"one");
    relay.set(
        Direction::FromTarget,
        Fault::Delay(Duration::from_millis(200)),
    );
    let start = Instant::now();
    assert_eq!(echo(&mut stream, b"two"), b"two");
    assert!(start.elapsed() >= Duration::from_millis(200));
    relay.half_open();
    stream.write_all(b"three").unwrap();
    assert!(read_times_out(&mut stream));
    relay.heal();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"three");
}

#[test]
fn corruption_hits_one_byte() {
    let relay = FaultRelay::start(echo_port()).unwrap();
    let mut stream = connect(&relay);
    assert_eq!(echo(&mut stream, b"warm"), b"warm");
    relay.set(Direction::FromTarget, Fault::CorruptByte(2));
    assert_eq!(echo(&mut stream, b"abcd"), [b'a', b'b', !b'c', b'd']);
    assert_eq!(echo(&mut stream, b"abcd"), b"abcd");
}

#[test]
fn a_cut_passes_exactly_so_many_bytes_and_ends_in_order() {
    let relay = FaultRelay::start(echo_port()).unwrap();
    relay.set(Direction::FromTarget, Fault::CutAfter(3));
    let mut stream = connect(&relay);
    stream.write_all(b"abcdef").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"abc");
}

#[test]
fn resets_reach_the_client_as_resets() {
    let relay = FaultRelay::start(echo_port()).unwrap();
    let mut stream = connect(&relay);
    assert_eq!(echo(&mut stream, b"one"), b"one");
    relay.reset_all();
    let error = stream.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    relay.set_arrival(Arrival::Reset);
    let mut refused = connect(&relay);
    assert!(
        refused
            .read(&mut [0; 8])
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
    );

    relay.heal();
    relay.set(Direction::ToTarget, Fault::ResetAfter(2));
    let mut stream = connect(&relay);
    stream.write_all(b"abcdef").unwrap();
    assert!(
        stream
            .read_to_end(&mut Vec::new())
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
    );
}

#[test]
fn black_holes_and_silent_arrivals_never_answer_nor_close() {
    let relay = FaultRelay::start(echo_port()).unwrap();
    let mut stream = connect(&relay);
    relay.set(Direction::ToTarget, Fault::BlackHole);
    stream.write_all(b"lost").unwrap();
    assert!(read_times_out(&mut stream));
    relay.set_arrival(Arrival::Silent);
    let mut silent = connect(&relay);
    silent.write_all(b"hello").unwrap();
    assert!(read_times_out(&mut silent));
}
