//! Bad input from servers while the proxy logs in and sets its connection up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dbmesh_testkit::server::Kind;

use crate::faultkit::client::RawClient;
use crate::faultkit::scripted::{Done, Script, ScriptedServer, Wire};
use crate::faultkit::stage::Stage;
use crate::faultkit::{eventually, noise};
use crate::packet;

type Step = fn(&mut Wire) -> Done;

/// A server that is evil at one step of a login until it is healed.
#[derive(Clone)]
struct EvilLogin {
    greet: Step,
    verdict: Step,
    set_up: Step,
    healed: Arc<AtomicBool>,
}

impl Script for EvilLogin {
    fn greet(&self, wire: &mut Wire) -> Done {
        if self.healed.load(Ordering::Relaxed) {
            Done::No
        } else {
            (self.greet)(wire)
        }
    }

    fn verdict(&self, wire: &mut Wire) -> Done {
        if self.healed.load(Ordering::Relaxed) {
            Done::No
        } else {
            (self.verdict)(wire)
        }
    }

    fn command(&self, wire: &mut Wire, _: &[u8], sql: &str) -> Done {
        let own = sql.starts_with("SHOW SESSION VARIABLES") || sql.starts_with("SET SESSION");
        if own && !self.healed.load(Ordering::Relaxed) {
            (self.set_up)(wire)
        } else {
            Done::No
        }
    }
}

const HONEST: Step = |_| Done::No;

/// Clients get a clear error in time, memory stays, and when the server is honest again, so are the answers.
fn evil(greet: Step, verdict: Step, set_up: Step) {
    let script = EvilLogin {
        greet,
        verdict,
        set_up,
        healed: Arc::default(),
    };
    let server = ScriptedServer::start(script.clone());
    let stage = Stage::before(Kind::MySql, server.port, |c| {
        c.service("pool: {connectTimeoutMs: 1000}\nlimits: {queueWaitMs: 4000}")
    });
    let before = stage.memory_bytes();
    for _ in 0..3 {
        let mut client = RawClient::app(stage.port);
        let began = Instant::now();
        let reply = client.query("SELECT 1");
        assert!(matches!(reply.code(), Some(2003 | 2013)), "{reply:?}");
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "{:?}",
            began.elapsed()
        );
    }
    let grown = stage.memory_bytes() - before;
    assert!(
        grown < crate::faultkit::stage::GROWTH_BYTES_MAX,
        "grown by {grown}"
    );
    script.healed.store(true, Ordering::Relaxed);
    eventually(
        "answers of a healed server",
        Duration::from_secs(10),
        || {
            RawClient::app(stage.port)
                .query("SELECT 1")
                .code()
                .is_none()
        },
    );
    stage.assert_serves();
    stage.assert_pool_calm();
}

/// Sends this and waits until the proxy has had enough.
fn say(wire: &mut Wire, bytes: &[u8]) -> Done {
    let _ = wire.raw(bytes);
    wire.wait_for_close(Duration::from_secs(15));
    Done::Close
}

#[test]
fn a_greeting_of_noise() {
    evil(|w| say(w, &noise(11, 400)), HONEST, HONEST);
}

#[test]
fn a_greeting_that_is_cut() {
    evil(|w| say(w, &[80, 0, 0, 0, 10, b'8']), HONEST, HONEST);
}

#[test]
fn a_greeting_that_is_empty() {
    evil(|w| say(w, &packet(0, &[])), HONEST, HONEST);
}

#[test]
fn a_greeting_of_sixteen_megabytes() {
    evil(
        |w| {
            let mut bytes = vec![0xFE, 0xFF, 0xFF, 0, 10];
            bytes.resize(8 << 20, b'8');
            say(w, &bytes)
        },
        HONEST,
        HONEST,
    );
}

#[test]
fn a_greeting_of_before_4_1() {
    evil(
        |w| say(w, &packet(0, b"\x093.20\0\0\0\0\x0112345678\0")),
        HONEST,
        HONEST,
    );
}

#[test]
fn no_greeting() {
    evil(|w| say(w, &[]), HONEST, HONEST);
}

#[test]
fn a_close_instead_of_a_greeting() {
    evil(|_| Done::Close, HONEST, HONEST);
}

#[test]
fn an_error_instead_of_a_greeting() {
    evil(
        |w| say(w, &packet(0, b"\xFF\x10\x04Too many connections")),
        HONEST,
        HONEST,
    );
}

#[test]
fn switches_of_plugin_without_end() {
    evil(
        HONEST,
        |w| {
            for _ in 0..100_000 {
                let asked = [b"\xFEmysql_native_password\0".as_slice(), &[9; 20], &[0]].concat();
                if w.packet(&asked).is_err() || w.read().is_err() {
                    break;
                }
            }
            Done::Close
        },
        HONEST,
    );
}

#[test]
fn more_data_without_end() {
    evil(
        HONEST,
        |w| {
            let mut seq = w.seq;
            for _ in 0..100_000 {
                if w.raw(&packet(seq, &[1, 3])).is_err() {
                    break;
                }
                seq = seq.wrapping_add(1);
            }
            Done::Close
        },
        HONEST,
    );
}

/// Whether the scripted server was given the password.
static OVERHEARD: AtomicBool = AtomicBool::new(false);

#[test]
fn the_password_is_never_given_in_clear_text() {
    evil(
        HONEST,
        |w| {
            let _ = w.packet(b"\xFEmysql_clear_password\0");
            let answer = w.read().unwrap_or_default();
            if String::from_utf8_lossy(&answer).contains("app-password") {
                OVERHEARD.store(true, Ordering::Relaxed);
            }
            Done::Close
        },
        HONEST,
    );
    assert!(
        !OVERHEARD.load(Ordering::Relaxed),
        "a password in clear text over a plain connection"
    );
}

#[test]
fn a_plugin_that_nobody_knows() {
    evil(
        HONEST,
        |w| say(w, &packet(2, b"\xFEno_such_plugin\x00123")),
        HONEST,
    );
}

#[test]
fn a_verdict_out_of_order() {
    evil(
        HONEST,
        |w| say(w, &packet(200, &[0, 0, 0, 2, 0, 0, 0])),
        HONEST,
    );
}

#[test]
fn a_set_up_that_is_answered_with_noise() {
    evil(HONEST, HONEST, |w| say(w, &noise(21, 3000)));
}

#[test]
fn a_set_up_that_is_answered_with_a_request_for_a_file() {
    evil(HONEST, HONEST, |w| say(w, &packet(1, b"\xFB/etc/passwd")));
}

#[test]
fn a_set_up_that_is_answered_without_end() {
    evil(HONEST, HONEST, |w| {
        let _ = w.columns(&["Variable_name", "Value"]);
        let row = crate::faultkit::scripted::text_row(&["a", &"x".repeat(10_000)]);
        while w.packet(&row).is_ok() {}
        Done::Close
    });
}

#[test]
fn a_set_up_that_is_refused() {
    evil(HONEST, HONEST, |w| {
        let _ = w.packet(b"\xFF\x19\x04#42000no");
        Done::Yes
    });
}
