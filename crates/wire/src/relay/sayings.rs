//! What a relay tells the client beside what the server says.
//!
//! Owns the changes of the last OK of a response. Input: its user, before the response.

use super::Relay;
use super::fields::OkFields;
use super::steps::EndKind;
use crate::status::Status;

impl Relay {
    /// The last result counts so many warnings beside the server's own.
    pub fn add_warnings(&mut self, count: u16) {
        self.more_warnings = count;
    }

    /// An OK with rows inserted says this id: keys that were generated are plain values to the server.
    pub fn set_insert_id(&mut self, id: Option<u64>) {
        self.insert_id = id;
    }

    pub(super) fn say_id(&self, ok: &mut OkFields<'_>, kind: EndKind) {
        let inserted = kind == EndKind::Ok && ok.affected_rows > 0;
        if let Some(id) = self.insert_id.filter(|_| inserted) {
            ok.last_insert_id = id;
        }
    }

    pub(super) fn say_warnings(&self, ok: &mut OkFields<'_>) {
        if !ok.status.contains(Status::MORE_RESULTS) {
            ok.warnings = ok.warnings.saturating_add(self.more_warnings);
        }
    }
}
