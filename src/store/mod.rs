//! A store: one database with its writer, readers and counts, shared by every handle of this process on the same
//! file. What is shared holds no JS values. A handle is what one caller has; it is in `handle`.

mod handle;
mod lease;
#[cfg(test)]
mod property;
mod registry;
mod series_counts;
#[cfg(test)]
pub mod tests;
mod watch;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

pub use self::handle::{
    BackupStep, EnqueueOptions, Format, Handle, NameAnswer, QueueStats, Selection, Side, Stats,
    Take,
};
pub use self::registry::{open, open_alone};
use self::series_counts::SeriesCounts;
pub use self::watch::ForeignChange;
use crate::counts::Counts;
use crate::engine::Engine;
pub use crate::engine::sqlite::Alone;
use crate::engine::sqlite::{Sqlite, configure_library};
use crate::error::Result;
use crate::options::Options;
use crate::reader::Readers;
use crate::tail_cache::TailCache;
use crate::writer::{Writer, lock};

/// One open database of this process.
pub struct Store {
    pub engine: Arc<dyn Engine>,
    pub options: Options,
    pub writer: Arc<Writer>,
    pub readers: Arc<Readers>,
    pub counts: Arc<Counts>,
    pub tails: Arc<TailCache>,
    series: SeriesCounts,
    /// The callers' own statements have given the writing session what reading depends on: temporary objects, attached
    /// databases, pragmas.
    reads_at_writer: AtomicBool,
    /// Who keeps the writing session across calls, to recognise a thread that would wait for itself.
    lease_owner: Mutex<Option<LeaseOwner>>,
    /// Handles that are not closed.
    handles: Mutex<usize>,
}

/// The handle that holds a lease and the thread that began it.
#[derive(Debug, Clone, PartialEq)]
struct LeaseOwner {
    thread: std::thread::ThreadId,
    sql: String,
    began: Instant,
}

impl Store {
    fn open_file(path: &Path, options: &Options) -> Result<Arc<Self>> {
        configure_library();
        Ok(Self::on(
            Arc::new(Sqlite::open_file(path, options)?),
            options,
        ))
    }

    fn open_memory(options: &Options) -> Result<Arc<Self>> {
        configure_library();
        Ok(Self::on(Arc::new(Sqlite::open_memory(options)?), options))
    }

    /// A database of one handle's own: no tables are made in it, and it is used in whatever journal mode it is.
    fn open_alone(database: Alone<'_>, options: &Options) -> Result<Arc<Self>> {
        configure_library();
        let engine = Sqlite::open_alone(database, options);
        let store = Self::on(Arc::new(engine), options);
        store.writer.file_lock.be_reluctant();
        Ok(store)
    }

    /// A store on any engine.
    pub fn on(engine: Arc<dyn Engine>, options: &Options) -> Arc<Self> {
        let counts = Arc::new(Counts::new(engine.clone(), &options.timeframes));
        // The other half is for ready answers, which belong to each handle.
        let tails = Arc::new(TailCache::new(options.tail_cache_bytes / 2));
        Arc::new(Self {
            writer: Writer::new(engine.clone(), counts.clone(), tails.clone(), options),
            readers: Readers::new(engine.clone(), options.max_readers, options.reader_idle_ms),
            counts,
            tails,
            series: SeriesCounts::new(engine.clone()),
            reads_at_writer: AtomicBool::new(false),
            engine,
            options: options.clone(),
            lease_owner: Mutex::default(),
            handles: Mutex::new(0),
        })
    }

    /// One handle less; the last one ends the store: the queue is drained until the deadline, readers and then the
    /// writer are closed.
    fn release(&self, deadline: Instant) {
        let last = {
            let mut handles = lock(&self.handles);
            *handles = handles.saturating_sub(1);
            *handles == 0
        };
        if last {
            self.writer.shut_down(deadline);
            // The last connection to close copies the WAL into the file, which one that only reads cannot do.
            self.readers.shut_down();
            self.counts.close();
            self.tails.clear();
            self.series.close();
            self.writer.token.close();
            self.writer.file_lock.close();
        }
    }
}
