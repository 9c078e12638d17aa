//! A step that is a program: its output is shown as it comes, its tests are counted, its time is bounded.

use std::{
    ffi::{OsStr, OsString},
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use dbmesh_testkit::process::Process;

use super::{Options, Step, Tally};
use crate::workspace;

/// A command that will be run at the root of the workspace.
pub struct Program {
    command: Command,
}

impl Program {
    /// Any program.
    pub fn new(program: impl AsRef<OsStr>, arguments: &[&str]) -> Program {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(workspace::root());
        Program { command }
    }

    /// Cargo.
    pub fn cargo(arguments: &[&str]) -> Program {
        Program::new(workspace::cargo(), arguments)
    }

    /// `cargo test` of the whole workspace, with the ignored tests under `--long`.
    pub fn tests(selection: &[&str], options: &Options) -> Program {
        let mut program = Program::cargo(&["test", "--workspace", "--no-fail-fast"]);
        program.command.args(selection);
        if options.long {
            program.command.args(["--", "--include-ignored"]);
        }
        program
    }

    /// Another of the project's commands.
    pub fn xtask(arguments: &[&str]) -> Program {
        let mut program = Program::cargo(&["run", "--quiet", "--package", "xtask", "--"]);
        program.command.args(arguments);
        program
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Program {
        self.command.env(name, value.into());
        self
    }

    /// Runs it to its end or to the step's limit. A program that reports no tests is one test.
    pub fn run(mut self, step: &Step) -> Tally {
        let name = self.command.get_program().to_string_lossy().into_owned();
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = match Process::spawn(self.command) {
            Ok(process) => process,
            Err(error) => return Tally::of(Err(format!("{name} cannot be run: {error}"))),
        };
        let (stdout, stderr) = process.take_output();
        let readers = [
            stdout.map(|stream| thread::spawn(|| show(stream))),
            stderr.map(|stream| thread::spawn(|| show(stream))),
        ];
        let begin = Instant::now();
        let status = process.wait(step.limit);
        // Without a status it is still running: this kills it with all that it started, which ends the
        // readers too.
        drop(process);
        let counted = readers
            .into_iter()
            .flatten()
            .filter_map(|reader| reader.join().ok());
        let tally = counted.fold(Tally::default(), Tally::plus);
        match status {
            None => {
                eprintln!(
                    "{name}: not done after {:.0} s, ended",
                    begin.elapsed().as_secs_f64()
                );
                tally.plus(Tally::FAILED)
            }
            Some(status) if status.success() && tally == Tally::default() => Tally::PASSED,
            Some(status) if status.success() => tally,
            // It may have failed outside its tests: what does not build has none.
            Some(_) if tally.failed > 0 => tally,
            Some(status) => {
                eprintln!("{name}: {status}");
                tally.plus(Tally::FAILED)
            }
        }
    }
}

/// Prints every line as it comes and adds up what the lines say of tests.
fn show(stream: impl Read) -> Tally {
    let mut reader = BufReader::new(stream);
    let mut tally = Tally::default();
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .is_ok_and(|read| read > 0)
    {
        let text = String::from_utf8_lossy(&line);
        println!("{}", text.trim_end());
        tally = tally.plus(counted(&text).unwrap_or_default());
        line.clear();
    }
    tally
}

/// Reads `test result: ok. 3 passed; 1 failed; …` of cargo's harness, and `3 passed, 1 failed`, alone on
/// a line, of our own programs.
fn counted(line: &str) -> Option<Tally> {
    let line = line.trim();
    let words = match line.strip_prefix("test result: ") {
        Some(rest) => rest.split_once(". ")?.1,
        None => line,
    };
    let mut parts = words.split([';', ',']).map(str::trim);
    let passed = parts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = parts.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some(Tally { passed, failed })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::When, *};

    #[test]
    fn a_program_that_hangs_is_ended_with_all_it_started_and_fails() {
        let step = Step {
            name: "hang",
            what: "",
            when: When::Always,
            limit: Duration::from_millis(300),
            run: |_, _| Tally::default(),
        };
        let begin = Instant::now();
        let script = "echo '3 passed, 0 failed'; sleep 60 & sleep 60";
        let tally = Program::new("sh", &["-c", script]).run(&step);
        assert_eq!(
            tally,
            Tally {
                passed: 3,
                failed: 1
            }
        );
        assert!(begin.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn closing_lines_are_counted_and_other_lines_are_not() {
        let three = Some(Tally {
            passed: 3,
            failed: 1,
        });
        let cargo =
            "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; finished in 0.1s\n";
        assert_eq!(counted(cargo), three);
        assert_eq!(counted("3 passed, 1 failed\n"), three);
        assert_eq!(counted("test passed, and failed"), None);
        assert_eq!(counted(""), None);
    }
}
