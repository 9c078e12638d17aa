//! `dbmesh get`: what a running proxy says of its services, endpoints, pools, sessions and statements.
//!
//! It owns the columns. It never computes what the proxy can say itself.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use serde_json::Value;

use crate::cli::{GetArgs, GetFormat, Listing};
use crate::page::Page;
use crate::terminal::{Cell, Colour, table};

const GOOD: &str = "32";
const BAD: &str = "1;31";
const ODD: &str = "33";

/// Prints a listing; fails if the proxy does not give one.
pub fn run_get(args: &GetArgs) -> ExitCode {
    let page = Page::at(&args.admin.admin);
    let path = match args.what {
        Listing::Services => "/debug/services",
        Listing::Endpoints => "/debug/endpoints",
        Listing::Pools => "/debug/pools",
        Listing::Sessions => "/debug/sessions",
        Listing::Digests => "/debug/digests",
    };
    let listing = match page.get(path) {
        Ok(listing) => listing,
        Err(error) => {
            eprintln!("dbmesh: {}", page.explain(&error));
            return ExitCode::FAILURE;
        }
    };
    let stdout = io::stdout();
    let colour = Colour::of(stdout.is_terminal());
    let text = match args.output {
        GetFormat::Json => format!("{listing:#}\n"),
        GetFormat::Table => listed(args.what, &listing, Width::Usual, colour),
        GetFormat::Wide => listed(args.what, &listing, Width::Wide, colour),
    };
    match stdout.lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// How many columns are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Usual,
    Wide,
}

/// A column: its head, whether it is shown only when there is room, its cell.
type Column = (&'static str, Width, fn(&Value) -> Cell);

const SERVICES: &[Column] = &[
    ("SERVICE", Width::Usual, |v| text(v, "service")),
    ("LISTEN", Width::Usual, |v| {
        Cell::plain(words(at(v, "/listen")))
    }),
    ("PRIMARY", Width::Usual, |v| {
        match words(at(v, "/primaries")) {
            none if none.is_empty() => Cell::painted(BAD, "none"),
            names => Cell::plain(names),
        }
    }),
    ("REPLICAS", Width::Usual, |v| {
        Cell::plain(words(at(v, "/replicas")))
    }),
    ("SESSIONS", Width::Usual, |v| text(v, "sessions")),
    ("WAITING", Width::Usual, |v| {
        many(v, "statements_waiting_for_primary")
    }),
    ("STRATEGY", Width::Wide, |v| text(v, "strategy")),
    ("ROLES", Width::Wide, |v| text(v, "roles")),
    ("CONSISTENCY", Width::Wide, |v| text(v, "consistency")),
    ("PINNED", Width::Wide, |v| text(v, "sessions_pinned")),
    ("BUFFER", Width::Wide, |v| ms(at(v, "/buffer_wait_ms"))),
    ("CHANGES", Width::Wide, |v| text(v, "primary_changes")),
];

const ENDPOINTS: &[Column] = &[
    ("SERVICE", Width::Usual, |v| text(v, "service")),
    ("ENDPOINT", Width::Usual, |v| text(v, "endpoint")),
    ("ROLE", Width::Usual, |v| text(v, "role")),
    ("SERVES", Width::Usual, |v| match at(v, "/serves_as") {
        Value::String(role) => Cell::painted(GOOD, role),
        _ => Cell::painted(BAD, "no"),
    }),
    ("STATE", Width::Usual, state),
    ("LAG", Width::Usual, |v| match at(v, "/lag_ms") {
        Value::Null if at(v, "/lag") == "unknown" || at(v, "/lag") == "no_replica" => {
            Cell::plain("")
        }
        Value::Null => text(v, "lag"),
        behind => ms(behind),
    }),
    ("LATENCY", Width::Usual, |v| micros(at(v, "/latency_us"))),
    ("BUSY", Width::Usual, |v| text(v, "outstanding")),
    ("CONNECTIONS", Width::Usual, |v| {
        Cell::plain(format!("{}/{}", at(v, "/pool/open"), at(v, "/pool/size")))
    }),
    ("WAITING", Width::Usual, |v| waiting(at(v, "/pool"))),
    ("ADDRESS", Width::Wide, |v| text(v, "address")),
    ("VERSION", Width::Wide, |v| text(v, "server_version")),
    ("REPORTED", Width::Wide, |v| text(v, "reported_role")),
    ("WEIGHT", Width::Wide, |v| text(v, "weight")),
    ("STATEMENTS", Width::Wide, |v| text(v, "statements")),
    ("WHY", Width::Wide, |v| match at(v, "/serves_not_because") {
        Value::Null => text(v, "last_error"),
        _ if at(v, "/last_error").is_string() => Cell::plain(format!(
            "{}; {}",
            shown(at(v, "/serves_not_because")),
            shown(at(v, "/last_error"))
        )),
        _ => text(v, "serves_not_because"),
    }),
];

const POOLS: &[Column] = &[
    ("SERVICE", Width::Usual, |v| text(v, "service")),
    ("ENDPOINT", Width::Usual, |v| text(v, "endpoint")),
    ("SIZE", Width::Usual, |v| text(v, "size")),
    ("OPEN", Width::Usual, |v| text(v, "open")),
    ("IDLE", Width::Usual, |v| text(v, "idle")),
    ("HELD", Width::Usual, |v| text(v, "held")),
    ("WAITING", Width::Usual, waiting),
    ("ADDRESS", Width::Wide, |v| text(v, "address")),
    ("VERSION", Width::Wide, |v| text(v, "server_version")),
    ("EJECTED", Width::Wide, |v| text(v, "ejected")),
    ("FAILURES", Width::Wide, |v| {
        many(v, "connect_failures_in_a_row")
    }),
    ("LATENCY", Width::Wide, |v| micros(at(v, "/latency_us"))),
    ("STATEMENTS", Width::Wide, |v| text(v, "statements")),
];

const SESSIONS: &[Column] = &[
    ("ID", Width::Usual, |v| text(v, "id")),
    ("USER", Width::Usual, |v| text(v, "user")),
    ("CLIENT", Width::Usual, |v| text(v, "address")),
    ("SERVICE", Width::Usual, |v| text(v, "service")),
    ("AGE", Width::Usual, |v| {
        Cell::plain(format!("{}s", at(v, "/age_s")))
    }),
    ("STATE", Width::Usual, |v| match at(v, "/busy").as_bool() {
        Some(true) => Cell::painted(GOOD, "busy"),
        _ => Cell::plain("idle"),
    }),
    ("AT", Width::Usual, |v| {
        Cell::plain(shown(at(v, "/executing_at/endpoint")))
    }),
    ("PINS", Width::Usual, |v| {
        Cell::painted(ODD, words(at(v, "/pins")))
    }),
    ("STATEMENTS", Width::Wide, |v| text(v, "statements")),
    ("DIGEST", Width::Wide, |v| text(v, "last_digest")),
    ("THREAD", Width::Wide, |v| {
        Cell::plain(shown(at(v, "/executing_at/thread_id")))
    }),
];

const DIGESTS: &[Column] = &[
    ("DIGEST", Width::Usual, |v| text(v, "digest")),
    ("USER", Width::Usual, |v| text(v, "user")),
    ("CALLS", Width::Usual, |v| text(v, "calls")),
    ("ERRORS", Width::Usual, |v| many(v, "errors")),
    ("TIME", Width::Usual, |v| micros(at(v, "/time_us"))),
    ("P50", Width::Usual, |v| micros(at(v, "/p50_us"))),
    ("P99", Width::Usual, |v| micros(at(v, "/p99_us"))),
    ("SERVICE", Width::Wide, |v| text(v, "service")),
    ("CLASS", Width::Wide, |v| text(v, "class")),
    ("P95", Width::Wide, |v| micros(at(v, "/p95_us"))),
    ("MAX", Width::Wide, |v| micros(at(v, "/max_us"))),
    ("WAIT", Width::Wide, |v| micros(at(v, "/wait_us"))),
    ("SENT", Width::Wide, |v| text(v, "rows_sent")),
    ("CHANGED", Width::Wide, |v| text(v, "rows_affected")),
    ("ENDPOINTS", Width::Wide, |v| {
        let shares = at(v, "/endpoints").as_array().into_iter().flatten();
        let names: Vec<String> = shares.map(|s| shown(field(s, "endpoint"))).collect();
        Cell::plain(names.join(","))
    }),
    ("STATEMENT", Width::Usual, |v| text(v, "text")),
];

fn listed(what: Listing, listing: &Value, width: Width, colour: Colour) -> String {
    let columns = match what {
        Listing::Services => SERVICES,
        Listing::Endpoints => ENDPOINTS,
        Listing::Pools => POOLS,
        Listing::Sessions => SESSIONS,
        Listing::Digests => DIGESTS,
    };
    let columns = || {
        columns
            .iter()
            .filter(|(_, need, _)| *need == Width::Usual || width == Width::Wide)
    };
    let heads: Vec<&str> = columns().map(|(head, _, _)| *head).collect();
    let rows: Vec<Vec<Cell>> = listing
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| columns().map(|(_, _, cell)| cell(one)).collect())
        .collect();
    table(&heads, &rows, colour)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What is at a place, null for nothing.
fn at<'a>(of: &'a Value, place: &str) -> &'a Value {
    of.pointer(place).unwrap_or(&Value::Null)
}

fn field<'a>(of: &'a Value, name: &str) -> &'a Value {
    of.get(name).unwrap_or(&Value::Null)
}

fn text(of: &Value, name: &str) -> Cell {
    Cell::plain(shown(field(of, name)))
}

/// A number that should be 0.
fn many(of: &Value, name: &str) -> Cell {
    match field(of, name).as_u64() {
        Some(0) | None => text(of, name),
        Some(_) => Cell::painted(ODD, shown(field(of, name))),
    }
}

fn words(list: &Value) -> String {
    let words: Vec<String> = list.as_array().into_iter().flatten().map(shown).collect();
    words.join(",")
}

fn ms(value: &Value) -> Cell {
    match value.as_u64() {
        Some(0) => Cell::plain("0s"),
        Some(ms) if ms % 1_000 == 0 => Cell::plain(format!("{}s", ms / 1_000)),
        Some(ms) => Cell::plain(format!("{ms}ms")),
        None => Cell::plain(""),
    }
}

fn micros(value: &Value) -> Cell {
    match value.as_u64() {
        Some(us @ 1..1_000) => Cell::plain(format!("{us}us")),
        Some(us @ 1_000..) => Cell::plain(format!("{}.{}ms", us / 1_000, us % 1_000 / 100)),
        Some(0) | None => Cell::plain(""),
    }
}

/// Who waits for a connection, and since when.
fn waiting(pool: &Value) -> Cell {
    match at(pool, "/waiting").as_u64() {
        Some(0) | None => Cell::plain(shown(at(pool, "/waiting"))),
        Some(n) => Cell::painted(ODD, format!("{n} for {}ms", at(pool, "/oldest_wait_ms"))),
    }
}

/// The worst that is to be said of an endpoint.
fn state(endpoint: &Value) -> Cell {
    let is = |field: &str| at(endpoint, field).as_bool() == Some(true);
    if at(endpoint, "/admin_state") == "draining" {
        Cell::painted(ODD, "draining")
    } else if !is("/up") {
        Cell::painted(BAD, "down")
    } else if is("/fenced") {
        Cell::painted(BAD, "fenced")
    } else if is("/ejected") {
        Cell::painted(BAD, "ejected")
    } else if at(endpoint, "/breaker") == &Value::from("open") {
        Cell::painted(BAD, "breaker_open")
    } else if at(endpoint, "/breaker") == &Value::from("half_open") {
        Cell::painted(BAD, "breaker_half_open")
    } else if let Value::String(why) = at(endpoint, "/serves_not") {
        Cell::painted(BAD, why)
    } else {
        Cell::painted(GOOD, "up")
    }
}
