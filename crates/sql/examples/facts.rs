//! Prints what is known of each line of standard input.

use std::io::{BufRead, stdin};

use dbmesh_sql::{Dialect, Flavor, analyze, digest_text};

fn main() {
    let mariadb = std::env::args().any(|argument| argument == "--mariadb");
    let dialect = match mariadb {
        true => Dialect {
            flavor: Flavor::MariaDb,
            version: 101_119,
            ..Dialect::default()
        },
        false => Dialect::default(),
    };
    for line in stdin().lock().lines().map_while(Result::ok) {
        let statement = analyze(line.as_bytes(), &dialect);
        println!("{line}");
        println!(
            "  {} {:?} {:?} x{} {:?}",
            statement.digest,
            statement.verb,
            statement.class,
            statement.statements,
            statement.facts
        );
        println!("  {}", digest_text(line.as_bytes(), &dialect, 4096));
        for effect in &statement.effects {
            println!("  {effect:?}");
        }
    }
}
