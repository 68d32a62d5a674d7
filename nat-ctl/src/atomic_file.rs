//! Editing a file so that nobody ever reads half of it, and a crash leaves the old one or the new
//! one.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::exit::Failure;

/// Lets `change` make the new text of a file from the old one, and puts it in the file's place,
/// with its mode and owner. Whatever goes wrong, the file is as it was. A symbolic link stays one:
/// the file behind it is replaced.
///
/// Other nat-ctl processes that edit a file of the same folder wait. An editor does not know of
/// that; what it has written in the meantime is noticed, and not overwritten.
pub fn edit<T>(
    path: &Path,
    change: impl FnOnce(&str) -> Result<(String, T), Failure>,
) -> Result<T, Failure> {
    let failed = |doing: &str, error: io::Error| {
        Failure::failed(format!("cannot {doing} {}\n  caused by: {error}", path.display()))
    };
    let target = fs::canonicalize(path).map_err(|error| {
        Failure::usage(format!("cannot read {}\n  caused by: {error}", path.display()))
            .with_help("--config names the configuration file")
    })?;
    let folder = target.parent().unwrap_or(Path::new("/"));
    let open = File::open(folder).map_err(|error| failed("lock the folder of", error))?;
    let folder_lock = Flock::lock(open, FlockArg::LockExclusive)
        .map_err(|(_, errno)| failed("lock the folder of", errno.into()))?;

    let old = fs::read_to_string(&target).map_err(|error| failed("read", error))?;
    let (new, answer) = change(&old)?;
    if new == old {
        return Ok(answer);
    }
    let temporary = temporary_name(&target);
    let written = write_beside(&target, &temporary, &new).and_then(|()| {
        if fs::read_to_string(&target)? != old {
            return Err(io::Error::other("somebody else has changed it at the same time"));
        }
        fs::rename(&temporary, &target)
    });
    if let Err(error) = written {
        // It may not have come into being.
        let _ = fs::remove_file(&temporary);
        return Err(failed("write", error));
    }
    // The new name must survive a crash as well; that it is there now is certain.
    let _ = folder_lock.sync_all();
    Ok(answer)
}

/// Puts a file with these bytes in the place of whatever is there. Only its owner may read it.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(path);
    // What a process of the same number has left behind.
    let _ = fs::remove_file(&temporary);
    let replaced = write_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if replaced.is_err() {
        // It may not have come into being.
        let _ = fs::remove_file(&temporary);
    }
    replaced?;
    // The new name must survive a crash as well; that it is there now is certain.
    if let Some(folder) = path.parent() {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn temporary_name(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{}.new", std::process::id()))
}

/// Writes the text to a new file that has the owner and mode of `target`.
fn write_beside(target: &Path, temporary: &Path, text: &str) -> io::Result<()> {
    let metadata = fs::metadata(target)?;
    // Nobody else may read it before it has the mode that it should have.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (metadata.uid(), metadata.gid()) {
        fchown(&file, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    // After the owner: changing that clears bits of the mode.
    file.set_permissions(Permissions::from_mode(metadata.mode() & 0o7777))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn mode_and_links_stay() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nat.toml");
        let links = tempfile::tempdir().unwrap();
        let link = links.path().join("link.toml");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        let before = fs::metadata(&file).unwrap();
        let answer = edit(&link, |old| Ok((format!("{old} and new"), 7))).unwrap();
        assert_eq!(answer, 7);
        let after = fs::metadata(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "old and new");
        assert_eq!(after.mode(), before.mode());
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
        assert_ne!(after.ino(), before.ino());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(folder.path()), ["nat.toml"]);
    }

    #[test]
    fn a_refused_change_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nat.toml");
        fs::write(&file, "old").unwrap();
        let inode = fs::metadata(&file).unwrap().ino();
        let refused: Result<(), _> = edit(&file, |_| Err(Failure::usage("no")));
        assert_eq!(refused, Err(Failure::usage("no")));
        edit(&file, |old| Ok((old.to_owned(), ()))).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().ino(), inode);
        assert_eq!(names(folder.path()), ["nat.toml"]);
    }

    #[test]
    fn what_somebody_else_wrote_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nat.toml");
        fs::write(&file, "old").unwrap();
        let error = edit(&file, |_| {
            fs::write(&file, "theirs").unwrap();
            Ok(("ours".to_owned(), ()))
        });
        assert!(error.unwrap_err().what.contains("somebody else"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "theirs");
        assert_eq!(names(folder.path()), ["nat.toml"]);
    }

    #[test]
    fn a_file_is_replaced_whole_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state");
        for bytes in [b"long before".as_slice(), b"after"] {
            replace(&file, bytes).unwrap();
            assert_eq!(fs::read(&file).unwrap(), bytes);
        }
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(names(folder.path()), ["state"]);
        assert!(replace(&folder.path().join("no/folder"), b"").is_err());
        fs::create_dir(folder.path().join("taken")).unwrap();
        assert!(replace(&folder.path().join("taken"), b"").is_err());
        assert_eq!(names(folder.path()), ["state", "taken"]);
    }

    #[test]
    fn a_missing_file_is_a_wrong_argument() {
        let error = edit(Path::new("/nonexistent/nat.toml"), |_| Ok((String::new(), ())));
        assert_eq!(error.unwrap_err().exit, crate::exit::Exit::Usage);
    }
}
