//! Network namespaces.
use std::{fs::File, io, os::linux::fs::MetadataExt, path::Path};

use nat_common::instance::Instance;
use nix::sched::{CloneFlags, setns};

use crate::exit::Failure;

/// What tells one network namespace from another while it exists: device and inode of its file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Namespace {
    pub device: u64,
    pub inode: u64,
}

impl Namespace {
    /// The namespace of this process.
    pub fn current() -> io::Result<Self> {
        Self::at(Path::new("/proc/thread-self/ns/net"))
    }

    /// The namespace to which an instance belongs.
    pub fn of(instance: &Instance) -> Self {
        Self { device: instance.netns_device, inode: instance.netns_inode }
    }

    fn at(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        Ok(Self { device: metadata.st_dev(), inode: metadata.st_ino() })
    }

    /// Moves this thread into the network namespace behind `path`, and with it every thread that
    /// it starts. Mounts stay as they are, so the BPF file system remains in view.
    pub fn enter(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::host(format!(
                "cannot enter the network namespace {}\n  caused by: {error}",
                path.display()
            ))
            .with_help("`ip netns list` shows the names; it takes root to enter one")
        };
        let file = File::open(path).map_err(failed)?;
        setns(&file, CloneFlags::CLONE_NEWNET).map_err(|errno| failed(errno.into()))?;
        Self::current().map_err(failed)
    }
}
