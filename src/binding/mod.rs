//! The edge to Node: turns JS arguments into the store's values and back, and nothing else. Arguments were checked
//! in `lib/`; a panic becomes a JS error. No other module knows napi.

#![cfg_attr(
    test,
    allow(
        dead_code,
        reason = "in a test build nothing registers the exports with Node"
    )
)]

mod bytes;
mod environment;
mod exclusive;
mod jobs;
mod queries;
mod raw;
mod reads;
mod rows;
mod sink;
mod stats;
mod store;
mod value;

use std::panic::{AssertUnwindSafe, catch_unwind};

use napi_derive::napi;

use crate::error::{Code, StoreError};

/// The version of this package that the binary was built from.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The version of the SQLite library inside.
#[napi]
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// Every error code with whether it is worth a retry, for the check that Rust, JS and the types agree.
#[napi]
pub fn error_codes() -> Vec<(String, bool)> {
    Code::ALL
        .iter()
        .map(|code| (code.as_str().to_owned(), code.retryable()))
        .collect()
}

/// The names of all options, for the check that Rust and the types agree.
#[napi]
pub fn option_names() -> Vec<&'static str> {
    crate::options::NAMES.to_vec()
}

/// Runs a call from JS. An error's facts travel as JSON in the message, and `lib/errors.js` makes the error of them.
fn call<T>(run: impl FnOnce() -> crate::error::Result<T>) -> napi::Result<T> {
    let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        Err(StoreError::new(
            Code::Poisoned,
            "a bug in candlestore's native code: the call panicked; please report it",
        ))
    });
    result.map_err(|error| napi::Error::from_reason(to_json(&error)))
}

fn to_json(error: &StoreError) -> String {
    serde_json::to_string(error).unwrap_or_else(|_| error.message.clone())
}
