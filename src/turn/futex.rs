//! Sleeping on a word of shared memory until another process wakes the sleepers: the futex of 64-bit Linux. Elsewhere,
//! and where the call is forbidden, sleepers look again after a short pause. Waking is a hint: every sleep ends by itself.

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
use std::io;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::Duration;

/// Pause between two looks at the word where nobody can be woken.
const PACE: Duration = Duration::from_micros(200);

/// Owners of different tickets are woken apart from each other, by a bit of the ticket.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn bit(ticket: u32) -> u32 {
    1 << (ticket % 32)
}

/// Sleeps until `wake` is called for the ticket, unless `word` has another value than `expected`.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub fn sleep_on(word: &AtomicU32, expected: u32, ticket: u32, at_most: Duration) {
    let until = monotonic().saturating_add(at_most);
    let time = libc::timespec {
        tv_sec: until.as_secs() as libc::time_t,
        tv_nsec: until.subsec_nanos() as _,
    };
    // SAFETY: the word is mapped and aligned, the time outlives the call, and the kernel only reads both. Without
    // FUTEX_PRIVATE_FLAG the word is known by its file, so that other processes meet at it.
    let status = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT_BITSET,
            expected,
            &raw const time,
            std::ptr::null::<u32>(),
            bit(ticket),
        )
    };
    // Woken, out of time, another value, a signal: the caller looks for itself.
    let refused = [libc::ENOSYS, libc::EPERM, libc::EACCES, libc::EINVAL];
    let error = io::Error::last_os_error().raw_os_error();
    if status != 0 && error.is_some_and(|error| refused.contains(&error)) {
        thread::sleep(at_most.min(PACE));
    }
}

/// The clock of the kernel, which all processes share.
pub fn monotonic() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: clock_gettime writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub fn wake(word: &AtomicU32, ticket: u32) {
    // SAFETY: the word is mapped and aligned; waking reads nothing else.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE_BITSET,
            i32::MAX,
            std::ptr::null::<libc::timespec>(),
            std::ptr::null::<u32>(),
            bit(ticket),
        );
    }
}

/// Without a way to be woken by another process, waiters look again and again.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
pub fn sleep_on(_word: &AtomicU32, _expected: u32, _ticket: u32, at_most: Duration) {
    thread::sleep(at_most.min(PACE));
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
pub fn wake(_word: &AtomicU32, _ticket: u32) {}
