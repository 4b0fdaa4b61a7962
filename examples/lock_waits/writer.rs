//! One process of the load: writes without pause from one moment to another, and prints its settings and what it did.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use candlestore::candle::{ROW, Rows};
use candlestore::engine::sqlite::{Sqlite, configure_library};
use candlestore::engine::{Engine, WriteSession};
use candlestore::options::Options;
use candlestore::rows::{KeptRows, SqlText};
use candlestore::timeframe::Timeframe;
use candlestore::turn::now;
use candlestore::value::Value;

use crate::log::Log;
use crate::ways::{Waiting, Way};

/// The first argument of a process that writes.
pub const ROLE: &str = "--writer";
pub const TIMEFRAME: Timeframe = Timeframe(15);

const LARGE: usize = 1_000;
const SMALL: usize = 3;
const SMALL_PER_LARGE: usize = 4;
const STEP: f64 = 15.0 * 60_000.0;
const FIRST: f64 = 1_700_000_000_000.0;
/// What must be the same for all ways.
const SETTINGS: [&str; 4] = ["journal_mode", "synchronous", "cache_size", "page_size"];

struct Writer {
    session: Box<dyn WriteSession>,
    waiting: Waiting,
    log: Log,
    symbol: String,
    values: Vec<f64>,
    time: f64,
}

/// Writes for so long, from a moment of the clock that all processes share.
pub fn run(
    database: &Path,
    way: &'static Way,
    number: &str,
    start: Duration,
    time: Duration,
) -> Result<(), Box<dyn Error>> {
    configure_library();
    let engine = Sqlite::open_file(database, &Options::default())?;
    let mut session = engine.open_writer()?;
    let timeout = way.busy_timeout_ms();
    pragma(&mut *session, &format!("busy_timeout = {timeout}"))?;
    let mut settings = Vec::new();
    for name in SETTINGS {
        settings.push(format!("{name} {}", pragma(&mut *session, name)?));
    }
    let mut writer = Writer {
        session,
        waiting: Waiting::new(way, database)?,
        log: Log::new(engine.open_checkpoint().ok_or("there is no log")??),
        symbol: format!("WRITER{number}"),
        values: Vec::new(),
        time: FIRST,
    };
    let left = start.checked_sub(now());
    thread::sleep(left.ok_or("a writer was not ready in time")?);
    let (rows, small) = writer.write_for(time)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", settings.join(", "))?;
    write!(out, "{rows} {}", writer.log.most_bytes)?;
    for microseconds in small {
        write!(out, " {microseconds}")?;
    }
    Ok(())
}

fn pragma(session: &mut dyn WriteSession, pragma: &str) -> Result<String, Box<dyn Error>> {
    let mut result = KeptRows::default();
    let raw = session.raw().ok_or("no raw handle")?;
    raw.run_plain(&SqlText::new(format!("PRAGMA {pragma}")), &[], &mut result)?;
    match result.rows.first().and_then(|row| row.first()) {
        Some(Value::Integer(number)) => Ok(number.to_string()),
        Some(Value::Text(text)) => Ok(text.clone()),
        value => Err(format!("PRAGMA {pragma} gave {value:?}").into()),
    }
}

impl Writer {
    /// Gives the rows that were written, and the microseconds that each small transaction took.
    fn write_for(&mut self, time: Duration) -> Result<(usize, Vec<u128>), Box<dyn Error>> {
        let (mut rows, mut small) = (0, Vec::new());
        let start = Instant::now();
        while start.elapsed() < time {
            self.write(LARGE)?;
            for _ in 0..SMALL_PER_LARGE {
                let wanted = Instant::now();
                self.write(SMALL)?;
                small.push(wanted.elapsed().as_micros());
            }
            rows += LARGE + SMALL_PER_LARGE * SMALL;
        }
        Ok((rows, small))
    }

    /// One transaction of candles that are not there yet.
    fn write(&mut self, rows: usize) -> Result<(), Box<dyn Error>> {
        self.values.clear();
        let is_small = rows == SMALL;
        for _ in 0..rows {
            self.time += STEP;
            let mut row = [self.time / 1e9; ROW];
            row[0] = self.time;
            // No footprint.
            row[ROW - 1] = 0.0;
            self.values.extend(row);
        }
        let rows = Rows::new(&self.values, "")?;
        self.waiting.begin(&mut *self.session, is_small)?;
        self.session.upsert(TIMEFRAME, &self.symbol, rows)?;
        self.session.commit()?;
        self.log.committed(self.session.log_bytes());
        self.waiting.leave();
        Ok(())
    }
}
