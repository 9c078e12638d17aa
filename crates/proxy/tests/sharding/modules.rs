//! Tables that a module of the user's splits.

use crate::ground::{Ground, KINDS, Options};

/// Bytes of a text that no module takes.
const LONG: usize = 1_025;
/// The module of the documentation.
const ALGORITHM: &str = concat!(
    "number: {type: WASM, props: {module: ",
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/algorithms/by_number.wasm}}, "
);
const RULE: [&str; 4] = [
    "- tableName: t_number",
    "  tableStrategy: {tableShardingAlgorithmName: number, tableShardingColumn: code}",
    "  keyTypes: {code: string}",
    "  actualDatanodes: {valueSource: {expression: \"ds_0.t_number_{0..1}, ds_1.t_number_{2..3}\"}}",
];

#[test]
fn rows_are_where_a_module_says() {
    for kind in KINDS {
        let options = Options {
            algorithms: ALGORITHM,
            rules: &RULE,
            ..Options::default()
        };
        let ground = Ground::new(kind, &options);
        for shard in 0..4 {
            let (server, place) = (&ground.servers[shard / 2], shard / 2);
            let sql =
                format!("CREATE TABLE shop_{place}.t_number_{shard} (code VARBINARY(1100), v INT)");
            server.execute(&sql).unwrap();
        }
        let mut mesh = ground.mesh();
        for (rows, count) in [
            ("('EU-1042', 1), ('US-2046', 2), ('US-3', 4)", 3),
            ("('EU-5', 3)", 1),
        ] {
            let inserted = mesh.ask(&format!("INSERT INTO t_number (code, v) VALUES {rows}"));
            assert_eq!(inserted.done(), count, "{kind:?}: {rows}");
        }
        for (code, shard) in [("EU-1042", 2), ("US-2046", 2), ("US-3", 3), ("EU-5", 1)] {
            let place = shard / 2;
            let there =
                format!("SELECT COUNT(*) FROM shop_{place}.t_number_{shard} WHERE code = '{code}'");
            let count = ground.servers[place].query_value(&there).unwrap();
            assert_eq!(count.as_deref(), Some("1"), "{kind:?}: {code}");
            let found = mesh.ask(&format!("SELECT v FROM t_number WHERE code = '{code}'"));
            assert_eq!(found.rows().len(), 1, "{kind:?}: {code}");
        }
        assert_eq!(
            mesh.ask("UPDATE t_number SET v = 9 WHERE code = 'EU-5'")
                .done(),
            1
        );
        let all = mesh.ask("SELECT code FROM t_number WHERE v > 0 ORDER BY v");
        assert_eq!(all.rows().len(), 4);

        let said = mesh.refused("INSERT INTO t_number (code, v) VALUES ('EU', 1)");
        assert!(said.contains("no shard for the value"), "{said}");
        let long = "1".repeat(LONG);
        let said = mesh.refused(&format!(
            "INSERT INTO t_number (code, v) VALUES ('{long}', 1)"
        ));
        assert!(said.contains("algorithm `number` fails"), "{said}");
        // For a query it could be anywhere.
        let none = mesh.ask(&format!("SELECT v FROM t_number WHERE code = '{long}'"));
        assert!(none.rows().is_empty());
    }
}
