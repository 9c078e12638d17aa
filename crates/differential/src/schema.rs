//! The tables: what is sharded, by what, and how their columns are typed.
//!
//! Owns the definitions for one MySQL and for the shards, and the DataShard resource that says the same. Every type and
//! collation that a merge has to understand is a column of some table.

use dbmesh_testkit::Kind;

/// Shards of a sharded table; half of them on each server.
pub const SHARDS: usize = 8;
/// The schema that clients see, and that the judge has.
pub const SCHEMA: &str = "shop";

/// How a table is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// By a column; with an SQL expression over it that gives the number of the shard.
    Sharded {
        /// The column.
        column: &'static str,
        /// The name of the algorithm, `number` or `text`.
        algorithm: &'static str,
        /// The shard, as the servers compute it.
        expression: &'static str,
    },
    /// A copy on every server.
    Broadcast,
    /// On one server.
    Single(usize),
}

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Its logical name.
    pub name: &'static str,
    /// Where its rows are.
    pub placed: Placed,
    /// Columns and keys.
    pub definition: &'static str,
}

/// Tables with their rows.
#[derive(Debug, Clone, Copy)]
pub struct Set {
    /// The tables.
    pub tables: &'static [Table],
    /// Names of those that are bound.
    pub bound: &'static str,
    /// How transactions end on several nodes of MySQL: `transactions.acrossNodes`.
    pub across: &'static str,
    /// INSERT statements from a seed.
    pub rows: fn(u64) -> Vec<String>,
}

/// The tables of the families and of the grammar.
pub const SHOP: Set = Set {
    tables: &TABLES,
    bound: "t_user, t_order, t_item",
    across: "atomic",
    rows: crate::rows::inserts,
};

/// A whole number modulo the shards, never negative.
const BY_NUMBER: Placed = Placed::Sharded {
    column: "user_id",
    algorithm: "number",
    expression: "MOD(MOD(user_id, 8) + 8, 8)",
};

/// All tables.
const TABLES: [Table; 6] = [
    Table {
        name: "t_user",
        placed: BY_NUMBER,
        definition: "user_id INT NOT NULL PRIMARY KEY, \
            name VARCHAR(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci, \
            city VARCHAR(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL, \
            nick VARCHAR(20) CHARACTER SET latin1, \
            code CHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, \
            age TINYINT UNSIGNED, born DATE, seen DATETIME(6), boss_id INT, score SMALLINT, \
            since YEAR, wake TIME(3), KEY city (city)",
    },
    Table {
        name: "t_order",
        placed: BY_NUMBER,
        definition: "user_id INT NOT NULL, order_id INT NOT NULL, amount DECIMAL(12,3), qty INT, \
            big BIGINT UNSIGNED, neg BIGINT, price DOUBLE, ratio FLOAT, \
            state ENUM('new','paid','sent','back') CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci, \
            tags SET('red','gift','fast') CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci, \
            bits BIT(9), doc JSON, placed_at TIMESTAMP NULL, \
            note TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci, raw BLOB, \
            cc CHAR(2) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci, PRIMARY KEY (user_id, order_id), KEY cc (cc)",
    },
    Table {
        name: "t_item",
        placed: BY_NUMBER,
        definition: "user_id INT NOT NULL, order_id INT NOT NULL, line INT NOT NULL, \
            sku VARCHAR(12) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, pieces SMALLINT NOT NULL DEFAULT 1, \
            cost DECIMAL(8,2), shipped DATE, PRIMARY KEY (user_id, order_id, line)",
    },
    Table {
        name: "t_doc",
        placed: Placed::Sharded {
            column: "doc_key",
            algorithm: "text",
            expression: "MOD(CRC32(doc_key), 8)",
        },
        definition: "doc_key VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL PRIMARY KEY, \
            cat INT, title VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci, size BIGINT, owner INT",
    },
    Table {
        name: "t_country",
        placed: Placed::Broadcast,
        definition: "cc CHAR(2) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci NOT NULL PRIMARY KEY, \
            label VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci, rate DECIMAL(6,4)",
    },
    Table {
        name: "t_conf",
        placed: Placed::Single(1),
        definition: "k INT NOT NULL PRIMARY KEY, v VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci, num INT",
    },
];

impl Table {
    /// Its parts: the server, and the name there.
    pub fn parts(&self) -> Vec<(usize, String)> {
        match self.placed {
            Placed::Sharded { .. } => (0..SHARDS)
                .map(|shard| (server_of(shard), format!("{}_{shard}", self.name)))
                .collect(),
            Placed::Broadcast => (0..2)
                .map(|server| (server, self.name.to_owned()))
                .collect(),
            Placed::Single(server) => vec![(server, self.name.to_owned())],
        }
    }

    /// Its definition under a name.
    pub fn create(&self, name: &str, kind: Kind) -> String {
        let definition = in_words_of(kind, self.definition);
        format!("CREATE TABLE {name} ({definition}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4")
    }
}

/// The server of a shard.
pub fn server_of(shard: usize) -> usize {
    shard * 2 / SHARDS
}

/// MariaDB's collations of the same kinds.
pub fn in_words_of(kind: Kind, text: &str) -> String {
    match kind {
        Kind::MySql => text.to_owned(),
        Kind::MariaDb => text
            .replace("utf8mb4_0900_ai_ci", "utf8mb4_uca1400_ai_ci")
            .replace("utf8mb4_0900_bin", "utf8mb4_nopad_bin"),
    }
}

/// What a session says first, so that both sides read alike.
pub fn greeting(kind: Kind) -> String {
    in_words_of(kind, "SET NAMES utf8mb4 COLLATE utf8mb4_0900_ai_ci")
}

/// How transactions end on several nodes: MariaDB promises no atomic commit.
pub fn across(set: &Set, kind: Kind) -> &'static str {
    match kind {
        Kind::MySql => set.across,
        Kind::MariaDb => "bestEffort",
    }
}

/// The resources of a mesh that listens at `port` before two servers.
pub fn resources(set: &Set, kind: Kind, port: u16, servers: [u16; 2]) -> String {
    let api = "apiVersion: core.database-mesh.io/v1alpha1";
    let mut yaml = format!(
        "{api}\nkind: VirtualDatabase\nmetadata: {{name: shop}}\nspec:\n  services:\n  - name: mysql\n    \
         databaseMySQL: {{host: 127.0.0.1, port: {port}, user: app, password: app-password, db: {SCHEMA}, poolSize: 32}}\n    \
         trafficStrategy: shop\n    dataShard: shop\n---\n\
         {api}\nkind: TrafficStrategy\nmetadata: {{name: shop}}\nspec: {{selector: {{matchLabels: {{source: shop}}}}}}\n"
    );
    let across = across(set, kind);
    for (index, server) in servers.iter().enumerate() {
        yaml.push_str(&format!(
            "---\n{api}\nkind: DatabaseEndpoint\nmetadata: {{name: ds_{index}, labels: {{source: shop}}}}\nspec:\n  \
             database:\n    {kind}: {{host: 127.0.0.1, port: {server}, user: app, password: app-password, db: shop_{index}}}\n"
        ));
    }
    let named = |wanted: fn(&Placed) -> bool| {
        let tables = set.tables.iter().filter(|table| wanted(&table.placed));
        tables
            .map(|table| table.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    yaml.push_str(&format!(
        "---\n{api}\nkind: DataShard\nmetadata: {{name: shop}}\nspec:\n  transactions: {{acrossNodes: {across}}}\n  \
         bindingTables: [[{}]]\n  broadcastTables: [{}]\n  algorithms:\n    \
         number: {{type: MOD, props: {{sharding-count: {SHARDS}}}}}\n    \
         text: {{type: CRC32_MOD, props: {{sharding-count: {SHARDS}}}}}\n",
        set.bound,
        named(|placed| *placed == Placed::Broadcast),
    ));
    let single = |table: &Table| match table.placed {
        Placed::Single(server) => Some(format!("{{tableName: {}, node: ds_{server}}}", table.name)),
        _ => None,
    };
    let singles: Vec<String> = set.tables.iter().filter_map(single).collect();
    yaml.push_str(&format!(
        "  singleTables: [{}]\n  rules:\n",
        singles.join(", ")
    ));
    set.tables
        .iter()
        .for_each(|table| yaml.push_str(&rule(table)));
    yaml
}

/// The rule of a sharded table.
fn rule(table: &Table) -> String {
    let Placed::Sharded {
        column, algorithm, ..
    } = table.placed
    else {
        return String::new();
    };
    let (name, half, last) = (table.name, SHARDS / 2, SHARDS - 1);
    let key = match algorithm {
        "text" => format!("    keyTypes: {{{column}: string}}\n"),
        _ => String::new(),
    };
    format!(
        "  - tableName: {name}\n    \
         tableStrategy: {{tableShardingAlgorithmName: {algorithm}, tableShardingColumn: {column}}}\n{key}    \
         actualDatanodes: {{valueSource: {{expression: \"ds_0.{name}_{{0..{}}}, ds_1.{name}_{{{half}..{last}}}\"}}}}\n",
        half - 1
    )
}
