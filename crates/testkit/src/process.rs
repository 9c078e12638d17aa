//! Child processes that cannot outlive their owner.
//!
//! Owns spawning, signalling and ending of children. A child ends when its [`Process`] is dropped, when
//! this process exits, and, by the kernel's parent-death signal, when this process is killed. It must
//! never signal a process that it did not start, which it knows by holding the unreaped child.

use std::{
    fs,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::{Error, Result};

pub(crate) mod at_exit;
mod interrupt;

pub use interrupt::exit_on_signals;

/// A running child, killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts a command in a process group of its own, so that a terminal's Ctrl-C reaches it only
    /// through its owner.
    pub fn spawn(mut command: Command) -> io::Result<Process> {
        command.process_group(0);
        die_with_parent(&mut command);
        let child = spawn_on_the_lasting_thread(command)?;
        at_exit::kill_process(child.id());
        Ok(Process { child, ended: None })
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, or `None` while it runs.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
            if self.ended.is_some() {
                at_exit::forget_process(self.child.id());
            }
        }
        self.ended
    }

    /// Waits for its end for at most `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.try_wait() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal unless it has ended.
    pub fn signal(&mut self, signal: i32) {
        if self.try_wait().is_none()
            && let Ok(pid) = i32::try_from(self.child.id())
        {
            // SAFETY: kill takes two integers. The child is not reaped yet, so the id is still its own.
            unsafe { libc::kill(pid, signal) };
        }
    }

    /// Kills it with all that it started in its process group, and waits until it is gone.
    pub fn kill(&mut self) {
        if self.try_wait().is_none()
            && let Ok(pid) = i32::try_from(self.child.id())
        {
            // SAFETY: as in `signal`; the child leads the group that has its id.
            unsafe { libc::kill(-pid, libc::SIGKILL) };
        }
        self.wait(Duration::from_secs(30));
    }

    /// What the child prints, when its command was given pipes.
    pub fn take_output(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a command to its end and returns what it printed to standard output.
pub fn run(mut command: Command, name: &str) -> Result<String> {
    let output = command.output().map_err(|source| Error::Io {
        doing: format!("run {name}"),
        source,
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(Error::Program {
        program: name.to_owned(),
        status: Some(output.status),
        output: last_lines(&text, 30),
    })
}

/// Runs a command that reads `input` from standard input.
pub fn run_with_input(mut command: Command, name: &str, input: &[u8]) -> Result<()> {
    let failed = |source| Error::Io {
        doing: format!("run {name}"),
        source,
    };
    command.stdin(std::process::Stdio::piped());
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A child that dies early breaks the pipe; its exit status and text say more than that.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(Error::Program {
        program: name.to_owned(),
        status: Some(output.status),
        output: last_lines(&text, 30),
    })
}

/// The end of a text file, for messages; empty when it cannot be read.
pub fn tail(path: &Path, lines: usize) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    last_lines(&String::from_utf8_lossy(&bytes), lines)
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    lines.get(from..).unwrap_or_default().join("\n")
}

fn die_with_parent(command: &mut Command) {
    // SAFETY: getpid has no precondition.
    let parent = unsafe { libc::getpid() };
    let ask = move || {
        // SAFETY: between fork and exec only async-signal-safe calls are allowed; prctl and getppid are
        // plain system calls, and nothing is allocated.
        let gone = unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) != 0
                || libc::getppid() != parent
        };
        if gone {
            Err(io::Error::from_raw_os_error(libc::ESRCH))
        } else {
            Ok(())
        }
    };
    // SAFETY: see the closure.
    unsafe { command.pre_exec(ask) };
}

type Request = (Command, mpsc::Sender<io::Result<Child>>);

/// The parent-death signal is sent when the *thread* that forked ends (prctl(2)), and test threads end
/// early: all children are forked by one thread that lasts as long as the process.
fn spawn_on_the_lasting_thread(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        thread::spawn(move || {
            for (mut command, answer) in requests {
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (answer, spawned) = mpsc::channel();
    let lost = || io::Error::other("the thread that starts processes is gone");
    spawner.send((command, answer)).map_err(|_| lost())?;
    spawned.recv().map_err(|_| lost())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_alive(pid: u32) -> bool {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn a_child_survives_the_thread_that_asked_for_it_and_dies_with_its_owner() {
        let asked = thread::spawn(|| {
            let mut command = Command::new("sleep");
            command.arg("60");
            Process::spawn(command).unwrap()
        });
        let mut process = asked.join().unwrap();
        thread::sleep(Duration::from_millis(50));
        assert_eq!(process.try_wait(), None);
        let pid = process.id();
        assert!(is_alive(pid));
        drop(process);
        assert!(!is_alive(pid));
    }

    #[test]
    fn a_failing_program_says_what_it_printed() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo to-stdout; echo to-stderr >&2; exit 3"]);
        let text = run(command, "sh").unwrap_err().to_string();
        assert!(text.contains("to-stdout") && text.contains("to-stderr") && text.contains('3'));
    }
}
