//! A second process, and every way to the same directory. The process is this test program again;
//! variables name the directory to open.

use annals::{Error, Log, LogConfig, Store, StoreConfig, TopicConfig};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::process;
use support::values;

const KIND: &str = "ANNALS_OPENS";
const PATH: &str = "ANNALS_OPENS_PATH";
const SAYS: &str = "outcome: ";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Log,
    Store,
}

/// A way to a directory: the path, and the directory in which it is followed.
#[derive(Debug, Clone)]
struct Way {
    path: PathBuf,
    from: PathBuf,
}

/// The outcome in another process that opens a directory, writes, and ends: `opened`, `locked`, or
/// the error.
fn outcome(kind: Kind, way: &Way) -> String {
    let output = process::child(&child_opens_directory)
        .current_dir(&way.from)
        .env(KIND, format!("{kind:?}"))
        .env(PATH, &way.path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let outcome = said.lines().find_map(|line| line.strip_prefix(SAYS));
    outcome
        .unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)))
        .to_owned()
}

/// A part of the other tests.
#[test]
#[allow(clippy::print_stdout)]
fn child_opens_directory() {
    let (Ok(kind), Some(path)) = (std::env::var(KIND), std::env::var_os(PATH)) else { return };
    let path = Path::new(&path);
    let opened = if kind == "Log" {
        Log::open(path, LogConfig::default()).map(|log| {
            log.append("from another process").unwrap();
            log.close().unwrap();
        })
    } else {
        Store::open(path, quiet()).map(|store| store.close().unwrap())
    };
    let outcome = match opened {
        Ok(()) => "opened".to_owned(),
        Err(Error::Locked { .. }) => "locked".to_owned(),
        Err(error) => format!("{error}"),
    };
    println!("\n{SAYS}{outcome}");
}

fn quiet() -> StoreConfig {
    StoreConfig::default().maintenance(None).recovery_threads(1)
}

/// A directory that is mounted at a second place while this lives.
struct Mount(PathBuf);

impl Mount {
    #[allow(clippy::print_stderr)]
    fn bind(from: &Path, to: &Path) -> Option<Mount> {
        std::fs::create_dir(to).unwrap();
        let done = Command::new("mount").arg("--bind").args([from, to]).output();
        if done.is_ok_and(|done| done.status.success()) {
            return Some(Mount(to.to_owned()));
        }
        eprintln!("SKIPPED: a directory cannot be mounted at a second place here");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().unwrap();
    }
}

/// A directory with a store in it, and all other ways to the store and to its partition.
struct Tree {
    dir: tempfile::TempDir,
    _mounts: [Option<Mount>; 2],
}

impl Tree {
    fn new() -> Tree {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let store = Store::open(at("s"), quiet()).unwrap();
        store.create_topic("t", TopicConfig::default()).unwrap();
        store.close().unwrap();
        std::fs::create_dir(at("links")).unwrap();
        symlink(at("s"), at("to-s")).unwrap();
        symlink(at("s/t-0"), at("link")).unwrap();
        // Named as it is, but in another directory.
        symlink(at("s/t-0"), at("links/t-0")).unwrap();
        let mounts = [("s/t-0", "mounted-0"), ("s", "mounted")];
        let _mounts = mounts.map(|(from, to)| Mount::bind(&at(from), &at(to)));
        Tree { dir, _mounts }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn ways(&self, ways: &[(&str, &str)], mounted: &[&str]) -> Vec<Way> {
        let way = |(path, from): &(&str, &str)| {
            let from = self.at(from);
            let path = if path.starts_with('.') { path.into() } else { self.at(path) };
            Way { path, from }
        };
        let mut all: Vec<Way> = ways.iter().map(way).collect();
        if self._mounts.iter().all(Option::is_some) {
            all.extend(mounted.iter().map(|path| way(&(*path, ""))));
        }
        all
    }

    fn to_log(&self) -> Vec<Way> {
        let ways = [
            ("s/t-0", ""),
            (".", "s/t-0"),
            ("../t-0", "s/t-0"),
            ("./t-0", "s"),
            ("s/t-0/../t-0", ""),
            ("to-s/t-0", ""),
            ("link", ""),
            ("links/t-0", ""),
            (".", "link"),
        ];
        self.ways(&ways, &["mounted-0", "mounted/t-0"])
    }

    fn to_store(&self) -> Vec<Way> {
        self.ways(&[("s", ""), (".", "s"), ("..", "s/t-0"), ("to-s", "")], &["mounted"])
    }

    /// Whether every way to both is locked for another process.
    fn assert_locked(&self, when: &str) {
        let logs = self.to_log().into_iter().map(|way| (Kind::Log, way));
        for (kind, way) in logs.chain(self.to_store().into_iter().map(|way| (Kind::Store, way))) {
            assert_eq!(outcome(kind, &way), "locked", "{when}: {kind:?} by {way:?}");
        }
    }
}

/// First the store, of which a log alone is left, then one of its logs by itself. Each time the
/// lock file is removed, too.
#[test]
fn no_path_admits_second_writer() {
    let tree = Tree::new();
    let store = Store::open(tree.at("s"), quiet()).unwrap();
    let log = store.topic("t").unwrap().partition(0).unwrap();
    drop(store);
    log.append("0").unwrap();
    tree.assert_locked("a log of a store lives");
    std::fs::remove_file(tree.at("s/.lock")).unwrap();
    tree.assert_locked("the lock file is removed");
    log.append("1").unwrap();
    assert_eq!(values(&log), ["0", "1"]);
    drop(log);

    for path in ["s/t-0", "link"] {
        let log = Log::open(tree.at(path), LogConfig::default()).unwrap();
        assert_eq!(values(&log), ["0", "1"]);
        tree.assert_locked("a log is open by itself");
        for lock in ["s/.lock", "s/t-0/.lock"] {
            std::fs::remove_file(tree.at(lock)).ok();
        }
        tree.assert_locked("the lock file of a log by itself is removed");
        log.close().unwrap();
    }
    for way in tree.to_store() {
        assert_eq!(outcome(Kind::Store, &way), "opened", "{way:?}");
    }
    for way in tree.to_log() {
        // Mounted alone it does not see where its store says that it starts, or what was lost.
        if way.path.ends_with("mounted-0") {
            assert!(outcome(Kind::Log, &way).contains("mounted without"), "{way:?}");
        } else {
            assert_eq!(outcome(Kind::Log, &way), "opened", "{way:?}");
        }
    }
}

/// A log that is in no store has the same protection.
#[test]
fn no_path_admits_second_log_writer() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let log = Log::open(at("plain"), LogConfig::default()).unwrap();
    symlink(at("plain"), at("link")).unwrap();
    let _mount = Mount::bind(&at("plain"), &at("mounted"));
    std::fs::remove_file(at("plain/.lock")).unwrap();
    log.append("0").unwrap();
    let mut names = vec!["plain", "link"];
    if _mount.is_some() {
        names.push("mounted");
    }
    let way = |name: &str| Way { path: at(name), from: at("") };
    for name in &names {
        assert_eq!(outcome(Kind::Log, &way(name)), "locked", "{name}");
    }
    drop(log);
    for name in &names {
        assert_eq!(outcome(Kind::Log, &way(name)), "opened", "{name}");
    }
    assert_eq!(
        values(&Log::open(at("link"), LogConfig::default()).unwrap()).len(),
        1 + names.len()
    );
}

/// Two processes that each drop the store and keep a log once lost 371 of 400 flushed records.
#[test]
fn store_unlocks_when_last_log_dropped() {
    let tree = Tree::new();
    let store = Store::open(tree.at("s"), quiet()).unwrap();
    let reader = store.topic("t").unwrap().partition(0).unwrap().reader(0).unwrap();
    drop(store);
    let way = &tree.to_store()[0];
    assert_eq!(outcome(Kind::Store, way), "locked");
    drop(reader);
    assert_eq!(outcome(Kind::Store, way), "opened");
}

/// The name of an open directory is moved, and another directory put in its place.
#[test]
fn writer_follows_moved_directory() {
    let tree = Tree::new();
    let store = Store::open(tree.at("s"), quiet()).unwrap();
    let log = store.topic("t").unwrap().partition(0).unwrap();
    log.append("0").unwrap();
    let rename = |from: &str, to: &str| std::fs::rename(tree.at(from), tree.at(to)).unwrap();
    rename("s", "away");
    std::fs::create_dir(tree.at("s")).unwrap();
    let here = |path: &str| Way { path: tree.at(path), from: tree.at("") };
    assert_eq!(outcome(Kind::Log, &here("s/t-0")), "opened");
    let files = |dir: &str| std::fs::read_dir(tree.at(dir)).unwrap().count();
    let before = files("s/t-0");
    log.append("1").unwrap();
    log.roll().unwrap();
    log.append("2").unwrap();
    log.flush().unwrap();
    assert_eq!(outcome(Kind::Log, &here("away/t-0")), "locked");
    assert_eq!(outcome(Kind::Store, &here("away")), "locked");
    store.create_topic("u", TopicConfig::default()).unwrap();
    store.close().unwrap();
    assert_eq!(files("s/t-0"), before);
    let store = Store::open(tree.at("away"), quiet()).unwrap();
    assert_eq!(values(&store.topic("t").unwrap().partition(0).unwrap()), ["0", "1", "2"]);
    assert!(store.topic("u").is_ok());
}
