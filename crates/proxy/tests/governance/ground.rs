//! A schema of its own on the shared servers, and a proxy in front of them.

use dbmesh_testkit::config::{Backend, Config};
use dbmesh_testkit::port::Port;
use dbmesh_testkit::server::{Kind, Server, shared};

use crate::ask::assert_error;
use crate::faultkit::client::{Credentials, RawClient, Reply};
use crate::faultkit::stage::Stage;

pub const KINDS: [Kind; 2] = [Kind::MySql, Kind::MariaDb];

/// A schema that no other test has, with tables `t`, `users` and `secrets`.
pub struct Ground {
    pub server: &'static Server,
    pub schema: String,
}

impl Ground {
    pub fn new(kind: Kind, schema: &str) -> Self {
        let server = shared(kind);
        server
            .execute(&format!(
                "DROP DATABASE IF EXISTS {schema}; CREATE DATABASE {schema};
                 CREATE TABLE {schema}.t (id INT PRIMARY KEY, v INT);
                 INSERT INTO {schema}.t VALUES (1, 10), (2, 20), (3, 30);
                 CREATE TABLE {schema}.users (id INT PRIMARY KEY, name VARCHAR(20), password VARCHAR(20));
                 INSERT INTO {schema}.users VALUES (1, 'ann', 'top-secret');
                 CREATE TABLE {schema}.secrets (id INT PRIMARY KEY, word VARCHAR(20));
                 INSERT INTO {schema}.secrets VALUES (1, 'sesame')"
            ))
            .unwrap();
        Self {
            server,
            schema: schema.to_owned(),
        }
    }

    /// The configuration with this schema, adapted.
    pub fn yaml(&self, port: u16, adapt: impl FnOnce(Config) -> Config) -> String {
        let backend = Backend {
            kind: self.server.kind(),
            port: self.server.port(),
        };
        adapt(Config::new(backend, port, 8).schema(&self.schema)).to_yaml()
    }

    pub fn stage(&self, adapt: impl FnOnce(Config) -> Config) -> Stage {
        let port = Port::reserve().unwrap();
        let yaml = self.yaml(port.number(), adapt);
        Stage::of_yaml(&yaml, port, &[])
    }

    /// A session in the schema.
    pub fn client(&self, stage: &Stage) -> RawClient {
        RawClient::logged_in(stage.port, &self.credentials())
    }

    pub fn credentials(&self) -> Credentials {
        Credentials::app().schema(&self.schema)
    }

    /// What the server itself answers.
    pub fn ask(&self, sql: &str) -> String {
        let sql = sql.replace("{schema}", &self.schema);
        self.server.query_value(&sql).unwrap().unwrap()
    }
}

/// That a rule refused the statement.
pub fn assert_denied(reply: &Reply, rule: &str) {
    assert_error(reply, 1105, &format!("denied by rule '{rule}'"));
}
