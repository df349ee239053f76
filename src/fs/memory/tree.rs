//! The names: directories as they are, as they were synced, and the changes in between.
//!
//! A change is kept until a sync of its directory commits it. After a power loss some of the kept
//! changes exist and some do not, by two rules that every real file system follows:
//!
//! - A change exists as a whole: a rename removes the old name and creates the new one, or does
//!   neither, so a file that was only renamed always has a name.
//! - A name is in a state that it once had: a change does not exist without the earlier changes of
//!   the same names.

use super::crash::CrashRng;
use super::node::FileNode;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// The number of a directory. A removed directory keeps its number, because a power loss may
/// restore it.
pub(super) type DirId = u64;
pub(super) const ROOT: DirId = 0;

/// The object that a name leads to.
#[derive(Clone)]
pub(super) enum Node {
    File(Arc<FileNode>),
    Dir(DirId),
}

/// The names in each directory.
pub(super) type Names = BTreeMap<DirId, BTreeMap<OsString, Node>>;

/// A name in a directory.
pub(super) type Place = (DirId, OsString);

/// A path and the directory that it begins at.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) dir: DirId,
    pub(super) path: &'a Path,
}

/// One change of a directory.
#[derive(Clone)]
pub(super) enum Change {
    Link { at: Place, node: Node },
    Unlink { at: Place },
    Move { from: Place, to: Place },
}

impl Change {
    fn places(&self) -> impl Iterator<Item = &Place> {
        let (one, other) = match self {
            Change::Link { at, .. } | Change::Unlink { at } => (at, None),
            Change::Move { from, to } => (from, Some(to)),
        };
        std::iter::once(one).chain(other)
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Change::Link { at, node } => put(names, at, Some(node.clone())),
            Change::Unlink { at } => put(names, at, None),
            Change::Move { from, to } => {
                let node = names.get_mut(&from.0).and_then(|dir| dir.remove(&from.1));
                put(names, to, node)
            }
        };
    }
}

fn put(names: &mut Names, at: &Place, node: Option<Node>) -> Option<Node> {
    // A directory is in both maps before its number is used.
    let dir = names.get_mut(&at.0)?;
    match node {
        Some(node) => dir.insert(at.1.clone(), node),
        None => dir.remove(&at.1),
    }
}

#[derive(Clone)]
pub(super) struct Tree {
    pub(super) live: Names,
    pub(super) synced: Names,
    /// The changes that lead from `synced` to `live`, in order.
    pub(super) pending: Vec<Change>,
}

impl Tree {
    /// Creates names that are all synced.
    pub(super) fn settled(names: Names) -> Tree {
        Tree { synced: names.clone(), live: names, pending: Vec::new() }
    }

    pub(super) fn new() -> Tree {
        Tree::settled(Names::from([(ROOT, BTreeMap::new())]))
    }

    /// Returns the object at a path.
    pub(super) fn find(&self, at: At<'_>) -> io::Result<Node> {
        let mut node = Node::Dir(at.dir);
        for name in components(at.path) {
            let Node::Dir(dir) = node else { return Err(io::ErrorKind::NotADirectory.into()) };
            node = self.get(dir, name).ok_or(io::ErrorKind::NotFound)?.clone();
        }
        Ok(node)
    }

    pub(super) fn find_dir(&self, at: At<'_>) -> io::Result<DirId> {
        match self.find(at)? {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// Returns the file at a path.
    pub(super) fn find_file(&self, at: At<'_>) -> io::Result<Arc<FileNode>> {
        match self.find(at)? {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// Returns the place of the last name of a path, whether it exists or not. The directory that
    /// the path begins at has no such place.
    pub(super) fn place(&self, at: At<'_>) -> io::Result<Place> {
        let mut names = components(at.path);
        let last = names.pop().ok_or(io::ErrorKind::IsADirectory)?.to_owned();
        let parent: PathBuf = names.iter().collect();
        Ok((self.find_dir(At { dir: at.dir, path: &parent })?, last))
    }

    /// Returns the parent of a directory.
    pub(super) fn above(&self, dir: DirId) -> io::Result<DirId> {
        let holds = |names: &BTreeMap<OsString, Node>| {
            names.values().any(|node| matches!(node, Node::Dir(below) if *below == dir))
        };
        let above = self.live.iter().find(|(_, names)| holds(names));
        above.map(|(above, _)| *above).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn get(&self, dir: DirId, name: &OsStr) -> Option<&Node> {
        self.live.get(&dir)?.get(name)
    }

    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    /// Adds an empty directory and commits its name.
    pub(super) fn add_dir(&mut self, at: Place) -> DirId {
        let id = self.live.keys().next_back().map_or(ROOT, |last| last + 1);
        self.live.insert(id, BTreeMap::new());
        self.synced.insert(id, BTreeMap::new());
        let parent = at.0;
        self.change(Change::Link { at, node: Node::Dir(id) });
        self.sync(parent);
        id
    }

    /// Commits the changes of a directory. A rename between two directories is one change: a sync
    /// of either commits it, together with the earlier changes of the other.
    pub(super) fn sync(&mut self, dir: DirId) {
        let mut dirs = BTreeSet::from([dir]);
        let mut committed = Vec::new();
        let mut kept = Vec::new();
        for change in std::mem::take(&mut self.pending).into_iter().rev() {
            if change.places().any(|place| dirs.contains(&place.0)) {
                dirs.extend(change.places().map(|place| place.0));
                committed.push(change);
            } else {
                kept.push(change);
            }
        }
        for change in committed.iter().rev() {
            change.apply(&mut self.synced);
        }
        kept.reverse();
        self.pending = kept;
    }

    /// Returns names that a power loss may leave.
    pub(super) fn survivor(&self, rng: &mut CrashRng) -> Names {
        let mut survives = rng.changes(self.pending.len());
        let mut needed = BTreeSet::new();
        for (change, survives) in self.pending.iter().zip(&mut survives).rev() {
            *survives |= change.places().any(|place| needed.contains(place));
            if *survives {
                needed.extend(change.places());
            }
        }
        let mut names = self.synced.clone();
        for (change, survives) in self.pending.iter().zip(survives) {
            if survives {
                change.apply(&mut names);
            }
        }
        names
    }

    /// Returns whether all names of a directory are synced.
    pub(super) fn is_synced(&self, dir: DirId) -> bool {
        !self.pending.iter().flat_map(Change::places).any(|place| place.0 == dir)
    }

    /// Visits the root and every path below it, in order.
    pub(super) fn walk(&self, mut visit: impl FnMut(&Path, &Node)) {
        let mut todo = vec![(PathBuf::from("/"), Node::Dir(ROOT))];
        while let Some((path, node)) = todo.pop() {
            visit(&path, &node);
            if let Node::Dir(dir) = node {
                let names = self.live.get(&dir).into_iter().flatten().rev();
                todo.extend(names.map(|(name, node)| (path.join(name), node.clone())));
            }
        }
    }
}

/// Returns the names that a path consists of. Every path starts at the root, with or without `/`.
pub(super) fn components(path: &Path) -> Vec<&OsStr> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::ParentDir => drop(names.pop()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    names
}
