//! The command-line tool as a black box: the program itself, run on real directories.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unreachable_pub, reason = "the modules of one test")]

mod clean;
mod damage;
mod dump;
mod groups;
mod kafka;
mod log;
mod processes;
mod sample;
mod tool;
mod topics;
mod transactions;
mod usage;
mod verify;
