//! bpf-linker: turns the bitcode of the eBPF compiler into the object.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::cmd;

pub const VERSION: (u32, u32) = (0, 13);

/// The LLVM a bpf-linker installed by the set-up has.
pub const LLVM: u32 = 22;

pub struct Linker {
    /// Major version of LLVM; None if it is linked in statically, as in the released binaries,
    /// which are built with the newest.
    pub llvm: Option<u32>,
}

impl Linker {
    /// A bpf-linker that runs and is new enough.
    pub fn find() -> Option<Linker> {
        let program = cmd::find_program("bpf-linker", &Vec::from_iter(cmd::cargo_bin()))?;
        let version = parse_version(&cmd::probe(Command::new(&program).arg("--version"))?)?;
        let libraries = cmd::probe(Command::new("ldd").arg(&program)).unwrap_or_default();
        (version >= VERSION).then(|| Linker { llvm: parse_llvm(&libraries) })
    }

    /// It reads the bitcode of its own LLVM and of older ones.
    pub fn reads(&self, llvm: u32) -> bool {
        self.llvm.is_none_or(|own| own >= llvm)
    }
}

/// Debian packages needed to build it. Only this one of LLVM's has the plain `libLLVM-22.so` that
/// the link step asks for.
pub fn build_packages() -> Vec<String> {
    vec![format!("llvm-{LLVM}-dev")]
}

/// Builds it from source: the default features are for an LLVM that Debian 12 does not have.
pub fn install() -> Command {
    let (major, minor) = VERSION;
    let mut cargo = cmd::cargo();
    cargo
        .env("LLVM_PREFIX", format!("/usr/lib/llvm-{LLVM}"))
        .arg("install")
        .arg(format!("bpf-linker@{major}.{minor}.0"))
        // --force: cargo takes a bpf-linker that lost its libLLVM for installed.
        .args(["--locked", "--force", "--no-default-features", "--features"])
        .arg(format!("llvm-{LLVM}"));
    cargo
}

/// A search path on which it is: `cargo install` puts it into a folder that need not be on the user's.
pub fn search_path() -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(env::split_paths(&path).chain(cmd::cargo_bin()))?)
}

/// True once [`build_packages`] are there.
pub fn can_build() -> bool {
    Path::new(&format!("/usr/lib/llvm-{LLVM}/lib/libLLVM-{LLVM}.so")).exists()
}

/// Takes what `bpf-linker --version` prints.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix("bpf-linker ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Takes what ldd prints: `libLLVM.so.22.1 => …`, or `libLLVM-17.so.1 => …` in older releases.
fn parse_llvm(libraries: &str) -> Option<u32> {
    let library = libraries.split_whitespace().find_map(|word| word.strip_prefix("libLLVM"))?;
    let number = library.trim_start_matches(|c: char| !c.is_ascii_digit());
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read() {
        assert_eq!(parse_version("bpf-linker 0.13.0\n"), Some((0, 13)));
        assert_eq!(parse_version("bpf-linker 1.2.3-rc1\n"), Some((1, 2)));
        assert_eq!(parse_version("error\n"), None);
    }

    #[test]
    fn llvm_is_read_from_the_libraries() {
        let debian = "\tlibgcc_s.so.1 => /lib/libgcc_s.so.1 (0x1)\n\
                      \tlibLLVM.so.22.1 => /usr/lib/llvm-22/lib/libLLVM.so.22.1 (0x2)\n";
        assert_eq!(parse_llvm(debian), Some(22));
        assert_eq!(parse_llvm("\tlibLLVM-17.so.1 => /usr/lib/libLLVM-17.so.1 (0x2)\n"), Some(17));
        assert_eq!(parse_llvm("\tstatically linked\n"), None);
    }

    #[test]
    fn older_bitcode_is_readable() {
        let linker = Linker { llvm: Some(22) };
        assert!(linker.reads(21) && linker.reads(22) && !linker.reads(23));
        assert!(Linker { llvm: None }.reads(23));
    }
}
