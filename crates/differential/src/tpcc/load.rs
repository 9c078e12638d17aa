//! The rows that TPC-C begins with.
//!
//! Owns their values: every sum that a condition looks at holds from the start.

use super::{CUSTOMERS, DELIVERED, DISTRICTS, ITEMS, WAREHOUSES, last_name, money, name_of};
use crate::draw::Draw;
use crate::tpch::insert;

/// What every customer has paid, in hundredths.
const PAID: i64 = 1_000;
const LOADED: &str = "'2026-01-01 00:00:00'";

/// INSERT statements from a seed.
pub fn rows(seed: u64) -> Vec<String> {
    let mut draw = Draw::new(seed);
    let mut all = Vec::new();
    let items = (1..=ITEMS).map(|item| {
        let price = money(draw.between(100, 10_000));
        format!(
            "({item}, {}, 'item {item}', {price}, {})",
            draw.below(10_000),
            data(&mut draw)
        )
    });
    insert(&mut all, "item", items.collect());
    for warehouse in 1..=WAREHOUSES {
        warehouse_rows(&mut draw, &mut all, warehouse);
    }
    all
}

fn data(draw: &mut Draw) -> &'static str {
    match draw.percent(10) {
        true => "'an ORIGINAL one'",
        false => "'any other'",
    }
}

fn warehouse_rows(draw: &mut Draw, all: &mut Vec<String>, warehouse: u64) {
    let of_district = i64::try_from(CUSTOMERS).unwrap_or_default() * PAID;
    let of_all = i64::try_from(DISTRICTS).unwrap_or_default() * of_district;
    let mut tax = || format!("0.{:04}", draw.below(2_001));
    let address = "'street', 'city', 'ST', '123411111'";
    let row = format!(
        "({warehouse}, 'w{warehouse}', {address}, {}, {})",
        tax(),
        money(of_all)
    );
    insert(all, "warehouse", vec![row]);
    let district = |district: u64| {
        let next = CUSTOMERS + 1;
        let ytd = money(of_district);
        format!(
            "({warehouse}, {district}, 'd{district}', {address}, {}, {ytd}, {next})",
            tax()
        )
    };
    insert(all, "district", (1..=DISTRICTS).map(district).collect());
    let stock = |item: u64| {
        let infos: Vec<String> = (1..=DISTRICTS)
            .map(|district| format!("'info {district} of {item}'"))
            .collect();
        let (infos, quantity) = (infos.join(", "), draw.between(10, 100));
        format!(
            "({warehouse}, {item}, {quantity}, {infos}, 0, 0, 0, {})",
            data(draw)
        )
    };
    insert(all, "stock", (1..=ITEMS).map(stock).collect());
    for district in 1..=DISTRICTS {
        district_rows(draw, all, &format!("{warehouse}, {district}"));
    }
}

/// Customers with a payment and an order each; `place` is the warehouse and the district.
fn district_rows(draw: &mut Draw, all: &mut Vec<String>, place: &str) {
    let (mut customers, mut payments) = (Vec::new(), Vec::new());
    let (mut orders, mut open, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    let paid = money(PAID);
    // Orders are of customers in another order than theirs.
    let step = [7, 11, 13, 17][draw.place(4)]; // tidy-allow: below four
    for customer in 1..=CUSTOMERS {
        let last = last_name(name_of(customer));
        let credit = if draw.percent(10) { "BC" } else { "GC" };
        let discount = draw.below(5_001);
        customers.push(format!(
            "({place}, {customer}, 'first {customer}', 'OE', '{last}', '0123456789012345', {LOADED}, '{credit}', 50000.00, \
             0.{discount:04}, -{paid}, {paid}, 1, 0, 'data')"
        ));
        let (warehouse, of) = place.split_once(", ").unwrap_or((place, "0"));
        payments.push(format!(
            "({customer}, {of}, {warehouse}, {of}, {warehouse}, {LOADED}, {paid}, 'loaded')"
        ));
    }
    for order in 1..=CUSTOMERS {
        let customer = order * step % CUSTOMERS + 1;
        let count = draw.between(5, 15);
        let (carrier, delivered) = match order <= DELIVERED {
            true => (draw.between(1, 10).to_string(), LOADED),
            false => ("NULL".to_owned(), "NULL"),
        };
        orders.push(format!(
            "({place}, {order}, {customer}, {LOADED}, {carrier}, {count}, 1)"
        ));
        if order > DELIVERED {
            open.push(format!("({place}, {order})"));
        }
        let warehouse = place
            .split_once(',')
            .map_or(place, |(warehouse, _)| warehouse);
        for line in 1..=count {
            let amount = match order <= DELIVERED {
                true => 0,
                false => draw.between(1, 999_999),
            };
            let (item, amount) = (draw.below(ITEMS) + 1, money(amount));
            lines.push(format!(
                "({place}, {order}, {line}, {item}, {warehouse}, {delivered}, 5, {amount}, 'info')"
            ));
        }
    }
    insert(all, "customer", customers);
    insert(all, "history", payments);
    insert(all, "orders", orders);
    insert(all, "new_order", open);
    insert(all, "order_line", lines);
}
