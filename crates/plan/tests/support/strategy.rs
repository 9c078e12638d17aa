//! A strategy that splits reads off, by ten rules.

use std::path::Path;
use std::sync::Arc;

use dbmesh_model::host::Host;
use dbmesh_model::topology::Strategy;
use dbmesh_model::{load_text, resolve};
use dbmesh_plan::{Autocommit, Connection, KeptWarnings, Proof, RowCount, RowsFound, SessionView};
use zeroize::Zeroizing;

struct NoHost;

impl Host for NoHost {
    fn env(&self, _: &str) -> Option<Zeroizing<String>> {
        None
    }

    fn read(&self, _: &Path) -> std::io::Result<Zeroizing<String>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

const RESOURCES: &str = "
apiVersion: core.database-mesh.io/v1alpha1
kind: VirtualDatabase
metadata: {name: shop}
spec:
  services:
  - {name: main, databaseMySQL: {user: app, password: x}, trafficStrategy: shop}
---
apiVersion: core.database-mesh.io/v1alpha1
kind: TrafficStrategy
metadata: {name: shop}
spec:
  selector: {}
  loadBalance:
    readWriteSplitting:
      static:
        rules: [RULES]
---
apiVersion: core.database-mesh.io/v1alpha1
kind: DatabaseEndpoint
metadata: {name: server-0}
spec: {database: {MySQL: {host: a.example, user: mesh, password: x}}}
---
apiVersion: core.database-mesh.io/v1alpha1
kind: DatabaseEndpoint
metadata: {name: server-1}
spec: {role: replica, database: {MySQL: {host: b.example, user: mesh, password: x}}}
";

/// Nine rules by expression, of which the fifth matches reports, and one for all other reads.
pub fn splitting() -> Arc<Strategy> {
    let rule = |n: usize| {
        let name = if n == 4 {
            "report_of_[a-z]+".to_owned()
        } else {
            format!("(?i)^select .* from audit_{n} ")
        };
        format!("{{name: r{n}, type: regex, regex: [\"{name}\"], target: readwrite}}")
    };
    let mut rules: Vec<String> = (0..9).map(rule).collect();
    rules.push("{name: rest, type: generic}".to_owned());
    let text = RESOURCES.replace("RULES", &rules.join(", "));
    let topology = resolve(load_text(Path::new("x.yaml"), &text), &NoHost);
    topology.unwrap_or_else(|e| panic!("{e}")).services[0]
        .strategy
        .clone()
}

/// As many rules that deny by expression, of which none matches what is asked for here.
#[allow(dead_code, reason = "not every user of this file has rules")]
pub fn ruled(count: usize) -> Arc<Strategy> {
    let rule = |n: usize| {
        format!("{{name: r{n}, match: {{regex: ['^SELECT .* FROM audit_{n}\\b']}}, action: deny}}")
    };
    let rules: Vec<String> = (0..count).map(rule).collect();
    let splitting = "  loadBalance:
    readWriteSplitting:
      static:
        rules: [RULES]
";
    let text = RESOURCES.replace(splitting, &format!("  rules: [{}]\n", rules.join(", ")));
    let topology = resolve(load_text(Path::new("x.yaml"), &text), &NoHost);
    topology.unwrap_or_else(|e| panic!("{e}")).services[0]
        .strategy
        .clone()
}

/// A session that has no connection.
pub fn free_session() -> SessionView<'static> {
    SessionView {
        connection: Connection::Free,
        found_rows: RowsFound::Known,
        warnings: KeptWarnings::Here,
        row_count: RowCount::OnConnection,
        autocommit: Autocommit::On,
        splitting: None,
        proof: Proof::NotProved,
        hint: None,
    }
}
