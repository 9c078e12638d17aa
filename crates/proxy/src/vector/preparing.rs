//! What a prepared statement keeps of the state that it was prepared under.
//!
//! Owns the list of it: schema, character set, the variables whose values servers take while they prepare, and, for texts
//! with user variables, the types that those have. MySQL keeps all of it for the statement's life; MariaDB takes variables
//! anew at every execution. Statements of one session must never get another's. Input: vectors.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{NULL_BYTES, NULL_TEXT, Vector, is_charset_variable};

/// Variables that decide what the same text means: how it is read.
const READING: [&str; 1] = ["sql_mode"];

/// Variables that MySQL computes constants, types and columns with while it prepares, and what is in every text for which
/// they matter, in lower case.
const COMPUTING: [(&str, &[&str]); 11] = [
    ("block_encryption_mode", &["aes_"]),
    (
        "default_collation_for_utf8mb4",
        &["utf8mb4", "char", "unicode"],
    ),
    ("default_week_format", &["week"]),
    ("div_precision_increment", &["/", "avg"]),
    ("group_concat_max_len", &["group_concat", "json_"]),
    (
        "information_schema_stats_expiry",
        &["information_schema", "show"],
    ),
    ("lc_time_names", &["name", "format"]),
    ("sql_auto_is_null", &["null"]),
    // Literals of moments; the functions that convert them.
    ("time_zone", &[":", "unix", "convert_tz"]),
    ("updatable_views_with_limit", &["limit"]),
    ("windowing_use_high_precision", &["over", "window"]),
];

/// Hashes of what matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hashes {
    /// Of what decides how a text is read.
    reading: u64,
    /// Of each variable that is computed with.
    computing: [u64; COMPUTING.len()],
    /// Of the types of user variables.
    users: u64,
}

impl Hashes {
    pub(super) fn of(vector: &Vector) -> Self {
        let mut reading = DefaultHasher::new();
        (&vector.schema, &vector.charset).hash(&mut reading);
        for name in READING {
            vector.value_of(name).hash(&mut reading);
        }
        for (name, value) in &vector.variables {
            if is_charset_variable(name) {
                (name, value).hash(&mut reading);
            }
        }
        let computing = COMPUTING.map(|(name, _)| {
            let mut one = DefaultHasher::new();
            (name, vector.value_of(name)).hash(&mut one);
            one.finish()
        });
        let mut users = DefaultHasher::new();
        for (name, value) in &vector.user_variables {
            if !is_unassigned(value) {
                (name, shape(value)).hash(&mut users);
            }
        }
        Self {
            reading: reading.finish(),
            computing,
            users: users.finish(),
        }
    }
}

impl Vector {
    /// A hash of what this text depends on when it is prepared.
    #[must_use]
    pub fn prepare_state(&self, sql: &[u8]) -> u64 {
        let mut state = self.preparing.reading;
        for ((_, words), value) in COMPUTING.iter().zip(self.preparing.computing) {
            if words.iter().any(|word| has(sql, word)) {
                state = state.rotate_left(1) ^ value;
            }
        }
        match may_read_variables(sql) {
            true => state.rotate_left(1) ^ self.preparing.users,
            false => state,
        }
    }

    /// Whether nothing that a text could depend on when it is prepared is another in the other state.
    #[must_use]
    pub fn prepares_like(&self, other: &Self) -> bool {
        self.preparing == other.preparing
    }

    /// Whether a text means the same under the other state, on a server that computes nothing while it prepares.
    #[must_use]
    pub fn reads_like(&self, other: &Self) -> bool {
        let charsets = |of: &Self| -> Vec<_> {
            let variables = of.variables.iter();
            let variables = variables.filter(|(name, _)| is_charset_variable(name));
            variables.map(|(n, v)| (n.clone(), v.clone())).collect()
        };
        self.schema == other.schema
            && self.charset == other.charset
            && charsets(self) == charsets(other)
            && READING.map(|name| self.value_of(name)) == READING.map(|name| other.value_of(name))
    }

    /// Whether user variables of these names have the same types in both.
    #[must_use]
    pub fn types_like(&self, other: &Self, names: &[Box<str>]) -> bool {
        names.iter().all(|name| {
            let values = [self, other].map(|of| of.user_variables.get(name.as_bytes()));
            let [own, others] = values.map(|value| {
                let value = value.filter(|value| !is_unassigned(value));
                value.map(|value| shape(value))
            });
            own == others
        })
    }

    /// This vector with what a PREPARE of this text depends on taken from `under`. All else stays, so that the way there and
    /// back is made of SETs alone.
    #[must_use]
    pub fn for_preparing(&self, under: &Self, sql: &[u8]) -> Self {
        let computing = |name: &str| COMPUTING.iter().any(|(known, _)| *known == name);
        let matters =
            |name: &str| READING.contains(&name) || computing(name) || is_charset_variable(name);
        let mut vector = self.clone();
        vector.schema.clone_from(&under.schema);
        vector.charset = under.charset.clone();
        vector.variables.retain(|name, _| !matters(name));
        let taken = under.variables.iter().filter(|(name, _)| matters(name));
        vector
            .variables
            .extend(taken.map(|(name, value)| (name.clone(), value.clone())));
        if may_read_variables(sql) {
            for (name, value) in &mut vector.user_variables {
                // Nothing takes a variable away again. One that nobody assigned is read like this.
                let there = under.user_variables.get(name);
                *value = there.cloned().unwrap_or_else(|| NULL_BYTES.into());
            }
        }
        vector.rehash();
        vector
    }
}

/// Whether a text may name a user variable: seldom does a text have the sign that does not.
fn may_read_variables(sql: &[u8]) -> bool {
    sql.contains(&b'@')
}

/// Whether a text has this in it, in whatever letters.
fn has(text: &[u8], word: &str) -> bool {
    let Some(first) = word.bytes().next() else {
        return false;
    };
    let both = [first, first.to_ascii_uppercase()];
    let mut places = text.windows(word.len());
    places.any(|place| {
        place.first().is_some_and(|byte| both.contains(byte))
            && place.eq_ignore_ascii_case(word.as_bytes())
    })
}

/// Whether a variable is as one that nobody has assigned: servers make such a one where it is read.
fn is_unassigned(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"NULL") || value == NULL_BYTES || value.starts_with(NULL_TEXT)
}

/// What a literal says of its type: what stands around a text, and of a number its form.
fn shape(literal: &[u8]) -> Vec<u8> {
    let first = literal.iter().position(|byte| *byte == b'\'');
    let last = literal.iter().rposition(|byte| *byte == b'\'');
    if let (Some(first), Some(last)) = (first, last) {
        let around = [literal.get(..first), literal.get(last..)];
        return around.map(Option::unwrap_or_default).concat();
    }
    let as_type: &[u8] = b" AS ";
    let mut places = literal.windows(as_type.len());
    let typed = places.rposition(|part| part == as_type);
    if let Some(at) = typed.filter(|_| literal.starts_with(b"CAST(")) {
        return literal.get(at..).unwrap_or_default().to_vec();
    }
    let digits = literal.strip_prefix(b"-").unwrap_or(literal);
    if !digits.first().is_some_and(u8::is_ascii_digit) {
        return literal.to_vec();
    }
    let has = |wanted: &[u8]| digits.iter().any(|byte| wanted.contains(byte));
    let form: &[u8] = match (has(b"eE"), has(b".")) {
        (true, _) => b"1e0",
        (false, true) => b"1.0",
        // Beyond the signed ones, they are unsigned.
        (false, false) if std::str::from_utf8(literal).is_ok_and(|n| n.parse::<i64>().is_err()) => {
            b"18446744073709551615"
        }
        (false, false) => b"1",
    };
    form.to_vec()
}

#[cfg(test)]
mod tests {
    use super::super::{Charset, Transition, transition};
    use super::*;

    fn vector(id: u16, variables: &[(&str, &str)], users: &[(&str, &str)]) -> Vector {
        let mut vector = Vector::fresh(Some(b"shop".as_slice().into()), Charset::Handshake(id));
        for (name, value) in variables {
            vector.note_variable(name, value.as_bytes());
        }
        let users = users.iter();
        vector.user_variables = users
            .map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into()))
            .collect();
        vector.rehash();
        vector
    }

    fn way(have: &Vector, want: &Vector) -> String {
        match transition(have, want) {
            Transition::Change { set, set_users, .. } => {
                String::from_utf8([set, set_users].join(&b';')).unwrap()
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn preparing_elsewhere_takes_no_reset() {
        let under = vector(45, &[("sql_mode", "ANSI"), ("time_zone", "+01:00")], &[]);
        let now = vector(255, &[("autocommit", "OFF")], &[("x", "1")]);
        let there = now.for_preparing(&under, b"SELECT 1");
        assert_eq!(
            way(&now, &there),
            "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci, SESSION sql_mode = 'ANSI', SESSION time_zone = '+01:00';"
        );
        assert_eq!(
            way(&there, &now),
            "SET NAMES utf8mb4 COLLATE utf8mb4_0900_ai_ci, SESSION sql_mode = DEFAULT, SESSION time_zone = DEFAULT;"
        );
        let text = b"SELECT 1";
        assert_eq!(there.prepare_state(text), under.prepare_state(text));
        let there = now.for_preparing(&under, b"SELECT @x");
        assert!(way(&now, &there).ends_with(";SET @`x` = _binary'', @`x` = NULL"));
        assert_eq!(there.user_variables[b"x".as_slice()], NULL_BYTES.into());
    }

    #[test]
    fn variables_that_are_taken_while_preparing_tell_statements_apart() {
        let plain = vector(255, &[], &[]);
        for (name, words) in COMPUTING {
            let other = vector(255, &[(name, "7")], &[]);
            for word in words {
                let text = format!("S {} T", word.to_ascii_uppercase());
                let [a, b] = [&plain, &other].map(|v| v.prepare_state(text.as_bytes()));
                assert_ne!(a, b, "{name}: {text}");
            }
            assert_eq!(plain.prepare_state(b"S"), other.prepare_state(b"S"));
            assert!(plain.reads_like(&other) && !plain.prepares_like(&other));
        }
        let other = vector(255, &[("sql_mode", "7")], &[]);
        assert_ne!(plain.prepare_state(b"S"), other.prepare_state(b"S"));
        assert!(!plain.reads_like(&other));
        let other = vector(255, &[("autocommit", "OFF")], &[]);
        assert_eq!(plain.prepare_state(b"S"), other.prepare_state(b"S"));
        assert!(!plain.reads_like(&vector(8, &[], &[])));
    }

    #[test]
    fn types_of_user_variables_tell_apart_statements_that_name_some() {
        let types = [
            "1",
            "1.5",
            "1e3",
            "18446744073709551615",
            "NULL",
            "_utf8mb4'a'",
            "_latin1'a'",
            "_utf8mb4'a' COLLATE utf8mb4_bin",
        ];
        let of = |value: &str| vector(255, &[], &[("x", value)]);
        for (place, value) in types.iter().enumerate() {
            for other in types.iter().skip(place + 1) {
                let (a, b) = (of(value), of(other));
                assert_ne!(a.prepare_state(b"@x"), b.prepare_state(b"@x"));
                assert_eq!(a.prepare_state(b"x"), b.prepare_state(b"x"));
                assert!(!a.types_like(&b, &["x".into()]) && a.types_like(&b, &["y".into()]));
            }
        }
        let unassigned = vector(255, &[], &[]);
        assert_eq!(
            unassigned.prepare_state(b"@x"),
            of("NULL").prepare_state(b"@x")
        );
        assert!(unassigned.types_like(&of("NULL"), &["x".into()]));
        let decimal = "CAST(1.50 AS DECIMAL(65,2))";
        assert!(!of(decimal).types_like(&of("CAST(1.5 AS DECIMAL(65,1))"), &["x".into()]));
        for (value, other) in [
            ("1", "-20"),
            ("1.5", "-2.25"),
            ("'a'", "'it''s'"),
            (decimal, "CAST(-7.25 AS DECIMAL(65,2))"),
        ] {
            let [a, b] = [value, other].map(of);
            assert_eq!(a.prepare_state(b"@x"), b.prepare_state(b"@x"));
        }
    }
}
