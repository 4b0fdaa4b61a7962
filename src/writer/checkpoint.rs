//! Copies the write-ahead log into the database, on a thread and a connection of its own, so that no commit waits for it:
//! SQLite does it inside the COMMIT that passes the limit, which holds live writes up for tens of milliseconds.
//!
//! The log is started over only when all of it is copied while nobody writes, which never happens beside a backfill that
//! does not pause. So it is copied twice while others write on, which is nearly all the work, and then the little that
//! has come since, with the write lock held. A log that readers still need stays as it is and is tried again when
//! it has grown by a quarter of the limit. One process copies at a time: the others see that in the line.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::file_lock::FileLock;
use super::lock;
use super::token::{Asker, Token};
use crate::engine::{Checkpoint, Engine};
use crate::error::StoreError;
use crate::turn::Urgency;

/// The log is copied when it passes this size: 5,000 pages of SQLite's default size.
pub const LIMIT_BYTES: u64 = 5_000 * 4_096;
/// How long the token and the lock are waited for; after that the rest is left for the next time.
const PATIENCE: Duration = Duration::from_millis(200);

/// What copies the log of one store.
pub struct Checkpointer {
    log: Arc<Log>,
    thread: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

struct Log {
    /// Its size after this process's last commit.
    bytes: AtomicU64,
    /// The size at which it is copied next.
    next_bytes: AtomicU64,
}

impl Log {
    fn is_due(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.next_bytes.load(Ordering::Relaxed)
    }
}

impl Checkpointer {
    pub fn new() -> Self {
        Self {
            log: Arc::new(Log {
                bytes: AtomicU64::new(0),
                next_bytes: AtomicU64::new(LIMIT_BYTES),
            }),
            thread: Mutex::default(),
        }
    }

    /// A commit has left the log at this size.
    pub fn committed(
        &self,
        log_bytes: u64,
        engine: &Arc<dyn Engine>,
        token: &Arc<Token>,
        file_lock: &Arc<FileLock>,
    ) {
        self.log.bytes.store(log_bytes, Ordering::Relaxed);
        // It has started over.
        if log_bytes < LIMIT_BYTES {
            self.log.next_bytes.store(LIMIT_BYTES, Ordering::Relaxed);
        }
        if !self.log.is_due() || file_lock.is_copying() {
            return;
        }
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            let (sender, receiver) = bounded(1);
            let work = Work {
                engine: engine.clone(),
                token: token.clone(),
                file_lock: file_lock.clone(),
                log: self.log.clone(),
            };
            let started = thread::Builder::new()
                .name("candlestore-checkpoint".into())
                .spawn(move || work.run(&receiver));
            // Without a thread the log grows until there is one, and nothing is lost.
            *thread = started.ok().map(|handle| (sender, handle));
        }
        if let Some((sender, _)) = &*thread {
            // One that waits already will see this commit, too.
            let _ = sender.try_send(());
        }
    }

    /// Ends the thread; what has begun is finished.
    pub fn shut_down(&self) {
        let thread = lock(&self.thread).take();
        if let Some((sender, handle)) = thread {
            drop(sender);
            // A panic there has harmed nobody: the log is as good as it was.
            let _ = handle.join();
        }
    }
}

struct Work {
    engine: Arc<dyn Engine>,
    token: Arc<Token>,
    file_lock: Arc<FileLock>,
    log: Arc<Log>,
}

impl Work {
    fn run(&self, asked: &Receiver<()>) {
        let mut session = None;
        while asked.recv().is_ok() {
            // Asked while it was being copied.
            if !self.log.is_due() {
                continue;
            }
            if session.is_none() {
                session = self.engine.open_checkpoint().and_then(Result::ok);
            }
            if let Some(session) = &mut session {
                self.file_lock.copying(|| self.copy(session.as_mut()));
            }
        }
    }

    fn copy(&self, session: &mut dyn Checkpoint) {
        // An error is that of a checkpoint of another process, or of a full disk: a later commit asks again.
        // What came while most of it was copied is little, and what comes while that is copied is less.
        let (Ok(_), Ok(mut log_bytes)) = (session.checkpoint(), session.checkpoint()) else {
            return;
        };
        let deadline = Instant::now() + PATIENCE;
        if let Ok(Some(mut held)) = self.token.take(Asker::Queue, Some(deadline)) {
            let writing = held.session();
            let mut give_up = |_| (Instant::now() >= deadline).then(StoreError::closed);
            let locked =
                self.file_lock
                    .take(&|| Urgency::Live, &mut || writing.try_begin(), &mut give_up);
            if locked.is_ok() {
                log_bytes = session.checkpoint().unwrap_or(log_bytes);
                held.session().rollback();
            }
        }
        // A log that starts over is short at the next commit.
        self.log
            .next_bytes
            .store(log_bytes + LIMIT_BYTES / 4, Ordering::Relaxed);
    }
}
