//! A proxy in front of something, and what must hold after every attack on it.
//!
//! Owns the proxy's process and its listening port. It must never let a test pass whose proxy died, swelled or forgot
//! its other sessions. Input: the configuration's text.

use std::time::Duration;

use dbmesh_testkit::Proxy;
use dbmesh_testkit::config::{Backend, Config};
use dbmesh_testkit::port::Port;
use dbmesh_testkit::server::Kind;

use super::client::{RawClient, Reply};
use super::eventually;

/// Memory that an attack may add, in bytes: generous for allocators, small beside what is thrown at the proxy.
pub const GROWTH_BYTES_MAX: f64 = (48 << 20) as f64;

/// A running proxy.
pub struct Stage {
    /// Its process.
    pub proxy: Proxy,
    /// Its listening port.
    pub port: u16,
    // Keeps the port ours.
    _port: Port,
}

impl Stage {
    /// In front of a server at this port; `adapt` changes the configuration.
    pub fn before(kind: Kind, server_port: u16, adapt: impl FnOnce(Config) -> Config) -> Self {
        Self::with_args(kind, server_port, &[], adapt)
    }

    /// The same with arguments of the proxy.
    pub fn with_args(
        kind: Kind,
        server_port: u16,
        args: &[&str],
        adapt: impl FnOnce(Config) -> Config,
    ) -> Self {
        let port = Port::reserve().unwrap();
        let yaml = adapt(Config::new(
            Backend {
                kind,
                port: server_port,
            },
            port.number(),
            8,
        ))
        .to_yaml();
        Self::of_yaml(&yaml, port, args)
    }

    /// With this configuration, which listens on `port`.
    pub fn of_yaml(yaml: &str, port: Port, args: &[&str]) -> Self {
        let proxy = Proxy::start(yaml, args).unwrap();
        Self {
            proxy,
            port: port.number(),
            _port: port,
        }
    }

    /// Resident memory of the proxy, in bytes.
    pub fn memory_bytes(&self) -> f64 {
        self.proxy
            .metric("process_resident_memory_bytes", "")
            .unwrap()
            .unwrap()
    }

    /// A metric's sum, 0 if absent.
    pub fn metric(&self, name: &str) -> f64 {
        self.proxy.metric(name, "").unwrap().unwrap_or(0.0)
    }

    /// A new client can log in and is answered: the process lives, its pool is not poisoned.
    pub fn assert_serves(&self) {
        let mut client = RawClient::app(self.port);
        for _ in 0..10 {
            assert_eq!(client.query("SELECT 1").value(), "1");
        }
    }

    /// Connections leased or being opened go back to none.
    pub fn assert_pool_calm(&self) {
        eventually("a pool without leases", Duration::from_secs(10), || {
            self.metric("dbmesh_pool_open") == self.metric("dbmesh_pool_idle")
                && self.metric("dbmesh_pool_waiting") == 0.0
        });
    }

    /// Runs an attack beside a session that must not notice.
    pub fn under_attack(&self, attack: impl FnOnce(&Self)) {
        let mut bystander = RawClient::app(self.port);
        assert_eq!(bystander.query("SELECT 1").value(), "1");
        let before = self.memory_bytes();
        let descriptors = self.metric("process_open_fds");
        attack(self);
        assert_eq!(
            bystander.query("SELECT 1").value(),
            "1",
            "a bystander's session"
        );
        assert_eq!(bystander.ping(), Reply::Ok);
        let grown = self.memory_bytes() - before;
        assert!(
            grown < GROWTH_BYTES_MAX,
            "the proxy grew by {} MiB",
            grown / 1048576.0
        );
        self.assert_serves();
        // The pool may have grown to its size; beyond this nothing stays open.
        eventually("descriptors are closed", Duration::from_secs(10), || {
            self.metric("process_open_fds") <= descriptors + 10.0
        });
    }
}
