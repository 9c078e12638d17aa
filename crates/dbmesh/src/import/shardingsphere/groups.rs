//! `!READWRITE_SPLITTING` → roles, groups and `loadBalance`.

use crate::import::listing::{At, Listing, Place};
use crate::import::tree::{Fields, Tree, field, map, text, texts};

/// A write data source with its replicas.
pub struct Group {
    /// Its name, which other rules use as that of a data source.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// The primary.
    pub write: String,
    /// The replicas.
    pub reads: Vec<String>,
}

impl Group {
    /// Whether a data source is a member.
    pub fn has(&self, server: &str) -> bool {
        self.write == server || self.reads.iter().any(|read| read == server)
    }

    /// As `readWriteSplittingGroup` has it.
    pub fn tree(&self) -> Tree {
        let endpoints = std::iter::once(&self.write).chain(&self.reads);
        map([("name", text(&self.name)), ("endpoints", texts(endpoints))])
    }
}

/// All groups of a database.
#[derive(Default)]
pub struct Splitting {
    /// The groups.
    pub groups: Vec<Group>,
    balance: Option<&'static str>,
    transactional: Option<&'static str>,
    weights: Vec<(String, u32)>,
}

impl Splitting {
    /// Adds the groups of a rule.
    pub fn read(&mut self, rule: At<'_>, listing: &mut Listing) {
        listing.unread(
            rule,
            &["!", "dataSources", "dataSourceGroups", "loadBalancers"],
        );
        let balancers = rule.field("loadBalancers");
        for (entry, group) in rule
            .any_field(&["dataSourceGroups", "dataSources"])
            .into_iter()
            .flat_map(At::entries)
        {
            let place = group.key_place(entry);
            match self.group(&entry.key, group, &place, balancers, listing) {
                Some(group) => self.groups.push(group),
                None => {
                    let why = "its primary and replicas are not named";
                    listing.lost(
                        &place,
                        format!("group {}", entry.key),
                        why,
                        "write a readWriteSplittingGroup by hand",
                    );
                }
            }
        }
    }

    fn group(
        &mut self,
        name: &str,
        at: At<'_>,
        place: &Place,
        balancers: Option<At<'_>>,
        listing: &mut Listing,
    ) -> Option<Group> {
        let known = [
            "writeDataSourceName",
            "readDataSourceNames",
            "transactionalReadQueryStrategy",
            "loadBalancerName",
            "staticStrategy",
            "type",
            "props",
        ];
        listing.unread(at, &known);
        // 5.0 has a type and properties, 5.1 and 5.2 a `staticStrategy`.
        let of = at
            .field("staticStrategy")
            .or_else(|| at.field("props"))
            .unwrap_or(at);
        let write = of
            .text("writeDataSourceName")
            .or_else(|| of.text("write-data-source-name"))?;
        let mut reads = of.list("readDataSourceNames");
        reads.extend(of.list("read-data-source-names"));
        let reads: Vec<String> = reads.into_iter().map(|(_, name)| name).collect();
        let (balance, balance_place) = match at.field("loadBalancerName") {
            Some(field) => (self.balancer(field, balancers, listing), field.place()),
            None => (Some("roundrobin"), place.clone()),
        };
        self.agree_on_balance(balance, &balance_place, name, listing);
        self.agree_on_transactions(at, place, name, listing);
        (!reads.is_empty()).then(|| Group {
            name: name.to_owned(),
            place: place.clone(),
            write,
            reads,
        })
    }

    fn agree_on_balance(
        &mut self,
        balance: Option<&'static str>,
        place: &Place,
        name: &str,
        listing: &mut Listing,
    ) {
        if let Some(balance) = balance {
            if self.balance.is_some_and(|known| known != balance) {
                let why = "all groups of a service are balanced alike";
                listing.lost(
                    place,
                    format!("balancing of group {name}"),
                    why,
                    "split the database in two services, or agree on one",
                );
            }
            self.balance.get_or_insert(balance);
        }
    }

    fn agree_on_transactions(
        &mut self,
        at: At<'_>,
        place: &Place,
        name: &str,
        listing: &mut Listing,
    ) {
        let strategy = at.text("transactionalReadQueryStrategy");
        let transactional = match strategy.as_deref() {
            Some("PRIMARY") => "primary",
            Some("FIXED") => "fixed",
            _ => "replica",
        };
        if transactional != "primary" {
            let why = "only transactions that begin with START TRANSACTION READ ONLY read from replicas here";
            listing.note(
                place,
                format!("reads inside of transactions of group {name}"),
                why,
                "nothing: they read from the primary, which misses nothing",
            );
        }
        if self
            .transactional
            .is_some_and(|known| known != transactional)
        {
            let why = "all groups of a service read alike inside of transactions";
            listing.lost(
                place,
                format!("transactionalReadQueryStrategy of group {name}"),
                why,
                "agree on one",
            );
        }
        self.transactional.get_or_insert(transactional);
    }

    fn balancer(
        &mut self,
        name: At<'_>,
        balancers: Option<At<'_>>,
        listing: &mut Listing,
    ) -> Option<&'static str> {
        let balancer = balancers?.field(&name.scalar()?)?;
        let kind = balancer.text("type")?.to_ascii_uppercase();
        match kind.as_str() {
            "ROUND_ROBIN" => Some("roundrobin"),
            "RANDOM" => Some("random"),
            "WEIGHT" => {
                for (entry, weight) in balancer.field("props").into_iter().flat_map(At::entries) {
                    match weight.scalar().and_then(|text| text.parse::<f64>().ok()) {
                        Some(weight)
                            if weight.fract() == 0.0 && (0.0..=1_000_000.0).contains(&weight) =>
                        {
                            // A whole number in that range.
                            self.weights.push((entry.key.clone(), weight as u32));
                        }
                        _ => {
                            let why = "a weight is a whole number";
                            listing.lost(
                                &weight.place(),
                                format!("weight of {}", entry.key),
                                why,
                                "multiply all weights",
                            );
                        }
                    }
                }
                Some("weighted")
            }
            _ => {
                let why = "there is no such algorithm";
                listing.lost(
                    &balancer.place(),
                    format!("load balancer {kind}"),
                    why,
                    "see `loadBalance` for those there are; replicas take turns",
                );
                Some("roundrobin")
            }
        }
    }

    /// The group of that name.
    pub fn group_of(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// The group that a data source is a member of.
    pub fn around(&self, server: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.has(server))
    }

    /// `role` and `weight` of the endpoint of a data source.
    pub fn endpoint_fields(&self, server: &str) -> Fields {
        let mut fields = Fields::new();
        if self
            .groups
            .iter()
            .any(|group| group.reads.iter().any(|read| read == server))
        {
            fields.push(field("role", text("replica")));
        }
        let weight = self.weights.iter().find(|(name, _)| name == server);
        fields.extend(weight.map(|(_, weight)| field("weight", Tree::Number((*weight).into()))));
        fields
    }

    /// `loadBalance` of the strategy.
    pub fn load_balance(&self) -> Option<Tree> {
        let balance = self.balance.filter(|_| !self.groups.is_empty())?;
        let transactional = self.transactional.unwrap_or("primary");
        Some(map([
            ("simpleLoadBalance", map([("kind", text(balance))])),
            (
                "readWriteSplitting",
                map([
                    ("static", map([])),
                    ("consistency", text("eventual")),
                    ("transactionalRead", text(transactional)),
                ]),
            ),
        ]))
    }
}
