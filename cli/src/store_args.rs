//! The command line of what works on a data directory.

use crate::args::{CodecArg, InputFormat, OutputFormat, position, separator};
use annals::{Acks, ProducerConfig, StartAt};
use clap::{Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// The memory for what waits to be written.
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
    /// Print the topics there are
    List,
    /// Print what is in topics, and how they are set up; all of them unless named
    Describe {
        /// The topics
        topics: Vec<String>,
    },
    /// Make a topic; a missing data directory is made, too
    Create {
        /// Its name
        topic: String,
        /// How many partitions it has
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        partitions: u32,
        /// Settings, named as Kafka names them: retention.ms=3600000
        #[arg(long, value_name = "KEY=VALUE", num_args = 1.., value_parser = setting)]
        config: Vec<(String, String)>,
    },
    /// Set a topic up otherwise
    #[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
    Alter {
        /// Its name
        topic: String,
        /// Settings, named as Kafka names them: retention.ms=3600000
        #[arg(long, group = "change", value_name = "KEY=VALUE", num_args = 1.., value_parser = setting)]
        config: Vec<(String, String)>,
        /// Settings to leave to the default again
        #[arg(long, group = "change", value_name = "KEY", num_args = 1..)]
        delete_config: Vec<String>,
        /// How many partitions it is to have, more than now
        #[arg(long, group = "change", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        partitions: Option<u32>,
    },
    /// Delete a topic, with all that is in it
    ///
    /// Prints what is in it. Only --execute deletes it.
    Delete {
        /// Its name
        topic: String,
        /// Delete it
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
    /// The partition for all records; otherwise keys decide, and records without one are spread
    #[arg(long, value_name = "N")]
    pub partition: Option<u32>,
    /// What stands between key and value in a line
    #[arg(long, value_name = "S", value_parser = separator)]
    pub key_separator: Option<String>,
    /// What stdin holds: one value a line, or objects as `consume` and `read` print them
    #[arg(long, value_enum, default_value_t = InputFormat::Lines)]
    pub format: InputFormat,
    /// When a record counts as sent: it was taken, the log has it, or the medium has it
    #[arg(long, value_enum, default_value_t = AcksArg::Written)]
    pub acks: AcksArg,
    /// How batches are compressed; not at all unless asked
    #[arg(long, value_enum)]
    pub compression: Option<CodecArg>,
    /// The size to which a batch is filled; 16384 unless given
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u32).range(..=1 << 30))]
    pub batch_bytes: Option<u32>,
    /// How long a record waits for others to share its batch; 5 unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=120_000))]
    pub linger_ms: Option<u32>,
    /// Print a line for every record once it is sent
    #[arg(long)]
    pub ack: bool,
}

impl ProduceArgs {
    /// The options of a producer for a topic that takes records of so many bytes.
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
    /// The topics
    #[arg(required = true)]
    pub topics: Vec<String>,
    /// Go on where this group has come to, and commit what was printed
    ///
    /// The directory is opened for that, so nobody else may have it open. Without a group it is only read, also while
    /// others write.
    #[arg(long, value_name = "G", value_parser = group)]
    pub group: Option<String>,
    /// Where to begin: earliest, latest, an offset, or @MILLIS since the epoch; with a group, where it has committed
    /// nothing
    #[arg(long, value_name = "P", default_value = "earliest", value_parser = position, allow_negative_numbers = true)]
    pub from: StartAt,
    /// The only partition to read; all of them unless given
    #[arg(long, value_name = "N")]
    pub partition: Option<u32>,
    /// The most records to print
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub max: Option<u64>,
    /// Wait for more at the end
    #[arg(long)]
    pub follow: bool,
    /// How records are printed; key and value are separated by a tab
    #[arg(long, value_enum, default_value_t = OutputFormat::Json)]
    pub format: OutputFormat,
}

#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
pub struct GroupsArgs {
    /// The data directory; nobody else may have it open for what --execute changes
    pub dir: PathBuf,
    #[command(subcommand)]
    pub action: GroupsAction,
}

#[derive(Debug, Subcommand)]
pub enum GroupsAction {
    /// Print the groups there are
    List,
    /// Print what a group has committed, and how far behind it is
    Describe {
        /// Its name
        group: String,
    },
    /// Forget a group, and all that it has committed
    ///
    /// Prints what it has committed. Only --execute forgets it.
    Delete {
        /// Its name
        group: String,
        /// Forget it
        #[arg(long)]
        execute: bool,
    },
    /// Move a group to somewhere else in topics
    ///
    /// Prints where it is and where it would be. Only with --execute is that committed. What lies outside a partition
    /// becomes its start or its end.
    Reset(ResetArgs),
}

#[derive(Debug, clap::Args)]
pub struct ResetArgs {
    /// Its name, which may be new
    #[arg(value_parser = group)]
    pub group: String,
    /// The topics, all their partitions
    #[arg(long = "topic", value_name = "T", required = true)]
    pub topics: Vec<String>,
    /// Where to: earliest, latest, an offset, or @MILLIS since the epoch
    #[arg(long, value_name = "P", value_parser = position, allow_negative_numbers = true, conflicts_with = "shift", required_unless_present = "shift")]
    pub to: Option<StartAt>,
    /// So many records on from what is committed, or back if negative
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub shift: Option<i64>,
    /// Commit it
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
