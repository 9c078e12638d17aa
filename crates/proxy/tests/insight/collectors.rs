//! Spans on their way to collectors of every kind: what is taken, tried again, or given up.

use std::time::Duration;

use dbmesh_testkit::server::Server;

use crate::faultkit::client::Reply;
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;
use crate::ground::{KINDS, client, server, stage};
use crate::receiver::{Answer, Protocol, Receiver, Security};

/// Long, for the machine may be busy.
const SOON: Duration = Duration::from_secs(60);

/// A proxy that traces all statements, of which it ran so many.
fn traced(server: &Server, lines: &str, statements: usize) -> Stage {
    let stage = stage(server, &[lines]);
    let mut app = client(&stage, "app");
    for n in 0..statements {
        let sql = format!("SELECT {n} + 1");
        assert!(matches!(app.query(&sql), Reply::Rows(_)));
    }
    stage
}

#[test]
fn spans_are_taken_by_grpc_and_http_in_the_clear_and_by_tls() {
    let server = server(KINDS[0]);
    for protocol in [Protocol::Grpc, Protocol::Http] {
        // What may be taken another time, in the words of each.
        let later = match protocol {
            Protocol::Grpc => 14,
            Protocol::Http => 503,
        };
        for security in [Security::Clear, Security::Tls] {
            let collector = Receiver::start(protocol, security, &[Answer::Status(later)]);
            // More than the first window of HTTP/2 has room for.
            let stage = traced(&server, &collector.lines(&collector), 400);
            eventually("all spans", SOON, || collector.count("SELECT ? + ?") >= 400);
            assert_eq!(collector.count("SELECT ? + ?"), 400);
            eventually("they are counted", SOON, || {
                stage.metric("dbmesh_trace_spans_sent_total") >= 800.0
            });
            assert_eq!(stage.metric("dbmesh_trace_export_failures_total"), 1.0);
            assert_eq!(stage.metric("dbmesh_trace_spans_dropped_total"), 0.0);
        }
    }
}

#[test]
fn spans_that_will_never_be_taken_are_given_up_at_once() {
    let server = server(KINDS[0]);
    for (protocol, never) in [(Protocol::Grpc, 3), (Protocol::Http, 400)] {
        let collector = Receiver::start(protocol, Security::Clear, &[Answer::Status(never)]);
        let stage = traced(&server, &collector.lines(&collector), 1);
        let dropped = || stage.metric("dbmesh_trace_spans_dropped_total");
        eventually("they are dropped", SOON, || dropped() >= 1.0);
        assert_eq!(stage.metric("dbmesh_trace_export_failures_total"), 1.0);
        assert_eq!(collector.requests(), 1);
    }
}

#[test]
fn spans_that_a_collector_leaves_out_are_counted_as_dropped() {
    let server = server(KINDS[0]);
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let answers = [Answer::Rejects(2), Answer::Rejects(2)];
        let collector = Receiver::start(protocol, Security::Clear, &answers);
        let stage = traced(&server, &collector.lines(&collector), 10);
        let sent = || stage.metric("dbmesh_trace_spans_sent_total");
        let dropped = || stage.metric("dbmesh_trace_spans_dropped_total");
        eventually("all are accounted for", SOON, || {
            collector.count("SELECT ? + ?") == 10 && sent() + dropped() >= 20.0
        });
        assert!(dropped() >= 2.0, "{} dropped", dropped());
        assert_eq!(stage.metric("dbmesh_trace_export_failures_total"), 0.0);
    }
}

#[test]
fn a_collector_of_another_authority_gets_nothing() {
    let server = server(KINDS[0]);
    let [wrong, right] = [(); 2].map(|()| Receiver::start(Protocol::Grpc, Security::Tls, &[]));
    let stage = traced(&server, &wrong.lines(&right), 1);
    eventually("spans are given up", SOON, || {
        stage.metric("dbmesh_trace_spans_dropped_total") >= 1.0
    });
    assert_eq!(wrong.requests(), 0);
    assert!(stage.metric("dbmesh_trace_export_failures_total") >= 3.0);
}
