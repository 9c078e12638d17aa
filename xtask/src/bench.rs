//! `cargo xtask bench`.

/// Runs the command with the arguments that follow its name.
pub fn run(args: &[String]) -> Result<(), String> {
    Err(format!("bench: no such option: {args:?}"))
}
