//! Debian packages and the programs they bring.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cmd;

/// A program that nat-ctl, the demo or the tests call at run time.
pub struct Tool {
    pub program: &'static str,
    pub package: &'static str,
    pub purpose: &'static str,
}

pub const TOOLS: [Tool; 6] = [
    Tool { program: "ip", package: "iproute2", purpose: "makes namespaces and links" },
    Tool { program: "nft", package: "nftables", purpose: "is what NAT is compared with" },
    Tool { program: "tcpdump", package: "tcpdump", purpose: "checks packets independently" },
    Tool { program: "ethtool", package: "ethtool", purpose: "switches offloads of test links" },
    Tool {
        program: "setpriv",
        package: "util-linux",
        purpose: "starts nat-ctl without privileges",
    },
    Tool { program: "turnserver", package: "coturn", purpose: "finds out how a NAT behaves" },
];

/// The eBPF compiler. These are what Debian builds its browsers with, hence newer than the rest of
/// a stable release; in Debian 12 they come through bookworm-security.
pub const COMPILER: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", CLIPPY];

/// Clippy of [`COMPILER`].
pub const CLIPPY: &str = "rust-web-clippy";

impl Tool {
    pub fn installed(&self) -> bool {
        // Not on the PATH of Debian's ordinary users.
        let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
        cmd::find_program(self.program, &sbin).is_some()
    }
}

/// Whether there is apt at all.
pub fn has_apt() -> bool {
    Path::new("/usr/bin/apt-get").exists()
}

/// Debian itself: derivatives have apt but not [`COMPILER`].
pub fn is_debian() -> bool {
    has_apt() && fs::read_to_string("/etc/os-release").is_ok_and(|text| names_debian(&text))
}

fn names_debian(os_release: &str) -> bool {
    os_release.lines().any(|line| line == "ID=debian" || line == "ID=\"debian\"")
}

pub fn update() -> Command {
    let mut apt = Command::new("apt-get");
    apt.args(["update", "-q"]);
    apt
}

pub fn install<S: AsRef<str>>(packages: &[S]) -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages.iter().map(AsRef::as_ref));
    apt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debian_itself_is_debian() {
        assert!(names_debian("NAME=\"Debian GNU/Linux\"\nID=debian\n"));
        assert!(!names_debian("ID=ubuntu\nID_LIKE=debian\n"));
    }

    #[test]
    fn packages_are_installed_without_questions_or_extras() {
        assert_eq!(
            cmd::show(&install(&["nftables", "tcpdump"])),
            "DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
             nftables tcpdump"
        );
    }
}
