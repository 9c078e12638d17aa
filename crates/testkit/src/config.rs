//! Writes the three resources that put a proxy in front of servers of the harness.
//!
//! Owns text only. It must never offer more than tests need often: an unusual test writes its own YAML.
//! The schema of the text is that of the resources `VirtualDatabase`, `TrafficStrategy` and
//! `DatabaseEndpoint`.

use crate::{
    Fleet, Kind, Server,
    server::{APP_PASSWORD, APP_USER},
};

/// A server behind the proxy, reached at a port of 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// MySQL or MariaDB.
    pub kind: Kind,
    /// The server's port, or that of a relay in front of it.
    pub port: u16,
}

/// The three resources, with the few fields that tests vary.
#[derive(Clone, Debug)]
pub struct Config {
    primary: Backend,
    replicas: Vec<Backend>,
    listen_port: u16,
    pool_size: u32,
    schema: Option<String>,
    service: Vec<String>,
    strategy: Vec<String>,
    endpoint: Vec<String>,
}

/// One server behind one listening port. Clients log in as `app` with `app-password`.
pub fn simple(server: impl Into<Backend>, listen_port: u16, pool_size: u32) -> String {
    Config::new(server, listen_port, pool_size).to_yaml()
}

impl Config {
    /// One server behind one listening port.
    pub fn new(primary: impl Into<Backend>, listen_port: u16, pool_size: u32) -> Config {
        Config {
            primary: primary.into(),
            replicas: Vec::new(),
            listen_port,
            pool_size,
            schema: None,
            service: Vec::new(),
            strategy: Vec::new(),
            endpoint: Vec::new(),
        }
    }

    /// The members of a fleet, with their roles.
    pub fn of_fleet(fleet: &Fleet, listen_port: u16, pool_size: u32) -> Config {
        let config = Config::new(fleet.primary(), listen_port, pool_size);
        fleet
            .replicas()
            .iter()
            .fold(config, |config, replica| config.replica(replica))
    }

    /// Adds an endpoint with the role `replica`.
    pub fn replica(mut self, replica: impl Into<Backend>) -> Config {
        self.replicas.push(replica.into());
        self
    }

    /// Sets `databaseMySQL.db`.
    pub fn schema(mut self, name: &str) -> Config {
        self.schema = Some(name.to_owned());
        self
    }

    /// Adds a line to the service, such as `limits: {queueWaitMs: 100}`.
    pub fn service(mut self, line: &str) -> Config {
        self.service.push(line.to_owned());
        self
    }

    /// Adds a line to the strategy's `spec`, such as `circuitBreaks: [{regex: ["sleep"]}]`. A line `loadBalance: …` replaces
    /// round robin.
    pub fn strategy(mut self, line: &str) -> Config {
        self.strategy.push(line.to_owned());
        self
    }

    /// Adds a line to every server's connection, such as `tls: {mode: required}`.
    pub fn endpoint(mut self, line: &str) -> Config {
        self.endpoint.push(line.to_owned());
        self
    }

    /// The resources as one stream of YAML documents.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        text.push_str(&self.virtual_database());
        text.push_str("---\n");
        text.push_str(&self.traffic_strategy());
        let replicas = self.replicas.iter().map(|replica| (*replica, "replica"));
        for (index, (backend, role)) in std::iter::once((self.primary, "primary"))
            .chain(replicas)
            .enumerate()
        {
            text.push_str("---\n");
            text.push_str(&self.database_endpoint(index, backend, role));
        }
        text
    }

    fn virtual_database(&self) -> String {
        let db = self
            .schema
            .as_ref()
            .map(|name| format!("      db: {name}\n"))
            .unwrap_or_default();
        format!(
            "apiVersion: core.database-mesh.io/v1alpha1\n\
             kind: VirtualDatabase\n\
             metadata: {{name: testkit, namespace: default}}\n\
             spec:\n  \
               services:\n  \
               - name: mysql\n    \
                 databaseMySQL:\n      \
                   host: 127.0.0.1\n      \
                   port: {}\n      \
                   user: {APP_USER}\n      \
                   password: {APP_PASSWORD}\n      \
                   poolSize: {}\n\
             {db}    trafficStrategy: testkit\n{}",
            self.listen_port,
            self.pool_size,
            indented(&self.service, 4),
        )
    }

    fn traffic_strategy(&self) -> String {
        let balanced = self
            .strategy
            .iter()
            .any(|line| line.starts_with("loadBalance:"));
        let balance = match balanced {
            true => "",
            false => "  loadBalance: {simpleLoadBalance: {kind: roundrobin}}\n",
        };
        format!(
            "apiVersion: core.database-mesh.io/v1alpha1\n\
             kind: TrafficStrategy\n\
             metadata: {{name: testkit, namespace: default}}\n\
             spec:\n  \
               selector: {{matchLabels: {{source: testkit}}}}\n{balance}{}",
            indented(&self.strategy, 2),
        )
    }

    fn database_endpoint(&self, index: usize, backend: Backend, role: &str) -> String {
        format!(
            "apiVersion: core.database-mesh.io/v1alpha1\n\
             kind: DatabaseEndpoint\n\
             metadata: {{name: server-{index}, namespace: default, labels: {{source: testkit}}}}\n\
             spec:\n  \
               role: {role}\n  \
               database:\n    \
                 {}:\n      \
                   host: 127.0.0.1\n      \
                   port: {}\n      \
                   user: {APP_USER}\n      \
                   password: {APP_PASSWORD}\n{}",
            backend.kind,
            backend.port,
            indented(&self.endpoint, 6),
        )
    }
}

impl From<&Server> for Backend {
    fn from(server: &Server) -> Backend {
        Backend {
            kind: server.kind(),
            port: server.port(),
        }
    }
}

fn indented(lines: &[String], spaces: usize) -> String {
    lines
        .iter()
        .flat_map(|text| text.lines())
        .map(|line| format!("{:spaces$}{line}\n", ""))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_land_where_they_belong() {
        let backend = Backend {
            kind: Kind::MySql,
            port: 3307,
        };
        let yaml = Config::new(backend, 3306, 8)
            .replica(Backend {
                kind: Kind::MariaDb,
                port: 3308,
            })
            .schema("shop")
            .service("limits: {queueWaitMs: 100}")
            .strategy("circuitBreaks: [{regex: [sleep]}]")
            .endpoint("tls: {mode: required}")
            .to_yaml();
        for expected in [
            "\n    databaseMySQL:\n      host: 127.0.0.1\n      port: 3306\n",
            "\n      poolSize: 8\n      db: shop\n    trafficStrategy: testkit\n    limits: {queueWaitMs: 100}\n---\n",
            "\n  circuitBreaks: [{regex: [sleep]}]\n---\n",
            "\n  role: replica\n  database:\n    MariaDB:\n      host: 127.0.0.1\n      port: 3308\n",
            "\n      password: app-password\n      tls: {mode: required}\n",
        ] {
            assert!(yaml.contains(expected), "no {expected:?} in\n{yaml}");
        }
        assert_eq!(yaml.matches("\nkind: DatabaseEndpoint\n").count(), 2);
    }
}
