//! A server's answer in pieces: whatever the pieces, the client gets the same bytes and the session learns the same.
#![no_main]

use arbitrary::Arbitrary;
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec::{HEADER_BYTES, Header, put_packet};
use dbmesh_wire::relay::{Hops, ItemFilter, Numbering, Outcome, Progress, Relay, RelayError, Shape};
use dbmesh_wire::status::Status;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Answer<'a> {
    shape: u8,
    jumps: bool,
    backend: u64,
    client: u64,
    backend_seq: u8,
    client_seq: u8,
    cuts: Vec<u8>,
    /// Payloads, numbered right; what is behind them is sent as it is.
    packets: Vec<&'a [u8]>,
    tail: &'a [u8],
}

/// How an answer went, as far as a session can see it.
#[derive(Debug, PartialEq)]
enum End {
    Done,
    More,
    LocalInfile(Vec<u8>),
    Broken(RelayError),
}

struct Run {
    out: Vec<u8>,
    taken: usize,
    end: End,
    outcome: Outcome,
}

/// Feeds `bytes` in pieces of these sizes, the last one as often as it takes.
fn run(input: &Answer, bytes: &[u8], pieces: &[usize]) -> Run {
    let shape = match input.shape % 5 {
        0 => Shape::Results,
        1 => Shape::Rows,
        2 => Shape::Columns,
        3 => Shape::Single,
        _ => Shape::Text,
    };
    let hops = Hops {
        backend: Capabilities(input.backend),
        client: Capabilities(input.client),
        backend_seq: input.backend_seq,
        client_seq: input.client_seq,
        status: Status::AUTOCOMMIT,
        filter: ItemFilter::Fixed(|_| true),
        more: Status::NONE,
            names: None,
        numbering: if input.jumps {
            Numbering::Jumps
        } else {
            Numbering::Strict
        },
    };
    let mut relay = Relay::new(shape, hops);
    let (mut out, mut taken, mut seen) = (Vec::new(), 0, 0);
    let mut sizes = pieces.iter().copied().chain(std::iter::repeat(
        pieces.last().copied().unwrap_or(usize::MAX),
    ));
    let end = loop {
        seen = bytes
            .len()
            .min(seen + sizes.next().unwrap_or(usize::MAX).max(1));
        match relay.feed(&bytes[taken..seen], &mut out) {
            Ok((n, progress)) => {
                taken += n;
                assert!(taken <= seen, "more taken than given");
                match progress {
                    Progress::Done => break End::Done,
                    Progress::LocalInfile(name) => break End::LocalInfile(name),
                    Progress::More if seen == bytes.len() => break End::More,
                    Progress::More => {}
                }
            }
            Err(e) => break End::Broken(e),
        }
    };
    Run {
        out,
        taken,
        end,
        outcome: relay.into_outcome(),
    }
}

/// The client's bytes are whole packets with consecutive numbers.
fn check_client(input: &Answer, run: &Run) {
    let (mut at, mut seq) = (0, input.client_seq);
    while let Some(header) = Header::first(&run.out[at..]) {
        assert_eq!(header.seq, seq, "numbers of the client's packets at {at}");
        seq = seq.wrapping_add(1);
        at += HEADER_BYTES + header.len as usize;
        if at > run.out.len() {
            assert!(run.end != End::Done, "done in the middle of a packet");
            return;
        }
    }
    assert_eq!(at, run.out.len(), "half a header");
}

/// The EOF behind columns has the status of the result's end where both leave in one piece: here, pieces matter.
fn without_eof_status(mut out: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while let Some(header) = Header::first(out.get(at..).unwrap_or_default()) {
        let end = at + HEADER_BYTES + header.len as usize;
        if let Some([0xFE, _, _, status @ ..]) = out.get_mut(at + HEADER_BYTES..end)
            && let [low, high] = status
        {
            (*low, *high) = (0, 0);
        }
        at = end;
    }
    out
}

fuzz_target!(|input: Answer| {
    let mut bytes = Vec::new();
    let mut seq = input.backend_seq;
    for payload in &input.packets {
        put_packet(&mut bytes, &mut seq, payload);
    }
    bytes.extend_from_slice(input.tail);
    let whole = run(&input, &bytes, &[usize::MAX]);
    check_client(&input, &whole);
    let pieces: Vec<usize> = input.cuts.iter().map(|n| usize::from(*n)).collect();
    for pieces in [pieces.as_slice(), &[1], &[4, 1], &[5]] {
        let cut = run(&input, &bytes, pieces);
        check_client(&input, &cut);
        if matches!(whole.end, End::Broken(_)) || matches!(cut.end, End::Broken(_)) {
            // What a broken answer holds before its fault may be written or not; it is never more than the rest allows.
            assert_eq!(
                matches!(whole.end, End::Broken(_)),
                matches!(cut.end, End::Broken(_)),
                "{:?} and {:?}",
                whole.end,
                cut.end
            );
            continue;
        }
        assert_eq!(whole.end, cut.end);
        assert_eq!(
            without_eof_status(whole.out.clone()),
            without_eof_status(cut.out.clone()),
            "the same bytes, whatever the pieces"
        );
        if whole.end == End::Done {
            assert_eq!(whole.taken, cut.taken);
        }
        assert_eq!(whole.outcome.rows, cut.outcome.rows);
        assert_eq!(whole.outcome.status, cut.outcome.status);
        assert_eq!(whole.outcome.tracked, cut.outcome.tracked);
        assert_eq!(whole.outcome.error, cut.outcome.error);
        assert_eq!(whole.outcome.bytes, cut.outcome.bytes);
        assert_eq!(
            whole.outcome.bytes,
            whole.out.len() as u64,
            "bytes are counted as they are written"
        );
    }
});
