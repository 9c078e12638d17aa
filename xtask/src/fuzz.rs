//! `cargo xtask fuzz`: runs the fuzz targets of `fuzz/` for a while each.
//!
//! Owns the order and the time limits; the targets and their seeds are in `fuzz/`. It must never write into the seeds:
//! what a run finds goes below `target/`, a failing input into `fuzz/artifacts/`. Its input is the command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace;

const USAGE: &str = "cargo xtask fuzz [--seconds N] [TARGET...]   (30 seconds for each target, all of them, by default)";
const SECONDS_DEFAULT: u32 = 30;
/// One input must be done within this time, in seconds: decoders are linear.
const INPUT_SECONDS_MAX: u32 = 10;
/// Memory of a target, in MiB, sanitizer included.
const MEMORY_MIB_MAX: u32 = 2048;

/// What to run.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    seconds: u32,
    targets: Vec<String>,
}

/// Runs the targets one after the other; all of them, even if one fails.
///
/// # Errors
/// Wrong arguments, missing programs, and the names of the targets that failed.
pub fn run(args: &[String]) -> Result<(), String> {
    let options = parse(args)?;
    let root = workspace::root();
    let known = targets(&root)?;
    if let Some(unknown) = options.targets.iter().find(|t| !known.contains(t)) {
        return Err(format!(
            "no target `{unknown}`; the targets are {}",
            known.join(", ")
        ));
    }
    let chosen = if options.targets.is_empty() {
        known
    } else {
        options.targets
    };
    check_programs(&root)?;
    let mut failed = Vec::new();
    for target in &chosen {
        println!("\nfuzz: {target}, {} s", options.seconds);
        if !fuzz(&root, target, options.seconds)? {
            failed.push(target.as_str());
        }
    }
    println!(
        "\n{} passed, {} failed",
        chosen.len() - failed.len(),
        failed.len()
    );
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!(
        "failed: {}; the inputs are in fuzz/artifacts/",
        failed.join(", ")
    ))
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options {
        seconds: SECONDS_DEFAULT,
        targets: Vec::new(),
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => {
                let value = args.next().ok_or(USAGE)?;
                options.seconds = value.parse().ok().filter(|n| *n > 0).ok_or(USAGE)?;
            }
            flag if flag.starts_with('-') => return Err(USAGE.to_owned()),
            target => options.targets.push(target.to_owned()),
        }
    }
    Ok(options)
}

/// The names of the targets, in order.
fn targets(root: &Path) -> Result<Vec<String>, String> {
    let folder = root.join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut names: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn check_programs(root: &Path) -> Result<(), String> {
    let output = cargo_fuzz(root).arg("--version").output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err("fuzzing needs a nightly toolchain and cargo-fuzz: `rustup toolchain install nightly` and \
                  `cargo install cargo-fuzz`"
            .to_owned()),
    }
}

fn cargo_fuzz(root: &Path) -> Command {
    // `+nightly` is understood by rustup's cargo alone, not by the one that started this command.
    let mut command = Command::new("cargo");
    command
        .current_dir(root)
        .env_remove("RUSTUP_TOOLCHAIN")
        .args(["+nightly", "fuzz"]);
    command
}

fn fuzz(root: &Path, target: &str, seconds: u32) -> Result<bool, String> {
    let found = found_folder(root, target);
    fs::create_dir_all(&found).map_err(|e| format!("{}: {e}", found.display()))?;
    let mut command = cargo_fuzz(root);
    command.args(["run", target]).arg(&found);
    let seeds = root.join("fuzz/corpus").join(target);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    command.args([
        "--",
        &format!("-max_total_time={seconds}"),
        &format!("-timeout={INPUT_SECONDS_MAX}"),
        &format!("-rss_limit_mb={MEMORY_MIB_MAX}"),
        "-max_len=16384",
        "-print_final_stats=1",
    ]);
    let status = command.status().map_err(|e| format!("cargo fuzz: {e}"))?;
    Ok(status.success())
}

/// Where a target's finds are kept between runs.
fn found_folder(root: &Path, target: &str) -> PathBuf {
    root.join("target/fuzz-corpus").join(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Options, String> {
        parse(&args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn arguments() {
        let all = Options {
            seconds: SECONDS_DEFAULT,
            targets: Vec::new(),
        };
        assert_eq!(parsed(&[]), Ok(all));
        let one = Options {
            seconds: 5,
            targets: vec!["relay".to_owned()],
        };
        assert_eq!(parsed(&["--seconds", "5", "relay"]), Ok(one));
        for wrong in [
            &["--seconds"][..],
            &["--seconds", "0"],
            &["--seconds", "x"],
            &["--what"],
        ] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_target_is_declared() {
        let root = workspace::root();
        let manifest = fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap_or_default();
        let targets = targets(&root).unwrap_or_default();
        assert!(!targets.is_empty());
        for target in targets {
            assert!(
                manifest.contains(&format!("name = \"{target}\"")),
                "{target} in fuzz/Cargo.toml"
            );
            assert!(
                root.join("fuzz/corpus").join(&target).is_dir(),
                "{target} has seeds"
            );
        }
    }
}
