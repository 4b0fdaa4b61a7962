//! Compares ways in which processes can wait for SQLite's write lock, for the table in ARCHITECTURE.md.
//!
//! `cargo run --release --no-default-features --example lock_waits [seconds [rounds [way ...]]]`
//!
//! Four processes write to one new file without pause, one transaction of 1,000 candles to four of 3. They write by
//! candlestore's engine, so that all ways have its durability, cache, page size and checkpoints, and only the waiting
//! differs. Without names, all ways in `ways.rs` are run. Their rounds follow each other in turns, because a machine is
//! faster at one time than at another, and the table shows the median of each number and the range of the rows.
//!
//! Throughput alone tells little: SQLite's own handler is quick because whoever has the lock gets it again, while
//! others wait for seconds. So read it together with the worst wait and with Jain's index of the rows of each writer,
//! which is 1 when all have written the same and 0.25 when one has written everything.

#[cfg(target_os = "linux")]
mod log;
#[cfg(target_os = "linux")]
mod round;
#[cfg(target_os = "linux")]
mod ways;
#[cfg(target_os = "linux")]
mod writer;

use std::error::Error;

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn Error>> {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use ways::{WAYS, Way};

    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, database, way, number, start, seconds] = &arguments[..]
        && role == writer::ROLE
    {
        let start = Duration::from_secs_f64(start.parse()?);
        let time = Duration::from_secs_f64(seconds.parse()?);
        return writer::run(database.as_ref(), Way::named(way)?, number, start, time);
    }
    let seconds: f64 = arguments.first().map_or(Ok(5.0), |text| text.parse())?;
    let rounds: u32 = arguments.get(1).map_or(Ok(5), |text| text.parse())?;
    let named = arguments.iter().skip(2).map(|name| Way::named(name));
    let mut ways = named.collect::<Result<Vec<&Way>, _>>()?;
    if ways.is_empty() {
        ways.extend(&WAYS);
    }
    let mut results = vec![Vec::new(); ways.len()];
    let mut settings = BTreeSet::new();
    for number in 1..=rounds.max(1) {
        for (way, results) in ways.iter().zip(&mut results) {
            eprintln!("round {number} of {rounds}: {}", way.name);
            results.push(round::run(way, seconds, &mut settings)?);
        }
    }
    let (writers, settings) = (round::WRITERS, Vec::from_iter(settings).join(" or "));
    println!("{writers} writers, medians of {rounds} rounds of {seconds} s; {settings}\n");
    round::print(&ways, &results);
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() -> Result<(), Box<dyn Error>> {
    Err("some of the locks that are compared are only on Linux".into())
}
