//! Answers of several shards that are counts, or all alike.
//!
//! Owns the sums and the text that servers add to their OK. Input: the answers of all shards.

use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::reply::{self, OkForm};
use dbmesh_wire::status::Status;

use super::work::{Around, Broken, Ended, Refusal, Work};
use crate::state::Warning;
use dbmesh_wire::relay::Names;

/// Runs all to their ends.
pub(super) async fn run(
    work: &mut Work<'_>,
    around: &mut Around<'_>,
    names: &Names,
) -> Result<(), Broken> {
    if work.refusal == Refusal::Ends {
        work.refusal = Refusal::Waits;
    }
    loop {
        work.begin(names).await?;
        // All connections may be gone that had something to do.
        if work.is_done() {
            return work
                .refused
                .take()
                .map_or(Ok(()), |(_, broken)| Err(broken));
        }
        work.read(around, |_| true).await?;
        work.reap(names).await?;
    }
}

/// What an OK says of all.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub affected_rows: u64,
    pub last_insert_id: u64,
    pub warnings: u64,
    pub info: Vec<u8>,
}

impl Sum {
    /// Of these answers.
    ///
    /// Of an INSERT of one row servers say nothing in words, of several they do: its parts may be such.
    pub fn of<'a>(all: impl Iterator<Item = &'a Ended> + Clone, inserts: bool) -> Self {
        let mut sum = Self::default();
        let several = all.clone().count() > 1;
        for ended in all {
            sum.affected_rows += ended.outcome.affected_rows;
            sum.last_insert_id = sum.last_insert_id.max(ended.outcome.last_insert_id);
            sum.warnings += u64::from(ended.outcome.warnings);
            let caps = Capabilities::PROTOCOL_41.union(Capabilities::SESSION_TRACK);
            let info = match reply::Ok::decode(&ended.end, caps) {
                Ok(ok) if ok.info.is_empty() && inserts && several => of_one_row(ended),
                Ok(ok) => ok.info.to_vec(),
                Err(_) => Vec::new(),
            };
            sum.info = added(&sum.info, &info);
        }
        // What several said of the text counts once.
        sum.count_warnings(sum.warnings);
        sum
    }

    /// Says another number of warnings, in words too.
    pub fn count_warnings(&mut self, warnings: u64) {
        self.warnings = warnings;
        let words = b"Warnings: ";
        let at = self.info.windows(words.len()).position(|w| w == words);
        if let Some(at) = at {
            self.info.truncate(at + words.len());
            self.info.extend_from_slice(warnings.to_string().as_bytes());
        }
    }

    /// The OK that says it.
    pub fn ok(&self, status: Status, warnings: u16, capabilities: Capabilities) -> Vec<u8> {
        let mut payload = Vec::new();
        reply::Ok {
            affected_rows: self.affected_rows,
            last_insert_id: self.last_insert_id,
            status,
            warnings,
            info: &self.info,
            session_state: &[],
        }
        .encode(&mut payload, OkForm::Command, capabilities);
        payload
    }
}

/// How many rows an UPDATE found, by what servers say in words.
pub(super) fn matched(info: &[u8]) -> Option<u64> {
    let rest = info.strip_prefix(b"Rows matched: ")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    number(rest.get(..digits)?)
}

/// What servers say of how they found rows.
pub(super) fn of_plans<'a>(all: impl Iterator<Item = &'a Ended>) -> Status {
    let shown = Status::NO_GOOD_INDEX_USED
        .union(Status::NO_INDEX_USED)
        .union(Status::SLOW);
    let said = all.filter_map(|ended| ended.outcome.status);
    said.fold(Status::NONE, |all, one| all.union(one.intersection(shown)))
}

/// Warnings of rows that INSERT IGNORE leaves out before it looks for equal keys: a foreign key, a CHECK.
const PASSED_OVER: [&[u8]; 2] = [b"1452", b"3819"];

/// Of a row that INSERT IGNORE leaves out, as another has its key.
const DUPLICATE: &[u8] = b"1062";

/// What a server would say of the INSERT of one row, had there been more.
pub(super) fn of_one_row(ended: &Ended) -> Vec<u8> {
    let (affected, warnings) = (ended.outcome.affected_rows, ended.outcome.warnings);
    let passed_over = |warning: &Warning| PASSED_OVER.contains(&warning.code.as_slice());
    // A row that updates another to what it is has none, but may have warnings of the text or of a value.
    let equal = |warning: &Warning| warning.code == DUPLICATE;
    let left_out = match ended.warnings.is_empty() {
        true => warnings > 0,
        false => ended.warnings.iter().any(equal),
    };
    let (records, duplicates) = match affected {
        0 if ended.warnings.iter().any(passed_over) => (0, 0),
        0 => (1, u16::from(left_out)),
        1 => (1, 0),
        _ => (1, 1),
    };
    format!("Records: {records}  Duplicates: {duplicates}  Warnings: {warnings}").into_bytes()
}

/// Two texts as `Rows matched: 1  Changed: 1  Warnings: 0` with their numbers added; the first if they are not alike.
fn added(one: &[u8], other: &[u8]) -> Vec<u8> {
    if one.is_empty() {
        return other.to_vec();
    }
    let (words, others) = (pieces(one), pieces(other));
    if words.len() != others.len() {
        return one.to_vec();
    }
    let mut out = Vec::new();
    for (word, other) in words.iter().zip(&others) {
        match (number(word), number(other)) {
            (Some(a), Some(b)) => out.extend_from_slice(a.saturating_add(b).to_string().as_bytes()),
            _ if word == other => out.extend_from_slice(word),
            _ => return one.to_vec(),
        }
    }
    out
}

fn number(piece: &[u8]) -> Option<u64> {
    std::str::from_utf8(piece).ok()?.parse().ok()
}

/// Runs of digits, and what is between.
fn pieces(text: &[u8]) -> Vec<&[u8]> {
    text.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_added() {
        let cases = [
            ("", "Rows matched: 1", "Rows matched: 1"),
            (
                "Rows matched: 9  Changed: 1  Warnings: 0",
                "Rows matched: 3  Changed: 2  Warnings: 0",
                "Rows matched: 12  Changed: 3  Warnings: 0",
            ),
            ("Records: 1", "Rows: 1", "Records: 1"),
            ("Records: 1", "", "Records: 1"),
        ];
        for (one, other, sum) in cases {
            assert_eq!(added(one.as_bytes(), other.as_bytes()), sum.as_bytes());
        }
    }
}
