//! Images of a disk, taken before each call that changes it, and the disks that a crash leaves.

use annals::fs::{CrashState, Fault, FaultFs, MemFs, Operation, Rule, RuleId};
use std::sync::{Arc, Mutex};

/// A disk as it was before a call, and the promise of the log at that time.
#[derive(Debug)]
pub struct Image<P> {
    pub call: String,
    pub promise: P,
    pub disk: MemFs,
}

impl<P> Image<P> {
    /// Returns the disks that a process exit or a power loss leaves, each with whether everything
    /// that was written is there.
    pub fn ways(&self, seed: u64) -> [(bool, MemFs); 4] {
        [
            (true, self.disk.kill()),
            (false, self.disk.crash(CrashState::SyncedOnly)),
            (false, self.disk.crash(CrashState::AllWrites)),
            (false, self.disk.crash(CrashState::Random { seed })),
        ]
    }
}

#[derive(Debug)]
pub struct Images<P>(Arc<Mutex<Vec<Image<P>>>>);

impl<P> Default for Images<P> {
    fn default() -> Images<P> {
        Images(Arc::default())
    }
}

impl<P: Send + 'static> Images<P> {
    /// Takes an image of the disk before each call that changes it.
    pub fn watch(
        &self,
        fs: &FaultFs,
        disk: &MemFs,
        promise: impl Fn() -> P + Send + Sync + 'static,
    ) -> RuleId {
        let (disk, images) = (disk.clone(), Arc::clone(&self.0));
        let look = Fault::Call(Arc::new(move |call| {
            let image = Image { call: format!("{call:?}"), promise: promise(), disk: disk.kill() };
            images.lock().unwrap().push(image);
        }));
        let mut rule = Rule::new(Operation::CreateNew, look);
        for operation in [
            Operation::CreateDir,
            Operation::Rename,
            Operation::RenameDir,
            Operation::Remove,
            Operation::RemoveDir,
            Operation::SyncDir,
            Operation::Write,
            Operation::SetLen,
            Operation::SyncData,
            Operation::SyncAll,
        ] {
            rule = rule.or(operation);
        }
        fs.add_rule(rule)
    }

    pub fn take(&self) -> Vec<Image<P>> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}
