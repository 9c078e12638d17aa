//! What leaves for the client while an answer comes.
//!
//! Owns the one write and its limit. Must never leave a packet half written without ending the session. Input: whole bytes
//! of an answer.

use std::pin::pin;
use std::time::Duration;

use super::exchange::{Done, Lost, guarded};
use crate::client::Client;
use crate::control::Control;
use crate::turns::{Lane, TURN_BYTES};

/// How long a client may take to read what was written, as net_write_timeout.
const CLIENT_WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Writes what is there for the client.
pub(super) async fn write(
    client: &mut Client,
    control: &Control,
    out: &mut Vec<u8>,
) -> Result<(), Lost> {
    if out.is_empty() {
        return Ok(());
    }
    let written = guarded(
        control,
        Some(CLIENT_WRITE_TIMEOUT),
        pin!(client.channel.write(out)),
    )
    .await;
    out.clear();
    match written {
        Done::Io(Ok(())) => Ok(()),
        Done::Io(Err(_)) | Done::TooSlow => Err(Lost::Client),
        Done::Stopped => Err(Lost::Stopped),
    }
}

/// The same, and after every so many bytes the turns of others come first.
pub(super) async fn write_in_turn(
    (client, lane): (&mut Client, &Lane),
    control: &Control,
    out: &mut Vec<u8>,
    passed: &mut usize,
) -> Result<(), Lost> {
    *passed += out.len();
    write(client, control, out).await?;
    if *passed >= TURN_BYTES
        && let Some(turn) = lane.turn_for(std::mem::take(passed))
    {
        turn.await;
    }
    Ok(())
}
