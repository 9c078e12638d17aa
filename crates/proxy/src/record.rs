//! The lines of the audit and of the slow log.
//!
//! Owns their fields and form. It must never write a literal that may be a secret, and of others only where that is
//! configured. Input: statements that begin or end, logins, and what operators do.

use std::fmt::Write;
use std::time::Duration;

use dbmesh_runtime::time;

use crate::insight::Finished;
use crate::registry::SessionHandle;

/// Longest text of a statement in a line, in bytes.
pub const TEXT_BYTES_MAX: usize = 16 << 10;

/// The fields of a line in the making.
#[derive(Debug)]
pub struct Record(String);

impl Record {
    /// An event that happens now.
    pub fn new(event: &str) -> Self {
        let mut fields = String::with_capacity(640);
        let _ = write!(
            fields,
            "\"time\":\"{}\",\"event\":\"{event}\"",
            time::now_text()
        );
        Self(fields)
    }

    /// A text.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        let _ = write!(self.0, ",\"{name}\":");
        put_text(&mut self.0, value);
        self
    }

    /// A number.
    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        let _ = write!(self.0, ",\"{name}\":{value}");
        self
    }

    /// A duration in whole microseconds.
    pub fn micros(&mut self, name: &str, time: Duration) -> &mut Self {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.number(name, us)
    }

    /// Something that is JSON already.
    pub fn json(&mut self, name: &str, value: &serde_json::Value) -> &mut Self {
        let _ = write!(self.0, ",\"{name}\":{value}");
        self
    }

    /// Who: the session, its user, from where, to what.
    pub fn session(&mut self, session: &SessionHandle) -> &mut Self {
        self.text("service", &session.service)
            .number("session", u64::from(session.id))
            .text("user", &session.user)
            .text("client", &session.address)
    }

    /// What a statement was, how long it took and what came of it.
    pub fn finished(&mut self, finished: &Finished<'_>) -> &mut Self {
        if let Some(endpoint) = finished.endpoint {
            self.text("endpoint", endpoint.name.as_str());
            self.text("server", &endpoint.address.to_string());
        }
        self.number("rows_sent", finished.rows)
            .number("rows_affected", finished.affected)
            .number("bytes_in", finished.bytes_in)
            .number("bytes_out", finished.bytes_out)
            .micros("took_us", finished.took)
            .micros("wait_us", finished.waited)
            .micros("execute_us", finished.executed)
    }

    /// The fields.
    pub fn into_fields(self) -> String {
        self.0
    }
}

/// A JSON string. Control characters are escaped, so that a line stays one.
fn put_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn any_text_makes_one_line_of_json() {
        let hostile = "a\"b\\c\n\r\t\0\u{7f}\u{85}\u{2028}é{}\",\"event\":\"forged";
        let mut record = Record::new("statement");
        record.text("text", hostile).number("n", 3);
        record.micros("took_us", Duration::from_millis(2));
        let line = format!("{{{}}}", record.into_fields());
        assert_eq!(line.lines().count(), 1);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["text"], hostile);
        assert_eq!(value["event"], "statement");
        assert_eq!((&value["n"], &value["took_us"]), (&3.into(), &2_000.into()));
    }
}
