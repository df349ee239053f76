//! Retention and compaction: how to choose a policy, what it costs, and what it keeps.
//!
//! # Choosing a policy
//!
//! | to keep | policy | removes | when |
//! |---|---|---|---|
//! | everything | [`Delete`](crate::CleanupPolicy::Delete) without a limit, the default | nothing | |
//! | recent records, or a certain size | `Delete` with [`retention_age`](crate::LogConfig::retention_age), [`retention_bytes`](crate::LogConfig::retention_bytes), or both | whole segments, from the start of the log | [`maintain`](crate::Log::maintain) |
//! | the last value of each key | [`Compact`](crate::CleanupPolicy::Compact) | records that a later record with the same key supersedes; later also the tombstones, which are records without a value | `maintain`, or [`compact`](crate::Log::compact) at once |
//! | the last value of each key, as long as it is recent | [`CompactAndDelete`](crate::CleanupPolicy::CompactAndDelete) with a limit | superseded records first, then whole segments | `maintain`; `compact` removes the superseded records at once |
//! | records that a reader has still to read | `Delete` or `CompactAndDelete` | everything below an offset | [`delete_before`](crate::Log::delete_before), at once |
//!
//! The policy is an option, not a property of the files: you can open a log with another policy at
//! any time. Compaction comes with two rules:
//!
//! - A compacted log rejects records without a key, as in Kafka. If it already has some, it
//!   removes them when it compacts their segment.
//! - A log whose only policy is `Compact` rejects `delete_before`. To delete a key there, append a
//!   *tombstone*: a record with the key and no value
//!   ([`Record::tombstone`](crate::Record::tombstone)).
//!
//! This page describes a [`Log`](crate::Log) that you open without a store. In a
//! [`Store`](crate::Store), each partition behaves in the same way, and the options are settings
//! of the [topic](crate::TopicConfig). There are two differences. A topic has Kafka's defaults, so
//! by default its records are deleted after 7 days. And the store maintains all its logs in the
//! background. [`alter_topic`](crate::Store::alter_topic) changes the policy of a topic in use.
//!
//! # Recipes
//!
//! **An event log that keeps seven days.** Retention deletes whole segments, so a segment must
//! span less time than you keep: one day here, so that at most eight days are on disk.
//!
//! ```
//! use annals::{Log, LogConfig, ManualClock, Timestamp, fs::MemFs};
//! use std::{sync::Arc, time::Duration};
//!
//! const DAY: Duration = Duration::from_secs(86_400);
//! let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
//! let config = LogConfig::default().segment_age(DAY).retention_age(7 * DAY);
//! let log = Log::open("events-0", config.clock(clock.clone()).fs(MemFs::new()))?;
//! for hour in 0..30 * 24 {
//!     log.append(format!("hour {hour}"))?;
//!     clock.advance(Duration::from_secs(3600));
//!     log.maintain()?; // from a timer
//! }
//! let days = (log.offsets().end - log.offsets().start) / 24;
//! assert!((7..=8).contains(&days));
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! **A table with its feed of changes.** Each change is a record under the key of its row. A new
//! reader reads the log from its start, which is the table, and continues at its end, which is the
//! feed. The program is `examples/compacted_table.rs`.
//!
//! ```
//! use annals::{CleanupPolicy, Log, LogConfig, Record, StartAt, fs::MemFs};
//! use std::collections::BTreeMap;
//!
//! let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact).segment_bytes(64 << 20);
//! let log = Log::open("users-0", config.fs(MemFs::new()))?;
//! log.append(Record::new("Ada").key("1"))?;
//! log.append(Record::new("Charles").key("2"))?;
//! log.append(Record::new("Ada Lovelace").key("1"))?;
//! log.append(Record::tombstone("2"))?;
//! log.roll()?; // or wait until the segment is full
//! assert_eq!(log.maintain()?.compaction.records_removed, 2);
//!
//! let mut users = BTreeMap::new();
//! for record in log.reader(StartAt::Earliest)?.records() {
//!     let record = record?;
//!     match record.value {
//!         Some(name) => users.insert(record.key, name),
//!         None => users.remove(&record.key),
//!     };
//! }
//! assert_eq!(users, BTreeMap::from([(Some("1".into()), "Ada Lovelace".into())]));
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! **An audit trail with a bounded size.** The log keeps at least `retention_bytes`, and up to one
//! segment more is on disk. A tenth of the limit is a good size for a segment.
//!
//! ```
//! use annals::{Log, LogConfig, fs::MemFs};
//!
//! let config = LogConfig::default().segment_bytes(1_000).retention_bytes(10_000);
//! let log = Log::open("audit-0", config.fs(MemFs::new()))?;
//! for n in 0..1_000 {
//!     log.append(format!("user {n} signed in"))?;
//! }
//! let before = log.stats()?.bytes;
//! let report = log.maintain()?;
//! let after = log.stats()?.bytes;
//! assert_eq!(before - after, report.bytes_deleted);
//! assert!((10_000..=11_000).contains(&after));
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! **A queue whose readers report their progress.** The program deletes a record as soon as all
//! readers have read it.
//!
//! ```
//! # use annals::{Log, LogConfig, fs::MemFs};
//! # let log = Log::open("jobs-0", LogConfig::default().fs(MemFs::new()))?;
//! log.append_all(["job 0", "job 1", "job 2"].map(Into::into))?;
//! let done = [2, 1]; // the next offset of each reader
//! let slowest = done.into_iter().min().unwrap_or_default();
//! assert_eq!(log.delete_before(slowest)?, 1);
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! # Compaction in pictures
//!
//! This log has three segments. The last one is *active*: appends go there. `-` is a tombstone.
//! *Dirty* is the part that compaction has not covered yet.
//!
//! ```text
//! segment   0                   3                   6, active
//! offset    0     1     2       3     4     5       6     7
//! key       a     b     a       c     b     a       c     a
//! value     1     1     2       1     -     3       2     4
//!           '---------- dirty: closed segments ---'
//! ```
//!
//! One run of compaction is a *pass*. The first pass keeps the last record of each key below the
//! active segment. The later records of `a` and `c` count only once the active segment is closed.
//! Together, segments 0 and 3 are no larger than a segment may be, so they become one.
//!
//! ```text
//! segment   0                                       6, active
//! offset                        3     4     5       6     7
//! key                           c     b     a       c     a
//! value                         1     -     3       2     4
//!                                     '- stays until its delete horizon
//! ```
//!
//! The tombstone stays at first, because a reader that has seen `b` must also see that `b` is
//! deleted. The first pass that read the tombstone gave its batch a *delete horizon*: the time of
//! that pass plus [`delete_retention`](crate::LogConfig::delete_retention). A pass after that time
//! (here, after segment 6 was closed) removes the tombstone, and nothing is left of `b`:
//!
//! ```text
//! segment   0                                               8, active
//! offset                                            6     7
//! key                                               c     a
//! value                                             2     4
//! ```
//!
//! ```
//! use annals::{CleanupPolicy, Log, LogConfig, ManualClock, Record, StartAt, Timestamp, fs::MemFs};
//! use std::{sync::Arc, time::Duration};
//!
//! let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
//! let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact).clock(clock.clone());
//! let log = Log::open("drawn-0", config.fs(MemFs::new()))?;
//! let put = |key: &'static str, value: &'static str| log.append(Record::new(value).key(key));
//! let left = || {
//!     let records = log.reader(StartAt::Earliest)?.records();
//!     records.map(|record| Ok(record?.offset)).collect::<annals::Result<Vec<_>>>()
//! };
//! (put("a", "1")?, put("b", "1")?, put("a", "2")?);
//! log.roll()?;
//! (put("c", "1")?, log.append(Record::tombstone("b"))?, put("a", "3")?);
//! log.roll()?;
//! (put("c", "2")?, put("a", "4")?);
//!
//! let report = log.compact()?;
//! assert_eq!((report.segments_removed, report.records_removed), (1, 3));
//! assert_eq!(left()?, [3, 4, 5, 6, 7]);
//! assert_eq!(log.get(2)?, None); // a hole, and no error
//!
//! log.roll()?;
//! clock.advance(Duration::from_secs(86_401));
//! assert_eq!(log.compact()?.tombstones_removed, 1);
//! assert_eq!(left()?, [6, 7]);
//! assert_eq!((log.offsets().start, log.offsets().end), (0, 8));
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! # What readers can rely on
//!
//! - An offset is never reused for another record, and the order never changes. A removed record
//!   leaves a hole: a [`Reader`](crate::Reader) continues with the next record, and
//!   [`get`](crate::Log::get) returns `None`.
//! - A reader that begins at the start sees at least the last record of each key.
//! - A reader that never falls further behind than
//!   [`min_compaction_lag`](crate::LogConfig::min_compaction_lag) sees every record.
//! - A reader that gets from the start to the end in less than `delete_retention` sees the
//!   deletion of everything that it saw. If it can take longer, it must rebuild its state from the
//!   start of the log.
//! - No reader waits. If the segment that a reader is in is replaced, the reader looks up its
//!   offset in the new segment.
//! - The start of the log stays where it is, even if no record is left there. So does the end.
//!
//! # When a pass is due
//!
//! The part of the log that the last pass covered is *clean*: it has each key at most once. The
//! rest is *dirty*. `maintain` compacts a log in two cases: the share of dirty bytes is above
//! [`min_cleanable_dirty_ratio`](crate::LogConfig::min_cleanable_dirty_ratio), or a dirty record
//! is older than [`max_compaction_lag`](crate::LogConfig::max_compaction_lag). `compact` checks
//! neither, and treats the clean part as dirty.
//!
//! Three parts are not compacted, and do not count as dirty:
//!
//! - The active segment. [`segment_bytes`](crate::LogConfig::segment_bytes) and
//!   [`segment_age`](crate::LogConfig::segment_age) decide when it is closed;
//!   [`roll`](crate::Log::roll) closes it now. While all records of a log are in its active
//!   segment, nothing is compacted. So for a table of a few megabytes, choose segments of one
//!   megabyte or less.
//! - The first segment that has a record younger than `min_compaction_lag`, and all segments after
//!   it.
//! - The segment in which the earliest open transaction begins, and all segments after it. Its
//!   first offset is [`Offsets::last_stable`](crate::Offsets::last_stable). A transaction that
//!   nothing ends stops compaction:
//!   [`hanging_transactions`](crate::Log::hanging_transactions) finds it.
//!
//! **When is a value gone from the disk?** When a later record of its key, which can be a
//! tombstone, is in a closed segment, and a pass has covered both records. If `max_compaction_lag`
//! is set, that happens at the latest `segment_age` or `max_compaction_lag` (the longer of the
//! two) after the value was superseded, as long as appends close segments and `maintain` is
//! called. Without `max_compaction_lag`, which is the default, a pass waits for the dirty ratio,
//! and nothing bounds the time. A reader that is in the middle of an old file keeps that file on
//! disk until its next call.
//!
//! # Transactions
//!
//! A pass removes all records of aborted transactions; they supersede nothing. A marker stays as
//! long as a batch of its transaction is left. The first pass that finds none gives the marker a
//! delete horizon, as it does to a tombstone, and a pass after that time removes it. So a reader
//! that has just read an aborted record from an old segment still finds the marker.
//!
//! The last batch of each active producer stays: without its records if they are superseded or
//! aborted. If that batch is a marker, it stays whole, because it has the epoch that fences older
//! batches of the producer. Before a pass removes anything on account of a transaction, it makes
//! the marker of that transaction durable.
//!
//! # Running maintenance
//!
//! Call `maintain` from a timer of your own, or use a [`Maintainer`](crate::Maintainer). Once an
//! interval, its threads maintain all the logs that you added to it: first the logs that only
//! delete, then the dirtiest ones. One maintainer serves thousands of logs, and its threads sleep
//! between rounds. You can limit its rate, so that a pass leaves the disk to appends and reads.
//!
//! ```
//! use annals::{CleanupPolicy, Log, LogConfig, Maintainer, MaintainerConfig, fs::MemFs};
//!
//! let config = MaintainerConfig::default().bytes_per_second(50 << 20);
//! let maintainer = Maintainer::new(config)?;
//! let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact).fs(MemFs::new());
//! let log = Log::open("users-0", config.maintainer(&maintainer))?;
//!
//! let pause = log.pause_maintenance(); // no pass runs while this lives
//! assert_eq!(maintainer.stats().logs, 1);
//! drop(pause);
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! The log reports what a pass did as [`Event::Compacted`](crate::Event::Compacted) or
//! [`Event::LogStartMoved`](crate::Event::LogStartMoved), and a failure as
//! [`Event::MaintenanceFailed`](crate::Event::MaintenanceFailed). [`LogStats`](crate::LogStats)
//! tells how much of a log is clean.
//!
//! # The cost of compaction
//!
//! | resource | how much |
//! |---|---|
//! | reading | the dirty part twice, the clean part once |
//! | writing | the records that stay, of both parts |
//! | memory | about 27 bytes for each key of the dirty part, however long the key is; at most [`dedupe_buffer_bytes`](crate::LogConfig::dedupe_buffer_bytes) plus a quarter, and only during a pass. The default of 128 MiB has room for some 5 million keys. If there are more keys, further passes do the rest |
//! | disk | room for one more group of segments. A group is as many segments as fit into `segment_bytes`, and it is replaced before the next one is written. While the next group is written, a short-lived thread closes large files that were replaced, which frees their room; `close` waits for that thread |
//! | fsyncs | the part to be compacted, if it is not durable; the rest of the log, if the part has a transaction; then, for each group, each of its files and five times the directory |
//!
//! With the default ratio of 0.5, a pass is due when the dirty part is larger than the clean one,
//! and it writes up to two bytes for each appended byte. With a ratio of 0.1, the log stays
//! smaller, and a pass writes up to ten bytes. Keys of up to 15 bytes are compared directly.
//! Longer keys are compared by a hash of 120 bits with a random seed for each pass, so a collision
//! is practically impossible, and an attacker cannot produce one.
//!
//! # What survives a crash or an error
//!
//! Before a group of segments is replaced, its replacement is complete and durable. After a crash
//! at any moment of a pass, each group is either in its old or in its new state: the next opening
//! removes a replacement that was incomplete, and finishes one that was committed. The groups in
//! their old state are still dirty, and the next pass compacts them. `compact` and `maintain`
//! never change the end of the log, and compaction never changes the start.
//!
//! | failure | what happens |
//! |---|---|
//! | no room, or an error while a group is read or written | the unfinished group is discarded; groups that are done stay done; the log works, and a later pass retries |
//! | the part to be compacted cannot be synced, or a committed replacement cannot be finished | the log is poisoned; the next opening finishes the replacement |
//! | a damaged batch; a batch that this build cannot decompress | its segment stays as it is, and so do all segments after it; `compact` fails and names the batch. `maintain` reports [`Event::Uncleanable`](crate::Event::Uncleanable) and skips compaction until the log is reopened; retention goes on |
//! | a damaged index of aborted transactions | it is rebuilt from the log; if that is damaged, too, as above |
//! | [`truncate_to`](crate::Log::truncate_to), [`delete_before`](crate::Log::delete_before), [`close`](crate::Log::close) during a pass | the call waits at most for the first fsync of the pass, or for one replacement. The pass discards what it was writing; after a truncation or a deletion it begins again with what is left |
//!
//! # What is deleted
//!
//! `maintain` applies three rules, one after the other. Each rule begins with the oldest segment
//! and stops at the first segment that it does not delete, so the rest of the log stays
//! contiguous.
//!
//! 1. It deletes segments wholly below the start of the log.
//! 2. While the log is larger than `retention_bytes`, it deletes a segment, unless that would
//!    leave less than `retention_bytes`.
//! 3. It deletes a segment if the latest timestamp of its records is older than `retention_age`.
//!
//! A segment is deleted with all its records, or not at all. If all segments are due, the active
//! one is closed and deleted, too. The log is then empty, and its offsets continue. A segment that
//! compaction has emptied is deleted together with the segment after it. Rule 3 keeps a segment
//! without any timestamp; a broker would use the time at which its file was changed.
//!
//! If the latest timestamp of a segment lies in the future, its age counts from the time when its
//! file was last changed, or from the time when `maintain` first saw it in its present state,
//! whichever is earlier. So a record from a host whose clock is wrong delays the deletion of later
//! segments by at most `retention_age` and the time between two passes. A broker waits until that
//! timestamp has passed. [`timestamp_after_max`](crate::LogConfig::timestamp_after_max) rejects
//! such records; topics have a limit of one hour by default.
//!
//! # All options
//!
//! | option | default | limits | effect | Kafka |
//! |---|---|---|---|---|
//! | [`cleanup_policy`](crate::LogConfig::cleanup_policy) | `Delete` | a retention limit needs a policy that deletes | which records are removed | `cleanup.policy` |
//! | [`retention_age`](crate::LogConfig::retention_age) | none (Kafka: 7 days) | any | segments older than this are deleted | `retention.ms` |
//! | [`retention_bytes`](crate::LogConfig::retention_bytes) | none | any | the oldest segments are deleted as long as at least this much stays | `retention.bytes` |
//! | [`min_cleanable_dirty_ratio`](crate::LogConfig::min_cleanable_dirty_ratio) | 0.5 | 0 to 1 | a pass is due above this ratio | `min.cleanable.dirty.ratio` |
//! | [`min_compaction_lag`](crate::LogConfig::min_compaction_lag) | none | at most `max_compaction_lag` | the first segment with a record younger than this, and all segments after it, are not compacted | `min.compaction.lag.ms` |
//! | [`max_compaction_lag`](crate::LogConfig::max_compaction_lag) | none | 1 ms and up | a pass is due when a dirty record is older than this | `max.compaction.lag.ms` |
//! | [`delete_retention`](crate::LogConfig::delete_retention) | 1 day | any | how long a tombstone stays | `delete.retention.ms` |
//! | [`dedupe_buffer_bytes`](crate::LogConfig::dedupe_buffer_bytes) | 128 MiB | 1 KiB and up | the memory of a pass | `log.cleaner.dedupe.buffer.size` |
//! | [`maintainer`](crate::LogConfig::maintainer) | none | | the threads that maintain the log | |
//! | the maintainer's [`threads`](crate::MaintainerConfig::threads) | 1 | 1 to 64 | how many logs are maintained at a time | `log.cleaner.threads` |
//! | the maintainer's [`interval`](crate::MaintainerConfig::interval) | 15 s | 1 ms and up | the time from round to round | `log.cleaner.backoff.ms`, `log.retention.check.interval.ms` |
//! | the maintainer's [`bytes_per_second`](crate::MaintainerConfig::bytes_per_second) | no limit | 1 and up | how fast compaction reads and writes, all threads together | `log.cleaner.io.max.bytes.per.second` |
//! | [`segment_bytes`](crate::LogConfig::segment_bytes) | 1 GiB | 62 bytes to 2 GiB - 1 | the size at which a segment is closed; the largest size to which compaction joins segments | `segment.bytes` |
//! | [`segment_age`](crate::LogConfig::segment_age) | 7 days | 1 ms and up | the age at which an append closes a segment | `segment.ms` |
//!
//! On the command line, `annals clean` shows what one pass would do to a directory, and does it
//! with `--execute`. The tool is the package in `cli/`.
