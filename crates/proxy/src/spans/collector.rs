//! A collector of spans: how a batch gets to it, by OTLP over HTTP/1.1 or over gRPC, in the clear or by TLS.
//!
//! Owns one exchange, on a connection of its own, and what its answer means: taken, to be tried again, or never to be. It must
//! read no more of an answer than a limit. Input: the policy of a service, encoded requests. Source: OpenTelemetry Protocol
//! 1.5, "OTLP/gRPC" and "OTLP/HTTP"; gRPC over HTTP/2.

use std::fmt::Display;
use std::io;
use std::pin::pin;

use bytes::{BufMut, Bytes, BytesMut};
use dbmesh_model::topology::{BackendTls, BackendTlsMode, CollectorTls, TraceProtocol, Tracing};
use dbmesh_runtime::tls;
use h2::RecvStream;
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, Request, StatusCode};
use rustls::pki_types::ServerName;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::otlp::rejected_spans;

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// Longest headers of an answer by HTTP/2, in bytes.
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// The one method of the service of traces.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// What this process calls itself.
const AGENT: &str = concat!("dbmesh/", env!("CARGO_PKG_VERSION"));

/// Why spans were not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// They may be another time.
    Now(String),
    /// They never will be.
    Never(String),
}

impl Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Now(why) | Self::Never(why) => f.write_str(why),
        }
    }
}

fn now(error: impl Display) -> Refused {
    Refused::Now(error.to_string())
}

/// Where a collector is, and how it is spoken to; services that say the same share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub host: String,
    pub port: u16,
    path: String,
    protocol: TraceProtocol,
    tls: Option<CollectorTls>,
}

impl Place {
    pub fn of(policy: &Tracing) -> Self {
        Self {
            host: policy.host.clone(),
            port: policy.port,
            path: policy.path.clone(),
            protocol: policy.protocol,
            tls: policy.tls.clone(),
        }
    }

    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// A collector.
pub struct Collector {
    pub place: Place,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Collector {
    /// The collector of this place.
    ///
    /// # Errors
    /// When its certificates or ours cannot be used.
    pub fn new(place: Place) -> Result<Self, tls::TlsError> {
        let tls = match &place.tls {
            None => None,
            Some(given) => {
                let wanted = BackendTls {
                    mode: BackendTlsMode::VerifyIdentity,
                    ca: Some(given.ca.clone()),
                    identity: given.identity.clone(),
                };
                let name = tls::server_name(&place.host)?;
                tls::client_config(&wanted)?.map(|config| {
                    let mut config = (*config).clone();
                    config.alpn_protocols = match place.protocol {
                        TraceProtocol::Http => vec![b"http/1.1".to_vec()],
                        TraceProtocol::Grpc => vec![b"h2".to_vec()],
                    };
                    (TlsConnector::from(Arc::new(config)), name)
                })
            }
        };
        Ok(Self { place, tls })
    }

    /// Sends a request; says how many of its spans were not taken all the same.
    ///
    /// # Errors
    /// [`Refused`], for all of them.
    pub async fn send(&self, message: &[u8]) -> Result<u64, Refused> {
        let host = self.place.host.trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, self.place.port)).await;
        let stream = stream.map_err(now)?;
        match &self.tls {
            None => self.export(stream, message).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                self.export(stream.map_err(now)?, message).await
            }
        }
    }

    async fn export<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        message: &[u8],
    ) -> Result<u64, Refused> {
        match self.place.protocol {
            TraceProtocol::Http => self.post(stream, message).await,
            TraceProtocol::Grpc => self.call(stream, message).await,
        }
    }

    /// OTLP over HTTP/1.1.
    async fn post<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: S,
        message: &[u8],
    ) -> Result<u64, Refused> {
        let Place {
            host, port, path, ..
        } = &self.place;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/x-protobuf\r\n\
             Content-Length: {}\r\nUser-Agent: {AGENT}\r\nConnection: close\r\n\r\n",
            message.len(),
        );
        stream.write_all(head.as_bytes()).await.map_err(now)?;
        stream.write_all(message).await.map_err(now)?;
        stream.flush().await.map_err(now)?;
        let mut answer = Vec::new();
        while !is_whole(&answer) && answer.len() < ANSWER_BYTES_MAX {
            match stream.read_buf(&mut answer).await {
                Ok(0) => break,
                Ok(_) => {}
                // TLS that is cut off behind the answer has told it all the same.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof && !answer.is_empty() => break,
                Err(e) => return Err(now(e)),
            }
        }
        let status = answer
            .strip_prefix(b"HTTP/1.")
            .and_then(|rest| rest.get(2..5));
        let status = status.and_then(|digits| StatusCode::from_bytes(digits).ok());
        let Some(status) = status else {
            return Err(now("it does not answer by HTTP/1.1"));
        };
        taken_by_http(status)?;
        let plain =
            content_length(&answer).and_then(|(head, length)| answer.get(head..head + length));
        Ok(rejected_spans(plain.unwrap_or_default()))
    }

    /// OTLP over gRPC: a unary call on an HTTP/2 connection.
    async fn call<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        message: &[u8],
    ) -> Result<u64, Refused> {
        let mut builder = h2::client::Builder::new();
        builder
            .max_header_list_size(HEADER_BYTES_MAX)
            .enable_push(false);
        let (client, connection) = builder.handshake::<_, Bytes>(stream).await.map_err(now)?;
        let uri = format!(
            "{}://{}:{}{EXPORT}",
            self.place.scheme(),
            self.place.host,
            self.place.port
        );
        let request = Request::post(uri)
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .header(USER_AGENT, AGENT)
            .body(());
        let request = request.map_err(|e| Refused::Never(e.to_string()))?;
        let mut exchange = pin!(exchange(client, request, framed(message)));
        tokio::select! {
            biased;
            done = &mut exchange => return done,
            ended = connection => if let Err(error) = ended {
                return Err(now(error));
            },
        }
        // The connection ended in order, with everything that came on it.
        exchange.await
    }
}

/// A message with the prefix of gRPC: not compressed, and its length.
fn framed(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len() + 5);
    out.put_u8(0);
    // Batches are bounded far below this.
    out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    out.put_slice(message);
    out.freeze()
}

async fn exchange(
    client: h2::client::SendRequest<Bytes>,
    request: Request<()>,
    body: Bytes,
) -> Result<u64, Refused> {
    let mut client = client.ready().await.map_err(now)?;
    let (response, mut sending) = client.send_request(request, false).map_err(now)?;
    // What the peer's windows have no room for yet waits in the connection.
    sending.send_data(body, true).map_err(now)?;
    let response = response.await.map_err(now)?;
    if response.status() != StatusCode::OK {
        return Err(match taken_by_http(response.status()) {
            Ok(()) => Refused::Never(format!("it answers {}", response.status())),
            Err(refused) => refused,
        });
    }
    let (head, mut body) = response.into_parts();
    let answer = whole_body(&mut body).await?;
    let trailers = body.trailers().await.map_err(now)?;
    // An answer without a message has its status among the headers.
    taken_by_grpc(trailers.as_ref().unwrap_or(&head.headers))?;
    Ok(rejected_spans(answer.get(5..).unwrap_or_default()))
}

async fn whole_body(body: &mut RecvStream) -> Result<Vec<u8>, Refused> {
    let mut answer = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(now)?;
        if answer.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(Refused::Never("its answer is too long".to_owned()));
        }
        body.flow_control()
            .release_capacity(piece.len())
            .map_err(now)?;
        answer.extend_from_slice(&piece);
    }
    Ok(answer)
}

/// What the status of an answer says. Source: OTLP/HTTP, "Retryable Response Codes".
fn taken_by_http(status: StatusCode) -> Result<(), Refused> {
    let why = || format!("it answers {status}");
    match status.as_u16() {
        200..=299 => Ok(()),
        429 | 502..=504 => Err(Refused::Now(why())),
        _ => Err(Refused::Never(why())),
    }
}

/// The same of a call. Source: OTLP/gRPC, "Failures"; status codes of gRPC.
fn taken_by_grpc(trailers: &HeaderMap) -> Result<(), Refused> {
    let text = |name| trailers.get(name).and_then(|value| value.to_str().ok());
    let Some(status) = text("grpc-status") else {
        return Err(now("it does not answer by gRPC"));
    };
    let why = || {
        format!(
            "it answers with status {status}: {}",
            text("grpc-message").unwrap_or("-")
        )
    };
    match status {
        "0" => Ok(()),
        // CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS.
        "1" | "4" | "8" | "10" | "11" | "14" | "15" => Err(Refused::Now(why())),
        _ => Err(Refused::Never(why())),
    }
}

/// Where the body of an answer begins, and its length, if it says so.
fn content_length(answer: &[u8]) -> Option<(usize, usize)> {
    let head = answer.windows(4).position(|part| part == b"\r\n\r\n")?;
    let text = std::str::from_utf8(answer.get(..head)?).ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let (_, length) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    let length: usize = length.trim().parse().ok()?;
    (length <= ANSWER_BYTES_MAX).then_some((head + 4, length))
}

/// Whether nothing more comes, though the connection may stay open.
fn is_whole(answer: &[u8]) -> bool {
    content_length(answer).is_some_and(|(head, length)| answer.len() >= head + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_tried_again_is_told_from_what_may_not() {
        let http = |status: u16| taken_by_http(StatusCode::from_u16(status).unwrap());
        assert_eq!(http(200), Ok(()));
        for status in [429, 502, 503, 504] {
            assert!(matches!(http(status), Err(Refused::Now(_))), "{status}");
        }
        for status in [301, 400, 401, 404, 500] {
            assert!(matches!(http(status), Err(Refused::Never(_))), "{status}");
        }
        let grpc = |status: &'static str| {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", status.parse().unwrap());
            taken_by_grpc(&trailers)
        };
        assert_eq!(grpc("0"), Ok(()));
        for status in ["1", "4", "8", "10", "11", "14", "15"] {
            assert!(matches!(grpc(status), Err(Refused::Now(_))), "{status}");
        }
        for status in ["2", "3", "7", "12", "13", "16", "x"] {
            assert!(matches!(grpc(status), Err(Refused::Never(_))), "{status}");
        }
        assert!(matches!(
            taken_by_grpc(&HeaderMap::new()),
            Err(Refused::Now(_))
        ));
    }

    #[test]
    fn an_answer_is_whole_when_its_length_is_there() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 3\r\n\r\nabc";
        assert!(is_whole(whole));
        assert!((0..whole.len()).all(|n| !is_whole(&whole[..n])));
        assert!(!is_whole(
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nabc"
        ));
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\n\r\nabc"));
    }
}
