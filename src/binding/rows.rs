//! Parameters and rows of the caller's own statements, between JS and Rust. Numbers cross in memory that both sides have: JS
//! packs parameters into it before a call, and finds the numbers of the rows there after it. Everything else in the rows is
//! made here, one JS value for each cell, and handed over in one array, column after column.

use std::ptr;

use napi::sys;

use crate::error::{Code, Result, StoreError};
use crate::rows::{Cell, Row, RowSink};

/// Doubles at the start of the shared memory in which the outcome of a call is told.
pub const HEADER: usize = 16;
/// What the kinds of parameters are told by; 0 is NULL.
const REAL: u8 = 1;
const INTEGER: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;
/// What the kinds of columns are told by. NaN is NULL, because SQLite knows no NaN.
const NUMBERS: u8 = 0;
const OTHERS: u8 = 1;
const INTEGERS: u8 = 2;
/// A text that may come again in the next row is remembered up to this length.
const REMEMBERED: usize = 64;
/// Cells that are no numbers are handed over as arguments of one call; there may be so many.
const MOST_VALUES: usize = 4_096;
/// Rows in one answer.
const MOST_ROWS: usize = 1_024;
/// Parameters that need no memory of their own.
const FEW: usize = 8;

/// Memory that JS and Rust share. JS gives it anew before a call whenever it has made a part of it anew, and keeps what it has
/// given; neither touches it while the other runs.
#[derive(Clone, Copy)]
pub struct Shared {
    pub cells: (*mut f64, usize),
    pub kinds: (*mut u8, usize),
    pub bytes: (*mut u8, usize),
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            cells: (ptr::null_mut(), 0),
            kinds: (ptr::null_mut(), 0),
            bytes: (ptr::null_mut(), 0),
        }
    }
}

impl Shared {
    /// Uses the parameters that JS has packed.
    pub fn with_params<T>(
        &self,
        count: usize,
        run: impl FnOnce(&[Cell<'_>]) -> Result<T>,
    ) -> Result<T> {
        if count > self.kinds.1 || HEADER + count > self.cells.1 {
            let many = format!("there is no room for {count} parameters");
            return Err(StoreError::new(Code::InvalidArgument, many));
        }
        let mut few = [Cell::Null; FEW];
        let mut many;
        let params = if count <= FEW {
            &mut few[..count]
        } else {
            many = vec![Cell::Null; count];
            &mut many[..]
        };
        let mut used = 0;
        for (place, param) in params.iter_mut().enumerate() {
            *param = self.param(place, &mut used);
        }
        run(params)
    }

    fn param(&self, place: usize, used: &mut usize) -> Cell<'_> {
        // SAFETY: the place is inside both arrays, as `with_params` has seen, and JS does not touch them during the call.
        let (kind, slot) = unsafe { (*self.kinds.0.add(place), *self.cells.0.add(HEADER + place)) };
        match kind {
            REAL => Cell::Real(slot),
            INTEGER => Cell::Integer(slot.to_bits() as i64),
            TEXT | BLOB => {
                let start = (*used).min(self.bytes.1);
                let length = (slot as usize).min(self.bytes.1 - start);
                *used = start + length;
                let bytes = if length == 0 {
                    &[][..]
                } else {
                    // SAFETY: start and length are inside the array, which JS keeps and does not touch during the call.
                    unsafe { std::slice::from_raw_parts(self.bytes.0.add(start), length) }
                };
                if kind == TEXT {
                    Cell::Text(bytes)
                } else {
                    Cell::Blob(bytes)
                }
            }
            _ => Cell::Null,
        }
    }

    /// How many rows of so many columns there is room for.
    pub fn room(&self, width: usize) -> usize {
        (self.cells.1.saturating_sub(HEADER) / width.max(1)).max(1)
    }

    /// What JS tells of the call.
    pub fn told(&self, place: usize) -> f64 {
        if place < HEADER && place < self.cells.1 {
            // SAFETY: the place is inside the array, as above.
            unsafe { *self.cells.0.add(place) }
        } else {
            0.0
        }
    }

    /// Tells a number of the outcome.
    pub fn tell(&self, place: usize, number: f64) {
        if place < HEADER && place < self.cells.1 {
            // SAFETY: the place is inside the array, as above.
            unsafe { *self.cells.0.add(place) = number };
        }
    }
}

/// A cell that is no number, and the JS value that was made of it, for the next row's sake.
struct Remembered {
    bytes: Vec<u8>,
    value: sys::napi_value,
}

/// What a statement keeps from call to call, so that a call needs no new memory.
#[derive(Default)]
pub struct Columns {
    kinds: Vec<u8>,
    others: Vec<Vec<sys::napi_value>>,
    remembered: Vec<Remembered>,
    /// Of the rows that were given last.
    pub shape: u64,
    pub names: Vec<String>,
}

/// Gives rows to JS.
pub struct JsRows<'c> {
    env: sys::napi_env,
    shared: Shared,
    columns: &'c mut Columns,
    most_columns: usize,
    width: usize,
    count: usize,
    /// INTEGER comes as a bigint.
    is_safe: bool,
    pub has_new_names: bool,
    failed: bool,
}

impl<'c> JsRows<'c> {
    pub fn new(
        env: sys::napi_env,
        shared: Shared,
        columns: &'c mut Columns,
        most_columns: usize,
        is_safe: bool,
    ) -> Self {
        Self {
            env,
            shared,
            columns,
            most_columns,
            width: 0,
            count: 0,
            is_safe,
            has_new_names: false,
            failed: false,
        }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    fn begin(&mut self, width: usize) {
        self.width = width.min(self.most_columns);
        // It may be begun again, after a lock was in the way.
        self.count = 0;
        let empty = if self.is_safe { INTEGERS } else { NUMBERS };
        let columns = &mut *self.columns;
        if columns.kinds.len() != self.width {
            columns.kinds = vec![empty; self.width];
            columns.others = (0..self.width).map(|_| Vec::new()).collect();
            columns.remembered = (0..self.width)
                .map(|_| Remembered {
                    bytes: Vec::new(),
                    value: ptr::null_mut(),
                })
                .collect();
        }
        for (kind, others) in columns.kinds.iter_mut().zip(&mut columns.others) {
            // What held no numbers last time will hold none now.
            if *kind != OTHERS {
                *kind = empty;
            }
            others.clear();
        }
        for remembered in &mut columns.remembered {
            remembered.value = ptr::null_mut();
        }
    }

    fn slot(&self, row: usize, column: usize) -> *mut f64 {
        // SAFETY: there is room for as many rows as `room` says, and no more are asked for.
        unsafe { self.shared.cells.0.add(HEADER + row * self.width + column) }
    }

    /// The numbers of a column become JS values, because one of its cells is no number.
    fn become_others(&mut self, column: usize) {
        let was_integers = self.columns.kinds[column] == INTEGERS;
        for row in 0..self.count {
            // SAFETY: the row has been written.
            let number = unsafe { *self.slot(row, column) };
            let cell = if was_integers {
                Cell::Integer(number.to_bits() as i64)
            } else if number.is_nan() {
                Cell::Null
            } else {
                Cell::Real(number)
            };
            let value = self.make(column, cell);
            self.columns.others[column].push(value);
        }
        self.columns.kinds[column] = OTHERS;
    }

    /// The JS value of a cell.
    fn make(&mut self, column: usize, cell: Cell<'_>) -> sys::napi_value {
        let mut value = ptr::null_mut();
        let env = self.env;
        // SAFETY: env is that of the running call, and texts and blobs are given with their length.
        let status = unsafe {
            match cell {
                Cell::Null => sys::napi_get_null(env, &raw mut value),
                Cell::Integer(number) if self.is_safe => {
                    sys::napi_create_bigint_int64(env, number, &raw mut value)
                }
                Cell::Integer(number) => {
                    sys::napi_create_double(env, number as f64, &raw mut value)
                }
                Cell::Real(number) => sys::napi_create_double(env, number, &raw mut value),
                Cell::Text(text) => {
                    let remembered = &self.columns.remembered[column];
                    if !remembered.value.is_null() && remembered.bytes == text {
                        return remembered.value;
                    }
                    let length = text.len() as isize;
                    let status = if text.is_ascii() {
                        sys::napi_create_string_latin1(
                            env,
                            text.as_ptr().cast(),
                            length,
                            &raw mut value,
                        )
                    } else {
                        sys::napi_create_string_utf8(
                            env,
                            text.as_ptr().cast(),
                            length,
                            &raw mut value,
                        )
                    };
                    if text.len() <= REMEMBERED && status == sys::Status::napi_ok {
                        let remembered = &mut self.columns.remembered[column];
                        remembered.bytes.clear();
                        remembered.bytes.extend_from_slice(text);
                        remembered.value = value;
                    }
                    status
                }
                Cell::Blob(bytes) => {
                    let mut copy = ptr::null_mut();
                    sys::napi_create_buffer_copy(
                        env,
                        bytes.len(),
                        bytes.as_ptr().cast(),
                        &raw mut copy,
                        &raw mut value,
                    )
                }
            }
        };
        if status != sys::Status::napi_ok {
            self.failed = true;
            // SAFETY: as above.
            unsafe { sys::napi_get_undefined(env, &raw mut value) };
        }
        value
    }

    /// Tells JS what the columns hold, and gives what is no number as one array; null where all are numbers.
    pub fn finish(self, collect: sys::napi_ref) -> std::result::Result<sys::napi_value, ()> {
        if self.failed {
            return Err(());
        }
        for (place, kind) in self.columns.kinds.iter().take(self.width).enumerate() {
            // SAFETY: there are fewer columns than SQLite allows, and the array has a place for each.
            unsafe { *self.shared.kinds.0.add(place) = *kind };
        }
        if self.columns.others.iter().all(Vec::is_empty) {
            // What a function of Node's gives back as undefined.
            return Ok(ptr::null_mut());
        }
        let others: Vec<sys::napi_value> = self.columns.others.iter().flatten().copied().collect();
        let mut made = ptr::null_mut();
        // SAFETY: the values are of this call, and the function takes any number of them.
        let status = unsafe {
            let mut function = ptr::null_mut();
            sys::napi_get_reference_value(self.env, collect, &raw mut function);
            let mut nothing = ptr::null_mut();
            sys::napi_get_undefined(self.env, &raw mut nothing);
            sys::napi_call_function(
                self.env,
                nothing,
                function,
                others.len(),
                others.as_ptr(),
                &raw mut made,
            )
        };
        if status == sys::Status::napi_ok {
            Ok(made)
        } else {
            Err(())
        }
    }
}

impl RowSink for JsRows<'_> {
    fn columns(&mut self, shape: u64, names: &dyn Fn() -> Vec<String>) {
        if self.columns.shape != shape || self.columns.names.is_empty() {
            self.columns.names = names();
            self.columns.shape = shape;
            self.has_new_names = true;
        }
        self.begin(self.columns.names.len());
    }

    fn room(&self) -> usize {
        let width = self.width.max(1);
        let cells = self.shared.room(width);
        cells.min(MOST_VALUES / width).clamp(1, MOST_ROWS)
    }

    fn row(&mut self, row: &dyn Row) {
        // Who gives rows has told the columns and asked for the room; nothing is written where there is none.
        let is_wider = row.width().min(self.most_columns) != self.width;
        if is_wider
            || self.count >= self.room()
            || self.width > self.shared.cells.1.saturating_sub(HEADER)
        {
            self.failed = true;
            return;
        }
        for column in 0..self.width {
            let cell = row.cell(column);
            let number = match (self.columns.kinds[column], cell) {
                (NUMBERS, Cell::Real(number)) => number,
                (NUMBERS, Cell::Integer(number)) => number as f64,
                (NUMBERS, Cell::Null) => f64::NAN,
                (INTEGERS, Cell::Integer(number)) => f64::from_bits(number as u64),
                (OTHERS, cell) => {
                    let value = self.make(column, cell);
                    self.columns.others[column].push(value);
                    continue;
                }
                (_, cell) => {
                    self.become_others(column);
                    let value = self.make(column, cell);
                    self.columns.others[column].push(value);
                    continue;
                }
            };
            // SAFETY: the place is inside the shared memory, as in `slot`.
            unsafe { *self.slot(self.count, column) = number };
        }
        self.count += 1;
    }
}
