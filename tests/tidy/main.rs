//! Rules that no lint checks: imports between floors, the sources of time and files, sizes, names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod imports;

use imports::Imports;
use std::path::{Path, PathBuf};

fn sources(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // A build of `fuzz` or `proofs` may stand beside its sources.
            if !path.ends_with("target") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
}

/// The files below a folder, with their paths in it.
fn files_in(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    sources(Path::new(folder), &mut found);
    let name = |path: PathBuf| path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
    found.into_iter().map(|(path, text)| (name(path), text)).collect()
}

fn all() -> Vec<(String, String)> {
    let found = files_in("../src");
    assert!(found.len() > 30);
    found
}

/// The folders that hold code beside `src`.
const BESIDE_SRC: [&str; 6] = ["tests", "cli", "benches", "examples", "fuzz", "proofs"];

/// Whether a file holds only tests, which stand above everything.
fn is_test(file: &str) -> bool {
    file.ends_with("tests.rs") || file.contains("/tests/")
}

/// The lines that are code and not tests.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let text = text.split("\nmod tests {").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// The rooms from the ground up. A room imports what stands in its own row or above it in this
/// table, and nothing else. One that is still to come has its place: `remote`.
#[rustfmt::skip]
const FLOORS: [&[&str]; 10] = [
    &["sync", "types", "topic_name", "random", "uuid", "clock", "callback", "notify", "error",
      "event", "checkpoint", "trace", "wire"],
    &["fs", "record", "retention"],
    &["producer_state", "epochs"],
    &["segment"],
    &["compaction", "inspect", "remote"],
    &["log"],
    &["group"],
    &["transaction"],
    &["store"],
    &["client", "lib", "docs"],
];

/// The row of a table in which a room stands.
fn row_of(table: &[&[&str]], room: &str) -> usize {
    let row = table.iter().position(|rooms| rooms.contains(&room));
    row.unwrap_or_else(|| panic!("`{room}` is in no row of the table"))
}

/// The names that come after `path` in a line of code.
fn named_after<'a>(line: &'a str, path: &'a str) -> impl Iterator<Item = &'a str> {
    let ends = |c: char| !c.is_alphanumeric() && c != '_';
    let named = line.split(path).skip(1).map(move |rest| rest.split(ends).next().unwrap());
    named.filter(|name| !name.is_empty())
}

#[test]
fn imports_point_down() {
    for (file, text) in all().into_iter().filter(|(file, _)| !is_test(file)) {
        let room = file.split(['/', '.']).next().unwrap();
        let floor = row_of(&FLOORS, room);
        for (line, named) in code(&text)
            .flat_map(|line| named_after(line, "crate::").map(move |named| (line, named)))
        {
            let from_lib = named.starts_with(char::is_uppercase);
            assert!(!from_lib || room == "lib", "src/{file} imports through lib.rs: {line}");
            let is_below = from_lib || row_of(&FLOORS, named) <= floor;
            assert!(is_below, "src/{file} imports {named}: {line}");
        }
    }
}

/// The wings of the log, which follow the same rule.
const WINGS: [&[&str]; 12] = [
    &["maintainer", "recovery"],
    &["config"],
    &["dynamic_config", "files"],
    &["state"],
    &["replay"],
    &["inner"],
    &["flush", "read"],
    &["append"],
    &["change"],
    &["maintain"],
    &["open"],
    &["mod", "admin", "isolated", "partition", "replica", "transactions"],
];

#[test]
fn wings_of_the_log_import_down() {
    let row_of = |wing: &str| WINGS.iter().position(|wings| wings.contains(&wing)).unwrap();
    for (file, text) in all().into_iter().filter(|(file, _)| !is_test(file)) {
        let Some(inside) = file.strip_prefix("log/") else { continue };
        let row = row_of(inside.split(['/', '.']).next().unwrap());
        for line in code(&text) {
            for named in line.split("crate::log::").skip(1) {
                let named = named.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                let is_wing = named.starts_with(|c: char| c.is_lowercase());
                let named = if is_wing { named } else { "mod" };
                assert!(row_of(named) <= row, "src/{file} imports {named}: {line}");
            }
        }
    }
}

#[test]
fn imports_make_no_circle() {
    let circles = Imports::of(&all()).circles();
    assert!(circles.is_empty(), "files that import each other:\n{}", circles.join("\n"));
}

#[test]
fn outside_calls_stay_in_one_place() {
    for (file, text) in all().into_iter().filter(|(file, _)| !is_test(file)) {
        for (what, only) in [
            ("std::fs", "fs/disk/"),
            ("SystemTime::now", "clock.rs"),
            ("Instant::now", "clock.rs"),
            ("unsafe ", "fs/view.rs"),
            // Where the checker of schedules puts its own.
            ("parking_lot", "sync.rs"),
            ("std::sync::atomic", "sync.rs"),
            ("std::thread", "sync.rs"),
            // A panic of user-supplied code.
            ("catch_unwind", "callback.rs"),
        ] {
            let used = code(&text).any(|line| line.contains(what) && !line.contains("_unsafe"));
            assert!(
                !used || file.starts_with(only),
                "src/{file} uses {what}, which belongs in src/{only}"
            );
        }
    }
}

#[test]
fn files_are_short_and_named_for_content() {
    for folder in BESIDE_SRC.into_iter().chain(["src"]) {
        let files = files_in(&format!("../{folder}"));
        assert!(!files.is_empty(), "there is nothing in {folder}");
        for (file, text) in files {
            let stem = Path::new(&file).file_stem().unwrap().to_str().unwrap();
            let is_drawer = ["util", "utils", "helpers", "common", "misc"].contains(&stem);
            assert!(!is_drawer, "{folder}/{file} names no content");
            assert!(text.lines().count() <= 700, "{folder}/{file} is too long");
        }
    }
}

#[test]
fn functions_are_short_and_finished() {
    for (file, text) in all() {
        for mark in ["TODO", "FIXME", "todo!", "unimplemented!"] {
            assert!(!text.contains(mark), "src/{file}: {mark}");
        }
        let mut begun: Option<(usize, usize, &str)> = None;
        for (number, line) in text.lines().enumerate() {
            let trimmed = line.trim_start();
            let indent = line.len() - trimmed.len();
            let is_fn = !trimmed.starts_with("//")
                && (trimmed.starts_with("fn ") || trimmed.contains(" fn "))
                && !trimmed.ends_with(';');
            if begun.is_none() && is_fn {
                begun = Some((number, indent, trimmed));
            }
            if let Some((from, at, name)) = begun
                && indent == at
                && (trimmed == "}"
                    || (number == from && trimmed.ends_with('}'))
                    || trimmed.ends_with(';'))
            {
                assert!(number - from < 70, "src/{file}: {name} has {} lines", number - from + 1);
                begun = None;
            }
        }
    }
}

/// Rows of tables, links, and code in examples may be longer.
#[test]
fn prose_ends_before_column_100() {
    let mut longer = Vec::new();
    for folder in BESIDE_SRC.into_iter().chain(["src"]) {
        for (file, text) in files_in(&format!("../{folder}")) {
            let too_long = long_prose(&text).map(|line| format!("{folder}/{file}:{line}"));
            longer.extend(too_long);
        }
    }
    assert!(longer.is_empty(), "{longer:#?}");
}

/// The numbers of the lines of prose that are too long.
fn long_prose(text: &str) -> impl Iterator<Item = usize> {
    let mut is_example = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        let comment = line.trim_start().strip_prefix("//")?.trim_start_matches(['/', '!', ' ']);
        is_example ^= comment.starts_with("```");
        let is_prose = !is_example && !comment.starts_with(['|', '[']) && !comment.contains("://");
        (is_prose && line.chars().count() > 100).then_some(number + 1)
    })
}

/// The table of faults names the tests that show what it says.
#[test]
fn each_test_the_documentation_names_is_there() {
    let docs = std::fs::read_to_string("../src/docs/durability.rs").unwrap();
    let mut tests = Vec::new();
    sources(Path::new("."), &mut tests);
    sources(Path::new("../cli/tests"), &mut tests);
    let rows: Vec<&str> = docs.lines().filter(|line| line.contains(".rs`")).collect();
    assert!(rows.len() > 8);
    // The last column names them.
    let cells = rows.iter().filter_map(|row| row.rsplit(" | ").next());
    for cell in cells {
        // A test is in the file that was named last.
        let mut file = None;
        for name in cell.split('`').skip(1).step_by(2) {
            if name.ends_with(".rs") {
                file = tests.iter().find(|(path, _)| path.ends_with(name));
                assert!(file.is_some(), "{name}");
            } else if name.contains('_') && !name.contains("::") {
                let is_there = |text: &str| text.contains(&format!("fn {name}("));
                assert!(file.is_some_and(|(_, text)| is_there(text)), "{name}");
            }
        }
    }
}

/// The page for Kafka's users has every option of clients, groups and topics.
#[test]
fn kafka_page_names_every_setting() {
    let page = std::fs::read_to_string("../src/docs/from_kafka.rs").unwrap();
    let mut named = 0;
    for (file, config) in [
        ("client/producer/config.rs", "ProducerConfig"),
        ("client/consumer/config.rs", "ConsumerConfig"),
        ("group/config.rs", "GroupCoordinatorConfig"),
        ("transaction/config.rs", "TransactionCoordinatorConfig"),
        ("store/config.rs", "StoreConfig"),
    ] {
        let text = std::fs::read_to_string(format!("../src/{file}")).unwrap();
        let documented = text.split("    #[must_use]\n    pub fn ").collect::<Vec<_>>();
        for pair in documented.windows(2) {
            let option = pair[1].split('(').next().unwrap();
            let docs = pair[0].rsplit("\n\n").next().unwrap();
            let Some((_, kafka)) = docs.rsplit_once("Kafka: `") else { continue };
            let key = kafka.split('`').next().unwrap();
            assert!(page.contains(&format!("(crate::{config}::{option})")), "{config}::{option}");
            assert!(key.contains('*') || page.contains(&format!("`{key}`")), "{key}");
            named += 1;
        }
    }
    let keys = std::fs::read_to_string("../src/store/settings/keys.rs").unwrap();
    for line in keys.lines().map(str::trim) {
        let key = ["option!(\"", "carried(\"", "name: \""].iter().find_map(|begins| {
            line.strip_prefix(begins)?.split('"').next().filter(|key| key.contains('.'))
        });
        let Some(key) = key else { continue };
        assert!(page.contains(&format!("`{key}`")), "{key}");
        named += 1;
    }
    assert!(named > 60, "{named}");
}
