//! The signals that steer a process.
//!
//! It owns the handlers: once [`Signals`] exists, these signals no longer end the process by
//! themselves, even after it is dropped. It decides nothing. Its input is the operating system.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// HUP: read the configuration again.
    Hangup,
    /// TERM, INT or QUIT: drain and end; a second one means now.
    Terminate,
}

/// The signals of this process, from now on.
#[derive(Debug)]
pub struct Signals {
    hangup: Stream,
    terminate: Stream,
    interrupt: Stream,
    quit: Stream,
}

impl Signals {
    /// Takes the signals over from the operating system's defaults.
    ///
    /// # Errors
    /// If a handler cannot be installed.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O enabled.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// The next signal. Cancel-safe: no signal is lost when the future is dropped; signals of one
    /// kind that come while nobody waits count as one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Terminate,
            _ = self.quit.recv() => Signal::Terminate,
            _ = self.hangup.recv() => Signal::Hangup,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::process::{Signal as Raise, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn signals_arrive_as_what_they_ask_for() {
        let mut signals = Signals::new().unwrap();
        let sent = [
            (Raise::HUP, Signal::Hangup),
            (Raise::TERM, Signal::Terminate),
            (Raise::INT, Signal::Terminate),
            (Raise::QUIT, Signal::Terminate),
            (Raise::HUP, Signal::Hangup),
        ];
        for (raise, expected) in sent {
            kill_process(getpid(), raise).unwrap();
            let next = tokio::time::timeout(Duration::from_secs(5), signals.next());
            assert_eq!(next.await.unwrap(), expected, "{raise:?}");
        }
    }
}
