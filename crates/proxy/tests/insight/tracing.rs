//! Traces: a small collector that speaks OTLP over HTTP takes what the proxy sends and reads it by the protocol's own
//! definition.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbmesh_testkit::server::{Kind, Server};
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec::{put_lenenc_bytes, put_lenenc_int};

use crate::ask;
use crate::faultkit::client::{Credentials, RawClient, Reply};
use crate::faultkit::eventually;
use crate::ground::{KINDS, client, page, server, stage};

/// A span, as a collector sees it.
#[derive(Clone, Debug, Default)]
pub struct Span {
    trace: String,
    span: String,
    parent: String,
    name: String,
    kind: u64,
    start: u64,
    end: u64,
    pub attributes: HashMap<String, String>,
    status: u64,
}

/// One field of a message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message. Source: Protocol Buffers, "Encoding".
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
            shift += 7;
        }
    }
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => {
                let (head, rest) = bytes.split_at(8);
                bytes = rest;
                Field::Number(u64::from_le_bytes(head.try_into().unwrap()))
            }
            2 => {
                let length = usize::try_from(varint(&mut bytes)).unwrap();
                let (head, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(head)
            }
            wire => panic!("wire type {wire}"),
        };
        all.push((tag >> 3, field));
    }
    all
}

fn messages(bytes: &[u8], wanted: u64) -> Vec<&[u8]> {
    let all = fields(bytes).into_iter();
    all.filter_map(|(number, field)| match field {
        Field::Bytes(bytes) if number == wanted => Some(bytes),
        _ => None,
    })
    .collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(bytes: &[u8]) -> (String, String) {
    let key = text(messages(bytes, 1)[0]);
    let value = match fields(messages(bytes, 2)[0]).remove(0) {
        (1, Field::Bytes(value)) => text(value),
        (3, Field::Number(value)) => value.to_string(),
        _ => panic!("an attribute of another type: {key}"),
    };
    (key, value)
}

fn span(bytes: &[u8]) -> Span {
    let mut span = Span::default();
    for (number, field) in fields(bytes) {
        match (number, field) {
            (1, Field::Bytes(b)) => span.trace = hex(b),
            (2, Field::Bytes(b)) => span.span = hex(b),
            (4, Field::Bytes(b)) => span.parent = hex(b),
            (5, Field::Bytes(b)) => span.name = text(b),
            (6, Field::Number(n)) => span.kind = n,
            (7, Field::Number(n)) => span.start = n,
            (8, Field::Number(n)) => span.end = n,
            (9, Field::Bytes(b)) => span.attributes.extend([attribute(b)]),
            (15, Field::Bytes(b)) => {
                for (number, field) in fields(b) {
                    if let (3, Field::Number(code)) = (number, field) {
                        span.status = code;
                    }
                }
            }
            (number, _) => panic!("field {number} of a span"),
        }
    }
    span
}

/// The spans of an ExportTraceServiceRequest.
pub fn spans_of(request: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in messages(request, 1) {
        let about = attributes_of_resource(resource);
        assert_eq!(about["service.name"], "dbmesh");
        for scope in messages(resource, 2) {
            spans.extend(messages(scope, 2).into_iter().map(span));
        }
    }
    spans
}

/// The collector.
struct Collector {
    port: u16,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let into = spans.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let body = receive(stream.unwrap());
                into.lock().unwrap().extend(spans_of(&body));
            }
        });
        Self { port, spans }
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }

    /// The spans of statements of this text, once there are so many.
    fn of(&self, text: &str, count: usize) -> Vec<Span> {
        let found = || -> Vec<Span> {
            let all = self.spans().into_iter();
            all.filter(|span| {
                span.attributes
                    .get("db.query.text")
                    .is_some_and(|t| t == text)
            })
            .collect()
        };
        eventually(
            &format!("{count} spans of {text}"),
            Duration::from_secs(10),
            || found().len() >= count,
        );
        let found = found();
        assert_eq!(found.len(), count, "{text}: {found:#?}");
        found
    }
}

fn attributes_of_resource(resource: &[u8]) -> HashMap<String, String> {
    let about = messages(resource, 1)[0];
    messages(about, 1).into_iter().map(attribute).collect()
}

fn receive(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let head = bytes.windows(4).position(|part| part == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8(bytes[..head].to_vec())
                .unwrap()
                .to_lowercase();
            assert!(text.starts_with("post /v1/traces http/1.1"), "{text}");
            assert!(
                text.contains("content-type: application/x-protobuf"),
                "{text}"
            );
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.unwrap().parse().unwrap();
            if bytes.len() >= head + 4 + length {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .unwrap();
                return bytes.split_off(head + 4);
            }
        }
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "a request is cut off");
        bytes.extend_from_slice(&piece[..read]);
    }
}

/// COM_QUERY with the attribute `traceparent`; where there are no attributes, with a comment.
fn query_in(client: &mut RawClient, parent: &str, sql: &str) -> Reply {
    if !client.capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
        return client.query(&format!("{sql} /*traceparent='{parent}'*/"));
    }
    let mut payload = vec![3, 1, 1, 0, 1, 0xFD, 0];
    put_lenenc_bytes(&mut payload, b"traceparent");
    put_lenenc_bytes(&mut payload, parent.as_bytes());
    payload.extend_from_slice(sql.as_bytes());
    client.command(&payload);
    client.reply()
}

/// COM_STMT_EXECUTE without parameters, with the attribute `traceparent`.
fn execute_in(client: &mut RawClient, id: u32, parent: &str) -> Reply {
    let mut payload = vec![0x17];
    payload.extend_from_slice(&id.to_le_bytes());
    payload.push(8);
    payload.extend_from_slice(&1u32.to_le_bytes());
    put_lenenc_int(&mut payload, 1);
    payload.extend_from_slice(&[0, 1, 0xFD, 0]);
    put_lenenc_bytes(&mut payload, b"traceparent");
    put_lenenc_bytes(&mut payload, parent.as_bytes());
    client.command(&payload);
    ask::answer(client)
}

fn traceparent(trace: u32, sampled: bool) -> String {
    format!(
        "00-{trace:032x}-00000000000000{trace:02x}-0{}",
        u8::from(sampled)
    )
}

fn tracing(collector: &Collector, ratio: f64) -> String {
    let port = collector.port;
    format!("observability: {{tracing: {{endpoint: \"http://127.0.0.1:{port}\", ratio: {ratio}}}}}")
}

/// Statements with contexts from everywhere.
fn talk(app: &mut RawClient, attributes: bool) {
    let reply = query_in(app, &traceparent(1, true), "SELECT 'attribute'");
    assert!(matches!(reply, Reply::Rows(_)), "{reply:?}");
    let comment = format!(
        "SELECT 'a', 'comment' /*traceparent='{}'*/",
        traceparent(2, true)
    );
    assert!(matches!(app.query(&comment), Reply::Rows(_)));
    let hint = format!(
        "/* mesh: traceparent={} */ SELECT 'a', 'b', 'hint'",
        traceparent(3, true)
    );
    assert!(matches!(app.query(&hint), Reply::Rows(_)));
    // An attribute says more than a comment; who is not sampled is not.
    let both = match attributes {
        true => format!("SELECT 'x' + 1 /*traceparent='{}'*/", traceparent(5, false)),
        false => "SELECT 'x' + 1".to_owned(),
    };
    assert!(matches!(
        query_in(app, &traceparent(4, true), &both),
        Reply::Rows(_)
    ));
    assert!(matches!(
        query_in(app, &traceparent(6, false), "SELECT 'not' + 2 - 1"),
        Reply::Rows(_)
    ));
    assert!(matches!(app.query("SELECT 'a root' * 2"), Reply::Rows(_)));
    if attributes {
        let sql = "SELECT CONCAT('a', 'prepared')";
        let (id, _) = ask::prepare(app, sql).unwrap();
        for trace in [7, 8] {
            let reply = execute_in(app, id, &traceparent(trace, true));
            assert_eq!(reply.value(), "aprepared");
        }
    }
    assert_eq!(
        query_in(app, &traceparent(9, true), "SELECT nonsense").code(),
        Some(1054)
    );
}

/// The span of a statement of this text, and the child that ran it.
fn assert_span(collector: &Collector, server: &Server, (text, trace): (&str, u32)) {
    let kind = server.kind();
    let span = &collector.of(text, 1)[0];
    assert_eq!(span.trace, format!("{trace:032x}"), "{kind:?}: {text}");
    assert_eq!(span.parent, format!("{trace:016x}"));
    let attribute = |name: &str| span.attributes[name].as_str();
    assert_eq!((span.name.as_str(), span.kind), ("SELECT app", 2));
    assert_eq!(
        attribute("db.system.name"),
        format!("{kind:?}").to_lowercase()
    );
    assert_eq!(attribute("db.namespace"), "app");
    assert_eq!(attribute("db.operation.name"), "SELECT");
    assert_eq!(attribute("client.address"), "127.0.0.1");
    assert_eq!(attribute("user.name"), "app");
    assert!(span.end > span.start);
    let children: Vec<Span> = collector.spans();
    let children: Vec<_> = children.iter().filter(|s| s.parent == span.span).collect();
    let execute = children.iter().find(|s| s.name == "execute").unwrap();
    assert_eq!(execute.kind, 3);
    assert_eq!(execute.trace, span.trace);
    assert_eq!(execute.attributes["server.address"], "127.0.0.1");
    assert_eq!(execute.attributes["server.port"], server.port().to_string());
    assert!(execute.start >= span.start && execute.end <= span.end + 1_000_000);
}

#[test]
fn a_statement_is_a_span_of_its_client_s_trace() {
    for kind in KINDS {
        let server = server(kind);
        let collector = Collector::start();
        let stage = stage(&server, &[&tracing(&collector, 0.0)]);
        // MariaDB knows no query attributes.
        let attributes = kind == Kind::MySql;
        let credentials = Credentials::app().schema("app");
        let credentials = match attributes {
            true => credentials.more(Capabilities::QUERY_ATTRIBUTES),
            false => credentials,
        };
        let mut app = RawClient::logged_in(stage.port, &credentials);
        talk(&mut app, attributes);
        for (text, trace) in [
            ("SELECT ?", 1),
            ("SELECT ?, ?", 2),
            ("SELECT ?, ?, ?", 3),
            ("SELECT ? + ?", 4),
            ("SELECT nonsense", 9),
        ] {
            assert_span(&collector, &server, (text, trace));
        }
        let failed = &collector.of("SELECT nonsense", 1)[0];
        assert_eq!(
            (failed.status, failed.attributes["error.type"].as_str()),
            (2, "1054")
        );
        if attributes {
            let prepared = collector.of("SELECT CONCAT(?, ?)", 2);
            let traces: Vec<&str> = prepared.iter().map(|span| span.trace.as_str()).collect();
            assert_eq!(traces, [format!("{:032x}", 7), format!("{:032x}", 8)]);
        }
        for text in ["SELECT ? + ? - ?", "SELECT ? * ?"] {
            assert!(
                !collector
                    .spans()
                    .iter()
                    .any(|s| s.attributes.get("db.query.text").is_some_and(|t| t == text))
            );
        }
        // Traces make no digests of their own.
        let digests = page(&stage, "/debug/digests");
        let of_comment = digests.as_array().unwrap().iter();
        assert_eq!(
            of_comment
                .filter(|row| row["text"] == "SELECT ?, ?")
                .count(),
            1
        );
    }
}

#[test]
fn a_collector_that_is_gone_holds_nobody_up() {
    let server = server(KINDS[0]);
    let collector = Collector {
        port: 9,
        spans: Arc::default(),
    };
    let stage = stage(&server, &[&tracing(&collector, 1.0)]);
    let mut app = client(&stage, "app");
    for _ in 0..50 {
        assert!(matches!(app.query("SELECT 1"), Reply::Rows(_)));
    }
    eventually("failures are counted", Duration::from_secs(10), || {
        stage.metric("dbmesh_trace_export_failures_total") >= 1.0
    });
    assert_eq!(stage.metric("dbmesh_trace_spans_sent_total"), 0.0);
    eventually("and what is lost", Duration::from_secs(20), || {
        stage.metric("dbmesh_trace_spans_dropped_total") >= 100.0
    });
}
