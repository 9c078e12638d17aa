//! ShardingSphere 5 → resources: a VirtualDatabase, a TrafficStrategy and a DataShard for each of its databases.
//!
//! It owns how rules of a database come together. It must never carry a table over that could put a row elsewhere than
//! ShardingSphere did: such a table is listed, and statements on it are refused. Input: its YAML files, of any operator.

mod global;
mod groups;
mod nodes;
mod others;
mod source;
mod table;
mod tables;

use std::path::{Path, PathBuf};

use dbmesh_model::Defects;
use dbmesh_model::yaml::{self, Node};

use super::draft::{Draft, Shard, denial};
use super::listing::{At, Listing, Place};
use super::secrets::Secrets;
use super::tree::{Fields, Tree, field, map, text, texts};
use super::{Made, defect, read};
use crate::cli::ShardingSphereArgs;
use global::Global;
use groups::Splitting;
use others::Others;
use source::{Pools, Server};
use tables::{Around, Tables};

/// What ShardingSphere calls a database that says no name.
const DATABASE_DEFAULT: &str = "logic_db";

/// Converts the files.
///
/// # Errors
/// What cannot be read, or that there is no database.
pub fn import(args: &ShardingSphereArgs) -> Result<Made, Defects> {
    let mut secrets = Secrets::new(args.common.secrets);
    let mut listing = Listing::default();
    let documents = documents(&args.files)?;
    let tops: Vec<At<'_>> = documents
        .iter()
        .map(|(file, node)| At { file, node })
        .collect();
    let mut global = Global::default();
    for top in &tops {
        global.read(*top, &mut secrets, &mut listing);
    }
    let databases: Vec<At<'_>> = tops
        .iter()
        .copied()
        .filter(|top| top.field("dataSources").is_some())
        .collect();
    for top in &tops {
        let mut known = global::FIELDS.to_vec();
        known.extend(["databaseName", "schemaName", "dataSources"]);
        listing.unread(*top, &known);
    }
    let Some(first) = args.files.first().filter(|_| !databases.is_empty()) else {
        let first = args.files.first().map_or(Path::new(""), PathBuf::as_path);
        return Err(defect(
            first,
            0,
            "no file has `dataSources`: there is no database to convert".to_owned(),
        ));
    };
    let mut drafts = Vec::new();
    for top in &databases {
        let mut database = Database::read(*top, args, &mut secrets, &mut listing);
        if database.servers.is_empty() {
            return Err(defect(
                first,
                0,
                format!(
                    "no data source of `{}` leads to a MySQL server",
                    database.name
                ),
            ));
        }
        let namespace = (databases.len() > 1).then(|| database.name.clone());
        let mut made = database.drafts(&global, &mut secrets, &mut listing);
        made.iter_mut()
            .for_each(|draft| draft.namespace.clone_from(&namespace));
        drafts.append(&mut made);
    }
    if databases.len() > 1 {
        let why =
            "several databases share a listener, where clients are told apart by user and schema";
        listing.note(
            &whole(first),
            "USE of another database",
            why,
            "clients name the schema when they connect, and stay in it",
        );
    }
    Ok(Made {
        drafts,
        listing,
        secrets,
    })
}

fn documents(files: &[PathBuf]) -> Result<Vec<(PathBuf, Node)>, Defects> {
    let mut documents = Vec::new();
    for file in files {
        let (nodes, faults) = yaml::read_tagged(&read(file)?);
        if let Some(fault) = faults.first() {
            return Err(defect(file, fault.position.line, fault.reason.clone()));
        }
        documents.extend(nodes.into_iter().map(|node| (file.clone(), node)));
    }
    Ok(documents)
}

fn whole(file: &Path) -> Place {
    Place {
        file: file.to_owned(),
        line: 0,
    }
}

/// A database of ShardingSphere.
struct Database {
    name: String,
    place: Place,
    servers: Vec<Server>,
    pools: Pools,
    splitting: Splitting,
    tables: Tables,
    others: Others,
}

impl Database {
    fn read(
        top: At<'_>,
        args: &ShardingSphereArgs,
        secrets: &mut Secrets,
        listing: &mut Listing,
    ) -> Self {
        let mut pools = Pools::default();
        let sources = top.field("dataSources");
        let servers = sources
            .map(|at| source::servers(at, &mut pools, secrets, listing))
            .unwrap_or_default();
        let name = top.text("databaseName").or_else(|| top.text("schemaName"));
        let mut database = Self {
            name: name.unwrap_or_else(|| DATABASE_DEFAULT.to_owned()),
            place: top.place(),
            servers,
            pools,
            splitting: Splitting::default(),
            tables: Tables::default(),
            others: Others::default(),
        };
        let rules = || top.field("rules").into_iter().flat_map(At::items);
        // Other rules use the names of groups.
        for rule in rules().filter(|rule| rule.text("!").as_deref() == Some("READWRITE_SPLITTING"))
        {
            database.splitting.read(rule, listing);
        }
        database.drop_broken_groups(listing);
        for rule in rules() {
            database.rule(rule, args, listing);
        }
        database
    }

    /// A group without its servers is none.
    fn drop_broken_groups(&mut self, listing: &mut Listing) {
        let servers = &self.servers;
        self.splitting.groups.retain(|group| {
            let mut members = std::iter::once(&group.write).chain(&group.reads);
            let missing = members.find(|name| servers.iter().all(|server| server.name != **name));
            if let Some(name) = missing {
                let why = format!("there is no data source `{name}`, or it is not carried over");
                listing.lost(
                    &group.place,
                    format!("group {}", group.name),
                    &why,
                    "write a readWriteSplittingGroup by hand",
                );
            }
            missing.is_none()
        });
    }

    fn rule(&mut self, rule: At<'_>, args: &ShardingSphereArgs, listing: &mut Listing) {
        match rule.text("!").as_deref() {
            Some("SHARDING") => {
                let names: Vec<String> = self
                    .servers
                    .iter()
                    .map(|server| server.name.clone())
                    .collect();
                let around = Around {
                    servers: &names,
                    splitting: &self.splitting,
                    key_types: &args.key_types,
                };
                self.tables.read(rule, &around, listing);
                self.others.broadcast(rule, "broadcastTables");
            }
            Some("BROADCAST") => {
                listing.unread(rule, &["!", "tables"]);
                self.others.broadcast(rule, "tables");
            }
            Some("SINGLE") => self.others.single(rule, listing),
            Some("SHADOW") => self.others.shadow(rule, &self.splitting, listing),
            Some("ENCRYPT") => self.others.hidden(rule, "encryption", listing),
            Some("MASK") => self.others.hidden(rule, "mask", listing),
            Some(
                "READWRITE_SPLITTING"
                | "AUTHORITY"
                | "TRANSACTION"
                | "SQL_PARSER"
                | "LOGGING"
                | "CACHE"
                | "SQL_TRANSLATOR"
                | "SQL_FEDERATION"
                | "TRAFFIC"
                | "GLOBAL_CLOCK",
            ) => {}
            Some(other) => {
                listing.lost(
                    &rule.place(),
                    format!("rule !{other}"),
                    "nothing here corresponds to it",
                    "decide whether the application needs it",
                );
            }
            None => {
                listing.lost(
                    &rule.place(),
                    "rule",
                    "it has no tag as `!SHARDING`",
                    "give it its tag",
                );
            }
        }
    }

    fn drafts(
        &mut self,
        global: &Global,
        secrets: &mut Secrets,
        listing: &mut Listing,
    ) -> Vec<Draft> {
        let default = self.default_node(listing);
        let is_sharded = self.is_sharded(default.as_deref());
        let (users, user_trees) = global.users(&self.name, &self.place, secrets, listing);
        let mut strategy = self.strategy(&users, is_sharded, listing);
        let denied = self
            .tables
            .lost
            .iter()
            .map(|(place, table)| denial(place, table));
        strategy
            .rules
            .extend(denied.chain(self.others.denied.drain(..)));
        let mut drafts = vec![
            self.service(global, user_trees, is_sharded, listing),
            strategy,
        ];
        drafts.extend(self.servers.iter().map(|server| self.endpoint(server)));
        if is_sharded {
            drafts.push(self.shard(global, default, listing));
        }
        drafts
    }

    /// Whether tables have to be found, or names of schemas changed.
    fn is_sharded(&self, default: Option<&str>) -> bool {
        let others = &self.others;
        let plain = self.tables.rules.is_empty()
            && self.tables.lost.is_empty()
            && others.broadcast.is_empty()
            && others.single.is_empty();
        let group = default.and_then(|node| {
            self.splitting
                .group_of(node)
                .or_else(|| self.splitting.around(node))
        });
        let shadow = others.shadow.as_ref().map(|(_, name)| name);
        // Without a DataShard, every server of the service has all tables, in a schema of that name.
        let same = self
            .servers
            .iter()
            .filter(|server| Some(&server.name) != shadow)
            .all(|server| {
                let name = server.name.as_str();
                let here = default == Some(name) || group.is_some_and(|group| group.has(name));
                here && server.schema.as_deref() == Some(&self.name)
            });
        !(plain && same)
    }

    /// Where tables are that no rule lists.
    fn default_node(&mut self, listing: &mut Listing) -> Option<String> {
        let logical = |name: &str| match self.splitting.around(name) {
            Some(group) => group.name.clone(),
            None => name.to_owned(),
        };
        let shadow = self.others.shadow.as_ref().map(|(_, name)| name.clone());
        let mut all: Vec<String> = self
            .servers
            .iter()
            .map(|server| server.name.clone())
            .collect();
        all.retain(|name| Some(name) != shadow.as_ref());
        let mut all: Vec<String> = all.iter().map(|name| logical(name)).collect();
        all.sort();
        all.dedup();
        let mut named: Vec<(Place, String)> = self.others.whole.clone();
        named.extend(self.others.default.clone());
        named.iter_mut().for_each(|(_, name)| *name = logical(name));
        let found = match (all.as_slice(), named.first().cloned()) {
            ([only], _) => Some(only.clone()),
            (_, Some((_, first))) => {
                for (place, other) in named.iter().filter(|(_, other)| *other != first) {
                    let why =
                        format!("tables that are not listed are on one node, and that is {first}");
                    listing.lost(
                        place,
                        format!("unlisted tables of {other}"),
                        &why,
                        "list each in `singleTables`",
                    );
                }
                Some(first)
            }
            _ => None,
        };
        if let (Some(place), true) = (&self.others.all, all.len() > 1) {
            let why = "the tables are not named, and no server is asked";
            listing.lost(place, "single tables of all data sources", why, "list each in `singleTables`: those that are not are refused, or looked for on the default node");
        }
        // A group is known to a DataShard by its rules alone.
        match found
            .as_deref()
            .and_then(|name| self.splitting.group_of(name))
        {
            Some(group) if !self.tables.used.contains(&group.name) => Some(group.write.clone()),
            _ => found,
        }
    }

    fn service(
        &self,
        global: &Global,
        users: Tree,
        is_sharded: bool,
        listing: &mut Listing,
    ) -> Draft {
        let (pool, mut limits) = self.pools.fields(listing);
        limits.extend(global.limits());
        let mut service = vec![
            field("name", text("mysql")),
            field("databaseMySQL", global.listen(&self.name)),
            field("users", users),
            field("trafficStrategy", text(&self.name)),
        ];
        if is_sharded {
            service.push(field("dataShard", text(&self.name)));
        }
        for (name, fields) in [("limits", limits), ("pool", pool)] {
            if !fields.is_empty() {
                service.push(field(name, Tree::Map(fields)));
            }
        }
        let services = Tree::List(vec![Tree::Map(service)]);
        Draft::new(
            "VirtualDatabase",
            &self.name,
            vec![field("services", services)],
        )
    }

    fn strategy(&self, users: &[String], is_sharded: bool, listing: &mut Listing) -> Draft {
        let mut spec = vec![field(
            "selector",
            map([("matchLabels", map([("source", text(&self.name))]))]),
        )];
        spec.extend(
            self.splitting
                .load_balance()
                .map(|tree| field("loadBalance", tree)),
        );
        // SHARDINGSPHERE_HINT is for everybody there.
        spec.push(field("hints", map([("users", texts(users))])));
        match &self.others.shadow {
            Some((place, _)) if is_sharded => {
                let why =
                    "a shadow does not go with sharding yet, nor with a schema of another name";
                listing.lost(
                    place,
                    "shadow",
                    why,
                    "statements with the hint SHADOW=true are refused",
                );
            }
            Some((_, name)) => spec.push(field("shadow", map([("endpoint", text(name))]))),
            None => {}
        }
        Draft::new("TrafficStrategy", &self.name, spec)
    }

    fn endpoint(&self, server: &Server) -> Draft {
        let mut spec: Fields = vec![field("database", server.database.clone())];
        spec.extend(self.splitting.endpoint_fields(&server.name));
        let is_shadow = self
            .others
            .shadow
            .as_ref()
            .is_some_and(|(_, name)| *name == server.name);
        if is_shadow {
            spec.push(field("role", text("shadow")));
        }
        let mut draft = Draft::new("DatabaseEndpoint", &server.name, spec);
        draft.label = (!is_shadow).then(|| self.name.clone());
        draft
    }

    fn shard(&mut self, global: &Global, default: Option<String>, listing: &mut Listing) -> Draft {
        let mut spec = Fields::new();
        self.list_uncopied(default.as_deref(), listing);
        if !self.others.broadcast.is_empty() {
            spec.push(field("broadcastTables", texts(&self.others.broadcast)));
        }
        let single = self.others.single_tables();
        if !single.is_empty() {
            spec.push(field("singleTables", Tree::List(single)));
        }
        spec.extend(default.map(|node| field("defaults", map([("node", text(node))]))));
        let across = global.across.unwrap_or("bestEffort");
        spec.push(field("transactions", map([("acrossNodes", text(across))])));
        let connections = global.connections_per_node;
        spec.extend(connections.map(|n| {
            field(
                "execution",
                map([("maxConnectionsPerNode", Tree::Number(n.into()))]),
            )
        }));
        let mut draft = Draft::new("DataShard", &self.name, spec);
        let mut tables = std::mem::take(&mut self.tables);
        draft.rules = std::mem::take(&mut tables.rules);
        draft.shard = Some(Shard {
            strategy: self.name.clone(),
            algorithms: tables.algorithms,
            generators: tables.generators,
            binding: tables.binding,
        });
        draft
    }

    /// Nodes are what rules name: the copy of a broadcast table at another data source is not written.
    fn list_uncopied(&self, default: Option<&str>, listing: &mut Listing) {
        if self.others.broadcast.is_empty() {
            return;
        }
        for server in &self.servers {
            let name = server.name.as_str();
            let of_group = self.splitting.around(name).map(|group| group.name.as_str());
            let used = |node: &str| node == name || Some(node) == of_group;
            let single = self.others.single.iter().any(|(.., node)| used(node));
            if !single
                && !self.tables.used.iter().any(|node| used(node))
                && !default.is_some_and(used)
            {
                let why = "no rule has a table there, so that it is no node";
                listing.lost(
                    &server.place,
                    format!("broadcast tables of data source {name}"),
                    why,
                    "list one of its tables in `singleTables`",
                );
            }
        }
    }
}
