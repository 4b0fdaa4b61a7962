//! Looks at a path before SQLite opens it, so that what is wrong is said in words: missing folder, directory,
//! network file system. It never opens the file itself: closing such a descriptor would drop SQLite's locks.

use std::fs;
use std::path::Path;

use crate::error::{Code, Result, StoreError};
use crate::options::Options;

/// File systems on which locks of different machines, or of host and guest, do not hold (statfs(2) f_type).
#[cfg(target_os = "linux")]
const NETWORK: [(i64, &str); 9] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9p, as WSL and virtual machines share folders"),
    (
        0x6573_7546,
        "FUSE, as sshfs and Docker Desktop share folders",
    ),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x7461_636f, "OCFS2"),
];

/// Refuses a path that cannot hold a database or on which locks cannot be trusted.
pub fn check_path(path: &Path, options: &Options) -> Result<()> {
    let shown = path.display();
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            return Err(StoreError::new(
                Code::NotADatabase,
                format!("{shown} is a directory; give the path of a database file"),
            ));
        }
        Ok(found) if !found.is_file() => {
            return Err(StoreError::new(
                Code::NotADatabase,
                format!("{shown} is no regular file; give the path of a database file"),
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if !folder.is_dir() {
                return Err(StoreError::new(
                    Code::NotFound,
                    format!(
                        "cannot open {shown}: the folder {} does not exist; create it first",
                        folder.display()
                    ),
                ));
            }
            if options.read_only || options.file_must_exist {
                return Err(StoreError::new(
                    Code::NotFound,
                    format!(
                        "cannot open {shown}: there is no such file, and readOnly and fileMustExist create none"
                    ),
                ));
            }
        }
        Err(error) => {
            let code = match error.kind() {
                std::io::ErrorKind::PermissionDenied => Code::Permission,
                std::io::ErrorKind::InvalidFilename | std::io::ErrorKind::NotADirectory => {
                    Code::NotFound
                }
                _ => Code::IoError,
            };
            return Err(StoreError::new(
                code,
                format!("cannot open {shown}: {error}"),
            ));
        }
    }
    check_file_system(folder, options)
}

#[cfg(target_os = "linux")]
fn check_file_system(folder: &Path, options: &Options) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;

    if options.allow_network_file_system {
        return Ok(());
    }
    let Ok(path) = std::ffi::CString::new(folder.as_os_str().as_bytes()) else {
        return Err(StoreError::new(
            Code::InvalidArgument,
            "a path must not contain a NUL character",
        ));
    };
    let mut found = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path is a NUL-terminated string and `found` is large enough for what statfs writes.
    let status = unsafe { libc::statfs(path.as_ptr(), found.as_mut_ptr()) };
    if status != 0 {
        return Ok(());
    }
    #[allow(
        clippy::unnecessary_cast,
        reason = "the type of f_type differs between targets"
    )]
    // SAFETY: statfs returned 0, so it has filled `found`.
    let kind = unsafe { found.assume_init() }.f_type as i64;
    match NETWORK.iter().find(|(number, _)| *number == kind) {
        Some((_, name)) => Err(StoreError::new(
            Code::NetworkFileSystem,
            format!(
                "{} is on a network or shared file system ({name}), where SQLite's locks do not hold and data can be lost; \
                 use a local disk, or allowNetworkFileSystem: true if only one machine ever opens the file",
                folder.display()
            ),
        )),
        None => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn check_file_system(_folder: &Path, _options: &Options) -> Result<()> {
    Ok(())
}
