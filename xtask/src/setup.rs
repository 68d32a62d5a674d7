//! Set-up: finds out what is missing for the eBPF build, the demo and the tests, and gets it.

use std::env;
use std::fmt::Write;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::linker::{self, Linker};
use crate::toolchain::{Compiler, NIGHTLY, RUSTC_MIN};
use crate::{cmd, packages};

/// A piece that is not there, and how to get it.
struct Missing {
    what: String,
    packages: Vec<String>,
    /// Run after the packages are installed.
    command: Option<Command>,
    /// For systems and situations the set-up does not handle.
    by_hand: Option<String>,
}

#[derive(Default)]
struct Survey {
    missing: Vec<Missing>,
    /// To be recorded for nat-ctl/build.rs; None if missing or given by the environment.
    compiler: Option<Compiler>,
}

/// Sets everything up; afterwards `cargo build -p nat-ctl` gives a data path. A second call changes
/// nothing.
pub fn setup(no_install: bool) -> Result<()> {
    let mut survey = survey();
    let installing = !survey.missing.is_empty();
    if installing {
        if let Some(advice) = obstacle(&survey.missing, no_install) {
            bail!(message(&survey.missing, advice));
        }
        install(&mut survey.missing)?;
        survey = self::survey();
        if !survey.missing.is_empty() {
            let advice = "These lines have just run and it is still missing or unusable.";
            bail!(message(&survey.missing, advice));
        }
    }
    let recorded = match &survey.compiler {
        Some(compiler) => compiler.record()?,
        None => false,
    };
    eprintln!("set-up: {}", if installing || recorded { "done" } else { "nothing to do" });
    Ok(())
}

/// Why the set-up must not install the pieces, as advice what to do instead.
fn obstacle(missing: &[Missing], no_install: bool) -> Option<&'static str> {
    if missing.iter().any(|piece| piece.by_hand.is_some()) {
        Some("Do what the lines above say; the set-up cannot install all of them itself.")
    } else if no_install {
        Some("Run the lines above as root, or this command without --no-install.")
    } else if !cmd::is_root() {
        Some("Run the lines above, or `sudo env \"PATH=$PATH\" cargo xtask setup`.")
    } else {
        None
    }
}

fn survey() -> Survey {
    let mut survey = Survey::default();
    // A packager's finished object needs neither compiler nor linker.
    if env::var_os("NAT_EBPF_OBJECT").is_none_or(|path| path.is_empty()) {
        survey.look_at_ebpf_build();
    }
    for tool in packages::TOOLS.iter().filter(|tool| !tool.installed()) {
        let what = format!("{} ({})", tool.program, tool.purpose);
        survey.missing.push(if packages::has_apt() {
            Missing::packages(what, vec![tool.package.into()])
        } else {
            let package = tool.package;
            Missing::by_hand(what, format!("install it (Debian calls the package {package})"))
        });
    }
    survey
}

impl Survey {
    fn look_at_ebpf_build(&mut self) {
        let linker = Linker::find();
        let llvm_max = match &linker {
            // An older one gets replaced.
            Some(linker) => linker.llvm.unwrap_or(u32::MAX).max(linker::LLVM),
            None => linker::LLVM,
        };
        let mut llvm = linker::LLVM;
        match Compiler::from_env() {
            Some(ordered) => match ordered.version() {
                Some(version) => llvm = version.llvm,
                None => self.missing.push(ordered_compiler(&ordered)),
            },
            None => match Compiler::find(llvm_max) {
                Some((compiler, version)) => {
                    llvm = version.llvm;
                    if matches!(compiler, Compiler::Rustc(_)) && !compiler.has_clippy() {
                        let what = "clippy for the eBPF compiler".to_owned();
                        self.missing.push(Missing::packages(what, vec![packages::CLIPPY.into()]));
                    }
                    self.compiler = Some(compiler);
                }
                None => self.missing.push(compiler()),
            },
        }
        match linker {
            Some(linker) if linker.reads(llvm) => {}
            _ => self.missing.push(bpf_linker(llvm)),
        }
    }
}

fn compiler() -> Missing {
    let (major, minor) = RUSTC_MIN;
    let what = format!(
        "eBPF compiler (a rustc from {major}.{minor} on with the sources of core, whose LLVM is \
         not newer than bpf-linker's)"
    );
    if packages::is_debian() {
        return Missing::packages(what, packages::COMPILER.map(String::from).into());
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["toolchain", "install", NIGHTLY, "--profile", "minimal"]);
    rustup.args(["--component", "rust-src", "--component", "clippy"]);
    Missing { what, packages: vec![], command: Some(rustup), by_hand: None }
}

fn ordered_compiler(compiler: &Compiler) -> Missing {
    let (what, how) = match compiler {
        Compiler::Rustc(path) => (
            format!("{}, which NAT_EBPF_RUSTC orders, with cargo beside it", path.display()),
            String::from("install it with the sources of core, or unset NAT_EBPF_RUSTC"),
        ),
        Compiler::Toolchain(name) => (
            format!("the toolchain {name} with rust-src, which NAT_EBPF_TOOLCHAIN orders"),
            format!("rustup toolchain install {name} --component rust-src"),
        ),
    };
    Missing::by_hand(what, how)
}

fn bpf_linker(llvm: u32) -> Missing {
    let (major, minor) = linker::VERSION;
    let what = format!("bpf-linker {major}.{minor}.0 with LLVM {llvm} or newer");
    if llvm > linker::LLVM || !(packages::has_apt() || linker::can_build()) {
        return Missing::by_hand(what, format!("cargo binstall bpf-linker@{major}.{minor}.0"));
    }
    let packages = if linker::can_build() { vec![] } else { linker::build_packages() };
    Missing { what, packages, command: Some(linker::install()), by_hand: None }
}

impl Missing {
    fn packages(what: String, packages: Vec<String>) -> Missing {
        Missing { what, packages, command: None, by_hand: None }
    }

    fn by_hand(what: String, how: String) -> Missing {
        Missing { what, packages: vec![], command: None, by_hand: Some(how) }
    }

    /// The command lines that get it.
    fn remedies(&self) -> Vec<String> {
        let apt = (!self.packages.is_empty()).then(|| packages::install(&self.packages));
        let commands = apt.iter().chain(&self.command).map(cmd::show);
        commands.chain(self.by_hand.clone()).collect()
    }
}

/// Each missing piece with its command lines, then what to do about them.
fn message(missing: &[Missing], advice: &str) -> String {
    let mut text = String::from("set-up: missing\n");
    for piece in missing {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "  - {}", piece.what);
        for remedy in piece.remedies() {
            let _ = writeln!(text, "        {remedy}");
        }
    }
    text + advice
}

/// One apt call for the packages of all pieces, then the other commands in order.
fn install(missing: &mut [Missing]) -> Result<()> {
    for piece in missing.iter() {
        eprintln!("set-up: missing {}", piece.what);
    }
    let wanted: Vec<_> = missing.iter().flat_map(|piece| piece.packages.clone()).collect();
    if !wanted.is_empty() {
        eprintln!("set-up: installing {} Debian packages", wanted.len());
        cmd::run(&mut packages::update())?;
        cmd::run(&mut packages::install(&wanted)).with_context(|| {
            format!(
                "set-up: apt has no such packages here, or they are too old? Instead of the \
                 compiler's packages: rustup toolchain install {NIGHTLY} --component rust-src"
            )
        })?;
    }
    for piece in missing {
        if let Some(command) = &mut piece.command {
            eprintln!("set-up: installing {}, a few minutes if it is compiled", piece.what);
            cmd::run(command)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_pieces() -> Vec<Missing> {
        vec![
            Missing::packages("ping (sends ICMP)".into(), vec!["iputils-ping".into()]),
            Missing {
                what: "bpf-linker 0.13.0".into(),
                packages: vec!["llvm-22-dev".into()],
                command: Some(linker::install()),
                by_hand: None,
            },
        ]
    }

    #[test]
    fn message_names_each_piece_and_the_commands_that_get_it() {
        assert_eq!(
            message(&two_pieces(), "Run these."),
            "set-up: missing\n  \
               - ping (sends ICMP)\n        \
                     DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
                     iputils-ping\n  \
               - bpf-linker 0.13.0\n        \
                     DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
                     llvm-22-dev\n        \
                     LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker@0.13.0 --locked \
                     --force --no-default-features --features llvm-22\n\
             Run these."
        );
    }

    #[test]
    fn what_it_must_not_install_it_leaves_to_the_user() {
        assert!(obstacle(&two_pieces(), true).unwrap().contains("without --no-install"));
        let by_hand = [Missing::by_hand("ip".into(), "install it".into())];
        assert!(obstacle(&by_hand, false).unwrap().contains("cannot install"));
    }
}
