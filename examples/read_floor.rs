//! How long it takes to step through the newest candles of a series and look at each cell, without making anything of
//! them: what a read cannot take less than. `npm run bench` prints it beside its reads.
//!
//! `cargo run --release --no-default-features --example read_floor -- <file> <table> <symbol> <limit> <rounds>`
//!
//! Prints `{"medianUs":...,"minUs":...}`.

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use candlestore::candle::{CandleSink, CandleView, TimeRange};
use candlestore::engine::Engine;
use candlestore::engine::sqlite::{Sqlite, configure_library};
use candlestore::options::Options;
use candlestore::timeframe::Timeframe;

/// Looks at every cell.
#[derive(Default)]
struct Look {
    rows: u32,
    sum: f64,
}

impl CandleSink for Look {
    fn candle(&mut self, candle: CandleView<'_>) {
        self.rows += 1;
        self.sum += candle.numbers.iter().sum::<f64>();
        self.sum += candle.clusters.map_or(0.0, |text| text.len() as f64);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, table, symbol, limit, rounds] = &arguments[..] else {
        return Err("read_floor <file> <table> <symbol> <limit> <rounds>".into());
    };
    let minutes = table.trim_start_matches("candles_").parse()?;
    let (limit, rounds): (u32, usize) = (limit.parse()?, rounds.parse()?);
    let timeframe = Timeframe(minutes);
    configure_library();
    let options = Options {
        read_only: true,
        timeframes: vec![timeframe],
        ..Options::default()
    };
    let engine = Sqlite::open_file(Path::new(file), &options)?;
    let mut session = engine.open_reader().ok_or("no reader")??;
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds.max(1) {
        let mut look = Look::default();
        let start = Instant::now();
        session.scan(timeframe, symbol, TimeRange::ALL, limit, &mut look)?;
        times.push(start.elapsed());
        if look.rows != limit {
            return Err(format!("{} candles instead of {limit}", look.rows).into());
        }
        black_box(look.sum);
    }
    times.sort_unstable();
    let microseconds = |place: usize| times[place].as_secs_f64() * 1e6;
    println!(
        "{{\"medianUs\":{:.1},\"minUs\":{:.1}}}",
        microseconds(times.len() / 2),
        microseconds(0)
    );
    Ok(())
}
