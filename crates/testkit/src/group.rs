//! MySQL servers in a replication group: one that takes writes, elected by the group, and secondaries.
//!
//! Owns its servers and the ports over which they talk. It must never return a group of which a member is not online. Its
//! input is the number of members.

use std::thread;
use std::time::{Duration, Instant};

use crate::port::Port;
use crate::{Error, Kind, Result, Server, ServerOptions};

/// The name of every group, by which it numbers its transactions.
pub const GROUP_NAME: &str = "8b1f0c1e-5b7a-4a57-9c34-2f3a1c5d7e90";
const ONLINE_LIMIT: Duration = Duration::from_secs(60);

/// A replication group; all members are ended when it is dropped.
#[derive(Debug)]
pub struct Group {
    members: Vec<Server>,
    /// Kept so that nobody else takes them.
    _ports: Vec<Port>,
}

impl Group {
    /// Starts as many members, the first one as the primary, and waits until all are online.
    pub fn start(members: u32) -> Result<Group> {
        let ports: Vec<Port> = (0..members)
            .map(|_| Port::reserve())
            .collect::<Result<_>>()?;
        let seeds: Vec<String> = ports.iter().map(address).collect();
        let seeds = seeds.join(",");
        let servers: Vec<Result<Server>> = thread::scope(|scope| {
            let starts: Vec<_> = (1..)
                .zip(&ports)
                .map(|(id, port)| {
                    let options = member(id, &address(port), &seeds);
                    scope.spawn(move || Server::start(options))
                })
                .collect();
            let lost = || {
                Err(Error::Connection(
                    "a thread that started a member panicked".to_owned(),
                ))
            };
            starts
                .into_iter()
                .map(|start| start.join().unwrap_or_else(|_| lost()))
                .collect()
        });
        let group = Group {
            members: servers.into_iter().collect::<Result<_>>()?,
            _ports: ports,
        };
        for (number, member) in group.members.iter().enumerate() {
            // All begin with nothing of their own, so that each may join the others.
            member.execute("RESET BINARY LOGS AND GTIDS")?;
            let start = "START GROUP_REPLICATION USER = 'repl', PASSWORD = 'repl-password'";
            member.execute(&match number {
                0 => format!(
                    "SET GLOBAL group_replication_bootstrap_group = ON; {start}; \
                     SET GLOBAL group_replication_bootstrap_group = OFF"
                ),
                _ => start.to_owned(),
            })?;
            group.wait_until_online(number)?;
        }
        Ok(group)
    }

    /// Its members, in order of their start.
    pub fn members(&self) -> &[Server] {
        &self.members
    }

    /// Waits until this member says of itself that it is online.
    pub fn wait_until_online(&self, number: usize) -> Result<()> {
        let member = self.members.get(number);
        let member = member.ok_or_else(|| Error::Connection(format!("no member {number}")))?;
        let deadline = Instant::now() + ONLINE_LIMIT;
        let sql = "SELECT MEMBER_STATE FROM performance_schema.replication_group_members WHERE MEMBER_ID = @@server_uuid";
        while Instant::now() < deadline {
            if member.query_value(sql)?.as_deref() == Some("ONLINE") {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(Error::Timeout {
            what: format!(
                "a group member online; its log ends with\n{}",
                member.log_tail(20)
            ),
            after: ONLINE_LIMIT,
        })
    }
}

fn address(port: &Port) -> String {
    format!("127.0.0.1:{}", port.number())
}

fn member(id: u32, address: &str, seeds: &str) -> ServerOptions {
    let mut options = ServerOptions::new(Kind::MySql).server_id(id);
    options.extra_args = [
        "--plugin-load-add=group_replication.so".to_owned(),
        format!("--loose-group-replication-group-name={GROUP_NAME}"),
        "--loose-group-replication-start-on-boot=OFF".to_owned(),
        format!("--loose-group-replication-local-address={address}"),
        format!("--loose-group-replication-group-seeds={seeds}"),
        "--loose-group-replication-recovery-get-public-key=ON".to_owned(),
        "--loose-group-replication-member-expel-timeout=0".to_owned(),
        "--loose-group-replication-poll-spin-loops=0".to_owned(),
    ]
    .to_vec();
    options
}
