//! How the processes that write one database take turns: `line` orders those of candlestore, `room` lets others in. Where
//! there is no memory that processes can share nobody lines up, and everybody tries the lock at a constant pace.

#[cfg(unix)]
mod futex;
#[cfg(unix)]
mod line;
#[cfg(not(unix))]
mod nobody;
mod room;

use std::time::Duration;

#[cfg(unix)]
pub use self::line::Turn;
#[cfg(not(unix))]
pub use self::nobody::Turn;
pub use self::room::Room;

/// What a write waits as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Before backfill.
    Live,
    Backfill,
}

/// A clock that all processes of the machine share.
#[cfg(unix)]
pub fn now() -> Duration {
    futex::monotonic()
}

#[cfg(not(unix))]
pub fn now() -> Duration {
    use std::time::Instant;

    static START: once_cell::sync::Lazy<Instant> = once_cell::sync::Lazy::new(Instant::now);
    START.elapsed()
}
