//! The keyboard, key by key.
//!
//! It owns the terminal's mode and puts it back when dropped. Its input is bytes of a terminal.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Character(char),
    Enter,
    Tab,
    Escape,
    Backspace,
    Interrupt,
}

/// The keyboard in raw mode.
pub struct Keyboard {
    before: Termios,
}

impl Keyboard {
    pub fn raw() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Flush, &raw)?;
        Ok(Self { before })
    }

    /// Keys pressed until this time is over, or at once when there are some. The end of the input is an interrupt.
    pub fn wait(&self, limit: Duration) -> io::Result<Vec<Key>> {
        let stdin = stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        let limit = Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(limit.subsec_nanos()),
        };
        match poll(&mut fds, Some(&limit)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut bytes = [0; 64];
        let count = rustix::io::read(stdin, &mut bytes)?;
        if count == 0 {
            return Ok(vec![Key::Interrupt]);
        }
        Ok(keys(bytes.get(..count).unwrap_or_default()))
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.before);
    }
}

/// The keys of bytes that came together.
fn keys(bytes: &[u8]) -> Vec<Key> {
    let text = String::from_utf8_lossy(bytes);
    if text.starts_with('\u{1b}') && text.len() > 1 {
        // Arrows and the like, which mean nothing here.
        return Vec::new();
    }
    let key = |c: char| match c {
        '\r' | '\n' => Some(Key::Enter),
        '\t' => Some(Key::Tab),
        '\u{1b}' => Some(Key::Escape),
        '\u{7f}' | '\u{8}' => Some(Key::Backspace),
        '\u{3}' | '\u{4}' => Some(Key::Interrupt),
        c if c.is_control() => None,
        c => Some(Key::Character(c)),
    };
    text.chars().filter_map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_keys() {
        assert_eq!(keys(b"q"), [Key::Character('q')]);
        assert_eq!(keys(b"\x1b"), [Key::Escape]);
        assert_eq!(keys(b"\x1b[A"), []);
        assert_eq!(
            keys(b"a\r\t\x7f\x03"),
            [
                Key::Character('a'),
                Key::Enter,
                Key::Tab,
                Key::Backspace,
                Key::Interrupt
            ]
        );
        assert_eq!(keys("é".as_bytes()), [Key::Character('é')]);
    }
}
