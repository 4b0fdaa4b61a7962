//! Small files beside a database that belong to it, for whoever may use the database, as SQLite has its own.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Where a file beside a database is. The database's path is canonical, so that all meet at one file.
pub fn path(database: &Path, ending: &str) -> PathBuf {
    let mut path = OsString::from(database);
    path.push(ending);
    path.into()
}

/// Opens a file beside a database, and makes it where there is none. A link in its place is refused.
#[cfg(unix)]
pub fn open(database: &Path, path: &Path) -> io::Result<File> {
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};

    let database = std::fs::metadata(database)?;
    // The owner may write it also where the database is only read.
    let mode = (database.mode() & 0o666) | 0o600;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(mode)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    let found = file.metadata()?;
    if found.len() == 0 {
        // It may have just been made: neither this process's mask nor root as its owner may keep out who may use the
        // database. Only the owner, and only root, may do this, and nobody else has to.
        if found.mode() & 0o777 != mode {
            let _ = file.set_permissions(Permissions::from_mode(mode));
        }
        if (found.uid(), found.gid()) != (database.uid(), database.gid()) {
            let _ = fchown(&file, Some(database.uid()), Some(database.gid()));
        }
    }
    Ok(file)
}

#[cfg(not(unix))]
pub fn open(database: &Path, path: &Path) -> io::Result<File> {
    std::fs::metadata(database)?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

#[cfg(all(test, unix))]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn who_may_use_the_database_may_use_what_is_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("candles.db");
        File::create(&database).unwrap();
        for (number, (of_database, expected)) in [
            (0o640, 0o640),
            (0o666, 0o666),
            (0o444, 0o644),
            (0o700, 0o600),
        ]
        .into_iter()
        .enumerate()
        {
            std::fs::set_permissions(&database, Permissions::from_mode(of_database)).unwrap();
            let path = path(&database, &format!("-{number}"));
            let mode = open(&database, &path).unwrap().metadata().unwrap();
            assert_eq!(mode.permissions().mode() & 0o777, expected);
        }
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("candles.db");
        File::create(&database).unwrap();
        let path = path(&database, "-link");
        symlink(folder.path().join("elsewhere"), &path).unwrap();
        assert!(open(&database, &path).is_err());
        assert!(!folder.path().join("elsewhere").exists());
    }
}
