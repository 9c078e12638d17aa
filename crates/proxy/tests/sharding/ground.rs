//! Two servers with eight shards, a proxy in front of them, and one server with all rows to compare with.
//!
//! The schema has other names at the servers (`shop_0`, `shop_1`), so that names must be right both ways. The whole tables
//! are in `shop` on the first server.

use dbmesh_testkit::port::Port;
use dbmesh_testkit::server::{APP_PASSWORD, APP_USER, Kind, Server, ServerOptions};
use dbmesh_wire::codec::Reader;

use crate::faultkit::client::{Credentials, RawClient, error_packet};
use crate::faultkit::stage::Stage;

pub const KINDS: [Kind; 2] = [Kind::MySql, Kind::MariaDb];

/// Tables as statements know them, without AUTO_INCREMENT.
pub const TABLES: [(&str, &str); 6] = [
    (
        "t_order",
        "(id INT NOT NULL, user_id INT NOT NULL, total DECIMAL(10,2), note VARCHAR(40), at DATETIME(3), kind \
         ENUM('b','a'), flags SET('x','y'), blob_ BLOB, ratio DOUBLE, bits BIT(9), PRIMARY KEY (id, user_id))",
    ),
    (
        "t_item",
        "(id INT NOT NULL, user_id INT NOT NULL, order_id INT, name VARCHAR(40) COLLATE utf8mb4_general_ci, PRIMARY KEY \
         (id, user_id))",
    ),
    (
        "t_user",
        "(user_id INT NOT NULL PRIMARY KEY, name VARCHAR(40), score BIGINT UNSIGNED)",
    ),
    (
        "t_type",
        "(user_id INT NOT NULL PRIMARY KEY, f FLOAT, d DOUBLE, ts TIMESTAMP(3) NULL, day DATE, yr YEAR, tm TIME(2), \
         l1 VARCHAR(20) CHARACTER SET latin1, bin BINARY(3), doc JSON, e ENUM('','x','y,z'), big BIGINT UNSIGNED, \
         twice INT GENERATED ALWAYS AS (user_id * 2) STORED, KEY (day), KEY (l1(5)))",
    ),
    ("t_dict", "(id INT NOT NULL PRIMARY KEY, word VARCHAR(20))"),
    (
        "t_conf",
        "(id INT NOT NULL PRIMARY KEY AUTO_INCREMENT, v VARCHAR(20))",
    ),
];

/// Which of the tables are split; by `user_id`.
pub const SHARDED: [&str; 4] = ["t_order", "t_item", "t_user", "t_type"];

/// What the resources say besides the usual.
pub struct Options {
    pub data_shard: &'static [&'static str],
    /// More algorithms, with a comma after each.
    pub algorithms: &'static str,
    /// More rules.
    pub rules: &'static [&'static str],
    pub strategy: &'static [&'static str],
    pub service: &'static [&'static str],
    pub pool_size: u32,
    /// Servers whose commits wait for the disk.
    pub durable: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data_shard: &[],
            algorithms: "",
            rules: &[],
            strategy: &[],
            service: &[],
            pool_size: 16,
            durable: false,
        }
    }
}

/// Two servers, the proxy, and what holds all rows.
pub struct Ground {
    pub servers: Vec<Server>,
    pub stage: Stage,
    pub kind: Kind,
}

impl Ground {
    /// With tables, and rows in them.
    pub fn new(kind: Kind, options: &Options) -> Self {
        let durable = options.durable;
        let start = |id| {
            let options = ServerOptions::new(kind).server_id(id);
            let options = if durable { options.durable() } else { options };
            std::thread::spawn(move || Server::start(options))
        };
        let starting = [start(11), start(12)];
        let servers: Vec<Server> = starting.map(|s| s.join().unwrap().unwrap()).into();
        for (place, server) in servers.iter().enumerate() {
            make_shards(server, place);
        }
        let whole = &servers[0];
        whole.execute("CREATE DATABASE shop").unwrap();
        for (name, columns) in TABLES {
            whole
                .execute(&format!("CREATE TABLE shop.{name} {columns}"))
                .unwrap();
        }
        let port = Port::reserve().unwrap();
        let yaml = yaml(&servers, port.number(), options);
        let stage = Stage::of_yaml(&yaml, port, &[]);
        Self {
            servers,
            stage,
            kind,
        }
    }

    /// A session of the proxy.
    pub fn mesh(&self) -> Client {
        let credentials = Credentials::app().schema("shop");
        Client::of(RawClient::logged_in(self.stage.port, &credentials))
    }

    /// A session of the server that has all rows.
    pub fn one(&self) -> Client {
        let credentials = Credentials::app().schema("shop");
        Client::of(RawClient::logged_in(self.servers[0].port(), &credentials))
    }

    /// A session that may send several statements in one text, of the proxy or of the one server.
    pub fn several(&self, mesh: bool) -> Client {
        let credentials = Credentials::app()
            .schema("shop")
            .more(dbmesh_wire::Capabilities::MULTI_STATEMENTS);
        let port = match mesh {
            true => self.stage.port,
            false => self.servers[0].port(),
        };
        Client::of(RawClient::logged_in(port, &credentials))
    }

    /// Runs statements on both sides, one a line, which must answer alike.
    #[track_caller]
    pub fn both(&self, statements: &str) {
        let (mut mesh, mut one) = (self.mesh(), self.one());
        let mut different = Vec::new();
        for sql in statements
            .lines()
            .map(str::trim)
            .filter(|sql| !sql.is_empty())
        {
            let (ours, theirs) = (mesh.ask(sql), one.ask(sql));
            if ours.unlabelled(&theirs) != theirs {
                let said = mesh.said.take().unwrap_or_default();
                different.push(format!(
                    "{sql}\n  mesh: {ours:?} {said}\n  one:  {theirs:?}"
                ));
            }
        }
        assert!(
            different.is_empty(),
            "{:?}:\n{}",
            self.kind,
            different.join("\n")
        );
    }
}

/// A statement on both sides.
#[track_caller]
pub fn alike(kind: Kind, sql: &str, mesh: &mut Client, one: &mut Client) {
    let (ours, theirs) = (mesh.ask(sql), one.ask(sql));
    let ours = ours.unlabelled(&theirs);
    assert_eq!(
        ours, theirs,
        "{kind:?}: {sql}\n left: the mesh, right: one server"
    );
}

/// The database of a node with its shards.
pub fn make_shards(server: &Server, place: usize) {
    server
        .execute(&format!("CREATE DATABASE shop_{place}"))
        .unwrap();
    let mut text = String::new();
    for (name, columns) in TABLES {
        match SHARDED.contains(&name) {
            true => {
                for shard in place * 4..place * 4 + 4 {
                    text += &format!("CREATE TABLE shop_{place}.{name}_{shard} {columns};");
                }
            }
            false => text += &format!("CREATE TABLE shop_{place}.{name} {columns};"),
        }
    }
    for statement in text.split_terminator(';') {
        server.execute(statement).unwrap();
    }
}

pub fn yaml(servers: &[Server], port: u16, options: &Options) -> String {
    let endpoints = servers.iter().enumerate();
    let endpoints =
        endpoints.map(|(place, server)| endpoint(&format!("ds_{place}"), server, place));
    yaml_of(&endpoints.collect::<String>(), port, options)
}

/// A server of a node.
pub fn endpoint(name: &str, server: &Server, node: usize) -> String {
    format!(
        "---\napiVersion: core.database-mesh.io/v1alpha1\nkind: DatabaseEndpoint\nmetadata: {{name: {name}, labels: {{source: \
         shop}}}}\nspec: {{database: {{{}: {{host: 127.0.0.1, port: {}, user: {APP_USER}, password: {APP_PASSWORD}, \
         db: shop_{node}}}}}}}\n",
        server.kind(),
        server.port(),
    )
}

/// The same with other endpoints.
pub fn yaml_of(endpoints: &str, port: u16, options: &Options) -> String {
    let lines = |lines: &[&str], indent: &str| -> String {
        lines
            .iter()
            .map(|line| format!("{indent}{line}\n"))
            .collect()
    };
    let mut text = format!(
        "apiVersion: core.database-mesh.io/v1alpha1\nkind: VirtualDatabase\nmetadata: {{name: shop}}\nspec:\n  services:\n  \
         - name: mysql\n    databaseMySQL: {{host: 127.0.0.1, port: {port}, user: {APP_USER}, password: {APP_PASSWORD}, db: shop, \
         poolSize: {}}}\n    trafficStrategy: shop\n    dataShard: shop\n{}---\n\
         apiVersion: core.database-mesh.io/v1alpha1\nkind: TrafficStrategy\nmetadata: {{name: shop}}\nspec:\n  \
         selector: {{matchLabels: {{source: shop}}}}\n{}",
        options.pool_size,
        lines(options.service, "    "),
        lines(options.strategy, "  "),
    );
    text += endpoints;
    text += "---\napiVersion: core.database-mesh.io/v1alpha1\nkind: DataShard\nmetadata: {name: shop}\nspec:\n  \
             bindingTables: [[t_order, t_item, t_user]]\n  broadcastTables: [t_dict]\n  \
             singleTables: [{tableName: t_conf, node: ds_1}]\n  \
             algorithms: {eight: {type: MOD, props: {sharding-count: 8}}, hint: {type: HINT_INLINE, props: \
             {algorithm-expression: \"t_hint_${value % 2}\"}}}\n  rules:\n  - tableName: t_hint\n    tableStrategy: \
             {tableShardingAlgorithmName: hint}\n    actualDatanodes: {valueSource: {expression: \"ds_0.t_hint_0, ds_1.t_hint_1\"}}\n";
    text = text.replace(
        "algorithms: {",
        &["algorithms: {", options.algorithms].concat(),
    );
    text += &lines(options.rules, "  ");
    for name in SHARDED {
        text += &format!(
            "  - tableName: {name}\n    tableStrategy: {{tableShardingAlgorithmName: eight, tableShardingColumn: user_id}}\n    \
             actualDatanodes: {{valueSource: {{expression: \"ds_0.{name}_{{0..3}}, ds_1.{name}_{{4..7}}\"}}}}\n"
        );
    }
    text + &lines(options.data_shard, "  ")
}

/// What came back, as far as a client can tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Affected rows, insert id, status, warnings, text.
    Done(u64, u64, u16, u16, String),
    /// The number.
    Error(u16),
    /// Names and types, rows, status, warnings.
    Rows(Vec<String>, Vec<Vec<Option<String>>>, u16, u16),
}

impl Answer {
    /// Without the note of a change that several nodes committed by best effort, which one server has no reason to give.
    pub fn unlabelled(&self, theirs: &Self) -> Self {
        match (self.clone(), theirs) {
            (Self::Done(affected, id, status, warnings, info), Self::Done(_, _, _, fewer, _))
                if warnings == fewer + 1 =>
            {
                Self::Done(affected, id, status, *fewer, info)
            }
            (Self::Rows(columns, rows, status, warnings), Self::Rows(_, _, _, fewer))
                if warnings == fewer + 1 =>
            {
                Self::Rows(columns, rows, status, *fewer)
            }
            (ours, _) => ours,
        }
    }

    pub fn rows(&self) -> &[Vec<Option<String>>] {
        match self {
            Self::Rows(_, rows, ..) => rows,
            other => panic!("no rows: {other:?}"),
        }
    }

    /// Affected rows.
    #[track_caller]
    pub fn done(&self) -> u64 {
        match self {
            Self::Done(affected, ..) => *affected,
            other => panic!("no OK: {other:?}"),
        }
    }
}

/// A client that looks at everything.
pub struct Client {
    pub raw: RawClient,
    /// The message of its last error.
    pub said: Option<String>,
}

/// NOT NULL, BLOB, UNSIGNED, ZEROFILL, BINARY, ENUM, SET.
const VALUE_FLAGS: u16 = 0x09F1;

/// In a transaction, autocommit, more results, read-only transaction.
const STATUS_COMPARED: u16 = 1 | 2 | 8 | 0x2000;

impl Client {
    pub fn of(raw: RawClient) -> Self {
        Self { raw, said: None }
    }

    /// The answer to a statement. Rows of a text without ORDER BY are sorted.
    pub fn ask(&mut self, sql: &str) -> Answer {
        self.raw.begin_query(sql);
        let mut answer = self.answer();
        if let Answer::Rows(_, rows, ..) = &mut answer
            && !sql.to_lowercase().contains("order by")
        {
            rows.sort();
        }
        answer
    }

    /// Reads one result of the binary protocol: rows as they are.
    pub fn binary(&mut self, ordered: bool) -> Answer {
        let mut answer = self.read(|_, payload| {
            let bytes: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
            vec![Some(bytes)]
        });
        if let (Answer::Rows(_, rows, ..), false) = (&mut answer, ordered) {
            rows.sort();
        }
        answer
    }

    /// The message of the error that a statement gives.
    #[track_caller]
    pub fn refused(&mut self, sql: &str) -> String {
        self.raw.begin_query(sql);
        let first = self.raw.packet().unwrap();
        assert_eq!(first.first(), Some(&0xFF), "{sql}");
        error_packet(&first).message
    }

    /// All answers to a text of several statements.
    pub fn ask_all(&mut self, sql: &str) -> Vec<Answer> {
        self.raw.begin_query(sql);
        let mut answers = Vec::new();
        loop {
            let answer = self.answer();
            let more = match &answer {
                Answer::Done(_, _, status, ..) | Answer::Rows(_, _, status, _) => status & 8 != 0,
                Answer::Error(_) => false,
            };
            answers.push(answer);
            if !more {
                return answers;
            }
        }
    }

    fn error(&mut self, payload: &[u8]) -> Answer {
        let error = error_packet(payload);
        self.said = Some(error.message);
        Answer::Error(error.code)
    }

    /// Reads one result.
    pub fn answer(&mut self) -> Answer {
        self.read(|count, payload| {
            let mut reader = Reader::new(payload);
            let cells = (0..count).map(|_| {
                let cell = reader.lenenc_bytes_or_null().unwrap();
                cell.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            });
            cells.collect()
        })
    }

    fn read(&mut self, row: impl Fn(u64, &[u8]) -> Vec<Option<String>>) -> Answer {
        let first = self.raw.packet().unwrap();
        match first.first() {
            Some(0) => return done(&first),
            Some(0xFF) => return self.error(&first),
            _ => {}
        }
        let count = Reader::new(&first).lenenc_int().unwrap();
        let columns: Vec<String> = (0..count)
            .map(|_| column(&self.raw.packet().unwrap()))
            .collect();
        let mut rows = Vec::new();
        loop {
            let payload = self.raw.packet().unwrap();
            match payload.first() {
                Some(0xFE) if payload.len() < 0xFFFF => {
                    let Answer::Done(_, _, status, warnings, _) = done(&payload) else {
                        panic!()
                    };
                    return Answer::Rows(columns, rows, status, warnings);
                }
                Some(0xFF) => return self.error(&payload),
                _ => rows.push(row(count, &payload)),
            }
        }
    }
}

fn done(payload: &[u8]) -> Answer {
    let mut reader = Reader::new(&payload[1..]);
    let (affected, id) = (reader.lenenc_int().unwrap(), reader.lenenc_int().unwrap());
    let (status, warnings) = (reader.u16().unwrap(), reader.u16().unwrap());
    let info = if reader.is_empty() {
        &[]
    } else {
        reader.lenenc_bytes().unwrap_or_default()
    };
    let info = String::from_utf8_lossy(info).into_owned();
    Answer::Done(affected, id, status & STATUS_COMPARED, warnings, info)
}

/// Schema, table, original table, names, collation, length, type, flags, decimals.
pub fn column(payload: &[u8]) -> String {
    let mut reader = Reader::new(payload);
    let mut parts = Vec::new();
    for _ in 0..6 {
        parts.push(String::from_utf8_lossy(reader.lenenc_bytes().unwrap()).into_owned());
    }
    let mut fixed = payload[reader.offset()..].to_vec();
    // Keys and defaults of the table: MariaDB says them or not as its plan for the statement goes.
    let flags = u16::from_le_bytes([fixed[8], fixed[9]]) & VALUE_FLAGS;
    fixed[8..10].copy_from_slice(&flags.to_le_bytes());
    format!("{} {:?}", parts[1..].join("."), fixed)
}
