//! Whether a database could grow: SQLITE_FULL means a full disk, a page limit, or, of a table with AUTOINCREMENT, that its
//! largest rowid is taken (https://www.sqlite.org/autoinc.html), and does not say which.

use rusqlite::Connection;

/// So much room makes it unlikely that a write has failed for want of it.
const AMPLE_PAGES: i64 = 1_000_000;
#[cfg(unix)]
const AMPLE_BYTES: u64 = 1 << 30;

/// Whether neither the disk nor the page limit is anywhere near; false when that cannot be known.
pub fn is_ample(connection: &Connection) -> bool {
    let number = |pragma: &str| {
        connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0))
    };
    let (Ok(most), Ok(pages)) = (number("max_page_count"), number("page_count")) else {
        return false;
    };
    most - pages >= AMPLE_PAGES && connection.path().is_some_and(has_ample_disk)
}

#[cfg(unix)]
fn has_ample_disk(path: &str) -> bool {
    let Ok(path) = std::ffi::CString::new(path) else {
        return false;
    };
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path is a NUL-terminated string and `found` is large enough for what statvfs writes.
    if unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: statvfs returned 0, so it has filled `found`.
    let found = unsafe { found.assume_init() };
    #[allow(
        clippy::unnecessary_cast,
        reason = "the types of the fields differ between targets"
    )]
    let bytes = (found.f_bavail as u64).saturating_mul(found.f_frsize as u64);
    bytes >= AMPLE_BYTES
}

#[cfg(not(unix))]
fn has_ample_disk(_path: &str) -> bool {
    false
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

    use super::*;

    #[test]
    fn a_page_limit_that_is_near_is_no_ample_space() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("file.db")).unwrap();
        connection
            .execute_batch("CREATE TABLE a (b); PRAGMA max_page_count = 10")
            .unwrap();
        assert!(!is_ample(&connection));
    }
}
