//! Lines through rotation, restarts, full disks and forgeries.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::verify::What;
use super::*;
use crate::test_folder::TestFolder;

fn settings(folder: &TestFolder, links: Links) -> Settings {
    Settings {
        path: folder.path().join("audit.jsonl"),
        rotate_bytes: 4_096,
        keep_files: 3,
        links,
    }
}

fn line(n: u64) -> String {
    format!("\"event\":\"statement\",\"n\":{n}")
}

fn write(settings: &Settings, numbers: std::ops::Range<u64>) {
    let ledger = Ledger::start(settings.clone()).unwrap();
    for n in numbers {
        ledger.push(line(n));
    }
}

fn report(path: &Path) -> Report {
    verify(&[path.to_owned()]).unwrap()
}

fn found(path: &Path) -> Vec<(u64, What)> {
    let report = report(path);
    report.found.iter().map(|f| (f.line, f.what)).collect()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_chain_goes_on_through_rotations_and_restarts() {
    let folder = TestFolder::new();
    let settings = settings(&folder, Links::Chained);
    write(&settings, 0..10);
    let first = report(&settings.path);
    assert_eq!((first.first, first.last, first.defects), (1, 10, 0));
    write(&settings, 10..60);
    let all = report(&settings.path);
    assert_eq!((all.last, all.defects), (60, 0), "{:?}", all.found);
    assert!(
        all.files.len() > 1 && all.files.len() <= 4,
        "{:?}",
        all.files
    );
    for file in &all.files {
        assert!(fs::metadata(file).unwrap().len() < 4_096 + 512);
    }
    // Old files are removed: the chain begins later, which is no defect.
    write(&settings, 60..200);
    let all = report(&settings.path);
    assert_eq!((all.last, all.defects), (200, 0), "{:?}", all.found);
    assert!(all.first > 1);
    assert_eq!(all.files.len(), 4);
}

#[test]
fn writers_of_one_file_go_on_where_the_others_stopped() {
    const WRITERS: u64 = 3;
    const LINES: u64 = 200;
    for links in [Links::Chained, Links::None] {
        let folder = TestFolder::new();
        let mut settings = settings(&folder, links);
        settings.keep_files = 1_000;
        let writers: Vec<_> = (0..WRITERS)
            .map(|of| {
                let ledger = Ledger::start(settings.clone()).unwrap();
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .build()
                        .unwrap();
                    for n in 0..LINES {
                        let n = of * LINES + n;
                        match n % 5 {
                            0 => runtime.block_on(ledger.push_synced(line(n))).unwrap(),
                            _ => ledger.push(line(n)),
                        }
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        let mut numbers: Vec<u64> = Vec::new();
        for file in fs::read_dir(folder.path()).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            numbers.extend(text.lines().map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                value["n"].as_u64().unwrap()
            }));
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..WRITERS * LINES).collect::<Vec<_>>());
        if links == Links::Chained {
            let all = report(&settings.path);
            let whole = (all.first, all.last, all.defects);
            assert_eq!(whole, (1, WRITERS * LINES, 0), "{:?}", all.found);
            assert!(all.files.len() > 10);
        }
    }
}

#[test]
fn lines_cut_off_while_it_is_written_are_missed() {
    let folder = TestFolder::new();
    let mut settings = settings(&folder, Links::Chained);
    settings.rotate_bytes = 1 << 20;
    let ledger = Ledger::start(settings.clone()).unwrap();
    let lines = || fs::read_to_string(&settings.path).unwrap_or_default();
    (0..10).for_each(|n| ledger.push(line(n)));
    eventually("ten lines", || lines().lines().count() == 10);
    let seven: String = lines().lines().take(7).map(|l| format!("{l}\n")).collect();
    fs::write(&settings.path, seven).unwrap();
    ledger.push(line(10));
    eventually("another one", || lines().lines().count() == 8);
    let all = report(&settings.path);
    assert_eq!((all.last, all.defects), (11, 1), "{:?}", all.found);
}

#[test]
fn a_file_that_another_process_keeps_locked_refuses_lines_until_it_is_free() {
    let folder = TestFolder::new();
    let settings = settings(&folder, Links::Chained);
    let holder = fs::File::create(&settings.path).unwrap();
    holder.lock().unwrap();
    let ledger = Ledger::start(settings.clone()).unwrap();
    ledger.push(line(1));
    eventually("it says so", || ledger.counts().failing);
    let why = ledger.reserve().unwrap_err().to_string();
    assert!(
        why.contains("audit.jsonl") && why.contains("another process"),
        "{why}"
    );
    drop(holder);
    eventually("it is written", || ledger.counts().written == 1);
    assert_eq!(report(&settings.path).defects, 0);
}

#[test]
fn every_forgery_is_found_and_where() {
    let folder = TestFolder::new();
    let mut settings = settings(&folder, Links::Chained);
    settings.rotate_bytes = 1 << 20;
    write(&settings, 0..10);
    let path = &settings.path;
    let whole = fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let forge = |lines: &[&str]| {
        fs::write(path, format!("{}\n", lines.join("\n"))).unwrap();
        found(path)
    };
    assert_eq!(forge(&lines), []);
    let changed = lines[4].replace("\"n\":4", "\"n\":5");
    let mut forged = lines.clone();
    forged[4] = &changed;
    assert_eq!(forge(&forged), [(5, What::Changed)]);
    // With a hash made anew, the next line tells.
    let hashed = changed.split(",\"hash\"").next().unwrap();
    let hash = chain::hash_of(hashed.as_bytes());
    let anew = format!("{hashed},\"hash\":\"{hash}\"}}");
    forged[4] = &anew;
    assert_eq!(forge(&forged), [(6, What::Unlinked)]);
    let mut missing = lines.clone();
    missing.drain(3..5);
    assert_eq!(forge(&missing), [(4, What::Missing(2))]);
    let mut swapped = lines.clone();
    swapped.swap(5, 6);
    let swapped = forge(&swapped);
    assert_eq!(swapped[..2], [(6, What::Missing(1)), (7, What::Misplaced)]);
    let mut twice = lines.clone();
    twice.insert(3, lines[2]);
    assert_eq!(forge(&twice)[0], (4, What::Misplaced));
    let mut strange = lines.clone();
    strange.insert(2, "{\"event\":\"statement\"}");
    assert_eq!(forge(&strange), [(3, What::Strange)]);
    fs::write(path, &whole[..whole.len() - 9]).unwrap();
    assert_eq!(found(path), [(10, What::Torn)]);
    // Cut at a line's end, only the end that is known elsewhere tells.
    forge(&lines[..8]);
    let cut = report(path);
    assert_eq!((cut.defects, cut.last), (0, 8));
}

#[test]
fn a_torn_line_is_cut_off_and_the_chain_goes_on() {
    let folder = TestFolder::new();
    let settings = settings(&folder, Links::Chained);
    write(&settings, 0..3);
    let mut bytes = fs::read(&settings.path).unwrap();
    bytes.truncate(bytes.len() - 20);
    fs::write(&settings.path, bytes).unwrap();
    write(&settings, 3..5);
    let all = report(&settings.path);
    assert_eq!((all.last, all.defects), (4, 0), "{:?}", all.found);
}

#[test]
fn what_cannot_be_written_is_refused_or_counted_and_writing_goes_on() {
    let folder = TestFolder::new();
    let mut settings = settings(&folder, Links::Chained);
    settings.rotate_bytes = 64 << 20;
    // A folder where the file should be: every attempt fails until it is gone.
    fs::create_dir(&settings.path).unwrap();
    let ledger = Ledger::start(settings.clone()).unwrap();
    assert!(ledger.reserve().is_ok(), "nobody has tried yet");
    ledger.push(line(0));
    eventually("it fails", || ledger.counts().failing);
    let refused = ledger.reserve().unwrap_err().to_string();
    assert!(
        refused.contains("audit.jsonl cannot be written"),
        "{refused}"
    );
    let more = QUEUE_LINES_MAX as u64 + 7;
    for n in 1..=more {
        ledger.push(line(n));
    }
    assert_eq!(ledger.counts().dropped, 7);
    fs::remove_dir(&settings.path).unwrap();
    eventually("it is written", || ledger.counts().waiting == 0);
    ledger.push(line(1));
    drop(ledger.reserve().unwrap());
    ledger.reserve().unwrap().fill(line(2));
    drop(ledger);
    let text = fs::read_to_string(&settings.path).unwrap();
    assert!(text.contains("\"event\":\"gap\",\"lost\":7"), "no gap");
    assert_eq!(report(&settings.path).defects, 0);
}

#[tokio::test]
async fn a_synced_line_is_on_the_disk_when_it_returns() {
    let folder = TestFolder::new();
    let settings = settings(&folder, Links::Chained);
    let ledger = Ledger::start(settings.clone()).unwrap();
    for n in 0..5 {
        ledger.push_synced(line(n)).await.unwrap();
        let text = fs::read_to_string(&settings.path).unwrap();
        assert!(
            text.ends_with('\n') && text.contains(&format!("\"n\":{n},")),
            "{text}"
        );
    }
    assert_eq!(ledger.head().seq, 5);
    assert_eq!(ledger.head().hash, report(&settings.path).head);
}

#[test]
fn lines_without_links_are_as_they_were_given() {
    let folder = TestFolder::new();
    let settings = settings(&folder, Links::None);
    write(&settings, 0..2);
    let text = fs::read_to_string(&settings.path).unwrap();
    assert_eq!(
        text,
        "{\"event\":\"statement\",\"n\":0}\n{\"event\":\"statement\",\"n\":1}\n"
    );
}
