//! A statement that a caller has prepared, and rows on their way between it and the caller: parameters go in and cells come
//! out where they stand, without a copy of their own.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::value::Value;

/// The text of a prepared statement. Sessions know what they have prepared of it by its number.
#[derive(Debug)]
pub struct SqlText {
    pub id: u64,
    pub sql: String,
}

impl SqlText {
    pub fn new(sql: impl Into<String>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            sql: sql.into(),
        }
    }
}

/// What one parameter is bound to, or what one cell holds. A text is in UTF-8, unless another program has stored it wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

impl Cell<'_> {
    pub fn to_value(self) -> Value {
        match self {
            Cell::Null => Value::Null,
            Cell::Integer(value) => Value::Integer(value),
            Cell::Real(value) => Value::Real(value),
            Cell::Text(bytes) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
            Cell::Blob(bytes) => Value::Blob(bytes.to_vec()),
        }
    }
}

impl<'a> From<&'a Value> for Cell<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Cell::Null,
            Value::Integer(value) => Cell::Integer(*value),
            Value::Real(value) => Cell::Real(*value),
            Value::Text(text) => Cell::Text(text.as_bytes()),
            Value::Blob(bytes) => Cell::Blob(bytes),
        }
    }
}

/// The row that a statement stands on.
pub trait Row {
    fn width(&self) -> usize;

    /// A cell, by its place from 0.
    fn cell(&self, place: usize) -> Cell<'_>;
}

impl Row for Vec<Value> {
    fn width(&self) -> usize {
        self.len()
    }

    fn cell(&self, place: usize) -> Cell<'_> {
        Cell::from(&self[place])
    }
}

/// Takes the rows of a statement.
pub trait RowSink {
    /// What the columns are called, told before the first row, and whenever it is not what was told last: `shape` is another
    /// number for other names.
    fn columns(&mut self, shape: u64, names: &dyn Fn() -> Vec<String>);

    /// How many rows of these columns there is room for, at least one; asked when the columns are known.
    fn room(&self) -> usize {
        usize::MAX
    }

    fn row(&mut self, row: &dyn Row);
}

/// Wants no rows.
pub struct NoRows;

impl RowSink for NoRows {
    fn columns(&mut self, _shape: u64, _names: &dyn Fn() -> Vec<String>) {}

    fn row(&mut self, _row: &dyn Row) {}
}

/// Rows kept to be given away later.
#[derive(Debug, Default)]
pub struct KeptRows {
    pub shape: u64,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Value>>,
}

impl RowSink for KeptRows {
    fn columns(&mut self, shape: u64, names: &dyn Fn() -> Vec<String>) {
        if self.shape != shape || self.columns.is_empty() {
            self.columns = names();
        }
        self.shape = shape;
    }

    fn row(&mut self, row: &dyn Row) {
        let cells = (0..row.width()).map(|place| row.cell(place).to_value());
        self.rows.push(cells.collect());
    }
}
