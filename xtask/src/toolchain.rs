//! The eBPF compiler: a rustc that takes nightly features and has the sources of core.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cmd;

/// Pinned by date, because its LLVM must not be newer than bpf-linker's.
pub const NIGHTLY: &str = "nightly-2026-05-20";

/// What the packages rustc-web and cargo-web install.
pub const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// The oldest stable release whose core nat-ebpf was built with.
pub const RUSTC_MIN: (u32, u32) = (1, 96);

/// Read by nat-ctl/build.rs.
const RECORD: &str = "target/ebpf-toolchain";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compiler {
    /// A path; the cargo beside it and RUSTC_BOOTSTRAP=1 go with it.
    Rustc(PathBuf),
    /// A name that `rustup run` takes.
    Toolchain(String),
}

pub struct Version {
    pub release: (u32, u32),
    /// Major version of LLVM.
    pub llvm: u32,
}

impl Compiler {
    /// What the environment orders nat-ctl/build.rs to use.
    pub fn from_env() -> Option<Compiler> {
        let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
        set("NAT_EBPF_RUSTC")
            .map(|path| Compiler::Rustc(path.into()))
            .or_else(|| set("NAT_EBPF_TOOLCHAIN").map(Compiler::Toolchain))
    }

    /// What an earlier set-up chose.
    pub fn recorded() -> Option<Compiler> {
        Compiler::from_record(&fs::read_to_string(cmd::root().join(RECORD)).ok()?)
    }

    fn from_record(text: &str) -> Option<Compiler> {
        match text.lines().next()?.split_once('=')? {
            ("rustc", path) => Some(Compiler::Rustc(path.into())),
            ("toolchain", name) => Some(Compiler::Toolchain(name.into())),
            _ => None,
        }
    }

    fn to_record(&self) -> String {
        match self {
            Compiler::Rustc(path) => format!("rustc={}\n", path.display()),
            Compiler::Toolchain(name) => format!("toolchain={name}\n"),
        }
    }

    /// `rustc`, `cargo` or `cargo-clippy` of this compiler.
    pub fn program(&self, name: &str) -> Command {
        match self {
            Compiler::Rustc(rustc) => {
                let mut program = Command::new(rustc.with_file_name(name));
                program.env("CARGO", rustc.with_file_name("cargo")).env("RUSTC", rustc);
                program.env("RUSTC_BOOTSTRAP", "1");
                program
            }
            Compiler::Toolchain(toolchain) => {
                let mut program = Command::new("rustup");
                program.args(["run", toolchain, name]);
                // The cargo that runs xtask, of another toolchain.
                program.env_remove("CARGO");
                program
            }
        }
    }

    /// The version, if the compiler is there and has the sources of core.
    pub fn version(&self) -> Option<Version> {
        if let Compiler::Rustc(rustc) = self
            && !rustc.with_file_name("cargo").is_file()
        {
            return None;
        }
        let sysroot = cmd::probe(self.program("rustc").args(["--print", "sysroot"]))?;
        let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core");
        if !core.is_dir() {
            return None;
        }
        parse_version(&cmd::probe(self.program("rustc").arg("-vV"))?)
    }

    pub fn has_clippy(&self) -> bool {
        cmd::probe(self.program("cargo-clippy").arg("--version")).is_some()
    }

    /// An installed compiler whose LLVM is at most `llvm_max`: the recorded one if it still works,
    /// so that the answer does not change by itself, then rustup's, then Debian's.
    pub fn find(llvm_max: u32) -> Option<(Compiler, Version)> {
        let installed = cmd::probe(Command::new("rustup").args(["toolchain", "list"]));
        let nightlies = nightlies(installed.as_deref().unwrap_or_default());
        Compiler::recorded()
            .into_iter()
            .chain(nightlies.into_iter().map(Compiler::Toolchain))
            .chain([Compiler::Rustc(DEBIAN_RUSTC.into())])
            .find_map(|compiler| {
                let version = compiler.version()?;
                let fits = version.release >= RUSTC_MIN && version.llvm <= llvm_max;
                fits.then_some((compiler, version))
            })
    }

    /// Notes the compiler for nat-ctl/build.rs; true if that was news.
    pub fn record(&self) -> Result<bool> {
        let file = cmd::root().join(RECORD);
        let text = self.to_record();
        // A new time stamp would make cargo build nat-ebpf again.
        if fs::read_to_string(&file).is_ok_and(|old| old == text) {
            return Ok(false);
        }
        file.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&file, text))
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(true)
    }
}

/// The nightly toolchains in `rustup toolchain list`, the pinned one first.
fn nightlies(list: &str) -> Vec<String> {
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    let mut names: Vec<_> =
        names.filter(|name| name.starts_with("nightly")).map(String::from).collect();
    names.sort_by_key(|name| !name.starts_with(NIGHTLY));
    names
}

/// Takes what `rustc -vV` prints.
fn parse_version(text: &str) -> Option<Version> {
    let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
    let mut release = field("release: ")?.split('.').map(str::parse);
    let major = release.next()?.ok()?;
    let minor = release.next()?.ok()?;
    let llvm = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
    Some(Version { release: (major, minor), llvm })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_stable_and_nightly() {
        let stable = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n\
                      binary: rustc\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        let version = parse_version(stable).unwrap();
        assert_eq!((version.release, version.llvm), ((1, 96), 22));

        let nightly = "release: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        let version = parse_version(nightly).unwrap();
        assert_eq!((version.release, version.llvm), ((1, 97), 22));

        assert!(parse_version("release: 1.96.0\n").is_none());
        assert!(parse_version("").is_none());
    }

    #[test]
    fn pinned_nightly_is_tried_first() {
        let list = "stable-x86_64-unknown-linux-gnu (active, default)\n\
                    nightly-x86_64-unknown-linux-gnu\n\
                    nightly-2026-05-20-x86_64-unknown-linux-gnu\n\
                    1.95.0-x86_64-unknown-linux-gnu\n";
        assert_eq!(
            nightlies(list),
            ["nightly-2026-05-20-x86_64-unknown-linux-gnu", "nightly-x86_64-unknown-linux-gnu"]
        );
        assert!(nightlies("no installed toolchains\n").is_empty());
    }

    #[test]
    fn record_is_read_as_written() {
        for compiler in
            [Compiler::Rustc("/usr/bin/rustc".into()), Compiler::Toolchain(NIGHTLY.into())]
        {
            assert_eq!(Compiler::from_record(&compiler.to_record()), Some(compiler));
        }
        // nat-ctl/build.rs leaves an empty record when nothing is set up.
        assert_eq!(Compiler::from_record(""), None);
    }
}
