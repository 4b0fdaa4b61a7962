//! The ends of open handles that JS does not see: of one Node environment (the main thread or a worker), and of the
//! process. Leases are rolled back, queues drained and threads joined.
//!
//! An environment that ends in order runs its clean-up hooks. `process.exit()` and an uncaught error on the main thread
//! run none (Node goes straight to exit(3)), so there is a handler for that, too.

use std::cell::Cell;
use std::sync::{Arc, Mutex, Once, Weak};
use std::thread::{JoinHandle, ThreadId};

use napi::Env;

use super::sink::JsSink;
use crate::store::Handle;
use crate::writer::lock;

/// A handle, the JS thread that opened it, and where its outcomes wait.
struct Opened {
    thread: ThreadId,
    handle: Weak<Handle>,
    sink: Weak<JsSink>,
}

static OPENED: Mutex<Vec<Opened>> = Mutex::new(Vec::new());

/// Threads that close handles in the background, to be joined before the library may be unloaded.
static CLOSERS: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

thread_local! {
    /// Whether this environment's clean-up hook is registered.
    static HOOKED: Cell<bool> = const { Cell::new(false) };
}

/// Remembers a handle for the end of its environment and of the process.
pub fn remember(env: &Env, handle: &Arc<Handle>, sink: &Arc<JsSink>) -> napi::Result<()> {
    static AT_EXIT: Once = Once::new();
    AT_EXIT.call_once(|| {
        // SAFETY: the function has the type that atexit takes and catches its panics; the library stays loaded.
        unsafe { libc::atexit(at_exit) };
    });
    if !HOOKED.get() {
        env.add_env_cleanup_hook((), |()| {
            HOOKED.set(false);
            let thread = std::thread::current().id();
            close_all(|opened| opened.thread == thread);
        })?;
        HOOKED.set(true);
    }
    let mut all = lock(&OPENED);
    all.retain(|opened| opened.handle.strong_count() > 0);
    all.push(Opened {
        thread: std::thread::current().id(),
        handle: Arc::downgrade(handle),
        sink: Arc::downgrade(sink),
    });
    Ok(())
}

extern "C" fn at_exit() {
    // Nobody is left who could be told of a panic, and it must not unwind into C.
    let _ = std::panic::catch_unwind(|| close_all(|_| true));
}

fn close_all(which: impl Fn(&Opened) -> bool) {
    let ending: Vec<Opened> = {
        let mut all = lock(&OPENED);
        let (ending, staying) = std::mem::take(&mut *all).into_iter().partition(which);
        *all = staying;
        ending
    };
    // JS will not run again: nothing must try to wake it.
    for sink in ending.iter().filter_map(|opened| opened.sink.upgrade()) {
        sink.mute();
    }
    let handles: Vec<_> = ending
        .iter()
        .filter_map(|opened| opened.handle.upgrade())
        .collect();
    // All leases and reads first: a handle that waits for another's lease would only lose its time.
    for handle in &handles {
        handle.abandon_lease();
        handle.abandon_reads();
    }
    for handle in &handles {
        handle.close(handle.default_close_deadline_ms());
    }
    for closer in std::mem::take(&mut *lock(&CLOSERS)) {
        let _ = closer.join();
    }
}

/// Closes a handle that takes no more work, on a thread of its own, and then does `after`; on this thread if none can
/// be started.
pub fn close_in_background(
    handle: Arc<Handle>,
    deadline_ms: f64,
    after: impl FnOnce() + Send + 'static,
) {
    let closing = handle.clone();
    let job = Mutex::new(Some(after));
    let job = Arc::new(job);
    let same = job.clone();
    let finish = move || {
        if let Some(after) = lock(&same).take() {
            after();
        }
    };
    let started = std::thread::Builder::new()
        .name("candlestore-closer".into())
        .spawn(move || {
            closing.finish_close(deadline_ms);
            finish();
        });
    match started {
        Ok(thread) => {
            let mut closers = lock(&CLOSERS);
            closers.retain(|closer| !closer.is_finished());
            closers.push(thread);
        }
        Err(_) => {
            handle.finish_close(deadline_ms);
            if let Some(after) = lock(&job).take() {
                after();
            }
        }
    }
}
