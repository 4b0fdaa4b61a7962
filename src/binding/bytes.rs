//! Memory of answers that are given away as Buffers. It comes back when the last Buffer on it was collected, and is used
//! again: memory that is fresh from the system is filled with zeros page by page, which takes longer than an answer does.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use napi::bindgen_prelude::{BufferSlice, ToNapiValue, TypeName};
use napi::{Env, ValueType, sys};

use crate::writer::lock;

/// About as much as V8 lets pile up before it collects Buffers.
const MOST_KEPT: usize = 48 << 20;
/// What nobody has used for so long goes back to the system, when the next answer is made or collected.
const LONGEST: Duration = Duration::from_secs(10);
/// Smaller ones are not worth it.
const LEAST: usize = 16 << 10;

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    memory: Vec::new(),
    bytes: 0,
});

struct Kept {
    /// With the time of its coming back: the oldest stand first.
    memory: Vec<(Instant, Vec<u8>)>,
    bytes: usize,
}

impl Kept {
    fn let_go_of_old(&mut self, now: Instant) {
        let old = self
            .memory
            .partition_point(|(since, _)| now.duration_since(*since) > LONGEST);
        let freed: usize = self
            .memory
            .drain(..old)
            .map(|(_, memory)| memory.capacity())
            .sum();
        self.bytes -= freed;
    }
}

/// Empty memory for so many bytes.
pub fn take(capacity: usize) -> Vec<u8> {
    if capacity >= LEAST {
        let mut kept = lock(&KEPT);
        let fits = |(_, memory): &(Instant, Vec<u8>)| {
            (capacity..=4 * capacity).contains(&memory.capacity())
        };
        if let Some(place) = kept.memory.iter().rposition(fits) {
            let (_, mut memory) = kept.memory.remove(place);
            kept.bytes -= memory.capacity();
            memory.clear();
            return memory;
        }
    }
    Vec::with_capacity(capacity)
}

fn give_back(memory: Vec<u8>) {
    if memory.capacity() >= LEAST {
        let now = Instant::now();
        let mut kept = lock(&KEPT);
        kept.let_go_of_old(now);
        if kept.bytes + memory.capacity() <= MOST_KEPT {
            kept.bytes += memory.capacity();
            kept.memory.push((now, memory));
        }
    }
}

/// Bytes that become a Buffer without being copied.
pub struct Bytes(pub Vec<u8>);

impl TypeName for Bytes {
    fn type_name() -> &'static str {
        "Bytes"
    }

    fn value_type() -> ValueType {
        ValueType::Object
    }
}

impl ToNapiValue for Bytes {
    unsafe fn to_napi_value(env: sys::napi_env, given: Self) -> napi::Result<sys::napi_value> {
        let mut bytes = given.0;
        if bytes.is_empty() {
            // SAFETY: env is that of the running call; no memory of ours is involved.
            return unsafe {
                BufferSlice::to_napi_value(env, BufferSlice::from_data(&Env::from_raw(env), bytes)?)
            };
        }
        let (start, length) = (bytes.as_mut_ptr(), bytes.len());
        // SAFETY: env is that of the running call. The memory goes with the Buffer, nobody else can reach it, and the
        // callback gets it back when no Buffer is left on it, or at once if the engine copies.
        unsafe {
            let buffer = BufferSlice::from_external(
                &Env::from_raw(env),
                start,
                length,
                bytes,
                |_, memory| give_back(memory),
            )?;
            BufferSlice::to_napi_value(env, buffer)
        }
    }
}
