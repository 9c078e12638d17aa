//! `dbmesh password-hash`: what a resource keeps of a password instead of the password.
//!
//! It owns how the password comes in: typed without echo, from a pipe, or from a file, and never from the command line, which
//! every process of the machine may read. It never prints it. What is stored, `wire` knows.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;

use dbmesh_wire::auth::{Secret, StoreError, store_caching_sha2, store_native};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::cli::{HashPlugin, PasswordHashArgs};

/// Most bytes read, beyond what any password may have.
const READ_BYTES_MAX: usize = 1024;

/// Prints the hash; fails if there is no password, or none that a server would take.
pub fn run_password_hash(args: &PasswordHashArgs) -> ExitCode {
    let hash = read(args).and_then(|password| {
        let stored = match args.plugin {
            HashPlugin::CachingSha2Password => store_caching_sha2(&password),
            HashPlugin::MysqlNativePassword => store_native(&password),
        };
        stored.map_err(|why: StoreError| why.to_string())
    });
    match hash {
        Ok(hash) => {
            println!("{hash}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("dbmesh: {why}");
            ExitCode::FAILURE
        }
    }
}

fn read(args: &PasswordHashArgs) -> Result<Secret, String> {
    if let Some(path) = &args.file {
        let file = File::open(path);
        let line = file.and_then(|mut file| first_line(&mut file));
        return line.map_err(|e| format!("{}: {e}", path.display()));
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let line = first_line(&mut stdin.lock());
        return line.map_err(|e| format!("the password cannot be read from standard input: {e}"));
    }
    let failed = |e: io::Error| format!("the terminal: {e}");
    let first = ask("Password: ").map_err(failed)?;
    let second = ask("Once more: ").map_err(failed)?;
    match first.expose() == second.expose() {
        true => Ok(first),
        false => Err("the passwords differ; nothing was made".to_owned()),
    }
}

/// All of a file or pipe, which must be one line.
fn first_line(from: &mut impl Read) -> io::Result<Secret> {
    // Made at its full size, so that no copy of a smaller one is left in memory.
    let mut bytes = Vec::with_capacity(READ_BYTES_MAX + 1);
    let limit = u64::try_from(READ_BYTES_MAX + 1).unwrap_or(u64::MAX);
    from.take(limit).read_to_end(&mut bytes)?;
    while bytes
        .last()
        .is_some_and(|last| matches!(last, b'\n' | b'\r'))
    {
        bytes.pop();
    }
    if bytes.contains(&b'\n') {
        let several = "it has several lines; a password is one";
        return Err(io::Error::new(io::ErrorKind::InvalidData, several));
    }
    Ok(Secret::new(bytes))
}

/// What somebody types, unseen.
fn ask(prompt: &str) -> io::Result<Secret> {
    eprint!("{prompt}");
    io::stderr().flush()?;
    let unseen = Unseen::begin()?;
    let mut bytes = Vec::with_capacity(READ_BYTES_MAX + 1);
    let mut byte = [0];
    while bytes.len() <= READ_BYTES_MAX && io::stdin().read(&mut byte)? == 1 {
        let [typed] = byte;
        if typed == b'\n' {
            break;
        }
        bytes.push(typed);
    }
    drop(unseen);
    eprintln!();
    Ok(Secret::new(bytes))
}

/// A terminal that does not show what is typed, until dropped.
struct Unseen(Termios);

impl Unseen {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut now = before.clone();
        now.local_modes.remove(LocalModes::ECHO);
        now.local_modes
            .insert(LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(io::stdin(), OptionalActions::Flush, &now)?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_line_is_no_part_of_it() {
        for text in ["secret", "secret\n", "secret\r\n"] {
            let read = first_line(&mut text.as_bytes());
            assert!(read.is_ok_and(|read| read.expose() == b"secret"));
        }
        assert!(first_line(&mut "one\ntwo\n".as_bytes()).is_err());
    }
}
