//! `annals`: log directories, and data directories of topics, at the prompt.
//!
//! It does the work of `kafka-dump-log`, `kafka-topics`, `kafka-consumer-groups`,
//! `kafka-transactions` and the console producer and consumer, without a JVM or a broker, through
//! the public API of the library alone.
//!
//! Install it with `cargo install --path cli`, or run it from the workspace:
//! `cargo run --release --package annals-cli -- COMMAND …`
//!
//! Results go to stdout, messages to stderr. Exit codes: 0, all is done; 1, the command line is
//! wrong; 2, the data, the disk or another process stands in the way; 3, damage was found or
//! passed over.
#![allow(unreachable_pub, reason = "the modules of one program")]

mod append;
mod args;
mod bench;
mod clean;
mod consume;
mod cut;
mod data;
mod dump;
mod failure;
mod groups;
mod holes;
mod info;
mod input;
mod json;
mod notices;
mod output;
mod produce;
mod read;
mod rehearsal;
mod repair;
mod salvage;
mod scan;
mod seek;
mod store_args;
mod topics;
mod transaction_state;
mod transactions;
mod verify;

use args::{Args, Command};
use clap::Parser;
use failure::Failure;
use output::Output;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return failure::usage(&error),
    };
    let mut output = Output::new();
    let result = run(args.command, &mut output);
    // Everything printed before a failure appears before its message.
    let flushed = output.flush();
    match result.and_then(|code| flushed.map(|()| code)) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn run(command: Command, output: &mut Output) -> Result<ExitCode, Failure> {
    match command {
        Command::Append(args) => append::run(&args, output)?,
        Command::Read(args) => return read::run(&args, output),
        Command::Dump(args) => dump::run(&args, output)?,
        Command::Info(args) => return info::run(&args, output),
        Command::Verify(args) => return verify::run(&args, output),
        Command::Seek(args) => seek::seek(&args, output)?,
        Command::Repair(args) => return repair::run(&args, output),
        Command::Clean(args) => clean::run(&args, output)?,
        Command::Truncate(args) => return cut::truncate(&args, output),
        Command::DeleteBefore(args) => return cut::delete_before(&args, output),
        Command::Bench(args) => bench::run(&args, output)?,
        Command::Topics(args) => topics::run(&args, output)?,
        Command::Produce(args) => produce::run(&args, output)?,
        Command::Consume(args) => return consume::run(&args, output),
        Command::Groups(args) => groups::run(&args, output)?,
        Command::Transactions(args) => transactions::run(&args, output)?,
    }
    Ok(ExitCode::SUCCESS)
}
