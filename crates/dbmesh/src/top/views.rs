//! The views: which rows, columns and orders each has.
//!
//! It owns the columns. Rates come of the difference of two looks; a counter that fell began anew. Its input is what the
//! admin page lists.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use crate::cli::View;
use crate::terminal::Cell;

const ODD: &str = "33";
const BAD: &str = "1;31";

/// A row: what the proxy said of it, and rates.
pub struct Row {
    pub value: Value,
}

pub fn name(view: View) -> &'static str {
    match view {
        View::Digests => "digests",
        View::Endpoints => "endpoints",
        View::Sessions => "sessions",
        View::Pools => "pools",
    }
}

pub fn next(view: View) -> View {
    match view {
        View::Digests => View::Endpoints,
        View::Endpoints => View::Sessions,
        View::Sessions => View::Pools,
        View::Pools => View::Digests,
    }
}

/// The fields that a view can be ordered by, the first by itself.
pub fn orders(view: View) -> &'static [&'static str] {
    match view {
        View::Digests => &[
            "time_ms_per_s",
            "calls_per_s",
            "time_us",
            "calls",
            "errors",
            "p99_us",
        ],
        View::Endpoints => &["statements_per_s", "latency_us", "outstanding", "endpoint"],
        View::Sessions => &["statements_per_s", "age_s", "statements", "id"],
        View::Pools => &["waiting", "open", "statements_per_s", "endpoint"],
    }
}

/// Whether a listing is one of this view, or empty.
pub fn is_of(view: View, listing: &Value) -> bool {
    let marks = match view {
        View::Digests => "digest",
        View::Endpoints => "serves_not",
        View::Sessions => "pins",
        View::Pools => "oldest_wait_ms",
    };
    let first = listing.as_array().and_then(|rows| rows.first());
    first.is_some_and(|row| row.get(marks).is_some())
}

/// What makes a row the same one in two looks.
fn identity(view: View, row: &Value) -> String {
    let fields: &[&str] = match view {
        View::Digests => &["service", "user", "digest"],
        View::Endpoints | View::Pools => &["service", "endpoint"],
        View::Sessions => &["id", "user"],
    };
    let texts: Vec<String> = fields.iter().map(|field| text(row, field)).collect();
    texts.join("\n")
}

/// Counters of a view, and the names of their rates.
fn counters(view: View) -> &'static [(&'static str, &'static str)] {
    match view {
        View::Digests => &[("calls", "calls_per_s"), ("time_us", "time_us_per_s")],
        View::Endpoints | View::Sessions | View::Pools => &[("statements", "statements_per_s")],
    }
}

pub fn rows(
    view: View,
    before: Option<&Value>,
    now: &Value,
    elapsed: Option<Duration>,
) -> Vec<Row> {
    let old: HashMap<String, &Value> = before
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|row| (identity(view, row), row))
        .collect();
    let seconds = elapsed.map_or(0.0, |elapsed| elapsed.as_secs_f64());
    let all = now.as_array().into_iter().flatten();
    all.map(|row| {
        let mut row = row.clone();
        let was = old.get(&identity(view, &row));
        for (counter, rate) in counters(view) {
            let count = number(&row, counter);
            // What was not there before came in between, if there was a look before.
            let then = was.map_or(0.0, |was| number(was, counter));
            let per_s = match before {
                Some(_) if seconds > 0.0 && count >= then => (count - then) / seconds,
                _ => 0.0,
            };
            put(&mut row, rate, per_s);
            if *rate == "time_us_per_s" {
                put(&mut row, "time_ms_per_s", per_s / 1_000.0);
            }
        }
        Row { value: row }
    })
    .collect()
}

fn put(row: &mut Value, name: &str, value: f64) {
    if let Some(fields) = row.as_object_mut() {
        fields.insert(name.to_owned(), ((value * 10.0).round() / 10.0).into());
    }
}

pub fn sort(view: View, order: usize, rows: &mut [Row]) {
    let Some(by) = orders(view).get(order) else {
        return;
    };
    let and_then = match view {
        View::Digests => "time_us",
        _ => "statements",
    };
    rows.sort_by(|a, b| {
        let (x, y) = (field(&a.value, by), field(&b.value, by));
        let ordered = match (x.as_str(), y.as_str()) {
            (Some(x), Some(y)) => x.cmp(y),
            _ => descending(number(&a.value, by), number(&b.value, by)),
        };
        ordered.then_with(|| descending(number(&a.value, and_then), number(&b.value, and_then)))
    });
}

fn descending(a: f64, b: f64) -> Ordering {
    b.total_cmp(&a)
}

fn field<'a>(row: &'a Value, name: &str) -> &'a Value {
    row.get(name).unwrap_or(&Value::Null)
}

fn number(row: &Value, name: &str) -> f64 {
    field(row, name).as_f64().unwrap_or(0.0)
}

fn text(row: &Value, name: &str) -> String {
    match field(row, name) {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(all) => {
            let words: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
            words.join(",")
        }
        other => other.to_string(),
    }
}

type Column = (&'static str, fn(&Value) -> Cell);

fn micros(row: &Value, name: &str) -> Cell {
    let us = number(row, name);
    Cell::plain(match us {
        us if us >= 1e6 => format!("{:.1}s", us / 1e6),
        us if us >= 1e3 => format!("{:.1}ms", us / 1e3),
        us => format!("{us:.0}us"),
    })
}

fn rate(row: &Value, name: &str) -> Cell {
    Cell::plain(format!("{:.1}", number(row, name)))
}

fn plain(row: &Value, name: &str) -> Cell {
    Cell::plain(text(row, name))
}

fn some(row: &Value, name: &str, code: &'static str) -> Cell {
    match number(row, name) {
        n if n > 0.0 => Cell::painted(code, text(row, name)),
        _ => plain(row, name),
    }
}

const DIGESTS: &[Column] = &[
    ("CALLS/S", |r| rate(r, "calls_per_s")),
    ("LOAD%", |r| {
        // Time of statements per time: 100 is one statement at any moment.
        Cell::plain(format!("{:.1}", number(r, "time_ms_per_s") / 10.0))
    }),
    ("CALLS", |r| plain(r, "calls")),
    ("ERRORS", |r| some(r, "errors", BAD)),
    ("P50", |r| micros(r, "p50_us")),
    ("P99", |r| micros(r, "p99_us")),
    ("ROWS", |r| plain(r, "rows_sent")),
    ("USER", |r| plain(r, "user")),
    ("DIGEST", |r| plain(r, "digest")),
    ("STATEMENT", |r| plain(r, "text")),
];

const ENDPOINTS: &[Column] = &[
    ("SERVICE", |r| plain(r, "service")),
    ("ENDPOINT", |r| plain(r, "endpoint")),
    ("SERVES", |r| match field(r, "serves_as").as_str() {
        Some(role) => Cell::plain(role),
        None => Cell::painted(BAD, text(r, "serves_not")),
    }),
    ("STATEMENTS/S", |r| rate(r, "statements_per_s")),
    ("LATENCY", |r| micros(r, "latency_us")),
    ("BUSY", |r| plain(r, "outstanding")),
    ("LAG", |r| match field(r, "lag_ms").as_u64() {
        Some(ms) => Cell::plain(format!("{ms}ms")),
        None => plain(r, "lag"),
    }),
    ("STATE", |r| plain(r, "admin_state")),
    ("ADDRESS", |r| plain(r, "address")),
];

const SESSIONS: &[Column] = &[
    ("ID", |r| plain(r, "id")),
    ("USER", |r| plain(r, "user")),
    ("CLIENT", |r| plain(r, "address")),
    ("SERVICE", |r| plain(r, "service")),
    ("STATEMENTS/S", |r| rate(r, "statements_per_s")),
    ("STATEMENTS", |r| plain(r, "statements")),
    ("AGE", |r| Cell::plain(format!("{}s", text(r, "age_s")))),
    ("BUSY", |r| plain(r, "busy")),
    ("PINS", |r| Cell::painted(ODD, text(r, "pins"))),
    ("DIGEST", |r| plain(r, "last_digest")),
];

const POOLS: &[Column] = &[
    ("SERVICE", |r| plain(r, "service")),
    ("ENDPOINT", |r| plain(r, "endpoint")),
    ("SIZE", |r| plain(r, "size")),
    ("OPEN", |r| plain(r, "open")),
    ("IDLE", |r| plain(r, "idle")),
    ("HELD", |r| plain(r, "held")),
    ("WAITING", |r| some(r, "waiting", ODD)),
    ("OLDEST", |r| {
        Cell::plain(format!("{}ms", text(r, "oldest_wait_ms")))
    }),
    ("STATEMENTS/S", |r| rate(r, "statements_per_s")),
    ("FAILURES", |r| some(r, "connect_failures_in_a_row", BAD)),
];

/// The heads and cells of a table.
pub fn cells(view: View, rows: &[Row]) -> (Vec<&'static str>, Vec<Vec<Cell>>) {
    let columns = match view {
        View::Digests => DIGESTS,
        View::Endpoints => ENDPOINTS,
        View::Sessions => SESSIONS,
        View::Pools => POOLS,
    };
    let heads = columns.iter().map(|(head, _)| *head).collect();
    let row = |row: &Row| columns.iter().map(|(_, cell)| cell(&row.value)).collect();
    (heads, rows.iter().map(row).collect())
}
