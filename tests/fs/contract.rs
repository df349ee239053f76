//! The behaviour that every file system shares. Each test runs on each of them.

use crate::{kind, read, same};
use annals::fs::{DirEntry, DiskFs, EntryKind, FaultFs, File, Fs, MemFs, OpenMode};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::names;

/// A directory on some file system.
struct Place {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    _temp: Option<tempfile::TempDir>,
}

impl Place {
    fn disk() -> Place {
        let temp = tempfile::tempdir().unwrap();
        Place { fs: Arc::new(DiskFs), dir: temp.path().to_owned(), _temp: Some(temp) }
    }

    fn memory() -> Place {
        Place::on(MemFs::new())
    }

    fn faults() -> Place {
        Place::on(FaultFs::new(MemFs::new()))
    }

    /// The same directory as a file system that holds it shows it.
    fn held(self) -> Place {
        let held = self.fs.hold_dir(&self.dir).unwrap().unwrap();
        let name = self.dir.file_name().map(|name| name.to_string_lossy().into_owned());
        assert_eq!((held.name, held.above.as_deref()), (name, self.dir.parent()));
        Place { fs: held.fs, ..self }
    }

    fn on(fs: impl Fs) -> Place {
        let dir = PathBuf::from("/some/dir");
        fs.create_dir(&dir).unwrap();
        Place { fs: Arc::new(fs), dir, _temp: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Arc<dyn File> {
        let file = self.fs.open(&self.path(name), OpenMode::CreateNew).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    fn read(&self, name: &str) -> Vec<u8> {
        read(&self.fs, self.path(name)).unwrap()
    }
}

macro_rules! on_every_file_system {
    ($($name:ident)*) => {
        mod disk {
            $(#[test] fn $name() { super::$name(&super::Place::disk()); })*
        }
        mod memory {
            $(#[test] fn $name() { super::$name(&super::Place::memory()); })*
        }
        mod faults {
            $(#[test] fn $name() { super::$name(&super::Place::faults()); })*
        }
        #[cfg(unix)]
        mod held_disk {
            $(#[test] fn $name() { super::$name(&super::Place::disk().held()); })*
        }
        mod held_memory {
            $(#[test] fn $name() { super::$name(&super::Place::memory().held()); })*
        }
        mod held_faults {
            $(#[test] fn $name() { super::$name(&super::Place::faults().held()); })*
        }
    };
}

on_every_file_system! {
    new_file_is_created_once
    open_needs_an_existing_file
    path_through_file_is_rejected
    directory_is_no_file
    read_handle_changes_nothing
    bytes_stay_where_written
    gap_reads_as_zeros
    reads_are_short_at_end
    set_len_truncates_and_extends
    truncated_bytes_do_not_return
    allocate_extends_and_never_truncates
    writes_fail_beyond_largest_position
    two_handles_see_one_file
    rename_replaces_the_target
    rename_to_itself_changes_nothing
    rename_needs_files
    directories_are_renamed_and_removed
    remove_keeps_open_handles
    list_returns_kinds_and_lengths
    list_needs_a_directory
    create_dir_creates_parents_and_repeats
    create_dir_replaces_no_file
    lock_excludes_until_dropped
    lock_excludes_after_file_removal
    held_directory_is_followed_when_moved
    directory_is_locked_by_any_path
    lock_file_keeps_its_bytes
    view_has_the_requested_bytes
    view_outlives_name_and_handle
    file_and_directory_syncs_succeed
    threads_write_beside_each_other
}

fn new_file_is_created_once(at: &Place) {
    let path = at.path("a");
    assert_eq!(at.fs.open(&path, OpenMode::CreateNew).unwrap().len().unwrap(), 0);
    assert_eq!(kind(at.fs.open(&path, OpenMode::CreateNew)), ErrorKind::AlreadyExists);
    assert_eq!(kind(at.fs.open(&at.dir, OpenMode::CreateNew)), ErrorKind::AlreadyExists);
    assert_eq!(kind(at.fs.open(&at.path("no/a"), OpenMode::CreateNew)), ErrorKind::NotFound);
}

fn open_needs_an_existing_file(at: &Place) {
    for how in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
        assert_eq!(kind(at.fs.open(&at.path("no"), how)), ErrorKind::NotFound);
        assert_eq!(kind(at.fs.open(&at.path("no/a"), how)), ErrorKind::NotFound);
    }
    assert_eq!(names(&at.fs, &at.dir), [""; 0]);
    at.create("a", b"1");
    at.fs.open(&at.path("a"), OpenMode::ReadWrite).unwrap().write_all_at(b"2", 1).unwrap();
    assert_eq!(at.read("a"), b"12");
}

fn path_through_file_is_rejected(at: &Place) {
    at.create("a", b"");
    for how in [OpenMode::CreateNew, OpenMode::ReadOnly, OpenMode::ReadWrite] {
        assert_eq!(kind(at.fs.open(&at.path("a/b"), how)), ErrorKind::NotADirectory);
    }
    assert_eq!(kind(at.fs.remove(&at.path("a/b"))), ErrorKind::NotADirectory);
}

fn directory_is_no_file(at: &Place) {
    at.fs.create_dir(&at.path("d")).unwrap();
    for how in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
        assert_eq!(kind(at.fs.open(&at.path("d"), how)), ErrorKind::IsADirectory);
    }
    assert_eq!(kind(at.fs.remove(&at.path("d"))), ErrorKind::IsADirectory);
    assert_eq!(kind(at.fs.lock(&at.path("d"))), ErrorKind::IsADirectory);
}

fn read_handle_changes_nothing(at: &Place) {
    at.create("a", b"1234");
    let file = at.fs.open(&at.path("a"), OpenMode::ReadOnly).unwrap();
    assert_eq!(kind(file.write_at(b"x", 0)), ErrorKind::PermissionDenied);
    assert_eq!(kind(file.set_len(1)), ErrorKind::PermissionDenied);
    assert_eq!(kind(file.allocate(9)), ErrorKind::PermissionDenied);
    assert_eq!(at.read("a"), b"1234");
}

fn bytes_stay_where_written(at: &Place) {
    let file = at.create("a", &[7; 10_000]);
    file.write_all_at(&[8; 5000], 2000).unwrap();
    file.write_all_at(&[9; 3], 9999).unwrap();
    same(&at.read("a"), &[vec![7; 2000], vec![8; 5000], vec![7; 2999], vec![9; 3]].concat());
    let mut part = [0; 4];
    file.read_exact_at(&mut part, 6998).unwrap();
    assert_eq!(part, [8, 8, 7, 7]);
    assert_eq!(file.write_at(b"", 50_000).unwrap(), 0);
    assert_eq!(file.len().unwrap(), 10_002);
}

fn gap_reads_as_zeros(at: &Place) {
    let file = at.create("a", b"1");
    file.write_all_at(b"2", 20_000).unwrap();
    same(&at.read("a"), &[b"1".to_vec(), vec![0; 19_999], b"2".to_vec()].concat());
}

fn reads_are_short_at_end(at: &Place) {
    let file = at.create("a", b"12345");
    let mut buf = [0xAA; 8];
    assert_eq!(file.read_at(&mut buf, 3).unwrap(), 2);
    assert_eq!(&buf[..3], b"45\xAA");
    assert_eq!(file.read_at(&mut buf, 5).unwrap(), 0);
    assert_eq!(file.read_at(&mut buf, 1 << 40).unwrap(), 0);
    assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
    assert_eq!(kind(file.read_exact_at(&mut buf, 0)), ErrorKind::UnexpectedEof);
}

fn set_len_truncates_and_extends(at: &Place) {
    let file = at.create("a", &[1; 5000]);
    file.set_len(4999).unwrap();
    same(&at.read("a"), &[1; 4999]);
    file.set_len(3).unwrap();
    assert_eq!(at.read("a"), [1; 3]);
    file.set_len(9000).unwrap();
    same(&at.read("a"), &[vec![1; 3], vec![0; 8997]].concat());
    file.set_len(0).unwrap();
    assert_eq!(at.read("a"), b"");
    file.set_len(1 << 40).unwrap(); // a file with a hole takes no room
    assert_eq!(file.len().unwrap(), 1 << 40);
}

fn truncated_bytes_do_not_return(at: &Place) {
    let file = at.create("a", &[1; 10_000]);
    for len in [8192, 4096, 4000, 512, 1] {
        file.set_len(len).unwrap();
        file.write_all_at(&[2], 9999).unwrap();
        let kept = usize::try_from(len).unwrap();
        same(&at.read("a"), &[vec![1; kept], vec![0; 9999 - kept], vec![2]].concat());
    }
}

fn allocate_extends_and_never_truncates(at: &Place) {
    let file = at.create("a", b"123");
    file.allocate(0).unwrap();
    file.allocate(2).unwrap();
    assert_eq!(at.read("a"), b"123");
    file.allocate(10_000).unwrap();
    same(&at.read("a"), &[b"123".to_vec(), vec![0; 9997]].concat());
    file.allocate(5000).unwrap();
    assert_eq!(file.len().unwrap(), 10_000);
}

fn writes_fail_beyond_largest_position(at: &Place) {
    let file = at.create("a", b"1");
    assert!(file.write_at(b"22", i64::MAX as u64 - 1).is_err());
    assert!(file.write_at(b"2", u64::MAX).is_err());
    assert!(file.set_len(u64::MAX).is_err());
    assert!(file.allocate(u64::MAX).is_err());
    assert_eq!(at.read("a"), b"1");
}

fn two_handles_see_one_file(at: &Place) {
    let one = at.create("a", b"1");
    let other = at.fs.open(&at.path("a"), OpenMode::ReadOnly).unwrap();
    one.write_all_at(b"23", 1).unwrap();
    let mut buf = [0; 3];
    other.read_exact_at(&mut buf, 0).unwrap();
    assert_eq!(&buf, b"123");
    one.set_len(1).unwrap();
    assert_eq!(other.len().unwrap(), 1);
}

fn rename_replaces_the_target(at: &Place) {
    let old = at.create("a", b"old");
    at.create("b", b"new");
    at.fs.rename(&at.path("b"), &at.path("a")).unwrap();
    assert_eq!(names(&at.fs, &at.dir), ["a"]);
    assert_eq!(at.read("a"), b"new");
    let mut buf = [0; 3];
    old.read_exact_at(&mut buf, 0).unwrap(); // what was replaced lives on in its handle
    assert_eq!(&buf, b"old");

    at.fs.create_dir(&at.path("d")).unwrap();
    at.fs.rename(&at.path("a"), &at.path("d/c")).unwrap();
    assert_eq!(names(&at.fs, &at.dir), ["d"]);
    assert_eq!(at.read("d/c"), b"new");
}

fn rename_to_itself_changes_nothing(at: &Place) {
    at.create("a", b"1");
    at.fs.rename(&at.path("a"), &at.path("a")).unwrap();
    assert_eq!(at.read("a"), b"1");
}

/// Open files of a directory stay usable under its new name, and a name is only given where there
/// is none.
fn directories_are_renamed_and_removed(at: &Place) {
    at.fs.create_dir(&at.path("d")).unwrap();
    let file = at.fs.open(&at.path("d/a"), OpenMode::CreateNew).unwrap();
    at.create("f", b"file");
    let rename = |from: &str, to: &str| kind(at.fs.rename_dir(&at.path(from), &at.path(to)));
    let remove = |dir: &str| kind(at.fs.remove_dir(&at.path(dir)));
    assert_eq!(rename("no", "e"), ErrorKind::NotFound);
    assert_eq!(rename("f", "e"), ErrorKind::NotADirectory);
    assert_eq!(rename("d", "f"), ErrorKind::AlreadyExists);
    at.fs.create_dir(&at.path("empty")).unwrap();
    assert_eq!(rename("d", "empty"), ErrorKind::AlreadyExists);
    at.fs.rename_dir(&at.path("d"), &at.path("e")).unwrap();
    assert_eq!(kind(at.fs.list(&at.path("d"))), ErrorKind::NotFound);
    file.write_all_at(b"more", 0).unwrap();
    let moved = at.fs.open(&at.path("e/a"), OpenMode::ReadOnly).unwrap();
    assert_eq!(moved.len().unwrap(), 4);
    assert_eq!(remove("e"), ErrorKind::DirectoryNotEmpty);
    assert_eq!(remove("f"), ErrorKind::NotADirectory);
    assert_eq!(remove("no"), ErrorKind::NotFound);
    at.fs.remove(&at.path("e/a")).unwrap();
    at.fs.remove_dir(&at.path("e")).unwrap();
    assert_eq!(kind(at.fs.list(&at.path("e"))), ErrorKind::NotFound);
    at.fs.create_dir(&at.path("e")).unwrap();
    assert!(at.fs.list(&at.path("e")).unwrap().is_empty());
}

fn rename_needs_files(at: &Place) {
    at.create("a", b"1");
    at.fs.create_dir(&at.path("d")).unwrap();
    let rename = |from: &str, to: &str| kind(at.fs.rename(&at.path(from), &at.path(to)));
    assert_eq!(rename("no", "b"), ErrorKind::NotFound);
    assert_eq!(rename("a", "no/b"), ErrorKind::NotFound);
    assert_eq!(rename("a", "d"), ErrorKind::IsADirectory);
    assert_eq!(rename("d", "e"), ErrorKind::IsADirectory);
    assert_eq!(names(&at.fs, &at.dir), ["a", "d"]);
}

fn remove_keeps_open_handles(at: &Place) {
    let file = at.create("a", b"12");
    at.fs.remove(&at.path("a")).unwrap();
    assert_eq!(kind(at.fs.remove(&at.path("a"))), ErrorKind::NotFound);
    assert_eq!(kind(at.fs.open(&at.path("a"), OpenMode::ReadOnly)), ErrorKind::NotFound);
    file.write_all_at(b"34", 2).unwrap();
    file.sync_data().unwrap();
    assert_eq!(file.view(4).unwrap().as_slice(), b"1234");
    at.create("a", b"another");
    assert_eq!(file.len().unwrap(), 4);
}

fn list_returns_kinds_and_lengths(at: &Place) {
    at.create("a", &[0; 5000]);
    at.create("b", b"");
    at.fs.create_dir(&at.path("d/e")).unwrap();
    at.create("d/inner", b"");
    let mut entries = at.fs.list(&at.dir).unwrap();
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    let entry = |name: &str, kind, len| DirEntry { name: name.to_owned(), kind, len };
    let expected = [
        entry("a", EntryKind::File, 5000),
        entry("b", EntryKind::File, 0),
        entry("d", EntryKind::Directory, 0),
    ];
    assert_eq!(entries, expected);
}

fn list_needs_a_directory(at: &Place) {
    at.create("a", b"");
    assert_eq!(kind(at.fs.list(&at.path("no"))), ErrorKind::NotFound);
    assert_eq!(kind(at.fs.list(&at.path("a"))), ErrorKind::NotADirectory);
    assert_eq!(kind(at.fs.sync_dir(&at.path("no"))), ErrorKind::NotFound);
    assert_eq!(kind(at.fs.sync_dir(&at.path("a"))), ErrorKind::NotADirectory);
}

fn create_dir_creates_parents_and_repeats(at: &Place) {
    for _ in 0..2 {
        at.fs.create_dir(&at.path("d/e/f")).unwrap();
        at.fs.create_dir(&at.path("d")).unwrap();
    }
    assert_eq!(names(&at.fs, at.path("d/e")), ["f"]);
    at.create("d/e/f/a", b"1");
    at.fs.create_dir(&at.path("d/e/f")).unwrap();
    assert_eq!(at.read("d/e/f/a"), b"1");
}

fn create_dir_replaces_no_file(at: &Place) {
    at.create("a", b"1");
    assert_eq!(kind(at.fs.create_dir(&at.path("a"))), ErrorKind::AlreadyExists);
    assert_eq!(kind(at.fs.create_dir(&at.path("a/d"))), ErrorKind::NotADirectory);
    assert_eq!(at.read("a"), b"1");
}

/// A lock file can be removed by hand. The lock of the directory itself still stands.
fn lock_excludes_after_file_removal(at: &Place) {
    if cfg!(not(unix)) {
        return;
    }
    let lock = at.fs.lock(&at.path(".lock")).unwrap();
    let guard = at.fs.lock_dir(&at.dir).unwrap();
    at.fs.remove(&at.path(".lock")).unwrap();
    drop(at.fs.lock(&at.path(".lock")).unwrap());
    assert_eq!(kind(at.fs.lock_dir(&at.dir)), ErrorKind::WouldBlock);
    drop((lock, guard));
    drop(at.fs.lock_dir(&at.dir).unwrap());
}

fn held_directory_is_followed_when_moved(at: &Place) {
    if cfg!(not(unix)) {
        return;
    }
    let dir = at.path("d");
    at.fs.create_dir(&dir).unwrap();
    let held = at.fs.hold_dir(&dir).unwrap().unwrap().fs;
    held.open(&dir.join("a"), OpenMode::CreateNew).unwrap();
    at.fs.rename_dir(&dir, &at.path("moved")).unwrap();
    at.fs.create_dir(&dir).unwrap();
    at.create("d/other", b"");
    held.open(&dir.join("b"), OpenMode::CreateNew).unwrap().write_all_at(b"1", 0).unwrap();
    held.rename(&dir.join("b"), &dir.join("c")).unwrap();
    held.sync_dir(&dir).unwrap();
    held.create_dir(&dir.join("e")).unwrap();
    assert_eq!(names(&held, &dir), ["a", "c", "e"]);
    assert_eq!(names(&at.fs, at.path("moved")), ["a", "c", "e"]);
    assert_eq!(names(&at.fs, &dir), ["other"]);
    assert_eq!(at.read("moved/c"), b"1");
    assert_eq!(
        kind(held.open(Path::new("/elsewhere"), OpenMode::CreateNew)),
        ErrorKind::InvalidInput
    );
    held.remove(&dir.join("a")).unwrap();
    held.remove_dir(&dir.join("e")).unwrap();
    assert_eq!(names(&at.fs, at.path("moved")), ["c"]);
    // Paths beside it are resolved from where it is now.
    at.create("beside", b"2");
    assert_eq!(read(&held, at.path("beside")).unwrap(), b"2");
}

fn directory_is_locked_by_any_path(at: &Place) {
    if cfg!(not(unix)) {
        return;
    }
    let dir = at.path("d");
    at.fs.create_dir(&dir).unwrap();
    let one = at.fs.hold_dir(&dir).unwrap().unwrap();
    let other = at.fs.hold_dir(&dir).unwrap().unwrap();
    let guard = one.fs.lock_dir(&dir).unwrap();
    for fs in [&one.fs, &other.fs, &at.fs] {
        assert_eq!(kind(fs.lock_dir(&dir)), ErrorKind::WouldBlock);
    }
    at.fs.rename_dir(&dir, &at.path("moved")).unwrap();
    assert_eq!(kind(at.fs.lock_dir(&at.path("moved"))), ErrorKind::WouldBlock);
    drop(guard);
    drop(other.fs.lock_dir(&dir).unwrap());
    drop(at.fs.lock_dir(&at.path("moved")).unwrap());
}

fn lock_excludes_until_dropped(at: &Place) {
    let path = at.path(".lock");
    let lock = at.fs.lock(&path).unwrap();
    // Also another open file of this very process and thread.
    assert_eq!(kind(at.fs.lock(&path)), ErrorKind::WouldBlock);
    let other = at.fs.lock(&at.path("other.lock")).unwrap();
    drop(lock);
    let again = at.fs.lock(&path).unwrap();
    assert_eq!(kind(at.fs.lock(&path)), ErrorKind::WouldBlock);
    drop((again, other));
    at.fs.lock(&path).unwrap();
}

fn lock_file_keeps_its_bytes(at: &Place) {
    let path = at.path(".lock");
    let lock = at.fs.lock(&path).unwrap();
    lock.file().write_all_at(b"process 1", 0).unwrap();
    lock.file().sync_all().unwrap();
    drop(lock);
    let lock = at.fs.lock(&path).unwrap();
    assert_eq!(lock.file().view(9).unwrap().as_slice(), b"process 1");
}

fn view_has_the_requested_bytes(at: &Place) {
    let file = at.create("a", &[5; 5000]);
    same(&file.view(5000).unwrap(), &[5; 5000]);
    assert_eq!(file.view(4097).unwrap().len(), 4097);
    assert!(file.view(0).unwrap().is_empty());
    assert_eq!(kind(file.view(5001)), ErrorKind::UnexpectedEof);
    assert!(at.create("b", b"").view(0).unwrap().is_empty());
    let reading = at.fs.open(&at.path("a"), OpenMode::ReadOnly).unwrap();
    assert_eq!(&reading.view(2).unwrap()[..], [5; 2]);
}

fn view_outlives_name_and_handle(at: &Place) {
    let file = at.create("a", &[5; 5000]);
    let view = file.view(5000).unwrap();
    drop(file);
    at.fs.remove(&at.path("a")).unwrap();
    same(&view, &[5; 5000]);
}

fn file_and_directory_syncs_succeed(at: &Place) {
    let file = at.create("a", b"1");
    file.sync_data().unwrap();
    file.sync_all().unwrap();
    at.fs.sync_dir(&at.dir).unwrap();
    assert_eq!(at.read("a"), b"1");
}

fn threads_write_beside_each_other(at: &Place) {
    let file = at.create("a", b"");
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let file = &file;
            scope.spawn(move || {
                for round in 0..50_u64 {
                    let position = (round * 4 + u64::from(thread)) * 1000;
                    file.write_all_at(&[thread + 1; 1000], position).unwrap();
                }
            });
        }
    });
    let bytes = at.read("a");
    assert_eq!(bytes.len(), 200_000);
    for (index, byte) in bytes.into_iter().enumerate() {
        assert_eq!(usize::from(byte), index / 1000 % 4 + 1, "at {index}");
    }
}

/// A shared file system is one itself, so a wrapper takes either.
#[test]
fn shared_file_system_delegates() {
    let shared: Arc<dyn Fs> = Arc::new(MemFs::new());
    let fs = FaultFs::new(Arc::clone(&shared));
    fs.open(Path::new("a"), OpenMode::CreateNew).unwrap();
    assert_eq!(names(&shared, "/"), ["a"]);
    assert_eq!(fs.boot_id(), shared.boot_id());
}
