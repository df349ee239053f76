//! Which call waits for which, which locks there are, and how a change by one thread becomes
//! visible to another.
//!
//! A [`Log`](crate::Log) handle is an `Arc`. You can call its methods from any thread at any time.
//! They take `&self`, except [`close`](crate::Log::close), which takes the handle and closes the
//! log for all its clones. [`Producer::close`](crate::Producer::close) takes the handle, too;
//! [`Store::close`](crate::Store::close) takes `&self`, and
//! [`Consumer::close`](crate::Consumer::close) takes `&mut self`. A [`Reader`](crate::Reader) or a
//! [`Tail`](crate::Tail) belongs to one thread at a time, and you can move it to another.
//!
//! # What each call of a log waits for
//!
//! | call | waits for | never waits for |
//! |---|---|---|
//! | append, `append_marker`, `append_as_follower` | other appends, for the length of their write; a roll; a truncation | readers, tails, fsyncs, unless [`flush_messages`](crate::LogConfig::flush_messages) or [`flush_interval`](crate::LogConfig::flush_interval) makes it flush |
//! | read, reader | the disk | appends, rolls, fsyncs, truncations |
//! | tail | the next append | rolls, fsyncs, truncations |
//! | flush | an fsync that is already running, and then its own if the first did not cover its records | readers; appends go on meanwhile |
//! | `flush_async().await` | as `flush`, without blocking the caller's thread | as `flush` |
//! | roll | an append | readers, fsyncs |
//! | `set_high_watermark` | an append; an fsync of its file, if it is lowered | readers, fsyncs of records |
//! | `set_leader_epoch` | an append; an fsync of the file of the epochs, if the epoch is new; appends wait for it | readers, fsyncs of records |
//! | truncate, `truncate_fully_and_start_at` | an append, a running fsync, another truncation | readers: if the position of a reader was truncated away, its next call fails with [`OffsetOutOfRange`](crate::Error::OffsetOutOfRange) |
//! | `delete_before`, `maintain` | a truncation; an fsync of the records to be deleted, if they are not durable | readers: a reader in a deleted segment finishes that segment, then fails with [`OffsetOutOfRange`](crate::Error::OffsetOutOfRange); appends go on meanwhile |
//! | `compact`, `maintain` where it compacts | another compaction of the log; an fsync of the records that are not durable; a truncation or a deletion, to replace segments | appends, readers. A truncation, deletion or close waits at most for the first fsync of the compaction or for one replacement: the compaction notices that call, and discards what it was writing |
//! | `pause_maintenance` | a running pass, until it notices the pause | any other call |
//! | close | an append, a truncation, a deletion, an fsync; a compaction, until it notices the close | readers: their next call fails with [`Closed`](crate::Error::Closed) |
//!
//! Readers have two small exceptions. The first reader that needs a closed segment's indexes opens
//! them, and other readers that need the same indexes wait for it. A reader that reaches a batch
//! at the very moment when it is being published waits for that append to end.
//!
//! Work that does not depend on the position in the log happens before the lock is taken:
//! encoding, compressing, validating, computing the checksum. Under the lock, an append stamps the
//! offset into the batch, makes one write and publishes the batch.
//!
//! # Group append
//!
//! An append of at most 8 KiB that finds the writer lock taken queues its batch and waits. The
//! next thread that gets the lock is the *leader*: it takes the whole queue, assigns offsets to
//! each batch, and writes all of them with one call. So the more threads append small batches, the
//! more of them share a write. In the file, the batches are the same as if each had been written
//! alone, in the order of their offsets, and a kill leaves a prefix of them whole. If the queue as
//! a whole does not fit on the disk, each batch is written alone, so that no batch fails because
//! of the size of another. No thread depends on another to write its batch: after some tens of
//! microseconds, a waiting thread blocks on the lock, and becomes the leader when it gets the
//! lock. If a leader panics, the appends it led fail with an error.
//!
//! A numbered batch is never written together with others, because the earlier batches of its
//! producer decide whether it is next in sequence, a duplicate, or rejected. When its turn comes,
//! it is checked under the lock, before anything is written or rolled. The producer's state is
//! updated after the write and before the end is published. So threads that send the same batch at
//! the same time store it once. If two threads append two batches of one producer without waiting
//! for each other, the batches may arrive in the wrong order. Then the second one is rejected and
//! not stored; resend it after the first.
//!
//! # Locks
//!
//! A thread takes the locks of a log in the order of this table, and may skip some of them:
//!
//! | lock | held by | during |
//! |---|---|---|
//! | cleaner | compaction | the whole pass |
//! | change | truncate, `delete_before`, close; compaction | the whole call; for compaction, only while segments are replaced |
//! | writer | append, roll, truncate, close, `set_leader_epoch`, `set_high_watermark` | the write, and the file work of a change, including snapshots of producers |
//! | writer | `producers`, `maintain`, `compact`, the end of a `Producer` | the reading of the table of producers |
//! | sync | flush, roll, truncate, `delete_before` | the reading of what is to be synced; for truncation, until its new segment list is published. Never during an fsync |
//! | segment list | every call | while one pointer is cloned or replaced |
//!
//! The other locks, such as the one on the queue of waiting appends, are leaves: no lock is taken
//! while they are held, and no I/O happens, except that the indexes of a segment are opened under
//! one, and the file of the leader epochs is replaced under another, which no reader takes. Events
//! are delivered to the [`Listener`](crate::Listener) with none of these locks held, so a listener
//! may call the log. While a log is being opened, a listener has no log to call yet. If a call
//! changes topics, or closes the store, the store delivers the events after the call has released
//! its locks. It delivers them on the caller's thread, even if another thread did the work. So a
//! listener may call the store, too. The wakers of tasks that wait for a log are called in the same
//! way: a waker may call the log, the store and its groups.
//!
//! A [`Clock`](crate::Clock) must not call a log, a store or its groups. It is read with locks
//! held, because timestamps have to increase with offsets.
//!
//! # How an append becomes visible
//!
//! An append becomes visible in these steps, each with release ordering:
//!
//! 1. It writes the bytes to the file.
//! 2. It adds the index entry, if there is one, to the list in memory.
//! 3. It raises the segment's *published* length: readers look no further into the file.
//! 4. It raises the *end* of the log: readers look for no higher offset. The
//!    [high watermark](crate::Offsets::high_watermark) of a log that is the only copy is its end.
//!    In a [replicated](crate::LogConfig::replicated) log, readers wait until it rises, too.
//! 5. It releases the lock, and wakes the waiting threads and tasks.
//!
//! A reader loads the end with acquire ordering, so it finds everything below that end in the
//! file. Of the [locks](#locks) above, it takes only that of the segment list, while it clones a
//! pointer. The *segment list* of a log is immutable; a change publishes a new one. A reader keeps
//! only the segment that it is in, and looks at the list to find the next segment.
//!
//! # Reading committed records
//!
//! A reader at [`ReadCommitted`](crate::IsolationLevel::ReadCommitted) stops at the last stable
//! offset, so no transaction below it is open. A batch that opens a transaction lowers the last
//! stable offset before the end of the log rises over it. A marker that aborts one adds the
//! transaction to the index of its segment in memory; then the end rises, and last the last stable
//! offset. A reader loads them the other way round: the last stable offset, then the batch, then
//! the aborted transactions. So it knows the fate of every record that it may see.
//!
//! It asks for aborted transactions only at a batch that has a producer's transaction; for all
//! others it tests one bit of the header. It then loads the aborted transactions with records in
//! that segment, once until a transaction is aborted or the list of segments changes. This takes no
//! lock, except while the index file of a closed segment is read for the first time.
//!
//! # Changes under a reader
//!
//! Truncation shortens files, and compaction replaces them. Both first publish the new segment list
//! (and, for a truncation, the lower end) together with a higher *revision* of the log, and only
//! then touch a file. A reader that has read bytes checks the revision again. If
//! the revision has not changed, nothing of the bytes that it read was truncated, overwritten or
//! replaced meanwhile. If it has changed, the reader looks up its position again. After a
//! compaction it finds its position, because offsets do not change; after a truncation it may fail
//! with [`OffsetOutOfRange`](crate::Error::OffsetOutOfRange). So a race with either change is
//! never reported as damage, and a reader never sees half of the old and half of the new content.
//! A segment deleted from the start of the log keeps its files while a reader is in it. After the
//! log is closed, no such file is removed any more; the next opening removes it.
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
//! | the lookup of a topic or a partition | nothing | changes of topics: they publish their result in one step |
//! | `create_topic`, `add_partitions`, `alter_topic`, `delete_topic` | each other, over all topics of the store; `delete_topic` for appends to the logs that it closes | appends, reads and polls of other topics |
//! | `flush`, `maintain` | each log in turn | changes of topics |
//! | `close` | a change of a topic; each log, as [`Log::close`](crate::Log::close) does | producers and consumers: their next call fails with [`StoreClosed`](crate::Error::StoreClosed) |
//! | `Producer::send` | another thread that adds to the same batch; the write of a batch that this record has filled; room in the buffer | writes of other batches, fsyncs of other producers |
//! | `SendHandle::wait`, `Producer::flush` | the write of the records that it waits for: this thread writes them, unless another already does; with [`Acks::Flushed`](crate::Acks::Flushed) also an fsync | |
//! | `Consumer::poll` | records, if there are none and its timeout allows; a rebalance of its group; the lock of its group, to report that it polls | appends, other consumers that process records |
//! | `Producer::commit_transaction`, `abort_transaction` | its records, or those being written; calls for transactional ids in the same partition of `__transaction_state`, for a moment each; the appends of its markers; with [`Acks::Flushed`](crate::Acks::Flushed) also fsyncs of its partitions and of its state | transactions with other ids |
//! | a commit | commits of groups in the same partition of `__consumer_offsets`; its append | an fsync, except with [`flush_commits`](crate::ConsumerConfig::flush_commits), and then without a lock |
//! | a commit in a transaction | first, without the lock of the group, the transaction to take the partition of `__consumer_offsets`; then as a commit | as a commit; an fsync |
//! | `Consumer::poll` without a position, while a transaction has committed offsets of its group | the end of that transaction, as for records | partitions that have a position |
//! | calls of `Admin` for groups | the lock of the same partition of `__consumer_offsets`, for a moment each | members that process records |
//! | `producer`, `new_producer_id`: the first, and each thousandth | a write of `producer-ids.properties` | |
//! | the first use of a group after opening | the reading of its partition of `__consumer_offsets`; other calls that need that partition wait for it | |
//!
//! One thread at a time writes the batches of a partition, in order; other threads leave their
//! batches to it. So that the thread gets back to its own work, it hands the rest over to the
//! producer's thread after some rounds. If the disk of a partition fails, its records wait.
//! Records of other partitions wait only if the buffer has no room for them.
//!
//! # The locks of a store
//!
//! A thread takes the locks of a store in the order of this table:
//!
//! | lock | held by | during |
//! |---|---|---|
//! | changes | `create_topic`, `add_partitions`, `alter_topic`, `delete_topic`, `reopen_partition`, `close` | the whole call |
//! | a partition of groups | each call that uses one of its groups; `delete_topic` | a lookup, a step of the group, the append of its record or commit; the first time, the reading of the partition. Never an fsync |
//! | the locks of the logs | as above | |
//! | writing of checkpoints | a thread that sets a checkpoint | the write of one small file for all logs; threads that arrive meanwhile share the next write |
//! | topics | every call | a lookup |
//! | the order in which partitions were created | a change of topics, and a consumer that looks a partition up; within topics | a lookup |
//! | the id, the partitions and the settings of a topic, each with its own lock | every call | while one value or pointer is copied or replaced |
//! | the state of checkpoints | a thread that reads or sets a checkpoint | a lookup |
//!
//! A thread takes the lock of a partition of groups with no other lock held, except that a
//! deletion holds the lock of changes. The lock of a partition of groups is the only lock of a
//! store that is held while records are appended, because a commit is checked and written in one
//! step. Producers have their own locks: the state of a topic, then the batches of a partition,
//! then the list of the partitions that have any. None of them is held while a log is written to.
//! Interceptors, callbacks, partitioners and rebalance listeners are called with no lock held, and
//! may make any call. If one of them panics, the panic is caught, and the producer or the consumer
//! continues: see the table of [faults](super::durability#each-fault-and-the-test-that-shows-it).
//! A [`Listener`](crate::Listener) may call the store, its clients and its logs: see
//! [locks](#locks). On a thread that writes records of a producer, a listener or a waker cannot wait
//! for them: `flush`, `commit_transaction` and [`SendHandle::wait`](crate::SendHandle::wait) fail
//! with [`WhileWriting`](crate::ProduceError::WhileWriting) instead, and `close` with
//! [`Aborted`](crate::ProduceError::Aborted), after it has closed the producer.
//!
//! # Maintenance threads
//!
//! A [`Maintainer`](crate::Maintainer) has a fixed number of threads for all its logs; you
//! configure the number. The threads sleep between rounds. Every 256 KiB, a pass checks whether it
//! may continue. It ends when the log is closed or [paused](crate::Log::pause_maintenance), when
//! the log's last handle is dropped, and when the last handle of the maintainer is dropped. If you
//! limit the bytes per second, the pass sleeps at the same points.
//!
//! If a pass has replaced log files of 8 MiB or more, a short-lived thread closes them. The last
//! close of a removed file frees its pages, which can take nearly half as long as the pass itself.
//!
//! # Group commit
//!
//! One thread syncs for all threads that wait. A thread that finds no fsync running becomes the
//! leader: it reads the end of the log, syncs the segments that may hold unsynced bytes below that
//! end, and raises *durable* for all. Threads that arrive meanwhile wait. If the first fsync did
//! not cover their records, one of them leads the next. A leader first waits, at most 5 ms, for
//! other threads to join it: the threads that the previous fsync released, and the threads that
//! arrived while that fsync ran. If some of them do not join in time, the leaders of the next
//! fsyncs, up to 64, do not wait. The more threads flush, the more of them share each fsync:
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
//! Leadership is a guard that is released in every case, also on an error or a panic, so the next
//! thread can lead. If an fsync fails, all threads that wait for it get the error, and the log is
//! [poisoned](super::durability#a-poisoned-log).
//!
//! # How waiting threads are woken
//!
//! A thread or task that waits at the end of the log first adds itself to the counter of waiters,
//! and then reads the end. An append first raises the end, and then reads the counter. Each has a
//! sequentially consistent fence between its two steps, so at least one of them sees the other. No
//! wake-up is lost, and an append without waiters costs only a fence and a load.
//!
//! # Threads that the crate starts
//!
//! A log starts at most three threads, and each ends when it is no longer needed: `annals-sync`
//! syncs for tasks that await `flush_async`. `annals-follow` looks at the files every 10 ms while
//! a tail waits at the end of a log that was opened [read-only](crate::Log::open_read_only).
//! `annals-close` closes large files that a compaction has replaced.
//!
//! A maintainer has `annals-maintain` threads, and a store has one maintainer. A store starts
//! `annals-open` threads while several logs are opened, flushed or closed at once, or more than
//! four are created or deleted. A producer starts `annals-producer` when it has a batch that
//! lingers or has to be retried; that thread ends when the producer is closed. It runs no
//! callbacks: for those, the producer starts `annals-callback`. Groups have no thread: each poll
//! of a consumer checks their deadlines, and so does the next call that uses the group. You can
//! also [run without any of these threads](super::testing#tests-that-are-the-same-each-time).
