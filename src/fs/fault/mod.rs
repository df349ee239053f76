//! A file system that fails on purpose.
//!
//! [`FaultFs`] stands between a log and a real file system. Every call passes through
//! it, is counted and traced, and meets the rules: a [`Rule`] says which calls, a
//! [`Fault`] what happens to them. Two uses carry most tests:
//!
//! - *fail the nth call, for every n*: add `Rule::any(..).nth(n)`, run the scenario,
//!   and stop at the first `n` whose rule did not fire any more;
//! - *assert an order*: read the [`trace`](FaultFs::trace) and look that the sync of
//!   the file comes before the rename, and the sync of the directory after it.
//!
//! Work on several threads is explored as well: [`interleave`](FaultFs::interleave) and
//! [`together`](FaultFs::together) let a seed choose the order of its calls.
//!
//! Over a [`MemFs`](super::MemFs), a fault and a crash combine: fail a sync, go on,
//! then see what [`crash`](super::MemFs::crash) leaves.

mod rule;
mod turns;

pub use self::rule::{Fault, FaultHook, Rule};
pub(crate) use self::turns::Place;
pub use self::turns::Turns;

use self::rule::{Active, Effect};
use super::{DirEntry, DirGuard, DirLock, File, FileView, Fs, HeldDir, OpenMode};
use crate::sync::{Mutex, thread};
use crate::types::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The operation of a call: one for each method of [`Fs`] and [`File`], two for [`Fs::open`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// [`Fs::open`] of a file that exists.
    Open,
    /// [`Fs::open`] with [`OpenMode::CreateNew`].
    CreateNew,
    /// [`Fs::list`].
    List,
    /// [`Fs::create_dir`].
    CreateDir,
    /// [`Fs::rename`].
    Rename,
    /// [`Fs::remove`].
    Remove,
    /// [`Fs::rename_dir`].
    RenameDir,
    /// [`Fs::remove_dir`].
    RemoveDir,
    /// [`Fs::sync_dir`].
    SyncDir,
    /// [`Fs::lock`].
    Lock,
    /// [`Fs::hold_dir`].
    HoldDir,
    /// [`Fs::lock_dir`].
    LockDir,
    /// [`File::len`].
    Len,
    /// [`File::read_at`].
    Read,
    /// [`File::write_at`].
    Write,
    /// [`File::set_len`].
    SetLen,
    /// [`File::allocate`].
    Allocate,
    /// [`File::sync_data`].
    SyncData,
    /// [`File::sync_all`].
    SyncAll,
    /// [`File::view`].
    View,
}

/// One call, as a trace keeps it and as a [`Fault::Call`] sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// The operation.
    pub operation: Operation,
    /// The file or directory. For an open file, the path by which it was opened.
    pub path: Arc<Path>,
    /// The new path of a rename.
    pub to: Option<Arc<Path>>,
    /// The position at which a read or a write begins; 0 otherwise.
    pub at: u64,
    /// The number of bytes that a read or a write requests, or the length that another call sets;
    /// 0 otherwise.
    pub len: u64,
    /// The result: `Ok` with the number of bytes that were read or written (0 otherwise), or
    /// the kind of error. `Ok(0)` while the call is still to be made.
    pub result: Result<u64, io::ErrorKind>,
}

impl Call {
    fn new(operation: Operation, path: Arc<Path>) -> Call {
        Call { operation, path, to: None, at: 0, len: 0, result: Ok(0) }
    }

    /// Returns whether the call succeeded.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.result.is_ok()
    }
}

/// Names a rule that was added to a [`FaultFs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(u64);

/// Wraps another file system and fails, shortens, garbles or holds calls by rule. Clones share it.
///
/// Every matching rule counts a call; hooks ([`Fault::Call`]) all run; of the other
/// faults, that of the rule added first strikes, and only that one.
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
/// // The sync that failed has saved nothing.
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

/// The rules and the records, shared by a file system and its files.
#[derive(Debug)]
struct Faults {
    state: Mutex<State>,
    turns: Arc<Turns>,
}

#[derive(Debug)]
struct State {
    /// In the order they were added.
    rules: BTreeMap<RuleId, Active>,
    next: u64,
    trace: Vec<Call>,
    tracing: bool,
    counts: BTreeMap<Operation, u64>,
}

impl FaultFs {
    /// Wraps a file system. There are no rules yet, and the trace is on.
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

    /// Orders calls by a seed: work that the crate spreads over several threads makes its calls
    /// one at a time, in an order that the seed chooses.
    ///
    /// A [`Store`](crate::Store) creates, opens, flushes and closes partitions on [several
    /// threads](crate::StoreConfig::recovery_threads). With the same seed, two runs make the same
    /// calls in the same order; other seeds show other orders. See [`together`](FaultFs::together)
    /// for threads of your own.
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

    /// Runs jobs on a thread each, making their calls to this file system one at a time in an
    /// order that the seed chooses. Returns when all jobs have ended.
    ///
    /// A job that waits for a lock of another job is left out until it goes on: only such a run
    /// may differ from the next one with the same seed.
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

    /// Adds a rule, which holds from now on, also for files that are open.
    pub fn add_rule(&self, rule: Rule) -> RuleId {
        let mut state = self.faults.state.lock();
        let id = RuleId(state.next);
        state.next += 1;
        state.rules.insert(id, Active::new(rule));
        id
    }

    /// Takes a rule away; nothing happens if it is gone already. A call it holds goes on being
    /// held.
    pub fn remove_rule(&self, id: RuleId) {
        self.faults.state.lock().rules.remove(&id);
    }

    /// Takes all rules away.
    pub fn clear_rules(&self) {
        self.faults.state.lock().rules.clear();
    }

    /// Returns the number of calls that a rule struck; 0 for a rule that was removed.
    #[must_use]
    pub fn hit_count(&self, id: RuleId) -> u64 {
        self.faults.state.lock().rules.get(&id).map_or(0, |rule| rule.fired)
    }

    /// Returns the calls so far, in the order in which they ended.
    #[must_use]
    pub fn trace(&self) -> Vec<Call> {
        self.faults.state.lock().trace.clone()
    }

    /// Forgets the trace and the counts.
    pub fn clear_trace(&self) {
        let mut state = self.faults.state.lock();
        state.trace.clear();
        state.counts.clear();
    }

    /// Switches the trace on or off. It grows with every call, so a long run wants it off.
    pub fn record_trace(&self, on: bool) {
        self.faults.state.lock().tracing = on;
    }

    /// Returns the number of calls of an operation that were begun, traced or not.
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        self.faults.state.lock().counts.get(&operation).copied().unwrap_or(0)
    }
}

impl Faults {
    /// Takes a call through the rules, and to the file system unless a fault is in the way.
    /// `work` gets the effect that is left for it to bring about, if any.
    fn pass<T: Answer>(
        &self,
        mut call: Call,
        work: impl FnOnce(Option<Effect>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.turns.wait();
        let (hooks, effect) = self.meet(&call);
        for hook in hooks {
            hook(&call);
        }
        let result = match effect {
            Some(Effect::Error(failure)) => Err(failure.into()),
            effect => work(effect),
        };
        let mut state = self.state.lock();
        if state.tracing {
            call.result = match &result {
                Ok(answer) => Ok(answer.bytes()),
                Err(error) => Err(error.kind()),
            };
            state.trace.push(call);
        }
        result
    }

    /// Counts a call with every rule, and finds what is to become of it.
    fn meet(&self, call: &Call) -> (Vec<FaultHook>, Option<Effect>) {
        let mut state = self.state.lock();
        *state.counts.entry(call.operation).or_default() += 1;
        let mut hooks = Vec::new();
        let mut effect = None;
        for rule in state.rules.values_mut() {
            let strikes = rule.strikes(call);
            if !strikes || (effect.is_some() && !rule.only_watches()) {
                continue;
            }
            match rule.fire() {
                Effect::Call(hook) => hooks.push(hook),
                other => effect = Some(other),
            }
        }
        (hooks, effect)
    }

    /// [`pass`](Faults::pass) for a call that answers nothing but "done".
    fn pass_unit(&self, call: Call, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.pass(call, |effect| match effect {
            Some(Effect::IgnoreSilently) => Ok(()),
            _ => work(),
        })
    }
}

/// How many bytes an answer is worth in a trace.
trait Answer {
    fn bytes(&self) -> u64 {
        0
    }
}

impl Answer for usize {
    fn bytes(&self) -> u64 {
        *self as u64
    }
}

impl Answer for () {}
impl Answer for u64 {}
impl Answer for FileView {}
impl Answer for Vec<DirEntry> {}
impl Answer for Arc<dyn File> {}
impl Answer for Box<dyn DirLock> {}
impl Answer for Box<dyn DirGuard> {}
impl Answer for Option<HeldDir> {}

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

    /// The same rules hold for what is done in the directory, by the same paths.
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

    /// That of the file system inside. It is no call: no rule strikes it.
    fn boot_id(&self) -> Option<String> {
        self.inner.boot_id()
    }

    fn turns(&self) -> Option<Arc<Turns>> {
        self.faults.turns.are_taken().then(|| Arc::clone(&self.faults.turns))
    }
}

/// An open file of [`FaultFs`], over an open file or over a lock.
#[derive(Debug)]
struct FaultFile<F> {
    inner: F,
    path: Arc<Path>,
    faults: Arc<Faults>,
}

/// What a [`FaultFile`] is over.
trait Inner: Send + Sync + Debug {
    fn file(&self) -> &dyn File;
}

impl Inner for Arc<dyn File> {
    fn file(&self) -> &dyn File {
        &**self
    }
}

impl Inner for Box<dyn DirLock> {
    fn file(&self) -> &dyn File {
        (**self).file()
    }
}

impl<F> FaultFile<F> {
    fn call(&self, operation: Operation, at: u64, len: u64) -> Call {
        Call { at, len, ..Call::new(operation, Arc::clone(&self.path)) }
    }
}

impl<F: Inner> File for FaultFile<F> {
    fn len(&self) -> io::Result<u64> {
        self.faults.pass(self.call(Operation::Len, 0, 0), |_| self.inner.file().len())
    }

    fn next_data(&self, at: u64) -> io::Result<u64> {
        self.inner.file().next_data(at)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let call = self.call(Operation::Read, at, buf.len() as u64);
        self.faults.pass(call, |effect| {
            let limit = match effect {
                Some(Effect::ShortIo(bytes)) => bytes.min(buf.len()),
                _ => buf.len(),
            };
            let buf = buf.get_mut(..limit).unwrap_or_default();
            let done = self.inner.file().read_at(buf, at)?;
            if let Some(Effect::FlipBit(bit)) = effect {
                flip_bit(buf.get_mut(..done).unwrap_or_default(), bit);
            }
            Ok(done)
        })
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        let call = self.call(Operation::Write, at, buf.len() as u64);
        self.faults.pass(call, |effect| match effect {
            Some(Effect::IgnoreSilently) => Ok(buf.len()),
            Some(Effect::ShortIo(bytes)) => {
                self.inner.file().write_at(buf.get(..bytes).unwrap_or(buf), at)
            }
            Some(Effect::PartialWrite(bytes, failure)) => {
                self.inner.file().write_all_at(buf.get(..bytes).unwrap_or(buf), at)?;
                Err(failure.into())
            }
            _ => self.inner.file().write_at(buf, at),
        })
    }

    fn modified(&self) -> io::Result<Option<Timestamp>> {
        self.inner.file().modified()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let call = self.call(Operation::SetLen, 0, len);
        self.faults.pass_unit(call, || self.inner.file().set_len(len))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let call = self.call(Operation::Allocate, 0, len);
        self.faults.pass_unit(call, || self.inner.file().allocate(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let call = self.call(Operation::SyncData, 0, 0);
        self.faults.pass_unit(call, || self.inner.file().sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        let call = self.call(Operation::SyncAll, 0, 0);
        self.faults.pass_unit(call, || self.inner.file().sync_all())
    }

    fn view(&self, len: u64) -> io::Result<FileView> {
        self.faults.pass(self.call(Operation::View, 0, len), |effect| {
            let view = self.inner.file().view(len)?;
            let Some(Effect::FlipBit(bit)) = effect else { return Ok(view) };
            let mut bytes = view.to_vec();
            flip_bit(&mut bytes, bit);
            Ok(FileView::from_vec(bytes))
        })
    }
}

fn flip_bit(bytes: &mut [u8], bit: u64) {
    let bit = bit.checked_rem(bytes.len() as u64 * 8).unwrap_or(0);
    let byte = usize::try_from(bit / 8).ok().and_then(|index| bytes.get_mut(index));
    if let Some(byte) = byte {
        *byte ^= 1 << (bit % 8);
    }
}

/// A lock of [`FaultFs`].
#[derive(Debug)]
struct FaultLock {
    file: FaultFile<Box<dyn DirLock>>,
}

impl DirLock for FaultLock {
    fn file(&self) -> &dyn File {
        &self.file
    }
}
