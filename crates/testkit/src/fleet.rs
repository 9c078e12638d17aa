//! A primary with replicas that follow it by GTID.
//!
//! Owns its servers and the replication between them. It must never return a fleet whose replicas do
//! not run or have not caught up: tests that begin on a lagging replica fail now and then. Its input is
//! [`FleetOptions`]; several fleets side by side make shards, with different `first_server_id`.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{Durability, Error, Kind, Result, Server, ServerOptions};

const CATCH_UP_LIMIT: Duration = Duration::from_secs(60);

/// What to start.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// MySQL or MariaDB.
    pub kind: Kind,
    /// How many replicas follow the primary.
    pub replicas: u32,
    /// `server_id` of the primary; replicas count on from there.
    pub first_server_id: u32,
    /// What commits wait for, on every member.
    pub durability: Durability,
    /// More options for every member.
    pub extra_args: Vec<String>,
}

/// A primary and its replicas; all are ended when it is dropped.
#[derive(Debug)]
pub struct Fleet {
    primary: Server,
    replicas: Vec<Server>,
}

impl FleetOptions {
    /// A primary with that many replicas, relaxed durability, ids from 1.
    pub fn new(kind: Kind, replicas: u32) -> FleetOptions {
        FleetOptions {
            kind,
            replicas,
            first_server_id: 1,
            durability: Durability::Relaxed,
            extra_args: Vec::new(),
        }
    }

    fn member(&self, index: u32) -> ServerOptions {
        let mut options = ServerOptions::new(self.kind).server_id(self.first_server_id + index);
        options.durability = self.durability;
        options.extra_args.clone_from(&self.extra_args);
        if index > 0 {
            options.read_only()
        } else {
            options
        }
    }
}

impl Fleet {
    /// Starts all members at once, then replication, and waits until every replica has caught up.
    pub fn start(options: FleetOptions) -> Result<Fleet> {
        let servers: Vec<Result<Server>> = thread::scope(|scope| {
            let options = &options;
            let starts: Vec<_> = (0..=options.replicas)
                .map(|index| scope.spawn(move || Server::start(options.member(index))))
                .collect();
            let lost = || {
                Err(Error::Connection(
                    "the thread that started a server panicked".to_owned(),
                ))
            };
            starts
                .into_iter()
                .map(|start| start.join().unwrap_or_else(|_| lost()))
                .collect()
        });
        let mut servers = servers.into_iter().collect::<Result<Vec<_>>>()?;
        let primary = servers.remove(0);
        let fleet = Fleet {
            primary,
            replicas: servers,
        };
        for replica in &fleet.replicas {
            follow(replica, &fleet.primary)?;
        }
        fleet.wait_until_caught_up()?;
        Ok(fleet)
    }

    /// The member that takes writes.
    pub fn primary(&self) -> &Server {
        &self.primary
    }

    /// The members that follow it.
    pub fn replicas(&self) -> &[Server] {
        &self.replicas
    }

    /// All members, the primary first.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        std::iter::once(&self.primary).chain(&self.replicas)
    }

    /// Waits until every replica has applied all that the primary has committed by now.
    pub fn wait_until_caught_up(&self) -> Result<()> {
        let position = match self.primary.kind() {
            Kind::MySql => "SELECT @@global.gtid_executed",
            Kind::MariaDb => "SELECT @@global.gtid_binlog_pos",
        };
        let position = self.primary.query_value(position)?.unwrap_or_default();
        self.replicas
            .iter()
            .try_for_each(|replica| wait_for(replica, &position))
    }

    /// Stops applying on one replica, so that it lags from now on.
    pub fn stop_applying(&self, replica: &Server) -> Result<()> {
        replica.execute(match replica.kind() {
            Kind::MySql => "STOP REPLICA SQL_THREAD",
            Kind::MariaDb => "STOP SLAVE SQL_THREAD",
        })
    }

    /// Goes on applying.
    pub fn start_applying(&self, replica: &Server) -> Result<()> {
        replica.execute(match replica.kind() {
            Kind::MySql => "START REPLICA SQL_THREAD",
            Kind::MariaDb => "START SLAVE SQL_THREAD",
        })
    }
}

/// Makes `replica` follow `source` by GTID, instead of whatever it followed before.
pub fn follow(replica: &Server, source: &Server) -> Result<()> {
    let port = source.port();
    replica.execute(&match replica.kind() {
        Kind::MySql => format!(
            "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={port}, \
             SOURCE_USER='repl', SOURCE_PASSWORD='repl-password', SOURCE_AUTO_POSITION=1, \
             GET_SOURCE_PUBLIC_KEY=1, SOURCE_CONNECT_RETRY=1; START REPLICA"
        ),
        Kind::MariaDb => format!(
            "STOP SLAVE; CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, \
             MASTER_USER='repl', MASTER_PASSWORD='repl-password', MASTER_USE_GTID=slave_pos, \
             MASTER_CONNECT_RETRY=1; START SLAVE"
        ),
    })
}

fn wait_for(replica: &Server, position: &str) -> Result<()> {
    let lagging = || Error::Timeout {
        what: format!(
            "a replica at {position}; its log ends with\n{}",
            replica.log_tail(10)
        ),
        after: CATCH_UP_LIMIT,
    };
    let deadline = Instant::now() + CATCH_UP_LIMIT;
    while !is_replicating(replica)? {
        if Instant::now() >= deadline {
            return Err(lagging());
        }
        thread::sleep(Duration::from_millis(20));
    }
    let seconds = CATCH_UP_LIMIT.as_secs();
    let reached = replica.query_value(&match replica.kind() {
        Kind::MySql => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{position}', {seconds})"),
        Kind::MariaDb => format!("SELECT MASTER_GTID_WAIT('{position}', {seconds})"),
    })?;
    if reached.as_deref() == Some("0") {
        Ok(())
    } else {
        Err(lagging())
    }
}

/// True when both the receiving and the applying thread run.
fn is_replicating(replica: &Server) -> Result<bool> {
    let running = replica.query_value(match replica.kind() {
        Kind::MySql => {
            "SELECT COUNT(*) FROM performance_schema.replication_connection_status AS receiver \
             JOIN performance_schema.replication_applier_status AS applier USING (CHANNEL_NAME) \
             WHERE receiver.SERVICE_STATE = 'ON' AND applier.SERVICE_STATE = 'ON'"
        }
        Kind::MariaDb => {
            "SELECT VARIABLE_VALUE = 'ON' FROM information_schema.GLOBAL_STATUS \
             WHERE VARIABLE_NAME = 'SLAVE_RUNNING'"
        }
    })?;
    Ok(running.as_deref() == Some("1"))
}
