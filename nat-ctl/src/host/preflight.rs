//! Whether this host can run the data path at all, said before anything is touched.
use std::fs;

use nix::sys::utsname::uname;

use crate::exit::Failure;

/// The oldest kernel that the data path has been run on.
const KERNEL_MIN: (u32, u32) = (6, 1);

/// From this kernel on TC programs can be attached as links.
const TCX_KERNEL: (u32, u32) = (6, 6);

/// What it takes to load and attach the programs (include/uapi/linux/capability.h).
const CAPABILITIES: [(u32, &str); 3] =
    [(12, "CAP_NET_ADMIN"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];

/// Version of the running kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Kernel {
    major: u32,
    minor: u32,
}

impl Kernel {
    /// Whether TC programs can be attached as links here.
    pub fn has_tcx(self) -> bool {
        (self.major, self.minor) >= TCX_KERNEL
    }

    fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Some(Self { major, minor }),
            _ => None,
        }
    }
}

/// Checks privileges and the kernel's version.
pub fn check() -> Result<Kernel, Failure> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let missing = missing_capabilities(&status);
    if !missing.is_empty() {
        return Err(Failure::host(format!("not permitted: this takes {}", missing.join(", ")))
            .with_help("run it as root"));
    }
    let release =
        uname().map(|uname| uname.release().to_string_lossy().into_owned()).unwrap_or_default();
    match Kernel::parse(&release) {
        Some(kernel) if (kernel.major, kernel.minor) < KERNEL_MIN => {
            let (major, minor) = KERNEL_MIN;
            Err(Failure::host(format!("Linux {release} is too old"))
                .with_help(format!("the data path needs Linux {major}.{minor} or later")))
        }
        Some(kernel) => Ok(kernel),
        None => Err(Failure::host(format!("cannot read the kernel's version from `{release}`"))),
    }
}

/// Checks that this process may read the pinned maps.
pub fn check_reading() -> Result<(), Failure> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    match missing_capabilities(&status).contains(&"CAP_BPF") {
        true => Err(Failure::host("not permitted: reading the data path's maps takes CAP_BPF")
            .with_help("run it as root")),
        false => Ok(()),
    }
}

/// Says what on this host would keep translated packets from passing.
pub fn warnings() -> Vec<String> {
    let forwarding = fs::read_to_string("/proc/sys/net/ipv4/ip_forward");
    match forwarding {
        Ok(value) if value.trim() == "0" => vec![
            "this network namespace does not forward IPv4: `sysctl -w net.ipv4.ip_forward=1`"
                .to_owned(),
        ],
        _ => Vec::new(),
    }
}

/// Names of the capabilities that a /proc/PID/status does not list as effective.
fn missing_capabilities(status: &str) -> Vec<&'static str> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    CAPABILITIES
        .iter()
        .filter(|(bit, _)| effective >> bit & 1 == 0)
        .map(|(_, name)| *name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_distributions_are_read() {
        let tcx = |release| Kernel::parse(release).map(Kernel::has_tcx);
        assert_eq!(tcx("6.1.0-44-cloud-amd64"), Some(false));
        assert_eq!(tcx("6.6.1"), Some(true));
        assert_eq!(tcx("6.18.44-fc-v657"), Some(true));
        assert_eq!(tcx("10.0-rc1"), Some(true));
        assert_eq!(tcx("unknown"), None);
    }

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(missing_capabilities("CapEff:\t000001ffffffffff\n"), [""; 0]);
        assert_eq!(missing_capabilities("CapEff:\t0000008000001000\n"), ["CAP_PERFMON"]);
        assert_eq!(missing_capabilities("").len(), CAPABILITIES.len());
    }
}
