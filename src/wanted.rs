//! A read in the background, from being asked for to its end: whoever asked can call it off at any moment, and it is
//! interrupted when it gets too old, because an old read keeps the write-ahead log from starting over. An interrupt
//! never reaches what its session runs next: the end of a read and an interrupt exclude each other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::engine::{Interrupter, ReadSession};
use crate::error::{Code, Result, StoreError};
use crate::writer::{Asker, Held, Token, lock};

/// One read in the background.
#[derive(Default)]
pub struct Wanted {
    /// The same as `State::called_off`, to be looked at without the lock.
    over: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    called_off: Option<StoreError>,
    /// What interrupts the read while it runs or waits.
    running: Option<Box<dyn Interrupter>>,
}

/// How long a read may take.
#[derive(Debug, Clone, Copy)]
pub struct Age {
    pub until: Instant,
    pub limit_ms: f64,
}

impl Age {
    fn is_over(self) -> bool {
        Instant::now() >= self.until
    }

    fn error(self) -> StoreError {
        StoreError::new(
            Code::Timeout,
            format!(
                "the read was interrupted because it lasted longer than readTimeoutMs ({} ms): a read that goes on keeps the \
                 write-ahead log from starting over",
                self.limit_ms
            ),
        )
    }
}

/// Wakes who waits for the writing session.
struct Waiting(Arc<Token>);

impl Interrupter for Waiting {
    fn interrupt(&self) {
        self.0.look_again();
    }
}

/// A read that can be interrupted, until this is dropped.
struct Running<'a>(&'a Wanted);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).running = None;
    }
}

/// A session that asks whether to stop, until this is dropped.
struct Watched<'a>(&'a mut dyn ReadSession);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.stop_when(None);
    }
}

impl Wanted {
    /// Interrupts the read if it runs, and keeps it from being begun; the first reason is the one that is told.
    pub fn call_off(&self, why: StoreError) {
        let mut state = lock(&self.state);
        if state.called_off.is_some() {
            return;
        }
        state.called_off = Some(why);
        self.over.store(true, Ordering::SeqCst);
        // The lock is held: the read cannot end, and its session run something else, before it is interrupted.
        if let Some(running) = &state.running {
            running.interrupt();
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// From here on an interrupt reaches the read; an error when it is not wanted any more.
    fn begin(&self, interrupter: Box<dyn Interrupter>) -> Result<Running<'_>> {
        let mut state = lock(&self.state);
        if let Some(why) = &state.called_off {
            return Err(why.clone());
        }
        state.running = Some(interrupter);
        Ok(Running(self))
    }

    fn reason(&self, age: Age) -> Option<StoreError> {
        let called_off = lock(&self.state).called_off.clone();
        called_off.or_else(|| age.is_over().then(|| age.error()))
    }

    /// Runs the read, if it is still wanted, until it is done, called off or too old.
    pub fn run<T>(
        self: &Arc<Self>,
        session: &mut dyn ReadSession,
        age: Age,
        read: impl FnOnce(&mut dyn ReadSession) -> Result<T>,
    ) -> Result<T> {
        let running = self.begin(session.interrupter())?;
        let watched = Watched(session);
        let this = self.clone();
        // An interrupt between two statements is lost on SQLite; this is not.
        watched
            .0
            .stop_when(Some(Box::new(move || this.is_over() || age.is_over())));
        let result = read(watched.0);
        drop(watched);
        drop(running);
        match result {
            Err(error) if error.code == Code::Aborted => Err(self.reason(age).unwrap_or(error)),
            result => result,
        }
    }

    /// Waits for the writing session where there is no other.
    pub fn wait_for(&self, token: &Arc<Token>, age: Age) -> Result<Held> {
        let _waiting = self.begin(Box::new(Waiting(token.clone())))?;
        let taken = token.take_while(Asker::Caller, Some(age.until), &|| !self.is_over())?;
        taken.ok_or_else(|| self.reason(age).unwrap_or_else(|| age.error()))
    }
}

/// The reads in the background of one handle that are not over.
#[derive(Default)]
pub struct Outstanding {
    state: Mutex<Reads>,
    over: Condvar,
}

#[derive(Default)]
struct Reads {
    wanted: Vec<Arc<Wanted>>,
    closed: bool,
}

/// A place among them, until it is dropped.
pub struct Place {
    among: Arc<Outstanding>,
    wanted: Arc<Wanted>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.among.state);
        state
            .wanted
            .retain(|wanted| !Arc::ptr_eq(wanted, &self.wanted));
        self.among.over.notify_all();
    }
}

impl Outstanding {
    pub fn add(self: &Arc<Self>, wanted: Arc<Wanted>) -> Place {
        let mut state = lock(&self.state);
        if state.closed {
            wanted.call_off(StoreError::closed());
        }
        state.wanted.push(wanted.clone());
        Place {
            among: self.clone(),
            wanted,
        }
    }

    /// Waits for all of them until the deadline, and calls off those that are left and any that still come.
    pub fn close(&self, deadline: Instant) {
        let mut state = lock(&self.state);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.wanted.is_empty() || left.is_zero() {
                break;
            }
            state = self
                .over
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.closed = true;
        for wanted in &state.wanted {
            wanted.call_off(StoreError::closed());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::engine::Engine;
    use crate::engine::fake::{Fake, PATIENCE};
    use crate::testing::{FRAME, statement};
    use crate::value::StatementResult;

    type Tested = std::result::Result<(), StoreError>;

    fn session() -> Result<Box<dyn ReadSession>> {
        Fake::new(&[FRAME])
            .open_reader()
            .unwrap_or_else(|| Err(StoreError::closed()))
    }

    fn called_off() -> StoreError {
        StoreError::new(Code::Aborted, "not wanted any more")
    }

    fn age(limit: Duration) -> Age {
        Age {
            until: Instant::now() + limit,
            limit_ms: 1_000.0 * limit.as_secs_f64(),
        }
    }

    fn endless(session: &mut dyn ReadSession) -> Result<StatementResult> {
        session.query_only(&statement("endless"), None)
    }

    #[test]
    fn a_read_that_runs_is_interrupted_and_says_why() -> Tested {
        let mut session = session()?;
        let wanted = Arc::<Wanted>::default();
        let (began, begun) = mpsc::channel();
        let other = wanted.clone();
        let caller = thread::spawn(move || {
            let begun = begun.recv_timeout(PATIENCE);
            other.call_off(called_off());
            begun
        });
        let result = wanted.run(session.as_mut(), age(PATIENCE), |session| {
            let _ = began.send(());
            endless(session)
        });
        assert!(result.is_err_and(|error| error.message == "not wanted any more"));
        assert!(caller.join().is_ok_and(|begun| begun.is_ok()));
        Ok(())
    }

    #[test]
    fn a_read_that_was_called_off_does_not_begin() -> Tested {
        let mut session = session()?;
        let wanted = Arc::<Wanted>::default();
        wanted.call_off(called_off());
        let mut ran = false;
        let result = wanted.run(session.as_mut(), age(PATIENCE), |_| {
            ran = true;
            Ok(())
        });
        assert!(result.is_err_and(|error| error.code == Code::Aborted) && !ran);
        Ok(())
    }

    #[test]
    fn a_read_that_gets_too_old_is_timed_out_and_the_next_one_on_its_session_is_not() -> Tested {
        let mut session = session()?;
        let old = Arc::<Wanted>::default();
        let result = old.run(session.as_mut(), age(Duration::from_millis(1)), endless);
        assert!(
            result.is_err_and(|error| error.code == Code::Timeout
                && error.message.contains("readTimeoutMs (1 ms)"))
        );
        // Called off after its end: nobody must hear of it.
        old.call_off(called_off());
        let next = Arc::<Wanted>::default();
        let notes = |session: &mut dyn ReadSession| session.query_only(&statement("notes"), None);
        assert!(
            next.run(session.as_mut(), age(PATIENCE), notes)?
                .rows
                .is_empty()
        );
        Ok(())
    }

    #[test]
    fn an_interrupt_never_reaches_the_next_read_of_a_session() -> Tested {
        let mut session = session()?;
        for _ in 0..2_000 {
            let first = Arc::<Wanted>::default();
            let other = first.clone();
            let caller = thread::spawn(move || other.call_off(called_off()));
            let _ = first.run(session.as_mut(), age(PATIENCE), |_| Ok(()));
            let second = Arc::<Wanted>::default();
            let short =
                |session: &mut dyn ReadSession| session.query_only(&statement("notes"), None);
            assert!(second.run(session.as_mut(), age(PATIENCE), short).is_ok());
            assert!(caller.join().is_ok());
        }
        Ok(())
    }

    #[test]
    fn reads_that_are_left_at_the_deadline_are_called_off_and_so_are_later_ones() {
        let outstanding = Arc::<Outstanding>::default();
        let left = Arc::<Wanted>::default();
        let place = outstanding.add(left.clone());
        drop(outstanding.add(Arc::default()));
        outstanding.close(Instant::now());
        assert!(left.is_over());
        drop(place);
        let late = Arc::<Wanted>::default();
        let _place = outstanding.add(late.clone());
        assert!(late.is_over());
    }
}
