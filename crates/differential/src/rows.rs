//! The rows, drawn from a seed.
//!
//! Owns values that make comparisons hard: NULLs, ties, texts that are equal in one collation and not in another, negative
//! and unsigned numbers, numbers that only their sum's type can hold. Floating point values are multiples of a quarter, so
//! that sums do not depend on the order of their parts.

use crate::draw::Draw;

/// Users.
const USERS: i64 = 48;
/// Documents.
const DOCS: usize = 60;

/// Texts; several are equal in a collation.
pub const TEXTS: [&str; 22] = [
    "apple",
    "Apple",
    "äpple",
    "APPLE",
    "apple ",
    "pear",
    "Pear",
    "straße",
    "strasse",
    "",
    "zebra",
    "Ångström",
    "emoji 😀",
    "emoji 😁",
    "a",
    "B",
    "b",
    "a%b",
    "a_b",
    "日本",
    "x y",
    "it''s",
];
/// Texts that latin1 has.
pub const LATIN: [&str; 8] = ["ab", "AB", "áb", "zz", "", "Zz", "ß", "ab "];

/// INSERT statements for all tables, under their logical names.
pub fn inserts(seed: u64) -> Vec<String> {
    let mut draw = Draw::new(seed);
    let mut orders = Vec::new();
    let mut items = Vec::new();
    let mut users = Vec::new();
    for user in -3..USERS {
        users.push(of_user(&mut draw, user));
        for order in 0..draw.below(5) {
            orders.push(of_order(&mut draw, user, order));
            for line in 0..draw.below(4) {
                items.push(of_item(&mut draw, user, order, line));
            }
        }
    }
    let docs: Vec<String> = (0..DOCS).map(|place| of_doc(&mut draw, place)).collect();
    let countries = ["DE", "FR", "US", "JP", "BR"];
    let country = |cc: &&str| format!("('{cc}', '{cc} land', {}.25)", cc.len());
    let confs = (1..=9).map(|k| format!("({k}, {}, {})", text(&mut draw, &TEXTS), k % 4));
    let conf = insert("t_conf", &confs.collect::<Vec<_>>());
    vec![
        insert("t_user", &users),
        insert("t_order", &orders),
        insert("t_item", &items),
        insert("t_doc", &docs),
        insert(
            "t_country",
            &countries.iter().map(country).collect::<Vec<_>>(),
        ),
        conf,
    ]
}

fn insert(table: &str, rows: &[String]) -> String {
    format!("INSERT INTO {table} VALUES {}", rows.join(", "))
}

fn text(draw: &mut Draw, of: &[&'static str]) -> String {
    match draw.percent(12) {
        true => "NULL".to_owned(),
        false => format!("'{}'", draw.one(of)),
    }
}

fn sometimes(draw: &mut Draw, value: String) -> String {
    match draw.percent(15) {
        true => "NULL".to_owned(),
        false => value,
    }
}

/// The value, or now and then one at the end of what its type holds.
fn or_extreme(draw: &mut Draw, value: String, extremes: &[&str]) -> String {
    match draw.percent(4) {
        true => draw.one(extremes).to_owned(),
        false => value,
    }
}

fn day(draw: &mut Draw) -> String {
    let day = draw.between(1, 28);
    format!("2024-{:02}-{day:02}", draw.between(1, 4))
}

fn of_user(draw: &mut Draw, user: i64) -> String {
    let name = text(draw, &TEXTS);
    let city = draw.one(&TEXTS).to_owned();
    let nick = text(draw, &LATIN);
    let code = text(draw, &["A1", "a1", "B2", "A1x"]);
    let age = draw.between(18, 40).to_string();
    let (born, seen) = (day(draw), day(draw));
    let boss = draw.between(-3, USERS - 1).to_string();
    let score = draw.between(-50, 50).to_string();
    let micros = draw.below(1_000_000);
    let born = or_extreme(
        draw,
        format!("'{born}'"),
        &["'9999-12-31'", "'1000-01-01'", "'2024-02-29'"],
    );
    let seen = or_extreme(
        draw,
        format!("'{seen} 10:00:00.{micros:06}'"),
        &["'9999-12-31 23:59:59.999999'", "'1000-01-01 00:00:00'"],
    );
    let wake = or_extreme(
        draw,
        format!("'{}:15:00.{:03}'", user * 7 % 40, micros % 1000),
        &["'838:59:59'", "'-838:59:59'", "'-00:00:00.500'"],
    );
    let numbers = [
        sometimes(draw, age),
        sometimes(draw, born),
        sometimes(draw, seen),
        sometimes(draw, boss),
        sometimes(draw, score),
        sometimes(draw, format!("{}", 1999 + user.rem_euclid(7))),
        sometimes(draw, wake),
    ];
    format!(
        "({user}, {name}, '{city}', {nick}, {code}, {})",
        numbers.join(", ")
    )
}

fn of_order(draw: &mut Draw, user: i64, order: u64) -> String {
    let quarter = |draw: &mut Draw| format!("{}", draw.between(-400, 400) as f64 / 4.0);
    let amount = format!("{}.{:03}", draw.between(-999, 99_999), draw.below(1000));
    let big = u64::MAX - draw.below(5) * 1_000_000_007;
    let neg = i64::MIN + draw.between(0, 4);
    let (price, ratio) = (quarter(draw), quarter(draw));
    let states = ["'new'", "'paid'", "'sent'", "'back'"];
    let tags = ["'red'", "'red,gift'", "'fast'", "''", "'gift,fast'"];
    let docs = [
        "'{\"a\": 1}'",
        "'{\"a\": 1.0}'",
        "'[1, 2]'",
        "'\"x\"'",
        "'null'",
        "'{\"b\": [true, null]}'",
        "'10'",
        "'9'",
    ];
    let (bits, at) = (draw.below(512), day(draw));
    let qty = draw.between(-5, 9).to_string();
    let amount = or_extreme(
        draw,
        amount,
        &["999999999.999", "-999999999.999", "0.000", "0.001"],
    );
    let qty = or_extreme(draw, qty, &["2147483646", "-2147483648"]);
    let values = [
        sometimes(draw, amount),
        sometimes(draw, qty),
        sometimes(draw, big.to_string()),
        sometimes(draw, neg.to_string()),
        sometimes(draw, price),
        sometimes(draw, ratio),
        text(draw, &["new"]).replace("'new'", draw.one(&states)),
        text(draw, &["red"]).replace("'red'", draw.one(&tags)),
        sometimes(draw, format!("b'{bits:b}'")),
        text(draw, &["doc"]).replace("'doc'", draw.one(&docs)),
        sometimes(draw, format!("'{at} 12:30:00'")),
        text(draw, &TEXTS),
        text(draw, &["raw", "x", "RAW"]),
        text(draw, &["DE", "FR", "US", "JP", "XX", "de"]),
    ];
    format!("({user}, {order}, {})", values.join(", "))
}

fn of_item(draw: &mut Draw, user: i64, order: u64, line: u64) -> String {
    let cost = format!("{}.{:02}", draw.below(900), draw.below(100));
    let shipped = format!("'{}'", day(draw));
    let sku = text(draw, &["sku-1", "SKU-1", "sku-2", "sku-10", "k"]);
    let pieces = draw.between(1, 6);
    format!(
        "({user}, {order}, {line}, {sku}, {pieces}, {}, {})",
        sometimes(draw, cost),
        sometimes(draw, shipped)
    )
}

fn of_doc(draw: &mut Draw, place: usize) -> String {
    let key = match place % 3 {
        0 => format!("doc-{place}"),
        1 => format!("Doc-{}", place - 1),
        _ => format!("ключ{place}"),
    };
    let cat = draw.below(6).to_string();
    let size = draw.between(-10, 5_000_000_000).to_string();
    let owner = draw.between(-3, USERS - 1).to_string();
    format!(
        "('{key}', {}, {}, {}, {})",
        sometimes(draw, cat),
        text(draw, &TEXTS),
        sometimes(draw, size),
        sometimes(draw, owner)
    )
}
