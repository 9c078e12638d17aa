//! `dbmesh drain`, `dbmesh undrain` and `dbmesh breaker`: takes an endpoint out of service and back.
//!
//! It owns the wait for its connections and what is printed meanwhile. What draining is, the proxy decides.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::{BreakerArgs, BreakerState, DrainArgs, OrderArgs};
use crate::page::{Page, PageError};
use crate::terminal::Escaped;

/// Time between two looks at what is left.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Drains an endpoint; fails if connections are left at the end of the time.
pub fn run_drain(args: &DrainArgs) -> ExitCode {
    let page = Page::at(&args.order.admin.admin);
    match drain(&page, args) {
        Ok(Outcome::Drained) => {
            println!("{} is drained", Escaped(&args.order.endpoint));
            ExitCode::SUCCESS
        }
        Ok(Outcome::Left(left)) => {
            let waited = args.timeout;
            eprintln!(
                "dbmesh: {} after {waited:?}; {} stays draining: `dbmesh undrain {1}` takes that back",
                left.words(),
                Escaped(&args.order.endpoint),
            );
            for holder in &left.holders {
                eprintln!("  {holder}");
            }
            ExitCode::FAILURE
        }
        Ok(Outcome::TakenBack) => {
            let endpoint = Escaped(&args.order.endpoint);
            eprintln!(
                "dbmesh: {endpoint} does not drain any more: undrained, or changed by a reload"
            );
            ExitCode::FAILURE
        }
        Err(error) => fail(&page, &error),
    }
}

/// Lets an endpoint serve again.
pub fn run_undrain(args: &OrderArgs) -> ExitCode {
    let page = Page::at(&args.admin.admin);
    match order(&page, args, "undrain") {
        Ok(_) => {
            println!("{} serves again", Escaped(&args.endpoint));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&page, &error),
    }
}

/// Holds an endpoint's breaker open or closed, or lets it decide itself.
pub fn run_breaker(args: &BreakerArgs) -> ExitCode {
    let page = Page::at(&args.order.admin.admin);
    let state = match args.state {
        BreakerState::Open => "open",
        BreakerState::Closed => "closed",
        BreakerState::Auto => "auto",
    };
    match order_with(&page, &args.order, "breaker", Some(("state", state))) {
        Ok(_) => {
            println!(
                "the breaker of {} is {state}",
                Escaped(&args.order.endpoint)
            );
            ExitCode::SUCCESS
        }
        Err(error) => fail(&page, &error),
    }
}

fn fail(page: &Page<'_>, error: &PageError) -> ExitCode {
    eprintln!("dbmesh: {}", page.explain(error));
    ExitCode::FAILURE
}

enum Outcome {
    Drained,
    Left(Left),
    TakenBack,
}

/// What is left of an endpoint's connections.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    connections: u64,
    holders: Vec<String>,
}

impl Left {
    fn words(&self) -> String {
        match self.connections {
            1 => "1 connection left".to_owned(),
            n => format!("{n} connections left"),
        }
    }
}

fn drain(page: &Page<'_>, args: &DrainArgs) -> Result<Outcome, PageError> {
    let started = Instant::now();
    let ordered = order(page, &args.order, "drain")?;
    let ordered = ordered.get("endpoints").cloned().unwrap_or_default();
    let mine = identities(&ordered);
    let mut now = ordered;
    let mut told = None;
    loop {
        let seen = entries(&now)
            .filter(|entry| mine.contains(&identity(entry)))
            .collect::<Vec<_>>();
        if seen.iter().any(|e| text(e, "/admin_state") != "draining") {
            return Ok(Outcome::TakenBack);
        }
        let left = left(&seen);
        if left.connections == 0 {
            return Ok(Outcome::Drained);
        }
        if told != Some(left.connections) {
            eprintln!("{}: {}", Escaped(&args.order.endpoint), left.words());
            told = Some(left.connections);
        }
        if started.elapsed() >= args.timeout {
            return Ok(Outcome::Left(left));
        }
        thread::sleep(LOOK_AGAIN.min(args.timeout.saturating_sub(started.elapsed())));
        now = page.get("/debug/endpoints")?;
    }
}

fn order(page: &Page<'_>, args: &OrderArgs, verb: &str) -> Result<Value, PageError> {
    order_with(page, args, verb, None)
}

/// An order with one more parameter.
fn order_with(
    page: &Page<'_>,
    args: &OrderArgs,
    verb: &str,
    parameter: Option<(&str, &str)>,
) -> Result<Value, PageError> {
    let plain = |name: &str, more: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c) || more.contains(c);
        !name.is_empty() && name.chars().all(fits)
    };
    if !plain(&args.endpoint, "") {
        return Err(PageError::Refused(format!(
            "{:?} cannot be the name of an endpoint",
            args.endpoint
        )));
    }
    let mut query = parameter.map_or(String::new(), |(name, value)| format!("?{name}={value}"));
    let sign = if query.is_empty() { '?' } else { '&' };
    match &args.service {
        None => {}
        Some(service) if plain(service, "/") => query.push_str(&format!("{sign}service={service}")),
        Some(service) => {
            let why = format!("{service:?} cannot be the name of a service");
            return Err(PageError::Refused(why));
        }
    }
    page.post(&format!("/endpoints/{}/{verb}{query}", args.endpoint))
}

fn entries(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text<'a>(of: &'a Value, place: &str) -> &'a str {
    of.pointer(place)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// What makes an endpoint of a service the same one: it has one pool.
fn identity(entry: &Value) -> (String, String) {
    (
        text(entry, "/service").to_owned(),
        text(entry, "/endpoint").to_owned(),
    )
}

fn identities(list: &Value) -> Vec<(String, String)> {
    entries(list).map(identity).collect()
}

fn left(entries: &[&Value]) -> Left {
    let mut left = Left::default();
    for entry in entries {
        let open = entry.pointer("/pool/open").and_then(Value::as_u64);
        left.connections += open.unwrap_or(0);
        let sessions = entry.pointer("/sessions").and_then(Value::as_array);
        for session in sessions.into_iter().flatten() {
            let pins = session.pointer("/pins").and_then(Value::as_array);
            let pins: Vec<&str> = pins
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let why = match pins.as_slice() {
                [] => "a statement".to_owned(),
                pins => pins.join(", "),
            };
            let id = session.pointer("/id").and_then(Value::as_u64).unwrap_or(0);
            let user = Escaped(text(session, "/user")).to_string();
            left.holders.push(format!("session {id} of {user}: {why}"));
        }
    }
    left
}
