//! The built `dbmesh` binary, running with a configuration of the test.
//!
//! Owns the process, its configuration file and its log. It must never run a binary older than the
//! sources: unless `DBMESH_BIN` names one, cargo builds it first, once per test process. Its input is
//! the configuration's YAML text.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Error, Result,
    folder::Folder,
    http,
    port::Port,
    process::{self, Process},
};

const READY_LIMIT: Duration = Duration::from_secs(30);

/// A running proxy; it is killed and its folder removed when dropped.
#[derive(Debug)]
pub struct Proxy {
    process: Mutex<Process>,
    pid: u32,
    admin: Port,
    folder: Folder,
}

impl Proxy {
    /// Starts `dbmesh proxy` with this configuration and waits until it says that it is ready.
    pub fn start(config: &str, args: &[&str]) -> Result<Proxy> {
        let proxy = Proxy::launch(config, args)?;
        proxy.wait_until_ready(READY_LIMIT)?;
        Ok(proxy)
    }

    /// Starts it without waiting, for tests of what it does when it cannot become ready.
    pub fn launch(config: &str, args: &[&str]) -> Result<Proxy> {
        let binary = binary()?;
        let folder = Folder::create("proxy")?;
        let admin = Port::reserve()?;
        write(&folder.path().join("dbmesh.yaml"), config)?;
        let log = folder.path().join("log");
        let stdout = File::create(&log).map_err(Error::io("create", &log))?;
        let stderr = stdout.try_clone().map_err(Error::io("open", &log))?;
        let mut command = Command::new(&binary);
        command
            .arg("proxy")
            .arg("--config")
            .arg(folder.path().join("dbmesh.yaml"));
        command
            .arg("--admin")
            .arg(format!("127.0.0.1:{}", admin.number()))
            .args(args);
        command.stdout(stdout).stderr(stderr);
        let process = Process::spawn(command).map_err(Error::io("start", &binary))?;
        Ok(Proxy {
            pid: process.id(),
            process: Mutex::new(process),
            admin,
            folder,
        })
    }

    /// Waits for `GET /readyz` to answer 200.
    pub fn wait_until_ready(&self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.process().try_wait() {
                let output = self.log_tail(40);
                return Err(Error::Program {
                    program: "dbmesh proxy".to_owned(),
                    status: Some(status),
                    output,
                });
            }
            if matches!(self.admin_get("/readyz"), Ok((200, _))) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
        let what = format!("a ready proxy; its log ends with\n{}", self.log_tail(40));
        Err(Error::Timeout { what, after: limit })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Port of the administration on 127.0.0.1.
    pub fn admin_port(&self) -> u16 {
        self.admin.number()
    }

    /// Status and body of a GET on the administration.
    pub fn admin_get(&self, path: &str) -> Result<(u16, String)> {
        http::get(self.admin.number(), path)
    }

    /// The sum of the values of one metric over all its labels that contain `label` (empty: all of
    /// them); `None` when it is not in `GET /metrics`.
    pub fn metric(&self, name: &str, label: &str) -> Result<Option<f64>> {
        metric(self.admin.number(), name, label)
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("dbmesh.yaml")
    }

    /// Replaces the configuration file in one step, as an operator's tools do.
    pub fn rewrite_config(&self, config: &str) -> Result<()> {
        let (new, path) = (
            self.folder.path().join("dbmesh.yaml.new"),
            self.config_path(),
        );
        write(&new, config)?;
        fs::rename(&new, &path).map_err(Error::io("rename to", &path))
    }

    /// All that it has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// Where it logs.
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The end of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        process::tail(&self.log_path(), lines)
    }

    /// Asks it to reload.
    pub fn sighup(&self) {
        self.process().signal(libc::SIGHUP);
    }

    /// Asks it to drain and end.
    pub fn sigterm(&self) {
        self.process().signal(libc::SIGTERM);
    }

    /// Waits for its end.
    pub fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        let what = "the end of the proxy".to_owned();
        self.process()
            .wait(limit)
            .ok_or(Error::Timeout { what, after: limit })
    }

    /// Kills it as a crash would.
    pub fn kill(&self) {
        self.process().kill();
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("testkit: the proxy's log ends with\n{}", self.log_tail(40));
        }
        // The process goes before the folder it writes into, whatever the order of the fields.
        self.kill();
    }
}

/// The same of whatever listens for the administration at this port of 127.0.0.1.
pub fn metric(admin_port: u16, name: &str, label: &str) -> Result<Option<f64>> {
    let (_, text) = http::get(admin_port, "/metrics")?;
    let values: Vec<f64> = text
        .lines()
        .filter_map(|line| sample(line, name, label))
        .collect();
    Ok(if values.is_empty() {
        None
    } else {
        Some(values.iter().sum())
    })
}

/// The path of the `dbmesh` binary: `DBMESH_BIN`, or one that cargo has just brought up to date.
pub fn binary() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = built.as_ref() {
        return Ok(path.clone());
    }
    let path = match env::var_os("DBMESH_BIN") {
        Some(path) => PathBuf::from(path),
        None => build()?,
    };
    if !path.is_file() {
        let hint = "set DBMESH_BIN to a built dbmesh, or unset it".to_owned();
        return Err(Error::Missing {
            what: path.display().to_string(),
            hint,
        });
    }
    *built = Some(path.clone());
    Ok(path)
}

/// Builds the binary with the profile and into the target folder of the running program.
fn build() -> Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = profile_folder();
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(&workspace).args([
        "build",
        "--quiet",
        "--package",
        "dbmesh",
        "--bin",
        "dbmesh",
    ]);
    let folder = match folder {
        Some(folder) => {
            if folder.ends_with("release") {
                command.arg("--release");
            }
            if let Some(target) = folder.parent() {
                command.arg("--target-dir").arg(target);
            }
            folder
        }
        None => {
            let target = workspace.join("target");
            command.arg("--target-dir").arg(&target);
            target.join("debug")
        }
    };
    process::run(command, "cargo build --package dbmesh")?;
    Ok(folder.join("dbmesh"))
}

/// `target/debug` or `target/release`, from the path of the running test or tool.
fn profile_folder() -> Option<PathBuf> {
    let program = env::current_exe().ok()?;
    let folder = program
        .ancestors()
        .find(|folder| folder.ends_with("debug") || folder.ends_with("release"))?;
    Some(folder.to_owned())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::io("write", path))
}

/// The value of a line of the Prometheus text format that has this name and contains the label text.
fn sample(line: &str, name: &str, label: &str) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let (labels, value) = match rest.strip_prefix('{') {
        Some(labelled) => labelled.rsplit_once('}')?,
        None => ("", rest.strip_prefix(' ')?),
    };
    if !labels.contains(label) {
        return None;
    }
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_by_name_and_label() {
        let line = "dbmesh_pool_size{endpoint=\"a\",state=\"idle\"} 3";
        assert_eq!(
            sample(line, "dbmesh_pool_size", "state=\"idle\""),
            Some(3.0)
        );
        assert_eq!(sample(line, "dbmesh_pool_size", "state=\"busy\""), None);
        assert_eq!(sample(line, "dbmesh_pool", ""), None);
        assert_eq!(sample("up 1", "up", ""), Some(1.0));
    }
}
