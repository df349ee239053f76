//! Damaged logs: what the commands report, and what `repair` and `truncate` do to them.

use crate::sample::{damaged, files_of, many};
use crate::tool::{offsets, run, run_with};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A log of 100 records, with a batch of ten in each segment.
fn short_segments() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let lines: String = (0..100).map(|n| format!("{n}\n")).collect();
    let append = ["append", "t-0", "--batch-records", "10", "--segment-bytes", "300"];
    run_with(dir.path(), &append, lines.as_bytes()).ok();
    dir
}

/// Follows the advice of the error of a damaged log: verify, then truncate to the named offset.
#[test]
fn truncate_repairs_log_with_lost_segment() {
    let dir = short_segments();
    let mut logs: Vec<_> = fs::read_dir(dir.path().join("t-0"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    logs.sort();
    let lost: u64 = logs[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    fs::remove_file(&logs[1]).unwrap();
    let named = format!("offset {lost}");
    run(dir.path(), &["append", "t-0"]).refused(2, &named);
    let read = run(dir.path(), &["read", "t-0"]);
    assert!(read.code == 3 && read.stderr.contains(&named), "{}", read.stderr);
    assert!(!offsets(&read).contains(&lost) && offsets(&read).contains(&99));
    run(dir.path(), &["seek", "t-0", "--time", "0"]).refused(2, &named);
    let verified = run(dir.path(), &["verify", "t-0"]);
    assert_eq!((verified.code, &verified.lines()[0]["offset"]), (3, &json!(lost)));
    run(dir.path(), &["truncate", "t-0", "--to", &(lost + 1).to_string(), "--execute"])
        .refused(2, &named);
    run(dir.path(), &["truncate", "t-0", "--to", &lost.to_string(), "--execute"]).ok();
    assert!(run(dir.path(), &["verify", "t-0"]).ok().stdout.is_empty());
    assert_eq!(offsets(&run(dir.path(), &["read", "t-0"]).ok()).len() as u64, lost);
}

/// Once, opening the log failed, while every command that only reads reported no problem.
#[test]
fn lost_segment_is_repaired_after_crash() {
    let dir = short_segments();
    let log = dir.path().join("t-0");
    fs::remove_file(log.join(".kafka_cleanshutdown")).unwrap();
    fs::remove_file(log.join("00000000000000000020.log")).unwrap();
    run(dir.path(), &["append", "t-0"]).refused(2, "offset 20");
    for command in ["read", "info", "verify", "repair"] {
        let ran = run(dir.path(), &[command, "t-0"]);
        let told = ran.stderr.clone() + &String::from_utf8(ran.stdout.clone()).unwrap();
        assert!(ran.code == 3 && told.contains("20 to 29 are missing"), "{command}: {told}");
    }
    run(dir.path(), &["repair", "t-0", "--execute"]).ok();
    fs::remove_file(log.join(".kafka_cleanshutdown")).unwrap();
    run(dir.path(), &["append", "t-0"]).ok();
    assert!(run(dir.path(), &["verify", "t-0"]).ok().stdout.is_empty());
    let read = offsets(&run(dir.path(), &["read", "t-0"]).ok());
    assert_eq!(read, (0..20).chain(30..100).collect::<Vec<_>>());
}

/// Once, one bad batch hid all others: `read` printed nothing, `info` put the end of the log at
/// the damage, and the advice was to truncate there, which would have removed sixty sound records.
#[test]
fn read_prints_sound_records_around_damage() {
    let dir = damaged();
    let sound: Vec<u64> = (0..30).chain(40..100).collect();
    let read = |more: &[&str]| {
        let ran = run(dir.path(), &[&["read", "t-0"], more].concat());
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        assert!(ran.stderr.contains("offsets 30 to 39"), "{}", ran.stderr);
        offsets(&ran)
    };
    assert_eq!(read(&[]), sound);
    assert_eq!(read(&["--from", "25", "--max", "10"]), [25, 26, 27, 28, 29, 40, 41, 42, 43, 44]);
    assert_eq!(read(&["--isolation", "committed"]), sound);
    assert_eq!(read(&["--from", "@1028", "--until", "@1041"]), [28, 29, 40]);
    let info = run(dir.path(), &["info", "t-0"]);
    assert_eq!(info.lines()[0]["end"], 100);
    let verified = run(dir.path(), &["verify", "t-0"]);
    assert_eq!((verified.code, verified.lines().len()), (3, 1));
    assert_eq!(verified.lines()[0]["offset"], 30);
    let refused = run(dir.path(), &["repair", "t-0"]);
    assert_eq!((refused.code, refused.lines()), (3, verified.lines()));

    let repaired = run(dir.path(), &["repair", "t-0", "--execute"]).ok().lines();
    assert_eq!(
        (&repaired[0]["first_offset"], &repaired[0]["last_offset"]),
        (&json!(30), &json!(39))
    );
    assert!(fs::metadata(dir.path().join(repaired[0]["moved_to"].as_str().unwrap())).is_ok());
    assert_eq!(offsets(&run(dir.path(), &["read", "t-0"]).ok()), sound);
    assert!(run(dir.path(), &["verify", "t-0"]).ok().stdout.is_empty());
}

/// Once, the run without `--execute` announced a move of bytes that `--execute` then removed
/// silently.
#[test]
fn repair_shows_where_damaged_bytes_go() {
    let garbage: [(&str, &[u8]); 2] = [("text", b"garbage text\n"), ("cut", &[0; 0])];
    for (what, bytes) in garbage {
        let dir = many(100);
        let path = dir.path().join("t-0/00000000000000000000.log");
        let sound = fs::read(&path).unwrap();
        let tail = if what == "cut" { &sound[..sound.len() / 20] } else { bytes };
        fs::write(&path, [&sound, tail].concat()).unwrap();
        let before = files_of(&dir.path().join("t-0"));
        let told = run(dir.path(), &["repair", "t-0"]);
        assert_eq!((told.code, files_of(&dir.path().join("t-0"))), (3, before), "{what}");
        let done = run(dir.path(), &["repair", "t-0", "--execute"]).ok();
        let mut gone = tail.len();
        for moved in done.lines() {
            let to = moved["moved_to"].as_str().unwrap();
            assert!(told.stderr.contains(&format!("would be moved to {to}")), "{}", told.stderr);
            let kept = fs::read(dir.path().join(to)).unwrap();
            assert!(kept == tail[tail.len() - gone..][..kept.len()], "{what}");
            gone -= kept.len();
        }
        let (removed, tells) = (format!("{gone} bytes of writes that were cut short"), gone > 0);
        assert_eq!(told.stderr.contains(&removed), tells, "{what}: {}", told.stderr);
        assert_eq!(done.stderr.contains(&removed), tells, "{what}: {}", done.stderr);
        assert_eq!(offsets(&run(dir.path(), &["read", "t-0"]).ok()).len(), 100);
        assert!(run(dir.path(), &["repair", "t-0"]).ok().stdout.is_empty());
    }
}

#[test]
fn nothing_is_removed_without_execute() {
    let dir = many(100);
    let cut = run(dir.path(), &["truncate", "t-0", "--to", "55"]).ok();
    assert_eq!(
        cut.lines(),
        [json!({"start": 0, "end": 55, "records_removed": 50, "executed": false})]
    );
    assert!(cut.stderr.contains("--execute"), "{}", cut.stderr);
    let deleted = run(dir.path(), &["delete-before", "t-0", "--offset", "25"]).ok();
    assert_eq!(
        deleted.lines(),
        [json!({"start": 25, "end": 100, "records_removed": 25, "executed": false})]
    );
    run(dir.path(), &["truncate", "t-0", "--to", "101"]).refused(2, "out of range");
    run(dir.path(), &["delete-before", "t-0", "--offset", "101"]).refused(2, "out of range");
    assert_eq!(offsets(&run(dir.path(), &["read", "t-0"]).ok()).len(), 100);
}

/// Once, recovery truncated a log, and the only line on stderr counted the appended records.
#[test]
fn append_warns_of_truncated_tail() {
    let dir = many(100);
    let path = dir.path().join("t-0/00000000000000000000.log");
    fs::remove_file(dir.path().join("t-0/.kafka_cleanshutdown")).unwrap();
    fs::remove_file(dir.path().join("t-0/recovery-point-offset-checkpoint")).unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    let ran = run(dir.path(), &["append", "t-0"]).ok();
    assert!(ran.stderr.contains("cut short"), "{}", ran.stderr);
    assert!(ran.stderr.contains("ends at offset 90"), "{}", ran.stderr);
    assert!(!run(dir.path(), &["append", "t-0"]).ok().stderr.contains("warning"));
}

/// The files of a log without its lock file, which names a process.
fn unlocked(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = files_of(dir);
    files.remove(".lock");
    files
}

fn names(dir: &Path) -> Vec<String> {
    unlocked(dir).into_keys().collect()
}

/// Once, following the advice left a log that ended at the offset in the file's name, or `repair`
/// failed after it had covered all offsets up to there. `verify` and `info` ignored an empty file.
#[test]
fn stray_file_skips_no_offset() {
    for bytes in [&b""[..], b"hello", b"root:x:0:0:root:/root:/bin/bash\n", &[0; 100]] {
        let dir = many(100);
        let log = dir.path().join("t-0");
        let stray = "t-0/00000000000099999999.log";
        fs::write(dir.path().join(stray), bytes).unwrap();
        let before = unlocked(&log);
        for command in ["verify", "info", "repair"] {
            let told = run(dir.path(), &[command, "t-0"]);
            let printed = String::from_utf8_lossy(&told.stdout).into_owned() + &told.stderr;
            assert_eq!(told.code, 3, "{command}: {printed}");
            assert!(printed.contains("99999899 offsets"), "{command}: {printed}");
        }
        let verified = run(dir.path(), &["verify", "t-0"]).lines();
        assert_eq!((verified.len(), &verified[0]["file"]), (1, &json!(stray)));
        assert_eq!(run(dir.path(), &["info", "t-0"]).lines()[0]["end"], 100);
        run(dir.path(), &["append", "t-0"]).refused(2, "remove it");
        assert!(unlocked(&log) == before);
        let done = run(dir.path(), &["repair", "t-0", "--execute"]).ok();
        assert!(done.stderr.contains("ends at 100"), "{}", done.stderr);
        let saved = done.lines()[0]["moved_to"].as_str().unwrap().to_owned();
        assert_eq!(fs::read(dir.path().join(saved)).unwrap(), bytes);
        assert!(run(dir.path(), &["verify", "t-0"]).ok().stdout.is_empty());
        assert_eq!(run(dir.path(), &["info", "t-0"]).ok().lines()[0]["end"], 100);
    }
}

/// Once, the run without `--execute` did not mention these bytes, and the run with it called them
/// writes that were cut short.
#[test]
fn truncate_warns_before_removing_damaged_bytes() {
    let dir = many(100);
    let log = dir.path().join("t-0");
    let last = names(&log).into_iter().rfind(|name| name.ends_with(".log")).unwrap();
    let sound = fs::read(log.join(&last)).unwrap();
    fs::write(log.join(&last), [&sound[..], &b"text of another program\n".repeat(100)].concat())
        .unwrap();
    let before = unlocked(&log);
    let told = run(dir.path(), &["truncate", "t-0", "--to", "100"]);
    assert_eq!((told.code, unlocked(&log) == before), (3, true), "{}", told.stderr);
    for part in [&last, "is damaged", "2400 bytes of damage"] {
        assert!(told.stderr.contains(part), "{}", told.stderr);
    }
    let done = run(dir.path(), &["truncate", "t-0", "--to", "100", "--execute"]).ok();
    assert!(done.stderr.contains("2400 bytes of damage"), "{}", done.stderr);
    assert!(!done.stderr.contains("cut short"), "{}", done.stderr);
    assert_eq!(fs::read(log.join(&last)).unwrap(), sound);
    let again = run(dir.path(), &["truncate", "t-0", "--to", "100"]).ok();
    assert!(!again.stderr.contains("damaged"), "{}", again.stderr);
}

/// Once, these runs announced work that `--execute` then rejected, and silently counted no records
/// in damaged batches.
#[test]
fn dry_runs_warn_of_damage() {
    let dir = damaged();
    let refused = run(dir.path(), &["truncate", "t-0", "--to", "95", "--execute"]);
    let told = run(dir.path(), &["truncate", "t-0", "--to", "95"]);
    let expected = if refused.code == 0 { 3 } else { refused.code };
    assert_eq!(told.code, expected, "{} {}", told.stderr, refused.stderr);
    assert!(told.stderr.contains("is damaged at byte"), "{}", told.stderr);
    let dir = damaged();
    let told = run(dir.path(), &["delete-before", "t-0", "--offset", "50"]);
    assert!(told.stderr.contains("is damaged at byte"), "{}", told.stderr);
    let done = run(dir.path(), &["delete-before", "t-0", "--offset", "50", "--execute"]);
    assert_eq!(told.code, if done.code == 0 { 3 } else { done.code }, "{}", done.stderr);
}

/// Once, `repair` left an index that contradicts its log as it was, without a message.
#[test]
fn repair_removes_contradicting_indexes_and_snapshots() {
    for extension in [".index", ".timeindex", ".snapshot"] {
        let dir = many(1000);
        let log = dir.path().join("t-0");
        let index = names(&log).into_iter().find(|name| name.ends_with(extension)).unwrap();
        let mut bytes = fs::read(log.join(&index)).unwrap();
        bytes[1..3].copy_from_slice(&[0xff; 2]);
        fs::write(log.join(&index), &bytes).unwrap();
        assert_eq!(run(dir.path(), &["verify", "t-0"]).code, 3);
        let told = run(dir.path(), &["repair", "t-0"]);
        let removed = format!("t-0/{index} would be removed");
        assert!(told.code == 3 && told.stderr.contains(&removed), "{}", told.stderr);
        let done = run(dir.path(), &["repair", "t-0", "--execute"]).ok();
        assert!(done.stderr.contains(&format!("t-0/{index} was removed")), "{}", done.stderr);
        assert!(run(dir.path(), &["verify", "t-0"]).ok().stdout.is_empty());
        assert_eq!(offsets(&run(dir.path(), &["read", "t-0"]).ok()).len(), 1000);
    }
}

/// Once, `repair` of a log with a missing segment did not name the missing offsets.
#[test]
fn repair_names_offsets_without_records() {
    let dir = many(1000);
    let log = dir.path().join("t-0");
    let mut logs = names(&log).into_iter().filter(|name| name.ends_with(".log"));
    let (lost, next) = (logs.nth(1).unwrap(), logs.next().unwrap());
    let offset = |name: &str| name.split('.').next().unwrap().parse::<u64>().unwrap();
    let (from, last) = (offset(&lost), offset(&next) - 1);
    fs::remove_file(log.join(&lost)).unwrap();
    let named = format!("offsets {from} to {last}");
    let told = run(dir.path(), &["repair", "t-0"]);
    assert!(told.stderr.contains(&named), "{}", told.stderr);
    let done = run(dir.path(), &["repair", "t-0", "--execute"]).ok();
    assert!(done.stderr.contains(&named), "{}", done.stderr);
    assert!(run(dir.path(), &["verify", "t-0"]).ok().stdout.is_empty());
}
