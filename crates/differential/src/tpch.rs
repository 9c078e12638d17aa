//! TPC-H at a small scale: its eight tables, its 22 queries, and rows of the project's own generator.
//!
//! Owns rows whose values have the specification's domains, so that every query finds some. orders and lineitem are bound by
//! the order's key; the other tables are copied. The rows are not those of the official generator, and no figure made with
//! them is a TPC-H result.

use crate::Result;
use crate::draw::Draw;
use crate::family;
use crate::schema::{Placed, Set, Table};
use crate::statement::Statement;

/// Scale factor 0.01 has 15,000 orders.
const ORDERS: u64 = 15_000;
const CUSTOMERS: u64 = 1_500;
const PARTS: u64 = 2_000;
const SUPPLIERS: u64 = 100;
/// Rows of one INSERT.
const ROWS_MAX: usize = 1_000;
/// From 1992 to 1998, in days.
const DAYS: u64 = 2_406;

const fn by(column: &'static str, expression: &'static str) -> Placed {
    Placed::Sharded {
        column,
        algorithm: "number",
        expression,
    }
}

/// Its tables.
pub const TPCH: Set = Set {
    tables: &TABLES,
    bound: "orders, lineitem",
    across: "bestEffort",
    rows,
};

const TABLES: [Table; 8] = [
    Table {
        name: "region",
        placed: Placed::Broadcast,
        definition: "r_regionkey INT NOT NULL PRIMARY KEY, r_name CHAR(25) NOT NULL, r_comment VARCHAR(152)",
    },
    Table {
        name: "nation",
        placed: Placed::Broadcast,
        definition: "n_nationkey INT NOT NULL PRIMARY KEY, n_name CHAR(25) NOT NULL, n_regionkey INT NOT NULL, n_comment VARCHAR(152)",
    },
    Table {
        name: "supplier",
        placed: Placed::Broadcast,
        definition: "s_suppkey INT NOT NULL PRIMARY KEY, s_name CHAR(25) NOT NULL, s_address VARCHAR(40) NOT NULL, \
            s_nationkey INT NOT NULL, s_phone CHAR(15) NOT NULL, s_acctbal DECIMAL(15,2) NOT NULL, s_comment VARCHAR(101) NOT NULL",
    },
    Table {
        name: "part",
        placed: Placed::Broadcast,
        definition: "p_partkey INT NOT NULL PRIMARY KEY, p_name VARCHAR(55) NOT NULL, p_mfgr CHAR(25) NOT NULL, \
            p_brand CHAR(10) NOT NULL, p_type VARCHAR(25) NOT NULL, p_size INT NOT NULL, p_container CHAR(10) NOT NULL, \
            p_retailprice DECIMAL(15,2) NOT NULL, p_comment VARCHAR(23) NOT NULL",
    },
    Table {
        name: "partsupp",
        placed: Placed::Broadcast,
        definition: "ps_partkey INT NOT NULL, ps_suppkey INT NOT NULL, ps_availqty INT NOT NULL, \
            ps_supplycost DECIMAL(15,2) NOT NULL, ps_comment VARCHAR(199) NOT NULL, PRIMARY KEY (ps_partkey, ps_suppkey)",
    },
    Table {
        name: "customer",
        placed: Placed::Broadcast,
        definition: "c_custkey INT NOT NULL PRIMARY KEY, c_name VARCHAR(25) NOT NULL, c_address VARCHAR(40) NOT NULL, \
            c_nationkey INT NOT NULL, c_phone CHAR(15) NOT NULL, c_acctbal DECIMAL(15,2) NOT NULL, c_mktsegment CHAR(10) NOT NULL, \
            c_comment VARCHAR(117) NOT NULL",
    },
    Table {
        name: "orders",
        placed: by("o_orderkey", "MOD(o_orderkey, 8)"),
        definition: "o_orderkey INT NOT NULL PRIMARY KEY, o_custkey INT NOT NULL, o_orderstatus CHAR(1) NOT NULL, \
            o_totalprice DECIMAL(15,2) NOT NULL, o_orderdate DATE NOT NULL, o_orderpriority CHAR(15) NOT NULL, \
            o_clerk CHAR(15) NOT NULL, o_shippriority INT NOT NULL, o_comment VARCHAR(79) NOT NULL, KEY (o_custkey)",
    },
    Table {
        name: "lineitem",
        placed: by("l_orderkey", "MOD(l_orderkey, 8)"),
        definition: "l_orderkey INT NOT NULL, l_partkey INT NOT NULL, l_suppkey INT NOT NULL, l_linenumber INT NOT NULL, \
            l_quantity DECIMAL(15,2) NOT NULL, l_extendedprice DECIMAL(15,2) NOT NULL, l_discount DECIMAL(15,2) NOT NULL, \
            l_tax DECIMAL(15,2) NOT NULL, l_returnflag CHAR(1) NOT NULL, l_linestatus CHAR(1) NOT NULL, l_shipdate DATE NOT NULL, \
            l_commitdate DATE NOT NULL, l_receiptdate DATE NOT NULL, l_shipinstruct CHAR(25) NOT NULL, l_shipmode CHAR(10) NOT NULL, \
            l_comment VARCHAR(44) NOT NULL, PRIMARY KEY (l_orderkey, l_linenumber), KEY (l_partkey, l_suppkey)",
    },
];

/// The queries, with the specification's values for validation.
pub fn queries() -> Result<Vec<Statement>> {
    family::parse(include_str!("../families/tpch.txt"))
}

const REGIONS: [&str; 5] = ["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"];
const NATIONS: [(&str, u32); 25] = [
    ("ALGERIA", 0),
    ("ARGENTINA", 1),
    ("BRAZIL", 1),
    ("CANADA", 1),
    ("EGYPT", 4),
    ("ETHIOPIA", 0),
    ("FRANCE", 3),
    ("GERMANY", 3),
    ("INDIA", 2),
    ("INDONESIA", 2),
    ("IRAN", 4),
    ("IRAQ", 4),
    ("JAPAN", 2),
    ("JORDAN", 4),
    ("KENYA", 0),
    ("MOROCCO", 0),
    ("MOZAMBIQUE", 0),
    ("PERU", 1),
    ("CHINA", 2),
    ("ROMANIA", 3),
    ("SAUDI ARABIA", 4),
    ("VIETNAM", 2),
    ("RUSSIA", 3),
    ("UNITED KINGDOM", 3),
    ("UNITED STATES", 1),
];
const COLORS: [&str; 12] = [
    "green",
    "forest",
    "almond",
    "azure",
    "blue",
    "chocolate",
    "ivory",
    "lemon",
    "navy",
    "plum",
    "red",
    "snow",
];
const KINDS: [&str; 6] = ["STANDARD", "SMALL", "MEDIUM", "LARGE", "ECONOMY", "PROMO"];
const FINISHES: [&str; 5] = ["ANODIZED", "BURNISHED", "PLATED", "POLISHED", "BRUSHED"];
const METALS: [&str; 5] = ["TIN", "NICKEL", "BRASS", "STEEL", "COPPER"];
const SIZES: [&str; 5] = ["SM", "LG", "MED", "JUMBO", "WRAP"];
const BOXES: [&str; 8] = ["CASE", "BOX", "BAG", "JAR", "PKG", "PACK", "CAN", "DRUM"];
const SEGMENTS: [&str; 5] = [
    "AUTOMOBILE",
    "BUILDING",
    "FURNITURE",
    "MACHINERY",
    "HOUSEHOLD",
];
const PRIORITIES: [&str; 5] = ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"];
const MODES: [&str; 7] = ["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"];
const INSTRUCTIONS: [&str; 4] = [
    "DELIVER IN PERSON",
    "COLLECT COD",
    "NONE",
    "TAKE BACK RETURN",
];

fn rows(seed: u64) -> Vec<String> {
    let mut draw = Draw::new(seed);
    let mut all = Vec::new();
    let regions = REGIONS.iter().enumerate();
    insert(
        &mut all,
        "region",
        regions
            .map(|(key, name)| format!("({key}, '{name}', 'c')"))
            .collect(),
    );
    let nations = NATIONS.iter().enumerate();
    let nation =
        |(key, (name, region)): (usize, &(&str, u32))| format!("({key}, '{name}', {region}, 'c')");
    insert(&mut all, "nation", nations.map(nation).collect());
    let suppliers = (1..=SUPPLIERS)
        .map(|key| supplier(&mut draw, key))
        .collect();
    insert(&mut all, "supplier", suppliers);
    let parts = (1..=PARTS).map(|key| part(&mut draw, key)).collect();
    insert(&mut all, "part", parts);
    let mut supplies = Vec::new();
    for part in 1..=PARTS {
        for place in 0..4 {
            let supplier = supplier_of(part, place);
            let (quantity, cost) = (draw.between(1, 9_999), money(&mut draw, 1, 1_000));
            supplies.push(format!("({part}, {supplier}, {quantity}, {cost}, 'c')"));
        }
    }
    insert(&mut all, "partsupp", supplies);
    let customers = (1..=CUSTOMERS)
        .map(|key| customer(&mut draw, key))
        .collect();
    insert(&mut all, "customer", customers);
    let (mut orders, mut lines) = (Vec::new(), Vec::new());
    for place in 0..ORDERS {
        // As in the specification, only the first eight of 32 keys are used.
        let key = (place / 8) * 32 + place % 8 + 1;
        order(&mut draw, key, &mut orders, &mut lines);
    }
    insert(&mut all, "orders", orders);
    insert(&mut all, "lineitem", lines);
    all
}

/// INSERT statements of so many rows each.
pub(crate) fn insert(all: &mut Vec<String>, table: &str, rows: Vec<String>) {
    for part in rows.chunks(ROWS_MAX) {
        all.push(format!("INSERT INTO {table} VALUES {}", part.join(", ")));
    }
}

fn money(draw: &mut Draw, low: i64, high: i64) -> String {
    format!("{}.{:02}", draw.between(low, high - 1), draw.below(100))
}

fn phone(draw: &mut Draw, nation: u64) -> String {
    format!(
        "{}-{}-{}-{}",
        nation + 10,
        draw.between(100, 999),
        draw.between(100, 999),
        draw.between(1000, 9999)
    )
}

/// One of the four suppliers of a part.
fn supplier_of(part: u64, place: u64) -> u64 {
    (part + place * (SUPPLIERS / 4 + (part - 1) / SUPPLIERS)) % SUPPLIERS + 1
}

fn supplier(draw: &mut Draw, key: u64) -> String {
    let nation = draw.below(25);
    let comment = match draw.percent(5) {
        true => "Customer slow Complaints",
        false => "quick deliveries",
    };
    let (phone, balance) = (phone(draw, nation), money(draw, -999, 9_999));
    format!(
        "({key}, 'Supplier#{key:09}', 'street {key}', {nation}, '{phone}', {balance}, '{comment}')"
    )
}

fn part(draw: &mut Draw, key: u64) -> String {
    let name = format!("{} {}", draw.one(&COLORS), draw.one(&COLORS));
    let maker = draw.between(1, 5);
    let brand = format!("Brand#{maker}{}", draw.between(1, 5));
    let kind = format!(
        "{} {} {}",
        draw.one(&KINDS),
        draw.one(&FINISHES),
        draw.one(&METALS)
    );
    let container = format!("{} {}", draw.one(&SIZES), draw.one(&BOXES));
    let size = draw.between(1, 50);
    let price = price_of(key);
    format!(
        "({key}, '{name}', 'Manufacturer#{maker}', '{brand}', '{kind}', {size}, '{container}', {}.{:02}, 'c')",
        price / 100,
        price % 100
    )
}

/// In hundredths.
fn price_of(part: u64) -> u64 {
    90_000 + (part / 10) % 20_001 + 100 * (part % 1_000)
}

fn customer(draw: &mut Draw, key: u64) -> String {
    let nation = draw.below(25);
    let (phone, balance) = (phone(draw, nation), money(draw, -999, 9_999));
    let segment = draw.one(&SEGMENTS);
    format!(
        "({key}, 'Customer#{key:09}', 'road {key}', {nation}, '{phone}', {balance}, '{segment}', 'c')"
    )
}

fn order(draw: &mut Draw, key: u64, orders: &mut Vec<String>, lines: &mut Vec<String>) {
    // A third of the customers has no orders.
    let customer = draw.below(CUSTOMERS / 3) * 3 + draw.between(1, 2).unsigned_abs();
    let day = draw.below(DAYS - 151);
    let mut total = 0;
    let mut states = Vec::new();
    for line in 1..=draw.between(1, 7) {
        let part = draw.below(PARTS) + 1;
        let supplier = supplier_of(part, draw.below(4));
        let quantity = draw.between(1, 50).unsigned_abs();
        let price = quantity * price_of(part);
        total += price;
        let shipped = day + draw.below(121) + 1;
        let committed = day + draw.below(61) + 30;
        let received = shipped + draw.below(30) + 1;
        // The end of the first half: 1995-06-17.
        let returned = match received <= 1_263 {
            true => draw.one(&["R", "A"]),
            false => "N",
        };
        let status = match shipped > 1_263 {
            true => "O",
            false => "F",
        };
        states.push(status);
        let (discount, tax) = (draw.below(11), draw.below(9));
        let (instruction, mode) = (draw.one(&INSTRUCTIONS), draw.one(&MODES));
        lines.push(format!(
            "({key}, {part}, {supplier}, {line}, {quantity}, {}.{:02}, 0.{discount:02}, 0.{tax:02}, '{returned}', '{status}', \
             {}, {}, {}, '{instruction}', '{mode}', 'c')",
            price / 100,
            price % 100,
            date(shipped),
            date(committed),
            date(received)
        ));
    }
    let status = match (states.contains(&"O"), states.contains(&"F")) {
        (true, true) => "P",
        (true, false) => "O",
        _ => "F",
    };
    let comment = match draw.percent(4) {
        true => "very special packages with requests",
        false => "quiet deposits",
    };
    let priority = draw.one(&PRIORITIES);
    orders.push(format!(
        "({key}, {customer}, '{status}', {}.{:02}, {}, '{priority}', 'Clerk#{:09}', 0, '{comment}')",
        total / 100,
        total % 100,
        date(day),
        draw.below(1_000) + 1
    ));
}

/// A day of the years from 1992 on, as a literal.
fn date(mut day: u64) -> String {
    let leap = |year: u64| year.is_multiple_of(4);
    let mut year = 1992;
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    format!("'{year}-{month:02}-{:02}'", day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(date(0), "'1992-01-01'");
        assert_eq!(date(59), "'1992-02-29'");
        assert_eq!(date(1_263), "'1995-06-17'");
        assert_eq!(date(DAYS - 1), "'1998-08-02'");
    }

    #[test]
    fn there_are_22_queries() {
        let queries = queries().unwrap();
        let mut names: Vec<&str> = queries.iter().map(|query| query.family.as_str()).collect();
        names.dedup();
        assert_eq!(names.len(), 22);
    }
}
