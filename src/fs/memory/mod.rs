//! A file system in memory that simulates power loss.
//!
//! A real disk has two states: the content that programs see, and the durable content. They differ
//! by everything that was written and not yet synced, and a power loss keeps any part of that.
//! [`MemFs`] keeps both states. [`MemFs::crash`] returns, as a new file system, one disk that a
//! power loss could leave; the original is not changed.
//!
//! ```text
//!             write_at, set_len             open, rename, remove
//!                    |                               |
//!   live:     bytes and length                 names of a directory
//!                    |                               |
//!                    | sync_data                     | sync_dir
//!                    v                               v
//!   synced:   bytes and length                 names of a directory
//! ```
//!
//! The two columns are independent, and most crash bugs come from that: a power loss also loses
//! the synced bytes of a file whose *name* was never synced.

mod capacity;
mod content;
mod copies;
mod crash;
mod file;
mod held;
mod node;
mod operations;
mod tree;

use self::capacity::Capacity;
use self::content::Content;
use self::copies::Copies;
use self::crash::CrashRng;
use self::tree::{Change, DirId, Node, Tree};
use crate::sync::{Mutex, RwLock};
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The part of the unsynced writes that survives a power loss. Synced writes always survive.
/// [`MemFs`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CrashState {
    /// No unsynced write survives: every file and every directory is as it was last synced.
    SyncedOnly,
    /// All unsynced writes survive.
    AllWrites,
    /// A part survives, chosen by the seed. The same seed on the same file system chooses the same
    /// part.
    ///
    /// Every block of 4 KiB, and in some crashes every sector of 512 bytes, has its synced or its
    /// newest version. The length of a file is one that it had since its last sync, or one between
    /// two sectors. So a file may be shorter than its data, or longer: then zeros stand for the
    /// missing data. A name that was created, replaced or removed is in a state it had at some
    /// moment since its directory was synced, and a rename happened as a whole or not at all.
    Random {
        /// The seed. Try many.
        seed: u64,
    },
}

/// A file system in memory. Clones share it.
///
/// It behaves like a POSIX file system: names and bytes are synced separately, a removed file
/// stays readable through its handles, and a rename replaces a file in one step. Paths start at a
/// root that always exists, with or without a leading `/`. There are no links.
/// [`Fs::create_dir`](super::Fs::create_dir) makes the names of new directories durable at once,
/// as [`DiskFs`](super::DiskFs) does.
///
/// ```
/// use annals::fs::{CrashState, File, Fs, MemFs, OpenMode};
/// use std::path::Path;
///
/// # fn main() -> std::io::Result<()> {
/// let fs = MemFs::new();
/// let file = fs.open(Path::new("/log"), OpenMode::CreateNew)?;
/// fs.sync_dir(Path::new("/"))?;
/// file.write_all_at(b"synced", 0)?;
/// file.sync_data()?;
/// file.write_all_at(b", not synced", 6)?;
///
/// let disk = fs.crash(CrashState::SyncedOnly);
/// let left = disk.open(Path::new("/log"), OpenMode::ReadOnly)?;
/// assert_eq!(left.view(left.len()?)?.as_slice(), b"synced");
/// assert_ne!(disk.boot_id(), fs.boot_id());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemFs {
    device: Arc<Device>,
    /// The directory at which paths begin, if that is not the root.
    held: Option<Arc<held::Held>>,
}

/// The state that all clones and open files share.
struct Device {
    /// Held for reading while a file changes. A crash holds it for writing, so that it sees all
    /// files at one moment.
    tree: RwLock<Tree>,
    capacity: Capacity,
    boot: u64,
    /// Leaf lock: the directories that are locked themselves.
    locked: Mutex<BTreeSet<DirId>>,
}

impl MemFs {
    /// Creates an empty file system without a limit.
    #[must_use]
    pub fn new() -> MemFs {
        MemFs::with_capacity(u64::MAX)
    }

    /// Creates an empty file system on a device of this size, of which whole blocks of 4 KiB are
    /// usable.
    ///
    /// Every block that is written or allocated takes room, and releases it when it is truncated,
    /// or its file is removed and closed. Extending a file with
    /// [`File::set_len`](super::File::set_len) takes no room, and neither do names:
    /// [`set_file_limit`](MemFs::set_file_limit) limits those. A write that finds too little room
    /// writes the part that fits and returns its length, as a disk does. The next write fails with
    /// `StorageFull`.
    ///
    /// ```
    /// use annals::fs::{File, Fs, MemFs, OpenMode};
    /// use std::io::ErrorKind::StorageFull;
    /// use std::path::Path;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let fs = MemFs::with_capacity(4096);
    /// let file = fs.open(Path::new("/log"), OpenMode::CreateNew)?;
    /// assert_eq!(file.write_at(&[1; 5000], 0)?, 4096);
    /// assert_eq!(file.write_at(&[1; 904], 4096).unwrap_err().kind(), StorageFull);
    /// fs.set_capacity(8192);
    /// assert_eq!(file.write_at(&[1; 904], 4096)?, 904);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_capacity(bytes: u64) -> MemFs {
        MemFs::build(Tree::new(), Capacity::new(bytes), 1)
    }

    fn build(tree: Tree, capacity: Capacity, boot: u64) -> MemFs {
        let (tree, locked) = (RwLock::new(tree), Mutex::default());
        MemFs { device: Arc::new(Device { tree, capacity, boot, locked }), held: None }
    }

    /// Makes the device larger or smaller. If it becomes smaller than its content, nothing is
    /// lost, but nothing new can be written.
    pub fn set_capacity(&self, bytes: u64) {
        self.device.capacity.set_capacity(bytes);
    }

    /// Limits the number of files and directories, as the inodes of a file system do. By default
    /// there is no limit.
    ///
    /// A file counts until its last name is removed and its last handle is closed. The root does
    /// not count. At the limit, [`OpenMode::CreateNew`](super::OpenMode::CreateNew),
    /// [`Fs::create_dir`](super::Fs::create_dir) and the [lock](super::Fs::lock) of a new file
    /// fail with `StorageFull`. A limit below the present number removes nothing.
    ///
    /// ```
    /// use annals::fs::{Fs, MemFs, OpenMode};
    /// use std::io::ErrorKind::StorageFull;
    /// use std::path::Path;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let fs = MemFs::new();
    /// fs.set_file_limit(1);
    /// fs.open(Path::new("/a"), OpenMode::CreateNew)?;
    /// assert_eq!(fs.open(Path::new("/b"), OpenMode::CreateNew).unwrap_err().kind(), StorageFull);
    /// fs.remove(Path::new("/a"))?;
    /// assert_eq!(fs.file_count(), 0);
    /// fs.open(Path::new("/b"), OpenMode::CreateNew)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_file_limit(&self, files: u64) {
        self.device.capacity.set_most_files(files);
    }

    /// Returns the number of files and directories, as [`set_file_limit`](MemFs::set_file_limit)
    /// counts them.
    #[must_use]
    pub fn file_count(&self) -> u64 {
        self.device.capacity.files()
    }

    /// Returns the room that is taken, in bytes: a multiple of 4096.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.device.capacity.used_bytes()
    }

    /// Returns a disk that a power loss at this moment could leave. The original is not changed.
    ///
    /// On the new file system everything is synced, no lock is held, no handle is open, and the
    /// [`boot_id`](super::Fs::boot_id) is the next one. The call costs one reference for each
    /// file, and time only for unsynced writes, so you can crash after each call.
    #[must_use]
    pub fn crash(&self, how: CrashState) -> MemFs {
        let tree = self.device.tree.write();
        let mut rng = CrashRng::new(if let CrashState::Random { seed } = how { seed } else { 0 });
        let names = match how {
            CrashState::SyncedOnly => tree.synced.clone(),
            CrashState::AllWrites => tree.live.clone(),
            CrashState::Random { .. } => tree.survivor(&mut rng),
        };
        let mut copies =
            Copies::new(Capacity::like(&self.device.capacity), |content: &Content| match how {
                CrashState::SyncedOnly => content.synced(),
                CrashState::AllWrites => content.everything(),
                CrashState::Random { .. } => content.survivor(&mut rng),
            });
        let names = copies.names(&names);
        MemFs::build(Tree::settled(names), copies.capacity, self.device.boot.saturating_add(1))
    }

    /// Returns the disk as a new process finds it after this process was killed without a power
    /// loss. The original is not changed.
    ///
    /// Everything that was written exists, and unsynced writes are still unsynced: a
    /// [`crash`](MemFs::crash) of the copy may lose them. Locks and handles are gone, and the
    /// [`boot_id`](super::Fs::boot_id) stays.
    ///
    /// ```
    /// use annals::fs::{Fs, MemFs, OpenMode, CrashState};
    /// use std::path::Path;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let fs = MemFs::new();
    /// fs.open(Path::new("/log"), OpenMode::CreateNew)?;
    ///
    /// let killed = fs.kill();
    /// assert_eq!(killed.boot_id(), fs.boot_id());
    /// assert_eq!(killed.list(Path::new("/"))?.len(), 1);
    /// assert_eq!(killed.crash(CrashState::SyncedOnly).list(Path::new("/"))?.len(), 0);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn kill(&self) -> MemFs {
        let tree = self.device.tree.write();
        let mut copies = Copies::new(Capacity::like(&self.device.capacity), Content::clone);
        // The live names come first: only their files take room.
        let live = copies.names(&tree.live);
        copies.holders = 0;
        let synced = copies.names(&tree.synced);
        let pending = tree.pending.iter().map(|change| match change {
            Change::Link { at, node } => Change::Link { at: at.clone(), node: copies.node(node) },
            other => other.clone(),
        });
        let pending = pending.collect();
        MemFs::build(Tree { live, synced, pending }, copies.capacity, self.device.boot)
    }

    /// Returns the files whose bytes and the directories whose names a power loss could change
    /// now, in order. The list is empty if everything is synced.
    #[must_use]
    pub fn unsynced(&self) -> Vec<PathBuf> {
        let tree = self.device.tree.write();
        let mut paths = Vec::new();
        tree.walk(|path, node| {
            let synced = match node {
                Node::File(file) => file.lock().content.is_synced(),
                Node::Dir(dir) => tree.is_synced(*dir),
            };
            if !synced {
                paths.push(path.to_owned());
            }
        });
        paths
    }
}

impl Default for MemFs {
    fn default() -> MemFs {
        MemFs::new()
    }
}

impl fmt::Debug for MemFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemFs")
            .field("boot", &self.device.boot)
            .field("used_bytes", &self.used_bytes())
            .finish_non_exhaustive()
    }
}
