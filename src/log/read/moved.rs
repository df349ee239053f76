//! Waiting until the offsets of a log move.

use crate::error::Result;
use crate::log::inner::LogInner;
use crate::log::read::refresh::watch_files;
use crate::log::read::stats::Offsets;
use crate::log::read::tail::Patience;
use crate::sync::atomic::Ordering;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A wait until an offset of a log moves, from [`Log::offset_moved`](crate::Log::offset_moved).
///
/// It waits for any field of [`Offsets`] but `durable`: the end, the high watermark, the last
/// stable offset, the start. So a fetch that found nothing to read at its isolation level hangs on
/// it, and a broker's delayed requests do.
///
/// [`wait`](OffsetMoved::wait) blocks the thread; [`poll_moved`](OffsetMoved::poll_moved) wakes a
/// task, and an `OffsetMoved` is a `Future`, under any executor. Each of them returns the offsets
/// as they are now. Calling it again waits for the next move from there on. Several moves may be
/// seen as one.
///
/// On a log opened [read-only](crate::Log::open_read_only), it looks at the files every 10 ms.
///
/// ```
/// use annals::{Log, LogConfig, fs::MemFs};
/// use std::time::Duration;
///
/// let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
/// let mut moved = log.offset_moved(log.offsets());
/// assert_eq!(moved.wait(Some(Duration::ZERO))?, None);
///
/// log.append("paid")?;
/// let now = moved.wait(None)?.expect("no limit was set");
/// assert_eq!(now.end, 1);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug)]
pub struct OffsetMoved {
    log: Arc<LogInner>,
    id: u64,
    seen: Offsets,
}

impl OffsetMoved {
    pub(crate) fn new(log: &Arc<LogInner>, seen: Offsets) -> OffsetMoved {
        OffsetMoved { log: Arc::clone(log), id: log.state.waiters.new_id(), seen }
    }

    /// Blocks the thread until an offset has moved, and returns all of them; `None` if none has
    /// after `timeout`.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed); on a read-only log, [`Error::Io`](crate::Error::Io)
    /// and the other errors of a look at its files.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Option<Offsets>> {
        let mut patience = Patience::new(timeout);
        loop {
            let failed_looks = failed_looks(&self.log);
            if let Some(now) = self.look()? {
                return Ok(Some(now));
            }
            let (log, left) = (&self.log, patience.left(&self.log));
            let may_have_moved = log.state.waiters.wait(left, log.clock(), || {
                if timeout != Some(Duration::ZERO) {
                    watch_files(log);
                }
                self.has_moved(&log.state.offsets())
                    || log.state.is_closed()
                    || failed_looks != self::failed_looks(log)
            });
            if !may_have_moved {
                return Ok(None);
            }
        }
    }

    /// Returns the offsets if one has moved; otherwise wakes the task when one may have.
    ///
    /// # Errors
    /// As [`wait`](OffsetMoved::wait).
    pub fn poll_moved(&mut self, context: &mut Context<'_>) -> Poll<Result<Offsets>> {
        for registered in [false, true] {
            if registered {
                self.log.state.waiters.register(self.id, context.waker());
                watch_files(&self.log);
            }
            if let Some(moved) = self.look().transpose() {
                return Poll::Ready(moved);
            }
        }
        Poll::Pending
    }

    fn look(&mut self) -> Result<Option<Offsets>> {
        self.log.state.check_readable()?;
        self.log.refresh()?;
        let now = self.log.state.offsets();
        let has_moved = self.has_moved(&now);
        if has_moved {
            self.seen = now;
        }
        Ok(has_moved.then_some(now))
    }

    fn has_moved(&self, now: &Offsets) -> bool {
        Offsets { durable: self.seen.durable, ..*now } != self.seen
    }
}

fn failed_looks(log: &LogInner) -> u64 {
    log.follower.as_ref().map_or(0, |follower| follower.failed_looks.load(Ordering::Acquire))
}

/// Resolves as [`poll_moved`](OffsetMoved::poll_moved) does.
impl Future for OffsetMoved {
    type Output = Result<Offsets>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Offsets>> {
        self.poll_moved(context)
    }
}

impl Drop for OffsetMoved {
    fn drop(&mut self) {
        self.log.state.waiters.unregister(self.id);
    }
}
