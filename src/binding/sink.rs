//! Where a handle's outcomes and events wait for JS. One weak threadsafe function wakes the JS thread when the box
//! is no longer empty; JS then takes everything in one call.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use napi::bindgen_prelude::{Function, Unknown};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};

use crate::reply::{Event, EventKind, Outcome, Sink};
use crate::writer::lock;

/// A function without arguments, called on the JS thread; it keeps no process alive.
type Wake = ThreadsafeFunction<(), Unknown<'static>, (), napi::Status, false, true>;

/// The bits of `JsSink::listen`, by event.
pub const CANDLES: u32 = 1;
pub const DRAINED: u32 = 2;
pub const STORE_ERROR: u32 = 4;
pub const LOCK_WAIT: u32 = 8;
pub const SLOW_WRITE: u32 = 16;
pub const BREAKER: u32 = 32;

pub struct JsSink {
    waiting: Mutex<Waiting>,
    wake: Mutex<Option<Wake>>,
    wanted: AtomicU32,
    muted: AtomicBool,
}

/// What JS has not taken yet.
#[derive(Default)]
pub struct Waiting {
    pub outcomes: Vec<Outcome>,
    pub events: Vec<Event>,
}

impl JsSink {
    pub fn new(wake: &Function<(), Unknown<'static>>) -> napi::Result<Self> {
        let wake = wake
            .build_threadsafe_function::<()>()
            .weak::<true>()
            .callee_handled::<false>()
            .build()?;
        Ok(Self {
            waiting: Mutex::default(),
            wake: Mutex::new(Some(wake)),
            wanted: AtomicU32::new(0),
            muted: AtomicBool::new(false),
        })
    }

    pub fn listen(&self, wanted: u32) {
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    pub fn take(&self) -> Waiting {
        std::mem::take(&mut *lock(&self.waiting))
    }

    /// JS will not run again: it is not woken any more.
    pub fn mute(&self) {
        self.muted.store(true, Ordering::SeqCst);
    }

    /// Nobody takes anything any more.
    pub fn end(&self) {
        drop(lock(&self.wake).take());
    }

    fn put(&self, add: impl FnOnce(&mut Waiting)) {
        let was_empty = {
            let mut waiting = lock(&self.waiting);
            let was_empty = waiting.outcomes.is_empty() && waiting.events.is_empty();
            add(&mut waiting);
            was_empty
        };
        if was_empty
            && !self.muted.load(Ordering::SeqCst)
            && let Some(wake) = &*lock(&self.wake)
        {
            // An environment that is ending refuses: then nobody is left to be told.
            let _ = wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}

impl Sink for JsSink {
    fn settle(&self, outcomes: Vec<Outcome>) {
        self.put(|waiting| waiting.outcomes.extend(outcomes));
    }

    fn event(&self, event: Event) {
        if self.wants(event.kind()) {
            self.put(|waiting| waiting.events.push(event));
        }
    }

    fn wants(&self, kind: EventKind) -> bool {
        let bit = match kind {
            EventKind::Candles => CANDLES,
            EventKind::Drained => DRAINED,
            EventKind::StoreError => STORE_ERROR,
            EventKind::LockWait => LOCK_WAIT,
            EventKind::SlowWrite => SLOW_WRITE,
            EventKind::Breaker => BREAKER,
        };
        self.wanted.load(Ordering::Relaxed) & bit != 0
    }
}
