//! The state that a power failure leaves, against a model that knows nothing of blocks or
//! journals.

use crate::read;
use annals::fs::{CrashState, File, Fs, MemFs, OpenMode};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use support::names;

const SECTOR: usize = 512;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn root() -> &'static Path {
    Path::new("/")
}

fn create(fs: &MemFs, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = fs.open(Path::new(path), OpenMode::CreateNew).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

fn some(seed: u64) -> CrashState {
    CrashState::Random { seed }
}

#[derive(Debug, Clone)]
enum Step {
    Create(usize),
    Write { file: usize, at: usize, len: usize, byte: u8 },
    SetLen { file: usize, len: usize },
    Allocate { file: usize, len: usize },
    SyncData(usize),
    Rename(usize, usize),
    Remove(usize),
    SyncDir,
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    let len = prop_oneof![0..300_usize, 0..20_000_usize, Just(512), Just(4096), Just(8192)];
    prop_oneof![
        3 => name.clone().prop_map(Step::Create),
        6 => (name.clone(), len.clone(), len.clone(), 1..=255_u8)
            .prop_map(|(file, at, len, byte)| Step::Write { file, at, len, byte }),
        2 => (name.clone(), len.clone()).prop_map(|(file, len)| Step::SetLen { file, len }),
        1 => (name.clone(), len).prop_map(|(file, len)| Step::Allocate { file, len }),
        3 => name.clone().prop_map(Step::SyncData),
        2 => (name.clone(), name.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => name.prop_map(Step::Remove),
        2 => Just(Step::SyncDir),
    ]
}

/// A file of the model: every byte, twice.
#[derive(Debug, Clone, Default)]
struct ModelFile {
    live: Vec<u8>,
    synced: Vec<u8>,
    /// The lengths since the last sync.
    lengths: BTreeSet<usize>,
    /// The bytes that are synced and were not touched since.
    stable: Vec<bool>,
}

impl ModelFile {
    fn resize(&mut self, len: usize) {
        for index in len..self.live.len() {
            self.touch(index);
        }
        self.live.resize(len, 0);
        self.lengths.insert(len);
    }

    fn touch(&mut self, index: usize) {
        if let Some(stable) = self.stable.get_mut(index) {
            *stable = false;
        }
    }

    fn sync(&mut self) {
        self.synced.clone_from(&self.live);
        self.stable = vec![true; self.live.len()];
        self.lengths = BTreeSet::from([self.live.len()]);
    }
}

/// One directory of the model: which file has which name.
#[derive(Debug, Default)]
struct Model {
    files: Vec<ModelFile>,
    live: BTreeMap<&'static str, usize>,
    synced: BTreeMap<&'static str, usize>,
    /// The files that each name has had since the last sync of the directory.
    been: BTreeMap<&'static str, BTreeSet<Option<usize>>>,
    /// Files that lost a name otherwise than by a rename since then.
    dropped: BTreeSet<usize>,
}

impl Model {
    fn link(&mut self, name: &'static str, file: Option<usize>) {
        let old = match file {
            Some(file) => self.live.insert(name, file),
            None => self.live.remove(name),
        };
        self.been.entry(name).or_default().extend([old, file]);
    }

    fn file(&mut self, name: usize) -> Option<&mut ModelFile> {
        let file = *self.live.get(NAMES[name])?;
        self.files.get_mut(file)
    }

    /// Takes a step here and there.
    fn take(&mut self, step: &Step, fs: &MemFs) {
        let open = |name: usize| fs.open(Path::new(NAMES[name]), OpenMode::ReadWrite).ok();
        match *step {
            Step::Create(name) => {
                if fs.open(Path::new(NAMES[name]), OpenMode::CreateNew).is_ok() {
                    self.files
                        .push(ModelFile { lengths: BTreeSet::from([0]), ..ModelFile::default() });
                    self.link(NAMES[name], Some(self.files.len() - 1));
                }
            }
            Step::Write { file, at, len, byte } => {
                let Some(handle) = open(file) else { return };
                handle.write_all_at(&vec![byte; len], at as u64).unwrap();
                let file = self.file(file).unwrap();
                if len > 0 && at + len > file.live.len() {
                    file.resize(at + len);
                }
                for index in at..at + len {
                    file.live[index] = byte;
                    file.touch(index);
                }
            }
            Step::SetLen { file, len } => {
                let Some(handle) = open(file) else { return };
                handle.set_len(len as u64).unwrap();
                self.file(file).unwrap().resize(len);
            }
            Step::Allocate { file, len } => {
                let Some(handle) = open(file) else { return };
                handle.allocate(len as u64).unwrap();
                let file = self.file(file).unwrap();
                if len > file.live.len() {
                    file.resize(len);
                }
            }
            Step::SyncData(file) => {
                let Some(handle) = open(file) else { return };
                handle.sync_data().unwrap();
                self.file(file).unwrap().sync();
            }
            Step::Rename(from, to) => {
                if fs.rename(Path::new(NAMES[from]), Path::new(NAMES[to])).is_ok() && from != to {
                    let file = self.live[NAMES[from]];
                    self.dropped.extend(self.live.get(NAMES[to]));
                    self.link(NAMES[from], None);
                    self.link(NAMES[to], Some(file));
                }
            }
            Step::Remove(name) => {
                if fs.remove(Path::new(NAMES[name])).is_ok() {
                    self.dropped.extend(self.live.get(NAMES[name]));
                    self.link(NAMES[name], None);
                }
            }
            Step::SyncDir => {
                fs.sync_dir(root()).unwrap();
                self.synced = self.live.clone();
                self.been.clear();
                self.dropped.clear();
            }
        }
    }

    /// Which files could be at a name after a crash.
    fn candidates(&self, name: &'static str) -> BTreeSet<Option<usize>> {
        let mut candidates = self.been.get(name).cloned().unwrap_or_default();
        candidates.insert(self.synced.get(name).copied());
        candidates
    }
}

impl ModelFile {
    /// Whether a crash may leave these bytes of this file.
    fn explains(&self, bytes: &[u8]) -> Result<(), String> {
        let len = bytes.len();
        let torn =
            len.is_multiple_of(SECTOR) && (self.synced.len()..self.live.len()).contains(&len);
        if !torn && len != self.synced.len() && !self.lengths.contains(&len) {
            return Err(format!("it never was {len} bytes long"));
        }
        let byte = |version: &[u8], index| version.get(index).copied().unwrap_or(0);
        for (number, sector) in bytes.chunks(SECTOR).enumerate() {
            let start = number * SECTOR;
            let is =
                |version: &[u8]| (0..sector.len()).all(|i| sector[i] == byte(version, start + i));
            if !is(&self.synced) && !is(&self.live) {
                return Err(format!("sector {number} is neither the old nor the new one"));
            }
        }
        for (index, _) in self.stable.iter().enumerate().filter(|(_, stable)| **stable) {
            if bytes.get(index) != Some(&self.synced[index]) {
                return Err(format!("the synced byte {index} is lost"));
            }
        }
        Ok(())
    }
}

fn check_some(model: &Model, disk: &MemFs) -> Result<(), TestCaseError> {
    let present = names(disk, "/");
    let mut found = BTreeSet::new();
    for name in NAMES {
        let candidates = model.candidates(name);
        if !present.iter().any(|present| present == name) {
            prop_assert!(candidates.contains(&None), "{name} never was missing");
            continue;
        }
        let bytes = read(disk, name).unwrap();
        let files = candidates.into_iter().flatten();
        let why: Vec<_> = files
            .filter_map(|file| match model.files[file].explains(&bytes) {
                Ok(()) => {
                    found.insert(file);
                    None
                }
                Err(why) => Some((file, why)),
            })
            .collect();
        let explained = model.candidates(name).into_iter().flatten().count() > why.len();
        prop_assert!(explained, "nothing explains {name}: {why:?}");
    }
    for file in model.synced.values() {
        let kept = found.contains(file) || model.dropped.contains(file);
        prop_assert!(kept, "file {file} had a synced name, was not removed, and has none");
    }
    prop_assert!(disk.unsynced().is_empty());
    // No old bytes wait beyond the end of a file.
    for name in present {
        let file = disk.open(Path::new(&name), OpenMode::ReadWrite).unwrap();
        let len = file.len().unwrap();
        file.set_len(len + 50_000).unwrap();
        let mut gap = vec![1; 50_000];
        file.read_exact_at(&mut gap, len).unwrap();
        prop_assert!(gap.iter().all(|byte| *byte == 0), "{name} has bytes past {len}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn crashed_disks_are_all_explained(
        steps in prop::collection::vec(step(), 1..40),
        seed in any::<u64>(),
    ) {
        let (fs, mut model) = (MemFs::new(), Model::default());
        for (number, step) in steps.iter().enumerate() {
            model.take(step, &fs);

            let disk = fs.crash(CrashState::SyncedOnly);
            let expected: Vec<_> = model.synced.keys().copied().collect();
            prop_assert_eq!(names(&disk, "/"), expected);
            for (name, file) in &model.synced {
                prop_assert_eq!(&read(&disk, name).unwrap(), &model.files[*file].synced);
            }

            check_some(&model, &fs.crash(some(seed.wrapping_add(number as u64))))?;
        }
        for disk in [&fs, &fs.kill(), &fs.crash(CrashState::AllWrites)] {
            let expected: Vec<_> = model.live.keys().copied().collect();
            prop_assert_eq!(names(disk, "/"), expected);
            for (name, file) in &model.live {
                prop_assert_eq!(&read(disk, name).unwrap(), &model.files[*file].live);
            }
        }
        // The crash of a killed process's disk is like one of the disk itself.
        let (one, other) = (fs.crash(some(seed)), fs.kill().crash(some(seed)));
        prop_assert_eq!(names(&one, "/"), names(&other, "/"));
        for name in names(&one, "/") {
            prop_assert_eq!(read(&one, &name).unwrap(), read(&other, &name).unwrap());
        }
    }
}

#[test]
fn synced_bytes_vanish_without_synced_name() {
    let fs = MemFs::new();
    create(&fs, "a", b"1").sync_all().unwrap();
    assert_eq!(names(&fs.crash(CrashState::SyncedOnly), "/"), [""; 0]);
    fs.sync_dir(root()).unwrap();
    assert_eq!(read(&fs.crash(CrashState::SyncedOnly), "a").unwrap(), b"1");
}

#[test]
fn file_is_empty_without_synced_bytes() {
    let fs = MemFs::new();
    let file = create(&fs, "a", b"1");
    fs.sync_dir(root()).unwrap();
    assert_eq!(read(&fs.crash(CrashState::SyncedOnly), "a").unwrap(), b"");
    drop(file);
    assert_eq!(read(&fs.crash(CrashState::AllWrites), "a").unwrap(), b"1");
}

#[test]
fn original_disk_continues_after_crash() {
    let fs = MemFs::new();
    let file = create(&fs, "a", b"1");
    let disk = fs.crash(CrashState::AllWrites);
    file.write_all_at(b"2", 1).unwrap();
    let other = disk.open(Path::new("a"), OpenMode::ReadWrite).unwrap();
    other.write_all_at(b"3", 0).unwrap();
    assert_eq!(read(&fs, "a").unwrap(), b"12");
    assert_eq!(read(&disk, "a").unwrap(), b"3");
    // The new disk has a life, and crashes, of its own.
    assert_eq!(read(&disk.crash(CrashState::SyncedOnly), "a").unwrap(), b"1");
    assert_eq!(disk.boot_id().as_deref(), Some("boot-2"));
    assert_eq!(disk.crash(CrashState::AllWrites).boot_id().as_deref(), Some("boot-3"));
}

#[test]
fn crash_releases_locks() {
    let fs = MemFs::new();
    let _lock = fs.lock(Path::new("lock")).unwrap();
    fs.crash(CrashState::AllWrites).lock(Path::new("lock")).unwrap();
    assert!(fs.lock(Path::new("lock")).is_err());
}

#[test]
fn seed_determines_crashed_disk() {
    let fs = MemFs::new();
    for name in ["a", "b", "c"] {
        create(&fs, name, &[1; 10_000]);
    }
    let image = |seed| {
        let disk = fs.crash(some(seed));
        let names = names(&disk, "/");
        names.into_iter().map(|name| (read(&disk, &name).unwrap(), name)).collect::<Vec<_>>()
    };
    let images: BTreeSet<_> = (0..200).map(image).collect();
    assert!(images.len() > 100, "{}", images.len());
    assert!((0..200).all(|seed| image(seed) == image(seed)));
}

#[test]
fn rename_is_atomic_across_crash() {
    let fs = MemFs::new();
    for (name, bytes) in [("a", b"old"), ("b", b"new")] {
        create(&fs, name, bytes).sync_all().unwrap();
    }
    fs.sync_dir(root()).unwrap();
    fs.rename(Path::new("b"), Path::new("a")).unwrap();
    create(&fs, "b", b"next").sync_all().unwrap(); // whose name forces the rename
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let disk = fs.crash(some(seed));
        seen.insert((read(&disk, "a").unwrap(), read(&disk, "b").ok()));
    }
    let state = |a: &[u8], b: Option<&[u8]>| (a.to_vec(), b.map(<[u8]>::to_vec));
    let expected = [state(b"new", None), state(b"new", Some(b"next")), state(b"old", Some(b"new"))];
    assert_eq!(seen, BTreeSet::from(expected));
}

#[test]
fn removed_file_returns_until_directory_synced() {
    let fs = MemFs::new();
    create(&fs, "a", b"1").sync_all().unwrap();
    fs.sync_dir(root()).unwrap();
    fs.remove(Path::new("a")).unwrap();
    let there: BTreeSet<_> = (0..100).map(|seed| read(&fs.crash(some(seed)), "a").ok()).collect();
    assert_eq!(there, BTreeSet::from([None, Some(b"1".to_vec())]));
    fs.sync_dir(root()).unwrap();
    assert!((0..100).all(|seed| read(&fs.crash(some(seed)), "a").is_err()));
}

#[test]
fn append_tears_in_every_way() {
    let fs = MemFs::new();
    let file = create(&fs, "a", &[1; 1000]);
    file.sync_all().unwrap();
    fs.sync_dir(root()).unwrap();
    file.write_all_at(&[2; 1000], 1000).unwrap();
    file.write_all_at(&[2; 6000], 2000).unwrap();

    let images: Vec<_> = (0..500).map(|seed| read(&fs.crash(some(seed)), "a").unwrap()).collect();
    let live = [vec![1; 1000], vec![2; 7000]].concat();
    assert!(images.iter().all(|image| image.starts_with(&[1; 1000])));
    let any = |what: &str, test: &dyn Fn(&[u8]) -> bool| {
        assert!(images.iter().any(|image| test(image)), "{what}");
    };
    any("nothing", &|image| image == [1; 1000]);
    any("everything", &|image| image == live);
    any("the first append only", &|image| image == &live[..2000]);
    any("a cut between sectors", &|image| image.len() % 512 == 0 && image == &live[..image.len()]);
    any("length without data", &|image| {
        image.len() == 8000 && image[1000..].iter().all(|b| *b == 0)
    });
    any("the end without what is before it", &|image| {
        image.len() == 8000 && image[4095] == 0 && image[7999] == 2
    });
    any("a torn block", &|image| image.len() == 8000 && image[4096] == 0 && image[7999] == 2);
}

#[test]
fn directory_name_needs_sync_of_parent() {
    let fs = MemFs::new();
    fs.create_dir(Path::new("d/e")).unwrap();
    create(&fs, "d/e/a", b"1").sync_all().unwrap();
    let disk = fs.crash(CrashState::SyncedOnly);
    assert_eq!(names(&disk, "/d"), ["e"]);
    assert_eq!(names(&disk, "/d/e"), [""; 0]);
    fs.sync_dir(Path::new("d")).unwrap(); // not the one that matters
    assert_eq!(names(&fs.crash(CrashState::SyncedOnly), "/d/e"), [""; 0]);
    fs.sync_dir(Path::new("d/e")).unwrap();
    assert_eq!(names(&fs.crash(CrashState::SyncedOnly), "/d/e"), ["a"]);
    // A disk can take new directories beside those it was found with.
    let disk = fs.crash(CrashState::SyncedOnly);
    disk.create_dir(Path::new("d/f")).unwrap();
    create(&disk, "d/f/b", b"");
    assert_eq!((names(&disk, "/d/e"), names(&disk, "/d/f")), (vec!["a".into()], vec!["b".into()]));
}

#[test]
fn cross_rename_is_durable_with_either() {
    for synced in ["d", "e"] {
        let fs = MemFs::new();
        fs.create_dir(Path::new("d")).unwrap();
        fs.create_dir(Path::new("e")).unwrap();
        create(&fs, "e/a", b"replaced"); // a change of `e` that has to come first
        create(&fs, "d/a", b"1").sync_all().unwrap();
        fs.rename(Path::new("d/a"), Path::new("e/a")).unwrap();
        assert_eq!(names(&fs.crash(CrashState::SyncedOnly), synced), [""; 0]);
        fs.sync_dir(Path::new(synced)).unwrap();
        assert_eq!(fs.unsynced(), [""; 0].map(Into::<std::path::PathBuf>::into));
        for disk in [fs.crash(CrashState::SyncedOnly), fs.crash(some(1))] {
            assert_eq!(names(&disk, "d"), [""; 0]);
            assert_eq!(read(&disk, "e/a").unwrap(), b"1");
        }
    }
}

#[test]
fn thousands_of_crashes_are_cheap() {
    let fs = MemFs::new();
    let file = create(&fs, "a", &vec![1; 1 << 20]);
    file.sync_all().unwrap();
    fs.sync_dir(root()).unwrap();
    for round in 0..10_000 {
        file.write_all_at(&[2; 100], (1 << 20) + round * 100).unwrap();
        if round % 50 == 0 {
            file.sync_data().unwrap();
        }
        let disk = fs.crash(some(round));
        assert!(disk.open(Path::new("a"), OpenMode::ReadOnly).unwrap().len().unwrap() >= 1 << 20);
    }
}

#[test]
fn changes_keep_order_across_directory_syncs() {
    let fs = MemFs::new();
    fs.create_dir(Path::new("d")).unwrap();
    fs.create_dir(Path::new("e")).unwrap();
    create(&fs, "e/a", b"1");
    create(&fs, "d/a", b"1");
    fs.rename(Path::new("e/a"), Path::new("e/b")).unwrap();
    fs.sync_dir(Path::new("d")).unwrap();
    fs.sync_dir(Path::new("e")).unwrap();
    assert_eq!(names(&fs.crash(CrashState::SyncedOnly), "e"), ["b"]);
}

/// A thread that sees one sync end and then syncs something else never finds the second without
/// the first.
#[test]
fn crash_is_one_moment() {
    let fs = MemFs::new();
    let (a, b) = (create(&fs, "a", &[0; 8]), create(&fs, "b", &[0; 8]));
    a.sync_all().unwrap();
    b.sync_all().unwrap();
    fs.sync_dir(root()).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 1..20_000_u64 {
                for file in [&a, &b] {
                    file.write_all_at(&round.to_be_bytes(), 0).unwrap();
                    file.sync_data().unwrap();
                }
            }
        });
        while !writer.is_finished() {
            let disk = fs.crash(CrashState::SyncedOnly);
            assert!(read(&disk, "a").unwrap() >= read(&disk, "b").unwrap());
        }
    });
}
