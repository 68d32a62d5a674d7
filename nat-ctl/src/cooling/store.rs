//! Where the file is.
use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    file::{self, Damage},
    snapshot::{Boot, Snapshot},
};
use crate::{atomic_file, exit::Failure};

/// An instance's file of resting ports.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// In this folder, which need not exist yet.
    pub fn new(folder: &Path, instance: &str) -> Self {
        Self { path: folder.join(format!("{instance}.cooling")) }
    }

    /// Puts the bytes in the file's place.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self
            .path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| atomic_file::replace(&self.path, bytes));
        written.map_err(|error| {
            let path = self.path.display();
            Failure::failed(format!("cannot write {path}\n  caused by: {error}")).with_help(
                "without it, ports that rest may be used again too early after a reboot or \
                 `detach`; --state-dir names another folder",
            )
        })
    }

    /// What the file says; nothing if there is none. One that cannot be used is set aside, so that
    /// the next one does not take its place.
    pub fn read(&self) -> Result<Option<Snapshot>, Failure> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let what = format!("cannot read {}\n  caused by: {error}", self.path.display());
                return Err(Failure::failed(what).with_help(LOST));
            }
        };
        file::decode(&bytes).map(Some).map_err(|damage| self.set_aside(&damage))
    }

    fn set_aside(&self, damage: &Damage) -> Failure {
        let aside = self.path.with_extension("cooling.damaged");
        let path = self.path.display();
        let what = format!("cannot use {path}: {damage}");
        match fs::rename(&self.path, &aside) {
            Ok(()) => {
                Failure::failed(what).with_help(format!("{LOST}; it is now {}", aside.display()))
            }
            Err(error) => Failure::failed(format!("{what}; it cannot be renamed: {error}"))
                .with_help(format!("{LOST}; remove it")),
        }
    }
}

/// What it means that there is no telling what rested.
const LOST: &str = "ports that rested may be used again too early, toward servers that still hold \
                    their old connections";

/// The boot that this is.
pub fn this_boot() -> Result<Boot, Failure> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(PATH)
        .map_err(|error| Failure::host(format!("cannot read {PATH}\n  caused by: {error}")))?;
    parse_boot(&text)
        .ok_or_else(|| Failure::host(format!("{PATH} has no UUID in it: {}", text.trim())))
}

fn parse_boot(text: &str) -> Option<Boot> {
    let digits: String = text.trim().chars().filter(|letter| *letter != '-').collect();
    let number = u128::from_str_radix(&digits, 16).ok()?;
    (digits.len() == 32).then(|| Boot(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use nat_common::cooldown::Clocks;

    use super::*;

    fn snapshot() -> Snapshot {
        let written = Clocks { monotonic_ns: 5, wall_ns: 6 };
        Snapshot { boot: Boot([7; 16]), written, tuples: Vec::new() }
    }

    #[test]
    fn what_is_written_is_read_by_the_instance_of_that_name() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(&folder.path().join("new/folder"), "default");
        assert_eq!(store.read(), Ok(None));
        store.write(&file::encode(&snapshot())).unwrap();
        assert_eq!(store.read(), Ok(Some(snapshot())));
        assert_eq!(Store::new(&folder.path().join("new/folder"), "other").read(), Ok(None));
    }

    #[test]
    fn a_damaged_file_is_named_and_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path(), "default");
        let mut bytes = file::encode(&snapshot());
        *bytes.last_mut().unwrap() ^= 1;
        store.write(&bytes).unwrap();
        let failure = store.read().unwrap_err();
        let path = folder.path().join("default.cooling");
        assert_eq!(
            failure.what,
            format!("cannot use {}: its sum is wrong: it has been changed", path.display())
        );
        assert!(failure.help.unwrap().contains("default.cooling.damaged"));
        assert_eq!(store.read(), Ok(None), "the next start is not held up by it");
        assert_eq!(fs::read(folder.path().join("default.cooling.damaged")).unwrap(), bytes);
    }

    #[test]
    fn what_cannot_be_read_or_written_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("default.cooling");
        fs::create_dir(&path).unwrap();
        let store = Store::new(folder.path(), "default");
        let path = path.display().to_string();
        assert!(store.read().unwrap_err().what.contains(&path));
        assert!(store.write(b"x").unwrap_err().what.contains(&path));
    }

    #[test]
    fn boots_are_told_apart() {
        assert_eq!(this_boot(), this_boot());
        let boot = parse_boot("00112233-4455-6677-8899-aabbccddeeff\n").unwrap();
        assert_eq!(boot.0[..4], [0x00, 0x11, 0x22, 0x33]);
        for text in [
            "",
            "1122",
            "00112233-4455-6677-8899-aabbccddeeff0",
            "x0112233-4455-6677-8899-aabbccddeeff",
        ] {
            assert_eq!(parse_boot(text), None, "{text}");
        }
    }
}
