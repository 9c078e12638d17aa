//! Ports of the loopback address that no other test takes.
//!
//! Owns the choice of ports. Binding to port 0 and closing again hands the same port to two processes
//! now and then; here a port is a locked file that every process of this machine that uses this crate
//! respects, in a range below the kernel's ephemeral ports.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
};

use crate::{Error, Result};

const FIRST: u16 = 21_000;
const COUNT: u16 = 10_000;

/// A port reserved until this value is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Reserves a free port of 127.0.0.1.
    pub fn reserve() -> Result<Port> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let folder = lock_folder();
        fs::create_dir_all(&folder).map_err(Error::io("create folder", &folder))?;
        // Processes begin at different places, so that they rarely try each other's ports.
        let start = u16::try_from(process::id() % u32::from(COUNT)).unwrap_or(0);
        for _ in 0..COUNT {
            let offset = (u32::from(start) + 37 * u32::from(NEXT.fetch_add(1, Ordering::Relaxed)))
                % u32::from(COUNT);
            let number = FIRST + u16::try_from(offset).unwrap_or(0);
            let path = folder.join(number.to_string());
            let lock = File::create(&path).map_err(Error::io("create", &path))?;
            if lock.try_lock().is_ok() && is_free(number) {
                return Ok(Port {
                    number,
                    _lock: lock,
                });
            }
        }
        Err(Error::Missing {
            what: format!("a free port in {FIRST}..{}", FIRST + COUNT),
            hint: "end some of the processes that listen there".to_owned(),
        })
    }

    /// The number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// A free port, reserved until this process ends.
pub fn free_port() -> Result<u16> {
    static KEPT: Mutex<Vec<Port>> = Mutex::new(Vec::new());
    let port = Port::reserve()?;
    let number = port.number();
    KEPT.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(port);
    Ok(number)
}

/// True when nothing listens on the port now.
pub fn is_free(number: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
}

fn lock_folder() -> PathBuf {
    // SAFETY: geteuid has no precondition.
    let user = unsafe { libc::geteuid() };
    std::env::temp_dir().join(format!("dbmesh-ports-{user}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn reserved_ports_differ_and_are_free() {
        let ports: Vec<Port> = (0..50).map(|_| Port::reserve().unwrap()).collect();
        let numbers: BTreeSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), ports.len());
        assert!(numbers.iter().all(|number| is_free(*number)));
    }
}
