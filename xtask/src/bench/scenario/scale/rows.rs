//! Many rows through the proxy: in an order that the shards have, in one that only the proxy can make, and in groups. What
//! the proxy's memory grows by is the kernel's count of the most that was resident, in a process of its own for every
//! statement. Rows are counted, and their order is looked at as they come.

use std::time::Instant;

use dbmesh_testkit::Server;
use dbmesh_wire::codec::Reader;
use serde_json::{Value, json};

use super::super::{Outcome, mib};
use super::{Mesh, NODES, Nodes, ms};
use crate::bench::Options;
use crate::bench::client::Client;
use crate::bench::process::{cpu_us, forget_peak, peak_rss_bytes, rss_bytes};
use crate::bench::rig::{SCHEMA, step};
use crate::bench::scenario::cluster::text;

const SHARDS: u64 = 8;
/// Rows that one statement makes, per shard.
const ROWS_A_TEXT: u64 = 500_000;
/// Groups of `g`, if there are as many rows.
const GROUPS: u64 = 1_000_000;
/// Servers that hold the rows, and sort and group in memory what they can.
const SERVER: [&str; 5] = [
    "--innodb-buffer-pool-size=512M",
    "--sort-buffer-size=16M",
    "--tmp-table-size=256M",
    "--max-heap-table-size=256M",
    "--net-write-timeout=600",
];

/// What the first column of the answer tells of the order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Nothing.
    Any,
    /// Numbers that never become less.
    Numbers,
    /// Texts of digits and small letters that never become less.
    Texts,
    /// Numbers that never become greater.
    Falling,
}

/// What is asked.
struct Question {
    name: &'static str,
    sql: &'static str,
    rows: fn(u64) -> u64,
    order: Order,
}

fn all(rows: u64) -> u64 {
    rows
}

fn groups(rows: u64) -> u64 {
    (rows / SHARDS).min(GROUPS)
}

/// The shards are told by `u`, so that no shard has whole groups of anything else, not even of `id`.
const QUESTIONS: [Question; 10] = [
    Question {
        name: "in order: integer",
        sql: "SELECT k, id FROM big ORDER BY k, id",
        rows: all,
        order: Order::Numbers,
    },
    Question {
        name: "in order: text of 32",
        sql: "SELECT t, id FROM big ORDER BY t",
        rows: all,
        order: Order::Texts,
    },
    Question {
        name: "in order: text of 192",
        sql: "SELECT l, id FROM big ORDER BY l",
        rows: all,
        order: Order::Texts,
    },
    Question {
        name: "sorted by the proxy: integer",
        sql: "SELECT SUM(k) s, id FROM big GROUP BY id ORDER BY s, id",
        rows: all,
        order: Order::Numbers,
    },
    Question {
        name: "sorted by the proxy: text of 32",
        sql: "SELECT MAX(t) m, id FROM big GROUP BY id ORDER BY m",
        rows: all,
        order: Order::Texts,
    },
    Question {
        name: "sorted by the proxy: text of 192",
        sql: "SELECT MAX(l) m, id FROM big GROUP BY id ORDER BY m",
        rows: all,
        order: Order::Texts,
    },
    Question {
        name: "a million groups",
        sql: "SELECT g, COUNT(*), SUM(k) FROM big GROUP BY g",
        rows: groups,
        order: Order::Any,
    },
    Question {
        name: "a million groups, the largest first",
        sql: "SELECT COUNT(*) c, g, SUM(k) FROM big GROUP BY g ORDER BY c DESC, g",
        rows: groups,
        order: Order::Falling,
    },
    Question {
        name: "different texts counted in a million groups",
        sql: "SELECT COUNT(DISTINCT t) c, g FROM big GROUP BY g ORDER BY c DESC, g",
        rows: groups,
        order: Order::Falling,
    },
    Question {
        name: "different texts counted",
        sql: "SELECT COUNT(DISTINCT t) FROM big",
        rows: |_| 1,
        order: Order::Any,
    },
];

/// What came of a question.
struct Answered {
    name: &'static str,
    rows: u64,
    seconds: f64,
    proxy_cpu_us: u64,
    extra_rss_bytes: u64,
    spilled_bytes: f64,
}

impl Answered {
    fn line(&self, input: u64) -> String {
        format!(
            "| {} | {} | {:.1} | {:.2} | {:.1} | {:.0} |\n",
            self.name,
            self.rows,
            self.seconds,
            self.proxy_cpu_us as f64 / input as f64,
            mib(self.extra_rss_bytes),
            self.spilled_bytes / f64::from(1 << 20),
        )
    }

    fn json(&self) -> Value {
        json!({
            "question": self.name, "rows": self.rows, "seconds": self.seconds, "proxy_cpu_us": self.proxy_cpu_us,
            "extra_rss_bytes": self.extra_rss_bytes, "spilled_bytes": self.spilled_bytes,
        })
    }
}

pub fn run(options: &Options) -> Result<Outcome, String> {
    let rows = options.scale_rows.next_multiple_of(SHARDS);
    step(&format!("rows: making {rows} on two servers"));
    let nodes = Nodes::start(options.server.into(), &SERVER)?;
    nodes.each(|node, server| load(node, server, rows))?;
    let mut table = String::from(
        "| statement over eight shards | rows | s | proxy CPU µs per row of the table | proxy's extra RSS, MiB (peak) | spilled, MiB |\n|---|---|---|---|---|---|\n",
    );
    let mut answers = Vec::new();
    for question in &QUESTIONS {
        step(&format!("rows: {}", question.name));
        let answered = ask(&nodes, options, question, rows)
            .map_err(|error| format!("{}: {error}", question.name))?;
        let line = answered.line(rows);
        step(line.trim_end());
        table += &line;
        answers.push(answered.json());
    }
    Ok(Outcome {
        server: nodes.version(),
        table,
        json: json!({ "rows": rows, "questions": answers }),
    })
}

/// Every row is made of its number: `k` and `g` are spread over their ranges, texts are of a hash.
fn load(node: usize, server: &Server, rows: u64) -> Result<(), String> {
    let session = server.session().map_err(text)?;
    let each = SHARDS / NODES as u64;
    session
        .execute(&format!(
            "USE {SCHEMA}; CREATE TABLE digits (d INT NOT NULL PRIMARY KEY); INSERT INTO digits VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)"
        ))
        .map_err(text)?;
    let numbers: Vec<String> = (0..6)
        .map(|place| format!("d{place}.d * {}", 10_u64.pow(place)))
        .collect();
    let tables: Vec<String> = (0..6).map(|place| format!("digits d{place}")).collect();
    let (numbers, tables) = (numbers.join(" + "), tables.join(", "));
    for shard in node as u64 * each..(node as u64 + 1) * each {
        session
            .execute(&format!(
                "CREATE TABLE big_{shard} (id BIGINT NOT NULL PRIMARY KEY, u BIGINT NOT NULL, k BIGINT NOT NULL, \
                 g INT NOT NULL, t VARCHAR(40) NOT NULL, l VARCHAR(200) NOT NULL) DEFAULT CHARSET utf8mb4"
            ))
            .map_err(text)?;
        let wanted = rows / SHARDS;
        let mut from = 0;
        while from < wanted {
            let to = wanted.min(from + ROWS_A_TEXT);
            session
                .execute(&format!(
                    "INSERT INTO big_{shard} SELECT id, id, id * 2654435761 % 4294967291, id DIV {SHARDS} * 40503 % {GROUPS}, \
                     LEFT(SHA2(id, 256), 32), REPEAT(LEFT(SHA2(id, 256), 32), 6) FROM (SELECT (n + {from}) * {SHARDS} + {shard} AS id FROM \
                     (SELECT {numbers} AS n FROM {tables}) numbers WHERE n < {}) ids",
                    to - from
                ))
                .map_err(text)?;
            from = to;
        }
        session
            .execute(&format!("ANALYZE TABLE big_{shard}"))
            .map_err(text)?;
    }
    Ok(())
}

fn ask(
    nodes: &Nodes,
    options: &Options,
    question: &Question,
    rows: u64,
) -> Result<Answered, String> {
    let mesh = Mesh::start(nodes, options, &sharding())?;
    let pid = mesh.daemon.pid();
    let mut client = Client::connect(mesh.port.number())?;
    // Connections, columns of tables and plans are there before.
    client.query("SELECT COUNT(*) FROM big WHERE id < 0")?;
    client.query("SELECT k FROM big WHERE id < 8 ORDER BY k")?;
    forget_peak(pid)?;
    let (before, cpu) = (
        rss_bytes(pid).unwrap_or_default(),
        cpu_us(pid).unwrap_or_default(),
    );
    let began = Instant::now();
    let mut last = Last::default();
    let answer = client.each(question.sql, |row| last.follow(question.order, row))?;
    let seconds = ms(began) / 1_000.0;
    let wanted = (question.rows)(rows);
    if answer.rows != wanted {
        return Err(format!("{} rows came of {wanted}", answer.rows));
    }
    Ok(Answered {
        name: question.name,
        rows: answer.rows,
        seconds,
        proxy_cpu_us: cpu_us(pid).unwrap_or_default().saturating_sub(cpu),
        extra_rss_bytes: peak_rss_bytes(pid)
            .unwrap_or_default()
            .saturating_sub(before),
        spilled_bytes: mesh.metric("dbmesh_merge_spilled_bytes_total", "")?,
    })
}

/// The first column of the last row.
#[derive(Default)]
struct Last {
    text: Vec<u8>,
    number: Option<i128>,
}

impl Last {
    fn follow(&mut self, order: Order, row: &[u8]) -> Result<(), String> {
        let first = Reader::new(row).lenenc_bytes().map_err(text)?;
        let holds = match order {
            Order::Any => true,
            Order::Texts => {
                let holds = self.text.as_slice() <= first;
                self.text.clear();
                self.text.extend_from_slice(first);
                holds
            }
            Order::Numbers | Order::Falling => {
                let number: i128 = std::str::from_utf8(first)
                    .map_err(text)?
                    .parse()
                    .map_err(text)?;
                let before = self.number.replace(number);
                before.is_none_or(|before| match order {
                    Order::Numbers => before <= number,
                    _ => before >= number,
                })
            }
        };
        match holds {
            true => Ok(()),
            false => Err(format!(
                "a row begins with {} and comes too late",
                String::from_utf8_lossy(first)
            )),
        }
    }
}

pub fn sharding() -> String {
    let half = SHARDS / NODES as u64;
    format!(
        "  algorithms: {{eight: {{type: MOD, props: {{sharding-count: {SHARDS}}}}}}}\n  execution: {{spillBytes: 17179869184}}\n  \
         rules:\n  - tableName: big\n    tableStrategy: {{tableShardingAlgorithmName: eight, tableShardingColumn: u}}\n    \
         actualDatanodes: {{valueSource: {{expression: \"ds_0.big_{{0..{}}}, ds_1.big_{{{half}..{}}}\"}}}}\n",
        half - 1,
        SHARDS - 1,
    )
}

#[cfg(test)]
mod tests {
    use super::{Last, Order};

    #[test]
    fn rows_out_of_order_are_seen() {
        let rows: [&[u8]; 3] = [b"\x019", b"\x0210", b"\x0210"];
        let follow = |order, rows: &[&[u8]]| {
            let mut last = Last::default();
            rows.iter().try_for_each(|row| last.follow(order, row))
        };
        assert!(follow(Order::Numbers, &rows).is_ok());
        assert!(follow(Order::Texts, &rows).is_err());
        assert!(follow(Order::Falling, &rows).is_err());
        assert!(follow(Order::Falling, &rows[1..]).is_ok());
        assert!(follow(Order::Any, &rows).is_ok());
    }
}
