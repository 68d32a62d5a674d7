//! Where an instance keeps its maps and links, so that they outlive every process:
//!
//! ```text
//! BPFFS/nat-ctl/INSTANCE/v1/maps/NAME
//!                          /links/INTERFACE-HOOK
//! ```
use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nat_common::instance::LAYOUT_VERSION;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use crate::datapath::Error;

/// An instance's folder in the BPF file system.
#[derive(Clone, Debug)]
pub struct Pins {
    instance: String,
    /// `BPFFS/nat-ctl/INSTANCE`
    root: PathBuf,
    /// `root/vN`
    folder: PathBuf,
}

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

    /// `hook` as in [`nat_common::stats::Hook::name`]. bpffs refuses dots in names, which VLAN
    /// interfaces have, so they are written as `~`.
    pub fn link(&self, interface: &str, hook: &str) -> PathBuf {
        self.folder.join("links").join(format!("{}-{hook}", interface.replace('.', "~")))
    }

    /// Makes the folders of a new instance.
    pub fn create(&self) -> Result<(), Error> {
        self.refuse_other_layouts()?;
        if self.folder.exists() {
            return Err(Error::AlreadyAttached {
                instance: self.instance.clone(),
                folder: self.folder.clone(),
            });
        }
        for name in ["maps", "links"] {
            let path = self.folder.join(name);
            fs::create_dir_all(&path).map_err(|error| {
                Error::kernel(format!("cannot make {}", path.display()))(error.into())
            })?;
        }
        Ok(())
    }

    /// Fails unless the instance is attached with a layout that this program knows.
    pub fn expect(&self) -> Result<(), Error> {
        self.refuse_other_layouts()?;
        if self.folder.exists() {
            return Ok(());
        }
        Err(Error::NotAttached { instance: self.instance.clone(), folder: self.root.clone() })
    }

    fn refuse_other_layouts(&self) -> Result<(), Error> {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let found = entry.file_name().to_string_lossy().into_owned();
            if found != version() {
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

    /// Removes everything. Links go first: from then on no program runs that could miss its maps.
    pub fn remove(&self) -> io::Result<()> {
        for name in ["links", "maps"] {
            match fs::remove_dir_all(self.folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::remove_dir(&self.folder)?;
        fs::remove_dir(&self.root)
    }
}

fn version() -> String {
    format!("v{LAYOUT_VERSION}")
}
