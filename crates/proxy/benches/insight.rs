//! A statement's share of SQL insight: the sums of its digest, found and added to.

#![allow(missing_docs)] // the macros make undocumented items
#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use dbmesh_proxy::measure::InsightStage;

fn add(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let mut group = criterion.benchmark_group("insight");
    for digests in [1, 100, 5_000] {
        let stage = InsightStage::default();
        let mut n = 0_u64;
        group.bench_function(format!("add, {digests} digests"), |b| {
            b.iter(|| {
                n += 1;
                let digest = (n % digests).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                stage.add(black_box(digest), n);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, add);
criterion_main!(benches);
