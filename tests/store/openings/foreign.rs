//! Directories and files that are no part of the store: none is taken for a partition, and none
//! is created in their place.

use super::{MARK, closed_store, config, is_clean, mkdir, open, plain};
use crate::topic_error;
use annals::fs::{Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::{Error, ErrorKind, Log, LogConfig, Store, StoreConfig, TopicConfig, TopicError};
use std::io;
use std::path::Path;
use support::{files, name, names, read_file, write_file};

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
    // A partition without records is a partition, too, no matter which program made it: it has a
    // segment.
    let log = Log::open("other-0", plain(&fs)).unwrap();
    log.close().unwrap();
    fs.rename_dir(Path::new("other-0"), Path::new("d/other-0")).unwrap();
    assert_eq!(open(&fs).unwrap().topic("other").unwrap().partitions().len(), 1);
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

/// A variable that was not set once said `cannot create : No such file or directory`.
#[test]
fn empty_path_names_no_directory() {
    let fs = MemFs::new();
    let config = || StoreConfig::default().fs(fs.clone()).maintenance(None);
    let opened = [
        Log::open("", plain(&fs)).map(drop),
        Log::open_read_only("", plain(&fs)).map(drop),
        Store::open("", config()).map(drop),
        Store::open_read_only("", config()).map(drop),
    ];
    for opened in opened {
        assert!(matches!(opened, Err(Error::InvalidConfig { option: "dir", .. })), "{opened:?}");
    }
}

/// A directory such as `/etc` has others in it that are named like partitions.
#[test]
fn partition_names_make_no_data_directory() {
    let fs = MemFs::new();
    for dir in ["etc", "etc/dbus-1"] {
        fs.create_dir(Path::new(dir)).unwrap();
    }
    let reason = |fs: &MemFs| Log::open("etc", plain(fs)).map(drop).unwrap_err().to_string();
    assert!(reason(&fs).contains("it holds `dbus-1`, and no segment"), "{}", reason(&fs));
    write_file(&fs, "etc/dbus-1", &name(0, "log"), b"");
    assert!(reason(&fs).contains("it holds `dbus-1`, and is not a log itself"), "{}", reason(&fs));
}
