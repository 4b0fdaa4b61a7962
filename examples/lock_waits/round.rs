//! One round of one way, in processes of its own on a new database, and the table of all rounds.

use std::collections::BTreeSet;
use std::error::Error;
use std::process::{Command, Stdio};
use std::time::Duration;

use candlestore::engine::Engine;
use candlestore::engine::sqlite::Sqlite;
use candlestore::options::Options;
use candlestore::turn::now;

use crate::ways::Way;
use crate::writer::{ROLE, TIMEFRAME};

pub const WRITERS: usize = 4;
/// After so long all processes are ready, and begin at once.
const READY: Duration = Duration::from_millis(500);

/// The columns of the table, with the decimals that are shown.
const COLUMNS: [(&str, usize); 7] = [
    ("thousand rows/s", 0),
    ("3-row p50 ms", 2),
    ("p99 ms", 1),
    ("worst ms", 0),
    ("Jain", 4),
    ("CPU s per s", 2),
    ("WAL MB", 0),
];

/// The numbers of one round, in the order of the columns.
pub type Numbers = [f64; COLUMNS.len()];

/// Runs one way for so many seconds; adds the settings that the writers tell.
pub fn run(
    way: &Way,
    seconds: f64,
    settings: &mut BTreeSet<String>,
) -> Result<Numbers, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let database = folder.path().join("candles.db");
    let engine = Sqlite::open_file(&database, &Options::default())?;
    let before = processor_time();
    let start = (now() + READY).as_secs_f64();
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        let mut writer = Command::new(std::env::current_exe()?);
        writer.arg(ROLE).arg(&database).arg(way.name);
        writer.args([number as f64, start, seconds].map(|number| number.to_string()));
        writers.push(writer.stdout(Stdio::piped()).spawn()?);
    }
    let (mut rows, mut log, mut small) = (Vec::new(), 0.0_f64, Vec::new());
    for writer in writers {
        let output = writer.wait_with_output()?;
        let text = String::from_utf8(output.stdout)?;
        let (told, numbers) = text.split_once('\n').ok_or("a writer has failed")?;
        settings.insert(told.to_owned());
        let mut numbers = numbers.split(' ').map(str::parse::<f64>);
        rows.push(numbers.next().ok_or("no rows")??);
        log = log.max(numbers.next().ok_or("no size of the log")??);
        for microseconds in numbers {
            small.push(microseconds? / 1e3);
        }
    }
    let processor = processor_time() - before;
    let written: f64 = rows.iter().sum();
    let squares: f64 = rows.iter().map(|rows| rows * rows).sum();
    let mut reader = engine.open_reader().ok_or("there is no reader")??;
    let (_, found) = reader.counts(&[TIMEFRAME], &mut || true)?;
    if found != [written as u64] {
        return Err(format!("{written} rows were written and {found:?} are there").into());
    }
    small.sort_by(f64::total_cmp);
    let small_at = |share: f64| small[((small.len() - 1) as f64 * share) as usize];
    Ok([
        written / seconds / 1e3,
        small_at(0.5),
        small_at(0.99),
        small_at(1.0),
        written * written / (WRITERS as f64 * squares),
        processor / seconds,
        log / 1e6,
    ])
}

/// Seconds of processor time that processes started here have used, once they have ended.
fn processor_time() -> f64 {
    // SAFETY: all zeros is an rusage.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: getrusage writes one rusage.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &mut used) };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(used.ru_utime) + seconds(used.ru_stime)
}

/// Prints the medians as a table, and the range of the first column.
pub fn print(ways: &[&Way], results: &[Vec<Numbers>]) {
    println!("| way | {} |", COLUMNS.map(|(name, _)| name).join(" | "));
    println!("| --- |{}", " ---: |".repeat(COLUMNS.len()));
    for (way, rounds) in ways.iter().zip(results) {
        print!("| {} |", way.name);
        for (column, (_, decimals)) in COLUMNS.into_iter().enumerate() {
            let mut values: Vec<f64> = rounds.iter().map(|numbers| numbers[column]).collect();
            values.sort_by(f64::total_cmp);
            print!(" {:.decimals$}", values[values.len() / 2]);
            if column == 0 {
                print!(" ({:.0} to {:.0})", values[0], values[values.len() - 1]);
            }
            print!(" |");
        }
        println!();
    }
}
