//! Parses each line of standard input, and prints what it is or why not.

use std::io::{BufRead, stdin};

use dbmesh_sql::{Dialect, Flavor, Parser};

fn main() {
    let mariadb = std::env::args().any(|argument| argument == "--mariadb");
    let tree = std::env::args().any(|argument| argument == "--tree");
    let dialect = match mariadb {
        true => Dialect {
            flavor: Flavor::MariaDb,
            version: 101_119,
            ..Dialect::default()
        },
        false => Dialect {
            version: 90_700,
            ..Dialect::default()
        },
    };
    let mut parser = Parser::new();
    for line in stdin().lock().lines().map_while(Result::ok) {
        match parser.parse(line.as_bytes(), &dialect) {
            Ok(ast) if tree => println!("{line}\n{ast:#?}"),
            Ok(ast) => println!("ok   {:?}: {line}", ast.statement().kind),
            Err(error) => println!(
                "FAIL {error}, found {:?}: {line}",
                error.found_text(line.as_bytes())
            ),
        }
    }
}
