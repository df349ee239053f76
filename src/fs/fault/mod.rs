//! A file system that injects faults.
//!
//! [`FaultFs`] wraps another file system. It counts and traces every call, and applies the rules:
//! a [`Rule`] selects calls, and a [`Fault`] is what happens to them. Most tests do one of two
//! things:
//!
//! - *Fail the nth call, for every n*: add `Rule::any(..).nth(n)`, run the scenario, and stop at
//!   the first `n` whose rule no longer fires.
//! - *Assert an order*: read the [`trace`](FaultFs::trace), and check that the sync of the file
//!   comes before the rename, and the sync of the directory after it.
//!
//! Tests with several threads can let a seed choose the order of the calls:
//! [`interleave`](FaultFs::interleave) and [`together`](FaultFs::together).
//!
//! Over a [`MemFs`](super::MemFs), faults and crashes combine: fail a sync, continue, then check
//! what a [`crash`](super::MemFs::crash) leaves.

mod faults;
mod file;
mod operation;
mod rule;
mod turns;

pub use self::faults::RuleId;
pub use self::operation::{Call, Operation};
pub use self::rule::{Fault, FaultHook, Rule};
pub(crate) use self::turns::Place;
pub use self::turns::Turns;

use self::faults::{Faults, State};
use self::file::{FaultFile, FaultLock};
use self::rule::ActiveRule;
use super::{DirEntry, DirGuard, DirLock, File, Fs, HeldDir, OpenMode};
use crate::sync::{Mutex, thread};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A file system that wraps another, and makes calls fail, return short, return wrong bytes or
/// block, by rule. Clones share it.
///
/// Every matching rule counts a call. All matching hooks ([`Fault::Call`]) run. Of the other
/// matching faults, only that of the rule added first happens.
///
/// ```
/// use annals::fs::{Fault, FaultFs, File, Fs, MemFs, OpenMode, Operation, Rule, CrashState};
/// use std::io::ErrorKind;
/// use std::path::Path;
///
/// # fn main() -> std::io::Result<()> {
/// let memory = MemFs::new();
/// let fs = FaultFs::new(memory.clone());
/// let rule = fs.add_rule(Rule::new(Operation::SyncData, Fault::Error(ErrorKind::Other)).nth(1));
///
/// let file = fs.open(Path::new("/log"), OpenMode::CreateNew)?;
/// fs.sync_dir(Path::new("/"))?;
/// file.write_all_at(b"precious", 0)?;
/// assert!(file.sync_data().is_err());
///
/// assert_eq!(fs.hit_count(rule), 1);
/// assert_eq!(fs.trace().last().unwrap().result, Err(ErrorKind::Other));
/// // The failed sync has made nothing durable.
/// let disk = memory.crash(CrashState::SyncedOnly);
/// assert_eq!(disk.open(Path::new("/log"), OpenMode::ReadOnly)?.len()?, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct FaultFs {
    inner: Arc<dyn Fs>,
    faults: Arc<Faults>,
}

impl FaultFs {
    /// Wraps a file system. There are no rules at first, and the trace is on.
    #[must_use]
    pub fn new(inner: impl Fs) -> FaultFs {
        let state = State {
            rules: BTreeMap::new(),
            next: 0,
            trace: Vec::new(),
            tracing: true,
            counts: BTreeMap::new(),
        };
        let (state, turns) = (Mutex::new(state), Arc::default());
        FaultFs { inner: Arc::new(inner), faults: Arc::new(Faults { state, turns }) }
    }

    /// Orders calls by a seed: when the crate works on several threads, they make their calls one
    /// at a time, in an order that the seed chooses.
    ///
    /// A [`Store`](crate::Store) creates, opens, flushes and closes partitions on [several
    /// threads](crate::StoreConfig::recovery_threads). With the same seed, two runs make the same
    /// calls in the same order; other seeds result in other orders. For your own threads, see
    /// [`together`](FaultFs::together).
    ///
    /// ```
    /// use annals::fs::{FaultFs, MemFs};
    /// use annals::{Store, StoreConfig, TopicConfig};
    ///
    /// let calls = |seed| {
    ///     let fs = FaultFs::new(MemFs::new());
    ///     let config = StoreConfig::default().fs(fs.clone()).maintenance(None).recovery_threads(3);
    ///     let store = Store::open("data", config)?;
    ///     fs.interleave(seed);
    ///     fs.clear_trace();
    ///     store.create_topic("orders", TopicConfig::default().partitions(3))?;
    ///     Ok::<_, annals::Error>(fs.trace().into_iter().map(|call| call.path).collect::<Vec<_>>())
    /// };
    /// assert_eq!(calls(1)?.len(), calls(2)?.len());
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn interleave(&self, seed: u64) {
        self.faults.turns.begin(seed);
    }

    /// Runs each job on a thread of its own. They make their calls to this file system one at a
    /// time, in an order that the seed chooses. Returns when all jobs have ended.
    ///
    /// A job that waits for a lock of another job is left out until it continues. A run in which
    /// this happens may differ from another run with the same seed.
    ///
    /// # Panics
    ///
    /// If a job panics.
    pub fn together(&self, seed: u64, jobs: Vec<Box<dyn FnOnce() + Send + '_>>) {
        self.interleave(seed);
        let turns = &self.faults.turns;
        let placed: Vec<_> = jobs.into_iter().map(|job| (turns.place(), job)).collect();
        thread::scope(|scope| {
            for (place, job) in placed {
                scope.spawn(move || place.fill(job));
            }
        });
    }

    /// Adds a rule. It applies from now on, also to files that are open.
    pub fn add_rule(&self, rule: Rule) -> RuleId {
        let mut state = self.faults.state.lock();
        let id = RuleId(state.next);
        state.next += 1;
        state.rules.insert(id, ActiveRule::new(rule));
        id
    }

    /// Removes a rule, if it is still there. A call that it blocks stays blocked.
    pub fn remove_rule(&self, id: RuleId) {
        self.faults.state.lock().rules.remove(&id);
    }

    /// Removes all rules.
    pub fn clear_rules(&self) {
        self.faults.state.lock().rules.clear();
    }

    /// Returns the number of calls that a rule was applied to; 0 for a removed rule.
    #[must_use]
    pub fn hit_count(&self, id: RuleId) -> u64 {
        self.faults.state.lock().rules.get(&id).map_or(0, |rule| rule.fired)
    }

    /// Returns the calls so far, in the order in which they ended.
    #[must_use]
    pub fn trace(&self) -> Vec<Call> {
        self.faults.state.lock().trace.clone()
    }

    /// Clears the trace and the counts.
    pub fn clear_trace(&self) {
        let mut state = self.faults.state.lock();
        state.trace.clear();
        state.counts.clear();
    }

    /// Switches the trace on or off. It grows with every call, so switch it off for a long run.
    pub fn record_trace(&self, on: bool) {
        self.faults.state.lock().tracing = on;
    }

    /// Returns the number of calls of an operation so far, traced or not.
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        self.faults.state.lock().counts.get(&operation).copied().unwrap_or(0)
    }
}

impl Fs for FaultFs {
    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Arc<dyn File>> {
        let operation =
            if how == OpenMode::CreateNew { Operation::CreateNew } else { Operation::Open };
        let path: Arc<Path> = path.into();
        self.faults.pass(Call::new(operation, Arc::clone(&path)), |_| {
            let inner = self.inner.open(&path, how)?;
            let faults = Arc::clone(&self.faults);
            Ok(Arc::new(FaultFile { inner, path: Arc::clone(&path), faults }) as Arc<dyn File>)
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.faults.pass(Call::new(Operation::List, dir.into()), |_| self.inner.list(dir))
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let call = Call::new(Operation::CreateDir, dir.into());
        self.faults.pass_unit(call, || self.inner.create_dir(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let call = Call { to: Some(to.into()), ..Call::new(Operation::Rename, from.into()) };
        self.faults.pass_unit(call, || self.inner.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let call = Call::new(Operation::Remove, path.into());
        self.faults.pass_unit(call, || self.inner.remove(path))
    }

    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        let call = Call { to: Some(to.into()), ..Call::new(Operation::RenameDir, from.into()) };
        self.faults.pass_unit(call, || self.inner.rename_dir(from, to))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let call = Call::new(Operation::RemoveDir, dir.into());
        self.faults.pass_unit(call, || self.inner.remove_dir(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let call = Call::new(Operation::SyncDir, dir.into());
        self.faults.pass_unit(call, || self.inner.sync_dir(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        let path: Arc<Path> = path.into();
        self.faults.pass(Call::new(Operation::Lock, Arc::clone(&path)), |_| {
            let inner = self.inner.lock(&path)?;
            let faults = Arc::clone(&self.faults);
            let file = FaultFile { inner, path: Arc::clone(&path), faults };
            Ok(Box::new(FaultLock { file }) as Box<dyn DirLock>)
        })
    }

    /// Applies the same rules to calls in the directory, by the same paths.
    fn hold_dir(&self, dir: &Path) -> io::Result<Option<HeldDir>> {
        self.faults.pass(Call::new(Operation::HoldDir, dir.into()), |_| {
            let held = self.inner.hold_dir(dir)?;
            Ok(held.map(|HeldDir { fs: inner, above, name, is_mount }| {
                let fs = Arc::new(FaultFs { inner, faults: Arc::clone(&self.faults) });
                HeldDir { fs, above, name, is_mount }
            }))
        })
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirGuard>> {
        let call = Call::new(Operation::LockDir, dir.into());
        self.faults.pass(call, |_| self.inner.lock_dir(dir))
    }

    /// Returns the boot id of the wrapped file system. It counts as no call, so no rule applies.
    fn boot_id(&self) -> Option<String> {
        self.inner.boot_id()
    }

    fn turns(&self) -> Option<Arc<Turns>> {
        self.faults.turns.are_taken().then(|| Arc::clone(&self.faults.turns))
    }
}
