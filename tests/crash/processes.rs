//! Logs of several processes, and of one that has few descriptors.
//!
//! A child is this test program again; a variable names the test that it runs.

use annals::{Error, Log, LogConfig, Offset, StartAt};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use support::process;

/// The directory that a child works in.
const DIR: &str = "ANNALS_PART_DIR";

/// Runs the body of a test in a child that has so many descriptors, in a directory for its log.
fn with_descriptors<F: Fn()>(test: &F, descriptors: u32, body: impl FnOnce(PathBuf)) {
    if process::is_child(test) {
        return body(std::env::var_os(DIR).unwrap().into());
    }
    // Thousands of syncs take a minute where they reach a disk, and none is lost here.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let mut child = process::child_with_descriptors(test, descriptors);
    process::finish(child.env(DIR, dir.path().join("t-0")));
}

/// One record in each segment.
fn tiny() -> LogConfig {
    LogConfig::default().segment_bytes(100).index_interval_bytes(0)
}

fn fill(log: &Log, records: u64) {
    for n in 0..records {
        assert_eq!(log.append(format!("{n:020}").as_str()).unwrap(), n);
    }
}

fn check(log: &Log, records: u64) {
    let mut next: Offset = 0;
    for record in log.reader(StartAt::Earliest).unwrap().records() {
        let record = record.unwrap();
        assert_eq!((record.offset, record.value_str()), (next, Some(&*format!("{next:020}"))));
        next += 1;
    }
    assert_eq!(next, records);
}

#[cfg(target_os = "linux")]
fn open_descriptors() -> usize {
    // The listing itself has one.
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

fn holder(dir: &Path) -> (Child, u32) {
    let mut child = process::child(&child_holds_log_until_killed)
        .env(DIR, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let held = lines
        .map(Result::unwrap)
        .find_map(|line| line.split_once("held by ").map(|(_, pid)| pid.parse::<u32>().unwrap()));
    (child, held.unwrap())
}

/// A part of the next test.
#[test]
fn child_holds_log_until_killed() {
    if !process::is_child(&child_holds_log_until_killed) {
        return;
    }
    let dir = std::env::var_os(DIR).unwrap();
    let log = Log::open(dir, tiny()).unwrap();
    fill(&log, 5);
    #[allow(clippy::print_stdout)]
    {
        println!("\nheld by {}", std::process::id());
    }
    // Nobody writes: this ends when the parent does.
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

#[test]
fn lock_passes_on_when_holder_killed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t-0");
    let (mut child, pid) = holder(&path);
    let error = Log::open(&path, tiny()).unwrap_err();
    assert!(matches!(error, Error::Locked { holder: Some(holder), .. } if holder == pid));
    assert!(error.to_string().contains(&pid.to_string()), "{error}");
    // Reading needs no lock.
    check(&Log::open_read_only(&path, tiny()).unwrap(), 5);
    child.kill().unwrap();
    child.wait().unwrap();
    let log = Log::open(&path, tiny()).unwrap();
    check(&log, 5);
    log.append("after").unwrap();
}

#[test]
fn thousands_of_segments_need_few_descriptors() {
    with_descriptors(&thousands_of_segments_need_few_descriptors, 64, |dir| {
        const SEGMENTS: u64 = 3000;
        let log = Log::open(&dir, tiny()).unwrap();
        fill(&log, SEGMENTS);
        log.close().unwrap();
        let log = Log::open(&dir, tiny()).unwrap();
        assert_eq!(log.stats().unwrap().segments.len() as u64, SEGMENTS);
        check(&log, SEGMENTS);
        for at in [0, SEGMENTS / 2, SEGMENTS - 1] {
            assert_eq!(log.get(at).unwrap().unwrap().offset, at);
        }
        // Readers at many places at once share the few files that stay open.
        let mut readers: Vec<_> = (0..20).map(|n| log.reader(n * 100).unwrap()).collect();
        for reader in &mut readers {
            assert!(reader.next_record().unwrap().is_some());
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn closed_log_leaves_no_descriptor() {
    with_descriptors(&closed_log_leaves_no_descriptor, 128, |dir| {
        let before = open_descriptors();
        for round in 0..3 {
            let log = Log::open(&dir, tiny()).unwrap();
            let end = log.offsets().end;
            assert_eq!(end, if round == 0 { 0 } else { 20 });
            (end..60)
                .for_each(|n| drop(log.append(format!("{n:020}").as_str()).unwrap().to_string()));
            log.flush().unwrap();
            check(&log, 60);
            assert!(log.verify().unwrap().is_empty());
            let mut tail = log.tail(55).unwrap();
            assert_eq!(tail.next_record(None).unwrap().unwrap().offset, 55);
            assert!(open_descriptors() < before + 30);
            log.truncate_to(20).unwrap();
            assert!(tail.next_record(None).is_err());
            let follower = Log::open_read_only(&dir, tiny()).unwrap();
            check(&follower, 20);
            drop((tail, follower));
            log.close().unwrap();
            assert_eq!(open_descriptors(), before, "round {round}");
        }
    });
}

#[test]
fn log_recovers_when_descriptors_return() {
    with_descriptors(&log_recovers_when_descriptors_return, 64, |dir| {
        let log = Log::open(&dir, tiny().segment_bytes(200)).unwrap();
        fill(&log, 100);
        let all = || {
            let mut taken = Vec::new();
            while let Ok(file) = std::fs::File::open("/dev/null") {
                taken.push(file);
            }
            taken
        };
        let taken = all();
        let retryable = |error: Error| assert!(error.is_retryable(), "{error}");
        retryable(log.get(0).unwrap_err());
        retryable(log.flush().unwrap_err());
        retryable(log.roll().unwrap_err());
        // Open files can be used up to the end of the segment.
        let mut end = 100;
        let full = loop {
            match log.append(format!("{end:020}").as_str()) {
                Ok(offset) => assert_eq!(offset, end),
                Err(error) => break error,
            }
            end += 1;
        };
        retryable(full);
        assert!(matches!(Log::open(dir.with_file_name("u-0"), tiny()), Err(Error::Io { .. })));
        drop(taken);
        check(&log, end);
        assert_eq!(log.append(format!("{end:020}").as_str()).unwrap(), end);
        assert_eq!(log.flush().unwrap(), end + 1);
        log.close().unwrap();
        check(&Log::open(&dir, tiny()).unwrap(), end + 1);
    });
}
