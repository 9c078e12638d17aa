//! The log: one line per event on standard error, as text for people or JSON for collectors.
//!
//! It owns the form and the level. It must never be given a secret or the text of a statement: what
//! is logged is decided where it is logged. Its input is the command line.

use std::fmt;
use std::io::IsTerminal;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// The form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people; with colours when standard error is a terminal and `NO_COLOR` is not set.
    #[default]
    Text,
    /// One JSON object per line, the fields of the event at its top.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(format!("log format `{other}` is neither `text` nor `json`")),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        })
    }
}

/// Starts the log of this process. `level` is `off`, `error`, `warn`, `info`, `debug` or `trace`,
/// optionally followed by levels of single modules: `info,dbmesh_proxy=debug`.
///
/// # Errors
/// If `level` is not of that form, or if this process has a log already.
pub fn init(format: LogFormat, level: &str) -> Result<(), String> {
    let filter = filter(level)?;
    let stderr = std::io::stderr;
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let started = match format {
        LogFormat::Text => {
            let colours = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let subscriber = builder.with_writer(stderr).with_ansi(colours);
            subscriber.finish().try_init()
        }
        LogFormat::Json => {
            let subscriber = builder.with_writer(stderr).json().flatten_event(true);
            let plain = subscriber
                .with_current_span(true)
                .with_span_list(false)
                .with_ansi(false);
            plain.finish().try_init()
        }
    };
    started.map_err(|error| format!("the log cannot be started: {error}"))
}

/// Reads the level. The filter's own parser takes any word for the name of a module and then shows
/// everything of it: `--log-level inof` would silence the log, so such words are refused here.
fn filter(level: &str) -> Result<EnvFilter, String> {
    let parts: Vec<&str> = level.split(',').map(str::trim).collect();
    for part in &parts {
        let word = part.rsplit_once('=').map_or(*part, |(_, word)| word);
        if word.parse::<LevelFilter>().is_err() || word.is_empty() {
            return Err(format!(
                "log level `{part}` is none of off, error, warn, info, debug, trace"
            ));
        }
    }
    EnvFilter::try_new(parts.join(",")).map_err(|error| format!("log level `{level}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_and_misspelled_ones_refused() {
        for level in [
            "info",
            "WARN",
            "off",
            "info,dbmesh_proxy=debug",
            "debug, hyper=off",
        ] {
            assert!(filter(level).is_ok(), "{level}");
        }
        for level in ["", "inof", "info,", "info,hyper", "hyper=", "a=b=loud"] {
            assert!(filter(level).is_err(), "{level}");
        }
    }

    #[test]
    fn formats_are_read_back_as_printed() {
        for format in [LogFormat::Text, LogFormat::Json] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert!("yaml".parse::<LogFormat>().is_err());
    }

    #[test]
    fn a_second_log_is_refused_and_a_bad_level_starts_none() {
        assert!(init(LogFormat::Text, "loud").is_err());
        assert_eq!(init(LogFormat::Json, "error"), Ok(()));
        assert!(init(LogFormat::Text, "error").is_err());
    }
}
