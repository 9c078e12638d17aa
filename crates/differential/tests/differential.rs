//! The harness finds what differs, and nothing where nothing does.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use dbmesh_differential::ground::{Ground, Opponent};
use dbmesh_differential::run::Run;
use dbmesh_differential::schema::SHOP;
use dbmesh_differential::statement::{Form, Statement};
use dbmesh_differential::{family, grammar::Grammar};
use dbmesh_testkit::Kind;

/// One of so many of the hand-written statements, and so many drawn ones.
fn part(ground: &Ground, one_of: usize, drawn: usize) -> Run<'_> {
    let mut run = Run::new(ground).unwrap();
    let written = family::statements("").unwrap();
    run.all(written.into_iter().step_by(one_of), None).unwrap();
    run.all(Grammar::new(1).take(drawn), None).unwrap();
    run
}

#[test]
fn two_servers_with_the_same_rows_do_not_differ() {
    let ground = Ground::start(SHOP, Kind::MySql, Opponent::Same, 1).unwrap();
    let run = part(&ground, 7, 600);
    let total = run.report.total();
    assert_eq!(total.different, 0, "{}", run.report.told.join("\n"));
    assert!(total.equal > 1_000, "{}", run.report);
    // A grammar of errors would compare nothing.
    assert!(total.errors * 10 < total.equal, "{}", run.report);
}

#[test]
fn a_server_that_was_altered_is_found_and_the_statement_made_short() {
    let ground = Ground::start(SHOP, Kind::MySql, Opponent::Altered, 1).unwrap();
    let mut run = Run::new(&ground).unwrap();
    let written = family::statements("read.key").unwrap();
    run.all(written.into_iter().take(2), None).unwrap();
    assert_eq!(run.report.total().different, 0, "t_order is not altered");
    run.tell_most(2);
    let drawn = Grammar::new(1).filter(|statement| !statement.changes);
    run.all(drawn.filter(|s| s.marked.contains("t_user")).take(60), None)
        .unwrap();
    let total = run.report.total();
    assert!(total.different > 2, "{}", run.report);
    let short = |text: &String| {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("short: "));
        line.map_or(usize::MAX, str::len)
    };
    let shortest = run.report.told.iter().map(short).min().unwrap();
    assert!(shortest < 80, "{}", run.report.told.join("\n"));
}

/// What the mesh serves in this form must be what one server says.
fn mesh(kind: Kind) {
    let ground = Ground::start(SHOP, kind, Opponent::Mesh, 1).unwrap();
    let mut run = Run::new(&ground).unwrap();
    let text = |statement: &Statement| statement.form == Form::Text;
    let written = family::statements("").unwrap();
    run.all(written.into_iter().filter(text).step_by(5), None)
        .unwrap();
    run.all(Grammar::new(2).filter(text).take(250), None)
        .unwrap();
    let total = run.report.total();
    assert_eq!(total.different, 0, "{}", run.report.told.join("\n"));
    assert!(total.accepted_percent() > 80.0, "{}", run.report);
}

#[test]
fn a_mesh_over_mysql_answers_as_one_server_does() {
    mesh(Kind::MySql);
}

#[test]
fn a_mesh_over_mariadb_answers_as_one_server_does() {
    mesh(Kind::MariaDb);
}
