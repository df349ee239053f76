//! File systems of the kernel, mounted from images and filled to the last byte. They need root,
//! `mkfs` and loop devices; without them the tests say so and pass.

use super::{ACTS, Act, Device, fill_and_go_on, fill_store_and_go_on};
use annals::fs::{DiskFs, Fs, OpenMode};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

/// A mounted file system.
struct Mounted {
    kind: &'static str,
    dir: tempfile::TempDir,
}

fn run(command: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(command).args(args).output();
    let output = output.map_err(|error| format!("{command}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{command}: {said}")) }
}

impl Mounted {
    /// A small file system of this kind. Nothing is set aside in it for root.
    fn new(kind: &'static str) -> Result<Mounted, String> {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("mount");
        fs::create_dir(&at).unwrap();
        let (at, image) = (at.to_str().unwrap(), dir.path().join("image"));
        let image = image.to_str().unwrap();
        let sized = |bytes| fs::File::create(image).unwrap().set_len(bytes).unwrap();
        match kind {
            "tmpfs" => {
                let options = "size=1m,nr_inodes=200";
                run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", at])?;
            }
            "ext4" => {
                sized(8 << 20);
                run("mkfs.ext4", &["-q", "-m", "0", "-N", "256", image])?;
                run("mount", &["-o", "loop", image, at])?;
            }
            _ => {
                sized(300 << 20);
                run("mkfs.xfs", &["-q", image])?;
                run("mount", &["-o", "loop", image, at])?;
            }
        }
        Ok(Mounted { kind, dir })
    }

    fn clear(&self) {
        for entry in fs::read_dir(self.root()).unwrap() {
            let entry = entry.unwrap();
            match entry.file_name().to_str().unwrap() {
                "lost+found" => {}
                _ if entry.path().is_dir() => fs::remove_dir_all(entry.path()).unwrap(),
                _ => fs::remove_file(entry.path()).unwrap(),
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let at = self.dir.path().join("mount");
        if let Err(error) = run("umount", &[at.to_str().unwrap()]) {
            eprintln!("{}: {error}", self.kind);
        }
    }
}

impl Device for Mounted {
    fn fs(&self) -> Arc<dyn Fs> {
        Arc::new(DiskFs)
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    fn fill(&self) {
        let open = |number: u32| {
            DiskFs.open(&self.root().join(format!("ballast-{number}")), OpenMode::CreateNew)
        };
        let ballast = open(0).unwrap();
        let mut len = 0;
        for bytes in (12..29).rev().map(|power| 1 << power) {
            while ballast.allocate(len + bytes).is_ok() {
                len += bytes;
            }
        }
        let full = (1..).find_map(|number| open(number).err()).unwrap();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        for bytes in [1 << 20, 4 << 10, 512] {
            while let Ok(written @ 1..) = ballast.write_at(&vec![1; bytes], len) {
                len += written as u64;
            }
        }
        ballast.sync_all().unwrap();
    }

    /// On xfs a file takes a chunk of inodes, and room for more of its own.
    fn relieve(&self) {
        if self.kind == "xfs" {
            fs::remove_file(self.root().join("ballast-0")).unwrap();
        }
    }

    fn stop(&self) -> Vec<Arc<dyn Fs>> {
        Vec::new()
    }
}

/// On a real disk this takes a while, so it runs only if the variable is set.
fn fill_and_go_on_with(kind: &'static str) {
    if kind != "tmpfs" && std::env::var_os("ANNALS_FULL_DISK").is_none() {
        return eprintln!("skipped: set ANNALS_FULL_DISK to fill an image of {kind}");
    }
    let mounted = match Mounted::new(kind) {
        Ok(mounted) => mounted,
        Err(reason) => return eprintln!("skipped: no {kind} can be mounted here: {reason}"),
    };
    // On xfs a call that finds no room takes long, as it looks for some first.
    let few = [Act::DeleteBefore, Act::MaintainAll, Act::TruncateInside];
    for what in if kind == "xfs" { &few[..] } else { &ACTS } {
        mounted.clear();
        fill_and_go_on(&mounted, *what, false);
    }
    // On xfs, the reserve is not refilled before something is freed: the space is too little
    // for all of it.
    for reopen in [false, true].into_iter().take(if kind == "xfs" { 1 } else { 2 }) {
        mounted.clear();
        fill_store_and_go_on(&mounted, reopen);
    }
}

#[test]
fn log_recovers_from_full_tmpfs() {
    fill_and_go_on_with("tmpfs");
}

#[test]
fn log_recovers_from_full_ext4() {
    fill_and_go_on_with("ext4");
}

#[test]
fn log_recovers_from_full_xfs() {
    fill_and_go_on_with("xfs");
}
