//! The tool, run as another program would run it.

use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

pub fn tool() -> Command {
    Command::new(env!("CARGO_BIN_EXE_annals"))
}

pub struct Ran {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: Output) -> Ran {
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{stderr}");
        Ran { code: output.status.code().unwrap(), stdout: output.stdout, stderr }
    }

    pub fn lines(&self) -> Vec<Value> {
        let lines = self.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    #[track_caller]
    pub fn ok(self) -> Ran {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self
    }

    #[track_caller]
    pub fn refused(self, code: i32, words: &str) -> Ran {
        assert_eq!(self.code, code, "{}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        assert!(self.stderr.contains(words), "{:?} in {}", words, self.stderr);
        self
    }
}

pub fn run_with(dir: &Path, args: &[&str], stdin: &[u8]) -> Ran {
    let mut child = tool()
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = stdin.to_vec();
    let feeder = std::thread::spawn(move || input.write_all(&bytes).ok());
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    Ran::of(output)
}

pub fn run(dir: &Path, args: &[&str]) -> Ran {
    run_with(dir, args, b"")
}

/// Runs the tool as before `| head -0`: nothing reads its output.
pub fn run_into_closed_pipe(dir: &Path, args: &[&str]) -> Ran {
    let mut command = tool();
    command.args(args).current_dir(dir).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    Ran::of(child.wait_with_output().unwrap())
}

pub fn values(ran: &Ran) -> Vec<String> {
    ran.lines().iter().map(|line| line["value"].as_str().unwrap().to_owned()).collect()
}

pub fn offsets(ran: &Ran) -> Vec<u64> {
    ran.lines().iter().map(|line| line["offset"].as_u64().unwrap()).collect()
}

pub fn spawn(dir: &Path, args: &[&str]) -> Child {
    let pipe = Stdio::piped;
    let mut command = tool();
    command.args(args).current_dir(dir).stdin(pipe()).stdout(pipe()).stderr(Stdio::null());
    command.spawn().unwrap()
}
