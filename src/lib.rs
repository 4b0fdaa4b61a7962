//! candlestore keeps market candles in SQLite behind one serialized write queue per process.
//!
//! The layers, each using only those before it: values (`candle`, `json_text`, `rows`, `timeframe`, `value`, `error`, `options`),
//! mechanisms (`queue`, `jobs`, `overtaking`, `retry`, `breaker`, `turn`, `counts`, `tail_cache`), the seam to databases (`engine`), the threads (`writer`, `reader`, `wanted`),
//! their composition (`store`), and the edge to Node (`binding`). ARCHITECTURE.md shows the ways through them.

#![allow(
    clippy::result_large_err,
    reason = "an error carries the facts a person needs, is rare, and is moved a few times on its way out"
)]

mod beside;
#[cfg(feature = "napi")]
mod binding;
pub mod breaker;
pub mod candle;
pub mod counts;
pub mod engine;
pub mod error;
pub mod footprint;
pub mod histogram;
pub mod jobs;
pub mod json_rows;
pub mod json_text;
pub mod number_text;
pub mod options;
pub mod overtaking;
mod proc_locks;
pub mod queue;
#[cfg(all(test, feature = "shuttle"))]
mod queue_model;
pub mod reader;
pub mod reply;
pub mod retry;
pub mod rows;
pub mod store;
mod sync;
pub mod tail_cache;
#[cfg(test)]
mod testing;
pub mod timeframe;
pub mod turn;
pub mod value;
pub mod wanted;
pub mod writer;
