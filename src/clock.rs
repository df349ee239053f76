//! Clocks: the only code that reads the operating system's time.

use crate::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use crate::types::Timestamp;
use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime};

/// A source of time: the calendar time, and a monotonic time.
///
/// Use a [`ManualClock`] to make time-dependent behaviour (rolling by age, flushing by interval)
/// reproducible in a test.
///
/// A clock must not call a log, a store or their clients: it is read with their locks held, so the
/// call would deadlock. It should return at once, because an append may wait for it. If it panics,
/// only the call that read the clock unwinds.
///
/// ```
/// use annals::{Clock, SystemClock, Timestamp};
/// use std::time::Duration;
///
/// /// A clock whose calendar time is an hour late.
/// #[derive(Debug)]
/// struct Late(SystemClock);
///
/// impl Clock for Late {
///     fn now(&self) -> Timestamp {
///         Timestamp::from_millis(self.0.now().as_millis() - 3_600_000)
///     }
///     fn monotonic(&self) -> Duration {
///         self.0.monotonic()
///     }
///     fn runs_by_itself(&self) -> bool {
///         true
///     }
/// }
///
/// assert!(Late(SystemClock::new()).now() < SystemClock::new().now());
/// ```
pub trait Clock: Send + Sync + Debug + 'static {
    /// Returns the calendar time. It may jump in both directions.
    ///
    /// It sets the timestamps of records. As in Kafka, everything that is compared with them
    /// follows it, too: retention by age, the lags of compaction, the time that tombstones stay,
    /// and the expiry of committed offsets of a group without members. Everything else follows
    /// [`monotonic`](Clock::monotonic), such as sessions of group members, timeouts of producers,
    /// and the time after which a producer is forgotten.
    fn now(&self) -> Timestamp;

    /// Returns the time since a fixed moment. It never goes back.
    fn monotonic(&self) -> Duration;

    /// Returns whether [`monotonic`](Clock::monotonic) advances by the time that a thread sleeps.
    ///
    /// *Default* false: threads that wait for a moment of this clock check it 50 times a second. A
    /// clock that forwards to [`SystemClock`] can return true to avoid that.
    fn runs_by_itself(&self) -> bool {
        false
    }
}

/// The operating system's clocks, which are the default. [`Clock`] has an example.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Creates a clock whose monotonic time starts now.
    #[must_use]
    pub fn new() -> SystemClock {
        SystemClock { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from(SystemTime::now())
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn runs_by_itself(&self) -> bool {
        true
    }
}

/// A clock that moves only when you move it.
///
/// ```
/// use annals::{Clock, ManualClock, Timestamp};
/// use std::time::Duration;
///
/// let clock = ManualClock::new(Timestamp::from_millis(1_000));
/// clock.advance(Duration::from_secs(1));
/// assert_eq!(clock.now(), Timestamp::from_millis(2_000));
/// clock.set(Timestamp::from_millis(5)); // the calendar time may go back
/// assert_eq!(clock.monotonic(), Duration::from_secs(1)); // the monotonic time does not
/// ```
#[derive(Debug)]
pub struct ManualClock {
    calendar_millis: AtomicI64,
    monotonic_millis: AtomicU64,
}

impl ManualClock {
    /// Creates a clock that shows `now`, and zero as its monotonic time.
    #[must_use]
    pub fn new(now: Timestamp) -> ManualClock {
        ManualClock {
            calendar_millis: AtomicI64::new(now.as_millis()),
            monotonic_millis: AtomicU64::new(0),
        }
    }

    /// Advances both times by whole milliseconds.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.monotonic_millis.fetch_add(millis, Ordering::SeqCst);
        self.calendar_millis.fetch_add(i64::try_from(millis).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Sets the calendar time, in either direction. The monotonic time does not change.
    pub fn set(&self, now: Timestamp) {
        self.calendar_millis.store(now.as_millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.calendar_millis.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic_millis.load(Ordering::SeqCst))
    }
}
