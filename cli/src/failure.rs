//! How the tool ends when it cannot go on.

use crate::args::Args;
use annals::{
    Corruption, Error, ErrorKind, GroupError, InvalidBatch, ProduceError, TopicError,
    TransactionError,
};
use clap::CommandFactory as _;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

const WRONG_USAGE: u8 = 1;
const REFUSED: u8 = 2;
/// The exit code for damage that `verify` found, or that a command passed over.
pub const DAMAGED: u8 = 3;

/// The reason why a command ends early.
#[derive(Debug)]
pub enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// The data, the disk or another process stands in the way.
    Refused(String),
    /// The log is damaged, and the command cannot pass over the damage.
    Damaged(Box<Corruption>),
    /// The reader of stdout has gone.
    NoReader,
}

impl Failure {
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::Usage(message.into())
    }

    pub fn refused(message: impl Into<String>) -> Failure {
        Failure::Refused(message.into())
    }

    /// Returns the failure for a failed system call: what was tried, and where.
    pub fn io(what: impl Display, error: &io::Error) -> Failure {
        Failure::Refused(format!("cannot {what}: {error}"))
    }

    /// Returns the failure for a batch that cannot be decoded.
    pub fn batch(path: &Path, position: u64, reason: InvalidBatch) -> Failure {
        Failure::Refused(format!("{} at byte {position}: {}", path.display(), Error::from(reason)))
    }

    /// Adds the directory of the log to errors that do not name it.
    pub fn within(dir: &Path) -> impl Fn(Error) -> Failure {
        move |error| match &error {
            Error::Unsupported(_) | Error::InvalidBatch(_) => {
                Failure::Refused(format!("{}: {error}", dir.display()))
            }
            _ => error.into(),
        }
    }

    /// Prints the failure in one line, and returns its exit code.
    pub fn report(self) -> ExitCode {
        match self {
            Failure::NoReader => ExitCode::SUCCESS,
            Failure::Usage(message) => complain(&message, WRONG_USAGE),
            Failure::Refused(message) => complain(&message, REFUSED),
            Failure::Damaged(damage) => complain(&format!("{damage}; {ADVICE}"), REFUSED),
        }
    }
}

/// The ways out of damage; the one that loses nothing comes first.
const ADVICE: &str = "restore the file from a copy; or print what is sound with `annals read`, \
and set the damaged bytes aside with `annals repair`";

/// Prints a warning on stderr.
pub fn warn(message: &str) {
    writeln!(io::stderr(), "annals: warning: {message}").ok();
}

/// Prints on stderr what the output is not, and how to get it.
pub fn note(message: &str) {
    writeln!(io::stderr(), "annals: {message}").ok();
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let error = match error {
            Error::Corrupt(damage) => return Failure::Damaged(damage),
            other => other,
        };
        match &error {
            Error::InvalidConfig { option, reason } => match flag_of(option) {
                flag if has_flag(&flag) => Failure::Usage(format!("--{flag} {reason}")),
                _ => Failure::Usage(error.to_string()),
            },
            Error::Io { operation, path, source } => {
                let way = way_out(error.kind(), source);
                Failure::Refused(format!("cannot {operation} {}: {source}{way}", path.display()))
            }
            Error::BatchTooLarge { bytes, limit, option, .. } => {
                let flag = flag_of(option);
                Failure::Refused(format!(
                    "a batch of {bytes} bytes is over the limit of {limit}; raise --{flag}"
                ))
            }
            Error::Locked { .. } => {
                let told = error.to_string();
                let told = told.split(';').next().unwrap_or(&told);
                Failure::Refused(format!("{told}; retry when that process has closed it"))
            }
            Error::Topic(refused) => of_topic(refused),
            Error::Group(refused) => of_group(refused),
            Error::Produce(refused) => of_record(refused),
            Error::Transaction(refused) => of_transaction(refused),
            _ => Failure::Refused(error.to_string()),
        }
    }
}

/// Returns what the user of the tool can do about an error of the operating system.
fn way_out(kind: ErrorKind, error: &io::Error) -> &'static str {
    match (kind, error.kind()) {
        (_, io::ErrorKind::FileTooLarge) => {
            "; raise the limit on the size of files (`ulimit -f`), then retry"
        }
        (ErrorKind::StorageFull, _) => "; make room, then retry",
        (ErrorKind::TooManyFiles, _) => "; raise the limit on open files (`ulimit -n`), then retry",
        (_, io::ErrorKind::NotFound) => "; check the path",
        (_, io::ErrorKind::PermissionDenied) => "; run it as the user who owns the log",
        (_, io::ErrorKind::ReadOnlyFilesystem) => "; a log there can be read, not changed",
        _ => "",
    }
}

/// Returns the failure for an error of a transaction.
fn of_transaction(error: &TransactionError) -> Failure {
    match error {
        TransactionError::UnknownId { id } => Failure::refused(format!(
            "no producer has the transactional id `{id}`; `annals transactions DIR list` prints all ids"
        )),
        _ => Failure::refused(error.to_string()),
    }
}

/// Returns the failure for an error of a topic.
fn of_topic(error: &TopicError) -> Failure {
    match error {
        TopicError::Unknown { topic } => Failure::refused(format!(
            "there is no topic `{topic}`: `annals topics DIR list` prints those there are"
        )),
        TopicError::Internal { topic, reason } => {
            let reason = reason.replace("`Admin::delete_group`", "`annals groups DIR delete`");
            Failure::refused(format!("`{topic}` is an internal topic: {reason}"))
        }
        TopicError::PartitionOffline { topic, partition, kind, reason } => {
            let way = match kind {
                ErrorKind::Corrupt => format!(
                    "set the damaged bytes aside with `annals repair DIR/{topic}-{partition}`"
                ),
                _ => "remove the cause, then retry".to_owned(),
            };
            Failure::refused(format!(
                "partition {partition} of topic `{topic}` is offline: {reason}; {way}"
            ))
        }
        TopicError::UnknownSetting { key, nearest: None } => Failure::usage(format!(
            "topics have no setting `{key}`: they are those of a topic in Kafka's documentation"
        )),
        TopicError::UnknownSetting { .. }
        | TopicError::InvalidSetting { .. }
        | TopicError::InvalidName { .. } => Failure::usage(error.to_string()),
        _ => Failure::refused(error.to_string()),
    }
}

/// Returns the failure for an error of a group.
fn of_group(error: &GroupError) -> Failure {
    match error {
        GroupError::UnknownGroup { group } => Failure::refused(format!(
            "there is no group `{group}`: `annals groups DIR list` prints those there are"
        )),
        GroupError::NonEmptyGroup { group } => {
            Failure::refused(format!("group `{group}` has members: stop its consumers first"))
        }
        _ => Failure::refused(error.to_string()),
    }
}

/// Returns the failure for a record that was not sent.
fn of_record(error: &ProduceError) -> Failure {
    match error {
        ProduceError::RecordTooLarge { bytes, limit, .. } => Failure::refused(format!(
            "a record that may take {bytes} bytes is over the limit of {limit}; raise the topic's max.message.bytes"
        )),
        _ => Failure::refused(error.to_string()),
    }
}

/// Returns the option of the command line that sets an option of the log.
fn flag_of(option: &str) -> String {
    match option {
        "linger" => "linger-ms".to_owned(),
        "segment_age" => "segment-ms".to_owned(),
        "flush_interval" => "flush-ms".to_owned(),
        "timestamp_type" => "message-timestamp-type".to_owned(),
        other => other.replace('_', "-"),
    }
}

/// Returns whether the command on the command line has an option.
fn has_flag(flag: &str) -> bool {
    asked().get_opts().any(|option| option.get_long() == Some(flag))
}

fn complain(message: &str, code: u8) -> ExitCode {
    let line: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // A failed write to stderr cannot be reported.
    writeln!(io::stderr(), "annals: {}", line.join("; ").replace(":; ", ": ")).ok();
    ExitCode::from(code)
}

/// Returns the command on the command line, as far as it exists.
fn asked() -> clap::Command {
    let mut command = Args::command();
    for name in std::env::args_os().skip(1) {
        if let Some(found) = command.find_subcommand(&name).cloned() {
            command = found;
        }
    }
    command
}

/// Returns the list of commands.
fn commands() -> String {
    let asked = asked();
    let names: Vec<&str> = asked.get_subcommands().map(clap::Command::get_name).collect();
    format!("the commands are {}", names.join(" "))
}

/// Returns the options of the command on the command line, or its subcommands, for a message about
/// an unknown option that resembles none of them.
fn options() -> String {
    let asked = asked();
    if asked.has_subcommands() {
        return commands();
    }
    let options: Vec<String> =
        asked.get_opts().filter_map(|option| Some(format!("--{}", option.get_long()?))).collect();
    if options.is_empty() { String::new() } else { format!("it takes {}", options.join(" ")) }
}

/// Says what is expected where Rust's parsers say what they met.
fn in_plain_words(text: &str) -> String {
    let is_negative = text.split_once("invalid value '-").is_some_and(|(_, value)| {
        value.split('\'').next().is_some_and(|value| value.bytes().all(|b| b.is_ascii_digit()))
    });
    let expected = if is_negative {
        "expected a whole number, not below 0"
    } else {
        "expected a whole number"
    };
    text.replace("invalid digit found in string", expected)
        .replace("cannot parse integer from empty string", expected)
        .replace("number too large to fit in target type", "the number is too large")
        .replace("number too small to fit in target type", "the number is too small")
}

/// Prints what the parser of the command line returned: help, or one line about the mistake.
pub fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            error.print().ok();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            complain(
                &format!("a command is needed: {}; see `annals --help`", commands()),
                WRONG_USAGE,
            )
        }
        _ => {
            let text = in_plain_words(&error.to_string());
            let told: Vec<&str> =
                text.lines().take_while(|line| !line.starts_with("Usage:")).collect();
            let told = told.join("\n");
            let told = told.strip_prefix("error: ").unwrap_or(&told);
            let told = told.split("\nFor more information").next().unwrap_or(told);
            // No option takes a value that looks like an option, so this tip of clap would
            // mislead.
            let told: Vec<&str> =
                told.lines().filter(|line| !line.contains("as a value")).collect();
            let told = told.join("\n");
            let options = match error.kind() {
                ErrorKind::UnknownArgument if !told.contains("tip:") => options(),
                ErrorKind::InvalidSubcommand if !told.contains("tip:") => commands(),
                _ => String::new(),
            };
            complain(&format!("{told}\n{options}\nsee --help"), WRONG_USAGE)
        }
    }
}
