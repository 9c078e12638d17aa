//! What holds for all databases of ShardingSphere: users, properties, how transactions end.

use crate::import::listing::{At, Listing, Place};
use crate::import::secrets::Secrets;
use crate::import::tree::{Fields, Tree, field, text, texts};

/// Fields that are read from files of this kind.
pub const FIELDS: [&str; 14] = [
    "authority",
    "props",
    "transaction",
    "mode",
    "rules",
    "sqlParser",
    "sqlTranslator",
    "sqlFederation",
    "logging",
    "globalClock",
    "traffic",
    "cache",
    "authentication",
    "governance",
];

/// What was found.
#[derive(Default)]
pub struct Global {
    users: Vec<User>,
    mappings: Option<Vec<(String, String)>>,
    /// Listens as the Proxy does.
    pub is_proxy: bool,
    port: Option<u16>,
    version: Option<String>,
    connections: Option<u64>,
    /// `max-connections-size-per-query`.
    pub connections_per_node: Option<u64>,
    /// `acrossNodes`.
    pub across: Option<&'static str>,
}

struct User {
    name: String,
    grantee: String,
    fields: Fields,
}

impl Global {
    /// Reads what a document says for all databases.
    pub fn read(&mut self, document: At<'_>, secrets: &mut Secrets, listing: &mut Listing) {
        if let Some(authority) = document.field("authority") {
            self.authority(authority, secrets, listing);
        }
        if let Some(transaction) = document.field("transaction") {
            self.transaction(transaction, listing);
        }
        if let Some(props) = document.field("props") {
            self.props(props, listing);
        }
        for rule in document.field("rules").into_iter().flat_map(At::items) {
            match rule.text("!").as_deref() {
                Some("AUTHORITY") => self.authority(rule, secrets, listing),
                Some("TRANSACTION") => self.transaction(rule, listing),
                Some("SQL_PARSER" | "LOGGING" | "CACHE") => note_tuning(rule, listing),
                Some(name @ ("SQL_TRANSLATOR" | "SQL_FEDERATION" | "TRAFFIC" | "GLOBAL_CLOCK")) => {
                    lost_rule(&rule.place(), name, listing);
                }
                _ => {}
            }
        }
        for name in ["sqlParser", "logging", "cache"] {
            if let Some(at) = document.field(name) {
                note_tuning(at, listing);
            }
        }
        for name in ["sqlTranslator", "sqlFederation", "traffic", "globalClock"] {
            if let Some(at) = document.field(name) {
                lost_rule(&at.place(), name, listing);
            }
        }
        for name in ["authentication", "governance"] {
            if let Some(at) = document.field(name) {
                listing.lost(
                    &at.place(),
                    name,
                    "it is of a version before 5",
                    "write it in the form of version 5",
                );
            }
        }
        if let Some(mode) = document
            .field("mode")
            .filter(|mode| mode.text("type").as_deref() != Some("Standalone"))
        {
            let why = "what stands in a registry is not read";
            listing.note(
                &mode.place(),
                "mode",
                why,
                "give the files that the registry was filled from, or its export",
            );
        }
    }

    fn authority(&mut self, at: At<'_>, secrets: &mut Secrets, listing: &mut Listing) {
        self.is_proxy = true;
        listing.unread(
            at,
            &[
                "!",
                "users",
                "privilege",
                "provider",
                "authenticators",
                "defaultAuthenticator",
            ],
        );
        for user in at.field("users").into_iter().flat_map(At::items) {
            self.user(user, secrets, listing);
        }
        for name in ["authenticators", "defaultAuthenticator"] {
            if let Some(at) = at.field(name) {
                listing.note(
                    &at.place(),
                    name,
                    "clients choose among the plugins of MySQL",
                    "nothing",
                );
            }
        }
        let Some(provider) = at.any_field(&["privilege", "provider"]) else {
            return;
        };
        match provider
            .text("type")
            .map(|kind| kind.to_ascii_uppercase())
            .as_deref()
        {
            Some("DATABASE_PERMITTED" | "SCHEMA_PRIVILEGES_PERMITTED") => {
                let props = provider.field("props");
                let said = props.map(|props| {
                    let mut said = props.list("user-database-mappings");
                    said.extend(props.list("user-schema-mappings"));
                    said
                });
                let pairs = said.into_iter().flatten().filter_map(|(_, pair)| {
                    let (user, database) = pair.split_once('=')?;
                    Some((user.trim().to_owned(), database.trim().to_owned()))
                });
                self.mappings = Some(pairs.collect());
            }
            Some("ALL_PERMITTED" | "ALL_PRIVILEGES_PERMITTED" | "NATIVE") | None => {}
            Some(other) => {
                let why = "there is no such provider";
                listing.lost(
                    &provider.place(),
                    format!("privileges by {other}"),
                    why,
                    "give users `grants`: see Access",
                );
            }
        }
    }

    /// `{user: root@%, password: …, admin: true}`, or `root@%:password`.
    fn user(&mut self, at: At<'_>, secrets: &mut Secrets, listing: &mut Listing) {
        let place = at.place();
        listing.unread(
            at,
            &["user", "password", "admin", "authenticationMethodName"],
        );
        let (grantee, password) = match at.scalar() {
            Some(text) => match text.split_once(':') {
                Some((grantee, password)) => (grantee.to_owned(), password.to_owned()),
                None => (text, String::new()),
            },
            None => (
                at.text("user").unwrap_or_default(),
                at.text("password").unwrap_or_default(),
            ),
        };
        let (name, host) = grantee.rsplit_once('@').unwrap_or((&grantee, "%"));
        let what = format!("user {grantee}");
        if name.is_empty() || password.is_empty() {
            listing.lost(
                &place,
                what,
                "it has no name, or no password",
                "give it a password",
            );
            return;
        }
        let networks: Option<Vec<String>> = match host {
            "" | "%" => None,
            "localhost" => Some(vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()]),
            host => match host.parse::<std::net::IpAddr>() {
                Ok(address) => Some(vec![format!(
                    "{address}/{}",
                    if address.is_ipv4() { 32 } else { 128 }
                )]),
                Err(_) => {
                    let why = "where it comes from is no address, and from anywhere would be more";
                    listing.lost(&place, what, why, "add it to `users` with `networks`");
                    return;
                }
            },
        };
        if self.users.iter().any(|user| user.name == name) {
            listing.lost(
                &place,
                what,
                "a user has one password, wherever it comes from",
                "merge both users",
            );
            return;
        }
        let mut fields = vec![field("name", text(name))];
        fields.extend(
            secrets
                .plain(&format!("user_{name}"), &password)
                .map(|p| field("password", p)),
        );
        if at.text("admin").as_deref() == Some("true") {
            fields.push(field("operator", Tree::Bool(true)));
        }
        fields.extend(networks.map(|networks| field("networks", texts(networks))));
        self.users.push(User {
            name: name.to_owned(),
            grantee: grantee.clone(),
            fields,
        });
    }

    fn transaction(&mut self, at: At<'_>, listing: &mut Listing) {
        listing.unread(at, &["!", "defaultType", "providerType", "props"]);
        let kind = at.text("defaultType").map(|kind| kind.to_ascii_uppercase());
        self.across = match kind.as_deref() {
            Some("LOCAL") | None => Some("bestEffort"),
            Some("XA") => Some("atomic"),
            Some(other) => {
                let why = "transactions over several nodes are refused, atomic, or committed one after the other";
                listing.lost(
                    &at.place(),
                    format!("transactions of type {other}"),
                    why,
                    "choose `transactions.acrossNodes`: they are refused now",
                );
                Some("refuse")
            }
        };
        if let Some(provider) = at.field("providerType") {
            let why = "transactions over several nodes need no manager of their own";
            listing.note(
                &provider.place(),
                "providerType",
                why,
                "nothing; see Transactions for the settings of servers",
            );
        }
    }

    fn props(&mut self, at: At<'_>, listing: &mut Listing) {
        for (entry, value) in at.entries() {
            let number = || value.scalar().and_then(|text| text.parse::<u64>().ok());
            let place = value.key_place(entry);
            match entry.key.as_str() {
                "proxy-default-port" => {
                    self.port = number().and_then(|port| u16::try_from(port).ok())
                }
                "proxy-mysql-default-version" => self.version = value.scalar(),
                "proxy-frontend-max-connections" => {
                    self.connections = number().filter(|count| *count > 0)
                }
                "max-connections-size-per-query" => {
                    let most = number().map(|count| count.clamp(1, 64));
                    if most != number() {
                        listing.note(
                            &place,
                            entry.key.clone(),
                            "at most 64 connections of a statement to a node",
                            "64 is taken",
                        );
                    }
                    self.connections_per_node = most;
                }
                "sql-show" | "sql-simple" => {
                    listing.note(
                        &place,
                        entry.key.clone(),
                        "statements are not logged by a property",
                        "see `observability` of the service: audit, slowLog, insight",
                    );
                }
                "proxy-frontend-ssl-enabled"
                | "proxy-frontend-ssl-version"
                | "proxy-frontend-ssl-cipher" => {
                    listing.note(
                        &place,
                        entry.key.clone(),
                        "TLS is offered to clients that want it",
                        "see `tls` of the service",
                    );
                }
                _ => {
                    listing.note(
                        &place,
                        entry.key.clone(),
                        "it tunes ShardingSphere itself",
                        "nothing",
                    );
                }
            }
        }
    }

    /// `databaseMySQL` of the service.
    pub fn listen(&self, database: &str) -> Tree {
        let mut fields = Fields::new();
        if self.is_proxy {
            fields.push(field("host", text("0.0.0.0")));
        }
        fields.push(field(
            "port",
            Tree::Number(self.port.unwrap_or(3307).into()),
        ));
        fields.push(field("db", text(database)));
        // `5.7.22-ShardingSphere-Proxy 5.5.0`: a blank has no place in a greeting.
        let version = self
            .version
            .as_deref()
            .and_then(|version| version.split_whitespace().next());
        fields.extend(version.map(|version| field("serverVersion", text(version))));
        Tree::Map(fields)
    }

    /// `limits`, beside those of the data sources.
    pub fn limits(&self) -> Option<(String, Tree)> {
        let connections = self.connections?;
        Some(field("maxConnections", Tree::Number(connections.into())))
    }

    /// The users who may use that database: their names, and `users`.
    pub fn users(
        &self,
        database: &str,
        place: &Place,
        secrets: &mut Secrets,
        listing: &mut Listing,
    ) -> (Vec<String>, Tree) {
        let may = |user: &&User| {
            self.mappings.as_ref().is_none_or(|mappings| {
                // Where no host is written, every one is meant.
                let whole = |grantee: &str| match grantee.contains('@') {
                    true => grantee.to_owned(),
                    false => format!("{grantee}@%"),
                };
                let same = |written: &str| whole(written) == whole(&user.grantee);
                mappings
                    .iter()
                    .any(|(of, to)| same(of) && (to == database || to == "*"))
            })
        };
        let found: Vec<&User> = self.users.iter().filter(may).collect();
        if found.is_empty() {
            let why = "the files name no user who may use it";
            listing.note(
                place,
                format!("users of {database}"),
                why,
                "a user `app` is written, whose password is an environment variable",
            );
            let password = secrets.missing(&format!("user_{database}_app"));
            let user = vec![field("name", text("app")), field("password", password)];
            return (vec!["app".to_owned()], Tree::List(vec![Tree::Map(user)]));
        }
        let names = found.iter().map(|user| user.name.clone()).collect();
        (
            names,
            Tree::List(
                found
                    .iter()
                    .map(|user| Tree::Map(user.fields.clone()))
                    .collect(),
            ),
        )
    }
}

fn note_tuning(at: At<'_>, listing: &mut Listing) {
    listing.note(
        &at.place(),
        "parser, log and cache settings",
        "they tune ShardingSphere itself",
        "nothing",
    );
}

fn lost_rule(place: &Place, name: &str, listing: &mut Listing) {
    listing.lost(
        place,
        name,
        "nothing here corresponds to it",
        "decide whether the application needs it",
    );
}
