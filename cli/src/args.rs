//! The command line.

use crate::store_args::{ConsumeArgs, GroupsArgs, ProduceArgs, TopicsArgs, TransactionsArgs};
use annals::record::Compression;
use annals::{
    CleanupPolicy, Codec, IsolationLevel, LogConfig, MAX_OFFSET, Offset, StartAt, Timestamp,
    TimestampType,
};
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the command line is wrong
  2  the data, the disk or another process prevents the command
  3  damage was found or skipped; only `verify` checks the whole log";

/// Reads and changes a log directory, or a data directory of topics.
#[derive(Debug, Parser)]
#[command(name = "annals", version, after_help = EXIT_CODES)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Append records from stdin; a missing directory becomes a log
    Append(AppendArgs),
    /// Print records in the order of their offsets
    Read(ReadArgs),
    /// Print the batches or entries of any file of a log, sound or not
    Dump(DumpArgs),
    /// Print the offsets, segments and sizes of a log
    Info(DirArgs),
    /// Check the whole log; prints a line for each problem, and exits with 3 if there are any
    Verify(DirArgs),
    /// Find the first offset at or after a time; prints null if there is none
    Seek(SeekArgs),
    /// Compact a log and delete its old segments, now
    ///
    /// Runs one pass of maintenance: compacts everything that the policy allows, then deletes old
    /// segments. The active segment is not compacted. Compaction removes records without a key.
    /// Prints how much was removed, and how many records are left. Without --execute, the pass
    /// runs on a copy of the log, and the log stays as it is.
    Clean(CleanArgs),
    /// Move damaged bytes out of a log, and keep everything else
    ///
    /// The damaged bytes move to files beside their segments, and their offsets stay without
    /// records. All sound records can be read again. A torn write at the end is removed. Indexes
    /// and snapshots that contradict the log are removed, too, and rebuilt from it later. Without
    /// --execute, prints the damage, and what would become of each damaged byte, from a repair of
    /// a copy; with damage, the exit code is 3.
    Repair(RepairArgs),
    /// Remove the records at and above an offset
    ///
    /// Without --execute, prints the start and end that the log would have, how many records would
    /// be removed, and the damage; with damage, the exit code is 3. This runs on a copy of the
    /// log. With --execute, removes the records, and prints the start and end of the log.
    Truncate(TruncateArgs),
    /// Remove the records below an offset
    ///
    /// Without --execute, prints the start and end that the log would have, how many records would
    /// be removed, and the damage; with damage, the exit code is 3. This runs on a copy of the
    /// log. With --execute, removes the records, and prints the start and end of the log.
    DeleteBefore(DeleteBeforeArgs),
    /// Measure appending and reading back beside a raw write
    Bench(BenchArgs),
    /// List, describe, create, alter and delete the topics of a data directory
    ///
    /// `list` and `describe` only read, also while another process has the directory open.
    Topics(TopicsArgs),
    /// Send records from stdin to a topic
    Produce(ProduceArgs),
    /// Print the records of topics
    Consume(ConsumeArgs),
    /// List, describe, delete and reset the groups of consumers of a data directory
    Groups(GroupsArgs),
    /// List and describe the transactions of a data directory, and abort those that hang
    ///
    /// All but `abort --execute` only read, also while another process has the directory open.
    Transactions(TransactionsArgs),
}

#[derive(Debug, clap::Args)]
pub struct DirArgs {
    /// The log's directory
    pub dir: PathBuf,
}

#[derive(Debug, Clone, clap::Args)]
pub struct AppendArgs {
    /// The log's directory
    pub dir: PathBuf,
    /// The format of stdin: one value per line, or JSON objects as `read` prints them
    #[arg(long, value_enum, default_value_t = InputFormat::Lines)]
    pub format: InputFormat,
    /// The text between key and value in a line; without it, a line is a value
    #[arg(long, value_name = "S", value_parser = separator)]
    pub key_separator: Option<String>,
    /// The largest number of records in a batch
    #[arg(long, value_name = "N", default_value_t = 1000, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub batch_records: u64,
    /// The size to which a batch is filled; a larger record gets a batch of its own
    #[arg(long, value_name = "B", default_value_t = 512 << 10, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub batch_bytes: u64,
    /// The codec of the batches; none unless given
    #[arg(long, value_enum)]
    pub compression: Option<CodecArg>,
    /// How long a record waits for others to share its batch, in milliseconds
    #[arg(long, value_name = "N", default_value_t = 50, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(..=120_000))]
    pub linger_ms: u32,
    /// When to flush; closing the log at the end makes all records durable in any case
    #[arg(long, value_enum, default_value_t = Sync::End)]
    pub sync: Sync,
    /// Print a line for each batch once it is in the log
    #[arg(long)]
    pub ack: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}

#[derive(Debug, clap::Args)]
pub struct ReadArgs {
    /// The log's directory
    pub dir: PathBuf,
    /// Where to begin: earliest, latest, an offset, or @MILLIS since the epoch
    #[arg(long, value_name = "P", default_value = "earliest", value_parser = position, allow_negative_numbers = true)]
    pub from: StartAt,
    /// Stop before this position
    #[arg(long, value_name = "P", value_parser = position, allow_negative_numbers = true)]
    pub until: Option<StartAt>,
    /// The largest number of records to print
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub max: Option<u64>,
    /// At the end, wait for more records
    #[arg(long)]
    pub follow: bool,
    /// `committed` leaves out the records of aborted and open transactions
    #[arg(long, value_enum, default_value_t = Isolation::Uncommitted)]
    pub isolation: Isolation,
    /// How records are printed; `key-value` separates key and value by a tab
    #[arg(long, value_enum, default_value_t = OutputFormat::Json)]
    pub format: OutputFormat,
}

#[derive(Debug, clap::Args)]
pub struct DumpArgs {
    /// Files of a log, or directories of them
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Also print the records of each batch
    ///
    /// Records in a directory of `__transaction_state` are also decoded: the transactional id, and
    /// the state of its producer and its transaction.
    #[arg(long)]
    pub records: bool,
    /// Decode every record, and compare index entries with the log beside them
    #[arg(long)]
    pub deep: bool,
}

#[derive(Debug, clap::Args)]
pub struct SeekArgs {
    /// The log's directory
    pub dir: PathBuf,
    /// Milliseconds since the epoch
    #[arg(long, value_name = "MILLIS", allow_negative_numbers = true)]
    pub time: i64,
}

#[derive(Debug, clap::Args)]
pub struct CleanArgs {
    /// The log's directory
    pub dir: PathBuf,
    /// The kind of data to remove: old segments (delete), superseded records (compact), or both
    /// (delete,compact)
    #[arg(long, value_name = "POLICY", default_value = "delete", value_parser = policy)]
    pub policy: CleanupPolicy,
    /// Delete segments whose latest timestamp is older than this; no limit unless given
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub retention_ms: Option<u64>,
    /// Delete the oldest segments as long as at least this much is left; no limit unless given
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub retention_bytes: Option<u64>,
    /// How long a tombstone stays after it was first compacted; 86400000, a day, unless given
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub delete_retention_ms: Option<u64>,
    /// Do not compact segments with a younger record; 0 unless given
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub min_lag_ms: Option<u64>,
    /// The current time, in milliseconds since the epoch; the system's time unless given
    #[arg(long, value_name = "MILLIS", allow_negative_numbers = true)]
    pub now: Option<i64>,
    /// Clean the log itself, not a copy of it
    #[arg(long)]
    pub execute: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}

#[derive(Debug, clap::Args)]
pub struct TruncateArgs {
    /// The log's directory
    pub dir: PathBuf,
    /// The new end of the log
    #[arg(long, value_name = "OFFSET", allow_negative_numbers = true)]
    pub to: Offset,
    /// Remove the records
    #[arg(long)]
    pub execute: bool,
}

#[derive(Debug, clap::Args)]
pub struct RepairArgs {
    /// The log's directory
    pub dir: PathBuf,
    /// Move the damaged bytes
    #[arg(long)]
    pub execute: bool,
}

#[derive(Debug, clap::Args)]
pub struct DeleteBeforeArgs {
    /// The log's directory
    pub dir: PathBuf,
    /// The new start of the log; a value below the current start changes nothing
    #[arg(long, value_name = "OFFSET", allow_negative_numbers = true)]
    pub offset: Offset,
    /// Remove the records
    #[arg(long)]
    pub execute: bool,
}

#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// The log's directory; the appended records stay there
    pub dir: PathBuf,
    /// The number of records to append
    #[arg(long, value_name = "N", default_value_t = 1_000_000, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub records: u64,
    /// The size of the value of each record
    #[arg(long, value_name = "B", default_value_t = 100, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(..=1 << 30))]
    pub value_bytes: u32,
    /// The number of records in a batch
    #[arg(long, value_name = "N", default_value_t = 100, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub batch_records: u64,
    /// The number of threads that append
    #[arg(long, value_name = "T", default_value_t = 1, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
    /// When to flush
    #[arg(long, value_enum, default_value_t = Sync::End)]
    pub sync: Sync,
    /// The codec of the batches; none unless given
    #[arg(long, value_enum)]
    pub compression: Option<CodecArg>,
}

/// The options of a log that matter at a prompt, named as Kafka names them.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Log options")]
pub struct ConfigArgs {
    /// The size at which a segment is closed; 1073741824 unless given
    #[arg(long, value_name = "B", allow_negative_numbers = true)]
    pub segment_bytes: Option<u64>,
    /// The age at which a segment is closed; 604800000, a week, unless given
    #[arg(long, value_name = "MILLIS", allow_negative_numbers = true)]
    pub segment_ms: Option<u64>,
    /// The bytes between two index entries; 4096 unless given
    #[arg(long, value_name = "B", allow_negative_numbers = true)]
    pub index_interval_bytes: Option<u64>,
    /// The largest batch; 1048588 unless given
    #[arg(long, value_name = "B", allow_negative_numbers = true)]
    pub max_message_bytes: Option<u64>,
    /// Flush once this many records are not durable; never unless given
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub flush_messages: Option<u64>,
    /// Flush with the first append this long after the last flush; never unless given
    #[arg(long, value_name = "MILLIS", allow_negative_numbers = true)]
    pub flush_ms: Option<u64>,
    /// The timestamp of records: their own, or the time of the append; CreateTime unless given
    #[arg(long, value_name = "TYPE", value_enum)]
    pub message_timestamp_type: Option<TimestampArg>,
}

impl ConfigArgs {
    pub fn to_config(&self, compression: Option<CodecArg>) -> LogConfig {
        let mut config = LogConfig::default();
        if let Some(bytes) = self.segment_bytes {
            config = config.segment_bytes(bytes);
        }
        if let Some(millis) = self.segment_ms {
            config = config.segment_age(Duration::from_millis(millis));
        }
        if let Some(bytes) = self.index_interval_bytes {
            config = config.index_interval_bytes(bytes);
        }
        if let Some(bytes) = self.max_message_bytes {
            config = config.max_message_bytes(bytes);
        }
        if let Some(records) = self.flush_messages {
            config = config.flush_messages(records);
        }
        if let Some(millis) = self.flush_ms {
            config = config.flush_interval(Duration::from_millis(millis));
        }
        if let Some(timestamp_type) = self.message_timestamp_type {
            config = config.timestamp_type(timestamp_type.into());
        }
        match compression {
            Some(codec) => config.compression(Compression::of(codec.into())),
            None => config,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    Lines,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    Json,
    Value,
    KeyValue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Isolation {
    Uncommitted,
    Committed,
}

impl From<Isolation> for IsolationLevel {
    fn from(isolation: Isolation) -> IsolationLevel {
        match isolation {
            Isolation::Uncommitted => IsolationLevel::ReadUncommitted,
            Isolation::Committed => IsolationLevel::ReadCommitted,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sync {
    Never,
    Batch,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CodecArg {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl From<CodecArg> for Codec {
    fn from(codec: CodecArg) -> Codec {
        match codec {
            CodecArg::None => Codec::None,
            CodecArg::Gzip => Codec::Gzip,
            CodecArg::Snappy => Codec::Snappy,
            CodecArg::Lz4 => Codec::Lz4,
            CodecArg::Zstd => Codec::Zstd,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TimestampArg {
    #[value(name = "CreateTime")]
    Create,
    #[value(name = "LogAppendTime")]
    Append,
}

impl From<TimestampArg> for TimestampType {
    fn from(timestamp_type: TimestampArg) -> TimestampType {
        match timestamp_type {
            TimestampArg::Create => TimestampType::CreateTime,
            TimestampArg::Append => TimestampType::LogAppendTime,
        }
    }
}

pub fn position(text: &str) -> Result<StartAt, String> {
    match text {
        "earliest" => return Ok(StartAt::Earliest),
        "latest" => return Ok(StartAt::Latest),
        _ => {}
    }
    let parsed = match text.strip_prefix('@') {
        Some(millis) => {
            millis.parse().ok().map(|millis| StartAt::Time(Timestamp::from_millis(millis)))
        }
        None => text.parse().ok().filter(|offset| *offset <= MAX_OFFSET + 1).map(StartAt::Offset),
    };
    parsed.ok_or_else(|| "a position is earliest, latest, an offset, or @MILLIS".to_owned())
}

fn policy(text: &str) -> Result<CleanupPolicy, String> {
    match text {
        "delete" => Ok(CleanupPolicy::Delete),
        "compact" => Ok(CleanupPolicy::Compact),
        "delete,compact" | "compact,delete" => Ok(CleanupPolicy::CompactAndDelete),
        _ => Err("a policy is delete, compact, or delete,compact".to_owned()),
    }
}

pub fn separator(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("it must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}
