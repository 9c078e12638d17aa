//! An initialised data folder per server version, copied for every instance.
//!
//! Owns `<cache>/templates/`. Initialising takes seconds and copying a tenth of one. The template must
//! never hold what has to differ between instances (the server's UUID) nor binary logs: an instance
//! begins with an empty GTID set. Its input is an [`Installation`].

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::{
    Error, Kind, Result,
    binaries::{Installation, cache_folder},
    folder::Folder,
    process::{self, Process},
    query::Session,
    server::{APP_PASSWORD, APP_USER, wait_until_ready},
};

/// Changes whenever the content of a template does, so that older ones are made anew.
const REVISION: u32 = 2;

/// The scripts that make MariaDB's system tables, in the order of mariadb-install-db.
const MARIADB_SCRIPTS: [&str; 5] = [
    "mysql_system_tables.sql",
    "mysql_performance_tables.sql",
    "mysql_system_tables_data.sql",
    "maria_add_gis_sp_bootstrap.sql",
    "mysql_sys_schema.sql",
];

/// Copies the template of this version to `target`, making the template when it does not exist.
pub fn copy_to(installation: &Installation, target: &Path) -> Result<()> {
    let template = ensure(installation)?;
    let mut copy = Command::new("cp");
    copy.args(["--archive", "--reflink=auto", "--sparse=always"])
        .arg(&template)
        .arg(target);
    process::run(copy, "cp").map(drop)
}

fn ensure(installation: &Installation) -> Result<PathBuf> {
    let folder = cache_folder()?.join("templates");
    fs::create_dir_all(&folder).map_err(Error::io("create folder", &folder))?;
    let version = installation
        .version()
        .replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
    let name = format!(
        "{}-{version}-r{REVISION}",
        installation.kind().folder_name()
    );
    let template = folder.join(&name);
    let lock_path = folder.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).map_err(Error::io("create", &lock_path))?;
    lock.lock().map_err(Error::io("lock", &lock_path))?;
    if template.is_dir() {
        return Ok(template);
    }
    eprintln!(
        "testkit: initialising a data folder for {} {}",
        installation.kind(),
        installation.version()
    );
    let work = folder.join(format!("{name}.new"));
    let _ = fs::remove_dir_all(&work);
    initialise(installation, &work)?;
    add_accounts(installation, &work)?;
    remove_what_must_differ(&work);
    write_certificates(&work)?;
    fs::rename(&work, &template).map_err(Error::io("rename to", &template))?;
    Ok(template)
}

fn initialise(installation: &Installation, data: &Path) -> Result<()> {
    let mut command = installation.server_command();
    command.arg(format!("--datadir={}", data.display()));
    match installation.kind() {
        Kind::MySql => {
            command.args(["--initialize-insecure", "--innodb-redo-log-capacity=32M"]);
            process::run(command, "mysqld --initialize-insecure").map(drop)
        }
        Kind::MariaDb => {
            fs::create_dir_all(data.join("mysql")).map_err(Error::io("create folder", data))?;
            command.args([
                "--bootstrap",
                "--innodb-log-file-size=32M",
                "--max-allowed-packet=8M",
            ]);
            command.args(["--net-buffer-length=16K", "--enforce-storage-engine="]);
            let mut script =
                b"CREATE DATABASE IF NOT EXISTS mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n"
                    .to_vec();
            for name in MARIADB_SCRIPTS {
                script.extend(installation.share_file(name)?);
                script.push(b'\n');
            }
            process::run_with_input(command, "mariadbd --bootstrap", &script)
        }
    }
}

fn add_accounts(installation: &Installation, data: &Path) -> Result<()> {
    let folder = Folder::create("accounts")?;
    let (socket, log) = (folder.path().join("sock"), folder.path().join("log"));
    let stderr = File::create(&log).map_err(Error::io("create", &log))?;
    let mut command = installation.server_command();
    command
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}", socket.display()))
        .arg(format!(
            "--pid-file={}",
            folder.path().join("pid").display()
        ))
        .args(["--skip-networking", "--skip-log-bin"])
        .stderr(stderr);
    match installation.kind() {
        Kind::MySql => command.args(["--mysqlx=OFF", "--innodb-redo-log-capacity=32M"]),
        Kind::MariaDb => command.arg("--innodb-log-file-size=32M"),
    };
    if installation.has_ed25519() {
        command.arg("--plugin-load-add=auth_ed25519");
    }
    let mut server = Process::spawn(command).map_err(Error::io("start a server for", data))?;
    wait_until_ready(&mut server, &socket, &log)?;
    Session::over_socket(&socket)?.execute(&accounts(installation))?;
    server.signal(libc::SIGTERM);
    let limit = Duration::from_secs(60);
    server.wait(limit).ok_or_else(|| Error::Timeout {
        what: "the end of the server".to_owned(),
        after: limit,
    })?;
    Ok(())
}

fn accounts(installation: &Installation) -> String {
    let identified = |password: &str| match installation.kind() {
        Kind::MySql => format!("WITH caching_sha2_password BY '{password}'"),
        Kind::MariaDb => format!("VIA mysql_native_password USING PASSWORD('{password}')"),
    };
    let mut accounts = vec![
        (APP_USER, identified(APP_PASSWORD), "ALL"),
        ("repl", identified("repl-password"), "REPLICATION SLAVE"),
    ];
    if installation.has_ed25519() {
        let identified = format!("VIA ed25519 USING PASSWORD('{APP_PASSWORD}')");
        accounts.push(("app_ed25519", identified, "ALL"));
    }
    let mut sql = String::new();
    for (name, identified, rights) in accounts {
        sql.push_str(&format!(
            "CREATE USER '{name}'@'%' IDENTIFIED {identified};\n\
             GRANT {rights} ON *.* TO '{name}'@'%' WITH GRANT OPTION;\n"
        ));
        if installation.kind() == Kind::MariaDb && rights == "ALL" {
            // MariaDB has no super_read_only: with this right, writes would pass on replicas.
            sql.push_str(&format!(
                "REVOKE READ ONLY ADMIN ON *.* FROM '{name}'@'%';\n"
            ));
        }
    }
    sql
}

fn remove_what_must_differ(data: &Path) {
    let own = [
        "auto.cnf",
        "ca.pem",
        "ca-key.pem",
        "server-cert.pem",
        "server-key.pem",
        "client-cert.pem",
        "client-key.pem",
    ];
    for name in own {
        let _ = fs::remove_file(data.join(name));
    }
}

/// A certificate authority and certificates for `localhost` and 127.0.0.1, under the names that MySQL
/// looks for in its data folder.
fn write_certificates(data: &Path) -> Result<()> {
    let failed = |error: rcgen::Error| Error::Connection(format!("making certificates: {error}"));
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority
        .distinguished_name
        .push(DnType::CommonName, "dbmesh testkit authority");
    let authority_key = KeyPair::generate().map_err(failed)?;
    let authority_certificate = authority.self_signed(&authority_key).map_err(failed)?;
    write_private(&data.join("ca.pem"), &authority_certificate.pem())?;
    let issuer = Issuer::new(authority, authority_key);
    for (name, common_name) in [("server", "localhost"), ("client", "app")] {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
        write_private(&data.join(format!("{name}-cert.pem")), &certificate.pem())?;
        write_private(&data.join(format!("{name}-key.pem")), &key.serialize_pem())?;
    }
    Ok(())
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::io("write", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(Error::io("protect", path))
}
