//! Threads that maintain any number of logs.
//!
//! They know a log only as [`Maintained`]. They maintain all logs in rounds, one round in each
//! interval. Logs that only delete come first, because they take no time, then the logs that
//! compact, the dirtiest first. Between rounds every thread sleeps: a thousand logs with nothing
//! to do cost one look at each of them in an interval.

use crate::callback;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result, reject_option};
use crate::event::Event;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard, thread};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Called with the number of bytes that a pass has read or written since the last call. It may
/// block, to slow the pass down; if it returns false, the pass ends.
pub(crate) type Pace<'a> = &'a mut dyn FnMut(u64) -> bool;

/// The longest time for which dropping a store waits for passes that stand still.
#[cfg(not(shuttle))]
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A log, as the threads that maintain it see it.
pub(crate) trait Maintained: Send + Sync {
    /// Returns whether it counts as a log in the [`MaintainerStats`].
    fn is_log(&self) -> bool {
        true
    }

    /// Returns whether a pass can begin: the log can be written to, and no other thread runs one.
    fn is_ready(&self) -> bool;

    fn is_closed(&self) -> bool;

    /// Returns whether maintenance must leave the log alone.
    fn is_paused(&self) -> bool;

    /// Returns the share of the log that is dirty.
    fn dirty_ratio(&self) -> f64;

    /// Makes a pass: flushes, compacts, applies retention.
    fn pass(&self, pace: Pace<'_>) -> Result<()>;

    /// Flushes if that is due by age. Returns the time until the next flush can be due; `None` if
    /// it never is.
    fn flush_by_age(&self) -> Result<Option<Duration>>;

    /// Keeps the log from being compacted, and returns the event that says so.
    fn set_uncleanable(&self, cause: &str) -> Event;

    fn emit(&self, event: &Event);
}

/// How long a pass that is slowed down waits before it checks whether to stop.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The options of a [`Maintainer`].
#[derive(Debug, Clone)]
pub struct MaintainerConfig {
    threads: usize,
    interval: Duration,
    bytes_per_second: u64,
}

impl Default for MaintainerConfig {
    fn default() -> MaintainerConfig {
        MaintainerConfig {
            threads: 1,
            interval: Duration::from_secs(15),
            bytes_per_second: u64::MAX,
        }
    }
}

impl MaintainerConfig {
    /// Sets the number of threads, and so of logs maintained at the same time.
    ///
    /// *Default* 1. *Limits* 1 to 64. *Effect*: each takes the
    /// [`dedupe_buffer_bytes`](crate::LogConfig::dedupe_buffer_bytes) of the log that it is
    /// compacting. Kafka: `log.cleaner.threads`.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets the time from the beginning of one round to that of the next.
    ///
    /// *Default* 15 seconds. *Limits* 1 ms and up. *Effect*: records that are due stay for up to
    /// this much longer. If a round takes longer, the next one begins at once.
    /// Kafka: `log.cleaner.backoff.ms`, `log.retention.check.interval.ms`.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets the number of bytes that all threads together may read and write in one second of
    /// compaction.
    ///
    /// *Default* no limit. *Limits* 1 and up. *Effect*: leaves the rest of the disk's bandwidth to
    /// appends and reads. Kafka: `log.cleaner.io.max.bytes.per.second`.
    #[must_use]
    pub fn bytes_per_second(mut self, bytes: u64) -> Self {
        self.bytes_per_second = bytes;
        self
    }

    fn validate(&self) -> Result<()> {
        if !(1..=64).contains(&self.threads) {
            return reject_option("threads", self.threads, "must lie between 1 and 64");
        }
        if self.interval < Duration::from_millis(1) {
            let interval = format_args!("{:?}", self.interval);
            return reject_option("interval", interval, "must be at least 1 ms");
        }
        if self.bytes_per_second == 0 {
            return reject_option("bytes_per_second", 0, "must be at least 1");
        }
        Ok(())
    }
}

/// Threads that call [`Log::maintain`](crate::Log::maintain) for all logs that you add.
///
/// One maintainer can maintain one log or thousands. Clones are handles to the same threads, which
/// are started for the first log and stop when the last handle is dropped. A
/// [`LogConfig`](crate::LogConfig::maintainer) with a maintainer is a handle, too, for as long as
/// a log has it. A log that is closed or dropped leaves the maintainer. `close` waits until a
/// running pass has noticed it. Dropping the last [`Store`](crate::Store) handle waits, too, for at
/// most a second; the drop of a log does not wait. So [close](crate::Log::close) a log whose
/// directory you open again at once.
///
/// There is no caller to return an error to. A failure is an [`Event::MaintenanceFailed`] of that
/// log, and the next round retries. A log whose pass panics is not compacted any more:
/// [`Event::Uncleanable`]. All other logs go on.
///
/// ```
/// use annals::{CleanupPolicy, Log, LogConfig, Maintainer, MaintainerConfig, fs::MemFs};
/// use std::time::Duration;
///
/// let config = MaintainerConfig::default().interval(Duration::from_secs(60));
/// let config = config.bytes_per_second(50 << 20);
/// let maintainer = Maintainer::new(config)?;
///
/// let fs = MemFs::new();
/// let config = LogConfig::default().fs(fs).maintainer(&maintainer);
/// let orders = Log::open("orders-0", config.clone().retention_age(Duration::from_secs(86_400)))?;
/// let prices = Log::open("prices-0", config.cleanup_policy(CleanupPolicy::Compact))?;
/// assert_eq!(maintainer.stats().logs, 2);
///
/// let pause = prices.pause_maintenance(); // say, while a copy of its files is made
/// drop(pause);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone)]
pub struct Maintainer {
    threads: Arc<Threads>,
}

/// The counters of a [`Maintainer`] since it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MaintainerStats {
    /// The number of logs it has. It may still count logs that were dropped a moment ago.
    pub logs: usize,
    /// The number of logs that wait for their turn in this round.
    pub waiting: usize,
    /// The number of logs that are being maintained now.
    pub running: usize,
    /// The number of passes over a log.
    pub passes: u64,
    /// The number of passes that failed or panicked.
    pub failures: u64,
    /// The number of bytes that compaction has read and written.
    pub bytes: u64,
}

impl Maintainer {
    /// Creates a maintainer without logs. Its threads are started for the first log.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`].
    pub fn new(config: MaintainerConfig) -> Result<Maintainer> {
        Maintainer::with_clock(config, Arc::new(SystemClock::new()))
    }

    /// Creates a maintainer whose rounds and rate follow this clock. With a
    /// [`ManualClock`](crate::ManualClock), a round begins when you have moved the clock by the
    /// [interval](MaintainerConfig::interval). The maintainer of a [`Store`](crate::Store) follows
    /// [`StoreConfig::clock`](crate::StoreConfig::clock).
    ///
    /// ```
    /// use annals::{Maintainer, MaintainerConfig, ManualClock, Timestamp};
    /// use std::sync::Arc;
    ///
    /// let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
    /// let maintainer = Maintainer::with_clock(MaintainerConfig::default(), clock)?;
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidConfig`].
    pub fn with_clock(config: MaintainerConfig, clock: Arc<dyn Clock>) -> Result<Maintainer> {
        config.validate()?;
        let rounds = Arc::new(Rounds {
            config,
            clock,
            state: Mutex::default(),
            changed: Condvar::new(),
            released: Condvar::new(),
            pace: Mutex::default(),
            passes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        Ok(Maintainer { threads: Arc::new(Threads { rounds, joins: Mutex::default() }) })
    }

    /// Adds a log, which is in this directory.
    pub(crate) fn add_maintained(&self, log: Arc<dyn Maintained>, dir: &Path) -> Result<()> {
        self.threads.start(dir)?;
        let rounds = &self.threads.rounds;
        let mut state = rounds.state.lock();
        let added = Member { is_log: log.is_log(), log: Arc::downgrade(&log) };
        if !state.logs.iter().any(|known| Weak::ptr_eq(&known.log, &added.log)) {
            state.logs.push(added.clone());
            state.next_flush = Duration::ZERO;
            state.queue.push(added);
        }
        drop(state);
        // Wake all, because a pass that is slowed down waits there, too.
        rounds.changed.notify_all();
        Ok(())
    }

    /// Waits until no thread holds a log that has no other handle any more, and so its locks. A
    /// pass over such a log ends early.
    ///
    /// The wait has a limit: a pass may be delivering an event to a listener that waits for the
    /// thread that is here.
    #[cfg(not(shuttle))]
    pub(crate) fn wait_for_dropped(&self) {
        let rounds = &self.threads.rounds;
        // A manual clock stands still here.
        let real = SystemClock::new();
        let deadline = real.monotonic().saturating_add(LONGEST_WAIT);
        let mut state = rounds.state.lock();
        // A thread that maintains cannot wait for itself.
        let own = thread::current().id();
        while state.holds_dropped(own) {
            let left = deadline.saturating_sub(real.monotonic());
            if left.is_zero() {
                return;
            }
            rounds.released.wait_for(&mut state, left);
        }
    }

    /// Begins a round now, without waiting for the end of the interval.
    pub fn run_now(&self) {
        let rounds = &self.threads.rounds;
        rounds.state.lock().next_round = Duration::ZERO;
        rounds.changed.notify_all();
    }

    /// Returns the counters of the maintainer.
    #[must_use]
    pub fn stats(&self) -> MaintainerStats {
        let rounds = &self.threads.rounds;
        let state = rounds.state.lock();
        MaintainerStats {
            logs: state.logs.iter().filter(|member| member.is_log).count(),
            waiting: state.queue.iter().filter(|member| member.is_log).count(),
            running: state.running.iter().filter(|(_, member)| member.is_log).count(),
            passes: rounds.passes.load(Ordering::Relaxed),
            failures: rounds.failures.load(Ordering::Relaxed),
            bytes: rounds.bytes.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for Maintainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Maintainer").field(&self.threads.rounds.config).finish()
    }
}

/// The threads. They stop when this is dropped.
struct Threads {
    rounds: Arc<Rounds>,
    /// Leaf lock.
    joins: Mutex<Vec<thread::JoinHandle<()>>>,
}

impl Threads {
    /// Starts the threads that are not running yet.
    fn start(&self, dir: &Path) -> Result<()> {
        let mut joins = self.joins.lock();
        while joins.len() < self.rounds.config.threads {
            let rounds = Arc::clone(&self.rounds);
            let thread = thread::Builder::new().name("annals-maintain".to_owned());
            let started = thread.spawn(move || rounds.work());
            // Fewer threads than configured are enough.
            match started {
                Ok(join) => joins.push(join),
                Err(_) if !joins.is_empty() => break,
                Err(error) => return Err(Error::io("start a thread to maintain", dir, error)),
            }
        }
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.rounds.state.lock().stopped = true;
        self.rounds.changed.notify_all();
        for join in self.joins.get_mut().drain(..) {
            // The last handle may have belonged to a log that one of these threads dropped last.
            if join.thread().id() != thread::current().id() {
                // A pass catches its own panics.
                join.join().ok();
            }
        }
    }
}

/// The state that the threads share.
struct Rounds {
    config: MaintainerConfig,
    clock: Arc<dyn Clock>,
    /// Leaf lock.
    state: Mutex<State>,
    /// Waits with `state` for a round to begin or for the end. A pass that is slowed down waits
    /// with it, too.
    changed: Condvar,
    /// Waits with `state` until threads have let go of logs.
    released: Condvar,
    /// Leaf lock. The time at which the bytes read and written so far are within the rate.
    pace: Mutex<Duration>,
    passes: AtomicU64,
    failures: AtomicU64,
    bytes: AtomicU64,
}

/// One of the logs, or something else that is maintained in the same rounds.
#[derive(Clone)]
struct Member {
    log: Weak<dyn Maintained>,
    is_log: bool,
}

#[derive(Default)]
struct State {
    logs: Vec<Member>,
    /// The logs that still wait for their turn in this round, the next one last.
    queue: Vec<Member>,
    next_round: Duration,
    /// When to look next for logs that are due for a flush by age, and whether a thread does so
    /// now.
    next_flush: Duration,
    flushing: Option<thread::ThreadId>,
    /// Whether a thread is putting the logs in order for the next round.
    ordering: Option<thread::ThreadId>,
    /// The passes, each with its thread.
    running: Vec<(thread::ThreadId, Member)>,
    stopped: bool,
}

#[cfg(not(shuttle))]
impl State {
    /// Returns whether another thread holds a log that has no other handle, or may hold one.
    fn holds_dropped(&self, own: thread::ThreadId) -> bool {
        let is_dropped = |(id, member): &(thread::ThreadId, Member)| {
            *id != own && member.log.strong_count() == 1
        };
        let looks = [self.flushing, self.ordering].into_iter().flatten();
        looks.into_iter().any(|id| id != own) || self.running.iter().any(is_dropped)
    }
}

impl Rounds {
    /// The work of a thread.
    fn work(&self) {
        while let Some(member) = self.next() {
            if let Some(log) = member.log.upgrade() {
                self.pass(&log);
                // This may be the last handle of the log, and user-supplied code that is dropped
                // with it may panic.
                callback::call(|| drop(log)).ok();
            }
            let own = thread::current().id();
            self.state.lock().running.retain(|(id, _)| *id != own);
            self.released.notify_all();
        }
    }

    /// Returns the next log of this round, or of the next; `None` at the end.
    fn next(&self) -> Option<Member> {
        let mut state = self.state.lock();
        loop {
            if state.stopped {
                return None;
            }
            let now = self.clock.monotonic();
            if state.flushing.is_none() && state.next_flush <= now && !state.logs.is_empty() {
                state = self.flush_logs(state);
                continue;
            }
            if let Some(next) = state.queue.pop() {
                state.running.push((thread::current().id(), next.clone()));
                return Some(next);
            }
            let next = if state.flushing.is_some() { Duration::MAX } else { state.next_flush };
            let left = state.next_round.min(next).saturating_sub(now);
            if state.ordering.is_some() || state.logs.is_empty() {
                self.changed.wait(&mut state);
            } else if !left.is_zero() {
                // A manual clock may move at any moment.
                let by_itself = self.clock.runs_by_itself();
                let wait = if by_itself { left } else { left.min(LOOK_INTERVAL) };
                self.changed.wait_for(&mut state, wait);
            } else {
                state.next_round = now.saturating_add(self.config.interval);
                // The flush interval of a log may have been altered.
                state.next_flush = now;
                state.ordering = Some(thread::current().id());
                state.logs.retain(|member| member.log.strong_count() > 0);
                let logs = state.logs.clone();
                drop(state);
                let queue = in_order(logs);
                state = self.state.lock();
                state.ordering = None;
                self.released.notify_all();
                // Logs that were added meanwhile come first.
                state.queue.splice(0..0, queue);
                self.changed.notify_all();
            }
        }
    }

    /// Flushes the logs that are due by age, and finds out when to look next.
    fn flush_logs<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.flushing = Some(thread::current().id());
        // A log that is added meanwhile sets it to zero.
        state.next_flush = Duration::MAX;
        let logs = state.logs.clone();
        drop(state);
        let mut soonest = Duration::MAX;
        for log in logs.iter().filter_map(|member| member.log.upgrade()) {
            let flushed = callback::call(|| log.flush_by_age());
            let left = match flushed {
                Ok(Ok(left)) => left,
                Ok(Err(error)) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    let event = Event::MaintenanceFailed { error: error.to_string() };
                    callback::call(|| log.emit(&event)).ok();
                    Some(LOOK_INTERVAL)
                }
                // A clock or a listener panicked. Retry later.
                Err(_) => Some(LOOK_INTERVAL),
            };
            let left = left.map_or(Duration::MAX, |left| left.max(Duration::from_millis(1)));
            soonest = soonest.min(self.clock.monotonic().saturating_add(left));
            callback::call(|| drop(log)).ok();
        }
        let mut state = self.state.lock();
        state.next_flush = state.next_flush.min(soonest);
        state.flushing = None;
        self.released.notify_all();
        state
    }

    /// Maintains one log. Reports an error as an event of that log.
    fn pass(&self, log: &Arc<dyn Maintained>) {
        // Call this before `is_closed`: then a log that is closed in between is removed now, and
        // not in the next round.
        let is_ready = log.is_ready();
        if log.is_closed() {
            let mut state = self.state.lock();
            state.logs.retain(|known| !std::ptr::addr_eq(known.log.as_ptr(), Arc::as_ptr(log)));
            return;
        }
        if !is_ready {
            return;
        }
        self.passes.fetch_add(u64::from(log.is_log()), Ordering::Relaxed);
        // A panic below leaves no lock held, so the log can be used, and closed.
        let done = callback::call(|| log.pass(&mut |bytes| self.may_go_on(log, bytes)));
        let event = match done {
            Ok(Ok(())) | Ok(Err(Error::Closed { .. })) => return,
            Ok(Err(error)) => Event::MaintenanceFailed { error: error.to_string() },
            Err(_) => log.set_uncleanable("a pass of maintenance panicked"),
        };
        self.failures.fetch_add(1, Ordering::Relaxed);
        // A listener may panic.
        callback::call(|| log.emit(&event)).ok();
    }

    /// Returns whether a pass may go on. Waits if it is faster than the rate.
    fn may_go_on(&self, log: &Arc<dyn Maintained>, bytes: u64) -> bool {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let within = self.within_rate_at(bytes);
        let mut state = self.state.lock();
        // A long pass must not keep records from being flushed in time.
        if state.flushing.is_none() && state.next_flush <= self.clock.monotonic() {
            state = self.flush_logs(state);
        }
        loop {
            // If only this pass holds a reference, the log has no other handle.
            let wanted = Arc::strong_count(log) > 1 && !log.is_paused();
            if state.stopped || !wanted {
                return false;
            }
            let left = within.saturating_sub(self.clock.monotonic());
            if left.is_zero() {
                return true;
            }
            self.changed.wait_for(&mut state, left.min(LOOK_INTERVAL));
        }
    }

    /// Returns the time at which these bytes, too, are within the rate.
    fn within_rate_at(&self, bytes: u64) -> Duration {
        let rate = self.config.bytes_per_second;
        if rate == u64::MAX {
            return Duration::ZERO;
        }
        let takes = u128::from(bytes).saturating_mul(1_000_000_000) / u128::from(rate.max(1));
        let takes = Duration::from_nanos(u64::try_from(takes).unwrap_or(u64::MAX));
        let mut within = self.pace.lock();
        *within = (*within).max(self.clock.monotonic()).saturating_add(takes);
        *within
    }
}

/// Sorts logs so that they are popped in order: logs that only delete, then the dirtiest.
fn in_order(logs: Vec<Member>) -> Vec<Member> {
    let ratio = |member: &Member| member.log.upgrade().map(|log| log.dirty_ratio());
    let mut rated: Vec<_> = logs.into_iter().filter_map(|log| Some((ratio(&log)?, log))).collect();
    rated.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    rated.into_iter().map(|(_, log)| log).collect()
}
