//! TPC-C by warehouse over two servers: what one MySQL answers, and consistent whoever dies.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::time::Duration;

use dbmesh_differential::ground::{Ground, Opponent};
use dbmesh_differential::statement::Form;
use dbmesh_differential::tpcc::{self, Endurance, TPCC};
use dbmesh_testkit::Kind;

#[test]
fn tpcc_is_what_one_server_makes_of_it_and_stays_consistent_under_kills() {
    let ground = Ground::start(TPCC, Kind::MySql, Opponent::Mesh, 1).unwrap();
    for (form, seed) in [(Form::Text, 1), (Form::Prepared, 2)] {
        tpcc::compare(&ground, form, seed, 60).unwrap();
    }
    let endurance = Endurance {
        clients: 6,
        lasts: Duration::from_secs(8),
        kills: true,
        seed: 3,
    };
    let outcome = tpcc::endure(&ground, endurance).unwrap();
    println!("{outcome}");
    assert_eq!(outcome.unexplained, Vec::<String>::new());
    assert!(outcome.kills > 1, "{outcome}");
    assert!(outcome.committed() > 20, "{outcome}");
    assert_eq!(tpcc::check(&ground).unwrap(), Vec::<String>::new());

    // A piece that no line took is found.
    let [_, other] = ground.servers();
    other
        .execute("UPDATE shop_1.stock_5 SET s_ytd = s_ytd + 1 ORDER BY s_i_id LIMIT 1")
        .unwrap();
    let violated = tpcc::check(&ground).unwrap();
    assert_eq!(violated.len(), 1, "{violated:?}");
}
