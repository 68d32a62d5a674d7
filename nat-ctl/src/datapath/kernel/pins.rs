//! Where an instance keeps its maps and links, so that they outlive every process:
//!
//! ```text
//! BPFFS/nat-ctl/INSTANCE/            locked by whoever changes the instance
//!                       /v1/maps/NAME
//!                       /v1/links/INTERFACE-HOOK
//!                       /making/     an instance that is being made: no program runs yet
//!                       /removing/   an instance that is being removed
//! ```
//! A process may be killed at any moment. `making` becomes `v1` by one rename when all its maps are
//! filled, and `v1` becomes `removing` by one rename before anything is taken out of it: whoever
//! comes next finds either a whole instance or rests that say by their name that they are rests.
use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nat_common::{instance::LAYOUT_VERSION, stats::Hook};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use crate::datapath::Error;

/// Folder of an instance that is being made.
const MAKING: &str = "making";
/// Folder of an instance that is being removed.
const REMOVING: &str = "removing";

/// An instance's folder in the BPF file system.
#[derive(Clone, Debug)]
pub struct Pins {
    instance: String,
    /// `BPFFS/nat-ctl/INSTANCE`
    root: PathBuf,
    /// `root/v1`, or `root/making`
    folder: PathBuf,
}

/// The right to change an instance, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _folder: Flock<File>,
}

/// The order in which hooks are removed. Without its XDP programs an instance still translates
/// everything, at TC; without its egress program it translates nothing that is new.
const REMOVAL_ORDER: [Hook; 5] =
    [Hook::XdpInside, Hook::XdpOutside, Hook::TcInside, Hook::TcEgress, Hook::TcIngress];

impl Pins {
    /// The folder of `instance`. Fails if `bpffs` is not a BPF file system.
    pub fn new(bpffs: &Path, instance: &str) -> Result<Self, Error> {
        match statfs(bpffs) {
            Ok(stat) if stat.filesystem_type() == BPF_FS_MAGIC => {}
            _ => return Err(Error::NotBpffs { path: bpffs.to_owned() }),
        }
        let root = bpffs.join("nat-ctl").join(instance);
        let folder = root.join(version());
        Ok(Self { instance: instance.to_owned(), root, folder })
    }

    pub fn instance(&self) -> &str {
        &self.instance
    }

    pub fn map(&self, name: &str) -> PathBuf {
        self.folder.join("maps").join(name)
    }

    /// bpffs refuses dots in names, which VLAN interfaces have: they are written as `~`.
    pub fn link(&self, interface: &str, hook: Hook) -> PathBuf {
        self.links().join(format!("{}-{}", interface.replace('.', "~"), hook.name()))
    }

    fn links(&self) -> PathBuf {
        self.folder.join("links")
    }

    /// Paths of all pinned links with their hooks.
    pub fn pinned_links(&self) -> Vec<(PathBuf, Hook)> {
        let entries = fs::read_dir(self.links()).into_iter().flatten().flatten();
        let links = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let hook = Hook::ALL.into_iter().find(|hook| {
                name.strip_suffix(hook.name()).is_some_and(|rest| rest.ends_with('-'))
            })?;
            Some((entry.path(), hook))
        });
        links.collect()
    }

    /// Whether the instance is attached.
    pub fn exist(&self) -> bool {
        self.folder.exists()
    }

    /// Fails unless the instance is attached with a layout that this program knows.
    pub fn expect(&self) -> Result<(), Error> {
        self.refuse_other_layouts()?;
        if self.exist() {
            return Ok(());
        }
        Err(Error::NotAttached { instance: self.instance.clone(), folder: self.root.clone() })
    }

    fn refuse_other_layouts(&self) -> Result<(), Error> {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let found = entry.file_name().to_string_lossy().into_owned();
            if ![version().as_str(), MAKING, REMOVING].contains(&found.as_str()) {
                return Err(Error::UnknownLayout {
                    instance: self.instance.clone(),
                    folder: self.root.clone(),
                    found,
                    known: version(),
                });
            }
        }
        Ok(())
    }

    /// Takes the right to change the instance, waiting for it at most so long, and clears away
    /// what processes that were killed have left.
    pub fn lock(&self, patience: Duration) -> Result<Lock, Error> {
        let started = Instant::now();
        let lock = loop {
            if let Some(lock) = self.try_lock()? {
                break lock;
            }
            if started.elapsed() >= patience {
                return Err(Error::Busy { instance: self.instance.clone() });
            }
            std::thread::sleep(LOCK_INTERVAL);
        };
        self.refuse_other_layouts()?;
        for rest in [MAKING, REMOVING] {
            remove_folder(&self.root.join(rest)).map_err(|error| self.failed("remove", error))?;
        }
        Ok(lock)
    }

    fn try_lock(&self) -> Result<Option<Lock>, Error> {
        fs::create_dir_all(&self.root).map_err(|error| self.failed("make", error))?;
        let folder = match File::open(&self.root) {
            Ok(folder) => folder,
            // Removed since, by whoever had the lock.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("open", error)),
        };
        let folder = match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(folder) => folder,
            Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, errno)) => return Err(self.failed("lock", errno.into())),
        };
        // The lock of a folder that has been removed and made anew is nobody's.
        let same = |path: &Path| {
            let (ours, there) = (folder.metadata()?, fs::metadata(path)?);
            io::Result::Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
        };
        Ok(same(&self.root).unwrap_or(false).then_some(Lock { _folder: folder }))
    }

    /// The folder of an instance that is being made, empty.
    pub fn make(&self, _lock: &Lock) -> Result<Self, Error> {
        let folder = self.root.join(MAKING);
        for name in ["maps", "links"] {
            fs::create_dir_all(folder.join(name)).map_err(|error| self.failed("make", error))?;
        }
        Ok(Self { folder, ..self.clone() })
    }

    /// Makes the folder of [`Pins::make`] the instance's.
    pub fn made(&self, _lock: &Lock) -> Result<(), Error> {
        fs::rename(self.root.join(MAKING), &self.folder)
            .map_err(|error| self.failed("rename", error))
    }

    /// Removes the programs, whose maps stay: as if it had been interrupted, whoever adopts the
    /// instance then attaches them anew.
    pub fn remove_links(&self, _lock: &Lock) -> Result<(), Error> {
        self.unlink().map_err(|error| self.failed("remove", error))
    }

    fn unlink(&self) -> io::Result<()> {
        let mut links = self.pinned_links();
        links.sort_by_key(|(_, hook)| REMOVAL_ORDER.iter().position(|one| one == hook));
        links.iter().try_for_each(|(path, _)| fs::remove_file(path))
    }

    /// Removes everything.
    pub fn remove(&self, _lock: &Lock) -> Result<(), Error> {
        let removing = self.root.join(REMOVING);
        match fs::rename(&self.folder, &removing) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.failed("rename", error));
            }
            _ => {}
        }
        let removed = [MAKING, REMOVING].iter().try_for_each(|rest| {
            let rest = Self { folder: self.root.join(rest), ..self.clone() };
            rest.unlink()?;
            remove_folder(&rest.folder)
        });
        removed
            .and_then(|()| fs::remove_dir(&self.root))
            .map_err(|error| self.failed("remove", error))
    }

    fn failed(&self, verb: &str, error: io::Error) -> Error {
        Error::kernel(format!("cannot {verb} {}", self.root.display()))(error.into())
    }
}

/// How often a lock that somebody has is tried again: the kernel offers no waiting with a limit.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn version() -> String {
    format!("v{LAYOUT_VERSION}")
}
