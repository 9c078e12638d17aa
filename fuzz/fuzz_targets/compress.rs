//! Compressed frames: lies are errors, memory stays within what is accepted, and what we compress comes back.
#![no_main]

use arbitrary::Arbitrary;
use dbmesh_wire::compress::{Algorithm, Compressor, Decompressor};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    zstd: bool,
    level: u8,
    cut: u16,
    bytes: &'a [u8],
}

const FRAME_BYTES_MAX: usize = 1 << 16;

fuzz_target!(|input: Input| {
    let algorithm = if input.zstd {
        Algorithm::Zstd
    } else {
        Algorithm::Zlib
    };
    let decompressor = || Decompressor::new(algorithm).with_frame_bytes_max(FRAME_BYTES_MAX);
    let mut whole = Vec::new();
    let taken = decompressor().decompress(input.bytes, &mut whole);
    let frames = input.bytes.len() / 7 + 1;
    assert!(
        whole.len() <= frames * FRAME_BYTES_MAX,
        "more than the frames may hold"
    );
    // In two pieces.
    let cut = usize::from(input.cut).min(input.bytes.len());
    let mut pieces = Vec::new();
    let mut second = decompressor();
    let first_taken = second.decompress(&input.bytes[..cut], &mut pieces);
    let rest = first_taken.and_then(|n| {
        second
            .decompress(&input.bytes[n..], &mut pieces)
            .map(|m| n + m)
    });
    assert_eq!(taken, rest);
    if taken.is_ok() {
        assert_eq!(whole, pieces);
    }
    let mut out = Vec::new();
    // zstd's higher levels trip the sanitizer over a static table of its C code, which is no use after scope.
    Compressor::new(algorithm, input.level % 4)
        .compress(input.bytes, &mut out)
        .expect("anything can be compressed");
    let mut back = Vec::new();
    let taken = Decompressor::new(algorithm)
        .decompress(&out, &mut back)
        .expect("our own frames");
    assert_eq!((taken, back.as_slice()), (out.len(), input.bytes));
});
