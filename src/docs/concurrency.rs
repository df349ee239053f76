//! Which calls wait for which, and how a change by one thread becomes visible to another.
//!
//! A [`Log`](crate::Log) handle is an `Arc`. All methods take `&self`, and you can call them from
//! any thread at any time. A [`Reader`](crate::Reader) or a [`Tail`](crate::Tail) belongs to one
//! thread at a time, and you can move it to another.
//!
//! # What each call of a log waits for
//!
//! | call | waits for | never waits for |
//! |---|---|---|
//! | append | other appends, for the length of their write; a roll; a truncation | readers, tails, fsyncs, unless [`flush_messages`](crate::LogConfig::flush_messages) or [`flush_interval`](crate::LogConfig::flush_interval) makes it flush |
//! | read, reader | the disk | appends, rolls, fsyncs, truncations |
//! | tail | the next append | rolls, fsyncs, truncations |
//! | flush | an fsync that is running, then its own if the first did not cover it | readers; appends go on meanwhile |
//! | `flush_async().await` | the same, without blocking the caller's thread | |
//! | roll | an append | readers, fsyncs |
//! | truncate | an append, a running fsync, another truncation | readers: if the place of a reader is gone, its next call fails with [`OffsetOutOfRange`](crate::Error::OffsetOutOfRange) |
//! | `delete_before`, `maintain` | a truncation; an fsync of the records to be deleted, if they are not durable | readers: a reader in a deleted segment finishes that segment, then fails with [`OffsetOutOfRange`](crate::Error::OffsetOutOfRange); appends go on meanwhile |
//! | `compact`, `maintain` where it compacts | another compaction of the log; an fsync of the records that are not durable; a truncation or a deletion, to replace segments | appends, readers. A truncation, deletion or close waits at most for the first fsync of the compaction or for one replacement: the compaction notices it, and discards what it was writing |
//! | `pause_maintenance` | until a running pass notices it | any other call |
//! | close | an append, a truncation, a deletion, an fsync; until a compaction notices it | readers: their next call fails with [`Closed`](crate::Error::Closed) |
//!
//! Readers have two small exceptions. The first reader that needs a closed segment's indexes opens
//! them, and other readers that need the same indexes wait for it. A reader that meets a batch in
//! the very moment in which it is being published waits for that append to end.
//!
//! Work that needs no place in the log happens before the lock is taken: encoding, compressing,
//! validating, the checksum. Under the lock, an append writes the offset into the batch, makes one
//! write and publishes the batch.
//!
//! # Group append
//!
//! An append of at most 8 KiB that finds the writer lock taken queues its batch and waits. The
//! next thread that gets the lock takes the whole queue, assigns offsets to each batch, and writes
//! all of them with one call. So the more threads append small batches, the more of them share a
//! write. In the file, the batches are the same as if each had been written alone, in the order of
//! their offsets, and a kill leaves a prefix of them whole. If the queue as a whole does not fit
//! on the disk, each batch is tried alone, so that no batch fails because of the size of another.
//! No thread depends on being served: after some tens of microseconds, a waiting thread blocks on
//! the lock, and leads when it gets it. If a leader panics, the appends it led fail with an error.
//!
//! The batch of a numbered producer is not written with others, because the batches before it
//! decide whether it is next in sequence, a duplicate, or rejected. It is checked under the lock,
//! when its turn comes, before anything is written or rolled. The producer's state is updated
//! after the write and before the end is published. So threads that send the same batch at the
//! same time store it once. If two threads append two batches of one producer without waiting for
//! each other, the batches may arrive in the wrong order. Then the second one is rejected and not
//! stored; resend it after the first.
//!
//! # Locks
//!
//! A thread takes them in this order. It may skip some:
//!
//! | lock | held by | during |
//! |---|---|---|
//! | cleaner | compaction | all of it |
//! | change | truncate, `delete_before`, close; compaction | all of it; for compaction, the moment in which segments are replaced |
//! | writer | append, roll, truncate, close; `producers`, `maintain`, `compact`, the end of a `Producer` | the write, and the file work of a change, including snapshots of producers; for the second group, a look at the producers |
//! | sync | flush, roll, truncate, `delete_before` | a look at what is to be synced; for truncation, until its view is published. Never during an fsync |
//! | view | every call | the clone or the store of one pointer |
//!
//! The other locks, such as that of the queue of waiting appends, are leaves: no lock is taken
//! under them, and no I/O happens except where the indexes of a segment are opened. Events are
//! delivered to the [`Listener`](crate::Listener) with none of these locks held, so a listener may
//! call the log. During opening there is no log to call yet. If a call changes topics, or closes
//! the store, the store delivers its events when the call has released its locks, on the caller's
//! thread, whichever thread did the work. So a listener may call the store, too. The same holds
//! for the wakers of tasks that wait for a log: a waker may call the log, the store and its
//! groups.
//!
//! A [`Clock`](crate::Clock) must call none of them: it is read with locks held, because
//! timestamps have to rise with offsets.
//!
//! # How an append becomes visible
//!
//! In this order, each step with release ordering:
//!
//! 1. The append writes the bytes to the file.
//! 2. It adds the index entry, if there is one, to the list in memory.
//! 3. It raises the segment's *published* length: readers look no further into the file.
//! 4. It raises the *end* of the log: readers look for no higher offset.
//! 5. It releases the lock, and wakes the waiting threads and tasks.
//!
//! A reader loads with acquire ordering, so everything below an end that it has seen is there. It
//! takes no lock. The segments of a log are an immutable list, the *view*; a change creates a new
//! one. A reader keeps only the segment that it is in. It looks at the list to go on to the next
//! segment.
//!
//! # Changes under a reader
//!
//! Truncation shortens files, and compaction replaces them. Both publish the new view first, and
//! truncation also the lower end; then they raise the *revision* of the log, and only then touch a
//! file. A reader that has read bytes looks at the revision again. If it has not moved, nothing
//! that was read was being truncated, overwritten or replaced. If it has moved, the reader looks
//! for its place again. After a compaction it finds its place, because offsets do not change;
//! after a truncation it may fail with [`OffsetOutOfRange`](crate::Error::OffsetOutOfRange). So a
//! race with either is never reported as damage, and a reader never sees half of the old and half
//! of the new content. A segment deleted from the start of the log keeps its files while a reader
//! is in it. After the log is closed no file is removed; the next opening does that.
//!
//! # What each call of a store waits for
//!
//! You can use a [`Store`](crate::Store), a [`Topic`](crate::Topic), a
//! [`Producer`](crate::Producer) and an [`Admin`](crate::Admin) from any thread. A
//! [`Consumer`](crate::Consumer) belongs to one thread at a time; only its
//! [waker](crate::Consumer::waker) is for other threads.
//!
//! | call | waits for | never waits for |
//! |---|---|---|
//! | the lookup of a topic or a partition | | changes of topics: they publish their result in one step |
//! | `create_topic`, `add_partitions`, `alter_topic`, `delete_topic` | each other, over all topics of the store; `delete_topic` for appends to the logs that it closes | appends, reads and polls of other topics |
//! | `flush`, `maintain` | each log in turn | changes of topics |
//! | `close` | a change of a topic; each log, as [`Log::close`](crate::Log::close) does | producers and consumers: their next call fails with [`StoreClosed`](crate::Error::StoreClosed) |
//! | `Producer::send` | another thread that adds to the same batch; the write of a batch that this record has filled; room in the buffer | writes of other batches, fsyncs of other producers |
//! | `SendHandle::wait`, `Producer::flush` | the write of the records that it waits for, by this thread unless another already writes them; with [`Acks::Flushed`](crate::Acks::Flushed) an fsync | |
//! | `Consumer::poll` | records, if there are none and its timeout allows; a rebalance of its group; the lock of its group, to report that it polls | appends, other consumers that process records |
//! | a commit | commits of groups in the same partition of `__consumer_offsets`; its append | an fsync, except with [`flush_commits`](crate::ConsumerConfig::flush_commits), and then without a lock |
//! | `Admin` of groups | the same lock, for a moment each | members that process records |
//! | the first producer, and each thousandth | a write of `producer-ids.properties` | |
//! | the first use of a group after opening | the reading of its partition of `__consumer_offsets`; other calls that need that partition wait for it | |
//!
//! One thread at a time writes the batches of a partition, in order; other threads leave their
//! batches to it. After some rounds that thread hands the rest over to the producer's own thread,
//! because it has work of its own. A partition whose disk fails holds back its own records, and
//! those of other partitions only if they find no room in the buffer.
//!
//! # The locks of a store
//!
//! In this order:
//!
//! | lock | held by | during |
//! |---|---|---|
//! | changes | `create_topic`, `add_partitions`, `alter_topic`, `delete_topic`, `reopen_partition`, `close` | all of it |
//! | a partition of groups | each call that uses one of its groups; `delete_topic` | a look, a step of the group, the append of its record or commit; the first time, the reading of the partition. Never an fsync |
//! | those of the logs | as above | |
//! | writing of checkpoints | a thread that sets a checkpoint | the write of one small file for all logs; threads that arrive meanwhile share the next write |
//! | topics, then the order in which partitions were created; the partitions and the settings of a topic, state of checkpoints | every call | the clone or the store of a pointer, a look |
//!
//! A thread takes a partition of groups with no other lock held, except that a deletion holds the
//! lock of changes. It is the only lock that is held while records are appended, because a commit
//! is checked and written in one step. Producers have their own locks: the state of a topic, then
//! the batches of a partition, then the list of the partitions that have any. None of them is held
//! while a log is written to. Interceptors, callbacks, partitioners and rebalance listeners are
//! called with no lock held, and may make any call. If one panics, it ends its own call and no
//! other: see [callbacks](super::durability#each-fault-and-the-test-that-shows-it). A
//! [`Listener`](crate::Listener) may call the store, its clients and its logs: see
//! [locks](#locks).
//!
//! # Maintenance threads
//!
//! A [`Maintainer`](crate::Maintainer) has a fixed number of threads for all its logs, which you
//! configure. They sleep between rounds. Every 256 KiB, a pass checks whether it may go on. It
//! ends when the log is closed or [paused](crate::Log::pause_maintenance), when the log's last
//! handle is dropped, and when the last handle of the maintainer is dropped. With a limit on bytes
//! a second, the pass also sleeps there.
//!
//! If a pass has replaced log files of 8 MiB or more, a thread that ends with that work closes
//! them: the last close of a removed file frees its pages, which can take nearly half as long as
//! the pass.
//!
//! # Group commit
//!
//! One thread syncs for all threads that wait. A thread that finds no fsync running leads one: it
//! notes the end of the log, syncs the segments that may hold unsynced bytes below it, and raises
//! *durable* for all. Threads that arrive meanwhile wait, and one of them leads the next fsync if
//! the first did not cover them. The more threads flush, the more of them share each fsync:
//!
//! ```
//! use annals::{Event, Listener, Log, LogConfig, fs::{Fault, FaultFs, MemFs, Operation, Rule}};
//! use std::{sync::atomic::{AtomicU64, Ordering}, sync::Arc, thread, time::Duration};
//!
//! // A disk that takes 5 ms to sync.
//! let fs = FaultFs::new(MemFs::new());
//! fs.add_rule(Rule::new(Operation::SyncData, Fault::call(|_| thread::sleep(Duration::from_millis(5)))));
//!
//! let log = Log::open("orders-0", LogConfig::default().fs(fs.clone()))?;
//! fs.clear_trace();
//! thread::scope(|scope| {
//!     for _ in 0..16 {
//!         scope.spawn(|| log.append("each is durable").and_then(|_| log.flush()));
//!     }
//! });
//! assert_eq!(log.offsets().durable, 16);
//! assert!(fs.count(Operation::SyncData) < 16);
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! The leader's right to lead is a guard: however it ends, with an error or a panic, the next
//! thread may lead. If an fsync fails, all threads that wait for it get the error, and the log is
//! [poisoned](super::durability#a-poisoned-log).
//!
//! # Waking
//!
//! A thread or task that waits at the end first counts itself as a waiter, and then looks at the
//! end. An append first raises the end, and then looks at the counter. Each has a sequentially
//! consistent fence between its two steps, so one of them sees the other. No wake-up is lost, and
//! an append without waiters pays for a fence and a load.
//!
//! # Threads that the crate starts
//!
//! A log starts none, except two that end when they are not needed any more: `annals-sync` syncs
//! for tasks that await `flush_async`. `annals-follow` looks at the files every 10 ms, while a
//! tail waits at the end of a log that was opened [read-only](crate::Log::open_read_only).
//!
//! A store has the threads of its maintainer. It starts `annals-open` while several logs are
//! opened, flushed or closed at once, or more than four are created or deleted. Each producer that
//! has a batch that lingers or is to be retried starts `annals-producer`, which ends when the
//! producer is closed. That thread runs no callbacks; it leaves them to `annals-callback`. Groups
//! have no thread: each poll of a consumer checks their deadlines, and so does the next call that
//! uses the group. You can also [run without any of these
//! threads](super::testing#tests-that-are-the-same-each-time).
