//! Names that one process, or one store of it, has at a time among all that use a database file: each is a small file
//! beside the database, locked as long as the name is held. The lock belongs to the open file (flock(2)), so it keeps out
//! other stores of this process, too, and goes with a process that is killed. SQLite's own files have nothing to do with it.
//!
//! Who gives a name back deletes the file while it still has the lock. So the lock alone gives no name: who got it looks
//! whether the file is still where others look for it, and otherwise tries again.
//!
//! In the file is who holds the name. Who asked for it in vain makes the file longer, which the holder sees at the end.
//! Both are only told: where they cannot be written or read, the names are as exclusive.

#[cfg(all(test, unix))]
mod tests;

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use once_cell::sync::OnceCell;

use crate::beside;
use crate::engine::held_names::HeldNames;
use crate::engine::{NameHold, Taking};
use crate::error::{Code, Failure, Result, StoreError};

/// How often the file may be another one than the one that was locked: each time, somebody else has had the name.
const TRIES: u32 = 20;
/// How long the file is when somebody has asked for the name; longer than what says who holds it.
const ASKED: u64 = 128;

/// The exclusive names of a database.
pub enum Names {
    Beside(Beside),
    OfThisProcess(HeldNames),
}

/// Those of a file.
pub struct Beside {
    /// As it was opened.
    database: PathBuf,
    /// Where that led to when it was opened.
    real: OnceCell<PathBuf>,
}

impl Names {
    pub fn beside(database: &Path) -> Self {
        Self::Beside(Beside {
            database: database.to_owned(),
            real: OnceCell::new(),
        })
    }

    pub fn of_this_process() -> Self {
        Self::OfThisProcess(HeldNames::default())
    }

    /// The database has just been opened: a link that leads elsewhere later means another database.
    pub fn find_database(&self) {
        if let Self::Beside(beside) = self {
            // Told when a name is asked for, if it has not been found by then.
            let _ = beside.real();
        }
    }

    pub fn take(&self, name: &str) -> Result<Taking> {
        match self {
            Self::Beside(beside) => beside.take(name),
            Self::OfThisProcess(names) => Ok(names.take(name)),
        }
    }
}

impl Beside {
    fn real(&self) -> io::Result<&PathBuf> {
        self.real
            .get_or_try_init(|| std::fs::canonicalize(&self.database))
    }

    fn take(&self, name: &str) -> Result<Taking> {
        let refused = |path: &Path, cause| refused(name, path, &cause);
        let database = self
            .real()
            .map_err(|cause| refused(&self.database, cause))?;
        let path = beside::path(database, &ending(name));
        for _ in 0..TRIES {
            let file = beside::open(database, &path).map_err(|cause| refused(&path, cause))?;
            if !file.metadata().is_ok_and(|found| found.is_file()) {
                return Err(refused(&path, ErrorKind::AlreadyExists.into()));
            }
            let lock = file.try_lock();
            if let Err(TryLockError::Error(cause)) = lock {
                return Err(refused(&path, cause));
            }
            if !is_at(&file, &path) {
                continue;
            }
            if lock.is_err() {
                return Ok(Taking::Held { by: ask(&file) });
            }
            tell(&file);
            return Ok(Taking::Taken(Box::new(Hold {
                file: Some(file),
                path,
                process: std::process::id(),
            })));
        }
        Ok(Taking::Held { by: None })
    }
}

/// What is behind the database's name in that of the file. Whatever a name holds, it stays in the folder. File systems that
/// do not tell `a` from `A` make one name of both.
fn ending(name: &str) -> String {
    let mut ending = "-candlestore-job-".to_owned();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => {
                ending.push(char::from(byte));
            }
            _ => ending.push_str(&format!("%{byte:02X}")),
        }
    }
    ending
}

/// Whether a path leads to an open file and to no other one.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Where files cannot be told apart they are left in place when a name is given back.
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

#[cfg(unix)]
fn remove(path: &Path) {
    // A file that is left is taken over by the next one.
    let _ = std::fs::remove_file(path);
}

#[cfg(not(unix))]
fn remove(_path: &Path) {}

/// Writes who holds the name. What a killed one has left is removed first, which a full disk does not hinder.
fn tell(mut file: &File) {
    let told = format!("{} {}\n", std::process::id(), pid_space());
    let _ = file
        .set_len(0)
        .and_then(|()| file.write_all(told.as_bytes()));
}

/// Leaves a mark and reads who holds the name.
fn ask(mut file: &File) -> Option<u32> {
    if file.metadata().is_ok_and(|found| found.len() < ASKED) {
        let _ = file.set_len(ASKED);
    }
    let mut told = [0; ASKED as usize];
    let length = file.read(&mut told).ok()?;
    // One that has no end is just being written.
    let end = told[..length].iter().position(|byte| *byte == b'\n')?;
    let (pid, space) = std::str::from_utf8(&told[..end]).ok()?.split_once(' ')?;
    (space == pid_space()).then(|| pid.parse().ok())?
}

/// Among which processes a pid counts: containers have numbers of their own.
fn pid_space() -> String {
    std::fs::read_link("/proc/self/ns/pid")
        .ok()
        .and_then(|space| space.to_str().map(str::to_owned))
        .unwrap_or_default()
}

fn is_something_else(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_file())
}

fn refused(name: &str, path: &Path, cause: &io::Error) -> StoreError {
    let (code, failure, advice) = match cause.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => (
            Code::NotFound,
            Failure::Permanent,
            "the database is no longer where it was opened: close the store and open it where it is now",
        ),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => (
            Code::Permission,
            Failure::Permanent,
            "the process needs to write this file and its folder",
        ),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (
            Code::DiskFull,
            Failure::Storage,
            "make room on the disk that holds the database",
        ),
        ErrorKind::InvalidFilename => (
            Code::InvalidArgument,
            Failure::Permanent,
            "the database's name and this one are too long together: choose a shorter one",
        ),
        _ if is_something_else(path) => (
            Code::Permission,
            Failure::Permanent,
            "something else than a file is in the place of the file that is locked: remove it",
        ),
        _ => (
            Code::IoError,
            Failure::Storage,
            "check the disk, and whether its file system can lock files",
        ),
    };
    StoreError::new(
        code,
        format!(
            "cannot take the exclusive name {name:?} by {}: {cause}; {advice}",
            path.display()
        ),
    )
    .failure(failure)
}

struct Hold {
    /// `None` once the name was given back.
    file: Option<File>,
    path: PathBuf,
    process: u32,
}

impl Hold {
    fn release(&mut self) -> bool {
        let Some(file) = self.file.take() else {
            return false;
        };
        // A forked process has the open file, too, but not the name.
        if self.process != std::process::id() {
            return false;
        }
        // Somebody may have deleted it and somebody else have a new one.
        if is_at(&file, &self.path) {
            remove(&self.path);
        }
        let was_asked_for = file.metadata().is_ok_and(|found| found.len() >= ASKED);
        // Closing would not do while a process that is just being started has the open file, too.
        let _ = file.unlock();
        was_asked_for
    }
}

impl NameHold for Hold {
    fn give_back(mut self: Box<Self>) -> bool {
        self.release()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.release();
    }
}
