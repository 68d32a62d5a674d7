//! A private bpffs for the pins of one test.
//!
//! It is a *detached* mount: made by fsopen() and fsmount(), never attached anywhere, reached
//! through /proc/PID/fd/N. All processes of the test (`nat-ctl run`, `sessions list`, `detach`) and
//! the test itself use that path, whatever mount namespace they are in, and the kernel removes the
//! file system with everything pinned in it when this process ends, even by kill -9. A mount point
//! in a temporary directory would stay behind then; a private mount namespace would have to be
//! entered by every child and by each thread of the test that looks at a pin.
//!
//! The path must be used as it is: resolving it first (realpath, `fs::canonicalize`) gives "/", as
//! a detached mount has no place in the tree.

use std::{
    ffi::{CStr, c_int, c_long},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::PathBuf,
    process, ptr,
};

// From linux/mount.h.
const FSOPEN_CLOEXEC: c_int = 1;
const FSCONFIG_CMD_CREATE: c_int = 6;
const FSMOUNT_CLOEXEC: c_int = 1;

/// A bpffs that nobody else has, as long as this value lives.
#[derive(Debug)]
pub struct BpfFs {
    root: OwnedFd,
}

impl BpfFs {
    #[must_use]
    #[expect(clippy::new_without_default, reason = "needs root and creates a kernel object")]
    pub fn new() -> Self {
        const NAME: &CStr = c"bpf";
        // SAFETY: the name is a string with an end.
        let context = descriptor("fsopen", unsafe {
            libc::syscall(libc::SYS_fsopen, NAME.as_ptr(), FSOPEN_CLOEXEC)
        });
        // SAFETY: this command takes neither key nor value; both may be null.
        let created = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                context.as_raw_fd(),
                FSCONFIG_CMD_CREATE,
                ptr::null::<u8>(),
                ptr::null::<u8>(),
                0,
            )
        };
        assert_eq!(created, 0, "create a bpffs: {}", std::io::Error::last_os_error());
        // SAFETY: fsmount takes three integers.
        let root = descriptor("fsmount", unsafe {
            libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, 0)
        });
        Self { root }
    }

    /// The path for `nat-ctl --bpffs PATH`; valid for every process while this one lives.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", process::id(), self.root.as_raw_fd()))
    }
}

fn descriptor(call: &str, result: c_long) -> OwnedFd {
    assert!(result >= 0, "{call}: {}", std::io::Error::last_os_error());
    let fd = c_int::try_from(result).expect("a descriptor is an int");
    // SAFETY: the kernel has just handed this descriptor out and nothing else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command, time::Duration};

    use super::*;
    use crate::lab::process::run;

    #[test]
    fn another_process_sees_it_and_two_are_separate() {
        let (one, other) = (BpfFs::new(), BpfFs::new());
        fs::create_dir(one.path().join("pins")).unwrap();
        let limit = Duration::from_secs(5);
        let listed = run(Command::new("ls").arg(one.path().join(".")), limit).ok();
        assert!(listed.contains("pins"), "{listed}");
        let listed = run(Command::new("ls").arg(other.path().join(".")), limit).ok();
        assert!(!listed.contains("pins"), "{listed}");
        let kind = run(Command::new("stat").args(["-fc", "%T"]).arg(one.path().join(".")), limit);
        assert_eq!(kind.ok().trim(), "bpf_fs");
    }
}
