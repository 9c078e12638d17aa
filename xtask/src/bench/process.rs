//! Programs that a benchmark runs, and what they cost: processor time, memory and descriptors from `/proc`. A program started
//! here must never outlive the benchmark. Input: commands made by the other modules, and the kernel's tables.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dbmesh_testkit::process::Process;

/// What asks a program for a reload, by the number that it has on every Linux.
const SIGHUP: i32 = 1;
/// How often a condition is looked at while waiting.
const POLL: Duration = Duration::from_millis(1);

/// A program that runs until this value is dropped.
pub struct Daemon {
    name: String,
    process: Process,
}

impl Daemon {
    /// Starts `program` with its output going to `log`. It ends with this process, whatever ends that.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(program: &Path, args: &[&str], log: &Path) -> Result<Daemon, String> {
        let name = program
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let wrong = |error: std::io::Error| format!("cannot start {name}: {error}");
        let output = File::create(log).map_err(wrong)?;
        let errors = output.try_clone().map_err(wrong)?;
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        let process = Process::spawn(command).map_err(wrong)?;
        Ok(Daemon { name, process })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Asks it to load its configuration anew.
    pub fn reload(&mut self) {
        self.process.signal(SIGHUP);
    }

    /// Waits until something accepts connections at `port` of the loopback address.
    ///
    /// # Errors
    /// When the program ends before, or `limit` passes; with the end of its `log`.
    pub fn wait_listening(&mut self, port: u16, limit: Duration, log: &Path) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = self.process.try_wait();
            if ended.is_some() || Instant::now() > deadline {
                let said = fs::read_to_string(log).unwrap_or_default();
                let tail: Vec<&str> = said.lines().rev().take(10).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                let state =
                    ended.map_or_else(|| format!("not in {limit:?}"), |status| status.to_string());
                return Err(format!(
                    "{} does not listen at port {port} ({state}):\n{}",
                    self.name,
                    tail.join("\n")
                ));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

/// Microseconds of processor time, user and system, that process `pid` has used with all its threads, ended ones too.
pub fn cpu_us(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    cpu_ticks(&stat, 0).map(|ticks| ticks * tick_us())
}

/// The same for the children of this process that have ended and were waited for.
pub fn cpu_of_children_us() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    cpu_ticks(&stat, 2).map(|ticks| ticks * tick_us())
}

/// `utime + stime` of a line of `/proc/PID/stat`, or two fields later `cutime + cstime`. The name of the program, in
/// parentheses, may hold blanks: fields are counted from the last parenthesis.
fn cpu_ticks(stat: &str, skip: usize) -> Option<u64> {
    const UTIME: usize = 11;
    let mut fields = stat
        .rsplit_once(')')?
        .1
        .split_whitespace()
        .skip(UTIME + skip);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Microseconds of one kernel clock tick.
fn tick_us() -> u64 {
    static TICK: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    const USUAL_HZ: u64 = 100;
    *TICK.get_or_init(|| {
        let asked = Command::new("getconf").arg("CLK_TCK").output().ok();
        let hz = asked
            .and_then(|out| String::from_utf8_lossy(&out.stdout).trim().parse().ok())
            .filter(|hz| *hz > 0);
        1_000_000 / hz.unwrap_or(USUAL_HZ)
    })
}

/// Bytes of memory of process `pid` that are resident now.
pub fn rss_bytes(pid: u32) -> Option<u64> {
    status_bytes(pid, "VmRSS:")
}

/// The most bytes of memory of process `pid` that were resident since it began, or since [`forget_peak`].
pub fn peak_rss_bytes(pid: u32) -> Option<u64> {
    status_bytes(pid, "VmHWM:")
}

/// Lets [`peak_rss_bytes`] of process `pid` begin anew.
///
/// # Errors
/// When the kernel does not take it.
pub fn forget_peak(pid: u32) -> Result<(), String> {
    let path = format!("/proc/{pid}/clear_refs");
    fs::write(&path, "5").map_err(|error| format!("{path}: {error}"))
}

fn status_bytes(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(field))?
        .trim()
        .strip_suffix("kB")?
        .trim();
    kib.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// How many descriptors process `pid` has open.
pub fn descriptors(pid: u32) -> Option<u64> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .ok()
        .map(|entries| entries.count() as u64)
}

/// Raises this process's limit of open descriptors to `wanted`; programs started afterwards inherit it.
///
/// # Errors
/// When the machine's hard limit is lower and may not be raised.
pub fn raise_descriptor_limit(wanted: u64) -> Result<(), String> {
    let limits = fs::read_to_string("/proc/self/limits").map_err(|error| error.to_string())?;
    let soft = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|line| line.split_whitespace().next());
    if soft.is_some_and(|soft| {
        soft == "unlimited" || soft.parse::<u64>().is_ok_and(|soft| soft >= wanted)
    }) {
        return Ok(());
    }
    let raised = Command::new("prlimit")
        .arg(format!("--pid={}", std::process::id()))
        .arg(format!("--nofile={wanted}:{wanted}"))
        .output()
        .map_err(|error| format!("cannot run prlimit: {error}"))?;
    let soft_only = || {
        let arguments = [
            format!("--pid={}", std::process::id()),
            format!("--nofile={wanted}:"),
        ];
        Command::new("prlimit")
            .args(arguments)
            .status()
            .is_ok_and(|status| status.success())
    };
    if raised.status.success() || soft_only() {
        return Ok(());
    }
    Err(format!(
        "{wanted} open files are needed and the limit is lower: ulimit -Hn {wanted}"
    ))
}

/// The file that `name` on PATH, or in the folders for system programs, leads to.
pub fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_program_name() {
        let stat = "12 (a ) b) S 1 12 12 0 -1 4194560 100 0 0 0 7 5 3 2 20 0 1 0 100 1000 10";
        assert_eq!(cpu_ticks(stat, 0), Some(12));
        assert_eq!(cpu_ticks(stat, 2), Some(5));
        assert_eq!(cpu_ticks("nonsense", 0), None);
    }

    #[test]
    fn this_process_has_memory_descriptors_and_time() {
        let pid = std::process::id();
        assert!(rss_bytes(pid).is_some_and(|bytes| bytes > 100_000));
        assert!(peak_rss_bytes(pid).is_some_and(|bytes| bytes > 100_000));
        assert!(descriptors(pid).is_some_and(|count| count >= 3));
        assert!(cpu_us(pid).is_some());
        assert!(cpu_us(u32::MAX).is_none());
    }

    #[test]
    fn a_daemon_ends_with_its_value() {
        let log = std::env::temp_dir().join(format!("dbmesh-bench-daemon-{}", std::process::id()));
        let daemon = Daemon::spawn(Path::new("sleep"), &["60"], &log).unwrap();
        let folder = format!("/proc/{}", daemon.pid());
        assert!(Path::new(&folder).exists());
        drop(daemon);
        assert!(!Path::new(&folder).exists());
        std::fs::remove_file(&log).unwrap();
    }
}
