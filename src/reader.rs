//! Reading connections and the threads that read in the background. A connection is opened when needed, the one
//! used last is used first, and those that have been idle for long are closed, by the next that comes back or by a
//! thread that ends because it was idle itself. A synchronous read never waits for another: it opens a connection of
//! its own if all are busy.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::engine::{Engine, ReadSession};
use crate::error::{Code, Result, StoreError};
use crate::writer::lock;

/// Something to be read in the background. It gets the connection, or the error of opening one.
pub type Job = Box<dyn FnOnce(Result<&mut dyn ReadSession>) + Send>;

/// The reading side of one store.
pub struct Readers {
    engine: Arc<dyn Engine>,
    most_threads: usize,
    idle_time: Duration,
    idle: Mutex<Idle>,
    waiting: Receiver<Job>,
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Idle {
    /// The ones at the bottom were used longest ago.
    sessions: Vec<(Box<dyn ReadSession>, Instant)>,
    closed: bool,
}

struct Pool {
    /// None when closed.
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    /// Threads that have not decided to end.
    alive: usize,
    /// Jobs that are not finished.
    unfinished: usize,
}

impl Readers {
    pub fn new(engine: Arc<dyn Engine>, most_threads: usize, idle_ms: f64) -> Arc<Self> {
        let (sender, waiting) = unbounded();
        Arc::new(Self {
            engine,
            most_threads,
            idle_time: Duration::from_secs_f64(idle_ms / 1_000.0),
            idle: Mutex::default(),
            waiting,
            pool: Mutex::new(Pool {
                jobs: Some(sender),
                threads: Vec::new(),
                alive: 0,
                unfinished: 0,
            }),
        })
    }

    /// Reads on this thread; `None` where the database has no reading connections.
    pub fn read<T>(
        &self,
        read: impl FnOnce(&mut dyn ReadSession) -> Result<T>,
    ) -> Option<Result<T>> {
        let mut session = match self.take()? {
            Ok(session) => session,
            Err(error) => return Some(Err(error)),
        };
        let result = read(session.as_mut());
        self.put_back(session);
        Some(result)
    }

    /// A connection for a read that lasts, to be put back; `None` where the database has no reading connections.
    pub fn take(&self) -> Option<Result<Box<dyn ReadSession>>> {
        match self.take_idle() {
            Some(session) => Some(Ok(session)),
            None => self.engine.open_reader(),
        }
    }

    fn take_idle(&self) -> Option<Box<dyn ReadSession>> {
        lock(&self.idle).sessions.pop().map(|(session, _)| session)
    }

    pub fn put_back(&self, session: Box<dyn ReadSession>) {
        // One whose transaction could not be ended would show an old state for ever: closing ends it.
        if session.in_transaction() {
            return;
        }
        let now = Instant::now();
        let mut idle = lock(&self.idle);
        // The last one is kept however long it was idle: synchronous reads come back to it.
        let mut closed = self.outdated(&mut idle, now);
        if idle.closed {
            closed.push((session, now));
        } else {
            idle.sessions.push((session, now));
        }
        drop(idle);
        drop(closed);
    }

    /// Takes out what has been idle for long, to be closed without the lock.
    fn outdated(&self, idle: &mut Idle, now: Instant) -> Vec<(Box<dyn ReadSession>, Instant)> {
        let count = idle
            .sessions
            .iter()
            .take_while(|(_, used)| now.duration_since(*used) >= self.idle_time)
            .count();
        idle.sessions.drain(..count).collect()
    }

    fn close_outdated(&self) {
        let closed = self.outdated(&mut lock(&self.idle), Instant::now());
        drop(closed);
    }

    /// Reads on a thread of the pool.
    pub fn submit(self: &Arc<Self>, job: Job) -> Result<()> {
        let mut pool = lock(&self.pool);
        let Some(jobs) = pool.jobs.clone() else {
            return Err(StoreError::closed());
        };
        if pool.unfinished >= pool.alive && pool.alive < self.most_threads {
            let readers = self.clone();
            let started = thread::Builder::new()
                .name("candlestore-reader".into())
                .spawn(move || readers.run());
            match started {
                Ok(thread) => {
                    pool.alive += 1;
                    pool.threads.retain(|thread| !thread.is_finished());
                    pool.threads.push(thread);
                }
                Err(cause) if pool.alive == 0 => {
                    return Err(StoreError::new(
                        Code::IoError,
                        format!("cannot start a reader thread: {cause}"),
                    ));
                }
                Err(_) => {}
            }
        }
        pool.unfinished += 1;
        // The lock is held until the job is sent, so that no thread ends without seeing it.
        jobs.send(job).map_err(|_| StoreError::closed())
    }

    fn run(&self) {
        while let Some(job) = self.next_job() {
            // A job that panics loses its connection, which closes it, and the thread goes on.
            let _ = catch_unwind(AssertUnwindSafe(|| self.run_job(job)));
            lock(&self.pool).unfinished -= 1;
        }
        self.close_outdated();
    }

    /// The next job; `None` when the thread is to end, because it was idle for long or the pool is closed.
    fn next_job(&self) -> Option<Job> {
        if let Ok(job) = self.waiting.recv_timeout(self.idle_time) {
            return Some(job);
        }
        let mut pool = lock(&self.pool);
        let late = self.waiting.try_recv().ok();
        pool.alive -= usize::from(late.is_none());
        late
    }

    fn run_job(&self, job: Job) {
        let session = match self.take_idle() {
            Some(session) => Ok(session),
            None => self.engine.open_reader().unwrap_or_else(|| {
                Err(StoreError::new(
                    Code::SqliteOnly,
                    "this database is read by its writing connection only",
                ))
            }),
        };
        match session {
            Ok(mut session) => {
                job(Ok(session.as_mut()));
                self.put_back(session);
            }
            Err(error) => job(Err(error)),
        }
    }

    /// Takes no new work, waits for the threads and closes every connection.
    pub fn shut_down(&self) {
        let threads = {
            let mut pool = lock(&self.pool);
            pool.jobs = None;
            std::mem::take(&mut pool.threads)
        };
        for thread in threads {
            let _ = thread.join();
        }
        let sessions = {
            let mut idle = lock(&self.idle);
            idle.closed = true;
            std::mem::take(&mut idle.sessions)
        };
        drop(sessions);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::engine::fake::{Fake, Gate, PATIENCE, Point};
    use crate::testing::{FRAME, wait_for};

    fn readers(most_threads: usize, idle_ms: f64) -> Arc<Readers> {
        Readers::new(Fake::new(&[FRAME]), most_threads, idle_ms)
    }

    fn alive(readers: &Readers) -> usize {
        lock(&readers.pool).alive
    }

    #[test]
    fn every_job_is_run_though_threads_come_and_go() {
        let readers = readers(1, 0.02);
        let (done, finished) = unbounded();
        for number in 0..3_000_u64 {
            // Jobs come before, after and just when the thread has been idle for long enough to end.
            let due = Instant::now() + Duration::from_micros(number % 100);
            while Instant::now() < due {
                std::hint::spin_loop();
            }
            let done = done.clone();
            let sent = readers.submit(Box::new(move |_| {
                let _ = done.send(number);
            }));
            assert!(sent.is_ok());
            assert_eq!(finished.recv_timeout(PATIENCE), Ok(number));
        }
        readers.shut_down();
    }

    #[test]
    fn jobs_run_side_by_side_on_no_more_threads_than_allowed() {
        let readers = readers(2, 60_000.0);
        let gates: Vec<Arc<Gate>> = (0..3).map(|_| Arc::default()).collect();
        let started = Arc::new(AtomicUsize::new(0));
        for gate in &gates {
            let (gate, started) = (gate.clone(), started.clone());
            let sent = readers.submit(Box::new(move |_| {
                started.fetch_add(1, Ordering::SeqCst);
                gate.pass();
            }));
            assert!(sent.is_ok());
        }
        gates[0].wait();
        gates[1].wait();
        assert_eq!((alive(&readers), started.load(Ordering::SeqCst)), (2, 2));
        gates[0].open();
        gates[2].wait();
        gates[1].open();
        gates[2].open();
        readers.shut_down();
        assert_eq!(alive(&readers), 0);
    }

    #[test]
    fn a_thread_that_is_free_is_used_before_another_is_started() {
        let readers = readers(4, 60_000.0);
        for _ in 0..20 {
            assert!(readers.submit(Box::new(|_| {})).is_ok());
            wait_for("the job is done", || lock(&readers.pool).unfinished == 0);
        }
        assert_eq!(alive(&readers), 1);
        readers.shut_down();
    }

    #[test]
    fn a_job_that_panics_costs_its_connection_and_not_the_thread() {
        let readers = readers(1, 60_000.0);
        assert!(readers.submit(Box::new(|_| panic!("a job"))).is_ok());
        let (done, finished) = unbounded();
        let sent = readers.submit(Box::new(move |session| {
            let _ = done.send(session.is_ok());
        }));
        assert!(sent.is_ok());
        assert_eq!(finished.recv_timeout(PATIENCE), Ok(true));
        readers.shut_down();
    }

    #[test]
    fn what_was_accepted_is_read_before_the_end_and_nothing_after_it() {
        let readers = readers(1, 60_000.0);
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let done = done.clone();
            let sent = readers.submit(Box::new(move |_| {
                done.fetch_add(1, Ordering::SeqCst);
            }));
            assert!(sent.is_ok());
        }
        readers.shut_down();
        assert_eq!(done.load(Ordering::SeqCst), 100);
        let refused = readers.submit(Box::new(|_| {}));
        assert!(refused.is_err_and(|error| error.code == Code::Closed));
    }

    #[test]
    fn a_connection_that_comes_back_after_the_end_is_closed() {
        let readers = readers(1, 60_000.0);
        let read = readers.read(|_| {
            readers.shut_down();
            Ok(())
        });
        assert!(read.is_some_and(|read| read.is_ok()));
        assert!(lock(&readers.idle).sessions.is_empty());
    }

    #[test]
    fn connections_are_closed_when_the_threads_that_used_them_end() {
        let readers = readers(2, 1.0);
        for _ in 0..4 {
            assert!(readers.submit(Box::new(|_| {})).is_ok());
        }
        wait_for("all connections are closed", || {
            alive(&readers) == 0 && lock(&readers.idle).sessions.is_empty()
        });
        readers.shut_down();
    }

    #[test]
    fn a_process_that_reads_synchronously_keeps_one_connection() {
        let fake = Fake::new(&[FRAME]);
        let readers = Readers::new(fake.clone(), 4, 0.0);
        for _ in 0..10 {
            assert!(readers.read(|_| Ok(())).is_some_and(|read| read.is_ok()));
            assert_eq!(lock(&readers.idle).sessions.len(), 1);
        }
        assert_eq!((fake.calls(Point::OpenReader), alive(&readers)), (1, 0));
    }

    #[test]
    fn a_synchronous_read_waits_for_no_thread_of_the_pool() {
        let readers = readers(1, 60_000.0);
        let gate = Arc::<Gate>::default();
        let held = gate.clone();
        assert!(readers.submit(Box::new(move |_| held.pass())).is_ok());
        gate.wait();
        // The only thread stands still with its connection, and another job waits for it.
        assert!(readers.submit(Box::new(|_| {})).is_ok());
        assert!(readers.read(|_| Ok(())).is_some_and(|read| read.is_ok()));
        assert_eq!(alive(&readers), 1);
        gate.open();
        readers.shut_down();
    }

    #[test]
    fn many_jobs_at_once_start_no_more_threads_than_allowed() {
        let readers = readers(3, 60_000.0);
        let most = Arc::new(AtomicUsize::new(0));
        for _ in 0..1_000 {
            let (most, of) = (most.clone(), readers.clone());
            let sent = readers.submit(Box::new(move |_| {
                most.fetch_max(alive(&of), Ordering::SeqCst);
            }));
            assert!(sent.is_ok());
        }
        wait_for("the jobs are done", || lock(&readers.pool).unfinished == 0);
        assert!(most.load(Ordering::SeqCst) <= 3);
        readers.shut_down();
    }

    #[test]
    fn a_connection_in_a_transaction_is_not_used_again() {
        let options = crate::testing::options();
        let Ok(folder) = tempfile::tempdir() else {
            return;
        };
        let path = folder.path().join("candles.db");
        let engine = crate::engine::sqlite::Sqlite::open_file(&path, &options);
        let Ok(engine) = engine else {
            return assert!(engine.is_ok());
        };
        let readers = Readers::new(Arc::new(engine), 1, 60_000.0);
        let began = readers.read(|session| match session.raw() {
            Some(raw) => raw.run_script("BEGIN"),
            None => Err(StoreError::closed()),
        });
        assert!(began.is_some_and(|read| read.is_ok()));
        assert!(lock(&readers.idle).sessions.is_empty());
    }

    #[test]
    fn the_connection_used_last_is_used_first_and_old_ones_are_closed() {
        let readers = readers(1, 0.0);
        let nested = readers.read(|_| {
            let inner = readers.read(|_| Ok(()));
            assert!(inner.is_some_and(|read| read.is_ok()));
            assert_eq!(lock(&readers.idle).sessions.len(), 1);
            Ok(())
        });
        assert!(nested.is_some_and(|read| read.is_ok()));
        assert_eq!(
            lock(&readers.idle).sessions.len(),
            1,
            "the inner one was idle for longer than 0 ms"
        );
    }
}
