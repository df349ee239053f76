//! Kafka and this crate know the same leader epochs of a log.

use super::{record, run, same, small};
use crate::build::{kafka, say};
use annals::Log;
use std::path::Path;

/// The epochs of a log, where each ends, and which offset has which, as Kafka prints them.
pub(super) fn epoch_lines(log: &Log) -> Vec<String> {
    let epochs = log.leader_epochs().unwrap();
    let latest = epochs.last().map_or(-1, |latest| latest.epoch);
    let mut lines: Vec<_> =
        epochs.iter().map(|e| format!("S {} {}", e.epoch, e.start_offset)).collect();
    for epoch in -1..=latest + 2 {
        let end = log.epoch_end_offset(epoch).unwrap();
        let end = end.map_or("-".to_owned(), |end| format!("{} {}", end.epoch, end.end_offset));
        lines.push(format!("X {epoch} {end}"));
    }
    for at in 0..log.offsets().end {
        let epoch = log.epoch_of(at).unwrap().map_or("-".to_owned(), |epoch| epoch.to_string());
        lines.push(format!("O {at} {epoch}"));
    }
    lines
}

/// Leads the log through epochs, and truncates it between them.
fn lead(log: &Log, from: i32) {
    for epoch in (from..from + 12).step_by(3) {
        log.set_leader_epoch(epoch).unwrap();
        for n in 0..6 {
            log.append_all((n..n + 2).map(record)).unwrap();
        }
        if epoch % 2 == 0 {
            log.truncate_to(log.offsets().end - 5).unwrap();
        }
        log.roll().unwrap();
    }
    log.append(record(1)).unwrap();
}

#[test]
fn kafka_knows_same_leader_epochs() {
    let Some(kafka) = kafka() else { return };
    let root = tempfile::tempdir().unwrap();
    let dir = |name: &str| root.path().join(format!("{name}-0"));
    let open = |dir: &Path| Log::open(dir, small()).unwrap();

    let mut script = vec![format!("lead {}", dir("theirs").display())];
    let mut expected = Vec::new();
    for (name, how) in [("whole", "clean"), ("deleted", "clean"), ("killed", "crashed")] {
        let log = open(&dir(name));
        log.append(record(1)).unwrap();
        lead(&log, 1);
        if name == "deleted" {
            log.delete_before(9).unwrap();
        }
        expected.push(epoch_lines(&log));
        if how == "clean" {
            log.close().unwrap();
        }
        script.push(format!("epochs {} {how}", dir(name).display()));
    }
    let printed = run(kafka, &script);
    for (expected, (printed, line)) in expected.iter().zip(printed[1..].iter().zip(&script[1..])) {
        same(printed, expected, line);
    }

    let theirs = dir("theirs");
    same(&printed[0], &epoch_lines(&Log::open_read_only(&theirs, small()).unwrap()), "read-only");
    let log = open(&theirs);
    same(&printed[0], &epoch_lines(&log), "theirs");
    lead(&log, 21);
    let expected = epoch_lines(&log);
    log.close().unwrap();
    let printed = run(kafka, &[format!("epochs {} clean", theirs.display())]);
    same(&printed[0], &expected, "theirs, continued here");
    say(&format!("kafka: knows the same epochs in {} logs", script.len()));
}
