//! Output that nobody reads any more, as behind `| head`: the command ends quietly.
//!
//! Owns that one panic of `println!` and nothing else: all others are told as ever. What the command has under way is put
//! away on the way out. Its input is the command itself.

use std::panic::{self, PanicHookInfo, UnwindSafe};
use std::process::ExitCode;

/// What a shell says of a program that SIGPIPE ended.
const OUTPUT_CLOSED: u8 = 141;

/// Runs the command.
pub fn run(command: impl FnOnce() -> ExitCode + UnwindSafe) -> ExitCode {
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !is_closed_output(info.payload()) {
            told(info as &PanicHookInfo<'_>);
        }
    }));
    match panic::catch_unwind(command) {
        Ok(code) => code,
        Err(payload) if is_closed_output(payload.as_ref()) => ExitCode::from(OUTPUT_CLOSED),
        Err(payload) => panic::resume_unwind(payload),
    }
}

/// Whether it is `println!` that found nobody at the other end: std says so in its words only.
fn is_closed_output(payload: &(dyn std::any::Any + Send)) -> bool {
    let text = payload.downcast_ref::<String>();
    text.is_some_and(|text| {
        text.starts_with("failed printing to std") && text.contains("Broken pipe")
    })
}
