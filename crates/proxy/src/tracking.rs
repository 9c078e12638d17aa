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

/// A session's `session_track_*`.
#[derive(Clone, Debug)]
pub struct Tracking {
    variables: Arc<BTreeSet<Box<str>>>,
    schema: bool,
    state_change: bool,
    filter: ItemFilter,
}

impl Default for Tracking {
    /// What servers have by default.
    fn default() -> Self {
        Self {
            variables: Arc::new(DEFAULT_VARIABLES.map(Box::from).into()),
            schema: true,
            state_change: false,
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
    /// out where they do not do.
    #[must_use]
    pub fn with(
        &self,
        name: &str,
        value: Option<&[u8]>,
        reported: &BTreeSet<Box<str>>,
    ) -> Option<Self> {
        let mut new = self.clone();
        match name {
            "session_track_system_variables" => {
                new.variables = match value {
                    Some(list) => Arc::new(names(list, reported)?),
                    None => Self::default().variables,
                };
            }
            "session_track_schema" => new.schema = value.map_or(Some(true), switch)?,
            "session_track_state_change" => new.state_change = value.map_or(Some(false), switch)?,
            "session_track_transaction_info" | "session_track_gtids" => {
                value
                    .is_none_or(|v| switch(v) == Some(false))
                    .then_some(())?;
            }
            _ => return None,
        }
        new.filter = new.chosen();
        Some(new)
    }

    /// For the answer to a statement that leads from one to the other: what is heard of under both.
    #[must_use]
    pub fn changing_to(&self, new: &Self) -> Self {
        let both = |a: &BTreeSet<Box<str>>, b| Arc::new(a.intersection(b).cloned().collect());
        let mut change = Self {
            variables: both(&self.variables, &new.variables),
            schema: self.schema && new.schema,
            state_change: self.state_change && new.state_change,
            filter: self.filter(),
        };
        change.filter = change.chosen();
        change
    }

    fn chosen(&self) -> ItemFilter {
        let (variables, schema, state_change) =
            (self.variables.clone(), self.schema, self.state_change);
        ItemFilter::Chosen(Arc::new(move |item| match item {
            Item::Schema(_) => schema,
            Item::StateChange(_) => state_change,
            Item::SystemVariable { name, .. } => {
                std::str::from_utf8(name).is_ok_and(|name| variables.contains(name))
            }
            _ => false,
        }))
    }
}

fn names(list: &[u8], reported: &BTreeSet<Box<str>>) -> Option<BTreeSet<Box<str>>> {
    let list = std::str::from_utf8(list).ok()?.to_ascii_lowercase();
    list.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(|name| reported.get(name).cloned())
        .collect()
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

    #[test]
    fn a_client_hears_of_what_it_asked_for() {
        let first = Tracking::default();
        assert!(hears(&first, "autocommit") && !hears(&first, "sql_mode"));
        let list = Some(b"SQL_MODE, time_zone".as_slice());
        let then = first
            .with("session_track_system_variables", list, &reported())
            .unwrap();
        assert!(!hears(&then, "autocommit") && hears(&then, "sql_mode"));
        assert_eq!(then.variables(), "sql_mode,time_zone");
        assert!(then.filter().passes(&Item::Schema(b"x")));
        let silent = then
            .with("session_track_schema", Some(b"OFF"), &reported())
            .unwrap();
        assert!(!silent.filter().passes(&Item::Schema(b"x")) && hears(&silent, "sql_mode"));
        let again = silent
            .with("session_track_system_variables", None, &reported())
            .unwrap();
        assert!(hears(&again, "autocommit") && !hears(&again, "sql_mode"));
    }

    #[test]
    fn nothing_is_promised_that_connections_do_not_report() {
        let tracking = Tracking::default();
        for (name, value) in [
            ("session_track_system_variables", "*"),
            ("session_track_system_variables", "autocommit,timestamp"),
            ("session_track_schema", "2"),
            ("session_track_gtids", "OWN_GTID"),
            ("session_track_transaction_info", "STATE"),
            ("session_track_other", "1"),
        ] {
            let set = tracking.with(name, Some(value.as_bytes()), &reported());
            assert!(set.is_none(), "{name} = {value}");
        }
        let off = tracking.with("session_track_gtids", Some(b"OFF"), &reported());
        assert!(off.is_some());
    }
}
