//! Live traffic of the demonstration: a few clients, a line of figures every second.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use dbmesh_testkit::Session;

use super::{PASSWORD, SCHEMA, USER};

/// How long a client whose connection broke waits before it tries again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

/// What happened since the last line.
#[derive(Default)]
struct Figures {
    micros: Vec<u32>,
    errors: u64,
    last_error: Option<String>,
}

/// Runs clients until `limit`, or for ever. Fails when a statement failed or none succeeded.
pub fn run(port: u16, clients: u32, limit: Option<Duration>) -> Result<(), String> {
    let figures = Mutex::new(Figures::default());
    let ended = AtomicBool::new(false);
    println!(
        "{:>12}  {:>8}  {:>8}  {:>8}  {:>6}",
        "statements/s", "p50 ms", "p95 ms", "p99 ms", "errors"
    );
    thread::scope(|scope| {
        for client in 0..clients {
            let (figures, ended) = (&figures, &ended);
            scope.spawn(move || shop(port, client, figures, ended));
        }
        let outcome = report(&figures, limit);
        ended.store(true, Ordering::Release);
        outcome
    })
}

fn report(figures: &Mutex<Figures>, limit: Option<Duration>) -> Result<(), String> {
    let start = Instant::now();
    let (mut statements, mut errors, mut last_error) = (0, 0, None);
    let mut tick = start;
    while limit.is_none_or(|limit| start.elapsed() < limit) {
        tick += Duration::from_secs(1);
        thread::sleep(tick.saturating_duration_since(Instant::now()));
        let mut second =
            std::mem::take(&mut *figures.lock().unwrap_or_else(PoisonError::into_inner));
        second.micros.sort_unstable();
        println!(
            "{:>12}  {:>8.2}  {:>8.2}  {:>8.2}  {:>6}{}",
            second.micros.len(),
            percentile_ms(&second.micros, 50),
            percentile_ms(&second.micros, 95),
            percentile_ms(&second.micros, 99),
            second.errors,
            second
                .last_error
                .as_ref()
                .map(|error| format!("  {error}"))
                .unwrap_or_default(),
        );
        statements += second.micros.len();
        errors += second.errors;
        last_error = second.last_error.or(last_error);
    }
    println!("{statements} statements, {errors} errors");
    match last_error {
        Some(error) => Err(format!(
            "{errors} statements failed, the last with: {error}"
        )),
        None if statements == 0 => Err("no statement succeeded".to_owned()),
        None => Ok(()),
    }
}

/// One client: connects, works until something breaks, connects again.
fn shop(port: u16, client: u32, figures: &Mutex<Figures>, ended: &AtomicBool) {
    let mut turn = client;
    while !ended.load(Ordering::Acquire) {
        let session = match Session::over_tcp(port, USER, PASSWORD, Some(SCHEMA)) {
            Ok(session) => session,
            Err(error) => {
                note_error(figures, &error);
                thread::sleep(RECONNECT_PAUSE);
                continue;
            }
        };
        while !ended.load(Ordering::Acquire) {
            turn = turn.wrapping_add(1);
            let begin = Instant::now();
            match session.execute(&statement(turn)) {
                Ok(()) => {
                    let micros = u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX);
                    figures
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .micros
                        .push(micros);
                }
                Err(error) => {
                    note_error(figures, &error);
                    thread::sleep(RECONNECT_PAUSE);
                    if error.code().is_none() {
                        break;
                    }
                }
            }
        }
    }
}

/// What shoppers do: mostly look, sometimes buy.
fn statement(turn: u32) -> String {
    let tags = [
        "brown", "geek", "formal", "blue", "red", "action", "magic", "green",
    ];
    let tag = tags
        .get(turn as usize % tags.len())
        .copied()
        .unwrap_or("blue");
    match turn % 20 {
        0 => format!("UPDATE sock SET count = count - 1 WHERE price = 15.00 AND count > {}", turn % 100),
        1 => "UPDATE sock SET count = 500 WHERE price = 15.00 AND count < 100".to_owned(),
        2..=7 => format!(
            "SELECT sock.name, price FROM sock JOIN sock_tag USING (sock_id) JOIN tag USING (tag_id) WHERE tag.name = '{tag}' ORDER BY price"
        ),
        8..=11 => format!("SELECT first_name, last_name FROM user WHERE user_id = {}", 1 + turn % 8),
        12 => "SELECT COUNT(*), AVG(price) FROM sock".to_owned(),
        _ => "SELECT name, description, price, count FROM sock WHERE sock_id = '837ab141-399e-4c1f-9abc-bace40296bac'"
            .to_owned(),
    }
}

fn note_error(figures: &Mutex<Figures>, error: &dbmesh_testkit::Error) {
    let mut figures = figures.lock().unwrap_or_else(PoisonError::into_inner);
    figures.errors += 1;
    figures.last_error = Some(error.to_string());
}

/// The given percentile of sorted microseconds, in milliseconds; 0 of nothing.
fn percentile_ms(sorted: &[u32], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    f64::from(sorted.get(index).copied().unwrap_or(0)) / 1000.0
}
