//! `mysql_query_rules` → `rules` of a user's strategy.
//!
//! It owns the order: a rule with `apply` ends the judgement there, and an `allow` of the same match does so here. Where a
//! rule cannot be said here, what it kept from later rules must not reach replicas: those are lost with it.

use regex::Regex;

use super::hostgroups::Servers;
use super::tables::{Row, Tables};
use crate::import::draft::Part;
use crate::import::listing::{Listing, Place};
use crate::import::tree::{Fields, Tree, field, map, text, texts};

/// Columns that change neither what runs nor where.
const HARMLESS: [(&str, &str); 7] = [
    (
        "cache_ttl",
        "results are not cached, so that they are never old",
    ),
    ("reconnect", "server connections are replaced as needed"),
    (
        "retries",
        "a read is tried again when nothing of its answer came",
    ),
    (
        "sticky_conn",
        "a session that has state on a connection keeps it",
    ),
    (
        "multiplex",
        "a session that has state on a connection keeps it",
    ),
    (
        "log",
        "statements are logged by the service: see `observability`",
    ),
    ("comment", ""),
];
/// Columns that change what a client gets.
const ACTIONS_LOST: [(&str, &str); 7] = [
    ("replace_pattern", "texts are not rewritten"),
    ("OK_msg", "no answer is made up"),
    (
        "mirror_hostgroup",
        "copies are made of a share of all statements: see `mirror`",
    ),
    (
        "mirror_flagOUT",
        "copies are made of a share of all statements: see `mirror`",
    ),
    (
        "next_query_flagIN",
        "a statement does not choose the rules of the next one",
    ),
    (
        "gtid_from_hostgroup",
        "see `consistency: session`, which holds for all reads",
    ),
    ("attributes", "they are not read"),
];
/// Columns of a match that has no counterpart.
const MATCHES_LOST: [(&str, &str); 4] = [
    ("schemaname", "rules do not look at the current schema"),
    (
        "proxy_addr",
        "rules do not look at the address that a client connected to",
    ),
    (
        "proxy_port",
        "rules do not look at the port that a client connected to",
    ),
    (
        "digest",
        "digests are computed otherwise: see EXPLAIN MESH for ours",
    ),
];

/// The rules that hold for a user.
pub fn rules(
    tables: &Tables,
    user: &str,
    servers: &mut Servers<'_>,
    listing: &mut Listing,
) -> Vec<Part> {
    let mut rows: Vec<&Row> = tables.of("mysql_query_rules").iter().collect();
    rows.retain(|row| {
        row.truth("active", false) && row.text("username").is_none_or(|name| name == user)
    });
    rows.sort_by_key(|row| row.number("rule_id").unwrap_or(u64::MAX));
    let mut parts = Vec::new();
    // The rule that could not be said, and would have ended the judgement.
    let mut gap: Option<String> = None;
    for row in rows {
        let name = format!("rule-{}", row.text("rule_id").unwrap_or("0"));
        let matches = match matches(row) {
            Ok(matches) => matches,
            Err(why) => {
                let instead = "write it as a rule of the TrafficStrategy, in its place";
                listing.lost(&row.place, name.clone(), &why, instead);
                if keeps(row, servers) {
                    gap.get_or_insert(name);
                }
                continue;
            }
        };
        list_columns(row, &name, listing);
        let mut actions = actions(row, &name, servers, listing);
        if let Some(gap) = &gap
            && actions
                .iter()
                .any(|(field, action)| field == "route" && *action == replica())
        {
            let why = format!(
                "{gap} comes before it and is lost, and what that kept from replicas would reach them"
            );
            listing.lost(
                &row.place,
                format!("route of {name}"),
                &why,
                "write both as rules of the TrafficStrategy",
            );
            actions.retain(|(field, action)| field != "route" || *action != replica());
        }
        let ends = row.truth("apply", false) && actions.iter().all(|(field, _)| field != "action");
        if ends {
            actions.push(field("action", text("allow")));
        }
        parts.extend(written(&row.place, &name, &matches, actions));
    }
    parts
}

/// Whether a rule could keep a statement from rules that send it to replicas.
fn keeps(row: &Row, servers: &Servers<'_>) -> bool {
    let reader = servers.reader.is_some() && servers.reader == row.number("destination_hostgroup");
    is_chained(row) || !reader || row.text("error_msg").is_some()
}

fn is_chained(row: &Row) -> bool {
    row.number("flagIN").unwrap_or(0) != 0 || row.text("flagOUT").is_some()
}

/// A rule for each of the actions.
fn written(place: &Place, name: &str, matches: &Fields, actions: Fields) -> Vec<Part> {
    let count = actions.len();
    let part = |(number, action): (usize, (String, Tree))| {
        let name = match count {
            1 => name.to_owned(),
            _ => format!("{name}-{}", number + 1),
        };
        let mut fields = vec![field("name", text(&name))];
        if !matches.is_empty() {
            fields.push(field("match", Tree::Map(matches.clone())));
        }
        fields.push(action);
        Part {
            place: place.clone(),
            name,
            tree: Tree::Map(fields),
            needs: Vec::new(),
        }
    };
    actions.into_iter().enumerate().map(part).collect()
}

fn replica() -> Tree {
    map([("role", text("replica"))])
}

fn list_columns(row: &Row, name: &str, listing: &mut Listing) {
    for (column, why) in HARMLESS {
        if row
            .text(column)
            .is_some_and(|value| value != "0" || column == "multiplex")
            && !why.is_empty()
        {
            listing.note(&row.place, format!("{column} of {name}"), why, "nothing");
        }
    }
    for (column, why) in ACTIONS_LOST {
        if row.text(column).is_some() {
            listing.lost(
                &row.place,
                format!("{column} of {name}"),
                why,
                "do it in the application",
            );
        }
    }
}

/// What becomes of the statements, in order.
fn actions(row: &Row, name: &str, servers: &mut Servers<'_>, listing: &mut Listing) -> Fields {
    let mut actions = Fields::new();
    if row.text("error_msg").is_some() {
        let why = "the error is one of dbmesh, with the name of the rule";
        listing.note(
            &row.place,
            format!("error_msg of {name}"),
            why,
            "nothing, unless the application reads the message",
        );
        return vec![field("action", text("deny"))];
    }
    for (column, ours, most) in [
        ("timeout", "timeoutMs", 86_400_000),
        ("delay", "delayMs", 60_000),
    ] {
        if let Some(ms) = row.number(column).filter(|ms| *ms > 0) {
            actions.push(field(ours, Tree::Number(ms.min(most).into())));
        }
    }
    let Some(wanted) = row.number("destination_hostgroup") else {
        return actions;
    };
    let is_reader = servers.reader == Some(wanted);
    if wanted == servers.home && !is_reader {
        actions.push(field("route", map([("role", text("primary"))])));
    } else if is_reader || servers.read_from(wanted) {
        let why = "only statements that are proved to read go to replicas, others to the primary";
        listing.note(
            &row.place,
            format!("destination_hostgroup of {name}"),
            why,
            "nothing",
        );
        actions.push(field("route", replica()));
    } else if servers.home_is_reader {
        let why = "a user of replicas does not write";
        listing.lost(
            &row.place,
            format!("destination_hostgroup of {name}"),
            why,
            "give the user the hostgroup of writers",
        );
    } else {
        let why = format!(
            "hostgroup {wanted} is not the replicas of hostgroup {}",
            servers.home
        );
        listing.lost(
            &row.place,
            format!("destination_hostgroup of {name}"),
            &why,
            "write a service of its own for those servers",
        );
    }
    actions
}

/// `match`; empty for every statement.
fn matches(row: &Row) -> Result<Fields, String> {
    if is_chained(row) {
        return Err("rules are one list, without chains".to_owned());
    }
    for (column, why) in MATCHES_LOST {
        if row.text(column).is_some() {
            return Err(format!("{column}: {why}"));
        }
    }
    if row.truth("negate_match_pattern", false) {
        return Err("negate_match_pattern: expressions say what matches".to_owned());
    }
    let modifiers = row
        .text("re_modifiers")
        .unwrap_or("CASELESS")
        .to_ascii_uppercase();
    let caseless = modifiers.contains("CASELESS");
    let mut fields = Fields::new();
    if let Some(pattern) = row.text("match_digest") {
        if !caseless {
            return Err("match_digest: keywords of digest texts are in capitals, so that case must not matter".to_owned());
        }
        let bare = ["\\s", "\\b", "\\w", "\\d", "\\S", "\\W", "\\("]
            .iter()
            .fold(pattern.to_owned(), |text, class| text.replace(class, ""));
        if let Some(sign) = bare
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || " _.*+?^$|()\\[]{}".contains(*c)))
        {
            return Err(format!(
                "match_digest: digest texts have other blanks around `{sign}`, so that the expression might not match"
            ));
        }
        fields.push(field("regex", texts([regex(pattern, true)?])));
    }
    if let Some(pattern) = row.text("match_pattern") {
        fields.push(field("textRegex", texts([regex(pattern, caseless)?])));
    }
    if let Some(address) = row.text("client_addr") {
        let network = match address.parse::<std::net::IpAddr>() {
            Ok(address) if address.is_ipv4() => format!("{address}/32"),
            Ok(address) => format!("{address}/128"),
            Err(_) => return Err(format!("client_addr: `{address}` is no address")),
        };
        fields.push(field("networks", texts([network])));
    }
    Ok(fields)
}

fn regex(pattern: &str, caseless: bool) -> Result<String, String> {
    let pattern = match caseless {
        true => format!("(?i){pattern}"),
        false => pattern.to_owned(),
    };
    match Regex::new(&pattern) {
        Ok(_) => Ok(pattern),
        Err(_) => Err(
            "its expression looks around or refers back, which expressions here do not".to_owned(),
        ),
    }
}
