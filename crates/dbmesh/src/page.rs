//! A client of a running proxy's admin page.
//!
//! It owns the one way in which commands speak HTTP: a request per connection, bounded in time and size, over a socket of
//! the standard library. It never retries. Its input is an address of the command line.

use std::env;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// The admin page at an address.
pub struct Page<'a> {
    address: &'a str,
}

/// Why there is no answer that can be used.
#[derive(Debug)]
pub enum PageError {
    /// Nobody is there.
    Unreachable(io::Error),
    /// Somebody is there who is no admin page.
    Strange(String),
    /// The page says no.
    Refused(String),
}

impl<'a> Page<'a> {
    /// The page at `host:port`.
    pub fn at(address: &'a str) -> Self {
        Self { address }
    }

    /// The address.
    pub fn address(&self) -> &str {
        self.address
    }

    /// What is at a path.
    pub fn get(&self, path: &str) -> Result<Value, PageError> {
        self.ask("GET", path)
    }

    /// What comes of an order.
    pub fn post(&self, path: &str) -> Result<Value, PageError> {
        self.ask("POST", path)
    }

    /// An error with the address that it is about.
    pub fn explain(&self, error: &PageError) -> String {
        let address = self.address;
        match error {
            PageError::Unreachable(error) => format!(
                "cannot reach the admin page at {address}: {error}\n\
                 help: is `dbmesh proxy` running there? `--admin ADDRESS` names another place"
            ),
            PageError::Strange(what) => {
                format!("what answers at {address} is no admin page of dbmesh: {what}")
            }
            PageError::Refused(why) => why.clone(),
        }
    }

    fn ask(&self, method: &str, path: &str) -> Result<Value, PageError> {
        let response = self.exchange(method, path)?;
        let strange = || PageError::Strange(format!("{:?}", first_line(&response)));
        let (head, body) = response.split_once("\r\n\r\n").ok_or_else(strange)?;
        let status = head
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse::<u16>().ok())
            .ok_or_else(strange)?;
        let value: Option<Value> = serde_json::from_str(body).ok();
        match (status, value) {
            (200, Some(value)) => Ok(value),
            (200, None) => Err(strange()),
            (_, Some(value)) if value.get("error").is_some() => {
                let why = value.get("error").and_then(Value::as_str);
                Err(PageError::Refused(why.unwrap_or_default().to_owned()))
            }
            (404, _) => Err(PageError::Strange(format!(
                "it knows no {path}; it may be of another version"
            ))),
            _ => Err(PageError::Refused(first_line(body).to_owned())),
        }
    }

    fn exchange(&self, method: &str, path: &str) -> Result<String, PageError> {
        let mut stream = self.connect().map_err(PageError::Unreachable)?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nX-Dbmesh: 1\r\nX-Dbmesh-Actor: {}\r\n\
             Connection: close\r\n\r\n",
            self.address,
            actor(),
        );
        let mut bytes = Vec::new();
        let exchanged = stream
            .write_all(request.as_bytes())
            .and_then(|()| stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes));
        exchanged.map_err(PageError::Unreachable)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no such host");
        for address in self.address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, TIMEOUT) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(TIMEOUT))?;
                    stream.set_write_timeout(Some(TIMEOUT))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Who runs the command, for the proxy's log and audit: what the environment says, without anything but visible ASCII, or the
/// number of the user.
fn actor() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| env::var(name).ok().filter(|name| !name.is_empty()))
        .unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()));
    name.chars()
        .filter(char::is_ascii_graphic)
        .take(64)
        .collect()
}

fn first_line(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    line.get(..80).unwrap_or(line)
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "{error}"),
            Self::Strange(what) | Self::Refused(what) => f.write_str(what),
        }
    }
}
