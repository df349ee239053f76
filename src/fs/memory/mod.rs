//! A file system in memory that knows what a loss of power would take.
//!
//! A real disk has two states: the content that programs see, and the durable content. They
//! differ by everything that was written and not yet synced, and a loss of power keeps any
//! part of that. [`MemFs`] keeps both states, so a test need not pull a plug:
//! [`MemFs::crash`] returns, as a file system of its own, one disk that could be found after
//! the power came back, while the original goes on undisturbed.
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
//! The two columns are independent, and most crash bugs come from that: the synced bytes of a
//! file whose *name* was never synced are lost all the same.

mod content;
mod crash;
mod held;
mod space;
mod tree;

use self::content::Content;
use self::crash::Luck;
use self::space::Space;
use self::tree::{Change, DirId, Names, Node, Tree, components};
use super::{DirEntry, DirGuard, DirLock, EntryKind, File, FileView, Fs, HeldDir, OpenMode};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, RwLock};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The part of the unsynced writes that survives a loss of power. Synced writes always survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CrashState {
    /// Nothing: every file and every directory is as it was last synced.
    SyncedOnly,
    /// All of it.
    AllWrites,
    /// A part, chosen by the seed; the same seed on the same file system chooses the same.
    ///
    /// Every block of 4 KiB, and in some crashes every sector of 512 bytes, is the
    /// synced or the newest version. A file's length is one it had since its last sync
    /// or one between two sectors, so it may be shorter than its data, or longer: then
    /// zeros stand for what is missing. A name that was created, replaced or removed is
    /// what it was at some moment since its directory was synced, and a rename happened
    /// as a whole or not at all.
    Random {
        /// Chooses. Try many.
        seed: u64,
    },
}

/// A file system in memory. Clones share it.
///
/// It behaves like a POSIX file system: names and bytes are synced separately, a removed
/// file stays readable through its handles, a rename replaces in one step. Paths start
/// at a root that always exists, with or without a leading `/`; there are no links.
/// [`Fs::create_dir`] makes the names of new directories durable at once, as
/// [`DiskFs`](super::DiskFs) does.
///
/// ```
/// use annals::fs::{File, Fs, MemFs, OpenMode, CrashState};
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
/// let disk = fs.crash(CrashState::SyncedOnly); // and `fs` goes on
/// let left = disk.open(Path::new("/log"), OpenMode::ReadOnly)?;
/// assert_eq!(left.view(left.len()?)?.as_slice(), b"synced");
/// assert_ne!(disk.boot_id(), fs.boot_id());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemFs {
    shared: Arc<Shared>,
    /// The directory at which paths begin, if it is not the root.
    held: Option<Arc<held::Held>>,
}

struct Shared {
    /// Held for reading while a file changes, so that a crash, which holds it for
    /// writing, sees one moment: no file synced after another that it sees unsynced.
    tree: RwLock<Tree>,
    space: Space,
    boot: u64,
    /// Leaf lock. The directories that are locked themselves.
    locked: Mutex<BTreeSet<DirId>>,
}

/// A file, by whatever name or handle it is reached.
struct FileNode {
    state: Mutex<FileState>,
    locked: AtomicBool,
}

struct FileState {
    content: Content,
    /// The names and the open handles. The last of them releases the room, although the file
    /// stays on the durable disk until its directory is synced.
    holders: u64,
}

impl FileNode {
    fn new(content: Content, holders: u64) -> Arc<FileNode> {
        let state = Mutex::new(FileState { content, holders });
        Arc::new(FileNode { state, locked: AtomicBool::new(false) })
    }

    fn hold(&self) {
        self.state.lock().holders += 1;
    }

    fn release(&self, space: &Space) {
        let mut state = self.state.lock();
        state.holders = state.holders.saturating_sub(1);
        if state.holders == 0 {
            space.give(state.content.room());
            space.give_file();
        }
    }
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
    /// or its file is removed and closed. Extending by [`File::set_len`] takes none, nor do names:
    /// [`set_file_limit`](MemFs::set_file_limit) limits those. A write that finds too little room
    /// writes what fits, and returns that number, as a disk does; the next one fails with
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
        MemFs::build(Tree::new(), Space::new(bytes), 1)
    }

    fn build(tree: Tree, space: Space, boot: u64) -> MemFs {
        let (tree, locked) = (RwLock::new(tree), Mutex::default());
        MemFs { shared: Arc::new(Shared { tree, space, boot, locked }), held: None }
    }

    /// Makes the device larger or smaller. If it is then smaller than its content, nothing is
    /// lost, but nothing new can be written.
    pub fn set_capacity(&self, bytes: u64) {
        self.shared.space.set_capacity(bytes);
    }

    /// Limits the number of files and directories at a time, as the inodes of a file system do. By
    /// default there is no limit.
    ///
    /// A file counts until its last name is removed and its last handle is closed; the root does
    /// not count. At the limit, [`OpenMode::CreateNew`], [`Fs::create_dir`] and the [lock](Fs::lock)
    /// of a new file fail with `StorageFull`. A limit below the present number removes nothing.
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
        self.shared.space.set_most_files(files);
    }

    /// Returns the number of files and directories, as [`set_file_limit`](MemFs::set_file_limit)
    /// counts them.
    #[must_use]
    pub fn file_count(&self) -> u64 {
        self.shared.space.files()
    }

    /// Returns the room that is taken, in bytes: a multiple of 4096.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.shared.space.used_bytes()
    }

    /// Returns a disk as a loss of power at this moment could leave it. The original goes on
    /// undisturbed.
    ///
    /// Everything on the new file system is synced, no lock is held, no handle is open,
    /// and its [`boot_id`](Fs::boot_id) is the next one. It costs one reference for each
    /// file, and time only for unsynced writes, so you can crash after each call.
    #[must_use]
    pub fn crash(&self, how: CrashState) -> MemFs {
        let tree = self.shared.tree.write();
        let mut luck = Luck::new(if let CrashState::Random { seed } = how { seed } else { 0 });
        let names = match how {
            CrashState::SyncedOnly => tree.synced.clone(),
            CrashState::AllWrites => tree.live.clone(),
            CrashState::Random { .. } => tree.survivor(&mut luck),
        };
        let mut copies =
            Copies::new(Space::like(&self.shared.space), |content: &Content| match how {
                CrashState::SyncedOnly => content.synced(),
                CrashState::AllWrites => content.everything(),
                CrashState::Random { .. } => content.survivor(&mut luck),
            });
        let names = copies.names(&names);
        MemFs::build(Tree::settled(names), copies.space, self.shared.boot.saturating_add(1))
    }

    /// Returns the disk as a new process finds it after this one was killed, while the machine
    /// went on. The original goes on, too.
    ///
    /// Everything written is there, and unsynced writes are still unsynced: a
    /// [`crash`](MemFs::crash) of the copy may lose them. Locks and handles are gone, and
    /// the [`boot_id`](Fs::boot_id) stays.
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
        let tree = self.shared.tree.write();
        let mut copies = Copies::new(Space::like(&self.shared.space), Content::clone);
        // The live names first: only their files take room.
        let live = copies.names(&tree.live);
        copies.holders = 0;
        let synced = copies.names(&tree.synced);
        let pending = tree.pending.iter().map(|change| match change {
            Change::Link { at, node } => Change::Link { at: at.clone(), node: copies.node(node) },
            other => other.clone(),
        });
        let pending = pending.collect();
        MemFs::build(Tree { live, synced, pending }, copies.space, self.shared.boot)
    }

    /// Returns the files whose bytes, and the directories whose names, a loss of power could
    /// change now, in order. Empty if everything is synced.
    #[must_use]
    pub fn unsynced(&self) -> Vec<PathBuf> {
        let tree = self.shared.tree.write();
        let mut paths = Vec::new();
        tree.walk(|path, node| {
            let synced = match node {
                Node::File(file) => file.state.lock().content.is_synced(),
                Node::Dir(dir) => tree.is_synced(*dir),
            };
            if !synced {
                paths.push(path.to_owned());
            }
        });
        paths
    }

    /// A handle. The caller holds the tree's lock, so that the file cannot lose its last holder
    /// meanwhile.
    fn handle(&self, node: Arc<FileNode>, writable: bool) -> MemFile {
        node.hold();
        MemFile { shared: Arc::clone(&self.shared), node, writable }
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
            .field("boot", &self.shared.boot)
            .field("used_bytes", &self.used_bytes())
            .finish_non_exhaustive()
    }
}

/// The files of one file system copied to another, each once however often it is met.
struct Copies<F> {
    made: HashMap<*const FileNode, Arc<FileNode>>,
    space: Space,
    copy: F,
    /// 1 while live names are copied.
    holders: u64,
}

impl<F: FnMut(&Content) -> Content> Copies<F> {
    fn new(space: Space, copy: F) -> Copies<F> {
        Copies { made: HashMap::new(), space, copy, holders: 1 }
    }

    fn names(&mut self, names: &Names) -> Names {
        let mut copy = Names::new();
        for (dir, names) in names {
            let names = names.iter().map(|(name, node)| (name.clone(), self.node(node)));
            copy.insert(*dir, names.collect());
        }
        copy
    }

    fn node(&mut self, node: &Node) -> Node {
        let file = match node {
            Node::Dir(dir) => {
                self.space.occupy_files(self.holders);
                return Node::Dir(*dir);
            }
            Node::File(file) => file,
        };
        if let Some(made) = self.made.get(&Arc::as_ptr(file)) {
            return Node::File(Arc::clone(made));
        }
        let content = (self.copy)(&file.state.lock().content);
        if self.holders > 0 {
            self.space.occupy(content.room());
            self.space.occupy_files(1);
        }
        let made = FileNode::new(content, self.holders);
        self.made.insert(Arc::as_ptr(file), Arc::clone(&made));
        Node::File(made)
    }
}

impl Fs for MemFs {
    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Arc<dyn File>> {
        if how != OpenMode::CreateNew {
            let tree = self.shared.tree.read();
            let node = tree.find_file(self.at(&tree, path)?)?;
            return Ok(Arc::new(self.handle(node, how == OpenMode::ReadWrite)));
        }
        let mut tree = self.shared.tree.write();
        let at = match tree.place(self.at(&tree, path)?) {
            Err(_) if self.held.is_some() && tree.find_dir(self.at(&tree, path)?).is_ok() => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            at => at?,
        };
        if tree.get(at.0, &at.1).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.shared.space.take_file()?;
        let node = FileNode::new(Content::default(), 1);
        tree.change(Change::Link { at, node: Node::File(Arc::clone(&node)) });
        Ok(Arc::new(self.handle(node, true)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let tree = self.shared.tree.read();
        let dir = tree.find_dir(self.at(&tree, dir)?)?;
        let names = tree.live.get(&dir).into_iter().flatten();
        let entries = names.map(|(name, node)| {
            let (kind, len) = match node {
                Node::File(file) => (EntryKind::File, file.state.lock().content.len()),
                Node::Dir(_) => (EntryKind::Directory, 0),
            };
            DirEntry { name: name.to_string_lossy().into_owned(), kind, len }
        });
        Ok(entries.collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut tree = self.shared.tree.write();
        let begins = self.at(&tree, dir)?;
        let names = components(begins.path);
        let mut at = begins.dir;
        for (index, name) in names.iter().enumerate() {
            at = match tree.get(at, name) {
                Some(Node::Dir(dir)) => *dir,
                Some(Node::File(_)) if index + 1 == names.len() => {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => {
                    self.shared.space.take_file()?;
                    tree.add_dir((at, name.to_os_string()))
                }
            };
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = self.shared.tree.write();
        let node = tree.find_file(self.at(&tree, from)?)?;
        let from = tree.place(self.at(&tree, from)?)?;
        let to = tree.place(self.at(&tree, to)?)?;
        let replaced = match tree.get(to.0, &to.1) {
            Some(Node::Dir(_)) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Node::File(file)) if Arc::ptr_eq(file, &node) => return Ok(()),
            Some(Node::File(file)) => Some(Arc::clone(file)),
            None => None,
        };
        tree.change(Change::Move { from, to });
        if let Some(file) = replaced {
            file.release(&self.shared.space);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.shared.tree.write();
        let node = tree.find_file(self.at(&tree, path)?)?;
        let at = tree.place(self.at(&tree, path)?)?;
        tree.change(Change::Unlink { at });
        node.release(&self.shared.space);
        Ok(())
    }

    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = self.shared.tree.write();
        tree.find_dir(self.at(&tree, from)?)?;
        let from = tree.place(self.at(&tree, from)?)?;
        let to = tree.place(self.at(&tree, to)?)?;
        if tree.get(to.0, &to.1).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        tree.change(Change::Move { from, to });
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut tree = self.shared.tree.write();
        let id = tree.find_dir(self.at(&tree, dir)?)?;
        let at = tree.place(self.at(&tree, dir)?)?;
        if tree.live.get(&id).is_some_and(|names| !names.is_empty()) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        tree.change(Change::Unlink { at });
        self.shared.space.give_file();
        Ok(())
    }

    /// A rename between two directories is durable after a sync of either.
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut tree = self.shared.tree.write();
        let dir = tree.find_dir(self.at(&tree, dir)?)?;
        tree.sync(dir);
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        let mut tree = self.shared.tree.write();
        let node = match tree.find_file(self.at(&tree, path)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let at = tree.place(self.at(&tree, path)?)?;
                self.shared.space.take_file()?;
                let node = FileNode::new(Content::default(), 1);
                tree.change(Change::Link { at, node: Node::File(Arc::clone(&node)) });
                node
            }
            found => found?,
        };
        if node.locked.swap(true, Ordering::AcqRel) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemLock { file: self.handle(node, true) }))
    }

    fn hold_dir(&self, dir: &Path) -> io::Result<Option<HeldDir>> {
        self.hold(dir).map(Some)
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirGuard>> {
        self.guard(dir)
    }

    /// `boot-` and a number: 1 at first, one more with each crash.
    fn boot_id(&self) -> Option<String> {
        Some(format!("boot-{}", self.shared.boot))
    }
}

/// An open file of [`MemFs`].
struct MemFile {
    shared: Arc<Shared>,
    node: Arc<FileNode>,
    writable: bool,
}

impl MemFile {
    /// Works on the bytes, at a moment that is not a crash's.
    fn with<T>(&self, work: impl FnOnce(&mut Content, &Space) -> T) -> T {
        let _no_crash = self.shared.tree.read();
        work(&mut self.node.state.lock().content, &self.shared.space)
    }

    fn change<T>(&self, work: impl FnOnce(&mut Content, &Space) -> io::Result<T>) -> io::Result<T> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.with(work)
    }
}

impl File for MemFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|content, _| content.len()))
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        Ok(self.with(|content, _| content.read(buf, at)))
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        self.change(|content, space| content.write(buf, at, space))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|content, space| content.set_len(len, space))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.change(|content, space| content.allocate(len, space))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|content, _| content.sync());
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    /// A copy.
    fn view(&self, len: u64) -> io::Result<FileView> {
        self.with(|content, _| {
            if len > content.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
            let mut bytes = vec![0; len];
            content.read(&mut bytes, 0);
            Ok(FileView::from_vec(bytes))
        })
    }
}

impl Drop for MemFile {
    fn drop(&mut self) {
        self.node.release(&self.shared.space);
    }
}

impl fmt::Debug for MemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemFile").field("writable", &self.writable).finish_non_exhaustive()
    }
}

/// A locked file of [`MemFs`].
#[derive(Debug)]
struct MemLock {
    file: MemFile,
}

impl DirLock for MemLock {
    fn file(&self) -> &dyn File {
        &self.file
    }
}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.file.node.locked.store(false, Ordering::Release);
    }
}
