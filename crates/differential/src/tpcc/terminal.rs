//! The five transactions of TPC-C, as one client runs them.
//!
//! Owns what is drawn and which statements are sent. The same seed draws the same transactions with the same values, times
//! included, so that two databases can be compared after them. A transaction tells all that it read.

use mysql_async::Value;
use tokio::runtime::Runtime;

use super::{CUSTOMERS, DISTRICTS, ITEMS, NAMESAKES, WAREHOUSES, last_name, money};
use crate::answer::{Client, Outcome, Place};
use crate::draw::Draw;
use crate::statement::{Form, Statement};
use crate::{Result, failed};

/// Lines that another warehouse supplies, and payments by customers of one, in a hundred.
const REMOTE_LINES: u64 = 5;
const REMOTE_PAYMENTS: u64 = 30;
/// Orders in a hundred whose last item does not exist.
const WITHDRAWN: u64 = 2;
/// No server's error: there are none or several rows where one must be.
pub const WRONG_ROWS: u16 = 0;
/// Times are drawn: the clock of a server would make two databases differ.
const DAYS: i64 = 28;

/// One of the five.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    NewOrder,
    Payment,
    OrderStatus,
    Delivery,
    StockLevel,
}

/// What came of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// OK to COMMIT.
    Committed,
    /// As drawn.
    Withdrawn,
    /// A server's or the mesh's error, and it was rolled back.
    Failed(u16, String),
    /// The connection broke.
    Lost(String),
}

/// A customer, as the transactions look for one.
#[derive(Debug)]
enum Who {
    Number(u64),
    Name(String),
}

/// A client.
#[derive(Debug)]
pub struct Terminal {
    runtime: Runtime,
    client: Client,
    form: Form,
    draw: Draw,
    /// All rows that the transaction read.
    pub read: String,
}

/// Why a transaction stops.
#[derive(Debug)]
enum Stop {
    Withdrawn,
    Error(u16, String),
    Lost(String),
}

type Step<T> = std::result::Result<T, Stop>;
type Rows = Vec<Vec<Value>>;

impl Terminal {
    /// A client of a place.
    pub fn new(place: Place, form: Form, seed: u64) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed("start a runtime"))?;
        Ok(Self {
            runtime,
            client: Client::new(place),
            form,
            draw: Draw::new(seed),
            read: String::new(),
        })
    }

    /// Draws a transaction and runs it.
    pub fn next(&mut self) -> (Kind, End) {
        self.read.clear();
        let kind = match self.draw.below(100) {
            0..45 => Kind::NewOrder,
            45..88 => Kind::Payment,
            88..92 => Kind::OrderStatus,
            92..96 => Kind::Delivery,
            _ => Kind::StockLevel,
        };
        let run = match kind {
            Kind::NewOrder => Self::new_order,
            Kind::Payment => Self::payment,
            Kind::OrderStatus => Self::order_status,
            Kind::Delivery => Self::delivery,
            Kind::StockLevel => Self::stock_level,
        };
        // Drawn apart, so that a transaction that fails half-way leaves the ones after it as they are.
        let following = Draw::new(self.draw.number());
        let ended = self
            .say("BEGIN")
            .and_then(|_| run(self))
            .and_then(|()| self.say("COMMIT"));
        self.draw = following;
        let end = match ended {
            Ok(_) => End::Committed,
            Err(Stop::Lost(why)) => End::Lost(why),
            Err(stop) => match (stop, self.say("ROLLBACK")) {
                (_, Err(Stop::Lost(why))) => End::Lost(why),
                (Stop::Error(code, message), _) => End::Failed(code, message),
                _ => End::Withdrawn,
            },
        };
        (kind, end)
    }

    /// A statement, in which `{=5}` marks a value.
    fn say(&mut self, marked: &str) -> Step<Rows> {
        // Statements of transactions are not prepared by all servers.
        let form = match marked.contains("{=") {
            true => self.form,
            false => Form::Text,
        };
        let statement = Statement {
            family: String::new(),
            marked: marked.to_owned(),
            form,
            changes: false,
        };
        let answer = self.runtime.block_on(self.client.ask(&statement));
        match answer.outcome {
            Outcome::Rows { rows, .. } => {
                for row in &rows {
                    let cells: Vec<String> = row.iter().map(|cell| cell.as_sql(true)).collect();
                    self.read.push_str(&cells.join(" | "));
                    self.read.push('\n');
                }
                Ok(rows)
            }
            Outcome::Done { .. } => Ok(Vec::new()),
            Outcome::Error { code, message, .. } => {
                Err(Stop::Error(code, format!("{message} ({marked})")))
            }
            Outcome::Lost(why) => Err(Stop::Lost(why)),
        }
    }

    /// The only row.
    fn row(&mut self, marked: &str) -> Step<Vec<Value>> {
        let mut rows = self.say(marked)?;
        match (rows.pop(), rows.len()) {
            (Some(row), 0) => Ok(row),
            (found, more) => {
                let found = more + usize::from(found.is_some());
                Err(Stop::Error(WRONG_ROWS, format!("{found} rows: {marked}")))
            }
        }
    }

    /// The only value, a number.
    fn number(&mut self, marked: &str) -> Step<i64> {
        let row = self.row(marked)?;
        Ok(row.first().map_or(0, whole))
    }

    fn warehouse(&mut self) -> u64 {
        self.draw.below(WAREHOUSES) + 1
    }

    /// Another warehouse than this one.
    fn other(&mut self, warehouse: u64) -> u64 {
        (warehouse + self.draw.below(WAREHOUSES - 1)) % WAREHOUSES + 1
    }

    fn district(&mut self) -> u64 {
        self.draw.below(DISTRICTS) + 1
    }

    fn time(&mut self) -> String {
        let (day, hour) = (self.draw.between(1, DAYS), self.draw.below(24));
        format!("{{='2026-02-{day:02} {hour:02}:00:00'}}")
    }

    fn who(&mut self) -> Who {
        match self.draw.percent(60) {
            true => Who::Name(last_name(self.draw.below(CUSTOMERS / NAMESAKES))),
            false => Who::Number(self.draw.below(CUSTOMERS) + 1),
        }
    }

    /// The number of a customer: of several with a name, the one in the middle.
    fn find(&mut self, warehouse: u64, district: u64, who: &Who) -> Step<u64> {
        let name = match who {
            Who::Number(number) => return Ok(*number),
            Who::Name(name) => name,
        };
        let rows = self.say(&format!(
            "SELECT c_id FROM customer WHERE c_w_id = {{={warehouse}}} AND c_d_id = {{={district}}} AND c_last = {{='{name}'}} \
             ORDER BY c_first"
        ))?;
        let middle = rows.get(rows.len().saturating_sub(1) / 2);
        let number = middle.and_then(|row| row.first()).map_or(0, whole);
        Ok(number.unsigned_abs())
    }

    fn new_order(&mut self) -> Step<()> {
        let (w, d) = (self.warehouse(), self.district());
        let c = self.draw.below(CUSTOMERS) + 1;
        let at = self.time();
        let mut lines: Vec<(u64, u64, i64)> = Vec::new();
        for _ in 0..self.draw.between(5, 15) {
            let supply = match self.draw.percent(REMOTE_LINES) {
                true => self.other(w),
                false => w,
            };
            lines.push((supply, self.draw.below(ITEMS) + 1, self.draw.between(1, 10)));
        }
        // Locks are taken in one order, so that orders do not wait for each other in a ring.
        lines.sort_unstable();
        if self.draw.percent(WITHDRAWN)
            && let Some(last) = lines.last_mut()
        {
            last.1 = ITEMS + 1;
        }
        self.row(&format!(
            "SELECT c_discount, c_last, c_credit, w_tax FROM customer JOIN warehouse ON w_id = c_w_id \
             WHERE w_id = {{={w}}} AND c_d_id = {{={d}}} AND c_id = {{={c}}}"
        ))?;
        let district = format!("d_w_id = {{={w}}} AND d_id = {{={d}}}");
        let order = self.number(&format!(
            "SELECT d_next_o_id, d_tax FROM district WHERE {district} FOR UPDATE"
        ))?;
        self.say(&format!(
            "UPDATE district SET d_next_o_id = d_next_o_id + 1 WHERE {district}"
        ))?;
        let local = i32::from(lines.iter().all(|(supply, ..)| *supply == w));
        let count = lines.len();
        self.say(&format!(
            "INSERT INTO orders (o_w_id, o_d_id, o_id, o_c_id, o_entry_d, o_carrier_id, o_ol_cnt, o_all_local) \
             VALUES ({{={w}}}, {{={d}}}, {{={order}}}, {{={c}}}, {at}, NULL, {{={count}}}, {{={local}}})"
        ))?;
        self.say(&format!(
            "INSERT INTO new_order (no_w_id, no_d_id, no_o_id) VALUES ({{={w}}}, {{={d}}}, {{={order}}})"
        ))?;
        for (line, (supply, item, quantity)) in (1..).zip(lines) {
            let rows = self.say(&format!(
                "SELECT i_price, i_name, i_data FROM item WHERE i_id = {{={item}}}"
            ))?;
            let price = rows.first().and_then(|row| row.first()).map(cents);
            let price = price.ok_or(Stop::Withdrawn)?;
            let info = self.take_stock(w, d, (supply, item, quantity))?;
            let amount = money(price * quantity);
            self.say(&format!(
                "INSERT INTO order_line (ol_w_id, ol_d_id, ol_o_id, ol_number, ol_i_id, ol_supply_w_id, ol_quantity, ol_amount, \
                 ol_dist_info) VALUES ({{={w}}}, {{={d}}}, {{={order}}}, {{={line}}}, {{={item}}}, {{={supply}}}, {{={quantity}}}, \
                 {{={amount}}}, {{='{info}'}})"
            ))?;
        }
        Ok(())
    }

    /// Takes a line's pieces out of the stock; what the stock says of the district.
    fn take_stock(&mut self, w: u64, d: u64, line: (u64, u64, i64)) -> Step<String> {
        let (supply, item, quantity) = line;
        let stock = format!("s_w_id = {{={supply}}} AND s_i_id = {{={item}}}");
        let row = self.row(&format!(
            "SELECT s_quantity, s_dist_{d:02}, s_data FROM stock WHERE {stock} FOR UPDATE"
        ))?;
        let left = row.first().map_or(0, whole) - quantity;
        let left = if left < 10 { left + 91 } else { left };
        let remote = i32::from(supply != w);
        self.say(&format!(
            "UPDATE stock SET s_quantity = {{={left}}}, s_ytd = s_ytd + {{={quantity}}}, s_order_cnt = s_order_cnt + 1, \
             s_remote_cnt = s_remote_cnt + {{={remote}}} WHERE {stock}"
        ))?;
        Ok(row.get(1).map(text).unwrap_or_default())
    }

    fn payment(&mut self) -> Step<()> {
        let (w, d) = (self.warehouse(), self.district());
        let (cw, cd) = match self.draw.percent(REMOTE_PAYMENTS) {
            true => (self.other(w), self.district()),
            false => (w, d),
        };
        let (who, at) = (self.who(), self.time());
        let amount = money(self.draw.between(100, 500_000));
        self.say(&format!(
            "UPDATE warehouse SET w_ytd = w_ytd + {{={amount}}} WHERE w_id = {{={w}}}"
        ))?;
        self.row(&format!(
            "SELECT w_name, w_street, w_city, w_state, w_zip FROM warehouse WHERE w_id = {{={w}}}"
        ))?;
        let district = format!("d_w_id = {{={w}}} AND d_id = {{={d}}}");
        self.say(&format!(
            "UPDATE district SET d_ytd = d_ytd + {{={amount}}} WHERE {district}"
        ))?;
        self.row(&format!(
            "SELECT d_name, d_street, d_city, d_state, d_zip FROM district WHERE {district}"
        ))?;
        let c = self.find(cw, cd, &who)?;
        let customer = format!("c_w_id = {{={cw}}} AND c_d_id = {{={cd}}} AND c_id = {{={c}}}");
        let row = self.row(&format!(
            "SELECT c_credit, c_first, c_last, c_balance, c_since FROM customer WHERE {customer} FOR UPDATE"
        ))?;
        let bad = match row.first().map(text).as_deref() {
            Some("BC") => format!(
                ", c_data = LEFT(CONCAT({{='{c} {cd} {cw} {d} {w} {amount} | '}}, c_data), 500)"
            ),
            _ => String::new(),
        };
        self.say(&format!(
            "UPDATE customer SET c_balance = c_balance - {{={amount}}}, c_ytd_payment = c_ytd_payment + {{={amount}}}, \
             c_payment_cnt = c_payment_cnt + 1{bad} WHERE {customer}"
        ))?;
        self.say(&format!(
            "INSERT INTO history (h_c_id, h_c_d_id, h_c_w_id, h_d_id, h_w_id, h_date, h_amount, h_data) VALUES ({{={c}}}, \
             {{={cd}}}, {{={cw}}}, {{={d}}}, {{={w}}}, {at}, {{={amount}}}, 'paid')"
        ))?;
        Ok(())
    }

    fn order_status(&mut self) -> Step<()> {
        let (w, d, who) = (self.warehouse(), self.district(), self.who());
        let c = self.find(w, d, &who)?;
        self.row(&format!(
            "SELECT c_balance, c_first, c_middle, c_last FROM customer WHERE c_w_id = {{={w}}} AND c_d_id = {{={d}}} AND \
             c_id = {{={c}}}"
        ))?;
        let order = self.number(&format!(
            "SELECT o_id, o_entry_d, o_carrier_id FROM orders WHERE o_w_id = {{={w}}} AND o_d_id = {{={d}}} AND o_c_id = {{={c}}} \
             ORDER BY o_id DESC LIMIT 1"
        ))?;
        self.say(&format!(
            "SELECT ol_i_id, ol_supply_w_id, ol_quantity, ol_amount, ol_delivery_d FROM order_line WHERE ol_w_id = {{={w}}} AND \
             ol_d_id = {{={d}}} AND ol_o_id = {{={order}}} ORDER BY ol_number"
        ))?;
        Ok(())
    }

    fn delivery(&mut self) -> Step<()> {
        let w = self.warehouse();
        let (carrier, at) = (self.draw.between(1, 10), self.time());
        for d in 1..=DISTRICTS {
            let open = self.say(&format!(
                "SELECT no_o_id FROM new_order WHERE no_w_id = {{={w}}} AND no_d_id = {{={d}}} ORDER BY no_o_id LIMIT 1 FOR UPDATE"
            ))?;
            let Some(order) = open.first().and_then(|row| row.first()).map(whole) else {
                continue;
            };
            self.say(&format!(
                "DELETE FROM new_order WHERE no_w_id = {{={w}}} AND no_d_id = {{={d}}} AND no_o_id = {{={order}}}"
            ))?;
            let of_order =
                format!("o_w_id = {{={w}}} AND o_d_id = {{={d}}} AND o_id = {{={order}}}");
            let of_line =
                format!("ol_w_id = {{={w}}} AND ol_d_id = {{={d}}} AND ol_o_id = {{={order}}}");
            // As the open order was: the transaction's snapshot may be older than the order.
            let c = self.number(&format!(
                "SELECT o_c_id FROM orders WHERE {of_order} FOR UPDATE"
            ))?;
            self.say(&format!(
                "UPDATE orders SET o_carrier_id = {{={carrier}}} WHERE {of_order}"
            ))?;
            self.say(&format!(
                "UPDATE order_line SET ol_delivery_d = {at} WHERE {of_line}"
            ))?;
            let total = self.row(&format!(
                "SELECT SUM(ol_amount) FROM order_line WHERE {of_line}"
            ))?;
            let total = money(total.first().map_or(0, cents));
            self.say(&format!(
                "UPDATE customer SET c_balance = c_balance + {{={total}}}, c_delivery_cnt = c_delivery_cnt + 1 \
                 WHERE c_w_id = {{={w}}} AND c_d_id = {{={d}}} AND c_id = {{={c}}}"
            ))?;
        }
        Ok(())
    }

    fn stock_level(&mut self) -> Step<()> {
        let (w, d) = (self.warehouse(), self.district());
        let threshold = self.draw.between(10, 20);
        let next = self.number(&format!(
            "SELECT d_next_o_id FROM district WHERE d_w_id = {{={w}}} AND d_id = {{={d}}}"
        ))?;
        let first = next - 20;
        self.row(&format!(
            "SELECT COUNT(DISTINCT s_i_id) FROM order_line JOIN stock ON s_w_id = ol_w_id AND s_i_id = ol_i_id \
             WHERE ol_w_id = {{={w}}} AND ol_d_id = {{={d}}} AND ol_o_id < {{={next}}} AND ol_o_id >= {{={first}}} \
             AND s_quantity < {{={threshold}}}"
        ))?;
        Ok(())
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => other.as_sql(true),
    }
}

fn whole(value: &Value) -> i64 {
    text(value).parse().unwrap_or_default()
}

/// A DECIMAL with two digits after the point, in hundredths.
fn cents(value: &Value) -> i64 {
    text(value).replace('.', "").parse().unwrap_or_default()
}
