//! The native side of `Database` and `Statement`: a statement of the caller's own on one of its handles, and what else the raw
//! handles do.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use napi::bindgen_prelude::{
    Buffer, Float64ArraySlice, FromNapiValue, Function, Uint8ArraySlice, Unknown,
};
use napi::{Env, JsValue, sys};
use napi_derive::napi;

use super::call;
use super::rows::{Columns, JsRows, Shared};
use super::store::NativeStore;
use crate::engine::{Description, StatementKind};
use crate::error::{Code, StoreError};
use crate::rows::SqlText;
use crate::store::{BackupStep, Handle, Side, Take};

/// Memory shared with JS, the function that makes an array of its arguments, and the statements by number.
#[derive(Default)]
pub struct Sharing {
    shared: Cell<Shared>,
    collect: Cell<sys::napi_ref>,
    statements: RefCell<Vec<Option<Rc<Prepared>>>>,
    /// Numbers that are free again.
    free: RefCell<Vec<usize>>,
}

/// A statement of the caller's own.
#[napi]
pub struct NativeStatement {
    sharing: Rc<Sharing>,
    number: usize,
    prepared: Rc<Prepared>,
}

struct Prepared {
    handle: Arc<Handle>,
    side: Side,
    text: SqlText,
    about: Description,
    columns: RefCell<Columns>,
    /// An error that came after rows, for the next call.
    late: RefCell<Option<StoreError>>,
}

/// What is told of a call at the start of the shared cells, by place, as in `lib/handle/shared.js`.
mod at {
    pub const ROWS: usize = 0;
    pub const DONE: usize = 1;
    pub const CHANGES: usize = 2;
    pub const ROWID: usize = 3;
    /// The same as an integer.
    pub const WIDE_ROWID: usize = 4;
    pub const OPEN: usize = 5;
    pub const RENAMED: usize = 6;
    pub const STATEMENT: usize = 7;
    pub const PARAMETERS: usize = 8;
    pub const MOST_ROWS: usize = 9;
    pub const MOST_COLUMNS: usize = 10;
    pub const WAYS: usize = 11;
    pub const KEPT: usize = 12;
}

/// How a statement is run.
mod ways {
    /// It stands where it is after its first rows.
    pub const KEEP: u32 = 1;
    /// INTEGER comes as a bigint.
    pub const SAFE: u32 = 2;
    /// It goes on.
    pub const MORE: u32 = 4;
}

/// Where a column comes from.
#[napi(object, object_from_js = false)]
pub struct OriginAnswer {
    pub name: Option<String>,
    pub column: Option<String>,
    pub table: Option<String>,
    pub database: Option<String>,
    pub kind: Option<String>,
}

fn side(is_read_only: bool) -> Side {
    if is_read_only {
        Side::Reading
    } else {
        Side::Writing
    }
}

#[napi]
impl NativeStatement {
    #[napi(getter)]
    pub fn reader(&self) -> bool {
        self.prepared.about.reader
    }

    #[napi(getter)]
    pub fn readonly(&self) -> bool {
        self.prepared.about.read_only
    }

    /// 0 reads, 1 writes, 2 begins a transaction, 3 controls one, 4 is a PRAGMA or the like.
    #[napi(getter)]
    pub fn kind(&self) -> u32 {
        match self.prepared.about.kind {
            StatementKind::Reads => 0,
            StatementKind::Writes => 1,
            StatementKind::Begins => 2,
            StatementKind::Controls => 3,
            StatementKind::Unwrapped => 4,
        }
    }

    /// Names of the parameters by place, null for `?`.
    #[napi(getter)]
    pub fn parameters(&self) -> Vec<Option<String>> {
        self.prepared.about.parameters.clone()
    }

    /// Names of the columns of the rows given last.
    #[napi]
    pub fn names(&self) -> Vec<String> {
        self.prepared.columns.borrow().names.clone()
    }

    #[napi]
    pub fn origins(&self) -> napi::Result<Vec<OriginAnswer>> {
        call(|| {
            let prepared = &self.prepared;
            let origins = prepared.handle.origins(prepared.side, &prepared.text)?;
            Ok(origins
                .into_iter()
                .map(|origin| OriginAnswer {
                    name: origin.name,
                    column: origin.column,
                    table: origin.table,
                    database: origin.database,
                    kind: origin.kind,
                })
                .collect())
        })
    }

    /// The text with the packed parameters in it.
    #[napi]
    pub fn expanded(&self, count: u32) -> napi::Result<String> {
        call(|| {
            self.sharing
                .shared
                .get()
                .with_params(count as usize, |params| {
                    let prepared = &self.prepared;
                    prepared
                        .handle
                        .expanded(prepared.side, &prepared.text, params)
                })
        })
    }

    /// By what number the function of `runner` knows it.
    #[napi(getter)]
    pub fn number(&self) -> u32 {
        self.number as u32
    }

    /// Ends the statement before its last row.
    #[napi]
    pub fn leave(&self) {
        self.prepared.handle.leave(&self.prepared.text);
    }
}

impl Drop for NativeStatement {
    fn drop(&mut self) {
        if let Some(slot) = self.sharing.statements.borrow_mut().get_mut(self.number) {
            *slot = None;
        }
        self.sharing.free.borrow_mut().push(self.number);
        // One that nobody can reach any more must not keep a connection.
        self.prepared.handle.forget(&self.prepared.text);
    }
}

impl Prepared {
    /// Runs the statement with the packed parameters and gives its first rows, or gives its next.
    fn run(&self, sharing: &Sharing, env: sys::napi_env) -> napi::Result<sys::napi_value> {
        let shared = sharing.shared.get();
        let most = shared.told(at::MOST_ROWS) as usize;
        let most_columns = shared.told(at::MOST_COLUMNS) as usize;
        let wanted = shared.told(at::WAYS) as u32;
        let is = |way: u32| wanted & way != 0;
        let (keep, is_safe, goes_on) = (is(ways::KEEP), is(ways::SAFE), is(ways::MORE));
        let late = self.late.take();
        if let Some(error) = late.filter(|_| goes_on) {
            return call(|| Err(error));
        }
        let mut columns = self.columns.borrow_mut();
        let mut rows = JsRows::new(env, shared, &mut columns, most_columns, is_safe);
        let (handle, text) = (&self.handle, &self.text);
        call(|| {
            let ran = if goes_on {
                handle.more(text, most, &mut rows)
            } else {
                let count = shared.told(at::PARAMETERS) as usize;
                let take = Take { most, keep };
                let started = shared.with_params(count, |params| {
                    handle.start(self.side, text, &self.about, params, take, &mut rows)
                });
                started.map(|(ran, is_done)| {
                    shared.tell(at::CHANGES, ran.changes as f64);
                    shared.tell(at::ROWID, ran.last_insert_rowid as f64);
                    shared.tell(at::WIDE_ROWID, f64::from_bits(ran.last_insert_rowid as u64));
                    is_done
                })
            };
            let is_done = match ran {
                // What came before an error is given first.
                Err(error) if rows.count() > 0 => {
                    *self.late.borrow_mut() = Some(error);
                    false
                }
                ran => ran?,
            };
            shared.tell(at::ROWS, rows.count() as f64);
            shared.tell(at::DONE, f64::from(u8::from(is_done)));
            shared.tell(at::RENAMED, f64::from(u8::from(rows.has_new_names)));
            shared.tell(at::KEPT, f64::from(u8::from(handle.is_kept())));
            // One that reads leaves a transaction as it is.
            if self.about.kind != StatementKind::Reads {
                let is_open = match self.side {
                    Side::Writing => handle.in_transaction(),
                    Side::Reading => handle.read_only_in_transaction(),
                };
                shared.tell(at::OPEN, f64::from(u8::from(is_open)));
            }
            Ok(())
        })?;
        match rows.finish(sharing.collect.get()) {
            Ok(others) => Ok(others),
            Err(()) => {
                handle.leave(text);
                // JS has not heard of them.
                columns.names.clear();
                call(|| {
                    Err(StoreError::new(
                        Code::InvalidArgument,
                        "a text or blob of the row is longer than JavaScript can hold",
                    ))
                })
            }
        }
    }
}

/// The function that runs statements. It takes no arguments, and it is Node's own kind of function instead of one that a
/// macro has made: checking and converting arguments took a third of a short statement's time.
unsafe extern "C" fn run(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    let mut data = ptr::null_mut();
    // SAFETY: env and info are those of the running call; no arguments are asked for.
    unsafe {
        sys::napi_get_cb_info(
            env,
            info,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut data,
        );
    }
    // SAFETY: the data is what `runner` has given to the function, which is freed after it.
    let sharing: &Sharing = unsafe { &*data.cast::<Sharing>() };
    let run = || {
        let number = sharing.shared.get().told(at::STATEMENT) as usize;
        let prepared = sharing.statements.borrow().get(number).cloned().flatten();
        match &prepared {
            Some(prepared) => prepared.run(sharing, env),
            None => call(|| Err(StoreError::closed())),
        }
    };
    // A panic must not go on into Node; `call` makes an error of one.
    let result = catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic| call(|| std::panic::resume_unwind(panic)));
    match result {
        Ok(others) => others,
        Err(error) => {
            let mut is_pending = false;
            // SAFETY: env is that of the running call. One exception is thrown: that of JavaScript's own, if there is one.
            unsafe {
                sys::napi_is_exception_pending(env, &raw mut is_pending);
                if !is_pending {
                    napi::JsError::from(error).throw_into(env);
                }
            }
            ptr::null_mut()
        }
    }
}

unsafe extern "C" fn free_sharing(
    _env: sys::napi_env,
    data: *mut std::ffi::c_void,
    _hint: *mut std::ffi::c_void,
) {
    // SAFETY: the pointer is that which `runner` has made of an `Rc`, and this is called once.
    drop(unsafe { Rc::from_raw(data.cast::<Sharing>().cast_const()) });
}

/// What a text begins with.
#[napi(object, object_from_js = false)]
pub struct FirstStatement {
    pub sql: String,
    pub rest: String,
}

#[napi]
impl NativeStore {
    /// Memory for parameters and rows, which JS keeps for as long as it uses this handle, and a function that makes an array
    /// of its arguments.
    #[napi]
    pub fn share(
        &self,
        env: Env,
        mut cells: Float64ArraySlice<'_>,
        mut kinds: Uint8ArraySlice<'_>,
        mut bytes: Uint8ArraySlice<'_>,
        collect: Function<(), Unknown<'static>>,
    ) {
        // SAFETY: JS runs nothing during this call, and neither side touches the memory while the other uses it.
        unsafe {
            let (cells, kinds, bytes) = (cells.as_mut(), kinds.as_mut(), bytes.as_mut());
            self.sharing.shared.set(Shared {
                cells: (cells.as_mut_ptr(), cells.len()),
                kinds: (kinds.as_mut_ptr(), kinds.len()),
                bytes: (bytes.as_mut_ptr(), bytes.len()),
            });
            if self.sharing.collect.get().is_null() {
                let mut reference = ptr::null_mut();
                sys::napi_create_reference(env.raw(), collect.raw(), 1, &raw mut reference);
                self.sharing.collect.set(reference);
            }
        }
    }

    /// The function that runs the statements of this handle. What it is to do is told at the start of the shared cells: which
    /// statement, how many parameters, the most rows and columns, and how; so is what came of it: rows, whether they were
    /// the last, changes, the last rowid as a double and as an integer, whether a transaction is open (not of one
    /// that only reads), whether the columns
    /// have new names, whether a snapshot is kept. It returns what is no number in the rows, or undefined.
    #[napi]
    pub fn runner(&self, env: Env) -> napi::Result<Unknown<'static>> {
        let data = Rc::into_raw(self.sharing.clone()).cast_mut();
        let mut function = ptr::null_mut();
        // SAFETY: env is that of the running call; the data lives until the function is collected.
        unsafe {
            napi::check_status!(sys::napi_create_function(
                env.raw(),
                ptr::null(),
                0,
                Some(run),
                data.cast(),
                &raw mut function,
            ))?;
            napi::check_status!(sys::napi_add_finalizer(
                env.raw(),
                function,
                data.cast(),
                Some(free_sharing),
                ptr::null_mut(),
                ptr::null_mut(),
            ))?;
            Unknown::from_napi_value(env.raw(), function)
        }
    }

    /// Lets go of the function that `share` was given; no statement runs after that.
    #[napi]
    pub fn unshare(&self, env: Env) {
        let collect = self.sharing.collect.replace(ptr::null_mut());
        if !collect.is_null() {
            // SAFETY: the reference was made in this environment and is deleted once.
            unsafe { sys::napi_delete_reference(env.raw(), collect) };
        }
    }

    #[napi]
    pub fn prepare(&self, sql: String, is_read_only: bool) -> napi::Result<NativeStatement> {
        call(|| {
            let (text, side) = (SqlText::new(sql), side(is_read_only));
            let about = self.handle.describe(side, &text)?;
            let prepared = Rc::new(Prepared {
                handle: self.handle.clone(),
                side,
                text,
                about,
                columns: RefCell::default(),
                late: RefCell::default(),
            });
            let mut statements = self.sharing.statements.borrow_mut();
            let free = self.sharing.free.borrow_mut().pop();
            let number = free.unwrap_or_else(|| {
                statements.push(None);
                statements.len() - 1
            });
            statements[number] = Some(prepared.clone());
            Ok(NativeStatement {
                sharing: self.sharing.clone(),
                number,
                prepared,
            })
        })
    }

    #[napi]
    pub fn run_script(&self, script: String, is_read_only: bool) -> napi::Result<()> {
        call(|| self.handle.run_script(side(is_read_only), &script))
    }

    /// The first statement of a text and what follows it; null where there is none.
    #[napi]
    pub fn first_statement(
        &self,
        text: String,
        is_read_only: bool,
    ) -> napi::Result<Option<FirstStatement>> {
        call(|| {
            let first = self.handle.first_statement(side(is_read_only), &text)?;
            Ok(first.map(|(start, length)| FirstStatement {
                sql: text[start..start + length].to_owned(),
                rest: text[start + length..].to_owned(),
            }))
        })
    }

    #[napi]
    pub fn serialize(&self, schema: String, is_read_only: bool) -> napi::Result<Buffer> {
        call(|| self.handle.serialize(side(is_read_only), &schema)).map(Buffer::from)
    }

    #[napi]
    pub fn begin_backup(
        &self,
        schema: String,
        target: String,
        is_read_only: bool,
    ) -> napi::Result<f64> {
        call(|| {
            let number =
                self.handle
                    .begin_backup(side(is_read_only), &schema, Path::new(&target))?;
            Ok(number as f64)
        })
    }

    /// Copies so many pages; `id` is settled with how far it is.
    #[napi]
    pub fn step_backup(
        &self,
        number: f64,
        pages: i32,
        is_read_only: bool,
        id: f64,
    ) -> napi::Result<()> {
        call(|| {
            let number = number as u64;
            let step = BackupStep { number, pages };
            self.handle.step_backup(side(is_read_only), step, id as u64)
        })
    }

    #[napi]
    pub fn end_backup(&self, number: f64, is_read_only: bool) {
        self.handle.end_backup(side(is_read_only), number as u64);
    }

    /// Lets go of the snapshot that reads which follow each other closely share.
    #[napi]
    pub fn let_go(&self) {
        self.handle.let_go();
    }

    #[napi]
    pub fn set_defensive(&self, defensive: bool) -> napi::Result<()> {
        call(|| self.handle.set_defensive(defensive))
    }
}
