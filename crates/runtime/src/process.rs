//! The process as the operating system sees it: what it uses, and what it may use.
//!
//! It owns the metrics `process_*` under the names that Prometheus clients give them. It changes two
//! settings of the process at its start and nothing else. Its input is `/proc`.

use std::fs;
use std::io;
use std::time::{Duration, SystemTime};

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

use crate::exposition::{Kind, Text};

/// Forbids core dumps and other processes of the same user from reading this one's memory, where
/// passwords and keys are.
///
/// # Errors
/// If the operating system refuses.
pub fn forbid_dumps() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Raises the number of files, and so of connections, that the process may have open to what the
/// operating system allows at most, and returns it; `u64::MAX` for no limit.
///
/// # Errors
/// If the operating system refuses; the limit is then what it was.
pub fn raise_open_files() -> io::Result<u64> {
    let hard = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: hard,
        maximum: hard,
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(hard.unwrap_or(u64::MAX))
}

/// Memory in use that is not swapped out.
///
/// # Errors
/// If `/proc` is absent or does not read as documented in proc(5).
pub fn resident_bytes() -> io::Result<u64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split_ascii_whitespace().nth(1);
    let pages = pages.and_then(|pages| pages.parse::<u64>().ok());
    let pages = pages.ok_or(io::ErrorKind::InvalidData)?;
    let page_bytes = u64::try_from(page_size()).unwrap_or(u64::MAX);
    Ok(pages.saturating_mul(page_bytes))
}

/// Gives memory that the allocator keeps for later back to the operating system, where the allocator can.
pub fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim(3) takes a number, touches nothing but the allocator's own free memory, and is thread-safe.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What the process uses now.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// Memory in use that is not swapped out.
    pub resident_bytes: u64,
    /// Address space in use.
    pub virtual_bytes: u64,
    /// Files, sockets and the like that are open.
    pub open_files: u64,
    /// How many of them it may have; `u64::MAX` for no limit.
    pub open_files_max: u64,
    /// Time spent on processors, in user and kernel code.
    pub cpu_seconds: f64,
    /// Threads.
    pub threads: u64,
    /// When the process started, to the second.
    pub started_at: SystemTime,
}

impl Usage {
    /// Reads the usage of this process.
    ///
    /// # Errors
    /// If `/proc` is absent or does not read as documented in proc(5).
    pub fn read() -> io::Result<Self> {
        let stat = Stat::parse(&fs::read_to_string("/proc/self/stat")?)?;
        let boot_seconds = boot_time_seconds(&fs::read_to_string("/proc/stat")?)?;
        // One of the entries is the descriptor of the listing itself.
        let entries = fs::read_dir("/proc/self/fd")?.count().saturating_sub(1);
        let ticks_per_second = clock_ticks_per_second().max(1);
        let started_seconds = boot_seconds.saturating_add(stat.started_ticks / ticks_per_second);
        let page_bytes = u64::try_from(page_size()).unwrap_or(u64::MAX);
        Ok(Self {
            resident_bytes: stat.resident_pages.saturating_mul(page_bytes),
            virtual_bytes: stat.virtual_bytes,
            open_files: u64::try_from(entries).unwrap_or(u64::MAX),
            open_files_max: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
            cpu_seconds: float(stat.cpu_ticks) / float(ticks_per_second),
            threads: stat.threads,
            started_at: SystemTime::UNIX_EPOCH + Duration::from_secs(started_seconds),
        })
    }

    /// Writes the metrics `process_*`.
    pub fn write(&self, out: &mut Text) {
        let started = self.started_at.duration_since(SystemTime::UNIX_EPOCH);
        let metrics = [
            (
                "process_resident_memory_bytes",
                "Resident memory, in bytes.",
                float(self.resident_bytes),
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory, in bytes.",
                float(self.virtual_bytes),
            ),
            (
                "process_open_fds",
                "Open file descriptors.",
                float(self.open_files),
            ),
            (
                "process_max_fds",
                "File descriptors that may be open.",
                float(self.open_files_max),
            ),
            (
                "process_threads",
                "Threads of the process.",
                float(self.threads),
            ),
            (
                "process_start_time_seconds",
                "Start of the process, in seconds since 1970.",
                started.unwrap_or_default().as_secs_f64(),
            ),
        ];
        for (name, help, value) in metrics {
            out.family(name, help, Kind::Gauge);
            out.sample(&[], value);
        }
        let help = "Processor time used, user and system, in seconds.";
        out.family("process_cpu_seconds_total", help, Kind::Counter);
        out.sample(&[], self.cpu_seconds);
    }
}

/// Writes the metrics `process_*` of this process; none where `/proc` cannot be read.
pub fn metrics(out: &mut Text) {
    match Usage::read() {
        Ok(usage) => usage.write(out),
        Err(error) => tracing::debug!(%error, "no metrics of the process"),
    }
}

/// The fields of `/proc/self/stat` that are used here: proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    started_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> io::Result<Self> {
        // The second field is the name in parentheses, which may hold both blanks and parentheses.
        let (_, rest) = text.rsplit_once(')').ok_or_else(|| unreadable("stat"))?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| {
            let found = number.checked_sub(3).and_then(|place| fields.get(place));
            found
                .and_then(|f| f.parse::<u64>().ok())
                .ok_or_else(|| unreadable("stat"))
        };
        Ok(Self {
            cpu_ticks: field(14)?.saturating_add(field(15)?),
            threads: field(20)?,
            started_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn boot_time_seconds(text: &str) -> io::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|seconds| seconds.trim().parse().ok())
        .ok_or_else(|| unreadable("btime"))
}

fn unreadable(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{what} in /proc is not as documented"),
    )
}

#[allow(clippy::cast_precision_loss)] // Metrics are doubles; above 2^53 the last digits go.
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) 9 (b) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 5 0 4242 8192 33 0";
        let expected = Stat {
            cpu_ticks: 200,
            threads: 5,
            started_ticks: 4242,
            virtual_bytes: 8192,
            resident_pages: 33,
        };
        assert_eq!(Stat::parse(text).unwrap(), expected);
        assert!(Stat::parse("7 (a S 1").is_err());
        assert!(Stat::parse("7 (a) S 1 2").is_err());
        assert_eq!(boot_time_seconds("cpu 1\nbtime 99\n").unwrap(), 99);
        assert!(boot_time_seconds("cpu 1\n").is_err());
    }

    #[test]
    fn the_usage_of_this_process_is_plausible() {
        let before = Usage::read().unwrap();
        let _open = fs::File::open("/proc/self/stat").unwrap();
        assert!(before.resident_bytes > 100_000 && before.virtual_bytes > before.resident_bytes);
        assert!(before.open_files >= 3 && before.open_files < before.open_files_max);
        assert!(before.threads >= 1);
        let age = SystemTime::now().duration_since(before.started_at).unwrap();
        assert!(age < Duration::from_secs(3_600), "{age:?}");
        let mut out = Text::new();
        metrics(&mut out);
        let text = out.finish();
        assert!(
            text.contains("\nprocess_open_fds ") && text.contains("\nprocess_cpu_seconds_total ")
        );
    }

    #[test]
    fn settings_of_the_process_take_effect() {
        let raised = raise_open_files().unwrap();
        let limits = getrlimit(Resource::Nofile);
        assert_eq!(limits.current.unwrap_or(u64::MAX), raised);
        assert_eq!(limits.current, limits.maximum);
        forbid_dumps().unwrap();
        assert_eq!(
            rustix::process::dumpable_behavior().unwrap(),
            DumpableBehavior::NotDumpable
        );
        assert!(
            Usage::read().is_ok(),
            "/proc/self must stay readable by ourselves"
        );
    }
}
