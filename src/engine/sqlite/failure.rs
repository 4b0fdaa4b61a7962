//! Turns SQLite's result codes into the store's errors, and puts each into one of the three classes of failure.
//! Result codes: https://www.sqlite.org/rescode.html

use rusqlite::ffi;

use crate::error::{Code, Failure, StoreError, Written};

/// SQLite's message for a file that it cannot open.
const CANNOT_OPEN: &str = "unable to open database file";

/// The error for a failed statement or open; `what` says what was tried.
pub fn store_error(what: &str, error: &rusqlite::Error) -> StoreError {
    let (extended, message) = match error {
        rusqlite::Error::SqliteFailure(code, message) => (code.extended_code, message.clone()),
        rusqlite::Error::SqlInputError { error, msg, .. } => {
            (error.extended_code, Some(msg.clone()))
        }
        rusqlite::Error::InvalidParameterName(_)
        | rusqlite::Error::InvalidParameterCount(..)
        | rusqlite::Error::ToSqlConversionFailure(_) => {
            return StoreError::new(Code::InvalidArgument, format!("{what}: {error}"))
                .not_written();
        }
        _ => (ffi::SQLITE_ERROR, Some(error.to_string())),
    };
    let (code, failure, advice) = classify(extended);
    let text = message.unwrap_or_else(|| ffi::code_to_str(extended).to_owned());
    let mut refused = StoreError::new(code, format!("{what}: {text}{advice}")).failure(failure);
    refused.sqlite_code = Some(name(extended));
    // rusqlite adds the path when a file cannot be opened.
    let is_path_added = extended & 0xff == ffi::SQLITE_CANTOPEN && text.starts_with(CANNOT_OPEN);
    refused.sqlite_message = Some(if is_path_added {
        CANNOT_OPEN.to_owned()
    } else {
        text
    });
    refused
}

/// The error of a COMMIT, where an I/O error leaves open what the disk holds.
pub fn commit_error(error: &rusqlite::Error) -> StoreError {
    let mut refused = store_error("cannot commit", error);
    if refused.failure == Failure::Storage && refused.code == Code::IoError {
        refused.failure = Failure::Fatal;
        refused.written = Some(Written::Unknown);
    }
    refused
}

fn classify(extended: i32) -> (Code, Failure, &'static str) {
    match extended & 0xff {
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED | ffi::SQLITE_PROTOCOL => {
            (Code::Timeout, Failure::Transient, "")
        }
        ffi::SQLITE_CONSTRAINT | ffi::SQLITE_MISMATCH => (Code::Constraint, Failure::Permanent, ""),
        ffi::SQLITE_FULL => (
            Code::DiskFull,
            Failure::Storage,
            "; make room on the disk that holds the database (or raise max_page_count)",
        ),
        ffi::SQLITE_IOERR => (
            Code::IoError,
            Failure::Storage,
            "; check the disk and the system's log",
        ),
        ffi::SQLITE_CORRUPT => (
            Code::Corrupt,
            Failure::Fatal,
            "; keep a copy of the file, its -wal and its -shm before doing anything else",
        ),
        ffi::SQLITE_NOTADB => (Code::NotADatabase, Failure::Fatal, ""),
        ffi::SQLITE_CANTOPEN => (
            Code::Permission,
            Failure::Permanent,
            "; the process needs to read and write the file, its -wal and -shm, and their folder",
        ),
        ffi::SQLITE_PERM | ffi::SQLITE_AUTH => (Code::Permission, Failure::Permanent, ""),
        ffi::SQLITE_READONLY => (Code::ReadOnly, Failure::Permanent, ""),
        ffi::SQLITE_INTERRUPT => (Code::Aborted, Failure::Permanent, ""),
        ffi::SQLITE_RANGE | ffi::SQLITE_TOOBIG => (Code::InvalidArgument, Failure::Permanent, ""),
        _ => (Code::SqlError, Failure::Permanent, ""),
    }
}

/// SQLite's name of an extended result code, as its documentation and better-sqlite3 spell it.
fn name(extended: i32) -> String {
    const PRIMARY: [&str; 29] = [
        "OK",
        "ERROR",
        "INTERNAL",
        "PERM",
        "ABORT",
        "BUSY",
        "LOCKED",
        "NOMEM",
        "READONLY",
        "INTERRUPT",
        "IOERR",
        "CORRUPT",
        "NOTFOUND",
        "FULL",
        "CANTOPEN",
        "PROTOCOL",
        "EMPTY",
        "SCHEMA",
        "TOOBIG",
        "CONSTRAINT",
        "MISMATCH",
        "MISUSE",
        "NOLFS",
        "AUTH",
        "FORMAT",
        "RANGE",
        "NOTADB",
        "NOTICE",
        "WARNING",
    ];
    const EXTENDED: [(i32, &str); 80] = [
        (ffi::SQLITE_ERROR_MISSING_COLLSEQ, "ERROR_MISSING_COLLSEQ"),
        (ffi::SQLITE_ERROR_RETRY, "ERROR_RETRY"),
        (ffi::SQLITE_ERROR_SNAPSHOT, "ERROR_SNAPSHOT"),
        (ffi::SQLITE_ERROR_RESERVESIZE, "ERROR_RESERVESIZE"),
        (ffi::SQLITE_ERROR_KEY, "ERROR_KEY"),
        (ffi::SQLITE_ERROR_UNABLE, "ERROR_UNABLE"),
        (ffi::SQLITE_IOERR_READ, "IOERR_READ"),
        (ffi::SQLITE_IOERR_SHORT_READ, "IOERR_SHORT_READ"),
        (ffi::SQLITE_IOERR_WRITE, "IOERR_WRITE"),
        (ffi::SQLITE_IOERR_FSYNC, "IOERR_FSYNC"),
        (ffi::SQLITE_IOERR_DIR_FSYNC, "IOERR_DIR_FSYNC"),
        (ffi::SQLITE_IOERR_TRUNCATE, "IOERR_TRUNCATE"),
        (ffi::SQLITE_IOERR_FSTAT, "IOERR_FSTAT"),
        (ffi::SQLITE_IOERR_UNLOCK, "IOERR_UNLOCK"),
        (ffi::SQLITE_IOERR_RDLOCK, "IOERR_RDLOCK"),
        (ffi::SQLITE_IOERR_DELETE, "IOERR_DELETE"),
        (ffi::SQLITE_IOERR_BLOCKED, "IOERR_BLOCKED"),
        (ffi::SQLITE_IOERR_NOMEM, "IOERR_NOMEM"),
        (ffi::SQLITE_IOERR_ACCESS, "IOERR_ACCESS"),
        (
            ffi::SQLITE_IOERR_CHECKRESERVEDLOCK,
            "IOERR_CHECKRESERVEDLOCK",
        ),
        (ffi::SQLITE_IOERR_LOCK, "IOERR_LOCK"),
        (ffi::SQLITE_IOERR_CLOSE, "IOERR_CLOSE"),
        (ffi::SQLITE_IOERR_DIR_CLOSE, "IOERR_DIR_CLOSE"),
        (ffi::SQLITE_IOERR_SHMOPEN, "IOERR_SHMOPEN"),
        (ffi::SQLITE_IOERR_SHMSIZE, "IOERR_SHMSIZE"),
        (ffi::SQLITE_IOERR_SHMLOCK, "IOERR_SHMLOCK"),
        (ffi::SQLITE_IOERR_SHMMAP, "IOERR_SHMMAP"),
        (ffi::SQLITE_IOERR_SEEK, "IOERR_SEEK"),
        (ffi::SQLITE_IOERR_DELETE_NOENT, "IOERR_DELETE_NOENT"),
        (ffi::SQLITE_IOERR_MMAP, "IOERR_MMAP"),
        (ffi::SQLITE_IOERR_GETTEMPPATH, "IOERR_GETTEMPPATH"),
        (ffi::SQLITE_IOERR_CONVPATH, "IOERR_CONVPATH"),
        (ffi::SQLITE_IOERR_VNODE, "IOERR_VNODE"),
        (ffi::SQLITE_IOERR_AUTH, "IOERR_AUTH"),
        (ffi::SQLITE_IOERR_BEGIN_ATOMIC, "IOERR_BEGIN_ATOMIC"),
        (ffi::SQLITE_IOERR_COMMIT_ATOMIC, "IOERR_COMMIT_ATOMIC"),
        (ffi::SQLITE_IOERR_ROLLBACK_ATOMIC, "IOERR_ROLLBACK_ATOMIC"),
        (ffi::SQLITE_IOERR_DATA, "IOERR_DATA"),
        (ffi::SQLITE_IOERR_CORRUPTFS, "IOERR_CORRUPTFS"),
        (ffi::SQLITE_IOERR_IN_PAGE, "IOERR_IN_PAGE"),
        (ffi::SQLITE_IOERR_BADKEY, "IOERR_BADKEY"),
        (ffi::SQLITE_IOERR_CODEC, "IOERR_CODEC"),
        (ffi::SQLITE_LOCKED_SHAREDCACHE, "LOCKED_SHAREDCACHE"),
        (ffi::SQLITE_LOCKED_VTAB, "LOCKED_VTAB"),
        (ffi::SQLITE_BUSY_RECOVERY, "BUSY_RECOVERY"),
        (ffi::SQLITE_BUSY_SNAPSHOT, "BUSY_SNAPSHOT"),
        (ffi::SQLITE_BUSY_TIMEOUT, "BUSY_TIMEOUT"),
        (ffi::SQLITE_CANTOPEN_NOTEMPDIR, "CANTOPEN_NOTEMPDIR"),
        (ffi::SQLITE_CANTOPEN_ISDIR, "CANTOPEN_ISDIR"),
        (ffi::SQLITE_CANTOPEN_FULLPATH, "CANTOPEN_FULLPATH"),
        (ffi::SQLITE_CANTOPEN_CONVPATH, "CANTOPEN_CONVPATH"),
        (ffi::SQLITE_CANTOPEN_DIRTYWAL, "CANTOPEN_DIRTYWAL"),
        (ffi::SQLITE_CANTOPEN_SYMLINK, "CANTOPEN_SYMLINK"),
        (ffi::SQLITE_CORRUPT_VTAB, "CORRUPT_VTAB"),
        (ffi::SQLITE_CORRUPT_SEQUENCE, "CORRUPT_SEQUENCE"),
        (ffi::SQLITE_CORRUPT_INDEX, "CORRUPT_INDEX"),
        (ffi::SQLITE_READONLY_RECOVERY, "READONLY_RECOVERY"),
        (ffi::SQLITE_READONLY_CANTLOCK, "READONLY_CANTLOCK"),
        (ffi::SQLITE_READONLY_ROLLBACK, "READONLY_ROLLBACK"),
        (ffi::SQLITE_READONLY_DBMOVED, "READONLY_DBMOVED"),
        (ffi::SQLITE_READONLY_CANTINIT, "READONLY_CANTINIT"),
        (ffi::SQLITE_READONLY_DIRECTORY, "READONLY_DIRECTORY"),
        (ffi::SQLITE_ABORT_ROLLBACK, "ABORT_ROLLBACK"),
        (ffi::SQLITE_CONSTRAINT_CHECK, "CONSTRAINT_CHECK"),
        (ffi::SQLITE_CONSTRAINT_COMMITHOOK, "CONSTRAINT_COMMITHOOK"),
        (ffi::SQLITE_CONSTRAINT_FOREIGNKEY, "CONSTRAINT_FOREIGNKEY"),
        (ffi::SQLITE_CONSTRAINT_FUNCTION, "CONSTRAINT_FUNCTION"),
        (ffi::SQLITE_CONSTRAINT_NOTNULL, "CONSTRAINT_NOTNULL"),
        (ffi::SQLITE_CONSTRAINT_PRIMARYKEY, "CONSTRAINT_PRIMARYKEY"),
        (ffi::SQLITE_CONSTRAINT_TRIGGER, "CONSTRAINT_TRIGGER"),
        (ffi::SQLITE_CONSTRAINT_UNIQUE, "CONSTRAINT_UNIQUE"),
        (ffi::SQLITE_CONSTRAINT_VTAB, "CONSTRAINT_VTAB"),
        (ffi::SQLITE_CONSTRAINT_ROWID, "CONSTRAINT_ROWID"),
        (ffi::SQLITE_CONSTRAINT_PINNED, "CONSTRAINT_PINNED"),
        (ffi::SQLITE_CONSTRAINT_DATATYPE, "CONSTRAINT_DATATYPE"),
        (ffi::SQLITE_NOTICE_RECOVER_WAL, "NOTICE_RECOVER_WAL"),
        (
            ffi::SQLITE_NOTICE_RECOVER_ROLLBACK,
            "NOTICE_RECOVER_ROLLBACK",
        ),
        (ffi::SQLITE_NOTICE_RBU, "NOTICE_RBU"),
        (ffi::SQLITE_WARNING_AUTOINDEX, "WARNING_AUTOINDEX"),
        (ffi::SQLITE_AUTH_USER, "AUTH_USER"),
    ];
    let known = EXTENDED
        .iter()
        .find(|(code, _)| *code == extended)
        .map(|(_, name)| *name);
    let primary = || {
        usize::try_from(extended & 0xff)
            .ok()
            .and_then(|place| PRIMARY.get(place).copied())
    };
    format!("SQLITE_{}", known.or_else(primary).unwrap_or("ERROR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(extended: i32) -> StoreError {
        store_error(
            "cannot write",
            &rusqlite::Error::SqliteFailure(ffi::Error::new(extended), None),
        )
    }

    #[test]
    fn a_lock_that_is_taken_is_transient_whatever_its_kind() {
        for extended in [
            ffi::SQLITE_BUSY,
            ffi::SQLITE_BUSY_SNAPSHOT,
            ffi::SQLITE_BUSY_RECOVERY,
            ffi::SQLITE_LOCKED,
        ] {
            assert_eq!(told(extended).failure, Failure::Transient);
        }
        assert_eq!(
            told(ffi::SQLITE_BUSY_SNAPSHOT).sqlite_code.as_deref(),
            Some("SQLITE_BUSY_SNAPSHOT")
        );
    }

    #[test]
    fn a_full_disk_and_an_io_error_are_the_storage_s() {
        assert_eq!(told(ffi::SQLITE_FULL).failure, Failure::Storage);
        assert_eq!(told(ffi::SQLITE_IOERR_WRITE).failure, Failure::Storage);
    }

    #[test]
    fn an_io_error_at_commit_leaves_the_outcome_unknown() {
        let failed = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_FSYNC), None);
        let error = commit_error(&failed);
        assert_eq!(
            (error.failure, error.written),
            (Failure::Fatal, Some(Written::Unknown))
        );
        let full = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None);
        assert_eq!(commit_error(&full).failure, Failure::Storage);
    }
}
