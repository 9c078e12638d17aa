//! `dataSources` → servers and the pool of connections to them.
//!
//! It owns JDBC addresses. What only tells the JDBC driver between ShardingSphere and a server how to convert values is a
//! note: here the application's own driver talks to the server.

use crate::import::listing::{At, Listing, Place};
use crate::import::secrets::Secrets;
use crate::import::tree::{Fields, Tree, field, map, text};

/// A server as a data source names it.
pub struct Server {
    /// The data source.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// Its schema.
    pub schema: Option<String>,
    /// `database` of its DatabaseEndpoint.
    pub database: Tree,
}

/// What all data sources say of connections: the field, whose it is, and each value.
#[derive(Default)]
pub struct Pools {
    found: Vec<(&'static str, Place, u64)>,
}

/// Names of a setting in files of the Proxy and of HikariCP, and ours.
const POOL: [(&str, &str, &str); 5] = [
    ("maxPoolSize", "maximumPoolSize", "size"),
    ("minPoolSize", "minimumIdle", "minIdle"),
    ("idleTimeoutMilliseconds", "idleTimeout", "idleTimeoutMs"),
    ("maxLifetimeMilliseconds", "maxLifetime", "maxLifetimeMs"),
    (
        "connectionTimeoutMilliseconds",
        "connectionTimeout",
        "queueWaitMs",
    ),
];

impl Pools {
    /// The fields of `pool`, and those of `limits`.
    pub fn fields(&self, listing: &mut Listing) -> (Fields, Fields) {
        let (mut pool, mut limits) = (Fields::new(), Fields::new());
        for (_, _, name) in POOL {
            let of = || self.found.iter().filter(move |(field, ..)| *field == name);
            let Some(most) = of().map(|(.., value)| *value).max() else {
                continue;
            };
            for (_, place, value) in of().filter(|(.., value)| *value != most) {
                let why = "pools have one setting for all servers of a service";
                let instead = format!("the largest of all data sources is taken: {most}");
                listing.note(place, format!("{name} {value}"), why, &instead);
            }
            let tree = field(name, Tree::Number(most.into()));
            match name {
                "queueWaitMs" => limits.push(tree),
                _ => pool.push(tree),
            }
        }
        (pool, limits)
    }

    fn read(&mut self, at: At<'_>, listing: &mut Listing) {
        for (proxy, hikari, name) in POOL {
            let Some(setting) = at.any_field(&[proxy, hikari]) else {
                continue;
            };
            match setting.scalar().and_then(|text| text.parse::<u64>().ok()) {
                Some(value) if value > 0 || name == "minIdle" => {
                    self.found.push((name, setting.place(), value));
                }
                _ => {
                    let instead = "the default is taken: see `pool` of the service";
                    listing.note(
                        &setting.place(),
                        proxy,
                        "0 is no limit there, and no number here",
                        instead,
                    );
                }
            }
        }
    }
}

/// Reads every data source; those that lead to no MySQL server are lost.
pub fn servers(
    at: At<'_>,
    pools: &mut Pools,
    secrets: &mut Secrets,
    listing: &mut Listing,
) -> Vec<Server> {
    let mut servers = Vec::new();
    for (entry, source) in at.entries() {
        let place = source.key_place(entry);
        match server(&entry.key, source, &place, secrets, listing) {
            Ok(server) => {
                pools.read(source, listing);
                servers.push(server);
            }
            Err(why) => {
                let what = format!("data source {}", entry.key);
                listing.lost(
                    &place,
                    what,
                    &why,
                    "write a DatabaseEndpoint of that name by hand",
                );
            }
        }
    }
    servers
}

fn server(
    name: &str,
    at: At<'_>,
    place: &Place,
    secrets: &mut Secrets,
    listing: &mut Listing,
) -> Result<Server, String> {
    let mut known = vec![
        "!",
        "url",
        "jdbcUrl",
        "standardJdbcUrl",
        "username",
        "user",
        "password",
        "driverClassName",
        "dataSourceClassName",
    ];
    known.extend(POOL.iter().flat_map(|(proxy, hikari, _)| [*proxy, *hikari]));
    listing.unread(at, &known);
    let url_at = at.any_field(&["url", "jdbcUrl", "standardJdbcUrl"]);
    let url = url_at.and_then(At::scalar).ok_or("it has no `url`")?;
    let address = Address::of(&url)?;
    let url_place = url_at.map_or_else(|| place.clone(), At::place);
    let user = at
        .text("username")
        .or_else(|| at.text("user"))
        .ok_or("it has no `username`")?;
    let password = at.text("password").unwrap_or_default();
    if [&user, &password].iter().any(|text| text.starts_with("$$")) {
        return Err("it takes its account from a placeholder".to_owned());
    }
    let mut fields = vec![
        field("host", text(&address.host)),
        field("port", Tree::Number(address.port.into())),
        field("user", text(user)),
    ];
    let password = secrets.plain(name, &password);
    fields.extend(password.map(|password| field("password", password)));
    fields.extend(
        address
            .schema
            .as_ref()
            .map(|schema| field("db", text(schema))),
    );
    fields.extend(
        tls(&address.parameters, &url_place, listing)
            .map(|mode| field("tls", map([("mode", text(mode))]))),
    );
    Ok(Server {
        name: name.to_owned(),
        place: place.clone(),
        schema: address.schema,
        database: Tree::Map(vec![field(address.kind, Tree::Map(fields))]),
    })
}

/// `jdbc:mysql://host:port/schema?name=value&…`.
struct Address {
    kind: &'static str,
    host: String,
    port: u16,
    schema: Option<String>,
    parameters: Vec<(String, String)>,
}

impl Address {
    fn of(url: &str) -> Result<Self, String> {
        let (kind, rest) = [("MySQL", "jdbc:mysql://"), ("MariaDB", "jdbc:mariadb://")]
            .iter()
            .find_map(|(kind, prefix)| Some((*kind, url.strip_prefix(prefix)?)))
            .ok_or("its address is not `jdbc:mysql://HOST:PORT/SCHEMA`")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, schema) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains([',', '(', '@', '$']) {
            return Err("its address names several servers, or holds a placeholder".to_owned());
        }
        let (host, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => match host.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (host, None),
            },
        };
        let port = port
            .map_or(Ok(3306), str::parse)
            .map_err(|_| "its port is no number")?;
        let parameters = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (name.to_owned(), value.to_owned())
            });
        Ok(Self {
            kind,
            host: match host {
                "" => "127.0.0.1".to_owned(),
                host => host.to_owned(),
            },
            port,
            schema: (!schema.is_empty()).then(|| schema.to_owned()),
            parameters: parameters.collect(),
        })
    }
}

/// The mode that the parameters ask for; what they ask for besides is listed.
fn tls(
    parameters: &[(String, String)],
    place: &Place,
    listing: &mut Listing,
) -> Option<&'static str> {
    let value = |wanted: &str| {
        let found = parameters.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.to_ascii_uppercase())
    };
    let mut others = Vec::new();
    for (name, _) in parameters {
        match name.as_str() {
            "useSSL" | "requireSSL" | "sslMode" | "verifyServerCertificate" => {}
            "sessionVariables"
            | "connectionCollation"
            | "allowMultiQueries"
            | "allowLoadLocalInfile" => {
                let why =
                    "it sets the state of the server's sessions, which are the clients' own here";
                listing.lost(
                    place,
                    name.clone(),
                    why,
                    "let the application's own connection set it",
                );
            }
            other => others.push(other),
        }
    }
    if !others.is_empty() {
        let why = "they tell the JDBC driver of ShardingSphere what to do: the application's own driver talks to the server here";
        listing.note(
            place,
            others.join(", "),
            why,
            "give them to the application's driver if it needs them",
        );
    }
    let mode = value("sslMode");
    let authority = match (mode.as_deref(), value("verifyServerCertificate").as_deref()) {
        (Some("VERIFY_CA" | "VERIFY_IDENTITY"), _) | (_, Some("TRUE")) => true,
        (_, _) => false,
    };
    if authority {
        let why = "the certificate of the authority is in a keystore of Java";
        listing.lost(
            place,
            "verification of the server's certificate",
            why,
            "give `tls` mode verifyIdentity with `ca`, a PEM file",
        );
    }
    match (
        mode.as_deref(),
        value("useSSL").as_deref(),
        value("requireSSL").as_deref(),
    ) {
        (Some("DISABLED"), ..) | (None, Some("FALSE"), _) => Some("disabled"),
        (Some("REQUIRED" | "VERIFY_CA" | "VERIFY_IDENTITY"), ..) | (None, _, Some("TRUE")) => {
            Some("required")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_have_parts() {
        let parts = |url: &str| {
            Address::of(url).map(|address| {
                (
                    address.host,
                    address.port,
                    address.schema.unwrap_or_default(),
                )
            })
        };
        let address =
            |host: &str, port, schema: &str| Ok((host.to_owned(), port, schema.to_owned()));
        assert_eq!(
            parts("jdbc:mysql://db-0:3307/shop?useSSL=false&a=b"),
            address("db-0", 3307, "shop")
        );
        assert_eq!(
            parts("jdbc:mysql://db-0/shop"),
            address("db-0", 3306, "shop")
        );
        assert_eq!(parts("jdbc:mysql://[::1]:3307"), address("::1", 3307, ""));
        for url in [
            "jdbc:h2:mem:x",
            "jdbc:postgresql://a/b",
            "jdbc:mysql://a,b/c",
            "jdbc:mysql://a:x/c",
            "jdbc:mysql:loadbalance://a/b",
            "$${URL::}",
        ] {
            assert!(Address::of(url).is_err(), "{url}");
        }
    }
}
