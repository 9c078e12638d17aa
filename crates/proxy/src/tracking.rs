//! What a client hears of its session's state.
//!
//! Owns a session's own `session_track_*`: connections have the proxy's, whose reports are passed on as far as the client
//! asked. It must never promise a report that no connection makes. Input: assignments with their values.

use std::collections::BTreeSet;
use std::sync::Arc;

use dbmesh_wire::relay::ItemFilter;
use dbmesh_wire::track::Item;

/// The variables of which servers report changes by default.
const DEFAULT_VARIABLES: [&str; 5] = [
    "autocommit",
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "time_zone",
];

/// In place of a name: all variables.
const EVERY: &str = "*";

/// A session's `session_track_*`.
#[derive(Clone, Debug)]
pub struct Tracking {
    variables: Arc<BTreeSet<Box<str>>>,
    schema: bool,
    state_change: bool,
    gtids: bool,
    transaction: Transaction,
    filter: ItemFilter,
}

/// What is heard of transactions: each value more than the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Transaction {
    Nothing,
    State,
    Characteristics,
}

/// A tracking that was asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What the client hears from then on.
    pub tracking: Tracking,
    /// Whether every connection reports that; else only one that was told to.
    pub reported: bool,
}

impl Default for Tracking {
    /// What servers have by default.
    fn default() -> Self {
        Self {
            variables: Arc::new(DEFAULT_VARIABLES.map(Box::from).into()),
            schema: true,
            state_change: false,
            gtids: false,
            transaction: Transaction::Nothing,
            filter: ItemFilter::Fixed(passes_by_default),
        }
    }
}

impl Tracking {
    /// Which items the client gets.
    #[must_use]
    pub fn filter(&self) -> ItemFilter {
        self.filter.clone()
    }

    /// `session_track_system_variables`.
    #[must_use]
    pub fn variables(&self) -> String {
        let names: Vec<&str> = self.variables.iter().map(AsRef::as_ref).collect();
        names.join(",")
    }

    /// With one of them set, `None` for DEFAULT. `reported` are the variables of which connections report; nothing comes
    /// out for what no server takes.
    #[must_use]
    pub fn with(
        &self,
        name: &str,
        value: Option<&[u8]>,
        reported: &BTreeSet<Box<str>>,
    ) -> Option<Asked> {
        let mut new = self.clone();
        let mut known = true;
        let is = |value: &[u8], word: &str| value.eq_ignore_ascii_case(word.as_bytes());
        match name {
            "session_track_system_variables" => {
                new.variables = match value {
                    Some(list) => Arc::new(names(list)?),
                    None => Self::default().variables,
                };
                known = new.variables.is_subset(reported);
            }
            "session_track_schema" => new.schema = value.map_or(Some(true), switch)?,
            "session_track_state_change" => new.state_change = value.map_or(Some(false), switch)?,
            "session_track_gtids" => {
                new.gtids = match value {
                    Some(own) if is(own, "OWN_GTID") || is(own, "1") => true,
                    Some(all) if is(all, "ALL_GTIDS") || is(all, "2") => {
                        known = false;
                        true
                    }
                    off => !off
                        .is_none_or(|v| switch(v) == Some(false))
                        .then_some(true)?,
                };
            }
            "session_track_transaction_info" => {
                new.transaction = match value {
                    Some(state) if is(state, "STATE") || is(state, "1") => Transaction::State,
                    Some(all) if is(all, "CHARACTERISTICS") || is(all, "2") => {
                        Transaction::Characteristics
                    }
                    off => off
                        .is_none_or(|v| switch(v) == Some(false))
                        .then_some(Transaction::Nothing)?,
                };
                // The proxy begins and ends some transactions itself.
                known = new.transaction == Transaction::Nothing;
            }
            _ => return None,
        }
        new.filter = new.chosen();
        Some(Asked {
            tracking: new,
            reported: known,
        })
    }

    /// For the answer to a statement that leads from one to the other: what is heard of under both.
    #[must_use]
    pub fn changing_to(&self, new: &Self) -> Self {
        let both = |a: &BTreeSet<Box<str>>, b| Arc::new(a.intersection(b).cloned().collect());
        let mut change = Self {
            variables: both(&self.variables, &new.variables),
            schema: self.schema && new.schema,
            state_change: self.state_change && new.state_change,
            gtids: self.gtids && new.gtids,
            transaction: self.transaction.min(new.transaction),
            filter: self.filter(),
        };
        change.filter = change.chosen();
        change
    }

    fn chosen(&self) -> ItemFilter {
        let (variables, schema, state_change) =
            (self.variables.clone(), self.schema, self.state_change);
        let (gtids, transaction) = (self.gtids, self.transaction);
        ItemFilter::Chosen(Arc::new(move |item| match item {
            Item::Schema(_) => schema,
            Item::StateChange(_) => state_change,
            Item::SystemVariable { name, .. } => std::str::from_utf8(name)
                .is_ok_and(|name| variables.contains(name) || variables.contains(EVERY)),
            Item::Gtids(_) => gtids,
            Item::TransactionState(_) => transaction >= Transaction::State,
            Item::TransactionCharacteristics(_) => transaction == Transaction::Characteristics,
            Item::Unknown(..) => false,
        }))
    }
}

/// The names in a list.
fn names(list: &[u8]) -> Option<BTreeSet<Box<str>>> {
    let list = std::str::from_utf8(list).ok()?.to_ascii_lowercase();
    let names = list.split(',').map(str::trim);
    Some(
        names
            .filter(|name| !name.is_empty())
            .map(Box::from)
            .collect(),
    )
}

fn switch(value: &[u8]) -> Option<bool> {
    let is = |word: &str| value.eq_ignore_ascii_case(word.as_bytes());
    match () {
        () if is("1") || is("on") || is("true") => Some(true),
        () if is("0") || is("off") || is("false") => Some(false),
        () => None,
    }
}

fn passes_by_default(item: &Item<'_>) -> bool {
    match item {
        Item::Schema(_) => true,
        Item::SystemVariable { name, .. } => {
            DEFAULT_VARIABLES.iter().any(|one| one.as_bytes() == *name)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported() -> BTreeSet<Box<str>> {
        ["autocommit", "sql_mode", "time_zone"]
            .map(Box::from)
            .into()
    }

    fn hears(tracking: &Tracking, name: &str) -> bool {
        let (name, value) = (name.as_bytes(), b"x".as_slice());
        tracking
            .filter()
            .passes(&Item::SystemVariable { name, value })
    }

    fn set(tracking: &Tracking, name: &str, value: &str) -> Asked {
        tracking
            .with(name, Some(value.as_bytes()), &reported())
            .unwrap()
    }

    #[test]
    fn a_client_hears_of_what_it_asked_for() {
        let first = Tracking::default();
        assert!(hears(&first, "autocommit") && !hears(&first, "sql_mode"));
        let then = set(
            &first,
            "session_track_system_variables",
            "SQL_MODE, time_zone",
        );
        let (then, every) = (then.tracking, then.reported);
        assert!(every && !hears(&then, "autocommit") && hears(&then, "sql_mode"));
        assert_eq!(then.variables(), "sql_mode,time_zone");
        assert!(then.filter().passes(&Item::Schema(b"x")));
        let silent = set(&then, "session_track_schema", "OFF").tracking;
        assert!(!silent.filter().passes(&Item::Schema(b"x")) && hears(&silent, "sql_mode"));
        let again = silent
            .with("session_track_system_variables", None, &reported())
            .unwrap()
            .tracking;
        assert!(hears(&again, "autocommit") && !hears(&again, "sql_mode"));
        let own = set(&again, "session_track_gtids", "own_gtid");
        assert!(own.reported && own.tracking.filter().passes(&Item::Gtids(b"x")));
        let off = set(&own.tracking, "session_track_gtids", "OFF");
        assert!(off.reported && !off.tracking.filter().passes(&Item::Gtids(b"x")));
    }

    #[test]
    fn what_not_every_connection_reports_is_told_apart() {
        let tracking = Tracking::default();
        let [state, characteristics] = [
            Item::TransactionState(b"x"),
            Item::TransactionCharacteristics(b"x"),
        ];
        for (name, value, [hears_gtids, hears_state, hears_characteristics]) in [
            ("session_track_system_variables", "*", [false; 3]),
            ("session_track_system_variables", "timestamp", [false; 3]),
            ("session_track_gtids", "ALL_GTIDS", [true, false, false]),
            (
                "session_track_transaction_info",
                "STATE",
                [false, true, false],
            ),
            (
                "session_track_transaction_info",
                "CHARACTERISTICS",
                [false, true, true],
            ),
        ] {
            let asked = set(&tracking, name, value);
            assert!(!asked.reported, "{name} = {value}");
            let filter = asked.tracking.filter();
            assert_eq!(filter.passes(&Item::Gtids(b"x")), hears_gtids, "{value}");
            assert_eq!(filter.passes(&state), hears_state, "{value}");
            assert_eq!(
                filter.passes(&characteristics),
                hears_characteristics,
                "{value}"
            );
            let variables = name == "session_track_system_variables";
            assert_eq!(hears(&asked.tracking, "timestamp"), variables);
        }
    }

    #[test]
    fn what_no_server_takes_is_left_to_it() {
        for (name, value) in [
            ("session_track_schema", "2"),
            ("session_track_gtids", "MINE"),
            ("session_track_transaction_info", "3"),
            ("session_track_other", "1"),
        ] {
            let asked = Tracking::default().with(name, Some(value.as_bytes()), &reported());
            assert!(asked.is_none(), "{name} = {value}");
        }
    }
}
