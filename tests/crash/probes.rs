//! Faults of other logs, checked against this one. Each test is a row of a table of probes.

use annals::fs::{DiskFs, Fs, MemFs, OpenMode};
#[cfg(feature = "zstd")]
use annals::{
    Codec,
    record::{BatchBuilder, Compression},
};
use annals::{
    CorruptionKind, Error, ErrorKind, Log, LogConfig, OnCorruption, ReadLimits, Record, Timestamp,
    Unsupported,
};
use std::path::Path;
use support::{DIR, clock, files, name, offsets, process, read_all, read_file, write_file};

const ALL_CODECS: bool =
    cfg!(all(feature = "zstd", feature = "lz4", feature = "snappy", feature = "gzip"));

fn config() -> LogConfig {
    LogConfig::default().segment_bytes(2000).index_interval_bytes(0)
}

fn open(fs: &MemFs) -> annals::Result<Log> {
    Log::open(DIR, config().fs(fs.clone()))
}

/// Forty batches of one record, in several segments; each batch is 100 bytes.
fn forty(fs: &MemFs) -> Log {
    let log = open(fs).unwrap();
    for i in 0..40 {
        let at = Timestamp::from_millis(1000 + i);
        log.append(Record::new(format!("{i:02}{}", "v".repeat(30))).timestamp(at)).unwrap();
    }
    assert!(log.stats().unwrap().segments.len() >= 2);
    log
}

fn flip(fs: &MemFs, file: &str, at: usize, bit: u8) {
    let mut bytes = read_file(fs, DIR, file);
    bytes[at] ^= bit;
    write_file(fs, DIR, file, &bytes);
}

/// The size of one batch of [`forty`].
fn batch_bytes(fs: &MemFs) -> usize {
    let bytes = read_file(fs, DIR, &name(0, "log"));
    12 + u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize
}

fn active_base(log: &Log) -> u64 {
    log.stats().unwrap().segments.last().unwrap().base_offset
}

#[test]
fn recovery_truncates_torn_tail() {
    let fs = MemFs::new();
    let log = open(&fs).unwrap();
    log.append("one").unwrap();
    log.append_all((0..5).map(|i| Record::new(format!("{i}")))).unwrap();
    let whole = read_file(&fs, DIR, &name(0, "log"));
    let first = 12 + u32::from_be_bytes(whole[8..12].try_into().unwrap()) as usize;
    // Its first seven bytes are zeros, which are not worth a report.
    for len in first + 8..whole.len() {
        let disk = fs.kill();
        write_file(&disk, DIR, &name(0, "log"), &whole[..len]);
        let log = open(&disk).unwrap();
        assert_eq!(log.offsets().end, 1, "cut at {len}");
        assert_eq!(read_all(&log).len(), 1);
        let (path, at) = log.recovery().truncated_at.clone().unwrap();
        assert_eq!(
            (path, log.recovery().truncated_bytes),
            (Path::new(DIR).join(name(0, "log")), len as u64 - at)
        );
    }
}

#[test]
fn opening_fails_on_corruption_anywhere() {
    // Where in a batch: the value, the checksum, the record's length, the batch's length, its base
    // offset.
    for clean in [true, false] {
        for sealed in [true, false] {
            for (what, at, bit) in [
                ("value", 75, 1),
                ("checksum", 18, 1),
                ("record length", 61, 4),
                ("batch length", 11, 1),
                ("batch length, gigabytes", 8, 0x40),
                ("base offset, up", 6, 1),
                ("base offset, by one", 7, 1),
                ("magic", 16, 4),
            ] {
                let case = format!("{what}, sealed {sealed}, clean {clean}");
                let fs = MemFs::new();
                let log = forty(&fs);
                let base = if sealed { 0 } else { active_base(&log) };
                if clean {
                    log.close().unwrap();
                } else {
                    log.flush().unwrap();
                    drop(log);
                }
                let size = batch_bytes(&fs);
                flip(&fs, &name(base, "log"), 3 * size + at, bit);
                let bad = base + 3;
                let log = match open(&fs) {
                    Ok(log) => log,
                    Err(Error::Corrupt(found)) => {
                        assert_eq!(found.position, 3 * size as u64, "{case}");
                        continue;
                    }
                    // All but its magic is sound, so it may be of a format to come.
                    Err(Error::Unsupported(_)) if what == "magic" => continue,
                    Err(other) => panic!("{case}: {other}"),
                };
                assert_eq!(log.offsets().end, 40, "{case}");
                let mut reader = log.reader(0).unwrap();
                let mut seen = 0;
                let error = loop {
                    match reader.next_record() {
                        Ok(Some(record)) => {
                            assert_eq!(record.offset, seen, "{case}");
                            seen += 1;
                        }
                        Ok(None) => panic!("{case}: the end, without an error"),
                        Err(error) => break error,
                    }
                };
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{case}");
                // A base offset that lies too high is found at it or at the batch after it.
                assert!(seen <= bad, "{case}: read to {seen}");
                assert!(reader.next_record().is_err(), "{case}: skipped");
                assert!(log.get(bad).is_err() || what.contains("base offset"), "{case}");
                assert!(!log.verify().unwrap().is_empty(), "{case}");
                // The rest of the other segments is still read.
                let beyond = if sealed { 39 } else { 0 };
                assert_eq!(log.get(beyond).unwrap().unwrap().offset, beyond, "{case}");
            }
        }
    }
}

#[test]
fn damaged_indexes_are_rebuilt() {
    type Harm = fn(Vec<u8>) -> Option<Vec<u8>>;
    let harms: [(&str, Harm); 8] = [
        ("missing", |_| None),
        ("random", |b| Some((0..b.len()).map(|i| (i * 37 + 11) as u8).collect())),
        ("zeros", |b| Some(vec![0; b.len()])),
        ("short by an entry", |b| Some(b[..b.len().saturating_sub(24)].to_vec())),
        ("short by a byte", |b| Some(b[..b.len().saturating_sub(1)].to_vec())),
        ("empty", |_| Some(Vec::new())),
        ("longer", |b| Some([b, vec![0x7f; 24]].concat())),
        ("off by one byte", |mut b| {
            for entry in 0..b.len() / 8 {
                b[entry * 8 + 7] = b[entry * 8 + 7].wrapping_add(1);
            }
            Some(b)
        }),
    ];
    for (what, harm) in harms {
        for extension in ["index", "timeindex"] {
            for clean in [true, false] {
                let fs = MemFs::new();
                let log = forty(&fs);
                log.flush().unwrap();
                if clean {
                    log.close().unwrap();
                }
                for (file, bytes) in files(&fs, DIR) {
                    if file.ends_with(&format!(".{extension}")) {
                        match harm(bytes) {
                            Some(bytes) => write_file(&fs, DIR, &file, &bytes),
                            None => fs.remove(&Path::new(DIR).join(&file)).unwrap(),
                        }
                    }
                }
                let log = open(&fs.kill()).unwrap();
                let case = format!("{extension} {what}, clean {clean}");
                for offset in 0..40u64 {
                    let found = log.get(offset).unwrap().unwrap();
                    assert_eq!(found.offset, offset, "{case}");
                    let at = Timestamp::from_millis(1000 + offset as i64);
                    assert_eq!(log.offset_for_time(at).unwrap(), Some((offset, at)), "{case}");
                }
                assert_eq!(log.append("next").unwrap(), 40, "{case}");
            }
        }
    }
}

#[test]
fn append_rolls_back_when_disk_full() {
    for size in [3 << 10, 33 << 10, 41 << 10] {
        for preallocate in [false, true] {
            let fs = MemFs::with_capacity(1 << 20);
            let config = LogConfig::default().segment_bytes(300 << 10).preallocate(preallocate);
            let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
            let batch = || (0..5).map(|_| Record::new(vec![7u8; size]));
            let mut end = 0;
            let error = loop {
                match log.append_all(batch()) {
                    Ok(appended) => end = appended.last + 1,
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
            assert!(error.is_retryable());
            assert_eq!(log.offsets().end, end);
            assert_eq!(read_all(&log).len() as u64, end);
            fs.set_capacity(64 << 20);
            for i in 0..40 {
                assert_eq!(log.append_all(batch()).unwrap().first, end + i * 5);
            }
            log.flush().unwrap();
            for disk in [fs.kill(), fs.crash(annals::fs::CrashState::SyncedOnly)] {
                let log = Log::open(DIR, config.clone().fs(disk)).unwrap();
                assert_eq!(log.offsets().end, end + 200);
                assert_eq!(read_all(&log).len() as u64, end + 200);
            }
        }
    }
}

#[test]
fn directory_is_locked_while_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t-0");
    let log = Log::open(&path, LogConfig::default()).unwrap();
    let again = Log::open(&path, LogConfig::default()).unwrap_err();
    assert!(matches!(again, Error::Locked { holder: Some(_), .. }), "{again}");
    let mut child = process::child(&child_opens_locked_directory);
    process::finish(child.env("ANNALS_PROBE_DIR", &path));
    log.append("still mine").unwrap();
    log.close().unwrap();
    Log::open(&path, LogConfig::default()).unwrap();
}

/// Runs in the child process of the test above; on its own it has nothing to do.
#[test]
fn child_opens_locked_directory() {
    let Some(path) = std::env::var_os("ANNALS_PROBE_DIR") else { return };
    let error = Log::open(path, LogConfig::default()).unwrap_err();
    let Error::Locked { holder, .. } = error else { panic!("{error}") };
    assert_ne!(holder, Some(std::process::id()));
}

#[test]
fn large_batches_survive_kill() {
    let fs = MemFs::new();
    let config = LogConfig::default().max_message_bytes(8 << 20);
    let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
    log.append("small").unwrap();
    log.append(vec![1u8; 5 << 20].as_slice().to_vec()).unwrap();
    log.append("after").unwrap();
    log.flush().unwrap();
    let log = Log::open(DIR, config.fs(fs.crash(annals::fs::CrashState::SyncedOnly))).unwrap();
    assert_eq!(log.offsets().end, 3);
    for limit in [0, 1, 1 << 20] {
        let fetched = log.read(1, ReadLimits::bytes(limit)).unwrap();
        assert_eq!((fetched.next_offset, fetched.records().unwrap().len()), (2, 1));
    }
    assert_eq!(log.get(2).unwrap().unwrap().value_str(), Some("after"));
}

#[test]
fn append_rejects_batch_over_limit() {
    let log = Log::open(DIR, LogConfig::default().fs(MemFs::new())).unwrap();
    let error = log.append(vec![0u8; 5 << 20]).unwrap_err();
    assert!(matches!(error, Error::BatchTooLarge { option: "max_message_bytes", .. }), "{error}");
    assert_eq!(log.append("fits").unwrap(), 0);
}

#[test]
fn record_of_hundred_megabytes_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig::default().max_message_bytes(200 << 20);
    let log = Log::open(dir.path().join("t-0"), config.clone()).unwrap();
    log.append(vec![9u8; 100_000_000]).unwrap();
    log.append("after").unwrap();
    drop(log);
    let log = Log::open(dir.path().join("t-0"), config).unwrap();
    assert_eq!(log.get(0).unwrap().unwrap().value.unwrap().len(), 100_000_000);
    assert_eq!(log.get(1).unwrap().unwrap().value_str(), Some("after"));
}

#[cfg(feature = "zstd")]
#[test]
fn oversized_decompression_is_served_as_bytes() {
    let fs = MemFs::new();
    let config = || LogConfig::default().max_decompressed_bytes(1 << 20).fs(fs.clone());
    let log = Log::open(DIR, config()).unwrap();
    let mut builder = BatchBuilder::new();
    builder.compression(Compression::of(Codec::Zstd));
    builder.push(Timestamp::from_millis(1), None, Some(&vec![b'x'; 24 << 20])).unwrap();
    let batch = builder.build().unwrap();
    let bytes = batch.as_bytes().clone();
    log.append_batch(batch).unwrap();
    log.append("after").unwrap();
    for clean in [false, true] {
        let log = if clean {
            log.clone().close().unwrap();
            Log::open(DIR, config()).unwrap()
        } else {
            Log::open(DIR, LogConfig::default().max_decompressed_bytes(1 << 20).fs(fs.kill()))
                .unwrap()
        };
        assert_eq!(log.offsets().end, 2);
        let fetched = log.read(0, ReadLimits::bytes(1)).unwrap();
        assert_eq!(fetched.bytes[61..], bytes[61..]);
        assert!(matches!(log.get(0), Err(Error::InvalidBatch(_))));
        assert_eq!(log.get(1).unwrap().unwrap().value_str(), Some("after"));
        assert_eq!(log.verify().unwrap(), []);
    }
}

#[cfg(not(all(feature = "zstd", feature = "lz4", feature = "snappy", feature = "gzip")))]
#[test]
fn missing_codec_is_served_as_bytes() {
    let codecs = [
        ("gzip", cfg!(feature = "gzip")),
        ("snappy", cfg!(feature = "snappy")),
        ("lz4", cfg!(feature = "lz4")),
        ("zstd", cfg!(feature = "zstd")),
    ];
    for (codec, _) in codecs.into_iter().filter(|(_, compiled_in)| !compiled_in) {
        let fs = MemFs::new();
        let log = open(&fs).unwrap();
        log.append("before").unwrap();
        let bytes = std::fs::read(format!("vectors/batches/three-{codec}-aio.bin")).unwrap();
        let batch = annals::RecordBatch::parse(bytes.clone().into()).unwrap();
        assert_eq!(log.append_batch(batch).unwrap().last, 3, "{codec}");
        log.append("after").unwrap();
        let check = |log: &Log| {
            assert_eq!(log.offsets().end, 5, "{codec}");
            let fetched = log.read(1, ReadLimits::bytes(1)).unwrap();
            assert_eq!(fetched.next_offset, 4, "{codec}");
            // Offset and epoch are the log's; what the checksum covers, and it, are as they came.
            assert_eq!(fetched.bytes[16..], bytes[16..], "{codec}");
            let unsupported = |error: Error| match error {
                Error::Unsupported(Unsupported::Codec(found)) => found.to_string() == codec,
                other => panic!("{codec}: {other}"),
            };
            assert!(unsupported(fetched.records().unwrap_err()));
            for offset in 1..4 {
                assert!(unsupported(log.get(offset).unwrap_err()));
            }
            let mut reader = log.reader(0).unwrap();
            assert_eq!(reader.next_record().unwrap().unwrap().offset, 0, "{codec}");
            for _ in 0..2 {
                assert!(unsupported(reader.next_record().unwrap_err()), "not skipped");
            }
            assert_eq!(log.get(4).unwrap().unwrap().value_str(), Some("after"), "{codec}");
            assert_eq!(log.verify().unwrap(), [], "{codec}");
        };
        check(&log);
        check(&open(&fs.kill()).unwrap());
        log.close().unwrap();
        check(&open(&fs).unwrap());
    }
}

#[test]
fn appends_continue_when_clock_jumps() {
    let clock = clock();
    let log = Log::open(DIR, config().clock(clock.clone()).fs(MemFs::new())).unwrap();
    for (at, offset) in [(5_000_000, 0), (1_000, 1), (9_000_000_000_000, 2), (2_000, 3)] {
        clock.set(Timestamp::from_millis(at));
        assert_eq!(log.append("x").unwrap(), offset);
    }
    let at = |millis| log.offset_for_time(Timestamp::from_millis(millis)).unwrap().map(|f| f.0);
    assert_eq!((at(0), at(5_000_001), at(i64::MAX)), (Some(0), Some(2), None));
}

#[test]
fn null_and_empty_values_differ() {
    let log = Log::open(DIR, config().fs(MemFs::new())).unwrap();
    log.append(Record::tombstone("k")).unwrap();
    log.append(Record::new("").key("")).unwrap();
    let (tombstone, empty) = (log.get(0).unwrap().unwrap(), log.get(1).unwrap().unwrap());
    assert!(tombstone.is_tombstone() && !empty.is_tombstone());
    assert_eq!((empty.key_str(), empty.value_str()), (Some(""), Some("")));
}

#[test]
fn reads_fail_outside_the_log() {
    let fs = MemFs::new();
    let log = forty(&fs);
    assert!(log.read(40, ReadLimits::default()).unwrap().is_empty());
    for error in [
        log.read(41, ReadLimits::default()).err(),
        log.get(40).err(),
        log.reader(41).err(),
        log.truncate_to(41).err(),
        log.flush_through(40).err(),
    ] {
        assert!(
            matches!(error, Some(Error::OffsetOutOfRange { start: 0, end: 40, .. })),
            "{error:?}"
        );
    }
}

#[test]
fn opening_rejects_what_is_no_log() {
    let fs = MemFs::new();
    fs.create_dir(Path::new("photos")).unwrap();
    write_file(&fs, "photos", "cat.jpg", b"meow");
    let before = files(&fs, "photos");
    assert!(matches!(Log::open("photos", config().fs(fs.clone())), Err(Error::NotALog { .. })));
    assert_eq!(files(&fs, "photos"), before);
    assert!(matches!(
        Log::open("photos/cat.jpg", config().fs(fs.clone())),
        Err(Error::NotALog { .. })
    ));
    assert!(Log::open("photos/cat.jpg/below", config().fs(fs.clone())).is_err());
    assert!(matches!(
        Log::open_read_only("photos/cat.jpg", config().fs(fs.clone())),
        Err(Error::NotALog { .. })
    ));
    let log = open(&fs).unwrap();
    log.append("mine").unwrap();
    drop(log);
    write_file(&fs, DIR, "README", b"hands off");
    let log = open(&fs).unwrap();
    assert_eq!(log.recovery().unknown_files, [Path::new(DIR).join("README")]);
    assert_eq!(read_file(&fs, DIR, "README"), b"hands off");
    assert_eq!(log.offsets().end, 1);
}

/// A broker's data directory has checkpoints with the names of ours: it was taken for a log that
/// lost its segments, or for an empty one, whose opening would have overwritten the recovery
/// points of all the broker's logs.
#[test]
fn opening_rejects_data_directory() {
    for points in ["0\n1\norders 0 72\n", "0\n2\norders 0 72\norders 1 3\n", "0\n0\n"] {
        let fs = MemFs::new();
        fs.create_dir(Path::new("data")).unwrap();
        fs.create_dir(Path::new("data/orders-0")).unwrap();
        write_file(&fs, "data", "recovery-point-offset-checkpoint", points.as_bytes());
        let opened = Log::open("data", config().fs(fs.clone()));
        assert!(matches!(opened, Err(Error::NotALog { .. })), "{opened:?}");
        let opened = Log::open_read_only("data", config().fs(fs.clone()));
        assert!(matches!(opened, Err(Error::NotALog { .. })), "{opened:?}");
        assert_eq!(read_file(&fs, "data", "recovery-point-offset-checkpoint"), points.as_bytes());
        assert!(!fs.list(Path::new("data")).unwrap().iter().any(|entry| entry.name == ".lock"));
    }
}

/// Directories and files that have nearly the names of logs, or of their files, are others' and
/// left alone.
#[test]
fn foreign_files_are_left_alone() {
    let segment = name(20, "log");
    let others = ["old-stuff", "-1", "backup-1", &segment];
    for other in others {
        let fs = MemFs::new();
        fs.create_dir(Path::new(DIR)).unwrap();
        // All that was made before the first opening was interrupted.
        write_file(&fs, DIR, ".lock", b"");
        if other == "backup-1" {
            write_file(&fs, DIR, other, b"a file");
        } else {
            fs.create_dir(&Path::new(DIR).join(other)).unwrap();
        }
        let log = open(&fs).unwrap();
        assert_eq!(log.recovery().unknown_files, [Path::new(DIR).join(other)]);
        assert_eq!(log.append("x").unwrap(), 0, "{other}");
        log.close().unwrap();
        assert_eq!(open(&fs).unwrap().offsets().end, 1, "{other}");
    }
}

/// Somebody copies segments and nothing else, or keeps old ones in a directory below.
#[test]
fn log_opens_from_segments_alone() {
    let from = MemFs::new();
    drop(forty(&from));
    let fs = MemFs::new();
    fs.create_dir(Path::new(DIR)).unwrap();
    for (name, bytes) in files(&from, DIR).iter().filter(|(name, _)| name.ends_with(".log")) {
        write_file(&fs, DIR, name, bytes);
    }
    write_file(&fs, DIR, "README", b"copied");
    assert_eq!(open(&fs).unwrap().offsets().end, 40);
    fs.create_dir(Path::new("t-0/old-0")).unwrap();
    assert_eq!(open(&fs).unwrap().offsets().end, 40);
}

#[test]
fn old_message_formats_are_unsupported() {
    for file in std::fs::read_dir("vectors/legacy").unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let fs = MemFs::new();
        fs.create_dir(Path::new(DIR)).unwrap();
        write_file(&fs, DIR, &name(0, "log"), &bytes);
        for choice in [OnCorruption::default(), OnCorruption::Truncate] {
            let error = Log::open(DIR, config().on_corruption(choice).fs(fs.clone())).unwrap_err();
            assert!(
                matches!(error, Error::Unsupported(Unsupported::MessageFormat(0 | 1))),
                "{error}"
            );
            assert_eq!(read_file(&fs, DIR, &name(0, "log")), bytes);
        }
    }
}

#[test]
fn one_concurrent_close_succeeds() {
    for _ in 0..20 {
        let fs = MemFs::new();
        let log = forty(&fs);
        let mut tail = log.tail(0).unwrap();
        std::thread::scope(|scope| {
            let closers: Vec<_> = (0..3).map(|_| scope.spawn(|| log.clone().close())).collect();
            scope.spawn(|| while log.append("x").is_ok() {});
            scope.spawn(|| while log.flush().is_ok() {});
            scope.spawn(|| while log.read(0, ReadLimits::default()).is_ok() {});
            scope.spawn(move || while tail.next_record(None).is_ok() {});
            let closed = closers.into_iter().map(|c| c.join().unwrap());
            assert_eq!(closed.filter(Result::is_ok).count(), 1);
        });
        let end = log.offsets().end;
        assert!(matches!(log.append("no"), Err(Error::Closed { .. })));
        let log = open(&fs).unwrap();
        assert!(log.recovery().clean_shutdown);
        assert_eq!(log.offsets().end, end);
    }
}

/// A copy of a stored directory in memory.
fn vector(of: &str) -> MemFs {
    let fs = MemFs::new();
    fs.create_dir(Path::new(DIR)).unwrap();
    for entry in DiskFs.list(&Path::new("vectors/logs").join(of)).unwrap() {
        let bytes = std::fs::read(format!("vectors/logs/{of}/{}", entry.name)).unwrap();
        write_file(&fs, DIR, &entry.name, &bytes);
    }
    fs
}

#[test]
fn directories_recover_as_kafka_does() {
    let fs = vector("crash-tail/t-0");
    let log = open(&fs).unwrap();
    assert_eq!((log.offsets().end, log.recovery().truncated_bytes), (15, 50));
    assert_eq!(read_file(&fs, DIR, &name(0, "log")).len(), 455);

    let fs = vector("crash-swap/t-0");
    let log = open(&fs).unwrap();
    assert_eq!(offsets(&log)[..6], [6, 7, 8, 15, 16, 17]);
    assert!(!files(&fs, DIR).contains_key(&name(9, "log")));

    let fs = vector("crash-cleaned/t-0");
    let log = open(&fs).unwrap();
    let names: Vec<_> = files(&fs, DIR).into_keys().filter(|n| n.ends_with(".log")).collect();
    assert_eq!(names, [name(0, "log"), name(18, "log")]);
    assert!(
        files(&fs, DIR)
            .keys()
            .all(|n| !n.contains("777") && !n.ends_with("ed") && !n.ends_with("swap"))
    );
    assert_eq!(log.offsets().start, 0);

    let fs = vector("crash-corrupt-middle/t-0");
    let before = files(&fs, DIR);
    let Error::Corrupt(found) = open(&fs).unwrap_err() else { panic!() };
    assert_eq!(found.offset, Some(9));
    assert!(matches!(found.reason, CorruptionKind::Batch(_)));
    assert_eq!(read_file(&fs, DIR, &name(0, "log")), before[&name(0, "log")]);
    let log =
        Log::open(DIR, config().on_corruption(OnCorruption::Truncate).fs(fs.clone())).unwrap();
    assert_eq!((log.offsets().end, offsets(&log).len()), (9, 9));
    assert!(fs.open(&Path::new(DIR).join(name(15, "log")), OpenMode::ReadOnly).is_err());

    for (of, end, records) in [("plain/orders-0", 72, 72), ("txn/pay-0", 15, 10)] {
        let fs = vector(of);
        let log = open(&fs).unwrap();
        assert_eq!(log.offsets().end, end, "{of}");
        assert_eq!(log.verify().unwrap(), [], "{of}");
        // The first has a batch of each codec.
        if of == "txn/pay-0" || ALL_CODECS {
            assert!(offsets(&log).len() >= records, "{of}: {}", offsets(&log).len());
        }
    }
}
