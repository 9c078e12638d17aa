//! From a request to a response of the admin page.
//!
//! It owns the paths and the codes. It reads no socket and no body. Its input is the head of a
//! request, of which only method, path, query, `Host`, `Origin` and our own headers are looked at.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json as object};

use super::{AdminContent, Answer, Order};
use crate::exposition::{self, Text};

const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// The paths apart from those of the debug pages.
const PATHS: [&str; 4] = ["/healthz", "/readyz", "/metrics", "/debug/"];
/// Without this header, with the value 1, no POST does anything: a page in a browser cannot set it
/// on a request to another site before it has asked (OPTIONS), which is refused.
const OURS: &str = "x-dbmesh";
const ACTOR: &str = "x-dbmesh-actor";

type Page = Response<Full<Bytes>>;

/// The response to a request of any body, which is not read.
pub(super) fn respond<B>(
    request: &Request<B>,
    [bound, peer]: [SocketAddr; 2],
    content: &(dyn AdminContent + Send + Sync),
) -> Page {
    if !is_trusted_host(request.headers(), bound) {
        let reason = "ask for this page by IP address or as localhost\n";
        return page(StatusCode::MISDIRECTED_REQUEST, PLAIN, reason.to_owned());
    }
    if *request.method() == Method::POST {
        return act(request, peer, content);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return not_allowed("GET, HEAD");
    }
    match request.uri().path() {
        "/healthz" => page(StatusCode::OK, PLAIN, "ok\n".to_owned()),
        "/readyz" => match content.ready() {
            (true, detail) => json(StatusCode::OK, &detail),
            (false, detail) => json(StatusCode::SERVICE_UNAVAILABLE, &detail),
        },
        "/metrics" => {
            let mut text = Text::new();
            content.metrics(&mut text);
            page(StatusCode::OK, exposition::CONTENT_TYPE, text.finish())
        }
        "/" | "/debug" | "/debug/" => page(StatusCode::OK, PLAIN, index(content)),
        path => match path
            .strip_prefix("/debug/")
            .and_then(|name| content.debug(name, request.uri().query().unwrap_or_default()))
        {
            Some(value) => json(StatusCode::OK, &value),
            None => page(StatusCode::NOT_FOUND, PLAIN, index(content)),
        },
    }
}

/// A POST: the one thing that changes anything.
fn act<B>(
    request: &Request<B>,
    peer: SocketAddr,
    content: &(dyn AdminContent + Send + Sync),
) -> Page {
    let headers = request.headers();
    let ours = headers.get(OURS).is_some_and(|value| value == "1");
    if !ours || headers.contains_key(ORIGIN) {
        let reason = "a POST needs the header X-Dbmesh: 1, and must not come from a browser";
        return json(StatusCode::FORBIDDEN, &object!({ "error": reason }));
    }
    let actor = headers.get(ACTOR).and_then(|value| value.to_str().ok());
    let order = Order {
        path: request.uri().path(),
        query: request.uri().query().unwrap_or_default(),
        peer,
        actor: actor.unwrap_or_default(),
    };
    match content.act(&order) {
        Answer::Done(value) => json(StatusCode::OK, &value),
        Answer::NoSuchPath if is_page(order.path) => not_allowed("GET, HEAD"),
        Answer::NoSuchPath => page(StatusCode::NOT_FOUND, PLAIN, index(content)),
        Answer::NoSuchThing(why) => json(StatusCode::NOT_FOUND, &object!({ "error": why })),
        Answer::Refused(why) => json(StatusCode::CONFLICT, &object!({ "error": why })),
    }
}

fn is_page(path: &str) -> bool {
    path == "/" || PATHS.contains(&path) || path.starts_with("/debug")
}

fn not_allowed(methods: &'static str) -> Page {
    let reason = format!("only {methods}\n");
    let mut refusal = page(StatusCode::METHOD_NOT_ALLOWED, PLAIN, reason);
    refusal
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(methods));
    refusal
}

/// Every path, one per line.
fn index(content: &dyn AdminContent) -> String {
    let mut list = String::new();
    for path in PATHS {
        list.push_str(path);
        list.push('\n');
    }
    for name in content.debug_pages() {
        list.push_str("/debug/");
        list.push_str(name);
        list.push('\n');
    }
    for path in content.orders() {
        list.push_str("POST ");
        list.push_str(path);
        list.push('\n');
    }
    list
}

/// On loopback, where browsers run, a page of somebody else's could have its own name resolve to
/// 127.0.0.1 and read the sessions (DNS rebinding): names other than localhost are refused there.
/// Elsewhere the page has names that nobody here knows.
fn is_trusted_host(headers: &HeaderMap, bound: SocketAddr) -> bool {
    if !bound.ip().is_loopback() {
        return true;
    }
    // HTTP/1.0, which no browser speaks, has no Host.
    let Some(host) = headers.get(HOST) else {
        return true;
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

fn json(status: StatusCode, value: &Value) -> Page {
    page(status, JSON, format!("{value:#}\n"))
}

fn page(status: StatusCode, content_type: &'static str, body: String) -> Page {
    let mut page = Response::new(Full::new(Bytes::from(body)));
    *page.status_mut() = status;
    let headers = page.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    page
}
