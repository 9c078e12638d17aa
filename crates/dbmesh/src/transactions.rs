//! `dbmesh transactions`: which transactions over several nodes are in doubt, and what an operator decides of one.
//!
//! It owns the columns. What is in doubt and what comes of an order, the proxy decides.

use std::process::ExitCode;

use serde_json::Value;

use crate::cli::{ForceOutcome, TransactionsArgs, TransactionsCommand};
use crate::page::Page;
use crate::terminal::{Cell, Colour, Escaped, table};

/// Lists, or forces.
pub fn run_transactions(args: &TransactionsArgs) -> ExitCode {
    let page = Page::at(&args.admin.admin);
    let done = match &args.command {
        None => page
            .get("/debug/transactions")
            .map(|listing| listed(&listing)),
        Some(TransactionsCommand::Force { gtrid, outcome }) => {
            let word = match outcome {
                ForceOutcome::Commit => "commit",
                ForceOutcome::Rollback => "rollback",
            };
            if gtrid.is_empty() || !gtrid.bytes().all(|b| b.is_ascii_hexdigit()) {
                eprintln!("dbmesh: {} is no transaction's name", Escaped(gtrid));
                return ExitCode::FAILURE;
            }
            let ordered = page.post(&format!("/transactions/{gtrid}/{word}"));
            ordered.map(|_| {
                format!("{word} is ordered; the proxy's log says what came of it, `dbmesh transactions` what is left\n")
            })
        }
    };
    match done {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("dbmesh: {}", page.explain(&error));
            ExitCode::FAILURE
        }
    }
}

fn listed(listing: &Value) -> String {
    let services = listing.as_array().map(Vec::as_slice).unwrap_or_default();
    if services.is_empty() {
        return "no service commits atomically over several nodes\n".to_owned();
    }
    let mut rows = Vec::new();
    let mut out = String::new();
    for service in services {
        for node in each(service, "nodes").filter(|node| word(node, "promise") != "ready") {
            let why: Vec<String> = each(node, "shortfalls").map(|s| word(s, "what")).collect();
            let (name, service) = (word(node, "node"), word(service, "service"));
            out += &format!(
                "node {name} of {service} does not keep an atomic commit: {}\n",
                why.join(", ")
            );
        }
        for torn in each(service, "torn") {
            let torn = torn.as_str().unwrap_or_default();
            out += &format!("a node lost its part of committed transaction {torn}\n");
        }
        for doubt in each(service, "in_doubt") {
            let age = doubt.get("age_ms").and_then(Value::as_u64).unwrap_or(0);
            let mut cells: Vec<Cell> = vec![Cell::plain(word(service, "service"))];
            cells.extend(["node", "home", "waits_for"].map(|key| Cell::plain(word(doubt, key))));
            cells.push(Cell::plain(format!("{}s", age / 1000)));
            cells.push(Cell::plain(word(doubt, "gtrid")));
            rows.push(cells);
        }
    }
    if rows.is_empty() {
        return out + "nothing is in doubt\n";
    }
    let heads = ["SERVICE", "NODE", "HOME", "WAITS FOR", "AGE", "GTRID"];
    out + &table(&heads, &rows, Colour::of(false))
}

fn each<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    let list = value.get(key).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default().iter()
}

fn word(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_doubt_is_listed() {
        let listing = serde_json::json!([{
            "service": "shop/mysql",
            "nodes": [
                {"node": "ds_0", "promise": "ready", "shortfalls": []},
                {"node": "ds_1", "promise": "short", "shortfalls": [{"what": "sync_binlog is not 1", "remedy": "x"}]},
            ],
            "in_doubt": [{"gtrid": "ab12", "node": "ds_1", "home": "ds_0", "age_ms": 12_345, "waits_for": "home_unreachable"}],
            "torn": ["cd"],
        }]);
        let text = listed(&listing);
        assert!(
            text.contains(
                "node ds_1 of shop/mysql does not keep an atomic commit: sync_binlog is not 1"
            ),
            "{text}"
        );
        assert!(
            text.contains("lost its part of committed transaction cd"),
            "{text}"
        );
        let row = text.lines().last().unwrap_or_default();
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(
            cells,
            [
                "shop/mysql",
                "ds_1",
                "ds_0",
                "home_unreachable",
                "12s",
                "ab12"
            ]
        );
        assert_eq!(
            listed(&serde_json::json!([])),
            "no service commits atomically over several nodes\n"
        );
    }
}
