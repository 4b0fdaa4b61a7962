//! Turns at SQLite's write lock, between the processes that write one database: live writes before backfill, and first
//! come, first served among those of a kind.
//!
//! Whoever wants to write draws a ticket from a page of memory that all of them share, a small file beside the
//! database, and sleeps until its ticket is served; who has written serves the next ticket and wakes its owner, and
//! nobody else. Drawing, and leaving when nobody waits, are a few atomic instructions without a system call.
//!
//! There are two lanes. Whose turn it is in the live lane tries the lock; whose turn it is in the other waits until the
//! live lane is empty, but not for ever.
//!
//! Only SQLite's lock decides who writes. The line orders those who would otherwise try at random, and every wait in
//! it is bounded: a waiter whose turn does not come for `PATIENCE` for each place before it tries SQLite's lock all
//! the same, and passes over those before it if it gets it. So a process that was killed or stopped in the line costs
//! the others a few milliseconds, once, and so does a page that somebody has overwritten.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::futex::{monotonic, sleep_on, wake};
use super::room::millis;
use super::{Room, Urgency};
use crate::beside;
use crate::proc_locks::FileLocks;

/// What the name of the line's file has after the database's.
const ENDING: &str = "-candlestore-turn";
/// How long a turn may stay unused, for each place in the line, before who waits behind it goes first.
const PATIENCE: Duration = Duration::from_millis(20);
/// Places that are waited for; with more in the line the wait does not get longer.
const PLACES: u32 = 10;
/// How long backfill whose turn it is lets live writes go first.
const YIELDS: Duration = Duration::from_millis(25);
/// Who copies the log for longer than this was killed or stopped, or the disk is very slow: others may, too.
const COPIES: Duration = Duration::from_secs(2);
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
    lanes: [Lane; 2],
    room: Room,
    /// When a process began to copy the log, in milliseconds; 0 while none does.
    copying: AtomicU64,
}

#[repr(C)]
struct Lane {
    /// The next ticket to be drawn.
    next: AtomicU32,
    _apart: [u32; 15],
    /// The ticket whose turn it is. Owners of others sleep on this word.
    serving: AtomicU32,
    /// Changes when the lock may be free for whose turn it is, who sleeps on it.
    freed: AtomicU32,
    _aside: [u32; 14],
    /// One more than a ticket that was given back, at the ticket's place.
    returned: [AtomicU32; RETURNED],
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.next.load(SeqCst) == self.serving.load(SeqCst)
    }

    /// Gives the turn of a ticket to the next one, or the ticket back before its turn; whether somebody has the turn now.
    fn pass(&self, ticket: u32) -> bool {
        if self.serving.load(SeqCst) != ticket {
            self.returned[ticket as usize % RETURNED].store(ticket.wrapping_add(1), SeqCst);
        }
        // Looked at again: the turn may have come while the ticket was being given back.
        let mut served = ticket;
        while self.serving.load(SeqCst) == served {
            let next = served.wrapping_add(1);
            if self
                .serving
                .compare_exchange(served, next, SeqCst, SeqCst)
                .is_err()
            {
                break;
            }
            // The owner of a ticket that was given back will not serve the next one.
            if self.returned[next as usize % RETURNED].load(SeqCst) != next.wrapping_add(1) {
                break;
            }
            served = next;
        }
        !self.is_empty()
    }

    /// Wakes whose turn it is, whatever it sleeps on.
    fn wake_first(&self) {
        let serving = self.serving.load(SeqCst);
        self.freed.fetch_add(1, SeqCst);
        wake(&self.freed, 0);
        wake(&self.serving, serving);
    }
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
    lane: Urgency,
    ticket: u32,
    /// The ticket that was served when this was last looked at, and since when.
    serving: u32,
    since: Instant,
    /// The lane's `freed` when a try was last due.
    freed: u32,
    /// The ticket that was served in the live lane when this one began to let it go first, and when that was.
    yields: Option<(u32, Instant)>,
}

// SAFETY: the page stays mapped until this is dropped, nothing in it belongs to a thread, and all of it is atomic.
unsafe impl Send for Turn {}

impl Turn {
    /// Whether somebody has made the line of a database.
    pub fn is_there(database: &Path) -> bool {
        std::fs::canonicalize(database)
            .is_ok_and(|database| beside::path(&database, ENDING).exists())
    }

    /// Opens the line of a database, and makes it where there is none yet.
    pub fn open(database: &Path) -> io::Result<Self> {
        // Of a link the place that it points to counts, so that all meet at one file.
        let real = std::fs::canonicalize(database)?;
        let path = beside::path(&real, ENDING);
        let file = beside::open(&real, &path)?;
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

    fn lane(&self, urgency: Urgency) -> &Lane {
        &self.line().lanes[urgency as usize]
    }

    /// Whether a try at SQLite's lock is due: it is this one's turn, or whose turn it is does not use it. Draws a ticket
    /// if there is none.
    fn is_due(&mut self, urgency: Urgency) -> bool {
        for _ in 0..DRAWS {
            let mut place = match self.place {
                Some(place) => place,
                None => self.draw(urgency),
            };
            let lane = self.lane(urgency);
            place.freed = lane.freed.load(SeqCst);
            let serving = lane.serving.load(SeqCst);
            if place.ahead(serving) < 0 {
                // Passed over, because this process did not run when its turn came: to the end of the line.
                self.place = None;
                continue;
            }
            if place.serving != serving {
                place.serving = serving;
                place.since = Instant::now();
            }
            let due = place.left() == Duration::ZERO && !self.yields(&mut place);
            if due {
                place.since = Instant::now();
            }
            self.place = Some(place);
            return due;
        }
        // A page that makes no sense serves tickets that nobody has drawn yet: the next one is served now.
        let lane = self.lane(urgency);
        lane.next.store(lane.serving.load(SeqCst), SeqCst);
        false
    }

    /// Whether backfill lets live writes go first.
    fn yields(&self, place: &mut Place) -> bool {
        let live = self.lane(Urgency::Live);
        if place.lane == Urgency::Live || live.is_empty() {
            return false;
        }
        let now = Instant::now();
        let (_, since) = place
            .yields
            .get_or_insert_with(|| (live.serving.load(SeqCst), now));
        since.elapsed() < YIELDS
    }

    fn draw(&mut self, urgency: Urgency) -> Place {
        let ticket = self.lane(urgency).next.fetch_add(1, SeqCst);
        let place = Place {
            lane: urgency,
            ticket,
            serving: ticket,
            since: Instant::now(),
            freed: 0,
            yields: None,
        };
        self.place = Some(place);
        place
    }

    /// SQLite's lock is held: those before in the line who did not use their turns are passed over.
    pub fn begun(&mut self) {
        // An exchange fails when somebody has moved the line in the meantime, and then nobody needs to be passed over.
        let Some(place) = self.place else { return };
        if place.serving != place.ticket {
            let lane = self.lane(place.lane);
            let _ = lane
                .serving
                .compare_exchange(place.serving, place.ticket, SeqCst, SeqCst);
        }
        if let Some((served, since)) = place.yields
            && since.elapsed() >= YIELDS
        {
            let live = self.lane(Urgency::Live);
            let next = served.wrapping_add(1);
            let _ = live.serving.compare_exchange(served, next, SeqCst, SeqCst);
        }
    }

    /// Sleeps until a try is due; `false` when `time` is over first. The place in the line is kept then: callers ask
    /// again, after a look at their own deadlines, or leave. One who asks with another urgency changes the lane.
    pub fn comes_within(&mut self, time: Duration, urgency: Urgency) -> bool {
        if self.place.is_some_and(|place| place.lane != urgency) {
            self.leave();
        }
        let end = Instant::now() + time;
        loop {
            if self.is_due(urgency) {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            if let Some(place) = self.place {
                let lane = self.lane(place.lane);
                match place.left() {
                    Duration::ZERO => sleep_on(&lane.freed, place.freed, 0, left.min(YIELDS)),
                    patience => {
                        let time = left.min(patience.max(SHORTEST));
                        sleep_on(&lane.serving, place.serving, place.ticket, time);
                    }
                }
            }
        }
    }

    /// After a try that found the lock taken: sleeps until it may be free.
    pub fn pause(&self, time: Duration) {
        match self.place {
            Some(place) => sleep_on(&self.lane(place.lane).freed, place.freed, 0, time),
            None => std::thread::sleep(time),
        }
    }

    /// Gives the turn to the next in the line, or the place in the line up.
    pub fn leave(&mut self) {
        let Some(Place { ticket, lane, .. }) = self.place.take() else {
            return;
        };
        let [live, backfill] = &self.line().lanes;
        let own = self.lane(lane);
        let is_next_waiting = own.pass(ticket);
        match lane {
            Urgency::Live if is_next_waiting => own.wake_first(),
            Urgency::Live if !backfill.is_empty() => backfill.wake_first(),
            Urgency::Live => {}
            Urgency::Backfill if !live.is_empty() => live.wake_first(),
            Urgency::Backfill if is_next_waiting => own.wake_first(),
            Urgency::Backfill => {}
        }
    }

    /// Whether a process is copying the log: one at a time is enough.
    pub fn is_copying(&self) -> bool {
        is_recent(self.line().copying.load(SeqCst))
    }

    /// This process begins to copy the log, unless another one does.
    pub fn begin_copying(&self) -> bool {
        let copying = &self.line().copying;
        let since = copying.load(SeqCst);
        let now = millis(monotonic());
        // What was looked at is what is replaced, or two that come at once would both begin.
        !is_recent(since) && copying.compare_exchange(since, now, SeqCst, SeqCst).is_ok()
    }

    pub fn end_copying(&self) {
        self.line().copying.store(0, SeqCst);
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

/// Whether who began to copy the log then may be at it yet.
fn is_recent(since: u64) -> bool {
    let (since, now) = (Duration::from_millis(since), monotonic());
    !since.is_zero() && since <= now && now < since + COPIES
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
        assert!(
            turn.comes_within(Duration::from_secs(20), Urgency::Backfill),
            "waits for ever"
        );
    }

    #[test]
    fn turns_come_in_the_order_of_asking() {
        let (_folder, mut turns) = line_of(3);
        assert!(turns[2].is_due(Urgency::Backfill));
        assert!(!turns[0].is_due(Urgency::Backfill));
        assert!(!turns[1].is_due(Urgency::Backfill));
        turns[2].leave();
        assert!(turns[0].is_due(Urgency::Backfill));
        turns[0].leave();
        // Behind the one who waits, however often it comes back.
        assert!(!turns[0].is_due(Urgency::Backfill));
        assert!(turns[1].is_due(Urgency::Backfill));
    }

    #[test]
    fn who_gives_up_is_not_waited_for() {
        let (_folder, mut turns) = line_of(4);
        assert!(turns[0].is_due(Urgency::Backfill));
        for turn in &mut turns[1..] {
            assert!(!turn.is_due(Urgency::Backfill));
        }
        turns[1].leave();
        turns[2].leave();
        turns[0].leave();
        assert_eq!(
            turns[3]
                .place
                .unwrap()
                .ahead(turns[3].lane(Urgency::Backfill).serving.load(SeqCst)),
            0
        );
    }

    #[test]
    fn the_line_is_free_when_the_last_one_gives_up() {
        let (_folder, mut turns) = line_of(2);
        assert!(turns[0].is_due(Urgency::Backfill));
        assert!(!turns[1].is_due(Urgency::Backfill));
        turns[1].leave();
        turns[0].leave();
        assert!(turns[0].is_due(Urgency::Backfill));
        turns[0].leave();
        let line = turns[0].lane(Urgency::Backfill);
        assert_eq!(line.next.load(SeqCst), line.serving.load(SeqCst));
    }

    #[test]
    fn killed_ones_are_passed_over_and_cost_their_patience_once() {
        let (_folder, mut turns) = line_of(4);
        let mut last = turns.pop().unwrap();
        for mut killed in turns {
            killed.is_due(Urgency::Backfill);
            std::mem::forget(killed);
        }
        wait_until_due(&mut last);
        last.begun();
        last.leave();
        assert!(last.is_due(Urgency::Backfill));
        let line = last.lane(Urgency::Backfill);
        assert_eq!(line.serving.load(SeqCst), last.place.unwrap().ticket);
    }

    #[test]
    fn a_stopped_one_that_goes_on_takes_nobodys_turn() {
        let (_folder, mut turns) = line_of(3);
        assert!(turns[0].is_due(Urgency::Backfill));
        wait_until_due(&mut turns[1]);
        turns[1].begun();
        // It was stopped with the turn in hand, and comes back from its sleep.
        turns[0].leave();
        assert!(!turns[2].is_due(Urgency::Backfill));
        assert!(!turns[0].is_due(Urgency::Backfill));
        turns[1].leave();
        assert!(turns[2].is_due(Urgency::Backfill));
    }

    #[test]
    fn live_goes_before_backfill_that_came_first() {
        let (_folder, mut turns) = line_of(3);
        let zero = Duration::ZERO;
        assert!(turns[0].comes_within(zero, Urgency::Backfill));
        assert!(!turns[1].comes_within(zero, Urgency::Backfill));
        assert!(turns[2].comes_within(zero, Urgency::Live));
        turns[0].leave();
        assert!(!turns[1].comes_within(zero, Urgency::Backfill));
        turns[2].leave();
        assert!(turns[1].comes_within(zero, Urgency::Backfill));
    }

    #[test]
    fn backfill_becomes_live_when_it_asks_so_and_leaves_its_place_to_others() {
        let (_folder, mut turns) = line_of(3);
        let zero = Duration::ZERO;
        assert!(turns[0].comes_within(zero, Urgency::Backfill));
        assert!(!turns[1].comes_within(zero, Urgency::Backfill));
        assert!(!turns[2].comes_within(zero, Urgency::Backfill));
        assert!(turns[1].comes_within(zero, Urgency::Live));
        turns[0].leave();
        turns[1].leave();
        assert!(turns[2].comes_within(zero, Urgency::Backfill));
    }

    #[test]
    fn live_writes_without_end_or_a_killed_one_hold_backfill_up_for_a_while_only() {
        let (_folder, mut turns) = line_of(2);
        let mut killed = turns.pop().unwrap();
        assert!(killed.comes_within(Duration::ZERO, Urgency::Live));
        std::mem::forget(killed);
        let mut last = turns.pop().unwrap();
        wait_until_due(&mut last);
        last.begun();
        last.leave();
        assert!(last.lane(Urgency::Live).is_empty());
        assert!(last.comes_within(Duration::ZERO, Urgency::Backfill));
    }

    #[test]
    fn a_page_of_nonsense_keeps_nobody_waiting() {
        for nonsense in [0x00_u8, 0x5a, 0x80, 0xff] {
            let (folder, mut turns) = line_of(2);
            assert!(turns[0].is_due(Urgency::Backfill));
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
        let line = turns[0].lane(Urgency::Backfill);
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
