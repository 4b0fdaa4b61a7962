//! The write lock of the file as this process waits for it: in the line with other processes of candlestore, one try
//! after the other at a constant pace once it is its turn, until somebody says stop. SQLite's own busy handler would sleep
//! longer and longer and so favour newcomers. The line only orders the tries; SQLite's lock alone decides who writes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::lock;
use crate::engine::{Attempt, Engine};
use crate::error::{Code, Failure, Result, StoreError};
use crate::histogram::{Histogram, Summary};
use crate::turn::{Room, Turn, Urgency, now};

/// Pause between two tries.
const PACE: Duration = Duration::from_micros(200);
/// The same after a wait of `LONG`, which no writer in the line causes.
const SLOW_PACE: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(1);
/// How long a wait for the turn goes on before deadlines are looked at.
const LOOK: Duration = Duration::from_millis(1);
/// How often is looked who else has the file open.
const LOOK_FOR_OTHERS: Duration = Duration::from_millis(500);

/// What waiting for the lock has cost this process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LockNumbers {
    /// Groups and synchronous writes that found the lock taken.
    pub waits: u64,
    /// Writes that were given up because of it: synchronous ones, and queued ones whose time was over.
    pub timeouts: u64,
    /// How long they waited.
    pub waited: Summary,
}

/// How long was waited for a lock, and how often it was tried.
#[derive(Debug, Clone, Copy, Default)]
pub struct Waited {
    pub time: Duration,
    pub attempts: u64,
}

/// The write lock of one file.
pub struct FileLock {
    line: Mutex<Line>,
    seen: Mutex<(Histogram, u64)>,
    /// Room that is left where there is no line to agree on it.
    room: Room,
    others: Mutex<Others>,
    /// Does not line up before somebody has been in the way.
    is_reluctant: AtomicBool,
}

/// The line of the file, opened when the lock is first wanted.
enum Line {
    Unopened(PathBuf),
    /// The database is in no file, or no file can be made beside it.
    Absent,
    Open(Turn),
}

/// Programs that have the file open and know nothing of the line.
struct Others {
    looked: Option<Instant>,
    are_there: bool,
    /// Looks for them: Linux lets who asks for all locks wait for milliseconds.
    looking: Option<JoinHandle<()>>,
}

impl FileLock {
    /// The lock of the database at `path`, if it is in a file.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self {
            line: Mutex::new(path.map_or(Line::Absent, Line::Unopened)),
            seen: Mutex::default(),
            room: Room::default(),
            others: Mutex::new(Others {
                looked: None,
                are_there: false,
                looking: None,
            }),
            is_reluctant: AtomicBool::new(false),
        }
    }

    /// From here on a line is made only when somebody is in the way: most databases have one writer, and need no file
    /// beside them.
    pub fn be_reluctant(&self) {
        let is_made = match &*lock(&self.line) {
            Line::Unopened(path) => Turn::is_there(path),
            Line::Absent | Line::Open(_) => true,
        };
        self.is_reluctant.store(!is_made, Ordering::Relaxed);
    }

    pub fn numbers(&self) -> LockNumbers {
        let seen = lock(&self.seen);
        let (histogram, timeouts) = &*seen;
        LockNumbers {
            waits: histogram.count(),
            timeouts: *timeouts,
            waited: histogram.summary(),
        }
    }

    /// Queued writes were given up while they waited for the lock or for their turn.
    pub fn gave_up(&self, writes: usize) {
        lock(&self.seen).1 += writes as u64;
    }

    /// Tries `begin` until it succeeds or fails for another reason than a lock, or until `give_up` names an error. The
    /// place in the line, which is the better the more urgent it is, is kept until `leave`.
    pub fn wait(
        &self,
        urgency: &dyn Fn() -> Urgency,
        begin: &mut Attempt<'_>,
        give_up: &mut dyn FnMut(Waited) -> Option<StoreError>,
    ) -> Result<()> {
        let start = Instant::now();
        let mut has_waited = false;
        let outcome = self.take(urgency, begin, &mut |waited| {
            has_waited = true;
            give_up(waited)
        });
        if has_waited {
            let mut seen = lock(&self.seen);
            seen.0.add(start.elapsed());
            seen.1 += u64::from(
                outcome
                    .as_ref()
                    .is_err_and(|error| error.code == Code::Timeout),
            );
        }
        outcome
    }

    /// The same, without counting it as the wait of a write.
    pub fn take(
        &self,
        urgency: &dyn Fn() -> Urgency,
        begin: &mut Attempt<'_>,
        give_up: &mut dyn FnMut(Waited) -> Option<StoreError>,
    ) -> Result<()> {
        let start = Instant::now();
        let mut attempts = 0;
        let mut time = Duration::ZERO;
        let outcome = loop {
            // The wait for the turn is the pause; whose turn it is pauses between tries.
            let look = if time.is_zero() { time } else { LOOK };
            let is_due = self.turn_comes_within(look, urgency());
            if is_due {
                attempts += 1;
                match begin() {
                    Err(error) if error.failure == Failure::Transient => {}
                    other => break other,
                }
            }
            time = start.elapsed();
            if let Some(error) = give_up(Waited { time, attempts }) {
                // Who stands before it in the line may be no more: SQLite's lock alone decides.
                if !is_due && begin().is_ok() {
                    break Ok(());
                }
                break Err(error.failure(Failure::Transient));
            }
            if is_due {
                let pace = if time < LONG { PACE } else { SLOW_PACE };
                match &*lock(&self.line) {
                    Line::Open(turn) => turn.pause(pace),
                    Line::Unopened(_) | Line::Absent => thread::sleep(pace),
                }
            }
        };
        if let (Ok(()), Line::Open(turn)) = (&outcome, &mut *lock(&self.line)) {
            turn.begun();
        }
        outcome
    }

    fn turn_comes_within(&self, time: Duration, urgency: Urgency) -> bool {
        let mut line = lock(&self.line);
        if self.is_reluctant.load(Ordering::Relaxed)
            && time.is_zero()
            && matches!(&*line, Line::Unopened(_))
        {
            return true;
        }
        if let Line::Unopened(path) = &*line {
            // Without it nobody is ordered and everything else is as it should be.
            *line = Turn::open(path).map_or(Line::Absent, Line::Open);
        }
        match &mut *line {
            Line::Open(turn) => turn.comes_within(time, urgency),
            Line::Unopened(_) | Line::Absent => true,
        }
    }

    /// Gives the turn, or the place in the line, to the next.
    pub fn leave(&self) {
        if let Line::Open(turn) = &mut *lock(&self.line) {
            turn.leave();
        }
    }

    /// Whether a process is copying the log.
    pub fn is_copying(&self) -> bool {
        match &*lock(&self.line) {
            Line::Open(turn) => turn.is_copying(),
            Line::Unopened(_) | Line::Absent => false,
        }
    }

    /// Runs `copy` unless another process copies the log.
    pub fn copying(&self, copy: impl FnOnce()) {
        let may = match &*lock(&self.line) {
            Line::Open(turn) => turn.begin_copying(),
            Line::Unopened(_) | Line::Absent => true,
        };
        if !may {
            return;
        }
        copy();
        if let Line::Open(turn) = &*lock(&self.line) {
            turn.end_copying();
        }
    }

    /// Lets go of the line; it is opened again when the lock is next wanted.
    pub fn close(&self) {
        let looking = lock(&self.others).looking.take();
        if let Some(looking) = looking {
            let _ = looking.join();
        }
        let mut line = lock(&self.line);
        if let Line::Open(turn) = &*line {
            *line = Line::Unopened(turn.database().to_owned());
        }
    }

    /// After backfill has held the lock for so long: leaves room for others, if there are any.
    pub fn leave_room(self: &Arc<Self>, engine: &Arc<dyn Engine>, held: Duration) {
        self.look_for_others(engine);
        if lock(&self.others).are_there {
            self.room_of(&lock(&self.line)).leave(now(), held);
        }
    }

    /// Has somebody look who else has the file open, if the last look is some time ago; what it finds is known later.
    fn look_for_others(self: &Arc<Self>, engine: &Arc<dyn Engine>) {
        let mut others = lock(&self.others);
        let is_due = others
            .looked
            .is_none_or(|looked| looked.elapsed() >= LOOK_FOR_OTHERS);
        let is_looking = others
            .looking
            .as_ref()
            .is_some_and(|looking| !looking.is_finished());
        if !is_due || is_looking {
            return;
        }
        others.looked = Some(Instant::now());
        let (this, engine) = (self.clone(), engine.clone());
        // A thread that cannot be started looks the next time.
        others.looking = thread::Builder::new()
            .name("candlestore-look".into())
            .spawn(move || this.look(engine.as_ref()))
            .ok();
    }

    fn look(&self, engine: &dyn Engine) {
        let pids = engine.other_writers();
        let are_there = {
            let line = lock(&self.line);
            let is_stranger = |pid: &u32| match &*line {
                Line::Open(turn) => !turn.is_member(*pid),
                Line::Unopened(_) | Line::Absent => true,
            };
            pids.is_none_or(|pids| pids.iter().any(is_stranger))
        };
        lock(&self.others).are_there = are_there;
    }

    /// How long backfill keeps off the lock yet, to leave room for others.
    pub fn room_left(&self) -> Duration {
        self.room_of(&lock(&self.line)).left(now())
    }

    fn room_of<'a>(&'a self, line: &'a Line) -> &'a Room {
        match line {
            Line::Open(turn) => turn.room(),
            Line::Unopened(_) | Line::Absent => &self.room,
        }
    }
}
