//! Help, wrong usage, and input and directories that no command accepts.

use crate::sample::FIRST;
use crate::tool::{run, run_with, values};
use std::fs;

#[test]
fn help_lists_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    for help in [&["help"][..], &["--help"], &["-h"]] {
        let told = String::from_utf8(run(dir.path(), help).ok().stdout).unwrap();
        assert!(told.contains("Exit codes:") && told.contains("3  damage"), "{told}");
    }
    let told = String::from_utf8(run(dir.path(), &["help", "truncate"]).ok().stdout).unwrap();
    assert!(told.contains("--execute"), "{told}");
}

#[test]
fn wrong_usage_prints_one_line() {
    let dir = tempfile::tempdir().unwrap();
    for (args, words) in [
        (&["read", "t-0", "--folow"][..], "--follow"),
        (&["append", "t-0", "--segment-byte", "1"], "--segment-bytes"),
        (&["append", "t-0", "--segment-bytes", "1"], "--segment-bytes"),
        (&["append", "t-0", "--sync", "sometimes"], "sometimes"),
        (&["append", "t-0", "--batch-records", "0"], "--batch-records"),
        (&["read", "t-0", "--from", "first"], "earliest"),
        (&["read", "t-0", "--from", "-1"], "a position is earliest"),
        (
            &["read", "t-0", "--max", "-1"],
            "'-1' for '--max <N>': expected a whole number, not below 0",
        ),
        (&["read", "t-0", "--max", "many"], "'many' for '--max <N>': expected a whole number"),
        (&["truncate", "t-0", "--to", "-1"], "'-1' for '--to"),
        (&["read", "t-0", "--zzz"], "it takes --from --until --max"),
        (&["append", "t-0", "--segment-ms", "0"], "--segment-ms is 0ns, but must be"),
        (&["read", "t-0", "--from", "@x"], "@MILLIS"),
        (&["truncate", "t-0"], "--to"),
        (&["read"], "DIR"),
        (&["frobnicate"], "frobnicate"),
        (&["zzz", "t-0"], "append read dump"),
        (&["clean", "t-0", "--policy", "forget"], "a policy is delete, compact, or delete,compact"),
        (&["clean", "t-0", "--policy", "delete,delete"], "a policy is"),
        (&["clean", "t-0", "--policy", ""], "a policy is"),
        (
            &["clean", "t-0", "--policy", "compact", "--retention-ms", "1"],
            "--retention-ms: nothing",
        ),
        (&["clean", "t-0", "--policy", "compact", "--retention-bytes", "1"], "--retention-bytes: "),
        (&["clean", "t-0", "--delete-retention-ms", "1"], "--delete-retention-ms: nothing"),
        (&["clean", "t-0", "--policy", "delete", "--min-lag-ms", "1"], "delete,compact"),
        (&["clean", "t-0", "--retention-ms", "-1"], "'-1' for '--retention-ms"),
        (
            &["clean", "t-0", "--policy", "compact", "--min-lag-ms", "9223372036854775808"],
            "--min-lag-ms",
        ),
        (&["clean", "t-0", "--now", "today"], "--now"),
        (&["clean", "t-0", "--retention-byte", "1"], "--retention-bytes"),
        (&["clean", "t-0", "--segment-bytes", "1"], "--segment-bytes is 1, but must lie"),
        (&["clean"], "DIR"),
        (&[], "--help"),
    ] {
        run(dir.path(), args).refused(1, words);
    }
    assert!(!dir.path().join("t-0").exists());
    for args in [&["--help"][..], &["append", "--help"], &["clean", "--help"], &["--version"]] {
        assert!(!run(dir.path(), args).ok().stdout.is_empty());
    }
}

#[test]
fn wrong_input_keeps_acknowledged_records() {
    let dir = tempfile::tempdir().unwrap();
    let json = ["append", "t-0", "--format", "json", "--ack", "--batch-records", "1"];
    for line in [
        "{",
        "[]",
        r#"[0,1,null,"v",[]]"#,
        "3",
        r#"{"valu":"x"}"#,
        r#"{"value":3}"#,
        r#"{"value":{"base64":"!"}}"#,
        r#"{"value":"x","headers":[[null,"v"]]}"#,
        r#"{"timestamp":-5,"value":"x"}"#,
    ] {
        run_with(dir.path(), &json, line.as_bytes()).refused(2, "line 1 of stdin");
    }
    run_with(dir.path(), &json, b"nonsense")
        .refused(2, "line 1 of stdin: it is not JSON from column");
    run_with(dir.path(), &["append", "t-0", "--key-separator", ":"], b"ab")
        .refused(2, "it has no key separator `:`; begin each line");
    let ran = run_with(dir.path(), &json, b"{\"value\":\"kept\"}\nnonsense\n");
    let acked = ran.refused(2, "line 2 of stdin").lines().len();
    assert_eq!((acked, values(&run(dir.path(), &["read", "t-0"]))), (1, vec!["kept".to_owned()]));
    let long = vec![b'x'; 2 << 20];
    run_with(dir.path(), &["append", "t-0"], &long).refused(2, "line 1 of stdin");
    // The line is short enough to be read, and too long for a batch.
    let long = vec![b'x'; 1_048_588];
    let long = run_with(dir.path(), &["append", "t-0"], &long);
    long.refused(2, "raise --max-message-bytes; nothing was appended");
    let small = ["append", "t-0", "--segment-bytes", "62"];
    run_with(dir.path(), &small, b"x").refused(2, "line 1 of stdin: a batch of 69 bytes");
    run_with(dir.path(), &small, b"x").refused(2, "raise --segment-bytes");
    let bench = ["bench", "t-0", "--records", "1", "--value-bytes", "3000000"];
    run(dir.path(), &bench).refused(2, "--value-bytes");
    // The message names the rejected line, and the line to continue with.
    let lines = b"{}\n{}\n\n{}\n{\"timestamp\":-5}\n{}\n";
    let two = ["append", "t-0", "--format", "json", "--batch-records", "2"];
    let ran = run_with(dir.path(), &two, lines);
    assert!(ran.stderr.contains("line 5 of stdin: timestamp -5"), "{}", ran.stderr);
    ran.refused(2, "the lines before line 3 were appended");
    run(dir.path(), &["verify", "t-0"]).ok();
}

#[test]
fn commands_reject_directories_without_log() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    fs::create_dir(dir.path().join("foreign")).unwrap();
    fs::write(dir.path().join("foreign/notes.txt"), "x").unwrap();
    fs::create_dir(dir.path().join("empty")).unwrap();
    for command in ["read", "info", "verify"] {
        for path in ["file", "foreign", "empty", "missing", "file/below"] {
            run(dir.path(), &[command, path]).refused(2, path);
        }
    }
    for path in ["file", "foreign", "file/below"] {
        run(dir.path(), &["append", path]).refused(2, path);
        run(dir.path(), &["truncate", path, "--to", "0"]).refused(2, path);
        run(dir.path(), &["clean", path, "--policy", "compact"]).refused(2, path);
    }
    for path in ["file", "foreign", "empty", "missing", "foreign/notes.txt"] {
        run(dir.path(), &["dump", path]).refused(2, path);
    }
    fs::create_dir_all(dir.path().join(format!("odd/{FIRST}.log"))).unwrap();
    run(dir.path(), &["read", "odd/t-0"]).refused(2, "odd");
}
