//! Turns at SQLite's write lock, between the processes that write one database: first come, first served.
//!
//! Whoever wants to write draws a ticket from a page of memory that all of them share, a small file beside the
//! database, and sleeps until its ticket is served; who has written serves the next ticket and wakes its owner, and
//! nobody else. Drawing, and leaving when nobody waits, are a few atomic instructions without a system call.
//!
//! Only SQLite's lock decides who writes. The line orders those who would otherwise try at random, and every wait in
//! it is bounded: a waiter whose turn does not come for `PATIENCE` for each place before it tries SQLite's lock all
//! the same, and passes over those before it if it gets it. So a process that was killed or stopped in the line costs
//! the others a few milliseconds, once, and so does a page that somebody has overwritten.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::Room;
use super::futex::{sleep_on, wake};
use crate::proc_locks::FileLocks;

/// How long a turn may stay unused, for each place in the line, before who waits behind it goes first.
const PATIENCE: Duration = Duration::from_millis(20);
/// Places that are waited for; with more in the line the wait does not get longer.
const PLACES: u32 = 10;
/// How often one is passed over at once before the page is taken to make no sense.
const DRAWS: u32 = 3;
/// The shortest sleep.
const SHORTEST: Duration = Duration::from_micros(50);
/// Size of the shared file. Its layout never changes; another one would take another name.
const PAGE: usize = 4096;
/// How many of the last tickets are known to have been given back.
const RETURNED: usize = 64;

/// The shared page. All zeros is an empty line.
#[repr(C)]
struct Line {
    /// The next ticket to be drawn.
    next: AtomicU32,
    _apart: [u32; 15],
    /// The ticket whose turn it is. Owners of others sleep on this word.
    serving: AtomicU32,
    _aside: [u32; 15],
    /// One more than a ticket that was given back, at the ticket's place.
    returned: [AtomicU32; RETURNED],
    room: Room,
}

/// A process's way into the line of one database.
pub struct Turn {
    line: NonNull<Line>,
    place: Option<Place>,
    /// Stays open for its lock, by which /proc/locks tells who comes to this line.
    file: File,
    path: PathBuf,
    database: PathBuf,
}

/// A place in the line.
#[derive(Clone, Copy)]
struct Place {
    ticket: u32,
    /// The ticket that was served when this was last looked at, and since when.
    serving: u32,
    since: Instant,
}

// SAFETY: the page stays mapped until this is dropped, nothing in it belongs to a thread, and all of it is atomic.
unsafe impl Send for Turn {}

impl Turn {
    /// Opens the line of a database, and makes it where there is none yet.
    pub fn open(database: &Path) -> io::Result<Self> {
        let (file, path) = open_beside(database)?;
        if file.metadata()?.len() < PAGE as u64 {
            // Written, not only extended: a full disk must fail here and not kill when the page is touched. Two that
            // do this at once empty the line, which costs those in it their places.
            file.write_all_at(&[0; PAGE], 0)?;
        }
        sign(&file);
        // SAFETY: a new shared mapping of an open file that is as long as the mapping; the kernel chooses where.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(page.cast::<Line>()) {
            Some(line) if page != libc::MAP_FAILED => Ok(Self {
                line,
                place: None,
                file,
                path,
                database: database.to_owned(),
            }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn line(&self) -> &Line {
        // SAFETY: mapped until drop, as long as a Line and aligned to a page; other processes change it by atomics only,
        // and every bit pattern is a Line.
        unsafe { self.line.as_ref() }
    }

    /// Whether a try at SQLite's lock is due: it is this one's turn, or whose turn it is does not use it. Draws a ticket
    /// if there is none.
    pub fn is_due(&mut self) -> bool {
        for _ in 0..DRAWS {
            let mut place = match self.place {
                Some(place) => place,
                None => self.draw(),
            };
            let serving = self.line().serving.load(SeqCst);
            if place.ahead(serving) < 0 {
                // Passed over, because this process did not run when its turn came: to the end of the line.
                self.place = None;
                continue;
            }
            if place.serving != serving {
                place.serving = serving;
                place.since = Instant::now();
            }
            let due = place.left() == Duration::ZERO;
            if due {
                place.since = Instant::now();
            }
            self.place = Some(place);
            return due;
        }
        // A page that makes no sense serves tickets that nobody has drawn yet: the next one is served now.
        let line = self.line();
        line.next.store(line.serving.load(SeqCst), SeqCst);
        false
    }

    fn draw(&mut self) -> Place {
        let ticket = self.line().next.fetch_add(1, SeqCst);
        let place = Place {
            ticket,
            serving: ticket,
            since: Instant::now(),
        };
        self.place = Some(place);
        place
    }

    /// SQLite's lock is held: those before in the line who did not use their turns are passed over.
    pub fn begun(&mut self) {
        if let Some(place) = self.place
            && place.serving != place.ticket
        {
            // Fails when somebody has moved the line in the meantime, and then nobody needs to be passed over.
            let _ =
                self.line()
                    .serving
                    .compare_exchange(place.serving, place.ticket, SeqCst, SeqCst);
        }
    }

    /// Sleeps until a try is due; `false` when `time` is over first. The place in the line is kept then: callers ask
    /// again, after a look at their own deadlines, or leave.
    pub fn comes_within(&mut self, time: Duration) -> bool {
        let end = Instant::now() + time;
        loop {
            if self.is_due() {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            if let Some(place) = self.place {
                let time = left.min(place.left().max(SHORTEST));
                sleep_on(&self.line().serving, place.serving, place.ticket, time);
            }
        }
    }

    /// Gives the turn to the next in the line, or the place in the line up.
    pub fn leave(&mut self) {
        let Some(Place { ticket, .. }) = self.place.take() else {
            return;
        };
        let line = self.line();
        if line.serving.load(SeqCst) != ticket {
            line.returned[ticket as usize % RETURNED].store(ticket.wrapping_add(1), SeqCst);
        }
        // Looked at again: the turn may have come while the ticket was being given back.
        let mut served = ticket;
        while line.serving.load(SeqCst) == served {
            let next = served.wrapping_add(1);
            if line
                .serving
                .compare_exchange(served, next, SeqCst, SeqCst)
                .is_err()
            {
                return;
            }
            // The owner of a ticket that was given back will not serve the next one.
            if line.returned[next as usize % RETURNED].load(SeqCst) == next.wrapping_add(1) {
                served = next;
                continue;
            }
            if line.next.load(SeqCst) != next {
                wake(&line.serving, next);
            }
            return;
        }
    }

    pub fn database(&self) -> &Path {
        &self.database
    }

    /// When backfill of all who come to this line keeps off the lock.
    pub fn room(&self) -> &Room {
        &self.line().room
    }

    /// Whether a process comes to this line, for all that can be known.
    pub fn is_member(&self, pid: u32) -> bool {
        // Another store of this process may have closed the file, and this process's locks with it.
        sign(&self.file);
        let locks = FileLocks::of(&self.path);
        locks.is_some_and(|locks| locks.owners(0).contains(&pid))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.leave();
        // SAFETY: mapped by open() with this length, and no reference to it is left.
        unsafe {
            libc::munmap(self.line.as_ptr().cast(), PAGE);
        }
    }
}

impl Place {
    /// How many are served before this one; negative when it was passed over.
    fn ahead(&self, serving: u32) -> i32 {
        self.ticket.wrapping_sub(serving) as i32
    }

    /// How long until those before it have had time enough to use their turns.
    fn left(&self) -> Duration {
        let places = self.ahead(self.serving).clamp(0, PLACES as i32) as u32;
        (PATIENCE * places).saturating_sub(self.since.elapsed())
    }
}

/// The file of the line, for whoever may write the database, as SQLite does it with its own files. Of a link the place
/// that it points to counts, so that all meet at one file.
fn open_beside(database: &Path) -> io::Result<(File, PathBuf)> {
    let database = std::fs::canonicalize(database)?;
    let owned = std::fs::metadata(&database)?;
    let mut path = OsString::from(database);
    path.push("-candlestore-turn");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(owned.mode() & 0o666)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)?;
    // Only root may do this, and only root has to.
    let _ = fchown(&file, Some(owned.uid()), Some(owned.gid()));
    Ok((file, path.into()))
}

/// Locks the file together with all others who come to the line: it keeps nobody out and tells their pids. It is a lock
/// of the process, because only those are listed with a pid.
fn sign(file: &File) {
    // SAFETY: all zeros is a flock structure: the whole file, from its beginning.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_RDLCK as _;
    // SAFETY: the descriptor is open and the structure outlives the call. A failure makes others leave room for this
    // process as for one that is not in the line.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &lock) };
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

    use std::thread;

    use super::*;

    fn line_of(parties: usize) -> (tempfile::TempDir, Vec<Turn>) {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("candles.db");
        File::create(&database).unwrap();
        let turns = (0..parties)
            .map(|_| Turn::open(&database).unwrap())
            .collect();
        (folder, turns)
    }

    fn wait_until_due(turn: &mut Turn) {
        assert!(turn.comes_within(Duration::from_secs(20)), "waits for ever");
    }

    #[test]
    fn turns_come_in_the_order_of_asking() {
        let (_folder, mut turns) = line_of(3);
        assert!(turns[2].is_due());
        assert!(!turns[0].is_due());
        assert!(!turns[1].is_due());
        turns[2].leave();
        assert!(turns[0].is_due());
        turns[0].leave();
        // Behind the one who waits, however often it comes back.
        assert!(!turns[0].is_due());
        assert!(turns[1].is_due());
    }

    #[test]
    fn who_gives_up_is_not_waited_for() {
        let (_folder, mut turns) = line_of(4);
        assert!(turns[0].is_due());
        for turn in &mut turns[1..] {
            assert!(!turn.is_due());
        }
        turns[1].leave();
        turns[2].leave();
        turns[0].leave();
        assert_eq!(
            turns[3]
                .place
                .unwrap()
                .ahead(turns[3].line().serving.load(SeqCst)),
            0
        );
    }

    #[test]
    fn the_line_is_free_when_the_last_one_gives_up() {
        let (_folder, mut turns) = line_of(2);
        assert!(turns[0].is_due());
        assert!(!turns[1].is_due());
        turns[1].leave();
        turns[0].leave();
        assert!(turns[0].is_due());
        turns[0].leave();
        let line = turns[0].line();
        assert_eq!(line.next.load(SeqCst), line.serving.load(SeqCst));
    }

    #[test]
    fn killed_ones_are_passed_over_and_cost_their_patience_once() {
        let (_folder, mut turns) = line_of(4);
        let mut last = turns.pop().unwrap();
        for mut killed in turns {
            killed.is_due();
            std::mem::forget(killed);
        }
        wait_until_due(&mut last);
        last.begun();
        last.leave();
        assert!(last.is_due());
        let line = last.line();
        assert_eq!(line.serving.load(SeqCst), last.place.unwrap().ticket);
    }

    #[test]
    fn a_stopped_one_that_goes_on_takes_nobodys_turn() {
        let (_folder, mut turns) = line_of(3);
        assert!(turns[0].is_due());
        wait_until_due(&mut turns[1]);
        turns[1].begun();
        // It was stopped with the turn in hand, and comes back from its sleep.
        turns[0].leave();
        assert!(!turns[2].is_due());
        assert!(!turns[0].is_due());
        turns[1].leave();
        assert!(turns[2].is_due());
    }

    #[test]
    fn a_page_of_nonsense_keeps_nobody_waiting() {
        for nonsense in [0x00_u8, 0x5a, 0x80, 0xff] {
            let (folder, mut turns) = line_of(2);
            assert!(turns[0].is_due());
            let path = folder.path().join("candles.db-candlestore-turn");
            let mut bytes = [nonsense; PAGE];
            bytes[0] = 1;
            std::fs::OpenOptions::new()
                .write(true)
                .open(path)
                .and_then(|file| file.write_all_at(&bytes, 0))
                .unwrap();
            for turn in &mut turns {
                wait_until_due(turn);
                turn.begun();
                turn.leave();
            }
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn who_has_opened_the_line_is_a_member() {
        let (_folder, turns) = line_of(1);
        assert!(turns[0].is_member(std::process::id()));
        assert!(!turns[0].is_member(1));
    }

    #[test]
    fn everybody_gets_every_turn_also_when_tickets_wrap() {
        let (_folder, turns) = line_of(4);
        let line = turns[0].line();
        line.next.store(u32::MAX - 500, SeqCst);
        line.serving.store(u32::MAX - 500, SeqCst);
        thread::scope(|scope| {
            for mut turn in turns {
                scope.spawn(move || {
                    for number in 0..500 {
                        wait_until_due(&mut turn);
                        turn.begun();
                        if number % 7 == 0 {
                            thread::yield_now();
                        }
                        turn.leave();
                    }
                });
            }
        });
    }
}
