//! Turns Ctrl-C into an orderly exit, so that what runs at exit runs.

use std::{io, process, thread};

use tokio::signal::unix::{SignalKind, signal};

/// From now on SIGINT, SIGTERM and SIGHUP print `farewell` and exit with `status`; children are killed
/// and folders removed on the way, as at every exit.
pub fn exit_on_signals(farewell: &'static str, status: i32) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        let [interrupt, terminate, hangup] = kinds.map(signal);
        (interrupt?, terminate?, hangup?)
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        eprintln!("{farewell}");
        process::exit(status);
    });
    Ok(())
}
