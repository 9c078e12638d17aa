//! How far writes have come, as global transaction ids, and whether a server has them.
//!
//! Owns the sets of GTIDs of MySQL (`uuid:1-7`, tagged ones too) and MariaDB (`domain-server-sequence`). It must never take
//! a write as seen that may be missing: what cannot be read or does not fit is unknown, and unknown goes to the primary.
//! Input: session tracking, `@@gtid_executed` and its like.

use std::ops::Deref;
use std::sync::Arc;

use crate::backend::Flavor;

/// Spans of one source that are kept apart.
const SPANS_MAX: usize = 16;
/// Sources (servers, or MariaDB's domains) that are told apart.
const SOURCES_MAX: usize = 64;

/// What a set with too many gaps becomes. Either way, a read waits rather than misses something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Overflow {
    /// It asks for what lies in the gaps too. A server gives its numbers in the order of its log, so all of them exist.
    #[default]
    Widen,
    /// It forgets the oldest.
    Forget,
}

/// A set of transactions: those that a read wants, or those that a server has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gtids {
    sources: Vec<Source>,
    overflow: Overflow,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    /// `uuid`, `uuid:tag`, or MariaDB's domain.
    name: Box<str>,
    /// MariaDB's server id, which its text needs.
    server: Option<u32>,
    /// First and last number, in order, neither touching nor overlapping.
    spans: Vec<(u64, u64)>,
}

/// A text that is no set of GTIDs, or too large a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotGtids;

impl Gtids {
    /// An empty set of what a server has.
    #[must_use]
    pub fn held() -> Self {
        Self {
            sources: Vec::new(),
            overflow: Overflow::Forget,
        }
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Adds what a server reported.
    ///
    /// # Errors
    /// [`NotGtids`]; part of it may have been added.
    pub fn note(&mut self, text: &[u8], flavor: Flavor) -> Result<(), NotGtids> {
        let text = std::str::from_utf8(text).map_err(|_| NotGtids)?;
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            match flavor {
                Flavor::MySql => self.note_mysql(part)?,
                Flavor::MariaDb => self.note_mariadb(part)?,
            }
        }
        Ok(())
    }

    /// All that a MariaDB server has, by domain and by the server that wrote it: of one with the same number in a domain,
    /// another one may have another transaction. Input: `gtid_binlog_state` and `gtid_slave_pos`.
    ///
    /// # Errors
    /// [`NotGtids`].
    pub fn by_server(texts: &[&[u8]]) -> Result<Self, NotGtids> {
        let mut all = Self::held();
        for text in texts {
            let text = std::str::from_utf8(text).map_err(|_| NotGtids)?;
            for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
                let (of, sequence) = part.rsplit_once('-').ok_or(NotGtids)?;
                let last = sequence.parse().map_err(|_| NotGtids)?;
                all.add(of, None, (1, last))?;
            }
        }
        Ok(all)
    }

    /// `uuid:1-3:5`, or with tags `uuid:1-3:tag:4-5`.
    fn note_mysql(&mut self, part: &str) -> Result<(), NotGtids> {
        let mut pieces = part.split(':').map(str::trim);
        let uuid = pieces
            .next()
            .filter(|uuid| uuid.len() == 36)
            .ok_or(NotGtids)?;
        let mut tag: Option<&str> = None;
        let mut any = false;
        for piece in pieces {
            if !piece.starts_with(|c: char| c.is_ascii_digit()) {
                tag = Some(piece);
                continue;
            }
            let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
            let first = first.parse().map_err(|_| NotGtids)?;
            let last = last.parse().map_err(|_| NotGtids)?;
            match tag {
                None => self.add(uuid, None, (first, last))?,
                Some(tag) => self.add(&format!("{uuid}:{tag}"), None, (first, last))?,
            }
            any = true;
        }
        if any { Ok(()) } else { Err(NotGtids) }
    }

    /// `0-100-322`: a position, which stands for everything before it in its domain.
    fn note_mariadb(&mut self, part: &str) -> Result<(), NotGtids> {
        let mut pieces = part.split('-');
        let (Some(domain), Some(server), Some(sequence), None) =
            (pieces.next(), pieces.next(), pieces.next(), pieces.next())
        else {
            return Err(NotGtids);
        };
        let number = |text: &str| text.parse::<u32>().map_err(|_| NotGtids);
        number(domain)?;
        let last = sequence.parse().map_err(|_| NotGtids)?;
        self.add(domain, Some(number(server)?), (1, last))
    }

    fn add(&mut self, name: &str, server: Option<u32>, span: (u64, u64)) -> Result<(), NotGtids> {
        if span.0 == 0 || span.1 < span.0 {
            return Err(NotGtids);
        }
        let Some(source) = self.sources.iter_mut().find(|s| *s.name == *name) else {
            if self.sources.len() >= SOURCES_MAX {
                return Err(NotGtids);
            }
            self.sources.push(Source {
                name: name.into(),
                server,
                spans: vec![span],
            });
            return Ok(());
        };
        if source.spans.last().is_none_or(|last| last.1 <= span.1) {
            source.server = server;
        }
        source.add(span, self.overflow);
        Ok(())
    }

    /// Adds all of another set.
    ///
    /// # Errors
    /// [`NotGtids`] when there are too many sources.
    pub fn merge(&mut self, other: &Self) -> Result<(), NotGtids> {
        for source in &other.sources {
            for span in &source.spans {
                self.add(&source.name, source.server, *span)?;
            }
        }
        Ok(())
    }

    /// Whether all of `wanted` is in it.
    #[must_use]
    pub fn covers(&self, wanted: &Self) -> bool {
        wanted.sources.iter().all(|w| {
            let has = self.sources.iter().find(|s| s.name == w.name);
            has.is_some_and(|has| {
                w.spans
                    .iter()
                    .all(|(first, last)| has.spans.iter().any(|(f, l)| f <= first && last <= l))
            })
        })
    }

    /// Leaves out what these sources numbered behind the last that `held` has of them: they number nothing any more, and what
    /// is not there now is nowhere.
    #[must_use]
    pub fn without_lost(&self, sources: &[Box<str>], held: &Self) -> Self {
        let mut left = self.clone();
        for source in &mut left.sources {
            let (uuid, _) = source.name.split_once(':').unwrap_or((&source.name, ""));
            if !sources.iter().any(|s| **s == *uuid) {
                continue;
            }
            let has = held.sources.iter().find(|s| s.name == source.name);
            let last = has
                .and_then(|s| s.spans.last())
                .map_or(0, |(_, last)| *last);
            source.spans.retain(|(first, _)| *first <= last);
            if let Some(newest) = source.spans.last_mut() {
                newest.1 = newest.1.min(last);
            }
        }
        left.sources.retain(|source| !source.spans.is_empty());
        left
    }

    /// Asks for all that a source numbered before, too.
    fn widen_to_start(&mut self) {
        for source in &mut self.sources {
            if let Some((_, last)) = source.spans.last().copied() {
                source.spans = vec![(1, last)];
            }
        }
    }

    /// As the servers' wait functions take it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut parts = Vec::new();
        for source in &self.sources {
            match source.server {
                Some(server) => {
                    let last = source.spans.last().map_or(0, |(_, last)| *last);
                    parts.push(format!("{}-{server}-{last}", source.name));
                }
                None => {
                    let spans: Vec<String> = source
                        .spans
                        .iter()
                        .map(|(first, last)| format!("{first}-{last}"))
                        .collect();
                    parts.push(format!("{}:{}", source.name, spans.join(":")));
                }
            }
        }
        parts.join(",")
    }

    /// The statement that waits until a replica has this set, and answers 0 when it does.
    #[must_use]
    pub fn wait_sql(&self, flavor: Flavor, wait_ms: u64) -> String {
        let seconds = format!("{}.{:03}", wait_ms / 1_000, wait_ms % 1_000);
        match flavor {
            Flavor::MySql => format!(
                "SELECT WAIT_FOR_EXECUTED_GTID_SET('{}', {seconds})",
                self.text()
            ),
            Flavor::MariaDb => format!("SELECT MASTER_GTID_WAIT('{}', {seconds})", self.text()),
        }
    }
}

impl Source {
    fn add(&mut self, (first, last): (u64, u64), overflow: Overflow) {
        // Nearly always the newest: the next number, or one beyond.
        if let Some(newest) = self.spans.last_mut()
            && first >= newest.0
            && first <= newest.1.saturating_add(1)
        {
            newest.1 = newest.1.max(last);
            return;
        }
        let (mut first, mut last) = (first, last);
        self.spans.retain(|(f, l)| {
            let apart = last.saturating_add(1) < *f || l.saturating_add(1) < first;
            if !apart {
                first = first.min(*f);
                last = last.max(*l);
            }
            apart
        });
        let at = self.spans.partition_point(|(f, _)| *f < first);
        self.spans.insert(at, (first, last));
        if self.spans.len() <= SPANS_MAX {
            return;
        }
        match (overflow, self.spans.first(), self.spans.last()) {
            (Overflow::Widen, Some(lowest), Some(highest)) => {
                self.spans = vec![(lowest.0, highest.1)];
            }
            _ => drop(self.spans.remove(0)),
        }
    }
}

/// What a replica must have to answer.
#[derive(Debug)]
pub enum Wanted<'a> {
    /// What one session wrote.
    Own(&'a Position),
    /// What all sessions wrote.
    OfAll(Arc<Position>),
}

impl Deref for Wanted<'_> {
    type Target = Position;

    fn deref(&self) -> &Position {
        match self {
            Self::Own(position) => position,
            Self::OfAll(position) => position,
        }
    }
}

/// How far a session's own writes have come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Position {
    /// It has written nothing.
    #[default]
    Start,
    /// Everything that it wrote.
    At(Gtids),
    /// It may have written something that no server reported: only the primary has it for sure.
    Unknown,
}

impl Position {
    /// Takes in what was written after it.
    pub fn follow(&mut self, later: &Self) {
        let (mut gtids, doubt) = match (std::mem::take(self), later) {
            (before, Self::Start) => {
                *self = before;
                return;
            }
            (_, Self::Unknown) => {
                *self = Self::Unknown;
                return;
            }
            (Self::At(gtids), Self::At(_)) => (gtids, false),
            (Self::Start, Self::At(_)) => (Gtids::default(), false),
            (Self::Unknown, Self::At(_)) => (Gtids::default(), true),
        };
        let Self::At(later) = later else { return };
        let merged = gtids.merge(later);
        if doubt {
            gtids.widen_to_start();
        }
        *self = merged.map_or(Self::Unknown, |()| Self::At(gtids));
    }

    /// Takes in a report. Where something before it is not known, everything before it is wanted.
    pub fn note(&mut self, text: &[u8], flavor: Flavor) {
        let (mut gtids, doubt) = match std::mem::take(self) {
            Self::At(gtids) => (gtids, false),
            Self::Start => (Gtids::default(), false),
            Self::Unknown => (Gtids::default(), true),
        };
        let noted = gtids.note(text, flavor);
        if doubt {
            gtids.widen_to_start();
        }
        *self = match noted {
            Ok(()) if !gtids.is_empty() => Self::At(gtids),
            Ok(()) if !doubt => Self::Start,
            _ => Self::Unknown,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn of_mariadb_the_server_counts_that_wrote() {
        let of = |texts: &[&str]| {
            let texts: Vec<&[u8]> = texts.iter().map(|t| t.as_bytes()).collect();
            Gtids::by_server(&texts).unwrap()
        };
        let before = of(&["0-1-8"]);
        let went_on = of(&["0-1-10", ""]);
        let promoted = of(&["0-1-8,0-2-12", "0-1-8"]);
        let purged = of(&["0-2-12", "0-1-8"]);
        assert!(went_on.covers(&before) && promoted.covers(&before) && purged.covers(&before));
        assert!(!promoted.covers(&went_on) && !went_on.covers(&promoted));
        assert!(Gtids::by_server(&[b"0-1"]).is_ok_and(|g| !g.is_empty()));
        assert!(Gtids::by_server(&[b"7"]).is_err());
    }

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn mysql(text: &str) -> Gtids {
        let mut gtids = Gtids::default();
        gtids.note(text.as_bytes(), Flavor::MySql).unwrap();
        gtids
    }

    fn mariadb(text: &str) -> Gtids {
        let mut gtids = Gtids::default();
        gtids.note(text.as_bytes(), Flavor::MariaDb).unwrap();
        gtids
    }

    #[test]
    fn spans_join_and_stay_in_order() {
        let text = format!("{A}:9:1-3:5:4");
        assert_eq!(mysql(&text).text(), format!("{A}:1-5:9-9"));
        let two = mysql(&format!("{A}:1-5,\n{B}:7"));
        assert_eq!(two.text(), format!("{A}:1-5,{B}:7-7"));
        let tagged = mysql(&format!("{A}:1-5:app:2"));
        assert_eq!(tagged.text(), format!("{A}:1-5,{A}:app:2-2"));
    }

    #[test]
    fn covers_is_a_subset_per_source() {
        let replica = mysql(&format!("{A}:1-100,{B}:1-7"));
        assert!(replica.covers(&mysql(&format!("{A}:100"))));
        assert!(replica.covers(&Gtids::default()));
        assert!(!replica.covers(&mysql(&format!("{A}:101"))));
        assert!(!replica.covers(&mysql(&format!("{A}:app:1"))));
        assert!(!mysql(&format!("{A}:1-4:6-9")).covers(&mysql(&format!("{A}:4-6"))));
        assert!(mariadb("0-1-9,3-1-2").covers(&mariadb("0-7-9")));
        assert!(!mariadb("0-1-9").covers(&mariadb("0-1-10")));
        assert!(!mariadb("0-1-9").covers(&mariadb("1-1-1")));
    }

    #[test]
    fn what_a_lost_primary_alone_had_is_not_waited_for() {
        let wanted = mysql(&format!("{A}:5-9:12,{A}:app:3,{B}:7"));
        let held = mysql(&format!("{A}:1-6,{B}:1-4"));
        let left = wanted.without_lost(&[A.into()], &held);
        assert_eq!(
            left,
            mysql(&format!("{A}:5-6,{B}:7")),
            "of B nothing is lost"
        );
        assert_eq!(wanted.without_lost(&[], &held), wanted);
        assert!(
            mysql(&format!("{A}:9"))
                .without_lost(&[A.into()], &held)
                .is_empty()
        );
    }

    #[test]
    fn what_is_no_set_is_unknown() {
        for text in ["x", A, "3e11:1", "0-1", "0-1-2-3"] {
            let mut gtids = Gtids::default();
            assert!(
                gtids.note(text.as_bytes(), Flavor::MySql).is_err(),
                "{text}"
            );
            let mut position = Position::Start;
            position.note(text.as_bytes(), Flavor::MySql);
            assert_eq!(position, Position::Unknown);
            position.note(format!("{A}:7").as_bytes(), Flavor::MySql);
            assert_eq!(
                position,
                Position::At(mysql(&format!("{A}:1-7"))),
                "all before it is wanted"
            );
        }
        assert!(Gtids::default().note(b"0-1", Flavor::MariaDb).is_err());
        let zero = format!("{A}:0");
        assert!(
            Gtids::default()
                .note(zero.as_bytes(), Flavor::MySql)
                .is_err()
        );
    }

    #[test]
    fn the_wait_is_the_server_s_own() {
        assert_eq!(
            mysql(&format!("{A}:5")).wait_sql(Flavor::MySql, 20),
            format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{A}:5-5', 0.020)")
        );
        assert_eq!(
            mariadb("0-1-9").wait_sql(Flavor::MariaDb, 1_500),
            "SELECT MASTER_GTID_WAIT('0-1-9', 1.500)"
        );
    }

    #[test]
    fn what_a_server_has_is_never_overstated() {
        let mut held = Gtids::held();
        for n in 1..=40u64 {
            held.note(format!("{A}:{}", 2 * n).as_bytes(), Flavor::MySql)
                .unwrap();
        }
        assert!(held.covers(&mysql(&format!("{A}:80"))));
        for n in 1..=40u64 {
            assert!(!held.covers(&mysql(&format!("{A}:{}", 2 * n - 1))));
        }
    }

    proptest! {
        /// A set covers every number put in, whatever the order, and stays small.
        #[test]
        fn nothing_put_in_is_lost(numbers in proptest::collection::vec(1u64..300, 1..200)) {
            let mut set = Gtids::default();
            for n in &numbers {
                set.note(format!("{A}:{n}").as_bytes(), Flavor::MySql).unwrap();
            }
            for n in &numbers {
                let one = mysql(&format!("{A}:{n}"));
                prop_assert!(set.covers(&one));
            }
            prop_assert!(set.sources[0].spans.len() <= SPANS_MAX);
            prop_assert_eq!(&mysql(&set.text()), &set);
            // Below the bound, nothing is in it that was not put in.
            if set.sources[0].spans.len() > 1 {
                let highest = numbers.iter().max().copied().unwrap_or(1);
                let beyond = mysql(&format!("{A}:{}", highest + 1));
                prop_assert!(!set.covers(&beyond));
            }
        }
    }
}
