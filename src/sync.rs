//! The locks of what a model checker looks at: those of the standard library, or, in tests with the feature `shuttle`,
//! locks at which it chooses the thread that goes on.

#[cfg(all(test, feature = "shuttle"))]
pub use shuttle::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(all(test, feature = "shuttle")))]
pub use std::sync::{Condvar, Mutex, MutexGuard};
