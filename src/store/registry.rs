//! The stores of this process, so that handles on one file share one writer. A file is known by device and inode,
//! whatever path leads to it; a database in memory belongs to the handle that opened it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use once_cell::sync::Lazy;

use super::{Alone, Handle, Store};
use crate::error::{Code, Result, StoreError};
use crate::options::Options;
use crate::reply::Sink;
use crate::writer::lock;

/// Stores by file, each with the path it was opened by.
type Stores = HashMap<Key, (PathBuf, Weak<Store>)>;

static STORES: Lazy<Mutex<Stores>> = Lazy::new(Mutex::default);

/// A session of this process has attached a database, or copied into one.
pub static HAS_OTHER_FILES: AtomicBool = AtomicBool::new(false);

/// Databases that one caller has to itself, by the path they were opened by. Locked after `STORES`.
static ALONE: Mutex<Vec<(PathBuf, Weak<Store>)>> = Mutex::new(Vec::new());

#[derive(PartialEq, Eq, Hash)]
enum Key {
    #[cfg(unix)]
    Inode(u64, u64),
    #[cfg_attr(
        unix,
        allow(
            dead_code,
            reason = "only platforms without inodes know files by their path"
        )
    )]
    Path(PathBuf),
}

impl Key {
    #[cfg(unix)]
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;

        std::fs::metadata(path)
            .ok()
            .map(|found| Key::Inode(found.dev(), found.ino()))
    }

    #[cfg(not(unix))]
    fn of(path: &Path) -> Option<Self> {
        path.canonicalize().ok().map(Key::Path)
    }
}

/// Opens a handle on a location: `:memory:` or the path of a file.
pub fn open(location: &str, options: &Options, sink: Arc<dyn Sink>) -> Result<Handle> {
    if location == ":memory:" {
        let store = Store::open_memory(options)?;
        *lock(&store.handles) += 1;
        return Ok(Handle::new(store, sink));
    }
    let path = std::path::absolute(location).map_err(|cause| {
        StoreError::new(
            Code::InvalidArgument,
            format!("{location:?} is no path: {cause}"),
        )
    })?;
    // Held while the file is opened: two threads that open it at once get the same store.
    let mut stores = lock(&STORES);
    stores.retain(|_, (_, store)| store.strong_count() > 0);
    let known = Key::of(&path).and_then(|key| {
        let (opened, store) = stores.get(&key)?;
        // A store that nobody uses just now keeps no file open, so a file made anew may have got its inode.
        (Key::of(opened) == Some(key))
            .then(|| store.upgrade())
            .flatten()
    });
    if known.is_none() && !is_open_alone(&path) {
        foreign_library(&path)?;
    }
    if let Some(store) = known.filter(|store| attach(store)) {
        if let Some(name) = store.options.conflict(options) {
            store.release(std::time::Instant::now());
            return Err(StoreError::new(
                Code::OptionsConflict,
                format!(
                    "{location} is open in this process with another value of {name}; stores on one file share one writer and need equal options"
                ),
            ));
        }
        return Ok(Handle::new(store, sink));
    }
    let store = Store::open_file(&path, options)?;
    *lock(&store.handles) += 1;
    if let Some(key) = Key::of(&path) {
        stores.insert(key, (path, Arc::downgrade(&store)));
    }
    Ok(Handle::new(store, sink))
}

/// Opens a database that one caller has to itself: it is shared with no other handle, also of this process.
pub fn open_alone(database: Alone<'_>, options: &Options, sink: Arc<dyn Sink>) -> Result<Handle> {
    // The caller may change its working folder.
    let path = match &database {
        Alone::File(path) => Some(std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())),
        _ => None,
    };
    let database = match &path {
        Some(path) => Alone::File(path),
        None => database,
    };
    let stores = lock(&STORES);
    let mut alone = lock(&ALONE);
    alone.retain(|(_, store)| store.strong_count() > 0);
    if let Some(path) = &path {
        let key = Key::of(path);
        let is_ours = |(opened, store): &(PathBuf, Weak<Store>)| {
            store.strong_count() > 0 && Key::of(opened) == key
        };
        if !stores.values().any(is_ours) && !alone.iter().any(is_ours) {
            foreign_library(path)?;
        }
    }
    drop(stores);
    let store = Store::open_alone(database, options)?;
    *lock(&store.handles) += 1;
    let handle = Handle::alone(store.clone(), sink)?;
    alone.extend(
        path.as_ref()
            .map(|path| (path.clone(), Arc::downgrade(&store))),
    );
    Ok(handle)
}

/// One handle more, unless the last one has gone and the store is ending.
fn attach(store: &Store) -> bool {
    let mut handles = lock(&store.handles);
    if *handles == 0 {
        return false;
    }
    *handles += 1;
    true
}

/// Whether a `Database` of this process has the file open: that is us, too.
fn is_open_alone(path: &Path) -> bool {
    let key = Key::of(path);
    let alone = lock(&ALONE);
    alone
        .iter()
        .any(|(opened, store)| store.strong_count() > 0 && Key::of(opened) == key)
}

/// Refuses a file that this process has open without us. POSIX locks belong to the process: when the other opener,
/// such as a second SQLite library, closes its descriptor, ours are gone, and with them the safety of the file.
#[cfg(target_os = "linux")]
fn foreign_library(path: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;

    // What our own sessions have attached, or copy into, is open by us, too.
    if HAS_OTHER_FILES.load(Ordering::Relaxed) {
        return Ok(());
    }

    let Ok(file) = std::fs::metadata(path) else {
        return Ok(());
    };
    let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") else {
        return Ok(());
    };
    for descriptor in descriptors.flatten() {
        // Follows the link, which asks the open file and opens nothing.
        let Ok(open) = std::fs::metadata(descriptor.path()) else {
            continue;
        };
        if (open.dev(), open.ino()) == (file.dev(), file.ino()) {
            return Err(StoreError::new(
                Code::ForeignLibrary,
                format!(
                    "{} is open in this process by something else than candlestore (descriptor {}); another SQLite library, \
                     such as better-sqlite3, would drop the locks that protect the file: close it there first, or use store.db",
                    path.display(),
                    descriptor.file_name().display()
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn foreign_library(_path: &Path) -> Result<()> {
    Ok(())
}
