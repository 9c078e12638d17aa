//! COM_CHANGE_USER: another login on the same connection.
//!
//! Owns its exchange. All state of the old session is dropped first, as servers do. Input: the command's packet.

use std::sync::Arc;

use dbmesh_wire::auth::{Plugin, generate_nonce};
use dbmesh_wire::command::ChangeUser;

use super::judge::{Claim, judge};
use super::{GREETING_COLLATION_MARIADB, LOGIN_PACKET_BYTES_MAX};
use crate::backend::Flavor;
use crate::fault::Fault;
use crate::serving::Serving;
use crate::session::{Failure, Session};

impl Session {
    /// COM_CHANGE_USER: a login on the same connection. All state is dropped first, as servers do.
    pub(crate) async fn change_user(&mut self) -> Result<(), Failure> {
        let packet = self.take_packet();
        let change = ChangeUser::decode(&packet, self.capabilities())
            .map_err(|_| Fault::Malformed("COM_CHANGE_USER"))?;
        self.part_for_login().await;
        let services = self.sibling_services();
        let greeting_nonce = self.greeting_nonce();
        let (process, client, host) = self.login_parts();
        let default_plugin = default_plugin_of(&services);
        let plugin = switch_plugin(&change, &default_plugin);
        // As servers do, a fresh nonce is sent first: the old one was used. MariaDB's servers keep that of
        // mysql_native_password, and libmariadb counts on it.
        let mut nonce = if plugin == Plugin::Native.name() {
            greeting_nonce
        } else {
            generate_nonce().map_err(|_| Fault::BadHandshake("no random numbers".into()))?
        };
        let mut payload = Vec::new();
        dbmesh_wire::auth::AuthSwitchRequest {
            plugin: plugin.clone(),
            data: nonce.to_vec(),
        }
        .encode(&mut payload);
        client.packet(&payload).await?;
        let mut response = Vec::new();
        let seq = client.seq;
        match client
            .channel
            .read_packet(&mut response, seq, LOGIN_PACKET_BYTES_MAX)
            .await
        {
            Ok(Some(next)) => client.seq = next,
            _ => return Err(Failure::ClientLost),
        }
        let database = Some(change.database.as_slice()).filter(|d| !d.is_empty());
        let claim = Claim {
            user: &change.user,
            database,
            plugin: Some(&plugin),
            response: &response,
        };
        let judged = judge(
            &process,
            &services,
            client,
            nonce,
            &default_plugin,
            &claim,
            &host,
        )
        .await;
        nonce.fill(0);
        let (serving, login) = judged?;
        let schema = database
            .map(<[u8]>::to_vec)
            .or_else(|| serving.service.schema.clone().map(String::into_bytes));
        let collation = change
            .collation
            .unwrap_or(u16::from(GREETING_COLLATION_MARIADB));
        let user = String::from_utf8_lossy(&change.user).into_owned();
        self.log_in_again(serving, login, user, schema.as_deref(), collation);
        self.confirm_login().await?;
        self.record_login();
        Ok(())
    }
}

fn switch_plugin(change: &ChangeUser, default: &Plugin) -> String {
    match change.auth_plugin.as_deref().map(Plugin::from_name) {
        Some(plugin @ (Plugin::CachingSha2 | Plugin::Native)) => plugin.name().to_owned(),
        Some(_) => default.name().to_owned(),
        None => Plugin::Native.name().to_owned(),
    }
}

fn default_plugin_of(services: &[Arc<Serving>]) -> Plugin {
    let facts = services
        .iter()
        .flat_map(|s| s.upstream.members.iter())
        .find_map(|m| m.pool.facts());
    match facts {
        Some(facts) if facts.flavor == Flavor::MariaDb => Plugin::Native,
        _ => Plugin::CachingSha2,
    }
}
