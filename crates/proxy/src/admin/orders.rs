//! What operators order over the admin page: drain an endpoint, undo that, hold its breaker; forget insight.
//!
//! Owns the paths and the line in the log that says who ordered what. It must never act on a name that means more than one
//! endpoint. Input: POSTs.

use std::sync::Arc;

use dbmesh_runtime::admin::{Answer, Order};
use serde_json::json;

use super::endpoints;
use crate::breaker::State;
use crate::process::Process;
use crate::record::Record;
use crate::serving::{Services, Serving};
use crate::upstream::{Member, Seen};

/// The paths, for people.
pub(super) const PATHS: [&str; 6] = [
    "/endpoints/NAME/breaker?state=open|closed|auto&service=SERVICE",
    "/endpoints/NAME/drain?service=SERVICE",
    "/endpoints/NAME/undrain?service=SERVICE",
    "/transactions/GTRID/commit",
    "/transactions/GTRID/rollback",
    "/digests/forget",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Drain,
    Undrain,
    /// The breaker is held there, or decides itself.
    Breaker(Option<State>),
}

impl Verb {
    /// Its name in the audit.
    fn action(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Undrain => "undrain",
            Self::Breaker(Some(State::Closed)) => "breaker_closed",
            Self::Breaker(Some(_)) => "breaker_open",
            Self::Breaker(None) => "breaker_auto",
        }
    }
}

/// Does what an order says.
pub(super) fn act(process: &Process, order: &Order<'_>) -> Answer {
    if order.path == "/digests/forget" {
        process.insight.clear();
        let (peer, actor) = (order.peer, order.actor);
        tracing::info!(%peer, actor, "an operator has SQL insight begin anew");
        for serving in &process.current.services().list {
            serving
                .logs
                .note(record(order, "forget_digests", serving, ""));
        }
        return Answer::Done(json!({ "forgotten": true }));
    }
    let Some(rest) = order.path.strip_prefix("/endpoints/") else {
        return Answer::NoSuchPath;
    };
    let (name, verb) = match rest.split_once('/') {
        Some((name, "drain")) => (name, Verb::Drain),
        Some((name, "undrain")) => (name, Verb::Undrain),
        Some((name, "breaker")) => match order.parameter("state") {
            Some("open") => (name, Verb::Breaker(Some(State::Open))),
            Some("closed") => (name, Verb::Breaker(Some(State::Closed))),
            Some("auto") => (name, Verb::Breaker(None)),
            _ => return Answer::Refused("`state` is `open`, `closed` or `auto`".to_owned()),
        },
        _ => return Answer::NoSuchPath,
    };
    let services = process.current.services();
    let found = match find(&services, name, order.parameter("service")) {
        Ok(found) => found,
        Err(refusal) => {
            let (path, query, peer, actor) = (order.path, order.query, order.peer, order.actor);
            tracing::info!(path, query, %peer, actor, "an order of an operator was refused");
            return refusal;
        }
    };
    for (serving, member) in &found {
        let service = serving.service.label();
        let endpoint = &member.endpoint.name;
        let (peer, actor) = (order.peer, order.actor);
        let record = record(order, verb.action(), serving, endpoint.as_str());
        serving.logs.note(record);
        match verb {
            Verb::Drain => {
                member.pool.drain();
                tracing::info!(%endpoint, service, %peer, actor, "an operator drains the endpoint");
            }
            Verb::Breaker(state) => {
                member.pool.health.breaker.force(state);
                let state = state.map_or("auto", State::label);
                tracing::info!(%endpoint, service, %peer, actor, state, "an operator sets the endpoint's breaker");
            }
            Verb::Undrain => {
                member.pool.undrain();
                tracing::info!(%endpoint, service, %peer, actor, "an operator lets the endpoint serve again");
            }
        }
        // Statements that wait for somebody to serve look again.
        serving.upstream.judge(Seen::Changed);
    }
    let shown = found
        .iter()
        .map(|(serving, member)| endpoints::endpoint(serving, member, &process.registry));
    Answer::Done(json!({ "endpoints": shown.collect::<Vec<_>>() }))
}

fn record(order: &Order<'_>, action: &str, serving: &Serving, endpoint: &str) -> Record {
    let mut record = Record::new("operator");
    record
        .text("service", &serving.service.label())
        .text("action", action)
        .text("endpoint", endpoint)
        .text("actor", order.actor)
        .text("client", &order.peer.to_string());
    record
}

type Found = Vec<(Arc<Serving>, Arc<Member>)>;

/// The endpoint of this name in one service, or in all that have it.
fn find(services: &Services, name: &str, service: Option<&str>) -> Result<Found, Answer> {
    let asked =
        |serving: &&Arc<Serving>| service.is_none_or(|asked| serving.service.answers_to(asked));
    let mut found = Found::new();
    let mut there = Vec::new();
    let mut any_service = false;
    for serving in services.parts().filter(asked) {
        any_service = true;
        for member in &serving.upstream.members {
            there.push(member.endpoint.name.to_string());
            if member.endpoint.name.as_str() == name {
                found.push((serving.clone(), member.clone()));
            }
        }
    }
    if !any_service {
        let known: Vec<_> = services.list.iter().map(|s| s.service.label()).collect();
        let asked = service.unwrap_or_default();
        let why = format!(
            "there is no service {asked}; there are: {}",
            known.join(", ")
        );
        return Err(Answer::NoSuchThing(why));
    }
    let Some((_, first)) = found.first() else {
        there.sort();
        there.dedup();
        let why = format!(
            "there is no endpoint {name}; there are: {}",
            there.join(", ")
        );
        return Err(Answer::NoSuchThing(why));
    };
    let namespace = &first.endpoint.namespace;
    if found
        .iter()
        .any(|(_, member)| member.endpoint.namespace != *namespace)
    {
        let services: Vec<_> = found.iter().map(|(s, _)| s.service.label()).collect();
        let why = format!(
            "{name} is the name of endpoints in several namespaces; name one of these services: {}",
            services.join(", ")
        );
        return Err(Answer::Refused(why));
    }
    Ok(found)
}
