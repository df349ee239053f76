//! The rules of a [`FaultFs`](super::FaultFs): which call, when, and what happens to it.

use super::{Call, Operation};
use crate::random::SplitMix64;
use std::fmt;
use std::io;
use std::sync::Arc;

/// A fault: what happens to a call.
#[derive(Clone)]
#[non_exhaustive]
pub enum Fault {
    /// The call fails with this kind of error and does nothing. A sync that fails syncs nothing.
    Error(io::ErrorKind),
    /// The call fails with this error number of the operating system and does nothing. `Errno(24)` is
    /// Linux's "too many open files".
    Errno(i32),
    /// A read or a write does at most so many bytes. 0 makes a read see the end of the file.
    ShortIo(usize),
    /// A write writes at most so many bytes and then fails: they are in the file although the call
    /// says no.
    PartialWrite {
        /// How many bytes it writes.
        written: usize,
        /// The error it fails with.
        kind: io::ErrorKind,
    },
    /// A read or a view gets one bit wrong; which one, the seed and the number of times the rule
    /// fired say. The file keeps its bytes.
    FlipBit {
        /// Chooses the bit.
        seed: u64,
    },
    /// A write, or a call that answers nothing but "done", says so and does nothing: the disk
    /// that lies about flushing, or the second sync after one that failed.
    IgnoreSilently,
    /// The call goes on when the function returns, so one that blocks holds the call where it
    /// is, before anything was done. No lock of the [`FaultFs`](super::FaultFs) is held
    /// meanwhile. See [`Fault::call`].
    Call(FaultHook),
}

/// The function of a [`Fault::Call`].
pub type FaultHook = Arc<dyn Fn(&Call) + Send + Sync>;

impl Fault {
    /// Creates a [`Fault::Call`] of a closure.
    ///
    /// ```
    /// use annals::fs::{Fault, FaultFs, File, Fs, MemFs, OpenMode, Operation, Rule};
    /// use std::path::Path;
    /// use std::sync::{Mutex, mpsc};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let fs = FaultFs::new(MemFs::new());
    /// let (open_gate, gate) = mpsc::channel::<()>();
    /// let gate = Mutex::new(gate);
    /// let hold = Fault::call(move |_| drop(gate.lock().unwrap().recv()));
    /// fs.add_rule(Rule::new(Operation::SyncData, hold));
    ///
    /// let file = fs.open(Path::new("/log"), OpenMode::CreateNew)?;
    /// std::thread::scope(|scope| {
    ///     let sync = scope.spawn(|| file.sync_data());
    ///     assert!(!sync.is_finished()); // the sync is held, and the file still takes writes
    ///     assert!(file.write_at(b"meanwhile", 0).is_ok());
    ///     drop(open_gate);
    /// });
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn call(hook: impl Fn(&Call) + Send + Sync + 'static) -> Fault {
        Fault::Call(Arc::new(hook))
    }

    /// Whether the fault means anything for such a call.
    fn suits(&self, operation: Operation) -> bool {
        match self {
            Fault::Error(_) | Fault::Errno(_) | Fault::Call(_) => true,
            Fault::ShortIo(_) => matches!(operation, Operation::Read | Operation::Write),
            Fault::PartialWrite { .. } => operation == Operation::Write,
            Fault::FlipBit { .. } => matches!(operation, Operation::Read | Operation::View),
            Fault::IgnoreSilently => matches!(
                operation,
                Operation::CreateDir
                    | Operation::Rename
                    | Operation::Remove
                    | Operation::RenameDir
                    | Operation::RemoveDir
                    | Operation::SyncDir
                    | Operation::Write
                    | Operation::SetLen
                    | Operation::Allocate
                    | Operation::SyncData
                    | Operation::SyncAll
            ),
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Error(kind) => f.debug_tuple("Error").field(kind).finish(),
            Fault::Errno(number) => f.debug_tuple("Errno").field(number).finish(),
            Fault::ShortIo(bytes) => f.debug_tuple("ShortIo").field(bytes).finish(),
            Fault::PartialWrite { written, kind } => f
                .debug_struct("PartialWrite")
                .field("written", written)
                .field("kind", kind)
                .finish(),
            Fault::FlipBit { seed } => f.debug_struct("FlipBit").field("seed", seed).finish(),
            Fault::IgnoreSilently => f.write_str("IgnoreSilently"),
            Fault::Call(_) => f.write_str("Call(..)"),
        }
    }
}

/// Which calls meet with which [`Fault`], and when. Without more, every call of the operation
/// does.
///
/// A rule counts the calls it matches: by operation, by path, and because the fault
/// means something for them (a [`Fault::ShortIo`] matches reads and writes only). When
/// it strikes is said in terms of that count; the last of [`nth`](Rule::nth),
/// [`from_nth`](Rule::from_nth) and [`chance`](Rule::chance) holds.
///
/// ```
/// use annals::fs::{Fault, Operation, Rule};
/// use std::io::ErrorKind;
///
/// // The third sync of a file whose path contains ".log" fails.
/// Rule::new(Operation::SyncData, Fault::Error(ErrorKind::Other)).path(".log").nth(3);
/// // From the tenth call of any kind on, everything fails.
/// Rule::any(Fault::Errno(5)).from_nth(10);
/// // Half of all reads and writes do one byte.
/// Rule::new(Operation::Read, Fault::ShortIo(1)).or(Operation::Write).chance(0.5, 42);
/// ```
#[derive(Debug, Clone)]
#[must_use = "a rule does nothing until it is added to a FaultFs"]
pub struct Rule {
    /// Empty for any.
    operations: Vec<Operation>,
    path: Option<String>,
    when: When,
    fault: Fault,
}

#[derive(Debug, Clone)]
enum When {
    Always,
    Nth(u64),
    FromNth(u64),
    Chance(f64, SplitMix64),
}

impl Rule {
    /// Creates a rule for every call of an operation.
    pub fn new(operation: Operation, fault: Fault) -> Rule {
        Rule { operations: vec![operation], ..Rule::any(fault) }
    }

    /// Creates a rule for every call.
    pub fn any(fault: Fault) -> Rule {
        Rule { operations: Vec::new(), path: None, when: When::Always, fault }
    }

    /// Also matches calls of another operation.
    pub fn or(mut self, operation: Operation) -> Rule {
        // Nothing is more than any.
        if !self.operations.is_empty() {
            self.operations.push(operation);
        }
        self
    }

    /// Matches only paths that contain this. For a rename, either path counts; for an open file,
    /// the path by which it was opened.
    pub fn path(mut self, part: impl Into<String>) -> Rule {
        self.path = Some(part.into());
        self
    }

    /// Strikes only the `n`-th call that matches, counted from 1.
    pub fn nth(mut self, n: u64) -> Rule {
        self.when = When::Nth(n);
        self
    }

    /// Strikes the `n`-th call that matches, counted from 1, and all after it.
    pub fn from_nth(mut self, n: u64) -> Rule {
        self.when = When::FromNth(n);
        self
    }

    /// Strikes each call that matches with this probability, as the seed decides.
    pub fn chance(mut self, probability: f64, seed: u64) -> Rule {
        self.when = When::Chance(probability, SplitMix64(seed));
        self
    }
}

/// A rule in use.
#[derive(Debug)]
pub(super) struct Active {
    rule: Rule,
    matched: u64,
    pub(super) fired: u64,
}

impl Active {
    pub(super) fn new(rule: Rule) -> Active {
        Active { rule, matched: 0, fired: 0 }
    }

    /// Counts a call, and says whether the rule strikes it.
    pub(super) fn strikes(&mut self, call: &Call) -> bool {
        let rule = &mut self.rule;
        let operation = rule.operations.is_empty() || rule.operations.contains(&call.operation);
        if !operation || !rule.fault.suits(call.operation) {
            return false;
        }
        if let Some(part) = &rule.path {
            let to = call.to.as_deref().unwrap_or(&call.path);
            let contains = |path: &std::path::Path| path.to_string_lossy().contains(part.as_str());
            if !contains(&call.path) && !contains(to) {
                return false;
            }
        }
        self.matched += 1;
        match &mut rule.when {
            When::Always => true,
            When::Nth(n) => self.matched == *n,
            When::FromNth(n) => self.matched >= *n,
            When::Chance(probability, random) => random.chance(*probability),
        }
    }

    /// Counts a strike and says what it does.
    pub(super) fn fire(&mut self) -> Effect {
        self.fired += 1;
        match &self.rule.fault {
            Fault::Error(kind) => Effect::Error(Failure::Kind(*kind)),
            Fault::Errno(number) => Effect::Error(Failure::Errno(*number)),
            Fault::ShortIo(bytes) => Effect::ShortIo(*bytes),
            Fault::PartialWrite { written, kind } => {
                Effect::PartialWrite(*written, Failure::Kind(*kind))
            }
            Fault::FlipBit { seed } => {
                Effect::FlipBit(SplitMix64(seed.wrapping_add(self.fired)).next())
            }
            Fault::IgnoreSilently => Effect::IgnoreSilently,
            Fault::Call(hook) => Effect::Call(Arc::clone(hook)),
        }
    }

    /// Whether the fault leaves the call what it is, so that others may still strike it.
    pub(super) fn only_watches(&self) -> bool {
        matches!(self.rule.fault, Fault::Call(_))
    }
}

/// The effect of a rule on one call.
pub(super) enum Effect {
    Error(Failure),
    ShortIo(usize),
    PartialWrite(usize, Failure),
    /// The number of the bit, to be taken modulo the bits there are.
    FlipBit(u64),
    IgnoreSilently,
    Call(FaultHook),
}

/// An error to be made; `io::Error` cannot be cloned.
pub(super) enum Failure {
    Kind(io::ErrorKind),
    Errno(i32),
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> io::Error {
        match failure {
            Failure::Kind(kind) => io::Error::new(kind, format!("{kind} (injected)")),
            Failure::Errno(number) => io::Error::from_raw_os_error(number),
        }
    }
}
