//! A single value of a caller's own statement: what SQLite knows, and nothing else.

/// A bound parameter or a cell of a result.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

/// The parameters of one statement.
#[derive(Debug, Clone, Default)]
pub struct Params {
    /// For `?` placeholders, in order.
    pub positional: Vec<Value>,
    /// For `:name`, `@name` and `$name`; names are given without the sign.
    pub named: Vec<(String, Value)>,
}

/// A statement of the caller's with its parameters.
#[derive(Debug, Clone)]
pub struct Statement {
    pub sql: String,
    pub params: Params,
}

impl Statement {
    /// Memory held, for the queue's limit in bytes.
    pub fn bytes(&self) -> usize {
        let value = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
            Value::Null | Value::Integer(_) | Value::Real(_) => 8,
        };
        self.sql.len()
            + self.params.positional.iter().map(value).sum::<usize>()
            + self
                .params
                .named
                .iter()
                .map(|(name, given)| name.len() + value(given))
                .sum::<usize>()
    }
}

/// What a statement gave back.
#[derive(Debug, Clone, Default)]
pub struct StatementResult {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Value>>,
    pub changes: u64,
    pub last_insert_rowid: i64,
}
