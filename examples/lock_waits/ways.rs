//! The ways of waiting that are compared. SQLite's lock alone decides who writes; they differ in what orders the tries.

use std::error::Error;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use candlestore::engine::WriteSession;
use candlestore::error::Failure;
use candlestore::turn::{Turn, Urgency};

/// In microseconds, for all ways that are not named after another one.
const PAUSE: u64 = 200;
const SPIN: u64 = 50;

pub const WAYS: [Way; 13] = [
    way("busy-handler", Order::Handler, PAUSE, 0),
    way("poll-1ms", Order::None, 1_000, 0),
    way("poll-0.5ms", Order::None, 500, 0),
    way("poll-0.2ms", Order::None, PAUSE, 0),
    way("flock", Order::Flock, PAUSE, 0),
    way("flock+spin", Order::Flock, PAUSE, SPIN),
    way("ofd", Order::Ofd, PAUSE, 0),
    way("ofd+spin", Order::Ofd, PAUSE, SPIN),
    way("tickets", Order::Tickets, PAUSE, 0),
    way("tickets+spin", Order::Tickets, PAUSE, SPIN),
    way("line", Order::Line, PAUSE, 0),
    way("line+spin", Order::Line, PAUSE, SPIN),
    way("line+lanes", Order::Lanes, PAUSE, 0),
];

/// How long a lock beside the file is waited for before SQLite's own lock is tried without it.
const BOUND: Duration = Duration::from_millis(300);
/// How long one wait in the line lasts, as in the store.
const LOOK: Duration = Duration::from_millis(1);

/// One way of waiting.
pub struct Way {
    pub name: &'static str,
    order: Order,
    /// Between two tries.
    pause: Duration,
    /// Tries without a pause come first, for so long.
    spin: Duration,
}

/// What orders those who wait.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    /// SQLite's busy handler, which sleeps longer and longer.
    Handler,
    None,
    /// A lock of a file beside the database, by flock.
    Flock,
    /// The same by fcntl, owned by the open file and not by the process.
    Ofd,
    /// The store's line, looked at again and again.
    Tickets,
    /// The store's line, in which who waits is woken, with all in one lane of it.
    Line,
    /// As the store has it: small transactions in the live lane.
    Lanes,
}

const fn way(name: &'static str, order: Order, pause: u64, spin: u64) -> Way {
    Way {
        name,
        order,
        pause: Duration::from_micros(pause),
        spin: Duration::from_micros(spin),
    }
}

impl Way {
    pub fn named(name: &str) -> Result<&'static Self, String> {
        let found = WAYS.iter().find(|way| way.name == name);
        found.ok_or_else(|| format!("there is no way {name:?}, see ways.rs"))
    }

    /// How long SQLite itself waits in one try.
    pub fn busy_timeout_ms(&self) -> u32 {
        match self.order {
            Order::Handler => 5_000,
            _ => 0,
        }
    }
}

/// The waiting of one process.
pub struct Waiting {
    way: &'static Way,
    beside: Beside,
}

/// What lies beside the database.
enum Beside {
    Nothing,
    Flock(File),
    Ofd(File),
    Line(Turn),
}

impl Waiting {
    pub fn new(way: &'static Way, database: &Path) -> io::Result<Self> {
        let file = || File::create(database.with_extension("lock"));
        let beside = match way.order {
            Order::Handler | Order::None => Beside::Nothing,
            Order::Flock => Beside::Flock(file()?),
            Order::Ofd => Beside::Ofd(file()?),
            Order::Tickets | Order::Line | Order::Lanes => Beside::Line(Turn::open(database)?),
        };
        Ok(Self { way, beside })
    }

    /// Begins a transaction that holds SQLite's lock, however long that takes.
    pub fn begin(
        &mut self,
        session: &mut dyn WriteSession,
        is_small: bool,
    ) -> Result<(), Box<dyn Error>> {
        let urgency = match self.way.order {
            Order::Lanes if is_small => Urgency::Live,
            _ => Urgency::Backfill,
        };
        let start = Instant::now();
        loop {
            let waited = start.elapsed();
            let spins = waited < self.way.spin;
            // Whose turn it is tries at a pace; the wait for the turn is a pause by itself.
            let sleeps_in_line = matches!(self.way.order, Order::Line | Order::Lanes) && !spins;
            let is_due = match &mut self.beside {
                Beside::Nothing => true,
                Beside::Flock(file) => file.try_lock().is_ok() || waited > BOUND,
                Beside::Ofd(file) => ofd(file, libc::F_WRLCK) || waited > BOUND,
                Beside::Line(turn) => {
                    turn.comes_within(if sleeps_in_line { LOOK } else { Duration::ZERO }, urgency)
                }
            };
            if is_due {
                match session.try_begin() {
                    Err(error) if error.failure == Failure::Transient => {}
                    begun => break begun?,
                }
            }
            if spins {
                std::hint::spin_loop();
            } else if is_due || !sleeps_in_line {
                match &self.beside {
                    Beside::Line(turn) if sleeps_in_line => turn.pause(self.way.pause),
                    _ => thread::sleep(self.way.pause),
                }
            }
        }
        if let Beside::Line(turn) = &mut self.beside {
            turn.begun();
        }
        Ok(())
    }

    /// After the commit: lets the next one go.
    pub fn leave(&mut self) {
        match &mut self.beside {
            Beside::Nothing => {}
            // Neither fails for a file that is open.
            Beside::Flock(file) => drop(file.unlock()),
            Beside::Ofd(file) => _ = ofd(file, libc::F_UNLCK),
            Beside::Line(turn) => turn.leave(),
        }
    }
}

/// Takes the lock of a file if it is free, or lets go of it; whether that was done.
fn ofd(file: &File, kind: libc::c_int) -> bool {
    // SAFETY: all zeros is a flock structure: the whole file, from its beginning.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as _;
    // SAFETY: the descriptor is open and the structure outlives the call.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) == 0 }
}
