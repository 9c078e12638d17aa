//! The pools of a topology: which live on, which are new.
//!
//! Owns what makes two pools the same one. What is known of a server outlives changes in how connections to it are made.
//! Input: the endpoints and policies of services, the pools before.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use dbmesh_model::topology::{Endpoint, Mirror, PoolPolicy, Service};

use super::Serving;
use crate::backend::Dialer;
use crate::health::Health;
use crate::pool::Pool;
use crate::standing::Standing;

/// A pool's identity: what its connections depend on.
fn pool_key(endpoint: &Endpoint, policy: &PoolPolicy, owner: &str) -> u64 {
    let mut h = DefaultHasher::new();
    (endpoint.fingerprint(), policy, owner).hash(&mut h);
    h.finish()
}

/// What is known of the same server, whatever changed in how connections to it are made.
fn standing_of(old: &Arc<Serving>, endpoint: &Endpoint) -> Option<Arc<Standing>> {
    let same = |e: &Endpoint| {
        (&e.namespace, &e.name, &e.address)
            == (&endpoint.namespace, &endpoint.name, &endpoint.address)
    };
    let members = old.parts().iter().flat_map(|part| &part.upstream.members);
    let member = members.into_iter().find(|m| same(&m.endpoint))?;
    Some(member.pool.standing.clone())
}

/// An endpoint with its connections.
pub type Pooled = (Arc<Endpoint>, Arc<Pool>);

/// The pools of a topology: those of the one before where nothing changed.
pub struct Pools<'a> {
    pub before: &'a HashMap<u64, Arc<Pool>>,
    pub now: HashMap<u64, Arc<Pool>>,
    pub fresh: Vec<Arc<Pool>>,
}

impl Pools<'_> {
    /// Of these endpoints, once each.
    pub fn of_all<'e>(
        &mut self,
        owner: &str,
        service: &Service,
        endpoints: impl Iterator<Item = &'e Arc<Endpoint>>,
        old: Option<&Arc<Serving>>,
    ) -> Result<Vec<Pooled>, String> {
        let mut all: Vec<Pooled> = Vec::new();
        for endpoint in endpoints {
            if !all.iter().any(|(known, _)| Arc::ptr_eq(known, endpoint)) {
                let standing = old.and_then(|s| standing_of(s, endpoint));
                let standing = standing.unwrap_or_default();
                let pool = self.of(owner, service, endpoint, service.pool.clone(), standing)?;
                all.push((endpoint.clone(), pool));
            }
        }
        Ok(all)
    }

    /// Of copies, which have connections of their own.
    pub fn of_mirror(
        &mut self,
        owner: &str,
        service: &Service,
        mirror: &Mirror,
    ) -> Result<Arc<Pool>, String> {
        let policy = PoolPolicy {
            size: mirror.connections,
            min_idle: 0,
            ..service.pool.clone()
        };
        let owner = format!("{owner}/mirror");
        self.of(&owner, service, &mirror.endpoint, policy, Arc::default())
    }

    fn of(
        &mut self,
        owner: &str,
        service: &Service,
        endpoint: &Arc<Endpoint>,
        policy: PoolPolicy,
        standing: Arc<Standing>,
    ) -> Result<Arc<Pool>, String> {
        let key = pool_key(endpoint, &policy, owner);
        let pool = match self.before.get(&key) {
            Some(pool) => pool.clone(),
            None => {
                let timeout = Duration::from_millis(service.pool.connect_timeout_ms);
                let dialer = Dialer::new(endpoint.clone(), timeout)?;
                let health = Health::new(service.strategy.ejection.clone());
                let pool = Arc::new(Pool::new(dialer, policy, health, standing));
                self.fresh.push(pool.clone());
                pool
            }
        };
        pool.health
            .breaker
            .follow(service.strategy.breaker.as_ref());
        self.now.insert(key, pool.clone());
        Ok(pool)
    }
}
