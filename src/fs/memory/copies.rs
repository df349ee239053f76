//! Copying the files of one file system to another.

use super::capacity::Capacity;
use super::content::Content;
use super::node::FileNode;
use super::tree::{Names, Node};
use std::collections::HashMap;
use std::sync::Arc;

/// Copies files, each once however many names lead to it.
pub(super) struct Copies<F> {
    made: HashMap<*const FileNode, Arc<FileNode>>,
    pub(super) capacity: Capacity,
    copy: F,
    /// The number of holders that a copied name counts as: 1 for live names, 0 for synced names,
    /// which take no room.
    pub(super) holders: u64,
}

impl<F: FnMut(&Content) -> Content> Copies<F> {
    pub(super) fn new(capacity: Capacity, copy: F) -> Copies<F> {
        Copies { made: HashMap::new(), capacity, copy, holders: 1 }
    }

    pub(super) fn names(&mut self, names: &Names) -> Names {
        let mut copy = Names::new();
        for (dir, names) in names {
            let names = names.iter().map(|(name, node)| (name.clone(), self.node(node)));
            copy.insert(*dir, names.collect());
        }
        copy
    }

    pub(super) fn node(&mut self, node: &Node) -> Node {
        let file = match node {
            Node::Dir(dir) => {
                self.capacity.occupy_files(self.holders);
                return Node::Dir(*dir);
            }
            Node::File(file) => file,
        };
        if let Some(made) = self.made.get(&Arc::as_ptr(file)) {
            return Node::File(Arc::clone(made));
        }
        let content = (self.copy)(&file.lock().content);
        if self.holders > 0 {
            self.capacity.occupy(content.room());
            self.capacity.occupy_files(1);
        }
        let made = FileNode::new(content, self.holders);
        self.made.insert(Arc::as_ptr(file), Arc::clone(&made));
        Node::File(made)
    }
}
