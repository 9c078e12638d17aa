//! How one endpoint stands: what the monitor saw of it, and what an operator said.
//!
//! Owns the reported role, reachability, lag and known position of an endpoint, and its administrative state; they live
//! with the endpoint's pool through reloads. It must never decide where a statement goes. Input: the monitor's probes,
//! sessions that met a refusal, the admin page.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use dbmesh_model::topology::Role;
use parking_lot::Mutex;

use crate::position::Gtids;

/// Why a member of a replication group is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Astray {
    /// It sees no majority of its group: others may have elected another primary, and it does not get what they write.
    Minority,
    /// It fetches what it misses.
    Joining,
    /// It failed, or was expelled.
    Failed,
}

/// What the last probes say of a replica's lag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// Not probed yet.
    Unknown,
    /// The server replicates from nobody.
    NoReplica,
    /// It is behind by this much, in ms.
    Behind(u64),
    /// It has applied what it has, and cannot reach its source.
    Disconnected,
    /// It does not apply what it has.
    Stopped,
    /// The probe's user may not ask.
    Denied,
    /// It is not in step with its group.
    Astray(Astray),
}

impl Lag {
    /// In seconds; -1 when it is not known.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
    pub fn seconds(self) -> f64 {
        match self {
            Self::Behind(ms) => ms as f64 / 1e3,
            Self::NoReplica => 0.0,
            Self::Unknown | Self::Disconnected | Self::Stopped | Self::Denied | Self::Astray(_) => {
                -1.0
            }
        }
    }
}

/// What an operator said of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminState {
    /// It serves.
    Active,
    /// It gets no new statements; transactions under way end.
    Draining,
}

/// How one endpoint stands.
#[derive(Debug)]
pub struct Standing {
    /// 0: not known; 1: primary; 2: replica.
    role: AtomicU8,
    /// The role that it reported last, also when it was reachable last a while ago.
    last_role: AtomicU8,
    /// It was the primary, was lost as such, and another one took its place: it may miss what was written since.
    deposed: AtomicBool,
    /// Whether probes reach it; true until they have failed often enough.
    up: AtomicBool,
    fenced: AtomicBool,
    draining: AtomicBool,
    lag: Mutex<Lag>,
    /// Whether the lag lets it serve reads.
    fresh: AtomicBool,
    /// Whether it would serve but for a source that it cannot reach, or does not have.
    stranded: AtomicBool,
    known: Mutex<Gtids>,
    /// All transactions that it has, its own included, as the last probe saw them.
    extent: Mutex<Option<Gtids>>,
    /// The name under which it numbers its own transactions.
    own_source: Mutex<Option<Box<str>>>,
    /// Until when waiting for it is pointless, in ms of the coarse clock.
    behind_until_ms: AtomicU64,
    last_error: Mutex<String>,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            role: AtomicU8::new(0),
            last_role: AtomicU8::new(0),
            deposed: AtomicBool::new(false),
            up: AtomicBool::new(true),
            fenced: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            lag: Mutex::new(Lag::Unknown),
            fresh: AtomicBool::new(false),
            stranded: AtomicBool::new(false),
            known: Mutex::new(Gtids::held()),
            extent: Mutex::default(),
            own_source: Mutex::default(),
            behind_until_ms: AtomicU64::new(0),
            last_error: Mutex::default(),
        }
    }
}

impl Standing {
    /// The role that the server reports.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        role_of(self.role.load(Ordering::Relaxed))
    }

    /// The role that it reported last; it may have been lost since.
    #[must_use]
    pub fn last_role(&self) -> Option<Role> {
        role_of(self.last_role.load(Ordering::Relaxed))
    }

    /// Whether it lost the place of the primary to another server without having given it up.
    #[must_use]
    pub fn is_deposed(&self) -> bool {
        self.deposed.load(Ordering::Relaxed)
    }

    /// Another server took its place. It is a candidate again once it has reported that it takes no writes.
    pub fn depose(&self) {
        self.deposed.store(true, Ordering::Relaxed);
    }

    /// Notes the role; says whether it is another one.
    pub fn set_role(&self, role: Role) -> bool {
        let number = match role {
            Role::Primary => 1,
            Role::Replica => 2,
            // No server reports this.
            Role::Shadow => 0,
        };
        if role == Role::Replica {
            self.deposed.store(false, Ordering::Relaxed);
        }
        self.last_role.store(number, Ordering::Relaxed);
        self.role.swap(number, Ordering::Relaxed) != number
    }

    /// Whether probes reach it.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Notes whether probes reach it; says whether that changed.
    pub fn set_up(&self, up: bool) -> bool {
        if !up {
            // Whatever comes back may be another server, or an older copy of this one, in another role.
            self.forget_known();
            self.role.store(0, Ordering::Relaxed);
        }
        self.up.swap(up, Ordering::Relaxed) != up
    }

    /// Whether it is kept from traffic as a second primary.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Relaxed)
    }

    /// Fences it, or lets it go; says whether that changed.
    pub fn set_fenced(&self, fenced: bool) -> bool {
        self.fenced.swap(fenced, Ordering::Relaxed) != fenced
    }

    /// What an operator said.
    #[must_use]
    pub fn admin_state(&self) -> AdminState {
        if self.draining.load(Ordering::Relaxed) {
            AdminState::Draining
        } else {
            AdminState::Active
        }
    }

    /// Says it.
    pub fn set_admin_state(&self, state: AdminState) {
        self.draining
            .store(state == AdminState::Draining, Ordering::Relaxed);
    }

    /// The lag as last probed.
    #[must_use]
    pub fn lag(&self) -> Lag {
        *self.lag.lock()
    }

    /// Notes the lag, and whether it is as fresh as can be but for its source.
    pub fn set_lag(&self, lag: Lag, stranded: bool) {
        *self.lag.lock() = lag;
        self.stranded.store(stranded, Ordering::Relaxed);
    }

    /// Whether the lag lets it serve reads.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.fresh.load(Ordering::Relaxed)
    }

    /// Notes it; says whether that changed.
    pub fn set_fresh(&self, fresh: bool) -> bool {
        self.fresh.swap(fresh, Ordering::Relaxed) != fresh
    }

    /// Whether it has applied what it has, and its source is not there.
    #[must_use]
    pub fn is_stranded(&self) -> bool {
        self.stranded.load(Ordering::Relaxed)
    }

    /// Whether it is known to have this.
    #[must_use]
    pub fn has(&self, wanted: &Gtids) -> bool {
        self.known.lock().covers(wanted)
    }

    /// It was seen to have this.
    pub fn learn(&self, seen: &Gtids) {
        let mut known = self.known.lock();
        if known.merge(seen).is_err() {
            *known = Gtids::held();
        }
    }

    /// The name under which it numbers its own transactions, once a probe has seen it.
    #[must_use]
    pub fn own_source(&self) -> Option<Box<str>> {
        self.own_source.lock().clone()
    }

    /// Notes that name.
    pub fn set_own_source(&self, name: &[u8]) {
        *self.own_source.lock() = std::str::from_utf8(name).ok().map(Into::into);
    }

    /// What is left of `wanted` if this is the primary, and `sources` are those of servers that are not.
    #[must_use]
    pub fn surviving(&self, wanted: &Gtids, sources: &[Box<str>]) -> Option<Gtids> {
        let known = self.known.lock();
        (!known.is_empty()).then(|| wanted.without_lost(sources, &known))
    }

    /// A probe saw its whole position.
    pub fn set_known(&self, known: Gtids) {
        *self.known.lock() = known;
    }

    /// A probe saw all transactions that it has.
    pub fn set_extent(&self, extent: Option<Gtids>) {
        *self.extent.lock() = extent;
    }

    /// Whether it has all transactions of another one; none if that is not known of both.
    #[must_use]
    pub fn has_all_of(&self, other: &Self) -> Option<bool> {
        let others = other.extent.lock().clone()?;
        let own = self.extent.lock();
        Some(own.as_ref()?.covers(&others))
    }

    /// Whether a probe has come back since the start, with an answer or without.
    #[must_use]
    pub fn was_probed(&self) -> bool {
        let told = self.extent.lock().is_some() || self.lag() != Lag::Unknown;
        (self.role().is_some() && told) || !self.last_error.lock().is_empty()
    }

    /// A connection to it broke: a server that starts again may have lost the end of what it had.
    pub fn forget_known(&self) {
        *self.known.lock() = Gtids::held();
    }

    /// Whether a read waited for it in vain a moment ago.
    #[must_use]
    pub fn is_behind(&self, now_ms: u64) -> bool {
        now_ms < self.behind_until_ms.load(Ordering::Relaxed)
    }

    /// A read waited for it in vain: for a while, nobody else shall.
    pub fn was_behind(&self, until_ms: u64) {
        self.behind_until_ms.store(until_ms, Ordering::Relaxed);
    }

    /// What went wrong last with it, for people.
    #[must_use]
    pub fn last_error(&self) -> String {
        self.last_error.lock().clone()
    }

    /// Notes what went wrong; says whether it is news.
    pub fn set_error(&self, error: &str) -> bool {
        let mut last = self.last_error.lock();
        let news = *last != error;
        if news {
            error.clone_into(&mut last);
        }
        news
    }
}

fn role_of(number: u8) -> Option<Role> {
    match number {
        1 => Some(Role::Primary),
        2 => Some(Role::Replica),
        _ => None,
    }
}
