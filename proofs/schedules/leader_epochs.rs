//! Leader epochs that begin while threads append.

use super::{append, check, config, open};
use annals::{LogConfig, StartAt};
use shuttle::thread;

/// Two threads append, the second in a group append if they meet, and two epochs begin meanwhile.
fn append_in_two_epochs(config: LogConfig) {
    let log = open(config);
    let appending = ["a", "b"].map(|value| {
        let log = log.clone();
        thread::spawn(move || {
            for _ in 0..2 {
                append(&log, &[value]).unwrap();
            }
        })
    });
    let leading = {
        let log = log.clone();
        thread::spawn(move || [1, 2].map(|epoch| log.set_leader_epoch(epoch).unwrap()))
    };
    // A follower that asks meanwhile is told of no record of a later epoch.
    let told = log.epoch_end_offset(1).unwrap();
    appending.into_iter().for_each(|thread| thread.join().unwrap());
    leading.join().unwrap();
    if let Some(told) = told.filter(|told| told.epoch == 1) {
        let end = log.epoch_end_offset(1).unwrap().unwrap();
        assert!(end.epoch < 1 || told.end_offset <= end.end_offset, "{told:?}, {end:?}");
    }
    let mut reader = log.reader(StartAt::Earliest).unwrap();
    let mut before = -1;
    while let Some(batch) = reader.next_batch().unwrap() {
        let (base, epoch) = (batch.header().base_offset, batch.header().leader_epoch);
        assert!(before <= epoch, "epoch {before} is followed by {epoch}");
        assert_eq!(log.epoch_of(base).unwrap().unwrap_or(-1), epoch);
        before = epoch;
    }
    assert_eq!(log.offsets().end, 4);
}

#[test]
fn epochs_never_go_back_under_group_append() {
    check(|| append_in_two_epochs(config()));
}

#[test]
fn epochs_never_go_back_across_rolls() {
    check(|| append_in_two_epochs(config().segment_bytes(100)));
}
