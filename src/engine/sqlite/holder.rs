//! Who holds the write lock. In WAL mode it is byte 120 of the `-shm` file, and Linux lists locks with pid and
//! inode in /proc/locks (https://www.sqlite.org/walformat.html#locks). The file is asked for its inode but never
//! opened: closing it would drop this process's own locks.

use std::path::Path;

/// The pid of the process that holds the write lock; `None` when nobody does or nobody can tell.
#[cfg(target_os = "linux")]
pub fn write_lock_holder(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;

    let mut shm = path.as_os_str().to_owned();
    shm.push("-shm");
    let inode = std::fs::metadata(shm).ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    holder_in(&locks, inode, WRITE_LOCK_BYTE)
}

#[cfg(not(target_os = "linux"))]
pub fn write_lock_holder(_path: &Path) -> Option<u32> {
    None
}

#[cfg(target_os = "linux")]
const WRITE_LOCK_BYTE: u64 = 120;

/// Finds the writer of a byte in the text of /proc/locks, whose lines are
/// `1: POSIX  ADVISORY  WRITE 3568 fd:00:2531452 120 120`; waiting requests have `->` in the second column.
#[cfg(target_os = "linux")]
fn holder_in(locks: &str, inode: u64, byte: u64) -> Option<u32> {
    locks
        .lines()
        .find_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let [_, "POSIX", _, "WRITE", pid, file, first, last] = columns[..] else {
                return None;
            };
            let same_file = file.rsplit(':').next()?.parse::<u64>().ok()? == inode;
            let last = if last == "EOF" {
                u64::MAX
            } else {
                last.parse().ok()?
            };
            // Pids of other containers are shown as 0 or negative: not known.
            (same_file && first.parse::<u64>().ok()? <= byte && byte <= last)
                .then(|| pid.parse().ok())
                .flatten()
        })
        .filter(|pid| *pid != 0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    const LOCKS: &str = "1: POSIX  ADVISORY  READ  11 fd:00:7 123 123\n\
        2: -> POSIX  ADVISORY  WRITE 12 fd:00:7 120 120\n\
        3: POSIX  ADVISORY  WRITE 13 fd:00:7 120 120\n\
        4: POSIX  ADVISORY  WRITE 0 fd:00:8 120 120\n\
        5: FLOCK  ADVISORY  WRITE 14 fd:00:9 0 EOF\n";

    #[test]
    fn the_holder_is_found_and_waiters_and_readers_are_not_taken_for_it() {
        assert_eq!(holder_in(LOCKS, 7, 120), Some(13));
        assert_eq!(holder_in(LOCKS, 7, 121), None);
    }

    #[test]
    fn a_process_of_another_container_is_unknown() {
        assert_eq!(holder_in(LOCKS, 8, 120), None);
    }
}
