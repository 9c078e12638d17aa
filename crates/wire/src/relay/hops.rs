//! The two hops of a relayed response.
//!
//! Owns what they agreed on and what the client is shown of the session's state. It must never change while a response is
//! relayed. Input: the connections of server and client.

use std::fmt;
use std::sync::Arc;

use super::names::Names;
use super::outcome::Numbering;
use crate::caps::Capabilities;
use crate::status::Status;
use crate::track;

/// Which of the session-state items the client gets to see.
#[derive(Clone)]
pub enum ItemFilter {
    /// The same for everybody.
    Fixed(fn(&track::Item<'_>) -> bool),
    /// A client's own choice.
    Chosen(Arc<dyn Fn(&track::Item<'_>) -> bool + Send + Sync>),
}

impl ItemFilter {
    /// Whether the client sees this item.
    #[must_use]
    pub fn passes(&self, item: &track::Item<'_>) -> bool {
        match self {
            Self::Fixed(passes) => passes(item),
            Self::Chosen(passes) => passes(item),
        }
    }
}

impl fmt::Debug for ItemFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fixed(_) => "Fixed",
            Self::Chosen(_) => "Chosen",
        })
    }
}

/// What the two hops of one relayed response agreed on, and where the numbering stands.
#[derive(Clone, Debug)]
pub struct Hops {
    /// Capabilities of the connection to the server.
    pub backend: Capabilities,
    /// Capabilities of the connection to the client.
    pub client: Capabilities,
    /// Sequence number of the first packet that the server will send.
    pub backend_seq: u8,
    /// Sequence number of the first packet that the client expects.
    pub client_seq: u8,
    /// Status flags to show where the server has not sent any yet (the EOF behind columns).
    pub status: Status,
    /// How the server numbers its packets.
    pub numbering: Numbering,
    /// Which session-state items pass to the client.
    pub filter: ItemFilter,
    /// Whether the client gets another answer behind this one: MORE_RESULTS, or nothing.
    pub more: Status,
    /// Names that the client knows otherwise.
    pub names: Option<Arc<Names>>,
}
