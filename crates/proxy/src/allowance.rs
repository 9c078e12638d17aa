//! Memory for commands that are larger than most, for all sessions of the process together.
//!
//! Owns the count. It must never let sessions hold more than it was given, nor forget what a session that ended held. Input:
//! the room that a session wants for the command that it is reading.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dbmesh_runtime::exposition::{Kind, Text};

/// What every command may have without asking, in bytes.
pub const FREE_BYTES: usize = 1 << 20;

/// The memory of all large commands.
#[derive(Debug)]
pub struct Allowance {
    max_bytes: u64,
    used_bytes: AtomicU64,
    refused: AtomicU64,
}

impl Allowance {
    /// Of this many bytes.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        Self {
            max_bytes,
            used_bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Its metrics.
    #[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
    pub fn expose(&self, out: &mut Text) {
        let families = [
            (
                "dbmesh_large_command_bytes",
                "Memory of commands beyond their first MiB.",
                Kind::Gauge,
                &self.used_bytes,
            ),
            (
                "dbmesh_large_commands_refused_total",
                "Commands refused because the memory for large ones was in use.",
                Kind::Counter,
                &self.refused,
            ),
        ];
        for (name, help, kind, value) in families {
            out.family(name, help, kind);
            out.sample(&[], value.load(Ordering::Relaxed) as f64);
        }
    }

    fn take(&self, bytes: u64) -> bool {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.max_bytes);
        let taken = self
            .used_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        if taken.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        taken.is_ok()
    }
}

/// What one session holds of it.
#[derive(Debug)]
pub struct Share {
    of: Arc<Allowance>,
    held: u64,
}

/// There is no room for the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Share {
    /// Nothing yet.
    #[must_use]
    pub fn none(of: Arc<Allowance>) -> Self {
        Self { of, held: 0 }
    }

    /// Makes room in `buffer` for `more` bytes of a command of at most `bytes_max`.
    ///
    /// # Errors
    /// [`Full`]; the buffer is as it was.
    pub fn make_room(
        &mut self,
        buffer: &mut Vec<u8>,
        more: usize,
        bytes_max: usize,
    ) -> Result<(), Full> {
        let needed = buffer.len() + more;
        if needed <= buffer.capacity() {
            return Ok(());
        }
        // Twice as much each time, so that a command is not copied again and again, but never more than it can be.
        let wanted = needed.max((buffer.capacity() * 2).min(bytes_max));
        let beyond = u64::try_from(wanted.saturating_sub(FREE_BYTES)).unwrap_or(u64::MAX);
        if let Some(more) = beyond.checked_sub(self.held).filter(|more| *more > 0) {
            if !self.of.take(more) {
                return Err(Full);
            }
            self.held = beyond;
        }
        buffer.reserve_exact(wanted - buffer.len());
        Ok(())
    }

    /// The command's memory was given back.
    pub fn release(&mut self) {
        self.of.used_bytes.fetch_sub(self.held, Ordering::Relaxed);
        self.held = 0;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn used(all: &Allowance) -> u64 {
        all.used_bytes.load(Ordering::Relaxed)
    }

    #[test]
    fn small_commands_need_not_ask() {
        let all = Arc::new(Allowance::new(0));
        let mut share = Share::none(all.clone());
        let mut buffer = Vec::new();
        assert_eq!(share.make_room(&mut buffer, MIB, 64 * MIB), Ok(()));
        assert!(buffer.capacity() >= MIB);
        buffer.resize(MIB, 0);
        assert_eq!(share.make_room(&mut buffer, 1, 64 * MIB), Err(Full));
        assert_eq!((used(&all), all.refused.load(Ordering::Relaxed)), (0, 1));
    }

    #[test]
    fn the_memory_of_all_is_bounded_and_comes_back() {
        let all = Arc::new(Allowance::new(8 * MIB as u64));
        let mut first = Share::none(all.clone());
        let mut one = vec![0; MIB];
        let mut grown = 0;
        while first.make_room(&mut one, 1, 64 * MIB).is_ok() {
            one.resize(one.capacity(), 0);
            grown = one.len();
        }
        assert!((4 * MIB..=9 * MIB).contains(&grown), "{grown}");
        assert_eq!(used(&all), (grown - MIB) as u64);
        let mut second = Share::none(all.clone());
        let mut two = vec![0; MIB];
        assert_eq!(second.make_room(&mut two, 7 * MIB, 64 * MIB), Err(Full));
        drop(first);
        assert_eq!(used(&all), 0);
        assert_eq!(second.make_room(&mut two, 7 * MIB, 8 * MIB), Ok(()));
        assert_eq!(two.capacity(), 8 * MIB, "no more than the command can be");
        second.release();
        assert_eq!(used(&all), 0);
    }
}
