//! The rules of a [`FaultFs`](super::FaultFs): which calls, when, and what happens to them.

use super::operation::{Call, Operation};
use crate::random::SplitMix64;
use std::fmt;
use std::io;
use std::sync::Arc;

/// A fault that happens to a call. [`FaultFs`](super::FaultFs) has an example.
#[derive(Clone)]
#[non_exhaustive]
pub enum Fault {
    /// The call fails with this kind of error and does nothing. A failed sync makes nothing
    /// durable.
    Error(io::ErrorKind),
    /// The call fails with this error number of the operating system and does nothing. On Linux,
    /// `Errno(24)` is "too many open files".
    Errno(i32),
    /// A read or a write transfers at most this many bytes. With 0, a read sees the end of the
    /// file.
    ShortIo(usize),
    /// A write writes at most this many bytes and then fails: the bytes are in the file although
    /// the call failed.
    PartialWrite {
        /// The number of bytes it writes.
        written: usize,
        /// The error it fails with.
        kind: io::ErrorKind,
    },
    /// A read or a view returns one wrong bit, chosen by the seed and the number of times the rule
    /// has fired. The file keeps its bytes.
    FlipBit {
        /// The seed that chooses the bit.
        seed: u64,
    },
    /// A write, or a call without a result, succeeds and does nothing: as on a disk that ignores
    /// fsync, or as a second sync after a failed one.
    IgnoreSilently,
    /// A function runs before the call is made, so a function that blocks delays the call. No lock
    /// of the [`FaultFs`](super::FaultFs) is held meanwhile. See [`Fault::call`].
    Call(FaultHook),
}

/// The function of a [`Fault::Call`]. [`Fault::call`] has an example.
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

    /// Returns whether the fault can happen to such a call.
    fn applies_to(&self, operation: Operation) -> bool {
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

/// Selects the calls that a [`Fault`] happens to. By default, these are all calls of the
/// operation.
///
/// A rule counts the calls that it matches: by operation, by path, and by the fault (a
/// [`Fault::ShortIo`] matches only reads and writes). It fires at all of them, or as
/// [`nth`](Rule::nth), [`from_nth`](Rule::from_nth) or [`chance`](Rule::chance) says. If you call
/// several of these, the last call applies.
///
/// ```
/// use annals::fs::{Fault, Operation, Rule};
/// use std::io::ErrorKind;
///
/// // The third sync of a file whose path contains ".log" fails.
/// Rule::new(Operation::SyncData, Fault::Error(ErrorKind::Other)).path(".log").nth(3);
/// // From the tenth call of any kind on, everything fails.
/// Rule::any(Fault::Errno(5)).from_nth(10);
/// // Half of all reads and writes transfer one byte.
/// Rule::new(Operation::Read, Fault::ShortIo(1)).or(Operation::Write).chance(0.5, 42);
/// ```
#[derive(Debug, Clone)]
#[must_use = "a rule does nothing until it is added to a FaultFs"]
pub struct Rule {
    /// Empty for any operation.
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
        // A rule for any operation stays one.
        if !self.operations.is_empty() {
            self.operations.push(operation);
        }
        self
    }

    /// Matches only paths that contain this text. For a rename, either path counts; for an open
    /// file, the path it was opened with.
    pub fn path(mut self, part: impl Into<String>) -> Rule {
        self.path = Some(part.into());
        self
    }

    /// Fires only at the `n`-th matching call, counted from 1.
    pub fn nth(mut self, n: u64) -> Rule {
        self.when = When::Nth(n);
        self
    }

    /// Fires at the `n`-th matching call, counted from 1, and at all later ones.
    pub fn from_nth(mut self, n: u64) -> Rule {
        self.when = When::FromNth(n);
        self
    }

    /// Fires at each matching call with this probability, as the seed decides.
    pub fn chance(mut self, probability: f64, seed: u64) -> Rule {
        self.when = When::Chance(probability, SplitMix64(seed));
        self
    }
}

/// A rule in use, with its counts.
#[derive(Debug)]
pub(super) struct ActiveRule {
    rule: Rule,
    matched: u64,
    pub(super) fired: u64,
}

impl ActiveRule {
    pub(super) fn new(rule: Rule) -> ActiveRule {
        ActiveRule { rule, matched: 0, fired: 0 }
    }

    /// Counts a call, and returns whether the rule fires at it.
    pub(super) fn matches(&mut self, call: &Call) -> bool {
        let rule = &mut self.rule;
        let operation = rule.operations.is_empty() || rule.operations.contains(&call.operation);
        if !operation || !rule.fault.applies_to(call.operation) {
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

    /// Counts a firing, and returns its effect.
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

    /// Returns whether the fault leaves the call unchanged, so that other faults can still happen.
    pub(super) fn only_watches(&self) -> bool {
        matches!(self.rule.fault, Fault::Call(_))
    }
}

/// The effect of a rule on one call.
pub(super) enum Effect {
    Error(Failure),
    ShortIo(usize),
    PartialWrite(usize, Failure),
    /// The number of the bit, modulo the number of bits.
    FlipBit(u64),
    IgnoreSilently,
    Call(FaultHook),
}

/// An error to be created. `io::Error` cannot be cloned.
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
