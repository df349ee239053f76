//! Things that only a real disk has: links, pipes, sockets, a working directory.

use annals::fs::{DiskFs, Fs, OpenMode};

#[test]
fn relative_directory_is_created() {
    let dir = tempfile::tempdir_in(".").unwrap();
    let relative = std::path::Path::new(dir.path().file_name().unwrap()).join("a/b");
    DiskFs.create_dir(&relative).unwrap();
    assert!(relative.is_dir());
}

#[test]
fn allocated_file_can_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = DiskFs.open(&dir.path().join("a"), OpenMode::CreateNew).unwrap();
    file.allocate(1 << 20).unwrap();
    file.write_all_at(b"end", (1 << 20) - 3).unwrap();
    assert_eq!(file.len().unwrap(), 1 << 20);
}

#[cfg(target_os = "linux")]
#[test]
fn boot_id_is_stable() {
    let id = DiskFs.boot_id();
    assert_eq!(id, DiskFs.boot_id());
    assert!(id.is_none_or(|id| id.len() == 36 && id.trim() == id));
}

#[cfg(unix)]
mod unix {
    use crate::{kind, read};
    use annals::fs::{DiskFs, EntryKind, Fs, OpenMode};
    use std::io::ErrorKind;
    use std::os::unix::fs::symlink;

    #[test]
    fn link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, b"secret").unwrap();
        symlink(&file, &link).unwrap();

        for how in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
            assert_eq!(kind(DiskFs.open(&link, how)), ErrorKind::InvalidInput);
        }
        assert_eq!(kind(DiskFs.open(&link, OpenMode::CreateNew)), ErrorKind::AlreadyExists);
        assert_eq!(kind(DiskFs.lock(&link)), ErrorKind::InvalidInput);

        let entries = DiskFs.list(dir.path()).unwrap();
        let entry = entries.iter().find(|entry| entry.name == "link").unwrap();
        assert_eq!((entry.kind, entry.len), (EntryKind::Other, 0));

        // Removing a link, or renaming over it, leaves what it points to.
        DiskFs.remove(&link).unwrap();
        symlink(&file, &link).unwrap();
        DiskFs.open(&dir.path().join("new"), OpenMode::CreateNew).unwrap();
        DiskFs.rename(&dir.path().join("new"), &link).unwrap();
        assert_eq!(read(&DiskFs, &file).unwrap(), b"secret");
        assert_eq!(read(&DiskFs, &link).unwrap(), b"");
    }

    #[test]
    fn dangling_link_creates_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        symlink(&target, &link).unwrap();
        assert_eq!(kind(DiskFs.lock(&link)), ErrorKind::InvalidInput);
        assert_eq!(kind(DiskFs.open(&link, OpenMode::CreateNew)), ErrorKind::AlreadyExists);
        assert!(!target.exists());
    }

    #[test]
    fn links_above_the_file_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        symlink(dir.path().join("real"), dir.path().join("link")).unwrap();
        let through = dir.path().join("link/a");
        DiskFs.open(&through, OpenMode::CreateNew).unwrap().write_all_at(b"1", 0).unwrap();
        DiskFs.sync_dir(&dir.path().join("link")).unwrap();
        assert_eq!(read(&DiskFs, dir.path().join("real/a")).unwrap(), b"1");
    }

    #[test]
    fn open_rejects_what_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        for how in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
            assert_eq!(kind(DiskFs.open(&path, how)), ErrorKind::InvalidInput);
        }
        DiskFs.remove(&path).unwrap();
        // A pipe without a writer must not block the reader. Skipped where there is no `mkfifo`.
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        if made.is_ok_and(|status| status.success()) {
            assert_eq!(kind(DiskFs.open(&pipe, OpenMode::ReadOnly)), ErrorKind::InvalidInput);
            assert_eq!(DiskFs.list(dir.path()).unwrap()[0].kind, EntryKind::Other);
        }
    }
}
