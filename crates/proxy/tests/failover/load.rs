//! Clients that write without a pause, and what they were told about every write.
//!
//! Owns the writers and the ledger's check: an acknowledged write is there once, one of unknown outcome at most once, one
//! that failed not at all. It must never write the same operation twice. Input: a port, a number of clients.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dbmesh_testkit::Server;

use crate::faultkit::client::{ErrorPacket, RawClient, Reply};

/// How a statement travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Text,
    Prepared,
}

/// What a client was told of one write.
#[derive(Clone, Debug)]
pub enum Told {
    Done,
    Failed(ErrorPacket),
    Closed,
}

/// One write.
#[derive(Clone, Debug)]
pub struct Write {
    pub op: u64,
    pub began: Instant,
    pub ended: Instant,
    pub told: Told,
}

/// Clients at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    writes: Arc<Mutex<Vec<Write>>>,
    count: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Half of the clients write in text, the others by a prepared statement.
    pub fn start(port: u16, clients: u64) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            writes: Arc::default(),
            count: Arc::default(),
            clients: Vec::new(),
        };
        for number in 0..clients {
            let way = if number % 2 == 0 {
                Way::Text
            } else {
                Way::Prepared
            };
            let (stop, writes, count) =
                (load.stop.clone(), load.writes.clone(), load.count.clone());
            load.clients.push(std::thread::spawn(move || {
                let mut writer = Writer::new(port, way);
                let mut op = number << 32;
                while !stop.load(Ordering::Relaxed) {
                    op += 1;
                    let write = writer.write(op);
                    count.fetch_add(1, Ordering::Relaxed);
                    writes.lock().unwrap().push(write);
                }
            }));
        }
        load
    }

    /// Waits until this many writes more have been answered.
    pub fn run_on(&self, writes: u64) {
        let goal = self.count.load(Ordering::Relaxed) + writes;
        crate::faultkit::eventually("writes are answered", Duration::from_secs(60), || {
            self.count.load(Ordering::Relaxed) >= goal
        });
    }

    /// Ends the clients and gives all writes.
    pub fn stop(self) -> Vec<Write> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        let writes = self.writes.lock().unwrap();
        writes.clone()
    }
}

/// One client that writes, and comes again when its connection ends.
pub struct Writer {
    port: u16,
    way: Way,
    client: RawClient,
    statement: Option<Vec<u8>>,
}

impl Writer {
    pub fn new(port: u16, way: Way) -> Self {
        let mut writer = Self {
            port,
            way,
            client: RawClient::app(port),
            statement: None,
        };
        writer.prepare();
        writer
    }

    fn prepare(&mut self) {
        self.statement = None;
        if self.way == Way::Prepared {
            let sql = "INSERT INTO app.ledger (op) VALUES (?)";
            self.statement = Some(prepare(&mut self.client, sql).unwrap());
        }
    }

    fn write(&mut self, op: u64) -> Write {
        let began = Instant::now();
        let reply = match &self.statement {
            None => self
                .client
                .query(&format!("INSERT INTO app.ledger (op) VALUES ({op})")),
            Some(statement) => {
                self.client.command(&execute(statement, op));
                self.client.reply()
            }
        };
        let told = match reply {
            Reply::Ok => Told::Done,
            Reply::Error(e) => Told::Failed(e),
            Reply::Closed => Told::Closed,
            other => panic!("a write was answered by {other:?}"),
        };
        if matches!(told, Told::Closed) {
            self.client = RawClient::app(self.port);
            self.prepare();
        }
        Write {
            op,
            began,
            ended: Instant::now(),
            told,
        }
    }
}

/// Prepares a statement; gives its id as EXECUTE has it.
pub fn prepare(client: &mut RawClient, sql: &str) -> Result<Vec<u8>, ErrorPacket> {
    let mut payload = vec![0x16];
    payload.extend_from_slice(sql.as_bytes());
    client.command(&payload);
    let first = client.packet().unwrap();
    if first[0] == 0xFF {
        return Err(crate::faultkit::client::error_packet(&first));
    }
    let columns = u16::from_le_bytes([first[5], first[6]]);
    let params = u16::from_le_bytes([first[7], first[8]]);
    for _ in 0..columns + params {
        client.packet().unwrap();
    }
    Ok(first[1..5].to_vec())
}

/// COM_STMT_EXECUTE with one BIGINT.
pub fn execute(statement: &[u8], value: u64) -> Vec<u8> {
    let mut payload = vec![0x17];
    payload.extend_from_slice(statement);
    payload.extend_from_slice(&[0, 1, 0, 0, 0, 0, 1, 8, 0]);
    payload.extend_from_slice(&value.to_le_bytes());
    payload
}

/// What became of the writes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub done: usize,
    pub unknown: usize,
    pub refused: usize,
}

/// Checks every write against the ledger of `server`: nothing lost, nothing done twice, nothing unsaid.
pub fn check(writes: &[Write], server: &Server) -> Tally {
    let mut there: HashMap<u64, u64> = HashMap::new();
    for row in server
        .query("SELECT op, COUNT(*) FROM app.ledger GROUP BY op")
        .unwrap()
    {
        let number = |cell: &Option<String>| cell.as_ref().unwrap().parse().unwrap();
        there.insert(number(&row[0]), number(&row[1]));
    }
    let mut tally = Tally::default();
    for write in writes {
        let times = there.remove(&write.op).unwrap_or(0);
        match &write.told {
            Told::Done => {
                assert_eq!(times, 1, "an acknowledged write is there once: {write:?}");
                tally.done += 1;
            }
            Told::Failed(e) if says_unknown(e) => {
                assert!(times <= 1, "done {times} times: {write:?}");
                tally.unknown += 1;
            }
            Told::Failed(_) => {
                assert_eq!(times, 0, "a refused write was done: {write:?}");
                tally.refused += 1;
            }
            Told::Closed => panic!("the proxy closed a connection without a word: {write:?}"),
        }
    }
    assert!(there.is_empty(), "written by nobody: {there:?}");
    tally
}

/// Whether the error says that the outcome is not known.
pub fn says_unknown(e: &ErrorPacket) -> bool {
    e.code == 2013 && e.message.contains("may or may not have been executed")
}

/// The longest that any acknowledged write took.
pub fn longest(writes: &[Write]) -> Duration {
    let times = writes.iter().map(|w| w.ended - w.began);
    times.max().unwrap_or_default()
}

/// The first write acknowledged after a moment.
pub fn first_done_after(writes: &[Write], moment: Instant) -> Option<Duration> {
    writes
        .iter()
        .filter(|w| matches!(w.told, Told::Done) && w.ended > moment)
        .map(|w| w.ended - moment)
        .min()
}
