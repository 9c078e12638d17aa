//! ProxySQL → resources: for each of its users a VirtualDatabase, a TrafficStrategy, and the servers of its hostgroup.
//!
//! It owns that users stay apart: ProxySQL logs in at servers as the client's user, so each user has endpoints of its own.
//! It must never send a statement to replicas that ProxySQL kept from them. Input: its file, or its admin interface.

mod admin;
mod hostgroups;
mod libconfig;
mod rules;
mod tables;

use std::path::Path;

use dbmesh_model::Defects;

use super::draft::Draft;
use super::listing::Listing;
use super::secrets::Secrets;
use super::tree::{Fields, Tree, field, map, text, texts};
use super::{Made, defect, read};
use crate::cli::ProxySqlArgs;
use hostgroups::{Hostgroups, Servers};
use tables::{OTHERS, Row, Tables};

/// Where ProxySQL listens if nothing says it.
const INTERFACES_DEFAULT: &str = "0.0.0.0:6033";
/// Connections to a server, if its row does not say.
const CONNECTIONS_DEFAULT: u64 = 1_000;
/// Largest limits of ours.
const POOL_SIZE_MAX: u64 = 100_000;
const DAY_MS: u64 = 86_400_000;

/// Converts a file, or what runs.
///
/// # Errors
/// What cannot be read, or that there is no user to convert.
pub fn import(args: &ProxySqlArgs) -> Result<Made, Defects> {
    let mut listing = Listing::default();
    let (place, tables) = match admin::Dsn::parse(&args.source) {
        Some(dsn) => {
            let place = Path::new("mysql://");
            let tables = dsn.and_then(|dsn| admin::read(&dsn));
            (place, tables.map_err(|why| defect(place, 0, why))?)
        }
        None => {
            let file = Path::new(&args.source);
            let tables = Tables::of_file(file, &read(file)?, &mut listing);
            (file, tables.map_err(|(line, why)| defect(file, line, why))?)
        }
    };
    for table in OTHERS {
        for row in tables.of(table) {
            listing.lost(
                &row.place,
                table,
                "nothing here corresponds to it",
                "see Splitting, Rules and Firewall for what there is",
            );
        }
    }
    let importer = Importer {
        tables: &tables,
        hostgroups: Hostgroups::of(&tables),
        variables: Variables::of(&tables, &mut listing),
    };
    let mut secrets = Secrets::new(args.common.secrets);
    let mut drafts: Vec<Draft> = Vec::new();
    for user in tables
        .of("mysql_users")
        .iter()
        .filter(|user| user.truth("active", true) && user.truth("frontend", true))
    {
        drafts.extend(importer.user(user, &mut secrets, &mut listing));
    }
    match drafts.is_empty() {
        true => Err(defect(
            place,
            0,
            "no user in mysql_users can be converted".to_owned(),
        )),
        false => Ok(Made {
            drafts,
            listing,
            secrets,
        }),
    }
}

/// What `mysql_variables` say for all users.
#[derive(Default)]
struct Variables {
    listen: Fields,
    limits: Fields,
    pool: Fields,
    monitor: Option<(String, String)>,
}

impl Variables {
    fn of(tables: &Tables, listing: &mut Listing) -> Self {
        let mut variables = Self::default();
        let interfaces = tables.variable("interfaces").unwrap_or(INTERFACES_DEFAULT);
        variables.interfaces(interfaces, tables, listing);
        let monitor = |name: &str| tables.variable(name).map(str::to_owned);
        variables.monitor = monitor("monitor_username").zip(monitor("monitor_password"));
        for (name, (place, value)) in &tables.variables {
            let number = value.parse::<u64>().ok();
            let ours = |fields: &mut Fields, name: &str, most: u64| {
                let number = number.filter(|number| (1..=most).contains(number));
                fields.extend(number.map(|number| field(name, Tree::Number(number.into()))));
            };
            match name.as_str() {
                "interfaces" | "monitor_username" | "monitor_password" => {}
                "max_connections" => ours(&mut variables.limits, "maxConnections", u32::MAX.into()),
                "wait_timeout" => ours(&mut variables.limits, "idleTimeoutMs", 31_536_000_000),
                "default_query_timeout" => {
                    ours(&mut variables.limits, "statementTimeoutMs", DAY_MS)
                }
                "connect_timeout_server" => {
                    ours(&mut variables.pool, "connectTimeoutMs", 3_600_000)
                }
                "server_version" => variables.listen.push(field("serverVersion", text(value))),
                "multiplexing" if value == "0" || value == "false" => {
                    variables.pool.push(field("multiplexing", text("session")))
                }
                "default_query_delay" if number.is_some_and(|number| number > 0) => {
                    listing.lost(
                        place,
                        name.clone(),
                        "statements wait by rules only",
                        "write a rule with `delayMs`",
                    );
                }
                "init_connect" if !value.is_empty() => {
                    listing.lost(
                        place,
                        name.clone(),
                        "the state of server sessions is the clients' own",
                        "set `init_connect` of the servers",
                    );
                }
                "default_schema" => {}
                "have_ssl" | "have_compress" => {
                    listing.note(
                        place,
                        name.clone(),
                        "TLS is offered to clients, compression is not",
                        "see `tls` and `compression` of the service",
                    );
                }
                _ => listing.note(place, name.clone(), "it tunes ProxySQL itself", "nothing"),
            }
        }
        variables
    }

    fn interfaces(&mut self, interfaces: &str, tables: &Tables, listing: &mut Listing) {
        for interface in interfaces
            .split(';')
            .map(str::trim)
            .filter(|interface| !interface.is_empty())
        {
            let has = |name: &str, fields: &Fields| fields.iter().any(|(known, _)| known == name);
            if interface.starts_with('/') && !has("socket", &self.listen) {
                self.listen.push(field("socket", text(interface)));
                continue;
            }
            let parts = interface
                .rsplit_once(':')
                .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
            match parts.filter(|_| !has("host", &self.listen)) {
                Some((host, port)) => {
                    self.listen
                        .push(field("host", text(host.trim_matches(['[', ']']))));
                    self.listen.push(field("port", Tree::Number(port.into())));
                }
                None => {
                    let place = tables
                        .variables
                        .get("interfaces")
                        .map(|(place, _)| place.clone());
                    if let Some(place) = place {
                        let why = "a service listens on one address and one socket";
                        listing.lost(
                            &place,
                            format!("interface {interface}"),
                            why,
                            "write a service of its own",
                        );
                    }
                }
            }
        }
    }
}

struct Importer<'a> {
    tables: &'a Tables,
    hostgroups: Hostgroups<'a>,
    variables: Variables,
}

impl Importer<'_> {
    /// The resources of a user.
    fn user(&self, user: &Row, secrets: &mut Secrets, listing: &mut Listing) -> Vec<Draft> {
        let name = user.text("username").unwrap_or_default();
        let lost = |why: &str, instead: &str, listing: &mut Listing| {
            listing.lost(&user.place, format!("user {name}"), why, instead);
            Vec::new()
        };
        let password = user.text("password").unwrap_or_default();
        if name.is_empty() || password.is_empty() {
            return lost(
                "it has no name, or no password",
                "give it a password",
                listing,
            );
        }
        let home = user.number("default_hostgroup").unwrap_or(0);
        let mut servers = self.hostgroups.servers(home, listing);
        if servers.rows.is_empty() {
            let why = format!("its hostgroup {home} has no server that is online");
            return lost(&why, "add one, or take the user away", listing);
        }
        self.list_user(user, listing);
        let rules = match user.truth("fast_forward", false) {
            true => Vec::new(),
            false => rules::rules(self.tables, name, &mut servers, listing),
        };
        let resource = resource_name(name);
        let (account, backend) = account(user, &servers, secrets, listing);
        let mut drafts = vec![
            self.service(user, &resource, account, &servers, listing),
            self.strategy(&resource, &servers, rules, secrets),
        ];
        drafts.extend(
            servers
                .rows
                .iter()
                .map(|(server, role)| endpoint(server, *role, &resource, name, backend.as_ref())),
        );
        drafts
    }

    /// What of a user's row acts otherwise.
    fn list_user(&self, user: &Row, listing: &mut Listing) {
        let name = user.text("username").unwrap_or_default();
        if user.truth("schema_locked", false) {
            listing.lost(
                &user.place,
                format!("schema_locked of {name}"),
                "USE is not refused",
                "give the user `grants` on that schema only: see Access",
            );
        }
        if !user.truth("transaction_persistent", true) {
            let why = "a transaction stays on one server";
            listing.note(
                &user.place,
                format!("transaction_persistent of {name}"),
                why,
                "nothing",
            );
        }
        if user.truth("fast_forward", false) {
            let why = "statements are looked at in any case";
            listing.note(&user.place, format!("fast_forward of {name}"), why, "its sessions keep their server connection, and no query rule is carried over for it");
        }
        if user.text("attributes").is_some_and(|text| text != "{}") {
            listing.lost(
                &user.place,
                format!("attributes of {name}"),
                "they are not read",
                "see Access for what users can be given",
            );
        }
    }

    fn service(
        &self,
        user: &Row,
        resource: &str,
        account: Fields,
        servers: &Servers<'_>,
        listing: &mut Listing,
    ) -> Draft {
        let mut listen = self.variables.listen.clone();
        let default = self.tables.variable("default_schema");
        let schema = user
            .text("default_schema")
            .or(default)
            .filter(|schema| *schema != "information_schema");
        listen.extend(schema.map(|schema| field("db", text(schema))));
        let mut limits = self.variables.limits.clone();
        if let Some(most) = user
            .number("max_connections")
            .filter(|most| (1..=u32::MAX.into()).contains(most))
        {
            limits.push(field("maxConnectionsPerUser", Tree::Number(most.into())));
        }
        let mut pool = self.variables.pool.clone();
        let size = pool_size(servers, listing);
        pool.push(field("size", Tree::Number(size.into())));
        if user.truth("fast_forward", false) && pool.iter().all(|(name, _)| name != "multiplexing")
        {
            pool.push(field("multiplexing", text("session")));
        }
        let mut service = vec![
            field("name", text("mysql")),
            field("databaseMySQL", Tree::Map(listen)),
            field("users", Tree::List(vec![Tree::Map(account)])),
            field("trafficStrategy", text(resource)),
        ];
        if !limits.is_empty() {
            service.push(field("limits", Tree::Map(limits)));
        }
        service.push(field("pool", Tree::Map(pool)));
        let services = Tree::List(vec![Tree::Map(service)]);
        Draft::new(
            "VirtualDatabase",
            resource,
            vec![field("services", services)],
        )
    }

    fn strategy(
        &self,
        resource: &str,
        servers: &Servers<'_>,
        rules: Vec<super::draft::Part>,
        secrets: &mut Secrets,
    ) -> Draft {
        let mut balance = vec![field(
            "simpleLoadBalance",
            map([("kind", text("weighted"))]),
        )];
        if servers.splits() {
            let mut account = Fields::new();
            if let Some((user, password)) = &self.variables.monitor {
                account.push(field("user", text(user)));
                account.extend(
                    secrets
                        .plain("monitor", password)
                        .map(|tree| field("password", tree)),
                );
            }
            if let Some(lag) = servers.lag() {
                account.push(field(
                    "replicationLagProbe",
                    map([("maxReplicationLag", Tree::Number(lag.into()))]),
                ));
            }
            let target = match servers.home_is_reader {
                true => "read",
                false => "readwrite",
            };
            let mut form = vec![field("defaultTarget", text(target))];
            let form = match servers.reported {
                true => {
                    form.push(field(
                        "discovery",
                        map([("masterHighAvailability", Tree::Map(account))]),
                    ));
                    field("dynamic", Tree::Map(form))
                }
                false => {
                    if !account.is_empty() {
                        form.push(field("monitor", Tree::Map(account)));
                    }
                    field("static", Tree::Map(form))
                }
            };
            let splitting = vec![
                form,
                field("consistency", text("eventual")),
                field("transactionalRead", text("primary")),
            ];
            balance.push(field("readWriteSplitting", Tree::Map(splitting)));
        }
        let spec = vec![
            field(
                "selector",
                map([("matchLabels", map([("source", text(resource))]))]),
            ),
            field("loadBalance", Tree::Map(balance)),
        ];
        let mut draft = Draft::new("TrafficStrategy", resource, spec);
        draft.rules = rules;
        draft
    }
}

/// The user as a client, and its password towards servers.
fn account(
    user: &Row,
    servers: &Servers<'_>,
    secrets: &mut Secrets,
    listing: &mut Listing,
) -> (Fields, Option<Tree>) {
    let name = user.text("username").unwrap_or_default();
    let password = user.text("password").unwrap_or_default();
    let owner = format!("user_{name}");
    let mut account = vec![field("name", text(name))];
    let backend = if is_hash(password) {
        account.push(field("passwordHash", text(password)));
        let why = "a hash lets the client in, and does not log in at a server";
        let instead = "its password towards the servers is an environment variable";
        listing.note(&user.place, format!("user {name}"), why, instead);
        Some(secrets.missing(&owner))
    } else {
        secrets.plain(&owner, password)
    };
    if !is_hash(password) {
        account.extend(backend.clone().map(|tree| field("password", tree)));
    }
    if servers.home_is_reader {
        account.push(field("readOnly", Tree::Bool(true)));
    }
    if user.truth("use_ssl", false) {
        account.push(field("requireTls", Tree::Bool(true)));
    }
    (account, backend)
}

/// A server as one user reaches it.
fn endpoint(
    server: &Row,
    role: Option<&str>,
    resource: &str,
    user: &str,
    password: Option<&Tree>,
) -> Draft {
    let mut fields = hostgroups::address(server);
    fields.push(field("user", text(user)));
    fields.extend(password.map(|password| field("password", password.clone())));
    let mode = match server.truth("use_ssl", false) {
        true => "required",
        false => "disabled",
    };
    fields.push(field("tls", map([("mode", text(mode))])));
    if server.truth("compression", false) {
        fields.push(field("compression", texts(["zlib"])));
    }
    let mut spec = vec![field("database", map([("MySQL", Tree::Map(fields))]))];
    spec.extend(role.map(|role| field("role", text(role))));
    let weight = server.number("weight").unwrap_or(1);
    spec.push(field("weight", Tree::Number(weight.into())));
    let host = server.text("hostname").unwrap_or_default();
    let port = server.number("port").unwrap_or(3306);
    let name = resource_name(&format!("{resource}-{host}-{port}"));
    let mut draft = Draft::new("DatabaseEndpoint", &name, spec);
    draft.label = Some(resource.to_owned());
    draft
}

/// The largest number of connections that a server of them may have.
fn pool_size(servers: &Servers<'_>, listing: &mut Listing) -> u64 {
    let of = |server: &Row| {
        let size = server.number("max_connections");
        size.unwrap_or(CONNECTIONS_DEFAULT).clamp(1, POOL_SIZE_MAX)
    };
    let most = servers.rows.iter().map(|(server, _)| of(server)).max();
    let most = most.unwrap_or(CONNECTIONS_DEFAULT);
    for (server, _) in servers.rows.iter().filter(|(server, _)| of(server) != most) {
        let why = "pools have one setting for all servers of a service";
        listing.note(
            &server.place,
            "max_connections",
            why,
            "the largest is taken",
        );
    }
    most
}

/// Whether a password is what a server would store of it.
fn is_hash(password: &str) -> bool {
    let native = password
        .strip_prefix('*')
        .is_some_and(|hex| hex.len() == 40 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
    native || password.starts_with("$A$005$")
}

/// A name that resources may have.
fn resource_name(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = name
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    let name = name.trim_matches(['-', '.']);
    match name.is_empty() {
        true => "user".to_owned(),
        false => name.to_owned(),
    }
}
