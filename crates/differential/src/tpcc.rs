//! TPC-C at a small scale: its nine tables by warehouse, its five transactions, and its conditions of consistency.
//!
//! Owns the tables and how large they are. Everything follows the warehouse but the items, which are copied; so payments of
//! remote customers and orders with remote stock write on several shards. They are drawn more often than the specification
//! says, and there is no thinking time: it is a test of atomicity, and no figure made with it is a TPC-C result.

mod conditions;
mod load;
mod run;
mod terminal;

pub use run::{Endurance, Outcome, check, compare, endure};

use crate::schema::{Placed, Set, Table};

/// One on each shard.
const WAREHOUSES: u64 = 8;
const DISTRICTS: u64 = 10;
/// Of a district; as many orders are loaded.
const CUSTOMERS: u64 = 30;
const ITEMS: u64 = 300;
/// Orders of a district that are delivered already.
const DELIVERED: u64 = 21;

/// Its tables.
pub const TPCC: Set = Set {
    tables: &TABLES,
    bound: "warehouse, district, customer, history, new_order, orders, order_line, stock",
    across: "atomic",
    rows: load::rows,
};

const fn by(column: &'static str, expression: &'static str) -> Placed {
    Placed::Sharded {
        column,
        algorithm: "number",
        expression,
    }
}

const TABLES: [Table; 9] = [
    Table {
        name: "warehouse",
        placed: by("w_id", "MOD(w_id, 8)"),
        definition: "w_id INT NOT NULL PRIMARY KEY, w_name VARCHAR(10), w_street VARCHAR(20), w_city VARCHAR(20), w_state CHAR(2), \
            w_zip CHAR(9), w_tax DECIMAL(4,4) NOT NULL, w_ytd DECIMAL(12,2) NOT NULL",
    },
    Table {
        name: "district",
        placed: by("d_w_id", "MOD(d_w_id, 8)"),
        definition: "d_w_id INT NOT NULL, d_id TINYINT NOT NULL, d_name VARCHAR(10), d_street VARCHAR(20), d_city VARCHAR(20), \
            d_state CHAR(2), d_zip CHAR(9), d_tax DECIMAL(4,4) NOT NULL, d_ytd DECIMAL(12,2) NOT NULL, d_next_o_id INT NOT NULL, \
            PRIMARY KEY (d_w_id, d_id)",
    },
    Table {
        name: "customer",
        placed: by("c_w_id", "MOD(c_w_id, 8)"),
        definition: "c_w_id INT NOT NULL, c_d_id TINYINT NOT NULL, c_id INT NOT NULL, c_first VARCHAR(16), c_middle CHAR(2), \
            c_last VARCHAR(16), c_phone CHAR(16), c_since DATETIME, c_credit CHAR(2), c_credit_lim DECIMAL(12,2), \
            c_discount DECIMAL(4,4), c_balance DECIMAL(12,2) NOT NULL, c_ytd_payment DECIMAL(12,2) NOT NULL, \
            c_payment_cnt SMALLINT NOT NULL, c_delivery_cnt SMALLINT NOT NULL, c_data VARCHAR(500), \
            PRIMARY KEY (c_w_id, c_d_id, c_id), KEY (c_w_id, c_d_id, c_last, c_first)",
    },
    Table {
        name: "history",
        placed: by("h_w_id", "MOD(h_w_id, 8)"),
        definition: "h_c_id INT NOT NULL, h_c_d_id TINYINT NOT NULL, h_c_w_id INT NOT NULL, h_d_id TINYINT NOT NULL, \
            h_w_id INT NOT NULL, h_date DATETIME, h_amount DECIMAL(6,2) NOT NULL, h_data VARCHAR(24)",
    },
    Table {
        name: "new_order",
        placed: by("no_w_id", "MOD(no_w_id, 8)"),
        definition: "no_w_id INT NOT NULL, no_d_id TINYINT NOT NULL, no_o_id INT NOT NULL, PRIMARY KEY (no_w_id, no_d_id, no_o_id)",
    },
    Table {
        name: "orders",
        placed: by("o_w_id", "MOD(o_w_id, 8)"),
        definition: "o_w_id INT NOT NULL, o_d_id TINYINT NOT NULL, o_id INT NOT NULL, o_c_id INT NOT NULL, o_entry_d DATETIME, \
            o_carrier_id TINYINT, o_ol_cnt TINYINT NOT NULL, o_all_local TINYINT NOT NULL, PRIMARY KEY (o_w_id, o_d_id, o_id), \
            KEY (o_w_id, o_d_id, o_c_id, o_id)",
    },
    Table {
        name: "order_line",
        placed: by("ol_w_id", "MOD(ol_w_id, 8)"),
        definition: "ol_w_id INT NOT NULL, ol_d_id TINYINT NOT NULL, ol_o_id INT NOT NULL, ol_number TINYINT NOT NULL, \
            ol_i_id INT NOT NULL, ol_supply_w_id INT NOT NULL, ol_delivery_d DATETIME, ol_quantity TINYINT NOT NULL, \
            ol_amount DECIMAL(6,2) NOT NULL, ol_dist_info CHAR(24), PRIMARY KEY (ol_w_id, ol_d_id, ol_o_id, ol_number)",
    },
    Table {
        name: "stock",
        placed: by("s_w_id", "MOD(s_w_id, 8)"),
        definition: "s_w_id INT NOT NULL, s_i_id INT NOT NULL, s_quantity SMALLINT NOT NULL, s_dist_01 CHAR(24), \
            s_dist_02 CHAR(24), s_dist_03 CHAR(24), s_dist_04 CHAR(24), s_dist_05 CHAR(24), s_dist_06 CHAR(24), s_dist_07 CHAR(24), \
            s_dist_08 CHAR(24), s_dist_09 CHAR(24), s_dist_10 CHAR(24), s_ytd INT NOT NULL, s_order_cnt SMALLINT NOT NULL, \
            s_remote_cnt SMALLINT NOT NULL, s_data VARCHAR(50), PRIMARY KEY (s_w_id, s_i_id)",
    },
    Table {
        name: "item",
        placed: Placed::Broadcast,
        definition: "i_id INT NOT NULL PRIMARY KEY, i_im_id INT, i_name VARCHAR(24), i_price DECIMAL(5,2), i_data VARCHAR(50)",
    },
];

/// An amount of hundredths.
fn money(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100)
}

/// The last name of a number, as the specification builds it.
fn last_name(number: u64) -> String {
    const SYLLABLES: [&str; 10] = [
        "BAR", "OUGHT", "ABLE", "PRI", "PRES", "ESE", "ANTI", "CALLY", "ATION", "EING",
    ];
    let of = |digit: u64| SYLLABLES[(digit % 10) as usize]; // tidy-allow: below ten
    [of(number / 100), of(number / 10), of(number)].concat()
}

/// How many customers of a district have the same last name.
const NAMESAKES: u64 = 3;

/// The number of a customer's last name.
fn name_of(customer: u64) -> u64 {
    customer % (CUSTOMERS / NAMESAKES)
}
