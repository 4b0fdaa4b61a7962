//! Reads of candles while another connection commits: each is of one commit.

#![expect(clippy::expect_used, reason = "a failed expectation fails the test")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rusqlite::Connection;

use super::Sqlite;
use crate::candle::{ReadRows, TimeRange};
use crate::engine::Engine;
use crate::engine::fake::PATIENCE;
use crate::testing::{FRAME, SYMBOL, options};

const LIMIT: u32 = 100;
const READS: usize = 5_000;

/// Another program, which now has as many candles as are asked for, now one more.
fn come_and_go(path: &Path, done: &AtomicBool) -> rusqlite::Result<()> {
    let other = Connection::open(path)?;
    other.busy_timeout(PATIENCE)?;
    let mut insert = other.prepare(
        "INSERT INTO candles_15 (symbol, time, open, high, low, close, volume) VALUES (?1, ?2, 1, 1, 1, 1, 1)",
    )?;
    let mut delete = other.prepare("DELETE FROM candles_15 WHERE symbol = ?1 AND time = ?2")?;
    for time in 0..LIMIT {
        insert.execute((SYMBOL, time))?;
    }
    while !done.load(Ordering::Relaxed) {
        insert.execute((SYMBOL, LIMIT))?;
        delete.execute((SYMBOL, LIMIT))?;
    }
    Ok(())
}

#[test]
fn a_read_never_gives_more_than_was_asked_for_however_others_commit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("candles.db");
    let engine = Sqlite::open_file(&path, &options()).expect("a database file");
    let done = AtomicBool::new(false);
    let most = thread::scope(|scope| {
        let writing = scope.spawn(|| come_and_go(&path, &done));
        let reading = scope.spawn(|| -> crate::error::Result<usize> {
            let mut session = engine.open_reader().expect("files have readers")?;
            let mut most = 0;
            for _ in 0..READS {
                let mut rows = ReadRows::default();
                session.read_candles(FRAME, SYMBOL, TimeRange::ALL, LIMIT, &mut rows)?;
                most = most.max(rows.len());
            }
            Ok(most)
        });
        let most = reading.join();
        done.store(true, Ordering::Relaxed);
        let written = writing.join().expect("the writer ends");
        written.expect("writes");
        most.expect("the reader ends").expect("reads")
    });
    assert_eq!(most, LIMIT as usize);
}
