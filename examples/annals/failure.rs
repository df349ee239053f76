//! How the tool ends when it cannot go on.

use annals::{Error, ErrorKind, InvalidBatch};
use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

const WRONG_USAGE: u8 = 1;
const REFUSED: u8 = 2;

/// Why a command ends early.
#[derive(Debug)]
pub enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// The data or the disk said no.
    Refused(String),
    /// Nobody reads what is printed any more.
    NoReader,
}

impl Failure {
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::Usage(message.into())
    }

    pub fn refused(message: impl Into<String>) -> Failure {
        Failure::Refused(message.into())
    }

    /// A failed call of the system: what was tried and where.
    pub fn io(what: impl Display, error: &io::Error) -> Failure {
        Failure::Refused(format!("cannot {what}: {error}"))
    }

    /// A batch at a place in a file that cannot be decoded.
    pub fn batch(path: &Path, position: u64, reason: InvalidBatch) -> Failure {
        Failure::Refused(format!("{} at byte {position}: {}", path.display(), Error::from(reason)))
    }

    /// Tells it in one line, and gives the exit code.
    pub fn report(self) -> ExitCode {
        match self {
            Failure::NoReader => ExitCode::SUCCESS,
            Failure::Usage(message) => complain(&message, WRONG_USAGE),
            Failure::Refused(message) => complain(&message, REFUSED),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match &error {
            Error::InvalidConfig { option, reason } => {
                Failure::Usage(format!("--{}: {reason}", option.replace('_', "-")))
            }
            Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Failure::Refused(format!("{error}; check the path"))
            }
            Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Failure::Refused(format!("{error}; run it as the user who owns the log"))
            }
            _ if error.kind() == ErrorKind::StorageFull => {
                Failure::Refused(format!("{error}; make room and try again"))
            }
            _ => Failure::Refused(error.to_string()),
        }
    }
}

fn complain(message: &str, code: u8) -> ExitCode {
    let line: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // Nothing is left to tell when stderr is gone as well.
    writeln!(io::stderr(), "annals: {}", line.join("; ").replace(":; ", ": ")).ok();
    ExitCode::from(code)
}

/// What the parser of the command line has to say: help, or one line about what is wrong.
pub fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            error.print().ok();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            complain("a command is needed; see `annals --help`", WRONG_USAGE)
        }
        _ => {
            let text = error.to_string();
            let told: Vec<&str> =
                text.lines().take_while(|line| !line.starts_with("Usage:")).collect();
            let told = told.join("\n");
            let told = told.strip_prefix("error: ").unwrap_or(&told);
            let told = told.split("\nFor more information").next().unwrap_or(told);
            complain(&format!("{told}\nsee --help"), WRONG_USAGE)
        }
    }
}
