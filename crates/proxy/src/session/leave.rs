//! When a command may leave its server for another one, unseen by the client.
//!
//! Owns the conditions and the recognition of a server that takes no writes. It must never let a command leave that may
//! have done part of its work. Input: what the statement runs, the packet of an error.

use dbmesh_wire::codec::HEADER_BYTES;
use dbmesh_wire::relay::Outcome;
use dbmesh_wire::reply;

use crate::backend::{Backend, Flavor};
use crate::control::Signals;
use crate::fault::Fault;

/// ER_OPTION_PREVENTS_STATEMENT.
const OPTION_PREVENTS: u16 = 1290;
/// ER_READ_ONLY_MODE: the storage takes no writes.
const READ_ONLY_MODE: u16 = 1836;

/// What a server that takes no writes said.
#[derive(Debug)]
pub(super) struct TurnedAway {
    code: u16,
    message: String,
}

impl TurnedAway {
    /// ER_OPTION_PREVENTS_STATEMENT that names the option read_only, or ER_READ_ONLY_MODE, if that is what this packet is.
    fn of(packet: &[u8]) -> Option<Self> {
        let payload = packet.get(HEADER_BYTES..)?;
        let [reply::ERR_MARKER, low, high, rest @ ..] = payload else {
            return None;
        };
        let code = u16::from_le_bytes([*low, *high]);
        let message = match rest {
            [b'#', _, _, _, _, _, message @ ..] => message,
            message => message,
        };
        let message = String::from_utf8_lossy(message).into_owned();
        let read_only = code == OPTION_PREVENTS && message.contains("read-only");
        (read_only || code == READ_ONLY_MODE).then_some(Self { code, message })
    }

    /// The server's own error.
    pub(super) fn into_fault(self) -> Fault {
        Fault::Server {
            code: self.code,
            sqlstate: "HY000".into(),
            message: self.message,
        }
    }
}

/// Whether an error may be kept from the client, because the statement can go elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Withhold {
    /// Every answer is the client's.
    Nothing,
    /// That a server takes no writes.
    ReadOnly,
    /// That it refused to commit because of its option read_only: it has rolled the transaction back.
    ReadOnlyOption,
}

/// Whether a command may be sent again after its connection broke before anything came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It only reads.
    Safe,
    /// It may have been executed.
    Never,
}

/// When a command may leave its server for another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leave {
    /// For an error.
    pub withhold: Withhold,
    /// For a connection that broke.
    pub repeat: Repeat,
    /// What it runs.
    pub runs: Runs,
}

/// What a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Runs {
    /// One statement, which is done or not.
    One,
    /// Several: those before an error may have been committed.
    Several,
}

impl Leave {
    /// Under no circumstances.
    pub(super) const NEVER: Self = Self {
        withhold: Withhold::Nothing,
        repeat: Repeat::Never,
        runs: Runs::One,
    };

    /// What cuts it off while nothing of its answer has come.
    pub(super) fn cut_by(self) -> Signals {
        match self.repeat {
            Repeat::Safe => Signals::FENCED.and(Signals::DOWN),
            Repeat::Never => Signals::FENCED,
        }
    }

    /// The error that is kept from the client, if this answer is one: all of it is in `out`.
    pub(super) fn turned_away(self, outcome: &Outcome, out: &[u8]) -> Option<TurnedAway> {
        let refused = outcome.error.is_some_and(refuses_writes);
        let withheld = match self.withhold {
            Withhold::Nothing => false,
            Withhold::ReadOnly => refused,
            Withhold::ReadOnlyOption => outcome.error == Some(OPTION_PREVENTS),
        };
        withheld.then(|| TurnedAway::of(out)).flatten()
    }

    /// Whether it failed and may have written what no server reports with an error, or not yet.
    pub(super) fn unreported(self, outcome: &Outcome, backend: &Backend) -> bool {
        let silent = self.runs == Runs::Several || backend.facts.flavor == Flavor::MariaDb;
        outcome.error.is_some() && silent && self.repeat == Repeat::Never
    }
}

/// Whether the error may say that a server takes no writes.
pub(super) fn refuses_writes(code: u16) -> bool {
    matches!(code, OPTION_PREVENTS | READ_ONLY_MODE)
}
