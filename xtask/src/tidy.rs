//! `cargo xtask tidy`.

/// Runs the command with the arguments that follow its name.
pub fn run(args: &[String]) -> Result<(), String> {
    Err(format!("tidy: no such option: {args:?}"))
}
