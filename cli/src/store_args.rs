//! The command line of the commands for data directories.

use crate::args::{CodecArg, InputFormat, Isolation, OutputFormat, position, separator};
use annals::{Acks, Offset, ProducerConfig, StartAt};
use clap::{Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// The memory for records that wait to be written.
const BUFFER_BYTES: u64 = 32 << 20;

#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
pub struct TopicsArgs {
    /// The data directory, with a directory for each partition
    pub dir: PathBuf,
    #[command(subcommand)]
    pub action: TopicsAction,
}

#[derive(Debug, Subcommand)]
pub enum TopicsAction {
    /// Print the names of all topics
    List,
    /// Print the partitions and settings of topics; all topics unless named
    Describe {
        /// The names of the topics
        topics: Vec<String>,
    },
    /// Create a topic; a missing data directory is created, too
    Create {
        /// The name of the topic
        topic: String,
        /// The number of partitions
        #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        partitions: u32,
        /// Settings, named as Kafka names them: retention.ms=3600000
        #[arg(long, value_name = "KEY=VALUE", num_args = 1.., value_parser = setting)]
        config: Vec<(String, String)>,
    },
    /// Change the settings of a topic, or add partitions
    #[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
    Alter {
        /// The name of the topic
        topic: String,
        /// Settings, named as Kafka names them: retention.ms=3600000
        #[arg(long, group = "change", value_name = "KEY=VALUE", num_args = 1.., value_parser = setting)]
        config: Vec<(String, String)>,
        /// Settings to return to the default
        #[arg(long, group = "change", value_name = "KEY", num_args = 1..)]
        delete_config: Vec<String>,
        /// The new number of partitions, larger than the present one
        #[arg(long, group = "change", value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
        partitions: Option<u32>,
    },
    /// Delete a topic, with all its records
    ///
    /// Prints the partitions and settings of the topic. Only --execute deletes it.
    Delete {
        /// The name of the topic
        topic: String,
        /// Delete the topic
        #[arg(long)]
        execute: bool,
    },
}

#[derive(Debug, Clone, clap::Args)]
pub struct ProduceArgs {
    /// The data directory
    pub dir: PathBuf,
    /// The topic
    pub topic: String,
    /// The partition for all records; unless given, the key of a record decides, and records
    /// without a key are spread
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub partition: Option<u32>,
    /// The text between key and value in a line; without it, a line is a value
    #[arg(long, value_name = "S", value_parser = separator)]
    pub key_separator: Option<String>,
    /// The format of stdin: one value per line, or JSON objects as `consume` and `read` print them
    #[arg(long, value_enum, default_value_t = InputFormat::Lines)]
    pub format: InputFormat,
    /// When a record counts as sent: once it is queued, written to the log, or flushed to disk
    #[arg(long, value_enum, default_value_t = AcksArg::Written)]
    pub acks: AcksArg,
    /// The codec of the batches; none unless given
    #[arg(long, value_enum)]
    pub compression: Option<CodecArg>,
    /// The size to which a batch is filled; 16384 unless given
    #[arg(long, value_name = "B", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(..=1 << 30))]
    pub batch_bytes: Option<u32>,
    /// How long a record waits for others to share its batch, in milliseconds; 5 unless given
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(..=120_000))]
    pub linger_ms: Option<u32>,
    /// Print a line for each record once it is sent
    #[arg(long)]
    pub ack: bool,
}

impl ProduceArgs {
    /// Returns the options of a producer for a topic with this `max.message.bytes`.
    pub fn to_config(&self, record_bytes: u64) -> ProducerConfig {
        let room = record_bytes.max(self.batch_bytes.unwrap_or(0).into()).saturating_mul(2);
        let mut config = ProducerConfig::default()
            .acks(self.acks.into())
            .max_request_bytes(record_bytes.clamp(1, 1 << 30))
            .buffer_bytes(room.max(BUFFER_BYTES));
        if let Some(codec) = self.compression {
            config = config.compression(annals::Codec::from(codec));
        }
        if let Some(bytes) = self.batch_bytes {
            config = config.batch_bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        if let Some(millis) = self.linger_ms {
            config = config.linger(Duration::from_millis(millis.into()));
        }
        config
    }
}

#[derive(Debug, clap::Args)]
pub struct ConsumeArgs {
    /// The data directory
    pub dir: PathBuf,
    /// The names of the topics
    #[arg(required = true)]
    pub topics: Vec<String>,
    /// Begin at the committed offsets of this group, and commit the printed records
    ///
    /// With a group, the directory is opened for writing, so no other process may have it open for
    /// writing. Without a group, the directory is only read, also while another process writes.
    #[arg(long, value_name = "G", value_parser = group)]
    pub group: Option<String>,
    /// Where to begin: earliest, latest, an offset, or @MILLIS since the epoch; with a group, in
    /// partitions without a committed offset
    #[arg(long, value_name = "P", default_value = "earliest", value_parser = position, allow_negative_numbers = true)]
    pub from: StartAt,
    /// The only partition to read; all partitions unless given
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub partition: Option<u32>,
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
#[command(disable_help_subcommand = true)]
pub struct GroupsArgs {
    /// The data directory; with --execute, no other process may have it open for writing
    pub dir: PathBuf,
    #[command(subcommand)]
    pub action: GroupsAction,
}

#[derive(Debug, Subcommand)]
pub enum GroupsAction {
    /// Print the names and states of all groups
    List,
    /// Print the committed offsets of a group, and its lag
    Describe {
        /// The name of the group
        group: String,
    },
    /// Delete a group, and all its committed offsets
    ///
    /// Prints the committed offsets. Only --execute deletes the group.
    Delete {
        /// The name of the group
        group: String,
        /// Delete the group
        #[arg(long)]
        execute: bool,
    },
    /// Move the committed offsets of a group
    ///
    /// Prints the offsets before and after the reset. Only --execute commits the new ones. An
    /// offset outside a partition becomes the start or the end of the partition.
    Reset(ResetArgs),
}

#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
pub struct TransactionsArgs {
    /// The data directory
    pub dir: PathBuf,
    #[command(subcommand)]
    pub action: TransactionsAction,
}

#[derive(Debug, Subcommand)]
pub enum TransactionsAction {
    /// Print the transactional ids, their producers and the states of their latest transactions
    List,
    /// Print the latest transaction of a transactional id
    Describe {
        /// The transactional id
        transactional_id: String,
    },
    /// Print the open transactions that no coordinator knows
    ///
    /// Readers of committed records cannot pass them.
    FindHanging {
        /// How long the producer has sent nothing, in milliseconds
        #[arg(long, value_name = "N", default_value_t = 20 * 60 * 1000, allow_negative_numbers = true)]
        silent_for_ms: u64,
    },
    /// Abort a transaction that no coordinator knows
    ///
    /// Prints the transaction. Only --execute aborts it.
    Abort(AbortArgs),
    /// Fence the producer of a transactional id, and abort its ongoing transaction
    ///
    /// Prints its latest transaction. Only --execute fences the producer.
    ForceTerminate(ForceTerminateArgs),
}

#[derive(Debug, clap::Args)]
pub struct ForceTerminateArgs {
    /// The transactional id, as `list` prints it
    #[arg(long, value_name = "ID")]
    pub transactional_id: String,
    /// Fence the producer
    #[arg(long)]
    pub execute: bool,
}

#[derive(Debug, clap::Args)]
pub struct AbortArgs {
    /// The topic
    #[arg(long, value_name = "T")]
    pub topic: String,
    /// The partition
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub partition: u32,
    /// The offset at which the transaction begins, as `find-hanging` prints it
    #[arg(long, value_name = "O", allow_negative_numbers = true)]
    pub start_offset: Offset,
    /// Abort the transaction
    #[arg(long)]
    pub execute: bool,
}

#[derive(Debug, clap::Args)]
pub struct ResetArgs {
    /// The name of the group, which may be new
    #[arg(value_parser = group)]
    pub group: String,
    /// The topics to reset, with all their partitions
    #[arg(long = "topic", value_name = "T", required = true)]
    pub topics: Vec<String>,
    /// The new position: earliest, latest, an offset, or @MILLIS since the epoch
    #[arg(long, value_name = "P", value_parser = position, allow_negative_numbers = true, conflicts_with = "shift", required_unless_present = "shift")]
    pub to: Option<StartAt>,
    /// The number of records to move forward from the committed offset, or back if negative
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub shift: Option<i64>,
    /// Commit the new offsets
    #[arg(long)]
    pub execute: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AcksArg {
    None,
    Written,
    Flushed,
}

impl From<AcksArg> for Acks {
    fn from(acks: AcksArg) -> Acks {
        match acks {
            AcksArg::None => Acks::None,
            AcksArg::Written => Acks::Written,
            AcksArg::Flushed => Acks::Flushed,
        }
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a setting is key=value".to_owned()),
    }
}

fn group(text: &str) -> Result<String, String> {
    match text.len() {
        1..=32767 => Ok(text.to_owned()),
        _ => Err("the name of a group has 1 to 32767 bytes".to_owned()),
    }
}
