//! The bytes of every file of a small fixed workload, and the rule for index entries, made anew.

use annals::fs::MemFs;
use annals::{Log, LogConfig, Record, Timestamp};
use std::collections::BTreeMap;
use support::{Chance, DIR, T0, clock, files, name, read_file};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn small_log_has_golden_files() {
    let fs = MemFs::new();
    let config = LogConfig::default().index_interval_bytes(0).clock(clock());
    let log = Log::open(DIR, config.fs(fs.clone())).unwrap();
    let at = |value: &'static str, ms| {
        Record::new(value).key("k").timestamp(Timestamp::from_millis(T0 + ms))
    };
    log.append_all([at("a", 0), at("b", 5)]).unwrap();
    log.append(at("c", 3)).unwrap();
    log.roll().unwrap();
    log.append(at("d", 9)).unwrap();
    assert_eq!(
        String::from_utf8(read_file(&fs, DIR, ".lock")).unwrap(),
        format!("process {}\nboot boot-1\n", std::process::id()),
    );
    log.close().unwrap();
    let found = files(&fs, DIR);
    let names: Vec<_> = found.keys().map(String::as_str).collect();
    let n = [
        ".kafka_cleanshutdown",
        ".lock",
        ".reserved-room-for-a-full-disk-0",
        ".reserved-room-for-a-full-disk-1",
        ".reserved-room-for-a-full-disk-2",
        ".reserved-room-for-a-full-disk-3",
        "00000000000000000000.index",
        "00000000000000000000.log",
        "00000000000000000000.timeindex",
        "00000000000000000003.index",
        "00000000000000000003.log",
        "00000000000000000003.snapshot",
        "00000000000000000003.timeindex",
        "recovery-point-offset-checkpoint",
    ];
    assert_eq!(names, n);
    let text = |name: &str| String::from_utf8(found[name].clone()).unwrap();
    assert_eq!(text("recovery-point-offset-checkpoint"), "0\n2\nt 0 4\nt 0 4\n");
    assert_eq!(text(".kafka_cleanshutdown").trim_end(), CLEAN);
    // Offset 2 began at byte 79; the largest time so far, T0 + 5, was in the batch that ended with
    // 1.
    assert_eq!(hex(&found[&name(0, "index")]), INDEX);
    assert_eq!(hex(&found[&name(0, "timeindex")]), "0000018bcfe5680500000001");
    assert_eq!(hex(&found[&name(3, "index")]), "");
    // No producer that numbers its batches is known.
    assert_eq!(hex(&found[&name(3, "snapshot")]), "000148674bc700000000");
    assert_eq!(hex(&found[&name(3, "timeindex")]), "0000018bcfe5680900000000");
    assert_eq!(hex(&found[&name(0, "log")]), LOG_0);
    assert_eq!(hex(&found[&name(3, "log")]), LOG_3);
}

const CLEAN: &str = r#"{"version":0,"brokerEpoch":-1,"activeSegment":3,"activeBytes":70,"endOffset":4,"largestTimestamp":1700000000009,"largestTimestampOffset":3,"firstTimestamp":1700000000009,"bytesSinceIndexEntry":70,"offsetIndexEntries":0,"timeIndexEntries":1,"producers":0,"segments":[0,149,3,70],"checksum":4094652060}"#;
const INDEX: &str = "000000020000004f";
const LOG_0: &str = "000000000000000000000043ffffffff0264bb9ef10000000000010000018bcfe568000000018bcfe56805ffffffffffffffffffffffffffff0000000210000000026b02610010000a02026b02620000000000000000020000003affffffff023cf1a29b0000000000000000018bcfe568030000018bcfe56803ffffffffffffffffffffffffffff0000000110000000026b026300";
const LOG_3: &str = "00000000000000030000003affffffff02f9ba23bb0000000000000000018bcfe568090000018bcfe56809ffffffffffffffffffffffffffff0000000110000000026b026400";

/// Batches of 70 bytes, an entry after more than 150 bytes without one, and a close after every
/// second or third batch.
#[test]
fn close_writes_largest_time_to_index() {
    let fs = MemFs::new();
    let open = || {
        let config = LogConfig::default().index_interval_bytes(150).clock(clock());
        Log::open(DIR, config.fs(fs.clone())).unwrap()
    };
    let append = |log: &Log, ms| {
        let at = Timestamp::from_millis(T0 + ms);
        log.append(Record::new("v").key("k").timestamp(at)).unwrap();
    };
    let indexes = || ["index", "timeindex"].map(|kind| hex(&read_file(&fs, DIR, &name(0, kind))));

    let log = open();
    [5, 2].into_iter().for_each(|ms| append(&log, ms));
    log.close().unwrap();
    // T0 + 5, the largest time so far, was in the batch that ended with offset 0.
    assert_eq!(indexes(), ["", "0000018bcfe5680500000000"]);

    // 140 bytes without an entry went before the close, and 70 after it: offset 3 gets one, which
    // began at byte 210. The largest time was then T0 + 9, of offset 2; closing adds nothing to
    // that.
    let log = open();
    [9, 7].into_iter().for_each(|ms| append(&log, ms));
    log.close().unwrap();
    assert_eq!(
        indexes(),
        ["00000003000000d2", concat!("0000018bcfe5680500000000", "0000018bcfe5680900000002")]
    );

    // No entry is due, but the close notes the new largest time.
    let log = open();
    [8, 12].into_iter().for_each(|ms| append(&log, ms));
    log.close().unwrap();
    let times =
        concat!("0000018bcfe5680500000000", "0000018bcfe5680900000002", "0000018bcfe5680c00000005");
    assert_eq!(indexes(), ["00000003000000d2", times]);

    // Offset 6 began at byte 420. Its time is as large as one that is there already: no second
    // entry of it.
    let log = open();
    append(&log, 12);
    log.roll().unwrap();
    assert_eq!(indexes(), ["00000003000000d200000006000001a4", times]);
    append(&log, 0);
    log.close().unwrap();
    assert_eq!(indexes(), ["00000003000000d200000006000001a4", times]);
}

/// One segment by the rule of Kafka, written down a second time: entries of both indexes. The log
/// was closed, and opened again, when the segment had these many bytes.
fn naive(log: &[u8], base: i64, interval: u64, closes: &[u64]) -> (Vec<u8>, Vec<u8>) {
    let (mut offsets, mut times) = (Vec::new(), Vec::new());
    let (mut at, mut since) = (0usize, 0u64);
    let (mut largest, mut of_largest, mut last_time) = (-1i64, base, -1i64);
    let i64_at = |at: usize| i64::from_be_bytes(log[at..at + 8].try_into().unwrap());
    let i32_at = |at: usize| i32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let mut time_entry = |time: i64, offset: i64| {
        if time > last_time {
            times.extend(time.to_be_bytes());
            times.extend(((offset - base) as i32).to_be_bytes());
            last_time = time;
        }
    };
    while at < log.len() {
        if closes.contains(&(at as u64)) {
            time_entry(largest, of_largest);
        }
        let size = 12 + i32_at(at + 8) as usize;
        let last = i64_at(at) + i64::from(i32_at(at + 23));
        if i64_at(at + 35) > largest {
            (largest, of_largest) = (i64_at(at + 35), last);
        }
        if since > interval {
            offsets.extend(((last - base) as i32).to_be_bytes());
            offsets.extend((at as i32).to_be_bytes());
            time_entry(largest, of_largest);
            since = 0;
        }
        since += size as u64;
        at += size;
    }
    time_entry(largest, of_largest);
    (offsets, times)
}

#[test]
fn index_entries_follow_interval_rule() {
    for seed in 0..20 {
        for interval in [0, 200, 4096] {
            let mut chance = Chance(seed);
            let fs = MemFs::new();
            let config =
                || LogConfig::default().index_interval_bytes(interval).segment_bytes(20_000);
            let mut log = Log::open(DIR, config().fs(fs.clone())).unwrap();
            let mut closes: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
            for step in 0..300 {
                let records = (0..=chance.below(4)).map(|_| {
                    let time =
                        Timestamp::from_millis(T0 + chance.clone().below(5000) as i64 + step);
                    Record::new(vec![b'v'; chance.below(300) as usize]).timestamp(time)
                });
                let records: Vec<_> = records.collect();
                log.append_all(records).unwrap();
                let active = log.stats().unwrap().segments.pop().unwrap();
                if chance.below(40) == 0 {
                    // Recovery makes indexes anew, also where a close had left an entry: not both
                    // in one log.
                    if seed % 2 == 0 {
                        log.close().unwrap();
                        closes.entry(active.base_offset).or_default().push(active.bytes);
                    } else {
                        drop(log);
                    }
                    log = Log::open(DIR, config().fs(fs.clone())).unwrap();
                }
            }
            let bases: Vec<u64> =
                log.stats().unwrap().segments.iter().map(|s| s.base_offset).collect();
            log.close().unwrap();
            for base in bases {
                let closes = closes.get(&base).map_or(&[][..], Vec::as_slice);
                let log = read_file(&fs, DIR, &name(base, "log"));
                let (offsets, times) = naive(&log, base as i64, interval, closes);
                let case = format!("seed {seed}, segment {base}, closed at {closes:?}");
                assert_eq!(read_file(&fs, DIR, &name(base, "index")), offsets, "{case}");
                assert_eq!(read_file(&fs, DIR, &name(base, "timeindex")), times, "{case}");
            }
        }
    }
}
