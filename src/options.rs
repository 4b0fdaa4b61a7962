//! The options of a store: one table of names, bounds and defaults, read from the JSON that the caller's object
//! becomes. What an option means is told in `index.d.ts`; a test compares the two.

use serde_json::{Map, Value};

use crate::error::{Code, Result, StoreError};
use crate::timeframe::Timeframe;

/// When a commit is flushed to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronous {
    /// At checkpoints: a commit survives the death of the process; power loss may take the last ones.
    Normal,
    /// At every commit.
    Full,
}

/// Where sorting and temporary tables live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TempStore {
    Memory,
    File,
}

/// What `enqueue*` does when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    Reject,
    Wait,
}

/// Pauses between attempts to write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    pub base_ms: f64,
    pub factor: f64,
    pub cap_ms: f64,
    pub jitter_ms: f64,
}

/// When the store stops trying to write to a disk that refuses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Breaker {
    pub threshold: u32,
    pub recovery_ms: f64,
}

/// Everything that can be set at `openStore`.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub read_only: bool,
    pub file_must_exist: bool,
    pub timeframes: Vec<Timeframe>,
    pub synchronous: Synchronous,
    pub busy_timeout_ms: f64,
    pub cache_size_kib: u32,
    pub temp_store: TempStore,
    pub queue_capacity_rows: usize,
    pub queue_capacity_bytes: usize,
    pub when_full: WhenFull,
    pub max_batch_rows: usize,
    pub group_budget_ms: f64,
    pub max_readers: usize,
    pub reader_idle_ms: f64,
    pub read_timeout_ms: f64,
    pub tail_cache_bytes: usize,
    pub stats_budget_ms: f64,
    pub retry: Retry,
    pub breaker: Breaker,
    pub close_deadline_ms: f64,
    pub allow_network_file_system: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            read_only: false,
            file_must_exist: false,
            timeframes: [15, 60, 240, 1440].map(Timeframe).to_vec(),
            synchronous: Synchronous::Normal,
            busy_timeout_ms: 5_000.0,
            cache_size_kib: 32_768,
            temp_store: TempStore::Memory,
            queue_capacity_rows: 200_000,
            queue_capacity_bytes: 64 << 20,
            when_full: WhenFull::Reject,
            max_batch_rows: 5_000,
            group_budget_ms: 20.0,
            max_readers: 4,
            reader_idle_ms: 60_000.0,
            read_timeout_ms: 30_000.0,
            tail_cache_bytes: 32 << 20,
            stats_budget_ms: 20.0,
            retry: Retry {
                base_ms: 50.0,
                factor: 2.0,
                cap_ms: 2_000.0,
                jitter_ms: 50.0,
            },
            breaker: Breaker {
                threshold: 3,
                recovery_ms: 60_000.0,
            },
            close_deadline_ms: 1_200.0,
            allow_network_file_system: false,
        }
    }
}

/// Name, smallest and largest value of every option that is a number.
const NUMBERS: [(&str, f64, f64); 12] = [
    ("busyTimeoutMs", 0.0, 3_600_000.0),
    ("cacheSizeKiB", 256.0, 204_800.0),
    ("queueCapacityRows", 1.0, 10_000_000.0),
    ("queueCapacityBytes", 65_536.0, 1_073_741_824.0),
    ("maxBatchRows", 1.0, 100_000.0),
    ("groupBudgetMs", 1.0, 1_000.0),
    ("maxReaders", 1.0, 64.0),
    ("readerIdleMs", 100.0, 86_400_000.0),
    ("readTimeoutMs", 100.0, 86_400_000.0),
    ("tailCacheBytes", 0.0, 209_715_200.0),
    ("statsBudgetMs", 0.0, 10_000.0),
    ("closeDeadlineMs", 0.0, 3_600_000.0),
];
const RETRY: [(&str, f64, f64); 4] = [
    ("baseMs", 1.0, 60_000.0),
    ("factor", 1.0, 10.0),
    ("capMs", 1.0, 600_000.0),
    ("jitterMs", 0.0, 60_000.0),
];
const BREAKER: [(&str, f64, f64); 2] = [
    ("threshold", 1.0, 1_000.0),
    ("recoveryMs", 100.0, 86_400_000.0),
];

/// Every name `openStore` takes.
pub const NAMES: [&str; 21] = [
    "readOnly",
    "fileMustExist",
    "timeframes",
    "synchronous",
    "busyTimeoutMs",
    "cacheSizeKiB",
    "tempStore",
    "queueCapacityRows",
    "queueCapacityBytes",
    "whenFull",
    "maxBatchRows",
    "groupBudgetMs",
    "maxReaders",
    "readerIdleMs",
    "readTimeoutMs",
    "tailCacheBytes",
    "statsBudgetMs",
    "retry",
    "breaker",
    "closeDeadlineMs",
    "allowNetworkFileSystem",
];

impl Options {
    /// Reads options from the caller's object; the first thing wrong is an `INVALID_OPTION` that says what fits.
    pub fn from_json(text: &str) -> Result<Self> {
        let given: Map<String, Value> = serde_json::from_str(text)
            .map_err(|cause| invalid(format!("options must be an object ({cause})")))?;
        let mut options = Self::default();
        for (name, value) in &given {
            options.set(name, value)?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &Value) -> Result<()> {
        match name {
            "readOnly" => self.read_only = boolean(name, value)?,
            "fileMustExist" => self.file_must_exist = boolean(name, value)?,
            "allowNetworkFileSystem" => self.allow_network_file_system = boolean(name, value)?,
            "timeframes" => self.timeframes = timeframes(value)?,
            "synchronous" => {
                self.synchronous = one_of(
                    name,
                    value,
                    &[("normal", Synchronous::Normal), ("full", Synchronous::Full)],
                )?
            }
            "tempStore" => {
                self.temp_store = one_of(
                    name,
                    value,
                    &[("memory", TempStore::Memory), ("file", TempStore::File)],
                )?
            }
            "whenFull" => {
                self.when_full = one_of(
                    name,
                    value,
                    &[("reject", WhenFull::Reject), ("wait", WhenFull::Wait)],
                )?
            }
            "retry" => {
                let [base_ms, factor, cap_ms, jitter_ms] = numbers(
                    name,
                    value,
                    &RETRY,
                    [
                        self.retry.base_ms,
                        self.retry.factor,
                        self.retry.cap_ms,
                        self.retry.jitter_ms,
                    ],
                )?;
                self.retry = Retry {
                    base_ms,
                    factor,
                    cap_ms,
                    jitter_ms,
                };
            }
            "breaker" => {
                let [threshold, recovery_ms] = numbers(
                    name,
                    value,
                    &BREAKER,
                    [f64::from(self.breaker.threshold), self.breaker.recovery_ms],
                )?;
                self.breaker = Breaker {
                    threshold: threshold as u32,
                    recovery_ms,
                };
            }
            "busyTimeoutMs" => self.busy_timeout_ms = number(name, value)?,
            "cacheSizeKiB" => self.cache_size_kib = number(name, value)? as u32,
            "queueCapacityRows" => self.queue_capacity_rows = number(name, value)? as usize,
            "queueCapacityBytes" => self.queue_capacity_bytes = number(name, value)? as usize,
            "maxBatchRows" => self.max_batch_rows = number(name, value)? as usize,
            "groupBudgetMs" => self.group_budget_ms = number(name, value)?,
            "maxReaders" => self.max_readers = number(name, value)? as usize,
            "readerIdleMs" => self.reader_idle_ms = number(name, value)?,
            "readTimeoutMs" => self.read_timeout_ms = number(name, value)?,
            "tailCacheBytes" => self.tail_cache_bytes = number(name, value)? as usize,
            "statsBudgetMs" => self.stats_budget_ms = number(name, value)?,
            "closeDeadlineMs" => self.close_deadline_ms = number(name, value)?,
            _ => {
                let near = nearest(name, &NAMES);
                return Err(invalid(format!(
                    "there is no option {name:?}; did you mean {near:?}?"
                )));
            }
        }
        Ok(())
    }

    /// The name of the first option in which two stores on one file differ; what only one handle uses may differ.
    pub fn conflict(&self, other: &Self) -> Option<&'static str> {
        let differs = [
            ("readOnly", self.read_only != other.read_only),
            ("timeframes", self.timeframes != other.timeframes),
            ("synchronous", self.synchronous != other.synchronous),
            (
                "busyTimeoutMs",
                self.busy_timeout_ms != other.busy_timeout_ms,
            ),
            ("cacheSizeKiB", self.cache_size_kib != other.cache_size_kib),
            ("tempStore", self.temp_store != other.temp_store),
            (
                "queueCapacityRows",
                self.queue_capacity_rows != other.queue_capacity_rows,
            ),
            (
                "queueCapacityBytes",
                self.queue_capacity_bytes != other.queue_capacity_bytes,
            ),
            ("whenFull", self.when_full != other.when_full),
            ("maxBatchRows", self.max_batch_rows != other.max_batch_rows),
            (
                "groupBudgetMs",
                self.group_budget_ms != other.group_budget_ms,
            ),
            ("maxReaders", self.max_readers != other.max_readers),
            ("readerIdleMs", self.reader_idle_ms != other.reader_idle_ms),
            (
                "readTimeoutMs",
                self.read_timeout_ms != other.read_timeout_ms,
            ),
            (
                "tailCacheBytes",
                self.tail_cache_bytes != other.tail_cache_bytes,
            ),
            (
                "statsBudgetMs",
                self.stats_budget_ms != other.stats_budget_ms,
            ),
            ("retry", self.retry != other.retry),
            ("breaker", self.breaker != other.breaker),
        ];
        differs
            .into_iter()
            .find(|(_, differ)| *differ)
            .map(|(name, _)| name)
    }
}

fn invalid(message: String) -> StoreError {
    StoreError::new(Code::InvalidOption, message)
}

fn boolean(name: &str, value: &Value) -> Result<bool> {
    value
        .as_bool()
        .ok_or_else(|| invalid(format!("{name} must be true or false, got {value}")))
}

fn number(name: &str, value: &Value) -> Result<f64> {
    bounded(name, value, &NUMBERS, name)
}

/// Looks the bounds of `key` up and checks the value, which is whole unless its key says it is a factor.
fn bounded(name: &str, value: &Value, table: &[(&str, f64, f64)], key: &str) -> Result<f64> {
    let (_, least, most) = table
        .iter()
        .copied()
        .find(|(known, ..)| *known == key)
        .unwrap_or((key, f64::MIN, f64::MAX));
    let whole = key != "factor";
    match value.as_f64() {
        Some(given) if given >= least && given <= most && (!whole || given.fract() == 0.0) => {
            Ok(given)
        }
        _ => {
            let kind = if whole { "a whole number" } else { "a number" };
            Err(invalid(format!(
                "{name} must be {kind} from {least} to {most}, got {value}"
            )))
        }
    }
}

fn numbers<const N: usize>(
    name: &str,
    value: &Value,
    table: &[(&'static str, f64, f64); N],
    defaults: [f64; N],
) -> Result<[f64; N]> {
    let Some(given) = value.as_object() else {
        return Err(invalid(format!("{name} must be an object, got {value}")));
    };
    let mut read = defaults;
    for (key, value) in given {
        let Some(place) = table.iter().position(|(known, ..)| known == key) else {
            let near = nearest(key, &table.map(|(known, ..)| known));
            return Err(invalid(format!(
                "there is no option {name}.{key:?}; did you mean {near:?}?"
            )));
        };
        read[place] = bounded(&format!("{name}.{key}"), value, table, key)?;
    }
    Ok(read)
}

fn one_of<T: Copy>(name: &str, value: &Value, words: &[(&str, T)]) -> Result<T> {
    let found = value
        .as_str()
        .and_then(|word| words.iter().find(|(known, _)| *known == word));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        invalid(format!(
            "{name} must be {}, got {value}",
            known.join(" or ")
        ))
    })
}

fn timeframes(value: &Value) -> Result<Vec<Timeframe>> {
    let refuse = || {
        invalid(format!(
            "timeframes must be 1 to 64 different whole numbers of minutes from {} to {}, got {value}",
            Timeframe::MIN,
            Timeframe::MAX
        ))
    };
    let list = value
        .as_array()
        .filter(|list| (1..=64).contains(&list.len()))
        .ok_or_else(refuse)?;
    let mut read = Vec::with_capacity(list.len());
    for minutes in list {
        let minutes = minutes
            .as_u64()
            .and_then(|minutes| u32::try_from(minutes).ok())
            .ok_or_else(refuse)?;
        let timeframe = Timeframe(minutes);
        if !(Timeframe::MIN..=Timeframe::MAX).contains(&minutes) || read.contains(&timeframe) {
            return Err(refuse());
        }
        read.push(timeframe);
    }
    read.sort_unstable();
    Ok(read)
}

/// The known name with the fewest edits to what was given (Levenshtein distance, case ignored).
pub fn nearest<'a>(given: &str, known: &[&'a str]) -> &'a str {
    let given: Vec<char> = given.to_lowercase().chars().take(64).collect();
    let distance = |name: &str| {
        let mut row: Vec<usize> = (0..=given.len()).collect();
        for (i, letter) in name.to_lowercase().chars().enumerate() {
            let mut diagonal = row[0];
            row[0] = i + 1;
            for j in 0..given.len() {
                let substituted = diagonal + usize::from(given[j] != letter);
                diagonal = row[j + 1];
                row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
            }
        }
        row[given.len()]
    };
    known
        .iter()
        .copied()
        .min_by_key(|name| distance(name))
        .unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> String {
        Options::from_json(json)
            .map(|_| String::new())
            .unwrap_or_else(|error| error.message)
    }

    #[test]
    fn an_empty_object_gives_the_defaults() {
        assert!(Options::from_json("{}").is_ok_and(|options| options == Options::default()));
    }

    #[test]
    fn an_unknown_option_is_refused_and_the_nearest_named() {
        assert!(message(r#"{"busyTimeout":1}"#).contains("busyTimeoutMs"));
        assert!(message(r#"{"readonly":true}"#).contains("readOnly"));
        assert!(message(r#"{"retry":{"base":1}}"#).contains("baseMs"));
    }

    #[test]
    fn values_out_of_bounds_fractions_and_other_types_are_refused() {
        for json in [
            r#"{"maxReaders":0}"#,
            r#"{"maxReaders":65}"#,
            r#"{"maxReaders":1.5}"#,
            r#"{"maxReaders":"4"}"#,
            r#"{"maxReaders":null}"#,
            r#"{"readOnly":1}"#,
            r#"{"synchronous":"off"}"#,
            r#"{"timeframes":[]}"#,
            r#"{"timeframes":[15,15]}"#,
            r#"{"timeframes":[0]}"#,
            r#"{"retry":3}"#,
            r#"{"retry":{"factor":0.5}}"#,
            r#"{"breaker":{"threshold":0}}"#,
            "[]",
        ] {
            assert!(
                Options::from_json(json).is_err_and(|error| error.code == Code::InvalidOption),
                "{json}"
            );
        }
    }

    #[test]
    fn every_name_is_known_to_the_reader() {
        for name in NAMES {
            let refused = message(&format!(r#"{{"{name}":{{"x":[]}}}}"#));
            assert!(
                !refused.contains(&format!("no option {name:?}")),
                "{name}: {refused}"
            );
        }
    }

    #[test]
    fn two_sets_of_options_conflict_in_the_option_that_differs() {
        let left = Options::default();
        let right = Options {
            busy_timeout_ms: 1.0,
            ..Options::default()
        };
        assert_eq!(left.conflict(&right), Some("busyTimeoutMs"));
        assert_eq!(
            left.conflict(&Options {
                close_deadline_ms: 1.0,
                ..Options::default()
            }),
            None
        );
    }
}
