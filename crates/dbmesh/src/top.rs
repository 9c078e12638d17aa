//! `dbmesh top`: a running proxy, live.
//!
//! It owns the loop of looks and keys. It computes rates from two looks and leaves everything else to the proxy. Its input
//! is the admin page and the keyboard.

mod keys;
mod screen;
mod views;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::{OutputFormat, TopArgs, View};
use crate::page::{Page, PageError};
use crate::terminal::{Colour, Escaped, table};
use keys::{Key, Keyboard};
use screen::Screen;
use views::Row;

/// Rows asked for and kept; a screen has fewer.
const ROWS_MAX: usize = 500;
/// Longest filter, in characters.
const FILTER_MAX: usize = 80;

/// Watches until told to end; fails if the proxy cannot be asked.
pub fn run_top(args: &TopArgs) -> ExitCode {
    let page = Page::at(&args.admin.admin);
    let terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    let done = match args.once {
        true => once(&page, args),
        false if !terminal => {
            eprintln!("dbmesh: top needs a terminal; `--once` shows one look");
            return ExitCode::FAILURE;
        }
        false => watch(&page, args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dbmesh: {}", page.explain(&error));
            ExitCode::FAILURE
        }
    }
}

/// One look at the proxy.
struct Look {
    at: Instant,
    listing: Value,
}

fn look(page: &Page<'_>, view: View) -> Result<Look, PageError> {
    let path = match view {
        View::Digests => format!("/debug/digests?limit={ROWS_MAX}"),
        View::Endpoints => "/debug/endpoints".to_owned(),
        View::Sessions => "/debug/sessions".to_owned(),
        View::Pools => "/debug/pools".to_owned(),
    };
    let listing = page.get(&path)?;
    Ok(Look {
        at: Instant::now(),
        listing,
    })
}

fn once(page: &Page<'_>, args: &TopArgs) -> Result<(), PageError> {
    let before = look(page, args.view)?;
    std::thread::sleep(args.interval);
    let now = look(page, args.view)?;
    let state = State::new(args);
    let rows = state.rows(Some(&before), &now);
    let text = match args.output {
        OutputFormat::Json => {
            let rows: Vec<&Value> = rows.iter().map(|row| &row.value).collect();
            format!(
                "{:#}\n",
                json!({ "view": views::name(args.view), "rows": rows })
            )
        }
        OutputFormat::Table => {
            let (heads, cells) = views::cells(args.view, &rows);
            table(&heads, &cells, Colour::of(io::stdout().is_terminal()))
        }
    };
    let _ = io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}

/// What the reader chose.
struct State {
    view: View,
    order: usize,
    filter: String,
    typing: bool,
    paused: bool,
}

/// What comes of a key.
#[derive(PartialEq, Eq)]
enum Told {
    Nothing,
    /// Another view: what was seen is of no use.
    Anew,
    Quit,
}

impl State {
    fn new(args: &TopArgs) -> Self {
        Self {
            view: args.view,
            order: 0,
            filter: args.filter.chars().take(FILTER_MAX).collect(),
            typing: false,
            paused: false,
        }
    }

    fn rows(&self, before: Option<&Look>, now: &Look) -> Vec<Row> {
        let elapsed = before.map(|before| now.at.duration_since(before.at));
        let before = before.map(|before| &before.listing);
        let mut rows = views::rows(self.view, before, &now.listing, elapsed);
        let wanted = self.filter.to_lowercase();
        rows.retain(|row| {
            wanted.is_empty() || row.value.to_string().to_lowercase().contains(&wanted)
        });
        views::sort(self.view, self.order, &mut rows);
        rows.truncate(ROWS_MAX);
        rows
    }

    fn press(&mut self, key: Key) -> Told {
        if self.typing {
            match key {
                Key::Enter => self.typing = false,
                Key::Escape => {
                    self.typing = false;
                    self.filter.clear();
                }
                Key::Backspace => {
                    self.filter.pop();
                }
                Key::Character(c) if self.filter.chars().count() < FILTER_MAX => {
                    self.filter.push(c);
                }
                _ => {}
            }
            return Told::Nothing;
        }
        let view = match key {
            Key::Character('1') => View::Digests,
            Key::Character('2') => View::Endpoints,
            Key::Character('3') => View::Sessions,
            Key::Character('4') => View::Pools,
            Key::Tab => views::next(self.view),
            Key::Character('q') | Key::Interrupt => return Told::Quit,
            Key::Character('s') => {
                self.order = (self.order + 1) % views::orders(self.view).len();
                return Told::Nothing;
            }
            Key::Character('/') => {
                self.typing = true;
                return Told::Nothing;
            }
            Key::Escape => {
                self.filter.clear();
                return Told::Nothing;
            }
            Key::Character(' ' | 'p') => {
                self.paused = !self.paused;
                return Told::Nothing;
            }
            _ => return Told::Nothing,
        };
        let changed = view != self.view;
        self.view = view;
        if changed {
            self.order = 0;
            return Told::Anew;
        }
        Told::Nothing
    }

    /// The lines above the table.
    fn head(&self, page: &Page<'_>, error: Option<&str>) -> Vec<String> {
        let order = views::orders(self.view).get(self.order).copied();
        let mut first = format!(
            "dbmesh top  {}  [{}]  by {}",
            page.address(),
            views::name(self.view),
            order.unwrap_or_default(),
        );
        if self.paused {
            first.push_str("  PAUSED");
        }
        if self.typing || !self.filter.is_empty() {
            let cursor = if self.typing { "_" } else { "" };
            first.push_str(&format!("  filter: {}{cursor}", Escaped(&self.filter)));
        }
        let keys =
            "1 digests 2 endpoints 3 sessions 4 pools  s order  / filter  space pause  q quit";
        let second = match error {
            Some(error) => Escaped(error.lines().next().unwrap_or_default()).to_string(),
            None => keys.to_owned(),
        };
        vec![first, second]
    }
}

fn watch(page: &Page<'_>, args: &TopArgs) -> Result<(), PageError> {
    let broken = |error: io::Error| PageError::Strange(format!("the terminal: {error}"));
    let mut state = State::new(args);
    let (mut before, mut now) = (None, look(page, state.view)?);
    let keyboard = Keyboard::raw().map_err(broken)?;
    let mut screen = Screen::open().map_err(broken)?;
    let mut error = None;
    let mut due = Instant::now() + args.interval;
    loop {
        let rows = state.rows(before.as_ref(), &now);
        let (heads, cells) = views::cells(state.view, &rows);
        let lines = state.head(page, error.as_deref());
        screen.draw(&lines, &heads, &cells).map_err(broken)?;
        let left = due.saturating_duration_since(Instant::now());
        let pressed = keyboard.wait(left.max(Duration::from_millis(10)));
        for key in pressed.map_err(broken)? {
            match state.press(key) {
                Told::Quit => return Ok(()),
                Told::Anew => due = Instant::now(),
                Told::Nothing => {}
            }
        }
        if Instant::now() < due {
            continue;
        }
        due = Instant::now() + args.interval;
        if state.paused && views::is_of(state.view, &now.listing) {
            continue;
        }
        match look(page, state.view) {
            Ok(next) => {
                before = Some(std::mem::replace(&mut now, next));
                error = None;
            }
            // The proxy may come back.
            Err(why) => error = Some(page.explain(&why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            view: View::Digests,
            order: 0,
            filter: String::new(),
            typing: false,
            paused: false,
        }
    }

    fn digests(calls: u64) -> Look {
        let one = |digest: &str, text: &str, calls: u64, time_us: u64| {
            json!({ "service": "s", "user": "u", "digest": digest, "text": text, "calls": calls, "errors": 0,
                    "time_us": time_us, "rows_sent": 0, "p50_us": 1, "p99_us": 2 })
        };
        Look {
            at: Instant::now(),
            listing: json!([
                one("1", "SELECT a FROM t", calls, 10),
                one("2", "UPDATE t SET a = ?", calls * 2, 1_000),
            ]),
        }
    }

    #[test]
    fn keys_choose_view_order_filter_and_pause() {
        let mut state = state();
        assert!(state.press(Key::Character('2')) == Told::Anew);
        assert!(state.press(Key::Character('2')) == Told::Nothing);
        assert!(state.press(Key::Tab) == Told::Anew && state.view == View::Sessions);
        assert!(state.press(Key::Character('1')) == Told::Anew);
        state.press(Key::Character('s'));
        assert_eq!(state.order, 1);
        for key in ['/', 'q', 's'] {
            assert!(state.press(Key::Character(key)) == Told::Nothing);
        }
        assert_eq!((state.filter.as_str(), state.order), ("qs", 1));
        state.press(Key::Backspace);
        state.press(Key::Enter);
        assert_eq!(state.filter, "q");
        state.press(Key::Character(' '));
        assert!(state.paused);
        assert!(state.press(Key::Character('q')) == Told::Quit);
        assert!(state.press(Key::Interrupt) == Told::Quit);
    }

    #[test]
    fn rates_come_of_two_looks_and_rows_are_filtered_and_ordered() {
        let mut state = state();
        let before = digests(10);
        let mut now = digests(30);
        now.at = before.at + Duration::from_secs(2);
        let rows = state.rows(Some(&before), &now);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].value["digest"], "2", "the most time first");
        assert_eq!(rows[0].value["calls_per_s"], 20.0);
        assert_eq!(rows[1].value["calls_per_s"], 10.0);
        state.filter = "SELECT A".to_owned();
        let rows = state.rows(None, &now);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].value["digest"], "1");
    }
}
