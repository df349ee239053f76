//! Files that an opening creates and changes, and files it leaves alone: foreign directories,
//! partitions that are not there, and everything it knew if it fails.

use crate::topic_error;
use annals::fs::{CrashState, Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::{
    CleanupPolicy, Error, ErrorKind, Log, LogConfig, OfflinePartitions, OnCorruption, Record,
    Store, StoreConfig, TopicConfig, TopicError,
};
use std::io;
use std::path::Path;
use support::names;
use support::{files, name, read_all, read_file, write_file};

const MARK: &str = ".kafka_cleanshutdown";

fn config(fs: impl Fs) -> StoreConfig {
    StoreConfig::default().fs(fs).maintenance(None).recovery_threads(1)
}

fn open(fs: &MemFs) -> annals::Result<Store> {
    Store::open("d", config(fs.clone()))
}

fn plain(fs: &MemFs) -> LogConfig {
    LogConfig::default().fs(fs.clone())
}

fn mkdir(fs: &MemFs, dir: &str) {
    fs.create_dir(Path::new(dir)).unwrap();
}

/// Topics `orders` with three partitions and `users` with one, of two segments each, closed.
fn closed_store() -> MemFs {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    for (topic, partitions) in [("orders", 3), ("users", 1)] {
        let topic = store.create_topic(topic, TopicConfig::default().partitions(partitions));
        for log in topic.unwrap().partitions().iter() {
            log.append_all(["a", "b"].map(Record::new)).unwrap();
            log.roll().unwrap();
            log.append("c").unwrap();
        }
    }
    store.close().unwrap();
    fs
}

/// Whether the next opening finds that all logs were closed in order.
fn is_clean(fs: &MemFs) -> bool {
    let store = open(&fs.kill()).unwrap();
    let logs = store.topics().into_iter().flat_map(|topic| topic.partitions().to_vec());
    logs.into_iter().all(|log| log.recovery().clean_shutdown)
}

/// A log whose number or name was mistyped became a partition that the store did not know, and the
/// store did not open again.
#[test]
fn unknown_partition_is_not_created() {
    let fs = closed_store();
    mkdir(&fs, "d/orders-9");
    let (before, not_found) = (names(&fs, "d"), ErrorKind::NotFound);
    for (name, kind, text) in [
        ("d/orders-7", not_found, "topic `orders` has no partition 7"),
        ("d/orders-9", not_found, "topic `orders` has no partition 9"),
        ("d/order-0", not_found, "there is no topic `order`"),
        ("d/orders", ErrorKind::InvalidInput, "none of its partitions"),
        ("d/orders-01", ErrorKind::InvalidInput, "none of its partitions"),
        ("d/old/orders-0", ErrorKind::InvalidInput, "none of its partitions"),
    ] {
        let error = Log::open(name, plain(&fs)).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(names(&fs, "d"), before, "{name}");
    }
    assert!(names(&fs, "d/orders-9").is_empty());
    fs.rename_dir(Path::new("d/orders-1"), Path::new("away")).unwrap();
    let error = topic_error(Log::open("d/orders-1", plain(&fs)).unwrap_err());
    assert!(matches!(error, TopicError::MissingPartition { partition: 1, .. }), "{error}");
    fs.rename_dir(Path::new("away"), Path::new("d/orders-1")).unwrap();
    Log::open("d/orders-2", plain(&fs)).unwrap().close().unwrap();
    assert!(is_clean(&fs));
}

/// A failed look at the directory above counted as "there is none": the log was rejected later,
/// and its directory stayed.
#[test]
fn rejected_log_leaves_no_directory() {
    let fs = closed_store();
    let before = names(&fs, "d");
    for nth in 1.. {
        let failing = FaultFs::new(fs.clone());
        let rule = failing.add_rule(Rule::any(Fault::Error(io::ErrorKind::Other)).nth(nth));
        Log::open("d/new-0", LogConfig::default().fs(failing.clone())).unwrap_err();
        assert_eq!(names(&fs, "d"), before, "call {nth}");
        if failing.hit_count(rule) == 0 {
            break;
        }
    }
}

/// A directory in which a process may create others, and which it may not list.
#[test]
fn log_is_created_below_unreadable_directory() {
    let fs = closed_store();
    mkdir(&fs, "other");
    let open = |path: &str, above: &str| {
        let failing = FaultFs::new(fs.clone());
        let denied = Fault::Error(io::ErrorKind::PermissionDenied);
        // The first is that of the directory of the log, which is not there.
        let rule = failing.add_rule(Rule::new(Operation::HoldDir, denied).path(above).nth(2));
        let opened = Log::open(path, LogConfig::default().fs(failing.clone()));
        assert_eq!(failing.hit_count(rule), 1);
        opened
    };
    open("other/new-0", "other").unwrap().append("a").unwrap();
    open("d/new-0", "d").unwrap_err();
    assert!(!names(&fs, "d").contains(&"new-0".to_owned()));
}

/// The store said that partition 3 of 8 is gone, which never was, and not a word of the directory
/// that is one too many.
#[test]
fn error_names_directory_beyond_count() {
    for filled in [false, true] {
        let fs = closed_store();
        let log = Log::open("elsewhere", plain(&fs)).unwrap();
        if filled {
            log.append("kept").unwrap();
        }
        log.close().unwrap();
        fs.rename_dir(Path::new("elsewhere"), Path::new("d/orders-7")).unwrap();
        let before = files(&fs, "d/orders-7");
        for _ in 0..2 {
            let error = topic_error(open(&fs).unwrap_err());
            let text = error.to_string();
            assert!(matches!(error, TopicError::InvalidDirectory { .. }), "{error}");
            assert!(text.contains("orders-7") && text.contains("topic.properties"), "{error}");
            assert_eq!(files(&fs, "d/orders-7"), before);
        }
        fs.rename_dir(Path::new("d/orders-7"), Path::new("moved")).unwrap();
        assert_eq!(Log::open("moved", plain(&fs)).unwrap().offsets().end, u64::from(filled));
        assert!(is_clean(&fs));
    }
}

/// After `cp -a orders-0 copy-0` the store said that partition 1 of `copy` is gone, which never
/// was. A copy of all of a topic opened, and then two topics had one id.
#[test]
fn error_names_copy_of_topic() {
    for (copied, as_copy) in [(0..1, 0), (1..2, 1), (0..3, 0)] {
        let fs = closed_store();
        for number in copied.clone() {
            let dir = format!("d/copy-{number}");
            mkdir(&fs, &dir);
            for (name, bytes) in files(&fs, &format!("d/orders-{number}")) {
                write_file(&fs, &dir, &name, &bytes);
            }
        }
        for _ in 0..2 {
            let error = topic_error(open(&fs).unwrap_err());
            let TopicError::InvalidDirectory { path, reason } = &error else { panic!("{error}") };
            assert_eq!(*path, Path::new(&format!("d/copy-{as_copy}")));
            assert!(reason.contains("the id of topic `orders`") && reason.contains("move it out"));
        }
        if copied.len() == 3 {
            // Once each was open by itself, the checkpoints have lines of both.
            let opened = fs.kill();
            Log::open("d/copy-0", plain(&opened)).unwrap().close().unwrap();
            let error = open(&opened).unwrap_err().to_string();
            assert!(error.contains("orders") && error.contains("one of the two"), "{error}");
        }
        for number in copied {
            let (from, to) = (format!("d/copy-{number}"), format!("moved-{number}"));
            fs.rename_dir(Path::new(&from), Path::new(&to)).unwrap();
        }
        assert!(is_clean(&fs));
    }
}

/// A broker that had the directory meanwhile may have added partitions, perhaps not all of them
/// here.
#[test]
fn partitions_added_by_broker_are_served() {
    for added in [3, 5] {
        let fs = closed_store();
        let dir = format!("d/orders-{added}");
        mkdir(&fs, &dir);
        let id = read_file(&fs, "d/orders-0", "partition.metadata");
        write_file(&fs, &dir, "partition.metadata", &id);
        write_file(&fs, &dir, &name(0, "log"), b"");
        let store = open(&fs).unwrap();
        let orders = store.topic("orders").unwrap();
        assert_eq!((orders.partition_count(), orders.partitions().len()), (added + 1, 4));
        orders.partition(added).unwrap().append("x").unwrap();
    }
}

/// The store wrote its files into any directory, `/etc/ssl` for example.
#[test]
fn foreign_directory_is_no_store() {
    let hidden = [".git", ".DS_Store", ".snapshot", "lost+found"];
    let make = |others: &[&str], dirs: &[&str]| {
        let fs = MemFs::new();
        mkdir(&fs, "d");
        others.iter().for_each(|name| write_file(&fs, "d", name, b"x"));
        dirs.iter().for_each(|name| mkdir(&fs, &format!("d/{name}")));
        fs
    };
    // In `/etc`, a directory may have the name of a partition.
    let of_others = make(&["openssl.cnf"], &["dbus-1"]);
    write_file(&of_others, "d/dbus-1", "session.conf", b"x");
    let cases = [make(&["notes.txt"], &[]), make(&[".DS_Store"], &["photos"]), of_others];
    for fs in &cases {
        let before = names(fs, "d");
        let view = Store::open_read_only("d", config(fs.clone())).map(drop);
        for error in [open(fs).map(drop), view].map(Result::unwrap_err) {
            assert!(error.to_string().contains("something else"), "{error}");
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(names(fs, "d"), before);
    }
    // The directories of a fresh volume, or of a tool, are neither a store nor a log.
    let fresh = || make(&hidden[1..2], &[".git", ".snapshot", "lost+found"]);
    open(&fresh()).unwrap();
    Log::open("d", plain(&fresh())).unwrap();
    // A partition shows that it is a broker's, whatever lies beside it.
    let fs = make(&["notes.txt"], &["photos"]);
    Log::open("d/orders-0", plain(&fs)).unwrap().close().unwrap();
    assert_eq!(open(&fs).unwrap().topics().len(), 1);
}

/// A directory whose only content was `orders-0.<32 digits>-delete` counted as a store, and that
/// directory was removed with all that was in it.
#[test]
fn foreign_directory_named_deleted_stays() {
    let named = format!("d/orders-0.{}-delete", "5ab1fd8ce0b24ae8a8f33ba1c4c51a7f");
    let precious = || {
        let fs = MemFs::new();
        mkdir(&fs, &named);
        write_file(&fs, &named, "precious", b"x");
        fs
    };
    let fs = precious();
    let error = topic_error(open(&fs).unwrap_err());
    assert!(error.to_string().contains("something else"), "{error}");
    assert_eq!(names(&fs, "d").len(), 1);
    // In a store, it is left alone and listed.
    write_file(&fs, "d", ".lock", b"");
    let store = open(&fs).unwrap();
    assert_eq!(store.unknown_directories(), [Path::new(&named)]);
    assert_eq!(names(&fs, &named), ["precious"]);
    // The rest of a deletion is removed: the directory has a file of a log, or nothing.
    for left in [&["precious", &name(0, "log")][..], &[]] {
        let fs = precious();
        write_file(&fs, "d", ".lock", b"");
        fs.remove(&Path::new(&named).join("precious")).unwrap();
        left.iter().for_each(|name| write_file(&fs, &named, name, b"x"));
        let store = open(&fs).unwrap();
        assert!(store.unknown_directories().is_empty());
        assert!(!names(&fs, "d").iter().any(|name| name.ends_with("-delete")));
    }
}

/// A viewer of a directory that is not there got an I/O error, which tells to inform an operator,
/// and so did the viewer of a deleted topic.
#[test]
fn viewer_reports_missing_directory() {
    let fs = closed_store();
    let view = Store::open_read_only("gone", config(fs.clone())).map(drop);
    let log = Log::open_read_only("gone", plain(&fs)).map(drop);
    let store = open(&fs).unwrap();
    let users =
        Store::open_read_only("d", config(fs.clone())).unwrap().partition("users", 0).unwrap();
    store.delete_topic("users").unwrap();
    let deleted = users.get(2).map(drop);
    for (error, dir) in [(view, "gone"), (log, "gone"), (deleted, "d/users-0")] {
        let error = error.unwrap_err();
        assert!(error.to_string().starts_with(&format!("there is no directory {dir}")), "{error}");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    assert_eq!(names(&fs, "").len(), 1);
}

#[test]
fn file_is_no_store() {
    let fs = MemFs::new();
    write_file(&fs, "", "file", b"x");
    for path in ["file", "file/d"] {
        let error = Store::open(path, config(fs.clone())).unwrap_err();
        assert!(matches!(error, Error::NotALog { .. }), "{error}");
        assert!(error.to_string().contains("give a directory"), "{error}");
    }
    let error = Store::open_read_only("file", config(fs.clone())).unwrap_err();
    assert!(error.to_string().contains("give a directory"), "{error}");
    // For `/var/log/myapp`, the way out was said to be the directory above.
    for (file, way_out) in [("app.log", "something else"), (&name(7, "log"), "the one above")] {
        let fs = MemFs::new();
        mkdir(&fs, "d");
        write_file(&fs, "d", file, b"x");
        write_file(&fs, "d", &format!("{file}.1"), b"x");
        let error = open(&fs).unwrap_err().to_string();
        assert!(error.contains(way_out) && error.contains(file), "{error}");
        if file == "app.log" {
            assert!(error.contains("d holds `app.log` and another entry"), "{error}");
            let error = Log::open("d", plain(&fs)).unwrap_err().to_string();
            assert_eq!(
                error,
                "cannot open d: it holds `app.log` and another entry, and no segment; give the \
                 log its own directory"
            );
        }
    }
}

/// Any text was taken for a `meta.properties` of an old broker that says nothing.
#[test]
fn junk_in_meta_properties_fails() {
    let fs = closed_store();
    let before = read_file(&fs, "d", "meta.properties");
    for junk in [&b"junk"[..], b"\0\0\0\0\0\0\0\0", b"{\"version\": 1}"] {
        write_file(&fs, "d", "meta.properties", junk);
        let error = open(&fs).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("d/meta.properties"), "{error}");
    }
    write_file(&fs, "d", "meta.properties", b"version=0\nbroker.id=3\n");
    assert!(is_clean(&fs));
    write_file(&fs, "d", "meta.properties", &before);
    assert!(is_clean(&fs));
}

/// An empty directory `backup-2024` became partition 2024 of a topic with 2024 partitions
/// elsewhere, and one with the number 0 was removed.
#[test]
fn empty_directory_is_no_partition() {
    let fs = closed_store();
    let mut empty = ["backup-0", "backup-2024", "orders-3"].map(|name| format!("d/{name}"));
    empty.iter().for_each(|dir| mkdir(&fs, dir));
    write_file(&fs, "d/backup-2024", ".DS_Store", b"x");
    empty.sort();
    let store = open(&fs).unwrap();
    assert_eq!(store.topics().len(), 2);
    assert_eq!(store.topic("orders").unwrap().partition_count(), 3);
    let mut unknown = store.unknown_directories();
    unknown.sort();
    assert_eq!(unknown, empty.each_ref().map(|dir| Path::new(dir).to_owned()));
    assert_eq!(empty.each_ref().map(|dir| files(&fs, dir).len()), [0, 1, 0]);
    // It is not in the way of a topic either.
    store.create_topic("backup", TopicConfig::default()).unwrap().partition(0).unwrap();
    store.add_partitions("orders", 4).unwrap();
    store.close().unwrap();
    assert!(is_clean(&fs));
    // A partition without records is a partition too, no matter which program made it: it has a segment.
    let log = Log::open("other-0", plain(&fs)).unwrap();
    log.close().unwrap();
    fs.rename_dir(Path::new("other-0"), Path::new("d/other-0")).unwrap();
    assert_eq!(open(&fs).unwrap().topic("other").unwrap().partitions().len(), 1);
}

/// The facts that the next opening knows about a directory: which logs were closed in order, and
/// that a topic is gone.
fn check_knows_all(fs: &MemFs, at: &str) {
    assert!(is_clean(fs), "{at}");
    let gone = fs.kill();
    for number in 0..3 {
        let dir = format!("d/orders-{number}");
        gone.rename_dir(Path::new(&dir), Path::new(&format!("away-{number}"))).unwrap();
    }
    let error = open(&gone).map(|store| store.topics().len()).expect_err(at);
    assert!(matches!(topic_error(error), TopicError::Missing { .. }), "{at}");
    let fs = fs.kill();
    fs.remove(&Path::new("d/orders-1").join(name(0, "log"))).unwrap();
    assert!(Store::open("d", config(fs).offline_partitions(OfflinePartitions::Never)).is_err());
}

/// A store that did not open for a photo in a directory `backup-2024` had used the mark of a clean
/// shutdown up: the next opening read all logs, and did not notice that a topic was gone.
#[test]
fn rejected_opening_keeps_shutdown_marker() {
    let fs = closed_store();
    mkdir(&fs, "d/backup-2024");
    write_file(&fs, "d/backup-2024", "photo.jpg", b"x");
    let mark = read_file(&fs, "d", MARK);
    for _ in 0..2 {
        assert!(matches!(open(&fs).unwrap_err(), Error::NotALog { .. }));
        assert_eq!(read_file(&fs, "d", MARK), mark);
    }
    fs.remove(Path::new("d/backup-2024/photo.jpg")).unwrap();
    fs.remove_dir(Path::new("d/backup-2024")).unwrap();
    check_knows_all(&fs, "after a refusal");
}

/// Whichever call of an opening fails, and in whatever way, the next opening knows what this one
/// knew.
#[test]
fn failed_store_opening_keeps_knowledge() {
    let faults = [Fault::Error(io::ErrorKind::Other), Fault::Errno(24)];
    for (fault, config_of) in faults.iter().flat_map(|fault| {
        let ways: [fn(&FaultFs) -> StoreConfig; 3] = [
            |fs| config(fs.clone()).offline_partitions(OfflinePartitions::Never),
            |fs| config(fs.clone()),
            |fs| {
                let log = LogConfig::default().preallocate(true);
                let config = StoreConfig::default().log_defaults(log).fs(fs.clone());
                config.maintenance(None).recovery_threads(2)
            },
        ];
        ways.map(|way| (fault, way))
    }) {
        let (closed, mut failed) = (closed_store(), 0);
        for nth in 1.. {
            let disk = closed.kill();
            let fs = FaultFs::new(disk.clone());
            let rule = fs.add_rule(Rule::any(fault.clone()).nth(nth));
            let opened = Store::open("d", config_of(&fs));
            if fs.hit_count(rule) == 0 {
                break;
            }
            let at = format!("call {nth} failed with {fault:?}: {:?}", fs.trace().last());
            match opened {
                Ok(store) => store.close().unwrap_or_else(|error| panic!("{at}: {error}")),
                Err(_) => failed += 1,
            }
            check_knows_all(&disk, &at);
        }
        assert!(failed > 20, "{failed} calls failed");
    }
}

/// The same where the disk fails from then on, until the logs are open.
#[test]
fn marker_stays_when_descriptors_run_out() {
    let closed = closed_store();
    for nth in 1.. {
        let disk = closed.kill();
        let fs = FaultFs::new(disk.clone());
        let rule = fs.add_rule(
            Rule::new(Operation::Open, Fault::Errno(24))
                .or(Operation::CreateNew)
                .or(Operation::HoldDir)
                .or(Operation::List)
                .from_nth(nth),
        );
        let opened = Store::open("d", config(fs.clone()));
        if fs.hit_count(rule) == 0 {
            break;
        }
        if opened.is_err() && fs.count(Operation::Remove) == 0 {
            drop(opened);
            check_knows_all(&disk, &format!("from call {nth} on"));
        }
    }
}

/// A log by itself has a mark of its own, or that of its store.
#[test]
fn failed_log_opening_keeps_knowledge() {
    for (dir, preallocate) in [("d/orders-1", false), ("plain", false), ("plain", true)] {
        let (closed, mut failed) = (closed_store(), 0);
        let log = Log::open("plain", plain(&closed)).unwrap();
        log.append("a").unwrap();
        log.close().unwrap();
        for nth in 1.. {
            // The machine was started again since.
            let disk = closed.crash(CrashState::AllWrites);
            let fs = FaultFs::new(disk.clone());
            let rule = fs.add_rule(Rule::any(Fault::Error(io::ErrorKind::Other)).nth(nth));
            let opened = Log::open(
                dir,
                LogConfig::default().fs(fs.clone()).preallocate(preallocate).segment_bytes(4096),
            );
            if fs.hit_count(rule) == 0 {
                break;
            }
            let at = format!("{dir}: call {nth}: {:?}", fs.trace().last());
            match opened {
                Ok(log) => log.close().unwrap(),
                Err(_) => failed += 1,
            }
            let again = Log::open(dir, plain(&disk.kill())).unwrap();
            assert!(again.recovery().clean_shutdown, "{at}");
            check_knows_all(&disk, &at);
        }
        assert!(failed > 15, "{dir}: {failed} calls failed");
    }
}

/// Without another partition that has the id, one that could not be read for a moment was replaced
/// by a new one.
#[test]
fn unreadable_id_is_not_replaced() {
    let before = |fs: &MemFs| read_file(fs, "d/users-0", "partition.metadata");
    let mut offline = 0;
    for nth in 1.. {
        let disk = closed_store();
        let id = before(&disk);
        let fs = FaultFs::new(disk.clone());
        let fault = Fault::Error(io::ErrorKind::Other);
        let rule = fs.add_rule(Rule::any(fault).path("partition.metadata").nth(nth));
        let store = Store::open("d", config(fs.clone())).unwrap();
        if fs.hit_count(rule) == 0 {
            break;
        }
        let users = store.topic("users").unwrap();
        if !users.unavailable_partitions().is_empty() {
            offline += 1;
            store.reopen_partition("users", 0, OnCorruption::Fail).unwrap();
        }
        assert!(String::from_utf8(id.clone()).unwrap().contains(&users.id().to_string()));
        store.close().unwrap();
        assert_eq!(before(&disk), id, "call {nth}");
    }
    assert!(offline > 0);
    // A topic of which one partition has the id, and that one is damaged.
    let fs = closed_store();
    for number in 0..3 {
        fs.remove(Path::new(&format!("d/orders-{number}/partition.metadata"))).unwrap();
    }
    write_file(&fs, "d/orders-1", "partition.metadata", b"version: 0\ntopic_id: x");
    let store = open(&fs).unwrap();
    assert_eq!(store.topic("orders").unwrap().unavailable_partitions().len(), 3);
    store.add_partitions("orders", 4).unwrap_err();
    assert!(!names(&fs, "d/orders-0").contains(&"partition.metadata".to_owned()));
}

/// A partition was copied out of its store, with a foreign file that has the name of a segment:
/// the file was emptied, and the log ended after it. Where it was rejected, the message blamed the
/// sound segment before it.
#[test]
fn foreign_last_segment_stays_whole() {
    let contents: [&[u8]; 3] = [b"root:x:0:0:root:/root:/bin/bash\n", b"x", &[0xff; 100]];
    for bytes in contents {
        for with_files in [false, true] {
            let fs = closed_store();
            let dir = if with_files { "d/orders-1" } else { "copy" };
            if !with_files {
                mkdir(&fs, dir);
                for (name, bytes) in files(&fs, "d/orders-1") {
                    write_file(&fs, dir, &name, &bytes);
                }
            }
            // As after a kill: nothing says how the log was closed.
            fs.remove(&Path::new("d").join(MARK)).unwrap();
            let intruder = name(99_999_999, "log");
            write_file(&fs, dir, &intruder, bytes);
            let error = Log::open(dir, plain(&fs)).unwrap_err();
            assert!(error.to_string().contains(&intruder), "{error}");
            assert_eq!(read_file(&fs, dir, &intruder), bytes);
            fs.remove(&Path::new(dir).join(&intruder)).unwrap();
            let log = Log::open(dir, plain(&fs)).unwrap();
            assert_eq!(read_all(&log).len(), 3);
        }
    }
}

/// Logs of three records that were closed: by themselves, and in a store.
fn closed_logs() -> [(MemFs, &'static str); 2] {
    let fs = MemFs::new();
    let log = Log::open("log", plain(&fs)).unwrap();
    log.append_all(["a", "b"].map(Record::new)).unwrap();
    log.roll().unwrap();
    log.append("c").unwrap();
    log.close().unwrap();
    [(fs, "log"), (closed_store(), "d/orders-1")]
}

/// An opening that quarantines failed after it had covered the offsets up to the name of the
/// foreign file, 100 million, or succeeded and ended there. An empty file was not even reported.
#[test]
fn stray_last_segment_is_quarantined_whole() {
    let zeros = [0; 100];
    let text = b"root:x:0:0:root:/root:/bin/bash\n";
    let contents: [&[u8]; 6] = [b"", &zeros, b"hello", b"x", text, &[0xff; 100]];
    for (bytes, (fs, dir)) in contents.into_iter().flat_map(|b| closed_logs().map(|log| (b, log))) {
        let stray = name(99_999_999, "log");
        let before = files(&fs, dir);
        write_file(&fs, dir, &stray, bytes);
        let with_stray = files(&fs, dir);
        for error in [Log::open(dir, plain(&fs)), Log::open_read_only(dir, plain(&fs))] {
            let error = error.unwrap_err().to_string();
            assert!(error.contains(&stray) && error.contains("99999996 offsets"), "{error}");
            assert_eq!(files(&fs, dir), with_stray, "{dir}: {bytes:?}");
        }
        let lenient = plain(&fs).on_corruption(OnCorruption::Truncate);
        let viewer = Log::open_read_only(dir, lenient).unwrap();
        assert_eq!(viewer.offsets().end, 3);
        // A look for more at the end finds the same files.
        assert_eq!(read_all(&viewer).len(), 3);
        let found = viewer.verify().unwrap();
        assert!(found.iter().any(|found| found.path.ends_with(&stray)), "{found:?}");
        drop(viewer);

        let quarantine = plain(&fs).on_corruption(OnCorruption::Quarantine);
        let log = Log::open(dir, quarantine).unwrap();
        assert_eq!(log.offsets().end, 3, "{dir}: {bytes:?}");
        let [taken] = log.recovery().quarantined.as_slice() else { panic!("{:?}", log.recovery()) };
        assert_eq!((taken.bytes, taken.offsets.is_empty()), (bytes.len() as u64, true));
        let saved = taken.path.file_name().unwrap().to_str().unwrap();
        assert_eq!(read_file(&fs, dir, saved), bytes);
        assert_eq!(log.append("d").unwrap(), 3);
        log.close().unwrap();
        let after = files(&fs, dir);
        assert!(before.iter().all(|(name, _)| after.iter().any(|(kept, _)| kept == name)));
        assert_eq!(read_all(&Log::open(dir, plain(&fs)).unwrap()).len(), 4);
    }
}

/// The way out that the error names, and a truncation with such a file.
#[test]
fn log_opens_after_stray_is_removed() {
    for (fs, dir) in closed_logs() {
        let stray = name(99_999_999, "log");
        write_file(&fs, dir, &stray, b"hello");
        Log::open(dir, plain(&fs)).unwrap_err();
        fs.remove(&Path::new(dir).join(&stray)).unwrap();
        let log = Log::open(dir, plain(&fs)).unwrap();
        // The rejected opening kept the marker.
        assert!(log.recovery().clean_shutdown, "{dir}");
        assert_eq!(log.offsets().end, 3);
        log.close().unwrap();
        write_file(&fs, dir, &stray, b"hello");
        let log = Log::open(dir, plain(&fs).on_corruption(OnCorruption::Truncate)).unwrap();
        assert_eq!((log.offsets().end, log.recovery().truncated_bytes), (3, 5));
    }
}

/// A broker rolls a compacted log whose last batches a pass then removes: the empty segment says
/// where the log ends.
#[test]
fn empty_last_segment_keeps_end() {
    for choice in [OnCorruption::Fail, OnCorruption::Quarantine, OnCorruption::Truncate] {
        for (fs, dir) in closed_logs() {
            let end = name(99, "log");
            write_file(&fs, dir, &end, b"");
            let compacts = plain(&fs).cleanup_policy(CleanupPolicy::Compact);
            let log = Log::open(dir, compacts.on_corruption(choice)).unwrap();
            assert_eq!(log.offsets().end, 99, "{dir} {choice:?}");
            drop(log);
        }
    }
    // A file of another program says nothing there, either.
    for (fs, dir) in closed_logs() {
        write_file(&fs, dir, &name(99, "log"), b"hello");
        let compacts = plain(&fs).cleanup_policy(CleanupPolicy::Compact);
        let log = Log::open(dir, compacts.on_corruption(OnCorruption::Quarantine)).unwrap();
        assert_eq!((log.offsets().end, log.recovery().quarantined.len()), (3, 1), "{dir}");
    }
}

/// Synced offsets count: if a segment with such offsets lost its bytes, none of them is reused.
#[test]
fn quarantine_keeps_synced_end() {
    for bytes in [&b""[..], b"hello", &[0; 100]] {
        for (fs, dir) in closed_logs() {
            let log = Log::open(dir, plain(&fs)).unwrap();
            log.append_all(["d", "e"].map(Record::new)).unwrap();
            log.close().unwrap();
            write_file(&fs, dir, &name(2, "log"), bytes);
            // In the last segment, and in one after a hole.
            for base in [2, 4] {
                let fs = fs.kill();
                if base == 4 {
                    fs.rename(
                        &Path::new(dir).join(name(2, "log")),
                        &Path::new(dir).join(name(4, "log")),
                    )
                    .unwrap();
                }
                let quarantine = plain(&fs).on_corruption(OnCorruption::Quarantine);
                let log = Log::open(dir, quarantine).unwrap();
                assert_eq!((log.offsets().end, read_all(&log).len()), (5, 2), "{dir} {bytes:?}");
            }
        }
    }
}

/// The damage of the first segment was moved before the last one was found to be of a format that
/// is not read.
#[test]
fn quarantine_changes_nothing_unless_it_finishes() {
    for (fs, dir) in closed_logs() {
        let mut first = read_file(&fs, dir, &name(0, "log"));
        first[65] ^= 1;
        write_file(&fs, dir, &name(0, "log"), &first);
        let mut last = read_file(&fs, dir, &name(2, "log"));
        last[22] = 7; // A codec of the future, with its checksum.
        let checksum = annals::record::crc32c(&last[21..]);
        last[17..21].copy_from_slice(&checksum.to_be_bytes());
        write_file(&fs, dir, &name(2, "log"), &last);
        let before = files(&fs, dir);
        let error = Log::open(dir, plain(&fs).on_corruption(OnCorruption::Quarantine)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert_eq!(files(&fs, dir), before);
    }
}

/// A link was taken for nothing: its records, or its partition, for absent.
#[cfg(unix)]
#[test]
fn error_names_link_anywhere() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let open = || Store::open(&data, StoreConfig::default().maintenance(None));
    let store = open().unwrap();
    let orders = store.create_topic("orders", TopicConfig::default().partitions(2)).unwrap();
    for log in orders.partitions().iter() {
        log.append("a").unwrap();
        log.roll().unwrap();
        log.append("b").unwrap();
    }
    store.close().unwrap();
    let away = dir.path().join("away");
    for linked in [name(0, "log"), name(1, "log"), name(9999, "log")] {
        let path = data.join("orders-1").join(&linked);
        if path.exists() {
            std::fs::rename(&path, &away).unwrap();
        }
        symlink(&away, &path).unwrap();
        let store = open().unwrap();
        let error = store.topic("orders").unwrap().partition(1).unwrap_err().to_string();
        assert!(error.contains("symbolic link") && error.contains(&linked), "{error}");
        store.close().unwrap();
        std::fs::remove_file(&path).unwrap();
        if away.exists() {
            std::fs::rename(&away, &path).unwrap();
        }
    }
    std::fs::rename(data.join("orders-1"), &away).unwrap();
    symlink(&away, data.join("orders-1")).unwrap();
    let alone = |name: &str| Log::open(data.join(name), LogConfig::default());
    for error in [open().map(drop), alone("orders-1").map(drop)] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains("symbolic link") && error.contains("orders-1"), "{error}");
    }
    assert!(!away.join(".lock").exists());
    let nowhere = dir.path().join("link");
    symlink(dir.path().join("nothing"), &nowhere).unwrap();
    let store = Store::open(&nowhere, StoreConfig::default()).map(drop);
    for error in [store, Log::open(&nowhere, LogConfig::default()).map(drop)] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains("a dangling link") && !error.contains("not a log"), "{error}");
    }
    alone("orders-0").unwrap().close().unwrap();
    std::fs::remove_file(data.join("orders-1")).unwrap();
    std::fs::rename(&away, data.join("orders-1")).unwrap();
    let store = open().unwrap();
    assert!(
        store.topic("orders").unwrap().partitions().iter().all(|log| log.recovery().clean_shutdown)
    );
}

/// Earlier versions left the lines of deleted topics in the marker.
#[test]
fn store_opens_when_marker_lists_deleted() {
    let fs = closed_store();
    let marker = String::from_utf8(read_file(&fs, "d", MARK)).unwrap();
    let (head, rest) = marker.split_once("\"users-0\":").unwrap();
    let one = rest.split_inclusive('}').next().unwrap();
    let grown = format!("{head}\"deleted-0\":{one},\"deleted-1\":{one},\"users-0\":{rest}");
    write_file(&fs, "d", MARK, grown.as_bytes());
    assert!(is_clean(&fs));
    let store = open(&fs).unwrap();
    assert_eq!(store.topics().len(), 2);
    store.close().unwrap();
    assert!(!String::from_utf8(read_file(&fs, "d", MARK)).unwrap().contains("deleted"));
}
