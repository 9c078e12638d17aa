//! Memory for commands that are larger than most, for all sessions of the process together.
//!
//! Owns the count. Half of it is divided among the services by their weights, for each alone, and half is for whoever comes:
//! so that no service's large commands leave another without room. It must never let sessions hold more than it was given,
//! nor forget what a session that ended held. Input: the room that a session wants for the command that it is reading.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use dbmesh_runtime::exposition::{Kind, Text};
use parking_lot::Mutex;

/// What every command may have without asking, in bytes.
pub const FREE_BYTES: usize = 1 << 20;

/// The memory of all large commands.
#[derive(Debug)]
pub struct Allowance {
    max_bytes: u64,
    used_bytes: AtomicU64,
    refused: AtomicU64,
    /// Those of the services; whoever takes holds the lock.
    portions: Mutex<Vec<Weak<Portion>>>,
}

/// What the sessions of one service hold of it.
#[derive(Debug)]
pub struct Portion {
    of: Arc<Allowance>,
    weight: AtomicU64,
    used_bytes: AtomicU64,
}

impl Portion {
    /// Of a service with this weight.
    #[must_use]
    pub fn new(of: &Arc<Allowance>, weight: u32) -> Arc<Self> {
        let portion = Arc::new(Self {
            of: of.clone(),
            weight: AtomicU64::new(weight.into()),
            used_bytes: AtomicU64::new(0),
        });
        let mut portions = of.portions.lock();
        portions.retain(|known| known.strong_count() > 0);
        portions.push(Arc::downgrade(&portion));
        drop(portions);
        portion
    }

    /// A reload changed it.
    pub fn set_weight(&self, weight: u32) {
        self.weight.store(weight.into(), Ordering::Relaxed);
    }
}

impl Allowance {
    /// Of this many bytes.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        Self {
            max_bytes,
            used_bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            portions: Mutex::default(),
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

    fn take(&self, portion: &Portion, bytes: u64) -> bool {
        let portions = self.portions.lock();
        let fits = self.has_room(&portions, portion, bytes);
        if fits {
            portion.used_bytes.fetch_add(bytes, Ordering::Relaxed);
            self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        } else {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        fits
    }

    /// Whether it fits what is the service's own, and what is anybody's and not in use.
    fn has_room(&self, portions: &[Weak<Portion>], wants: &Portion, bytes: u64) -> bool {
        let portions: Vec<Arc<Portion>> = portions.iter().filter_map(Weak::upgrade).collect();
        let weight = |p: &Portion| p.weight.load(Ordering::Relaxed);
        let weights: u64 = portions.iter().map(|p| weight(p)).sum();
        let exclusive = self.max_bytes / 2;
        let own = |p: &Portion| {
            let own = u128::from(exclusive) * u128::from(weight(p)) / u128::from(weights.max(1));
            u64::try_from(own).unwrap_or(exclusive)
        };
        let lent = portions.iter().map(|p| {
            let more = if std::ptr::eq(&raw const **p, wants) {
                bytes
            } else {
                0
            };
            let used = p.used_bytes.load(Ordering::Relaxed).saturating_add(more);
            used.saturating_sub(own(p))
        });
        let lent = lent.fold(0u64, u64::saturating_add);
        lent <= self.max_bytes - portions.iter().map(|p| own(p)).sum::<u64>()
    }
}

/// What one session holds of it.
#[derive(Debug)]
pub struct Share {
    of: Arc<Portion>,
    held: u64,
}

/// There is no room for the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Share {
    /// Nothing yet.
    #[must_use]
    pub fn none(of: Arc<Portion>) -> Self {
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
            if !self.of.of.take(&self.of, more) {
                return Err(Full);
            }
            self.held = beyond;
        }
        buffer.reserve_exact(wanted - buffer.len());
        Ok(())
    }

    /// The command's memory was given back.
    pub fn release(&mut self) {
        if self.held > 0 {
            let all = &self.of.of;
            all.used_bytes.fetch_sub(self.held, Ordering::Relaxed);
            self.of.used_bytes.fetch_sub(self.held, Ordering::Relaxed);
            self.held = 0;
        }
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
        let mut share = Share::none(Portion::new(&all, 100));
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
        let service = Portion::new(&all, 100);
        let mut first = Share::none(service.clone());
        let mut one = vec![0; MIB];
        let mut grown = 0;
        while first.make_room(&mut one, 1, 64 * MIB).is_ok() {
            one.resize(one.capacity(), 0);
            grown = one.len();
        }
        assert!((4 * MIB..=9 * MIB).contains(&grown), "{grown}");
        assert_eq!(used(&all), (grown - MIB) as u64);
        let mut second = Share::none(service);
        let mut two = vec![0; MIB];
        assert_eq!(second.make_room(&mut two, 7 * MIB, 64 * MIB), Err(Full));
        drop(first);
        assert_eq!(used(&all), 0);
        assert_eq!(second.make_room(&mut two, 7 * MIB, 8 * MIB), Ok(()));
        assert_eq!(two.capacity(), 8 * MIB, "no more than the command can be");
        second.release();
        assert_eq!(used(&all), 0);
    }

    #[test]
    fn no_service_takes_what_is_another_s() {
        let all = Arc::new(Allowance::new(16 * MIB as u64));
        let portions = [100, 300].map(|weight| Portion::new(&all, weight));
        let mut shares = portions
            .each_ref()
            .map(|portion| Share::none(portion.clone()));
        let [greedy, other] = &mut shares;
        let mut one = vec![0; MIB];
        // Two MiB are its own, eight anybody's; and the first MiB is free.
        assert_eq!(greedy.make_room(&mut one, 11 * MIB, 64 * MIB), Err(Full));
        assert_eq!(greedy.make_room(&mut one, 10 * MIB, 64 * MIB), Ok(()));
        let mut two = vec![0; MIB];
        assert_eq!(other.make_room(&mut two, 6 * MIB, 64 * MIB), Ok(()));
        assert_eq!(used(&all), 16 * MIB as u64);
        greedy.release();
        two.resize(two.capacity(), 0);
        assert_eq!(other.make_room(&mut two, 8 * MIB, 64 * MIB), Ok(()));
        drop(shares);
        drop(portions);
        // What is gone counts no more.
        let mut alone = Share::none(Portion::new(&all, 1));
        assert_eq!(
            alone.make_room(&mut vec![0; MIB], 16 * MIB, 64 * MIB),
            Ok(())
        );
    }
}
