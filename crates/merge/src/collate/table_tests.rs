//! The committed tables against a server: every character of Unicode. With `DBMESH_BLESS=1` the tables are
//! written anew from MySQL's WEIGHT_STRING.

use dbmesh_testkit::{Kind, Server, shared};

use super::Native;
use super::table::{PAGES, RULE, Table, Weights, by_rule};

const TABLES: [(Native, &str, &str); 3] = [
    (Native::Uca900, "utf8mb4_0900_ai_ci", "uca_900_primary"),
    (Native::Uca400, "utf8mb4_unicode_ci", "uca_400"),
    (Native::General, "utf8mb4_general_ci", "general"),
];

/// The weights of all characters on a server; `None` for what is no character.
fn server_weights(server: &Server, collation: &str) -> Vec<Option<Vec<u16>>> {
    let session = server.session().unwrap();
    session
        .execute(
            "CREATE DATABASE IF NOT EXISTS w; USE w;
             CREATE TABLE IF NOT EXISTS d (d INT PRIMARY KEY);
             INSERT IGNORE INTO d VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9),(10),(11),(12),(13),(14),(15)",
        )
        .unwrap();
    let mut all = vec![None; PAGES * 256];
    for plane in 0..0x11_u32 {
        let sql = format!(
            "SELECT n, HEX(WEIGHT_STRING(CONVERT(CONVERT(UNHEX(LPAD(HEX(n),8,'0')) USING utf32) USING utf8mb4) COLLATE {collation}))
             FROM (SELECT {plane} * 65536 + a.d * 4096 + b.d * 256 + c.d * 16 + d.d AS n FROM w.d a, w.d b, w.d c, w.d d) x
             WHERE n < 55296 OR n > 57343"
        );
        for row in session.query(&sql).unwrap() {
            let code: usize = row[0].as_ref().unwrap().parse().unwrap();
            let hex = row[1].as_ref().unwrap();
            let weights = hex
                .as_bytes()
                .chunks(4)
                .map(|digits| {
                    u16::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
                })
                .collect();
            all[code] = Some(weights);
        }
    }
    all
}

fn flatten(table: &Table, weights: Weights) -> Vec<u16> {
    let mut bytes = Vec::new();
    match weights {
        Weights::Ignored => {}
        Weights::One(one) => return vec![one],
        Weights::Implicit(first, second) => return vec![first, second],
        Weights::Hangul(letters) => letters
            .iter()
            .filter(|letter| **letter != 0)
            .for_each(|letter| table.put(*letter, &mut bytes)),
        Weights::Pool { .. } => unreachable!("not by rule"),
    }
    bytes
        .chunks(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
        .collect()
}

/// The file of a table for these weights. The rule is checked with the server's own letters of Hangul.
fn file(collation: Native, weights: &[Option<Vec<u16>>]) -> Vec<u8> {
    let follows = |code: usize| {
        let Some(seen) = &weights[code] else {
            return true;
        };
        match by_rule(collation, code as u32) {
            Weights::Hangul(letters) => {
                let letters = letters.iter().filter(|letter| **letter != 0);
                *seen
                    == letters
                        .flat_map(|l| weights[*l as usize].clone().unwrap())
                        .collect::<Vec<_>>()
            }
            Weights::One(one) => *seen == [one],
            Weights::Implicit(first, second) => *seen == [first, second],
            Weights::Ignored | Weights::Pool { .. } => false,
        }
    };
    let (mut numbers, mut pages, mut pool, mut count) =
        (Vec::new(), Vec::new(), Vec::<u16>::new(), 0_u16);
    for page in 0..PAGES {
        if (page * 256..page * 256 + 256).all(follows) {
            numbers.extend_from_slice(&RULE.to_le_bytes());
            continue;
        }
        numbers.extend_from_slice(&count.to_le_bytes());
        count += 1;
        for seen in &weights[page * 256..page * 256 + 256] {
            let entry = match seen.as_deref().unwrap_or_default() {
                [] => 0,
                [one] => 1 << 24 | u32::from(*one),
                several => {
                    let at = pool
                        .windows(several.len())
                        .position(|w| w == several)
                        .unwrap_or(pool.len());
                    if at == pool.len() {
                        pool.extend_from_slice(several);
                    }
                    (several.len() as u32) << 24 | at as u32
                }
            };
            pages.extend_from_slice(&entry.to_le_bytes());
        }
    }
    let mut file = numbers;
    file.extend_from_slice(&count.to_le_bytes());
    file.extend_from_slice(&pages);
    pool.iter()
        .for_each(|weight| file.extend_from_slice(&weight.to_le_bytes()));
    file
}

fn check(server: &Server, collation: Native, name: &str) {
    let table = Table::of(collation).unwrap();
    let mut wrong = 0;
    for (code, seen) in server_weights(server, name).iter().enumerate() {
        let Some(seen) = seen else { continue };
        let mut ours = Vec::new();
        table.put(code as u32, &mut ours);
        let ours: Vec<u16> = ours
            .chunks(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect();
        if *seen != ours {
            wrong += 1;
            if wrong < 10 {
                eprintln!("{name} U+{code:04X}: server {seen:04X?}, ours {ours:04X?}");
            }
        }
    }
    assert_eq!(wrong, 0, "{name}: characters with other weights");
}

#[test]
fn tables_hold_the_weights_of_mysql() {
    let server = shared(Kind::MySql);
    if std::env::var_os("DBMESH_BLESS").is_some() {
        for (collation, name, stem) in TABLES {
            let path = format!(
                "{}/src/collate/tables/{stem}.bin",
                env!("CARGO_MANIFEST_DIR")
            );
            std::fs::write(path, file(collation, &server_weights(server, name))).unwrap();
        }
        return;
    }
    for (collation, name, _) in TABLES {
        check(server, collation, name);
    }
}

#[test]
fn tables_hold_the_weights_of_mariadb() {
    let server = shared(Kind::MariaDb);
    for (collation, name, _) in &TABLES[1..] {
        check(server, *collation, name);
    }
}

#[test]
fn letters_of_hangul_are_those_of_unicode() {
    let table = Table::of(Native::Uca900).unwrap();
    assert_eq!(
        table.weights(0xAC01),
        Weights::Hangul([0x1100, 0x1161, 0x11A8])
    );
    assert!(!flatten(&table, table.weights(0xAC01)).is_empty());
}
