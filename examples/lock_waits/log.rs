//! Checkpoints as the store makes them (`src/writer/checkpoint.rs`): a thread copies the log while others write, then
//! the rest is copied with the turn held. Where there are no turns others write on, and the log starts over by chance.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use candlestore::engine::Checkpoint;
use candlestore::writer::LOG_LIMIT_BYTES;

type Session = Box<dyn Checkpoint>;

/// What copies the log of one process.
pub struct Log {
    /// Away while the thread copies.
    session: Option<Session>,
    to_copy: Sender<Session>,
    /// The session comes back with the size of the log, unless another process copies it.
    copied: Receiver<(Session, Option<u64>)>,
    /// The size at which it is copied next.
    next_bytes: u64,
    /// The largest size that was seen.
    pub most_bytes: u64,
}

impl Log {
    pub fn new(session: Session) -> Self {
        let (to_copy, asked) = channel::<Session>();
        let (done, copied) = channel();
        thread::spawn(move || {
            for mut session in asked {
                let first = session.checkpoint().ok();
                let _ = done.send((session, first));
            }
        });
        Self {
            session: Some(session),
            to_copy,
            copied,
            next_bytes: LOG_LIMIT_BYTES,
            most_bytes: 0,
        }
    }

    /// A commit has left the log at this size, and the turn is still held.
    pub fn committed(&mut self, log_bytes: u64) {
        self.most_bytes = self.most_bytes.max(log_bytes);
        if log_bytes < LOG_LIMIT_BYTES {
            self.next_bytes = LOG_LIMIT_BYTES;
        }
        if let Ok((mut session, first)) = self.copied.try_recv() {
            if let Some(first) = first {
                self.next_bytes = session.checkpoint().unwrap_or(first) + LOG_LIMIT_BYTES / 4;
            }
            self.session = Some(session);
        } else if log_bytes >= self.next_bytes
            && let Some(session) = self.session.take()
        {
            let _ = self.to_copy.send(session);
        }
    }
}
