//! Who a session is, and in which schema: confirming a login, another one on the same connection, COM_INIT_DB.
//!
//! Owns what `login.rs` may touch of a session. Nothing of the old identity may stay behind a change. Input: logins judged
//! by `login.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dbmesh_model::topology::FairBy;
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::track::{self, Item};

use super::acquire::PRIMARY;
use super::sharded::ShardSession;
use super::{Failure, Session};
use crate::backend::Flavor;
use crate::balance::hash_of;
use crate::client::Client;
use crate::fault::Fault;
use crate::logins::Login;
use crate::process::Process;
use crate::record::Record;
use crate::registry::SessionHandle;
use crate::serving::Serving;
use crate::state::SessionState;
use crate::tracking::Tracking;

/// How long a login waits for a server to say whether its schema exists.
const SCHEMA_CHECK_TIMEOUT: Duration = Duration::from_millis(1000);

impl Session {
    /// Who it is that waits for a connection: turns go round among those.
    pub(super) fn who(&self) -> u64 {
        match self.serving.service.isolation.fair_by {
            FairBy::User => self.handle().scope,
            FairBy::Address => hash_of(self.host().as_bytes()),
            FairBy::Tenant if self.noted.labelled => self.handle().tenant_hash(),
            FairBy::Tenant | FairBy::Nobody => 0,
        }
    }

    /// The nonce of the greeting.
    pub(crate) fn greeting_nonce(&self) -> [u8; 20] {
        self.nonce
    }

    /// The command at hand.
    pub(crate) fn take_packet(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.packet)
    }

    /// What was agreed with the client.
    pub(crate) fn capabilities(&self) -> Capabilities {
        self.client.capabilities
    }

    /// Before another login on the same connection: nothing of the old session stays.
    pub(crate) async fn part_for_login(&mut self) {
        self.part().await;
        self.forget_statements();
        self.state.pins.clear();
        // Out of the count first: a user at its limit may log in again in its own place.
        self.login = None;
    }

    /// The services that the client could have logged in to.
    pub(crate) fn sibling_services(&self) -> Vec<Arc<Serving>> {
        let services = self.process.current.services();
        let listen = &self.serving.service.listen;
        services
            .list
            .iter()
            .filter(|s| s.service.listen == *listen)
            .cloned()
            .collect()
    }

    /// What a login needs.
    pub(crate) fn login_parts(&mut self) -> (Arc<Process>, &mut Client, String) {
        let host = match self.handle().address.rsplit_once(':') {
            Some((host, _)) => host.trim_matches(['[', ']']).to_owned(),
            None => "localhost".to_owned(),
        };
        (self.process.clone(), &mut self.client, host)
    }

    /// Another user, perhaps another service; the connection id stays.
    pub(crate) fn log_in_again(
        &mut self,
        serving: Arc<Serving>,
        login: Login,
        user: String,
        schema: Option<&[u8]>,
        collation: u16,
    ) {
        self.serving
            .metrics
            .sessions
            .fetch_sub(1, Ordering::Relaxed);
        serving.metrics.sessions.fetch_add(1, Ordering::Relaxed);
        let old = self.handle();
        let service = format!("{}/{}", serving.database_label(), serving.service.name);
        let limit = serving.service.limits.idle_timeout_ms;
        let (id, address) = (old.id, old.address.clone());
        let handle = SessionHandle::new(id, user, address, service, &self.process.clock, limit);
        self.registered = self.registered.replace(Arc::new(handle));
        let charset = crate::login::handshake_charset(&serving, collation);
        self.client.tracking = Tracking::default();
        // A statement's id is never given to another.
        let statements = std::mem::take(&mut self.state.statements);
        self.state = SessionState::fresh(schema, charset, crate::login::beginning(&serving));
        self.state.statements = statements;
        self.governed.begin_anew(serving.rules.clone());
        (self.sharded, self.serving) = ShardSession::of(&serving);
        self.begin_with_client_flags();
        self.epoch = self.process.current.epoch();
        self.member = None;
        self.login = Some(login);
        self.collation = collation;
    }

    /// Adds to a session's state after a reset what its client's flags do to it. MariaDB forgets them.
    pub(super) fn begin_with_client_flags(&mut self) {
        let ignores_space = Capabilities::IGNORE_SPACE;
        let facts = self.server_facts().filter(|f| f.flavor == Flavor::MySql);
        if let Some(facts) = facts.filter(|_| self.client.capabilities.contains(ignores_space)) {
            self.state.ignore_space(&facts);
        }
    }

    /// Checks that the schema of the login exists and may be used, then answers OK. A schema that the service or its
    /// endpoints name is the configuration's own; if no server can be asked soon, its first statement will tell.
    pub(crate) async fn confirm_login(&mut self) -> Result<(), Failure> {
        let schema = self.state.vector.schema.clone();
        let configured =
            |name: &Option<String>| name.as_deref().map(str::as_bytes) == schema.as_deref();
        let service = &self.serving.service;
        let known = schema.is_none()
            || configured(&service.schema)
            || self
                .serving
                .upstream
                .members
                .iter()
                .any(|m| configured(&m.endpoint.schema));
        if !known {
            let asked = tokio::time::timeout(SCHEMA_CHECK_TIMEOUT, self.acquire(PRIMARY)).await;
            if let Ok(Err(Failure::Fault(fault @ Fault::Schema { .. }))) = asked {
                self.report(&fault).await?;
                return Err(Failure::ClientLost);
            }
            self.settle().await?;
        }
        let tracked = schema
            .map(|schema| track::encode([Item::Schema(&schema)]))
            .unwrap_or_default();
        let answer = self.answer();
        self.client.ok_with(answer, &tracked).await?;
        Ok(())
    }

    /// A login is always in the audit.
    pub(crate) fn record_login(&self) {
        let mut record = Record::new("login");
        record.session(self.handle()).text("outcome", "ok");
        self.serving.logs.note(record);
    }

    /// Ends a session that was never served.
    pub(crate) async fn leave(mut self) {
        self.finish().await;
        self.client.channel.shutdown().await;
    }

    /// The client, to agree on compression once it is logged in.
    pub(crate) fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}
