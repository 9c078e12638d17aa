//! What can go wrong in the harness, said so that the reader knows what to do next.

use std::{fmt, io, path::Path, process::ExitStatus, time::Duration};

/// Result of every fallible call of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of the harness itself, or a server's own error for a statement.
#[derive(Debug)]
pub enum Error {
    /// Something that the machine lacks, and what to install.
    Missing {
        /// What was looked for.
        what: String,
        /// What the reader can do about it.
        hint: String,
    },
    /// A program ran and failed.
    Program {
        /// Its name.
        program: String,
        /// How it ended; `None` when it ended by itself unseen.
        status: Option<ExitStatus>,
        /// The last lines it printed.
        output: String,
    },
    /// Something did not happen in time.
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// The operating system refused.
    Io {
        /// What was being done.
        doing: String,
        /// The system's own error.
        source: io::Error,
    },
    /// A server's error packet.
    Sql {
        /// MySQL error number.
        code: u16,
        /// Five characters of SQLSTATE.
        state: String,
        /// The server's text.
        message: String,
    },
    /// The connection to a server failed.
    Connection(String),
}

impl Error {
    /// The server's error number, when this is a server's error.
    pub fn code(&self) -> Option<u16> {
        match self {
            Error::Sql { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Wraps an error of the operating system with what was being done to which path.
    pub(crate) fn io(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let doing = format!("{doing} {}", path.display());
        move |source| Error::Io { doing, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Missing { what, hint } => write!(f, "{what} is missing: {hint}"),
            Error::Program {
                program,
                status: Some(status),
                output,
            } => {
                write!(f, "{program} failed ({status}):\n{output}")
            }
            Error::Program {
                program,
                status: None,
                output,
            } => {
                write!(f, "{program} ended unexpectedly:\n{output}")
            }
            Error::Timeout { what, after } => write!(f, "{what}: not within {after:?}"),
            Error::Io { doing, source } => write!(f, "{doing}: {source}"),
            Error::Sql {
                code,
                state,
                message,
            } => write!(f, "ERROR {code} ({state}): {message}"),
            Error::Connection(message) => write!(f, "connection: {message}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
