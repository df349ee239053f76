//! Failures of processes, machines and disks: what survives each of them, and what opening does
//! afterwards.
//!
//! # What is guaranteed when a call returns `Ok`
//!
//! | call | after a process crash | after a machine crash or loss of power |
//! |---|---|---|
//! | [`append`](crate::Log::append), `append_all`, `append_batch`, `append_builder` | the records are there | the records may be there: all of a batch or none, and none without the records before it |
//! | the same with [`flush_messages(1)`](crate::LogConfig::flush_messages) | the records are there | the records are there |
//! | [`flush`](crate::Log::flush) | the records are there | everything appended before the call is there |
//! | [`flush_through(n)`](crate::Log::flush_through) | the records are there | everything up to offset `n`, and the record at `n`, is there |
//! | `flush_async().await` | the records are there | everything appended before the call of `flush_async` is there |
//! | [`roll`](crate::Log::roll) | the new segment is there | the new segment may be there; no record is lost either way |
//! | [`truncate_to`](crate::Log::truncate_to) | the records are gone | the records are gone |
//! | [`append_as_follower`](crate::Log::append_as_follower) | the batches are there | as for an append: the first of the batches may be there, and none without those before it |
//! | [`truncate_fully_and_start_at`](crate::Log::truncate_fully_and_start_at) | the records are gone, and the log begins there | the same |
//! | [`delete_before`](crate::Log::delete_before) | the records are gone | the records are gone, and everything up to the new start was durable |
//! | [`maintain`](crate::Log::maintain), [`compact`](crate::Log::compact) | what the call removed stays removed | what the call removed stays removed, and everything that was compacted was durable |
//! | [`set_high_watermark`](crate::Log::set_high_watermark) | the high watermark is that one or a lower one; after [`maintain`](crate::Log::maintain) or `close`, at least as high as then | the same |
//! | [`close`](crate::Log::close) | everything is there; the next opening reads no batch | the same |
//! | `append` that returns [`duplicate`](crate::Appended::duplicate) | as for the append that stored the batch | as for that append. Resending a batch flushes it only if a flush is due |
//! | dropping the last handle; readers and tails count as handles | as after a process crash | as after a machine crash |
//!
//! This crate has no buffer between an append and the operating system. The two columns differ
//! only because the operating system has one, its page cache.
//!
//! ```
//! use annals::fs::{CrashState, MemFs};
//! use annals::{Log, LogConfig};
//!
//! let fs = MemFs::new();
//! let log = Log::open("orders-0", LogConfig::default().fs(fs.clone()))?;
//! log.append("flushed")?;
//! log.flush()?;
//! log.append("appended")?;
//!
//! let end_after = |disk: MemFs| {
//!     Log::open("orders-0", LogConfig::default().fs(disk)).map(|log| log.offsets().end)
//! };
//! assert_eq!(end_after(fs.kill())?, 2); // the process dies
//! assert_eq!(end_after(fs.crash(CrashState::SyncedOnly))?, 1); // power is lost
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! # What is guaranteed for a store
//!
//! The table above holds for each partition, which is a log. In addition, for calls that return
//! `Ok`:
//!
//! | call | after a process crash | after a machine crash or loss of power |
//! |---|---|---|
//! | [`create_topic`](crate::Store::create_topic), [`add_partitions`](crate::Store::add_partitions) | the topic and its partitions are there | the same |
//! | [`alter_topic`](crate::Store::alter_topic) | the new settings apply | the same |
//! | [`delete_topic`](crate::Store::delete_topic) | the topic is gone | the same |
//! | [`Store::flush`](crate::Store::flush) | as for the flush of each log | everything appended to any log before the call is there |
//! | [`Store::close`](crate::Store::close) | as for the close of each log; the next opening reads no batch of any log | the same |
//! | [`new_producer_id`](crate::Store::new_producer_id), [`producer`](crate::Store::producer) | the id is never given out again | the same |
//! | [`send`](crate::Producer::send) | nothing is promised until you wait for its handle | the same |
//! | [`wait`](crate::SendHandle::wait) with [`Acks::None`](crate::Acks::None) | nothing is promised | the same |
//! | `wait` with [`Acks::Written`](crate::Acks::Written) | the record is there | the record may be there, and never without the records before it in its partition |
//! | `wait` with [`Acks::Flushed`](crate::Acks::Flushed) | the record is there | the record is there |
//! | [`Producer::flush`](crate::Producer::flush), [`close`](crate::Producer::close) | everything sent before the call has what its acks promise | the same |
//! | [`commit`](crate::Consumer::commit), [`commit_offsets`](crate::Consumer::commit_offsets) | the commit is there, with all its offsets | the commit may be there: all its offsets or none |
//! | the same with [`flush_commits`](crate::ConsumerConfig::flush_commits) | the commit is there | the commit is there |
//! | [`alter_offsets`](crate::Admin::alter_offsets), [`reset_offsets`](crate::Admin::reset_offsets), [`delete_group`](crate::Admin::delete_group) | done | done or not |
//! | [`poll`](crate::TypedConsumer::poll) that sent poison [to another topic](crate::OnPoison::DeadLetter) | what the acks of its producer promise | the same |
//! | dropping the last handle of a store, its topics, logs, readers and clients | as after a process crash | as after a machine crash |
//!
//! If a commit is lost, the group reads its records again: a lost commit never makes the group
//! skip a record. A lost record can make it skip others. Each log reaches the disk in its own
//! time, so a loss of power can take records that were only written, and leave the commit that
//! covers them. New records then get the offsets of the lost ones. Because these offsets are below
//! the commit, the group does not read the new records. To rule this out, produce with
//! [`Acks::Flushed`](crate::Acks::Flushed).
//!
//! ```
//! use annals::{fs::{CrashState, MemFs}, *};
//! use std::time::Duration;
//!
//! let open = |disk: &MemFs| Store::open("data", StoreConfig::default().fs(disk.clone()).maintenance(None));
//! let read = |store: &Store| -> Result<usize> {
//!     let config = ConsumerConfig::new("billing").auto_offset_reset(AutoOffsetReset::Earliest);
//!     let mut consumer = store.consumer(config.flush_commits(true))?;
//!     consumer.subscribe(["orders"])?;
//!     let read = consumer.poll(Duration::ZERO)?.len();
//!     consumer.close().map(|()| read) // commits
//! };
//!
//! for (acks, read_after) in [(Acks::Written, 0), (Acks::Flushed, 1)] {
//!     let disk = MemFs::new();
//!     let store = open(&disk)?;
//!     store.create_topic("orders", TopicConfig::default())?;
//!     let producer = store.producer(ProducerConfig::default().acks(acks))?;
//!     producer.send(("orders", "first"))?.wait()?;
//!     assert_eq!(read(&store)?, 1);
//!
//!     let after = open(&disk.crash(CrashState::SyncedOnly))?; // power is lost
//!     after.topic("orders")?.partition(0)?.append("second")?;
//!     assert_eq!(read(&after)?, read_after);
//! }
//! # Ok::<(), Error>(())
//! ```
//!
//! # The state of a log after a failed call
//!
//! | failure | the call | the log afterwards |
//! |---|---|---|
//! | disk full, quota, file too large, on append | removes what it had written of the batch; nothing was appended | works; appends succeed again once there is room |
//! | any other error of a write | the batch may be there after reopening | poisoned |
//! | the written part of a failed batch cannot be removed | the batch may be there after reopening | poisoned |
//! | a failed fsync | fails; which records are durable is unknown | poisoned |
//! | a batch of a producer is rejected | nothing was appended | works; the state of the producer is unchanged |
//! | no snapshot of the producers could be written, on append, roll or close | succeeds nevertheless | works; the next opening reads more |
//! | no room for the recovery point, on flush | succeeds: the records *are* durable, but a recovery would begin at an earlier point | works |
//! | an error while a new segment is created, on append or roll | nothing was appended | works |
//! | an error of `truncate_to`, before it changes files | nothing was removed | works |
//! | an error of `truncate_to`, later | all, some or none of the records were removed, and no hole is left | poisoned |
//! | an error of `truncate_fully_and_start_at` | all, some or none of the records were removed, and no hole is left | poisoned if files had begun to change |
//! | `append_as_follower` rejects batches | nothing was appended | works |
//! | an error of `compact`, or of `maintain` while it compacts | each group of segments is in its old or its new state; readers see the same records | works, unless an fsync failed or a committed replacement could not be finished: then poisoned |
//! | an error of `delete_before` or `maintain`, other than a failed fsync of what is deleted | nothing was deleted, but after a crash the records may be gone. On a [full disk](#a-full-disk) without a reserve, the first of the segments may be deleted | works |
//! | no room, on close | everything is durable, and `close` succeeds; an [`Event::CheckpointFailed`](crate::Event::CheckpointFailed) or [`Event::CleanupFailed`](crate::Event::CleanupFailed) names what could not be written | closed; the next opening reads more |
//! | an error of a read | fails | works; other places stay readable |
//! | too many open files | fails; nothing was changed | works |
//! | too many open files, in the flush that an append makes | fails; the records are there, but may not be durable | works |
//! | an error of close | the log is closed; what was flushed before is durable | closed; opening recovers it |
//! | an [`Fs`](crate::fs::Fs) panics while the call changes files or syncs them | the panic reaches the caller; what the call did is as after an error, and a batch may be there after reopening | poisoned. After a panic of close, close it again to release its directory |
//! | an `Fs` panics elsewhere, such as in a read, or in a truncation or compaction that has changed nothing yet | the panic reaches the caller | works |
//!
//! # A full disk
//!
//! You can always open a log or a store on a full disk, and free room on it, even without a free
//! byte and without a free inode. A call that frees room has to write a little first: the new
//! start of the log, or the mark that a topic is being deleted. So each directory that is open for
//! writing keeps a *reserve*: four files filled with bytes, each of 4 KiB, or as large as the
//! largest checkpoint if that is larger. The logs of a store share the reserve of its data
//! directory. If there is no room for a small file, the log overwrites one of the four in place
//! and renames it. It creates a new reserve file as soon as there is room.
//!
//! | call, on a full disk | what happens |
//! |---|---|
//! | append, `create_topic`, `add_partitions` | fails with [`StorageFull`](crate::ErrorKind::StorageFull); these calls do not use the reserve |
//! | `roll` | fails with `StorageFull` if the file system has no room for another file; otherwise succeeds, because an empty file takes no data block |
//! | a commit, a poll that ends a rebalance of its group, [`alter_offsets`](crate::Admin::alter_offsets), [`reset_offsets`](crate::Admin::reset_offsets), [`delete_group`](crate::Admin::delete_group) | fails with `StorageFull`, because each is an append to `__consumer_offsets` |
//! | [`producer`](crate::Store::producer), [`new_producer_id`](crate::Store::new_producer_id) | succeeds; if it has to write `producer-ids.properties`, it uses the reserve |
//! | [`consumer`](crate::Store::consumer) of a group | succeeds if the topic `__consumer_offsets` exists. Otherwise the call has to create it, 50 directories by default, and fails with `StorageFull` |
//! | a consumer without a group, a read | succeeds |
//! | `flush` | succeeds |
//! | `delete_before`, `delete_records`, `truncate_to`, `delete_topic`, `alter_topic` | succeeds, using the reserve |
//! | `maintain` | deletes the segments that are due. It uses the reserve to close the active segment; without a reserve, that segment stays. Compaction fails |
//! | `close` | succeeds, and everything is durable; the marker of a clean shutdown is not written |
//! | opening | succeeds. Indexes that cannot be written stay in memory, and the next opening rebuilds them from the log; the recovery point may stay lower than it could be |
//!
//! If the disk was already full when a directory was first opened, there is no reserve. Then
//! `delete_before` and `maintain` remove segments one by one from the start of the log, each
//! durably, until there is room to record the new start. The other calls fail and change nothing.
//! Before it removes the first segment, the log changes the two lines of its recovery point so
//! that they differ by one. This needs no room, and tells the next opening that the segments were
//! not lost.
//!
//! The reserve has limits. On xfs, a used reserve file is created again only when a few hundred
//! KiB are free, because xfs creates no file without room for a whole chunk of inodes: until that
//! much has been freed, only four calls can use the reserve. On a file system that writes nothing
//! in place, such as btrfs and zfs, the reserve guarantees nothing. If the process ended while a
//! partition was being created, the next opening creates that partition, which needs room.
//!
//! Deleted segments and topics leave the disk at once, even while handles to the log or the topic
//! live. An idle reader, tail or consumer keeps at most the one segment that it is in, until its
//! next call.
//!
//! # The state of a store after a failed call
//!
//! | failure | the call | the store afterwards |
//! |---|---|---|
//! | `open` | the logs that were already open are closed again, and nothing was truncated except by their recovery. A directory that was closed cleanly still counts as closed cleanly | there is no store |
//! | `create_topic`, `add_partitions`, `delete_topic` | undone, or finished by the next opening | works; other topics are as they were |
//! | `alter_topic` | nothing was altered | works |
//! | no room, too many files, on the write of a batch | the producer retries it, in order, until [`delivery_timeout`](crate::ProducerConfig::delivery_timeout) | works; appends to other partitions go on |
//! | any other error on the write of a batch | its records fail; the producer tries the next batch | that log is poisoned, others work |
//! | `commit` | nothing is committed | works; commit again |
//! | `close` | as many logs as possible are closed; the directory is unlocked | closed; opening recovers the logs that were not closed cleanly |
//!
//! A file can become too large for its file system, or for the process (`ulimit -f`). The limit of
//! the process is an error only if your program ignores the signal `SIGXFSZ`; otherwise the signal
//! ends the process. To stay below both limits, set a smaller
//! [`segment_bytes`](crate::LogConfig::segment_bytes).
//!
//! # Each fault, and the test that shows it
//!
//! The last column names files below `tests/`, except for `cli/tests/`.
//!
//! | fault | what happens | what you do | shown by |
//! |---|---|---|---|
//! | the process dies at any instruction | everything appended is there; opening again changes nothing more | open the log | `crash/cycles.rs`: `acknowledged_records_survive_crash_anywhere` |
//! | power is lost at any call | everything flushed is there; of the later records, a prefix is there | open the log | `crash/cycles.rs`: `acknowledged_records_survive_crash_anywhere`, `acknowledged_records_survive_random_cycles` |
//! | a crash during recovery, and during the recovery from that crash | the same as after one crash | open the log | `crash/cycles.rs`: `acknowledged_records_survive_crash_anywhere` |
//! | a torn write; a length without its data; later sectors written first | the torn end is truncated and reported | nothing | `crash/cycles.rs`: `acknowledged_records_survive_crash_anywhere`, on every disk that [`MemFs`](crate::fs::MemFs) can leave |
//! | the name of a new segment is lost | nothing in it was acknowledged as durable | nothing | `crash/cycles.rs`: `flushed_segment_keeps_its_name` |
//! | a crash while segments are deleted from the start of the log | the log begins at its old or its new start; files left below that start are removed | nothing | `crash/cycles.rs`; `log/retention.rs`: `opening_finishes_interrupted_deletion`, `damaged_start_offset_deletes_nothing` |
//! | a crash while the log is compacted | each group of segments is in its old or its new state; an incomplete replacement is removed, a committed one is finished | nothing | `compaction/crash.rs`; `compaction/readers.rs` |
//! | no room while the log is compacted, or an error of a read or a write | the unfinished output is discarded; the log works, and is compacted later | make room | `compaction/faults.rs`: `compaction_survives_failure_of_each_call` |
//! | the disk fails while segments are replaced | the log is poisoned, reads go on; the next opening finishes the replacement | close and reopen the log | `compaction/faults.rs`: `compaction_survives_failure_of_each_call` |
//! | an index, checkpoint or marker is lost, short, stale or wrong | it is rebuilt from the log, or ignored | nothing | `log/indexes.rs`; `crash/fuzz_regressions.rs`: `damaged_shutdown_marker_is_ignored` |
//! | a crash while a leader epoch begins, or while a log with epochs is truncated or deleted from | each batch has the epoch that the file of the epochs says | nothing | `crash/leader_epochs.rs`: `crash_at_any_call_keeps_epochs_and_batches_in_step`, `faults_keep_epochs_and_batches_in_step` |
//! | a transaction is completed, and its marker is not below the high watermark of a replicated log | readers of committed records stop before the transaction, also after reopening | nothing | `log/replica.rs`: `completed_transaction_waits_for_high_watermark` |
//! | the file of the high watermark is damaged or missing, or has an offset outside the log | the high watermark is the start of the log, or the nearest offset of the log | nothing | `log/replica.rs`: `stored_high_watermark_is_checked` |
//! | the power is lost, and the log ends below the stored high watermark | the high watermark is the end of the log, also after the next opening: what is appended there was never replicated | nothing | `log/hostile_leader.rs`: `high_watermark_stays_below_lost_end` |
//! | a log is opened read-only, and the snapshot of the producers at its last segment is missing or damaged | its transactions are found in the batches after an older snapshot | nothing | `log/foreign_transactions.rs`: `follower_knows_transactions_without_snapshot` |
//! | a crash while a replica appends, is truncated, or begins anew | a part of the leader's log without a hole; of a log that begins anew, the old records or the new log | what was not flushed | `crash/replica.rs`: `crash_at_any_call_leaves_part_of_leader`, `faults_leave_part_of_leader` |
//! | a leader has compacted offsets away, and its follower loses power | the follower has the same records | nothing that was flushed | `log/replica.rs`: `gap_from_leader_survives_power_loss` |
//! | the file of the leader epochs is damaged, missing, or older than the log | it is rebuilt from the batches and reported; in a log that was compacted, an epoch may then begin later than it did | nothing | `log/leader_epochs.rs`: `wrong_epoch_file_is_rebuilt_and_reported` |
//! | no room (disk, quota, largest file) | that append fails, and nothing of it stays; reads go on | make room, then retry the append | `crash/faults/append.rs`: `only_lack_of_space_is_survived` |
//! | an append failed, or its result is unknown, and its numbered batch is resent | the batch is in the log once | resend it, also after reopening | `crash/faults/each_call.rs`: `log_survives_failure_of_each_call`; `crash/cycles.rs` |
//! | batches sent twice, too late, out of order, or by a producer that was replaced, before and after every crash | each sequence number is in the log at most once | what the error says | `log/producers/model.rs`: `sequences_are_unique_through_random_work` |
//! | a snapshot of the producers cannot be written | the log works without it | nothing | `crash/faults/each_call.rs`: `log_works_without_producer_snapshots` |
//! | a snapshot of the producers is lost, short, damaged, stale or misplaced | the state is rebuilt from the previous snapshot and the batches | nothing | `log/producers/snapshots.rs`: `impossible_snapshot_is_ignored`, and the model test `log/producers/model.rs`: `sequences_are_unique_through_random_work` |
//! | a truncation has to read a batch to know which producers remain, and cannot read it | an error; nothing was changed | restore the batch, or truncate below it | `crash/faults/each_call.rs`: `log_survives_failure_of_each_call` |
//! | short reads and writes, interrupted calls | no effect | nothing | `crash/faults/each_call.rs`: `short_reads_and_writes_change_nothing` |
//! | a write fails in another way | the log is poisoned, reads go on | close and reopen the log | `crash/faults/each_call.rs`: `log_survives_failure_of_each_call` |
//! | an fsync fails | the fsync is not retried; all waiting threads get the error; the log is poisoned | close and reopen the log; records that were not durable may be lost | `crash/faults/sync.rs`: `failed_sync_fails_every_waiting_flush`, `one_history_remains_after_failed_sync` |
//! | a read fails | that call fails, other places stay readable | retry | `crash/faults/each_call.rs`: `log_survives_failure_of_each_call` |
//! | a bit flips, a page is zeroed, a block is misplaced | an error with file and position. Batches after it, up to the next index entry, fail too, because their offsets cannot be proven. Never a silent truncation | restore the file, or choose [`OnCorruption`](crate::OnCorruption) | `crash/hostile.rs`; `crash/quarantine.rs`: `quarantine_moves_only_damaged_bytes` |
//! | a segment of a closed log is removed, or loses its flushed end | an error | restore the segment, or choose [`OnCorruption`](crate::OnCorruption) | `crash/incidents.rs`: `missing_inner_segment_is_an_error`, `opening_fails_when_segments_are_gone` |
//! | hostile bytes in a batch or a file | an error, with bounded memory | nothing | `crash/hostile.rs`, `record/fuzz_targets.rs`, and the fuzz targets |
//! | too many open files | that call fails, the log stays usable | close some files | `crash/faults/sync.rs`: `flush_without_descriptor_fails_alone` |
//! | the disk is slow | reads and appends go on | nothing | `crash/faults/sync.rs`: `slow_sync_blocks_nothing_else` |
//! | a file system panics | the panic reaches the caller. The log works, or it is poisoned if a change may be half done; no acknowledged record is lost | close and reopen the log, fix the file system | `crash/faults/panics.rs`: `panic_of_file_system_loses_nothing` |
//! | a listener or a clock panics | the panic reaches the caller; the log is intact and usable | fix the listener or clock | `log/callbacks/panics.rs`: `log_survives_listener_panic`, `log_survives_clock_panic` |
//! | a crash while a topic is created, grown, altered or deleted, and while that is recovered | the topic is as before or as after the call, never in between; an id of a producer is never given out twice | nothing | `store/crash/power_loss.rs`: `promises_survive_crash_anywhere`, `promises_survive_crash_while_opening` |
//! | a call of a store fails, once or from then on | the call returns the error; reopening finds everything that was promised | close and reopen the store | `store/crash/failures.rs`: `promises_survive_failure_of_any_call` |
//! | the directory belongs to another program, or is a file | an error; nothing was written | give each store its own directory | `store/openings/foreign.rs`: `foreign_directory_is_no_store`, `file_is_no_store` |
//! | a damaged `topic.properties`, `partition.metadata` or `meta.properties` | an error that names the file; nothing is guessed, nothing is changed | restore the file | `store/topics/damage.rs`: `unreadable_definition_fails_opening` |
//! | power loss or process crash at any call of a transaction that is ended with `flush` | whole or aborted in all partitions; a returned commit is there | aborted or completed by the opening | `crash/exactly_once.rs`: `power_loss_is_all_or_nothing`, `process_crash_is_all_or_nothing`, `failure_of_each_call_is_all_or_nothing` |
//! | a damaged `producer-ids.properties` | no producer can be created, everything else works | remove the file: ids then begin above all ids that the logs know | `store/topics/damage.rs`: `unreadable_definition_fails_opening` |
//! | no room while producing | records wait, in order, and are written once when there is room; records past their delivery timeout fail, and leave no gap | make room | `client/producer/retries.rs`: `full_disk_loses_no_sent_record`, `delivery_timeout_leaves_no_gap` |
//! | no room for so long that the buffer is full | `send` waits, then fails with [`BufferFull`](crate::ProduceError::BufferFull) and the cause | make room | `client/producer/retries.rs`: `send_blocks_while_buffer_full` |
//! | an fsync fails under a producer | the records of that partition fail, other partitions work | close and reopen the log | `client/producer/acks.rs`: `failed_sync_fails_one_partition` |
//! | the process dies, or power is lost, while producing | each acknowledged record is there as its acks promise | open the store | `client/producer/acks.rs`: `acknowledged_records_survive_per_acks` |
//! | a log is truncated under a producer | the producer continues with its next epoch | nothing | `client/producer/idempotence.rs`: `truncated_log_gets_next_epoch` |
//! | a record of a transaction fails | the commit fails with [`MustAbort`](crate::TransactionError::MustAbort); no reader of committed records sees the others | abort, and begin again | `client/producer/transactions/failures.rs`: `failed_batch_must_be_aborted`, `late_batch_must_be_aborted` |
//! | a thread panics in a transaction, or drops its producer | the transaction is aborted | nothing | `client/producer/transactions/mod.rs`: `panic_aborts_transaction`, `open_transaction_ends_with_producer` |
//! | a transaction is open for longer than its timeout | it is aborted; the commit fails with [`Expired`](crate::TransactionError::Expired) | abort, and begin again, or raise `transaction_timeout` | `client/producer/transactions/failures.rs`: `expired_transaction_is_aborted`, `expiry_is_told_at_next_batch` |
//! | two producers have the same transactional id | the later one aborts the transaction of the other, whose calls fail with [`Fenced`](crate::TransactionError::Fenced) | give each its own id | `client/producer/transactions/fencing.rs`: `second_producer_fences_first`, `fence_survives_reopen` |
//! | a partition cannot get the marker of a committed transaction | the transaction is committed: the other partitions show it at once, this one when it has its marker | make room, or reopen the partition | `client/producer/transactions/failures.rs`: `decided_commit_is_completed_later` |
//! | no room for the decision over a transaction | the commit fails, and nothing is decided | commit again, or abort | `client/producer/transactions/failures.rs`: `undecided_commit_may_be_repeated`, `failed_abort_is_repeated` |
//! | a topic in a transaction is deleted | the commit fails with [`PartitionGone`](crate::TransactionError::PartitionGone), unless the topic was created again: then the new one just gets a marker | abort | `client/producer/transactions/failures.rs`: `commit_fails_after_topic_is_deleted`, `transaction_over_recreated_topic_ends` |
//! | power is lost after a commit with `Acks::Flushed` | the transaction is whole | open the store | `client/producer/transactions/mod.rs`: `flushed_transaction_survives_power_loss` |
//! | the process dies, or power is lost, after a commit | the commit is there as the tables above say; dynamic members are gone, static members may return | open the store | `client/groups/commits.rs`: `committed_offsets_survive_reopening_and_crash`, `client/groups/assignment.rs`: `static_member_returns_in_new_process` |
//! | the process dies while a transaction has committed offsets of a group | they count if the transaction was decided to be committed; consumers that begin at them wait for its end, and administrators see the present ones | nothing | `client/exactly_once.rs`: `commit_shows_offsets_at_once`, `consumer_waits_for_stable_offset` |
//! | a group or a topic is deleted while a transaction has committed offsets of it | the offsets are dropped, however the transaction ends | nothing | `client/exactly_once.rs`: `deletion_drops_pending_offsets` |
//! | a worker hangs | its partitions go to other members; its late commit is rejected | poll again | `client/groups/commits.rs`: `commit_fails_after_max_poll_interval`, `commit_fails_in_old_generation` |
//! | members join, leave and hang at random | a partition has at most one owner; every record is delivered; committed offsets never move backwards | nothing | `client/groups/model.rs`: `random_groups_deliver_everything_forward` |
//! | the next records of a consumer are deleted | the consumer resets its position as its policy says | choose the policy | `client/consumer.rs`: `position_resets_when_records_are_deleted` |
//! | a partition that a consumer reads is damaged | the poll names the partition and the place; the next polls return the other partitions | seek past the damage, or restore the file | `client/consumer.rs`: `damaged_partition_fails_alone` |
//! | a record cannot be deserialized | it is returned as an error, skipped, or sent to another topic, once; if it cannot be sent, the next poll reads it again | choose [`OnPoison`](crate::OnPoison) | `client/typed.rs`: `poison_is_returned_once_in_place`, `failed_dead_letters_lose_nothing` |
//! | an interceptor, a callback or a rebalance listener panics | the panic is caught, and the producer, the consumer and the group continue. The result of an interceptor is ignored; after a panic of a rebalance listener, the poll fails | fix the panic | `client/producer/callbacks.rs`: `interceptors_see_records_and_may_panic`, `callbacks_run_in_order`; `client/consumer.rs`: `interceptors_see_records_and_may_panic`; `client/groups/assignment.rs`: `listener_panic_is_returned_as_error` |
//! | a damaged line of a checkpoint | where logs start: opening fails and names the file, because deleted records would reappear. In the other checkpoints: the line is ignored, and recovery reads more | restore the file. If it held where logs start, you can also remove it, and delete the records again | `store/ownership/mod.rs`: `unreadable_start_returns_no_deleted_record`; `store/topics/damage.rs`: `damaged_checkpoint_line_is_ignored` |
//! | another process or handle opens the directory by any path, link or mount, or after `.lock` was removed | [`Locked`](crate::Error::Locked) until the last handle of the first opening is closed or dropped | share the handle | `store/ownership/processes.rs`: `no_path_admits_second_writer`; `store/ownership/mod.rs`: `directory_stays_locked_while_handles_live` |
//! | an open directory is moved, and another is put in its place | the writer continues in the one that it opened | nothing | `store/ownership/mod.rs`: `open_log_follows_moved_directory` |
//! | a reader outlives its log, and another log takes the name | the reader touches no file of the other log | nothing | `store/ownership/mod.rs`: `reader_of_deleted_topic_spares_successor` |
//! | a store closes, or a topic grows, while other threads delete, truncate or flush, and power is lost | records reported as durable are there | nothing | `store/ownership/mod.rs`: `checkpoints_are_durable_during_openings` |
//! | power is lost while a store is open, and one of its partitions is then opened without it; or the reverse | recovery works as if the same opener had returned | nothing | `store/ownership/mod.rs`: `second_opener_knows_power_loss`, `alternating_openers_lose_nothing` |
//! | a recovery point, cleaner checkpoint or marker of a compacted log is lower than it was, damaged or missing | no durable record is truncated | nothing | `compaction/crash.rs`: `durable_records_survive_wrong_checkpoints` |
//! | a batch of old records is resent after a close, a kill or a truncation, up to five batches back | it is recognised, whatever its timestamps are, and whichever files beside the segments are lost | nothing | `log/producers/duplicates.rs`: `five_batches_are_recognised_after_opening`, `old_records_are_recognised_after_opening` |
//! | the calendar jumps by a year while a log is open, or between openings | no producer is forgotten early, or kept longer than one expiration after the opening | nothing | `log/producers/expiration.rs`: `producer_expiration_ignores_clock_jumps` |
//! | a directory of a broker with open or aborted transactions is recovered, truncated or continued | the index of aborted transactions matches the markers in the log, and `last_stable` is below an open transaction | nothing | `log/producers/transactions.rs`: `transaction_index_follows_log`, `last_stable_offset_precedes_open_transaction` |
//! | a log with open transactions is closed, killed or loses its snapshots | each stays open until its marker comes, and `last_stable` is below it | end it, or [abort](crate::Log::abort_transaction) it | `log/producers/markers.rs`: `open_transaction_survives_each_opening` |
//! | a transaction is aborted on a full disk, and the log is then rolled, closed or killed | the index of aborted transactions has an entry for it, at the latest after the next opening | nothing | `log/producers/markers.rs`: `full_disk_keeps_aborted_hidden` |
//! | a log is truncated below the marker of a transaction | the transaction is open again | end it again | `log/producers/markers.rs`: `truncation_reopens_transaction` |
//! | compaction fills its key map, or reads batches of forgotten producers | the last batch of each active producer stays; forgotten producers keep none | nothing | `log/producers/expiration.rs`: `last_batch_stays_when_map_full`, `compaction_removes_batches_of_forgotten_producers` |
//! | a full disk, no byte and no inode free | deleting, truncating, `alter_topic`, `close` and opening work, using the reserve | delete records or topics, or call `maintain` | `crash/full_disk/log.rs`: `log_recovers_from_full_disk`, `crash/full_disk/store.rs`: `store_recovers_from_full_disk` |
//! | records are deleted on a full disk while a reader, tail or consumer is idle | their room is free at once, except for the one segment that each of them is in | delete, then append again | `log/held_room.rs`: `delete_records_frees_space_beside_readers`, `truncate_to_frees_space_beside_readers`, `compaction_closes_deleted_segments` |
//! | a topic is deleted, or a log or store closed, while handles to it live | its files and directories are closed, and their room is free; a reader keeps the segment it is in until its next call | nothing | `log/held_room.rs`: `deleted_topic_frees_space_beside_handles`, `closed_store_has_no_file_open` |
//! | the next segment cannot be opened while you read | the call fails; the next call continues there | read again | `log/held_room.rs`: `reader_continues_once_next_segment_opens` |
//! | a service restarts on a full disk | its producers are created, using the reserve | delete records | `crash/full_disk/store.rs`: `producer_is_created_on_full_disk` |
//! | power is lost while a full log is emptied | no acknowledged record is lost | nothing | `crash/full_disk/log.rs`: `crash_while_emptying_loses_no_record` |
//! | a directory was full before it was first opened | segments are removed one by one from the start of the log until there is room | call `delete_before` or `maintain` | `crash/full_disk/log.rs`: `front_is_deleted_without_reserve` |
//! | a snapshot disappears while a log is truncated | the truncation succeeds | nothing | `crash/incidents.rs`: `truncation_succeeds_when_snapshot_disappears` |
//! | no append follows the last record | a maintainer flushes the record within `flush_interval` | use a maintainer, or call `maintain` | `log/maintainer.rs`: `flush_interval_holds_when_appends_stop` |
//! | an offset index has another interval | it is used unchanged | nothing | `log/indexes.rs`: `sparser_index_is_used_unchanged` |
//! | a record has a timestamp in the far future | topics reject it; in a log it delays retention by at most `retention_age` | set `timestamp_after_max` | `log/retention.rs`: `record_from_future_delays_retention_briefly` |
//! | the log is truncated while you read it | records that were read ahead are discarded; one read or poll never mixes records from before and after the truncation | nothing | `log/histories.rs`: `one_read_returns_one_history`, `one_poll_returns_one_history` |
//! | another process truncates a log that you read, and appends to it | you read what the log holds now; a reader that has already returned a truncated record fails with [`OffsetOutOfRange`](crate::Error::OffsetOutOfRange) | `seek` | `log/histories.rs`: `follower_sees_one_history_while_looking` |
//! | a segment is rolled and deleted while a time is looked up | the lookup is repeated on the segments that are left | nothing | `log/histories.rs`: `time_lookup_retries_when_segment_deleted` |
//! | a client wrote header names that are not UTF-8 | the records are read; names keep their bytes | nothing | `log/basics.rs`: `header_names_keep_non_utf8_bytes` |
//! | a process is killed, or power is lost, while several partitions are created at once | the topic exists with all its partitions and one id, or it does not exist | nothing | `store/crash/parallel.rs`: `promises_survive_crash_in_parallel_work` |
//! | appends, growth, deletion, maintenance and `close` at the same time, and a kill | everything acknowledged is there | nothing | `store/crash/parallel.rs`: `promises_hold_during_concurrent_changes` |
//! | the creation or deletion of a topic fails | the next call with that name finishes it first; no deleted record reappears | repeat the call | `store/topics/failed_changes.rs`: `name_is_usable_after_creation_failed`, `name_is_usable_after_deletion_failed` |
//! | a file system ignores case, and the names of two topics differ only in case | [`InvalidDirectory`](crate::TopicError::InvalidDirectory); the existing topic is not touched | choose another name | `store/topics/failed_changes.rs`: `creation_fails_when_only_case_differs` |
//! | one log of a store is damaged | that partition is offline and names the reason; all other partitions work | repair it and reopen it with [`reopen_partition`](crate::Store::reopen_partition), or quarantine the damage with the same call | `store/partial/offline.rs`: `only_damaged_partition_is_offline` |
//! | the directory of a partition is missing | the store does not open, unless it is set to [`DamagedOrMissing`](crate::OfflinePartitions::DamagedOrMissing) | restore it | `store/partial/missing.rs`: `missing_partition_fails_unless_allowed` |
//! | a partition of `__consumer_offsets` is damaged | its groups fail; other groups, and all topics, work | quarantine the damage | `store/partial/internal.rs`: `store_opens_when_offsets_are_damaged` |
//! | `lost+found` and the like lie in the directory | they are left alone and listed | nothing | `store/partial/missing.rs`: `foreign_directories_are_kept_and_listed` |
//! | a log is opened at the path of a partition that its store or broker does not have | an error; nothing is created | create the topic, or open an existing partition | `store/openings/foreign.rs`: `unknown_partition_is_not_created`, `rejected_log_leaves_no_directory` |
//! | a log lies in a store under a number that its topic does not have, and has no `partition.metadata` | an error that names the directory; nothing is changed | move it out of the store, and open it as a log | `store/openings/foreign.rs`: `error_names_directory_beyond_count` |
//! | a topic's directories are copied within the store | an error that names the copy; nothing is changed | move the copy out of the store | `store/openings/foreign.rs`: `error_names_copy_of_topic` |
//! | a directory of another program has the name of a deleted partition | it is left alone and listed; on its own it does not make the directory a store | nothing | `store/openings/foreign.rs`: `foreign_directory_named_deleted_stays` |
//! | the directory of a read-only log or store is gone | [`DirectoryNotFound`](crate::Error::DirectoryNotFound) | look the topic up again | `store/openings/foreign.rs`: `viewer_reports_missing_directory` |
//! | a file above the end of the log has the name of a segment, and is foreign, empty or zeroed | an error that names the file and says how many offsets it would skip; nothing is changed | remove the file, or set it aside with `Quarantine`: the log then ends where its records end | `store/openings/stray_segments.rs`: `stray_last_segment_is_quarantined_whole`, `empty_last_segment_keeps_end` |
//! | damage cannot be moved, because a later segment has another format | an error; nothing is changed | use a program that reads that format | `store/openings/stray_segments.rs`: `quarantine_changes_nothing_unless_it_finishes` |
//! | an index or a snapshot contradicts the log | reads rebuild it; `verify` reports it | nothing, or run `annals repair`, which removes it | `cli/tests/damage.rs`: `repair_removes_contradicting_indexes_and_snapshots` |
//! | an empty directory has the name of a partition | it is left alone and listed | nothing | `store/openings/foreign.rs`: `empty_directory_is_no_partition` |
//! | any call of an opening fails | the next opening has all the information that this one had | remove the cause, open again | `store/openings/failed.rs`: `failed_store_opening_keeps_knowledge`, `failed_log_opening_keeps_knowledge` |
//! | a file of another program has the name of a segment | an error that names the file; the file is not changed | move it away, or quarantine it | `store/openings/stray_segments.rs`: `foreign_last_segment_stays_whole` |
//! | a symbolic link has the name of a segment or a partition | an error that names the link | replace the link with the file or directory itself | `store/openings/foreign.rs`: `error_names_link_anywhere` |
//! | the id of a topic cannot be read | the topic is offline; the id is never replaced | repair it, then call `reopen_partition` | `store/openings/failed.rs`: `unreadable_id_is_not_replaced` |
//! | an fsync of one partition fails once, a handle closes the partition, or a reader finds damage in it | that partition rejects writes, or fails where it is damaged; all others work | [`reopen_partition`](crate::Store::reopen_partition): producers, consumers and groups continue with it | `store/reopening/clients.rs`: `acknowledged_records_are_polled_once` |
//! | a numbered batch fails although it was written, and its partition is reopened | the next batch is stored, too | nothing | `store/reopening/partition.rs`: `reopened_partition_accepts_after_failed_sync` |
//! | a topic is created on a disk too full for its checkpoints | [`StorageFull`](crate::ErrorKind::StorageFull), and no topic | make room, then retry | `crash/full_disk/store.rs`: `topic_creation_fails_without_checkpoints` |
//! | a partition is reopened in a store that was opened after a loss of power | damage is an error, as in any other store | restore the partition, or reopen it with `Quarantine` | `store/reopening/partition.rs`: `reopening_fails_on_damage_after_crash` |
//! | a topic cannot grow, and is deleted | it is deleted together with the partitions that the growth had begun | nothing | `store/topics/failed_changes.rs`: `topic_is_deletable_after_failed_growth` |
//! | several logs of a store need the reserve at once on a full disk | each writes into a file of its own | nothing | `crash/full_disk/reserve.rs`: `reserve_in_use_is_not_refilled` |
//! | a partition is truncated, or its first segments are deleted, and it is then reopened | consumers and groups continue with the new log; a position outside of it is reset as `auto_offset_reset` says | nothing | `store/reopening/positions.rs`: `consumer_continues_after_truncated_partition_reopens`, `consumer_continues_after_failed_truncation` |
//! | a partition is reopened while others of its topic are closed or poisoned | it is reopened | reopen the others, too | `store/reopening/partition.rs`: `partition_reopens_beside_closed_ones` |
//! | the reserve of a full disk is removed | the same as without a reserve | make room | `crash/full_disk/reserve.rs`: `log_works_when_reserve_was_removed` |
//! | an fsync fails, the system forgets what it could not write, and the log is closed and reopened | the close writes the bytes again, and the opening makes them durable | nothing | `crash/faults/sync.rs`: `close_rewrites_bytes_after_failed_sync` |
//! | the first segments of a log are missing after an unclean end | [`Error::Corrupt`](crate::Error::Corrupt); nothing is removed | restore the files, or choose `OnCorruption` | `crash/recovery_holes/missing_segments.rs`: `missing_front_is_corruption_after_crash` |
//! | a deletion from the start of the log stops at any moment, also on a full disk without a reserve, or power is lost | the log opens | nothing | `crash/recovery_holes/missing_segments.rs`: `log_opens_wherever_deletion_stopped`, `front_lost_with_power_removes_rest` |
//! | the first opening of a broker's directory is interrupted | the next opening succeeds | nothing | `crash/recovery_holes/missing_segments.rs`: `broker_log_opens_wherever_opening_stopped` |
//! | a log is opened read-only after a loss of power, before it is opened for writing | it also returns records that were never durable | open it for writing first | `crash/recovery_holes/torn_tail.rs`: `viewer_shows_unsynced_records_until_recovery` |
//! | a log is truncated inside a batch on a full disk, and another program takes the room that becomes free | the truncation succeeds | nothing | `crash/full_disk/log.rs`: `truncation_inside_batch_needs_no_room` |
//! | power is lost in a session whose `.lock` found no room | recovery works as after any other loss of power | nothing | `crash/full_disk/log.rs`: `full_disk_hides_no_power_loss` |
//! | a log with transactions is interrupted at any call, of a broker or of ours | the index of aborted transactions is complete after the next opening | nothing | `crash/transaction_indexes.rs`: `transaction_indexes_survive_faults_and_crashes` |
//! | a waker calls the store when a log closes or a group commits | the call works | nothing | `log/callbacks/wakers.rs`: `waker_may_call_store_anytime` |
//! | the calendar jumps by years while a store is open | members, producers and offsets stay; retention and the expiry of offsets follow the calendar | set the clock right | `store/calendar.rs`: `store_keeps_working_when_calendar_jumps` |
//! | topics, producers, groups and consumers are created and deleted for a day | memory, descriptors, files and bytes depend only on what still exists | nothing | `client/churn.rs`: `day_of_churn_leaks_nothing` |
//! | a topic is deleted and created again, or grows, while its group's leader is busy or away | every member reads the new partitions after its next polls | nothing | `client/groups/rebalances.rs`: `members_read_recreated_topic`, `returning_static_leader_assigns_changed_partitions` |
//! | the disk is full while partitions move between members | the poll fails, and the next poll continues where it stopped | make room, poll again | `client/groups/rebalances.rs`: `partitions_move_after_revocation_commit_failed`, `failed_join_leaves_no_second_member` |
//! | a consumer closes while its group rebalances | the records that it read are committed, or `close` returns why not | if it fails, expect those records once more | `client/groups/rebalances.rs`: `close_commits_records_read_while_rejoining`, `records_are_read_once_across_closes` |
//! | the process dies after a consumer with `latest` found a new partition | the consumer reads that partition from its start, as before | nothing | `client/groups/rebalances.rs`: `crash_keeps_start_in_new_partition` |
//! | a producer is dropped or closed while its thread writes | it waits for that thread, tries the rest once, and reports the records that fail | look at handles or callbacks | `client/producer/waits.rs`: `drop_writes_record_sent_during_write`, `accepted_records_resolve_when_producer_ends` |
//! | a callback waits, flushes or blocks while a write has to be retried | other threads go on writing and retrying | nothing | `client/producer/waits.rs`: `callback_may_wait_during_retry`, `writing_continues_while_callback_blocks` |
//! | a topic is deleted and created again while records wait for it | records of the old topic fail with [`Unknown`](crate::TopicError::Unknown); later ones go to the new topic | resend the failed ones if they belong there | `client/producer/topics.rs`: `records_follow_recreated_topics_through_retries` |
//! | `max_message_bytes` is lowered while a batch waits | the batch is split; a record that is too large by itself fails alone | nothing | `client/producer/size_limits.rs`: `split_batches_keep_order_through_retries` |
//! | a waker panics | the other tasks are woken; the append or flush that woke it continues | fix the waker | `client/producer/acks.rs`: `panicking_waker_leaves_others_awake` |
//! | a topic is deleted while a producer that wrote to it lives | its files are closed, and its room is free at once | nothing | `client/producer/topics.rs`: `deleted_topics_leave_no_file_open` |
//!
//! # A poisoned log
//!
//! When an fsync fails, the operating system may have discarded the bytes it could not write, and
//! a second fsync may succeed without them. So a failed fsync is never retried. The log becomes
//! *poisoned*: it rejects every change with [`Error::Poisoned`](crate::Error::Poisoned), which
//! names the first cause. Reads go on. Every thread that waits for the failed fsync gets an error.
//! Close the log and open it again. In a store,
//! [`reopen_partition`](crate::Store::reopen_partition) does both for one partition, and the
//! store's producers and consumers continue with it.
//!
//! When a poisoned log closes, it writes the bytes that are not durable once more. Without this,
//! the system could hold them in memory and count them as written, and the fsync of the next
//! opening would succeed although they are not on the disk. If the process ends without that
//! close, the next opening does not know about the failed fsync, and relies on its own.
//!
//! # Can an append that failed be there later?
//!
//! Yes. Its bytes may have reached the file before the error. After the process has died, opening
//! finds them there, whole and with a correct checksum. No log can exclude that, because a process
//! can die after the write and before the call returns. A *fork* is excluded: offsets continue
//! after the last batch that opening found, so an offset never names two records that were both
//! acknowledged as durable. If you retry a failed append, the log may store its records twice. If
//! that matters, number your batches.
//!
//! # Resent batches
//!
//! Records of an idempotent producer are numbered. A batch carries the producer's id, its epoch,
//! and the sequence number of its first record
//! ([`BatchBuilder::producer`](crate::record::BatchBuilder::producer)). If a batch is already in
//! the log, an append of it stores nothing, and returns the offsets of the stored batch.
//!
//! | since the batch was stored | how many of the last batches of a producer are recognised |
//! |---|---|
//! | the log stayed open | five |
//! | the process died, or power was lost and the batch is there | five |
//! | the log was closed and opened | five |
//! | the log was truncated above the batch | five, of the batches that are left |
//! | a broker has written to the log | the last one, and those of the four before it that are in the last 16 MiB |
//! | the batch was lost in a loss of power, or truncated away | none: when you resend it, it is stored |
//! | the log has not heard from the producer for [`producer_id_expiration`](crate::LogConfig::producer_id_expiration) | none: the log stores everything that the producer sends |
//! | it was sent by a [`Producer`](crate::Producer) that is closed now | none: a closed producer resends nothing |
//! | its records were deleted | as many as without the deletion, as long as the log knows the producer |
//! | its records were compacted | the last one. The four before it, too, while the log is open or its `.recent` files are there; otherwise, those of the four that compaction left in the last 16 MiB |
//!
//! So a client with up to five batches in flight stores each record once, whatever fails, as long
//! as its batches are not compacted before it has received all responses.
//!
//! The log *hears from* a producer when a batch of the producer arrives, even if the batch is a
//! duplicate. The time is the log's clock. The timestamps of the records do not count, because a
//! backfill has old timestamps. A batch that is read after a crash counts as heard at the opening,
//! because its time of arrival is unknown. So the log forgets a producer one expiration after its
//! last batch, or after the opening that read its batches. While the log is open, elapsed time
//! counts, and setting the calendar changes nothing.
//!
//! The log can rebuild the state of the producers from the batches. So that opening does not have
//! to read all of them, the log writes `.snapshot` files: one where each segment begins, one every
//! 64 MiB in between, and, if the log knows any producers, one at the close. Beside each snapshot,
//! a `.recent` file keeps what Kafka's format leaves out: the batches before the last one, and
//! when the log last heard from each producer. Without it, opening reads the last 16 MiB of
//! batches below the snapshot, and their producers count as heard from at the opening. Opening and
//! truncation remove every snapshot that describes batches above the end of the log. If batches
//! below the recovery point cannot be read, opening continues with the state that it has, and
//! reports [`Event::CorruptionFound`](crate::Event::CorruptionFound).
//!
//! # Records that were appended and not flushed
//!
//! If a loss of power takes records that were only appended, later appends reuse their offsets.
//! Readers see records before they are durable. If you pass records on to another machine, first
//! wait until [`Offsets::durable`](crate::Offsets::durable) is above them.
//!
//! # What is assumed of the disk
//!
//! - When an fsync succeeds, the bytes are on the disk. There is no protection against a disk that
//!   reports success without storing the bytes.
//! - Synced bytes do not change by themselves. If they do, the checksum detects it on the next
//!   read, and the read fails.
//! - Any part of the bytes that were not synced may survive: blocks and sectors in any order, a
//!   length without the data, a name without the file, the file without the name.
//! - A rename replaces a name in one step.
//! - No other program changes the files while a process has the log open. The lock keeps out only
//!   programs that use it.
//!
//! # What opening does
//!
//! 1. Opening creates and lists the directory. If the directory holds files of another program and
//!    no file of a log, opening fails. Hidden files, and what a fresh volume has, such as
//!    `lost+found`, do not count. In the directory of a store or a broker, which has a
//!    `meta.properties`, opening creates nothing: a partition that does not exist is an error.
//! 2. It locks the directory, then reads and locks `.lock`. If another writer has either lock,
//!    opening fails with [`Error::Locked`](crate::Error::Locked). For a log in the directory of a
//!    store or a broker, it takes the locks of that data directory, and locks the log's own
//!    directory. The checkpoints, the marker of a clean shutdown and the boot id ([see
//!    below](#a-dead-process-or-a-loss-of-power)) are then read in the data directory. The
//!    checkpoints and the marker are also written there. After a loss of power, the present boot
//!    id is not, because the other logs are not recovered.
//! 3. It removes leftovers: `.tmp` and `.deleted` files, `.cleaned` files, and the `.swap` files
//!    at or above the lowest `.cleaned` file. The `.swap` files that remain are complete; they
//!    replace the live files that they cover. It removes indexes without a log. It syncs each of
//!    these changes before a later one relies on it.
//! 4. It reads the recovery point and the log's start. Each value stands twice in its file,
//!    because no checksum covers it: if the two lines differ, the value is malformed. A malformed
//!    recovery point counts as 0. If its lines differ by exactly one, the lower line counts, and
//!    the start may be missing in its file, for lack of room on [a full disk](#a-full-disk). The
//!    recovery point is *known* if both of its lines are there, and are equal or differ by exactly
//!    one; a broker writes only one line. A malformed start is an error, because deleted records
//!    would reappear without it: restore the file, or remove it if those records may reappear.
//!    Segments wholly below the start are left from an interrupted deletion, and are removed.
//!
//!    After an unclean end, the first segment must not begin above the start. If it does, the
//!    segments before it were lost, and opening fails, with one exception in the table below. This
//!    check is possible because each deletion stores the start before it removes a segment, and
//!    the first opening of a broker's log stores where that log begins. The check needs a known
//!    recovery point. If you removed the file with the start, the start counts as 0; then open the
//!    log once with [`OnCorruption::Quarantine`](crate::OnCorruption::Quarantine). Do the same
//!    with a copy whose files were taken while the log was open.
//! 5. It looks at the last files that have the name of a segment and hold no batch. A roll leaves
//!    such a file where the log ends. A file whose base offset is above the end of the log is a
//!    *stray*, unless something shows that the offsets below that base offset were assigned:
//!    - the recovery point, the start, the cleaner checkpoint, the marker of a clean shutdown or a
//!      snapshot of the producers lies above the last batch; or an index of the file is there.
//!      Each roll writes a snapshot, and so does each close of a log that knows producers;
//!    - the file begins with a torn batch;
//!    - the file is empty or has only zeros, and either the segment before it is damaged at its
//!      end, or the log may have been compacted. The log of a broker always counts as one that may
//!      have been compacted: a broker can roll a compacted log, and then remove the last batches
//!      before the roll.
//!
//!    A file whose bytes do not begin a batch is a stray in a compacted log as well, unless
//!    something in the first item reaches its offset. For a stray, opening fails before it changes
//!    anything, and the error says how many offsets the file would skip. If the file does not
//!    belong to the log, remove it. [`Quarantine`](crate::OnCorruption::Quarantine) moves it aside
//!    whole, and [`Truncate`](crate::OnCorruption::Truncate) removes it; the log then ends where
//!    its records end. With `Quarantine`, opening finds all damage before it moves any.
//!
//!    Then it reads the marker of a clean shutdown. If the marker matches the last segment, no
//!    batch is read, and the marker is removed last, when nothing else can fail. If the marker
//!    does not match, it is removed now, and opening continues as after a crash. The removal is
//!    synced. A log that has no segment and never had a record is new: there is nothing to
//!    recover.
//! 6. The scan begins in the segment that holds the recovery point. If the stored indexes agree
//!    with the log, it uses them to find a batch near that point; otherwise it begins at the
//!    segment's first byte. It reads every batch from there on. It checks the length, magic and
//!    checksum of each batch, and that its offsets lie between those of its neighbours. If the log
//!    was never compacted, no offset may be missing. In that case the scan also looks at the ends
//!    of the earlier segments, and begins at the first segment that does not reach the next one.
//! 7. Where the scan finds bytes that are not a batch, it determines what they are:
//!    - *zeros* to the end of the file: room that was reserved, or a file whose new length was
//!      written before its data. The zeros are truncated.
//!    - *torn*: bytes that can be the beginning of a batch, with no whole message after them. They
//!      are the last bytes of an interrupted write. A message inside the length that the batch
//!      claims does not count, because it can be part of a value.
//!    - *damaged*: anything else. A whole message follows the bytes; or the bytes are a whole
//!      batch with a wrong offset, length or magic; or no batch can begin with them, as in a file
//!      of another program that has the name of a segment. An interrupted append leaves none of
//!      these.
//! 8. The table below decides whether the rest is truncated or opening fails. Nothing below the
//!    recovery point is ever truncated.
//! 9. It removes the segments after a truncation point, the last one first, and syncs each
//!    removal; then it truncates the file. So a crash at any point of this step leaves a log
//!    without a hole.
//! 10. It rebuilds the indexes of the segments that it scanned, `.txnindex` included. It syncs the
//!     files and the directory, and sets the recovery point to the end: everything that it found
//!     is durable now. Last, it writes the present boot id to `.lock`.
//!
//! After a clean close, too, it removes from `leader-epoch-checkpoint` the epochs that began above
//! the end of the log or ended below its start. If the file is malformed or has too few epochs, it
//! reads the headers of all batches to rebuild it.
//!
//! | the scan found, above the recovery point | only the process died | the machine crashed, or may have crashed |
//! |---|---|---|
//! | torn bytes, in the last segment | truncated | truncated |
//! | torn bytes, or zeros in place of records, with segments after them | error | truncated, with the segments after them |
//! | damage | error | truncated, with everything after it |
//! | missing offsets, in a log that was never compacted | error | between segments: truncated, with everything after them; otherwise an error |
//! | missing offsets, in a log that may have been compacted | kept | between segments, above the recovery point: truncated, with everything after them |
//! | a stray (step 5) that is empty or has only zeros | error | removed |
//! | any other file that has the name of a segment and does not begin with a batch, if the log does not end at its base offset | error | error |
//! | the first segment begins above the start, and the recovery point is known | error | if the start is above 0 and not below the recovery point: truncated to the start; otherwise an error |
//! | a whole message of another format or codec | [`Unsupported`](crate::Error::Unsupported) | the same |
//! | anything **below** the recovery point | error | error |
//!
//! After a clean close, opening scans nothing, but it fails if a segment is missing, or is shorter
//! than it was. Likewise, opening a store fails if all directories of a topic are gone. The last
//! column applies only if the recovery point is known (step 4).
//!
//! A read-only opening recovers nothing, because another process may have the log open. It checks
//! only the last segment: damage there is an error, unless it is in a part that opening for
//! writing would not read. So after a loss of power, and until the log is opened for writing, a
//! read-only log also returns records that were never durable and that the next `open` may
//! truncate. It also skips offsets that are missing between two segments. To read only what `open`
//! keeps, open the log for writing first.
//!
//! In the table above, "error" is [`Error::Corrupt`](crate::Error::Corrupt) with file, position
//! and offset, and nothing was truncated. With
//! [`OnCorruption::Truncate`](crate::OnCorruption::Truncate), opening truncates in these cases
//! too, as Kafka does. With [`OnCorruption::Quarantine`](crate::OnCorruption::Quarantine), it
//! moves the damaged bytes to files beside the segments and keeps everything sound before and
//! after them. [`Log::recovery`](crate::Log::recovery) and
//! [`Event::TailTruncated`](crate::Event::TailTruncated) report how much was truncated, and where.
//!
//! # What opening a store does
//!
//! 1. Opening creates and lists the directory. It fails if the directory holds a segment file, or
//!    a directory whose name is like a partition's and is not valid, such as `orders-07`. It also
//!    fails if the directory belongs to another program: if it holds files or directories, but no
//!    partition, `meta.properties`, checkpoint, lock or marker. Hidden files, and what a fresh
//!    volume has, do not count; a directory counts as a partition if it holds a file of a log. Up
//!    to here, opening has written nothing.
//! 2. It locks the directory and its `.lock`, as for a log. It reads `meta.properties`, or writes
//!    it if the directory is new.
//! 3. It reads the checkpoints of all logs. If the lines of a log contradict each other, none of
//!    them counts; but in the checkpoint of the starts of the logs, this is an error. If that
//!    checkpoint cannot be read, opening fails, too. Then it reads the marker of a clean shutdown.
//! 4. It removes what is left of deleted partitions: the directories with a name like
//!    `orders-0.<32 digits>-delete` that are empty or hold a file of a log. Then it looks at each
//!    topic, by the `topic.properties` of its partition 0. If two topics have the same id, opening
//!    fails, because one of them is a copy. If a topic was being deleted, opening finishes the
//!    deletion. If a topic was being created, opening creates the missing partitions. For any
//!    other topic, a missing partition is an error. An empty directory that only has [the
//!    name](super::format#a-directory-of-topics) of a partition is left alone.
//! 5. It opens the logs, [several at once](crate::StoreConfig::recovery_threads), each as
//!    described above from step 3 on, after it has locked the log's own directory. It does not
//!    read the logs that still match the marker. If a log was last opened without a store above
//!    it, the store takes over what the log kept beside its segments: its checkpoints, and whether
//!    the machine has crashed since. When all logs are open, it removes the marker of a clean
//!    shutdown, and syncs the removal. If opening fails, the marker stays, or is written again, so
//!    that the next opening has the same information.
//! 6. It writes the checkpoints of all logs, once. It writes the recovery points last, because a
//!    known recovery point tells the next opening that it can rely on the other two files. Then it
//!    writes the present boot id to `.lock`.
//!
//! # A dead process or a loss of power?
//!
//! When only the process dies, everything that it wrote stays, in the order of its writes. So only
//! the last write can be incomplete, and valid batches after bad bytes prove damage. After a loss
//! of power, valid batches after bad bytes prove nothing: the disk may have written later blocks
//! and not the earlier ones.
//!
//! To tell the two apart, `.lock` stores the boot id of the machine: on Linux, the kernel's
//! `boot_id`. If it differs from the present one, the machine has restarted since, and opening
//! assumes a loss of power. If there is no boot id (on other systems, or if `/proc` is not
//! mounted), every unclean end counts as a loss of power. Opening a log that was copied to another
//! machine counts as one, too. If a directory has no `.lock`, or an empty one, as a broker leaves
//! it, opening assumes that only the process died.
//!
//! After a loss of power, the present boot id is written to `.lock` only when recovery is
//! complete. So if an opening fails at any step, the next one still detects the loss of power. The
//! marker of a clean shutdown stays as well, unless a log does not match the marker. Then the log
//! was changed since; this opening recovers it as after a crash, and so does the next. If a full
//! disk has no room for the content of a new `.lock`, the file gets only its length, and the next
//! opening assumes a loss of power.
//!
//! # How much is read
//!
//! After a clean close, opening reads names and small files. After a crash, it reads everything
//! above the recovery point, and the headers between the last index entry below that point and the
//! point itself. The recovery point advances with each close, each recovery, and the first flush
//! after a segment was closed. So opening reads at most about one segment and what was not
//! flushed. [`segment_bytes`](crate::LogConfig::segment_bytes) bounds this work.
//!
//! # Test it yourself
//!
//! [`MemFs`](crate::fs::MemFs) can produce every disk that a crash can leave, and
//! [`FaultFs`](crate::fs::FaultFs) can fail any call. This program checks a promise at a hundred
//! crashes:
//!
//! ```
//! use annals::fs::{CrashState, MemFs};
//! use annals::{Log, LogConfig, StartAt};
//!
//! let fs = MemFs::new();
//! let log = Log::open("orders-0", LogConfig::default().fs(fs.clone()).segment_bytes(200))?;
//! let mut acknowledged = 0;
//! for n in 0..20 {
//!     log.append(n.to_string())?;
//!     if n % 5 == 4 {
//!         acknowledged = log.flush()?;
//!     }
//!     for seed in 0..5 {
//!         let disk = fs.crash(CrashState::Random { seed });
//!         let after = Log::open("orders-0", LogConfig::default().fs(disk))?;
//!         assert!(after.offsets().end >= acknowledged);
//!         for (expected, record) in after.reader(StartAt::Earliest)?.records().enumerate() {
//!             assert_eq!(record?.value_str(), Some(expected.to_string().as_str()));
//!         }
//!     }
//! }
//! # Ok::<(), annals::Error>(())
//! ```
