//! Who has a database open, and who holds its write lock. In WAL mode both are locks on bytes of the `-shm` file
//! (https://www.sqlite.org/walformat.html#locks, and os_unix.c for the byte that every connection holds).

use std::path::{Path, PathBuf};

use crate::proc_locks::FileLocks;

/// The writer's lock.
const WRITE_BYTE: u64 = 120;
/// Held, shared, by every process that has the database open.
const OPEN_BYTE: u64 = 128;

/// The pid of the process that holds the write lock; `None` when nobody does or nobody can tell.
pub fn write_lock_holder(database: &Path) -> Option<u32> {
    FileLocks::of(&shm(database))?.writer(WRITE_BYTE)
}

/// Other processes that have the database open and may write it; `None` when nobody can tell, 0 for one of another
/// container.
pub fn other_writers(database: &Path) -> Option<Vec<u32>> {
    let mut pids = FileLocks::of(&shm(database))?.owners(OPEN_BYTE);
    pids.retain(|pid| *pid != std::process::id() && may_write(*pid, database));
    Some(pids)
}

fn shm(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-shm");
    path.into()
}

/// Whether a process has the file open for more than reading. One whose descriptors may not be looked at may write.
#[cfg(target_os = "linux")]
fn may_write(pid: u32, database: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    let Ok(file) = std::fs::metadata(database) else {
        return true;
    };
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return true;
    };
    let mut is_seen = false;
    for descriptor in descriptors.flatten() {
        // Follows the link, which asks the open file and opens nothing.
        let Ok(open) = std::fs::metadata(descriptor.path()) else {
            continue;
        };
        if (open.dev(), open.ino()) != (file.dev(), file.ino()) {
            continue;
        }
        is_seen = true;
        let number = descriptor.file_name();
        let info =
            std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", number.to_string_lossy()));
        if !info.is_ok_and(|info| is_read_only(&info)) {
            return true;
        }
    }
    !is_seen
}

#[cfg(not(target_os = "linux"))]
fn may_write(_pid: u32, _database: &Path) -> bool {
    true
}

/// Reads the line of `flags:`, which is octal, as `0100000`; its last two bits are the access mode.
#[cfg(target_os = "linux")]
fn is_read_only(fdinfo: &str) -> bool {
    fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok())
        .is_some_and(|flags| flags & libc::O_ACCMODE == libc::O_RDONLY)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

    use super::*;

    #[test]
    fn the_access_mode_is_read_from_octal_flags() {
        assert!(is_read_only("pos:\t0\nflags:\t0100000\nmnt_id:\t9\n"));
        assert!(!is_read_only("pos:\t0\nflags:\t0100002\n"));
        assert!(!is_read_only("pos:\t0\n"));
    }

    #[test]
    fn a_process_that_has_a_file_open_for_reading_only_cannot_write_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let writing = std::fs::File::create(&path).unwrap();
        assert!(may_write(std::process::id(), &path));
        drop(writing);
        let _reading = std::fs::File::open(&path).unwrap();
        assert!(!may_write(std::process::id(), &path));
        assert!(may_write(0, &path));
    }
}
