//! Golden cases: each `cases/NAME.yaml` is resolved, and what comes of it is `cases/NAME.txt`: the
//! defects, or the topology as `/debug/config` shows it. `DBMESH_BLESS=1` writes the `.txt` files. Cases
//! called `plan-…` are resolved for planning.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use dbmesh_model::host::{Host, LocalHost};
use dbmesh_model::{Purpose, load_text, resolve_for};
use zeroize::Zeroizing;

/// Texts of the cases and of the host below that must never be shown.
const SECRETS: [&str; 9] = [
    "default_password",
    "fake_password",
    "from-the-environment",
    "from-a-file",
    "p1aintext",
    "12345678",
    "2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19",
    "MIIB",
    "AAAA",
];

struct CaseHost;

impl Host for CaseHost {
    fn env(&self, name: &str) -> Option<Zeroizing<String>> {
        matches!(name, "APP_PASSWORD" | "DB_PASSWORD")
            .then(|| Zeroizing::new("from-the-environment".to_owned()))
    }

    fn read(&self, path: &Path) -> io::Result<Zeroizing<String>> {
        let text = match path.to_str() {
            Some("folder/secrets/report") => "from-a-file\n",
            Some("folder/tls/cert.pem" | "folder/tls/ca.pem") => {
                "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
            }
            Some("folder/tls/key.pem") => {
                "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"
            }
            Some("folder/tls/locked.pem") => {
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"
            }
            _ => return Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
        };
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// A module of `cases/modules`, from its text.
    fn read_bytes(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR"));
        let name = path.strip_prefix("folder/modules").unwrap();
        if name == Path::new("no-module.wasm") {
            return Ok(b"no module".to_vec());
        }
        if name == Path::new("by_number.wasm") {
            let path = crates.join("../../docs/algorithms").join(name);
            return LocalHost.read_bytes(&path, bytes_max);
        }
        let text = crates
            .join("cases/modules")
            .join(name)
            .with_extension("wat");
        if !text.exists() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no such file"));
        }
        Ok(wat::parse_file(text).unwrap())
    }
}

fn outcome(name: &str, text: &str) -> String {
    let file = PathBuf::from("folder").join(name);
    let purpose = match name.starts_with("plan-") {
        true => Purpose::Plan,
        false => Purpose::Serve,
    };
    match resolve_for(purpose, load_text(&file, text), &CaseHost) {
        Err(defects) => format!("{defects}\n"),
        Ok(topology) => {
            let mut out = String::new();
            for warning in &topology.warnings {
                writeln!(out, "{warning}").unwrap();
            }
            let mut shown = topology.redacted();
            shown.as_object_mut().unwrap().remove("warnings");
            writeln!(out, "{shown:#}").unwrap();
            let debug = format!("{topology:?}");
            for secret in SECRETS {
                assert!(!debug.contains(secret), "{name}: Debug shows {secret}");
            }
            out
        }
    }
}

#[test]
fn cases_come_out_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let bless = std::env::var_os("DBMESH_BLESS").is_some();
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "yaml")
    });
    files.sort();
    assert!(files.len() >= 10, "the cases are gone: {files:?}");
    let mut wrong = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let actual = outcome(name, &std::fs::read_to_string(&file).unwrap());
        for secret in SECRETS {
            assert!(!actual.contains(secret), "{name} shows {secret}");
        }
        let golden = file.with_extension("txt");
        if bless {
            std::fs::write(&golden, &actual).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if actual != expected {
            wrong.push(format!(
                "== {name}: expected\n{expected}== but it is\n{actual}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
