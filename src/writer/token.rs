//! The writing session as a token: whoever holds it writes. A synchronous call takes it on its own thread when it
//! is free and otherwise goes ahead of the queue's thread; a lease keeps it for as long as a transaction of the
//! caller's is open. The session is opened when first taken.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::file_lock::FileLock;
use crate::engine::{Engine, WriteSession};
use crate::error::{Failure, Result};

/// Pause between two tries to open a file that others have locked.
const PACE: Duration = Duration::from_millis(1);

/// The one writing session of a store.
pub struct Token {
    engine: Arc<dyn Engine>,
    /// The turn at it goes with the session.
    file_lock: Arc<FileLock>,
    state: Mutex<State>,
    freed: Condvar,
}

struct State {
    slot: Slot,
    /// Synchronous callers that wait: the queue's thread lets them go first.
    callers: usize,
}

enum Slot {
    Unopened,
    Idle(Box<dyn WriteSession>),
    Taken,
}

/// The session while it is held; it goes back when dropped.
pub struct Held {
    token: Arc<Token>,
    session: Option<Box<dyn WriteSession>>,
}

/// A synchronous caller that waits; it stops waiting when dropped.
struct Caller<'a>(&'a Token);

impl<'a> Caller<'a> {
    fn join(token: &'a Token) -> Self {
        token.lock().callers += 1;
        Self(token)
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.callers -= 1;
        // The queue's thread may have waited for the last caller only.
        if state.callers == 0 {
            self.0.freed.notify_all();
        }
    }
}

/// Who asks for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A synchronous call or a lease.
    Caller,
    /// The queue's thread.
    Queue,
}

impl Token {
    pub fn new(engine: Arc<dyn Engine>, file_lock: Arc<FileLock>) -> Arc<Self> {
        Arc::new(Self {
            engine,
            file_lock,
            state: Mutex::new(State {
                slot: Slot::Unopened,
                callers: 0,
            }),
            freed: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the session if nobody has it and, for the queue, no synchronous caller waits. A file that others have
    /// locked while it is being opened is not free, either.
    pub fn try_take(self: &Arc<Self>, asker: Asker) -> Result<Option<Held>> {
        let state = self.lock();
        if asker == Asker::Queue && state.callers > 0 {
            return Ok(None);
        }
        match self.take_from(state) {
            Err(error) if error.failure == Failure::Transient => Ok(None),
            taken => taken,
        }
    }

    /// Waits for the session until the deadline; `None` when it came first.
    pub fn take(self: &Arc<Self>, asker: Asker, deadline: Option<Instant>) -> Result<Option<Held>> {
        self.take_while(asker, deadline, &|| true)
    }

    /// The same for as long as it is wanted; `look_again` must follow when that changes.
    pub fn take_while(
        self: &Arc<Self>,
        asker: Asker,
        deadline: Option<Instant>,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Option<Held>> {
        let _waiting = (asker == Asker::Caller).then(|| Caller::join(self));
        let mut state = self.lock();
        loop {
            let free = !matches!(state.slot, Slot::Taken)
                && (asker == Asker::Caller || state.callers == 0);
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let over = left.is_some_and(|left| left.is_zero());
            if !wanted() {
                return Ok(None);
            }
            if free {
                match self.take_from(state) {
                    Err(error) if error.failure == Failure::Transient && !over => {
                        thread::sleep(PACE);
                        state = self.lock();
                        continue;
                    }
                    Err(error) if error.failure == Failure::Transient => return Ok(None),
                    taken => return taken,
                }
            }
            if over {
                return Ok(None);
            }
            state = match left {
                None => self
                    .freed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.freed
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }

    fn take_from(self: &Arc<Self>, mut state: MutexGuard<'_, State>) -> Result<Option<Held>> {
        let session = match std::mem::replace(&mut state.slot, Slot::Taken) {
            Slot::Taken => return Ok(None),
            Slot::Idle(session) => Some(session),
            Slot::Unopened => None,
        };
        // Opening may wait for other processes, so it is done without the lock.
        drop(state);
        // What is held goes back also when opening fails or panics.
        let mut held = Held {
            token: self.clone(),
            session,
        };
        if held.session.is_none() {
            held.session = Some(self.engine.open_writer()?);
        }
        Ok(Some(held))
    }

    fn free(&self, slot: Slot) {
        self.lock().slot = slot;
        self.freed.notify_all();
    }

    /// Lets those who wait see whether they still want to.
    pub fn look_again(&self) {
        drop(self.lock());
        self.freed.notify_all();
    }

    /// Whether a synchronous caller waits for the session.
    pub fn is_wanted(&self) -> bool {
        self.lock().callers > 0
    }

    /// Closes the session if nobody has it; the next taker opens it anew.
    pub fn close(&self) {
        let idle = {
            let mut state = self.lock();
            match &state.slot {
                Slot::Idle(_) => std::mem::replace(&mut state.slot, Slot::Unopened),
                _ => return,
            }
        };
        drop(idle);
    }
}

impl Held {
    pub fn session(&mut self) -> &mut dyn WriteSession {
        match &mut self.session {
            Some(session) => session.as_mut(),
            None => unreachable!("take_from() hands out no Held without a session"),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let slot = match self.session.take() {
            Some(mut session) => {
                if session.in_transaction() {
                    session.rollback();
                }
                // One that cannot even roll back is closed: that ends its transaction.
                if session.in_transaction() {
                    Slot::Unopened
                } else {
                    Slot::Idle(session)
                }
            }
            None => Slot::Unopened,
        };
        self.token.file_lock.leave();
        self.token.free(slot);
    }
}
