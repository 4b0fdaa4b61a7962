//! The one error type of the store: a code that programs act on, a message that people act on, and the facts
//! behind it (table, symbol, index, waited time). It does not format for a log and it decides no retry itself;
//! `Failure` only says in which of three classes an engine's error falls.

use serde::Serialize;

macro_rules! codes {
    ($($variant:ident => $name:literal, $retryable:literal;)*) => {
        /// What went wrong, as a stable word. Documented one by one in `index.d.ts`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($variant),* }

        impl Code {
            /// Every code there is, in the order of `index.d.ts`.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// The word callers see in `error.code`.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $name),* }
            }

            /// Whether the same call may succeed later without any change by the caller.
            pub fn retryable(self) -> bool {
                match self { $(Code::$variant => $retryable),* }
            }
        }
    };
}

codes! {
    InvalidArgument => "INVALID_ARGUMENT", false;
    InvalidOption => "INVALID_OPTION", false;
    InvalidCandle => "INVALID_CANDLE", false;
    InvalidSql => "INVALID_SQL", false;
    BatchTooLarge => "BATCH_TOO_LARGE", false;
    OptionsConflict => "OPTIONS_CONFLICT", false;
    UnknownTable => "UNKNOWN_TABLE", false;
    Closed => "CLOSED", false;
    QueueFull => "QUEUE_FULL", true;
    Timeout => "TIMEOUT", true;
    Aborted => "ABORTED", false;
    BreakerOpen => "BREAKER_OPEN", true;
    Constraint => "CONSTRAINT", false;
    SqlError => "SQL_ERROR", false;
    ReadOnly => "READ_ONLY", false;
    DiskFull => "DISK_FULL", true;
    IoError => "IO_ERROR", true;
    Corrupt => "CORRUPT", false;
    NotADatabase => "NOT_A_DATABASE", false;
    NotFound => "NOT_FOUND", false;
    Permission => "PERMISSION", false;
    NetworkFileSystem => "NETWORK_FILE_SYSTEM", false;
    ForeignLibrary => "FOREIGN_LIBRARY", false;
    SelfDeadlock => "SELF_DEADLOCK", false;
    SqliteTooOld => "SQLITE_TOO_OLD", false;
    Poisoned => "POISONED", false;
    SqliteOnly => "SQLITE_ONLY", false;
    ConnectionLost => "CONNECTION_LOST", true;
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Whether a failed write may be in the database after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Written {
    /// Certainly not.
    No,
    /// A COMMIT or sync failed, or the connection broke: nobody can tell.
    Unknown,
}

/// How the writer treats an engine's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Failure {
    /// Somebody else holds a lock: wait and run the same thing again.
    Transient,
    /// This command is wrong and will stay wrong: fail it alone.
    #[default]
    Permanent,
    /// The storage refuses writes for now (disk full, I/O error).
    Storage,
    /// The file or a commit cannot be trusted any more: stop writing.
    Fatal,
}

/// An error with everything a person needs to act on it.
#[derive(Debug, Clone, Serialize, thiserror::Error)]
#[error("{message}")]
#[serde(rename_all = "camelCase")]
pub struct StoreError {
    pub code: Code,
    pub message: String,
    #[serde(skip)]
    pub failure: Failure,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<Written>,
    /// The engine's own name of the error, such as `SQLITE_BUSY_SNAPSHOT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlite_code: Option<String>,
    /// The engine's own message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlite_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waited_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder_pid: Option<u32>,
    /// When the breaker lets the next write through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_in_ms: Option<f64>,
}

/// The result of everything in this crate that can fail.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

impl StoreError {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            failure: Failure::Permanent,
            written: None,
            sqlite_code: None,
            sqlite_message: None,
            table: None,
            symbol: None,
            waited_ms: None,
            attempts: None,
            holder_pid: None,
            retry_in_ms: None,
        }
    }

    pub fn failure(mut self, failure: Failure) -> Self {
        self.failure = failure;
        self
    }

    /// Names the place of the failure unless a deeper layer has named it already.
    pub fn at(mut self, table: &str, symbol: &str) -> Self {
        if self.table.is_none() {
            self.message = format!("{} ({table}, {symbol})", self.message);
            self.table = Some(table.to_owned());
            self.symbol = Some(symbol.to_owned());
        }
        self
    }

    /// Marks an error of a write whose data are certainly not in the database.
    pub fn not_written(mut self) -> Self {
        self.written.get_or_insert(Written::No);
        self
    }

    pub fn closed() -> Self {
        Self::new(
            Code::Closed,
            "the store is closed: open it again with openStore() before using it",
        )
        .not_written()
    }

    pub fn poisoned(cause: &str) -> Self {
        Self::new(
            Code::Poisoned,
            format!("the store stopped writing after a failure it cannot judge ({cause}): close it, check the file and open it again"),
        )
        .not_written()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_word_of_its_own() {
        let mut words: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Code::ALL.len());
    }

    #[test]
    fn an_error_is_told_as_json_with_camel_case_keys_and_without_empty_ones() {
        let error = StoreError::new(Code::Timeout, "late")
            .not_written()
            .at("candles_15", "X:Y");
        let json = serde_json::to_value(&error).unwrap_or_default();
        assert_eq!(json["code"], "TIMEOUT");
        assert_eq!(json["written"], "no");
        assert_eq!(json["table"], "candles_15");
        assert!(json.get("waitedMs").is_none());
    }
}
