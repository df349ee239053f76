//! Tests that run in their own process: this test program again, with a filter for one test.

use std::ffi::OsStr;
use std::process::{Command, Output};

/// The environment variable with the name of the test that the child runs.
const CHILD: &str = "ANNALS_TEST_CHILD";

/// Returns the path of a test function, as the filter of its test binary expects it.
pub fn path_of<F>(_: &F) -> &'static str {
    let path = std::any::type_name::<F>();
    path.split_once("::").map_or(path, |(_, within)| within)
}

/// Returns a command that runs this program with one test alone, and shows what the test prints.
pub fn child<F: Fn()>(test: &F) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    as_child(&mut command, test);
    command
}

/// Returns the command of [`child`], limited to this number of file descriptors.
#[cfg(unix)]
pub fn child_with_descriptors<F: Fn()>(test: &F, descriptors: u32) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap());
    as_child(&mut command, test);
    command
}

fn as_child<F: Fn()>(command: &mut Command, test: &F) {
    let path = path_of(test);
    command.args(["--exact", path, "--nocapture", "--test-threads=1"]).env(CHILD, path);
}

/// Returns whether this process is the child that runs this test.
pub fn is_child<F: Fn()>(test: &F) -> bool {
    std::env::var_os(CHILD).as_deref() == Some(OsStr::new(path_of(test)))
}

/// Waits for a child. Fails with the child's output unless its one test passed.
#[track_caller]
pub fn finish(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && said.contains("test result: ok. 1 passed");
    assert!(passed, "{said}{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Runs the body of a test in a process in which no other test runs, and prints its output.
#[track_caller]
pub fn alone<F: Fn()>(test: &F, body: impl FnOnce()) {
    if is_child(test) {
        return body();
    }
    let output = finish(&mut child(test));
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
}
