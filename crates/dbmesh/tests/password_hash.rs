//! `dbmesh password-hash` as a person or a script runs it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use dbmesh_wire::auth::{PasswordVerifier, Secret};

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_dbmesh"))
        .arg("password-hash")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have refused its arguments and be gone.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn line(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.strip_suffix('\n').unwrap().to_owned()
}

#[test]
fn a_password_comes_from_a_pipe_or_a_file_and_is_verified_by_what_is_printed() {
    let file = std::env::temp_dir().join(format!("dbmesh-password-{}", std::process::id()));
    std::fs::write(&file, "word of the file\n").unwrap();
    let path = file.to_str().unwrap();
    let made = [
        (line(&run(&[], "word of the pipe\n")), "word of the pipe"),
        (line(&run(&["--file", path], "")), "word of the file"),
        (
            line(&run(&["--plugin", "mysql_native_password"], "older")),
            "older",
        ),
    ];
    std::fs::remove_file(&file).unwrap();
    for (hash, password) in made {
        let verifier = PasswordVerifier::from_hash(hash.as_bytes()).unwrap();
        assert!(verifier.verify_clear(&Secret::new(password)), "{hash}");
        assert!(!hash.contains(password));
    }
}

#[test]
fn what_is_no_password_is_refused_and_never_repeated() {
    for (arguments, input, why) in [
        (&[][..], "", "is empty"),
        (&[], "\n", "is empty"),
        (&[], "hunter2\nhunter3\n", "several lines"),
        (&["--file", "/nowhere/at/all"], "", "/nowhere/at/all"),
        (&["hunter2"], "", "unexpected argument"),
    ] {
        let output = run(arguments, input);
        assert!(!output.status.success(), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(why), "{told}");
        assert!(
            arguments.contains(&"hunter2") || !told.contains("hunter"),
            "{told}"
        );
    }
    let long = run(&[], &"x".repeat(300));
    assert!(!long.status.success());
}
