//! What must hold between the tables of TPC-C after whatever happened.
//!
//! Owns the conditions as queries for what violates them: the twelve of the specification (3.3.2), and those that tie what a
//! transaction wrote on several shards together: stock to the lines that took from it, customers to their payments.

use super::{CUSTOMERS, DELIVERED};

/// A condition.
#[derive(Debug)]
pub struct Condition {
    /// What holds.
    pub name: &'static str,
    /// The rows for which it does not.
    pub violations: String,
}

/// All of them.
pub fn all() -> Vec<Condition> {
    let of = |(name, violations): (&'static str, String)| Condition { name, violations };
    of_payments()
        .into_iter()
        .chain(of_orders())
        .chain(over_shards())
        .map(of)
        .collect()
}

const OF_DISTRICT: &str = "ON o.x_w = d_w_id AND o.x_d = d_id";
const OF_CUSTOMER: &str = "ON x_w = c_w_id AND x_d = c_d_id AND x_c = c_id";

/// What of the lines of a customer was delivered.
fn delivered() -> String {
    format!(
        "LEFT JOIN (SELECT o_w_id AS x_w, o_d_id AS x_d, o_c_id AS x_c, SUM(ol_amount) AS got FROM orders \
         JOIN order_line ON ol_w_id = o_w_id AND ol_d_id = o_d_id AND ol_o_id = o_id \
         WHERE ol_delivery_d IS NOT NULL GROUP BY o_w_id, o_d_id, o_c_id) AS a {OF_CUSTOMER}"
    )
}

/// What a customer paid at whatever warehouse.
fn paid() -> &'static str {
    "LEFT JOIN (SELECT h_c_w_id, h_c_d_id, h_c_id, SUM(h_amount) AS paid, COUNT(*) AS payments FROM history \
     GROUP BY h_c_w_id, h_c_d_id, h_c_id) AS h ON h_c_w_id = c_w_id AND h_c_d_id = c_d_id AND h_c_id = c_id"
}

/// A sum over the rows of each district, as `x_w`, `x_d` and what it is.
fn per_district(table: &str, prefix: &str, what: &str) -> String {
    format!(
        "(SELECT {prefix}_w_id AS x_w, {prefix}_d_id AS x_d, {what} FROM {table} GROUP BY {prefix}_w_id, {prefix}_d_id)"
    )
}

/// Of the specification: amounts.
fn of_payments() -> Vec<(&'static str, String)> {
    let history = per_district("history", "h", "SUM(h_amount) AS total");
    let (delivered, paid) = (delivered(), paid());
    vec![
        (
            "1: a warehouse has what its districts have",
            "SELECT w_id, w_ytd, total FROM warehouse JOIN (SELECT d_w_id, SUM(d_ytd) AS total FROM district GROUP BY d_w_id) \
             AS d ON d_w_id = w_id WHERE w_ytd <> total"
                .to_owned(),
        ),
        (
            "8: a warehouse has what was paid there",
            "SELECT w_id, w_ytd, total FROM warehouse JOIN (SELECT h_w_id, SUM(h_amount) AS total FROM history GROUP BY h_w_id) \
             AS h ON h_w_id = w_id WHERE w_ytd <> total"
                .to_owned(),
        ),
        (
            "9: a district has what was paid there",
            format!(
                "SELECT d_w_id, d_id, d_ytd, total FROM district JOIN {history} AS o {OF_DISTRICT} WHERE d_ytd <> total"
            ),
        ),
        (
            "10: a balance is what was delivered without what was paid",
            format!(
                "SELECT c_w_id, c_d_id, c_id, c_balance FROM customer {delivered} {paid} \
                 WHERE c_balance <> COALESCE(got, 0) - COALESCE(paid, 0)"
            ),
        ),
        (
            "12: a balance with all payments is what was delivered",
            format!(
                "SELECT c_w_id, c_d_id, c_id FROM customer {delivered} WHERE c_balance + c_ytd_payment <> COALESCE(got, 0)"
            ),
        ),
    ]
}

/// Of the specification: orders and their lines.
fn of_orders() -> Vec<(&'static str, String)> {
    let last = per_district("orders", "o", "MAX(o_id) AS last");
    let counted = per_district(
        "orders",
        "o",
        "SUM(o_ol_cnt) AS counted, COUNT(*) AS orders",
    );
    let lines = per_district("order_line", "ol", "COUNT(*) AS there");
    let open = per_district("new_order", "no", "MAX(no_o_id) AS last, COUNT(*) AS open");
    let deliveries = per_district("customer", "c", "SUM(c_delivery_cnt) AS told");
    vec![
        (
            "2: the last order is the one before a district's next, and the last open one",
            format!(
                "SELECT d_w_id, d_id, d_next_o_id, o.last FROM district JOIN {last} AS o {OF_DISTRICT} \
                 LEFT JOIN {open} AS n ON n.x_w = d_w_id AND n.x_d = d_id \
                 WHERE d_next_o_id - 1 <> o.last OR n.last <> o.last"
            ),
        ),
        (
            "3: open orders have no gaps",
            "SELECT no_w_id, no_d_id FROM new_order GROUP BY no_w_id, no_d_id HAVING MAX(no_o_id) - MIN(no_o_id) + 1 <> COUNT(*)"
                .to_owned(),
        ),
        (
            "4: a district has as many lines as its orders count",
            format!(
                "SELECT d_w_id, d_id, counted, there FROM district JOIN {counted} AS o {OF_DISTRICT} \
                 JOIN {lines} AS l ON l.x_w = d_w_id AND l.x_d = d_id WHERE counted <> there"
            ),
        ),
        (
            "5: orders without a carrier are the open ones",
            "SELECT o_w_id, o_d_id, o_id FROM orders LEFT JOIN new_order ON no_w_id = o_w_id AND no_d_id = o_d_id \
             AND no_o_id = o_id WHERE (o_carrier_id IS NULL) <> (no_o_id IS NOT NULL)"
                .to_owned(),
        ),
        (
            "6: an order has as many lines as it says",
            "SELECT o_w_id, o_d_id, o_id FROM orders LEFT JOIN (SELECT ol_w_id, ol_d_id, ol_o_id, COUNT(*) AS there \
             FROM order_line GROUP BY ol_w_id, ol_d_id, ol_o_id) AS l ON ol_w_id = o_w_id AND ol_d_id = o_d_id AND ol_o_id = o_id \
             WHERE o_ol_cnt <> COALESCE(there, 0)"
                .to_owned(),
        ),
        (
            "7: lines are delivered with their orders",
            "SELECT o_w_id, o_d_id, o_id FROM order_line JOIN orders ON o_w_id = ol_w_id AND o_d_id = ol_d_id AND o_id = ol_o_id \
             WHERE (ol_delivery_d IS NULL) <> (o_carrier_id IS NULL)"
                .to_owned(),
        ),
        (
            "11: what is not open was delivered",
            format!(
                "SELECT o.x_w, o.x_d, orders, open, told FROM {deliveries} AS c JOIN {counted} AS o ON o.x_w = c.x_w AND o.x_d = c.x_d \
                 LEFT JOIN {open} AS n ON n.x_w = o.x_w AND n.x_d = o.x_d \
                 WHERE orders - COALESCE(open, 0) <> told + {DELIVERED}"
            ),
        ),
    ]
}

fn over_shards() -> Vec<(&'static str, String)> {
    let paid = paid();
    let taken = |which: &str| {
        format!(
            "LEFT JOIN (SELECT ol_supply_w_id, ol_i_id, COUNT(*) AS times, SUM(ol_quantity) AS pieces FROM order_line \
             WHERE ol_o_id > {CUSTOMERS} {which} GROUP BY ol_supply_w_id, ol_i_id) AS l ON ol_supply_w_id = s_w_id AND ol_i_id = s_i_id"
        )
    };
    let (taken_all, taken_remote) = (taken(""), taken("AND ol_w_id <> ol_supply_w_id"));
    vec![
        (
            "stock gave what lines took",
            format!(
                "SELECT s_w_id, s_i_id, s_order_cnt, times FROM stock {taken_all} \
                 WHERE s_order_cnt <> COALESCE(times, 0) OR s_ytd <> COALESCE(pieces, 0)"
            ),
        ),
        (
            "stock gave to other warehouses what their lines took",
            format!(
                "SELECT s_w_id, s_i_id, s_remote_cnt, times FROM stock {taken_remote} WHERE s_remote_cnt <> COALESCE(times, 0)"
            ),
        ),
        (
            "a customer's payments are in the histories",
            format!(
                "SELECT c_w_id, c_d_id, c_id FROM customer {paid} \
                 WHERE c_payment_cnt <> COALESCE(payments, 0) OR c_ytd_payment <> COALESCE(paid, 0)"
            ),
        ),
    ]
}
