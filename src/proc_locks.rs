//! Who holds which locks on a file, as Linux tells in /proc/locks by pid and inode (proc(5)). The file is asked for its
//! inode but never opened: closing a descriptor would drop this process's own locks on it.

use std::path::Path;

/// Locks on one file as they were when this was read.
pub struct FileLocks {
    locks: Vec<Lock>,
}

#[derive(Debug, PartialEq)]
struct Lock {
    is_write: bool,
    pid: u32,
    first: u64,
    last: u64,
}

impl FileLocks {
    /// `None` where nobody can tell.
    #[cfg(target_os = "linux")]
    pub fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;

        let inode = std::fs::metadata(path).ok()?.ino();
        let text = std::fs::read_to_string("/proc/locks").ok()?;
        Some(Self::parse(&text, inode))
    }

    #[cfg(not(target_os = "linux"))]
    pub fn of(_path: &Path) -> Option<Self> {
        None
    }

    /// Reads lines of the form `1: POSIX  ADVISORY  WRITE 3568 fd:00:2531452 120 120`; waiting requests have `->` in the
    /// second column. Pids of other containers are shown as 0 or negative.
    #[cfg_attr(
        not(target_os = "linux"),
        allow(dead_code, reason = "only Linux has such a text")
    )]
    fn parse(text: &str, inode: u64) -> Self {
        let lock = |line: &str| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let [_, "POSIX", _, kind, pid, file, first, last] = columns[..] else {
                return None;
            };
            let is_same = file.rsplit(':').next()?.parse::<u64>().ok()? == inode;
            let last = if last == "EOF" {
                u64::MAX
            } else {
                last.parse().ok()?
            };
            is_same.then_some(Lock {
                is_write: kind == "WRITE",
                pid: pid.parse().unwrap_or(0),
                first: first.parse().ok()?,
                last,
            })
        };
        Self {
            locks: text.lines().filter_map(lock).collect(),
        }
    }

    fn at(&self, byte: u64) -> impl Iterator<Item = &Lock> {
        self.locks
            .iter()
            .filter(move |lock| lock.first <= byte && byte <= lock.last)
    }

    /// The process that alone has a byte; `None` when nobody has, or one of another container.
    pub fn writer(&self, byte: u64) -> Option<u32> {
        self.at(byte)
            .find(|lock| lock.is_write)
            .map(|lock| lock.pid)
            .filter(|pid| *pid != 0)
    }

    /// The processes that have a byte in any way; 0 stands for one of another container.
    pub fn owners(&self, byte: u64) -> Vec<u32> {
        self.at(byte).map(|lock| lock.pid).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &str = "1: POSIX  ADVISORY  READ  11 fd:00:7 123 123\n\
        2: -> POSIX  ADVISORY  WRITE 12 fd:00:7 120 120\n\
        3: POSIX  ADVISORY  WRITE 13 fd:00:7 120 120\n\
        4: POSIX  ADVISORY  WRITE 0 fd:00:8 120 120\n\
        5: FLOCK  ADVISORY  WRITE 14 fd:00:9 0 EOF\n\
        6: POSIX  ADVISORY  READ  15 fd:00:9 0 EOF\n\
        7: POSIX  ADVISORY  READ  -1 fd:00:9 0 EOF\n";

    #[test]
    fn the_holder_is_found_and_waiters_and_readers_are_not_taken_for_it() {
        let locks = FileLocks::parse(LOCKS, 7);
        assert_eq!(locks.writer(120), Some(13));
        assert_eq!((locks.writer(121), locks.writer(123)), (None, None));
    }

    #[test]
    fn a_process_of_another_container_is_unknown_but_it_is_there() {
        let locks = FileLocks::parse(LOCKS, 8);
        assert_eq!((locks.writer(120), locks.owners(120)), (None, vec![0]));
    }

    #[test]
    fn a_lock_on_the_whole_file_covers_each_byte() {
        assert_eq!(FileLocks::parse(LOCKS, 9).owners(4_711), [15, 0]);
    }
}
