//! A collector that speaks as OpenTelemetry's do: gRPC on HTTP/2, or HTTP/1.1, in the clear or by TLS; with answers that a
//! test chooses.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dbmesh_testkit::folder::Folder;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::tracing::{Span, spans_of};

/// What comes of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is taken.
    Taken,
    /// It is taken, but for this many spans.
    Rejects(u8),
    /// A status of gRPC, or of HTTP.
    Status(u16),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    Http,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Security {
    Clear,
    Tls,
}

/// What came.
#[derive(Default)]
struct Heard {
    spans: Mutex<Vec<Span>>,
    requests: AtomicUsize,
    /// Of the next requests; all others are taken.
    answers: Mutex<VecDeque<Answer>>,
}

/// The collector.
pub struct Receiver {
    port: u16,
    protocol: Protocol,
    security: Security,
    heard: Arc<Heard>,
    folder: Folder,
}

impl Receiver {
    pub fn start(protocol: Protocol, security: Security, answers: &[Answer]) -> Self {
        let folder = Folder::create("receiver").unwrap();
        let acceptor = (security == Security::Tls).then(|| acceptor(&folder));
        let heard = Arc::new(Heard {
            answers: Mutex::new(answers.iter().copied().collect()),
            ..Heard::default()
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let into = heard.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (acceptor, into) = (acceptor.clone(), into.clone());
                    tokio::spawn(async move {
                        match acceptor {
                            None => serve(protocol, stream, into).await,
                            Some(acceptor) => {
                                if let Ok(stream) = acceptor.accept(stream).await {
                                    serve(protocol, stream, into).await;
                                }
                            }
                        }
                    });
                }
            });
        });
        Self {
            port,
            protocol,
            security,
            heard,
            folder,
        }
    }

    /// The file with the authority of its certificate.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Lines of a service that traces to it; with the authority of this one, if it speaks TLS.
    pub fn lines(&self, trusted: &Receiver) -> String {
        let (scheme, tls) = match self.security {
            Security::Clear => ("http", String::new()),
            Security::Tls => (
                "https",
                format!(", tls: {{ca: \"{}\"}}", trusted.authority().display()),
            ),
        };
        let protocol = match self.protocol {
            Protocol::Grpc => "grpc",
            Protocol::Http => "http",
        };
        let port = self.port;
        format!(
            "observability: {{tracing: {{endpoint: \"{scheme}://127.0.0.1:{port}\", protocol: {protocol}, ratio: 1.0{tls}}}}}"
        )
    }

    /// How many spans there are of a normalised text.
    pub fn count(&self, text: &str) -> usize {
        let spans = self.heard.spans.lock().unwrap();
        let of_text = |span: &&Span| {
            let given = span.attributes.get("db.query.text");
            given.is_some_and(|given| given == text)
        };
        spans.iter().filter(of_text).count()
    }

    pub fn requests(&self) -> usize {
        self.heard.requests.load(Ordering::SeqCst)
    }
}

/// TLS with a certificate for 127.0.0.1 that is its own authority.
fn acceptor(folder: &Folder) -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(folder.path().join("ca.pem"), made.cert.pem()).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::Pkcs8(key));
    let mut config = config.unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn serve<S>(protocol: Protocol, stream: S, heard: Arc<Heard>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match protocol {
        Protocol::Http => answer_http(stream, &heard).await,
        Protocol::Grpc => {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(answer_grpc(request, respond, heard.clone()));
            }
        }
    }
}

impl Heard {
    /// What comes of this request.
    fn take(&self, message: &[u8]) -> Answer {
        let next = self.answers.lock().unwrap().pop_front();
        let answer = next.unwrap_or(Answer::Taken);
        if !matches!(answer, Answer::Status(_)) {
            self.spans.lock().unwrap().extend(spans_of(message));
        }
        self.requests.fetch_add(1, Ordering::SeqCst);
        answer
    }
}

/// An ExportTraceServiceResponse.
fn response(answer: Answer) -> Vec<u8> {
    match answer {
        Answer::Rejects(count) => vec![0x0a, 2, 0x08, count],
        _ => Vec::new(),
    }
}

async fn answer_grpc(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    heard: Arc<Heard>,
) {
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    assert_eq!(
        (request.method().as_str(), request.uri().path()),
        ("POST", path)
    );
    assert_eq!(request.headers()["content-type"], "application/grpc");
    assert_eq!(request.headers()["te"], "trailers");
    let mut body = request.into_body();
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        bytes.extend_from_slice(&piece);
    }
    let (prefix, message) = bytes.split_at(5);
    assert_eq!(prefix[0], 0);
    let length = u32::from_be_bytes(prefix[1..].try_into().unwrap());
    assert_eq!(message.len(), length as usize);
    let answer = heard.take(message);
    let mut trailers = HeaderMap::new();
    if let Answer::Status(status) = answer {
        let refused = Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", status)
            .header("grpc-message", "not%20now");
        respond
            .send_response(refused.body(()).unwrap(), true)
            .unwrap();
        return;
    }
    let head = Response::builder().header("content-type", "application/grpc");
    let mut stream = respond
        .send_response(head.body(()).unwrap(), false)
        .unwrap();
    let message = response(answer);
    let mut out = vec![0, 0, 0, 0, message.len() as u8];
    out.extend_from_slice(&message);
    stream.send_data(out.into(), false).unwrap();
    trailers.insert("grpc-status", "0".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
}

async fn answer_http(mut stream: impl AsyncRead + AsyncWrite + Unpin, heard: &Heard) {
    let mut bytes = Vec::new();
    let body = loop {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
        let Some(head) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else {
            continue;
        };
        let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.unwrap().parse().unwrap();
        if bytes.len() >= head + 4 + length {
            break bytes.split_off(head + 4);
        }
    };
    let answer = heard.take(&body);
    let status = match answer {
        Answer::Status(status) => status,
        _ => 200,
    };
    let message = response(answer);
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n",
        message.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&message).await.unwrap();
    stream.flush().await.unwrap();
    // It keeps the connection open, whatever it was asked.
    let _ = stream.read_u8().await;
}
