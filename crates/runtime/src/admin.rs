//! The admin page: health, metrics and a look inside, over HTTP/1.1.
//!
//! It owns paths, bounds and forms; what they say and do comes from [`AdminContent`]. It asks for no
//! password, which is why it belongs on loopback or behind a network policy. Only a POST changes
//! anything, and never one of a browser. Its input is operators, probes and scrapers, and, on a
//! laptop, any page in a browser.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::drain::Drain;
use crate::exposition::Text;

mod page;

/// Connections at a time; more wait in the backlog of the listener.
pub const CONNECTIONS_MAX: usize = 64;
/// How long a client may take for the head of a request, also between two requests.
const HEADER_MS_MAX: u64 = 5_000;
/// How long a connection lasts before it is asked to end, and then before it is cut.
const CONNECTION_MS_MAX: u64 = 30_000;
const GOODBYE_MS_MAX: u64 = 10_000;
/// Bytes and lines of the head of a request.
const HEADER_BYTES_MAX: usize = 16 << 10;
const HEADER_LINES_MAX: usize = 64;
/// After an error of `accept`, such as too many open files, which would repeat at once.
const ACCEPT_RETRY_MS: u64 = 100;

/// What the page says. Called for every request, on the runtime: it must not block for long.
pub trait AdminContent {
    /// Whether traffic is welcome (configuration applied, listeners bound, not draining), and why.
    fn ready(&self) -> (bool, serde_json::Value);

    /// Writes every metric: nothing is added here, not even those of `process` and `source`.
    fn metrics(&self, out: &mut Text);

    /// A page below `/debug/`, by one of the names of [`AdminContent::debug_pages`]; never a secret. `query` is what
    /// follows `?`, as it came; empty for nothing.
    fn debug(&self, page: &str, query: &str) -> Option<serde_json::Value>;

    /// The names of the pages below `/debug/`.
    fn debug_pages(&self) -> &'static [&'static str];

    /// Does what a POST asks for.
    fn act(&self, order: &Order<'_>) -> Answer {
        let _ = order;
        Answer::NoSuchPath
    }

    /// The paths that a POST may name, for people.
    fn orders(&self) -> &'static [&'static str] {
        &[]
    }
}

/// What a POST asks for.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The path, as it came.
    pub path: &'a str,
    /// What follows `?`, as it came; empty for nothing.
    pub query: &'a str,
    /// Where it came from.
    pub peer: SocketAddr,
    /// Who says to have sent it: the header `X-Dbmesh-Actor`, in visible ASCII; empty for nobody.
    pub actor: &'a str,
}

impl<'a> Order<'a> {
    /// The value of a parameter of the query. Names and values are not decoded: those that exist
    /// need no escapes.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        let mut pairs = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// What came of a POST.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It was done.
    Done(serde_json::Value),
    /// Nothing takes a POST there.
    NoSuchPath,
    /// What it names does not exist: the reason.
    NoSuchThing(String),
    /// It is not clear what is meant, or it cannot be done: the reason.
    Refused(String),
}

/// What the page says, and when it ends.
#[derive(Clone)]
pub struct Admin {
    /// What it says.
    pub content: Arc<dyn AdminContent + Send + Sync>,
    /// Ends the page when started. Not the drain of the sessions: metrics and `/readyz` must answer
    /// while those end. Connections hold guards of it.
    pub stop: Drain,
}

/// Why the page cannot be served.
#[derive(Debug)]
pub struct AdminError {
    /// Where it should have been.
    pub address: SocketAddr,
    /// What the operating system says.
    pub error: io::Error,
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the admin page cannot listen on {}: {}",
            self.address, self.error
        )
    }
}

impl std::error::Error for AdminError {}

/// Serves the page on a task until `admin.stop` starts, and returns the address, whose port is the
/// one chosen where `address` says 0.
///
/// # Errors
/// If the address cannot be bound.
pub async fn serve(address: SocketAddr, admin: Admin) -> Result<SocketAddr, AdminError> {
    let failed = |error| AdminError { address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    if !bound.ip().is_loopback() {
        tracing::warn!(address = %bound, "the admin page asks for no password and is not on loopback");
    }
    tokio::spawn(accept(listener, bound, admin));
    Ok(bound)
}

async fn accept(listener: TcpListener, bound: SocketAddr, admin: Admin) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stop = std::pin::pin!(admin.stop.waiter());
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut stop => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (admin, guard) = (admin.clone(), admin.stop.guard());
                tokio::spawn(async move {
                    converse(stream, [bound, peer], admin).await;
                    drop((place, guard));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin page cannot accept");
                tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
            }
        }
    }
}

/// Serves one connection to its end. Errors of it are the client's alone and end it.
async fn converse(stream: TcpStream, [bound, peer]: [SocketAddr; 2], admin: Admin) {
    let stop = admin.stop.waiter();
    let service = service_fn(|request| {
        let response = page::respond(&request, [bound, peer], admin.content.as_ref());
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HEADER_MS_MAX))
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADER_LINES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop => {}
        () = tokio::time::sleep(Duration::from_millis(CONNECTION_MS_MAX)) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(Duration::from_millis(GOODBYE_MS_MAX), connection).await;
}

#[cfg(test)]
mod tests;
