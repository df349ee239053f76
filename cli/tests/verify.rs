//! `verify`: each kind of damage is found.

use crate::sample::{FIRST, copy_log, many, vectors};
use crate::tool::run;
use std::fs;
use std::path::Path;

#[test]
fn verify_finds_every_flipped_bit() {
    let dir = many(10);
    let path = dir.path().join(format!("{FIRST}.log"));
    let sound = fs::read(&path).unwrap();
    for at in [16, 20, 22, 30, 60, 61, sound.len() - 1] {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x40;
        fs::write(&path, &bytes).unwrap();
        let ran = run(dir.path(), &["verify", "t-0"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (3, ""), "byte {at}");
        let problem = ran.lines().remove(0);
        let keys: Vec<&String> = problem.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["file", "position", "offset", "problem"]);
    }
}

#[test]
fn verify_finds_torn_tails_and_leftovers() {
    let problems = |dir: &Path| {
        let ran = run(dir, &["verify", "t-0"]);
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        ran.lines().iter().map(|line| line["problem"].as_str().unwrap().to_owned()).collect()
    };
    let found: Vec<String> = problems(copy_log("crash-tail/t-0").path());
    assert_eq!(found.len(), 1);
    let found: Vec<String> = problems(copy_log("crash-cleaned/t-0").path());
    assert_eq!(found.len(), 4, "{found:?}");
    problems(copy_log("crash-corrupt-middle/t-0").path());
    problems(copy_log("crash-swap/t-0").path());

    let dir = many(1000);
    for index in [".index", ".timeindex"] {
        let path = dir.path().join(format!("{FIRST}{index}"));
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        problems(dir.path());
        fs::write(&path, &bytes).unwrap();
    }
    run(dir.path(), &["verify", "t-0"]).ok();
    let point = dir.path().join("t-0/recovery-point-offset-checkpoint");
    fs::write(point, "0\n1\nt 0 2000\n").unwrap();
    let found: Vec<String> = problems(dir.path());
    assert!(found[0].contains("2000"), "{found:?}");
}

#[test]
fn legacy_formats_are_rejected() {
    for file in ["v0-none.bin", "v1-gzip.bin"] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("t-0")).unwrap();
        fs::copy(vectors("legacy").join(file), dir.path().join(format!("{FIRST}.log"))).unwrap();
        for command in ["read", "info", "verify", "dump", "append"] {
            run(dir.path(), &[command, "t-0"]).refused(2, "is not supported");
        }
    }
}
