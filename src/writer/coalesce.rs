//! Several writes of one candle in a group: only the newest accepted one is written, and the others are told how many
//! of their rows that spared. Statements and deletions are barriers, because what they do depends on what was written
//! before them.

use std::collections::HashMap;

use super::command::{Command, Work, times};
use crate::overtaking::Overtaking;
use crate::queue::Entry;
use crate::timeframe::Timeframe;

/// Commands at the head of a group that are applied one after the other.
#[derive(Debug, PartialEq)]
pub struct Run {
    pub commands: usize,
    /// Some of them leave candles to others of them, so that all have to be committed together.
    pub is_coalesced: bool,
}

/// Looks at the commands up to the first barrier and remembers in `newer` the candles that several of them write.
pub fn coalesce(entries: &[Entry<Command>], newer: &mut Overtaking) -> Run {
    let mut series: HashMap<(Timeframe, &str), Vec<Span>> = HashMap::new();
    let mut commands = 0;
    for (place, entry) in entries.iter().enumerate() {
        let Work::Upsert {
            timeframe,
            symbol,
            rows,
        } = &entry.command.work
        else {
            break;
        };
        commands += 1;
        let rows = rows.rows();
        if let (Some(from), Some(to)) = (times(rows).min(), times(rows).max()) {
            let span = Span { from, to, place };
            series.entry((*timeframe, symbol)).or_default().push(span);
        }
    }
    let mut is_coalesced = false;
    for spans in series.values_mut() {
        if !overlap(spans) {
            continue;
        }
        is_coalesced = true;
        for span in spans {
            let entry = &entries[span.place];
            entry.command.work.overtake(newer, entry.sequence);
        }
    }
    Run {
        commands: commands.max(1),
        is_coalesced,
    }
}

/// From the first to the last candle of one command.
struct Span {
    from: i64,
    to: i64,
    place: usize,
}

fn overlap(spans: &mut [Span]) -> bool {
    spans.sort_unstable_by_key(|span| span.from);
    spans.windows(2).any(|pair| pair[0].to >= pair[1].from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Load;
    use crate::reply::Reply;
    use crate::testing::{FRAME, Told, owned, statement};
    use crate::value::Statement;
    use std::time::{Duration, Instant};

    fn entries(works: Vec<Work>) -> Vec<Entry<Command>> {
        let entry = |(number, work): (usize, Work)| Entry {
            sequence: number as u64 + 1,
            priority: crate::queue::Priority::Live,
            accepted: Instant::now(),
            deadline: None,
            load: Load { rows: 1, bytes: 1 },
            job: 0,
            barred_before: Duration::ZERO,
            kept: Duration::ZERO,
            command: Command {
                work,
                reply: Reply {
                    sink: Told::new(),
                    id: number as u64,
                },
            },
        };
        works.into_iter().enumerate().map(entry).collect()
    }

    fn upsert(symbol: &str, times: &[i64]) -> Work {
        let candles: Vec<_> = times.iter().map(|time| (*time, 1.0)).collect();
        Work::Upsert {
            timeframe: FRAME,
            symbol: symbol.into(),
            rows: owned(&candles),
        }
    }

    fn run(works: Vec<Work>) -> Run {
        coalesce(&entries(works), &mut Overtaking::default())
    }

    #[test]
    fn writes_of_different_candles_are_left_as_they_are() {
        let works = vec![
            upsert("A", &[1, 2]),
            upsert("A", &[3]),
            upsert("B", &[1, 2, 3]),
        ];
        let expected = Run {
            commands: 3,
            is_coalesced: false,
        };
        assert_eq!(run(works), expected);
    }

    #[test]
    fn a_statement_is_a_barrier_and_a_run_of_its_own() {
        let barrier = || Work::Statements(vec![statement("x") as Statement]);
        let works = vec![upsert("A", &[1]), barrier(), upsert("A", &[1])];
        assert_eq!(
            run(works),
            Run {
                commands: 1,
                is_coalesced: false
            }
        );
        assert_eq!(run(vec![barrier(), barrier()]).commands, 1);
    }

    #[test]
    fn of_several_writes_of_a_candle_all_but_the_newest_leave_it_alone() {
        let works = vec![
            upsert("A", &[1, 2]),
            upsert("A", &[2, 3]),
            upsert("B", &[2]),
        ];
        let entries = entries(works);
        let mut newer = Overtaking::default();
        assert!(coalesce(&entries, &mut newer).is_coalesced);
        let left = |place: usize, symbol: &str| {
            let Work::Upsert { rows, .. } = &entries[place].command.work else {
                panic!("an upsert");
            };
            let fewer = newer.remaining(FRAME, &symbol.into(), rows.rows(), place as u64 + 1);
            times(fewer.as_ref().unwrap_or(rows).rows()).collect::<Vec<_>>()
        };
        assert_eq!(
            (left(0, "A"), left(1, "A"), left(2, "B")),
            (vec![1], vec![2, 3], vec![2])
        );
    }
}
