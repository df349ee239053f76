//! The file system in memory: space, paths, synced state, a killed process.

use crate::{kind, read, same};
use annals::fs::{CrashState, File, Fs, MemFs, OpenMode};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::names;

fn create(fs: &MemFs, path: &str) -> Arc<dyn File> {
    fs.open(Path::new(path), OpenMode::CreateNew).unwrap()
}

#[test]
fn full_device_writes_what_fits() {
    let fs = MemFs::with_capacity(3 * 4096 + 100);
    let file = create(&fs, "a");
    assert_eq!(file.write_at(&[1; 4000], 0).unwrap(), 4000);
    assert_eq!(fs.used_bytes(), 4096);
    assert_eq!(file.write_at(&[2; 10_000], 4000).unwrap(), 3 * 4096 - 4000);
    assert_eq!(kind(file.write_at(&[3; 1], 3 * 4096)), ErrorKind::StorageFull);
    assert_eq!(kind(file.write_all_at(&[3; 9], 3 * 4096 - 4)), ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 3 * 4096);
    // Bytes that have space already can be written again.
    file.write_all_at(&[4; 3 * 4096], 0).unwrap();
    same(&read(&fs, "a").unwrap(), &[4; 3 * 4096]);
    // A failed write leaves no gap.
    assert_eq!(kind(file.write_at(&[3; 1], 1 << 30)), ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 3 * 4096);
}

#[test]
fn space_returns_when_files_shrink() {
    let fs = MemFs::with_capacity(4 * 4096);
    let (a, b) = (create(&fs, "a"), create(&fs, "b"));
    a.write_all_at(&[1; 2 * 4096], 0).unwrap();
    b.write_all_at(&[1; 2 * 4096], 0).unwrap();
    assert_eq!(kind(a.write_at(&[1], 2 * 4096)), ErrorKind::StorageFull);

    b.set_len(1).unwrap();
    assert_eq!(fs.used_bytes(), 3 * 4096);
    a.write_all_at(&[1], 2 * 4096).unwrap();

    // A removed file takes room until its last handle is closed.
    fs.remove(Path::new("b")).unwrap();
    assert_eq!(fs.used_bytes(), 4 * 4096);
    drop(b);
    assert_eq!(fs.used_bytes(), 3 * 4096);
    drop(a);
    assert_eq!(fs.used_bytes(), 3 * 4096);

    // And so does one that another replaces.
    create(&fs, "c");
    fs.rename(Path::new("c"), Path::new("a")).unwrap();
    assert_eq!(fs.used_bytes(), 0);
}

#[test]
fn device_can_grow_and_shrink() {
    let fs = MemFs::with_capacity(4096);
    let file = create(&fs, "a");
    file.write_all_at(&[1; 4096], 0).unwrap();
    assert_eq!(kind(file.write_at(&[2], 4096)), ErrorKind::StorageFull);
    fs.set_capacity(8192);
    file.write_all_at(&[2], 4096).unwrap();
    fs.set_capacity(0);
    assert_eq!(fs.used_bytes(), 8192);
    assert_eq!(kind(file.write_at(&[3], 8192)), ErrorKind::StorageFull);
    assert_eq!(read(&fs, "a").unwrap().len(), 4097);
}

#[test]
fn allocated_space_stays_when_device_full() {
    let fs = MemFs::with_capacity(4 * 4096);
    let (a, b) = (create(&fs, "a"), create(&fs, "b"));
    a.write_all_at(&[1; 10], 4096).unwrap();
    a.allocate(3 * 4096).unwrap(); // one of the three was there
    assert_eq!(fs.used_bytes(), 3 * 4096);
    assert_eq!(kind(b.allocate(2 * 4096)), ErrorKind::StorageFull);
    assert_eq!((b.len().unwrap(), fs.used_bytes()), (0, 3 * 4096));
    b.write_all_at(&[1; 4096], 0).unwrap();
    a.write_all_at(&[2; 3 * 4096], 0).unwrap();
    assert_eq!(kind(a.write_at(&[2], 3 * 4096)), ErrorKind::StorageFull);
    a.set_len(1).unwrap();
    assert_eq!(fs.used_bytes(), 2 * 4096);
    fs.set_capacity(u64::MAX);
    a.allocate(1 << 50).unwrap(); // costs nothing to model
    fs.sync_dir(Path::new("/")).unwrap();
    assert_eq!(fs.crash(CrashState::SyncedOnly).used_bytes(), 0);
    a.sync_data().unwrap();
    assert_eq!(fs.crash(CrashState::SyncedOnly).used_bytes(), 1 << 50);
    a.set_len(0).unwrap();
    assert_eq!(fs.used_bytes(), 4096);
}

#[test]
fn extending_a_file_takes_no_space() {
    let fs = MemFs::with_capacity(4096);
    let file = create(&fs, "a");
    file.set_len(1 << 40).unwrap();
    assert_eq!(fs.used_bytes(), 0);
    file.write_all_at(b"1", (1 << 40) - 1).unwrap();
    assert_eq!(kind(file.write_at(b"1", 0)), ErrorKind::StorageFull);
}

#[test]
fn crashed_disk_counts_own_space() {
    let fs = MemFs::with_capacity(4 * 4096);
    let file = create(&fs, "a");
    file.write_all_at(&[1; 4096], 0).unwrap();
    file.sync_data().unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    file.write_all_at(&[1; 2 * 4096], 4096).unwrap();
    assert_eq!(fs.crash(CrashState::SyncedOnly).used_bytes(), 4096);
    assert_eq!(fs.crash(CrashState::AllWrites).used_bytes(), 3 * 4096);
    assert_eq!(fs.kill().used_bytes(), 3 * 4096);

    // Removed here, but still durable.
    fs.remove(Path::new("a")).unwrap();
    drop(file);
    assert_eq!(fs.used_bytes(), 0);
    assert_eq!(fs.kill().used_bytes(), 0);
    let disk = fs.crash(CrashState::SyncedOnly);
    assert_eq!(disk.used_bytes(), 4096);
    disk.remove(Path::new("a")).unwrap();
    assert_eq!(disk.used_bytes(), 0);
    assert_eq!(kind(create(&disk, "b").allocate(5 * 4096)), ErrorKind::StorageFull);
}

#[test]
fn paths_start_at_root() {
    let fs = MemFs::new();
    create(&fs, "a").write_all_at(b"1", 0).unwrap();
    fs.create_dir(Path::new("d/e")).unwrap();
    for path in ["/a", "./a", "/d/../a", "../a", "d/e/../../a"] {
        assert_eq!(read(&fs, path).unwrap(), b"1", "{path}");
    }
    assert_eq!(names(&fs, ""), ["a", "d"]);
    fs.create_dir(Path::new("/")).unwrap();
    assert_eq!(kind(fs.open(Path::new("/"), OpenMode::ReadOnly)), ErrorKind::IsADirectory);
    assert_eq!(kind(fs.remove(Path::new("/"))), ErrorKind::IsADirectory);
}

#[test]
fn unsynced_lists_what_crash_may_change() {
    let fs = MemFs::new();
    let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
    fs.create_dir(Path::new("d/e")).unwrap();
    assert_eq!(fs.unsynced(), paths(&[]));
    let file = create(&fs, "d/a");
    assert_eq!(fs.unsynced(), paths(&["/d"]));
    file.write_all_at(b"1", 0).unwrap();
    assert_eq!(fs.unsynced(), paths(&["/d", "/d/a"]));
    fs.sync_dir(Path::new("d")).unwrap();
    assert_eq!(fs.unsynced(), paths(&["/d/a"]));
    file.sync_data().unwrap();
    assert_eq!(fs.unsynced(), paths(&[]));
    file.set_len(0).unwrap();
    assert_eq!(fs.unsynced(), paths(&["/d/a"]));
    fs.rename(Path::new("d/a"), Path::new("d/e/a")).unwrap();
    assert_eq!(fs.unsynced(), paths(&["/d", "/d/e", "/d/e/a"]));
    assert_eq!(fs.kill().unsynced(), fs.unsynced());
    assert_eq!(fs.crash(CrashState::AllWrites).unsynced(), paths(&[]));
}

#[test]
fn kill_keeps_cache_and_frees_locks() {
    let fs = MemFs::new();
    let _lock = fs.lock(Path::new(".lock")).unwrap();
    let file = create(&fs, "a");
    file.write_all_at(b"written", 0).unwrap();

    let next = fs.kill();
    next.lock(Path::new(".lock")).unwrap();
    assert_eq!(read(&next, "a").unwrap(), b"written");
    assert_eq!(next.boot_id(), fs.boot_id());
    // Unsynced bytes stay unsynced; a sync by the next process saves them.
    assert_eq!(names(&next.crash(CrashState::SyncedOnly), "/"), [""; 0]);
    next.open(Path::new("a"), OpenMode::ReadWrite).unwrap().sync_data().unwrap();
    next.sync_dir(Path::new("/")).unwrap();
    assert_eq!(read(&next.crash(CrashState::SyncedOnly), "a").unwrap(), b"written");
    // Neither changed the first one.
    assert_eq!(names(&fs.crash(CrashState::SyncedOnly), "/"), [""; 0]);
    file.write_all_at(b"W", 0).unwrap();
    assert_eq!(read(&next, "a").unwrap(), b"written");
}

#[test]
fn renamed_file_stays_one_file() {
    let fs = MemFs::new();
    create(&fs, "a");
    fs.sync_dir(Path::new("/")).unwrap();
    fs.rename(Path::new("a"), Path::new("b")).unwrap();
    let next = fs.kill();
    let file = next.open(Path::new("b"), OpenMode::ReadWrite).unwrap();
    file.write_all_at(b"1", 0).unwrap();
    file.sync_data().unwrap();
    let disk = next.crash(CrashState::SyncedOnly);
    assert_eq!(names(&disk, "/"), ["a"]);
    assert_eq!(read(&disk, "a").unwrap(), b"1");
}
