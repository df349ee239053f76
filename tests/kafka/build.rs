//! Kafka from Maven's packages, and this directory's Java, compiled.
#![allow(unreachable_pub, reason = "shared by several tests")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Prints a line also where the output of passing tests is hidden.
#[allow(clippy::explicit_write, reason = "the macro's output is captured")]
pub fn say(what: &str) {
    writeln!(std::io::stderr(), "{what}").unwrap();
}

fn asked(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|value| value == "1")
}

/// The directory with Kafka and our Java, compiled; none where there is none to be had.
pub fn kafka() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let required = asked("ANNALS_REQUIRE_KAFKA");
        if !required && !asked("ANNALS_KAFKA") {
            say("SKIPPED: kafka: set ANNALS_KAFKA=1 to run it");
            return None;
        }
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kafka");
        match build(&out) {
            Ok(()) => Some(out),
            Err(reason) => {
                assert!(!required, "{reason}");
                say(&format!("SKIPPED: kafka: {reason}"));
                None
            }
        }
    });
    built.as_deref()
}

fn build(out: &Path) -> Result<(), String> {
    let run = |program: &str, arguments: &[String]| {
        Command::new(program)
            .args(arguments)
            .output()
            .map_err(|error| format!("{program} cannot be run: {error}"))
    };
    run("java", &["-version".to_owned()])?;
    // The package is the library, or one beside it in the workspace.
    let parents = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let project = parents.map(|parent| parent.join("tests/kafka")).find(|dir| dir.is_dir());
    let project = project.unwrap();
    let mut arguments = vec![
        "-q".to_owned(),
        "-B".to_owned(),
        format!("-Dout={}", out.display()),
        "-f".to_owned(),
        project.display().to_string(),
        "process-classes".to_owned(),
    ];
    if let Ok(version) = std::env::var("ANNALS_KAFKA_VERSION") {
        arguments.push(format!("-Dkafka.version={version}"));
    }
    let offline = [vec!["-o".to_owned()], arguments.clone()].concat();
    let mut output: Output = run("mvn", &offline)?;
    if !output.status.success() {
        output = run("mvn", &arguments)?;
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!said.contains("COMPILATION ERROR"), "{said}");
    let first = said.lines().next().unwrap_or("no reason given");
    if output.status.success() { Ok(()) } else { Err(format!("mvn: {first}")) }
}
