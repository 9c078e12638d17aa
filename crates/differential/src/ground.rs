//! The servers of a comparison: one MySQL as the judge, and a mesh over two servers with the same rows.
//!
//! Owns the servers, the loading, the restoring after changes, and the look into tables behind the mesh's back. Rows are
//! placed by an SQL expression of the servers', not by the planner that is examined. Until it is a mesh, the opponent may be
//! another server, altered on purpose: so the harness shows that it finds what differs.

use dbmesh_testkit::{
    Kind, Proxy, Server, ServerOptions, Session,
    port::Port,
    server::{APP_PASSWORD, APP_USER},
};

use crate::answer::{Pair, Place};
use crate::schema::{self, Placed, SCHEMA, Set, Table};
use crate::{Result, failed};

/// Who is compared with the judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opponent {
    /// dbmesh over shards.
    Mesh,
    /// One server with the same rows.
    Same,
    /// One server with a row less, and a value that is another.
    Altered,
}

/// The servers.
#[derive(Debug)]
pub struct Ground {
    set: Set,
    kind: Kind,
    opponent: Opponent,
    sessions: [Session; 2],
    places: [Place; 2],
    proxy: Option<Proxy>,
    // Last, so that they end after what uses them.
    servers: [Server; 2],
    _port: Option<Port>,
}

impl Ground {
    /// Starts and loads everything.
    pub fn start(set: Set, kind: Kind, opponent: Opponent, seed: u64) -> Result<Self> {
        let start = |id| {
            let options = ServerOptions::new(kind).server_id(id);
            Server::start(match schema::across(&set, kind) {
                // What several nodes commit as one has to last.
                "atomic" => options.durable(),
                _ => options,
            })
        };
        let servers = [
            start(1).map_err(failed("start a server"))?,
            start(2).map_err(failed("start a server"))?,
        ];
        let session = |server: &Server| server.session().map_err(failed("open a session"));
        let sessions = [session(&servers[0])?, session(&servers[1])?];
        for session in &sessions {
            pristine(&set, session, kind, seed)?;
        }
        logical(&set, &sessions[0], kind)?;
        let judge = place(kind, servers[0].port(), SCHEMA);
        let mut ground = Self {
            set,
            kind,
            opponent,
            sessions,
            places: [judge.clone(), judge],
            proxy: None,
            servers,
            _port: None,
        };
        match opponent {
            Opponent::Mesh => ground.shard()?,
            Opponent::Same | Opponent::Altered => {
                logical(&set, &ground.sessions[1], kind)?;
                ground.places[1] = place(kind, ground.servers[1].port(), SCHEMA);
            }
        }
        ground.alter()?;
        Ok(ground)
    }

    /// The tables.
    pub fn tables(&self) -> &'static [Table] {
        self.set.tables
    }

    /// Which servers.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Two new connections.
    pub fn connect(&self) -> Result<Pair> {
        Pair::open(self.places[0].clone(), self.places[1].clone())
    }

    /// The mesh's process, where there is one.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// The judge, and the mesh.
    pub fn places(&self) -> &[Place; 2] {
        &self.places
    }

    /// The servers, which may be killed and started again.
    pub fn servers(&self) -> &[Server; 2] {
        &self.servers
    }

    /// New sessions of the servers, behind the mesh's back.
    pub fn open(&self) -> Result<[Session; 2]> {
        let [one, other] = &self.servers;
        let open = |server: &Server| server.session().map_err(failed("open a session"));
        Ok([open(one)?, open(other)?])
    }

    /// The servers' sessions, behind the mesh's back.
    pub fn sessions(&self) -> &[Session; 2] {
        &self.sessions
    }

    fn alter(&self) -> Result<()> {
        match self.opponent {
            Opponent::Altered => execute(
                &self.sessions[1],
                "DELETE FROM shop.t_user WHERE user_id = 3; \
                 UPDATE shop.t_item SET pieces = pieces + 1 ORDER BY user_id, order_id, line LIMIT 1",
            ),
            Opponent::Mesh | Opponent::Same => Ok(()),
        }
    }

    fn shard(&mut self) -> Result<()> {
        for (server, session) in self.sessions.iter().enumerate() {
            execute(session, &format!("CREATE DATABASE shop_{server}"))?;
            for table in self.set.tables {
                for (of, name) in table.parts() {
                    if of == server {
                        let name = format!("shop_{server}.{name}");
                        execute(session, &table.create(&name, self.kind))?;
                    }
                }
            }
        }
        for table in self.set.tables {
            self.fill(table)?;
        }
        let port = Port::reserve().map_err(failed("reserve a port"))?;
        let yaml = self.resources(port.number());
        if std::env::var_os("DIFF_NO_PROXY").is_some() {
            return Ok(());
        }
        self.proxy = Some(Proxy::start(&yaml, &[]).map_err(failed("start dbmesh"))?);
        self.places[1] = place(self.kind, port.number(), SCHEMA);
        self._port = Some(port);
        Ok(())
    }

    /// The parts of a table get their rows from the pristine copy.
    fn fill(&self, table: &Table) -> Result<()> {
        for (server, session) in self.sessions.iter().enumerate() {
            let mut script = String::new();
            for (shard, (of, name)) in table.parts().into_iter().enumerate() {
                if of == server {
                    let chosen = match table.placed {
                        Placed::Sharded { expression, .. } => {
                            format!(" WHERE {expression} = {shard}")
                        }
                        Placed::Broadcast | Placed::Single(_) => String::new(),
                    };
                    let base = table.name;
                    script.push_str(&format!(
                        "DELETE FROM shop_{server}.{name}; \
                         INSERT INTO shop_{server}.{name} SELECT * FROM pristine.{base}{chosen};"
                    ));
                }
            }
            if !script.is_empty() {
                execute(session, &script)?;
            }
        }
        Ok(())
    }

    /// Where the judge is, and the two servers with their shards.
    pub fn nodes(&self) -> [Place; 3] {
        let node = |server: usize| {
            place(
                self.kind,
                self.servers[server].port(),
                &format!("shop_{server}"),
            )
        };
        [self.places[0].clone(), node(0), node(1)]
    }

    /// The resources of the mesh.
    pub fn resources(&self, port: u16) -> String {
        let ports = [self.servers[0].port(), self.servers[1].port()];
        schema::resources(&self.set, self.kind, port, ports)
    }

    /// All tables as they were.
    pub fn restore(&self) -> Result<()> {
        // One wait for the disk each.
        self.everywhere("BEGIN")?;
        for table in self.set.tables {
            let name = table.name;
            let script = format!(
                "DELETE FROM {SCHEMA}.{name}; INSERT INTO {SCHEMA}.{name} SELECT * FROM pristine.{name}"
            );
            execute(&self.sessions[0], &script)?;
            match self.opponent {
                Opponent::Mesh => self.fill(table)?,
                Opponent::Same | Opponent::Altered => execute(&self.sessions[1], &script)?,
            }
        }
        self.everywhere("COMMIT")?;
        self.alter()
    }

    fn everywhere(&self, sql: &str) -> Result<()> {
        let mut sessions = self.sessions.iter();
        sessions.try_for_each(|session| execute(session, sql))
    }

    /// What differs in a table, looked at behind the mesh's back.
    pub fn contents_differ(&self, table: &Table) -> Result<Option<String>> {
        let name = table.name;
        let whole = format!("SELECT * FROM {SCHEMA}.{name}");
        let judged = sorted(&self.sessions[0], &whole)?;
        let met = match self.opponent {
            Opponent::Same | Opponent::Altered => vec![sorted(&self.sessions[1], &whole)?],
            Opponent::Mesh => match self.parts(table)? {
                Ok(parts) => parts,
                Err(misplaced) => return Ok(Some(misplaced)),
            },
        };
        for copy in met {
            if copy != judged {
                let only = |a: &Vec<String>, b: &Vec<String>| {
                    let first = a.iter().find(|row| !b.contains(row));
                    first.map_or_else(|| "-".to_owned(), Clone::clone)
                };
                return Ok(Some(format!(
                    "{name}: {} rows, not {}; too many: {}; missing: {}",
                    copy.len(),
                    judged.len(),
                    only(&copy, &judged),
                    only(&judged, &copy)
                )));
            }
        }
        Ok(None)
    }

    /// The rows of every copy, or a row that is on a shard that is not its own.
    fn parts(&self, table: &Table) -> Result<std::result::Result<Vec<Vec<String>>, String>> {
        let mut copies = Vec::new();
        let mut rows = Vec::new();
        for (shard, (server, name)) in table.parts().into_iter().enumerate() {
            let (lost, session) = match table.placed {
                Placed::Sharded { expression, .. } => (format!("{expression} <> {shard}"), server),
                Placed::Broadcast | Placed::Single(_) => ("0".to_owned(), server),
            };
            let query = format!("SELECT ({lost}), t.* FROM shop_{server}.{name} t");
            for row in sorted(&self.sessions[session], &query)? {
                match row.strip_prefix("0|") {
                    Some(row) => rows.push(row.to_owned()),
                    None => return Ok(Err(format!("{name} has a row of another shard: {row}"))),
                }
            }
            if table.placed == Placed::Broadcast {
                copies.push(std::mem::take(&mut rows));
            }
        }
        if table.placed != Placed::Broadcast {
            copies.push(rows);
        }
        copies.iter_mut().for_each(|rows| rows.sort_unstable());
        Ok(Ok(copies))
    }
}

fn place(kind: Kind, port: u16, schema: &str) -> Place {
    Place {
        port,
        user: APP_USER.to_owned(),
        password: APP_PASSWORD.to_owned(),
        schema: schema.to_owned(),
        greeting: schema::greeting(kind),
    }
}

fn pristine(set: &Set, session: &Session, kind: Kind, seed: u64) -> Result<()> {
    execute(session, &schema::greeting(kind))?;
    execute(session, "CREATE DATABASE pristine; USE pristine")?;
    for table in set.tables {
        execute(session, &table.create(table.name, kind))?;
    }
    (set.rows)(seed)
        .iter()
        .try_for_each(|insert| execute(session, insert))
}

fn logical(set: &Set, session: &Session, kind: Kind) -> Result<()> {
    execute(session, &format!("CREATE DATABASE {SCHEMA}"))?;
    for table in set.tables {
        let name = table.name;
        execute(session, &table.create(&format!("{SCHEMA}.{name}"), kind))?;
        execute(
            session,
            &format!("INSERT INTO {SCHEMA}.{name} SELECT * FROM pristine.{name}"),
        )?;
    }
    Ok(())
}

fn execute(session: &Session, sql: &str) -> Result<()> {
    let start: String = sql.chars().take(200).collect();
    session.execute(sql).map_err(failed(&start))
}

fn sorted(session: &Session, sql: &str) -> Result<Vec<String>> {
    let rows = session.query(sql).map_err(failed(sql))?;
    let mut texts: Vec<String> = rows
        .into_iter()
        .map(|row| {
            let cell = |cell: Option<String>| cell.unwrap_or_else(|| "NULL".to_owned());
            row.into_iter().map(cell).collect::<Vec<_>>().join("|")
        })
        .collect();
    texts.sort_unstable();
    Ok(texts)
}
