//! The sums of one service, user and digest.
//!
//! Owns what is summed up. It must never grow with the number of statements: its lists have named bounds. Input: finished
//! statements, and other entries of the same key.

use std::sync::Arc;
use std::time::Duration;

use dbmesh_model::topology::Endpoint;
use dbmesh_sql::Class;
use smallvec::SmallVec;

use super::sketch::Sketch;
use crate::pins::Pins;
use crate::registry::SessionHandle;

/// Error codes told apart; others are counted together as 0.
const CODES_MAX: usize = 16;
/// Endpoints told apart; others are not listed.
const ENDPOINTS_MAX: usize = 16;
/// Pin reasons: a place for each bit.
const PINS_MAX: usize = 32;

/// A statement that ended.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    /// The session.
    pub session: &'a SessionHandle,
    /// Its digest.
    pub digest: u64,
    /// Its class.
    pub class: Class,
    /// How it came.
    pub protocol: Protocol,
    /// When it ended, in ms of the process's clock.
    pub now_ms: u64,
    /// From its arrival to the last byte of its answer.
    pub took: Duration,
    /// Of this, waiting for a connection in the session's state.
    pub waited: Duration,
    /// Of this, at servers.
    pub executed: Duration,
    /// Rows sent.
    pub rows: u64,
    /// Rows changed.
    pub affected: u64,
    /// Bytes that came from the client.
    pub bytes_in: u64,
    /// Bytes that went to the client.
    pub bytes_out: u64,
    /// The error that the client got, of a server or of dbmesh.
    pub error: Option<u16>,
    /// Where it ran last.
    pub endpoint: Option<&'a Arc<Endpoint>>,
    /// At how many nodes of a sharded service it ran; 0 where there are none.
    pub shards: u32,
    /// The endpoints of one that ran at several nodes, and how long each worked on it.
    pub places: &'a [(Arc<Endpoint>, Duration)],
    /// The pins that it added, as bits.
    pub pins: u32,
}

/// How a statement came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// As text.
    Text,
    /// Prepared.
    Prepared,
}

impl Protocol {
    /// In listings and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Prepared => "prepared",
        }
    }
}

/// What statements did at one endpoint.
#[derive(Clone, Debug)]
pub struct Share {
    pub endpoint: Arc<Endpoint>,
    pub calls: u64,
    pub time_ns: u64,
}

/// The sums.
#[derive(Clone, Debug)]
pub struct Entry {
    pub service: Arc<str>,
    pub user: Arc<str>,
    pub text: Arc<str>,
    pub class: Class,
    pub calls: u64,
    pub prepared: u64,
    pub errors: u64,
    pub codes: SmallVec<[(u16, u32); 2]>,
    pub rows: u64,
    pub affected: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub time_ns: u64,
    pub wait_ns: u64,
    pub execute_ns: u64,
    pub max_ns: u64,
    /// Statements that ran at nodes of a sharded service; those of them at more than one; the nodes of all; the most.
    pub placed: u64,
    pub scattered: u64,
    pub shards: u64,
    pub shards_max: u32,
    pub shares: SmallVec<[Share; 1]>,
    pub pins: SmallVec<[(u8, u32); 1]>,
    pub first_ms: u64,
    pub last_ms: u64,
    pub sketch: Sketch,
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Entry {
    /// Nothing yet.
    pub fn new(first: &Finished<'_>, text: String) -> Self {
        Self {
            service: first.session.service.as_str().into(),
            user: first.session.user.as_str().into(),
            text: text.into(),
            class: first.class,
            calls: 0,
            prepared: 0,
            errors: 0,
            codes: SmallVec::new(),
            rows: 0,
            affected: 0,
            bytes_in: 0,
            bytes_out: 0,
            time_ns: 0,
            wait_ns: 0,
            execute_ns: 0,
            max_ns: 0,
            placed: 0,
            scattered: 0,
            shards: 0,
            shards_max: 0,
            shares: SmallVec::new(),
            pins: SmallVec::new(),
            first_ms: first.now_ms,
            last_ms: first.now_ms,
            sketch: Sketch::default(),
        }
    }

    /// Adds a statement.
    pub fn add(&mut self, finished: &Finished<'_>) {
        let (took, executed) = (ns(finished.took), ns(finished.executed));
        self.calls += 1;
        if finished.protocol == Protocol::Prepared {
            self.prepared += 1;
        }
        self.rows += finished.rows;
        self.affected += finished.affected;
        self.bytes_in += finished.bytes_in;
        self.bytes_out += finished.bytes_out;
        self.time_ns = self.time_ns.saturating_add(took);
        self.wait_ns = self.wait_ns.saturating_add(ns(finished.waited));
        self.execute_ns = self.execute_ns.saturating_add(executed);
        self.max_ns = self.max_ns.max(took);
        self.last_ms = self.last_ms.max(finished.now_ms);
        self.sketch.add(took);
        if let Some(code) = finished.error {
            self.errors += 1;
            self.count_code(code, 1);
        }
        if finished.shards > 0 {
            self.placed += 1;
            self.scattered += u64::from(finished.shards > 1);
            self.shards += u64::from(finished.shards);
            self.shards_max = self.shards_max.max(finished.shards);
        }
        match (finished.places, finished.endpoint) {
            ([], Some(endpoint)) => self.count_share(endpoint, 1, executed),
            (places, _) => {
                for (endpoint, worked) in places {
                    self.count_share(endpoint, 1, ns(*worked));
                }
            }
        }
        if finished.pins != 0 {
            for bit in 0..PINS_MAX as u8 {
                if finished.pins & (1 << bit) != 0 {
                    self.count_pin(bit, 1);
                }
            }
        }
    }

    /// Adds all that another entry of the same key has.
    pub fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.prepared += other.prepared;
        self.errors += other.errors;
        self.rows += other.rows;
        self.affected += other.affected;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.time_ns = self.time_ns.saturating_add(other.time_ns);
        self.wait_ns = self.wait_ns.saturating_add(other.wait_ns);
        self.execute_ns = self.execute_ns.saturating_add(other.execute_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.placed += other.placed;
        self.scattered += other.scattered;
        self.shards += other.shards;
        self.shards_max = self.shards_max.max(other.shards_max);
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.sketch.merge(&other.sketch);
        for (code, count) in &other.codes {
            self.count_code(*code, *count);
        }
        for share in &other.shares {
            self.count_share(&share.endpoint, share.calls, share.time_ns);
        }
        for (bit, count) in &other.pins {
            self.count_pin(*bit, *count);
        }
    }

    fn count_code(&mut self, code: u16, count: u32) {
        let known = self.codes.iter().any(|(known, _)| *known == code);
        let code = match known || self.codes.len() < CODES_MAX {
            true => code,
            false => 0,
        };
        match self.codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, known)) => *known = known.saturating_add(count),
            None => self.codes.push((code, count)),
        }
    }

    fn count_share(&mut self, endpoint: &Arc<Endpoint>, calls: u64, time_ns: u64) {
        // A reload makes the same endpoint anew.
        let same = |share: &&mut Share| {
            Arc::ptr_eq(&share.endpoint, endpoint) || share.endpoint.name == endpoint.name
        };
        let room = self.shares.len() < ENDPOINTS_MAX;
        match self.shares.iter_mut().find(same) {
            Some(share) => {
                share.calls += calls;
                share.time_ns = share.time_ns.saturating_add(time_ns);
            }
            None if room => self.shares.push(Share {
                endpoint: endpoint.clone(),
                calls,
                time_ns,
            }),
            None => {}
        }
    }

    fn count_pin(&mut self, bit: u8, count: u32) {
        match self.pins.iter_mut().find(|(known, _)| *known == bit) {
            Some((_, known)) => *known = known.saturating_add(count),
            None => self.pins.push((bit, count)),
        }
    }

    /// The reasons of its pins, and how often.
    pub fn pin_reasons(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        self.pins.iter().flat_map(|(bit, count)| {
            Pins::reasons_of(1 << *bit).map(move |reason| (reason.label(), *count))
        })
    }

    /// Memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let spilled = |spills: bool, bytes: usize| if spills { bytes } else { 0 };
        size_of::<Self>()
            + self.service.len()
            + self.user.len()
            + self.text.len()
            // The counts in front of each shared text.
            + 6 * size_of::<usize>()
            + self.sketch.bytes()
            + spilled(self.codes.spilled(), self.codes.capacity() * 8)
            + spilled(self.shares.spilled(), self.shares.capacity() * size_of::<Share>())
            + spilled(self.pins.spilled(), self.pins.capacity() * 8)
    }
}
