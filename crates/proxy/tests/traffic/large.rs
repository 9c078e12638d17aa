//! The memory of large commands, of all sessions together.

use std::time::Duration;

use dbmesh_testkit::server::{Kind, shared};
use dbmesh_wire::codec::Header;

use crate::ask::assert_error;
use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;

const MIB: usize = 1 << 20;

/// A read of so many bytes that answers how long they are.
fn long(bytes: usize) -> String {
    format!("SELECT LENGTH('{}')", "x".repeat(bytes))
}

fn held(stage: &Stage) -> f64 {
    stage.metric("dbmesh_large_command_bytes")
}

#[test]
fn large_commands_share_a_bounded_memory() {
    for kind in [Kind::MySql, Kind::MariaDb] {
        let args = ["--large-commands-mib", "8"];
        let stage = Stage::with_args(kind, shared(kind).port(), &args, |c| c);
        let mut client = RawClient::app(stage.port);
        for _ in 0..3 {
            assert_eq!(
                client.query(&long(5 * MIB)).value(),
                (5 * MIB).to_string(),
                "{kind:?}"
            );
        }
        eventually("it was given back", Duration::from_secs(10), || {
            held(&stage) == 0.0
        });
        // Alone, one that is larger than all there is, is refused, and its connection closed.
        let mut greedy = RawClient::app(stage.port);
        assert_error(&greedy.query(&long(12 * MIB)), 1041, "--large-commands-mib");
        assert!(greedy.is_closed());
        // One that stops in the middle holds what it sent so far, until it goes away.
        let mut slow = RawClient::app(stage.port);
        let header = Header {
            len: u32::try_from(12 * MIB).unwrap(),
            seq: 0,
        };
        slow.raw(&header.encode()).unwrap();
        slow.raw(&[&[3u8][..], long(7 * MIB).as_bytes()].concat())
            .unwrap();
        eventually("it holds some", Duration::from_secs(10), || {
            held(&stage) > 5.0 * MIB as f64
        });
        let mut late = RawClient::app(stage.port);
        assert_error(&late.query(&long(5 * MIB)), 1041, "Out of memory");
        assert_eq!(client.query(&long(MIB / 2)).value(), (MIB / 2).to_string());
        drop(slow);
        eventually("it was given back", Duration::from_secs(10), || {
            held(&stage) == 0.0
        });
        assert_eq!(
            client.query(&long(5 * MIB)).value(),
            (5 * MIB).to_string(),
            "{kind:?}"
        );
        assert_eq!(stage.metric("dbmesh_large_commands_refused_total"), 2.0);
        assert!(matches!(client.query("SELECT 1"), Reply::Rows(_)));
    }
}
